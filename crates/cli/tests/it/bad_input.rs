//! Bad input: each gets a clear error, and nothing changes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

use crate::support::{Agent, HANG, leno, request, text};

/// Refused, with a status and words that say what is wrong.
fn refused(agent: &Agent, method: &str, path: &str, body: &str, status: u16, words: &[&str]) {
    let before = agent.ask("GET", "/v1/agent/services", "").body;
    let answer = agent.ask(method, path, body);
    assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    for word in words {
        assert!(
            answer.body.contains(word),
            "{method} {path}: {word:?} is not in {:?}",
            answer.body
        );
    }
    let after = agent.ask("GET", "/v1/agent/services", "").body;
    assert_eq!(before, after, "{method} {path} changed something");
}

#[test]
fn bad_requests_are_refused_with_reasons() {
    let agent = Agent::dev(&[]);
    let register = "/v1/agent/service/register";
    refused(&agent, "PUT", register, "{\"Name\":", 400, &["Request decode failed"]);
    refused(&agent, "PUT", register, "", 400, &["Request decode failed: EOF"]);
    refused(
        &agent,
        "PUT",
        register,
        r#"{"Name":"a","Nmae":"b"}"#,
        400,
        &["unknown field \"Nmae\""],
    );
    refused(&agent, "PUT", register, r#"{"Name":"a","Port":"80"}"#, 400, &["Port", "string"]);
    refused(&agent, "PUT", register, r#"{"ID":"a"}"#, 400, &["Missing service name"]);
    let check = r#"{"Name":"a","Check":{"HTTP":"http://localhost/"}}"#;
    refused(&agent, "PUT", register, check, 400, &["Invalid check", "Interval must be > 0"]);
    let script = r#"{"Name":"a","Check":{"Args":["true"],"Interval":"1s"}}"#;
    refused(&agent, "PUT", register, script, 500, &["enable_script_checks"]);
    refused(&agent, "PUT", "/v1/agent/check/pass/none", "", 404, &["Unknown check ID \"none\""]);
    refused(&agent, "PUT", "/v1/agent/service/deregister/none", "", 404, &["Unknown service ID"]);
    refused(&agent, "GET", "/v1/health/service/a?index=x", "", 400, &["Invalid index"]);
    refused(&agent, "GET", "/v1/health/service/a?index=1&wait=10", "", 400, &["Invalid wait time"]);
    refused(&agent, "GET", "/v1/catalog/nodes?filter=Foo==1", "", 500, &["Foo", "not valid"]);
    refused(&agent, "POST", "/v1/catalog/nodes", "", 405, &["method POST not allowed"]);
    refused(&agent, "GET", "/v1/nonsense", "", 404, &["not a recognized HTTP API endpoint"]);
    refused(&agent, "POST", "/leno/v1/apply", "no json", 400, &["files"]);
}

#[test]
fn a_body_of_10_mib_is_refused() {
    let agent = Agent::dev(&[]);
    let body = format!("{{\"Name\":\"{}\"}}", "a".repeat(10 << 20));
    refused(&agent, "PUT", "/v1/agent/service/register", &body, 413, &["too large", "4194304"]);
}

#[test]
fn a_port_in_use_is_named_with_its_process() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    let me = format!("pid {}", std::process::id());
    for flag in ["--http", "--dns", "--ingress", "--outbound", "--proxy-admin"] {
        let log = Agent::try_start(&["--dev", flag, &address]).err().expect("it does not start");
        assert!(log.contains(&address), "{flag}: {log}");
        assert!(log.contains(&me), "{flag}: {log}");
    }
}

#[test]
fn a_data_folder_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    // Root may write anywhere; a file in place of the folder stops everybody.
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("written");
    let path = file.join("data");
    let path = path.to_str().expect("a readable path");
    let log = Agent::try_start(&["--data-dir", path]).err().expect("it does not start");
    assert!(log.contains(path) && log.contains("cannot use data folder"), "{log}");
}

