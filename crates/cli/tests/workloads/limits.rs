//! Limits by groups of processes, with the groups of this machine.

use std::path::PathBuf;

use crate::jobs::pid_of;
use crate::support::eventually;
use crate::{World, is_running};

/// Ends what a failed test leaves.
struct Ends(Vec<u32>);

impl Drop for Ends {
    fn drop(&mut self) {
        for pid in &self.0 {
            let _ = std::process::Command::new("kill").args(["-9", &pid.to_string()]).output();
        }
    }
}

/// The group of a process, as the kernel names it.
fn group_of(pid: u32) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    text.lines().find_map(|it| it.strip_prefix("0::")).unwrap_or_default().to_owned()
}

/// Where a group of this name may lie: below any mount of cgroup v2.
fn folders(group: &str) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let of_cgroups = mounts.lines().filter(|it| it.contains(" - cgroup2 "));
    let points = of_cgroups.filter_map(|it| it.split(' ').nth(4).map(PathBuf::from));
    points.map(|it| it.join(group.trim_start_matches('/'))).collect()
}

/// A process and a daemon that leaves its process group, each with its number in a file. In a document `$$` is a `$`.
fn document(kind: &str, world: &World) -> String {
    let folder = world.folder.path().display();
    let script = format!(
        "setsid sh -c 'echo $$$$ > {folder}/daemon; exec sleep 1000' & echo $$$$ > {folder}/main; exec sleep 1000"
    );
    format!(
        "apiVersion: leno.dev/v1\nkind: Workload\nmetadata: {{name: web}}\nspec:\n  {kind}\n  command: [sh, -c, {script:?}]\n  \
         resources: {{memory: 1Gi, processes: 5000}}\n"
    )
}

fn delete(world: &World) {
    let file = world.folder.path().join("workload.yaml");
    world.leno(&["delete", "-f", file.to_str().expect("a readable path")]);
}

fn pid_in(world: &World, name: &str) -> u32 {
    let path = world.folder.path().join(name);
    let read = || std::fs::read_to_string(&path).ok()?.trim().parse().ok();
    eventually(&format!("{name} is written"), || read().is_some());
    read().expect("it was there")
}

#[test]
fn a_copy_with_limits_has_a_group_that_outlives_the_agent_and_ends_with_the_copy() {
    for kind in ["service: None", "type: Job"] {
        let kind = format!("{kind}\n  onAgentExit: Keep");
        let mut world = World::new();
        world.apply(&document(&kind, &world));
        let mut ends = Ends(vec![pid_of(&world.wait_for("web", "running"))]);
        let (main, daemon) = (pid_in(&world, "main"), pid_in(&world, "daemon"));
        ends.0.extend([main, daemon]);
        let shown = world.leno(&["ps", "web"]);
        let group = group_of(main);
        if !group.contains("/leno-") {
            // No writable groups: then that is said, and each process has limits of its own.
            assert!(shown.contains("spec.resources.memory limits what each process"), "{shown}");
            println!("only the limits of single processes were tested: {shown}");
            let limits = std::fs::read_to_string(format!("/proc/{main}/limits")).unwrap();
            let data = limits.lines().find(|it| it.starts_with("Max data size")).unwrap();
            assert!(data.contains(&(1_u64 << 30).to_string()), "{data}");
            delete(&world);
            eventually("it ends", || !is_running(main));
            continue;
        }
        assert!(group.ends_with("-web-1-0"), "{group}");
        assert_eq!(group_of(daemon), group);
        let folders = folders(&group);
        assert!(folders.iter().any(|it| it.is_dir()), "{folders:?}");

        world.agent.kill();
        assert!(is_running(main) && is_running(daemon));
        world.agent_again();
        world.wait_for("web", "running");
        assert!(is_running(main), "it was taken over");
        assert_eq!(group_of(main), group);

        delete(&world);
        eventually("all of it ends", || !is_running(main) && !is_running(daemon));
        eventually("its group is gone", || !folders.iter().any(|it| it.exists()));
    }
}
