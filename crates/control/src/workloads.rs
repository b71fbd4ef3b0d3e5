//! Runs the workloads of the documents: their processes, their registrations, and how requests are divided between their
//! releases. What is to be done is decided by `recovery`; here it is seen what is, and done what is said.
//!
//! One task looks at all workloads whenever something has happened to one, and at least four times a second. A state is in
//! the store before anything is done by it, so that an agent that is killed in between is followed by one that goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::WriteOutcome;
use model::workload::{PortChoice, WorkloadKind, WorkloadSpec};
use model::{Catalog, Check, NodeName, Revision, ServiceId, Spec, Stored, Timestamp, WatchKey};
use parking_lot::Mutex;
use recovery::{
    Action, Command as Change, Copy, CopyId, Note, Observed, Outcome, Phase, Record, ReleaseId,
    Split,
};
use registry::{Command, RecordCondition, Rejection, ServiceRegistration};
use runtime::{Process, Tasks};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::fleet::{Fleet, Uses};
use crate::mesh::Mesh;
use crate::probes::ProbesHandle;

mod copy;
mod kept;
mod name;
mod plan;
mod report;
mod tally;

use copy::{CopyHandle, Stage, Surroundings, is_ready};
use kept::{Kept, Running, record_key, stored_names};
pub use name::WorkloadName;
use name::{MARK, Mark};
use plan::{CopyPlan, META_COPY, META_WORKLOAD};
pub use report::{CopyReport, RolloutReport, WorkloadReport};

/// Longest pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// Least pause between two looks, so that a storm of changes costs little.
const LOOK_PAUSE_MIN: Duration = Duration::from_millis(5);
/// How often the evidence of a rollout is stored.
const EVIDENCE_PAUSE_MS: u64 = 2000;
/// How often it is looked again whether what keeps a workload from being started is gone.
const OBSTACLES_PAUSE_MS: u64 = 5000;
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
    reports: Mutex<BTreeMap<WorkloadName, WorkloadReport>>,
    logs: PathBuf,
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
    /// Checks may run commands.
    pub scripts_may_run: bool,
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
        let shared = Arc::new(Shared { reports: Mutex::default(), logs });
        let (orders, received) = mpsc::channel(ORDERS_MAX);
        let around =
            Surroundings { mesh, probes, wake: Arc::new(Notify::new()), tasks: tasks.clone() };
        let mut keeper =
            Keeper { around, fleet, place, shared: Arc::clone(&shared), all: BTreeMap::new() };
        keeper.take_over().await;
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

    /// The file that a copy of the namespace writes to, or wrote to; `None` for what cannot be the id of one.
    #[must_use]
    pub fn log_of(&self, namespace: &str, id: &str) -> Option<PathBuf> {
        let is_name =
            |it: &str| !it.is_empty() && it.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        (is_name(namespace) && is_name(id))
            .then(|| self.shared.logs.join(namespace).join(format!("{id}.log")))
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
}

