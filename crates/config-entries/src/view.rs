//! Entries as structs of ours, for whoever acts on them. Numbers are as they were given, of any size.

mod gateways;
mod routing;

use std::collections::BTreeMap;
use std::time::Duration;

use model::{ConfigEntry, go};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

pub use self::gateways::{
    ApiGateway, ApiListener, ApiTls, Exported, ExportedService, HttpRoute, HttpRouteRule,
    IngressGateway, IngressListener, IngressService, LinkedService, Reference, Sds,
    ServiceConsumer, ServiceTls, TcpRoute, TerminatingGateway, TlsSettings,
};
pub use self::routing::{
    CookieConfig, Failover, FailoverPolicy, FailoverTarget, HashPolicy, HeaderMatch,
    HeaderModifiers, HttpMatch, LeastRequestConfig, LoadBalancer, QueryMatch, Redirect, Resolver,
    RingHashConfig, Route, RouteDestination, RouteMatch, Router, Split, Splitter, Subset,
};

/// An entry as one of these structs. What does not fit, as another program may have written it, counts as nothing said.
#[must_use]
pub fn view<T: DeserializeOwned + Default>(entry: &ConfigEntry) -> T {
    T::deserialize(&entry.body).unwrap_or_default()
}

/// `service-defaults`
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct ServiceDefaults {
    pub protocol: String,
    pub mode: String,
    #[serde(rename = "MutualTLSMode")]
    pub mutual_tls_mode: String,
    pub mesh_gateway: MeshGateway,
    pub transparent_proxy: TransparentProxy,
    #[serde(rename = "ExternalSNI")]
    pub external_sni: String,
    pub upstream_config: Option<UpstreamConfiguration>,
    pub destination: Option<Destination>,
    pub max_inbound_connections: i64,
    pub local_connect_timeout_ms: i64,
    pub local_request_timeout_ms: i64,
    pub balance_inbound_connections: String,
    pub rate_limits: Option<Value>,
    pub envoy_extensions: Vec<EnvoyExtension>,
    pub meta: BTreeMap<String, String>,
}

/// `proxy-defaults`
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct ProxyDefaults {
    #[serde(deserialize_with = "nullable")]
    pub config: Map<String, Value>,
    pub mode: String,
    #[serde(rename = "MutualTLSMode")]
    pub mutual_tls_mode: String,
    pub mesh_gateway: MeshGateway,
    pub transparent_proxy: TransparentProxy,
    pub access_logs: AccessLogs,
    pub envoy_extensions: Vec<EnvoyExtension>,
    pub failover_policy: Option<FailoverPolicy>,
    pub meta: BTreeMap<String, String>,
}

/// Through which gateways.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct MeshGateway {
    pub mode: String,
}

/// How traffic is caught.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct TransparentProxy {
    pub outbound_listener_port: i64,
    pub dialed_directly: bool,
}

/// What is logged.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct AccessLogs {
    pub enabled: bool,
    pub r#type: String,
    pub path: String,
    #[serde(rename = "JSONFormat")]
    pub json_format: String,
    pub text_format: String,
}

/// A patch of Envoy's resources.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct EnvoyExtension {
    pub name: String,
}

/// How a service calls others.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct UpstreamConfiguration {
    pub overrides: Vec<UpstreamConfig>,
    pub defaults: Option<UpstreamConfig>,
}

/// How another is called.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct UpstreamConfig {
    pub name: String,
    pub peer: String,
    pub protocol: String,
    pub connect_timeout_ms: i64,
    pub limits: Option<UpstreamLimits>,
    pub passive_health_check: Option<PassiveHealthCheck>,
    pub mesh_gateway: MeshGateway,
    pub balance_outbound_connections: String,
}

/// Most of each.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct UpstreamLimits {
    pub max_connections: Option<i64>,
    pub max_pending_requests: Option<i64>,
    pub max_concurrent_requests: Option<i64>,
}

/// When an endpoint is left out for a while.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct PassiveHealthCheck {
    #[serde(deserialize_with = "signed")]
    pub interval: i64,
    pub max_failures: i64,
    #[serde(rename = "EnforcingConsecutive5xx")]
    pub enforcing_consecutive_5xx: Option<i64>,
    pub max_ejection_percent: Option<i64>,
    pub base_ejection_time: Option<i64>,
}

/// A service outside of the mesh.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct Destination {
    pub addresses: Vec<String>,
    pub port: i64,
}

/// A duration in Go's notation or as nanoseconds; a negative one counts as none.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => go::parse_duration(&text).unwrap_or_default(),
        Value::Number(number) => Duration::from_nanos(number.as_u64().unwrap_or_default()),
        _ => Duration::ZERO,
    })
}

/// Nanoseconds, or a duration in Go's notation; negative ones, too.
fn signed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) if text.starts_with('-') => -1,
        Value::String(text) => {
            let nanoseconds = go::parse_duration(&text).unwrap_or_default().as_nanos();
            i64::try_from(nanoseconds).unwrap_or(i64::MAX)
        }
        Value::Number(number) => number.as_i64().unwrap_or_default(),
        _ => 0,
    })
}

/// `null` is shown where nothing is said.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
