use std::time::Instant;

use super::*;
use crate::{EndRecord, Exit, Process, ProcessSpec, ResourceLimits};

/// Bounds a hang only.
const HANG: Duration = Duration::from_secs(30);
/// Root, with the agent's mount, and another mount of the same.
const MOUNTS: &str = "23 1 8:1 / / rw - ext4 /dev/sda rw\n\
    31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
    32 31 0:29 /a /mnt/of\\040a rw shared:4 - cgroup2 cgroup2 rw\n\
    41 31 0:38 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw\n";

#[test]
fn the_own_group_is_found_wherever_it_is_mounted() {
    let found = |own: &str| locate(MOUNTS, own);
    let unified = Path::new("/sys/fs/cgroup/unified");
    assert_eq!(found("9:pids:/x\n0::/\n"), Ok(unified.to_owned()));
    assert_eq!(found("0::/b.slice/c.service\n"), Ok(unified.join("b.slice/c.service")));
    assert_eq!(found("0::/a/b\n"), Ok(PathBuf::from("/mnt/of a/b")));
    assert!(found("0::/../b\n").is_err(), "it lies outside of the namespace");
    assert!(found("9:pids:/x\n").unwrap_err().contains("no cgroup v2"));
    assert!(locate("23 1 8:1 / / rw - ext4 /dev/sda rw\n", "0::/\n").is_err());
}

/// A folder that stands for a group with these controllers: what is written can be read there, but nothing enforces it.
fn stand_in(controllers: &str, processes: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("cgroup.controllers", controllers),
        ("cgroup.subtree_control", ""),
        ("cgroup.procs", processes),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// Only a stand-in for the kernel's files: what limits do is not shown here.
#[test]
fn each_limit_is_written_in_the_kernels_words() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["memory.max", "memory.swap.max", "cpu.max", "pids.max"];
    files.iter().for_each(|it| fs::write(folder.path().join(it), "").unwrap());
    let limits =
        GroupLimits { memory_bytes: Some(512 << 20), cpu_millis: Some(1500), processes: Some(64) };
    // It has no `memory.oom.group`, as old kernels do.
    let group = ControlGroup::begin(folder.path().to_owned(), &limits).unwrap();
    let written = files.map(|it| fs::read_to_string(folder.path().join(it)).unwrap());
    assert_eq!(written, ["536870912", "0", "150000 100000", "64"]);
    let asked =
        ResourceLimits { data: Some(1), processes: Some(2), core: Some(3), open_files: None };
    assert_eq!(group.remaining(asked), ResourceLimits { core: Some(3), ..Default::default() });

    assert!(!group.was_out_of_memory());
    for (events, expected) in [("oom 1\noom_kill 1\n", true), ("oom 0\noom_kill 1\n", false)] {
        fs::write(folder.path().join("memory.events"), format!("max 3\n{events}")).unwrap();
        assert_eq!(group.was_out_of_memory(), expected, "{events}");
    }
}

/// Only a stand-in for the kernel's files, as above.
#[test]
fn controllers_are_enabled_where_nobody_else_is_and_named_where_not() {
    let own = stand_in("cpuset cpu memory pids", "");
    let groups = ControlGroups::prepare_in(own.path(), "agent").unwrap();
    assert!(Controller::ALL.iter().all(|it| groups.lacks(*it).is_none()), "{groups:?}");
    let enabled = fs::read_to_string(own.path().join("cgroup.subtree_control")).unwrap();
    assert_eq!(
        enabled, "+pids",
        "the last; they are written one by one, and the kernel adds them up"
    );

    let shared = stand_in("cpu memory", "1\n");
    let groups = ControlGroups::prepare_in(shared.path(), "agent").unwrap();
    let cpu = groups.lacks(Controller::Cpu).unwrap();
    assert!(cpu.contains("cannot be enabled") && cpu.contains("process 1"), "{cpu}");
    let pids = groups.lacks(Controller::Pids).unwrap();
    assert!(pids.contains("no pids controller") && pids.contains("cpu memory only"), "{pids}");
    assert_eq!(fs::read_to_string(shared.path().join("cgroup.subtree_control")).unwrap(), "");
    assert!(!shared.path().join("agent").exists(), "nothing was moved");

    // Started by a supervisor in the group that it would move into.
    let above = stand_in("memory", "");
    fs::create_dir(above.path().join("agent")).unwrap();
    let groups = ControlGroups::prepare_in(&above.path().join("agent"), "agent").unwrap();
    assert_eq!(groups.folder, above.path());
    assert_eq!(groups.lacks(Controller::Memory), None);
}

