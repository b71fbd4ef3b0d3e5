use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value as Json, json};

use super::query::Query;
use super::{AdminView, OPERATIONS, READS, answer, json as json_answer, plain};
use crate::stats::{self, ServerState};

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
    let Some(memory) = stats::memory() else {
        let text = "the kernel does not say how much memory is used\n";
        return plain(StatusCode::SERVICE_UNAVAILABLE, text.to_owned());
    };
    // Numbers of 64 bits are strings in Protobuf's JSON.
    json_answer(&json!({
        "allocated": memory.allocated_bytes.to_string(),
        "heap_size": memory.heap_bytes.to_string(),
        "pageheap_unmapped": "0",
        "pageheap_free": "0",
        "total_thread_cache": "0",
        "total_physical_bytes": memory.resident_bytes.to_string(),
    }))
}
