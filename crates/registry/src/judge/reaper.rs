use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use model::{Check, CheckId, CheckStatus, Origin, ServiceId, Timestamp};

/// How often a [`Reaper`] is to be asked (Consul's `reapServices` period).
pub const REAPER_PERIOD: Duration = Duration::from_secs(30);
/// Least `deregister_critical_service_after`; lower ones are raised (Consul's
/// `CheckDeregisterIntervalMin`).
const AFTER_MIN: Duration = Duration::from_secs(60);

/// Decides which instances of the agent have been critical for so long that they are removed
/// (`deregister_critical_service_after`).
///
/// Critical time counts from when this agent first saw the verdict, so a restart begins anew, and a
/// step of the wall clock cannot remove anything: the wall clock only tells how much of the time
/// since the last look counts.
#[derive(Clone, Debug, Default)]
pub struct Reaper {
    critical: BTreeMap<CheckId, Critical>,
    looked_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Critical {
    /// The check's `since`: tells a verdict that went and came again from one that stayed.
    verdict: Timestamp,
    began: Instant,
}

impl Reaper {
    /// Looks at the checks of the agent's node and returns the instances to remove, each once. An
    /// instance that was not removed after all is returned again at the next look.
    pub fn look<'a>(
        &mut self,
        checks: impl IntoIterator<Item = &'a Check>,
        now: Instant,
        wall: Timestamp,
    ) -> BTreeSet<ServiceId> {
        let unseen = self.looked_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.looked_at = Some(now);
        let mut critical = BTreeMap::new();
        let mut due = BTreeSet::new();
        for check in checks {
            let Some(after) = reaps_after(check) else { continue };
            let known = self.critical.get(&check.id).filter(|it| it.verdict == check.since);
            let began = known.map_or_else(
                || now.checked_sub(wall.since(check.since).min(unseen)).unwrap_or(now),
                |known| known.began,
            );
            critical.insert(check.id.clone(), Critical { verdict: check.since, began });
            if now.saturating_duration_since(began) > after {
                due.insert(check.service_id.clone());
            }
        }
        self.critical = critical;
        due
    }
}

/// How long this check may go on being critical; `None` when it is not or when nothing would
/// follow.
#[must_use]
pub fn reaps_after(check: &Check) -> Option<Duration> {
    let after = check.definition.as_ref()?.deregister_critical_service_after;
    let counts = check.status == CheckStatus::Critical
        && check.origin == Origin::Agent
        && !check.service_id.is_empty()
        && !after.is_zero();
    counts.then(|| after.max(AFTER_MIN))
}