#[test]
fn a_limit_that_cannot_be_set_is_named_and_leaves_no_group() {
    let own = stand_in("memory", "");
    let groups = ControlGroups::prepare_in(own.path(), "agent").unwrap();
    let limits = GroupLimits { memory_bytes: Some(1 << 20), cpu_millis: Some(1), processes: None };
    // A plain folder gets no file of the kernel's.
    let reason = groups.make("a", &limits).unwrap_err();
    assert!(reason.contains("memory.max") && reason.contains("1048576"), "{reason}");
    assert!(!own.path().join("a").exists());
    assert!(groups.make("a", &GroupLimits { memory_bytes: None, ..limits }).is_ok(), "no cpu here");
    for bad in ["", "..", "a/b", ".a", "a b", &"a".repeat(201)] {
        assert!(groups.make(bad, &limits).unwrap_err().contains("no name"), "{bad:?}");
    }
}

#[test]
fn where_no_group_can_be_made_that_is_said() {
    let reason = ControlGroups::prepare_in(Path::new("/proc/self"), "agent").unwrap_err();
    assert!(reason.starts_with("no groups can be made in /proc/self: "), "{reason}");
}

/// A place for real groups, which is removed at the end; `None` with a note where there can be none.
struct RealPlace {
    groups: ControlGroups,
}

