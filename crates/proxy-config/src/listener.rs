//! Where connections come in and what is done with them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use model::duration_ns;
use serde::{Deserialize, Serialize};

use crate::access_log::AccessLog;
use crate::filter::Filters;
use crate::route::WeightedCluster;
use crate::tls::TlsServer;
use crate::{HashPolicy, Source};

/// A socket that the proxy accepts connections on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Listener {
    /// Name, unique in a proxy (`ingress`, `outbound`, …).
    pub name: String,
    /// Address to bind.
    pub address: SocketAddr,
    /// What is done with a connection: the chain whose conditions fit it best. Conditions are looked at in the order
    /// of the fields of [`ChainMatch`]; in each the most specific one that fits decides (Envoy's filter chain match).
    pub chains: Vec<FilterChain>,
    /// For a connection that no chain fits; without it such a connection is closed.
    #[serde(default)]
    pub default_chain: Option<FilterChain>,
    /// Connections begin with a PROXY protocol header, version 1 or 2, that says who the client is.
    #[serde(default)]
    pub proxy_protocol: Option<ProxyProtocolIn>,
    /// How long a client may take for what comes before HTTP or its own bytes: the PROXY protocol header, and the first
    /// message of TLS where a chain's conditions ask for it. Envoy's `listener_filters_timeout`.
    #[serde(with = "duration_ns", default = "opening_timeout")]
    pub opening_timeout: Duration,
    /// Most connections open at once; further ones wait in the accept queue.
    pub connections_max: u32,
    /// Where it comes from.
    pub source: Source,
}

fn opening_timeout() -> Duration {
    Duration::from_secs(15)
}

impl Listener {
    /// A listener that does the same with every connection.
    #[must_use]
    pub fn with_one_chain(
        name: &str,
        address: SocketAddr,
        tls: Option<TlsServer>,
        protocol: ListenerProtocol,
    ) -> Self {
        let chain =
            FilterChain { name: name.to_owned(), matches: ChainMatch::default(), tls, protocol };
        Self {
            name: name.to_owned(),
            address,
            chains: vec![chain],
            default_chain: None,
            proxy_protocol: None,
            opening_timeout: opening_timeout(),
            connections_max: u32::MAX,
            source: Source::default(),
        }
    }
}

/// How a listener reads PROXY protocol headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ProxyProtocolIn {
    /// A connection without one is served too.
    pub is_optional: bool,
}

/// What is done with some of a listener's connections.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FilterChain {
    /// Name, for the log and for explain.
    pub name: String,
    /// Which connections.
    #[serde(default)]
    pub matches: ChainMatch,
    /// TLS, or plain text when `None`.
    pub tls: Option<TlsServer>,
    /// What is spoken.
    pub protocol: ListenerProtocol,
}

/// Conditions on a connection; an empty one holds for any.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ChainMatch {
    /// Port that the connection was made to, before any redirection.
    pub destination_port: Option<u16>,
    /// Server names of TLS: `example.com` exactly, `*.example.com` any deeper name. Lower case.
    pub server_names: Vec<String>,
    /// Whether the client speaks TLS.
    pub transport: Option<TransportMatch>,
    /// Protocols that the client offers through ALPN.
    pub application_protocols: Vec<String>,
    /// Networks that the client is in, as `address/prefix length`.
    pub source_prefixes: Vec<String>,
}

/// What a connection begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportMatch {
    /// A TLS handshake.
    Tls,
    /// Anything else.
    Plain,
}

/// What is spoken on a connection.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ListenerProtocol {
    /// HTTP, routed by a route table.
    Http(Box<HttpListener>),
    /// Bytes, to a cluster.
    Tcp(TcpListener),
}

/// Bytes, passed on to a cluster.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TcpListener {
    /// Name under which it is counted; the listener's when empty.
    pub stat_prefix: String,
    /// Clusters, of which one is chosen for each connection by weight.
    pub clusters: Vec<WeightedCluster>,
    /// How long no byte may move; zero means no limit. Envoy: 1 h.
    #[serde(with = "duration_ns")]
    pub idle_timeout: Duration,
    /// Endpoints tried before the connection is given up; at least 1.
    pub connect_tries_max: u32,
    /// What a consistent hash is made of; only [`crate::HashInput::SourceIp`] has a meaning here.
    pub hash: Vec<HashPolicy>,
    /// Access logs; one line for each connection when it ends.
    pub access_logs: Vec<AccessLog>,
}

impl TcpListener {
    /// All connections to one cluster. Three endpoints are tried, as for requests: Envoy's one would make a client see
    /// each endpoint that has just gone.
    #[must_use]
    pub fn to(cluster: &str) -> Self {
        Self {
            clusters: vec![WeightedCluster::new(cluster, 1)],
            idle_timeout: Duration::from_hours(1),
            connect_tries_max: 3,
            ..Self::default()
        }
    }
}