impl Keeper {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            let mut news = self.around.mesh.watch(&[
                WatchKey::Documents,
                WatchKey::NodeChecks(self.place.node.folded()),
                WatchKey::Node(self.place.node.folded()),
            ]);
            self.look().await;
            tokio::time::sleep(LOOK_PAUSE_MIN).await;
            let wake = Arc::clone(&self.around.wake);
            let fleet = self.fleet.clone();
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.follow(order).await,
                    None => return,
                },
                () = wake.notified() => {}
                () = news.changed() => {}
                () = fleet.moved() => {}
                () = tokio::time::sleep(LOOK_PAUSE) => {}
            }
        }
    }

    /// Finds what an earlier life of the agent has left: processes, and instances that have none.
    async fn take_over(&mut self) {
        let catalog = self.around.mesh.catalog();
        for name in stored_names(&catalog, &self.place.node) {
            if let Some(kept) = Kept::load(&catalog, &self.place.node, &name) {
                self.all.insert(name, Running::new(kept, &catalog));
            }
        }
        let marked = tokio::task::spawn_blocking(|| runtime::marked_processes(MARK)).await;
        let marked = marked.unwrap_or_default();
        let ours = marked.iter().filter_map(|it| Some((it, Mark::parse(&it.value)?)));
        let ours: Vec<_> = ours.filter(|it| it.1.node_id == self.place.node_id).collect();
        for (process, mark) in &ours {
            // What a copy has started is in its group, or has left it and has a parent in it.
            let is_inner = process.group != process.id.pid
                || ours.iter().any(|it| it.0.id.pid == process.parent);
            if is_inner {
                continue;
            }
            match Process::adopt(process.id) {
                Ok(Some(adopted)) => self.adopt(&catalog, mark, adopted),
                Ok(None) => {}
                Err(error) => tracing::error!(pid = process.id.pid, %error, "it is not adopted"),
            }
        }
        self.deregister_the_dead(&catalog).await;
    }

    fn adopt(&mut self, catalog: &Catalog, mark: &Mark, process: Process) {
        let pid = process.id().pid;
        let place = &self.place;
        let Some(running) = self.all.get_mut(&mark.workload) else {
            tracing::warn!(pid, workload = %mark.workload, "killed: nobody asks for it any more");
            process.kill();
            return;
        };
        let known = running.kept.specs.get(&mark.copy.release);
        let Some(spec) = known.filter(|_| !running.copies.contains_key(&mark.copy)) else {
            tracing::warn!(pid, copy = %mark.workload.instance(mark.copy), "killed: it is not known");
            process.kill();
            return;
        };
        let plan = CopyPlan {
            workload: mark.workload.clone(),
            copy: mark.copy,
            spec: Arc::clone(spec),
            node: place.node.clone(),
            node_id: place.node_id.clone(),
            address: address_of(spec, place),
            port: mark.port,
        };
        tracing::info!(pid, copy = %plan.id(), "adopted");
        let maintenance = maintenance_of(catalog, &place.node, &plan.id());
        let log = log_of(place, &plan);
        let mut handle = CopyHandle::start(Arc::new(plan), log, &self.around, Some(process));
        handle.is_draining = maintenance.is_some_and(|it| it.notes == DRAINING);
        running.copies.insert(mark.copy, handle);
    }

    /// Deregisters copies that have no process: nothing may be sent to where nobody is.
    async fn deregister_the_dead(&self, catalog: &Catalog) {
        let node = self.place.node.folded();
        let dead: Vec<ServiceId> = catalog
            .instances_of_node(&node)
            .filter_map(|instance| {
                let meta = instance.meta.as_ref()?;
                let (namespace, name) = meta.get(META_WORKLOAD)?.split_once('/')?;
                let name = WorkloadName { namespace: namespace.to_owned(), name: name.to_owned() };
                let copy: CopyId = meta.get(META_COPY)?.parse().ok()?;
                let lives = self.all.get(&name).is_some_and(|it| it.copies.contains_key(&copy));
                (!lives).then(|| instance.id.clone())
            })
            .collect();
        for id in dead {
            self.deregister(&id).await;
        }
    }

    async fn deregister(&self, id: &ServiceId) {
        let command = Command::DeregisterService { node: self.place.node.clone(), id: id.clone() };
        match self.around.mesh.run(command).await {
            // Somebody else was first.
            WriteOutcome::Done(..) | WriteOutcome::Rejected(Rejection::UnknownService(_)) => {}
            WriteOutcome::Rejected(reason) => {
                tracing::error!(%id, %reason, "a copy is not deregistered");
            }
            WriteOutcome::Failed(error) => {
                tracing::error!(%id, error, "a copy is not deregistered");
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
        if wanted.is_empty() && self.all.is_empty() {
            return;
        }
        let uses = self.fleet.uses();
        let names: BTreeSet<WorkloadName> = wanted.keys().chain(self.all.keys()).cloned().collect();
        for name in names {
            let spec = wanted.get(&name).and_then(|it| match &it.value.spec {
                Spec::Workload(spec) => Some(&**spec),
                Spec::Service(_) | Spec::Ingress(_) | Spec::Secret(_) => None,
            });
            self.look_at(&name, spec, &uses).await;
        }
    }

    async fn look_at(
        &mut self,
        name: &WorkloadName,
        spec: Option<&WorkloadSpec>,
        uses: &[(String, Uses)],
    ) {
        let now = Timestamp(runtime::unix_ms());
        let catalog = self.around.mesh.catalog();
        let mut running = self.all.remove(name).unwrap_or_else(|| {
            let kept = Kept::load(&catalog, &self.place.node, name);
            Running::new(kept.unwrap_or_else(|| Kept::new(now)), &catalog)
        });
        self.forget_stopped(&mut running).await;
        match spec {
            Some(spec) => self.follow_document(name, spec, &mut running, now),
            None => {
                running.kept.stopped = None;
                // It is being removed already, from the second time on.
                let _ = running.kept.workload.handle_command(Change::Remove, now);
            }
        }
        let observed = self.observe(&catalog, name, &mut running, uses);
        let actions = running.kept.machine().reconcile(&observed, now);
        for action in &actions {
            self.remember(name, action, &mut running);
        }
        if spec.is_none() && running.copies.is_empty() {
            let key = record_key(&self.place.node, name);
            let command = Command::DeleteRecord { key, when: RecordCondition::Always };
            self.around.mesh.run(command).await;
            self.shared.reports.lock().remove(name);
            return;
        }
        if self.persist(name, &mut running, !actions.is_empty(), now).await {
            for action in actions {
                self.act(name, action, &mut running).await;
            }
            self.divide(&mut running).await;
        }
        running.kept.forget(&running.copies);
        let catalog = self.around.mesh.catalog();
        let report = report::of(name, spec, &running, &catalog, &self.place);
        self.shared.reports.lock().insert(name.clone(), report);
        self.all.insert(name.clone(), running);
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
            if let Some(handle) = running.copies.remove(&copy) {
                self.deregister(&handle.plan.id()).await;
            }
        }
    }

    /// Rolls out what the document asks for, if that is something else than it was.
    fn follow_document(
        &self,
        name: &WorkloadName,
        spec: &WorkloadSpec,
        running: &mut Running,
        now: Timestamp,
    ) {
        if running.kept.stopped.is_some() || running.kept.told.as_ref() == Some(spec) {
            return;
        }
        if now.0.saturating_sub(running.looked_ms) < OBSTACLES_PAUSE_MS
            && !running.obstacles.is_empty()
        {
            return;
        }
        running.looked_ms = now.0;
        let found = if spec.kind == WorkloadKind::Job {
            vec!["spec.type: jobs are not run yet".to_owned()]
        } else {
            let address = address_of(spec, &self.place);
            let is_ours = running
                .copies
                .values()
                .any(|it| PortChoice::Fixed(it.plan.port.unwrap_or_default()) == spec.port);
            plan::obstacles(spec, &address, is_ours, self.place.scripts_may_run)
        };
        if found != running.obstacles {
            for obstacle in &found {
                tracing::error!(workload = %name, "it is not started: {obstacle}");
            }
        }
        running.obstacles = found;
        if !running.obstacles.is_empty() {
            return;
        }
        running.kept.replicas = None;
        if self.begin(spec, running, now).is_ok() {
            running.kept.told = Some(spec.clone());
        }
    }

    /// Rolls out what `spec` asks for.
    fn begin(
        &self,
        spec: &WorkloadSpec,
        running: &mut Running,
        now: Timestamp,
    ) -> Result<(), String> {
        let kept = &mut running.kept;
        let fingerprint = kept.fingerprint(spec);
        let change = Change::Start {
            version: spec.version.clone(),
            fingerprint: fingerprint.clone(),
            spec: Box::new(plan::rollout(spec, kept.replicas.unwrap_or(spec.replicas))),
        };
        if let Err(refusal) = kept.workload.handle_command(change, now) {
            running.obstacles = vec![refusal.to_string()];
            return Err(refusal.to_string());
        }
        kept.remember(&fingerprint, spec);
        Ok(())
    }

    /// What is, as `recovery` sees it.
    fn observe(
        &self,
        catalog: &Catalog,
        name: &WorkloadName,
        running: &mut Running,
        uses: &[(String, Uses)],
    ) -> Observed {
        let copies = running.copies.iter().map(|(id, handle)| {
            let state = handle.state();
            let endpoint = format!("{}/{}", self.place.node, handle.plan.id());
            let in_flight = uses.iter().filter_map(|it| it.1.get(&endpoint)).map(|it| it.active);
            Copy {
                id: *id,
                phase: phase(catalog, handle, state.stage),
                crashes: state.crashes,
                unacknowledged: self.fleet.behind(changed_at(catalog, &handle.plan)),
                in_flight: in_flight.sum(),
                output: output_of(catalog, handle, &state.last_end),
            }
        });
        let copies = copies.collect();
        let prefix = format!("{}/", self.place.node);
        let instance = name.instance(CopyId { release: ReleaseId(0), slot: 0 });
        let base = instance.as_str().strip_suffix("0-0").unwrap_or_default();
        let release_of = |endpoint: &str| {
            let copy = endpoint.strip_prefix(&prefix)?.strip_prefix(base)?;
            Some(copy.parse::<CopyId>().ok()?.release)
        };
        Observed {
            copies,
            split: running.kept.split.clone(),
            split_unacknowledged: self.fleet.behind(running.split_at),
            reports: running.tally.take(uses, release_of),
        }
    }

    /// Stores the state if it must be before what it says is done. False when that failed: then nothing may be done.
    async fn persist(
        &self,
        name: &WorkloadName,
        running: &mut Running,
        acts: bool,
        now: Timestamp,
    ) -> bool {
        let revision = running.kept.workload.revision()
            + running.kept.stopped.as_ref().map_or(0, recovery::Workload::revision);
        let is_old = now.0.saturating_sub(running.persisted_ms) >= EVIDENCE_PAUSE_MS;
        let is_rolling = running.kept.workload.target().is_some();
        let is_first = running.persisted_ms == 0;
        if revision == running.persisted && !acts && !is_first && !(is_old && is_rolling) {
            return true;
        }
        let record = running.kept.record(&self.place.node, name);
        let command = Command::PutRecord { record, when: RecordCondition::Always };
        match self.around.mesh.run(command).await {
            WriteOutcome::Done(..) => {
                (running.persisted, running.persisted_ms) = (revision, now.0);
                true
            }
            WriteOutcome::Rejected(reason) => {
                tracing::error!(workload = %name, %reason, "its state is not stored");
                false
            }
            WriteOutcome::Failed(error) => {
                tracing::error!(workload = %name, error, "its state is not stored");
                false
            }
        }
    }

    /// What an operator would want to read later.
    fn remember(&self, name: &WorkloadName, action: &Action, running: &mut Running) {
        let text = match action {
            Action::Note(note) => told(name, note),
            Action::Finish(record) => finished(record),
            Action::SetSplit(split) => {
                // Kept with the state, so that it is known what the proxies were told.
                running.kept.split = Some(split.clone());
                return;
            }
            Action::StartCopy(_) | Action::Drain(_) | Action::Undrain(_) | Action::Stop(_) => {
                return;
            }
        };
        tracing::info!(workload = %name, "{text}");
        running.kept.note(text);
    }

    async fn act(&mut self, name: &WorkloadName, action: Action, running: &mut Running) {
        match action {
            Action::StartCopy(copy) => self.start_copy(name, copy, running).await,
            Action::Drain(copy) => {
                if let Some(handle) = running.copies.get_mut(&copy) {
                    handle.is_draining = true;
                }
            }
            Action::Undrain(copy) => {
                if let Some(handle) = running.copies.get_mut(&copy) {
                    handle.is_draining = false;
                }
            }
            Action::Stop(copy) => {
                if let Some(handle) = running.copies.get(&copy) {
                    handle.stop();
                }
            }
            Action::SetSplit(_) | Action::Note(_) | Action::Finish(_) => {}
        }
    }

    async fn start_copy(&mut self, name: &WorkloadName, copy: CopyId, running: &mut Running) {
        if running.copies.contains_key(&copy) {
            return;
        }
        let Some(spec) = running.kept.specs.get(&copy.release) else {
            tracing::error!(workload = %name, %copy, "it is not known what it runs");
            return;
        };
        running.waits_for = self.missing(name, spec);
        if !running.waits_for.is_empty() {
            return;
        }
        let address = address_of(spec, &self.place);
        let port = match spec.port {
            PortChoice::None => None,
            PortChoice::Fixed(port) => Some(port),
            PortChoice::Auto => match free_port(&address) {
                Ok(port) => Some(port),
                Err(error) => {
                    tracing::error!(workload = %name, %copy, %error, "no port is free");
                    return;
                }
            },
        };
        let plan = Arc::new(CopyPlan {
            workload: name.clone(),
            copy,
            spec: Arc::clone(spec),
            node: self.place.node.clone(),
            node_id: self.place.node_id.clone(),
            address,
            port,
        });
        let is_used = running.kept.split.as_ref().is_none_or(|it| it.serves(copy.release));
        if !self.register(&plan, is_used).await {
            return;
        }
        let log = log_of(&self.place, &plan);
        let handle = CopyHandle::start(plan, log, &self.around, None);
        running.copies.insert(copy, handle);
    }

    /// What it depends on that is not there yet.
    fn missing(&self, name: &WorkloadName, spec: &WorkloadSpec) -> Vec<String> {
        let reports = self.shared.reports.lock();
        let is_there = |other: &String| {
            let other = WorkloadName { namespace: name.namespace.clone(), name: other.clone() };
            reports.get(&other).is_some_and(WorkloadReport::is_healthy)
        };
        spec.depends_on.iter().filter(|it| !is_there(it)).cloned().collect()
    }

    /// Registers a copy before its process is there: not to be used before its checks pass, nor before its release is.
    async fn register(&self, plan: &CopyPlan, is_used: bool) -> bool {
        let Some(instance) = plan.instance(weight_of(plan)) else { return true };
        self.around.probes.hold(&plan.id(), "not started yet");
        let registration = ServiceRegistration {
            instance,
            checks: plan.checks(),
            replace_existing_checks: true,
            ..ServiceRegistration::default()
        };
        match self.around.mesh.run(Command::RegisterService(registration)).await {
            WriteOutcome::Done(..) => {}
            WriteOutcome::Rejected(reason) => {
                tracing::error!(copy = %plan.id(), %reason, "it is not registered");
                return false;
            }
            WriteOutcome::Failed(error) => {
                tracing::error!(copy = %plan.id(), error, "it is not registered");
                return false;
            }
        }
        is_used || self.set_maintenance(&plan.id(), Some(UNUSED)).await
    }

    async fn set_maintenance(&self, id: &ServiceId, reason: Option<&str>) -> bool {
        let command = Command::SetMaintenance {
            node: self.place.node.clone(),
            service: Some(id.clone()),
            reason: reason.map(str::to_owned),
        };
        matches!(self.around.mesh.run(command).await, WriteOutcome::Done(..))
    }

    /// Has the registry say of each copy whether it is to be used, and with which weight.
    async fn divide(&self, running: &mut Running) {
        let catalog = self.around.mesh.catalog();
        let node = self.place.node.folded();
        let mut ready: BTreeMap<ReleaseId, u32> = BTreeMap::new();
        for (id, handle) in &running.copies {
            if !handle.is_draining && is_ready(&catalog, &handle.plan) {
                *ready.entry(id.release).or_default() += 1;
            }
        }
        let mut has_changed = false;
        for (id, handle) in &running.copies {
            let plan = &handle.plan;
            let Some(instance) = catalog.instance(&node, &plan.id()) else { continue };
            let split = running.kept.split.as_ref();
            let reason = if handle.is_draining {
                Some(DRAINING)
            } else if split.is_some_and(|it| !it.serves(id.release)) {
                Some(UNUSED)
            } else {
                None
            };
            let maintenance = maintenance_of(&catalog, &self.place.node, &plan.id());
            let is_ours = maintenance.is_none_or(|it| [DRAINING, UNUSED].contains(&&*it.notes));
            // An operator's own maintenance stays until it is we who take the copy out of use.
            let differs = maintenance.map(|it| it.notes.as_str()) != reason;
            if differs && (is_ours || reason.is_some()) {
                has_changed |= self.set_maintenance(&plan.id(), reason).await;
            }
            let weight = match split {
                Some(Split::Weights(shares)) if shares.len() > 1 => {
                    let share = shares.get(&id.release).copied().unwrap_or_default();
                    let copies = ready.get(&id.release).copied().unwrap_or_default().max(1);
                    u16::try_from((share * WEIGHT_SCALE / copies).max(1)).unwrap_or(u16::MAX)
                }
                _ => weight_of(plan),
            };
            if instance.weights.passing != weight
                && let Some(instance) = plan.instance(weight)
            {
                let registration = ServiceRegistration {
                    instance,
                    checks: plan.checks(),
                    ..ServiceRegistration::default()
                };
                let command = Command::RegisterService(registration);
                let outcome = self.around.mesh.run(command).await;
                has_changed |= matches!(outcome, WriteOutcome::Done(..));
            }
        }
        if has_changed {
            running.split_at = self.around.mesh.catalog().revision();
        }
    }

    async fn follow(&mut self, order: Order) {
        let now = Timestamp(runtime::unix_ms());
        let Some(mut running) = self.all.remove(&order.name) else {
            let text = format!("there is no workload {}", order.name);
            let _ = order.reply.send(Err(text));
            return;
        };
        let done = self.obey(&order, &mut running, now);
        let stored = match done {
            Ok(()) if self.persist(&order.name, &mut running, true, now).await => Ok(()),
            Ok(()) => Err("it cannot be stored, and so it may not be done".to_owned()),
            Err(refusal) => Err(refusal),
        };
        self.all.insert(order.name, running);
        // Whoever asked may be gone.
        let _ = order.reply.send(stored);
    }

    fn obey(&self, order: &Order, running: &mut Running, now: Timestamp) -> Result<(), String> {
        let refused = |refusal: recovery::Refusal| refusal.to_string();
        let is_stopped = running.kept.stopped.is_some();
        let kept = &mut running.kept;
        let change = match order.ask {
            Ask::Start => {
                kept.stopped = None;
                kept.note("an operator started it".into());
                return Ok(());
            }
            Ask::Stop => {
                if !is_stopped {
                    let mut leaving = kept.workload.clone();
                    leaving.handle_command(Change::Remove, now).map_err(refused)?;
                    kept.stopped = Some(leaving);
                    kept.note("an operator stopped it".into());
                }
                return Ok(());
            }
            _ if is_stopped => {
                return Err(format!("{} is stopped; start it first", order.name));
            }
            Ask::Restart => {
                let Some(spec) = kept.told.clone() else {
                    return Err(format!("{} has not been started yet", order.name));
                };
                kept.restarts += 1;
                return self.begin(&spec, running, now);
            }
            Ask::Scale(replicas) => {
                kept.replicas = Some(replicas);
                Change::Scale { replicas }
            }
            Ask::Pause => Change::Pause,
            Ask::Resume => Change::Resume,
            Ask::Promote => Change::Promote,
            Ask::Undo => Change::Undo,
        };
        kept.workload.handle_command(change, now).map_err(refused)
    }
}

