//! # proxy-config: the contract between those who decide and the proxy
//!
//! What a proxy must do, fully resolved: listeners, route tables, clusters, endpoints and secrets, each a named
//! resource with a content version. The compiler writes it, `xds` will translate it, `traffic` and `proxy` read it.
//!
//! *May touch:* nothing. *Does not know:* the registry, Kubernetes, Consul, protobuf, sockets.
//!
//! Invariants:
//! * A resource's [`version`](content_version) is a hash of its content: equal versions mean equal resources.
//! * A [`ProxyConfig`] is read whole: nobody mixes resources of two snapshots.
//! * A private key is never printed: [`PrivateKey`]'s `Debug` says only that there is one.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::{Revision, duration_ns};
use serde::{Deserialize, Serialize};

/// Everything that one proxy must do. Replaced whole; unchanged resources keep their `Arc`.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct ProxyConfig {
    /// Catalog revision that this was compiled from.
    pub revision: Revision,
    /// Listeners by name.
    pub listeners: BTreeMap<String, Arc<Listener>>,
    /// Route tables by name.
    pub route_tables: BTreeMap<String, Arc<RouteTable>>,
    /// Clusters by name.
    pub clusters: BTreeMap<String, Arc<Cluster>>,
    /// Endpoints by the name of their cluster.
    pub endpoints: BTreeMap<String, Arc<Endpoints>>,
    /// Secrets by name.
    pub secrets: BTreeMap<String, Arc<Secret>>,
}

/// Where a resource or a part of it comes from, for explain.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    /// The object that caused it, for example `Ingress/my-ingress in namespace default`.
    pub object: String,
    /// Revision of that object; 0 when it is built in.
    pub revision: Revision,
}

/// A socket that the proxy accepts connections on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Listener {
    /// Name, unique in a proxy (`ingress`, `outbound`, …).
    pub name: String,
    /// Address to bind.
    pub address: SocketAddr,
    /// What is spoken on it.
    pub protocol: ListenerProtocol,
    /// Most connections open at once; further ones wait in the accept queue.
    pub connections_max: u32,
    /// Where it comes from.
    pub source: Source,
}

/// What a listener does with a connection.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ListenerProtocol {
    /// HTTP/1.1 and HTTP/2 (told apart by ALPN or by the preface), routed by a route table.
    Http(HttpListener),
    /// Bytes, to one cluster.
    Tcp {
        /// Cluster that every connection goes to.
        cluster: String,
    },
}

/// The HTTP side of a listener.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HttpListener {
    /// Route table that requests are matched against.
    pub route_table: String,
    /// TLS, or plain text when `None`.
    pub tls: Option<TlsServer>,
    /// Accept requests in absolute form and `CONNECT`, as an HTTP forward proxy does.
    pub forward_proxy: bool,
    /// Largest request head, in bytes; beyond it 431.
    pub head_bytes_max: u32,
    /// Most request headers; beyond it 431.
    pub headers_max: u32,
    /// How long a client may take to send a request head, and to begin its first one after it has connected.
    #[serde(with = "duration_ns")]
    pub head_timeout: Duration,
    /// How long a connection may stay open between two requests.
    #[serde(with = "duration_ns")]
    pub idle_timeout: Duration,
    /// How long a request under way may see no byte move in either direction, be it that the client sends nothing,
    /// takes nothing, or that the endpoint has begun its response and sends nothing. 0 means no limit. The wait for
    /// the head of a response is bounded by [`Forward::timeout`] alone.
    #[serde(with = "duration_ns", default = "stream_idle_timeout")]
    pub stream_idle_timeout: Duration,
}

/// Default of [`HttpListener::stream_idle_timeout`]; Envoy's `stream_idle_timeout`.
pub const STREAM_IDLE_TIMEOUT: Duration = Duration::from_mins(5);

fn stream_idle_timeout() -> Duration {
    STREAM_IDLE_TIMEOUT
}

/// Certificates that a listener shows.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TlsServer {
    /// Names of secrets by server name (`example.com`, `*.example.com`).
    pub by_server_name: BTreeMap<String, String>,
    /// Secret for any other server name, or none: then the handshake is refused.
    pub default: Option<String>,
}

/// Virtual hosts, each with routes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RouteTable {
    /// Name, unique in a proxy.
    pub name: String,
    /// Virtual hosts; a domain is in at most one of them.
    pub virtual_hosts: Vec<VirtualHost>,
}

/// Routes for a set of domains.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct VirtualHost {
    /// Name, for the log and for explain.
    pub name: String,
    /// Domains in lower case and without port: `example.com` exactly, `*.example.com` any deeper name,
    /// `*` anything. The longest match wins.
    pub domains: Vec<String>,
    /// Routes; the first that matches wins. The compiler sorts them as the declaring API asks.
    pub routes: Vec<Route>,
}

/// A condition and what to do when it holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Route {
    /// Name, for the log and for explain.
    pub name: String,
    /// Condition on the path (without the query).
    pub path: PathMatch,
    /// What to do.
    pub action: RouteAction,
    /// Where it comes from.
    pub source: Source,
}

