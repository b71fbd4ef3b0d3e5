//! Counters of all workers put together, under their names.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;

use proxy_config::RoutingPriority;
use rustls::CipherSuite;
use traffic::{Breaker, CheckedHealth, ClusterState, OutlierDetector};

use super::counters::{Field, Kind};
use super::{
    ClusterCounters, ClusterManagerCounters, Counter, Distribution, HttpCounters, ListenerCounters,
    ListenerManagerCounters, MeshCounters, MeshLabels, Metric, SeriesTable, ServerState, Sharded,
    Stats, Surroundings, TcpCounters, UpdateCounters, Value, memory,
};

/// Of the whole process.
pub(super) fn server(workers: usize, surroundings: Surroundings<'_>, metrics: &mut Vec<Metric>) {
    let mut gauge = |name: &str, value| {
        let family = format!("envoy_server_{name}").into();
        let name = format!("server.{name}");
        metrics.push(Metric { family, labels: Vec::new(), name, value: Value::Gauge(value) });
    };
    let is_live = surroundings.state == ServerState::Live;
    gauge("live", u64::from(is_live));
    gauge("uptime", surroundings.uptime.as_secs());
    gauge("concurrency", workers as u64);
    gauge("state", surroundings.state as u64);
    if let Some(memory) = memory() {
        gauge("memory_allocated", memory.allocated_bytes);
        gauge("memory_heap_size", memory.heap_bytes);
        gauge("memory_physical_size", memory.resident_bytes);
    }
    // Envoy's number for "there is none".
    let days = surroundings.first_expiry_days.unwrap_or(u64::from(u32::MAX));
    gauge("days_until_first_cert_expiring", days);
}

/// Connections of clients over all listeners.
pub(super) fn connections<'a>(
    listeners: impl Iterator<Item = &'a Sharded<ListenerCounters>>,
    metrics: &mut Vec<Metric>,
) {
    let open = listeners
        .map(|it| it.sum(|shard| shard.downstream_cx_active.get()))
        .fold(0, u64::wrapping_add);
    metrics.push(Metric {
        family: "envoy_server_total_connections".into(),
        labels: Vec::new(),
        name: "server.total_connections".to_owned(),
        value: Value::Gauge(open),
    });
}

/// Of clusters and listeners as a whole.
pub(super) fn managers(stats: &Stats, surroundings: Surroundings<'_>, metrics: &mut Vec<Metric>) {
    let mut push = |family: &str, value| {
        let name = family.replacen("_manager_", "_manager.", 1);
        let family = format!("envoy_{family}").into();
        metrics.push(Metric { family, labels: Vec::new(), name, value });
    };
    let warming = surroundings.warming;
    let clusters = surroundings.clusters.len();
    push(
        "cluster_manager_active_clusters",
        Value::Gauge((clusters - warming.min(clusters)) as u64),
    );
    push("cluster_manager_warming_clusters", Value::Gauge(warming as u64));
    let listeners = surroundings.listeners as u64;
    push("listener_manager_total_listeners_active", Value::Gauge(listeners));
    let is_started =
        !matches!(surroundings.state, ServerState::Initializing | ServerState::PreInitializing);
    push("listener_manager_workers_started", Value::Gauge(u64::from(is_started)));
    for field in ClusterManagerCounters::FIELDS {
        let family = format!("cluster_manager_{}", field.name);
        push(&family, Value::Counter(stats.clusters.sum(field.read)));
    }
    for field in ListenerManagerCounters::FIELDS {
        let family = format!("listener_manager_{}", field.name);
        push(&family, Value::Counter(stats.listeners.sum(field.read)));
    }
}

/// What is a scope of its own in the text form.
const SCOPES: &[(&str, &str)] = &[
    ("ssl_", "ssl"),
    ("local_rate_limit_", "http_local_rate_limiter"),
    ("fault_", "fault"),
    ("adaptive_concurrency_", "adaptive_concurrency"),
];

/// One group of counters with the names and labels that are common to it.
struct Group<'a> {
    prefix: String,
    label: (&'static str, &'a str),
    metrics: &'a mut Vec<Metric>,
}

