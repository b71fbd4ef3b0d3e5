//! `Cluster`.

use std::time::Duration;

use proxy_config::{
    CircuitBreakers, Cluster, OutlierDetection, Resolution, RetryBudget, UpstreamProtocol,
};

use super::balancing::{self, Spread};
use super::fields::{Field, Message};
use super::{Build, endpoints, health, insert_named, schema, tls, upstream};

/// Envoy's `dns_refresh_rate`.
const DNS_REFRESH: Duration = Duration::from_secs(5);
/// Envoy's bound on the streams of a connection to an endpoint.
const STREAMS_MAX: u32 = 1024;

/// `DiscoveryType`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Discovery {
    Static,
    StrictDns,
    LogicalDns,
    Unsupported,
}

const DISCOVERY: [(&str, i64, Discovery); 5] = [
    ("STATIC", 0, Discovery::Static),
    ("STRICT_DNS", 1, Discovery::StrictDns),
    ("LOGICAL_DNS", 2, Discovery::LogicalDns),
    ("EDS", 3, Discovery::Unsupported),
    ("ORIGINAL_DST", 4, Discovery::Unsupported),
];

pub(crate) fn read<'a>(field: &Field<'a>, build: &mut Build<'a>) {
    let Some(mut it) = field.message(&schema::CLUSTER) else { return };
    let Some(name) = it.required_text("name").map(str::to_owned) else { return };
    let (discovery, refresh) = read_discovery(&mut it);
    let mut endpoints = it
        .take("load_assignment")
        .and_then(|it| endpoints::read(&it, &name, discovery))
        .unwrap_or_default();
    endpoints.cluster.clone_from(&name);
    let spread = Spread {
        has_weights: endpoints
            .endpoints
            .iter()
            .any(|it| it.weight != endpoints.endpoints[0].weight),
        has_local_cluster: build.config.local_cluster.is_some(),
    };
    let (balancing, narrowing) = balancing::read(&mut it, spread);
    let health_checks = health::read_checks(&mut it, &mut endpoints);
    let mut cluster = Cluster {
        name: name.clone(),
        balancing,
        narrowing,
        resolution: match discovery {
            Discovery::StrictDns => Resolution::Strict { refresh },
            Discovery::Static | Discovery::LogicalDns | Discovery::Unsupported => {
                Resolution::OnConnect
            }
        },
        connect_timeout: it.positive_duration("connect_timeout").unwrap_or(Duration::from_secs(5)),
        streams_max: STREAMS_MAX,
        health_checks,
        outliers: it
            .message("outlier_detection", &schema::OUTLIER_DETECTION)
            .map_or_else(OutlierDetection::off, health::read_outliers),
        source: field.source(),
        ..Cluster::default()
    };
    if let Some(socket) = it.take("transport_socket") {
        let transport = tls::read_upstream(&socket, build);
        cluster.tls = transport.tls;
        cluster.proxy_protocol = transport.proxy_protocol;
    }
    read_breakers(&mut it, &mut cluster);
    upstream::read(&mut it, &mut cluster);
    if cluster.protocol == UpstreamProtocol::Alpn && cluster.tls.is_none() {
        field.error("auto_config needs TLS", "add a transport_socket, or use explicit_http_config");
    }
    refuse_rest(&mut it);
    insert_named(&mut build.config.clusters, &name, cluster, field);
    build.config.endpoints.insert(name, endpoints.into());
}

/// Where endpoints come from, and how often names are looked up.
fn read_discovery(it: &mut Message<'_>) -> (Discovery, Duration) {
    let refresh = it.positive_duration("dns_refresh_rate").unwrap_or(DNS_REFRESH);
    let (discovery, refresh) = match it.one_of(&["type", "cluster_type"]) {
        None => (Discovery::Static, refresh),
        Some(("type", field)) => {
            let discovery = field.choice(&DISCOVERY).unwrap_or(Discovery::Unsupported);
            if discovery == Discovery::Unsupported && DISCOVERY.iter().any(|it| field.value == it.0)
            {
                field.error(format!("{} is not supported in a file", field.value), KINDS);
            }
            (discovery, refresh)
        }
        Some((_, field)) => {
            read_extension(&field, refresh).unwrap_or((Discovery::Unsupported, refresh))
        }
    };
    if discovery != Discovery::Unsupported {
        it.refuse("eds_cluster_config", "endpoints are not asked for from a server", "remove it");
        it.refuse("original_dst_lb_config", "there is no such cluster", "remove it");
    }
    (discovery, refresh)
}

const KINDS: &str = "use type STATIC, STRICT_DNS or LOGICAL_DNS";

