//! `consul`: a link to the binary that behaves as Consul's command line.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::{Agent, eventually, leno, text};

/// A folder with a link named `consul`.
pub(crate) struct Link(tempfile::TempDir);

impl Link {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let link = folder.path().join("consul");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_leno"), link).expect("a link can be made");
        Self(folder)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file beside the link; its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder().join(name);
        std::fs::write(&path, text).expect("there is room for a file");
        path.to_str().expect("temporary folders have readable names").to_owned()
    }

    /// The command, with no agent to talk to.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(self.folder().join("consul"));
        command.current_dir(self.folder()).stdin(Stdio::null());
        for (name, _) in std::env::vars().filter(|(name, _)| is_setting(name)) {
            command.env_remove(name);
        }
        command
    }

    /// The command, for an agent.
    pub(crate) fn to(&self, agent: &Agent) -> Command {
        let mut command = self.command();
        command.env("CONSUL_HTTP_ADDR", agent.http.to_string());
        command
    }

    /// Exit code, standard output and standard error of a line for an agent.
    pub(crate) fn run(&self, agent: &Agent, line: &[&str]) -> (Option<i32>, String, String) {
        said(&self.to(agent).args(line).output().expect("the binary runs"))
    }

    /// The same with something on its standard input.
    fn feed(&self, agent: &Agent, line: &[&str], input: &str) -> (Option<i32>, String, String) {
        let mut command = self.to(agent);
        let command = command.args(line).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary runs");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(input.as_bytes()).expect("it reads");
        drop(stdin);
        said(&child.wait_with_output().expect("it ends"))
    }
}

fn is_setting(name: &str) -> bool {
    name.starts_with("CONSUL_") || name.starts_with("LENO_")
}

