//! Proxies in processes of their own that follow an agent: its changes lose no request of theirs either.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::steady::{Speech, Steady};
use crate::support::{Agent, HANG, eventually, leno, lines_of, request, text};
use crate::{Load, World, document, none_failed, rounds};

/// How long an agent waits for a proxy that says nothing: [`control::fleet::LEASE`].
const LEASE: Duration = control::fleet::LEASE;
/// A release that takes as long as the machine happens to let it is not to be called slower.
const CALM: &str = "  rollout: {evidence: {maxLatencyIncrease: 1000%}}\n";

/// A proxy that follows an agent; killed and reaped when it is dropped.
struct Edge {
    process: Child,
    lines: mpsc::Receiver<String>,
    log: Vec<String>,
}

impl Edge {
    fn start(agent: &str, name: &str) -> Self {
        Self::start_with(agent, name, |_| {})
    }

    fn start_with(agent: &str, name: &str, more: impl FnOnce(&mut Command)) -> Self {
        let any = "127.0.0.1:0";
        let mut command = leno();
        command.args(["proxy", "--agent", agent, "--name", name, "--concurrency", "2"]);
        command.args(["--outbound", any, "--ingress-http", "off", "--ingress-https", any]);
        command.args(["--admin", any, "--drain-time-s", "10"]);
        more(&mut command);
        let mut process = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built with the tests");
        let lines = lines_of(&mut process);
        Self { process, lines, log: Vec::new() }
    }

    fn of(world: &World) -> Self {
        let mut edge = Self::start(&format!("http://{}", world.agent.http), "edge");
        edge.read_log_until(" ready");
        edge
    }

    fn read_log_until(&mut self, text: &str) {
        let began = Instant::now();
        loop {
            let line = self.lines.recv_timeout(HANG.saturating_sub(began.elapsed()));
            let line = line.unwrap_or_else(|_| panic!("no {text:?}:\n{}", self.log.join("\n")));
            let found = line.contains(text);
            self.log.push(line);
            if found {
                return;
            }
        }
    }

    fn address(&self, what: &str) -> SocketAddr {
        let line = self.log.iter().rev().find(|it| it.contains(what));
        let line = line.unwrap_or_else(|| panic!("no {what:?}:\n{}", self.log.join("\n")));
        line.split([' ', '/']).find_map(|it| it.parse().ok()).expect("an address")
    }

    fn mesh(&self) -> SocketAddr {
        self.address("listener       outbound ")
    }

    fn steady(&self, speech: Speech, rate: f64) -> Steady {
        Steady::start(self.mesh(), "web", speech, rate)
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").arg(format!("-{name}")).arg(pid).status();
        assert!(sent.expect("there is a kill").success());
    }

