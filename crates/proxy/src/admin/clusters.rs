use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use proxy_config::{Endpoint, EndpointHealth, Locality, Place};
use serde_json::{Value as Json, json};
use traffic::{ClusterState, EndpointState, RateKind};

use super::query::Query;
use super::{AdminView, plain};

/// Envoy's `/clusters`.
pub(super) fn respond(view: &AdminView<'_>, query: &Query) -> Response<Bytes> {
    if query.wants_json() {
        let statuses: Vec<Json> =
            view.clusters.values().map(|cluster| cluster_json(cluster, view)).collect();
        return super::json(&json!({ "cluster_statuses": statuses }));
    }
    let mut text = String::new();
    for cluster in view.clusters.values() {
        cluster_text(&mut text, cluster, view);
    }
    plain(StatusCode::OK, text)
}

fn cluster_text(text: &mut String, cluster: &ClusterState, view: &AdminView<'_>) {
    let (name, now_ns) = (cluster.name(), view.now_ns);
    let localities = localities(view, cluster);
    line(text, name, "observability_name", name);
    line(text, name, "added_via_api", if is_dynamic(cluster) { "true" } else { "false" });
    line(text, name, "balancing", cluster.cluster().balancing.as_str());
    limits_text(text, cluster);
    for (endpoint, state) in cluster.endpoints() {
        let place = format!("{name}::{}", state.address());
        for Number { name, value, .. } in numbers(state) {
            line(text, &place, name, &value.to_string());
        }
        line(text, &place, "hostname", hostname(endpoint, state));
        let flags = state.health_flags(endpoint.health, now_ns).to_string();
        line(text, &place, "health_flags", &flags);
        line(text, &place, "weight", &endpoint.weight.to_string());
        let (locality, priority) = locality(localities, endpoint);
        let Place { region, zone, sub_zone } = locality;
        for (name, value) in [("region", region), ("zone", zone), ("sub_zone", sub_zone)] {
            line(text, &place, name, &value);
        }
        line(text, &place, "canary", "false");
        line(text, &place, "priority", &priority.to_string());
        line(text, &place, "success_rate", &success_rate(state, RateKind::External));
        let local = success_rate(state, RateKind::LocalOrigin);
        line(text, &place, "local_origin_success_rate", &local);
        line(text, &place, "id", state.id());
    }
}

/// What the cluster allows, and what its success rates were compared with.
fn limits_text(text: &mut String, cluster: &ClusterState) {
    let name = cluster.name();
    let config = cluster.cluster();
    for (priority, limits) in [("default", &config.breakers), ("high", &config.high_breakers)] {
        let place = format!("{name}::{priority}_priority");
        for (name, value) in [
            ("max_connections", limits.connections_max),
            ("max_pending_requests", limits.pending_max),
            ("max_requests", limits.requests_max),
            ("max_retries", limits.retries_max),
        ] {
            line(text, &place, name, &value.to_string());
        }
    }
    for (kind, prefix) in
        [(RateKind::External, "outlier"), (RateKind::LocalOrigin, "outlier::local_origin")]
    {
        let summary = cluster.success_rates(kind);
        let number = |it: Option<f64>| it.map_or_else(|| "-1".to_owned(), |it| it.to_string());
        let place = format!("{name}::{prefix}");
        line(text, &place, "success_rate_average", &number(summary.map(|it| it.mean)));
        let threshold = number(summary.map(|it| it.threshold));
        line(text, &place, "success_rate_ejection_threshold", &threshold);
    }
}

fn localities<'a>(view: &AdminView<'a>, cluster: &ClusterState) -> &'a [Locality] {
    view.config.endpoints.get(cluster.name()).map_or(&[], |it| &it.localities)
}

fn locality(localities: &[Locality], endpoint: &Endpoint) -> (Place, u32) {
    let locality = localities.get(usize::from(endpoint.locality));
    locality.map_or_else(Default::default, |it| (it.place.clone(), it.priority))
}

/// Envoy's number for "too few requests to say" is -1.
fn success_rate(state: &EndpointState, kind: RateKind) -> String {
    state.outlier().success_rate(kind).map_or_else(|| "-1".to_owned(), |it| it.to_string())
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

fn hostname<'a>(endpoint: &'a Endpoint, state: &'a EndpointState) -> &'a str {
    match &endpoint.hostname {
        it if !it.is_empty() => it,
        _ if state.socket_address().is_some() => "",
        _ => state.host(),
    }
}

fn cluster_json(cluster: &ClusterState, view: &AdminView<'_>) -> Json {
    let (localities, now_ns) = (localities(view, cluster), view.now_ns);
    let hosts: Vec<Json> =
        cluster.endpoints().map(|it| host_json(it, localities, now_ns)).collect();
    json!({
        "name": cluster.name(),
        "observability_name": cluster.name(),
        "added_via_api": is_dynamic(cluster),
        "host_statuses": hosts,
    })
}

/// It comes from the registry, and not from a file.
fn is_dynamic(cluster: &ClusterState) -> bool {
    !cluster.cluster().source.is_in_file()
}

fn host_json(
    (endpoint, state): (&Endpoint, &Arc<EndpointState>),
    localities: &[Locality],
    now_ns: u64,
) -> Json {
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
    let mut health_status = json!({ "eds_health_status": eds_health_status });
    // As Protobuf's JSON does it, what is false is left out; the flag of the checks has always been there.
    for (is_set, name) in state.health_flags(endpoint.health, now_ns).names() {
        let is_of_configuration = name.contains("eds_");
        if !is_of_configuration && (is_set || name == "failed_outlier_check") {
            health_status[name] = json!(is_set);
        }
    }
    let (place, priority) = locality(localities, endpoint);
    json!({
        "address": { "socket_address": { "address": state.host(), "port_value": state.port() } },
        "stats": stats,
        "health_status": health_status,
        "weight": endpoint.weight,
        "hostname": hostname(endpoint, state),
        "priority": priority,
        "locality": { "region": place.region, "zone": place.zone, "sub_zone": place.sub_zone },
    })
}
