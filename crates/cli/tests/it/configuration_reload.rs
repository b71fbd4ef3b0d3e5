//! Files that are changed while the agent runs, and read again by `agent/reload` or SIGHUP.

use std::fs;
use std::path::Path;

use crate::configuration::keys;
use crate::support::{Agent, Answer};

fn service(name: &str, port: u16, check: &str) -> String {
    format!("service {{\n  name = \"{name}\"\n  port = {port}\n{check}\n}}\n")
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("there is room for a file");
}

fn reload(agent: &Agent) -> Answer {
    agent.ask("PUT", "/v1/agent/reload", "")
}

#[test]
fn files_that_are_added_changed_or_removed_count_after_a_reload() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let check = "  check { id = \"web-ttl\" ttl = \"1h\" }";
    write(path, "web.hcl", &service("web", 80, check));
    write(path, "old.hcl", &service("old", 1, ""));
    write(path, "mem.json", r#"{"check": {"id": "mem", "name": "memory", "ttl": "1h"}}"#);
    let mut agent = Agent::dev(&["--config-dir", path.to_str().expect("a readable path")]);
    assert_eq!(keys(&agent.ask("GET", "/v1/agent/services", "")), ["old", "web"]);
    agent.ask("PUT", "/v1/agent/check/pass/web-ttl", "");
    agent.ask("PUT", "/v1/agent/service/register", r#"{"Name":"of-client"}"#);

    fs::remove_file(path.join("old.hcl")).expect("it is there");
    write(path, "web.hcl", &service("web", 81, check));
    write(path, "new.hcl", &service("new", 2, ""));
    write(path, "mem.json", r#"{"check": {"id": "disk", "name": "disk", "ttl": "1h"}}"#);
    let told = reload(&agent);
    assert_eq!((told.status, told.body.as_str()), (200, ""));
    assert_eq!(keys(&agent.ask("GET", "/v1/agent/services", "")), ["new", "of-client", "web"]);
    assert_eq!(keys(&agent.ask("GET", "/v1/agent/checks", "")), ["disk", "web-ttl"]);
    assert_eq!(agent.ask("GET", "/v1/agent/service/web", "").json()["Port"], 81);
    let checks = agent.ask("GET", "/v1/agent/checks", "").json();
    assert_eq!(checks["web-ttl"]["Status"], "passing", "its verdict stays");

    // The signal does the same.
    write(path, "new.hcl", &service("newer", 2, ""));
    write(path, "web.hcl", &service("web", 81, ""));
    agent.signal("HUP");
    // The first line of the two is that of the first reload.
    assert!(agent.read_log_until("is reloaded") && agent.read_log_until("is reloaded"));
    assert_eq!(keys(&agent.ask("GET", "/v1/agent/services", "")), ["newer", "of-client", "web"]);
    assert_eq!(keys(&agent.ask("GET", "/v1/agent/checks", "")), ["disk"]);
}

#[test]
fn a_file_that_is_broken_changes_nothing_and_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    write(path, "web.hcl", &service("web", 80, ""));
    let agent = Agent::dev(&["--config-dir", path.to_str().expect("a readable path")]);
    let before = agent.ask("GET", "/v1/agent/services", "").body;
    for (text, words) in [
        ("service {", "broken.hcl"),
        ("service { name = \"a\" }\nnope = 1\n", "nope"),
        ("service { name = \"a\" }\nservice { nmae = \"b\" }\n", "nmae"),
        (
            "service { name = \"a\" }\ncheck { name = \"c\" http = \"http://a\" }\n",
            "Interval must be > 0",
        ),
        ("service { name = \"a\" }\nrecursors = [\"no address\"]\n", "no address"),
        (
            "service { name = \"a\" }\nconfig_entries { bootstrap { kind = \"nothing\" } }\n",
            "configuration entry nothing",
        ),
    ] {
        write(path, "broken.hcl", text);
        let told = reload(&agent);
        assert_eq!(told.status, 500, "{text}");
        assert!(told.body.contains(words), "{text}: {}", told.body);
        assert_eq!(agent.ask("GET", "/v1/agent/services", "").body, before, "{text}");
    }
    write(path, "broken.hcl", &service("mended", 1, ""));
    assert_eq!(reload(&agent).status, 200);
    assert_eq!(keys(&agent.ask("GET", "/v1/agent/services", "")), ["mended", "web"]);
}