    fn ready(&self) -> u16 {
        let headers = [("Host", "admin")];
        request(self.address("proxy admin"), &headers, "GET", "/ready", b"").status
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the agent says of a proxy; null when it does not know it.
fn row(agent: &Agent, name: &str) -> serde_json::Value {
    let rows = agent.ask("GET", "/leno/v1/proxies", "").json();
    let rows = rows.as_array().cloned().unwrap_or_default();
    rows.into_iter().find(|it| it["name"] == name).unwrap_or_default()
}

/// Requests through the agent's own proxy: without any, a rollout is decided by time alone.
fn traffic(world: &World) -> Steady {
    world.steady(Speech::Http1, 200.0)
}

fn follows(agent: &Agent, name: &str) -> bool {
    let row = row(agent, name);
    row["state"] == "serving" && row["behind"] == 0
}

#[test]
fn copies_are_replaced_again_and_again_and_no_request_through_a_proxy_elsewhere_fails() {
    let world = World::new();
    world.apply(&document("0", 10, &[], CALM));
    world.settle("0");
    let mut edge = Edge::of(&world);
    let load = Load::start(edge.mesh());
    for round in 1..=rounds() {
        world.apply(&document(&round.to_string(), 10, &[], CALM));
        world.settle(&round.to_string());
    }
    world.leno(&["scale", "web", "2"]);
    eventually("eight are gone", || world.pids().len() == 2);
    load.end();
    let table = world.leno(&["proxies"]);
    println!("{table}");
    let edge_row = row(&world.agent, "edge");
    assert!(edge_row["acknowledge_p99_ms"].as_f64().is_some_and(|it| it > 0.0), "{edge_row:#}");
    assert_eq!(edge_row["address"], "127.0.0.1");
    assert!(table.contains("edge") && table.contains("agent"), "{table}");
    let metrics = world.agent.ask("GET", "/metrics", "").body;
    for proxy in ["agent", "edge"] {
        let start = format!("leno_proxy_acknowledge_seconds_count{{proxy=\"{proxy}\"}} ");
        let count = metrics.lines().find_map(|it| it.strip_prefix(&start)?.parse::<u64>().ok());
        assert!(count.is_some_and(|it| it >= u64::from(rounds())), "{proxy}: {count:?}");
    }
    edge.signal("TERM");
    assert!(edge.process.wait().expect("it ends").success());
    assert!(row(&world.agent, "edge").is_null(), "it has said that it leaves");
}

#[test]
fn a_proxy_that_stands_still_is_named_waited_for_and_passed() {
    let world = World::new();
    world.apply(&document("1", 2, &[], CALM));
    world.settle("1");
    let mut edge = Edge::of(&world);
    eventually("it follows", || follows(&world.agent, "edge"));
    edge.signal("STOP");
    let client = traffic(&world);
    let began = Instant::now();
    world.apply(&document("2", 2, &[], CALM));
    let words = "waits for proxies that have not acknowledged: edge";
    eventually("it is named", || world.leno(&["rollout", "status", "web"]).contains(words));
    assert!(world.leno(&["ps"]).contains(words));
    assert_eq!(world.report()["unacknowledged"], serde_json::json!(["edge"]));
    world.settle("2");
    let took = began.elapsed();
    println!("passed, and rolled out after {took:?}");
    assert!(took > LEASE / 2 && took < 3 * LEASE, "{took:?}");
    none_failed(&client.stop());
    edge.signal("CONT");
    eventually("it follows again", || follows(&world.agent, "edge"));
    let client = edge.steady(Speech::Http1, 100.0);
    world.apply(&document("3", 2, &[], CALM));
    world.settle("3");
    none_failed(&client.stop());
    edge.signal("TERM");
    assert!(edge.process.wait().expect("it ends").success());
}

#[test]
fn a_proxy_that_was_killed_holds_up_no_rollout_beyond_its_lease() {
    let mut world = World::new();
    world.apply(&document("1", 2, &[], CALM));
    world.settle("1");
    let edge = Edge::of(&world);
    eventually("it follows", || follows(&world.agent, "edge"));
    edge.signal("KILL");
    let client = traffic(&world);
    let began = Instant::now();
    world.apply(&document("2", 2, &[], CALM));
    world.settle("2");
    let first = began.elapsed();
    assert!(first > LEASE / 2 && first < 2 * LEASE, "{first:?}");
    assert!(row(&world.agent, "edge").is_null());
    assert!(world.agent.read_log_until("not heard of"));
    assert!(world.agent.log.last().is_some_and(|it| it.contains("edge") && it.contains("WARN")));
    let began = Instant::now();
    world.apply(&document("3", 2, &[], CALM));
    world.settle("3");
    println!("with it {first:?}, without {:?}", began.elapsed());
    assert!(began.elapsed() < LEASE);
    none_failed(&client.stop());
}

#[test]
fn a_restarted_proxy_takes_over_its_name_at_once() {
    let world = World::new();
    world.apply(&document("1", 2, &[], CALM));
    world.settle("1");
    let edge = Edge::of(&world);
    edge.signal("KILL");
    let _again = Edge::of(&world);
    let client = traffic(&world);
    let began = Instant::now();
    world.apply(&document("2", 2, &[], CALM));
    world.settle("2");
    // The one before said nothing of its end.
    assert!(began.elapsed() < 2 * LEASE, "{:?}", began.elapsed());
    none_failed(&client.stop());
    eventually("it follows", || follows(&world.agent, "edge"));
}

#[test]
fn a_proxy_whose_name_another_takes_is_not_ready_but_waited_for_until_it_has_it_back() {
    let world = World::new();
    world.apply(&document("1", 2, &[], CALM));
    world.settle("1");
    let mut edge = Edge::of(&world);
    let mut twin = Edge::of(&world);
    edge.read_log_until("not ready any more: another proxy has this name");
    assert!(edge.log.last().is_some_and(|it| it.contains("ERROR")));
    eventually("it is not ready", || edge.ready() == 503);
    assert_eq!(twin.ready(), 200);
    let table = world.leno(&["proxies"]);
    assert!(table.contains("edge~") && table.contains("replaced"), "{table}");
    // It serves by what it has, and that is known.
    let client = edge.steady(Speech::Http1, 100.0);
    std::thread::sleep(Duration::from_secs(1));
    none_failed(&client.stop());
    twin.signal("TERM");
    assert!(twin.process.wait().expect("it ends").success());
    edge.read_log_until("followed again");
    eventually("it is ready again", || edge.ready() == 200 && follows(&world.agent, "edge"));
    assert!(!world.leno(&["proxies"]).contains("edge~"));
}

#[test]
fn a_proxy_serves_on_while_its_agent_is_away_and_a_rollout_goes_on_with_both() {
    for after_ms in [0, 300, 900] {
        let keep = "  onAgentExit: Keep\n  rollout: {evidence: {maxLatencyIncrease: 1000%}}\n";
        let mut world = World::new();
        let (data, http) = (world.folder.path().join("data"), world.agent.http.to_string());
        world.apply(&document("1", 3, &[], keep));
        world.settle("1");
        let mut edge = Edge::of(&world);
        eventually("it follows", || follows(&world.agent, "edge"));
        let client = edge.steady(Speech::Http1, 200.0);
        if after_ms > 0 {
            world.apply(&document("2", 3, &[], keep));
            std::thread::sleep(Duration::from_millis(after_ms));
        }
        world.agent.kill();
        edge.read_log_until("what there is serves on");
        let data = data.to_str().expect("a readable path");
        world.agent = Agent::start(&["--data-dir", data, "--http", &http]);
        edge.read_log_until("followed again");
        if after_ms == 0 {
            world.apply(&document("2", 3, &[], keep));
        }
        world.settle("2");
        eventually("the old ones are gone", || world.pids().len() == 3);
        eventually("it has all", || follows(&world.agent, "edge"));
        let tally = client.stop();
        println!("killed after {after_ms} ms: {} requests {:?}", tally.requests, tally.by_name);
        none_failed(&tally);
        world.leno(&["stop", "web"]);
    }
}

#[test]
fn an_agent_that_comes_back_waits_for_the_proxies_that_followed_it_before() {
    let mut world = World::new();
    let (data, http) = (world.folder.path().join("data"), world.agent.http.to_string());
    world.apply(&document("1", 3, &[], "  onAgentExit: Keep\n"));
    world.settle("1");
    let mut edge = Edge::of(&world);
    eventually("it follows", || follows(&world.agent, "edge"));
    let client = edge.steady(Speech::Http1, 200.0);
    world.agent.kill();
    edge.read_log_until("what there is serves on");
    // So long that the proxy asks seldom, and the agent is back well before it.
    std::thread::sleep(Duration::from_secs(7));
    let data = data.to_str().expect("a readable path");
    world.agent = Agent::start(&["--data-dir", data, "--http", &http]);
    eventually("they are taken over", || world.report()["ready"] == 3);
    world.leno(&["scale", "web", "1"]);
    eventually("two are gone", || world.pids().len() == 1);
    edge.read_log_until("followed again");
    none_failed(&client.stop());
    world.leno(&["stop", "web"]);
}

#[test]
fn a_proxy_waits_for_its_agent_and_is_not_ready_before() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let http = free.local_addr().unwrap().to_string();
    drop(free);
    let mut edge = Edge::start(&format!("http://{http}"), "edge");
    edge.read_log_until("nothing is served yet");
    assert_eq!(edge.ready(), 503);
    let _agent = Agent::dev(&["--http", &http]);
    edge.read_log_until(" ready");
    assert_eq!(edge.ready(), 200);
    let headers = [("Host", "none")];
    assert_eq!(request(edge.mesh(), &headers, "GET", "/", b"").status, 404);
}

#[test]
fn private_keys_reach_a_proxy_elsewhere_over_tls_and_need_the_right_to_write() {
    let world = tempfile::tempdir().expect("a folder can be made");
    let path = |name: &str| world.path().join(name).display().to_string();
    let key = rcgen::generate_simple_self_signed(["localhost".into(), "127.0.0.1".into()]).unwrap();
    std::fs::write(path("crt.pem"), key.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), key.signing_key.serialize_pem()).unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let https = free.local_addr().unwrap().port();
    drop(free);
    let (certificate, private) = (path("crt.pem"), path("key.pem"));
    let config = format!(
        "ports {{ https = {https} }}\ntls {{ https {{ cert_file = \"{certificate}\" key_file = \"{private}\" }} }}\n\
         acl {{ enabled = true default_policy = \"deny\" tokens {{ initial_management = \"5e000000-0000-4000-8000-000000000001\" }} }}\n"
    );
    std::fs::write(path("agent.hcl"), config).unwrap();
    let agent = Agent::dev(&["--config-file", &path("agent.hcl")]);
    let url = format!("https://localhost:{https}");
    let mut stranger = Edge::start_with(&url, "edge", |command| {
        command.env("LENO_CACERT", &certificate);
    });
    stranger.read_log_until("needs operator:write");
    assert_eq!(stranger.ready(), 503);
    drop(stranger);
    let root = "5e000000-0000-4000-8000-000000000001";
    let manifest = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: edge}}\ntype: kubernetes.io/tls\nstringData:\n  tls.crt: |\n{}\n  tls.key: |\n{}\n\
         ---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: edge}}\nspec:\n  tls: [{{hosts: [localhost], secretName: edge}}]\n  \
         rules:\n  - host: localhost\n    http:\n      paths:\n      - {{path: /, pathType: Prefix, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}\n",
        indented(&key.cert.pem()),
        indented(&key.signing_key.serialize_pem())
    );
    std::fs::write(path("edge.yaml"), manifest).unwrap();
    let applied = agent.cli(&["apply", "-f", &path("edge.yaml"), "--token", root]);
    assert!(applied.status.success(), "{}{}", text(&applied.stdout), text(&applied.stderr));
    let mut edge = Edge::start_with(&url, "edge", |command| {
        command.env("LENO_CACERT", &certificate).env("LENO_HTTP_TOKEN", root);
    });
    edge.read_log_until(" ready");
    let shown = rustls_handshake(edge.address("listener       ingress-https "), &key.cert);
    assert!(shown, "it shows the certificate, and so has its key");
    let dump = request(edge.address("proxy admin"), &[("Host", "a")], "GET", "/config_dump", b"");
    assert!(!dump.body.contains("PRIVATE KEY"));
}

fn indented(pem: &str) -> String {
    pem.lines().map(|it| format!("    {it}")).collect::<Vec<_>>().join("\n")
}

/// Whether a TLS server proves that it has the key of this certificate.
fn rustls_handshake(address: SocketAddr, trusted: &rcgen::Certificate) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.der().clone()).expect("it is a certificate");
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS has versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().expect("a name");
    let mut client = rustls::ClientConnection::new(config.into(), name).expect("a client");
    let mut socket = std::net::TcpStream::connect(address).expect("it listens");
    socket.set_read_timeout(Some(HANG)).expect("a timeout can be set");
    client.complete_io(&mut socket).is_ok() && !client.is_handshaking()
}
