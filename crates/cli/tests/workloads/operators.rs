//! What operators meet: copies that are held, ports that are lost, rollouts that are waited for and tried again.

use std::net::TcpListener;

use serde_json::Value;

use crate::support::{Agent, eventually, request, text};
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
fn a_copy_that_waits_for_its_restart_says_when_that_is() {
    let world = World::new();
    let restart = "  restart: {delay: 30s, maxRestarts: 3}\n";
    let crashing = document("1", 1, &[], restart).replace("echo, --name", "none-such, --name");
    world.apply(&crashing);
    eventually("it waits", || world.report()["copies"][0]["state"] == "waiting");
    let report = &world.report()["copies"][0];
    let id = report["id"].as_str().expect("its id");
    assert!(report["restart"]["at_ms"].as_u64() > report["since_ms"].as_u64(), "{report:#}");
    eventually("its process is known to be gone", || {
        world.leno(&["explain", "instance", id]).contains("CRITICAL")
    });
    let page = world.leno(&["explain", "instance", id]);
    let line = page.lines().find(|it| it.contains("its process is started again (restart 1 of 3)"));
    assert!(line.is_some_and(|it| it.starts_with("  passing     in ")), "{page}");
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

/// A route of the ingress to the workload `web`, and the `Service` that it leads to.
const EDGE: &str = "---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, \
    ports: [{port: 80}]}\n---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: edge}\nspec:\n  \
    rules: [{host: shop.example.com, http: {paths: [{path: /, pathType: Prefix, \
    backend: {service: {name: web, port: {number: 80}}}}]}}]\n";

#[test]
fn a_request_under_way_is_answered_though_its_route_its_service_and_its_workload_are_deleted() {
    let world = World::new();
    // A program that does not end what it has begun when it is told to end.
    let abrupt = document("1", 1, &[], "  stop: {signal: SIGKILL}\n");
    let documents = format!("{abrupt}{EDGE}");
    world.apply(&documents);
    world.settle("1");
    let (ingress, admin) = (world.agent.ingress.unwrap(), world.agent.admin.unwrap());
    let host = [("Host", "shop.example.com")];
    let ask = move |path: &str| request(ingress, &host, "GET", path, b"");
    eventually("it serves", || ask("/").status == 200);
    let slow = std::thread::spawn(move || ask("/?delay_ms=3000"));
    eventually("it is under way", || {
        request(admin, &[("Host", "admin")], "GET", "/clusters", b"").body.contains("rq_active::1")
    });
    let pid = world.pids()[0];
    let file = file_of(&world, &documents);
    world.leno(&["delete", "-f", &file]);
    eventually("the route is gone", || ask("/").status == 404);
    assert!(!slow.is_finished(), "the request is still under way");
    let answer = slow.join().expect("it is answered");
    assert_eq!(answer.status, 200, "{answer:?}");
    eventually("its process ends then", || !crate::is_running(pid));
}

/// What an apply that waits says, and that it says by its exit code that the document is not what runs.
fn not_as_its_document_says(world: &World, file: &str) -> String {
    let output = world.agent.cli(&["apply", "--wait", "-f", file]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn whoever_waits_is_told_by_what_order_of_an_operator_a_document_is_held_back() {
    let world = World::new();
    world.apply(&document("1", 1, &[], ""));
    world.settle("1");
    let file = file_of(&world, &document("2", 1, &[], ""));
    assert!(world.agent.cli(&["apply", "--wait", "-f", &file]).status.success());
    world.leno(&["rollout", "undo", "web"]);
    let by =
        "held back by an operator's undo of version 2; `leno rollout retry web` tries it again";
    for _ in 0..2 {
        let said = not_as_its_document_says(&world, &file);
        assert!(said.contains(by), "{said}");
    }
    for shown in [world.leno(&["ps"]), world.leno(&["get"])] {
        assert!(shown.contains(by), "{shown}");
    }
    // Without a wait, it is said as well.
    let output = world.agent.cli(&["apply", "-f", &file]);
    assert!(output.status.success() && text(&output.stderr).contains(by), "{output:?}");
    world.leno(&["rollout", "retry", "web"]);
    assert!(world.agent.cli(&["apply", "--wait", "-f", &file]).status.success());
    world.leno(&["scale", "web", "2"]);
    let said = not_as_its_document_says(&world, &file);
    assert!(said.contains("held back by an operator's scale to 2; `leno scale web 1`"), "{said}");
    world.leno(&["scale", "web", "1"]);
    assert!(world.agent.cli(&["apply", "--wait", "-f", &file]).status.success());
    world.leno(&["stop", "web"]);
    let said = not_as_its_document_says(&world, &file);
    assert!(said.contains("an operator's stop; `leno start web` starts it"), "{said}");
    // What is gone can still be read.
    let logs: Vec<Value> = {
        let path = "/leno/v1/workloads/logs?name=web";
        let http = world.agent.http;
        let answer = crate::support::request(http, &[("Host", "agent")], "GET", path, b"");
        answer.json().as_array().cloned().unwrap_or_default()
    };
    assert!(!logs.is_empty(), "the logs of its last copies are shown");
    world.leno(&["start", "web"]);
    assert!(world.agent.cli(&["apply", "--wait", "-f", &file]).status.success());
}

#[test]
fn once_the_old_document_is_back_nothing_is_said_of_the_rollout_that_was_undone() {
    let world = World::new();
    world.apply(&document("1", 1, &[], ""));
    world.settle("1");
    let bad = document("2", 1, &[], "").replace("echo, --name", "none-such, --name");
    let said = not_as_its_document_says(&world, &file_of(&world, &bad));
    assert!(!said.contains("rolling back: rolling back"), "{said}");
    let shown = world.leno(&["ps"]);
    assert!(shown.contains("undone") && shown.contains("the rollback of version 2"), "{shown}");
    let good = file_of(&world, &document("1", 1, &[], ""));
    let output = world.agent.cli(&["apply", "--wait", "-f", &good]);
    assert!(output.status.success(), "{output:?}");
    let report = world.report();
    assert_eq!((&report["reason"], &report["held_back"]), (&"".into(), &"".into()), "{report:#}");
}

#[test]
fn a_release_that_few_requests_could_be_compared_for_says_so() {
    let world = World::new();
    world.apply(&document("1", 1, &[], ""));
    world.settle("1");
    let shown = world.leno(&["rollout", "status", "web"]);
    assert!(shown.contains("figures: no requests to compare"), "{shown}");
    let file = file_of(&world, &document("2", 1, &[], ""));
    let output = world.agent.cli(&["apply", "--wait", "-f", &file]);
    assert!(output.status.success(), "{output:?}");
    let why = "0 requests were too few to compare; checks and time decided";
    assert!(text(&output.stdout).contains(&format!("was promoted: {why}")), "{output:?}");
    let history = world.leno(&["rollout", "history", "web"]);
    assert_eq!(history.matches(why).count(), 1, "{history}");
}

#[test]
fn nobody_waits_for_what_does_not_exist_or_has_failed() {
    let world = World::new();
    let dependent = document("1", 1, &[], "  dependsOn: [migrate]\n");
    let file = file_of(&world, &dependent);
    let said = not_as_its_document_says(&world, &file);
    assert!(said.contains("there is no workload migrate"), "{said}");
    assert!(said.contains("waiting: for migrate, which does not exist"), "{said}");
    let job = |script: &str| {
        format!(
            "apiVersion: leno.dev/v1\nkind: Workload\nmetadata: {{name: migrate}}\nspec:\n  type: Job\n  \
             command: [sh, -c, {script:?}]\n  restart: {{policy: Never}}\n"
        )
    };
    world.apply(&job("exit 3"));
    world.wait_for("migrate", "failed");
    let file = file_of(&world, &dependent);
    let said = not_as_its_document_says(&world, &file);
    assert!(!said.contains("there is no workload"), "{said}");
    assert!(said.contains("waiting: for migrate, which has failed"), "{said}");
    // What may still come is waited for, as long as one likes.
    world.apply(&job("sleep 20"));
    let file = file_of(&world, &dependent);
    let output = world.agent.cli(&["apply", "--wait", "--timeout", "300ms", "-f", &file]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = text(&output.stderr);
    assert!(
        said.contains("after 300ms: web, version none, 0 of 1 ready, waiting: for migrate"),
        "{said}"
    );
    world.apply(&job("exit 0"));
    let file = file_of(&world, &dependent);
    let output = world.agent.cli(&["apply", "--wait", "--timeout", "1m", "-f", &file]);
    assert!(output.status.success(), "{output:?}");
    // Nothing of it runs, and what is done is done.
    for (order, why) in [
        (&["stop", "migrate"][..], "migrate has completed; nothing runs"),
        (&["rollout", "retry", "migrate"][..], "`leno restart migrate` runs it again"),
    ] {
        let output = world.agent.cli(order);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text(&output.stderr).contains(why), "{output:?}");
    }
    assert_eq!(world.report_of("migrate")["state"], "completed");
}
