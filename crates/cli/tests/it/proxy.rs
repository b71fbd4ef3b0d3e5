//! `leno proxy` and `leno validate`, by Envoy's bootstrap files.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};

use crate::support::{HANG, eventually, leno, lines_of, peer, request, root, text};

/// A running proxy; killed and reaped when it is dropped.
struct Proxy {
    process: Child,
    lines: mpsc::Receiver<String>,
    log: Vec<String>,
}

impl Proxy {
    fn start(file: &Path, arguments: &[&str]) -> Self {
        let mut process = leno()
            .args(["proxy", "--concurrency", "1", "-c"])
            .arg(file)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built with the tests");
        let lines = lines_of(&mut process);
        let mut proxy = Self { process, lines, log: Vec::new() };
        proxy.wait_for("ready");
        proxy
    }

    /// Reads the log until a line contains `text`.
    fn wait_for(&mut self, text: &str) {
        loop {
            let line = self.lines.recv_timeout(HANG);
            let line = line.unwrap_or_else(|_| panic!("no {text:?} in {:#?}", self.log));
            let is_it = line.contains(text);
            self.log.push(line);
            if is_it {
                return;
            }
        }
    }

    /// Where a listener listens.
    fn listener(&self, name: &str) -> SocketAddr {
        let said = format!("listener       {name} ");
        let line = self.log.iter().find(|it| it.contains(&said)).expect("it says where");
        line.rsplit(' ').next().and_then(|it| it.parse().ok()).expect("an address")
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").arg(format!("-{name}")).arg(pid).status();
        assert!(sent.expect("there is a kill").success());
    }

    fn exit_code(&mut self) -> Option<i32> {
        let mut code = None;
        eventually("the proxy ends", || {
            let ended = self.process.try_wait().expect("it can be waited for");
            ended.inspect(|status| code = status.code()).is_some()
        });
        code
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const MANAGER: &str = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.\
                       HttpConnectionManager";
const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";

/// A file with a listener `l` on any port that has this filter chain, and a cluster `web`.
fn bootstrap(chain: &str, backend: SocketAddr) -> String {
    format!(
        "admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }} }}\n\
         static_resources:\n  listeners:\n  - name: l\n    address: {{ socket_address: {{ address: \
         127.0.0.1, port_value: 0 }} }}\n    filter_chains:\n    - {chain}\n  clusters:\n  - name: \
         web\n    load_assignment: {{ cluster_name: web, endpoints: [{{ lb_endpoints: [{{ endpoint: {{ \
         address: {{ socket_address: {{ address: {}, port_value: {} }} }} }} }}] }}] }}\n",
        backend.ip(),
        backend.port()
    )
}

/// A chain that answers every request with `body`, or sends it to `web` when that is empty.
fn http(body: &str) -> String {
    let action = match body {
        "" => "route: { cluster: web }".to_owned(),
        body => format!("direct_response: {{ status: 200, body: {{ inline_string: {body} }} }}"),
    };
    format!(
        "filters: [{{ name: http, typed_config: {{ \"@type\": {MANAGER}, stat_prefix: l, route_config: {{ \
         virtual_hosts: [{{ name: v, domains: ['*'], routes: [{{ match: {{ prefix: / }}, {action} }}] }}] }}, \
         http_filters: [{{ name: router, typed_config: {{ \"@type\": {ROUTER} }} }}] }} }}]"
    )
}

fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

fn get(address: SocketAddr) -> String {
    request(address, &[("Host", "a")], "GET", "/", b"").body
}

#[test]
fn a_file_is_served_and_read_again_on_sighup() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("envoy.yaml");
    fs::write(&file, bootstrap(&http("one"), nowhere())).expect("written");
    let mut proxy = Proxy::start(&file, &[]);
    let address = proxy.listener("l");
    assert_eq!(get(address), "one");
    let said = proxy.log.iter().find_map(|it| it.split_once("proxy admin    http://"));
    let admin = said.and_then(|it| it.1.parse().ok()).expect("it says where its admin pages are");
    let clusters = request(admin, &[], "GET", "/clusters", b"").body;
    assert!(clusters.contains("::added_via_api::false\n"), "{clusters}");

    fs::write(&file, bootstrap(&http("two"), nowhere())).expect("written");
    proxy.signal("HUP");
    proxy.wait_for("reloaded");
    assert_eq!(get(address), "two", "on the same port");

    fs::write(&file, bootstrap(&http("three"), nowhere()).replace("domains:", "domain:"))
        .expect("written");
    proxy.signal("HUP");
    proxy.wait_for("did you mean `domains`?");
    assert_eq!(get(address), "two", "what was before goes on");

    proxy.signal("TERM");
    assert_eq!(proxy.exit_code(), Some(0));
}

#[test]
fn sigterm_waits_for_what_is_under_way_and_no_longer() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("envoy.yaml");
    let backend = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let at = backend.local_addr().expect("it is bound");
    fs::write(&file, bootstrap(&http(""), at)).expect("written");
    let mut proxy = Proxy::start(&file, &[]);
    let mut client = TcpStream::connect(proxy.listener("l")).expect("it accepts");
    client.set_read_timeout(Some(HANG)).expect("a timeout can be set");
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    let (mut upstream, _) = backend.accept().expect("the request is under way");
    assert!(upstream.read(&mut [0; 1024]).expect("a request") > 0);
    proxy.signal("TERM");
    proxy.wait_for("the proxy is draining");
    upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast").expect("answered");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("the connection ends");
    assert!(text(&answer).ends_with("last"), "{}", text(&answer));
    assert_eq!(proxy.exit_code(), Some(0));
}

