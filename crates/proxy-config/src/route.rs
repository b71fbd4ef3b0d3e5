//! Which request goes where.

use std::collections::BTreeMap;
use std::time::Duration;

use model::duration_ns;
use serde::{Deserialize, Serialize};

use crate::Source;
use crate::filter::Filters;
use crate::matching::{HeaderMatch, QueryMatch};
use crate::retry::{Hedging, RetryPolicy};

/// Virtual hosts, each with routes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteTable {
    /// Name, unique in a proxy.
    pub name: String,
    /// Virtual hosts; a domain is in at most one of them.
    pub virtual_hosts: Vec<VirtualHost>,
}

/// Routes for a set of domains.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct VirtualHost {
    /// Name, for the log and for explain.
    pub name: String,
    /// Domains in lower case and without port: `example.com` exactly, `*.example.com` any deeper name, `example.*` any
    /// name that begins so, `*` anything. Exact before suffix before prefix before any; among each the longest wins.
    pub domains: Vec<String>,
    /// Routes; the first that matches wins. The compiler sorts them as the declaring API asks.
    pub routes: Vec<Route>,
    /// Requests without TLS are redirected to https with 301.
    pub require_tls: bool,
}

/// A condition and what to do when it holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Route {
    /// Name, for the log and for explain.
    pub name: String,
    /// Condition on the path (without the query).
    pub path: PathMatch,
    /// Further conditions, all of which must hold.
    #[serde(default)]
    pub conditions: Conditions,
    /// What to do.
    pub action: RouteAction,
    /// What is done to the headers, in this order: those of the route, of its virtual host, of its table.
    #[serde(default)]
    pub headers: HeaderChanges,
    /// What is done with the request on its way.
    #[serde(default)]
    pub filters: Filters,
    /// Where it comes from.
    pub source: Source,
}

impl Route {
    /// A route without further conditions.
    #[must_use]
    pub fn new(name: &str, path: PathMatch, action: RouteAction) -> Self {
        Self {
            name: name.to_owned(),
            path,
            conditions: Conditions::default(),
            action,
            headers: HeaderChanges::default(),
            filters: Filters::default(),
            source: Source::default(),
        }
    }
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
    /// The whole path matches this regular expression (RE2's syntax; matching takes linear time).
    Regex(String),
    /// A URI template as Envoy's `uri_template` matcher has it: `/a/{name}/*/{rest=**}`.
    Template(String),
}

/// Further conditions of a route.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Conditions {
    /// The path is compared without case; of no meaning for regular expressions and templates.
    pub ignore_path_case: bool,
    /// One of these methods; any when empty.
    pub methods: Vec<String>,
    /// All of these headers.
    pub headers: Vec<HeaderMatch>,
    /// All of these query parameters.
    pub query: Vec<QueryMatch>,
    /// Only gRPC requests.
    pub grpc: bool,
    /// Only `CONNECT` requests.
    pub connect: bool,
    /// Only so many of each million, by a number that the caller draws.
    pub per_million: Option<u32>,
}

/// What a route does with a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RouteAction {
    /// Send it on.
    Forward(Box<Forward>),
    /// Answer at once.
    Respond {
        /// Status code, 200 to 599.
        status: u16,
        /// Body as `text/plain`.
        body: String,
    },
    /// Answer with another address.
    Redirect(Redirect),
}

/// Another address that a client is sent to: its own with these parts replaced.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Redirect {
    /// Status code, 301, 302, 303, 307 or 308.
    pub status: u16,
    /// Scheme.
    pub scheme: Option<String>,
    /// Host.
    pub host: Option<String>,
    /// Port; the scheme's own port is left out. Without it and without a host the request's is kept, unless the scheme
    /// changes and it is the old scheme's own.
    pub port: Option<u16>,
    /// Path.
    pub path: PathRewrite,
    /// Leave the query out.
    pub strip_query: bool,
}

impl Redirect {
    /// To https, with the same host and path.
    #[must_use]
    pub fn to_https(status: u16, port: u16) -> Self {
        Self {
            status,
            scheme: Some("https".to_owned()),
            host: None,
            port: Some(port),
            path: PathRewrite::Keep,
            strip_query: false,
        }
    }
}