fn weight_of(plan: &CopyPlan) -> u16 {
    plan.spec.service.as_ref().map_or(1, |it| it.weight)
}

fn address_of(spec: &WorkloadSpec, place: &Place) -> String {
    spec.address.map_or_else(|| place.address.clone(), |it| it.to_string())
}

fn log_of(place: &Place, plan: &CopyPlan) -> PathBuf {
    place.logs.join(&plan.workload.namespace).join(format!("{}.log", plan.id()))
}

/// A port that is free now.
fn free_port(address: &str) -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind((address, 0))?.local_addr()?.port())
}

fn maintenance_of<'a>(
    catalog: &'a Catalog,
    node: &NodeName,
    id: &ServiceId,
) -> Option<&'a Stored<Check>> {
    catalog.check(&node.folded(), &format!("_service_maintenance:{id}").into()).map(|it| &**it)
}

/// The revision of the last change of a copy that proxies have to know of.
fn changed_at(catalog: &Catalog, plan: &CopyPlan) -> Revision {
    let node = plan.node.folded();
    let instance = catalog.instance(&node, &plan.id()).map(|it| it.modified);
    let checks = catalog.checks_of_instance(&node, &plan.id()).map(|it| it.modified);
    instance.into_iter().chain(checks).max().unwrap_or(Revision(0))
}

