//! Rollouts of a service whose instances run by themselves and register through Consul's API: only requests move.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::none_failed;
use crate::steady::{Speech, Steady, Tally};
use crate::support::{Agent, HANG, eventually, leno, request, text};

/// Requests per second of the clients.
const RATE: f64 = 200.0;

/// A test application that nobody supervises.
struct Server {
    process: Child,
    port: u16,
}

impl Server {
    fn start(version: &str, arguments: &[&str]) -> Self {
        let mut command = leno();
        command.args(["echo", "--name", version, "--listen", "127.0.0.1:0"]).args(arguments);
        let mut process = command.stdout(Stdio::piped()).spawn().expect("it was built");
        let output = process.stdout.take().expect("it is piped");
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("it says where it listens");
        let port = line.trim_end().rsplit_once(':').and_then(|it| it.1.parse().ok());
        Self { process, port: port.unwrap_or_else(|| panic!("no port in {line:?}")) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A command that waits; killed and reaped when it is dropped.
struct Waiting(Child);

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An agent, and instances of `web` that have registered themselves.
struct World {
    agent: Agent,
    folder: TempDir,
    servers: Vec<(String, Server)>,
}

impl World {
    /// With so many instances of `v1`, which the proxy knows.
    fn new(count: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let agent = Agent::durable(&folder.path().join("data"));
        let mut world = Self { agent, folder, servers: Vec::new() };
        for nth in 0..count {
            world.add(&format!("old-{nth}"), "v1", &["--latency-ms", "5"]);
        }
        // A registration is answered when it is stored, and the proxy hears of it after that.
        for (id, server) in &world.servers {
            eventually(&format!("the proxy knows {id}"), || world.is_known(server.port));
        }
        world
    }

    /// The proxy has an endpoint with this port.
    fn is_known(&self, port: u16) -> bool {
        let admin = self.agent.admin.expect("there is an admin server");
        let page = request(admin, &[("Host", "admin")], "GET", "/clusters", b"");
        page.body.contains(&format!("web::127.0.0.1:{port}::"))
    }

    fn add(&mut self, id: &str, version: &str, arguments: &[&str]) {
        let server = Server::start(version, arguments);
        let check = format!("http://127.0.0.1:{}/health", server.port);
        let body = json!({
            "ID": id, "Name": "web", "Address": "127.0.0.1", "Port": server.port,
            "Meta": {"version": version},
            "Check": {"HTTP": check, "Interval": "1s", "Status": "passing"},
        });
        let path = "/v1/agent/service/register";
        assert_eq!(self.agent.ask("PUT", path, &body.to_string()).status, 200);
        self.servers.push((id.to_owned(), server));
    }

    fn remove(&mut self, id: &str) {
        let path = format!("/v1/agent/service/deregister/{id}");
        assert_eq!(self.agent.ask("PUT", &path, "").status, 200);
        let gone = self.servers.iter().position(|it| it.0 == id).expect("it was added");
        let (_, server) = self.servers.remove(gone);
        eventually("the proxy calls it no more", || !self.is_known(server.port));
    }

    fn file(&self, text: &str) -> PathBuf {
        let path = self.folder.path().join("rollout.yaml");
        std::fs::write(&path, text).expect("it can be written");
        path
    }

    fn apply(&self, document: &str) {
        let file = self.file(document);
        self.leno(&["apply", "-f", file.to_str().expect("a readable path")]);
    }

    /// Applies and waits; whether that ended well, and all that was said.
    fn apply_and_wait(&self, document: &str) -> (bool, String) {
        let file = self.file(document);
        let file = file.to_str().expect("a readable path");
        let output = self.agent.cli(&["apply", "--wait", "-f", file]);
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        (output.status.success(), said)
    }

    fn leno(&self, arguments: &[&str]) -> String {
        let output = self.agent.cli(arguments);
        let (said, errors) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {said}{errors}");
        said
    }

    fn report(&self) -> Value {
        let answer = self.agent.ask("GET", "/leno/v1/rollouts?name=web", "");
        if answer.status == 200 { answer.json()[0].clone() } else { Value::Null }
    }

    /// Waits until its report is so.
    fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let began = Instant::now();
        while began.elapsed() < HANG * 2 {
            last = self.report();
            if is_so(&last) {
                return last;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{what}: {last:#}");
    }

    fn settle(&self, version: &str) -> Value {
        self.until(version, |it| it["state"] == "running" && it["version"] == version)
    }

    /// Waits until the proxies have given the new version so many percent.
    fn until_step(&self, percent: u32) {
        let words = format!("the new release gets {percent} % of the requests");
        self.until(&words, |it| events(it).any(|event| event.1.ends_with(&words)));
    }

    fn steady(&self) -> Steady {
        let mesh = self.agent.mesh.expect("there is a mesh listener");
        Steady::start(mesh, "web", Speech::Http1, RATE)
    }

    /// Who answers, over some seconds.
    fn sample(&self, seconds: u64) -> Tally {
        let client = self.steady();
        std::thread::sleep(Duration::from_secs(seconds));
        client.stop()
    }

    /// Whose instances Consul's clients are told, which are all.
    fn registered(&self) -> usize {
        let instances = self.agent.ask("GET", "/v1/health/service/web?passing", "").json();
        instances.as_array().map_or(0, Vec::len)
    }
}

/// What has happened, the newest first: when, and in words.
fn events(report: &Value) -> impl Iterator<Item = (u64, &str)> {
    let events = report["rollout"]["events"].as_array().into_iter().flatten();
    events.filter_map(|it| Some((it[0].as_u64()?, it[1].as_str()?)))
}

/// Version `version` of `web`. A version that takes as long as the machine happens to let it is not to be called slower.
fn document(version: &str, seconds: u32) -> String {
    format!(
        "apiVersion: leno.dev/v1\nkind: Rollout\nmetadata: {{name: web}}\nspec:\n  service: web\n  \
         version: {version}\n  strategy: Canary\n  steps: [{{weight: 20, duration: {seconds}s}}, \
         {{weight: 50, duration: {seconds}s}}]\n  evidence: {{maxLatencyIncrease: 1000%}}\n"
    )
}

fn share(tally: &Tally, name: &str) -> f64 {
    tally.by_name.get(name).copied().unwrap_or_default() as f64 / tally.requests as f64
}

#[test]
fn a_good_version_is_given_its_shares_step_by_step_and_an_undo_is_instant() {
    let mut world = World::new(3);
    world.apply(&document("v1", 2));
    world.settle("v1");
    let mut clients = vec![world.steady()];
    world.apply(&document("v2", 2));
    let report = world.until("it waits", |it| it["state"] == "waiting");
    assert_eq!(report["reason"], "for an instance of version v2", "{report:#}");
    world.add("new-0", "v2", &["--latency-ms", "5"]);
    for (percent, expected) in [(20, 0.2), (50, 0.5)] {
        world.until_step(percent);
        world.leno(&["rollout", "pause", "web"]);
        none_failed(&clients.pop().expect("there is a client").stop());
        let admin = world.agent.admin.expect("there is an admin listener").to_string();
        let explained = world.leno(&["explain", "--proxy-admin", &admin, "http://web/"]);
        let cause = format!("v2 (share {percent} by Rollout/web in namespace default @ revision");
        assert!(explained.contains(&cause), "{explained}");
        let tally = world.sample(3);
        none_failed(&tally);
        let share = share(&tally, "v2");
        println!("{percent} %: {:.2} % of {} requests", share * 100.0, tally.requests);
        assert!((share - expected).abs() < 0.03, "{percent} %: {:?}", tally.by_name);
        world.leno(&["rollout", "resume", "web", "--no-wait"]);
        clients.push(world.steady());
    }
    world.settle("v2");
    // Others of the old version, and of one that nobody asked for, get nothing.
    world.add("old-3", "v1", &[]);
    world.add("odd", "v9", &[]);
    none_failed(&clients.pop().expect("there is a client").stop());
    let tally = world.sample(1);
    none_failed(&tally);
    assert_eq!(share(&tally, "v2"), 1.0, "{:?}", tally.by_name);
    assert_eq!(world.registered(), 6);

    let client = world.steady();
    let began = Instant::now();
    world.leno(&["rollout", "undo", "web"]);
    println!("undone after {:?}", began.elapsed());
    world.settle("v1");
    let tally = world.sample(1);
    assert_eq!(share(&tally, "v1"), 1.0, "{:?}", tally.by_name);
    none_failed(&client.stop());
    let history = world.leno(&["rollout", "history", "web"]);
    assert_eq!(history.matches("promoted").count(), 3, "{history}");
    assert!(world.leno(&["rollout", "list"]).contains(" rollout "));
}

#[test]
fn a_version_that_fails_five_percent_of_its_requests_is_taken_back() {
    let mut world = World::new(3);
    let (is_well, said) = world.apply_and_wait(&document("v1", 20));
    assert!(is_well, "{said}");
    let report = world.report();
    assert_eq!((&report["state"], &report["version"]), (&json!("running"), &json!("v1")), "{said}");
    let client = world.steady();
    std::thread::sleep(Duration::from_secs(1));
    world.add("bad", "v2", &["--latency-ms", "5", "--error-rate", "0.05"]);
    let (is_well, said) = world.apply_and_wait(&document("v2", 20));
    assert!(!is_well && said.contains("was rolled back: more requests fail"), "{said}");
    let report = world.report();
    assert_eq!(report["rollout"]["history"][0]["version"], "v2", "{report:#}");
    let (is_well, said) = world.apply_and_wait(&document("v2", 20));
    assert!(!is_well && said.contains("`leno rollout retry web` tries it again"), "{said}");
    let past = &report["rollout"]["history"][0];
    assert_eq!(past["outcome"], "rolled back", "{report:#}");
    let reason = past["reason"].as_str().expect("there is a reason");
    assert!(reason.starts_with("more requests fail"), "{reason}");
    let arrived = events(&report).find(|it| it.1.ends_with("gets 20 % of the requests"));
    let arrived_ms = arrived.expect("its share arrived").0;
    let took_ms = past["ended_ms"].as_u64().expect("it ended") - arrived_ms;
    let tally = client.stop();
    println!("taken back {took_ms} ms after its share arrived: {reason}");
    println!("{} of {} requests failed", tally.failed, tally.requests);
    // Under 10 s on a machine that does nothing else; this is the bound for a verdict that never comes.
    assert!(took_ms < 20_000, "{took_ms} ms");
    assert!(tally.failed * 50 < tally.requests, "{} of {}", tally.failed, tally.requests);
    let status = world.leno(&["rollout", "status", "web"]);
    assert!(status.contains(reason) && status.contains("figures: new: "), "{status}");
    world.settle("v1");
    let tally = world.sample(1);
    none_failed(&tally);
    assert_eq!(share(&tally, "v1"), 1.0, "{:?}", tally.by_name);
    assert_eq!(world.registered(), 4, "whose processes they are is not ours to say");
}

#[test]
fn how_a_version_answers_in_its_rollout_is_left_to_the_rollout() {
    let mut world = World::new(2);
    world.apply(&document("v1", 2));
    world.settle("v1");
    world.add("bad", "v2", &["--error-rate", "1"]);
    // Whatever fails, it goes on: then there is time to look.
    let patient = document("v2", 60).replace("{max", "{maxErrorIncrease: 100%, max");
    world.apply(&patient);
    world.until_step(20);
    let client = world.steady();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        assert_eq!(world.registered(), 3, "nobody takes it out of the evidence");
        std::thread::sleep(Duration::from_millis(20));
    }
    let tally = client.stop();
    assert!(tally.failed > 4, "so many errors in a row are a reason otherwise: {tally:?}");
    assert_eq!(world.report()["state"], "rolling out", "{:#}", world.report());
    // Nor does it take the version for one that is not there.
    let sightings = world.agent.ask("GET", "/leno/v1/instances/bad", "").json();
    assert_eq!(sightings[0]["State"], "passing", "{sightings:#}");
}

#[test]
fn a_version_that_comes_in_the_middle_of_another_ones_rollout_waits_for_its_instances() {
    let mut world = World::new(2);
    world.apply(&document("v1", 1));
    world.settle("v1");
    world.add("second", "v2", &["--latency-ms", "5"]);
    world.apply(&document("v2", 60));
    world.until_step(20);
    let client = world.steady();
    world.apply(&document("v3", 1));
    let report = world.until("it waits", |it| it["state"] == "waiting");
    assert_eq!(report["reason"], "for an instance of version v3", "{report:#}");
    assert_eq!(report["version"], "v1", "{report:#}");
    let past = &report["rollout"]["history"][0];
    assert_eq!((&past["version"], &past["outcome"]), (&json!("v2"), &json!("rolled back")));
    world.add("third", "v3", &["--latency-ms", "5"]);
    world.settle("v3");
    // What was given up for another one can be asked for again.
    world.apply(&document("v2", 1));
    world.settle("v2");
    none_failed(&client.stop());
}

#[test]
fn an_agent_that_is_killed_in_the_middle_goes_on_and_ends_in_a_good_state() {
    for after_ms in [50, 1500] {
        let mut world = World::new(2);
        world.apply(&document("v1", 2));
        world.settle("v1");
        world.add("new-0", "v2", &["--latency-ms", "5"]);
        let client = world.steady();
        world.apply(&document("v2", 2));
        std::thread::sleep(Duration::from_millis(after_ms));
        let http = world.agent.http.to_string();
        let mut command = leno();
        command.args(["rollout", "status", "web", "--wait", "--http-addr", &http]);
        let mut waiting = Waiting(command.stdout(Stdio::null()).spawn().expect("it was built"));
        world.agent.kill();
        // Its requests fail while nobody is there.
        drop(client.stop());
        let data = world.folder.path().join("data");
        let data = data.to_str().expect("a readable path");
        world.agent = Agent::start(&["--data-dir", data, "--http", &http]);
        let client = world.steady();
        let report = world.settle("v2");
        let ended = waiting.0.wait().expect("it is waited for");
        assert!(ended.success(), "who waited has not waited for the next agent");
        none_failed(&client.stop());
        assert_eq!(report["rollout"]["history"].as_array().map(Vec::len), Some(2), "{report:#}");
        let tally = world.sample(1);
        assert_eq!(share(&tally, "v2"), 1.0, "{:?}", tally.by_name);
    }
}

#[test]
fn the_version_that_is_there_is_adopted_and_the_service_is_never_emptied() {
    let mut world = World::new(2);
    let client = world.steady();
    // The old version is named by nobody; the new one is not there yet.
    world.apply(&document("v2", 1));
    let report = world.until("it waits", |it| it["state"] == "waiting");
    assert_eq!(report["version"], "v1", "{report:#}");
    none_failed(&client.stop());
    world.leno(&["rollout", "undo", "web"]);
    world.settle("v1");

    world.add("odd", "v9", &[]);
    let tally = world.sample(1);
    assert_eq!(share(&tally, "v1"), 1.0, "{:?}", tally.by_name);
    let refused = world.agent.cli(&["rollout", "undo", "web"]);
    assert!(text(&refused.stderr).contains("no earlier good release"), "{refused:?}");
    world.remove("old-0");
    world.remove("old-1");
    let report = world.until("it says so", |it| it["state"] == "degraded");
    let words = "no instance of version v1 is usable: requests go to all that there are";
    assert_eq!(report["reason"], words, "{report:#}");
    let tally = world.sample(1);
    none_failed(&tally);
    assert_eq!(share(&tally, "v9"), 1.0, "{:?}", tally.by_name);
    world.add("old-2", "v1", &[]);
    world.settle("v1");
    eventually("v1 serves alone again", || share(&world.sample(1), "v1") == 1.0);

    let path = world.file(&document("v1", 1));
    world.leno(&["delete", "-f", path.to_str().expect("a readable path")]);
    eventually("it is forgotten", || world.report().is_null());
    eventually("all serve again", || share(&world.sample(1), "v9") > 0.3);
}

#[test]
fn a_name_or_a_service_that_is_another_documents_is_refused() {
    let world = World::new(1);
    world.apply(&document("v1", 1));
    let workload = "apiVersion: leno.dev/v1\nkind: Workload\nmetadata: {name: NAME}\n\
                    spec: {command: [x], service: SERVICE}\n";
    let cases = [
        (workload.replace("NAME", "web").replace("SERVICE", "None"), "orders name either"),
        (workload.replace("NAME", "w").replace("SERVICE", "web"), "about the same service"),
        (document("v1", 1).replace("{name: web}", "{name: other}"), "about the same service"),
    ];
    for (document, words) in cases {
        let file = world.file(&document);
        let output = world.agent.cli(&["apply", "-f", file.to_str().expect("a readable path")]);
        let errors = text(&output.stderr);
        assert!(!output.status.success() && errors.contains(words), "{words}: {errors}");
    }
    for order in [&["scale", "web", "3"][..], &["stop", "web"], &["restart", "web"]] {
        let output = world.agent.cli(order);
        assert!(text(&output.stderr).contains("are run by others"), "{order:?}: {output:?}");
    }
}