impl RealPlace {
    fn new(name: &str) -> Option<Self> {
        let groups = match ControlGroups::prepare("agent") {
            Ok(groups) => groups,
            Err(reason) => {
                #[allow(clippy::print_stderr)] // What was not tested is to be seen.
                {
                    eprintln!("not tested: {reason}");
                }
                return None;
            }
        };
        let folder = groups.folder.join(format!("leno-test-{name}-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        Some(Self { groups: ControlGroups { folder, ..groups } })
    }

    fn folder(&self) -> &Path {
        &self.groups.folder
    }
}

impl Drop for RealPlace {
    fn drop(&mut self) {
        let began = Instant::now();
        while leaf::remove_tree(self.folder()).is_err() && began.elapsed() < HANG {
            for entry in fs::read_dir(self.folder()).into_iter().flatten().flatten() {
                ControlGroup::found(entry.path()).kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn shell(script: &str, output: &Path, group: &ControlGroup) -> ProcessSpec {
    ProcessSpec {
        program: "sh".into(),
        arguments: vec!["-c".into(), script.into()],
        output: output.join("output"),
        group: Some(group.clone()),
        ..ProcessSpec::default()
    }
}

async fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            match found() {
                Some(it) => return it,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(HANG, wait).await.unwrap_or_else(|_| panic!("{what}"))
}

/// The numbers that a script has written, once there are so many.
async fn pids(output: &Path, count: usize) -> Vec<u32> {
    until("it writes", || {
        let text = fs::read_to_string(output.join("output")).unwrap_or_default();
        let all: Vec<u32> = text.lines().filter_map(|it| it.parse().ok()).collect();
        (all.len() == count).then_some(all)
    })
    .await
}

fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|it| !it.1.starts_with(" Z") && !it.1.starts_with(" X"))
}

async fn end(process: &mut Process) -> Option<Exit> {
    tokio::time::timeout(HANG, process.end()).await.expect("it ends").expect("it is waited for")
}

const LEAVES: &str = "setsid sh -c 'echo $$; exec sleep 1000' & echo $$; ";

#[tokio::test]
async fn what_has_left_the_process_group_ends_with_the_group_and_the_group_with_it() {
    let Some(place) = RealPlace::new("kill") else { return };
    for (round, (script, told, expected)) in [
        (format!("{LEAVES} exec sleep 1000"), true, Some(Exit::Signal(9))),
        (format!("{LEAVES} read x < pipe; exit 3"), false, Some(Exit::Code(3))),
    ]
    .into_iter()
    .enumerate()
    {
        let folder = tempfile::tempdir().unwrap();
        let group = place.groups.make("web-1-0", &GroupLimits::default()).unwrap();
        let mut spec = shell(&script, folder.path(), &group);
        spec.working_dir = Some(folder.path().to_owned());
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        let mut process = Process::start(&spec).unwrap();
        let all = pids(folder.path(), 2).await;
        let mut inside = members(&place.folder().join("web-1-0")).unwrap();
        inside.sort_unstable();
        let mut expected_inside = all.clone();
        expected_inside.sort_unstable();
        assert_eq!(inside, expected_inside, "both are in it, in round {round}");
        if told {
            process.kill();
        } else {
            fs::write(&pipe, "x\n").unwrap();
        }
        assert_eq!(end(&mut process).await, expected);
        assert!(!all.iter().any(|it| lives(*it)), "{all:?}");
        assert!(!place.folder().join("web-1-0").exists());
    }
}

#[tokio::test]
async fn the_recorder_stays_outside_and_writes_down_that_all_in_the_group_were_killed() {
    let Some(place) = RealPlace::new("recorded") else { return };
    let folder = tempfile::tempdir().unwrap();
    let group = place.groups.make("job-1-0", &GroupLimits::default()).unwrap();
    let path = folder.path().join("end");
    let record = EndRecord { path, key: "1".into(), recorder: Vec::new() };
    let spec = shell(&format!("{LEAVES} exec sleep 1000"), folder.path(), &group);
    let command = crate::recorder::RecordedCommand {
        program: spec.program,
        arguments: spec.arguments,
        group: spec.group,
        ..Default::default()
    };
    let run = crate::recorder::run(command, record.begin().unwrap());
    let killed = async {
        let inside = until("both are in it", || {
            members(&place.folder().join("job-1-0")).ok().filter(|it| it.len() == 2)
        });
        let inside = inside.await;
        assert!(!inside.contains(&std::process::id()));
        group.kill();
        inside
    };
    let (code, inside) = tokio::join!(run, killed);
    assert_eq!(code.unwrap(), 137);
    let crate::Recorded::Ended(end) = record.read().unwrap() else { panic!("it has ended") };
    assert_eq!(end.exit, Some(Exit::Signal(9)));
    group.end().await;
    assert!(!inside.iter().any(|it| lives(*it)) && !place.folder().join("job-1-0").exists());
}

#[tokio::test]
async fn what_an_earlier_life_left_is_found_and_only_the_empty_is_removed() {
    let Some(place) = RealPlace::new("left") else { return };
    let folder = tempfile::tempdir().unwrap();
    let groups = &place.groups;
    let group = groups.make("web-1-0", &GroupLimits::default()).unwrap();
    groups.make("web-2-0", &GroupLimits::default()).unwrap();
    groups.make("other", &GroupLimits::default()).unwrap();
    let mut spec = shell(&format!("{LEAVES} exec sleep 1000"), folder.path(), &group);
    spec.survives = true;
    let mut started = Process::start(&spec).unwrap();
    let all = pids(folder.path(), 2).await;
    groups.remove_empty("web-", Duration::from_secs(3600));
    assert!(place.folder().join("web-2-0").exists(), "it was just made");
    groups.remove_empty("web-", Duration::ZERO);
    let there = ["web-1-0", "web-2-0", "other"].map(|it| groups.find(it).is_some());
    assert_eq!(there, [true, false, true]);
    let reason = groups.make("web-1-0", &GroupLimits::default()).unwrap_err();
    assert!(reason.contains("web-1-0 cannot be made"), "{reason}");

    let mut adopted = Process::adopt(started.id()).unwrap().expect("it runs");
    adopted.set_group(groups.find("web-1-0").expect("it is there"));
    adopted.kill();
    // Only who started it reaps it.
    let (exit, _) = tokio::join!(end(&mut adopted), end(&mut started));
    assert_eq!(exit, None);
    assert!(!all.iter().any(|it| lives(*it)) && groups.find("web-1-0").is_none());
}

#[tokio::test]
async fn who_cannot_enter_gets_limits_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let gone = ControlGroup::from_parts(folder.path().join("none"), true, true);
    let limits = ResourceLimits { data: Some(64 << 20), core: Some(0), ..Default::default() };
    let mut spec = shell("ulimit -d; ulimit -c", folder.path(), &gone);
    spec.limits = limits;
    let mut process = Process::start(&spec).unwrap();
    assert_eq!(process.group(), None, "it is said that it is not in it");
    assert_eq!(end(&mut process).await, Some(Exit::Code(0)));
    let text = fs::read_to_string(folder.path().join("output")).unwrap();
    assert_eq!(text, "65536\n0\n");

    let Some(place) = RealPlace::new("limits") else { return };
    fs::remove_file(folder.path().join("output")).unwrap();
    let group = place.groups.make("a", &GroupLimits::default()).unwrap();
    let (path, ..) = group.to_parts();
    let group = ControlGroup::from_parts(path.to_owned(), true, false);
    let mut spec = shell("ulimit -d; ulimit -c", folder.path(), &group);
    spec.limits = limits;
    assert_eq!(end(&mut Process::start(&spec).unwrap()).await, Some(Exit::Code(0)));
    let text = fs::read_to_string(folder.path().join("output")).unwrap();
    assert_eq!(text, "unlimited\n0\n", "the group limits memory");
}
