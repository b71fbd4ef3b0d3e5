use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{Response, StatusCode};
use regex::{Regex, RegexBuilder};
use serde_json::{Value as Json, json};

use super::query::Query;
use super::{AdminView, OPERATIONS, READS, answer, json as json_answer, plain};
use crate::stats::{self, Metric, ServerState};

/// Bytes of a compiled filter: some thousands of states, far more than a list of names needs.
const FILTER_BYTES_MAX: usize = 1 << 20;

/// The list of paths, with links.
pub(super) fn home() -> Response<Bytes> {
    let link = |(path, shows): (&str, &str)| {
        let href = path.trim_start_matches('/');
        let shows = shows.replace('&', "&amp;");
        format!("<li><a href=\"{href}\">{path}</a>: {shows}</li>\n")
    };
    let operation = |(path, _, does)| format!("<li>{path}: {does}</li>\n");
    let items: String =
        READS.into_iter().map(link).chain(OPERATIONS.into_iter().map(operation)).collect();
    let body = format!(
        "<!doctype html>\n<title>Leno proxy</title>\n<h1>Leno proxy</h1>\n<ul>\n{items}</ul>\n"
    );
    answer(StatusCode::OK, "text/html; charset=UTF-8", body)
}

pub(super) fn ready(view: &AdminView<'_>) -> Response<Bytes> {
    if view.is_failed.load(Ordering::Relaxed) {
        let text = "failed by POST /healthcheck/fail\n";
        return plain(StatusCode::SERVICE_UNAVAILABLE, text.to_owned());
    }
    let status = match view.state {
        ServerState::Live => StatusCode::OK,
        ServerState::Draining | ServerState::PreInitializing | ServerState::Initializing => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    plain(status, format!("{}\n", view.state.as_str()))
}

pub(super) fn stats(view: &AdminView<'_>, query: &Query) -> Response<Bytes> {
    let metrics = match wanted(view, query) {
        Ok(metrics) => metrics,
        Err(refusal) => return *refusal,
    };
    match query.get("format").unwrap_or("text") {
        "text" => plain(StatusCode::OK, stats::text(&metrics)),
        "json" => json_answer(&stats::to_json(&metrics)),
        "prometheus" => exposition(&metrics),
        _ => {
            let text = "usage: /stats?format=text|json|prometheus\n";
            plain(StatusCode::BAD_REQUEST, text.to_owned())
        }
    }
}

pub(super) fn prometheus(view: &AdminView<'_>, query: &Query) -> Response<Bytes> {
    match wanted(view, query) {
        Ok(metrics) => exposition(&metrics),
        Err(refusal) => *refusal,
    }
}

fn exposition(metrics: &[Metric]) -> Response<Bytes> {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    answer(StatusCode::OK, content_type, stats::prometheus(metrics))
}

/// The metrics that `filter` and `usedonly` leave. A metric without a name of Envoy's is matched by
/// its family.
fn wanted(view: &AdminView<'_>, query: &Query) -> Result<Vec<Metric>, Box<Response<Bytes>>> {
    let filter: Option<Regex> = match query.get("filter").filter(|it| !it.is_empty()) {
        None => None,
        Some(filter) => match RegexBuilder::new(filter).size_limit(FILTER_BYTES_MAX).build() {
            Ok(filter) => Some(filter),
            Err(error) => {
                let text = format!("Invalid regex: {error}\n");
                return Err(Box::new(plain(StatusCode::BAD_REQUEST, text)));
            }
        },
    };
    let used_only = query.has("usedonly");
    let mut metrics = view.stats.read(view.surroundings());
    metrics.retain(|metric| {
        let name = if metric.name.is_empty() { metric.family } else { &metric.name };
        filter.as_ref().is_none_or(|filter| filter.is_match(name))
            && !(used_only && metric.value.is_unused())
    });
    Ok(metrics)
}

pub(super) fn listeners(view: &AdminView<'_>, query: &Query) -> Response<Bytes> {
    if query.wants_json() {
        let statuses: Vec<Json> = view
            .listeners
            .iter()
            .map(|(name, address)| {
                let socket_address =
                    json!({ "address": address.ip().to_string(), "port_value": address.port() });
                json!({ "name": name, "local_address": { "socket_address": socket_address } })
            })
            .collect();
        return json_answer(&json!({ "listener_statuses": statuses }));
    }
    let lines: String =
        view.listeners.iter().map(|(name, address)| format!("{name}::{address}\n")).collect();
    plain(StatusCode::OK, lines)
}

/// The whole configuration, or the part that `resource` names.
pub(super) fn config_dump(view: &AdminView<'_>, query: &Query) -> Response<Bytes> {
    let mut dump = serde_json::to_value(view.config).expect("a configuration has string keys only");
    if let Some(secrets) = dump.get_mut("secrets").and_then(Json::as_object_mut) {
        for secret in secrets.values_mut() {
            secret["private_key"] = json!("[redacted]");
        }
    }
    match query.get("resource") {
        None => json_answer(&dump),
        Some(resource) => match dump.get(resource) {
            Some(part) => json_answer(&json!({ resource: part })),
            None => plain(StatusCode::NOT_FOUND, format!("there is no resource {resource}\n")),
        },
    }
}

pub(super) fn server_info(view: &AdminView<'_>) -> Response<Bytes> {
    let uptime = format!("{}s", view.uptime.as_secs());
    json_answer(&json!({
        "version": view.version,
        "state": view.state.as_str(),
        "hot_restart_version": "disabled",
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "command_line_options": { "concurrency": view.stats.workers() },
        "config_revision": view.config.revision,
    }))
}

/// Envoy's `/memory`. The kernel knows what is resident, not what the allocator has handed out: that is taken to be
/// what is resident and of no file.
pub(super) fn memory() -> Response<Bytes> {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        let text = "the kernel does not say how much memory is used\n";
        return plain(StatusCode::SERVICE_UNAVAILABLE, text.to_owned());
    };
    let bytes = |name: &str| -> u64 {
        let line = status.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|it| it.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    };
    // Numbers of 64 bits are strings in Protobuf's JSON.
    json_answer(&json!({
        "allocated": bytes("RssAnon").to_string(),
        "heap_size": bytes("VmData").to_string(),
        "pageheap_unmapped": "0",
        "pageheap_free": "0",
        "total_thread_cache": "0",
        "total_physical_bytes": bytes("VmRSS").to_string(),
    }))
}