impl Group<'_> {
    fn fields<T: Default>(&mut self, fields: &[Field<T>], shards: &Sharded<T>) {
        for field in fields {
            let value = shards.sum(field.read);
            let value = match field.kind {
                Kind::Counter => Value::Counter(value),
                Kind::Gauge => Value::Gauge(value),
            };
            let scope = SCOPES
                .iter()
                .find_map(|(prefix, scope)| Some((field.name.strip_prefix(prefix)?, *scope)));
            match scope {
                Some((name, scope)) => {
                    self.push(field.family, &format!("{scope}.{name}"), None, value);
                }
                None => self.push(field.family, field.name, None, value),
            }
        }
    }

    fn classes<T: Default>(
        &mut self,
        family: &'static str,
        stem: &str,
        shards: &Sharded<T>,
        classes: impl Fn(&T) -> &[Counter; 5],
    ) {
        for class in 1..=5 {
            let value = shards.sum(|shard| classes(shard)[class - 1].get());
            let label = ("envoy_response_code_class", class.to_string());
            self.push(family, &format!("{stem}_{class}xx"), Some(label), Value::Counter(value));
        }
    }

    fn push(
        &mut self,
        family: impl Into<Cow<'static, str>>,
        name: &str,
        label: Option<(&'static str, String)>,
        value: Value,
    ) {
        let family = family.into();
        let common = (self.label.0, self.label.1.to_owned());
        let labels = label.into_iter().chain([common]).collect();
        let name = format!("{}.{name}", self.prefix);
        self.metrics.push(Metric { family, labels, name, value });
    }
}

pub(super) fn cluster(name: &str, shards: &Sharded<ClusterCounters>, metrics: &mut Vec<Metric>) {
    let label = ("envoy_cluster_name", name);
    let mut group = Group { prefix: format!("cluster.{name}"), label, metrics };
    group.fields(ClusterCounters::FIELDS, shards);
    let family = "envoy_cluster_upstream_rq_xx";
    group.classes(family, "upstream_rq", shards, |shard| &shard.upstream_rq_xx);
    let mut codes: BTreeMap<u64, u64> = BTreeMap::new();
    for (code, count) in shards.iter().flat_map(|shard| shard.upstream_rq.iter()) {
        *codes.entry(code).or_default() += count.get();
    }
    for (code, count) in codes.into_iter().filter(|(_, count)| *count > 0) {
        let code = match code {
            SeriesTable::<Counter>::OVERFLOW => "unknown".to_owned(),
            code => code.to_string(),
        };
        let name = format!("upstream_rq_{code}");
        let label = Some(("envoy_response_code", code));
        group.push("envoy_cluster_upstream_rq", &name, label, Value::Counter(count));
    }
    let time = shards.distribution(|shard| &shard.upstream_rq_time);
    let value = Value::Histogram(Box::new(time));
    group.push("envoy_cluster_upstream_rq_time", "upstream_rq_time", None, value);
}

/// Of the control thread.
pub(super) fn updates(name: &str, shards: &Sharded<UpdateCounters>, metrics: &mut Vec<Metric>) {
    let label = ("envoy_cluster_name", name);
    let mut group = Group { prefix: format!("cluster.{name}"), label, metrics };
    group.fields(UpdateCounters::FIELDS, shards);
}

/// What `traffic` knows of a cluster.
pub(super) fn members(state: &ClusterState, now_ns: u64, metrics: &mut Vec<Metric>) {
    let name = state.name();
    let label = ("envoy_cluster_name", name);
    let mut group = Group { prefix: format!("cluster.{name}"), label, metrics };
    let mut push = |name: &str, value| {
        let family = format!("envoy_cluster_{}", name.replace('.', "_"));
        group.push(family, name, None, value);
    };
    let members = Members::of(state, now_ns);
    push("membership_total", Value::Gauge(members.total));
    push("membership_healthy", Value::Gauge(members.healthy));
    push("membership_degraded", Value::Gauge(members.degraded));
    push("membership_excluded", Value::Gauge(members.excluded));
    for priority in [RoutingPriority::Default, RoutingPriority::High] {
        let place = match priority {
            RoutingPriority::Default => "circuit_breakers.default",
            RoutingPriority::High => "circuit_breakers.high",
        };
        for breaker in Breaker::ALL {
            let level = state.breaker(priority, breaker);
            let is_open = Value::Gauge(u64::from(level.is_open()));
            push(&format!("{place}.{}", breaker.open_name()), is_open);
            let remaining = Value::Gauge(u64::from(level.remaining()));
            push(&format!("{place}.{}", breaker.remaining_name()), remaining);
        }
    }
    outliers(state, now_ns, &mut push);
    if !state.cluster().health_checks.is_empty() {
        checks(state, &members, &mut push);
    }
}

