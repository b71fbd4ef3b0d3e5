//! Ejection of endpoints that fail (reference/load-balancing.md 2.15).
//!
//! A report of how a try ended is counted on the endpoint; a detector that trips asks for an
//! ejection; rates are looked at once per interval. The success path adds one counter and reads a
//! few others, nothing more.

use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

use proxy_config::{Detector, OutlierDetection};
use rand::Rng;

pub(crate) use self::counters::ClusterOutliers;
pub use self::counters::{OutlierCount, OutlierDetector, RateSummary};
pub use self::interval::RateKind;
use crate::EndpointState;
use crate::cluster::ClusterState;

mod counters;
mod ejection;
mod interval;

/// How a try on an endpoint ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// A response head came, with this status.
    Response {
        /// Status code; for gRPC the HTTP status that its status maps to ([`Outcome::of_grpc`]).
        status: u16,
    },
    /// The connection was refused or the address is unreachable.
    ConnectFailed,
    /// The connection was not established in time.
    ConnectTimedOut,
    /// The connection broke before the first byte of a response.
    BrokenBeforeResponse {
        /// It had carried a request before. Then the endpoint may just have closed an idle
        /// connection as the request was on its way, which says nothing about its health: it counts
        /// as an error, no more.
        reused: bool,
    },
    /// No response within the time limit.
    ResponseTimedOut,
    /// The client left or this proxy gave up for reasons of its own: says nothing about the
    /// endpoint.
    Abandoned,
}

impl Outcome {
    /// The outcome that a gRPC status stands for. `UNKNOWN`, `INTERNAL` and `DATA_LOSS` are errors
    /// like a 500, `UNAVAILABLE` like a 503, `DEADLINE_EXCEEDED` like a 504; all others speak of
    /// the request, not of the endpoint.
    #[must_use]
    pub fn of_grpc(status: u8) -> Self {
        let status = match status {
            2 | 13 | 15 => 500,
            14 => 503,
            4 => 504,
            _ => 200,
        };
        Outcome::Response { status }
    }

    /// The status that counts for the detectors of responses. Not split, failures on the way to the
    /// endpoint count as the status that the client gets for them: 504 for what took too long, 503
    /// for the rest. Split, only those count that happened once the endpoint had been reached: in
    /// contrast to Envoy, a response that does not come in time is one of them, because a slow
    /// endpoint is not an unreachable one and a first failed connection may eject.
    fn code(self, split: bool) -> Option<u16> {
        match self {
            Outcome::Response { status } => Some(status),
            Outcome::ConnectFailed => (!split).then_some(503),
            Outcome::ConnectTimedOut => (!split).then_some(504),
            Outcome::BrokenBeforeResponse { reused } => (!split || reused).then_some(503),
            Outcome::ResponseTimedOut => Some(504),
            Outcome::Abandoned => None,
        }
    }

    /// What was seen when the endpoint was not reached; what counts for the detectors of local
    /// origin.
    fn local_failure(self) -> Option<EvidenceKind> {
        match self {
            Outcome::ConnectFailed => Some(EvidenceKind::ConnectFailed),
            Outcome::ConnectTimedOut => Some(EvidenceKind::ConnectTimedOut),
            Outcome::BrokenBeforeResponse { reused: false } => {
                Some(EvidenceKind::BrokenBeforeResponse)
            }
            Outcome::BrokenBeforeResponse { reused: true }
            | Outcome::Response { .. }
            | Outcome::ResponseTimedOut
            | Outcome::Abandoned => None,
        }
    }
}

/// Something that the registry should know about an endpoint.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Evidence {
    /// Name of the cluster.
    pub cluster: String,
    /// Id of the endpoint.
    pub endpoint: String,
    /// What was seen.
    pub kind: EvidenceKind,
    /// When, in nanoseconds since the caller's epoch.
    pub at_ns: u64,
    /// For how long it is ejected from then on, in nanoseconds; 0 when it is not.
    pub ejected_ns: u64,
}

/// What was seen of an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EvidenceKind {
    /// A connection was refused or the address is unreachable; it is ejected.
    ConnectFailed,
    /// A connection was not established in time; it is ejected.
    ConnectTimedOut,
    /// A fresh connection broke before a response; it is ejected.
    BrokenBeforeResponse,
    /// Errors in a row; it is ejected.
    ConsecutiveErrors,
    /// Gateway errors (502, 503, 504) in a row; it is ejected.
    GatewayFailures,
    /// A success rate far below that of the others; it is ejected.
    SuccessRate,
    /// A share of failures over the threshold; it is ejected.
    FailurePercentage,
    /// The first success after an ejection has ended.
    Recovered,
}

