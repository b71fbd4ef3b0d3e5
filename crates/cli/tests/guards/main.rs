//! Guarded changes of documents, under a constant load on two paths: real processes, and figures of what was taken back.
#![allow(clippy::print_stdout)] // What was measured belongs to a failure.

#[path = "../workloads/steady.rs"]
#[allow(dead_code)] // It has what `workloads` needs, too.
mod steady;
#[path = "../it/support.rs"]
#[allow(dead_code)] // It has what `it` needs, too.
mod support;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::steady::Steady;
use crate::support::{Agent, eventually, leno, request, text};

/// Requests a second on each of the two paths.
const RATE: f64 = 100.0;
/// How long there is load before a change is made.
const BEFORE: Duration = Duration::from_secs(4);
/// Within what a change that breaks a path has to be taken back.
const SOON: Duration = Duration::from_secs(15);

/// A test application; killed and reaped when it is dropped.
struct Echo {
    process: Child,
    address: SocketAddr,
}

impl Echo {
    fn start(name: &str, more: &[&str]) -> Self {
        let arguments = ["echo", "--name", name, "--listen", "127.0.0.1:0"];
        let mut command = leno();
        command.args(arguments).args(more).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("it was built");
        let mut line = String::new();
        let said = BufReader::new(process.stdout.take().expect("it is piped")).read_line(&mut line);
        said.expect("it says where it listens");
        let address = line.trim().rsplit('/').next().and_then(|it| it.parse().ok());
        Self { process, address: address.unwrap_or_else(|| panic!("no address: {line}")) }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An agent with three services: `one`, `two`, and `bad`, which answers 500.
struct World {
    agent: Agent,
    folder: TempDir,
    arguments: Vec<String>,
    _services: Vec<Echo>,
}

impl World {
    fn new(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let data = folder.path().join("data").display().to_string();
        let told = ["--data-dir", &data].map(str::to_owned);
        let arguments: Vec<String> =
            told.into_iter().chain(more.iter().map(|it| (*it).to_owned())).collect();
        let agent = start(&arguments);
        let bad = ["--error-rate", "1"];
        let services = [("one", &[][..]), ("two", &[]), ("bad", &bad)].map(|(name, more)| {
            let echo = Echo::start(name, more);
            let body = json!({"Name": name, "Address": "127.0.0.1", "Port": echo.address.port()});
            let answer = agent.ask("PUT", "/v1/agent/service/register", &body.to_string());
            assert_eq!(answer.status, 200, "{answer:?}");
            echo
        });
        let services = services.into();
        let world = Self { agent, folder, arguments, _services: services };
        world.apply("shop", &shop(&[("/a", "one"), ("/b", "two")]), &[]);
        world.apply("other", &document("other", "other.example", &[("/", "one")]), &[]);
        world
    }

    fn ingress(&self) -> SocketAddr {
        self.agent.ingress.expect("there is an ingress listener")
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(format!("{name}.yaml"));
        std::fs::write(&path, text).expect("it can be written");
        path
    }

    /// Runs `leno apply`, and returns its exit code and all that it says.
    fn run(&self, command: &str, name: &str, document: &str, more: &[&str]) -> (bool, String) {
        let file = self.file(name, document);
        let file = ["-f", file.to_str().expect("a readable path")];
        let output = self.agent.cli(&[&[command], &file[..], more].concat());
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        (output.status.success(), said)
    }

    fn apply(&self, name: &str, document: &str, more: &[&str]) -> String {
        let (done, said) = self.run("apply", name, document, more);
        assert!(done, "{said}");
        said
    }

    /// What the agent says of a document, with its guard apart.
    fn row(&self, name: &str) -> (Value, Value) {
        let mut report = self.report();
        let rows = report["documents"].as_array_mut().expect("there are rows");
        let Some(at) = rows.iter().position(|it| it["key"]["name"] == name) else {
            return (Value::Null, Value::Null);
        };
        let mut row = rows.swap_remove(at);
        let guard = row.as_object_mut().expect("a row").remove("guard").unwrap_or_default();
        (row, guard)
    }

    fn report(&self) -> Value {
        self.agent.ask("GET", "/leno/v1/documents", "").json()
    }

    /// The last guard.
    fn guard(&self) -> Value {
        self.report()["guards"].as_array().and_then(|it| it.last()).cloned().unwrap_or_default()
    }

    fn undone(&self) -> Value {
        let mut last = Value::Null;
        eventually("it is taken back", || {
            last = self.guard();
            last["state"] == "undone"
        });
        last
    }

    fn load(&self) -> Load {
        let client = |path: &str| Steady::start_on(self.ingress(), "shop.example", path, RATE);
        Load { clients: ["/a", "/b/deep"].map(client).into() }
    }

    /// There has been load for a while.
    fn warm_up(&self) {
        let load = self.load();
        std::thread::sleep(BEFORE);
        load.stop();
    }

    fn is_well(&self) {
        for (path, name) in [("/a", "one"), ("/b/deep", "two")] {
            let host = [("Host", "shop.example")];
            let answer = request(self.ingress(), &host, "GET", path, b"");
            assert_eq!((answer.status, &answer.json()["name"]), (200, &json!(name)), "{answer:?}");
        }
    }
}

fn start(arguments: &[String]) -> Agent {
    Agent::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

struct Load {
    clients: Vec<Steady>,
}

impl Load {
    /// How many requests failed, of how many.
    fn stop(self) -> (u64, u64) {
        let tallies: Vec<_> = self.clients.into_iter().map(Steady::stop).collect();
        let sum = |of: fn(&steady::Tally) -> u64| tallies.iter().map(of).sum();
        (sum(|it| it.failed), sum(|it| it.requests))
    }
}

fn document(name: &str, host: &str, paths: &[(&str, &str)]) -> String {
    let path = |(path, service): &(&str, &str)| {
        format!(
            "      - path: {path}\n        pathType: Prefix\n        backend: {{service: {{name: {service}, port: {{number: 80}}}}}}\n"
        )
    };
    let paths: String = paths.iter().map(path).collect();
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\nspec:\n  rules:\n  \
         - host: {host}\n    http:\n      paths:\n{paths}"
    )
}

fn shop(paths: &[(&str, &str)]) -> String {
    document("shop", "shop.example", paths)
}

#[test]
fn a_change_that_breaks_a_path_is_taken_back_and_said_so() {
    let world = World::new(&[]);
    let load = world.load();
    std::thread::sleep(BEFORE);
    let (good, none) = world.row("shop");
    assert!(none.is_null(), "{none}");
    for (what, broken) in [
        ("a service that does not exist", shop(&[("/a", "one"), ("/b", "none")])),
        ("a path that is gone", shop(&[("/a", "one")])),
        ("a service that answers 500", shop(&[("/a", "one"), ("/b", "bad")])),
    ] {
        let began = Instant::now();
        let (succeeded, said) = world.run("apply", "shop", &broken, &["--guard", "60s"]);
        let took = began.elapsed();
        println!("{what}: {took:?}: {said}");
        assert!(!succeeded, "{said}");
        assert!(took < SOON, "{what}: {took:?}");
        let told = "guard: undone: more requests fail at paths such as /b of host shop.example (ingress): ";
        assert!(said.contains(told), "{said}");
        assert!(said.contains("ingress/shop is as it was before"), "{said}");
        let (row, guard) = world.row("shop");
        assert_eq!(row, good, "{what}");
        assert_eq!(guard["state"], "undone");
        let reason = guard["text"].as_str().expect("a text");
        for word in ["shop.example", " requests failed (", "before 0 of ", "s after the change"] {
            assert!(reason.contains(word), "{word:?} is not in {reason}");
        }
        let shown = text(&world.agent.cli(&["get", "ingress", "shop"]).stdout);
        assert!(
            shown.contains("guard: ingress/shop undone at 20") && shown.contains(reason),
            "{shown}"
        );
        eventually("the proxy has it", || {
            let host = [("Host", "shop.example")];
            request(world.ingress(), &host, "GET", "/b", b"").status == 200
        });
        world.is_well();
    }
    let (succeeded, said) = world.run("delete", "shop", &shop(&[]), &["--guard", "60s"]);
    assert!(!succeeded && said.contains("ingress/shop is as it was before"), "{said}");
    assert_eq!(world.row("shop").0, good);
    let (failed, of) = load.stop();
    println!("{failed} of {of} requests failed in four bad changes");
    assert!(failed > 0 && failed * 4 < of, "{failed} of {of}");
    // All is well again, and stays so.
    let load = world.load();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(load.stop().0, 0);
}

#[test]
fn a_harmless_change_stays() {
    let world = World::new(&[]);
    let load = world.load();
    std::thread::sleep(BEFORE);
    let harmless = shop(&[("/a", "one"), ("/b", "two"), ("/c", "one")]);
    let said = world.apply("shop", &harmless, &["--guard", "6s"]);
    println!("{said}");
    assert!(said.contains("guard: fine: "), "{said}");
    let (row, guard) = world.row("shop");
    let paths = &row["body"]["spec"]["rules"][0]["http"]["paths"];
    assert_eq!(paths.as_array().map(Vec::len), Some(3), "{row:#}");
    assert_eq!(guard["state"], "fine");
    let again = world.apply("shop", &harmless, &["--guard", "6s"]);
    assert!(again.contains("unchanged") && !again.contains("guard"), "{again}");
    assert_eq!(load.stop().0, 0);
    let refused = world.run("apply", "shop", &harmless, &["--guard", "soon"]);
    assert!(!refused.0 && refused.1.contains("\"soon\" is no time such as 60s"), "{}", refused.1);
}

#[test]
fn a_document_that_was_created_is_removed_again_also_when_its_kind_is_guarded_by_default() {
    let world = World::new(&["--guard-default", "Ingress=60s"]);
    let created = document("new", "new.example", &[("/", "bad")]);
    let said = world.apply("new", &created, &[]);
    assert!(said.contains("guard: watching for 60 s"), "{said}");
    assert_eq!(world.row("new").1["state"], "watching");
    let client = Steady::start_on(world.ingress(), "new.example", "/", RATE);
    let guard = world.undone();
    client.stop();
    assert_eq!(guard["documents"][0]["now"], "removed", "{guard:#}");
    assert_eq!(world.row("new").0, Value::Null);
    let shown = text(&world.agent.cli(&["get"]).stderr);
    assert!(shown.contains("guard: ingress/new was removed again at 20"), "{shown}");
    assert!(shown.contains("and before there were none"), "{shown}");
}

#[test]
fn a_guard_outlives_its_agent() {
    let mut world = World::new(&[]);
    world.warm_up();
    let (good, _) = world.row("shop");
    let broken = shop(&[("/a", "one"), ("/b", "none")]);
    world.apply("shop", &broken, &["--guard", "60s", "--no-wait"]);
    // The same again, from another place of another file, is no change that would end the guard.
    let again = world.apply("again", &format!("\n\n{broken}"), &["--guard", "off"]);
    assert!(again.contains("unchanged"), "{again}");
    world.agent.kill();
    world.agent = start(&world.arguments);
    let load = world.load();
    let guard = world.undone();
    println!("{}", guard["reason"]);
    load.stop();
    assert_eq!(world.row("shop").0, good);
    // It is known in the next life, too.
    world.agent.kill();
    world.agent = start(&world.arguments);
    assert_eq!(world.row("shop").1["state"], "undone");
    world.is_well();
}

#[test]
fn what_somebody_has_changed_since_is_left() {
    let world = World::new(&[]);
    world.warm_up();
    let (good, _) = world.row("shop");
    let both = format!(
        "{}---\n{}",
        shop(&[("/a", "one"), ("/b", "none")]),
        document("other", "other.example", &[("/", "none")])
    );
    world.apply("both", &both, &["--guard", "60s", "--no-wait"]);
    let theirs = document("other", "other.example", &[("/", "two")]);
    world.apply("other", &theirs, &[]);
    let (kept, _) = world.row("other");
    let load = world.load();
    let guard = world.undone();
    load.stop();
    let now = |nth: usize| {
        (guard["documents"][nth]["key"]["name"].clone(), guard["documents"][nth]["now"].clone())
    };
    assert_eq!(now(0), (json!("other"), json!("left")), "{guard:#}");
    assert_eq!(now(1), (json!("shop"), json!("restored")), "{guard:#}");
    assert_eq!(world.row("other").0, kept);
    assert_eq!(world.row("shop").0, good);
}

#[test]
fn a_change_of_what_is_being_watched_goes_back_to_what_was_good() {
    let world = World::new(&[]);
    world.warm_up();
    let (good, _) = world.row("shop");
    world.apply("shop", &shop(&[("/a", "one"), ("/b", "none")]), &["--guard", "60s", "--no-wait"]);
    world.apply("shop", &shop(&[("/a", "one"), ("/b", "bad")]), &["--guard", "60s", "--no-wait"]);
    eventually("the second one watches instead", || {
        let guards = world.report()["guards"].clone();
        guards[0]["state"] == "superseded" && guards[1]["state"] == "watching"
    });
    let load = world.load();
    let guard = world.undone();
    load.stop();
    assert_eq!(guard["id"], 2);
    assert_eq!(world.row("shop").0, good);
    world.is_well();
}
