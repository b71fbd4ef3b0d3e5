//! Runs processes that register as instances: starts them, restarts them as `recovery` says, and tells the registry
//! at once when one ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::WriteOutcome;
use model::{Check, CheckStatus, Instance};
use recovery::{Ended, Next, Policy, Restart, RestartLimits};
use registry::{Command, ServiceRegistration, VerdictState, verdict};
use runtime::{Child, ChildError, ChildEvent, ChildSpec, Drain, Exit, Tasks};
use tokio::sync::broadcast;

use crate::mesh::Mesh;
use crate::probes::ProbesHandle;

#[cfg(test)]
mod tests;

/// Events kept for a reader that is slow; a restart makes three.
const EVENTS_MAX: usize = 1024;
/// How long a process may take to end after SIGTERM when the agent shuts down.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// First pause before a started process is probed; it doubles up to a second, until the check passes.
const FIRST_PROBE_PAUSE: Duration = Duration::from_millis(20);
/// Pause before a registration that failed is tried again.
const REGISTER_PAUSE: Duration = Duration::from_secs(1);
/// Most extra probes after a start; from then on the check's own interval does.
const START_PROBES_MAX: u32 = 10;

/// A process to keep running.
#[derive(Clone, Debug)]
pub struct Supervised {
    /// What to start.
    pub child: ChildSpec,
    /// What it registers as; its checks say whether it is ready.
    pub registration: ServiceRegistration,
    /// When it is restarted.
    pub restart: Restart,
}

impl Supervised {
    /// A process that registers as `instance` and is restarted whenever it ends, by the default limits.
    #[must_use]
    pub fn new(child: ChildSpec, instance: Instance, checks: Vec<Check>) -> Self {
        let registration =
            ServiceRegistration { instance, checks, ..ServiceRegistration::default() };
        let restart = Restart::new(Policy::Always, RestartLimits::default());
        Self { child, registration, restart }
    }
}

/// Something that happened to a supervised process.
#[derive(Clone, Debug)]
pub struct Event {
    /// Id of its instance.
    pub instance: String,
    /// When.
    pub at: Instant,
    /// What.
    pub what: What,
}

/// What happened to a supervised process.
#[derive(Clone, Debug)]
pub enum What {
    /// It was started.
    Started {
        /// Its process id.
        pid: u32,
    },
    /// It could not be started.
    NotStarted {
        /// Why.
        error: String,
    },
    /// It ended.
    Ended {
        /// How.
        exit: Exit,
    },
    /// It ends again and again and is not started any more.
    Held {
        /// Restarts in a row that did not help.
        restarts: u32,
    },
}

/// Runs the processes. A cheap clone.
#[derive(Clone)]
pub struct Supervisor {
    mesh: Mesh,
    probes: ProbesHandle,
    events: broadcast::Sender<Event>,
    tasks: Tasks,
}

impl Supervisor {
    /// No processes yet.
    #[must_use]
    pub fn new(mesh: Mesh, probes: ProbesHandle, tasks: Tasks) -> Self {
        Self { mesh, probes, events: broadcast::channel(EVENTS_MAX).0, tasks }
    }

    /// What happens from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Keeps a process running until the agent shuts down.
    pub fn supervise(&self, process: Supervised) {
        let it = Arc::new(self.clone());
        let drain = self.tasks.drain();
        self.tasks
            .spawn("supervised process", async move { it.keep_running(process, drain).await });
    }

