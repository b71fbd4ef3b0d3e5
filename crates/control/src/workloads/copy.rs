//! One copy of a workload: its process is started, watched, restarted as `recovery` says, and told to end.

use std::fmt;
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::WriteOutcome;
use model::workload::PortChoice;
use model::{Catalog, CheckId, CheckStatus, ServiceId, Timestamp};
use parking_lot::Mutex;
use recovery::{AttemptEnd, CheckAction, Ended, Next, Restart, RestartMemory};
use registry::Command;
use runtime::{ChildError, Drain, Exit, Process, ProcessId, Rotation, Tasks};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::job;
use super::limits::{Enforcement, told_out_of_memory};
use super::plan::{self, CopyPlan};
use crate::mesh::Mesh;
use crate::probes::ProbesHandle;

/// First pause before a started process is probed; it doubles up to [`LOOK_PAUSE_MAX`], until the checks pass.
const LOOK_PAUSE_MIN: Duration = Duration::from_millis(10);
/// Longest pause between two looks at a running copy.
const LOOK_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Longest wait for the end of a process after its signal when the agent itself ends.
const GRACE_AT_EXIT_MAX: Duration = Duration::from_secs(5);

/// Number of the signal that kills, on every kind of Linux.
const SIGKILL: i32 = 9;
/// Pause before a process is killed once more that did not end by it, as one that hangs in the kernel does not.
const KILL_AGAIN_PAUSE: Duration = Duration::from_secs(10);

/// What copies need of the agent.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub mesh: Mesh,
    pub probes: ProbesHandle,
    pub enforcement: Arc<Enforcement>,
    /// Told when something has happened to a copy.
    pub wake: Arc<Notify>,
    pub tasks: Tasks,
}

impl Surroundings {
    /// Runs a command that is about `subject`; when it is not done, the log says so. True when it is.
    pub(super) async fn write(
        &self,
        command: Command,
        subject: impl fmt::Display,
        failure: &str,
    ) -> bool {
        let outcome = self.mesh.run(command).await;
        tell_failure(&outcome, subject, failure);
        matches!(outcome, WriteOutcome::Done(..))
    }

    /// The process of a registered copy runs: it is probed from now on.
    pub(super) async fn begin(&self, plan: &CopyPlan, pid: u32) {
        let text = format!("process {pid} runs");
        self.set_check(plan, plan.process_check(), CheckStatus::Passing, &text).await;
        self.probes.release(&plan.id());
        self.probes.probe_now(&plan.node, &plan.id());
    }

    async fn set_check(&self, plan: &CopyPlan, id: CheckId, status: CheckStatus, output: &str) {
        let command = Command::SetCheckStatus {
            node: plan.node.clone(),
            id,
            status,
            output: output.to_owned(),
            output_matters: true,
        };
        let outcome = self.mesh.run(command).await;
        // A check that is gone belongs to an instance that somebody deregistered.
        if matches!(outcome, WriteOutcome::Failed(_)) {
            tell_failure(&outcome, plan.id(), "the state of its process cannot be registered");
        }
    }
}

/// Has the log say what was not done, and why; nothing if it was.
pub(super) fn tell_failure(outcome: &WriteOutcome, subject: impl fmt::Display, failure: &str) {
    match outcome {
        WriteOutcome::Done(..) => {}
        WriteOutcome::Rejected(reason) => tracing::error!(%subject, %reason, "{failure}"),
        WriteOutcome::Failed(error) => tracing::error!(%subject, error, "{failure}"),
    }
}

/// A copy that is looked after.
pub(super) struct CopyHandle {
    pub plan: Arc<CopyPlan>,
    /// It is marked so that no proxy uses it for new requests, because it is about to be stopped.
    pub is_draining: bool,
    state: Arc<Mutex<CopyState>>,
    stop: watch::Sender<bool>,
}

