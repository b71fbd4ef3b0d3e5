use std::sync::Arc;
use std::time::Duration;

use api::{LiveCheck, WriteOutcome};
use futures_util::FutureExt;
use model::{CheckDefinition, CheckId, CheckStatus, CheckType, NodeName, WatchKey};
use registry::{
    Cadence, CheckJudge, CheckRun, Command, LastRun, TtlJudge, alias_verdict, clip_note,
    output_bytes_max,
};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::probe::{ProbeResult, Prober};
use super::runners::{Heartbeat, Orders, Runners};
use super::truth::{Truth, Watch};

/// How soon a verdict that could not be written is tried again where no next run would do so.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The task of one check.
pub(super) struct Run<T, P> {
    pub(super) truth: T,
    pub(super) prober: Arc<P>,
    pub(super) node: NodeName,
    pub(super) id: CheckId,
    pub(super) definition: Arc<CheckDefinition>,
    pub(super) runners: Arc<Runners>,
    pub(super) turns: Arc<Semaphore>,
}

impl<T: Truth, P: Prober> Run<T, P> {
    /// Runs the check until it is told to stop; a probe that is under way then is dropped.
    pub(super) async fn run(self, kind: CheckType, mut orders: Orders) {
        let stop = orders.stop.clone();
        let work = async {
            match kind {
                CheckType::Ttl => self.await_heartbeats(orders).await,
                CheckType::Alias => self.follow(&orders).await,
                CheckType::Http
                | CheckType::Tcp
                | CheckType::Udp
                | CheckType::Grpc
                | CheckType::H2Ping
                | CheckType::Docker
                | CheckType::Script
                | CheckType::OsService => self.probe(&mut orders).await,
            }
        };
        tokio::select! {
            biased;
            () = stop.begun() => {}
            () = work => {}
        }
    }

    async fn probe(&self, orders: &mut Orders) {
        let cadence = Cadence::of(&self.definition);
        loop {
            let held = orders.hold.borrow_and_update().clone();
            if let Some(reason) = held {
                self.keep_critical(orders, &reason).await;
                continue;
            }
            let mut judge = CheckJudge::new(&self.definition);
            let mut turn = Turn { delay: cadence.first_delay(rand::random()), last_start: None };
            self.note(orders, |run| run.next = Some(Instant::now().into_std() + turn.delay));
            let mut hold = orders.hold.clone();
            loop {
                let result = tokio::select! {
                    biased;
                    () = changed(&mut hold) => break,
                    result = self.next_result(orders, &cadence, &mut turn) => result,
                };
                if hold.has_changed().unwrap_or(false) {
                    break;
                }
                self.runners.count(&self.id, result.status == CheckStatus::Critical);
                let last = last_run(&turn, &result);
                if let Some(status) = judge.judge(result.status) {
                    // If it could not be written, the next run tries again. The write is not dropped when the
                    // instance is held meanwhile: it might come true after the hold's own.
                    self.report(orders, status, result.output).await;
                }
                // What follows from the run alone is decided when the verdict that it led to is true.
                self.note(orders, |run| {
                    (run.failures_left, run.successes_left) =
                        (judge.failures_left(), judge.successes_left());
                    run.next = Some(Instant::now().into_std() + turn.delay);
                    run.last = Some(last);
                });
            }
        }
    }

    fn note(&self, orders: &Orders, change: impl FnOnce(&mut CheckRun)) {
        self.runners.note(&self.id, &orders.stop, change);
    }

    /// Makes the verdict critical, and waits until the instance is held no more, or for another reason.
    async fn keep_critical(&self, orders: &mut Orders, reason: &str) {
        let written = self.report(orders, CheckStatus::Critical, reason.to_owned()).await;
        let held = Some(reason.to_owned());
        self.note(orders, |run| (run.held, run.next, run.last) = (held, None, None));
        tokio::select! {
            () = changed(&mut orders.hold) => {}
            () = sleep(RETRY_DELAY), if !written => {}
        }
        self.note(orders, |run| run.held = None);
    }

    /// Waits for its turn and probes once.
    async fn next_result(
        &self,
        orders: &Orders,
        cadence: &Cadence,
        turn: &mut Turn,
    ) -> ProbeResult {
        tokio::select! {
            () = sleep(turn.delay) => {}
            () = orders.hurry.notified() => {
                if let Some(last) = turn.last_start {
                    sleep_until(cadence.hurried_start(last.into_std()).into()).await;
                }
            }
        }
        let _place = self.turns.acquire().await.expect("nobody closes the semaphore");
        turn.last_start = Some(Instant::now());
        // This run answers everybody who asked before it.
        let _ = orders.hurry.notified().now_or_never();
        let result = self.prober.probe(&self.definition).await;
        turn.delay = cadence.next_delay(rand::random());
        result
    }

