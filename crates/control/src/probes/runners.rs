use std::collections::BTreeMap;
use std::sync::Arc;

use api::LiveCheck;
use model::{Check, CheckDefinition, CheckId, CheckStatus, CheckType, ServiceId};
use parking_lot::Mutex;
use registry::{CheckRun, LastRun};
use runtime::Drain;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::live::LiveChecks;

/// The checks that are being run, and how to reach the task of each.
#[derive(Default)]
pub(super) struct Runners {
    by_check: Mutex<BTreeMap<CheckId, Runner>>,
    /// Instances without a process, each with the reason. Locked before `by_check`.
    held: Mutex<BTreeMap<ServiceId, String>>,
    live: LiveChecks,
    /// Counts what is noted of runs.
    ran: watch::Sender<u64>,
}

/// What the reconciler holds of one check's task.
struct Runner {
    definition: Arc<CheckDefinition>,
    service: ServiceId,
    stop: Drain,
    hurry: Arc<Notify>,
    heartbeats: watch::Sender<Option<Heartbeat>>,
    hold: watch::Sender<Option<String>>,
    run: CheckRun,
    /// Probes that failed since one passed, or since the instance was held last.
    failed_in_row: u32,
}

/// A heartbeat of a TTL check.
#[derive(Clone, Debug)]
pub(super) struct Heartbeat {
    /// When it came.
    pub(super) at: Instant,
    /// The status that it told.
    pub(super) status: CheckStatus,
    /// Its note.
    pub(super) output: String,
}

impl Heartbeat {
    /// The heartbeat as a run, with its note as it is kept.
    pub(super) fn run(&self, output: &str) -> LastRun {
        let at = self.at.into_std();
        LastRun { started: at, ended: at, status: self.status, output: output.to_owned() }
    }
}

/// What the task of one check hears.
pub(super) struct Orders {
    /// The check is gone, or its definition changed.
    pub(super) stop: Drain,
    /// Run now. Orders that come while one waits are one.
    pub(super) hurry: Arc<Notify>,
    /// The latest heartbeat; earlier ones that were not read do not matter any more.
    pub(super) heartbeats: watch::Receiver<Option<Heartbeat>>,
    /// Why the instance cannot be well whatever a probe says, if that is so. What a probe that began before a change
    /// of this saw does not count.
    pub(super) hold: watch::Receiver<Option<String>>,
}

impl Runners {
    /// Freshest results.
    pub(super) fn live(&self) -> &LiveChecks {
        &self.live
    }

    /// Passes a heartbeat on to the check's task.
    pub(super) fn heartbeat(&self, id: &CheckId, status: CheckStatus, output: String) {
        if let Some(runner) = self.by_check.lock().get(id) {
            let heartbeat = Heartbeat { at: Instant::now(), status, output };
            runner.heartbeats.send_replace(Some(heartbeat));
        }
    }

    /// Has the checks of an instance run now.
    pub(super) fn hurry(&self, service: &ServiceId) {
        for runner in self.by_check.lock().values().filter(|it| it.service == *service) {
            runner.hurry.notify_one();
        }
    }

    /// Has the probes of an instance rest, its checks being critical for this reason, until [`Runners::release`].
    pub(super) fn hold(&self, service: &ServiceId, reason: &str) {
        let mut held = self.held.lock();
        held.insert(service.clone(), reason.to_owned());
        self.tell_hold(service, Some(reason));
    }

    /// The instance is probed again.
    pub(super) fn release(&self, service: &ServiceId) {
        let mut held = self.held.lock();
        if held.remove(service).is_some() {
            self.tell_hold(service, None);
        }
    }

    fn tell_hold(&self, service: &ServiceId, reason: Option<&str>) {
        for runner in self.by_check.lock().values_mut().filter(|it| it.service == *service) {
            runner.failed_in_row = 0;
            runner.hold.send_replace(reason.map(str::to_owned));
        }
    }

    /// Notes how a check goes, unless its task was told to stop.
    pub(super) fn note(&self, id: &CheckId, orders: &Drain, change: impl FnOnce(&mut CheckRun)) {
        if let Some(runner) = self.by_check.lock().get_mut(id)
            && !orders.has_begun()
        {
            change(&mut runner.run);
        }
        self.ran.send_modify(|it| *it = it.wrapping_add(1));
    }

    /// How the checks of an instance go; of the node with an empty id.
    pub(super) fn runs(&self, service: &ServiceId) -> Vec<CheckRun> {
        let by_check = self.by_check.lock();
        by_check.values().filter(|it| it.service == *service).map(|it| it.run.clone()).collect()
    }

    /// Changes whenever something is noted of a run.
    pub(super) fn ran(&self) -> watch::Receiver<u64> {
        self.ran.subscribe()
    }

    /// A probe of a check has ended.
    pub(super) fn count(&self, id: &CheckId, has_failed: bool) {
        if let Some(runner) = self.by_check.lock().get_mut(id) {
            runner.failed_in_row =
                if has_failed { runner.failed_in_row.saturating_add(1) } else { 0 };
        }
    }

    /// How often a check of the instance has failed in a row by now; that of the worst.
    pub(super) fn failed_in_row(&self, service: &ServiceId) -> u32 {
        let by_check = self.by_check.lock();
        let of_it = by_check.values().filter(|it| it.service == *service);
        of_it.map(|it| it.failed_in_row).max().unwrap_or_default()
    }

    /// Takes the freshest result of a check, unless its task was told to stop.
    pub(super) fn set_live(&self, orders: &Drain, fresh: LiveCheck, stored: &Check) {
        // Under the lock, so that it cannot come after the removal of the check.
        let _running = self.by_check.lock();
        if !orders.has_begun() {
            self.live.set(&stored.id, fresh, stored);
        }
    }

    /// Stops the tasks of checks that are not among `wanted` or are defined otherwise there.
    /// Returns the checks that have no task.
    pub(super) fn retain<'a>(&self, wanted: BTreeMap<&'a CheckId, &'a Check>) -> Vec<&'a Check> {
        let mut by_check = self.by_check.lock();
        by_check.retain(|id, runner| {
            let stays = wanted.get(id).is_some_and(|check| {
                check.definition.as_ref() == Some(&runner.definition)
                    && check.service_id == runner.service
            });
            if !stays {
                runner.stop.begin();
                self.live.remove(id);
            }
            stays
        });
        wanted.into_values().filter(|check| !by_check.contains_key(&check.id)).collect()
    }

    /// Makes room for the task of a check; `stop` ends it.
    pub(super) fn insert(
        &self,
        check: &Check,
        definition: &Arc<CheckDefinition>,
        kind: CheckType,
        stop: Drain,
    ) -> Orders {
        let hurry = Arc::new(Notify::new());
        let (heartbeats, latest) = watch::channel(None);
        let held = self.held.lock();
        let (hold, held_now) = watch::channel(held.get(&check.service_id).cloned());
        let runner = Runner {
            definition: Arc::clone(definition),
            service: check.service_id.clone(),
            stop: stop.clone(),
            hurry: Arc::clone(&hurry),
            heartbeats,
            hold,
            run: CheckRun::new(check.id.clone(), kind),
            failed_in_row: 0,
        };
        self.by_check.lock().insert(check.id.clone(), runner);
        Orders { stop, hurry, heartbeats: latest, hold: held_now }
    }
}
