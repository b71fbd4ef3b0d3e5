//! What `consul` asks an agent for, how it reaches it, and what it makes of answers: against a server that answers by a
//! list. (What a real agent answers is tested in `consul.rs`.)

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::consul::{Link, created, done, failed, said};
use crate::support::HANG;

type Said = (Option<i32>, String, String);

/// A server that answers `METHOD TARGET` by a list, and 404 to all else.
struct Fake {
    address: SocketAddr,
    requests: mpsc::Receiver<String>,
}

/// Reads a request and answers it; the request.
fn serve(stream: &mut (impl Read + Write), answers: &[(String, String)]) -> Option<String> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        request.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&request).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |it| it.parse().expect("a length"));
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    request.extend(body);
    let request = String::from_utf8_lossy(&request).into_owned();
    let line = request.split(" HTTP/1.1").next().unwrap_or_default();
    let answer = answers.iter().find(|(asked, _)| asked == line);
    let (status, body) = answer.map_or(("404 Not Found", "nothing"), |it| ("200 OK", &it.1));
    let head = format!(
        "HTTP/1.1 {status}\r\nX-Consul-Index: 7\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
    stream.flush().ok()?;
    Some(request)
}

fn owned(answers: &[(&str, &str)]) -> Vec<(String, String)> {
    answers.iter().map(|(asked, body)| ((*asked).to_owned(), (*body).to_owned())).collect()
}

impl Fake {
    fn start(answers: &[(&str, &str)]) -> Self {
        let answers = owned(answers);
        Self::with(move |stream: &mut TcpStream| serve(stream, &answers))
    }

    /// The same behind TLS, for clients whose certificate the CA has signed.
    fn secure(folder: &Path, answers: &[(&str, &str)]) -> Self {
        let pem = |name: &str| folder.join(name);
        let certificate =
            |name: &str| CertificateDer::from_pem_file(pem(name)).expect("it was made");
        let mut roots = RootCertStore::empty();
        roots.add(certificate("consul-agent-ca.pem")).expect("it is a CA");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
        let key = PrivateKeyDer::from_pem_file(pem("dc1-server-consul-0-key.pem"));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("there are versions")
            .with_client_cert_verifier(clients.build().expect("it has a root"))
            .with_single_cert(
                vec![certificate("dc1-server-consul-0.pem")],
                key.expect("it was made"),
            )
            .expect("they belong together");
        let config = Arc::new(config);
        let answers = owned(answers);
        Self::with(move |stream: &mut TcpStream| {
            let connection = ServerConnection::new(config.clone()).expect("the config is right");
            let stream = stream.try_clone().expect("it is open");
            let mut stream = StreamOwned::new(connection, stream);
            let request = serve(&mut stream, &answers);
            stream.conn.send_close_notify();
            let _ = stream.flush();
            request
        })
    }

    fn with(serve: impl Fn(&mut TcpStream) -> Option<String> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (sender, requests) = mpsc::channel();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                if let Some(request) = serve(&mut stream)
                    && sender.send(request).is_err()
                {
                    return;
                }
            }
        });
        Self { address, requests }
    }

    fn run(&self, link: &Link, line: &[&str]) -> Said {
        let mut command = link.command();
        command.env("CONSUL_HTTP_ADDR", self.address.to_string());
        said(&command.args(line).output().expect("the binary runs"))
    }

    fn request(&self) -> String {
        self.requests.recv_timeout(HANG).expect("it was asked")
    }

    /// The body of the next request that has one.
    fn body(&self) -> serde_json::Value {
        loop {
            let request = self.request();
            let body = request.split_once("\r\n\r\n").expect("a head").1;
            if !body.is_empty() {
                return serde_json::from_str(body).expect("JSON");
            }
        }
    }
}

fn run(command: &mut Command) -> Said {
    said(&command.output().expect("the binary runs"))
}

const KEY: &str = r#"[{"Key":"a","Value":"aGk="}]"#;

