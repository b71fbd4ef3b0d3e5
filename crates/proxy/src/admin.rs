//! The admin surface of a proxy: Envoy's paths, and `/explain`.
//!
//! [`respond`] is a function of the request and a view of the proxy: it opens no sockets, reads no
//! clock and changes nothing but what an [`Operation`] is about.

mod clusters;
mod explain;
mod pages;
mod query;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};
use proxy_config::ProxyConfig;
use serde_json::Value as Json;
use traffic::{ClusterState, Router};

use crate::stats::{ServerState, Stats, Surroundings};
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
    /// Set by `/healthcheck/fail`: `/ready` says no, whatever the state.
    pub is_failed: &'a AtomicBool,
    /// Since the proxy was started.
    pub uptime: Duration,
    /// Now, in nanoseconds since the epoch of the cluster states; also the seed of the dry pick of
    /// `/explain`.
    pub now_ns: u64,
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
        }
    }
}

/// Paths that read, each with what it shows.
const READS: [(&str, &str); 13] = [
    ("/", "this list, with links"),
    ("/clusters", "endpoints with their counters and health (?format=json)"),
    ("/config_dump", "the configuration as JSON, private keys redacted (?resource=clusters)"),
    (
        "/explain",
        "why a request goes where it goes (?host=&path=, ?listener= or ?table=, ?format=json); \
         404 when no route matches",
    ),
    ("/help", "this list"),
    ("/hot_restart_version", "`disabled`: a proxy is not restarted in place"),
    ("/listeners", "listening addresses (?format=json)"),
    ("/memory", "memory of the process in bytes, as JSON"),
    ("/metrics", "counters for Prometheus"),
    ("/ready", "200 LIVE, or 503 and the state"),
    ("/server_info", "version, state and uptime as JSON"),
    ("/stats", "counters (?filter=regex, ?usedonly, ?format=text|json|prometheus)"),
    ("/stats/prometheus", "counters for Prometheus (?filter=regex, ?usedonly)"),
];

/// What changes something, and is asked for with `POST`. Envoy has more: here the control plane drains and stops a
/// proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operation {
    FailHealthcheck,
    PassHealthcheck,
}

/// Paths of the operations, each with what it does.
const OPERATIONS: [(&str, Operation, &str); 2] = [
    ("/healthcheck/fail", Operation::FailHealthcheck, "makes /ready say 503 (POST)"),
    ("/healthcheck/ok", Operation::PassHealthcheck, "undoes /healthcheck/fail (POST)"),
];

/// Answers an admin request. `query` is what follows the `?`, if there is one.
#[must_use]
pub fn respond(
    method: &Method,
    path: &str,
    query: Option<&str>,
    view: &AdminView<'_>,
) -> Response<Bytes> {
    if let Some((_, operation, _)) = OPERATIONS.iter().find(|it| it.0 == path) {
        return operate(*operation, method, view);
    }
    if !matches!(*method, Method::GET | Method::HEAD | Method::POST) {
        return not_allowed(method, "GET", "GET, HEAD");
    }
    let query = Query::new(query.unwrap_or_default());
    match path {
        "/" => pages::home(),
        "/help" => plain(StatusCode::OK, help()),
        "/ready" => pages::ready(view),
        "/stats" => pages::stats(view, &query),
        "/stats/prometheus" | "/metrics" => pages::prometheus(view, &query),
        "/clusters" => clusters::respond(view, &query),
        "/listeners" => pages::listeners(view, &query),
        "/config_dump" => pages::config_dump(view, &query),
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

fn operate(operation: Operation, method: &Method, view: &AdminView<'_>) -> Response<Bytes> {
    if method != Method::POST {
        return not_allowed(method, "POST", "POST");
    }
    let is_failed = match operation {
        Operation::FailHealthcheck => true,
        Operation::PassHealthcheck => false,
    };
    if view.is_failed.swap(is_failed, Ordering::Relaxed) != is_failed {
        tracing::info!(is_failed, "readiness was set by the admin surface");
    }
    plain(StatusCode::OK, "OK\n".to_owned())
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
