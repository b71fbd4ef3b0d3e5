use super::*;

fn shell(script: &str) -> Child {
    let spec = ChildSpec {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        ..ChildSpec::default()
    };
    Child::start(&spec).expect("there is a shell")
}

/// All lines until its end, and how it ended.
async fn to_the_end(child: &mut Child) -> (Vec<String>, Exit) {
    let mut lines = Vec::new();
    loop {
        match child.next_event().await {
            ChildEvent::Line(line) => lines.push(line.text),
            ChildEvent::Ended(exit) => return (lines, exit.expect("it can be waited for")),
        }
    }
}

#[tokio::test]
async fn the_last_lines_come_before_the_end() {
    for _ in 0..20 {
        let mut child =
            shell("for i in 1 2 3 4 5 6 7 8 9; do echo $i; done; echo last >&2; exit 7");
        let (lines, exit) = to_the_end(&mut child).await;
        assert_eq!(exit, Exit::Code(7));
        assert_eq!(lines.len(), 10, "{lines:?}");
    }
}

#[tokio::test]
async fn a_process_that_writes_a_lot_while_it_ends_is_not_held_up() {
    let mut child = shell(
        "trap 'i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done; exit 0' TERM; \
               echo up; while :; do sleep 0.01; done",
    );
    let ChildEvent::Line(line) = child.next_event().await else { panic!("it says that it is up") };
    assert_eq!(line.text, "up");
    child.terminate();
    let (lines, exit) = to_the_end(&mut child).await;
    // The shell's `sleep` dies by the same signal; only the shell's own end counts.
    assert_eq!((lines.last().map(String::as_str), exit), (Some("19999"), Exit::Code(0)));
}

/// True while the process exists and is no zombie: an orphan may wait long for whoever reaps it.
fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

async fn until_dead(pid: &str) {
    let dies = async {
        while is_alive(pid) {
            tokio::task::yield_now().await;
        }
    };
    let died = tokio::time::timeout(Duration::from_secs(60), dies).await;
    assert!(died.is_ok(), "process {pid} lives on");
}

#[tokio::test]
async fn what_a_process_leaves_in_its_group_ends_with_it() {
    let mut child = shell("sleep 1000 & echo $!; exit 0");
    let (lines, exit) = to_the_end(&mut child).await;
    assert_eq!(exit, Exit::Code(0));
    until_dead(&lines[0]).await;
}

#[tokio::test]
async fn a_dropped_child_takes_its_group_with_it() {
    let mut child = shell("sleep 1000 & echo $!; wait");
    let ChildEvent::Line(line) = child.next_event().await else { panic!("it says the pid") };
    drop(child);
    until_dead(&line.text).await;
}

/// The parent-death signal comes when the thread that forked ends.
#[tokio::test]
async fn a_child_outlives_the_thread_that_asked_for_it() {
    let runtime = tokio::runtime::Handle::current();
    let asked = std::thread::spawn(move || {
        let _runtime = runtime.enter();
        shell("exec sleep 1000")
    });
    let child = tokio::task::spawn_blocking(|| asked.join().expect("no panic")).await;
    let mut child = child.expect("no panic");
    let early = tokio::time::timeout(Duration::from_millis(200), child.next_event()).await;
    assert!(early.is_err(), "{early:?}");
    child.kill();
    let (_, exit) = to_the_end(&mut child).await;
    assert_eq!(exit, Exit::Signal(9));
}
