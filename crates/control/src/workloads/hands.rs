//! What is done to copies: they are registered, started, marked and weighed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use api::WriteOutcome;
use model::workload::{META_WORKLOAD, PortChoice, WorkloadKind, WorkloadSpec};
use model::{Instance, Revision, ServiceId};
use recovery::{Action, CopyId, ReleaseId, Split};
use registry::{Command, Rejection, ServiceRegistration};

use super::copy::{CopyHandle, is_ready, tell_failure};
use super::job::{has_completed, has_failed, record_of};
use super::kept::{Awaited, Running};
use super::name::WorkloadName;
use super::plan::CopyPlan;
use super::report::WorkloadReport;
use super::{
    DRAINING, Keeper, UNUSED, WEIGHT_SCALE, address_of, killing, log_of, maintenance_of, spec_of,
};

impl Keeper {
    pub(super) async fn act(&mut self, name: &WorkloadName, action: Action, running: &mut Running) {
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

    pub(super) async fn start_copy(
        &mut self,
        name: &WorkloadName,
        copy: CopyId,
        running: &mut Running,
    ) {
        if running.copies.contains_key(&copy) {
            return;
        }
        let Some(spec) = running.kept.specs.get(&copy.release) else {
            tracing::error!(workload = %name, %copy, "it is not known what it runs");
            return;
        };
        let address = address_of(spec, &self.place);
        let port = match spec.port {
            PortChoice::None => None,
            // The copy before it may still have it.
            PortChoice::Fixed(port) if bound_port(&address, port).await.is_err() => return,
            PortChoice::Fixed(port) => Some(port),
            PortChoice::Auto => match bound_port(&address, 0).await {
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
            can_survive: self.place.can_survive,
            record: record_of(&self.place, name, copy, spec, running.kept.began_ms),
        });
        let is_used = running.kept.split.as_ref().is_none_or(|it| it.serves(copy.release));
        if !self.register(&plan, is_used).await {
            return;
        }
        let log = log_of(&self.place, &plan);
        let past = running.kept.copies.get(&copy).cloned().unwrap_or_default();
        let handle = CopyHandle::start(plan, log, &self.around, past, None);
        running.copies.insert(copy, handle);
    }

    /// Gives copies other ports whose own were taken while they had no process.
    pub(super) async fn renew_ports(&self, name: &WorkloadName, running: &mut Running) {
        let is_lost = |it: &(&CopyId, &CopyHandle)| it.1.state().has_lost_port;
        let lost: Vec<CopyId> = running.copies.iter().filter(is_lost).map(|it| *it.0).collect();
        for id in lost {
            let Some(old) = running.copies.get(&id) else { continue };
            let Ok(port) = bound_port(&old.plan.address, 0).await else { continue };
            let (before, past) = (old.plan.port.unwrap_or_default(), old.state().past());
            let plan = Arc::new(CopyPlan { port: Some(port), ..(*old.plan).clone() });
            let is_used = running.kept.split.as_ref().is_none_or(|it| it.serves(id.release));
            if !self.register(&plan, is_used && !old.is_draining).await {
                continue;
            }
            old.stop();
            let is_draining = old.is_draining;
            let text = format!("{} listens on port {port} now: {before} was taken", plan.id());
            tracing::warn!(workload = %name, "{text}");
            running.kept.note(text);
            running.is_dirty = true;
            let log = log_of(&self.place, &plan);
            let mut new = CopyHandle::start(plan, log, &self.around, past, None);
            new.is_draining = is_draining;
            running.copies.insert(id, new);
        }
    }

    /// What it depends on that is not there yet.
    pub(super) fn missing(&self, name: &WorkloadName, spec: &WorkloadSpec) -> Vec<Awaited> {
        let other = |it: &String| WorkloadName { name: it.clone(), ..name.clone() };
        let missing = spec.depends_on.iter().filter(|it| !self.is_there(&other(it)));
        let awaited = |it: &String| Awaited {
            name: it.clone(),
            trouble: self.trouble_of(&other(it), &mut BTreeSet::new()).unwrap_or_default(),
        };
        missing.map(awaited).collect()
    }

    fn is_there(&self, other: &WorkloadName) -> bool {
        let catalog = self.around.mesh.catalog();
        match catalog.document(&other.document()).and_then(|it| spec_of(it)) {
            // That it once completed says nothing of what its document asks for now.
            Some(spec) if spec.kind == WorkloadKind::Job => {
                self.all.get(other).is_some_and(|it| has_completed(it, spec))
            }
            Some(_) | None => {
                self.shared.reports.lock().get(other).is_some_and(WorkloadReport::is_healthy)
            }
        }
    }

    /// Why it is of no use to wait for a workload that is not there; `None` while it may come.
    fn trouble_of(
        &self,
        other: &WorkloadName,
        seen: &mut BTreeSet<WorkloadName>,
    ) -> Option<&'static str> {
        let catalog = self.around.mesh.catalog();
        let Some(spec) = catalog.document(&other.document()).and_then(|it| spec_of(it)) else {
            return Some("which does not exist");
        };
        let running = self.all.get(other);
        if running.is_some_and(|it| it.kept.is_stopped()) {
            return Some("which an operator stopped");
        }
        if let Some(running) = running.filter(|it| it.kept.told.as_ref() == Some(spec)) {
            return has_failed(running).then_some("which has failed");
        }
        let mut is_stuck = |it: &String| {
            let next = WorkloadName { name: it.clone(), ..other.clone() };
            let is_new = seen.insert(next.clone());
            is_new && !self.is_there(&next) && self.trouble_of(&next, seen).is_some()
        };
        spec.depends_on.iter().any(&mut is_stuck).then_some("which cannot start itself")
    }

