//! A real Envoy and ours tell each other of clients through the PROXY protocol, in both versions and directions.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proxy::{Proxy, ProxyOptions};
use proxy_config::{
    Cluster, Endpoint, Endpoints, Forward, HttpListener, Listener, ListenerProtocol, PathMatch,
    ProxyConfig, ProxyProtocolIn, ProxyProtocolVersion, Route, RouteAction, RouteTable,
    VirtualHost,
};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(60);
/// Clients have an address that neither proxy has.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const TYPE: &str = "type.googleapis.com/envoy.extensions";

#[test]
fn each_believes_what_the_other_says_of_the_client() {
    let Some(program) = peer("envoy") else { return };
    let folder = std::env::temp_dir().join(format!("envoy-proxy-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut config = ProxyConfig::default();
    add(&mut config, "in", backend(), None);
    let options = || ProxyOptions { workers: 1, ..ProxyOptions::default() };
    let ours = Proxy::start(options(), Arc::new(config)).expect("ours starts");
    let envoy = Envoy::start(&program, &folder, ours.local_addr("in").expect("it listens"));

    for listener in ["v1", "v2"] {
        let (client, response) = get(envoy.listeners[listener]);
        assert!(response.ends_with(&format!("x-forwarded-for: {}", client.ip())), "{response}");
    }
    let mut config = ProxyConfig::default();
    add(&mut config, "v1", envoy.listeners["seen"], Some(ProxyProtocolVersion::V1));
    add(&mut config, "v2", envoy.listeners["seen"], Some(ProxyProtocolVersion::V2));
    let ours = Proxy::start(options(), Arc::new(config)).expect("ours starts");
    for listener in ["v1", "v2"] {
        let (client, response) = get(ours.local_addr(listener).expect("it listens"));
        assert!(response.contains(&format!("x-seen: {client}")), "{response}");
    }
    drop(envoy);
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
}

/// A listener that passes requests on to one address; without a version to write, it reads headers.
fn add(
    config: &mut ProxyConfig,
    name: &str,
    to: SocketAddr,
    written: Option<ProxyProtocolVersion>,
) {
    let http = HttpListener { route_table: name.to_owned(), ..HttpListener::default() };
    let protocol = ListenerProtocol::Http(Box::new(http));
    let any = (Ipv4Addr::LOCALHOST, 0).into();
    let mut listener = Listener::with_one_chain(name, any, None, protocol);
    listener.proxy_protocol = written.is_none().then(ProxyProtocolIn::default);
    let action = RouteAction::Forward(Box::new(Forward::to(name)));
    let host = VirtualHost {
        name: name.to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![Route::new("all", PathMatch::PathPrefix("/".to_owned()), action)],
        require_tls: false,
    };
    let table = RouteTable { name: name.to_owned(), virtual_hosts: vec![host] };
    let cluster = Cluster { proxy_protocol: written, ..Cluster::named(name) };
    let endpoints = Endpoints {
        cluster: name.to_owned(),
        endpoints: vec![Endpoint::new("n/1", &to.ip().to_string(), to.port())],
        ..Endpoints::default()
    };
    config.listeners.insert(name.to_owned(), Arc::new(listener));
    config.route_tables.insert(name.to_owned(), Arc::new(table));
    config.clusters.insert(name.to_owned(), Arc::new(cluster));
    config.endpoints.insert(name.to_owned(), Arc::new(endpoints));
}

/// The address that a request was sent from, and the response.
fn get(address: SocketAddr) -> (SocketAddr, String) {
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::new(CLIENT, 0).into()).expect("all of 127.0.0.0/8 is this host");
    socket.connect(&address.into()).expect("it listens");
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).expect("a TCP socket");
    let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("it answers");
    (stream.local_addr().expect("it is connected"), response)
}

/// Answers each connection's first request with its `x-forwarded-for`, in a thread that ends with the test.
fn backend() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head);
            let told = head.lines().find(|it| it.starts_with("x-forwarded-for")).unwrap_or("none");
            let response = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{told}",
                told.len()
            );
            let _client_may_be_gone = stream.write_all(response.as_bytes());
        }
    });
    address
}

fn at(port: u16) -> Value {
    json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } })
}