    async fn await_heartbeats(&self, mut orders: Orders) {
        let now = Instant::now().into_std();
        let mut judge = TtlJudge::new(self.definition.ttl, now);
        if let Some(stored) = self.truth.catalog().check(&self.node.folded(), &self.id)
            && stored.status != CheckStatus::Critical
        {
            // The note of a heartbeat that came before this task, or before a restart.
            judge.handle_heartbeat(&stored.output, now);
        }
        let mut lapsed = false;
        self.note(&orders, |run| run.next = judge.poll_timeout());
        loop {
            tokio::select! {
                biased;
                heartbeat = next_heartbeat(&mut orders.heartbeats) => {
                    let output =
                        clip_note(&heartbeat.output, output_bytes_max(&self.definition));
                    judge.handle_heartbeat(&output, heartbeat.at.into_std());
                    let last = heartbeat.run(&output);
                    self.note(&orders, |run| {
                        (run.next, run.lapsed) = (judge.poll_timeout(), None);
                        run.last = Some(last);
                    });
                    if lapsed {
                        // The lapse may have been written after the heartbeat.
                        lapsed = !self.report(&orders, heartbeat.status, output).await;
                    } else {
                        self.show(&orders, heartbeat.status, output);
                    }
                }
                () = until(judge.poll_timeout()) => {
                    if let Some(output) = judge.handle_timeout(Instant::now().into_std()) {
                        lapsed = true;
                        let at = Instant::now().into_std();
                        self.note(&orders, |run| (run.next, run.lapsed) = (None, Some(at)));
                        self.report_lapse(&orders, output).await;
                    }
                }
            }
        }
    }

    /// Writes a lapse, again and again until it is written or a heartbeat comes.
    async fn report_lapse(&self, orders: &Orders, output: String) {
        loop {
            let written = self.report(orders, CheckStatus::Critical, output.clone()).await;
            let heartbeat_waits = orders.heartbeats.has_changed().unwrap_or(false);
            if written || heartbeat_waits {
                return;
            }
            sleep(RETRY_DELAY).await;
        }
    }

    async fn follow(&self, orders: &Orders) {
        let mut watch = self.truth.watch(&[WatchKey::Checks, WatchKey::Nodes]);
        loop {
            let verdict = {
                let catalog = self.truth.catalog();
                catalog
                    .check(&self.node.folded(), &self.id)
                    .map(|alias| alias_verdict(&catalog, alias))
            };
            let written = match verdict {
                Some((status, output)) => self.report(orders, status, output).await,
                None => true,
            };
            tokio::select! {
                () = watch.changed() => {}
                () = sleep(RETRY_DELAY), if !written => {}
            }
        }
    }

    /// Makes a verdict true if it is not. False if it could not be written.
    async fn report(&self, orders: &Orders, status: CheckStatus, output: String) -> bool {
        let before = self.truth.catalog().check(&self.node.folded(), &self.id).cloned();
        let written = match before {
            None => return true,
            // The first output is written whatever it says: until then nobody knows why the check is critical.
            Some(before) if before.status == status && !before.output.is_empty() => true,
            Some(before) => {
                let before = before.status;
                let command = Command::SetCheckStatus {
                    node: self.node.clone(),
                    id: self.id.clone(),
                    status,
                    output: output.clone(),
                    output_matters: false,
                };
                match self.truth.run(command).await {
                    WriteOutcome::Done(..) => {
                        if before != status {
                            tracing::info!(check = %self.id, %before, now = %status, "check changed");
                        }
                        true
                    }
                    WriteOutcome::Rejected(reason) => {
                        tracing::debug!(check = %self.id, %reason, "the check is gone");
                        true
                    }
                    WriteOutcome::Failed(reason) => {
                        tracing::warn!(check = %self.id, %status, reason, "cannot write a verdict");
                        false
                    }
                }
            }
        };
        self.show(orders, status, output);
        written
    }

    /// Shows the result to those who ask for the freshest.
    fn show(&self, orders: &Orders, status: CheckStatus, output: String) {
        if let Some(stored) = self.truth.catalog().check(&self.node.folded(), &self.id) {
            self.runners.set_live(&orders.stop, LiveCheck { status, output }, stored);
        }
    }
}

/// When a check is run next.
struct Turn {
    delay: Duration,
    last_start: Option<Instant>,
}

/// A run that has ended just now.
fn last_run(turn: &Turn, result: &ProbeResult) -> LastRun {
    let ended = Instant::now().into_std();
    LastRun {
        started: turn.last_start.map_or(ended, Instant::into_std),
        ended,
        status: result.status,
        output: result.output.clone(),
    }
}

/// Resolves at the next change.
async fn changed<T>(of: &mut watch::Receiver<T>) {
    if of.changed().await.is_err() {
        // The check is gone; its task is about to be stopped.
        std::future::pending().await
    }
}

/// Resolves at `at`, or never.
async fn until(at: Option<std::time::Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

async fn next_heartbeat(heartbeats: &mut watch::Receiver<Option<Heartbeat>>) -> Heartbeat {
    loop {
        changed(heartbeats).await;
        if let Some(heartbeat) = heartbeats.borrow_and_update().clone() {
            return heartbeat;
        }
    }
}