/// How many endpoints are what.
#[derive(Default)]
struct Members {
    total: u64,
    /// Well and not ejected.
    healthy: u64,
    degraded: u64,
    excluded: u64,
    /// By the checks alone.
    checked_healthy: u64,
    checked_degraded: u64,
}

impl Members {
    fn of(state: &ClusterState, now_ns: u64) -> Self {
        let mut members = Self::default();
        let ignores_unchecked = state.cluster().narrowing.ignore_unchecked;
        for (endpoint, it) in state.endpoints() {
            members.total += 1;
            let checked = it.check().health();
            members.checked_healthy += u64::from(checked == CheckedHealth::Healthy);
            members.checked_degraded += u64::from(checked == CheckedHealth::Degraded);
            let is_ejected = it.is_ejected(now_ns);
            match it.health(endpoint.health) {
                CheckedHealth::Healthy if !is_ejected => members.healthy += 1,
                CheckedHealth::Degraded if !is_ejected => members.degraded += 1,
                CheckedHealth::Pending if ignores_unchecked => members.excluded += 1,
                CheckedHealth::Healthy
                | CheckedHealth::Degraded
                | CheckedHealth::Pending
                | CheckedHealth::Unhealthy => {}
            }
        }
        members
    }
}

fn outliers(state: &ClusterState, now_ns: u64, push: &mut impl FnMut(&str, Value)) {
    let ejected = state.ejected_count(now_ns) as u64;
    push("outlier_detection.ejections_active", Value::Gauge(ejected));
    let total = state.ejections_total();
    push("outlier_detection.ejections_enforced_total", Value::Counter(total));
    push("outlier_detection.ejections_total", Value::Counter(total));
    let overflow = Value::Counter(state.ejections_overflow());
    push("outlier_detection.ejections_overflow", overflow);
    for detector in OutlierDetector::ALL {
        let count = state.outlier_count(detector);
        let name = detector.as_str();
        let detected = format!("outlier_detection.ejections_detected_{name}");
        push(&detected, Value::Counter(count.detected));
        let enforced = format!("outlier_detection.ejections_enforced_{name}");
        push(&enforced, Value::Counter(count.enforced));
    }
}

fn checks(state: &ClusterState, members: &Members, push: &mut impl FnMut(&str, Value)) {
    let counters = state.check_counters();
    for (name, counter) in [
        ("attempt", &counters.attempt),
        ("success", &counters.success),
        ("failure", &counters.failure),
        ("passive_failure", &counters.passive_failure),
        ("network_failure", &counters.network_failure),
    ] {
        push(&format!("health_check.{name}"), Value::Counter(counter.load(Relaxed)));
    }
    push("health_check.healthy", Value::Gauge(members.checked_healthy));
    push("health_check.degraded", Value::Gauge(members.checked_degraded));
}

pub(super) fn http(prefix: &str, shards: &Sharded<HttpCounters>, metrics: &mut Vec<Metric>) {
    let label = ("envoy_http_conn_manager_prefix", prefix);
    let mut group = Group { prefix: format!("http.{prefix}"), label, metrics };
    group.fields(HttpCounters::FIELDS, shards);
    let family = "envoy_http_downstream_rq_xx";
    group.classes(family, "downstream_rq", shards, |shard| &shard.downstream_rq_xx);
    let time = shards.distribution(|shard| &shard.downstream_rq_time);
    let value = Value::Histogram(Box::new(time));
    group.push("envoy_http_downstream_rq_time", "downstream_rq_time", None, value);
    let length = shards.distribution(|shard| &shard.downstream_cx_length_ms);
    let value = Value::Histogram(Box::new(length));
    group.push("envoy_http_downstream_cx_length_ms", "downstream_cx_length_ms", None, value);
}

