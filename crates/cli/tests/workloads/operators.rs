//! What operators meet: copies that are held, ports that are lost, rollouts that are waited for and tried again.

use std::net::TcpListener;

use serde_json::Value;

use crate::support::{Agent, eventually, text};
use crate::{World, document};

fn file_of(world: &World, document: &str) -> String {
    world.file(document).to_str().expect("a readable path").to_owned()
}

#[test]
fn a_copy_that_is_held_is_still_held_in_the_next_life_of_the_agent() {
    let mut world = World::new();
    let restart = "  restart: {delay: 1ms, maxRestarts: 3}\n";
    let crashing = document("1", 1, &[], restart).replace("echo, --name", "none-such, --name");
    world.apply(&crashing);
    eventually("it is held", || world.report()["copies"][0]["state"] == "held");
    let ends = |world: &World| world.leno(&["logs", "web"]).matches("unrecognized").count();
    let before = ends(&world);
    world.agent.kill();
    world.agent = Agent::durable(&world.folder.path().join("data"));
    let mut report = Value::Null;
    eventually("it is held", || {
        report = world.report();
        report["copies"][0]["state"] == "held"
    });
    assert_eq!(report["copies"][0]["restarts"], 4, "{report:#}");
    assert!(report["copies"][0]["output"].as_str().unwrap().contains("exit code 2"), "{report:#}");
    assert_eq!(ends(&world), before, "it was not started again");
    // Until an operator says otherwise.
    let _ = world.agent.cli(&["start", "web", "--no-wait"]);
    eventually("it is started again", || ends(&world) > before);
}

#[test]
fn a_copy_whose_port_was_taken_while_it_had_no_process_comes_back_on_another_one() {
    let world = World::new();
    world.apply(&document("1", 1, &[], "  restart: {delay: 1s}\n"));
    world.settle("1");
    let port = |world: &World| {
        world.report()["copies"][0]["port"].as_u64().and_then(|it| u16::try_from(it).ok())
    };
    let first = port(&world).expect("it has one");
    runtime::kill(world.pids()[0]).expect("it runs");
    let mut taken = None;
    eventually("its port is free", || {
        taken = TcpListener::bind(("127.0.0.1", first)).ok();
        taken.is_some()
    });
    eventually("it is back", || world.report()["ready"] == 1 && port(&world) != Some(first));
    assert_eq!(world.report()["copies"][0]["restarts"], 1, "{:#}", world.report());
    let status = world.leno(&["rollout", "status", "web"]);
    assert!(status.contains(&format!("{first} was taken")), "{status}");
}

#[test]
fn whoever_waits_for_a_rollout_is_told_by_the_exit_code_how_it_ended_and_can_try_it_again() {
    let world = World::new();
    let good = file_of(&world, &document("1", 1, &[], ""));
    let output = world.agent.cli(&["apply", "--wait", "-f", &good]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(world.report()["state"], "running");
    assert!(world.agent.cli(&["rollout", "status", "web", "--wait"]).status.success());
    let bad = document("2", 1, &[], "").replace("echo, --name", "none-such, --name");
    let bad = file_of(&world, &bad);
    let output = world.agent.cli(&["apply", "--wait", "-f", &bad]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = text(&output.stderr);
    assert!(said.contains("release 2 was rolled back: web-2-0 ended"), "{said}");
    let output = world.agent.cli(&["rollout", "status", "web", "--wait"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    // Why stands in what is gone.
    eventually("its copies are gone", || world.pids().len() == 1);
    assert!(world.leno(&["logs", "web"]).contains("unrecognized subcommand"));
    let output = world.agent.cli(&["apply", "-f", &bad]);
    let said = text(&output.stderr);
    assert!(said.contains("`leno rollout retry web` tries it again"), "{output:?}");
    let output = world.agent.cli(&["rollout", "retry", "web"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("release 3 was rolled back"), "{output:?}");
    // Logs of the release that failed before are not kept.
    let logs = world.folder.path().join("data/logs/default");
    eventually("they are deleted", || !logs.join("web-2-0.log").exists());
    assert!(logs.join("web-3-0.log").exists() && logs.join("web-1-0.log").exists());
    let output = world.agent.cli(&["rollout", "retry", "none"]);
    assert!(
        text(&output.stderr).contains("there is no workload and no rollout none"),
        "{output:?}"
    );
}

#[test]
fn a_limit_that_is_not_enforced_is_named_at_once_and_later() {
    let world = World::new();
    let limited = document("1", 1, &[], "  resources: {cpu: 500m, openFiles: 256}\n");
    let file = file_of(&world, &limited);
    let output = world.agent.cli(&["apply", "--wait", "-f", &file]);
    let said = text(&output.stdout);
    assert!(said.contains("spec.resources.cpu") && said.contains("is not enforced"), "{said}");
    assert!(!said.contains("openFiles"), "{said}");
    let shown = world.leno(&["ps", "web"]);
    assert!(shown.contains("limit: spec.resources.cpu is not enforced"), "{shown}");
    let strict = world.agent.cli(&["apply", "--strict", "-f", &file]);
    assert_eq!(strict.status.code(), Some(1));
}
