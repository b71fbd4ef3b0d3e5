//! Exit codes, forms of output, and how an agent ends.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Output, Stdio};

use crate::support::{Agent, HANG, eventually, leno, request, text};

fn code(output: &Output) -> (Option<i32>, String, String) {
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_closed_pipe_is_no_error_and_lost_output_is() {
    let completion = |stdout: Stdio| {
        leno().args(["completion", "bash"]).stdout(stdout).stderr(Stdio::piped()).spawn()
    };
    let mut child = completion(Stdio::piped()).expect("the binary runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(code(&output), (Some(0), String::new(), String::new()));

    let full = File::options().write(true).open("/dev/full").expect("Linux");
    let output = completion(full.into()).expect("the binary runs").wait_with_output();
    let (code, _, errors) = code(&output.expect("it ends"));
    assert_eq!(code, Some(1));
    assert!(errors.contains("cannot write to standard output"), "{errors}");
}

#[test]
fn what_is_not_there_is_a_failure_in_every_form() {
    let agent = Agent::dev(&[]);
    let (status, out, errors) = code(&agent.cli(&["services", "nobody"]));
    assert_eq!((status, out.as_str()), (Some(1), ""));
    assert!(errors.contains("no instance of nobody"), "{errors}");
    let (status, out, _) = code(&agent.cli(&["services", "nobody", "-o", "json"]));
    assert_eq!((status, out.as_str()), (Some(1), "[]\n"));
    let (status, out, _) = code(&agent.cli(&["get", "service", "nobody", "-o", "yaml"]));
    assert_eq!((status, out.as_str()), (Some(1), "[]\n"));
    let (status, out, _) = code(&agent.cli(&["services", "-o", "yaml"]));
    assert_eq!(status, Some(0));
    assert!(out.starts_with("- Name: consul\n  Instances: 1\n"), "{out}");
    let admin = agent.admin.expect("the proxy has admin pages").to_string();
    let (status, out, _) = code(&agent.cli(&[
        "explain",
        "http://web/",
        "--proxy-admin",
        &admin,
        "--listener",
        "ingress",
    ]));
    assert_eq!(status, Some(1), "no route matches");
    assert!(out.contains("table ingress") && !out.contains("outbound"), "{out}");
    let (status, _, errors) =
        code(&agent.cli(&["explain", "http://web/", "--proxy-admin", "127.0.0.1:1"]));
    assert!(status == Some(1) && errors.contains("--proxy-admin"), "{errors}");
}

#[test]
fn an_agent_that_is_asked_to_end_drains_and_says_that_all_is_well() {
    for signal in ["INT", "TERM"] {
        let mut agent = Agent::dev(&[]);
        agent.signal(signal);
        assert_eq!(agent.exit_code(), Some(0), "{signal}");
    }
    let mut agent = Agent::dev(&[]);
    assert_eq!(agent.ask("PUT", "/v1/agent/leave", "").status, 200);
    assert_eq!(agent.exit_code(), Some(0));
}

#[test]
fn a_second_signal_ends_an_agent_that_still_drains() {
    let mut agent = Agent::dev(&[]);
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = silent.local_addr().expect("it is bound").port();
    let body = format!(r#"{{"Name":"slow","Address":"127.0.0.1","Port":{port}}}"#);
    assert_eq!(agent.ask("PUT", "/v1/agent/service/register", &body).status, 200);
    let admin = agent.admin.expect("the proxy has admin pages");
    eventually("the proxy knows the service", || {
        request(admin, &[("Host", "a")], "GET", "/clusters", b"").body.contains("slow::")
    });
    let mut client = TcpStream::connect(agent.mesh.expect("a mesh listener")).expect("it accepts");
    client.write_all(b"GET / HTTP/1.1\r\nHost: slow\r\n\r\n").expect("sent");
    let (mut upstream, _) = silent.accept().expect("the request is under way");
    upstream.set_read_timeout(Some(HANG)).expect("a timeout can be set");
    assert!(upstream.read(&mut [0; 1024]).expect("a request") > 0);
    agent.signal("INT");
    assert!(agent.read_log_until("draining"), "{:?}", agent.log);
    agent.signal("INT");
    assert_eq!(agent.exit_code(), Some(130));
}