pub(super) fn tcp(prefix: &str, shards: &Sharded<TcpCounters>, metrics: &mut Vec<Metric>) {
    let label = ("envoy_tcp_prefix", prefix);
    let mut group = Group { prefix: format!("tcp.{prefix}"), label, metrics };
    group.fields(TcpCounters::FIELDS, shards);
}

pub(super) fn listener(
    address: SocketAddr,
    shards: &Sharded<ListenerCounters>,
    metrics: &mut Vec<Metric>,
) {
    // As Envoy does: a colon would end the name in the text form.
    let address = address.to_string().replace(':', "_");
    let label = ("envoy_listener_address", address.as_str());
    let mut group = Group { prefix: format!("listener.{address}"), label, metrics };
    group.fields(ListenerCounters::FIELDS, shards);
    for (at, version) in ["TLSv1.2", "TLSv1.3"].into_iter().enumerate() {
        let value = Value::Counter(shards.sum(|shard| shard.ssl_versions[at].get()));
        let label = Some(("envoy_ssl_version", version.to_owned()));
        group.push("envoy_listener_ssl_versions", &format!("ssl.versions.{version}"), label, value);
    }
    let mut ciphers: BTreeMap<u64, u64> = BTreeMap::new();
    for (cipher, count) in shards.iter().flat_map(|shard| shard.ssl_ciphers.iter()) {
        *ciphers.entry(cipher).or_default() += count.get();
    }
    for (cipher, count) in ciphers.into_iter().filter(|(_, count)| *count > 0) {
        let number = u16::try_from(cipher).unwrap_or_default();
        let cipher = CipherSuite::from(number).as_str().unwrap_or("unknown");
        let label = Some(("envoy_ssl_cipher", cipher.to_owned()));
        let name = format!("ssl.ciphers.{cipher}");
        group.push("envoy_listener_ssl_ciphers", &name, label, Value::Counter(count));
    }
    let length = shards.distribution(|shard| &shard.downstream_cx_length_ms);
    let value = Value::Histogram(Box::new(length));
    group.push("envoy_listener_downstream_cx_length_ms", "downstream_cx_length_ms", None, value);
}

pub(super) fn mesh(known: &MeshLabels, shards: &Sharded<MeshCounters>, metrics: &mut Vec<Metric>) {
    let mut series: BTreeMap<u64, MeshSums> = BTreeMap::new();
    for (key, it) in shards.iter().flat_map(MeshCounters::series) {
        let sums = series.entry(key).or_default();
        sums.requests += it.requests.get();
        it.duration.add_to(&mut sums.duration);
        it.request_bytes.add_to(&mut sums.request_bytes);
        it.response_bytes.add_to(&mut sums.response_bytes);
    }
    for (key, sums) in series.into_iter().filter(|(_, it)| it.requests > 0) {
        let labels = super::mesh::labels(known, key);
        let histogram = |it| Value::Histogram(Box::new(it));
        for (family, value) in [
            ("istio_requests_total", Value::Counter(sums.requests)),
            ("istio_request_duration_milliseconds", histogram(sums.duration)),
            ("istio_request_bytes", histogram(sums.request_bytes)),
            ("istio_response_bytes", histogram(sums.response_bytes)),
        ] {
            let (family, name) = (family.into(), String::new());
            metrics.push(Metric { family, labels: labels.clone(), name, value });
        }
    }
    let sum = |read: fn(&MeshCounters) -> &Counter| shards.sum(|it| read(it).get());
    if sum(|it| &it.tcp_opened) == 0 {
        return;
    }
    for (family, value) in [
        ("istio_tcp_connections_opened_total", sum(|it| &it.tcp_opened)),
        ("istio_tcp_connections_closed_total", sum(|it| &it.tcp_closed)),
        ("istio_tcp_received_bytes_total", sum(|it| &it.tcp_received_bytes)),
        ("istio_tcp_sent_bytes_total", sum(|it| &it.tcp_sent_bytes)),
    ] {
        let labels = super::mesh::tcp_labels(known);
        let (family, name, value) = (family.into(), String::new(), Value::Counter(value));
        metrics.push(Metric { family, labels, name, value });
    }
}

/// One series over all workers.
#[derive(Default)]
struct MeshSums {
    requests: u64,
    duration: Distribution,
    request_bytes: Distribution,
    response_bytes: Distribution,
}
