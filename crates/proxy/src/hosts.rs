//! What became of clients' requests, by the virtual host and the class of path that they are for: what a change of routes
//! is judged by.
//!
//! Each worker counts on cache lines of its own; a host costs a pointer until its first request.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use proxy_config::{
    ClassUse, DURATION_BUCKETS, HostUse, HostUses, PATH_CLASSES, RouteTable, duration_bucket,
    host_key,
};
use traffic::ResponseFlag;

use crate::exchange::{Exchange, grpc_outcome};
use crate::stats::{Counter, Sharded};

/// Where a request is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// Position of its virtual host in the table; `None` when there is none for its host.
    pub(crate) virtual_host: Option<usize>,
    /// [`proxy_config::path_class`] of its path.
    pub(crate) class: usize,
}

/// The counters of a route table.
#[derive(Default)]
pub(crate) struct HostTable {
    /// In the order of the table's virtual hosts.
    hosts: Vec<Arc<HostCounters>>,
    /// Of requests for other hosts.
    unknown: Arc<HostCounters>,
}

#[derive(Default)]
struct HostCounters {
    name: String,
    by_worker: OnceLock<Sharded<WorkerCounters>>,
}

#[derive(Debug, Default)]
struct WorkerCounters {
    classes: [ClassCounters; PATH_CLASSES],
    durations: [Counter; DURATION_BUCKETS],
    duration_sum_us: Counter,
}

#[derive(Debug, Default)]
struct ClassCounters {
    successes: Counter,
    refusals: Counter,
    failures: Counter,
}

/// What a request came to, as far as it counts here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Success,
    Refusal,
    Failure,
}

impl HostTable {
    /// Counters for the virtual hosts of `table`; those that there were before by the same name go on.
    pub(crate) fn new(table: &RouteTable, previous: Option<&HostTable>) -> Self {
        let before: BTreeMap<&str, &Arc<HostCounters>> =
            previous.iter().flat_map(|it| &it.hosts).map(|it| (it.name.as_str(), it)).collect();
        let counters = |name: &String| match before.get(name.as_str()) {
            Some(counters) => Arc::clone(counters),
            None => Arc::new(HostCounters { name: name.clone(), ..HostCounters::default() }),
        };
        Self {
            hosts: table.virtual_hosts.iter().map(|it| counters(&it.name)).collect(),
            unknown: previous.map(|it| it.unknown.clone()).unwrap_or_default(),
        }
    }

    /// Counts an exchange that has ended.
    pub(crate) fn count(&self, place: Place, exchange: &Exchange) {
        let Some(outcome) = outcome(exchange) else { return };
        let counters = match place.virtual_host {
            Some(at) => self.hosts.get(at),
            None => Some(&self.unknown),
        };
        let Some(counters) = counters else { return };
        let worker = &exchange.client.worker;
        let by_worker = counters.by_worker.get_or_init(|| Sharded::new(worker.stats().workers()));
        let own = by_worker.of(worker.index);
        let class = &own.classes[place.class];
        match outcome {
            Outcome::Success => class.successes.inc(),
            Outcome::Refusal => class.refusals.inc(),
            Outcome::Failure => class.failures.inc(),
        }
        if let Some(duration) = time_to_head(exchange) {
            let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
            own.durations[duration_bucket(us)].inc();
            own.duration_sum_us.add(us);
        }
    }

    /// Adds what it has counted to `uses`.
    pub(crate) fn read(&self, table: &str, uses: &mut HostUses) {
        for counters in self.hosts.iter().chain([&self.unknown]) {
            if let Some(by_worker) = counters.by_worker.get() {
                uses.insert(host_key(table, &counters.name), read(by_worker));
            }
        }
    }
}

fn read(by_worker: &Sharded<WorkerCounters>) -> HostUse {
    let mut all = HostUse { durations: vec![0; DURATION_BUCKETS], ..HostUse::default() };
    for worker in by_worker.iter() {
        all.add(&HostUse {
            classes: std::array::from_fn(|idx| {
                let class = &worker.classes[idx];
                ClassUse {
                    successes: class.successes.get(),
                    refusals: class.refusals.get(),
                    failures: class.failures.get(),
                }
            }),
            durations: worker.durations.iter().map(Counter::get).collect(),
            duration_sum_us: worker.duration_sum_us.get(),
        });
    }
    all
}

/// Flags of requests that could not be answered as they should, whatever the client was told: an answer of gRPC has status
/// 200, and a response that breaks off has had its own.
const FAILED: [ResponseFlag; 10] = [
    ResponseFlag::NoRouteFound,
    ResponseFlag::NoClusterFound,
    ResponseFlag::NoHealthyUpstream,
    ResponseFlag::UpstreamConnectionFailure,
    ResponseFlag::UpstreamConnectionTermination,
    ResponseFlag::UpstreamRemoteReset,
    ResponseFlag::UpstreamOverflow,
    ResponseFlag::UpstreamProtocolError,
    ResponseFlag::UpstreamRequestTimeout,
    ResponseFlag::DurationTimeout,
];

/// `None` when the client went away first: that many do so at once says nothing about who would have answered.
fn outcome(exchange: &Exchange) -> Option<Outcome> {
    let status = exchange.grpc_status.map_or(exchange.status, grpc_outcome);
    let flags = exchange.flags;
    if status >= 500 || !flags.is_empty() && FAILED.iter().any(|it| flags.contains(*it)) {
        return Some(Outcome::Failure);
    }
    match status {
        0 => None,
        400..500 => Some(Outcome::Refusal),
        _ => Some(Outcome::Success),
    }
}

/// From the request to the head of the endpoint's response, over all tries.
fn time_to_head(exchange: &Exchange) -> Option<Duration> {
    let service_time = exchange.service_time?;
    let sent_at = exchange.upstream.as_ref()?.sent_at;
    Some(sent_at.saturating_duration_since(exchange.started) + service_time)
}