/// How a path is changed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum PathRewrite {
    /// Not at all.
    #[default]
    Keep,
    /// This takes its place (with a query of its own if it has one; the request's otherwise).
    Whole(String),
    /// What the route's path condition matched is replaced with this.
    Prefix(String),
    /// Every match of the regular expression in the path is replaced; `\1` to `\9` are what its groups matched.
    Regex {
        /// Regular expression.
        pattern: String,
        /// What takes the place of a match.
        substitution: String,
    },
    /// A template whose variables the route's own template has bound: `/new/{name}/{rest}`.
    Template(String),
}

/// Where a request is sent and how.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Forward {
    /// To which cluster.
    pub cluster: ClusterChoice,
    /// From the end of the request to the head of the response, over all tries; 0 means no limit. A response that
    /// comes before the request has ended is in time. Once the head is there it may take as long as it will; then
    /// [`crate::HttpListener::stream_idle_timeout`] holds.
    #[serde(with = "duration_ns")]
    pub timeout: Duration,
    /// Takes the place of the listener's stream idle timeout; zero means no limit.
    pub idle_timeout: Option<Duration>,
    /// From the beginning of the request to the end of the response; zero means no limit.
    pub stream_duration_max: Option<Duration>,
    /// The client's `grpc-timeout` takes the place of `timeout`, up to this; zero means no bound, `None` that the header
    /// is not looked at.
    pub grpc_timeout_max: Option<Duration>,
    /// Retries.
    pub retry: RetryPolicy,
    /// Hedging.
    pub hedging: Hedging,
    /// Clusters that get a copy of the request; their responses are thrown away.
    pub mirrors: Vec<Mirror>,
    /// What the path becomes.
    pub path: PathRewrite,
    /// What the host becomes.
    pub host: HostRewrite,
    /// What a consistent hash is made of, in this order; none: a random one.
    pub hash: Vec<HashPolicy>,
    /// Endpoints that have all of these in their metadata; all when empty.
    pub subset: BTreeMap<String, String>,
    /// Which circuit breakers hold.
    pub priority: RoutingPriority,
    /// Status when the cluster does not exist; 503 unless said otherwise.
    pub cluster_not_found_status: u16,
    /// A cookie that names the endpoint, so that a client keeps it.
    pub affinity: Option<CookieAffinity>,
    /// Add `x-envoy-upstream-service-time` to the response head.
    pub timing_headers: bool,
    /// Add `x-request-id` to the response head.
    pub request_id_in_response: bool,
    /// Send `x-envoy-upstream-service-time` as a trailer where the client accepts trailers.
    pub timing_trailer: bool,
    /// Add `x-envoy-attempt-count` to the request.
    pub attempt_count_in_request: bool,
    /// Add `x-envoy-attempt-count` to the response.
    pub attempt_count_in_response: bool,
    /// Requests over this many bytes of body get 413; zero means no limit.
    pub body_bytes_max: u64,
}

impl Default for Forward {
    fn default() -> Self {
        Self {
            cluster: ClusterChoice::One(String::new()),
            timeout: Duration::from_secs(15),
            idle_timeout: None,
            stream_duration_max: None,
            grpc_timeout_max: None,
            retry: RetryPolicy::default(),
            hedging: Hedging::default(),
            mirrors: Vec::new(),
            path: PathRewrite::Keep,
            host: HostRewrite::Keep,
            hash: Vec::new(),
            subset: BTreeMap::new(),
            priority: RoutingPriority::Default,
            cluster_not_found_status: 503,
            affinity: None,
            timing_headers: false,
            request_id_in_response: false,
            timing_trailer: false,
            attempt_count_in_request: false,
            attempt_count_in_response: false,
            body_bytes_max: 0,
        }
    }
}

impl Forward {
    /// To one cluster, with the defaults (Envoy's where it has them).
    #[must_use]
    pub fn to(cluster: &str) -> Self {
        Self { cluster: ClusterChoice::One(cluster.to_owned()), ..Self::default() }
    }
}

/// To which cluster a request goes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ClusterChoice {
    /// This one.
    One(String),
    /// One of these by weight.
    Weighted(Vec<WeightedCluster>),
    /// The one that this header (in lower case) names.
    Header(String),
}

