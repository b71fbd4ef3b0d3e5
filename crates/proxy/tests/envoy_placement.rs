//! A real Envoy and ours place the same keys on the same endpoints: ring hash and Maglev, with
//! equal and unequal weights, and with bounded loads.
//!
//! Envoy stands before backends that answer with their own port; what it answers is compared with
//! what a pick of ours says for the hash of the same header.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proxy_config::{
    Balancing, Cluster, Endpoint, Endpoints, HashFunction, HashInput, HashPolicy, Locality, Maglev,
    RingHash,
};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::{Value, json};
use traffic::{ClusterState, HashFacts, PickRequest, Picked, RequestHash, Surroundings};

const KEYS: usize = 10_000;
const BACKENDS: usize = 12;
/// Requests of one key that are under way at once.
const HELD: usize = 40;
const DEADLINE: Duration = Duration::from_secs(60);

/// A cluster that both have.
struct Case {
    name: &'static str,
    ours: Balancing,
    /// Envoy's `lb_policy` and what belongs to it.
    envoy: Value,
    weight: fn(usize) -> u16,
    /// Weights of two localities that endpoints are dealt out to, if localities count.
    localities: Option<[u32; 2]>,
}

fn cases() -> Vec<Case> {
    let unequal = |idx| [1, 7, 2, 40, 3][idx % 5];
    let ring = RingHash::default();
    let murmur = RingHash { function: HashFunction::MurmurHash2, size_min: 3000, ..ring };
    let maglev = Maglev::default();
    let envoy_ring = || json!({ "lb_policy": "RING_HASH" });
    let envoy_maglev = || json!({ "lb_policy": "MAGLEV" });
    vec![
        case("ring", Balancing::RingHash(ring), envoy_ring(), |_| 1),
        case("ring-unequal", Balancing::RingHash(ring), envoy_ring(), unequal),
        case(
            "ring-murmur",
            Balancing::RingHash(murmur),
            json!({
                "lb_policy": "RING_HASH",
                "ring_hash_lb_config":
                    { "hash_function": "MURMUR_HASH_2", "minimum_ring_size": 3000 },
            }),
            unequal,
        ),
        Case {
            localities: Some([3, 1]),
            ..case(
                "ring-localities",
                Balancing::RingHash(ring),
                json!({
                    "lb_policy": "RING_HASH",
                    "common_lb_config": { "locality_weighted_lb_config": {} },
                }),
                unequal,
            )
        },
        case("maglev", Balancing::Maglev(maglev), envoy_maglev(), |_| 1),
        case("maglev-unequal", Balancing::Maglev(maglev), envoy_maglev(), unequal),
        case(
            "maglev-small",
            Balancing::Maglev(Maglev { table_size: 1009, ..maglev }),
            json!({ "lb_policy": "MAGLEV", "maglev_lb_config": { "table_size": 1009 } }),
            unequal,
        ),
    ]
}

/// Cases with bounded loads.
fn bounded() -> Vec<Case> {
    let ring = RingHash { load_max_percent: Some(150), ..RingHash::default() };
    let maglev = Maglev { load_max_percent: Some(150), ..Maglev::default() };
    let envoy = |policy: &str| {
        json!({
            "lb_policy": policy,
            "common_lb_config": { "consistent_hashing_lb_config": { "hash_balance_factor": 150 } },
        })
    };
    let unequal = |idx| [1, 2, 4][idx % 3];
    vec![
        case("ring-bounded", Balancing::RingHash(ring), envoy("RING_HASH"), unequal),
        case("maglev-bounded", Balancing::Maglev(maglev), envoy("MAGLEV"), |_| 1),
    ]
}

fn case(name: &'static str, ours: Balancing, envoy: Value, weight: fn(usize) -> u16) -> Case {
    Case { name, ours, envoy, weight, localities: None }
}

