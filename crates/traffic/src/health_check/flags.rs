use std::fmt;

use proxy_config::EndpointHealth;

/// What an active health check says of an endpoint, from the best to the worst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CheckedHealth {
    /// To be used.
    Healthy,
    /// To be used when the healthy ones do not suffice.
    Degraded,
    /// Not probed yet: not to be used. At the start of a proxy all are, which is why Envoy takes no
    /// requests before the first round of probes has ended.
    Pending,
    /// Not to be used.
    Unhealthy,
}

/// One thing that is known of an endpoint from a check.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum CheckFlag {
    /// The check exists.
    Begun = 1,
    /// It is not well, or not known to be.
    Failed = 1 << 1,
    /// No probe has ended yet.
    Pending = 1 << 2,
    /// It asks to be used last.
    Degraded = 1 << 3,
    /// It asked to be taken out.
    Immediate = 1 << 4,
    /// The last probe was not answered in time.
    TimedOut = 1 << 5,
}

/// A set of [`CheckFlag`]s.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct CheckFlags(u8);

impl CheckFlags {
    /// Of a check that has just begun on an endpoint that was used before.
    pub(super) const BEGUN: CheckFlags = CheckFlags(CheckFlag::Begun as u8);

    /// Of a check that has just begun on a new endpoint.
    pub(super) const PENDING: CheckFlags =
        CheckFlags(CheckFlag::Begun as u8 | CheckFlag::Failed as u8 | CheckFlag::Pending as u8);

    /// Whether it is among them.
    #[must_use]
    pub fn has(self, flag: CheckFlag) -> bool {
        self.0 & flag as u8 != 0
    }

    /// What they mean.
    #[must_use]
    pub fn health(self) -> CheckedHealth {
        if self.has(CheckFlag::Pending) {
            CheckedHealth::Pending
        } else if self.has(CheckFlag::Failed) {
            CheckedHealth::Unhealthy
        } else if self.has(CheckFlag::Degraded) {
            CheckedHealth::Degraded
        } else {
            CheckedHealth::Healthy
        }
    }

    pub(super) fn with(self, flag: CheckFlag) -> Self {
        Self(self.0 | flag as u8)
    }

    pub(super) fn without(self, flag: CheckFlag) -> Self {
        Self(self.0 & !(flag as u8))
    }

    pub(super) fn with_if(self, flag: CheckFlag, is_set: bool) -> Self {
        if is_set { self.with(flag) } else { self.without(flag) }
    }

    /// Of the check at `idx` in a word of eight.
    pub(super) fn at(word: u64, idx: usize) -> Self {
        Self(word.to_le_bytes()[idx])
    }

    /// The word with these for the check at `idx`.
    pub(super) fn put(self, word: u64, idx: usize) -> u64 {
        let mut bytes = word.to_le_bytes();
        bytes[idx] = self.0;
        u64::from_le_bytes(bytes)
    }

    /// Of all checks in a word together. It is pending only as long as no check has failed.
    pub(super) fn of_all(word: u64) -> Self {
        let bytes = word.to_le_bytes();
        let all = Self(bytes.iter().fold(0, |all, byte| all | byte));
        let failed = |byte: &u8| Self(*byte).health() == CheckedHealth::Unhealthy;
        if bytes.iter().any(failed) { all.without(CheckFlag::Pending) } else { all }
    }
}

/// What is known of an endpoint's health, for `/clusters`. `Display` is Envoy's form: `healthy`, or
/// one or more of `/failed_active_hc`, `/failed_outlier_check`, ….
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HealthFlags {
    /// From active health checks.
    pub checks: CheckFlags,
    /// It is ejected.
    pub ejected: bool,
    /// What the configuration says.
    pub configured: EndpointHealth,
}

impl HealthFlags {
    /// Envoy's names in Envoy's order, and whether each holds.
    pub fn names(&self) -> impl Iterator<Item = (bool, &'static str)> + use<> {
        let (checks, configured) = (self.checks, self.configured);
        [
            (checks.has(CheckFlag::Failed), "failed_active_hc"),
            (self.ejected, "failed_outlier_check"),
            (configured == EndpointHealth::Unhealthy, "failed_eds_health"),
            (checks.has(CheckFlag::Degraded), "degraded_active_hc"),
            (configured == EndpointHealth::Degraded, "degraded_eds_health"),
            (checks.has(CheckFlag::Pending), "pending_active_hc"),
            (checks.has(CheckFlag::Immediate), "excluded_via_immediate_hc_fail"),
            (checks.has(CheckFlag::TimedOut), "active_hc_timeout"),
            (configured == EndpointHealth::Draining, "eds_status_draining"),
        ]
        .into_iter()
    }
}

impl fmt::Display for HealthFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut any = false;
        for (_, name) in self.names().filter(|it| it.0) {
            any = true;
            write!(f, "/{name}")?;
        }
        if any { Ok(()) } else { f.write_str("healthy") }
    }
}
