//! Configuration files in Consul's form: `leno agent --config-file`, `consul agent` and `consul validate`.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use crate::consul::{Link, said};
use crate::program::free_port;
use crate::support::{Agent, Answer, HANG, leno, request, text};

/// An agent that was started by another line than [`Agent`]s are; killed and reaped when it is dropped.
pub(crate) struct Started {
    process: Child,
    pub(crate) log: Vec<String>,
    pub(crate) http: SocketAddr,
}

impl Started {
    /// Waits until it is ready. `http` is where it was told to listen.
    pub(crate) fn new(command: &mut Command, http: u16) -> Self {
        let command = command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("the binary was built with the tests");
        let stderr = process.stderr.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut started =
            Self { process, log: Vec::new(), http: SocketAddr::from(([127, 0, 0, 1], http)) };
        while !started.log.last().is_some_and(|line| line.ends_with("ready")) {
            match lines.recv_timeout(HANG) {
                Ok(line) => started.log.push(line),
                Err(_) => panic!("it did not start:\n{}", started.log.join("\n")),
            }
        }
        started
    }

    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        request(self.http, &[("Host", "agent")], method, path, body.as_bytes())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn keys(answer: &Answer) -> Vec<String> {
    answer.json().as_object().expect("an object").keys().cloned().collect()
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("there is room for a file");
    path.to_str().expect("a readable path").to_owned()
}

/// Blocks written in parts, in both styles of names.
const WHOLE: &str = r#"
ui_config { enabled = false }
datacenter = "dc9"
node_meta { rack = "r1" }
node_meta { "row" = "2" }
limits { kv_max_value_size = 10 }
limits { txn_max_req_len = 4096 }
retry_join = ["10.0.0.9"]

service {
  name = "web"
  port = 80
  tags = ["a", "b"]
  meta {
    owner_team = "x"
    tier       = "1"
  }
  tagged_addresses { lan { address = "10.0.0.5" port = 80 } }
  check { id = "web-ttl" ttl = "1h" }
}
service {
  name = "db"
  checks = [{ check_id = "db-1", ttl = "1h" }, { check_id = "db-2", ttl = "1h" }]
}
check {
  id   = "mem"
  name = "memory"
  ttl  = "1h"
}
"#;

#[test]
fn an_agent_does_what_its_files_say_and_flags_win() {
    let folder = tempfile::tempdir().expect("a folder");
    let main = write(folder.path(), "main.hcl", WHOLE);
    let more = folder.path().join("more");
    std::fs::create_dir(&more).expect("a folder");
    write(&more, "1.json", r#"{"node_name": "of-file", "services": [{"name": "api"}]}"#);
    write(&more, "2.hcl", "node_meta { row = \"3\" }");
    write(&more, "ignored.txt", "no configuration at all {");
    let more = more.to_str().expect("a readable path");
    let agent = Agent::dev(&["--config-file", &main, "--config-dir", more]);
    assert_eq!(keys(&agent.ask("GET", "/v1/agent/services", "")), ["api", "db", "web"]);
    let checks = keys(&agent.ask("GET", "/v1/agent/checks", ""));
    assert_eq!(checks, ["db-1", "db-2", "mem", "web-ttl"]);
    let web = agent.ask("GET", "/v1/agent/service/web", "").json();
    assert_eq!((&web["Port"], &web["Datacenter"]), (&80.into(), &"dc9".into()));
    assert_eq!(web["Meta"], serde_json::json!({"owner_team": "x", "tier": "1"}));
    assert_eq!(web["TaggedAddresses"]["lan"]["Address"], "10.0.0.5");
    let node = agent.ask("GET", "/v1/catalog/nodes", "").json()[0].clone();
    assert_eq!((&node["Meta"]["rack"], &node["Meta"]["row"]), (&"r1".into(), &"3".into()));
    assert_eq!(node["Node"], "test", "--node goes before files");
    assert_eq!(agent.ask("PUT", "/v1/kv/a", "0123456789a").status, 413);
    assert_eq!(agent.ask("GET", "/ui/", "").status, 404);
    let told = agent.log.iter().find(|line| line.contains("retry_join"));
    assert!(told.is_some_and(|line| line.contains("main.hcl")), "{:#?}", agent.log);
}

#[test]
fn what_is_wrong_is_named_with_its_file_and_nothing_starts() {
    let link = Link::new();
    let folder = link.folder().join("conf");
    std::fs::create_dir(&folder).expect("a folder");
    write(&folder, "1.json", r#"{"ports": {"dns": -1}}"#);
    write(&folder, "2.hcl", "ports { htttp = 1 }");
    let path = folder.to_str().expect("a readable path");
    let file = folder.join("2.hcl").display().to_string();
    let single = folder.join("2.hcl");
    let single = single.to_str().expect("a readable path");
    for line in [
        &["agent", "-dev", "-config-dir", path][..],
        &["agent", "-dev", "-config-file", single],
        &["validate", path],
        &["validate", single],
    ] {
        let (code, _, errors) = said(&link.command().args(line).output().expect("it runs"));
        assert_eq!(code, Some(1), "{line:?}: {errors}");
        let expected = format!("{file}: ports.htttp: invalid config key ports.htttp");
        assert!(errors.contains(&expected), "{line:?}: {errors}");
    }
    let output = leno().args(["agent", "--dev", "--config-dir", path]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&file), "{}", text(&output.stderr));
}

#[test]
fn files_that_cannot_be_read_are_named_with_the_place() {
    let link = Link::new();
    let syntax = link.file("syntax.hcl", "ports {\n  http = \n}\n");
    let sort = link.file("sort.json", r#"{"ports": {"http": "x"}}"#);
    let list = link.file("list.json", "[1]");
    let missing = link.folder().join("none.hcl").display().to_string();
    let service = link.file("service.hcl", "service { nmae = \"web\" }");
    for (file, words) in [
        (&syntax, "syntax.hcl:"),
        (&sort, "ports.http: \"x\" is not a whole number"),
        (&list, "list.json"),
        (&missing, "none.hcl"),
    ] {
        let (code, _, errors) =
            said(&link.command().args(["validate", file]).output().expect("it runs"));
        assert_eq!(code, Some(1), "{file}: {errors}");
        assert!(errors.contains(file) && errors.contains(words), "{file}: {errors}");
    }
    // What a service is made of is known when it is registered.
    let line = ["agent", "-dev", "-dns-port=-1", "-http-port=-1", "-config-file", &service];
    let (code, _, errors) = said(&link.command().args(line).output().expect("it runs"));
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("nmae"), "{errors}");
}

#[test]
fn validate_says_yes_and_what_is_not_honored() {
    let link = Link::new();
    let good = link.file("good.hcl", WHOLE);
    let more =
        link.file("more.json", r#"{"server": true, "bootstrap_expect": 1, "data_dir": "/tmp/x"}"#);
    let run = |line: &[&str]| said(&link.command().args(line).output().expect("it runs"));
    let (code, printed, notes) = run(&["validate", &good, &more]);
    assert_eq!((code, printed.as_str()), (Some(0), "Configuration is valid!\n"), "{notes}");
    assert!(notes.contains("retry_join") && notes.contains(&good), "{notes}");
    let (code, printed, _) = run(&["validate", "-quiet", &good, &more]);
    assert_eq!((code, printed.as_str()), (Some(0), ""));
    let (code, _, errors) = run(&["validate", &good]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("data_dir cannot be empty"), "{errors}");
    let (code, _, errors) = run(&["validate"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("Must specify at least one config file or directory"), "{errors}");
}

#[test]
fn validate_finds_all_that_is_wrong_with_what_files_define() {
    let link = Link::new();
    let file = link.file(
        "bad.hcl",
        r#"
data_dir = "/tmp/x"
service { name = "web" port = 70000 }
check { name = "c" interval = "1s" }
config_entries { bootstrap { kind = "service-nothing" name = "x" } }
"#,
    );
    let (code, _, errors) =
        said(&link.command().args(["validate", &file]).output().expect("it runs"));
    assert_eq!(code, Some(1));
    for part in ["service \"web\"", "70000", "check \"c\"", "service-nothing/x"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    // What the agent says is the same.
    let (code, _, started) = said(
        &link.command().args(["agent", "-dev", "-config-file", &file]).output().expect("it runs"),
    );
    assert_eq!(code, Some(1));
    assert!(started.contains("70000") && started.contains("service-nothing/x"), "{started}");
}

#[test]
fn what_comes_later_wins_whether_file_or_folder() {
    let link = Link::new();
    let folder = link.folder().join("conf.d");
    std::fs::create_dir(&folder).expect("a folder");
    write(&folder, "a.hcl", "datacenter = \"of-folder\" ports { dns = -1 }");
    let folder = folder.to_str().expect("a readable path").to_owned();
    let file = link.file("last.hcl", "datacenter = \"of-file\"");
    for (line, expected) in [
        (["-config-dir", &folder, "-config-file", &file], "of-file"),
        (["-config-file", &file, "-config-dir", &folder], "of-folder"),
    ] {
        let port = free_port();
        let text = port.to_string();
        let mut command = link.command();
        command.args(["agent", "-dev", "-http-port", &text]).args(line);
        let agent = Started::new(&mut command, port);
        let own = agent.ask("GET", "/v1/agent/self", "").json();
        assert_eq!(own["Config"]["Datacenter"], expected);
        let flags = line.map(|it| it.replacen("-config", "--config", 1));
        let agent = Agent::dev(&flags.each_ref().map(String::as_str));
        let own = agent.ask("GET", "/v1/agent/self", "").json();
        assert_eq!(own["Config"]["Datacenter"], expected);
    }
}

#[test]
fn consul_agent_reads_files_then_hcl_then_its_flags() {
    let link = Link::new();
    let (of_file, of_hcl) = (free_port(), free_port());
    let first = format!(
        "ports {{ http = {of_file} }}\nports {{ dns = -1 }}\nnode_name = \"of-file\"\n\
         datacenter = \"of-file\"\nservice {{ name = \"web\" }}\n"
    );
    let first = link.file("first.hcl", &first);
    let folder = link.folder().join("more");
    std::fs::create_dir(&folder).expect("a folder");
    write(&folder, "a.json", r#"{"service": {"name": "api"}, "session_ttl_min": "1s"}"#);
    let folder = folder.to_str().expect("a readable path");
    let http =
        format!("ports {{ http = {of_hcl} }} node_name = \"of-hcl\" datacenter = \"of-hcl\"");
    let mut command = link.command();
    command.args(["agent", "-dev", "-config-file", &first, "-config-dir", folder]);
    command.args(["-hcl", &http, "-hcl", "service { name = \"db\" }", "-node", "of-flag"]);
    let agent = Started::new(&mut command, of_hcl);
    let own = agent.ask("GET", "/v1/agent/self", "").json();
    let config = &own["Config"];
    assert_eq!((&config["NodeName"], &config["Datacenter"]), (&"of-flag".into(), &"of-hcl".into()));
    assert_eq!(keys(&agent.ask("GET", "/v1/agent/services", "")), ["api", "db", "web"]);
    let session = agent.ask("PUT", "/v1/session/create", r#"{"TTL":"1s","NodeChecks":[]}"#);
    assert_eq!(session.status, 200, "{session:?}");
}

#[test]
fn consul_agent_wants_a_place_for_its_data_or_none() {
    let link = Link::new();
    let (code, _, errors) = said(&link.command().args(["agent"]).output().expect("it runs"));
    assert_eq!(code, Some(1));
    assert!(errors.contains("data_dir cannot be empty"), "{errors}");
    let broken = ["agent", "-dev", "-hcl", "ports {"];
    let (code, _, errors) = said(&link.command().args(broken).output().expect("it runs"));
    assert_eq!(code, Some(1));
    assert!(errors.contains("-hcl"), "{errors}");
    let unknown = ["agent", "-dev", "-hcl", "nope = 1"];
    let (code, _, errors) = said(&link.command().args(unknown).output().expect("it runs"));
    assert_eq!(code, Some(1));
    assert!(errors.contains("-hcl: nope: invalid config key nope"), "{errors}");
}

#[test]
fn addresses_may_be_templates_in_files_and_flags() {
    let link = Link::new();
    let data = link.folder().join("data").display().to_string();
    let config = r#"bind_addr = "{{ GetInterfaceIP \"lo\" }}" ports { dns = -1 }"#;
    let file = link.file("template.hcl", config);
    let advertised = |line: &[&str]| {
        let port = free_port();
        let mut command = link.command();
        command.args(["agent", "-data-dir", &data, "-http-port", &port.to_string()]).args(line);
        let agent = Started::new(&mut command, port);
        let own = agent.ask("GET", "/v1/agent/self", "").json();
        own["Member"]["Addr"].as_str().map(str::to_owned)
    };
    let client = "{{ GetAllInterfaces | include \"name\" \"^lo$\" | include \"type\" \"IPv4\" | attr \"address\" }}";
    let of_file = advertised(&["-config-file", &file, "-client", client]);
    assert_eq!(of_file.as_deref(), Some("127.0.0.1"));
    let shifted =
        "{{ . | include `network` `127.0.0.0/8` | math `address` `+6` | attr `address` }}";
    let of_flag = advertised(&["-config-file", &file, "-advertise", shifted]);
    assert_eq!(of_flag.as_deref(), Some("127.0.0.7"));
}

#[test]
fn a_template_that_gives_no_address_is_named_with_its_key_and_file() {
    let link = Link::new();
    let none = link.file("none.hcl", r#"advertise_addr = "{{ GetInterfaceIP `no-such` }}""#);
    let wrong = link.file("wrong.hcl", r#"client_addr = "{{ GetPrivatIP }}" nope = 1"#);
    for (file, line, expected) in [
        (&none, &["agent", "-dev", "-config-file", &none][..], "advertise_addr: the template"),
        (&none, &["validate", &none], "gives no address on this machine (name an interface"),
        (
            &wrong,
            &["validate", &wrong],
            "client_addr: the template \"{{ GetPrivatIP }}\" is wrong: there is no",
        ),
    ] {
        let (code, _, errors) = said(&link.command().args(line).output().expect("it runs"));
        assert_eq!(code, Some(1), "{line:?}: {errors}");
        assert!(errors.contains(file) && errors.contains(expected), "{line:?}: {errors}");
        // All that is wrong is said at once.
        assert_eq!(errors.contains("nope: invalid config key nope"), file == &wrong, "{errors}");
    }
    let line = ["agent", "-dev", "-bind", "{{ GetInterfaceIPs `lo` }} 127.0.0.2"];
    let (code, _, errors) = said(&link.command().args(line).output().expect("it runs"));
    assert_eq!(code, Some(1));
    assert!(errors.contains("command line: bind_addr: the template"), "{errors}");
    assert!(errors.contains("addresses, of which there may be one: 127.0.0.1"), "{errors}");
}

#[test]
fn consul_agent_tells_others_an_address_of_its_machine_unless_it_is_for_development() {
    let link = Link::new();
    let data = link.folder().join("data").display().to_string();
    for line in [&["-data-dir", &data, "-bind", "0.0.0.0"][..], &["-dev"]] {
        let port = free_port();
        let mut command = link.command();
        command.args(["agent", "-dns-port=-1", "-http-port", &port.to_string()]).args(line);
        let agent = Started::new(&mut command, port);
        let own = agent.ask("GET", "/v1/agent/self", "").json();
        let address = own["Member"]["Addr"].as_str().expect("an address").to_owned();
        // Which addresses this machine has is not known here; that it has a private one is not either.
        let warned = agent.log.iter().any(|line| line.contains("advertise_addr: no interface has"));
        let is_for_development = line == ["-dev"];
        assert_eq!(address == "127.0.0.1", warned || is_for_development, "{:#?}", agent.log);
        assert!(!(warned && is_for_development), "{:#?}", agent.log);
    }
}

#[test]
fn a_socket_of_the_configuration_has_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let link = Link::new();
    let socket = link.folder().join("http.sock");
    let port = free_port();
    let shown = socket.display();
    let config = format!(
        "addresses {{ http = \"127.0.0.1 unix://{shown}\" }} ports {{ http = {port} dns = -1 }}\n\
         unix_sockets {{ mode = \"0640\" }}"
    );
    let file = link.file("socket.hcl", &config);
    let agent = Started::new(link.command().args(["agent", "-dev", "-config-file", &file]), port);
    assert_eq!(agent.ask("GET", "/v1/status/leader", "").status, 200);
    let mode = std::fs::metadata(&socket).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let mut command = link.command();
    let command = command.env("CONSUL_HTTP_ADDR", format!("unix://{shown}"));
    let (code, printed, errors) = said(&command.args(["members"]).output().expect("it runs"));
    assert_eq!(code, Some(0), "{errors}");
    assert!(printed.contains("alive"), "{printed}");
}

#[test]
fn dns_listens_on_all_of_its_addresses_and_metrics_may_be_off() {
    let link = Link::new();
    let (port, dns) = (free_port(), free_port());
    let config = format!(
        "addresses {{ http = \"127.0.0.1\" dns = \"127.0.0.1 127.0.0.2\" }}\n\
         ports {{ http = {port} dns = {dns} }}\n\
         telemetry {{ prometheus_retention_time = \"0s\" }}"
    );
    let file = link.file("dns.hcl", &config);
    let agent = Started::new(link.command().args(["agent", "-dev", "-config-file", &file]), port);
    // consul.service.consul, type A, class IN.
    let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x06consul\x07service\x06consul\0\0\x01\0\x01";
    for ip in [[127, 0, 0, 1], [127, 0, 0, 2]] {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(HANG)).expect("a deadline");
        socket.send_to(query, SocketAddr::from((ip, dns))).expect("it goes");
        let mut answer = [0; 512];
        let (length, from) = socket.recv_from(&mut answer).expect("an answer");
        assert!(length > query.len() && answer[..2] == query[..2], "from {from}");
    }
    assert_eq!(agent.ask("GET", "/v1/agent/metrics?format=prometheus", "").status, 415);
    assert_eq!(agent.ask("GET", "/v1/agent/metrics", "").status, 200);
}

#[test]
fn files_say_how_much_is_logged_unless_a_flag_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(folder.path(), "log.hcl", "log_level = \"DEBUG\"");
    let agent = Agent::dev(&["--config-file", &file]);
    assert!(agent.log.iter().any(|line| line.contains("DEBUG")), "{:#?}", agent.log);
    let agent = Agent::dev(&["--config-file", &file, "--log", "info"]);
    assert!(!agent.log.iter().any(|line| line.contains("DEBUG")), "{:#?}", agent.log);
}