#[test]
fn flags_and_variables_say_whom_to_ask_and_with_what() {
    let link = Link::new();
    let target = "GET /gate/v1/kv/a?dc=dc2&ns=team&partition=part&stale";
    let fake = Fake::start(&[(target, KEY)]);
    let token = link.file("token", "from-a-file\n");
    let mut command = link.command();
    command
        .env("CONSUL_HTTP_ADDR", "127.0.0.1:1")
        .env("CONSUL_HTTP_TOKEN", "of-the-environment")
        .env("CONSUL_HTTP_AUTH", "user:pass")
        .env("CONSUL_NAMESPACE", "team")
        .args(["kv", "get", "-token=given", "-token-file", &token, "-datacenter=dc2", "-stale"])
        .args([&format!("-http-addr=http://{}/gate", fake.address), "-partition=part", "a"]);
    assert_eq!(run(&mut command), done("hi"));
    let request = fake.request().to_lowercase();
    assert!(request.contains("\r\nx-consul-token: from-a-file\r\n"), "{request}");
    assert!(request.contains("\r\nauthorization: basic dxnlcjpwyxnz\r\n"), "{request}");

    let fake = Fake::start(&[("GET /v1/kv/a", KEY)]);
    let mut command = link.command();
    command.env("CONSUL_HTTP_ADDR", fake.address.to_string()).args(["kv", "get"]);
    assert_eq!(run(command.env("CONSUL_HTTP_TOKEN", "of-the-environment").arg("a")), done("hi"));
    assert!(fake.request().contains("of-the-environment"));
    assert_eq!(run(command.env("CONSUL_HTTP_TOKEN_FILE", token)), done("hi"));
    assert!(fake.request().contains("from-a-file"));
}

#[test]
fn an_agent_is_reached_by_a_unix_socket() {
    let link = Link::new();
    let path = link.folder().join("socket");
    let listener = UnixListener::bind(&path).expect("a socket can be made");
    let answers = owned(&[("GET /v1/kv/a", KEY)]);
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("it connects");
        serve(&mut stream, &answers)
    });
    let address = format!("unix://{}", path.display());
    let mut command = link.command();
    assert_eq!(run(command.env("CONSUL_HTTP_ADDR", address).args(["kv", "get", "a"])), done("hi"));
}

