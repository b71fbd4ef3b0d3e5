//! Gateways, and the certificates that they show.

use super::defaults::META;
use super::proxy::PASSIVE_HEALTH_CHECK;
use super::routing::HEADER_MODIFIERS;
use crate::schema::{Kind, Schema, field, shown};

pub(super) static INGRESS: Schema = Schema::new(&[
    shown("Kind", Kind::Text),
    shown("Name", Kind::Text),
    shown("TLS", Kind::Struct(&GATEWAY_TLS)),
    shown("Listeners", Kind::List(&INGRESS_LISTENER)),
    field("Defaults", Kind::Given(&INGRESS_DEFAULTS)),
    META,
]);

static GATEWAY_TLS: Schema = Schema::new(&[
    shown("Enabled", Kind::Flag),
    field("SDS", Kind::Given(&SDS)),
    field("TLSMinVersion", Kind::Text),
    field("TLSMaxVersion", Kind::Text),
    field("CipherSuites", Kind::Texts),
]);

static SDS: Schema =
    Schema::new(&[field("ClusterName", Kind::Text), field("CertResource", Kind::Text)]);

static INGRESS_LISTENER: Schema = Schema::new(&[
    shown("Port", Kind::Integer),
    shown("Protocol", Kind::Text),
    field("TLS", Kind::Given(&GATEWAY_TLS)),
    shown("Services", Kind::List(&INGRESS_SERVICE)),
]);

static INGRESS_SERVICE: Schema = Schema::new(&[
    shown("Name", Kind::Text),
    shown("Hosts", Kind::Texts),
    field("TLS", Kind::Given(&SERVICE_TLS)),
    field("RequestHeaders", Kind::Given(&HEADER_MODIFIERS)),
    field("ResponseHeaders", Kind::Given(&HEADER_MODIFIERS)),
    field("MaxConnections", Kind::Integer),
    field("MaxPendingRequests", Kind::Integer),
    field("MaxConcurrentRequests", Kind::Integer),
    field("PassiveHealthCheck", Kind::Given(&PASSIVE_HEALTH_CHECK)),
    META,
]);

static SERVICE_TLS: Schema = Schema::new(&[field("SDS", Kind::Given(&SDS))]);

static INGRESS_DEFAULTS: Schema = Schema::new(&[
    shown("MaxConnections", Kind::Integer),
    shown("MaxPendingRequests", Kind::Integer),
    shown("MaxConcurrentRequests", Kind::Integer),
    field("PassiveHealthCheck", Kind::Given(&PASSIVE_HEALTH_CHECK)),
]);

pub(super) static TERMINATING: Schema = Schema::new(&[
    shown("Kind", Kind::Text),
    shown("Name", Kind::Text),
    shown("Services", Kind::List(&LINKED_SERVICE)),
    META,
]);

static LINKED_SERVICE: Schema = Schema::new(&[
    field("Name", Kind::Text),
    field("CAFile", Kind::Text),
    field("CertFile", Kind::Text),
    field("KeyFile", Kind::Text),
    field("SNI", Kind::Text),
    field("DisableAutoHostRewrite", Kind::Flag),
]);

pub(super) static API: Schema = Schema::new(&[
    shown("Kind", Kind::Text),
    shown("Name", Kind::Text),
    shown("Listeners", Kind::List(&API_LISTENER)),
    shown("Status", Kind::Struct(&STATUS)),
    META,
]);

static API_LISTENER: Schema = Schema::new(&[
    shown("Name", Kind::Text),
    shown("Hostname", Kind::Text),
    shown("Port", Kind::Integer),
    shown("Protocol", Kind::Text),
    shown("TLS", Kind::Struct(&API_TLS)),
    field("Override", Kind::Given(&API_POLICY)),
    field("Default", Kind::Given(&API_POLICY)),
]);

static API_TLS: Schema = Schema::new(&[
    shown("Certificates", Kind::List(&REFERENCE)),
    field("MaxVersion", Kind::Text).or("tls_max_version"),
    field("MinVersion", Kind::Text).or("tls_min_version"),
    field("CipherSuites", Kind::Texts),
]);

static API_POLICY: Schema = Schema::new(&[field("JWT", Kind::Given(&JWT_REQUIREMENT))]);

pub(super) static JWT_REQUIREMENT: Schema =
    Schema::new(&[field("Providers", Kind::List(&JWT_PROVIDER))]);

static JWT_PROVIDER: Schema =
    Schema::new(&[field("Name", Kind::Text), field("VerifyClaims", Kind::List(&JWT_CLAIM))]);

static JWT_CLAIM: Schema = Schema::new(&[field("Path", Kind::Texts), field("Value", Kind::Text)]);

pub(super) static REFERENCE: Schema = Schema::new(&[
    shown("Kind", Kind::Text),
    shown("Name", Kind::Text),
    shown("SectionName", Kind::Text),
]);

pub(super) static STATUS: Schema = Schema::new(&[shown("Conditions", Kind::List(&CONDITION))]);

static CONDITION: Schema = Schema::new(&[
    shown("Type", Kind::Text),
    shown("Status", Kind::Text),
    shown("Reason", Kind::Text),
    shown("Message", Kind::Text),
    shown("Resource", Kind::Given(&REFERENCE)),
    field("LastTransitionTime", Kind::Text),
]);

pub(super) static BOUND_API: Schema = Schema::new(&[
    shown("Kind", Kind::Text),
    shown("Name", Kind::Text),
    shown("Listeners", Kind::List(&BOUND_LISTENER)),
    META,
]);

static BOUND_LISTENER: Schema = Schema::new(&[
    shown("Name", Kind::Text),
    shown("Routes", Kind::List(&REFERENCE)),
    shown("Certificates", Kind::List(&REFERENCE)),
]);

pub(super) static CERTIFICATE: Schema = Schema::new(&[
    shown("Kind", Kind::Text),
    shown("Name", Kind::Text),
    shown("Certificate", Kind::Text),
    shown("PrivateKey", Kind::Text),
    META,
]);

pub(super) static CERTIFICATE_FILES: Schema = Schema::new(&[
    shown("Kind", Kind::Text),
    shown("Name", Kind::Text),
    field("Certificate", Kind::Text),
    field("PrivateKey", Kind::Text),
    META,
]);