impl ClusterChoice {
    /// Names of the clusters that are known beforehand.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let (one, weighted): (Option<&str>, &[WeightedCluster]) = match self {
            ClusterChoice::One(name) => (Some(name), &[]),
            ClusterChoice::Weighted(clusters) => (None, clusters),
            ClusterChoice::Header(_) => (None, &[]),
        };
        one.into_iter().chain(weighted.iter().map(|it| it.cluster.as_str()))
    }
}

/// A cluster with its share.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WeightedCluster {
    /// Name.
    pub cluster: String,
    /// Share relative to the others; 0 means none.
    pub weight: u32,
    /// Done to the headers before the route's own changes.
    #[serde(default)]
    pub headers: HeaderChanges,
    /// In addition to the route's.
    #[serde(default)]
    pub subset: BTreeMap<String, String>,
}

impl WeightedCluster {
    /// A cluster with its share.
    #[must_use]
    pub fn new(cluster: &str, weight: u32) -> Self {
        Self {
            cluster: cluster.to_owned(),
            weight,
            headers: HeaderChanges::default(),
            subset: BTreeMap::new(),
        }
    }
}

/// A cluster that gets copies of requests.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mirror {
    /// Name of the cluster.
    pub cluster: String,
    /// Share of the requests, per million.
    pub per_million: u32,
    /// Add `-shadow` to the copy's host, as Envoy does.
    pub shadow_host: bool,
}

/// What the host of a request becomes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum HostRewrite {
    /// Nothing else.
    #[default]
    Keep,
    /// This.
    Literal(String),
    /// The endpoint's host name.
    Endpoint,
    /// What this header (in lower case) says.
    Header(String),
    /// What becomes of the path by replacing every match.
    PathRegex {
        /// Regular expression.
        pattern: String,
        /// What takes the place of a match.
        substitution: String,
    },
}

/// One part of a consistent hash.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HashPolicy {
    /// Where it is taken from.
    pub input: HashInput,
    /// If a hash exists after this part, the following ones are left out.
    #[serde(default)]
    pub terminal: bool,
}

/// Where a part of a hash is taken from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum HashInput {
    /// A header (in lower case).
    Header {
        /// Name.
        name: String,
        /// Regular expression and what takes the place of its matches, before hashing.
        rewrite: Option<(String, String)>,
    },
    /// A cookie.
    Cookie {
        /// Name.
        name: String,
        /// A client without it gets one that lives so long (zero: as long as its session); `None`: it gets none.
        ttl: Option<Duration>,
        /// Path of the cookie that is given.
        path: String,
    },
    /// The client's address.
    SourceIp,
    /// A query parameter.
    Query(String),
}

/// A cookie that names the endpoint; Envoy's `stateful_session` with cookies.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CookieAffinity {
    /// Name.
    pub name: String,
    /// How long it lives; zero: as long as the client's session.
    #[serde(with = "duration_ns")]
    pub ttl: Duration,
    /// Path.
    pub path: String,
    /// When the endpoint is gone: 503, rather than another one.
    pub strict: bool,
}

/// Which circuit breakers of a cluster hold for a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoutingPriority {
    /// Those for ordinary requests.
    #[default]
    Default,
    /// Those for important ones.
    High,
}

/// What is done to the headers of requests and responses.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HeaderChanges {
    /// Of the request, in this order.
    pub request: Vec<HeaderChange>,
    /// Of the response, in this order.
    pub response: Vec<HeaderChange>,
}

impl HeaderChanges {
    /// True when nothing is done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.request.is_empty() && self.response.is_empty()
    }
}

/// One change of a header. Names are in lower case; values may hold Envoy's command operators
/// (`%DOWNSTREAM_REMOTE_ADDRESS%`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum HeaderChange {
    /// Add a value to what is there.
    Append(String, String),
    /// Add it when nothing is there.
    AppendIfAbsent(String, String),
    /// Take the place of what is there.
    Overwrite(String, String),
    /// Take the place of what is there, if something is.
    OverwriteIfPresent(String, String),
    /// Take it away.
    Remove(String),
}
