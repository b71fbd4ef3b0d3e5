//! Envoy's bootstrap files.

mod access_log;
mod balancing;
mod certificate;
mod cluster;
mod document;
mod endpoints;
mod fields;
mod filters;
mod finding;
mod forward;
mod headers;
mod health;
mod http;
mod listener;
mod matching;
mod retry;
mod routes;
mod scalar;
mod schema;
mod tcp;
mod tls;
mod upstream;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use proxy_config::{LogSink, Place, ProxyConfig, UpstreamProtocol};
use serde_json::Value;

use self::fields::{Field, Message, Reading};
pub use self::finding::{Finding, ReadError, Severity};

/// What a bootstrap file asks for.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Bootstrap {
    /// What the proxy must do.
    pub config: ProxyConfig,
    /// Where the admin server listens.
    pub admin: Option<SocketAddr>,
    /// Who the proxy is.
    pub node: Node,
}

/// Who a proxy is.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Node {
    /// Name of this proxy among others.
    pub id: String,
    /// Name of the service that it is a part of.
    pub cluster: String,
    /// Where it is.
    pub place: Place,
    /// Whatever else is said about it.
    pub metadata: Value,
}

/// Reads a bootstrap file, YAML or JSON. `files` is asked for the content of each file that it names.
///
/// Returns what it asks for, and what of it is not honored as it is written.
///
/// # Errors
/// When it is neither YAML nor JSON, or when any field is wrong: then with everything that there is to say.
pub fn read(
    text: &str,
    files: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Result<(Bootstrap, Vec<Finding>), ReadError> {
    let document = document::parse(text)?;
    let reading = Reading::new(files);
    let bootstrap = read_root(&Field::root(&document, &reading));
    let findings = reading.finish();
    if findings.iter().any(|it| it.severity == Severity::Error) {
        return Err(ReadError::Wrong { findings });
    }
    Ok((bootstrap, findings))
}

fn read_root(root: &Field<'_>) -> Bootstrap {
    let Some(mut it) = root.message(&schema::BOOTSTRAP) else { return Bootstrap::default() };
    let node = it.message("node", &schema::NODE).map(read_node).unwrap_or_default();
    let admin = it.message("admin", &schema::ADMIN).and_then(read_admin);
    let mut build = Build::default();
    build.config.place = node.place.clone();
    let manager = it.message("cluster_manager", &schema::CLUSTER_MANAGER);
    let local = manager.and_then(|mut it| it.take("local_cluster_name"));
    build.config.local_cluster = local.filter(|it| it.value != "").and_then(|it| build.refer(&it));
    let resources = it.message("static_resources", &schema::STATIC_RESOURCES);
    if let Some(resources) = resources {
        read_resources(resources, &mut build);
    }
    build.check_references();
    build.speak_bytes();
    let config = build.config;
    it.refuse(
        "dynamic_resources",
        "resources are not asked for from a server",
        "list them in static_resources",
    );
    it.refuse(
        "stats_flush_interval",
        "there is nothing that statistics are flushed to",
        "remove it",
    );
    Bootstrap { config, admin, node }
}

fn read_node(mut it: Message<'_>) -> Node {
    let text = |it: Option<&str>| it.unwrap_or_default().to_owned();
    Node {
        id: text(it.text("id")),
        cluster: text(it.text("cluster")),
        place: it.message("locality", &schema::LOCALITY).map(read_place).unwrap_or_default(),
        metadata: it.take("metadata").map(|it| it.value.clone()).unwrap_or_default(),
    }
}

/// `Locality`.
fn read_place(mut it: Message<'_>) -> Place {
    let text = |it: Option<&str>| it.unwrap_or_default().to_owned();
    Place {
        region: text(it.text("region")),
        zone: text(it.text("zone")),
        sub_zone: text(it.text("sub_zone")),
    }
}

fn read_admin(mut it: Message<'_>) -> Option<SocketAddr> {
    // Envoy's own examples say `/dev/null` in either way.
    let log = it.text("access_log_path");
    if log.is_some_and(|path| path != "/dev/null") {
        it.at("access_log_path").ignored("admin requests are not logged", "remove it");
    }
    let nowhere = LogSink::File("/dev/null".to_owned());
    if access_log::read(&mut it).iter().any(|it| it.sink != nowhere) {
        it.at("access_log").ignored("admin requests are not logged", "remove it");
    }
    // There is no profiler whose result would go there.
    it.skip(&["profile_path"]);
    read_socket_address(&it.take("address")?)
}

fn read_resources<'a>(mut it: Message<'a>, build: &mut Build<'a>) {
    for field in it.items("secrets") {
        tls::read_static_secret(&field, build);
    }
    for field in it.items("clusters") {
        cluster::read(&field, build);
    }
    for field in it.items("listeners") {
        listener::read(&field, build);
    }
}