/// How a copy is.
#[derive(Clone, Debug)]
pub(super) struct CopyState {
    pub stage: Stage,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// Its process, if it has one.
    pub process: Option<ProcessId>,
    /// How often its process has ended by itself.
    pub crashes: u32,
    /// How its process ended last; empty before the first end.
    pub last_end: String,
    /// Of a try of a job: how it ended, once it has.
    pub end: Option<AttemptEnd>,
    /// What is known of its restarts.
    pub restart: RestartMemory,
    /// When it is started again, in milliseconds since 1970; only while it waits for that.
    pub starts_at_ms: Option<u64>,
    /// Somebody else has taken its port while it had no process.
    pub has_lost_port: bool,
    /// Why its process is not in a group that limits it, though there are such groups here.
    pub ungrouped: Option<String>,
}

impl CopyState {
    /// What is to be known of it when it is looked after anew.
    pub(super) fn past(&self) -> CopyPast {
        let (crashes, last_end) = (self.crashes, self.last_end.clone());
        CopyPast { crashes, last_end, restart: self.restart.clone() }
    }
}

/// What has become of a copy so far.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct CopyPast {
    /// How often its process has ended by itself.
    pub crashes: u32,
    /// How its process ended last.
    pub last_end: String,
    /// Its restarts.
    pub restart: RestartMemory,
}

/// How far a copy is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    Starting,
    Running,
    /// Its process ended; it is started again later.
    Waiting,
    Stopping,
    /// Its process ended too often; an operator has to look.
    Held,
    /// Its process ended, and is not started again.
    Left,
    /// It was told to stop, and has.
    Stopped,
}

impl Stage {
    /// Nothing of it runs, and nothing will.
    pub(super) fn is_over(self) -> bool {
        match self {
            Self::Left | Self::Held | Self::Stopped => true,
            Self::Starting | Self::Running | Self::Waiting | Self::Stopping => false,
        }
    }
}

impl CopyHandle {
    /// Begins to look after a copy of which `past` is known; with `adopted`, after a process that runs already.
    pub(super) fn start(
        plan: Arc<CopyPlan>,
        log: PathBuf,
        around: &Surroundings,
        past: CopyPast,
        adopted: Option<Process>,
    ) -> Self {
        let state = Arc::new(Mutex::new(CopyState {
            stage: Stage::Starting,
            since_ms: runtime::unix_ms(),
            process: None,
            crashes: past.crashes,
            last_end: past.last_end,
            end: None,
            restart: past.restart,
            starts_at_ms: None,
            has_lost_port: false,
            ungrouped: None,
        }));
        let (stop, stops) = watch::channel(false);
        let task = CopyTask {
            plan: Arc::clone(&plan),
            log,
            around: around.clone(),
            drain: around.tasks.drain(),
            state: Arc::clone(&state),
            stops,
        };
        around.tasks.spawn("copy of a workload", task.run(adopted));
        Self { plan, is_draining: false, state, stop }
    }

    pub(super) fn state(&self) -> CopyState {
        self.state.lock().clone()
    }

    /// Tells its process to end; it is not started again.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }
}

/// Whether a copy could be used: its checks, and those of its node, pass; what keeps it out of use otherwise does not count,
/// nor what proxies see of it, which a rollout judges by their counters and a restart would not mend.
pub(super) fn is_ready(catalog: &Catalog, plan: &CopyPlan) -> bool {
    let mut of_node = catalog.checks_of_instance(&plan.node.folded(), &ServiceId::default());
    let has_node = of_node.all(|it| it.is_maintenance() || it.status == CheckStatus::Passing);
    plan.spec.service.is_none() || (has_node && is_well(catalog, plan))
}

/// Whether its own checks pass.
fn is_well(catalog: &Catalog, plan: &CopyPlan) -> bool {
    let node = plan.node.folded();
    // Somebody may have deregistered it, or only its check.
    let is_registered = catalog.instance(&node, &plan.id()).is_some()
        && catalog.check(&node, &plan.process_check()).is_some();
    let mut checks = catalog.checks_of_instance(&node, &plan.id());
    is_registered
        && checks
            .all(|it| it.is_maintenance() || it.is_sightings() || it.status == CheckStatus::Passing)
}

/// A process was told to end.
struct Told {
    kill_at: Instant,
    /// It is started again.
    goes_on: bool,
}

struct CopyTask {
    plan: Arc<CopyPlan>,
    log: PathBuf,
    around: Surroundings,
    drain: Drain,
    state: Arc<Mutex<CopyState>>,
    stops: watch::Receiver<bool>,
}

