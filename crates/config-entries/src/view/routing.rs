use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::{duration, nullable, signed};

/// `service-router`
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct Router {
    #[serde(deserialize_with = "nullable")]
    pub routes: Vec<Route>,
}

/// A route.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct Route {
    pub r#match: Option<RouteMatch>,
    pub destination: Option<RouteDestination>,
}

/// Which requests take a route.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct RouteMatch {
    #[serde(rename = "HTTP")]
    pub http: Option<HttpMatch>,
}

/// Conditions on a request; all must hold.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct HttpMatch {
    pub path_exact: String,
    pub path_prefix: String,
    pub path_regex: String,
    pub case_insensitive: bool,
    pub header: Vec<HeaderMatch>,
    pub query_param: Vec<QueryMatch>,
    pub methods: Vec<String>,
}

/// Condition on a header.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct HeaderMatch {
    pub name: String,
    pub present: bool,
    pub exact: String,
    pub prefix: String,
    pub suffix: String,
    pub contains: String,
    pub regex: String,
    pub invert: bool,
    pub ignore_case: bool,
}

/// Condition on a query parameter.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct QueryMatch {
    pub name: String,
    pub present: bool,
    pub exact: String,
    pub regex: String,
}

/// Where a route leads, and how.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct RouteDestination {
    #[serde(deserialize_with = "duration")]
    pub request_timeout: Duration,
    #[serde(deserialize_with = "duration")]
    pub idle_timeout: Duration,
    pub service: String,
    pub service_subset: String,
    pub prefix_rewrite: String,
    pub num_retries: i64,
    pub retry_on_connect_failure: bool,
    pub retry_on: Vec<String>,
    pub retry_on_status_codes: Vec<i64>,
    pub request_headers: Option<HeaderModifiers>,
    pub response_headers: Option<HeaderModifiers>,
}

/// Changes of headers.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct HeaderModifiers {
    #[serde(deserialize_with = "nullable")]
    pub add: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    pub set: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    pub remove: Vec<String>,
}

/// `service-splitter`
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct Splitter {
    #[serde(deserialize_with = "nullable")]
    pub splits: Vec<Split>,
}

/// A share of the requests.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct Split {
    pub weight: f64,
    pub service: String,
    pub service_subset: String,
    pub namespace: String,
    pub partition: String,
    pub request_headers: Option<HeaderModifiers>,
    pub response_headers: Option<HeaderModifiers>,
}

/// `service-resolver`
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct Resolver {
    #[serde(deserialize_with = "signed")]
    pub connect_timeout: i64,
    #[serde(deserialize_with = "signed")]
    pub request_timeout: i64,
    pub default_subset: String,
    pub subsets: BTreeMap<String, Subset>,
    pub redirect: Option<Redirect>,
    pub failover: BTreeMap<String, Failover>,
    pub load_balancer: Option<LoadBalancer>,
}

/// Some of the instances of a service.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct Subset {
    pub filter: String,
    pub only_passing: bool,
}

/// Another service instead.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct Redirect {
    pub service: String,
    pub service_subset: String,
    pub namespace: String,
    pub partition: String,
    pub datacenter: String,
    pub peer: String,
    pub sameness_group: String,
}

/// Where to go when nothing works here.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct Failover {
    pub service: String,
    pub service_subset: String,
    pub namespace: String,
    pub datacenters: Vec<String>,
    pub targets: Vec<FailoverTarget>,
    pub policy: Option<FailoverPolicy>,
    pub sameness_group: String,
}

/// One place of a failover.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct FailoverTarget {
    pub service: String,
    pub service_subset: String,
    pub partition: String,
    pub namespace: String,
    pub datacenter: String,
    pub peer: String,
}

/// In which order a failover is made.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct FailoverPolicy {
    pub mode: String,
    pub regions: Vec<String>,
}

/// How an instance is picked.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct LoadBalancer {
    pub policy: String,
    pub ring_hash_config: Option<RingHashConfig>,
    pub least_request_config: Option<LeastRequestConfig>,
    pub hash_policies: Vec<HashPolicy>,
}

/// Parameters of `ring_hash`.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct RingHashConfig {
    pub minimum_ring_size: i64,
    pub maximum_ring_size: i64,
}

/// Parameters of `least_request`.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct LeastRequestConfig {
    pub choice_count: i64,
}

/// A part of a hash.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct HashPolicy {
    pub field: String,
    pub field_value: String,
    pub cookie_config: Option<CookieConfig>,
    #[serde(rename = "SourceIP")]
    pub source_ip: bool,
    pub terminal: bool,
}

/// A cookie that is given to who has none.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct CookieConfig {
    pub session: bool,
    #[serde(rename = "TTL", deserialize_with = "duration")]
    pub ttl: Duration,
    pub path: String,
}

impl LoadBalancer {
    /// Whether requests with the same hash go to the same instance.
    #[must_use]
    pub fn is_hash_based(&self) -> bool {
        matches!(self.policy.as_str(), "maglev" | "ring_hash")
    }
}

impl HttpMatch {
    /// Whether it has no condition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self { case_insensitive: self.case_insensitive, ..Self::default() }
    }
}
