//! The admin surface of a proxy: Envoy's paths, and `/explain`.
//!
//! [`respond`] is a function of the request and a view of the proxy: it opens no sockets, reads no
//! clock and changes nothing. Operations that change something are known by name, so that a `GET`
//! on one is refused as Envoy does.

mod clusters;
mod pages;
mod query;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
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
const READS: [(&str, &str); 12] = [
    ("/", "this list, with links"),
    ("/clusters", "endpoints with their counters and health (?format=json)"),
    ("/config_dump", "the configuration as JSON, private keys redacted (?resource=clusters)"),
    ("/explain", "why a request goes where it goes (?host=&path=, ?table=, ?format=json)"),
    ("/help", "this list"),
    ("/hot_restart_version", "`disabled`: a proxy is not restarted in place"),
    ("/listeners", "listening addresses (?format=json)"),
    ("/metrics", "counters for Prometheus"),
    ("/ready", "200 LIVE, or 503 and the state"),
    ("/server_info", "version, state and uptime as JSON"),
    ("/stats", "counters (?filter=regex, ?usedonly, ?format=text|json|prometheus)"),
    ("/stats/prometheus", "counters for Prometheus (?filter=regex, ?usedonly)"),
];

/// Envoy's paths that change something. None is offered here: the control plane drains and stops a
/// proxy.
const MUTATIONS: [&str; 10] = [
    "/cpuprofiler",
    "/drain_listeners",
    "/healthcheck/fail",
    "/healthcheck/ok",
    "/heapprofiler",
    "/logging",
    "/quitquitquit",
    "/reopen_logs",
    "/reset_counters",
    "/runtime_modify",
];

/// Answers an admin request. `query` is what follows the `?`, if there is one.
#[must_use]
pub fn respond(
    method: &Method,
    path: &str,
    query: Option<&str>,
    view: &AdminView<'_>,
) -> Response<Bytes> {
    if MUTATIONS.contains(&path) {
        return refuse_mutation(method);
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
        "/hot_restart_version" => plain(StatusCode::OK, "disabled\n".to_owned()),
        "/explain" => pages::explain(view, &query),
        _ => {
            let text = format!("invalid path. admin commands are:\n{}", help());
            plain(StatusCode::NOT_FOUND, text)
        }
    }
}

fn help() -> String {
    READS.iter().map(|(path, shows)| format!("  {path}: {shows}\n")).collect()
}

fn refuse_mutation(method: &Method) -> Response<Bytes> {
    if method == Method::POST {
        let text = "this proxy is drained and stopped by its control plane\n";
        return plain(StatusCode::NOT_IMPLEMENTED, text.to_owned());
    }
    not_allowed(method, "POST", "POST")
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
    answer(StatusCode::OK, "application/json", format!("{value:#}\n"))
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
