//! Jobs: real processes that are run to their end, once, whatever becomes of the agent.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::support::{eventually, leno, text};
use crate::{World, is_running};

/// A job that says when it starts and when it is done, and is done when there is a file.
struct Diary {
    said: PathBuf,
    go: PathBuf,
}

impl Diary {
    fn of(world: &World) -> Self {
        Self { said: world.folder.path().join("said"), go: world.folder.path().join("go") }
    }

    fn script(&self, end: &str) -> String {
        let (said, go) = (self.said.display(), self.go.display());
        format!(
            "echo start >> {said}; while [ ! -e {go} ]; do sleep 0.02; done; echo done >> {said}; {end}"
        )
    }

    fn count(&self, word: &str) -> usize {
        let all = std::fs::read_to_string(&self.said).unwrap_or_default();
        all.lines().filter(|it| *it == word).count()
    }

    fn let_go(&self) {
        std::fs::write(&self.go, "").expect("it can be written");
    }
}

fn job(version: &str, script: &str, more: &str) -> String {
    format!(
        "apiVersion: leno.dev/v1\nkind: Workload\nmetadata: {{name: migrate}}\nspec:\n  type: Job\n  \
         version: {version:?}\n  command: [sh, -c, {script:?}]\n{more}"
    )
}

pub(crate) fn pid_of(report: &Value) -> u32 {
    report["copies"][0]["pid"].as_u64().and_then(|it| it.try_into().ok()).expect("it runs")
}

#[test]
fn a_job_that_ends_with_code_0_is_completed_and_run_again_only_when_somebody_asks_for_it() {
    let mut world = World::new();
    let diary = Diary::of(&world);
    diary.let_go();
    let document = job("1", &diary.script("echo all is migrated"), "");
    world.apply(&document);
    let report = world.wait_for("migrate", "completed");
    assert_eq!((&report["ready"], &report["kind"]), (&1.into(), &"job".into()), "{report:#}");
    assert!(report["reason"].as_str().unwrap().starts_with("exit code 0 after "), "{report:#}");
    assert_eq!(report["copies"][0]["id"], "migrate-1-0");
    assert_eq!(report["copies"][0]["state"], "completed");
    assert!(world.leno(&["logs", "migrate"]).contains("all is migrated"));
    // Neither another life of the agent, nor the same document, nor how it would be retried.
    for more in ["", "  restart: {maxRestarts: 3}\n"] {
        world.agent.kill();
        world.agent_again();
        world.apply(&job("1", &diary.script("echo all is migrated"), more));
        world.wait_for("migrate", "completed");
    }
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(diary.count("done"), 1);
    assert!(world.leno(&["logs", "migrate"]).contains("all is migrated"));
    world.apply(&job("2", &diary.script("exit 0"), ""));
    eventually("the changed one is run", || world.report_of("migrate")["version"] == "2");
    world.wait_for("migrate", "completed");
    assert_eq!(diary.count("done"), 2);
    assert!(world.leno(&["restart", "migrate"]).contains("completed: exit code 0 after"));
    assert_eq!(diary.count("done"), 3);
    let table = world.leno(&["rollout", "history", "migrate"]);
    assert_eq!(table.matches("completed").count(), 3, "{table}");
    assert!(world.leno(&["ps"]).contains("1/1"));
    let refused = world.agent.cli(&["scale", "migrate", "2"]);
    assert!(text(&refused.stderr).contains("is a job"), "{}", text(&refused.stderr));
}