pub(crate) fn said(output: &Output) -> (Option<i32>, String, String) {
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Success with this on standard output, and nothing on standard error.
pub(crate) fn done(lines: &str) -> (Option<i32>, String, String) {
    (Some(0), format!("{lines}\n"), String::new())
}

/// A failure with this on standard error.
pub(crate) fn failed(lines: &str) -> (Option<i32>, String, String) {
    (Some(1), String::new(), format!("{lines}\n"))
}

fn rows(table: &str) -> Vec<Vec<&str>> {
    table.lines().map(|line| line.split_whitespace().collect()).collect()
}

#[test]
fn the_version_is_that_of_the_interface_under_both_names() {
    let link = Link::new();
    let by_link = said(&link.command().arg("version").output().expect("it runs"));
    assert!(by_link.1.starts_with("Consul v1.21.4\nRevision "), "{by_link:?}");
    assert!(by_link.1.contains("Protocol 2 spoken by default, understands 2 to 3"));
    let by_word = said(&leno().args(["consul", "version"]).output().expect("it runs"));
    assert_eq!(by_word, by_link);
    for flag in ["-v", "--version"] {
        assert_eq!(said(&link.command().arg(flag).output().expect("it runs")), by_link);
    }
    let json = said(&link.command().args(["version", "-format=json"]).output().expect("it runs"));
    let value: serde_json::Value = serde_json::from_str(&json.1).expect("JSON");
    assert_eq!(value["Version"], "1.21.4");
    assert_eq!(value["RPC"], serde_json::json!({"Default": 2, "Min": 2, "Max": 3}));
}

#[test]
fn usage_is_printed_when_asked_for_and_complained_with_when_not() {
    let link = Link::new();
    let run = |line: &[&str]| said(&link.command().args(line).output().expect("it runs"));
    for line in [&["kv", "get", "-h"][..], &["kv", "get", "-help"], &["kv", "get", "key", "--help"]]
    {
        let (code, out, errors) = run(line);
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{line:?}");
        assert!(out.starts_with("Usage: consul kv get [options]"), "{out}");
        assert!(out.contains("  -separator=<value>\n"), "{out}");
        assert!(out.contains("  -http-addr=<value>\n"), "{out}");
    }
    let (code, out, _) = run(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("\n    members    "), "{out}");
    let (code, out, errors) = run(&[]);
    assert_eq!((code, out.as_str()), (Some(127), ""));
    assert!(errors.starts_with("Usage: consul "), "{errors}");
    assert_eq!(run(&["nonsense"]).0, Some(127));
    let (code, _, errors) = run(&["kv", "nonsense"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("\n    delete    "), "{errors}");
    let (code, out, errors) = run(&["kv", "get", "-nonsense", "key"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    let expected = "flag provided but not defined: -nonsense\nUsage: consul kv get";
    assert!(errors.starts_with(expected), "{errors}");
    assert_eq!(run(&["-http-addr=x", "members"]).0, Some(1));
}

#[test]
fn an_agent_that_is_not_there_is_named() {
    let link = Link::new();
    let output = link.command().args(["kv", "get", "-http-addr=127.0.0.1:1", "a"]).output();
    let (code, _, errors) = said(&output.expect("it runs"));
    assert_eq!(code, Some(1));
    let expected = "Error querying Consul agent: Get \"http://127.0.0.1:1/v1/kv/a\": dial tcp \
                    127.0.0.1:1: connect: connection refused\n";
    assert_eq!(errors, expected);
}

#[test]
fn members_and_the_catalog_are_tables() {
    let link = Link::new();
    let agent = Agent::dev(&[]);
    let (code, out, errors) = link.run(&agent, &["members"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let header =
        ["Node", "Address", "Status", "Type", "Build", "Protocol", "DC", "Partition", "Segment"];
    assert_eq!(rows(&out)[0], header);
    let expected =
        ["test", "127.0.0.1:8301", "alive", "server", "1.21.4", "2", "dc1", "default", "<all>"];
    assert_eq!(rows(&out)[1], expected);
    let (_, out, _) = link.run(&agent, &["members", "-detailed"]);
    assert!(out.contains("dc=dc1,id="), "{out}");
    assert_eq!(link.run(&agent, &["members", "-status", "^al"]).0, Some(0));
    let none = (Some(2), String::new(), String::new());
    assert_eq!(link.run(&agent, &["members", "-status=failed"]), none);
    assert_eq!(link.run(&agent, &["members", "-status=("]).0, Some(1));

    assert_eq!(link.run(&agent, &["catalog", "datacenters"]), done("dc1"));
    assert_eq!(link.run(&agent, &["catalog", "services"]), done("consul"));
    let (_, out, _) = link.run(&agent, &["catalog", "nodes"]);
    assert_eq!(rows(&out)[0], ["Node", "ID", "Address", "DC"]);
    let node = &rows(&out)[1];
    assert_eq!((node[0], node[1].len(), node[2], node[3]), ("test", 8, "127.0.0.1", "dc1"));
    let (_, out, _) = link.run(&agent, &["catalog", "nodes", "-detailed"]);
    assert!(out.contains("lan=127.0.0.1"), "{out}");
    let (code, out, errors) = link.run(&agent, &["catalog", "nodes", "-service=nobody"]);
    assert_eq!((code, out.as_str()), (Some(0), ""));
    assert_eq!(errors, "No nodes match the given query - try expanding your search.\n");
}

#[test]
fn services_are_registered_by_flags_and_by_files() {
    let link = Link::new();
    let agent = Agent::dev(&[]);
    let run = |line: &[&str]| link.run(&agent, line);
    let flags = ["-name=web", "-id=web-1", "-port", "80", "-address=10.0.0.1", "-tag=v1", "-tag=a"];
    let line = [&["services", "register"], &flags[..], &["-meta=x=1", "-meta=y=a=b"]].concat();
    assert_eq!(run(&line), done("Registered service: web"));
    let service = agent.ask("GET", "/v1/agent/service/web-1", "").json();
    assert_eq!(service["Tags"], serde_json::json!(["v1", "a"]));
    assert_eq!(service["Meta"], serde_json::json!({"x": "1", "y": "a=b"}));
    assert_eq!((&service["Port"], &service["Address"]), (&80.into(), &"10.0.0.1".into()));

    let file = link.file(
        "two.json",
        r#"{"services": [
            {"name": "a", "port": 1, "enable_tag_override": true, "meta": {"n": 4},
             "check": {"id": "up", "ttl": "1h", "status": "passing"}},
            {"id": "b-1", "name": "b", "tagged_addresses": {"lan": {"address": "10.0.0.2", "port": 7}}}]}"#,
    );
    assert_eq!(
        run(&["services", "register", &file]),
        done("Registered service: a\nRegistered service: b")
    );
    let service = agent.ask("GET", "/v1/agent/service/a", "").json();
    assert_eq!((&service["EnableTagOverride"], &service["Meta"]["n"]), (&true.into(), &"4".into()));
    assert_eq!(agent.ask("GET", "/v1/agent/checks", "").json()["up"]["Status"], "passing");
    let service = agent.ask("GET", "/v1/agent/service/b-1", "").json();
    assert_eq!(service["TaggedAddresses"]["lan"]["Port"], 7);
    let (_, out, _) = run(&["catalog", "services", "-tags"]);
    assert!(out.contains("\nweb         a,v1\n") || out.ends_with("\nweb         a,v1\n"), "{out}");
    let (_, out, _) = run(&["catalog", "services", "-node", "test"]);
    assert_eq!(out, "a\nb\nconsul\nweb\n");

    let hcl = link.file(
        "hcl.hcl",
        r#"service { name = "d" tagged_addresses { lan { address = "10.0.0.3" port = 8 } } check { ttl = "1h" } }"#,
    );
    assert_eq!(run(&["services", "register", "-tag=x", &hcl]), done("Registered service: d"));
    let service = agent.ask("GET", "/v1/agent/service/d", "").json();
    assert_eq!(service["TaggedAddresses"]["lan"]["Port"], 8);
    assert_eq!(service["Tags"], serde_json::json!(["x"]));
    assert_eq!(run(&["services", "deregister", &hcl]), done("Deregistered service: d"));
    let stdin = link.feed(&agent, &["services", "register", "-"], r#"{"service": {"name": "c"}}"#);
    assert_eq!(stdin, done("Registered service: c"));
    assert_eq!(run(&["services", "deregister", "-id=c"]), done("Deregistered service: c"));
    assert_eq!(
        run(&["services", "deregister", &file]),
        done("Deregistered service: a\nDeregistered service: b-1")
    );
    let (code, _, errors) = run(&["services", "deregister", "-id", "nobody"]);
    assert_eq!(code, Some(1));
    assert!(
        errors.contains("Unexpected response code: 404 (Unknown service ID \"nobody\""),
        "{errors}"
    );
    let (code, _, errors) = run(&["services", "register"]);
    assert_eq!(code, Some(1));
    assert_eq!(errors, "Service registration requires at least one argument or flags.\n");
}

#[test]
fn keys_are_written_read_and_removed_with_the_texts_that_scripts_look_for() {
    let link = Link::new();
    let agent = Agent::dev(&[]);
    let run = |line: &[&str]| link.run(&agent, &[&["kv"], line].concat());
    assert_eq!(run(&["put", "/app/a", "one"]), done("Success! Data written to: app/a"));
    assert_eq!(
        run(&["put", "-flags=42", "app/b/c", "two\nlines"]),
        done("Success! Data written to: app/b/c")
    );
    assert_eq!(run(&["put", "app/empty"]), done("Success! Data written to: app/empty"));
    assert_eq!(
        run(&["put", "-base64", "app/64", "aGk="]),
        done("Success! Data written to: app/64")
    );
    assert_eq!(run(&["put", "app/minus", "-1"]), done("Success! Data written to: app/minus"));
    let file = link.file("value", "from a file");
    assert_eq!(run(&["put", "app/file", &format!("@{file}")]).0, Some(0));
    assert_eq!(link.feed(&agent, &["kv", "put", "app/stdin", "-"], "from stdin").0, Some(0));
    for (key, value) in [
        ("app/a", "one"),
        ("app/b/c", "two\nlines"),
        ("app/empty", ""),
        ("app/64", "hi"),
        ("app/minus", "-1"),
        ("app/file", "from a file"),
        ("app/stdin", "from stdin"),
    ] {
        assert_eq!(run(&["get", key]), done(value), "{key}");
    }
    assert_eq!(run(&["get", "-base64", "app/a"]), done("b25l"));
    assert_eq!(run(&["get", "nobody"]), failed("Error! No key exists at: nobody"));
    assert_eq!(run(&["get"]), failed("Error! Missing KEY argument"));
    assert_eq!(run(&["get", "a", "b"]), failed("Too many arguments (expected 1, got 2)"));
    assert_eq!(run(&["get", "-keys", "app/b"]), done("app/b/"));
    assert_eq!(run(&["get", "-keys", "-separator=", "app/b"]), done("app/b/c"));
    assert_eq!(run(&["get", "-recurse", "app/b"]), done("app/b/c:two\nlines"));
    assert_eq!(run(&["get", "-recurse", "-base64", "app/a"]), done("app/a:b25l"));
    assert_eq!(run(&["get", "-recurse", "nobody"]), (Some(0), String::new(), String::new()));
    let (_, out, _) = run(&["get", "-detailed", "app/b/c"]);
    assert!(out.contains("\nFlags            42\nKey              app/b/c\n"), "{out}");
    assert!(out.contains("\nSession          -\nValue            two\nlines\n"), "{out}");

    let index = agent.ask("GET", "/v1/kv/app/a", "").json()[0]["ModifyIndex"].to_string();
    let cas = failed("Error! Did not write to app/a: CAS failed");
    assert_eq!(run(&["put", "-cas", "app/a", "x"]), cas);
    assert_eq!(run(&["put", "-cas", "-modify-index", &index, "app/a", "x"]).0, Some(0));
    let cas = failed("Error! Did not delete key app/a: CAS failed");
    assert_eq!(run(&["delete", "-cas", "-modify-index", &index, "app/a"]), cas);
    assert_eq!(run(&["delete", "-cas", "app/a"]), failed("Must specify -modify-index with -cas!"));
    assert_eq!(run(&["delete", "app/a"]), done("Success! Deleted key: app/a"));
    assert_eq!(
        run(&["delete", "-recurse", "app/"]),
        done("Success! Deleted keys with prefix: app/")
    );
}

#[test]
fn keys_are_locked_by_sessions() {
    let link = Link::new();
    let agent = Agent::dev(&[]);
    let run = |line: &[&str]| link.run(&agent, &[&["kv"], line].concat());
    let session = |name: &str| {
        let body = format!(r#"{{"Name": "{name}"}}"#);
        let made = agent.ask("PUT", "/v1/session/create", &body).json();
        format!("-session={}", made["ID"].as_str().expect("an ID"))
    };
    let (first, second) = (session("first"), session("second"));
    let missing = failed("Error! Missing -session (required with -acquire and -release)");
    assert_eq!(run(&["put", "-acquire", "key", "x"]), missing);
    assert_eq!(
        run(&["put", "-acquire", &first, "key", "x"]),
        done("Success! Lock acquired on: key")
    );
    assert_eq!(
        run(&["put", "-acquire", &second, "key", "x"]),
        failed("Error! Did not acquire lock")
    );
    assert_eq!(
        run(&["put", "-release", &second, "key", "x"]),
        failed("Error! Did not release lock")
    );
    assert_eq!(
        run(&["put", "-release", &first, "key", "x"]),
        done("Success! Lock released on: key")
    );
}

#[test]
fn what_is_exported_can_be_imported() {
    let link = Link::new();
    let agent = Agent::dev(&[]);
    let run = |line: &[&str]| link.run(&agent, &[&["kv"], line].concat());
    run(&["put", "-flags=7", "app/a", "one"]);
    run(&["put", "app/b/"]);
    let (code, out, _) = run(&["export", "app/"]);
    assert_eq!(code, Some(0));
    let expected = "[\n\t{\n\t\t\"key\": \"app/a\",\n\t\t\"flags\": 7,\n\t\t\"value\": \"b25l\"\n\t},\n\t{\n\
                    \t\t\"key\": \"app/b/\",\n\t\t\"flags\": 0,\n\t\t\"value\": \"\"\n\t}\n]\n";
    assert_eq!(out, expected);
    let file = link.file("export.json", &out);
    assert_eq!(run(&["delete", "-recurse", "app"]).0, Some(0));
    assert_eq!(run(&["import", &format!("@{file}")]), done("Imported: app/a\nImported: app/b/"));
    assert_eq!(run(&["export", "app/"]).1, expected);
    let again = link.feed(&agent, &["kv", "import", "-prefix=copy", "-"], &out);
    assert_eq!(again, done("Imported: copy/app/a\nImported: copy/app/b/"));
    assert_eq!(run(&["export", "nobody"]), done("[]"));
    let (code, _, errors) = run(&["import", "{"]);
    assert_eq!(code, Some(1));
    assert!(errors.starts_with("Cannot unmarshal data: "), "{errors}");
}

#[test]
fn an_agent_says_how_it_is_goes_into_maintenance_and_leaves() {
    let link = Link::new();
    let mut agent = Agent::dev(&[]);
    let run = |line: &[&str]| link.run(&agent, line);
    let (code, out, _) = run(&["info"]);
    assert_eq!(code, Some(0));
    assert!(out.starts_with("agent:\n\tcheck_monitors = 0\n"), "{out}");
    assert_eq!(run(&["reload"]), done("Configuration reload triggered"));
    assert_eq!(run(&["maint"]), (Some(0), String::new(), String::new()));
    run(&["services", "register", "-name=web"]);
    let enabled = run(&["maint", "-enable", "-service=web", "-reason", "new disk"]);
    assert_eq!(enabled, done("Service maintenance is now enabled for \"web\""));
    let listed = run(&["maint"]);
    assert_eq!(listed, done("Service:\n  ID:     web\n  Reason: new disk\n"));
    let disabled = run(&["maint", "-disable", "-service=web"]);
    assert_eq!(disabled, done("Service maintenance is now disabled for \"web\""));
    assert_eq!(run(&["maint", "-enable"]), done("Node maintenance is now enabled"));
    assert!(run(&["maint"]).1.starts_with("Node:\n  Name:   test\n  Reason: "));
    assert_eq!(run(&["maint", "-disable"]), done("Node maintenance is now disabled"));
    let both = failed("Only one of -enable or -disable may be provided");
    assert_eq!(run(&["maint", "-enable", "-disable"]), both);
    assert_eq!(run(&["leave"]), done("Graceful leave complete"));
    assert_eq!(agent.exit_code(), Some(0));
}

#[test]
fn a_snapshot_is_saved_verified_inspected_and_restored() {
    let (link, agent) = (Link::new(), Agent::start(&[]));
    let consul = |line: &[&str]| link.run(&agent, line);
    assert_eq!(consul(&["kv", "put", "app/a", "1"]).0, Some(0));
    assert_eq!(consul(&["kv", "put", "b", "2"]).0, Some(0));
    let (code, saved, _) = consul(&["snapshot", "save", "out.snap"]);
    assert!(
        code == Some(0) && saved.starts_with("Saved and verified snapshot to index "),
        "{saved}"
    );
    let (code, shown, _) = consul(&["snapshot", "inspect", "-kvdetails", "-kvdepth=1", "out.snap"]);
    let has = |name: &str| shown.lines().any(|line| line.trim_start().starts_with(name));
    assert!(
        code == Some(0) && has("kv ") && has("node ") && has("app ") && has("Index "),
        "{shown}"
    );
    let line = ["snapshot", "inspect", "-format=json", "-kvdetails", "-kvdepth=1", "out.snap"];
    let value: serde_json::Value = serde_json::from_str(&consul(&line).1).expect("JSON");
    assert_eq!(value["StatsKV"].as_array().map(Vec::len), Some(2), "{value}");

    assert_eq!(consul(&["kv", "put", "app/a", "changed"]).0, Some(0));
    assert_eq!(consul(&["snapshot", "restore", "out.snap"]), done("Restored snapshot"));
    assert_eq!(consul(&["kv", "get", "app/a"]), (Some(0), "1\n".to_owned(), String::new()));
    // One that is damaged changes nothing.
    let out = link.folder().join("out.snap");
    let mut bytes = std::fs::read(&out).expect("it was saved");
    bytes.truncate(bytes.len() / 2);
    std::fs::write(&out, bytes).expect("there is room");
    let (code, _, error) = consul(&["snapshot", "inspect", "out.snap"]);
    assert!(code == Some(1) && error.starts_with("Error reading snapshot: "), "{error}");
    let (code, _, error) = consul(&["snapshot", "restore", "out.snap"]);
    assert!(code == Some(1) && error.starts_with("Error restoring snapshot: "), "{error}");
    assert_eq!(consul(&["kv", "get", "app/a"]).1, "1\n");
}

#[test]
fn events_are_fired_and_the_only_server_is_looked_after() {
    let link = Link::new();
    let agent = Agent::dev(&[]);
    let run = |line: &[&str]| link.run(&agent, line);
    let (code, out, _) = run(&["event", "-name=deploy", "1.2.3"]);
    let id = out.trim().strip_prefix("Event ID: ").expect("it is told");
    assert_eq!((code, id.len()), (Some(0), 36));
    let (_, out, _) = run(&["watch", "-type=event", "-name=deploy"]);
    let events: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&events[0]["ID"], &events[0]["Payload"]), (&id.into(), &"MS4yLjM=".into()));

    let (code, out, _) = run(&["operator", "raft", "list-peers"]);
    assert_eq!((code, rows(&out)[1][3]), (Some(0), "leader"));
    let set = run(&["operator", "autopilot", "set-config", "-max-trailing-logs=300"]);
    assert_eq!(set, done("Configuration updated!"));
    let (_, out, _) = run(&["operator", "autopilot", "get-config"]);
    assert!(out.contains("\nMaxTrailingLogs = 300\n"), "{out}");
    let (_, out, _) = run(&["operator", "autopilot", "state"]);
    assert!(out.starts_with("Healthy:                      true\n"), "{out}");
    let (_, out, _) = run(&["operator", "usage", "instances", "-billable"]);
    assert!(out.starts_with("Billable Service Instances Total: 0\n"), "{out}");

    for (node, x) in [("test", 0.0), ("other", 0.01)] {
        let body = serde_json::json!({"Node": node, "Address": "10.0.0.1"}).to_string();
        if node == "other" {
            assert_eq!(agent.ask("PUT", "/v1/catalog/register", &body).status, 200);
        }
        let coordinate = serde_json::json!({
            "Node": node,
            "Coord": {"Vec": [x, 0, 0, 0, 0, 0, 0, 0], "Error": 1.5, "Adjustment": 0, "Height": 0.001},
        });
        let answer = agent.ask("PUT", "/v1/coordinate/update", &coordinate.to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let estimate = done("Estimated other <-> test rtt: 12.000 ms (using LAN coordinates)");
    eventually("the coordinates are known", || run(&["rtt", "other"]) == estimate);
    let unknown = failed("Could not find a coordinate for node \"nobody\"");
    assert_eq!(run(&["rtt", "nobody"]), unknown);
}

#[test]
fn config_entries_and_intentions_are_kept_by_an_agent() {
    let link = Link::new();
    let agent = Agent::dev(&[]);
    let run = |line: &[&str]| link.run(&agent, line);
    let defaults = link.file(
        "web.hcl",
        "Kind = \"service-defaults\"\nName = \"web\"\nProtocol = \"http\"\nmeta { owner = \"team\" }",
    );
    let written = done("Config entry written: service-defaults/web");
    assert_eq!(run(&["config", "write", &defaults]), written);
    let router = link.file(
        "router.hcl",
        r#"
        kind = "service-router"
        name = "web"
        routes {
          match { http { path_prefix = "/a" header { name = "x" present = true } } }
          destination { service = "web" request_headers { add { y = "1" } } }
        }
        "#,
    );
    let written = run(&["config", "write", &router]);
    assert_eq!(written, done("Config entry written: service-router/web"));
    let (code, out, errors) = run(&["config", "read", "-kind=service-router", "-name=web"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let entry: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let route = &entry["Routes"][0];
    assert_eq!(route["Match"]["HTTP"]["Header"][0]["Name"], "x", "{out}");
    assert_eq!(route["Destination"]["RequestHeaders"]["Add"]["y"], "1", "{out}");
    assert_eq!(run(&["config", "list", "-kind=service-defaults"]), done("web"));
    let index =
        agent.ask("GET", "/v1/config/service-router/web", "").json()["ModifyIndex"].to_string();
    let line = ["config", "delete", "-kind=service-router", "-name=web", "-cas", "-modify-index"];
    let stale = failed("Config entry not deleted: service-router/web");
    assert_eq!(run(&[&line[..], &["1"]].concat()), stale);
    let deleted = done("Config entry deleted: service-router/web");
    assert_eq!(run(&[&line[..], &[&index]].concat()), deleted);

    assert_eq!(run(&["intention", "list"]).0, Some(2), "there are none");
    assert_eq!(
        run(&["intention", "create", "-deny", "a", "web"]),
        created("Created: a => web (deny)")
    );
    assert_eq!(run(&["intention", "create", "a", "web"]).0, Some(1), "there is one");
    assert_eq!(run(&["intention", "check", "a", "web"]).1, "Denied\n");
    let replaced = run(&["intention", "create", "-replace", "a", "web"]);
    assert_eq!(replaced, created("Created: a => web (allow)"));
    assert_eq!(run(&["intention", "check", "a", "web"]), done("Allowed"));
    let described = run(&["intention", "create", "-meta=k=v", "b", "db"]);
    assert_eq!(described, created("Created: b => db (allow)"));
    let (_, out, _) = run(&["intention", "get", "b", "db"]);
    assert!(out.lines().any(|line| line.starts_with("Meta[k]:") && line.ends_with(" v")), "{out}");
    assert_eq!(run(&["intention", "match", "web"]), done("a => web (allow)"));
    assert_eq!(run(&["intention", "delete", "a", "web"]), done("Intention deleted."));
}

/// What is said when an intention is kept.
pub(crate) fn created(text: &str) -> (Option<i32>, String, String) {
    let note = "it is kept and answered, and nothing in Leno's data plane enforces it yet\n";
    (Some(0), format!("{text}\n"), note.to_owned())
}

#[test]
fn the_state_of_an_agent_is_saved_and_given_back() {
    let link = Link::new();
    let agent = Agent::dev(&[]);
    let run = |line: &[&str]| link.run(&agent, line);
    run(&["kv", "put", "app/a", "before"]);
    let (code, out, errors) = run(&["snapshot", "save", "state.snap"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert!(out.starts_with("Saved and verified snapshot to index "), "{out}");
    assert_eq!(run(&["snapshot", "inspect", "state.snap"]).0, Some(0));
    run(&["kv", "put", "app/a", "after"]);
    assert_eq!(run(&["snapshot", "restore", "state.snap"]), done("Restored snapshot"));
    assert_eq!(run(&["kv", "get", "app/a"]), done("before"));
}
