//! Judging active health checks (reference/load-balancing.md 2.20). A shell probes; what a result
//! means, and when the next probe is due, is decided here.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use proxy_config::{EndpointHealth, HealthCheck, HealthProbe};
use rand::{Rng, RngExt};

pub use self::flags::{CheckFlag, CheckFlags, CheckedHealth, HealthFlags};
use crate::EndpointState;
use crate::cluster::ClusterState;
use crate::nanos;

mod flags;

/// Most checks of one endpoint: a byte of flags each in one word.
pub const CHECKS_MAX: usize = 8;

/// How a probe ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ProbeResult {
    /// It is well.
    Passed {
        /// It asks to be used only when the others do not suffice (`x-envoy-degraded`).
        degraded: bool,
    },
    /// It says itself that it is not well (an unexpected status, `NOT_SERVING`, another service):
    /// believed at once.
    Failed,
    /// A status that counts as one failure of several.
    FailedRetriably,
    /// It asks to be taken out at once (`x-envoy-immediate-health-check-fail`).
    FailedImmediately,
    /// No connection, or it broke.
    NoAnswer,
    /// No answer in time.
    TimedOut,
}

/// What an HTTP probe was answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HttpAnswer {
    /// Status.
    pub status: u16,
    /// `x-envoy-upstream-healthchecked-cluster` meets the condition of the check, or there is none.
    pub service_matches: bool,
    /// `x-envoy-degraded` is there.
    pub degraded: bool,
    /// `x-envoy-immediate-health-check-fail` is there.
    pub fails_immediately: bool,
}

impl ProbeResult {
    /// What the answer to an HTTP probe means. For probes of other kinds any answer is a pass.
    #[must_use]
    pub fn of_http(probe: &HealthProbe, answer: HttpAnswer) -> Self {
        let HealthProbe::Http { expected, retriable, .. } = probe else {
            return ProbeResult::Passed { degraded: false };
        };
        let is_in = |ranges: &[(u16, u16)]| {
            ranges.iter().any(|(first, last)| (*first..=*last).contains(&answer.status))
        };
        if answer.fails_immediately {
            return ProbeResult::FailedImmediately;
        }
        if !(is_in(expected) || (expected.is_empty() && answer.status == 200)) {
            return match is_in(retriable) {
                true => ProbeResult::FailedRetriably,
                false => ProbeResult::Failed,
            };
        }
        match answer.service_matches {
            true => ProbeResult::Passed { degraded: answer.degraded },
            false => ProbeResult::Failed,
        }
    }

    /// What the answer to a gRPC probe means: `grpc_status` of the call and `ServingStatus` of the
    /// message, where 1 is `SERVING`. A call that failed for want of a connection (`UNAVAILABLE`)
    /// is no answer.
    #[must_use]
    pub fn of_grpc(grpc_status: u8, serving_status: Option<u32>) -> Self {
        match (grpc_status, serving_status) {
            (0, Some(1)) => ProbeResult::Passed { degraded: false },
            (14, _) => ProbeResult::NoAnswer,
            _ => ProbeResult::Failed,
        }
    }
}

/// What follows from a probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProbeVerdict {
    /// What this check says of the endpoint now.
    pub health: CheckedHealth,
    /// It said something else before.
    pub changed: bool,
    /// From the end of this probe to the beginning of the next.
    pub next_in: Duration,
}

/// How far one check of one endpoint is on its way to another verdict; kept by the task that
/// probes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ProbeHistory {
    probed: bool,
    passed_in_a_row: u32,
    failed_in_a_row: u32,
}

/// Whether a result has changed something, or will if it comes again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Transition {
    None,
    Pending,
    Changed,
}