#[test]
fn keys_are_placed_and_overflow_as_in_envoy() {
    let Some(program) = peer("envoy") else { return };
    let ports: Vec<u16> = (0..BACKENDS).map(|_| backend()).collect();
    let folder = std::env::temp_dir().join(format!("envoy-placement-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let all: Vec<Case> = cases().into_iter().chain(bounded()).collect();
    let envoy = Envoy::start(&program, &folder, &bootstrap(&all, &ports));
    for case in &cases() {
        let ours = our_state(case, &ports);
        let mut connection = Connection::open(envoy.listener);
        let mut differing = 0;
        for nth in 0..KEYS {
            let key = format!("user-{nth}-{}", nth * 7919 % 104_729);
            let theirs = connection.get(&format!("/{}", case.name), &key);
            differing += usize::from(theirs != our_pick(&ours, &key).endpoint().port());
        }
        assert_eq!(differing, 0, "{}: of {KEYS} keys so many lie elsewhere", case.name);
        println!("{}: {KEYS} keys lie on the same endpoints", case.name);
    }
    for case in &bounded() {
        let ours = our_state(case, &ports);
        let key = "hot";
        let (mut held, mut theirs, mut expected) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..HELD {
            let mut connection = Connection::open(envoy.listener);
            theirs.push(connection.begin(&format!("/{}", case.name), key));
            let picked = our_pick(&ours, key);
            expected.push(picked.endpoint().port());
            held.push((connection, picked));
        }
        assert_eq!(theirs, expected, "{}", case.name);
        let used: BTreeSet<u16> = theirs.into_iter().collect();
        assert!(used.len() > 1, "nothing has overflowed");
        println!("{}: {HELD} requests at once overflow in the same order", case.name);
    }
    drop(envoy);
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
}

fn our_state(case: &Case, ports: &[u16]) -> ClusterState {
    let endpoint = |(idx, port): (usize, &u16)| Endpoint {
        weight: (case.weight)(idx),
        locality: locality_of(case, idx),
        ..Endpoint::new(&format!("n/{idx}"), "127.0.0.1", *port)
    };
    let weights = case.localities.iter().flatten();
    let endpoints = Endpoints {
        endpoints: ports.iter().enumerate().map(endpoint).collect(),
        localities: weights
            .map(|weight| Locality { weight: Some(*weight), ..Locality::default() })
            .collect(),
        ..Endpoints::default()
    };
    let mut cluster = Cluster { balancing: case.ours, ..Cluster::named(case.name) };
    cluster.narrowing.locality_weighted = case.localities.is_some();
    ClusterState::new(Arc::new(cluster), Arc::new(endpoints), Surroundings::default())
}

/// Endpoints of one locality follow each other, in both configurations.
fn locality_of(case: &Case, idx: usize) -> u16 {
    u16::from(case.localities.is_some() && idx >= BACKENDS / 2)
}

fn our_pick(state: &ClusterState, key: &str) -> Picked {
    struct Request<'a>(&'a str);
    impl HashFacts for Request<'_> {
        fn header<'a>(&'a self, _name: &'a str) -> impl Iterator<Item = &'a [u8]> {
            std::iter::once(self.0.as_bytes())
        }
        fn cookie(&self, _name: &str) -> Option<&str> {
            None
        }
        fn query(&self, _name: &str) -> Option<Cow<'_, str>> {
            None
        }
        fn source_ip(&self) -> Option<IpAddr> {
            None
        }
        fn connection(&self) -> String {
            String::new()
        }
    }
    let input = HashInput::Header { name: "x-key".to_owned(), rewrite: None };
    let hash = RequestHash::new(&[HashPolicy { input, terminal: false }]).expect("no expression");
    let request = PickRequest { hash: hash.of(&Request(key)).hash, ..PickRequest::at(0) };
    state.pick(&request, &mut SmallRng::seed_from_u64(0)).expect("all are healthy")
}

/// Envoy's configuration: one listener, a route for each case by its name.
fn bootstrap(cases: &[Case], ports: &[u16]) -> Value {
    let any = json!({ "socket_address": { "address": "127.0.0.1", "port_value": 0 } });
    let routes: Vec<Value> = cases
        .iter()
        .map(|case| {
            json!({
                "match": { "path": format!("/{}", case.name) },
                "route": {
                    "cluster": case.name,
                    "hash_policy": [{ "header": { "header_name": "x-key" } }],
                },
            })
        })
        .collect();
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager\
                  .v3.HttpConnectionManager",
        "stat_prefix": "placement",
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes }] },
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config":
                { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
        }],
    });
    let filter =
        json!({ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager });
    json!({
        "admin": { "address": any },
        "static_resources": {
            "listeners":
                [{ "name": "in", "address": any, "filter_chains": [{ "filters": [filter] }] }],
            "clusters": cases.iter().map(|case| envoy_cluster(case, ports)).collect::<Vec<_>>(),
        },
    })
}

fn envoy_cluster(case: &Case, ports: &[u16]) -> Value {
    let mut localities: BTreeMap<u16, Vec<Value>> = BTreeMap::new();
    for (idx, port) in ports.iter().enumerate() {
        localities.entry(locality_of(case, idx)).or_default().push(json!({
            "endpoint": {
                "address": { "socket_address": { "address": "127.0.0.1", "port_value": port } },
            },
            "load_balancing_weight": (case.weight)(idx),
        }));
    }
    let localities: Vec<Value> = localities
        .into_iter()
        .map(|(locality, endpoints)| match case.localities {
            None => json!({ "lb_endpoints": endpoints }),
            Some(weights) => json!({
                "locality": { "zone": format!("z{locality}") },
                "load_balancing_weight": weights[usize::from(locality)],
                "lb_endpoints": endpoints,
            }),
        })
        .collect();
    let mut cluster = json!({
        "name": case.name,
        "connect_timeout": "5s",
        "load_assignment": { "cluster_name": case.name, "endpoints": localities },
    });
    for (key, value) in case.envoy.as_object().expect("an object") {
        cluster[key] = value.clone();
    }
    cluster
}