#[test]
fn the_admin_pages_change_what_is_logged_and_end_the_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("envoy.yaml");
    let backend = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let at = backend.local_addr().expect("it is bound");
    fs::write(&file, bootstrap(&http(""), at)).expect("written");
    let mut proxy = Proxy::start(&file, &[]);
    let said = "proxy admin    http://";
    let line = proxy.log.iter().find(|it| it.contains(said)).expect("it says where");
    let admin: SocketAddr =
        line.rsplit('/').next().and_then(|it| it.parse().ok()).expect("an address");
    let post = |target: &str| {
        let mut stream = TcpStream::connect(admin).expect("it accepts");
        stream.set_read_timeout(Some(HANG)).expect("a timeout can be set");
        let head = format!("POST {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        text(&answer).to_string()
    };
    let levels = post("/logging?paths=proxy:debug");
    assert!(levels.contains("  proxy: debug\n"), "{levels}");
    proxy.wait_for("what is logged was changed");
    assert!(post("/logging?level=loud").starts_with("HTTP/1.1 400"));
    post("/quitquitquit");
    assert_eq!(proxy.exit_code(), Some(0));
}

/// Certificates for `name`, its own authority, and the key.
fn certificate(name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// Whether a client that trusts `certificate` alone gets through.
fn is_shown(address: SocketAddr, certificate: &str) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
    roots.add(der).expect("it can be trusted");
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("there are versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("a.example.com").expect("a name");
    let mut tls = rustls::ClientConnection::new(config.into(), name).expect("a client");
    let mut stream = TcpStream::connect(address).expect("it accepts");
    stream.set_read_timeout(Some(HANG)).expect("a timeout can be set");
    tls.complete_io(&mut stream).is_ok()
}

#[test]
fn a_changed_certificate_is_taken_once_its_key_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    let write = |(certificate, private): &(String, String)| {
        fs::write(&chain, certificate).expect("written");
        fs::write(&key, private).expect("written");
    };
    let (old, new) = (certificate("a.example.com"), certificate("a.example.com"));
    write(&old);
    let tls = format!(
        "{{ transport_socket: {{ name: tls, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, common_tls_context: \
         {{ tls_certificates: [{{ certificate_chain: {{ filename: {} }}, private_key: {{ filename: {} }} }}] }} }} \
         }}, {} }}",
        chain.display(),
        key.display(),
        http("hello")
    );
    let file = folder.path().join("envoy.yaml");
    fs::write(&file, bootstrap(&tls, nowhere())).expect("written");
    let mut proxy = Proxy::start(&file, &[]);
    let address = proxy.listener("l");
    assert!(is_shown(address, &old.0) && !is_shown(address, &new.0));

    fs::write(&chain, &new.0).expect("written");
    proxy.wait_for("do not fit");
    assert!(is_shown(address, &old.0), "half of a change is not taken");
    fs::write(&key, &new.1).expect("written");
    proxy.wait_for("certificates renewed");
    assert!(is_shown(address, &new.0) && !is_shown(address, &old.0));
}