impl ProbeHistory {
    /// What `flags`, those of this check before, become. The very first pass counts at once; later
    /// `healthy_threshold` in a row make it healthy. `unhealthy_threshold` failures in a row make
    /// it unhealthy; an answer that says so does at once.
    fn judge(
        &mut self,
        check: &HealthCheck,
        flags: CheckFlags,
        result: ProbeResult,
    ) -> (CheckFlags, Transition) {
        let is_first = !std::mem::replace(&mut self.probed, true);
        let was_failed = flags.has(CheckFlag::Failed);
        match result {
            ProbeResult::Passed { degraded } => {
                self.failed_in_a_row = 0;
                let mut after = flags.without(CheckFlag::Pending).without(CheckFlag::TimedOut);
                after = after.with_if(CheckFlag::Degraded, degraded);
                if !was_failed {
                    return (after.without(CheckFlag::Immediate), Transition::None);
                }
                self.passed_in_a_row = self.passed_in_a_row.saturating_add(1);
                if !is_first && self.passed_in_a_row < check.healthy_threshold {
                    return (after, Transition::Pending);
                }
                self.passed_in_a_row = 0;
                let after = after.without(CheckFlag::Failed).without(CheckFlag::Immediate);
                (after, Transition::Changed)
            }
            ProbeResult::Failed
            | ProbeResult::FailedRetriably
            | ProbeResult::FailedImmediately
            | ProbeResult::NoAnswer
            | ProbeResult::TimedOut => {
                self.passed_in_a_row = 0;
                let immediate = result == ProbeResult::FailedImmediately;
                let mut after = flags
                    .without(CheckFlag::Pending)
                    .with_if(CheckFlag::TimedOut, result == ProbeResult::TimedOut);
                if immediate {
                    after = after.with(CheckFlag::Immediate);
                }
                if was_failed {
                    return (after, Transition::None);
                }
                self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
                let at_once = immediate || result == ProbeResult::Failed;
                if !at_once && self.failed_in_a_row < check.unhealthy_threshold {
                    return (after, Transition::Pending);
                }
                self.failed_in_a_row = 0;
                (after.with(CheckFlag::Failed), Transition::Changed)
            }
        }
    }
}

/// How long until the next probe: the interval for this result, plus a random part of the jitter.
fn next_in<R: Rng + ?Sized>(
    check: &HealthCheck,
    passed: bool,
    transition: Transition,
    has_traffic: bool,
    rng: &mut R,
) -> Duration {
    let interval = if !has_traffic {
        check.no_traffic_interval
    } else {
        let settled = check.interval;
        let unhealthy = check.unhealthy_interval.unwrap_or(settled);
        match (passed, transition) {
            (true, Transition::Pending) => check.healthy_edge_interval.unwrap_or(settled),
            (true, Transition::None | Transition::Changed) => settled,
            (false, Transition::Pending) => check.unhealthy_edge_interval.unwrap_or(unhealthy),
            (false, Transition::None | Transition::Changed) => unhealthy,
        }
    };
    interval.saturating_add(jitter(check.interval_jitter, rng))
}

fn jitter<R: Rng + ?Sized>(most: Duration, rng: &mut R) -> Duration {
    match nanos(most) {
        0 => Duration::ZERO,
        most_ns => Duration::from_nanos(rng.random_range(0..=most_ns)),
    }
}

/// What active health checks say of one endpoint; shared by all workers.
#[derive(Debug, Default)]
pub struct CheckState {
    /// A byte per check: its flags, and a bit that says that it has begun.
    flags: AtomicU64,
    /// It has been part of a configuration.
    known: AtomicBool,
}

impl CheckState {
    /// Flags of all checks together.
    #[must_use]
    pub fn flags(&self) -> CheckFlags {
        CheckFlags::of_all(self.flags.load(Relaxed))
    }

    /// What the checks say together; healthy when there are none.
    #[must_use]
    pub fn health(&self) -> CheckedHealth {
        self.flags().health()
    }

