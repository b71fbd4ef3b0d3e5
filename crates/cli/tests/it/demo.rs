use std::io::Read;
use std::process::Stdio;

use crate::support::{leno, text};

#[test]
fn the_demo_holds_all_its_claims() {
    let output = leno().args(["demo", "--once", "--any-ports"]).output().expect("the binary runs");
    let shown = text(&output.stdout);
    println!("{shown}\n{}", text(&output.stderr));
    assert!(output.status.success(), "a claim failed");
    assert!(shown.contains("All ") && shown.contains(" claims held."));
    assert!(!shown.contains("FAILED"));
}

#[test]
fn the_demo_leaves_no_process_behind_when_it_is_killed() {
    let mut demo = leno()
        .args(["demo", "--any-ports"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    let mut out = demo.stdout.take().expect("it is piped");
    let mut shown = String::new();
    let mut buffer = [0; 1024];
    while !shown.contains("three copies are started") {
        let read = out.read(&mut buffer).expect("it prints");
        assert!(read > 0, "it ended: {shown}");
        shown.push_str(&text(&buffer[..read]));
    }
    let copies = children(demo.id());
    assert_eq!(copies.len(), 3, "{shown}");
    demo.kill().expect("it runs");
    demo.wait().expect("it ends");
    crate::support::eventually("the copies end with the demo", || {
        copies.iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists())
    });
}

/// The children of a process.
fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("Linux").flatten();
    let pids = processes.filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| {
            line.strip_prefix("PPid:").is_some_and(|it| it.trim().parse() == Ok(parent))
        })
    })
    .collect()
}