impl CopyTask {
    async fn run(self, mut adopted: Option<Process>) {
        let mut restart = plan::restart(&self.plan.spec);
        let past = self.state.lock().restart.clone();
        restart.remember(&past, runtime::monotonic(), Timestamp(runtime::unix_ms()));
        if restart.is_held() && adopted.is_none() {
            let restarts = restart.restarts();
            if !self.rest(Next::Hold { restarts }).await {
                return;
            }
        }
        loop {
            let Some(ended) = self.run_once(adopted.take(), &mut restart).await else { return };
            let next = restart.handle_ended(ended, runtime::monotonic(), &mut rand::rng());
            let memory = restart.memory(runtime::monotonic(), Timestamp(runtime::unix_ms()));
            self.state.lock().restart = memory;
            if !self.rest(next).await {
                return;
            }
        }
    }

    /// Starts it, and waits for its end; `None` when it is not to be started again.
    async fn run_once(&self, adopted: Option<Process>, restart: &mut Restart) -> Option<Ended> {
        self.set(Stage::Starting, None);
        let started = match adopted {
            Some(process) => Ok(process),
            None => self.start().await,
        };
        match started {
            Ok(process) => {
                restart.handle_started(runtime::monotonic());
                self.watch(process, restart).await
            }
            Err(text) => {
                self.note_end(&text, true);
                self.take_out(&text).await;
                self.note_attempt(AttemptEnd { is_well: false, is_interrupted: false, text });
                Some(Ended::Badly)
            }
        }
    }

    /// Waits until it may be started again; false when it is not to be.
    async fn rest(&self, next: Next) -> bool {
        let mut stops = self.stops.clone();
        let until = match next {
            Next::StartAt(at) => {
                self.set(Stage::Waiting, None);
                self.state.lock().starts_at_ms = Some(crate::sightings::now().wall_at(at).0);
                Some(at)
            }
            Next::Leave => {
                self.set(Stage::Left, None);
                None
            }
            Next::Hold { restarts } => {
                tracing::error!(
                    copy = %self.plan.id(), restarts,
                    "held: it ends again and again, and is not started any more"
                );
                self.set(Stage::Held, None);
                None
            }
        };
        let pause = async {
            if let Some(at) = until {
                tokio::time::sleep_until(at.into()).await;
                if !self.has_lost_port().await {
                    return;
                }
                // It is given another port, and looked after anew.
                self.state.lock().has_lost_port = true;
                self.around.wake.notify_one();
            }
            std::future::pending().await
        };
        tokio::select! {
            () = pause => true,
            () = told_to_stop(&mut stops) => {
                self.set(Stage::Stopped, None);
                false
            }
            () = self.drain.begun() => false,
        }
    }

    /// Whether somebody else listens on the port that was chosen for it.
    async fn has_lost_port(&self) -> bool {
        let Some(port) = self.plan.port.filter(|_| self.plan.spec.port == PortChoice::Auto) else {
            return false;
        };
        let address = self.plan.address.clone();
        let bound = move || TcpListener::bind((&*address, port)).map(drop);
        let bound = tokio::task::spawn_blocking(bound).await;
        matches!(bound, Ok(Err(error)) if error.kind() == io::ErrorKind::AddrInUse)
    }

    /// Files are read and made for it, and another thread forks.
    async fn start(&self) -> Result<Process, String> {
        let (plan, log) = (Arc::clone(&self.plan), self.log.clone());
        let enforcement = Arc::clone(&self.around.enforcement);
        let left = enforcement.group_of(&plan.id());
        // Left by a life of the agent that could not end it. Of a try whose end is recorded it is not known here that it has ended.
        if let Some(left) = left.filter(|_| plan.record.is_none()) {
            left.end().await;
        }
        let start = move || {
            let mut spec = plan.process(&log)?;
            let group = enforcement.group_for(&plan.id(), &plan.spec.limits);
            spec.group = group.as_ref().ok().cloned().flatten();
            let process = Process::start(&spec).map_err(|error| describe(&error))?;
            let is_outside = spec.group.is_some() && process.group().is_none();
            let refused = is_outside.then(|| "its process could not enter its group".to_owned());
            Ok((process, group.err().or(refused)))
        };
        let started = tokio::task::spawn_blocking(start).await;
        let started = started.unwrap_or_else(|_| Err("the agent is shutting down".to_owned()));
        let (process, ungrouped) = started?;
        if let Some(reason) = &ungrouped {
            tracing::warn!(copy = %self.plan.id(), reason, "each of its processes is limited alone");
        }
        self.state.lock().ungrouped = ungrouped;
        Ok(process)
    }

