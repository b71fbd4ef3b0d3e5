//! Groups of endpoints and how they are spoken to.

use std::collections::BTreeMap;
use std::time::Duration;

use model::duration_ns;
use serde::{Deserialize, Serialize};

use crate::Source;
use crate::balancing::{Balancing, Narrowing};
use crate::health::{HealthCheck, OutlierDetection};
use crate::tls::TlsClient;

/// A group of endpoints that are alike.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Cluster {
    /// Name, unique in a proxy.
    pub name: String,
    /// How an endpoint is picked.
    pub balancing: Balancing,
    /// What narrows the endpoints down before.
    pub narrowing: Narrowing,
    /// What is spoken to the endpoints.
    pub protocol: UpstreamProtocol,
    /// TLS, or plain text when `None`.
    pub tls: Option<TlsClient>,
    /// Connections begin with a PROXY protocol header of this version.
    pub proxy_protocol: Option<ProxyProtocolVersion>,
    /// Where the addresses of endpoints come from that are names.
    pub resolution: Resolution,
    /// Limit for opening a connection, with its TLS handshake.
    #[serde(with = "duration_ns")]
    pub connect_timeout: Duration,
    /// How long an unused connection is kept.
    #[serde(with = "duration_ns")]
    pub idle_timeout: Duration,
    /// Most connections per endpoint and worker.
    pub connections_max: u32,
    /// A connection ends after so many requests; zero means no limit.
    pub requests_per_connection_max: u32,
    /// A connection takes no more requests after this; zero means no limit.
    #[serde(with = "duration_ns")]
    pub connection_duration_max: Duration,
    /// Streams on an HTTP/2 connection; the endpoint's own limit holds too.
    pub streams_max: u32,
    /// Circuit breakers for ordinary requests.
    pub breakers: CircuitBreakers,
    /// Circuit breakers for requests of high priority.
    pub high_breakers: CircuitBreakers,
    /// Most retries in relation to requests.
    pub retry_budget: Option<RetryBudget>,
    /// Active health checks.
    pub health_checks: Vec<HealthCheck>,
    /// Ejection of endpoints that fail.
    pub outliers: OutlierDetection,
    /// Where it comes from.
    pub source: Source,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            name: String::new(),
            balancing: Balancing::default(),
            narrowing: Narrowing::default(),
            protocol: UpstreamProtocol::default(),
            tls: None,
            proxy_protocol: None,
            resolution: Resolution::default(),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_hours(1),
            connections_max: 1024,
            requests_per_connection_max: 0,
            connection_duration_max: Duration::ZERO,
            streams_max: 100,
            breakers: CircuitBreakers::default(),
            high_breakers: CircuitBreakers::default(),
            retry_budget: Some(RetryBudget::default()),
            health_checks: Vec::new(),
            outliers: OutlierDetection::default(),
            source: Source::default(),
        }
    }
}

impl Cluster {
    /// A cluster with the defaults.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }
}

/// What is spoken to an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpstreamProtocol {
    /// HTTP/1.1; gRPC requests (`content-type: application/grpc…`) go over HTTP/2.
    #[default]
    Http1,
    /// HTTP/2, without TLS by prior knowledge.
    Http2,
    /// What the client spoke.
    SameAsClient,
    /// What is agreed on through ALPN, HTTP/1.1 when nothing is. Needs TLS.
    Alpn,
    /// Bytes.
    Tcp,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocolVersion {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// Where the addresses of endpoints come from that are names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resolution {
    /// Each name is one endpoint; it is looked up when a connection is opened (Envoy's logical DNS).
    #[default]
    OnConnect,
    /// Each address of a name is an endpoint of its own; names are looked up again and again (Envoy's strict DNS).
    Strict {
        /// How often; Envoy: 5 s.
        #[serde(with = "duration_ns")]
        refresh: Duration,
    },
}

/// Most of each at one time, over all workers; beyond it requests are refused with 503 and `x-envoy-overloaded`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct CircuitBreakers {
    /// Connections.
    pub connections_max: u32,
    /// Requests that wait for a connection.
    pub pending_max: u32,
    /// Requests under way.
    pub requests_max: u32,
    /// Retries under way; without meaning where there is a retry budget.
    pub retries_max: u32,
    /// Connections to one endpoint.
    pub endpoint_connections_max: u32,
}

impl Default for CircuitBreakers {
    /// Envoy's.
    fn default() -> Self {
        Self {
            connections_max: 1024,
            pending_max: 1024,
            requests_max: 1024,
            retries_max: 3,
            endpoint_connections_max: u32::MAX,
        }
    }
}

/// Retries under way may be at most `max(percent of the requests under way and waiting, retries_min)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RetryBudget {
    /// Percentage; Envoy: 20.
    pub percent: u32,
    /// So many are always allowed; Envoy: 3.
    pub retries_min: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { percent: 20, retries_min: 3 }
    }
}

/// The endpoints of one cluster.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Endpoints {
    /// Name of the cluster.
    pub cluster: String,
    /// Endpoints in a stable order.
    pub endpoints: Vec<Endpoint>,
    /// What [`Endpoint::locality`] points to. Empty: all endpoints are in one locality of priority 0.
    pub localities: Vec<Locality>,
    /// A priority counts as fully usable while `usable × this / all >= 100`; Envoy: 140.
    pub overprovisioning_percent: u32,
}

impl Default for Endpoints {
    fn default() -> Self {
        Self {
            cluster: String::new(),
            endpoints: Vec::new(),
            localities: Vec::new(),
            overprovisioning_percent: 140,
        }
    }
}

/// Endpoints of one place and one priority.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Locality {
    /// Where.
    pub place: Place,
    /// Used when those with lower numbers do not suffice; without gaps from 0.
    pub priority: u32,
    /// Share relative to the others of its priority, for [`Narrowing::locality_weighted`]; `None` or 0: none.
    pub weight: Option<u32>,
    /// The object that gives it its weight, where that is not the cluster's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
}

/// Where something is.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Place {
    /// Region.
    pub region: String,
    /// Zone in the region.
    pub zone: String,
    /// Part of the zone.
    pub sub_zone: String,
}

/// One place that a request can be sent to.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(default)]
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
    /// Index into [`Endpoints::localities`].
    pub locality: u16,
    /// Its name, for host rewriting, hashing and health checks; empty: `host`.
    pub hostname: String,
    /// Values that subsets are made of; `hash_key` is what it is known by on a ring.
    pub metadata: BTreeMap<String, String>,
    /// Port that active health checks go to; `port` when `None`.
    pub health_check_port: Option<u16>,
}

impl Default for Endpoint {
    fn default() -> Self {
        Self {
            id: String::new(),
            host: String::new(),
            port: 0,
            weight: 1,
            health: EndpointHealth::Healthy,
            locality: 0,
            hostname: String::new(),
            metadata: BTreeMap::new(),
            health_check_port: None,
        }
    }
}

impl Endpoint {
    /// A healthy endpoint of weight 1.
    #[must_use]
    pub fn new(id: &str, host: &str, port: u16) -> Self {
        Self { id: id.to_owned(), host: host.to_owned(), port, ..Self::default() }
    }
}

/// Whether an endpoint may be used.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndpointHealth {
    /// Yes.
    #[default]
    Healthy,
    /// When the healthy ones do not suffice.
    Degraded,
    /// Not for new requests; what is under way goes on.
    Draining,
    /// No.
    Unhealthy,
}