fn phase(catalog: &Catalog, handle: &CopyHandle, stage: Stage) -> Phase {
    let plan = &handle.plan;
    match stage {
        Stage::Stopped => Phase::Stopped,
        Stage::Stopping => Phase::Stopping,
        Stage::Held | Stage::Left => Phase::Failed,
        Stage::Starting | Stage::Waiting | Stage::Running if handle.is_draining => {
            // The mark holds once the registry has it.
            let marked = maintenance_of(catalog, &plan.node, &plan.id());
            let is_marked = plan.spec.service.is_none() || marked.is_some();
            if is_marked { Phase::Draining } else { Phase::Ready }
        }
        Stage::Starting | Stage::Waiting => Phase::Starting,
        Stage::Running if is_ready(catalog, plan) => Phase::Ready,
        Stage::Running => Phase::Checking,
    }
}

/// What a copy, or its check, said last.
fn output_of(catalog: &Catalog, handle: &CopyHandle, last_end: &str) -> String {
    let plan = &handle.plan;
    let mut checks = catalog.checks_of_instance(&plan.node.folded(), &plan.id());
    let failing = checks.find(|it| {
        !it.is_maintenance() && it.status != model::CheckStatus::Passing && !it.output.is_empty()
    });
    let of_check = failing.map(|it| format!("{}: {}", it.name, it.output));
    if last_end.is_empty() { of_check.unwrap_or_default() } else { last_end.to_owned() }
}