    /// Registers a copy before its process is there: not to be used before its checks pass, nor before its release is.
    pub(super) async fn register(&self, plan: &CopyPlan, is_used: bool) -> bool {
        let Some(instance) = plan.instance(weight_of(plan)) else { return true };
        let catalog = self.around.mesh.catalog();
        if let Some(other) = catalog.instance(&self.place.node.folded(), &plan.id())
            && other.meta.as_ref().and_then(|it| it.get(META_WORKLOAD))
                != instance.meta.as_ref().and_then(|it| it.get(META_WORKLOAD))
        {
            tracing::error!(
                copy = %plan.id(),
                "it is not started: somebody else has registered an instance of this id; deregister it"
            );
            return false;
        }
        self.around.probes.hold(&plan.id(), "not started yet");
        self.write_instance(plan, instance, true).await
            && (is_used || self.set_maintenance(&plan.id(), Some(UNUSED)).await)
    }

    async fn write_instance(&self, plan: &CopyPlan, instance: Instance, is_new: bool) -> bool {
        let registration = ServiceRegistration {
            instance,
            checks: plan.checks(),
            replace_existing_checks: is_new,
            ..ServiceRegistration::default()
        };
        let command = Command::RegisterService(registration);
        self.around.write(command, plan.id(), "it is not registered").await
    }

    pub(super) async fn set_maintenance(&self, id: &ServiceId, reason: Option<&str>) -> bool {
        let command = Command::SetMaintenance {
            node: self.place.node.clone(),
            service: Some(id.clone()),
            reason: reason.map(str::to_owned),
        };
        self.around.write(command, id, "whether it is used cannot be registered").await
    }

    /// Registers a copy again that somebody has deregistered.
    async fn register_again(&self, handle: &CopyHandle, is_used: bool) {
        let plan = &handle.plan;
        tracing::warn!(copy = %plan.id(), "registered again: somebody has deregistered it");
        if !self.register(plan, is_used).await {
            return;
        }
        if let Some(process) = handle.state().process {
            self.around.begin(plan, process.pid).await;
        }
    }

    /// Has the registry say of each copy whether it is to be used, and with which weight.
    pub(super) async fn divide(&self, running: &mut Running) {
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
            let split = running.kept.split.as_ref();
            let is_there = catalog.instance(&node, &plan.id()).is_some()
                && catalog.check(&node, &plan.process_check()).is_some();
            if !is_there && plan.spec.service.is_some() && handle.state().process.is_some() {
                let is_used = !handle.is_draining && split.is_none_or(|it| it.serves(id.release));
                self.register_again(handle, is_used).await;
            }
            let Some(instance) = catalog.instance(&node, &plan.id()) else { continue };
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
            // The registry keeps the first reason.
            let differs = maintenance.is_some() != reason.is_some();
            if differs && (is_ours || reason.is_some()) {
                has_changed |= self.set_maintenance(&plan.id(), reason).await;
                killing::step(&running.kept.workload);
            }
            let weight = match split {
                Some(Split::Weights(shares)) if shares.len() > 1 => {
                    let share = shares.get(&id.release).copied().unwrap_or_default();
                    let copies = ready.get(&id.release).copied().unwrap_or_default().max(1);
                    u16::try_from((share * WEIGHT_SCALE / copies).max(1)).unwrap_or(u16::MAX)
                }
                _ => running.kept.weight_of(id.release),
            };
            if instance.weights.passing != weight
                && let Some(instance) = plan.instance(weight)
            {
                has_changed |= self.write_instance(plan, instance, false).await;
                killing::step(&running.kept.workload);
            }
        }
        if has_changed || running.split_at == Revision(u64::MAX) {
            running.split_at = self.around.mesh.catalog().revision();
        }
    }

    pub(super) async fn deregister(&self, id: &ServiceId) {
        let command = Command::DeregisterService { node: self.place.node.clone(), id: id.clone() };
        match self.around.mesh.run(command).await {
            // Somebody else was first.
            WriteOutcome::Done(..) | WriteOutcome::Rejected(Rejection::UnknownService(_)) => {}
            outcome => tell_failure(&outcome, id, "it is not deregistered"),
        }
    }
}

pub(super) fn weight_of(plan: &CopyPlan) -> u16 {
    plan.spec.service.as_ref().map_or(1, |it| it.weight)
}

/// The port if it is free now; for 0 one that is.
async fn bound_port(address: &str, port: u16) -> io::Result<u16> {
    let address = address.to_owned();
    let bind = move || Ok(TcpListener::bind((&*address, port))?.local_addr()?.port());
    tokio::task::spawn_blocking(bind).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
