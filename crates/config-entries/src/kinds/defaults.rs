//! What is said of a service, and of all of them.

use super::proxy::{
    ACCESS_LOGS, ENVOY_EXTENSION, EXPOSE, MESH_GATEWAY, PASSIVE_HEALTH_CHECK, TRANSPARENT_PROXY,
};
use super::routing::{FAILOVER_POLICY, PRIORITIZE_BY_LOCALITY};
use crate::schema::{Field, Kind, Schema, field, shown};

pub(super) static SERVICE: Schema = Schema::new(&[
    shown("Kind", Kind::Text),
    shown("Name", Kind::Text),
    shown("Protocol", Kind::Text),
    field("Mode", Kind::Text),
    field("MutualTLSMode", Kind::Text),
    field("TransparentProxy", Kind::Struct(&TRANSPARENT_PROXY)),
    field("MeshGateway", Kind::Struct(&MESH_GATEWAY)),
    field("Expose", Kind::Struct(&EXPOSE)),
    field("ExternalSNI", Kind::Text),
    field("UpstreamConfig", Kind::Given(&UPSTREAM_CONFIGURATION)),
    field("Destination", Kind::Given(&DESTINATION)),
    field("MaxInboundConnections", Kind::Integer),
    field("LocalConnectTimeoutMs", Kind::Integer),
    field("LocalRequestTimeoutMs", Kind::Integer),
    field("BalanceInboundConnections", Kind::Text),
    field("RateLimits", Kind::Given(&RATE_LIMITS)),
    field("EnvoyExtensions", Kind::List(&ENVOY_EXTENSION)),
    META,
]);

pub(super) static PROXY: Schema = Schema::new(&[
    shown("Kind", Kind::Text),
    shown("Name", Kind::Text),
    shown("Config", Kind::Anything),
    field("Mode", Kind::Text),
    field("MutualTLSMode", Kind::Text),
    field("TransparentProxy", Kind::Struct(&TRANSPARENT_PROXY)),
    field("MeshGateway", Kind::Struct(&MESH_GATEWAY)),
    field("Expose", Kind::Struct(&EXPOSE)),
    field("AccessLogs", Kind::Struct(&ACCESS_LOGS)),
    field("EnvoyExtensions", Kind::List(&ENVOY_EXTENSION)),
    field("FailoverPolicy", Kind::Given(&FAILOVER_POLICY)),
    field("PrioritizeByLocality", Kind::Given(&PRIORITIZE_BY_LOCALITY)),
    META,
]);

pub(super) const META: Field = field("Meta", Kind::TextMap);

static UPSTREAM_CONFIGURATION: Schema = Schema::new(&[
    field("Overrides", Kind::List(&UPSTREAM_CONFIG)),
    field("Defaults", Kind::Given(&UPSTREAM_CONFIG)),
]);

static UPSTREAM_CONFIG: Schema = Schema::new(&[
    field("Name", Kind::Text),
    field("Peer", Kind::Text),
    field("EnvoyListenerJSON", Kind::Text),
    field("EnvoyClusterJSON", Kind::Text),
    field("Protocol", Kind::Text),
    field("ConnectTimeoutMs", Kind::Integer),
    field("Limits", Kind::Given(&UPSTREAM_LIMITS)),
    field("PassiveHealthCheck", Kind::Given(&PASSIVE_HEALTH_CHECK)),
    field("MeshGateway", Kind::Struct(&MESH_GATEWAY)),
    field("BalanceOutboundConnections", Kind::Text),
]);

static UPSTREAM_LIMITS: Schema = Schema::new(&[
    field("MaxConnections", Kind::GivenInteger),
    field("MaxPendingRequests", Kind::GivenInteger),
    field("MaxConcurrentRequests", Kind::GivenInteger),
]);

static DESTINATION: Schema =
    Schema::new(&[field("Addresses", Kind::Texts), field("Port", Kind::Integer)]);

/// Read so that it can be refused by name.
static RATE_LIMITS: Schema = Schema::new(&[field("InstanceLevel", Kind::Anything)]);
