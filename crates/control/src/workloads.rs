//! Runs the workloads of the documents: their processes, their registrations, and how requests are divided between their
//! releases; and moves requests between versions of services that others run ([`rollouts`]). What is to be done is decided by `recovery`; here it is seen what is, and done what is said.
//!
//! One task looks at all workloads whenever something has happened to one, and at least four times a second. A state is in
//! the store before anything is done by it, so that an agent that is killed in between is followed by one that goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::workload::{Limits, PortChoice, WorkloadKind, WorkloadSpec};
use model::{
    Catalog, Check, Diagnostic, NodeName, Revision, ServiceId, Spec, Stored, Timestamp, WatchKey,
};
use parking_lot::Mutex;
use recovery::{Action, Command as Change, CopyId};
use registry::{Command, RecordCondition};
use runtime::{ProcessId, Tasks};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::fleet::{Fleet, Uses};
use crate::mesh::Mesh;
use crate::probes::ProbesHandle;

mod adoption;
mod copy;
mod dependencies;
mod hands;
mod job;
mod kept;
mod killing;
mod limits;
mod logs;
mod name;
mod orders;
mod plan;
mod report;
mod rollouts;
mod seen;
mod tally;
mod words;

use copy::{CopyHandle, Stage, Surroundings};
pub(crate) use dependencies::unknown;
use kept::{KeptProcess, Running, record_key};
pub use limits::Enforcement;
pub use name::WorkloadName;
use plan::CopyPlan;
pub use report::{CopyReport, PastRollout, RolloutReport, WorkloadReport};
use rollouts::RunningRollout;
use words::{finished, told};

/// Longest pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// Least pause between two looks, so that a storm of changes costs little.
const LOOK_PAUSE_MIN: Duration = Duration::from_millis(5);
/// How often it is looked again whether what keeps a workload from being started is gone.
const OBSTACLES_PAUSE_MS: u64 = 5000;
/// How long an answer may wait for the reports.
const REACH_TIMEOUT: Duration = Duration::from_secs(5);
/// Orders of operators that wait.
const ORDERS_MAX: usize = 64;
/// Why an instance is in maintenance that is about to be stopped.
const DRAINING: &str = "draining: it is about to be stopped";
/// Why an instance is in maintenance whose release has no share of the requests.
const UNUSED: &str = "its release gets no requests";
/// Share of requests in percent times this, divided by the copies, is the weight of one.
const WEIGHT_SCALE: u32 = 600;

/// What an operator asks of a workload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    /// Run it again after a stop, and let copies go on that are held.
    Start,
    /// Drain and stop all its copies until it is started again.
    Stop,
    /// Replace all copies by new ones, as a rollout.
    Restart,
    /// Run so many copies.
    Scale(u32),
    /// Stay at this step of the rollout.
    Pause,
    /// Go on with it.
    Resume,
    /// Go to its end, whatever the evidence says.
    Promote,
    /// Take it back, or go back to the good release before.
    Undo,
    /// Try again what its document asks for, after that was taken back.
    Retry,
}

struct Order {
    name: WorkloadName,
    ask: Ask,
    reply: oneshot::Sender<Result<(), String>>,
}

/// The workloads of an agent. A cheap clone.
#[derive(Clone)]
pub struct Workloads {
    shared: Arc<Shared>,
    orders: mpsc::Sender<Order>,
}

struct Shared {
    node: NodeName,
    reports: Mutex<BTreeMap<WorkloadName, WorkloadReport>>,
    /// Revision of the catalog that the reports are of, at least.
    looked: watch::Sender<Revision>,
    /// Of the rollouts of services that others run.
    rollouts: Mutex<BTreeMap<WorkloadName, WorkloadReport>>,
    logs: PathBuf,
    enforcement: Arc<Enforcement>,
}

/// What the workloads need of the agent.
pub struct Place {
    /// The node.
    pub node: NodeName,
    /// Its UUID; processes that were started by another one are not ours.
    pub node_id: String,
    /// Address that copies are registered with that do not say theirs.
    pub address: String,
    /// Folder of the logs.
    pub logs: PathBuf,
    /// The next agent will be the same node, and know what this one has left running.
    pub can_survive: bool,
    /// Checks may run commands.
    pub scripts_may_run: bool,
    /// What enforces limits.
    pub enforcement: Arc<Enforcement>,
}

