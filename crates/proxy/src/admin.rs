//! The admin surface of a proxy: Envoy's paths, and `/explain`.
//!
//! [`respond`] is a function of the request and a view of the proxy: it opens no sockets, reads no
//! clock and changes nothing but what an [`operations::Operation`] is about.

mod certificates;
mod clusters;
mod dump;
mod explain;
mod operations;
mod pages;
mod query;
mod statistics;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};
use proxy_config::ProxyConfig;
use serde_json::Value as Json;
use traffic::{ClusterState, Router};

use crate::stats::{ServerState, Stats, Surroundings};
use operations::OPERATIONS;
pub use operations::{DrainListeners, LogLevels, Operator, Quit};
use query::Query;

/// What the admin surface shows.
#[derive(Clone, Copy, Debug)]
pub struct AdminView<'a> {
    /// Configuration in use.
    pub config: &'a ProxyConfig,
    /// Where each listener listens, by its name: with the port that the system chose where the
    /// configuration says 0.
    pub listeners: &'a BTreeMap<String, SocketAddr>,
    /// Route tables by name.
    pub routers: &'a BTreeMap<String, Arc<Router>>,
    /// Clusters by name.
    pub clusters: &'a BTreeMap<String, Arc<ClusterState>>,
    /// Counters.
    pub stats: &'a Stats,
    /// State of the proxy.
    pub state: ServerState,
    /// Clusters that wait for their first addresses or checks.
    pub warming: &'a BTreeSet<String>,
    /// Does what is asked of the proxy as a whole.
    pub operator: &'a dyn Operator,
    /// Set by `/healthcheck/fail`: `/ready` says no, whatever the state.
    pub is_failed: &'a AtomicBool,
    /// Since the proxy was started.
    pub uptime: Duration,
    /// Now, in nanoseconds since the epoch of the cluster states; also the seed of the dry pick of
    /// `/explain`.
    pub now_ns: u64,
    /// Now, in milliseconds since 1970, for how long certificates are valid.
    pub now_unix_ms: u64,
    /// Version of the binary.
    pub version: &'a str,
}

impl AdminView<'_> {
    fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            clusters: self.clusters,
            now_ns: self.now_ns,
            uptime: self.uptime,
            state: self.state,
            listeners: self.listeners.len(),
            warming: self.warming.len(),
            first_expiry_days: certificates::first_expiry_days(self.config, self.now_unix_ms),
        }
    }
}

/// Paths that read, each with what it shows.
const READS: [(&str, &str); 19] = [
    ("/", "this list, with links"),
    ("/certs", "certificates in use, with when they expire, as JSON"),
    ("/clusters", "endpoints with their counters and health (?format=json)"),
    (
        "/config_dump",
        "the configuration as JSON, private keys redacted (?resource=clusters, ?name_regex=, ?mask=)",
    ),
    ("/contention", "nothing: locks are not measured"),
    (
        "/explain",
        "why a request goes where it goes (?host=&path=, ?listener= or ?table=, ?format=json); \
         404 when no route matches",
    ),
    ("/help", "this list"),
    ("/hot_restart_version", "`disabled`: a proxy is not restarted in place"),
    ("/init_dump", "what is waited for before connections are taken, as JSON"),
    ("/listeners", "listening addresses (?format=json)"),
    ("/memory", "memory of the process in bytes, as JSON"),
    ("/metrics", "counters for Prometheus"),
    ("/ready", "200 LIVE, or 503 and the state"),
    ("/runtime", "layers of runtime values, of which there are none, as JSON"),
    ("/server_info", "version, state and uptime as JSON"),
    (
        "/stats",
        "counters (?filter=regex, ?usedonly, ?format=text|json|prometheus|html, \
         ?type=All|Counters|Gauges|Histograms, ?histogram_buckets=none|cumulative|disjoint)",
    ),
    ("/stats/html", "counters as a page to look through (?filter=regex, ?usedonly)"),
    ("/stats/prometheus", "counters for Prometheus (?filter=regex, ?usedonly)"),
    ("/stats/recentlookups", "nothing: names are looked up when configuration is read"),
];

const NO_LOOKUPS: &str = "Lookup tracking is not enabled: names of counters are looked up when \
                          configuration is read, never for a request.\n";
const NO_CONTENTION: &str = "Mutex contention tracing is not supported: requests take no locks.\n";

/// Answers an admin request. `query` is what follows the `?`, if there is one.
#[must_use]
pub fn respond(
    method: &Method,
    path: &str,
    query: Option<&str>,
    view: &AdminView<'_>,
) -> Response<Bytes> {
    if let Some((_, operation, _)) = OPERATIONS.iter().find(|it| it.0 == path) {
        if method != Method::POST {
            return not_allowed(method, "POST", "POST");
        }
        let query = Query::new(query.unwrap_or_default());
        return operations::operate(*operation, &query, view);
    }
    if !matches!(*method, Method::GET | Method::HEAD | Method::POST) {
        return not_allowed(method, "GET", "GET, HEAD");
    }
    let query = Query::new(query.unwrap_or_default());
    match path {
        "/" => pages::home(),
        "/help" => plain(StatusCode::OK, help()),
        "/ready" => pages::ready(view),
        "/stats" => statistics::respond(view, &query),
        "/stats/html" => statistics::page(view, &query),
        "/stats/prometheus" | "/metrics" => statistics::prometheus(view, &query),
        "/stats/recentlookups" => plain(StatusCode::OK, NO_LOOKUPS.to_owned()),
        "/contention" => plain(StatusCode::OK, NO_CONTENTION.to_owned()),
        "/certs" => certificates::respond(view),
        "/init_dump" => dump::unready(view),
        "/runtime" => json(&serde_json::json!({ "layers": [], "entries": {} })),
        "/clusters" => clusters::respond(view, &query),
        "/listeners" => pages::listeners(view, &query),
        "/config_dump" => dump::respond(view, &query),
        "/server_info" => pages::server_info(view),
        "/memory" => pages::memory(),
        "/hot_restart_version" => plain(StatusCode::OK, "disabled\n".to_owned()),
        "/explain" => explain::respond(view, &query),
        _ => {
            let text = format!("invalid path. admin commands are:\n{}", help());
            plain(StatusCode::NOT_FOUND, text)
        }
    }
}

/// Everything that there is: path and what it is for.
fn entries() -> impl Iterator<Item = (&'static str, &'static str)> {
    READS.into_iter().chain(OPERATIONS.map(|(path, _, does)| (path, does)))
}

fn help() -> String {
    entries().map(|(path, is)| format!("  {path}: {is}\n")).collect()
}

/// Envoy's words and status (source/server/admin/admin.cc).
fn not_allowed(method: &Method, required: &str, allowed: &'static str) -> Response<Bytes> {
    let text = format!("Method {method} not allowed, {required} required.");
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, text);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn plain(status: StatusCode, body: String) -> Response<Bytes> {
    answer(status, "text/plain; charset=UTF-8", body)
}

/// Indented, for people read it.
fn json(value: &Json) -> Response<Bytes> {
    json_with(StatusCode::OK, value)
}

fn json_with(status: StatusCode, value: &Json) -> Response<Bytes> {
    answer(status, "application/json", format!("{value:#}\n"))
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, max-age=0"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests;