    /// From start to end of one run; `None` when it is not to be started again.
    async fn watch(&self, mut process: Process, restart: &mut Restart) -> Option<Ended> {
        let mut stops = self.stops.clone();
        let pid = process.id().pid;
        self.set(Stage::Running, Some(process.id()));
        self.begin(pid).await;
        let mut pause = LOOK_PAUSE_MIN;
        let mut look_at = runtime::monotonic() + pause;
        let mut told: Option<Told> = None;
        let mut rotation = None;
        loop {
            let (is_told, kill_at) = (told.is_some(), told.as_ref().map(|it| it.kill_at));
            tokio::select! {
                exit = process.end() => {
                    let (text, ended) = told_end(&exit);
                    let is_out_of_memory = process.was_out_of_memory();
                    // An adopted one does not say how it ended.
                    let is_killed = matches!(exit, Ok(Some(Exit::Signal(SIGKILL)) | None));
                    let told_memory = is_out_of_memory
                        .then(|| told_out_of_memory(&self.plan.spec.limits, is_killed));
                    let told_memory = told_memory.unwrap_or_default();
                    let text = format!("process {pid} ended: {told_memory}{text}");
                    self.note_recorded_end(&text, is_out_of_memory).await;
                    let goes_on = told.as_ref().is_none_or(|it| it.goes_on);
                    self.note_end(&text, goes_on);
                    self.take_out(&text).await;
                    if goes_on {
                        if self.plan.record.is_some() {
                            return Some(ended);
                        }
                        tracing::warn!(copy = %self.plan.id(), "{text}");
                        let was_told = told.is_some();
                        return Some(if was_told { Ended::Badly } else { ended });
                    }
                    self.set(Stage::Stopped, None);
                    return None;
                }
                () = told_to_stop(&mut stops), if !is_told => {
                    let grace = self.plan.spec.stop.grace_period;
                    told = Some(self.tell_to_end(&process, grace, false));
                }
                () = self.drain.begun(), if !is_told => {
                    if self.plan.survives() {
                        return None;
                    }
                    self.take_out("the agent is shutting down").await;
                    self.note_interruption();
                    let grace = self.plan.spec.stop.grace_period.min(GRACE_AT_EXIT_MAX);
                    told = Some(self.tell_to_end(&process, grace, false));
                }
                () = tokio::time::sleep_until(kill_at.unwrap_or(look_at).into()) => {
                    if let Some(told) = &mut told {
                        tracing::warn!(copy = %self.plan.id(), pid, "killed: it did not end in time");
                        process.kill();
                        told.kill_at += KILL_AGAIN_PAUSE;
                        continue;
                    }
                    // One at a time, and nothing here waits for it.
                    if rotation.as_ref().is_none_or(JoinHandle::is_finished) {
                        rotation = Some(self.rotate());
                    }
                    if let CheckAction::RestartUnhealthy { failed } = self.look(restart) {
                        tracing::warn!(copy = %self.plan.id(), failed, "restarted: its checks fail");
                        let grace = self.plan.spec.stop.grace_period;
                        told = Some(self.tell_to_end(&process, grace, true));
                    }
                    pause = (pause * 2).min(LOOK_PAUSE_MAX);
                    look_at = runtime::monotonic() + pause;
                }
            }
        }
    }

    fn tell_to_end(&self, process: &Process, grace: Duration, goes_on: bool) -> Told {
        if !goes_on {
            self.set(Stage::Stopping, Some(process.id()));
        }
        process.signal(signal_of(&self.plan));
        Told { kill_at: runtime::monotonic() + grace, goes_on }
    }