#[test]
fn certificates_are_made_and_agents_reached_with_them() {
    let link = Link::new();
    let tls = |line: &[&str]| run(link.command().arg("tls").args(line));
    let made = done("==> Saved consul-agent-ca.pem\n==> Saved consul-agent-ca-key.pem");
    assert_eq!(tls(&["ca", "create"]), made);
    assert_eq!(tls(&["ca", "create"]), failed("consul-agent-ca.pem already exists."));
    let (code, out, errors) = tls(&["cert", "create", "-server", "-node=n1"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let saved = "==> Using consul-agent-ca.pem and consul-agent-ca-key.pem\n==> Saved \
                 dc1-server-consul-0.pem\n==> Saved dc1-server-consul-0-key.pem\n";
    assert!(out.starts_with("==> WARNING: ") && out.ends_with(saved), "{out}");
    assert_eq!(tls(&["cert", "create", "-cli"]).0, Some(0));
    assert!(link.folder().join("dc1-cli-consul-0.pem").exists());
    assert_eq!(tls(&["cert", "create"]), failed("Please provide either -server, -client, or -cli"));
    let other = tls(&["ca", "create", "-domain=other"]);
    assert_eq!(other.0, Some(0));
    let mixed = tls(&["cert", "create", "-client", "-key=other-agent-ca-key.pem"]);
    assert!(mixed.0 == Some(1) && mixed.2.contains("do not belong together"), "{mixed:?}");

    let fake = Fake::secure(link.folder(), &[("GET /v1/kv/a", KEY)]);
    let address = format!("https://{}", fake.address);
    let ask = |line: &[&str]| {
        let mut command = link.command();
        command.args(["kv", "get", "-http-addr", &address, "-tls-server-name=server.dc1.consul"]);
        command.args(line);
        command
    };
    let client = ["-client-cert=dc1-cli-consul-0.pem", "-client-key=dc1-cli-consul-0-key.pem"];
    let trusted = [&client[..], &["-ca-file=consul-agent-ca.pem", "a"]].concat();
    assert_eq!(run(&mut ask(&trusted)), done("hi"));
    let by_variables = run(ask(&["a"])
        .env("CONSUL_CACERT", "consul-agent-ca.pem")
        .env("CONSUL_CLIENT_CERT", "dc1-cli-consul-0.pem")
        .env("CONSUL_CLIENT_KEY", "dc1-cli-consul-0-key.pem"));
    assert_eq!(by_variables, done("hi"));
    let untrusted = [&client[..], &["-ca-file=other-agent-ca.pem", "a"]].concat();
    assert_eq!(run(&mut ask(&untrusted)).0, Some(1));
    assert_eq!(run(ask(&untrusted).env("CONSUL_HTTP_SSL_VERIFY", "false")), done("hi"));
    assert_eq!(
        run(&mut ask(&["-ca-file=consul-agent-ca.pem", "a"])).0,
        Some(1),
        "it shows nothing"
    );
    let half = run(&mut ask(&["-client-cert=dc1-cli-consul-0.pem", "a"]));
    assert!(half.2.contains("both client cert and client key must be provided"), "{half:?}");
}

const TOKEN: &str = r#"{"AccessorID":"11111111-2222-3333-4444-555555555555","SecretID":"s","Description":"d",
    "Policies":[{"ID":"p1","Name":"reads"}],"ServiceIdentities":[{"ServiceName":"web","Datacenters":["dc1"]}],
    "Local":false,"CreateTime":"2024-01-02T03:04:05.6Z","Hash":"AQI=","CreateIndex":7,"ModifyIndex":8}"#;

#[test]
fn tokens_are_made_shown_and_found_by_the_beginning_of_their_id() {
    let link = Link::new();
    let all = format!("[{TOKEN}]");
    let fake = Fake::start(&[
        ("PUT /v1/acl/token", TOKEN),
        ("GET /v1/acl/tokens", &all),
        ("GET /v1/acl/token/11111111-2222-3333-4444-555555555555", TOKEN),
        ("GET /v1/acl/token/self", TOKEN),
        ("PUT /v1/acl/token/11111111-2222-3333-4444-555555555555", TOKEN),
        ("DELETE /v1/acl/token/11111111-2222-3333-4444-555555555555", "true"),
        ("PUT /v1/agent/token/agent_recovery", ""),
    ]);
    let acl = |line: &[&str]| fake.run(&link, &[&["acl"], line].concat());
    let shown = "AccessorID:       11111111-2222-3333-4444-555555555555\nSecretID:         s\n\
                 Description:      d\nLocal:            false\nCreate Time:      2024-01-02 \
                 03:04:05.6 +0000 UTC\n";
    let links = "Policies:\n   p1 - reads\nService Identities:\n   web (Datacenters: dc1)\n";
    let flags = ["-policy-name=reads", "-service-identity=web:dc1", "-expires-ttl=1h", "-local"];
    assert_eq!(acl(&[&["token", "create"], &flags[..]].concat()), done(&format!("{shown}{links}")));
    let expected = serde_json::json!({
        "Policies": [{"Name": "reads"}],
        "ServiceIdentities": [{"ServiceName": "web", "Datacenters": ["dc1"]}],
        "ExpirationTTL": "1h", "Local": true,
    });
    assert_eq!(fake.body(), expected);
    let meta = "Hash:             0102\nCreate Index:     7\nModify Index:     8\n";
    let read = acl(&["token", "read", "-accessor-id=1111", "-meta"]);
    assert_eq!(read, done(&format!("{shown}{meta}{links}")));
    let (_, out, _) = acl(&["token", "read", "-self", "-format=json"]);
    assert!(out.starts_with("{\n    \"AccessorID\": \"1111"), "{out}");
    assert_eq!(acl(&["token", "list"]), done(&format!("{shown}{links}")));
    let update = ["token", "update", "-accessor-id=1111", "-append-policy-name=writes"];
    assert_eq!(acl(&update).0, Some(0));
    let body = fake.body();
    let policies = serde_json::json!([{"ID": "p1", "Name": "reads"}, {"Name": "writes"}]);
    assert_eq!(
        (&body["Policies"], &body["ServiceIdentities"]),
        (&policies, &serde_json::json!([]))
    );
    let deleted = "Token \"11111111-2222-3333-4444-555555555555\" deleted successfully";
    assert_eq!(acl(&["token", "delete", "-accessor-id=1"]), done(deleted));
    let unknown = failed("Error determining token ID: No such token ID with prefix: 2");
    assert_eq!(acl(&["token", "delete", "-accessor-id=2"]), unknown);
    let set = acl(&["set-agent-token", "recovery", "secret"]);
    assert_eq!(set, done("ACL token \"recovery\" set successfully"));
    let (code, _, errors) = acl(&["bootstrap"]);
    assert_eq!(code, Some(1));
    assert_eq!(errors, "Failed ACL bootstrapping: Unexpected response code: 404 (nothing)\n");
}

#[test]
fn policies_roles_methods_and_rules_are_shown_as_text() {
    let link = Link::new();
    let policy = r#"{"ID":"p1","Name":"reads","Description":"","Rules":"key \"a\" {}","Datacenters":["dc1"]}"#;
    let role = r#"{"ID":"r1","Name":"ops","Description":"","NodeIdentities":[{"NodeName":"n","Datacenter":"dc1"}]}"#;
    let method =
        r#"{"Name":"jwt","Type":"jwt","Description":"","MaxTokenTTL":"5m0s","Config":{"a":1}}"#;
    let rules = r#"[{"ID":"b1","AuthMethod":"jwt","Description":"","BindType":"role","BindName":"ops","Selector":"x"}]"#;
    let fake = Fake::start(&[
        ("PUT /v1/acl/policy", policy),
        ("GET /v1/acl/role/name/ops", role),
        ("GET /v1/acl/auth-method/jwt", method),
        ("GET /v1/acl/binding-rules", rules),
    ]);
    let acl = |line: &[&str]| fake.run(&link, &[&["acl"], line].concat());
    let file = link.file("rules.hcl", "key \"a\" {}");
    let rules = format!("-rules=@{file}");
    let made = acl(&["policy", "create", "-name=reads", &rules, "-valid-datacenter=dc1"]);
    let shown = "ID:           p1\nName:         reads\nDescription:  \nDatacenters:  dc1\nRules:\nkey \"a\" {}";
    assert_eq!(made, done(shown));
    let body =
        serde_json::json!({"Name": "reads", "Rules": "key \"a\" {}", "Datacenters": ["dc1"]});
    assert_eq!(fake.body(), body);
    let shown = "ID:           r1\nName:         ops\nDescription:  \nNode Identities:\n   n (Datacenter: dc1)\n";
    assert_eq!(acl(&["role", "read", "-name=ops"]), done(shown));
    let missing = failed("Role not found with name \"nobody\"");
    assert_eq!(acl(&["role", "read", "-name=nobody"]), missing);
    let shown = "Name:          jwt\nType:          jwt\nDescription:   \nMaxTokenTTL:   5m0s\nConfig:\n{\n  \"a\": 1\n}";
    assert_eq!(acl(&["auth-method", "read", "-name=jwt"]), done(shown));
    let shown = "b1:\n   AuthMethod:   jwt\n   Description:  \n   BindType:     role\n   BindName:     \
                 ops\n   Selector:     x\n";
    assert_eq!(acl(&["binding-rule", "list"]), done(shown));
}

#[test]
fn config_entries_and_intentions_are_written_and_read() {
    let link = Link::new();
    let intention = r#"{"SourceNS":"default","SourceName":"web","DestinationNS":"default","DestinationName":"db",
        "Action":"allow","Precedence":9,"CreatedAt":"2024-01-02T03:04:05Z"}"#;
    let (all, matches) = (format!("[{intention}]"), format!(r#"{{"db":[{intention}]}}"#));
    let fake = Fake::start(&[
        ("PUT /v1/config", "true"),
        ("PUT /v1/config?cas=9", "false"),
        ("GET /v1/config/service-defaults/web", r#"{"Kind":"service-defaults","Name":"web"}"#),
        ("GET /v1/config/service-defaults", r#"[{"Name":"a"},{"Name":"b"}]"#),
        ("DELETE /v1/config/service-defaults/web", "{}"),
        ("PUT /v1/connect/intentions/exact?source=web&destination=new", "true"),
        ("GET /v1/connect/intentions/exact?source=web&destination=db", intention),
        ("PUT /v1/connect/intentions/exact?source=web&destination=db", "true"),
        ("DELETE /v1/connect/intentions/exact?source=web&destination=db", "true"),
        ("GET /v1/connect/intentions", &all),
        ("GET /v1/connect/intentions/match?by=destination&name=db", &matches),
        (
            "GET /v1/connect/intentions/check?source=web&destination=db&source-type=consul",
            r#"{"Allowed":false}"#,
        ),
    ]);
    let config = |line: &[&str]| fake.run(&link, &[&["config"], line].concat());
    let file =
        link.file("web.json", r#"{"Kind": "service-defaults", "Name": "web", "Protocol": "http"}"#);
    assert_eq!(config(&["write", &file]), done("Config entry written: service-defaults/web"));
    assert_eq!(fake.body()["Protocol"], "http");
    let stale = config(&["write", "-cas", "-modify-index=9", &file]);
    assert_eq!(stale, failed("Config entry not updated: service-defaults/web"));
    let read = config(&["read", "-kind=service-defaults", "-name=web"]);
    assert_eq!(read, done("{\n    \"Kind\": \"service-defaults\",\n    \"Name\": \"web\"\n}"));
    assert_eq!(config(&["list", "-kind", "service-defaults"]), done("a\nb"));
    let deleted = config(&["delete", "-filename", &file]);
    assert_eq!(deleted, done("Config entry deleted: service-defaults/web"));
    assert_eq!(config(&["read", "-name=web"]), failed("Must specify the -kind parameter"));

    let intentions = |line: &[&str]| fake.run(&link, &[&["intention"], line].concat());
    let denied = intentions(&["create", "-deny", "web", "new"]);
    assert_eq!(denied, created("Created: web => new (deny)"));
    let twice = intentions(&["create", "web", "db"]);
    assert!(twice.0 == Some(1) && twice.2.contains("duplicate intention found: web => db (allow)"));
    assert_eq!(
        intentions(&["create", "-replace", "web", "db"]),
        created("Created: web => db (allow)")
    );
    let shown = "Source:       web\nDestination:  db\nAction:       allow\nCreated At:   2024-01-02 03:04:05 +0000 UTC";
    assert_eq!(intentions(&["get", "web", "db"]), done(shown));
    let missing = "Intention with source \"web\" and destination \"nobody\" not found.";
    assert_eq!(intentions(&["get", "web", "nobody"]), failed(missing));
    assert_eq!(intentions(&["delete", "web", "db"]), done("Intention deleted."));
    let (_, out, _) = intentions(&["list"]);
    assert_eq!(out.lines().nth(1), Some("    web     allow   db           9"));
    assert_eq!(intentions(&["match", "db"]), done("web => db (allow)"));
    let denied = (Some(1), "Denied\n".to_owned(), String::new());
    assert_eq!(intentions(&["check", "web", "db"]), denied);
    assert_eq!(intentions(&["check", "web"]).0, Some(2));
}

#[test]
fn agents_are_joined_made_to_leave_and_listened_to() {
    let link = Link::new();
    let fake = Fake::start(&[
        ("PUT /v1/agent/join/10.0.0.1?wan=1", ""),
        ("PUT /v1/agent/force-leave/old?prune=1", ""),
        ("GET /v1/agent/monitor?loglevel=debug&logjson", "one\ntwo\n"),
        ("GET /v1/agent/self", "{}"),
        ("PUT /v1/event/fire/deploy?service=web", r#"{"ID":"e1"}"#),
    ]);
    let run = |line: &[&str]| fake.run(&link, line);
    let (code, out, errors) = run(&["join", "-wan", "10.0.0.1", "10.0.0.2"]);
    assert_eq!(
        (code, out.as_str()),
        (Some(0), "Successfully joined cluster by contacting 1 nodes.\n")
    );
    assert!(errors.starts_with("Error joining address '10.0.0.2': Unexpected response code: 404"));
    assert!(run(&["join", "10.0.0.2"]).2.ends_with("\nFailed to join any nodes.\n"));
    assert_eq!(run(&["force-leave", "-prune", "old"]), (Some(0), String::new(), String::new()));
    let (code, out, errors) = run(&["monitor", "-log-level=debug", "-log-json"]);
    assert_eq!((code, out.as_str()), (Some(1), "one\ntwo\n"));
    assert!(errors.contains("Remote side ended the monitor!"), "{errors}");
    let fired = run(&["event", "-name=deploy", "-service=web", "1.2.3"]);
    assert_eq!(fired, done("Event ID: e1"));
    let payload =
        fake.requests.iter().find(|it| it.starts_with("PUT /v1/event")).expect("it was sent");
    assert!(payload.ends_with("\r\n\r\n1.2.3"), "{payload}");
    let (code, _, errors) = run(&["event", "-name=deploy", "-tag=a"]);
    assert_eq!(code, Some(1));
    assert_eq!(errors, "Cannot provide tag filter without service filter.\n");
}

#[test]
fn servers_are_listed_and_looked_after() {
    let link = Link::new();
    let peers = r#"{"Servers":[
        {"ID":"1","Node":"a","Address":"10.0.0.1:8300","Leader":true,"ProtocolVersion":"3","Voter":true},
        {"ID":"2","Node":"b","Address":"10.0.0.2:8300","Leader":false,"ProtocolVersion":"3","Voter":true}]}"#;
    let health = r#"{"Servers":[{"ID":"1","LastIndex":10},{"ID":"2","LastIndex":7}]}"#;
    let config = r#"{"CleanupDeadServers":true,"LastContactThreshold":"200ms","MaxTrailingLogs":250,"MinQuorum":0,
        "ServerStabilizationTime":"10s","RedundancyZoneTag":"","DisableUpgradeMigration":false,
        "UpgradeVersionTag":"","ModifyIndex":4}"#;
    let usage = r#"{"Usage":{"dc1":{"Services":2,"BillableServiceInstances":5,
        "ConnectServiceInstances":{"connect-proxy":1,"connect-native":0}}}}"#;
    let fake = Fake::start(&[
        ("GET /v1/operator/raft/configuration", peers),
        ("GET /v1/operator/autopilot/health", health),
        ("GET /v1/operator/autopilot/configuration", config),
        ("PUT /v1/operator/autopilot/configuration?cas=4", "true"),
        ("DELETE /v1/operator/raft/peer?id=2", ""),
        ("POST /v1/operator/raft/transfer-leader?id=2", r#"{"Success":true}"#),
        ("GET /v1/operator/usage", usage),
    ]);
    let operator = |line: &[&str]| fake.run(&link, &[&["operator"], line].concat());
    let table = "Node  ID  Address        State     Voter  RaftProtocol  Commit Index  Trails Leader By\n\
                 a     1   10.0.0.1:8300  leader    true   3             10            _\n\
                 b     2   10.0.0.2:8300  follower  true   3             7             3 Commits";
    assert_eq!(operator(&["raft", "list-peers"]), done(table));
    assert_eq!(operator(&["raft", "remove-peer", "-id=2"]), done("Removed peer with id \"2\""));
    assert_eq!(operator(&["raft", "transfer-leader", "-id=2"]), done("Success"));
    let (_, out, _) = operator(&["autopilot", "get-config"]);
    assert!(out.starts_with("CleanupDeadServers = true\nLastContactThreshold = 200ms\n"), "{out}");
    let flags = ["-cleanup-dead-servers=false", "-max-trailing-logs=9"];
    let set = operator(&[&["autopilot", "set-config"], &flags[..]].concat());
    assert_eq!(set, done("Configuration updated!"));
    let body = fake.body();
    assert_eq!((&body["CleanupDeadServers"], &body["MaxTrailingLogs"]), (&false.into(), &9.into()));
    let shown = "Billable Service Instances Total: 5\ndc1 Billable Service Instances: 5\n\nBillable \
                 Services\nServices      Service instances\n2             5\n\nConnect Services\nType                \
                 Service instances\nconnect-native      0\nconnect-proxy       1";
    assert_eq!(operator(&["usage", "instances"]), done(shown));
}

#[test]
fn what_is_not_in_leno_says_what_is() {
    let link = Link::new();
    for words in [&["exec", "uptime"][..], &["debug"], &["connect", "envoy", "-sidecar-for", "web"]]
    {
        let (code, out, errors) = run(link.command().args(words));
        assert_eq!((code, out.as_str()), (Some(1), ""), "{words:?}");
        assert!(errors.contains("is not in Leno: "), "{errors}");
    }
}

#[test]
fn keys_of_gossip_are_random() {
    let link = Link::new();
    let keygen = || run(link.command().arg("keygen"));
    let (code, first, _) = keygen();
    assert_eq!((code, first.len()), (Some(0), 45), "32 bytes in base64, and the end of the line");
    assert_ne!(first, keygen().1);
}
