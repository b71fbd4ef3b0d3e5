//! Workloads: real processes that are started, lost, replaced and taken back, under a constant load. A program of its own,
//! so that the load is not beside the tests of `it`.
#![allow(clippy::print_stdout)] // What was measured belongs to a failure.

mod jobs;
mod killed;
mod limits;
mod operators;
mod remote;
#[allow(dead_code)] // It has what `guards` needs, too.
mod steady;
#[path = "../it/support.rs"]
#[allow(dead_code)] // It has what `it` needs, too.
mod support;
mod traffic;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::steady::{Speech, Steady, Tally};
use crate::support::{Agent, HANG, eventually, text};

/// Rounds of the rolling replacement; a hundred with `LENO_NIGHTLY=1`.
const ROUNDS: u32 = 20;

/// How often a copy is killed; the wait before a restart doubles with each.
const KILLS: u32 = 3;

/// Each with a fourth of the requests.
const SPEECHES: [Speech; 4] = [Speech::Http1, Speech::Http2, Speech::Grpc, Speech::GrpcStream];

/// An agent with its data in a folder, and documents beside it.
struct World {
    agent: Agent,
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let agent = Agent::durable(&folder.path().join("data"));
        Self { agent, folder }
    }

    fn file(&self, text: &str) -> PathBuf {
        let path = self.folder.path().join("workload.yaml");
        std::fs::write(&path, text).expect("it can be written");
        path
    }

    fn apply(&self, document: &str) {
        let file = self.file(document);
        let output = self.agent.cli(&["apply", "-f", file.to_str().expect("a readable path")]);
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    }

    fn report(&self) -> Value {
        self.report_of("web")
    }

    fn report_of(&self, name: &str) -> Value {
        let path = format!("/leno/v1/workloads?name={name}");
        let http = self.agent.http;
        // The agent may be killed at any time.
        let answer = crate::support::try_request(http, &[("Host", "agent")], "GET", &path, b"");
        let is_there = |it: &crate::support::Answer| it.status == 200;
        answer.filter(is_there).map_or(Value::Null, |it| it.json()[0].clone())
    }

    /// Waits until `web` runs in this version and nothing is under way.
    fn settle(&self, version: &str) {
        let mut last = Value::Null;
        let began = Instant::now();
        while began.elapsed() < HANG * 2 {
            last = self.report();
            if last["state"] == "running" && last["version"] == version {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not come to rest in version {version}: {last:#}");
    }

    /// Waits until a workload is in this state, and returns how it is then.
    fn wait_for(&self, name: &str, state: &str) -> Value {
        let mut last = Value::Null;
        let began = Instant::now();
        while began.elapsed() < HANG {
            last = self.report_of(name);
            if last["state"] == state {
                return last;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{name} is never {state}: {last:#}");
    }

    /// Another life of the agent over the same data.
    fn agent_again(&mut self) {
        self.agent = Agent::durable(&self.folder.path().join("data"));
    }

    fn steady(&self, speech: Speech, rate: f64) -> Steady {
        Steady::start(self.mesh(), "web", speech, rate)
    }

    fn mesh(&self) -> SocketAddr {
        self.agent.mesh.expect("there is a mesh listener")
    }

    /// The proxy may send requests to this port.
    fn is_used(&self, port: u64) -> bool {
        let admin = self.agent.admin.expect("there is an admin server");
        let page = crate::support::request(admin, &[("Host", "admin")], "GET", "/clusters", b"");
        page.body.contains(&format!("web::127.0.0.1:{port}::health_flags::healthy"))
    }

    fn pids(&self) -> Vec<u32> {
        let report = self.report();
        let copies = report["copies"].as_array().cloned().unwrap_or_default();
        copies.iter().filter_map(|it| it["pid"].as_u64()?.try_into().ok()).collect()
    }

    fn leno(&self, arguments: &[&str]) -> String {
        let output = self.agent.cli(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }
}

/// A workload `web` of the test application, with more of its arguments, and more of its spec.
fn document(version: &str, replicas: u32, arguments: &[&str], more: &str) -> String {
    let program = env!("CARGO_BIN_EXE_leno");
    let arguments: String = arguments.iter().map(|it| format!(", {it:?}")).collect();
    format!(
        "apiVersion: leno.dev/v1\nkind: Workload\nmetadata: {{name: web}}\nspec:\n  version: {version:?}\n  \
         command: [{program:?}, echo, --name, {version:?}, --listen, '127.0.0.1:$(PORT)'{arguments}]\n  \
         replicas: {replicas}\n  port: Auto\n  address: 127.0.0.1\n  checks: [{{http: /health}}]\n{more}"
    )
}

/// With the steps that it has when nobody says others.
const DEFAULT_CANARY: &str = "  rollout: {strategy: Canary}\n";

/// Steps short enough for a test.
const CANARY: &str = "  rollout:\n    strategy: Canary\n    steps: [{weight: 20, duration: 4s}, {weight: 50, duration: 4s}]\n";

fn rounds() -> u32 {
    if std::env::var_os("LENO_NIGHTLY").is_some() { 100 } else { ROUNDS }
}

/// A thousand requests a second, a fourth each in HTTP/1.1, HTTP/2, gRPC and streams of gRPC.
struct Load {
    began: Instant,
    clients: [Steady; 4],
}

impl Load {
    fn start(mesh: SocketAddr) -> Self {
        let clients = SPEECHES.map(|speech| Steady::start(mesh, "web", speech, 250.0));
        Self { began: Instant::now(), clients }
    }

    /// None has failed, and they were as many as they were to be.
    fn end(self) {
        let seconds = self.began.elapsed().as_secs_f64();
        let tallies = self.clients.map(Steady::stop);
        let counts: Vec<u64> = tallies.iter().map(|it| it.requests).collect();
        println!("{counts:?} requests in {seconds:.1} s");
        tallies.iter().for_each(none_failed);
        // Who falls behind makes up for it; a machine that does much else may be too slow for some.
        let rate = counts.iter().sum::<u64>() as f64 / seconds;
        assert!(rate > 800.0, "{rate:.0} requests/s: {counts:?}");
    }
}

fn none_failed(tally: &Tally) {
    assert!(tally.requests > 0);
    assert_eq!(tally.failed, 0, "of {}: {:?}", tally.requests, tally.words);
}

#[test]
fn ten_copies_are_replaced_again_and_again_and_no_request_fails() {
    let world = World::new();
    // It is about losing none; on a machine that does much else, what is as good may look slower.
    let calm = "  rollout: {evidence: {maxLatencyIncrease: 1000%}}\n";
    world.apply(&document("0", 10, &[], calm));
    world.settle("0");
    let load = Load::start(world.mesh());
    for round in 1..=rounds() {
        world.apply(&document(&round.to_string(), 10, &[], calm));
        world.settle(&round.to_string());
    }
    load.end();
}

#[test]
fn instances_are_stopped_again_and_again_and_no_request_fails() {
    let world = World::new();
    let half = |name: &str| {
        document("1", 5, &[], "  service: web\n")
            .replace("{name: web}", &format!("{{name: {name}}}"))
    };
    for name in ["blue", "green"] {
        world.apply(&half(name));
        world.leno(&["start", name]);
    }
    let passing = || {
        let instances = world.agent.ask("GET", "/v1/health/service/web?passing", "").json();
        instances.as_array().map_or(0, Vec::len)
    };
    eventually("both serve", || passing() == 10);
    let load = Load::start(world.mesh());
    for _ in 0..rounds() {
        for name in ["blue", "green"] {
            world.leno(&["stop", name]);
            assert_eq!(passing(), 5);
            world.leno(&["start", name]);
            assert_eq!(passing(), 10);
        }
    }
    load.end();
}

#[test]
fn a_workload_that_is_scaled_restarted_stopped_and_started_loses_no_request_while_it_serves() {
    let world = World::new();
    world.apply(&document("1", 3, &[], ""));
    world.settle("1");
    let client = world.steady(Speech::Http1, 200.0);
    let before = world.pids();
    world.leno(&["scale", "web", "5"]);
    assert_eq!(world.pids().len(), 5);
    world.leno(&["scale", "web", "2"]);
    eventually("three are gone", || world.pids().len() == 2);
    world.leno(&["restart", "web"]);
    world.settle("1");
    eventually("the old ones are gone", || world.pids().len() == 2);
    assert!(world.pids().iter().all(|it| !before.contains(it)), "all are new");
    none_failed(&client.stop());
    assert!(world.leno(&["stop", "web"]).contains("stopped: an operator stopped it"));
    assert!(world.pids().is_empty());
    let answer = crate::support::request(world.mesh(), &[("Host", "web")], "GET", "/", b"");
    assert_eq!(answer.status, 503, "there is such a service, and nobody to serve: {answer:?}");
    let refused = world.agent.cli(&["restart", "web"]);
    assert!(text(&refused.stderr).contains("web is stopped; start it first"));
    world.leno(&["start", "web"]);
    assert_eq!(world.pids().len(), 2);
    assert!(world.leno(&["ps", "web"]).contains("web-2-0"));
    assert!(world.leno(&["logs", "web", "--copy", "web-2-0"]).contains("on http://127.0.0.1:"));
    assert!(world.leno(&["logs", "web", "--copy", "web-1-0"]).contains("on http://127.0.0.1:"));
}

#[test]
fn a_copy_that_is_killed_is_out_of_use_and_serves_again_soon_and_no_request_fails() {
    let world = World::new();
    world.apply(&document("1", 3, &[], ""));
    world.settle("1");
    let client = Steady::start_with_retries(world.mesh(), "web", 300.0);
    let (mut out_of_use, mut serving) = (Vec::new(), Vec::new());
    for nth in 0..KILLS {
        let copy = &world.report()["copies"][1];
        let (killed, port) = (copy["pid"].as_u64().unwrap() as u32, copy["port"].as_u64().unwrap());
        let began = Instant::now();
        runtime::kill(killed).expect("it runs");
        eventually("it is out of use", || !world.is_used(port));
        out_of_use.push(began.elapsed());
        eventually("it is started again", || {
            world.report()["ready"] == 3 && !world.pids().contains(&killed)
        });
        eventually("it serves", || {
            let port = world.report()["copies"][1]["port"].as_u64().unwrap();
            world.is_used(port) && world.pids().iter().all(|pid| *pid != killed)
        });
        serving.push(began.elapsed());
        let report = world.report();
        assert_eq!(report["copies"][1]["restarts"], nth + 1, "{report:#}");
        let told = format!("process {killed} ended: SIGKILL");
        assert_eq!(report["copies"][1]["output"], told.as_str());
    }
    none_failed(&client.stop());
    println!("out of use after {out_of_use:?}, serving after {serving:?}");
    // The middle one of several: another program may have had the processor for a while.
    assert!(middle(&mut out_of_use) < Duration::from_millis(300), "{out_of_use:?}");
    assert!(middle(&mut serving) < Duration::from_secs(1), "{serving:?}");
}

fn middle(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Rolls `bad` out beside a good version at 200 requests/s, and returns what was said of it, how the requests of half a
/// minute around it went, and how long it had requests.
fn taken_back(bad: &[&str]) -> (Value, Tally, Duration) {
    let world = World::new();
    let good = document("1", 3, &["--latency-ms", "5"], DEFAULT_CANARY);
    world.apply(&good);
    world.settle("1");
    let client = world.steady(Speech::Http1, 200.0);
    let client_began = Instant::now();
    std::thread::sleep(Duration::from_secs(1));
    world.apply(&document("2", 3, bad, DEFAULT_CANARY));
    eventually("it has its share", || {
        world.report()["rollout"]["shares"].as_array().is_some_and(|it| it.len() == 2)
    });
    let began = Instant::now();
    let mut last = Value::Null;
    eventually("it is taken back", || {
        last = world.report();
        last["rollout"]["history"][0]["version"] == "2"
    });
    let took = began.elapsed();
    std::thread::sleep(Duration::from_secs(30).saturating_sub(client_began.elapsed()));
    let tally = client.stop();
    let past = last["rollout"]["history"][0].clone();
    assert_eq!(past["outcome"], "rolled back", "{last:#}");
    let status = world.leno(&["rollout", "status", "web"]);
    assert!(status.contains(past["reason"].as_str().unwrap_or("no reason")), "{status}");
    assert!(status.contains("figures: new: "), "{status}");
    world.settle("1");
    eventually("the bad copies are gone", || world.pids().len() == 3);
    println!("taken back after {took:?}: {} of {} failed", tally.failed, tally.requests);
    assert!(took < Duration::from_secs(10), "{took:?}: {past:#}");
    // Under half a percent of all.
    assert!(tally.failed * 200 < tally.requests, "{} of {}", tally.failed, tally.requests);
    (past, tally, took)
}

#[test]
fn a_canary_that_fails_five_percent_of_its_requests_is_taken_back() {
    let (past, tally, _) = taken_back(&["--latency-ms", "5", "--error-rate", "0.05"]);
    assert!(past["reason"].as_str().unwrap().starts_with("more requests fail"), "{past:#}");
    assert!(tally.failed > 0);
}

#[test]
fn a_canary_that_is_three_times_slower_is_taken_back() {
    let (past, tally, took) = taken_back(&["--latency-ms", "15"]);
    assert!(past["reason"].as_str().unwrap().starts_with("requests take longer"), "{past:#}");
    // A fifth of those meanwhile were slow.
    let slow = took.as_secs_f64() * 200.0 / 5.0;
    assert!(slow < tally.requests as f64 / 200.0, "{took:?}");
    none_failed(&tally);
}

#[test]
fn a_canary_that_is_as_good_is_promoted_and_can_be_undone() {
    let world = World::new();
    // A release that takes as long as the machine happens to let it is not to be called slower.
    let canary = format!("{CANARY}    evidence: {{maxLatencyIncrease: 1000%}}\n");
    world.apply(&document("1", 3, &[], &canary));
    world.settle("1");
    let client = world.steady(Speech::Http1, 200.0);
    world.apply(&document("2", 3, &[], &canary));
    world.settle("2");
    world.leno(&["rollout", "undo", "web"]);
    world.settle("1");
    none_failed(&client.stop());
    let history = world.leno(&["rollout", "history", "web"]);
    assert!(history.contains("promoted"), "{history}");
}

#[test]
fn a_canary_gets_its_share_whatever_the_number_of_its_copies() {
    let world = World::new();
    let canary = "  rollout: {strategy: Canary, steps: [{weight: 10, duration: 30s}]}\n";
    world.apply(&document("1", 1, &[], canary));
    world.settle("1");
    world.apply(&document("2", 1, &[], canary));
    let shares = serde_json::json!([[1, 90], [2, 10]]);
    eventually("it has its share", || {
        let report = world.report();
        let events = report["rollout"]["events"][0][1].as_str().unwrap_or_default().to_owned();
        report["rollout"]["shares"] == shares && events.contains("gets 10 % of the requests")
    });
    world.leno(&["rollout", "pause", "web"]);
    let client = world.steady(Speech::Http1, 200.0);
    std::thread::sleep(Duration::from_secs(2));
    let tally = client.stop();
    none_failed(&tally);
    let share = tally.by_name["2"] as f64 / tally.requests as f64;
    println!("10 %: {:.2} % of {} requests", share * 100.0, tally.requests);
    assert!((share - 0.1).abs() < 0.03, "{:?}", tally.by_name);
    world.leno(&["rollout", "undo", "web"]);
    world.settle("1");
}

#[test]
fn a_version_that_ends_again_and_again_is_taken_back_and_the_old_one_serves_on() {
    let world = World::new();
    world.apply(&document("1", 2, &[], ""));
    world.settle("1");
    let client = world.steady(Speech::Http1, 100.0);
    let crashing = document("2", 2, &[], "").replace("echo, --name", "none-such, --name");
    world.apply(&crashing);
    let mut report = Value::Null;
    eventually("it is taken back", || {
        report = world.report();
        report["rollout"]["history"][0]["outcome"] == "rolled back"
    });
    world.settle("1");
    let table = world.leno(&["ps"]);
    assert!(table.contains("the last rollout was undone: web-2-0 ended"), "{table}");
    none_failed(&client.stop());
}

#[test]
fn a_first_version_that_ends_again_and_again_is_held_and_says_why() {
    let world = World::new();
    let restart = "  restart: {delay: 1ms, maxRestarts: 3}\n";
    let crashing = document("1", 1, &[], restart).replace("echo, --name", "none-such, --name");
    world.apply(&crashing);
    eventually("it is held", || world.report()["state"] == "held");
    let table = world.leno(&["ps", "web"]);
    assert!(table.contains("ended: exit code 2"), "{table}");
    assert!(world.leno(&["logs", "web"]).contains("unrecognized subcommand 'none-such'"));
    world.apply(&document("2", 1, &[], ""));
    world.settle("2");
}

#[test]
fn processes_that_are_kept_survive_the_agent_and_are_neither_lost_nor_doubled() {
    let mut world = World::new();
    world.apply(&document("1", 3, &[], "  onAgentExit: Keep\n"));
    world.settle("1");
    let before = world.pids();
    let data = world.folder.path().join("data");
    for _ in 0..3 {
        world.agent.kill();
        world.agent = Agent::durable(&data);
        eventually("all are ready", || world.report()["ready"] == 3);
        assert_eq!(world.pids(), before);
    }
    world.agent.signal("TERM");
    assert_eq!(world.agent.exit_code(), Some(0));
    world.agent = Agent::durable(&data);
    eventually("all are ready", || world.report()["ready"] == 3);
    assert_eq!(world.pids(), before);
    world.leno(&["stop", "web"]);
}

#[test]
fn processes_that_are_not_kept_die_with_the_agent_and_are_started_again() {
    let mut world = World::new();
    world.apply(&document("1", 2, &[], ""));
    world.settle("1");
    let before = world.pids();
    world.agent.kill();
    eventually("they are gone", || before.iter().all(|it| !is_running(*it)));
    world.agent = Agent::durable(&world.folder.path().join("data"));
    eventually("all are ready", || world.report()["ready"] == 2);
    assert!(world.pids().iter().all(|it| !before.contains(it)));
}

fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|it| !it.1.starts_with(['Z', 'X']))
}

#[test]
fn what_cannot_be_started_is_named_before_anything_is() {
    let world = World::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = taken.local_addr().unwrap().port();
    let good = document("1", 1, &[], "");
    let program = env!("CARGO_BIN_EXE_leno");
    let cases = [
        (
            good.replace(program, "/none/such"),
            "spec.command: the program \"/none/such\" cannot be run",
        ),
        (
            good.replace("port: Auto", &format!("port: {port}")),
            "cannot be had: the port is in use by",
        ),
        (format!("{good}  user: nobody-of-that-name\n"), "is not in /etc/passwd"),
        (format!("{good}  workingDir: /none/such\n"), "/none/such is not a folder"),
    ];
    for (document, words) in cases {
        world.apply(&document);
        let mut report = Value::Null;
        eventually("it is told", || {
            report = world.report();
            report["reason"].as_str().is_some_and(|it| it.contains(words))
        });
        assert_eq!(report["state"], "not started", "{report:#}");
        assert_eq!(report["copies"], serde_json::json!([]));
        let file = world.file(&document);
        world.leno(&["delete", "-f", file.to_str().expect("a readable path")]);
        eventually("it is gone", || world.report().is_null());
    }
    let refused = [
        (good.replace("replicas: 1", "replicas: 0"), "replicas"),
        (format!("{good}  stop: {{signal: SIGNONE}}\n"), "SIGNONE"),
        (format!("{good}  dependsOn: [web]\n"), "dependsOn"),
    ];
    for (document, words) in refused {
        let file = world.file(&document);
        let output = world.agent.cli(&["apply", "-f", file.to_str().expect("a readable path")]);
        let errors = text(&output.stderr);
        assert!(!output.status.success() && errors.contains(words), "{words}: {errors}");
    }
}

#[test]
fn a_check_that_never_passes_is_told_within_its_deadline() {
    let world = World::new();
    let arguments = ["--error-rate", "1"];
    let never = document("1", 1, &arguments, "  startTimeout: 2s\n").replace("/health", "/other");
    world.apply(&never);
    let mut report = Value::Null;
    eventually("it is told", || {
        report = world.report();
        report["state"] == "held"
    });
    assert!(report["reason"].as_str().unwrap().contains("did not pass within 2"), "{report:#}");
    assert!(report["reason"].as_str().unwrap().contains("500"), "{report:#}");
}

#[test]
fn a_copy_that_somebody_deregisters_is_registered_again_and_can_be_stopped() {
    let world = World::new();
    world.apply(&document("1", 2, &[], ""));
    world.settle("1");
    let gone = world.agent.ask("PUT", "/v1/agent/service/deregister/web-1-0", "");
    assert_eq!(gone.status, 200);
    eventually("it is there again", || {
        let instances = world.agent.ask("GET", "/v1/health/service/web?passing", "").json();
        instances.as_array().map_or(0, Vec::len) == 2
    });
    world.leno(&["stop", "web"]);
    assert!(world.pids().is_empty());
}

#[test]
fn a_document_that_is_deleted_and_applied_again_at_once_begins_anew() {
    let world = World::new();
    let web = document("1", 2, &[], "");
    world.apply(&web);
    world.settle("1");
    let before = world.pids();
    let file = world.file(&web);
    world.leno(&["delete", "-f", file.to_str().expect("a readable path")]);
    world.apply(&web);
    eventually("others run", || {
        let now = world.pids();
        now.len() == 2 && now.iter().all(|it| !before.contains(it))
    });
    world.settle("1");
}

#[test]
fn an_undo_keeps_the_number_of_copies_and_a_restart_keeps_to_what_serves() {
    let world = World::new();
    world.apply(&document("1", 1, &[], ""));
    world.settle("1");
    world.apply(&document("2", 1, &[], ""));
    world.settle("2");
    world.leno(&["scale", "web", "3"]);
    world.leno(&["rollout", "undo", "web"]);
    world.settle("1");
    eventually("three run", || world.report()["ready"] == 3 && world.pids().len() == 3);
    world.leno(&["restart", "web"]);
    world.settle("1");
    eventually("three run", || world.report()["ready"] == 3 && world.pids().len() == 3);
    let refused = world.agent.ask("POST", "/leno/v1/workloads/scale?name=web&replicas=20000", "");
    assert_eq!((refused.status, &*refused.body), (409, "there may be 1 to 1000 copies\n"));
    world.settle("1");
}

#[test]
fn a_fixed_port_is_had_by_one_release_at_a_time_also_on_the_way_back() {
    let world = World::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = free.local_addr().unwrap().port();
    drop(free);
    let fixed =
        |version| document(version, 1, &[], "").replace("port: Auto", &format!("port: {port}"));
    world.apply(&fixed("1"));
    world.settle("1");
    world.apply(&fixed("2"));
    world.settle("2");
    world.leno(&["rollout", "undo", "web"]);
    world.settle("1");
    let refused = world.agent.cli(&["scale", "web", "2"]);
    assert!(text(&refused.stderr).contains("copies cannot share the port"));
    let answer = world.report();
    assert_eq!(answer["copies"].as_array().map(Vec::len), Some(1), "{answer:#}");
}

#[test]
fn an_undo_of_what_could_not_be_started_leaves_what_serves_alone() {
    let world = World::new();
    world.apply(&document("1", 1, &[], ""));
    world.settle("1");
    world.apply(&document("2", 1, &[], ""));
    world.settle("2");
    let before = world.pids();
    world.apply(&document("3", 1, &[], "").replace(env!("CARGO_BIN_EXE_leno"), "/none/such"));
    eventually("it is told", || world.report()["state"] == "held");
    world.leno(&["rollout", "undo", "web"]);
    world.settle("2");
    assert_eq!(world.pids(), before);
}

#[test]
fn a_workload_is_scaled_in_the_middle_of_a_paused_rollout() {
    let world = World::new();
    world.apply(&document("1", 2, &[], ""));
    world.settle("1");
    world.apply(&document("2", 2, &[], ""));
    world.leno(&["rollout", "pause", "web"]);
    world.leno(&["scale", "web", "3"]);
    assert_eq!(world.report()["ready"], 3);
    world.leno(&["rollout", "undo", "web"]);
    world.settle("1");
}

#[test]
fn a_page_in_a_browser_starts_nothing() {
    let world = World::new();
    let headers = [("Host", "evil.example"), ("Origin", "http://evil.example")];
    let answer =
        crate::support::request(world.agent.http, &headers, "POST", "/leno/v1/apply", b"{}");
    assert_eq!(answer.status, 403);
}

#[test]
fn a_workload_waits_for_those_that_it_depends_on() {
    let world = World::new();
    let web = document("1", 1, &[], "  dependsOn: [db]\n");
    world.apply(&web);
    eventually("it waits", || world.report()["reason"] == "for db, which does not exist");
    assert!(world.pids().is_empty());
    let revision = || world.agent.ask("GET", "/leno/v1/status", "").json()["revision"].clone();
    let before = revision();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(revision(), before, "who waits writes nothing");
    world.apply(&document("1", 1, &[], "").replace("{name: web}", "{name: db}"));
    world.settle("1");
}