/// Condition on a path.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// Whole segments: `/a` matches `/a` and `/a/b`, not `/ab`. A trailing `/` of the pattern is ignored.
    PathPrefix(String),
    /// Any path that starts with these bytes.
    Prefix(String),
}

/// What a route does with a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RouteAction {
    /// Send it on.
    Forward(Forward),
    /// Answer at once.
    Respond {
        /// Status code, 200 to 599.
        status: u16,
        /// Body as `text/plain`.
        body: String,
    },
    /// Answer with a redirect to `https://` and the same host and path.
    RedirectToHttps {
        /// Status code, 301, 302, 307 or 308.
        status: u16,
        /// Port for the location; 443 is left out.
        port: u16,
    },
}

/// Where a request is sent and how.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Forward {
    /// Cluster.
    pub cluster: String,
    /// From the end of the request to the head of the response, over all tries; 0 means no limit. A response that
    /// comes before the request has ended is in time. Once the head is there it may take as long as it will; then
    /// [`HttpListener::stream_idle_timeout`] holds.
    #[serde(with = "duration_ns")]
    pub timeout: Duration,
    /// Retries.
    pub retry: RetryPolicy,
    /// Add `x-envoy-upstream-service-time` and `x-request-id` to the response head.
    pub timing_headers: bool,
    /// Send `x-envoy-upstream-service-time` as a trailer where the client accepts trailers.
    pub timing_trailer: bool,
}

/// When a request is tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Most further tries after the first, on a connection failure: refused or timed out for any method (nothing was
    /// sent), broken before a response for idempotent methods without a body already sent.
    pub connection_failures_max: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { connection_failures_max: 1 }
    }
}

/// A group of endpoints that are alike.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cluster {
    /// Name, unique in a proxy.
    pub name: String,
    /// How an endpoint is picked.
    pub balancing: Balancing,
    /// What is spoken to the endpoints.
    pub protocol: UpstreamProtocol,
    /// Limit for opening a connection.
    #[serde(with = "duration_ns")]
    pub connect_timeout: Duration,
    /// How long an unused connection is kept.
    #[serde(with = "duration_ns")]
    pub idle_timeout: Duration,
    /// Most connections per endpoint and worker.
    pub connections_max: u32,
    /// Where it comes from.
    pub source: Source,
}

/// How an endpoint is picked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balancing {
    /// Uniformly at random; weights are ignored.
    Random,
    /// In turn; weights are ignored.
    #[default]
    RoundRobin,
    /// In proportion to weight, smoothly interleaved.
    Weighted,
    /// Of two distinct random endpoints the one with fewer active requests per weight.
    LeastRequest,
}

impl Balancing {
    /// The word for it in documents and output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Balancing::Random => "random",
            Balancing::RoundRobin => "round-robin",
            Balancing::Weighted => "weighted",
            Balancing::LeastRequest => "least-request",
        }
    }

    /// Reads the word; `None` for any other.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Random, Self::RoundRobin, Self::Weighted, Self::LeastRequest]
            .into_iter()
            .find(|it| it.as_str() == text)
    }
}

/// What is spoken to an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpstreamProtocol {
    /// HTTP/1.1; gRPC requests (`content-type: application/grpc…`) go over cleartext HTTP/2.
    #[default]
    Http1,
    /// HTTP/2 without TLS, by prior knowledge.
    Http2,
    /// Bytes.
    Tcp,
}

/// The endpoints of one cluster.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Endpoints {
    /// Name of the cluster.
    pub cluster: String,
    /// Endpoints in a stable order.
    pub endpoints: Vec<Endpoint>,
}

/// One place that a request can be sent to.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Endpoint {
    /// `node/instance id`: stable over changes of everything else.
    pub id: String,
    /// IP address or host name.
    pub host: String,
    /// Port, 1 to 65535.
    pub port: u16,
    /// Share of the traffic relative to the others, 1 to 65535.
    pub weight: u16,
    /// Whether it may be used.
    pub health: EndpointHealth,
}

/// Whether an endpoint may be used.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndpointHealth {
    /// Yes.
    #[default]
    Healthy,
    /// Not for new requests; what is under way goes on.
    Draining,
    /// No.
    Unhealthy,
}

/// A certificate with its key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Secret {
    /// Name, unique in a proxy.
    pub name: String,
    /// Certificates as PEM, leaf first.
    pub certificate_chain_pem: String,
    /// Private key as PEM.
    #[serde(skip_serializing)]
    pub private_key: PrivateKey,
}

/// A private key as PEM, not shown by `Debug` and not serialized.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct PrivateKey(pub String);

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(redacted)")
    }
}

/// Version of a resource: XXH3-64 of its JSON, as 16 hex digits. For a [`Secret`] only the certificate counts.
#[must_use]
pub fn content_version(resource: &impl Serialize) -> String {
    let bytes = serde_json::to_vec(resource).expect("resources have string keys only");
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&bytes))
}
