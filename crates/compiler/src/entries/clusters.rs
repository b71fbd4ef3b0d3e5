//! A target of a chain as a cluster.

use std::time::Duration;

use config_entries::view::{
    LoadBalancer, PassiveHealthCheck, Resolver, RingHashConfig, UpstreamConfig, UpstreamLimits,
    view,
};
use config_entries::{ChainTarget, Lookup};
use model::Folded;
use proxy_config::{
    Balancing, CircuitBreakers, Cluster, Detector, LeastRequest, Maglev, OutlierDetection,
    RingHash, Source, UpstreamProtocol,
};

use super::Compilation;
use crate::registered;

/// Most entries of a ring that the contract allows.
pub(super) const RING_SIZE_MAX: u32 = 8 * 1024 * 1024;

/// The cluster of a target. Its source names all entries that make it what it is.
pub(super) fn cluster(
    of: &Compilation<'_>,
    name: &str,
    target: &ChainTarget,
    fails_over: bool,
) -> Cluster {
    let service = Folded::new(&target.service);
    let mut cluster =
        Cluster { name: name.to_owned(), ..registered::cluster(&service, of.settings) };
    let mut causes: Vec<Source> = Vec::new();
    if !target.peer.is_empty() {
        return cluster;
    }
    let resolver: Resolver =
        of.catalog.entry("service-resolver", service.as_str()).map(view).unwrap_or_default();
    let of_resolver = of.said.source("service-resolver", service.as_str());
    let balancing = resolver.load_balancer.as_ref().and_then(balancing);
    if !target.subset.is_empty()
        || fails_over
        || balancing.is_some()
        || resolver.connect_timeout > 0
    {
        causes.extend(of_resolver);
    }
    cluster.balancing = balancing.unwrap_or(cluster.balancing);
    if let Some(source) = of.said.http2(&service) {
        cluster.protocol = UpstreamProtocol::Http2;
        causes.push(source);
    }
    if let Some((number, source)) = of.said.connections_max(&service) {
        cluster.breakers.endpoint_connections_max = number;
        causes.push(source);
    }
    if let Some((upstream, source)) = of.said.upstream(&service) {
        say_upstream(&mut cluster, upstream);
        causes.push(source.clone());
    }
    let of_upstream = of.said.upstream(&service).map_or(0, |it| it.0.connect_timeout_ms);
    // As in Consul: who calls has the last word, then the resolver.
    if let Ok(number @ 1..) = u64::try_from(of_upstream) {
        cluster.connect_timeout = Duration::from_millis(number);
    } else if let Some(timeout) = nanoseconds(resolver.connect_timeout) {
        cluster.connect_timeout = timeout;
    } else if let Some((timeout, source)) = of.said.connect_timeout(&service) {
        cluster.connect_timeout = timeout;
        causes.push(source);
    }
    if let Some(source) = together(causes) {
        cluster.source = source;
    }
    cluster
}

/// Several causes as one: their names, and the newest of their revisions.
pub(super) fn together(causes: Vec<Source>) -> Option<Source> {
    let mut objects: Vec<String> = Vec::new();
    let revision = causes.iter().map(|it| it.revision).max()?;
    for cause in causes {
        if !objects.contains(&cause.object) {
            objects.push(cause.object);
        }
    }
    Some(Source { object: objects.join(", "), revision })
}

/// A positive number of nanoseconds.
pub(super) fn nanoseconds(number: i64) -> Option<Duration> {
    u64::try_from(number).ok().filter(|it| *it > 0).map(Duration::from_nanos)
}

/// What a load balancer's policy is here; `None` for none. Envoy's round robin keeps to the weights.
fn balancing(it: &LoadBalancer) -> Option<Balancing> {
    Some(match it.policy.as_str() {
        "random" => Balancing::Random,
        "round_robin" => Balancing::Weighted,
        "least_request" => {
            let default = LeastRequest::default();
            let given = it.least_request_config.as_ref().map_or(0, |it| it.choice_count);
            let choices = u32::try_from(given).ok().filter(|it| *it > 0);
            // One choice would be no choice; the contract asks for two.
            let choices = choices.map_or(default.choices, |it| it.max(2));
            Balancing::LeastRequest(LeastRequest { choices, ..default })
        }
        "ring_hash" => Balancing::RingHash(ring_hash(it.ring_hash_config.as_ref())),
        "maglev" => Balancing::Maglev(Maglev::default()),
        _ => return None,
    })
}

fn ring_hash(config: Option<&RingHashConfig>) -> RingHash {
    let default = RingHash::default();
    let size = |given: Option<i64>| {
        let given = given.and_then(|it| u32::try_from(it).ok()).filter(|it| *it > 0);
        given.map(|it| it.min(RING_SIZE_MAX))
    };
    let size_max = size(config.map(|it| it.maximum_ring_size)).unwrap_or(default.size_max);
    let size_min = size(config.map(|it| it.minimum_ring_size)).unwrap_or(default.size_min);
    RingHash { size_min: size_min.min(size_max), size_max, ..default }
}

fn say_upstream(cluster: &mut Cluster, upstream: &UpstreamConfig) {
    if let Some(limits) = &upstream.limits {
        cluster.breakers = breakers(limits, cluster.breakers);
    }
    if let Some(check) = &upstream.passive_health_check {
        cluster.outliers = outliers(check, cluster.outliers);
    }
}

fn breakers(limits: &UpstreamLimits, before: CircuitBreakers) -> CircuitBreakers {
    let most = |given: Option<i64>, otherwise: u32| {
        // Beyond 32 bits it is no limit.
        given.map_or(otherwise, |it| u32::try_from(it.max(0)).unwrap_or(u32::MAX))
    };
    CircuitBreakers {
        connections_max: most(limits.max_connections, before.connections_max),
        pending_max: most(limits.max_pending_requests, before.pending_max),
        requests_max: most(limits.max_concurrent_requests, before.requests_max),
        ..before
    }
}

fn outliers(check: &PassiveHealthCheck, before: OutlierDetection) -> OutlierDetection {
    let percent = |given: Option<i64>, otherwise: u8| {
        given.map_or(otherwise, |it| u8::try_from(it.clamp(0, 100)).unwrap_or(100))
    };
    let failures = u32::try_from(check.max_failures).unwrap_or(0);
    let detector = before.consecutive_5xx;
    let base = check.base_ejection_time.and_then(nanoseconds).unwrap_or(before.ejection_base);
    OutlierDetection {
        consecutive_5xx: Detector {
            threshold: if failures > 0 { failures } else { detector.threshold },
            enforcing_percent: percent(check.enforcing_consecutive_5xx, detector.enforcing_percent),
        },
        interval: nanoseconds(check.interval).unwrap_or(before.interval),
        ejection_base: base,
        ejection_max: before.ejection_max.max(base),
        ejection_max_percent: percent(check.max_ejection_percent, before.ejection_max_percent),
        ..before
    }
}
