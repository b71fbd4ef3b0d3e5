//! Routers, splitters and resolvers.

use super::defaults::META;
use crate::schema::{Kind, Schema, field, shown};

pub(super) static ROUTER: Schema = Schema::new(&[
    shown("Kind", Kind::Text),
    shown("Name", Kind::Text),
    shown("Routes", Kind::List(&ROUTE)),
    META,
]);

static ROUTE: Schema = Schema::new(&[
    field("Match", Kind::Given(&ROUTE_MATCH)),
    field("Destination", Kind::Given(&ROUTE_DESTINATION)),
]);

static ROUTE_MATCH: Schema = Schema::new(&[field("HTTP", Kind::Given(&HTTP_MATCH))]);

static HTTP_MATCH: Schema = Schema::new(&[
    field("PathExact", Kind::Text),
    field("PathPrefix", Kind::Text),
    field("PathRegex", Kind::Text),
    field("CaseInsensitive", Kind::Flag),
    field("Header", Kind::List(&HEADER_MATCH)),
    field("QueryParam", Kind::List(&QUERY_MATCH)),
    field("Methods", Kind::Texts),
]);

static HEADER_MATCH: Schema = Schema::new(&[
    shown("Name", Kind::Text),
    field("Present", Kind::Flag),
    field("Exact", Kind::Text),
    field("Prefix", Kind::Text),
    field("Suffix", Kind::Text),
    field("Regex", Kind::Text),
    field("Invert", Kind::Flag),
]);

static QUERY_MATCH: Schema = Schema::new(&[
    shown("Name", Kind::Text),
    field("Present", Kind::Flag),
    field("Exact", Kind::Text),
    field("Regex", Kind::Text),
]);

static ROUTE_DESTINATION: Schema = Schema::new(&[
    field("RequestTimeout", Kind::Duration),
    field("IdleTimeout", Kind::Duration),
    field("Service", Kind::Text),
    field("ServiceSubset", Kind::Text),
    field("Namespace", Kind::Text),
    field("Partition", Kind::Text),
    field("PrefixRewrite", Kind::Text),
    field("NumRetries", Kind::Integer),
    field("RetryOnConnectFailure", Kind::Flag),
    field("RetryOn", Kind::Texts),
    field("RetryOnStatusCodes", Kind::Integers),
    field("RequestHeaders", Kind::Given(&HEADER_MODIFIERS)),
    field("ResponseHeaders", Kind::Given(&HEADER_MODIFIERS)),
]);

pub(super) static HEADER_MODIFIERS: Schema = Schema::new(&[
    field("Add", Kind::TextMap),
    field("Set", Kind::TextMap),
    field("Remove", Kind::Texts),
]);

pub(super) static SPLITTER: Schema = Schema::new(&[
    shown("Kind", Kind::Text),
    shown("Name", Kind::Text),
    shown("Splits", Kind::List(&SPLIT)),
    META,
]);

static SPLIT: Schema = Schema::new(&[
    shown("Weight", Kind::Number),
    field("Service", Kind::Text),
    field("ServiceSubset", Kind::Text),
    field("Namespace", Kind::Text),
    field("Partition", Kind::Text),
    field("RequestHeaders", Kind::Given(&HEADER_MODIFIERS)),
    field("ResponseHeaders", Kind::Given(&HEADER_MODIFIERS)),
]);

pub(super) static RESOLVER: Schema = Schema::new(&[
    field("ConnectTimeout", Kind::Duration),
    field("RequestTimeout", Kind::Duration),
    shown("Kind", Kind::Text),
    shown("Name", Kind::Text),
    field("DefaultSubset", Kind::Text),
    field("Subsets", Kind::Map(&SUBSET)),
    field("Redirect", Kind::Given(&REDIRECT)),
    field("Failover", Kind::Map(&FAILOVER)),
    field("PrioritizeByLocality", Kind::Given(&PRIORITIZE_BY_LOCALITY)),
    field("LoadBalancer", Kind::Given(&LOAD_BALANCER)),
    META,
]);

static SUBSET: Schema =
    Schema::new(&[field("Filter", Kind::Text), field("OnlyPassing", Kind::Flag)]);

static REDIRECT: Schema = Schema::new(&[
    field("Service", Kind::Text),
    field("ServiceSubset", Kind::Text),
    field("Namespace", Kind::Text),
    field("Partition", Kind::Text),
    field("Datacenter", Kind::Text),
    field("Peer", Kind::Text),
    field("SamenessGroup", Kind::Text),
]);

static FAILOVER: Schema = Schema::new(&[
    field("Service", Kind::Text),
    field("ServiceSubset", Kind::Text),
    field("Namespace", Kind::Text),
    field("Datacenters", Kind::Texts),
    field("Targets", Kind::List(&FAILOVER_TARGET)),
    field("Policy", Kind::Given(&FAILOVER_POLICY)),
    field("SamenessGroup", Kind::Text),
]);

static FAILOVER_TARGET: Schema = Schema::new(&[
    field("Service", Kind::Text),
    field("ServiceSubset", Kind::Text),
    field("Partition", Kind::Text),
    field("Namespace", Kind::Text),
    field("Datacenter", Kind::Text),
    field("Peer", Kind::Text),
]);

pub(super) static FAILOVER_POLICY: Schema =
    Schema::new(&[field("Mode", Kind::Text), field("Regions", Kind::Texts)]);

pub(super) static PRIORITIZE_BY_LOCALITY: Schema = Schema::new(&[field("Mode", Kind::Text)]);

static LOAD_BALANCER: Schema = Schema::new(&[
    field("Policy", Kind::Text),
    field("RingHashConfig", Kind::Given(&RING_HASH)),
    field("LeastRequestConfig", Kind::Given(&LEAST_REQUEST)),
    field("HashPolicies", Kind::List(&HASH_POLICY)),
]);

static RING_HASH: Schema = Schema::new(&[
    field("MinimumRingSize", Kind::Integer),
    field("MaximumRingSize", Kind::Integer),
]);

static LEAST_REQUEST: Schema = Schema::new(&[field("ChoiceCount", Kind::Integer)]);

static HASH_POLICY: Schema = Schema::new(&[
    field("Field", Kind::Text),
    field("FieldValue", Kind::Text),
    field("CookieConfig", Kind::Given(&COOKIE)),
    field("SourceIP", Kind::Flag),
    field("Terminal", Kind::Flag),
]);

static COOKIE: Schema = Schema::new(&[
    field("Session", Kind::Flag),
    field("TTL", Kind::Nanoseconds),
    field("Path", Kind::Text),
]);