/// What has been read so far.
#[derive(Default)]
struct Build<'a> {
    config: ProxyConfig,
    /// The file's secrets, which TLS contexts refer to by name.
    secrets: BTreeMap<String, tls::StaticSecret>,
    /// Where clusters are named.
    references: Vec<Reference<'a>>,
}

/// The name of a cluster somewhere in the file.
struct Reference<'a> {
    cluster: String,
    field: Field<'a>,
    /// Bytes are sent there, not requests.
    is_tcp: bool,
    /// It may be missing; then what is sent there fails.
    may_dangle: bool,
}

impl<'a> Build<'a> {
    /// The name of a cluster that requests are sent to, and that must exist.
    fn refer(&mut self, field: &Field<'a>) -> Option<String> {
        self.refer_to(field, false)
    }

    /// The name of a cluster that bytes are sent to, and that must exist.
    fn refer_for_bytes(&mut self, field: &Field<'a>) -> Option<String> {
        self.refer_to(field, true)
    }

    fn refer_to(&mut self, field: &Field<'a>, is_tcp: bool) -> Option<String> {
        let cluster = field.text()?.to_owned();
        if cluster.is_empty() {
            field.error("must not be empty", "name a cluster");
            return None;
        }
        let field = field.clone();
        let reference = Reference { cluster: cluster.clone(), field, is_tcp, may_dangle: false };
        self.references.push(reference);
        Some(cluster)
    }

    fn check_references(&self) {
        for Reference { cluster, field, may_dangle, .. } in &self.references {
            if !may_dangle && !self.config.clusters.contains_key(cluster) {
                let message = format!("there is no cluster {cluster:?}");
                field.error(message, "add it to static_resources.clusters");
            }
        }
    }

    /// Clusters that no requests are sent to carry bytes.
    fn speak_bytes(&mut self) {
        let named = |is_tcp: bool| -> BTreeSet<&str> {
            let wanted = self.references.iter().filter(|it| it.is_tcp == is_tcp);
            wanted.map(|it| it.cluster.as_str()).collect()
        };
        for name in named(true).difference(&named(false)) {
            if let Some(cluster) = self.config.clusters.get_mut(*name) {
                Arc::make_mut(cluster).protocol = UpstreamProtocol::Tcp;
            }
        }
    }
}

/// `Address`, which must be an IP address and a port.
fn read_socket_address(field: &Field<'_>) -> Option<SocketAddr> {
    let (host, port, at) = read_host_and_port(field)?;
    match host.parse::<IpAddr>() {
        Ok(ip) => Some(SocketAddr::new(ip, port)),
        Err(_) => {
            let message = format!("{host:?} is not an IP address");
            at.error(message, "write one, such as 127.0.0.1 or 0.0.0.0");
            None
        }
    }
}

/// `Address`, which may be a name and a port.
fn read_host_and_port<'a>(field: &Field<'a>) -> Option<(String, u16, Field<'a>)> {
    let mut address = field.message(&schema::ADDRESS)?;
    const UNIX: &str = "only TCP addresses are supported";
    address.forbid("pipe", UNIX, "use socket_address");
    address.forbid("envoy_internal_address", UNIX, "use socket_address");
    let socket = address.required("socket_address")?;
    let mut socket = socket.message(&schema::SOCKET_ADDRESS)?;
    if socket.text("protocol").is_some_and(|it| it == "UDP") {
        socket.at("protocol").error("UDP is not supported", "use TCP");
    }
    socket.forbid("named_port", "ports have no names here", "use port_value");
    let host = socket.required("address")?;
    let port = socket.required("port_value")?;
    let port = port.number_in(0..=65_535)?;
    Some((host.text()?.to_owned(), u16::try_from(port).ok()?, host))
}

/// Puts a resource into the map of its kind; a second one of the same name is an error.
fn insert_named<T>(map: &mut BTreeMap<String, Arc<T>>, name: &str, value: T, field: &Field<'_>) {
    if map.insert(name.to_owned(), Arc::new(value)).is_some() {
        field.error(format!("there are two of the name {name:?}"), "give each a name of its own");
    }
}
