//! Clients that people have, unchanged.

use std::net::Ipv4Addr;
use std::process::{Child, Command, Output, Stdio};

use crate::program::free_port;
use crate::support::{Agent, eventually, peer, request, root, text};

fn run(command: &mut Command) -> Output {
    let output = command.output().expect("the client runs");
    println!("{}{}", text(&output.stdout), text(&output.stderr));
    output
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn python_client(script: &str) {
    let Some(python) = peer("venv/bin/python") else { return };
    let agent = Agent::dev(&[]);
    let script = root().join("tests/interop/python").join(script);
    let output = run(Command::new(python).arg(script).arg(agent.http.to_string()));
    assert!(output.status.success());
}

fn node_client(script: &str) {
    let Some(node) = peer("node") else { return };
    let agent = Agent::dev(&[]);
    let output = run(Command::new("node")
        .arg(root().join("tests/interop/node").join(script))
        .arg(agent.http.to_string())
        .env("LENO_PEERS", node.parent().expect("it lies in the peers")));
    assert!(output.status.success());
}

#[test]
fn the_python_client_registers_lists_and_waits() {
    python_client("consul_client.py");
}

#[test]
fn the_python_client_takes_and_loses_locks() {
    python_client("lock_client.py");
}

#[test]
fn the_node_client_registers_lists_and_waits() {
    node_client("consul_client.js");
}

#[test]
fn the_node_client_watches_and_locks_keys() {
    node_client("lock_client.js");
}

fn java_client(class: &str) {
    let Some(jvm) = peer("jvm") else { return };
    let agent = Agent::dev(&[]);
    let path = format!("{0}/classes:{0}/lib/*", jvm.display());
    let output = run(Command::new("java")
        .args(["-cp", &path, &format!("dev.leno.interop.{class}")])
        .arg(agent.http.to_string()));
    assert!(output.status.success());
}

#[test]
fn the_java_client_registers_waits_and_locks() {
    java_client("Ecwid");
}

#[test]
fn applications_of_spring_cloud_register_find_each_other_and_follow_their_configuration() {
    java_client("Spring");
}

#[test]
fn a_dns_client_gets_every_kind_of_answer() {
    let Some(python) = peer("venv/bin/python") else { return };
    let agent = Agent::dev(&[]);
    let script = root().join("tests/interop/python/dns_client.py");
    let dns = agent.dns.expect("the agent serves DNS").to_string();
    let output = run(Command::new(python).arg(script).arg(dns).arg(agent.http.to_string()));
    assert!(output.status.success());
}

/// The program and the manifest that users start from, the port aside: the system chooses it here.
#[test]
fn the_go_program_registers_and_is_reached_through_the_ingress() {
    let Some(program) = peer("consul-register") else { return };
    let agent = Agent::dev(&[]);
    let port = free_port();
    let program = Command::new(program)
        .env("CONSUL_HTTP_ADDR", agent.http.to_string())
        .env("PORT", port.to_string())
        .env("SERVE", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut program = Killed(program.expect("the program runs"));
    eventually("the program serves", || {
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    });
    let manifest = std::fs::read_to_string(root().join("examples/my-service.yaml"))
        .expect("the example is there")
        .replace("8080", &port.to_string());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("my-service.yaml");
    std::fs::write(&file, manifest).expect("it can be written");
    let applied = agent.cli(&["apply", "-f", file.to_str().expect("a readable path")]);
    assert!(applied.status.success(), "{}", text(&applied.stderr));
    let shown = text(&applied.stdout);
    assert!(shown.contains("service/my-service created"), "{shown}");
    assert!(shown.contains("ingress/my-ingress created"), "{shown}");
    let ingress = agent.ingress.expect("the proxy has an ingress");
    eventually("the ingress reaches the program", || {
        let answer = request(ingress, &[("Host", "anything")], "GET", "/greet", b"");
        answer.body == "hello from my-service, path /greet\n"
    });
    let answer = request(ingress, &[("Host", "anything"), ("TE", "trailers")], "GET", "/", b"");
    assert!(answer.header("x-request-id").is_some(), "{answer:?}");
    assert!(answer.header("x-envoy-upstream-service-time").is_some(), "{answer:?}");
    assert_eq!(answer.header("trailer"), Some("x-envoy-upstream-service-time"), "{answer:?}");
    program.0.kill().expect("it runs");
    let mut out = String::new();
    use std::io::Read;
    let mut stdout = program.0.stdout.take().expect("it is piped");
    stdout.read_to_string(&mut out).expect("it is text");
    let expected = format!("Service List:\nmy-service my-service [web] 127.0.0.1 {port}\n");
    assert_eq!(out, expected, "exactly one entry");
}
