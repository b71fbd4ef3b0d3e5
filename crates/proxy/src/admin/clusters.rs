use std::fmt::Write;

use bytes::Bytes;
use http::{Response, StatusCode};
use proxy_config::{Endpoint, EndpointHealth};
use serde_json::{Value as Json, json};
use traffic::{ClusterState, EndpointState};

use super::query::Query;
use super::{AdminView, plain};

/// Envoy's `/clusters`.
pub(super) fn respond(view: &AdminView<'_>, query: &Query) -> Response<Bytes> {
    if query.wants_json() {
        let statuses: Vec<Json> =
            view.clusters.values().map(|cluster| cluster_json(cluster, view.now_ns)).collect();
        return super::json(&json!({ "cluster_statuses": statuses }));
    }
    let mut text = String::new();
    for cluster in view.clusters.values() {
        cluster_text(&mut text, cluster, view.now_ns);
    }
    plain(StatusCode::OK, text)
}

fn cluster_text(text: &mut String, cluster: &ClusterState, now_ns: u64) {
    let name = cluster.name();
    line(text, name, "observability_name", name);
    line(text, name, "added_via_api", "true");
    line(text, name, "balancing", cluster.cluster().balancing.as_str());
    for (endpoint, state) in cluster.endpoints() {
        let place = format!("{name}::{}", state.address());
        for Number { name, value, .. } in numbers(state) {
            line(text, &place, name, &value.to_string());
        }
        line(text, &place, "hostname", hostname(state));
        line(text, &place, "health_flags", &health_flags(endpoint, state, now_ns));
        line(text, &place, "weight", &endpoint.weight.to_string());
        for name in ["region", "zone", "sub_zone"] {
            line(text, &place, name, "");
        }
        line(text, &place, "canary", "false");
        line(text, &place, "priority", "0");
        // Envoy's number for "too few requests to say"; success rates are not judged here.
        line(text, &place, "success_rate", "-1");
        line(text, &place, "local_origin_success_rate", "-1");
        line(text, &place, "id", state.id());
    }
}

fn line(text: &mut String, place: &str, name: &str, value: &str) {
    writeln!(text, "{place}::{name}::{value}").expect("writing to a String does not fail");
}

struct Number {
    name: &'static str,
    is_gauge: bool,
    value: u64,
}

/// In Envoy's order.
fn numbers(state: &EndpointState) -> [Number; 8] {
    use std::sync::atomic::Ordering::Relaxed;
    let it = state.counters();
    let number = |name, is_gauge, value| Number { name, is_gauge, value };
    [
        number("cx_active", true, it.cx_active.load(Relaxed)),
        number("cx_connect_fail", false, it.cx_connect_fail.load(Relaxed)),
        number("cx_total", false, it.cx_total.load(Relaxed)),
        number("rq_active", true, u64::from(state.active())),
        number("rq_error", false, it.rq_error.load(Relaxed)),
        number("rq_success", false, it.rq_success.load(Relaxed)),
        number("rq_timeout", false, it.rq_timeout.load(Relaxed)),
        number("rq_total", false, it.rq_total.load(Relaxed)),
    ]
}

fn hostname(state: &EndpointState) -> &str {
    if state.socket_address().is_some() { "" } else { state.host() }
}

fn health_flags(endpoint: &Endpoint, state: &EndpointState, now_ns: u64) -> String {
    let mut flags = String::new();
    if state.is_ejected(now_ns) {
        flags.push_str("/failed_outlier_check");
    }
    match endpoint.health {
        EndpointHealth::Healthy => {}
        EndpointHealth::Degraded => flags.push_str("/degraded_eds_health"),
        EndpointHealth::Draining => flags.push_str("/eds_status_draining"),
        EndpointHealth::Unhealthy => flags.push_str("/failed_eds_health"),
    }
    if flags.is_empty() { "healthy".to_owned() } else { flags }
}

fn cluster_json(cluster: &ClusterState, now_ns: u64) -> Json {
    let hosts: Vec<Json> =
        cluster.endpoints().map(|(endpoint, state)| host_json(endpoint, state, now_ns)).collect();
    json!({
        "name": cluster.name(),
        "observability_name": cluster.name(),
        "added_via_api": true,
        "host_statuses": hosts,
    })
}

fn host_json(endpoint: &Endpoint, state: &EndpointState, now_ns: u64) -> Json {
    let stats: Vec<Json> = numbers(state)
        .into_iter()
        // Numbers of 64 bits are strings in Protobuf's JSON.
        .map(|Number { name, is_gauge, value }| {
            let kind = if is_gauge { "GAUGE" } else { "COUNTER" };
            json!({ "type": kind, "name": name, "value": value.to_string() })
        })
        .collect();
    let eds_health_status = match endpoint.health {
        EndpointHealth::Healthy => "HEALTHY",
        EndpointHealth::Degraded => "DEGRADED",
        EndpointHealth::Draining => "DRAINING",
        EndpointHealth::Unhealthy => "UNHEALTHY",
    };
    json!({
        "address": { "socket_address": { "address": state.host(), "port_value": state.port() } },
        "stats": stats,
        "health_status": {
            "eds_health_status": eds_health_status,
            "failed_outlier_check": state.is_ejected(now_ns),
        },
        "weight": endpoint.weight,
        "hostname": hostname(state),
        "priority": 0,
        "locality": {},
    })
}