/// The HTTP side of a listener.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpListener {
    /// Name under which it is counted; the listener's when empty.
    pub stat_prefix: String,
    /// Route table that requests are matched against.
    pub route_table: String,
    /// Which HTTP is spoken.
    pub codec: HttpCodec,
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
    /// the head of a response is bounded by [`crate::Forward::timeout`] alone.
    #[serde(with = "duration_ns")]
    pub stream_idle_timeout: Duration,
    /// From the first byte of a request to its end; then 408. Zero means no limit.
    #[serde(with = "duration_ns")]
    pub request_timeout: Duration,
    /// From the beginning of a request to the end of its response. Zero means no limit.
    #[serde(with = "duration_ns")]
    pub stream_duration_max: Duration,
    /// A connection takes no more requests after this. Zero means no limit.
    #[serde(with = "duration_ns")]
    pub connection_duration_max: Duration,
    /// A connection ends after so many requests; zero means no limit.
    pub requests_per_connection_max: u32,
    /// Requests in HTTP/1.0 (and 0.9) are refused with 426 unless this is set.
    pub accept_http_10: bool,
    /// Streams that a client may have open on an HTTP/2 connection.
    pub streams_max: u32,
    /// Whose address is the client's.
    pub client_address: ClientAddress,
    /// What is done about `x-request-id`.
    pub request_id: RequestId,
    /// What the `server` header of responses says.
    pub server_header: ServerHeader,
    /// Name that is added to `via` in both directions; none when empty.
    pub via: String,
    /// What is done to paths before they are matched.
    pub path: PathNormalization,
    /// Take away a port in `Host` before it is matched and sent on.
    pub strip_port: bool,
    /// Values of `Upgrade` that are passed on (lower case), and `connect` for `CONNECT` requests that a route matches.
    pub upgrades: Vec<String>,
    /// Pass on `1xx` responses other than 100 and 101.
    pub pass_informational: bool,
    /// What is done with every request that no route says otherwise about.
    pub filters: Filters,
    /// Access logs.
    pub access_logs: Vec<AccessLog>,
}

/// Default of [`HttpListener::stream_idle_timeout`]; Envoy's `stream_idle_timeout`.
pub const STREAM_IDLE_TIMEOUT: Duration = Duration::from_mins(5);

impl Default for HttpListener {
    /// Envoy's defaults where it has them; where it has no limit, one that an edge needs.
    fn default() -> Self {
        Self {
            stat_prefix: String::new(),
            route_table: String::new(),
            codec: HttpCodec::Auto,
            forward_proxy: false,
            head_bytes_max: 60 * 1024,
            headers_max: 100,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_hours(1),
            stream_idle_timeout: STREAM_IDLE_TIMEOUT,
            request_timeout: Duration::ZERO,
            stream_duration_max: Duration::ZERO,
            connection_duration_max: Duration::ZERO,
            requests_per_connection_max: 0,
            accept_http_10: true,
            streams_max: 100,
            client_address: ClientAddress::default(),
            request_id: RequestId::default(),
            server_header: ServerHeader::default(),
            via: String::new(),
            path: PathNormalization::default(),
            strip_port: false,
            upgrades: vec!["websocket".to_owned()],
            pass_informational: true,
            filters: Filters::default(),
            access_logs: Vec::new(),
        }
    }
}

/// Which HTTP is spoken on a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HttpCodec {
    /// Told apart by ALPN or by the preface.
    #[default]
    Auto,
    /// HTTP/1.x only.
    Http1,
    /// HTTP/2 only.
    Http2,
}

/// Whose address is the client's, and what is believed of `x-forwarded-for`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientAddress {
    /// The peer of the connection is the client (or its nearest trusted proxy): its address is appended to
    /// `x-forwarded-for`, and `x-envoy-*` of clients outside private networks are removed. Otherwise
    /// `x-forwarded-for` is passed on as it is.
    pub use_remote_address: bool,
    /// Proxies in front of this one whose entries in `x-forwarded-for` are believed.
    pub trusted_hops: u32,
    /// With `use_remote_address`, do not append.
    pub skip_append: bool,
    /// The client comes from outside the mesh whatever its address: what it says about its own way here
    /// (`x-envoy-*`, `x-forwarded-proto`, `x-forwarded-client-cert`) is not believed.
    pub is_edge: bool,
}

impl Default for ClientAddress {
    fn default() -> Self {
        Self { use_remote_address: true, trusted_hops: 0, skip_append: false, is_edge: false }
    }
}

/// What is done about `x-request-id`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestId {
    /// A request without one gets one.
    pub generate: bool,
    /// What a client from outside sends is kept; otherwise it is replaced at an edge.
    pub preserve_external: bool,
    /// Responses carry it too.
    pub in_response: bool,
}

impl Default for RequestId {
    fn default() -> Self {
        Self { generate: true, preserve_external: true, in_response: false }
    }
}

/// What the `server` header of responses says.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum ServerHeader {
    /// What the endpoint says.
    #[default]
    PassThrough,
    /// This, whatever the endpoint says.
    Overwrite(String),
    /// This, when the endpoint says nothing.
    AppendIfAbsent(String),
}

/// What is done to paths before they are matched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PathNormalization {
    /// Resolve `.` and `..` (RFC 3986, section 6.2.2.3) and decode what needs no encoding. Without it, a path with dot
    /// segments is refused with 400: it would be routed as one path and served as another.
    pub resolve: bool,
    /// `//` becomes `/`.
    pub merge_slashes: bool,
    /// What is done about `%2F` and `%5C`.
    pub escaped_slashes: EscapedSlashes,
}

/// What is done about `%2F` and `%5C` in a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EscapedSlashes {
    /// Nothing.
    #[default]
    Keep,
    /// 400.
    Reject,
    /// Decoded, and the client is redirected there with 307.
    UnescapeAndRedirect,
    /// Decoded, and so sent on.
    UnescapeAndForward,
}

/// Names of secrets by server name, kept for what chooses certificates.
pub type CertificatesByServerName = BTreeMap<String, String>;