impl Workloads {
    /// Takes over the processes that an earlier life of the agent left running, deregisters those that are gone, and starts
    /// to follow the documents.
    pub async fn start(
        mesh: Mesh,
        probes: ProbesHandle,
        fleet: Fleet,
        place: Place,
        tasks: &Tasks,
    ) -> Self {
        let logs = place.logs.clone();
        let shared = Arc::new(Shared {
            node: place.node.clone(),
            reports: Mutex::default(),
            rollouts: Mutex::default(),
            looked: watch::Sender::new(Revision(0)),
            logs,
            enforcement: Arc::clone(&place.enforcement),
        });
        let (orders, received) = mpsc::channel(ORDERS_MAX);
        let around = Surroundings {
            mesh,
            probes,
            enforcement: Arc::clone(&place.enforcement),
            wake: Arc::new(Notify::new()),
            tasks: tasks.clone(),
        };
        let mut keeper = Keeper {
            around,
            fleet,
            place,
            shared: Arc::clone(&shared),
            all: BTreeMap::new(),
            rollouts: BTreeMap::new(),
            left: BTreeMap::new(),
        };
        keeper.take_over().await;
        keeper.place.enforcement.remove_left();
        keeper.load_rollouts();
        let drain = tasks.drain();
        tasks.spawn("workloads", async move {
            tokio::select! {
                () = keeper.run(received) => {}
                () = drain.begun() => {}
            }
        });
        Self { shared, orders }
    }

    /// How all workloads are, by name.
    #[must_use]
    pub fn reports(&self) -> Vec<WorkloadReport> {
        self.shared.reports.lock().values().cloned().collect()
    }

    /// How one workload is; `None` when there is none of that name.
    #[must_use]
    pub fn report(&self, name: &WorkloadName) -> Option<WorkloadReport> {
        self.shared.reports.lock().get(name).cloned()
    }

    /// Waits until the reports know what a catalog of this revision asks for (5 s at most).
    pub async fn reached(&self, revision: Revision) {
        let mut looked = self.shared.looked.subscribe();
        let reached = looked.wait_for(|it| *it >= revision);
        let _ = tokio::time::timeout(REACH_TIMEOUT, reached).await;
    }

    /// How everything is that is rolled out, by name: the workloads, and services that others run.
    #[must_use]
    pub fn rollout_reports(&self) -> Vec<WorkloadReport> {
        let mut all = self.shared.reports.lock().clone();
        all.extend(self.shared.rollouts.lock().clone());
        all.into_values().collect()
    }

    /// How one of them is; `None` when there is none of that name.
    #[must_use]
    pub fn rollout_report(&self, name: &WorkloadName) -> Option<WorkloadReport> {
        self.report(name).or_else(|| self.shared.rollouts.lock().get(name).cloned())
    }

    /// Whether this is a copy of a workload, or an instance of a service, that is being rolled out: then the rollout judges
    /// how it answers.
    #[must_use]
    pub fn is_rolling_out(&self, node: &NodeName, id: &ServiceId) -> bool {
        let rolls = |reports: &Mutex<BTreeMap<WorkloadName, WorkloadReport>>, id: &str| {
            let is_rolled = |it: &WorkloadReport| {
                !it.rollout.target.is_empty() && it.copies.iter().any(|copy| copy.id == id)
            };
            reports.lock().values().any(is_rolled)
        };
        let is_own = node.folded() == self.shared.node.folded();
        // The copies of a workload are all of this node, and the instances of others of any.
        (is_own && rolls(&self.shared.reports, id.as_str()))
            || rolls(&self.shared.rollouts, &format!("{node}/{id}"))
    }

    /// The copy that is registered as this, with its workload; `None` when it is none.
    #[must_use]
    pub fn copy(&self, id: &ServiceId) -> Option<(WorkloadName, CopyReport)> {
        let reports = self.shared.reports.lock();
        reports.iter().find_map(|(name, it)| {
            let copy = it.copies.iter().find(|it| it.id == id.as_str())?;
            Some((name.clone(), copy.clone()))
        })
    }

    /// The file that a copy of the namespace writes to, or wrote to; `None` for what cannot be the id of one.
    #[must_use]
    pub fn log_of(&self, namespace: &str, id: &str) -> Option<PathBuf> {
        let is_name = |it: &str| {
            it.starts_with(|c: char| c.is_ascii_alphanumeric())
                && it.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
        };
        (is_name(namespace) && is_name(id))
            .then(|| self.shared.logs.join(namespace).join(format!("{id}.log")))
    }