impl EvidenceKind {
    /// The word for it, for logs and reasons.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            EvidenceKind::ConnectFailed => "connect-failed",
            EvidenceKind::ConnectTimedOut => "connect-timed-out",
            EvidenceKind::BrokenBeforeResponse => "broken-before-response",
            EvidenceKind::ConsecutiveErrors => "consecutive-errors",
            EvidenceKind::GatewayFailures => "gateway-failures",
            EvidenceKind::SuccessRate => "success-rate",
            EvidenceKind::FailurePercentage => "failure-percentage",
            EvidenceKind::Recovered => "recovered",
        }
    }
}

/// What outlier detection knows of one endpoint; shared by all workers.
#[derive(Debug, Default)]
pub struct OutlierState {
    consecutive_5xx: AtomicU32,
    consecutive_gateway_failures: AtomicU32,
    consecutive_local_failures: AtomicU32,
    /// What the length of the next ejection is made of.
    ejections_in_a_row: AtomicU32,
    ejected_until_ns: AtomicU64,
    /// An ejection was made, and no success has been seen since its end.
    unrecovered: AtomicBool,
    /// An ejection was made, and the counts above have not been put back since its end.
    counts_are_old: AtomicBool,
    /// Tries that did not reach it.
    local_failures: AtomicU64,
    rates: interval::EndpointRates,
}

impl OutlierState {
    /// Whether it is ejected at `now_ns`.
    #[must_use]
    pub fn is_ejected(&self, now_ns: u64) -> bool {
        self.ejected_until_ns() > now_ns
    }

    /// End of its latest ejection; 0 when there was none.
    #[must_use]
    pub fn ejected_until_ns(&self) -> u64 {
        self.ejected_until_ns.load(Relaxed)
    }

    /// Share of successes in the last whole interval, in percent; `None` when there were too few
    /// requests.
    #[must_use]
    pub fn success_rate(&self, kind: RateKind) -> Option<f64> {
        self.rates.success_rate(kind)
    }

    /// Begins to count failures in a row anew, as after the end of an ejection: without it one
    /// failure could be enough for a detector that was not the one that tripped.
    pub(crate) fn forget_failures(&self) {
        self.consecutive_5xx.store(0, Relaxed);
        self.consecutive_gateway_failures.store(0, Relaxed);
        self.consecutive_local_failures.store(0, Relaxed);
    }

    /// Ends an ejection before its time, for something else has shown that it is well.
    pub(crate) fn end_ejection(&self, now_ns: u64) {
        self.ejected_until_ns.store(now_ns, SeqCst);
        self.counts_are_old.store(false, Relaxed);
        self.forget_failures();
    }

    /// True once after the end of an ejection.
    fn take_end_of_ejection(&self, now_ns: u64) -> bool {
        self.counts_are_old.load(Relaxed)
            && !self.is_ejected(now_ns)
            && self.counts_are_old.swap(false, Relaxed)
    }
}

impl ClusterState {
    /// Counts how a try on `endpoint` ended and ejects the endpoint when it must be. Evidence is
    /// returned once per ejection and once per recovery, whichever worker sees it first. `rng` is
    /// drawn from only for an ejection that is enforced in part or has jitter.
    ///
    /// A detector trips when its count reaches the threshold, and then counts anew, so that an
    /// ejection that was not allowed or not enforced is asked for again. A success during an
    /// ejection (a request that was under way) does not end it. When all endpoints are ejected,
    /// [`ClusterState::pick`] ignores it.
    pub fn report<R: Rng + ?Sized>(
        &self,
        endpoint: &EndpointState,
        outcome: Outcome,
        now_ns: u64,
        rng: &mut R,
    ) -> Option<Evidence> {
        count(endpoint, outcome);
        let outlier = endpoint.outlier();
        if outlier.take_end_of_ejection(now_ns) {
            outlier.forget_failures();
        }
        match outcome {
            Outcome::Abandoned => None,
            Outcome::Response { status } if status < 500 => self.succeeded(endpoint, now_ns),
            Outcome::Response { .. }
            | Outcome::ConnectFailed
            | Outcome::ConnectTimedOut
            | Outcome::BrokenBeforeResponse { .. }
            | Outcome::ResponseTimedOut => self.failed(endpoint, outcome, now_ns, rng),
        }
    }