/// `seen` reads headers and answers with the client's address; `v1` and `v2` pass bytes on to `to` with a header.
fn bootstrap(to: SocketAddr) -> Value {
    let network = "filters.network";
    let manager = json!({
        "@type": format!("{TYPE}.{network}.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "seen",
        // Otherwise it would take the address from `x-forwarded-for`.
        "use_remote_address": true,
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [{
            "match": { "prefix": "/" },
            "direct_response": { "status": 200 },
            "response_headers_to_add":
                [{ "header": { "key": "x-seen", "value": "%DOWNSTREAM_REMOTE_ADDRESS%" } }],
        }] }] },
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": { "@type": format!("{TYPE}.filters.http.router.v3.Router") },
        }],
    });
    let reads = format!("{TYPE}.filters.listener.proxy_protocol.v3.ProxyProtocol");
    let mut listeners = vec![json!({
        "name": "seen",
        "address": at(0),
        "listener_filters": [{ "name": "proxy", "typed_config": { "@type": reads } }],
        "filter_chains": [{ "filters": [{ "name": "http", "typed_config": manager }] }],
    })];
    let mut clusters = Vec::new();
    for version in ["V1", "V2"] {
        let name = version.to_lowercase();
        let tcp = json!({
            "@type": format!("{TYPE}.{network}.tcp_proxy.v3.TcpProxy"),
            "stat_prefix": name,
            "cluster": name,
        });
        listeners.push(json!({
            "name": name,
            "address": at(0),
            "filter_chains": [{ "filters": [{ "name": "tcp", "typed_config": tcp }] }],
        }));
        let raw = format!("{TYPE}.transport_sockets.raw_buffer.v3.RawBuffer");
        let sockets = "transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport";
        clusters.push(json!({
            "name": name,
            "load_assignment": { "cluster_name": name, "endpoints":
                [{ "lb_endpoints": [{ "endpoint": { "address": at(to.port()) } }] }] },
            "transport_socket": { "name": "proxy", "typed_config": {
                "@type": format!("{TYPE}.{sockets}"),
                "config": { "version": version },
                "transport_socket": { "name": "raw", "typed_config": { "@type": raw } },
            } },
        }));
    }
    json!({
        "admin": { "address": at(0) },
        "static_resources": { "listeners": listeners, "clusters": clusters },
    })
}

/// A running Envoy; killed when dropped.
struct Envoy {
    process: Child,
    listeners: BTreeMap<String, SocketAddr>,
}

impl Envoy {
    fn start(program: &Path, folder: &Path, to: SocketAddr) -> Self {
        let (config, admin) = (folder.join("envoy.json"), folder.join("admin"));
        std::fs::write(&config, bootstrap(to).to_string()).expect("the folder is ours");
        let log = std::fs::File::create(folder.join("log")).expect("the folder is ours");
        let process = Command::new(program)
            .args(["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning"])
            .arg("--config-path")
            .arg(&config)
            .arg("--admin-address-path")
            .arg(&admin)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("Envoy starts");
        let mut envoy = Self { process, listeners: BTreeMap::new() };
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            envoy.listeners = listening(&admin).unwrap_or_default();
            if envoy.listeners.len() == 3 {
                return envoy;
            }
            let ended = envoy.process.try_wait().expect("it is our child");
            assert!(ended.is_none(), "Envoy ended: {}", read(&folder.join("log")));
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("Envoy does not listen: {}", read(&folder.join("log")));
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ended_before = self.process.kill();
        let _ended_before = self.process.wait();
    }
}

/// Listeners that accept connections.
fn listening(admin: &Path) -> Option<BTreeMap<String, SocketAddr>> {
    let admin: SocketAddr = read(admin).trim().parse().ok()?;
    let mut connection = TcpStream::connect(admin).ok()?;
    let request = "GET /listeners HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    connection.write_all(request.as_bytes()).ok()?;
    let mut response = String::new();
    connection.read_to_string(&mut response).ok()?;
    let listeners = response.lines().filter_map(|it| {
        let (name, address) = it.split_once("::")?;
        let address: SocketAddr = address.parse().ok()?;
        TcpStream::connect(address).is_ok().then(|| (name.to_owned(), address))
    });
    Some(listeners.collect())
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// A program that `cargo xtask peers` set up; `None`, with a note, when it is not there. With `LENO_REQUIRE_PEERS=1` its
/// absence is a failure.
fn peer(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("LENO_PEERS").map(PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let peer = folder.unwrap_or_else(|| root.join("target/peers")).join(name);
    if peer.exists() {
        return Some(peer);
    }
    let required = std::env::var("LENO_REQUIRE_PEERS").is_ok_and(|it| it == "1");
    assert!(!required, "{} is missing: run `cargo xtask peers`", peer.display());
    let note = format!("left out: {} is not set up (`cargo xtask peers` does)\n", peer.display());
    let _unseen = std::io::stderr().write_all(note.as_bytes());
    None
}