    async fn keep_running(&self, process: Supervised, drain: Drain) {
        let mut restart = process.restart.clone();
        loop {
            let ended = match Child::start(&process.child) {
                Ok(child) => {
                    restart.handle_started(runtime::monotonic());
                    match self.run(&process, child, &drain).await {
                        Some(exit) => exit_to_ended(exit),
                        None => return,
                    }
                }
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "a process is not started"
                    );
                    self.tell(&process, What::NotStarted { error: error.to_string() });
                    Ended::Badly
                }
            };
            let next = restart.handle_ended(ended, runtime::monotonic(), &mut rand::rng());
            match next {
                Next::StartAt(at) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(at.into()) => {}
                        () = drain.begun() => return,
                    }
                }
                Next::Leave => return,
                Next::Hold { restarts } => {
                    tracing::error!(instance = %process.registration.instance.id, restarts, "held");
                    self.tell(&process, What::Held { restarts });
                    return;
                }
            }
        }
    }

    /// From start to end of one run; `None` when the agent shuts down.
    async fn run(&self, process: &Supervised, mut child: Child, drain: &Drain) -> Option<Exit> {
        let pid = child.pid();
        let instance = &process.registration.instance.id;
        self.tell(process, What::Started { pid });
        self.probes.release(instance);
        let readiness = self.become_ready(process);
        tokio::pin!(readiness);
        let mut is_ready = false;
        let mut kill_at = None;
        loop {
            tokio::select! {
                () = readiness.as_mut(), if !is_ready => is_ready = true,
                event = child.next_event() => match event {
                    ChildEvent::Line(line) => tracing::info!(%instance, pid, "{}", line.text),
                    ChildEvent::Ended(_) if kill_at.is_some() => return None,
                    ChildEvent::Ended(exit) => return Some(self.ended(process, pid, exit).await),
                },
                () = drain.begun(), if kill_at.is_none() => {
                    is_ready = true;
                    // Those who look for it learn first that it goes.
                    self.take_out(process, "the agent is shutting down").await;
                    child.terminate();
                    kill_at = Some(tokio::time::Instant::now() + STOP_GRACE);
                }
                () = tokio::time::sleep_until(kill_at.unwrap_or_else(tokio::time::Instant::now)),
                    if kill_at.is_some() => {
                    tracing::warn!(%instance, pid, "killed: it did not end in time");
                    // `Child` kills its whole group and has it reaped.
                    return None;
                }
            }
        }
    }

    async fn ended(&self, process: &Supervised, pid: u32, exit: Result<Exit, ChildError>) -> Exit {
        let exit = exit.unwrap_or_else(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "how it ended is not known");
            Exit::Code(-1)
        });
        self.tell(process, What::Ended { exit });
        self.take_out(process, &format!("process {pid} ended: {exit}")).await;
        exit
    }

    /// Makes all checks of the instance critical. Its probes rest until it has a process again: one that is under way
    /// still saw the old one, and somebody else may answer at its address.
    async fn take_out(&self, process: &Supervised, reason: &str) {
        self.probes.hold(&process.registration.instance.id, reason);
        self.mark_critical(process, reason).await;
    }

    /// Registers the instance and has it probed until it is ready.
    async fn become_ready(&self, process: &Supervised) {
        let instance = &process.registration.instance.id;
        loop {
            match self.register(process).await {
                WriteOutcome::Done(..) => break,
                WriteOutcome::Rejected(reason) => {
                    tracing::error!(%instance, %reason, "a supervised process is not registered");
                    return;
                }
                WriteOutcome::Failed(error) => {
                    tracing::error!(%instance, error, "a supervised process is not registered yet");
                    tokio::time::sleep(REGISTER_PAUSE).await;
                }
            }
        }
        self.probe_until_ready(process).await;
    }

    async fn register(&self, process: &Supervised) -> WriteOutcome {
        self.mesh.run(Command::RegisterService(process.registration.clone())).await
    }

    /// A process that has just been started is probed more often than its interval says, until it is ready.
    async fn probe_until_ready(&self, process: &Supervised) {
        let instance = &process.registration.instance;
        let node = instance.node.folded();
        let mut pause = FIRST_PROBE_PAUSE;
        for _ in 0..START_PROBES_MAX {
            tokio::time::sleep(pause).await;
            let catalog = self.mesh.catalog();
            let Some(instance) = catalog.instance(&node, &instance.id) else { return };
            if verdict(&catalog, instance).state == VerdictState::Passing {
                return;
            }
            self.probes.probe_now(&instance.node, &instance.id);
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    async fn mark_critical(&self, process: &Supervised, output: &str) {
        for check in &process.registration.checks {
            let command = Command::SetCheckStatus {
                node: process.registration.instance.node.clone(),
                id: check.id.clone(),
                status: CheckStatus::Critical,
                output: output.to_owned(),
                output_matters: true,
            };
            if let WriteOutcome::Failed(error) = self.mesh.run(command).await {
                tracing::error!(error, "the end of a process cannot be registered");
            }
        }
    }

    fn tell(&self, process: &Supervised, what: What) {
        let instance = process.registration.instance.id.to_string();
        // Nobody has to listen.
        let _ = self.events.send(Event { instance, at: runtime::monotonic(), what });
    }
}

fn exit_to_ended(exit: Exit) -> Ended {
    match exit {
        Exit::Code(0) => Ended::Well,
        Exit::Code(_) | Exit::Signal(_) => Ended::Badly,
    }
}
