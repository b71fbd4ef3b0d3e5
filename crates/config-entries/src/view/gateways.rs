use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{HeaderModifiers, PassiveHealthCheck, nullable};

/// `ingress-gateway`
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct IngressGateway {
    #[serde(rename = "TLS")]
    pub tls: TlsSettings,
    #[serde(deserialize_with = "nullable")]
    pub listeners: Vec<IngressListener>,
}

/// TLS of a gateway or one of its listeners.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct TlsSettings {
    pub enabled: bool,
    #[serde(rename = "SDS")]
    pub sds: Option<Sds>,
    #[serde(rename = "TLSMinVersion")]
    pub tls_min_version: String,
    #[serde(rename = "TLSMaxVersion")]
    pub tls_max_version: String,
    pub cipher_suites: Vec<String>,
}

/// Where a certificate comes from.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct Sds {
    pub cluster_name: String,
    pub cert_resource: String,
}

/// A port of an ingress gateway.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct IngressListener {
    pub port: i64,
    pub protocol: String,
    #[serde(rename = "TLS")]
    pub tls: Option<TlsSettings>,
    #[serde(deserialize_with = "nullable")]
    pub services: Vec<IngressService>,
}

/// A service behind a port of an ingress gateway.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct IngressService {
    pub name: String,
    #[serde(deserialize_with = "nullable")]
    pub hosts: Vec<String>,
    #[serde(rename = "TLS")]
    pub tls: Option<ServiceTls>,
    pub request_headers: Option<HeaderModifiers>,
    pub response_headers: Option<HeaderModifiers>,
    pub passive_health_check: Option<PassiveHealthCheck>,
}

/// TLS of a service behind an ingress gateway.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct ServiceTls {
    #[serde(rename = "SDS")]
    pub sds: Option<Sds>,
}

/// `terminating-gateway`
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct TerminatingGateway {
    #[serde(deserialize_with = "nullable")]
    pub services: Vec<LinkedService>,
}

/// A service behind a terminating gateway.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct LinkedService {
    pub name: String,
    #[serde(rename = "CAFile")]
    pub ca_file: String,
    pub cert_file: String,
    pub key_file: String,
    #[serde(rename = "SNI")]
    pub sni: String,
    pub disable_auto_host_rewrite: bool,
}

/// `api-gateway`
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct ApiGateway {
    #[serde(deserialize_with = "nullable")]
    pub listeners: Vec<ApiListener>,
}

/// A port of an API gateway.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct ApiListener {
    pub name: String,
    pub hostname: String,
    pub port: i64,
    pub protocol: String,
    #[serde(rename = "TLS")]
    pub tls: ApiTls,
}

/// TLS of a port of an API gateway.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct ApiTls {
    #[serde(deserialize_with = "nullable")]
    pub certificates: Vec<Reference>,
    pub max_version: String,
    pub min_version: String,
    pub cipher_suites: Vec<String>,
}

/// Another entry, or a part of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct Reference {
    pub kind: String,
    pub name: String,
    pub section_name: String,
}

/// `http-route`
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct HttpRoute {
    #[serde(deserialize_with = "nullable")]
    pub parents: Vec<Reference>,
    #[serde(deserialize_with = "nullable")]
    pub rules: Vec<HttpRouteRule>,
    #[serde(deserialize_with = "nullable")]
    pub hostnames: Vec<String>,
}

/// A rule of a route, as objects with Consul's fields.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct HttpRouteRule {
    pub filters: Value,
    #[serde(deserialize_with = "nullable")]
    pub matches: Vec<Value>,
    #[serde(deserialize_with = "nullable")]
    pub services: Vec<Value>,
}

/// `tcp-route`
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct TcpRoute {
    #[serde(deserialize_with = "nullable")]
    pub parents: Vec<Reference>,
    #[serde(deserialize_with = "nullable")]
    pub services: Vec<BTreeMap<String, Value>>,
}

/// `exported-services`
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct Exported {
    pub services: Vec<ExportedService>,
}

/// A service that others see.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct ExportedService {
    pub name: String,
    pub namespace: String,
    pub consumers: Vec<ServiceConsumer>,
}

/// Who sees a service.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct ServiceConsumer {
    pub partition: String,
    pub peer: String,
    pub sameness_group: String,
}
