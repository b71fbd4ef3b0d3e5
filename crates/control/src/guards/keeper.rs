use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::WriteOutcome;
use model::{Catalog, DocumentChange, NodeName, Revision, Timestamp};
use parking_lot::Mutex;
use proxy_config::HostUses;
use recovery::{Counts, Guard, GuardVerdict, ScopeCounts, Watched};
use registry::{Command, RecordCondition};
use tokio::sync::mpsc;

use super::kept::{Active, Kept, Stage};
use super::memory::Memory;
use super::report::GuardState;
use super::{Order, Shown, scopes};
use crate::compilation::Compilation;
use crate::fleet::ProxyAt;
use crate::mesh::Mesh;

/// Pause between two looks while something is guarded, and while nothing is.
const LOOK_PAUSE: Duration = Duration::from_millis(250);
const IDLE_PAUSE: Duration = Duration::from_secs(1);
/// How often the evidence is stored.
const EVIDENCE_PAUSE_MS: u64 = 2000;
/// How long after it was asked for a change may be made.
const CHANGE_TIMEOUT_MS: u64 = 10_000;
/// How long proxies are waited for after a change was taken back.
const SETTLE_TIMEOUT_MS: u64 = 10_000;
/// Guards at the same time. The evidence of each is a few hundred KiB in the store at most, and written every 2 s; its
/// documents are written once.
const ACTIVE_MAX: usize = 16;
/// Documents of a guard.
const DOCUMENTS_MAX: usize = 1000;

/// The task that looks after all guards.
pub(super) struct Keeper {
    pub(super) mesh: Mesh,
    pub(super) compilation: Compilation,
    pub(super) node: NodeName,
    pub(super) kept: Kept,
    pub(super) memory: Memory,
    /// Revision at which a change was taken back that the proxies have not acknowledged yet, and how long they are waited
    /// for, in milliseconds since 1970.
    pub(super) settling: Option<(Revision, u64)>,
    /// When the store last got it, in milliseconds since 1970.
    pub(super) persisted_ms: u64,
    /// Something has changed that the store does not have yet.
    pub(super) is_dirty: bool,
    pub(super) shared: Arc<Mutex<Shown>>,
}