/// `CustomClusterType`, of which the one for names is known.
fn read_extension(field: &Field<'_>, refresh: Duration) -> Option<(Discovery, Duration)> {
    let mut it = field.message(&schema::CLUSTER_TYPE)?;
    it.required_text("name");
    let (kind, config) = it.required("typed_config")?.typed()?;
    if kind != schema::DNS_CLUSTER.name {
        config.error(format!("{kind} is not supported"), KINDS);
        return None;
    }
    let mut dns = config.message(&schema::DNS_CLUSTER)?;
    let refresh = dns.positive_duration("dns_refresh_rate").unwrap_or(refresh);
    let is_one = dns.is("all_addresses_in_single_endpoint");
    Some((if is_one { Discovery::LogicalDns } else { Discovery::StrictDns }, refresh))
}

fn refuse_rest(it: &mut Message<'_>) {
    // There is nothing to warm, no statistics that are matched, and hosts that are unused take no memory worth it.
    it.skip(&["wait_for_warm_on_init", "cleanup_interval", "metadata", "track_cluster_stats"]);
    it.forbid(
        "transport_socket_matches",
        "all endpoints of a cluster are spoken to alike",
        "make a cluster for each kind of endpoint",
    );
    it.forbid("transport_socket_matcher", "there is one transport_socket", "use that");
    it.refuse(
        "per_connection_buffer_limit_bytes",
        "buffers have a bound of their own",
        "remove it",
    );
    it.refuse(
        "upstream_connection_options",
        "the kernel asks whether silent endpoints are there after 60s, every 15s",
        "remove it",
    );
}

/// Thresholds of one priority.
struct Thresholds {
    is_high: bool,
    breakers: CircuitBreakers,
    /// `None`: neither a budget nor a number of retries is given.
    budget: Option<Option<RetryBudget>>,
}

fn read_breakers(it: &mut Message<'_>, cluster: &mut Cluster) {
    let breakers = it.message("circuit_breakers", &schema::CIRCUIT_BREAKERS);
    if let Some(mut breakers) = breakers {
        for field in breakers.items("thresholds") {
            let Some(read) = read_thresholds(&field) else { continue };
            if read.is_high {
                cluster.high_breakers = read.breakers;
                continue;
            }
            cluster.breakers = read.breakers;
            if let Some(budget) = read.budget {
                cluster.retry_budget = budget;
            }
        }
        for field in breakers.items("per_host_thresholds") {
            let Some(mut host) = field.message(&schema::THRESHOLDS) else { continue };
            let most = host.u32("max_connections").unwrap_or(u32::MAX);
            let is_high = read_priority(&mut host);
            let breakers = if is_high { &mut cluster.high_breakers } else { &mut cluster.breakers };
            breakers.endpoint_connections_max = most;
        }
    }
    // Only the breakers bound the connections to an endpoint.
    cluster.connections_max =
        cluster.breakers.connections_max.max(cluster.high_breakers.connections_max);
}

fn read_priority(it: &mut Message<'_>) -> bool {
    it.choice("priority", &[("DEFAULT", 0, false), ("HIGH", 1, true)]).unwrap_or(false)
}

fn read_thresholds(field: &Field<'_>) -> Option<Thresholds> {
    let mut it = field.message(&schema::THRESHOLDS)?;
    // What remains is always counted.
    it.skip(&["track_remaining"]);
    let is_high = read_priority(&mut it);
    let default = CircuitBreakers::default();
    let retries = it.u32("max_retries");
    let breakers = CircuitBreakers {
        connections_max: it.u32("max_connections").unwrap_or(default.connections_max),
        pending_max: it.u32("max_pending_requests").unwrap_or(default.pending_max),
        requests_max: it.u32("max_requests").unwrap_or(default.requests_max),
        retries_max: retries.unwrap_or(default.retries_max),
        endpoint_connections_max: default.endpoint_connections_max,
    };
    let budget = it.take("retry_budget").and_then(|it| read_budget(&it));
    if is_high && budget.is_some() {
        let message = "there is one retry budget, that of the default priority";
        it.at("retry_budget").ignored(message, "set it there");
    }
    let budget = match (budget, retries) {
        (Some(budget), _) => Some(Some(budget)),
        (None, Some(_)) => Some(None),
        (None, None) => None,
    };
    Some(Thresholds { is_high, breakers, budget })
}

fn read_budget(field: &Field<'_>) -> Option<RetryBudget> {
    let mut it = field.message(&schema::BUDGET)?;
    let default = RetryBudget::default();
    let percent = it.take("budget_percent").and_then(|it| it.percent());
    Some(RetryBudget {
        percent: percent.map_or(default.percent, u32::from),
        retries_min: it.u32("min_retry_concurrency").unwrap_or(default.retries_min),
    })
}
