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

#[test]
fn values_are_kept_listed_and_removed() {
    let agent = Agent::dev(&[]);
    let kv = |arguments: &[&str]| code(&agent.cli(&[&["kv"], arguments].concat()));
    let done = |text: &str| (Some(0), format!("{text}\n"), String::new());
    assert_eq!(kv(&["put", "app/a b", "-1"]), done("Success! Data written to: app/a b"));
    assert_eq!(kv(&["put", "app/c/d", "two\nlines", "--flags", "7"]).0, Some(0));
    assert_eq!(kv(&["put", "/odd//key"]).0, Some(0));
    assert_eq!(kv(&["get", "app/a b"]), done("-1"));
    assert_eq!(kv(&["get", "/odd//key"]), done(""));
    assert_eq!(kv(&["get", "--recurse", "app/"]), done("app/a b:-1\napp/c/d:two\nlines"));
    assert_eq!(kv(&["get", "--keys", "--separator", "/", "app/"]), done("app/a b\napp/c/"));
    let (status, out, _) = kv(&["get", "app/c/d", "-o", "json"]);
    let entries: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((status, &entries[0]["Flags"]), (Some(0), &7.into()));
    let index = entries[0]["ModifyIndex"].to_string();
    let (status, out, errors) = kv(&["put", "app/c/d", "x", "--cas", "1"]);
    assert_eq!((status, out.as_str()), (Some(1), ""));
    assert!(errors.contains("it was changed since"), "{errors}");
    assert_eq!(kv(&["put", "app/c/d", "x", "--cas", &index]).0, Some(0));
    assert_eq!(kv(&["delete", "app/c/d", "--cas", &index]).0, Some(1), "it was changed");
    assert_eq!(kv(&["delete", "/odd//key"]), done("Success! Deleted key: /odd//key"));
    let deleted = "Success! Deleted keys with prefix: app/";
    assert_eq!(kv(&["delete", "--recurse", "app/"]), done(deleted));
    for arguments in [&["get", "app/a b"][..], &["get", "--recurse"], &["get", "--keys", "app"]] {
        let (status, out, _) = kv(arguments);
        assert_eq!((status, out.as_str()), (Some(1), ""), "{arguments:?}");
    }
    assert_eq!(kv(&["get"]).0, Some(1), "no key is given");
}