fn told(name: &WorkloadName, note: &Note) -> String {
    match note {
        Note::Began(release) => format!("a rollout to release {release} begins"),
        Note::StepReached { step, weight_percent } => {
            format!("step {}: the new release gets {weight_percent} % of the requests", step + 1)
        }
        Note::RollingBack(reason) => format!("rolling back: {reason}"),
        Note::NotAcknowledged { copy, proxies } => {
            let what = copy.map_or_else(
                || "how requests are divided".to_owned(),
                |copy| format!("the change of {}", name.instance(copy)),
            );
            format!(
                "passed proxies that did not acknowledge {what} in time: {}",
                proxies.join(", ")
            )
        }
        Note::CutShort { copy, in_flight } => {
            let copy = name.instance(*copy);
            format!("{in_flight} requests were still under way at {copy} at its deadline")
        }
        Note::LittleTraffic { requests } => {
            format!("{requests} requests were too few to compare; checks and time decided")
        }
        Note::Recovered(release) => format!("release {release} is well again"),
    }
}

fn finished(record: &Record) -> String {
    let release = &record.release;
    let what = format!("release {} (version {})", release.id, release.version);
    match &record.outcome {
        Outcome::Promoted => format!("{what} is promoted"),
        Outcome::RolledBack(reason) => format!("{what} is rolled back: {reason}"),
        Outcome::Held(reason) => format!("{what} is held: {reason}"),
    }
}