    /// What of the limits of a document is not enforced on this agent as it is written.
    pub(crate) fn unenforced(&self, limits: &Limits) -> Vec<Diagnostic> {
        self.shared.enforcement.unenforced(limits)
    }

    /// Asks something of a workload; it is done from then on.
    ///
    /// # Errors
    /// Why it is not done.
    pub async fn ask(&self, name: WorkloadName, ask: Ask) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        let ending = || "the agent is shutting down".to_owned();
        self.orders.send(Order { name, ask, reply }).await.map_err(|_| ending())?;
        answer.await.map_err(|_| ending())?
    }
}

/// The task that looks after all workloads.
struct Keeper {
    around: Surroundings,
    fleet: Fleet,
    place: Place,
    shared: Arc<Shared>,
    all: BTreeMap<WorkloadName, Running>,
    rollouts: BTreeMap<WorkloadName, RunningRollout>,
    /// Processes of an earlier life whose state cannot be read: they serve on, and nobody here looks after them.
    left: BTreeMap<WorkloadName, BTreeMap<CopyId, ProcessId>>,
}

impl Keeper {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut moves = self.fleet.moves();
        loop {
            moves.borrow_and_update();
            let mut watched = vec![
                WatchKey::Documents,
                WatchKey::NodeChecks(self.place.node.folded()),
                WatchKey::Node(self.place.node.folded()),
            ];
            watched.extend(self.rollouts.values().map(RunningRollout::watched));
            let mut news = self.around.mesh.watch(&watched);
            self.look().await;
            tokio::time::sleep(LOOK_PAUSE_MIN).await;
            let wake = Arc::clone(&self.around.wake);
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.follow(order).await,
                    None => return,
                },
                () = wake.notified() => {}
                () = news.changed() => {}
                // The sender lives as long as the fleet here.
                _ = moves.changed() => {}
                () = tokio::time::sleep(LOOK_PAUSE) => {}
            }
        }
    }

    /// Looks at every workload, and does what is to be done.
    async fn look(&mut self) {
        let catalog = self.around.mesh.catalog();
        let wanted: BTreeMap<WorkloadName, Arc<Stored<model::Document>>> = catalog
            .documents()
            .filter_map(|it| Some((WorkloadName::of(&it.key)?, Arc::clone(it))))
            .collect();
        let divided = rollouts::documents(&catalog);
        let is_idle = wanted.is_empty() && self.all.is_empty();
        if !(is_idle && divided.is_empty() && self.rollouts.is_empty()) {
            self.forget_left().await;
            let uses = self.fleet.uses();
            let names: BTreeSet<WorkloadName> =
                wanted.keys().chain(self.all.keys()).cloned().collect();
            for name in names {
                let spec = wanted.get(&name).and_then(|it| spec_of(it));
                self.look_at(&name, spec, &uses).await;
            }
            self.look_at_rollouts(&divided, &uses).await;
        }
        self.shared.looked.send_replace(catalog.revision());
    }

    async fn look_at(
        &mut self,
        name: &WorkloadName,
        spec: Option<&WorkloadSpec>,
        uses: &[(String, Arc<Uses>)],
    ) {
        let now = Timestamp(runtime::unix_ms());
        let catalog = self.around.mesh.catalog();
        let known = self.all.remove(name);
        let mut running = known.unwrap_or_else(|| self.known_or_new(name, &catalog, now));
        // What is being removed goes first, also when its document is back meanwhile, or another one.
        let spec = spec.filter(|_| !running.kept.is_removed());
        let spec = spec.filter(|it| running.kept.goes_on_with(it.kind));
        if running.kept.job.is_some() || spec.is_some_and(|it| it.kind == WorkloadKind::Job) {
            return self.look_at_job(name, spec, running, now).await;
        }
        self.forget_stopped(&mut running).await;
        match spec {
            Some(spec) => self.follow_document(name, spec, &mut running, now).await,
            None => {
                running.kept.stopped = None;
                // It is being removed already, from the second time on.
                let _ = running.kept.workload.handle_command(Change::Remove, now);
            }
        }
        self.renew_ports(name, &mut running).await;
        let observed = self.observe(&catalog, name, &mut running, uses);
        let actions = running.kept.machine().reconcile(&observed, now);
        for action in &actions {
            self.remember(name, action, &mut running);
        }
        if spec.is_none() && running.copies.is_empty() && self.remove_record(name).await {
            return;
        }
        self.note_processes(&mut running);
        if self.persist(name, &mut running, now).await {
            for action in actions {
                self.act(name, action, &mut running).await;
                killing::step(&running.kept.workload);
            }
            self.divide(&mut running).await;
        }
        self.tell(name, spec, running);
    }

    /// Has everybody see how it is.
    fn tell(&mut self, name: &WorkloadName, spec: Option<&WorkloadSpec>, mut running: Running) {
        running.kept.forget(&running.copies);
        self.tidy_logs(name, &mut running);
        let catalog = self.around.mesh.catalog();
        let live = self.around.probes.live_checks();
        let report = report::of(name, spec, &running, &catalog, &live, &self.place);
        self.shared.reports.lock().insert(name.clone(), report);
        self.all.insert(name.clone(), running);
    }

    /// Nothing is left of it. True when the store knows that, too.
    async fn remove_record(&self, name: &WorkloadName) -> bool {
        let key = record_key(&self.place.node, name);
        let command = Command::DeleteRecord { key, when: RecordCondition::Always };
        let failure = "its state cannot be removed from the store";
        let is_removed = self.around.write(command, name, failure).await;
        if is_removed {
            self.delete_all_logs(name);
            self.shared.reports.lock().remove(name);
        }
        is_removed
    }

    /// Copies whose processes are gone for good are deregistered.
    async fn forget_stopped(&self, running: &mut Running) {
        let stopped: Vec<CopyId> = running
            .copies
            .iter()
            .filter(|it| it.1.state().stage == Stage::Stopped)
            .map(|it| *it.0)
            .collect();
        for copy in stopped {
            self.forget_copy(copy, running).await;
        }
    }

    async fn forget_copy(&self, copy: CopyId, running: &mut Running) {
        running.kept.copies.remove(&copy);
        if let Some(handle) = running.copies.remove(&copy) {
            handle.stop();
            self.deregister(&handle.plan.id()).await;
            // Whoever registers this id later is probed.
            self.around.probes.release(&handle.plan.id());
        }
    }

    /// Has the store know the processes, so that the next life of the agent does not start them twice.
    fn note_processes(&self, running: &mut Running) {
        let process = |(id, handle): (&CopyId, &CopyHandle)| {
            let process = handle.state().process.filter(|_| handle.plan.survives())?;
            let (pid, started) = (process.pid, process.started);
            Some((*id, KeptProcess { pid, started, port: handle.plan.port }))
        };
        let processes: BTreeMap<CopyId, KeptProcess> =
            running.copies.iter().filter_map(process).collect();
        // Copies that the next look starts again are not here yet, and not forgotten.
        let mut pasts = running.kept.copies.clone();
        let now = running.copies.iter().map(|it| (*it.0, it.1.state().past()));
        pasts.extend(now.filter(|it| it.1.crashes > 0));
        if (&processes, &pasts) != (&running.kept.processes, &running.kept.copies) {
            (running.kept.processes, running.kept.copies) = (processes, pasts);
            running.is_dirty = true;
        }
    }

    /// Rolls out what the document asks for, if that is something else than it was.
    async fn follow_document(
        &self,
        name: &WorkloadName,
        spec: &WorkloadSpec,
        running: &mut Running,
        now: Timestamp,
    ) {
        if running.kept.is_stopped() || running.kept.told.as_ref() == Some(spec) {
            return;
        }
        if now.0.saturating_sub(running.looked_ms) < OBSTACLES_PAUSE_MS
            && !running.obstacles.is_empty()
        {
            return;
        }
        running.looked_ms = now.0;
        let address = address_of(spec, &self.place);
        let is_ours = running
            .copies
            .values()
            .any(|it| PortChoice::Fixed(it.plan.port.unwrap_or_default()) == spec.port);
        let (asked, scripts_may_run) = (spec.clone(), self.place.scripts_may_run);
        let look = move || plan::obstacles(&asked, &address, is_ours, scripts_may_run);
        let mut found = tokio::task::spawn_blocking(look).await.unwrap_or_default();
        if let Some(left) = self.left.get(name).filter(|_| spec.kind == WorkloadKind::Job) {
            let pids: Vec<String> = left.values().map(|it| it.pid.to_string()).collect();
            found.push(format!(
                "it still runs, started by another version of leno (process {}); it is run again when that has ended",
                pids.join(", ")
            ));
        }
        if found != running.obstacles {
            for obstacle in &found {
                tracing::error!(workload = %name, "it is not started: {obstacle}");
            }
        }
        running.obstacles = found;
        if !running.obstacles.is_empty() {
            return;
        }
        // Once it has begun, what becomes of the others does not hold it up.
        running.waits_for = self.missing(name, spec);
        if !running.waits_for.is_empty() {
            return;
        }
        match self.begin(spec, spec.replicas, running, now) {
            Ok(()) => {
                running.kept.replicas = None;
                running.kept.told = Some(spec.clone());
            }
            Err(refusal) => running.obstacles = vec![refusal],
        }
    }

    /// Rolls out what `spec` asks for.
    fn begin(
        &self,
        spec: &WorkloadSpec,
        replicas: u32,
        running: &mut Running,
        now: Timestamp,
    ) -> Result<(), String> {
        let kept = &mut running.kept;
        let fingerprint = kept.fingerprint(spec);
        if let Some(job) = &mut kept.job {
            let run = job.ask(&spec.version, &fingerprint, plan::job(spec));
            kept.specs.insert(run, Arc::new(spec.clone()));
            running.is_dirty = true;
            return Ok(());
        }
        let change = Change::Start {
            version: spec.version.clone(),
            fingerprint: fingerprint.clone(),
            spec: Box::new(plan::rollout(spec, replicas)),
        };
        kept.workload.handle_command(change, now).map_err(|it| it.to_string())?;
        kept.remember(&fingerprint, spec);
        running.is_dirty = true;
        Ok(())
    }

    /// Stores the state if it must be before what it says is done. False when that failed: then nothing may be done.
    async fn persist(&self, name: &WorkloadName, running: &mut Running, now: Timestamp) -> bool {
        let revision = running.kept.revision();
        // How long a job has run is kept, too.
        let is_rolling = running.kept.workload.target().is_some()
            || running.kept.job.as_ref().is_some_and(|it| it.awaited().is_some());
        if !running.is_dirty && !running.persisted.is_due(revision, is_rolling, now) {
            return true;
        }
        let record = running.kept.record(&self.place.node, name);
        let command = Command::PutRecord { record, when: RecordCondition::Always };
        killing::step(&running.kept.workload);
        let is_stored = self.around.write(command, name, "its state is not stored").await;
        killing::step(&running.kept.workload);
        if is_stored {
            running.persisted.note(revision, now);
            running.is_dirty = false;
        }
        is_stored
    }

    /// What an operator would want to read later.
    fn remember(&self, name: &WorkloadName, action: &Action, running: &mut Running) {
        let text = match action {
            Action::Note(note) => {
                told(note, &name.copy_prefix(), |copy| name.instance(copy).to_string())
            }
            Action::Finish(record) => finished(record, &name.copy_prefix()),
            Action::SetSplit(split) => {
                // Kept with the state, so that it is known what the proxies were told.
                running.kept.split = Some(split.clone());
                running.is_dirty = true;
                // No proxy has it before the registry does.
                running.split_at = Revision(u64::MAX);
                return;
            }
            Action::StartCopy(_) | Action::Drain(_) | Action::Undrain(_) | Action::Stop(_) => {
                return;
            }
        };
        tracing::info!(workload = %name, "{text}");
        running.kept.note(text);
        running.is_dirty = true;
    }
}

/// What a document asks for, if it is one of a workload.
fn spec_of(document: &model::Document) -> Option<&WorkloadSpec> {
    match &document.spec {
        Spec::Workload(spec) => Some(spec),
        Spec::Service(_) | Spec::Ingress(_) | Spec::Secret(_) | Spec::Rollout(_) => None,
    }
}

fn address_of(spec: &WorkloadSpec, place: &Place) -> String {
    spec.address.map_or_else(|| place.address.clone(), |it| it.to_string())
}

fn log_of(place: &Place, plan: &CopyPlan) -> PathBuf {
    place.logs.join(&plan.workload.namespace).join(format!("{}.log", plan.id()))
}

fn maintenance_of<'a>(
    catalog: &'a Catalog,
    node: &NodeName,
    id: &ServiceId,
) -> Option<&'a Stored<Check>> {
    catalog.check(&node.folded(), &format!("_service_maintenance:{id}").into()).map(|it| &**it)
}

#[cfg(test)]
mod tests;