    fn succeeded(&self, endpoint: &EndpointState, now_ns: u64) -> Option<Evidence> {
        let outlier = endpoint.outlier();
        // Loads first: on the common path the line stays shared between cores.
        for count in [
            &outlier.consecutive_5xx,
            &outlier.consecutive_gateway_failures,
            &outlier.consecutive_local_failures,
        ] {
            if count.load(Relaxed) != 0 {
                count.store(0, Relaxed);
            }
        }
        if !outlier.unrecovered.load(Relaxed) || outlier.is_ejected(now_ns) {
            return None;
        }
        if !outlier.unrecovered.swap(false, Relaxed) {
            return None;
        }
        if self.outlier_settings().doubling {
            outlier.ejections_in_a_row.store(0, Relaxed);
        }
        Some(self.evidence(endpoint, EvidenceKind::Recovered, now_ns, 0))
    }

    fn failed<R: Rng + ?Sized>(
        &self,
        endpoint: &EndpointState,
        outcome: Outcome,
        now_ns: u64,
        rng: &mut R,
    ) -> Option<Evidence> {
        let settings = self.outlier_settings();
        let outlier = endpoint.outlier();
        let mut evidence = None;
        if let Some(code) = outcome.code(settings.split_local_origin) {
            evidence = self.bad_code(endpoint, code, now_ns, rng);
        }
        if !settings.split_local_origin {
            return evidence;
        }
        match outcome.local_failure() {
            Some(kind) => {
                let count = &outlier.consecutive_local_failures;
                if trips(count, settings.consecutive_local_origin_failure) {
                    let detector = OutlierDetector::ConsecutiveLocalOriginFailure;
                    return self.detected(endpoint, detector, kind, now_ns, rng);
                }
            }
            // An answer, even a bad one, shows that it can be reached.
            None if matches!(outcome, Outcome::Response { .. }) => {
                outlier.consecutive_local_failures.store(0, Relaxed);
            }
            None => {}
        }
        evidence
    }

    fn bad_code<R: Rng + ?Sized>(
        &self,
        endpoint: &EndpointState,
        code: u16,
        now_ns: u64,
        rng: &mut R,
    ) -> Option<Evidence> {
        let settings = self.outlier_settings();
        let outlier = endpoint.outlier();
        let mut evidence = None;
        let gateway_failures = &outlier.consecutive_gateway_failures;
        if !matches!(code, 502..=504) {
            gateway_failures.store(0, Relaxed);
        } else if trips(gateway_failures, settings.consecutive_gateway_failure) {
            let detector = OutlierDetector::ConsecutiveGatewayFailure;
            let kind = EvidenceKind::GatewayFailures;
            evidence = self.detected(endpoint, detector, kind, now_ns, rng);
        }
        if trips(&outlier.consecutive_5xx, settings.consecutive_5xx) {
            let (detector, kind) =
                (OutlierDetector::Consecutive5xx, EvidenceKind::ConsecutiveErrors);
            evidence = evidence.or_else(|| self.detected(endpoint, detector, kind, now_ns, rng));
        }
        evidence
    }

    pub(crate) fn outlier_settings(&self) -> &OutlierDetection {
        &self.cluster().outliers
    }

    fn evidence(
        &self,
        endpoint: &EndpointState,
        kind: EvidenceKind,
        at_ns: u64,
        ejected_ns: u64,
    ) -> Evidence {
        Evidence {
            cluster: self.name().to_owned(),
            endpoint: endpoint.id().to_owned(),
            kind,
            at_ns,
            ejected_ns,
        }
    }
}

fn count(endpoint: &EndpointState, outcome: Outcome) {
    let counters = endpoint.counters();
    match outcome {
        Outcome::Abandoned => return,
        Outcome::Response { status } if status < 500 => {
            counters.rq_success.fetch_add(1, Relaxed);
            return;
        }
        Outcome::ConnectFailed | Outcome::ConnectTimedOut => {
            counters.cx_connect_fail.fetch_add(1, Relaxed);
        }
        Outcome::ResponseTimedOut => {
            counters.rq_timeout.fetch_add(1, Relaxed);
        }
        Outcome::Response { .. } | Outcome::BrokenBeforeResponse { .. } => {}
    }
    counters.rq_error.fetch_add(1, Relaxed);
    if outcome.local_failure().is_some() {
        endpoint.outlier().local_failures.fetch_add(1, Relaxed);
    }
}

/// Counts a failure. True when the count reaches the threshold, and then the counting starts anew;
/// of several workers that count together one reaches it.
fn trips(count: &AtomicU32, detector: Detector) -> bool {
    if detector.threshold == 0 || count.fetch_add(1, Relaxed).wrapping_add(1) != detector.threshold
    {
        return false;
    }
    count.store(0, Relaxed);
    true
}

#[cfg(test)]
mod tests;
