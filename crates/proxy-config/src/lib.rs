//! # proxy-config: the contract between those who decide and the proxy
//!
//! What a proxy must do, fully resolved: listeners, route tables, clusters, endpoints and secrets, each a named
//! resource with a content version. The compiler writes it, `xds` translates it, `traffic` and `proxy` read it.
//!
//! *May touch:* nothing. *Does not know:* the registry, Kubernetes, Consul, protobuf, sockets.
//!
//! Invariants:
//! * A resource's [`version`](content_version) is a hash of its content: equal versions mean equal resources.
//! * A [`ProxyConfig`] is read whole: nobody mixes resources of two snapshots.
//! * A private key is never printed: [`PrivateKey`]'s `Debug` says only that there is one, and `Serialize` leaves it out. It
//!   leaves this process by [`deliver`] alone.

mod access_log;
mod balancing;
mod cluster;
mod delivery;
mod filter;
mod health;
mod listener;
mod matching;
mod retry;
mod route;
mod tls;
mod touched;
mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;

use model::Revision;
use serde::{Deserialize, Serialize};

pub use access_log::{AccessLog, Comparison, JsonField, LogFilter, LogFormat, LogSink};
pub use balancing::{
    Balancing, HashFunction, HashKey, LeastRequest, Maglev, Narrowing, PeakEwma, RingHash,
    SlowStart, SubsetFallback, SubsetSelector, Subsets, ZoneAware,
};
pub use cluster::{
    CircuitBreakers, Cluster, Endpoint, EndpointHealth, Endpoints, Locality, Place,
    ProxyProtocolVersion, Resolution, RetryBudget, UpstreamProtocol,
};
pub use delivery::{DeliveryError, FORM, Received, deliver, deliver_without_keys, receive};
pub use filter::{
    AbortWith, AdaptiveConcurrency, Compression, Compressor, Cors, Fault, FaultAbort, FaultDelay,
    FilterSetting, Filters, LocalRateLimit,
};
pub use health::{
    Detector, FailurePercentage, HealthCheck, HealthProbe, OutlierDetection, SuccessRate,
};
pub use listener::{
    CertificatesByServerName, ChainMatch, ClientAddress, EscapedSlashes, FilterChain, HttpCodec,
    HttpListener, Listener, ListenerProtocol, PathNormalization, ProxyProtocolIn, RequestId,
    STREAM_IDLE_TIMEOUT, ServerHeader, TcpListener, TransportMatch,
};
pub use matching::{HeaderMatch, Pattern, QueryMatch, ValueMatch};
pub use retry::{BackOff, Hedging, RateLimitedBackOff, ResetHeader, RetryOn, RetryPolicy};
pub use route::{
    ClusterChoice, Conditions, CookieAffinity, Forward, HashInput, HashPolicy, HeaderChange,
    HeaderChanges, HostRewrite, Mirror, PathMatch, PathRewrite, Redirect, Route, RouteAction,
    RouteTable, RoutingPriority, VirtualHost, WeightedCluster,
};
pub use tls::{PrivateKey, Secret, TlsClient, TlsServer, TlsVersion, TlsVersions};
pub use touched::{TouchedHost, touched_hosts};
pub use usage::{
    ClassUse, DURATION_BUCKETS, DURATION_FIRST_US, EndpointUse, HostUse, HostUses, PATH_CLASSES,
    duration_bound_us, duration_bucket, host_key, path_class,
};

/// Everything that one proxy must do. Replaced whole; unchanged resources keep their `Arc`.
///
/// In JSON it has no private keys; [`deliver`] adds them for a proxy that runs elsewhere.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ProxyConfig {
    /// Catalog revision that this was compiled from.
    pub revision: Revision,
    /// Where the proxy is, for zone-aware balancing.
    pub place: Place,
    /// Name of the cluster that the proxy itself is an endpoint of, for zone-aware balancing.
    pub local_cluster: Option<String>,
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

impl ProxyConfig {
    /// True when a proxy does the same by both: all but the revision is equal.
    #[must_use]
    pub fn is_same_content(&self, other: &Self) -> bool {
        let Self {
            revision: _,
            place,
            local_cluster,
            listeners,
            route_tables,
            clusters,
            endpoints,
            secrets,
        } = self;
        *place == other.place
            && *local_cluster == other.local_cluster
            && *listeners == other.listeners
            && *route_tables == other.route_tables
            && *clusters == other.clusters
            && *endpoints == other.endpoints
            && *secrets == other.secrets
    }

    /// The same with the `Arc`s of `before` where resources are equal, so that who compares them next sees it by the pointer.
    #[must_use]
    pub fn sharing(mut self, before: &Self) -> Self {
        share(&mut self.listeners, &before.listeners);
        share(&mut self.route_tables, &before.route_tables);
        share(&mut self.clusters, &before.clusters);
        share(&mut self.endpoints, &before.endpoints);
        share(&mut self.secrets, &before.secrets);
        self
    }
}

fn share<T: PartialEq>(now: &mut BTreeMap<String, Arc<T>>, before: &BTreeMap<String, Arc<T>>) {
    for (name, it) in now {
        if let Some(same) = before.get(name).filter(|before| **before == *it) {
            *it = Arc::clone(same);
        }
    }
}

/// Where a resource or a part of it comes from, for explain.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    /// The object that caused it, for example `Ingress/my-ingress in namespace default`, or the place in a file.
    pub object: String,
    /// Revision of that object; 0 when it is built in.
    pub revision: Revision,
}

impl Source {
    /// It is in a file, whose fields are named by their paths: `static_resources.clusters[0]`.
    #[must_use]
    pub fn is_in_file(&self) -> bool {
        self.object.starts_with("static_resources.")
    }
}

/// Version of a resource: XXH3-64 of its JSON, as 16 hex digits. For a [`Secret`] only the certificate counts.
#[must_use]
pub fn content_version(resource: &impl Serialize) -> String {
    let bytes = serde_json::to_vec(resource).expect("resources have string keys only");
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&bytes))
}