#[test]
fn a_job_that_fails_is_tried_again_and_then_has_failed_with_its_last_lines() {
    let world = World::new();
    let diary = Diary::of(&world);
    diary.let_go();
    let script = diary.script("echo one; echo the table is locked >&2; exit 3");
    world.apply(&job("1", &script, "  restart: {delay: 10ms, maxRestarts: 2}\n"));
    let report = world.wait_for("migrate", "failed");
    assert_eq!(diary.count("start"), 3);
    let why = "3 tries failed, the last: exit code 3; its last lines: one | the table is locked";
    assert_eq!(report["reason"], why, "{report:#}");
    assert!(world.leno(&["ps"]).contains(why));
    assert!(world.leno(&["logs", "migrate"]).contains("the table is locked"));
    assert!(world.leno(&["logs", "migrate", "--copy", "migrate-1-0"]).contains("locked"));
    // An operator asks for another run, and is told how it went.
    let again = world.agent.cli(&["start", "migrate"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("run 2 was failed: 3 tries failed"), "{again:?}");
    assert_eq!(diary.count("start"), 6);
    world.apply(&job("2", "exec /none/such", "  restart: {policy: Never}\n"));
    eventually("it is run", || world.report_of("migrate")["version"] == "2");
    let report = world.wait_for("migrate", "failed");
    assert!(report["reason"].as_str().unwrap().starts_with("exit code 127"), "{report:#}");
}

#[test]
fn a_job_that_takes_too_long_is_ended_and_one_whose_document_goes_is_killed() {
    let world = World::new();
    let diary = Diary::of(&world);
    world.apply(&job("1", &diary.script("exit 0"), "  activeDeadline: 1s\n"));
    let pid = pid_of(&world.wait_for("migrate", "running"));
    let report = world.wait_for("migrate", "failed");
    assert_eq!(report["reason"], "it did not end within its deadline of 1 s", "{report:#}");
    assert!(!is_running(pid));
    let document = job("2", &diary.script("exit 0"), "");
    world.apply(&document);
    eventually("it runs", || diary.count("start") == 2);
    let pid = pid_of(&world.wait_for("migrate", "running"));
    let file = world.file(&document);
    world.leno(&["delete", "-f", file.to_str().expect("a readable path")]);
    eventually("it is gone", || world.report_of("migrate").is_null() && !is_running(pid));
    // What comes under the same name knows nothing of it.
    diary.let_go();
    world.apply(&document);
    world.wait_for("migrate", "completed");
    assert_eq!((diary.count("start"), diary.count("done")), (3, 1));
}

#[test]
fn a_job_runs_on_while_the_agent_is_dead_and_its_end_is_not_missed() {
    for ends_meanwhile in [false, true] {
        let mut world = World::new();
        let diary = Diary::of(&world);
        world.apply(&job("1", &diary.script("exit 0"), ""));
        let pid = pid_of(&world.wait_for("migrate", "running"));
        eventually("it has begun", || diary.count("start") == 1);
        for _ in 0..2 {
            world.agent.kill();
            assert!(is_running(pid));
            world.agent_again();
            assert_eq!(pid_of(&world.wait_for("migrate", "running")), pid);
        }
        if ends_meanwhile {
            world.agent.kill();
            diary.let_go();
            eventually("it ends", || !is_running(pid));
            world.agent_again();
        }
        diary.let_go();
        let report = world.wait_for("migrate", "completed");
        assert_eq!(report["copies"][0]["id"], "migrate-1-0", "{report:#}");
        assert_eq!((diary.count("start"), diary.count("done")), (1, 1));
    }
}

#[test]
fn a_job_is_never_completed_twice_whenever_the_agent_is_killed() {
    let mut world = World::new();
    let said = world.folder.path().join("said");
    let script = format!("sleep 0.05; echo done >> {}", said.display());
    let rounds = 12u64;
    for round in 1..=rounds {
        let document = job(&round.to_string(), &script, "");
        world.apply(&document);
        // Before it is started, while it runs, when it has ended, when that is stored.
        std::thread::sleep(Duration::from_millis(round * 12));
        world.agent.kill();
        world.agent_again();
        eventually("it is completed", || {
            let report = world.report_of("migrate");
            report["version"] == round.to_string().as_str() && report["state"] == "completed"
        });
        let done = std::fs::read_to_string(&said).unwrap_or_default();
        assert_eq!(done.lines().count() as u64, round);
    }
}

#[test]
fn a_job_that_ends_with_the_agent_is_tried_again_by_the_next_one_and_has_not_failed() {
    let mut world = World::new();
    let diary = Diary::of(&world);
    let more = "  onAgentExit: Stop\n  restart: {policy: Never}\n";
    world.apply(&job("1", &diary.script("exit 0"), more));
    for (round, signal) in ["KILL", "TERM"].into_iter().enumerate() {
        eventually("it has begun", || diary.count("start") == round + 1);
        let pid = pid_of(&world.wait_for("migrate", "running"));
        if signal == "KILL" {
            world.agent.kill();
        } else {
            world.agent.signal(signal);
            assert_eq!(world.agent.exit_code(), Some(0));
        }
        eventually("it ends", || !is_running(pid));
        world.agent_again();
    }
    eventually("it has begun", || diary.count("start") == 3);
    diary.let_go();
    let report = world.wait_for("migrate", "completed");
    assert_eq!(report["copies"][0]["id"], "migrate-1-2", "{report:#}");
    assert_eq!(report["copies"][0]["restarts"], 0);
    assert_eq!(diary.count("done"), 1);
}

#[test]
fn what_a_procfile_calls_release_is_completed_before_the_others_start() {
    let world = World::new();
    let diary = Diary::of(&world);
    let program = env!("CARGO_BIN_EXE_leno");
    let procfile = world.folder.path().join("Procfile");
    let lines = format!(
        "release: {}\nweb: exec {program} echo --name web --listen 127.0.0.1:$PORT\n",
        diary.script("exit 0")
    );
    std::fs::write(&procfile, lines).expect("it can be written");
    let imported = leno().args(["import", "procfile"]).arg(&procfile).output().expect("it runs");
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    world.apply(&text(&imported.stdout));
    eventually("it has begun", || diary.count("start") == 1);
    let report = world.wait_for("web", "waiting");
    assert_eq!(report["reason"], "for release", "{report:#}");
    assert!(world.pids().is_empty());
    diary.let_go();
    world.wait_for("web", "running");
    assert_eq!(world.report_of("release")["state"], "completed");
    // A release that fails holds up what comes with it, and what serves goes on.
    let before = world.pids();
    std::fs::write(
        &procfile,
        format!(
            "release: exit 1\nweb: FOO=1 exec {program} echo --name web --listen 127.0.0.1:$PORT\n"
        ),
    )
    .expect("it can be written");
    let imported = leno().args(["import", "procfile"]).arg(&procfile).output().expect("it runs");
    let documents =
        text(&imported.stdout).replace("type: Job", "type: Job\n  restart: {maxRestarts: 1}");
    world.apply(&documents);
    world.wait_for("release", "failed");
    assert_eq!(world.report_of("web")["state"], "running");
    assert_eq!(world.pids(), before);
}