    /// Has it probed while it is not ready, and tells the restart rule of it.
    fn look(&self, restart: &mut Restart) -> CheckAction {
        if self.plan.spec.service.is_none() {
            return CheckAction::Leave;
        }
        let (probes, id) = (&self.around.probes, self.plan.id());
        let is_well = is_well(&self.around.mesh.catalog(), &self.plan);
        // What was well before is asked as often as its document says.
        if !is_well && !restart.was_ready() {
            probes.probe_now(&self.plan.node, &id);
        }
        restart.handle_checks(is_well, probes.failed_in_row(&id), runtime::monotonic())
    }

    /// Its process runs: it is probed from now on.
    async fn begin(&self, pid: u32) {
        if self.plan.spec.service.is_none() {
            return;
        }
        self.around.begin(&self.plan, pid).await;
        self.around.wake.notify_one();
    }

    /// Makes all of its checks critical. Its probes rest until it has a process again: one that is under way still saw the
    /// old one, and somebody else may answer at its address.
    async fn take_out(&self, reason: &str) {
        if self.plan.spec.service.is_none() {
            return;
        }
        self.around.probes.hold(&self.plan.id(), reason);
        for check in self.plan.checks() {
            self.around.set_check(&self.plan, check.id, CheckStatus::Critical, reason).await;
        }
    }

    fn rotate(&self) -> JoinHandle<()> {
        let (log, logs) = (self.log.clone(), &self.plan.spec.logs);
        let rotation =
            Rotation { bytes_max: logs.file_bytes_max, kept_max: logs.files_max.saturating_sub(1) };
        let copy = self.plan.id();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = runtime::rotate_output(&log, rotation) {
                tracing::warn!(%copy, %error, "its log cannot be begun anew");
            }
        })
    }

    fn note_end(&self, text: &str, is_crash: bool) {
        let mut state = self.state.lock();
        text.clone_into(&mut state.last_end);
        state.crashes = state.crashes.saturating_add(u32::from(is_crash));
    }

    /// A try of a job has ended; how is written down, unless whoever was to do that was killed with it.
    async fn note_recorded_end(&self, text: &str, is_out_of_memory: bool) {
        let Some(record) = &self.plan.record else { return };
        let mut end = job::end_of_attempt(record, &self.log).await;
        if let Some(end) = end.as_mut().filter(|it| is_out_of_memory && !it.is_well) {
            let is_killed = end.text.starts_with(&Exit::Signal(SIGKILL).to_string());
            end.text.insert_str(0, &told_out_of_memory(&self.plan.spec.limits, is_killed));
        }
        let unknown =
            || AttemptEnd { is_well: false, is_interrupted: false, text: text.to_owned() };
        self.note_attempt(end.unwrap_or_else(unknown));
    }

    /// A try of a job ends because the agent does.
    fn note_interruption(&self) {
        if let Some(record) = &self.plan.record
            && let Err(error) = record.note_interruption()
        {
            tracing::warn!(copy = %self.plan.id(), %error, "its end will count as its own");
        }
    }

    fn note_attempt(&self, end: AttemptEnd) {
        self.state.lock().end = self.plan.record.is_some().then_some(end);
    }

    fn set(&self, stage: Stage, process: Option<ProcessId>) {
        let mut state = self.state.lock();
        (state.stage, state.process, state.since_ms) = (stage, process, runtime::unix_ms());
        state.starts_at_ms = None;
        drop(state);
        self.around.wake.notify_one();
    }
}

/// Resolves when the copy is told to stop; never if nobody is left who could say so, for the agent's end is told otherwise.
async fn told_to_stop(stops: &mut watch::Receiver<bool>) {
    if stops.wait_for(|it| *it).await.map(drop).is_err() {
        std::future::pending::<()>().await;
    }
}

fn signal_of(plan: &CopyPlan) -> i32 {
    let name = plan.spec.stop.signal.as_str();
    runtime::signal_number(name).expect("every signal of a document has a number")
}

/// How a process ended, in words, and whether that was well.
fn told_end(exit: &Result<Option<Exit>, ChildError>) -> (String, Ended) {
    match exit {
        Ok(Some(exit @ Exit::Code(0))) => (exit.to_string(), Ended::Well),
        Ok(Some(exit)) => (exit.to_string(), Ended::Badly),
        // An earlier agent started it.
        Ok(None) => ("how is not known, for it was adopted".to_owned(), Ended::Badly),
        Err(error) => (describe(error), Ended::Badly),
    }
}

fn describe(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
