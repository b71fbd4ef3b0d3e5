use std::path::Path;
use std::time::Duration;

use super::*;

/// Bounds a hang only.
const HANG: Duration = Duration::from_secs(30);

fn shell(script: &str, folder: &Path) -> ProcessSpec {
    ProcessSpec {
        program: "sh".into(),
        arguments: vec!["-c".into(), script.into()],
        output: folder.join("logs/output"),
        ..ProcessSpec::default()
    }
}

async fn ended(process: &mut Process) -> Option<Exit> {
    tokio::time::timeout(HANG, process.end()).await.expect("it ends").expect("it is waited for")
}

/// Waits until the process has written `text`.
async fn written(folder: &Path, text: &str) -> String {
    let output = folder.join("logs/output");
    let deadline = tokio::time::Instant::now() + HANG;
    loop {
        let all = fs::read_to_string(&output).unwrap_or_default();
        if all.contains(text) {
            return all;
        }
        assert!(tokio::time::Instant::now() < deadline, "{all}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn both_outputs_are_appended_to_the_file() {
    let folder = tempfile::tempdir().unwrap();
    for round in 1..=2 {
        let spec = shell("echo out; echo err >&2; exit 3", folder.path());
        let mut process = Process::start(&spec).unwrap();
        assert_eq!(ended(&mut process).await, Some(Exit::Code(3)));
        let all = fs::read_to_string(folder.path().join("logs/output")).unwrap();
        assert_eq!(all, "out\nerr\n".repeat(round));
    }
}

#[tokio::test]
async fn folder_environment_and_limits_are_those_of_the_spec() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = shell("pwd; echo $A; ulimit -n; ulimit -c", folder.path());
    spec.working_dir = Some(folder.path().to_owned());
    spec.environment.insert("A".into(), "b c".into());
    spec.limits.open_files = Some(57);
    spec.limits.core = Some(0);
    ended(&mut Process::start(&spec).unwrap()).await;
    let all = fs::read_to_string(folder.path().join("logs/output")).unwrap();
    let place = folder.path().canonicalize().unwrap();
    assert_eq!(all, format!("{}\nb c\n57\n0\n", place.display()));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let spec = ProcessSpec { program: "/none/such".into(), ..shell("", folder.path()) };
    let error = Process::start(&spec).unwrap_err();
    assert_eq!(error.to_string(), "cannot start /none/such");
}

#[tokio::test]
async fn what_is_left_of_the_group_ends_with_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let spec = shell("sleep 1000 & echo left $!; exit 0", folder.path());
    let mut process = Process::start(&spec).unwrap();
    assert_eq!(ended(&mut process).await, Some(Exit::Code(0)));
    let all = written(folder.path(), "left ").await;
    let left: u32 = all.trim().rsplit(' ').next().unwrap().parse().unwrap();
    let deadline = tokio::time::Instant::now() + HANG;
    while table::start_of(left).is_some() {
        assert!(tokio::time::Instant::now() < deadline, "{left} is left");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_survivor_is_found_by_its_mark_adopted_and_told_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let mark = format!("RUNTIME_TEST_{}", std::process::id());
    let mut spec = shell("echo up; while :; do sleep 0.01; done", folder.path());
    spec.survives = true;
    spec.environment.insert(mark.clone(), "web-1".into());
    let mut first = Process::start(&spec).unwrap();
    written(folder.path(), "up").await;
    let marked = marked_processes(&mark);
    let leaders: Vec<_> = marked.iter().filter(|it| it.group == it.id.pid).collect();
    let [leader] = leaders[..] else { panic!("{marked:?}") };
    assert_eq!((leader.id, &*leader.value), (first.id(), "web-1"));
    assert_eq!(leader.parent, std::process::id());

    let mut adopted = Process::adopt(leader.id).unwrap().expect("it runs");
    adopted.signal(libc::SIGTERM);
    assert_eq!(ended(&mut adopted).await, None, "only its parent is told how");
    assert_eq!(ended(&mut first).await, Some(Exit::Signal(libc::SIGTERM)));
    assert!(Process::adopt(leader.id).unwrap().is_none(), "it has ended");
    let other = ProcessId { pid: std::process::id(), started: 1 };
    assert!(Process::adopt(other).unwrap().is_none(), "that number is another's");
    assert!(marked_processes(&mark).iter().all(|it| it.id != leader.id));
}

#[tokio::test]
async fn who_does_not_survive_is_killed_when_it_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(&shell("echo up; sleep 1000", folder.path())).unwrap();
    written(folder.path(), "up").await;
    let mut watched = Process::adopt(process.id()).unwrap().expect("it runs");
    drop(process);
    assert_eq!(ended(&mut watched).await, None);
}

/// The parent-death signal comes when the thread that forked ends.
#[tokio::test]
async fn a_process_outlives_the_thread_that_asked_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let spec = shell("exec sleep 1000", folder.path());
    let runtime = tokio::runtime::Handle::current();
    let asked = std::thread::spawn(move || {
        let _runtime = runtime.enter();
        Process::start(&spec).unwrap()
    });
    let process = tokio::task::spawn_blocking(|| asked.join().expect("no panic")).await;
    let mut process = process.expect("no panic");
    let early = tokio::time::timeout(Duration::from_millis(200), process.end()).await;
    assert!(early.is_err(), "{early:?}");
    process.kill();
    assert_eq!(ended(&mut process).await, Some(Exit::Signal(9)));
}

#[test]
fn users_and_groups_have_names_and_numbers() {
    let users = "root:x:0:0::/:/bin/sh\nweb:x:33:44::/:/bin/false\n";
    let groups = "root:x:0:\nlogs:x:55:web\n";
    let find = |user: &str, group| Identity::find_in(user, group, users, groups);
    let is = |user, group| Ok(Identity { user, group });
    assert_eq!(find("web", None), is(33, 44));
    assert_eq!(find("33", None), is(33, 44));
    assert_eq!(find("web", Some("logs")), is(33, 55));
    assert_eq!(find("1000", Some("1001")), is(1000, 1001));
    assert!(find("nobody", None).unwrap_err().contains("\"nobody\" is not in /etc/passwd"));
    assert!(find("1000", None).unwrap_err().contains("say one: 1000:GROUP"));
    assert!(find("web", Some("none")).unwrap_err().contains("\"none\" is not in /etc/group"));
}

#[test]
fn signals_have_names_and_numbers() {
    for name in ["SIGTERM", "TERM", "sigterm", "15"] {
        assert_eq!(signal_number(name), Some(libc::SIGTERM), "{name}");
    }
    for name in ["", "SIG", "SIGNONE", "99", "-1"] {
        assert_eq!(signal_number(name), None, "{name}");
    }
}

#[test]
fn a_program_is_found_as_the_kernel_would() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::create_dir(at.join("bin")).unwrap();
    fs::copy("/bin/true", at.join("bin/mine")).unwrap();
    fs::write(at.join("bin/text"), "").unwrap();
    let find =
        |name: &str| find_program(Path::new(name), Some(at), &format!("{}/bin", at.display()));
    assert_eq!(find("mine").unwrap(), at.join("bin/mine"));
    assert_eq!(find("bin/mine").unwrap(), at.join("bin/mine"));
    assert_eq!(find("none").unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(find("./none").unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(find("text").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    assert_eq!(find("bin").unwrap_err().kind(), io::ErrorKind::NotFound);
}