#[test]
fn validate_says_what_is_wrong_and_what_is_not_honored() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("envoy.yaml");
    let validate = |content: &str, arguments: &[&str]| {
        fs::write(&file, content).expect("written");
        let output = leno().arg("validate").arg(&file).args(arguments).output().expect("it runs");
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let good = bootstrap(&http("one"), nowhere());
    let (code, out, errors) = validate(&good, &["--strict"]);
    assert_eq!((code, out.as_str()), (Some(0), ""), "{errors}");
    assert!(errors.contains("can be used"), "{errors}");

    let ignored = format!("{good}    alt_stat_name: other\n");
    let (code, out, _) = validate(&ignored, &[]);
    assert_eq!(code, Some(0));
    assert!(out.contains("static_resources.clusters[0].alt_stat_name"), "{out}");
    let (code, _, errors) = validate(&ignored, &["--strict"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("1 fields are not honored"), "{errors}");

    let (code, out, errors) = validate(&format!("{good}    lb_polcy: RANDOM\n"), &["-o", "json"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("cannot be used"), "{errors}");
    let findings: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(findings[0]["severity"], "error");
    assert_eq!(findings[0]["remedy"], "did you mean `lb_policy`?");

    let log = "access_log: [{ name: f, filter: { response_flag_filter: { flags: [XX] } }, typed_config: { '@type': \
               type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: /dev/null } }], \
               stat_prefix:";
    let (code, out, _) = validate(&good.replacen("stat_prefix:", log, 1), &[]);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("XX") && out.contains("correct the filter"), "{out}");

    let regex = good.replace("prefix: /", "safe_regex: { regex: '(' }");
    let (code, out, _) = validate(&regex, &[]);
    assert_eq!(code, Some(1));
    assert!(out.contains("is not valid"), "{out}");

    let (code, _, errors) = validate("static_resources: [", &[]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("correct the YAML"), "{errors}");
    let output = leno().args(["validate"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let output = leno().args(["proxy", "-c", "/nowhere"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot read /nowhere"), "{}", text(&output.stderr));
    let output = leno().args(["proxy", "--strict", "-c"]).arg(&file).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn both_commands_are_listed() {
    let help = text(&leno().arg("--help").output().expect("it runs").stdout);
    assert!(help.contains("proxy") && help.contains("validate"), "{help}");
    let script = text(&leno().args(["completion", "bash"]).output().expect("it runs").stdout);
    assert!(script.contains("leno__proxy") || script.contains("leno__subcmd__proxy"), "{script}");
    assert!(script.contains("--drain-time-s"));
}

#[test]
fn the_examples_are_taken_by_leno_and_by_envoy() {
    let folder = tempfile::tempdir().expect("a folder");
    let (chain, key) = (folder.path().join("edge.pem"), folder.path().join("edge.key"));
    let (certificate, private) = certificate("localhost");
    fs::write(&chain, certificate).expect("written");
    fs::write(&key, private).expect("written");
    let envoy = peer("envoy");
    for name in ["edge", "grpc", "tcp"] {
        let example = root().join(format!("examples/envoy/{name}.yaml"));
        let example = fs::read_to_string(example).expect("the example is there");
        let example = example.replace("/tmp/", &format!("{}/", folder.path().display()));
        let file = folder.path().join(format!("{name}.yaml"));
        fs::write(&file, example).expect("written");
        let ours = leno().args(["validate", "--strict"]).arg(&file).output().expect("it runs");
        assert_eq!(
            ours.status.code(),
            Some(0),
            "{name}: {}{}",
            text(&ours.stdout),
            text(&ours.stderr)
        );
        let Some(envoy) = &envoy else { continue };
        let theirs = Command::new(envoy).args(["--mode", "validate", "-c"]).arg(&file).output();
        let theirs = theirs.expect("it runs");
        assert!(theirs.status.success(), "{name}: {}", text(&theirs.stderr));
    }
}