/// A running Envoy; killed when dropped.
struct Envoy {
    process: Child,
    listener: SocketAddr,
}

impl Envoy {
    fn start(program: &Path, folder: &Path, bootstrap: &Value) -> Self {
        let (config, admin) = (folder.join("envoy.json"), folder.join("admin"));
        std::fs::write(&config, bootstrap.to_string()).expect("the folder is ours");
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
        let mut envoy = Self { process, listener: (Ipv4Addr::UNSPECIFIED, 0).into() };
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            if let Some(listener) = envoy.listening(&admin) {
                envoy.listener = listener;
                return envoy;
            }
            let ended = envoy.process.try_wait().expect("it is our child");
            assert!(ended.is_none(), "Envoy ended: {}", read(&folder.join("log")));
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("Envoy does not listen: {}", read(&folder.join("log")));
    }

    /// Address of its listener once it is there.
    fn listening(&self, admin: &Path) -> Option<SocketAddr> {
        let admin: SocketAddr = read(admin).trim().parse().ok()?;
        let mut connection = TcpStream::connect(admin).ok()?;
        let request = "GET /listeners HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        connection.write_all(request.as_bytes()).ok()?;
        let mut response = String::new();
        connection.read_to_string(&mut response).ok()?;
        let listener = response.lines().find_map(|it| it.strip_prefix("in::"))?.parse().ok()?;
        TcpStream::connect(listener).is_ok().then_some(listener)
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ended_before = self.process.kill();
        let _ended_before = self.process.wait();
    }
}

/// A keep-alive connection to Envoy.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("Envoy listens");
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(DEADLINE)).expect("a TCP socket");
        Self(BufReader::new(stream))
    }

    /// The port of the backend that a key is sent to.
    fn get(&mut self, path: &str, key: &str) -> u16 {
        let port = self.begin(path, key);
        let mut rest = [0];
        self.0.read_exact(&mut rest).expect("the body ends");
        port
    }

    /// The same of a request that does not end if its key is `hot`.
    fn begin(&mut self, path: &str, key: &str) -> u16 {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nx-key: {key}\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).expect("Envoy reads");
        let (status, _) = head(&mut self.0).expect("Envoy answers");
        assert!(status.contains(" 200 "), "{path}: {status}");
        let mut port = [0; 5];
        self.0.read_exact(&mut port).expect("the port comes");
        String::from_utf8_lossy(&port).parse().expect("a port")
    }
}

/// The first line and the headers of a message; `None` at the end of the connection.
fn head(reader: &mut impl BufRead) -> Option<(String, BTreeMap<String, String>)> {
    let mut first = String::new();
    let mut headers = BTreeMap::new();
    if reader.read_line(&mut first).ok()? == 0 {
        return None;
    }
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            return Some((first, headers));
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
}

/// A backend that answers with its own port and one more byte, which never comes for the key `hot`;
/// in threads that end with the test.
fn backend() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    let serve = move |stream: TcpStream| {
        let response = format!("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n{port:05}");
        let mut reader = BufReader::new(stream);
        while let Some((_, headers)) = head(&mut reader) {
            let end = if headers.get("x-key").is_some_and(|it| it == "hot") { "" } else { "\n" };
            if reader.get_mut().write_all(format!("{response}{end}").as_bytes()).is_err() {
                return;
            }
        }
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _nodelay = stream.set_nodelay(true);
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// A program that `cargo xtask peers` set up; `None`, with a note, when it is not there. With
/// `LENO_REQUIRE_PEERS=1` its absence is a failure.
fn peer(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("LENO_PEERS").map(PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let peer = folder.unwrap_or_else(|| root.join("target/peers")).join(name);
    if peer.exists() {
        return Some(peer);
    }
    let required = std::env::var("LENO_REQUIRE_PEERS").is_ok_and(|it| it == "1");
    assert!(!required, "{} is missing: run `cargo xtask peers`", peer.display());
    #[allow(clippy::print_stdout)] // It says why this shows nothing.
    {
        println!("left out: {} is not set up (`cargo xtask peers` does)", peer.display());
    }
    None
}