#[test]
fn two_agents_do_not_share_a_data_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("a readable path").to_owned();
    let first = Agent::durable(folder.path());
    let log = Agent::try_start(&["--data-dir", &path]).err().expect("it does not start");
    assert!(log.contains(&path) && log.contains("in use by another agent"), "{log}");
    assert_eq!(first.ask("GET", "/v1/status/leader", "").status, 200, "the first is well");
}

#[test]
fn wrong_arguments_are_usage_errors() {
    for arguments in [
        &["agent", "--http", "nowhere"][..],
        &["agent", "--dns", "5353"],
        &["apply"],
        &["frobnicate"],
        &["agent", "--datacenter", "a b"],
        &["agent", "--advertise", "somewhere"],
        &["agent", "--node", "a/b"],
        &["agent", "--log", "loud"],
        &["echo", "--error-rate", "7"],
    ] {
        let output = leno().args(arguments).output().expect("the binary runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
    }
    let output =
        leno().args(["services", "--http-addr", "127.0.0.1:1"]).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is it running?"), "{}", text(&output.stderr));
}

#[test]
fn garbage_on_every_listener_harms_nobody() {
    let agent = Agent::dev(&[]);
    let tcp: Vec<SocketAddr> =
        [Some(agent.http), agent.dns, agent.ingress, agent.mesh, agent.admin]
            .into_iter()
            .flatten()
            .collect();
    assert_eq!(tcp.len(), 5, "{:?}", agent.log);
    let mut seed = 1u32;
    let mut noise = || {
        // xorshift32: any bytes will do, the same ones each time.
        (0..2048)
            .map(|_| {
                seed ^= seed << 13;
                seed ^= seed >> 17;
                seed ^= seed << 5;
                seed as u8
            })
            .collect::<Vec<u8>>()
    };
    let texts: [&[u8]; 6] = [
        b"\r\n\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999999999999\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzzzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0garbage",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ];
    for address in &tcp {
        for bytes in texts.iter().map(|it| it.to_vec()).chain((0..20).map(|_| noise())) {
            let mut stream = TcpStream::connect(address).expect("it accepts");
            let _ = stream.write_all(&bytes);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            stream.set_read_timeout(Some(HANG)).expect("a timeout can be set");
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
    let dns = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    for _ in 0..100 {
        let bytes = noise();
        let _ = dns.send_to(&bytes[..bytes.len() % 600], agent.dns.expect("DNS"));
    }
    assert_eq!(agent.ask("GET", "/v1/status/leader", "").status, 200);
    let admin = request(agent.admin.expect("admin"), &[("Host", "a")], "GET", "/ready", b"");
    assert_eq!(admin.body.trim(), "LIVE");
    let lost = request(agent.mesh.expect("mesh"), &[("Host", "nobody")], "GET", "/", b"");
    assert_eq!(lost.status, 404);
    assert!(std::path::Path::new(&format!("/proc/{}", agent.pid())).exists());
}

/// A client that sends one byte a second must not keep anybody else from being served. How long it is borne with is
/// each listener's head timeout (10 s at the proxy, 60 s at the API); the rooms test their own deadlines.
#[test]
fn slow_clients_are_no_burden() {
    let agent = Agent::dev(&[]);
    let mut slow = Vec::new();
    for address in [Some(agent.http), agent.dns, agent.ingress, agent.mesh, agent.admin] {
        let address = address.expect("all listeners are on");
        for _ in 0..50 {
            let mut stream = TcpStream::connect(address).expect("it accepts");
            stream.write_all(b"G").expect("one byte");
            slow.push(stream);
        }
    }
    assert_eq!(agent.ask("GET", "/v1/status/leader", "").status, 200);
    let lost = request(agent.mesh.expect("mesh"), &[("Host", "nobody")], "GET", "/", b"");
    assert_eq!(lost.status, 404);
    // The proxy's deadline: its half-sent heads end by themselves.
    let proxied = slow.iter_mut().skip(100).take(100);
    for stream in proxied {
        stream.set_read_timeout(Some(HANG)).expect("a timeout can be set");
        let ended = stream.read_to_end(&mut Vec::new());
        assert!(ended.is_ok(), "the proxy gives up on it: {ended:?}");
    }
}
