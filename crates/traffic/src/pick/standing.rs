use std::sync::atomic::Ordering::Relaxed;

use proxy_config::{Endpoint, EndpointHealth, Narrowing};

use crate::endpoint::EndpointState;
use crate::health_check::CheckedHealth;

/// What an endpoint is worth to a pick: its configured health, the proxy's own checks and its
/// ejection in one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Standing {
    /// Its ejection aside.
    pub health: Health,
    /// It is ejected.
    pub ejected: bool,
}

/// Health as the configuration and the checks say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Health {
    /// Gets requests.
    Healthy,
    /// Gets requests when the healthy ones do not suffice.
    Degraded,
    /// Gets none but in panic.
    Unhealthy,
    /// Ends what it has; gets none, not even in panic: its process is about to go.
    Draining,
    /// Gets none but in panic, and is not counted among those that there are.
    Excluded,
}

impl Standing {
    /// A configuration that says "healthy" leaves the word to the checks (Envoy's `UNKNOWN`).
    pub(crate) fn of(
        endpoint: &Endpoint,
        state: &EndpointState,
        narrowing: &Narrowing,
        now_ns: u64,
    ) -> Self {
        let health = match (endpoint.health, state.check().health()) {
            (EndpointHealth::Draining, _) => Health::Draining,
            (_, CheckedHealth::Pending) if narrowing.ignore_unchecked => Health::Excluded,
            (EndpointHealth::Unhealthy, _)
            | (_, CheckedHealth::Unhealthy | CheckedHealth::Pending) => Health::Unhealthy,
            (EndpointHealth::Degraded, _) | (_, CheckedHealth::Degraded) => Health::Degraded,
            (EndpointHealth::Healthy, CheckedHealth::Healthy) => Health::Healthy,
        };
        Self { health, ejected: state.is_ejected(now_ns) }
    }

    /// It would be used if it were not ejected.
    pub(crate) fn is_well(self) -> bool {
        matches!(self.health, Health::Healthy | Health::Degraded)
    }

    pub(crate) fn is_usable(self) -> bool {
        self.is_well() && !self.ejected
    }

    /// Notes whether it is usable, and since when if it was not.
    pub(crate) fn note(self, state: &EndpointState, now_ns: u64) {
        let usable = self.is_usable();
        if state.was_usable.load(Relaxed) == usable {
            return;
        }
        if !state.was_usable.swap(usable, Relaxed) && usable {
            state.usable_since_ns.store(now_ns.max(1), Relaxed);
        }
    }
}
