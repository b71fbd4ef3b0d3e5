use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::EndpointState;
use crate::cluster::ClusterState;

/// Connections in a row that must fail before an ejection. Envoy's split mode has 5: there a lost
/// request is the price of a false alarm, here the request is tried on another endpoint, so the
/// first failure is believed.
const CONNECT_FAILURES: u32 = 1;

/// Errors in a row before an ejection: Envoy's `consecutive_5xx`.
const ERRORS: u32 = 5;

/// First ejection; Envoy has 30 s. Short, because one failure is enough and because the registry's
/// verdict, which rests on active checks too, follows within seconds and outlasts it.
const EJECTION_BASE: Duration = Duration::from_secs(1);

/// Longest ejection; Envoy has 300 s.
const EJECTION_MAX: Duration = Duration::from_secs(30);

/// How a try on an endpoint ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// A response head came, with this status.
    Response {
        /// Status code; for gRPC the HTTP status that its status maps to.
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
    /// Five errors in a row; it is ejected.
    ConsecutiveErrors,
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
            EvidenceKind::Recovered => "recovered",
        }
    }
}

impl ClusterState {
    /// Counts how a try on `endpoint` ended and ejects the endpoint when it must be. Evidence is
    /// returned once per ejection and once per recovery, whichever worker sees it first.
    ///
    /// An ejection lasts `min(1 s × 2^n, 30 s)`, `n` being the ejections since the last success
    /// outside of one. Where Envoy (reference/load-balancing.md 2.15) differs: it waits for five
    /// failed connections, starts at 30 s, grows linearly, shrinks with each healthy interval, and
    /// caps the ejected share at 10 %, so that in clusters below ten endpoints it ejects none; here
    /// all may be ejected and [`ClusterState::pick`] then ignores it. A success during an ejection
    /// (a request that was under way) does not end it.
    pub fn report(
        &self,
        endpoint: &EndpointState,
        outcome: Outcome,
        now_ns: u64,
    ) -> Option<Evidence> {
        let counters = endpoint.counters();
        let kind = match outcome {
            Outcome::Response { status } if status < 500 => {
                counters.rq_success.fetch_add(1, Relaxed);
                return self.succeeded(endpoint, now_ns);
            }
            Outcome::Response { .. } => {
                counters.rq_error.fetch_add(1, Relaxed);
                endpoint.consecutive_connect_failures.store(0, Relaxed);
                failed_in_a_row(endpoint, EvidenceKind::ConsecutiveErrors)
            }
            Outcome::ConnectFailed => {
                counters.rq_error.fetch_add(1, Relaxed);
                counters.cx_connect_fail.fetch_add(1, Relaxed);
                failed_in_a_row(endpoint, EvidenceKind::ConnectFailed)
            }
            Outcome::ConnectTimedOut => {
                counters.rq_error.fetch_add(1, Relaxed);
                counters.cx_connect_fail.fetch_add(1, Relaxed);
                failed_in_a_row(endpoint, EvidenceKind::ConnectTimedOut)
            }
            Outcome::BrokenBeforeResponse { reused } => {
                counters.rq_error.fetch_add(1, Relaxed);
                let kind = if reused {
                    EvidenceKind::ConsecutiveErrors
                } else {
                    EvidenceKind::BrokenBeforeResponse
                };
                failed_in_a_row(endpoint, kind)
            }
            Outcome::ResponseTimedOut => {
                counters.rq_error.fetch_add(1, Relaxed);
                counters.rq_timeout.fetch_add(1, Relaxed);
                failed_in_a_row(endpoint, EvidenceKind::ConsecutiveErrors)
            }
            Outcome::Abandoned => None,
        }?;
        self.eject(endpoint, kind, now_ns)
    }

    fn succeeded(&self, endpoint: &EndpointState, now_ns: u64) -> Option<Evidence> {
        // Loads first: on the common path the line stays shared between cores.
        if endpoint.consecutive_connect_failures.load(Relaxed) != 0 {
            endpoint.consecutive_connect_failures.store(0, Relaxed);
        }
        if endpoint.consecutive_errors.load(Relaxed) != 0 {
            endpoint.consecutive_errors.store(0, Relaxed);
        }
        if endpoint.ejections_in_a_row.load(Relaxed) == 0 || endpoint.is_ejected(now_ns) {
            return None;
        }
        (endpoint.ejections_in_a_row.swap(0, Relaxed) != 0)
            .then(|| self.evidence(endpoint, EvidenceKind::Recovered, now_ns))
    }

    fn eject(&self, endpoint: &EndpointState, kind: EvidenceKind, now_ns: u64) -> Option<Evidence> {
        let ejected_until = endpoint.ejected_until_ns.load(Relaxed);
        if ejected_until > now_ns {
            return None;
        }
        let doublings = endpoint.ejections_in_a_row.load(Relaxed).min(31);
        let ejection = EJECTION_BASE.saturating_mul(1 << doublings).min(EJECTION_MAX);
        let until = now_ns.saturating_add(u64::try_from(ejection.as_nanos()).unwrap_or(u64::MAX));
        // Of several workers that see the same failure one ejects.
        endpoint.ejected_until_ns.compare_exchange(ejected_until, until, Relaxed, Relaxed).ok()?;
        endpoint.ejections_in_a_row.fetch_add(1, Relaxed);
        endpoint.counters().ejections.fetch_add(1, Relaxed);
        self.note_ejection(until);
        Some(self.evidence(endpoint, kind, now_ns))
    }

    fn evidence(&self, endpoint: &EndpointState, kind: EvidenceKind, at_ns: u64) -> Evidence {
        Evidence {
            cluster: self.name().to_owned(),
            endpoint: endpoint.id().to_owned(),
            kind,
            at_ns,
        }
    }
}

/// Counts a failure; `kind` when the threshold for it is reached, and then the counting starts
/// anew.
fn failed_in_a_row(endpoint: &EndpointState, kind: EvidenceKind) -> Option<EvidenceKind> {
    let (count, threshold) = match kind {
        EvidenceKind::ConnectFailed
        | EvidenceKind::ConnectTimedOut
        | EvidenceKind::BrokenBeforeResponse => {
            (&endpoint.consecutive_connect_failures, CONNECT_FAILURES)
        }
        EvidenceKind::ConsecutiveErrors => (&endpoint.consecutive_errors, ERRORS),
        EvidenceKind::Recovered => return None,
    };
    if count.fetch_add(1, Relaxed) + 1 < threshold {
        return None;
    }
    count.store(0, Relaxed);
    Some(kind)
}

#[cfg(test)]
mod tests;