impl Keeper {
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            self.look().await;
            let pause = if self.kept.active.is_empty() { IDLE_PAUSE } else { LOOK_PAUSE };
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Begin(changes, window, reply)) => {
                        // Who asked may have gone; then the change is not made.
                        let _ = reply.send(self.begin(changes, window).await);
                    }
                    Some(Order::Look(given_up)) => {
                        let is_given_up = |it: &Active| {
                            Some(it.id) == given_up && matches!(it.stage, Stage::Asked)
                        };
                        let count = self.kept.active.len();
                        self.kept.active.retain(|it| !is_given_up(it));
                        if self.kept.active.len() < count {
                            self.persist().await;
                        }
                    }
                    None => return,
                },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Looks at what the proxies count, and at each guard.
    async fn look(&mut self) {
        let now_ms = runtime::unix_ms();
        let seen = self.compilation.fleet().host_uses();
        self.remember(&seen, now_ms);
        let ids: Vec<u64> = self.kept.active.iter().map(|it| it.id).collect();
        for id in ids {
            // One that has to be taken back is stored so first, then it is.
            while self.step_of(id, &seen, now_ms).await && self.is_undoing(id) {}
        }
        let is_old = now_ms.saturating_sub(self.persisted_ms) >= EVIDENCE_PAUSE_MS;
        if !self.kept.active.is_empty() && is_old {
            self.persist().await;
        }
        self.show();
    }

    /// Takes in what the proxies say. Until they have acknowledged that a change was taken back, what comes is its.
    fn remember(&mut self, seen: &[(ProxyAt, Arc<HostUses>)], now_ms: u64) {
        let Some((revision, deadline_ms)) = self.settling else {
            self.memory.take(seen, now_ms);
            return;
        };
        self.memory.pass_over(seen);
        if now_ms >= deadline_ms || seen.iter().all(|it| it.0.acknowledged >= revision) {
            self.settling = None;
        }
    }

    /// Goes on with one guard, and stores all if it came to something new. False when it did not.
    async fn step_of(&mut self, id: u64, seen: &[(ProxyAt, Arc<HostUses>)], now_ms: u64) -> bool {
        let Some(at) = self.kept.active.iter().position(|it| it.id == id) else { return false };
        let mut guard = self.kept.active.remove(at);
        let goes_on = self.step(&mut guard, seen, now_ms).await;
        if goes_on {
            let at = self.kept.active.partition_point(|it| it.id < id);
            self.kept.active.insert(at, guard);
        }
        let is_new = std::mem::take(&mut self.is_dirty);
        is_new && self.persist().await
    }

    fn is_undoing(&self, id: u64) -> bool {
        let guard = self.kept.active.iter().find(|it| it.id == id);
        guard.is_some_and(|it| matches!(it.stage, Stage::Undoing { .. }))
    }

    /// Goes on with one guard. False when it has ended.
    async fn step(
        &mut self,
        guard: &mut Active,
        seen: &[(ProxyAt, Arc<HostUses>)],
        now_ms: u64,
    ) -> bool {
        let catalog = self.mesh.catalog();
        match &mut guard.stage {
            Stage::Asked => self.begin_watching(guard, &catalog, now_ms),
            Stage::Watching { revision, guard: judge } => {
                let with_it = seen.iter().filter(|it| it.0.acknowledged >= *revision);
                let reports: Vec<(String, Vec<ScopeCounts>)> = with_it
                    .map(|(proxy, uses)| {
                        let counts = guard.scopes.iter().map(|it| it.0.counts(uses)).collect();
                        (proxy.name.clone(), counts)
                    })
                    .collect();
                judge.observe(&reports, Timestamp(now_ms));
                let (verdict, elapsed_ms) = (judge.verdict(), judge.elapsed_ms());
                if guard.is_replaced(&catalog) {
                    // One that takes its place has still to learn from it what was good.
                    if self.kept.active.iter().any(|it| it.replaces(guard)) {
                        return true;
                    }
                    let reason = "all of its documents have been changed again since".to_owned();
                    return self.end(guard, GuardState::Superseded, reason);
                }
                self.follow(guard, verdict, elapsed_ms)
            }
            Stage::Undoing { .. } => self.undo(guard).await,
        }
    }

    fn follow(&mut self, guard: &mut Active, verdict: GuardVerdict, elapsed_ms: u64) -> bool {
        match verdict {
            GuardVerdict::Watching { .. } => true,
            GuardVerdict::Regression(breach) => {
                let seconds = elapsed_ms as f64 / 1000.0;
                let reason = format!("{breach}; found {seconds:.1} s after the change");
                guard.stage = Stage::Undoing { reason };
                self.is_dirty = true;
                true
            }
            GuardVerdict::Fine { before, after } => {
                let reason = format!("{}, before {}", failed(&after), failed(&before));
                self.end(guard, GuardState::Fine, reason)
            }
            GuardVerdict::Undecided { requests } => {
                let reason = format!(
                    "nothing is wrong, but {requests} requests are too few to say that it is as good"
                );
                self.end(guard, GuardState::Undecided, reason)
            }
        }
    }

    /// Takes a change back. False when that is done.
    async fn undo(&mut self, guard: &mut Active) -> bool {
        let Stage::Undoing { reason } = &guard.stage else { return true };
        let reason = reason.clone();
        match self.mesh.run(Command::RestoreDocuments(guard.changes.clone())).await {
            WriteOutcome::Done(revision, _) => {
                self.settling = Some((revision, runtime::unix_ms() + SETTLE_TIMEOUT_MS));
            }
            WriteOutcome::Rejected(rejection) => {
                tracing::error!(guard = guard.id, %rejection, "a change cannot be taken back");
                return true;
            }
            WriteOutcome::Failed(error) => {
                tracing::error!(guard = guard.id, error, "a change cannot be taken back");
                return true;
            }
        }
        self.memory.forget_since(guard.began_ms);
        for waiting in &mut self.kept.active {
            if matches!(waiting.stage, Stage::Asked) {
                waiting.inherit(guard);
            }
        }
        self.end(guard, GuardState::Undone, reason)
    }

    /// Ends a guard and says so; always false.
    fn end(&mut self, guard: &Active, state: GuardState, reason: String) -> bool {
        let now_ms = runtime::unix_ms();
        let names: Vec<String> = guard.changes.iter().map(|it| it.key.to_string()).collect();
        let (documents, id) = (names.join(", "), guard.id);
        match state {
            GuardState::Undone => {
                tracing::warn!(guard = id, documents, reason, "a guarded change is taken back");
            }
            GuardState::Fine
            | GuardState::Undecided
            | GuardState::Superseded
            | GuardState::Watching => {
                let state = state.as_str();
                tracing::info!(guard = id, documents, state, reason, "a guard has ended");
            }
        }
        self.kept.conclude(guard, state, reason, (&self.mesh.catalog(), now_ms));
        self.is_dirty = true;
        false
    }

    /// Puts a guard into the store, so that its change can be made.
    async fn begin(
        &mut self,
        changes: Vec<DocumentChange>,
        window: Duration,
    ) -> Result<u64, String> {
        if self.kept.active.len() >= ACTIVE_MAX {
            return Err(format!(
                "{ACTIVE_MAX} changes are guarded already; wait until one has ended"
            ));
        }
        if changes.len() > DOCUMENTS_MAX {
            return Err(format!("more than {DOCUMENTS_MAX} documents cannot be guarded at once"));
        }
        let now_ms = runtime::unix_ms();
        let seen = self.compilation.fleet().host_uses();
        self.remember(&seen, now_ms);
        let (remembered, before_ms) = self.memory.slices();
        self.memory.cut();
        self.kept.last_id += 1;
        let mut guard = Active {
            id: self.kept.last_id,
            began_ms: now_ms,
            window_ms: u64::try_from(window.as_millis()).unwrap_or(u64::MAX),
            changes,
            is_unsaved: true,
            scopes: Vec::new(),
            before_ms,
            stage: Stage::Asked,
            remembered,
        };
        let objects = guard.objects(&self.mesh.catalog());
        guard.add_scopes(self.touched(&objects, &guard));
        let id = guard.id;
        self.kept.active.push(guard);
        if !self.persist().await {
            self.kept.active.pop();
            return Err("the guard cannot be stored".to_owned());
        }
        self.show();
        Ok(id)
    }

    fn touched(&self, objects: &BTreeSet<String>, guard: &Active) -> Vec<scopes::Scope> {
        scopes::touched(&self.compilation.configs().borrow(), objects, &guard.remembered)
    }

    /// Begins to watch when the change has been made. False when it will not be.
    fn begin_watching(&mut self, guard: &mut Active, catalog: &Catalog, now_ms: u64) -> bool {
        if !guard.is_made(catalog) {
            if now_ms.saturating_sub(guard.began_ms) < CHANGE_TIMEOUT_MS {
                return true;
            }
            let reason = "its change was not made, or changed again at once".to_owned();
            return self.end(guard, GuardState::Superseded, reason);
        }
        let revision = guard.revision(catalog);
        if self.compilation.configs().borrow().revision < revision {
            return true;
        }
        let is_replaced = |earlier: &mut Active| guard.replaces(earlier);
        let replaced: Vec<Active> = self.kept.active.extract_if(.., is_replaced).collect();
        for earlier in replaced.iter().rev() {
            guard.take_over(earlier, catalog);
        }
        guard.add_scopes(self.touched(&guard.objects(catalog), guard));
        guard.remembered.clear();
        let watched = guard.scopes.iter().map(|(scope, before)| Watched {
            name: scope.name(),
            is_whole: scope.is_whole(),
            before: before.clone(),
        });
        let now = Timestamp(now_ms);
        let judge = Guard::new(watched.collect(), guard.before_ms, guard.window_ms, now);
        guard.stage = Stage::Watching { revision, guard: Box::new(judge) };
        for earlier in &replaced {
            let reason = format!("guard {} watches over its documents now", guard.id);
            self.end(earlier, GuardState::Superseded, reason);
        }
        self.is_dirty = true;
        true
    }

    /// Stores all: what is guarded first, and what is guarded no more goes last, so that each guard in the store has it. False
    /// when that failed.
    async fn persist(&mut self) -> bool {
        for at in 0..self.kept.active.len() {
            if self.kept.active[at].is_unsaved {
                let record = self.kept.active[at].changes_record(&self.node);
                if !self.write(Command::PutRecord { record, when: RecordCondition::Always }).await {
                    return false;
                }
                self.kept.active[at].is_unsaved = false;
            }
        }
        let record = self.kept.record(&self.node);
        if !self.write(Command::PutRecord { record, when: RecordCondition::Always }).await {
            return false;
        }
        self.persisted_ms = runtime::unix_ms();
        for key in self.kept.left_over(&self.mesh.catalog(), &self.node) {
            // One that stays is seen again the next time.
            self.write(Command::DeleteRecord { key, when: RecordCondition::Always }).await;
        }
        true
    }

    async fn write(&self, command: Command) -> bool {
        match self.mesh.run(command).await {
            WriteOutcome::Done(..) => true,
            WriteOutcome::Rejected(rejection) => {
                tracing::error!(%rejection, "the state of guards cannot be stored");
                false
            }
            WriteOutcome::Failed(error) => {
                tracing::error!(error, "the state of guards cannot be stored");
                false
            }
        }
    }

    /// Shows readers how all guards are.
    pub(super) fn show(&self) {
        let catalog = self.mesh.catalog();
        let shown = Shown {
            active: self.kept.active.iter().map(|it| it.report(&catalog)).collect(),
            past: self.kept.past.iter().cloned().collect(),
        };
        *self.shared.lock() = shown;
    }
}

fn failed(counts: &Counts) -> String {
    let percent = counts.failure_rate() * 100.0;
    format!("{} of {} requests failed ({percent:.2} %)", counts.failures, counts.requests)
}