    /// Makes checks `0..count` begin that have not, and forgets others. A new endpoint is not used
    /// until they pass; one that is in use already goes on until they fail.
    pub(crate) fn begin(&self, count: usize) {
        let was_known = self.known.swap(true, Relaxed);
        let fresh = if was_known { CheckFlags::BEGUN } else { CheckFlags::PENDING };
        let before = self.flags.load(Relaxed);
        let mut after = 0;
        for idx in 0..count.min(CHECKS_MAX) {
            let flags = CheckFlags::at(before, idx);
            let flags = if flags.has(CheckFlag::Begun) { flags } else { fresh };
            after = flags.put(after, idx);
        }
        self.flags.store(after, Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn set(&self, health: CheckedHealth) {
        let flags = match health {
            CheckedHealth::Healthy => CheckFlags::BEGUN,
            CheckedHealth::Degraded => CheckFlags::BEGUN.with(CheckFlag::Degraded),
            CheckedHealth::Pending => CheckFlags::PENDING,
            CheckedHealth::Unhealthy => CheckFlags::BEGUN.with(CheckFlag::Failed),
        };
        self.put(0, flags);
    }

    fn at(&self, idx: usize) -> CheckFlags {
        CheckFlags::at(self.flags.load(Relaxed), idx)
    }

    /// Gives what all checks said before together.
    fn put(&self, idx: usize, flags: CheckFlags) -> CheckFlags {
        let change = |word| Some(flags.put(word, idx));
        match self.flags.fetch_update(Relaxed, Relaxed, change) {
            Ok(before) | Err(before) => CheckFlags::of_all(before),
        }
    }
}

/// Counters of the active health checks of a cluster, under Envoy's names (`health_check.…`).
#[derive(Debug, Default)]
pub struct CheckCounters {
    /// Probes that have ended.
    pub attempt: AtomicU64,
    /// Passed.
    pub success: AtomicU64,
    /// Not passed.
    pub failure: AtomicU64,
    /// Not passed because there was no answer, or not in time.
    pub network_failure: AtomicU64,
    /// Endpoints that asked to be taken out in an answer to a request of a client.
    pub passive_failure: AtomicU64,
}

impl ClusterState {
    /// Judges a probe of `endpoint` by the check at `check_idx` of the cluster, and lets the
    /// verdict count. A pass ends an ejection, if the settings say so. `None` when there is no such
    /// check, or it is beyond [`CHECKS_MAX`].
    ///
    /// While the cluster has had no request, probes come as seldom as `no_traffic_interval` says.
    pub fn judge_probe<R: Rng + ?Sized>(
        &self,
        endpoint: &EndpointState,
        check_idx: usize,
        history: &mut ProbeHistory,
        result: ProbeResult,
        now_ns: u64,
        rng: &mut R,
    ) -> Option<ProbeVerdict> {
        let check =
            self.cluster().health_checks.get(check_idx).filter(|_| check_idx < CHECKS_MAX)?;
        let passed = matches!(result, ProbeResult::Passed { .. });
        self.count_probe(passed, matches!(result, ProbeResult::NoAnswer | ProbeResult::TimedOut));
        let before = endpoint.check().at(check_idx);
        let (after, transition) = history.judge(check, before, result);
        let together = endpoint.check().put(check_idx, after);
        if together.health() != endpoint.check().health() {
            self.note_membership_change();
        }
        if passed && endpoint.check().health() != CheckedHealth::Unhealthy {
            self.end_ejection_after_check(endpoint, now_ns);
        }
        Some(ProbeVerdict {
            health: after.health(),
            changed: before.health() != after.health(),
            next_in: next_in(check, passed, transition, self.has_traffic(endpoint), rng),
        })
    }

    /// How long the first probe of an endpoint waits: a random part of the jitter, so that those of
    /// many endpoints do not come in one moment.
    pub fn first_probe_in<R: Rng + ?Sized>(&self, check_idx: usize, rng: &mut R) -> Duration {
        let check = self.cluster().health_checks.get(check_idx);
        jitter(check.map_or(Duration::ZERO, |it| it.interval_jitter), rng)
    }

    /// An endpoint has answered a request of a client with `x-envoy-immediate-health-check-fail`:
    /// it counts as unhealthy until its checks pass again. Without active health checks it means
    /// nothing, as nothing would undo it.
    pub fn fail_checks_at_once(&self, endpoint: &EndpointState) {
        let before = endpoint.check().health();
        for idx in 0..self.cluster().health_checks.len().min(CHECKS_MAX) {
            let flags = endpoint.check().at(idx).without(CheckFlag::Pending);
            endpoint.check().put(idx, flags.with(CheckFlag::Failed).with(CheckFlag::Immediate));
        }
        if endpoint.check().health() != before {
            self.resilience().checks.passive_failure.fetch_add(1, Relaxed);
            self.note_membership_change();
        }
    }

    /// Counters of its active health checks.
    #[must_use]
    pub fn check_counters(&self) -> &CheckCounters {
        &self.resilience().checks
    }

    fn count_probe(&self, passed: bool, network: bool) {
        let counters = &self.resilience().checks;
        counters.attempt.fetch_add(1, Relaxed);
        if passed {
            counters.success.fetch_add(1, Relaxed);
        } else {
            counters.failure.fetch_add(1, Relaxed);
        }
        if network {
            counters.network_failure.fetch_add(1, Relaxed);
        }
    }

    /// Whether the cluster has ever had a request.
    fn has_traffic(&self, endpoint: &EndpointState) -> bool {
        let is_used = |it: &EndpointState| it.counters().rq_total.load(Relaxed) > 0;
        is_used(endpoint) || self.endpoints().any(|(_, it)| is_used(it))
    }
}

impl EndpointState {
    /// What `/clusters` says in `health_flags`.
    #[must_use]
    pub fn health_flags(&self, configured: EndpointHealth, now_ns: u64) -> HealthFlags {
        HealthFlags { checks: self.check().flags(), ejected: self.is_ejected(now_ns), configured }
    }

    /// What the configuration and the checks say together, ejections apart: the worse of the two.
    #[must_use]
    pub fn health(&self, configured: EndpointHealth) -> CheckedHealth {
        let checked = self.check().health();
        match configured {
            EndpointHealth::Healthy => checked,
            EndpointHealth::Degraded => checked.max(CheckedHealth::Degraded),
            EndpointHealth::Draining | EndpointHealth::Unhealthy => CheckedHealth::Unhealthy,
        }
    }
}

#[cfg(test)]
mod tests;
