//! Moves requests between versions of services that others run and register, as documents of the kind `Rollout` ask for.
//!
//! It is the machine of the workloads, told that the copies are not ours: they are the registered instances, each of the
//! release that has its version. How requests are divided is a record of the store, [`TrafficSplit`], which the compiler
//! honors; registrations stay as their owners make them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{
    Catalog, Document, Record, RolloutSpec, ServiceName, Setting, Spec, Stored, Table, Timestamp,
    TrafficSplit,
};
use recovery::{Action, Command as Change, Copy, CopyId, Observed, ReleaseId, Split};
use registry::{Command, RecordCondition};

use super::name::WorkloadName;
use super::seen::changed_at;
use super::{Ask, Keeper, Order, kept};
use crate::fleet::Uses;

mod report;
mod running;

pub(super) use running::RunningRollout;
use running::{Kept, NO_RELEASE, Seen, count};

/// Prefix of the names that states have in the store.
const RECORD_PREFIX: &str = "rollout/";

/// The documents of the kind `Rollout`, by name.
pub(super) fn documents(catalog: &Catalog) -> BTreeMap<WorkloadName, Arc<Stored<Document>>> {
    let documents = catalog.documents();
    documents.filter_map(|it| Some((WorkloadName::of_rollout(&it.key)?, Arc::clone(it)))).collect()
}

fn spec_of(document: &Document) -> Option<&RolloutSpec> {
    match &document.spec {
        Spec::Rollout(spec) => Some(spec),
        Spec::Service(_) | Spec::Ingress(_) | Spec::Secret(_) | Spec::Workload(_) => None,
    }
}

fn record_name(name: &WorkloadName) -> String {
    format!("{RECORD_PREFIX}{}/{}", name.namespace, name.name)
}

impl Keeper {
    /// Goes on with what an earlier life of the agent has left, or ends it where nobody asks for it any more.
    pub(super) fn load_rollouts(&mut self) {
        let catalog = self.around.mesh.catalog();
        for stored in catalog.records_under::<Setting>(RECORD_PREFIX) {
            let name = stored.value.name.strip_prefix(RECORD_PREFIX).unwrap_or_default();
            let name = WorkloadName::parse(name);
            let kept = kept::load(&catalog, &record_name(&name), &name, |kept: &Kept| {
                kept.workload.is_readable()
            });
            if let Some(kept) = kept {
                self.rollouts.insert(name, RunningRollout::new(kept));
            }
        }
    }

    /// Looks at every rollout, and does what is to be done.
    pub(super) async fn look_at_rollouts(
        &mut self,
        documents: &BTreeMap<WorkloadName, Arc<Stored<Document>>>,
        uses: &[(String, Arc<Uses>)],
    ) {
        let names: BTreeSet<WorkloadName> =
            documents.keys().chain(self.rollouts.keys()).cloned().collect();
        for name in names {
            let spec = documents.get(&name).and_then(|it| spec_of(it));
            self.look_at_rollout(&name, spec, uses).await;
        }
    }

    async fn look_at_rollout(
        &mut self,
        name: &WorkloadName,
        spec: Option<&RolloutSpec>,
        uses: &[(String, Arc<Uses>)],
    ) {
        let now = Timestamp(runtime::unix_ms());
        let mut running = self.rollouts.remove(name);
        let is_over = |it: &RunningRollout| spec.is_none_or(|spec| spec.service != it.kept.service);
        if let Some(over) = running.take_if(|it| is_over(it))
            && !self.end_rollout(name, &over.kept.service).await
        {
            self.rollouts.insert(name.clone(), over);
            return;
        }
        let Some(spec) = spec else { return };
        let mut running =
            running.unwrap_or_else(|| RunningRollout::fresh(spec.service.clone(), now));
        let catalog = self.around.mesh.catalog();
        running.obstacle = rival(&catalog, name, &spec.service).unwrap_or_default();
        let instances = running.instances(&catalog, spec);
        if running.obstacle.is_empty() {
            running.follow(spec, &instances, now);
            let instances = running.instances(&catalog, spec);
            let observed = self.observe_rollout(&catalog, &instances, &mut running, uses);
            let actions = running.kept.workload.reconcile(&observed, now);
            actions.iter().for_each(|it| running.remember(name, it));
            if self.persist_rollout(name, &mut running, now).await {
                self.divide_service(name, spec, &running, observed.split, &actions).await;
            }
        }
        let catalog = self.around.mesh.catalog();
        let report = report::of(name, spec, &running, &catalog);
        self.shared.rollouts.lock().insert(name.clone(), report);
        self.rollouts.insert(name.clone(), running);
    }

    /// What is, as `recovery` sees it.
    fn observe_rollout(
        &self,
        catalog: &Catalog,
        instances: &[Seen],
        running: &mut RunningRollout,
        uses: &[(String, Arc<Uses>)],
    ) -> Observed {
        running.place(instances);
        let releases: BTreeMap<&str, ReleaseId> = instances
            .iter()
            .map(|it| (it.endpoint.as_str(), running.release_of(&it.version)))
            .collect();
        let copy = |it: &Seen| Copy {
            id: CopyId {
                release: releases[it.endpoint.as_str()],
                slot: running.slots[&it.endpoint],
            },
            phase: it.phase(),
            crashes: 0,
            unacknowledged: self.fleet.behind(changed_at(catalog, &it.node, &it.id)),
            in_flight: 0,
            output: it.output(),
        };
        let copies = instances.iter().map(copy).filter(|it| it.id.release != NO_RELEASE).collect();
        let record = catalog.record::<TrafficSplit>(running.kept.service.folded().as_str());
        let split = record.and_then(|it| running.split(it.value));
        let behind = record.map_or_else(Vec::new, |it| self.fleet.behind(it.modified));
        let reports = running.tally.take(uses, |endpoint| releases.get(endpoint).copied());
        Observed { copies, split, split_unacknowledged: behind, reports }
    }

    /// Has the store say how requests are divided.
    async fn divide_service(
        &self,
        name: &WorkloadName,
        spec: &RolloutSpec,
        running: &RunningRollout,
        now: Option<Split>,
        actions: &[Action],
    ) {
        let asked = actions.iter().rev().find_map(|it| match it {
            Action::SetSplit(split) => Some(split.clone()),
            _ => None,
        });
        let Some(split) = asked.or(now) else { return };
        let record = running.record(name, spec, &split);
        let catalog = self.around.mesh.catalog();
        let stored = catalog.record::<TrafficSplit>(spec.service.folded().as_str());
        if stored.is_some_and(|it| *it.value == record) {
            return;
        }
        let (record, when) = (Record::TrafficSplit(record), RecordCondition::Always);
        let command = Command::PutRecord { record, when };
        self.around.write(command, name, "how requests are divided is not stored").await;
    }

    /// Stores the state if it must be before what it says is done. False when that failed: then nothing may be done.
    async fn persist_rollout(
        &self,
        name: &WorkloadName,
        running: &mut RunningRollout,
        now: Timestamp,
    ) -> bool {
        let workload = &running.kept.workload;
        let (revision, is_rolling) = (workload.revision(), workload.target().is_some());
        if !running.is_dirty && !running.persisted.is_due(revision, is_rolling, now) {
            return true;
        }
        let record = kept::record(record_name(name), &running.kept);
        let command = Command::PutRecord { record, when: RecordCondition::Always };
        let is_stored = self.around.write(command, name, "its state is not stored").await;
        if is_stored {
            running.persisted.note(revision, now);
            running.is_dirty = false;
        }
        is_stored
    }

    /// Divides nothing any more, and forgets it. False when that failed.
    async fn end_rollout(&self, name: &WorkloadName, service: &ServiceName) -> bool {
        let catalog = self.around.mesh.catalog();
        let split = catalog.record::<TrafficSplit>(service.folded().as_str());
        let own = split.filter(|it| it.rollout == name.rollout_document());
        let state = model::RecordKey::new(Table::Setting, &record_name(name));
        let keys = own.map(|_| TrafficSplit::key_of(service)).into_iter().chain([state]);
        for key in keys {
            let command = Command::DeleteRecord { key, when: RecordCondition::Always };
            let failure = "its state cannot be removed from the store";
            if !self.around.write(command, name, failure).await {
                return false;
            }
        }
        self.shared.rollouts.lock().remove(name);
        true
    }

    /// Does what an operator asks of a rollout, as far as it can be asked where others run the instances.
    pub(super) async fn obey_for_rollout(
        &mut self,
        order: &Order,
        now: Timestamp,
    ) -> Result<(), String> {
        let catalog = self.around.mesh.catalog();
        let document = catalog.document(&order.name.rollout_document());
        let spec = document.and_then(|it| spec_of(it));
        let (Some(spec), Some(running)) = (spec, self.rollouts.get_mut(&order.name)) else {
            return Err(format!("there is no workload and no rollout {}", order.name));
        };
        let mut changed = RunningRollout::new(running.kept.clone());
        let workload = &mut changed.kept.workload;
        let refused = |refusal: recovery::Refusal| refusal.to_string();
        match order.ask {
            Ask::Pause => workload.handle_command(Change::Pause, now).map_err(refused)?,
            Ask::Resume => workload.handle_command(Change::Resume, now).map_err(refused)?,
            Ask::Promote => workload.handle_command(Change::Promote, now).map_err(refused)?,
            Ask::Undo if !running.waits_for.is_empty() && workload.stable().is_some() => {
                // What the document asks for has never begun; what serves is not what is to be undone.
                changed.kept.told = Some(spec.clone());
                changed.note("an operator undid a version that had not come yet".to_owned());
            }
            Ask::Undo => {
                let instances = running.instances(&catalog, spec);
                workload.may_undo(&count(&instances)).map_err(refused)?;
                workload.handle_command(Change::Undo, now).map_err(refused)?;
            }
            Ask::Retry if workload.target().is_some() => {
                return Err("a version is being rolled out; undo or promote it first".to_owned());
            }
            Ask::Retry if workload.stable().is_some_and(|it| it.version == spec.version) => {
                return Err(format!("version {} serves already", spec.version));
            }
            Ask::Retry => {
                changed.kept.told = None;
                changed.note(format!("an operator has version {} tried again", spec.version));
            }
            Ask::Start | Ask::Stop | Ask::Restart | Ask::Scale(_) => {
                return Err(format!(
                    "the instances of {} are run by others: this can be asked of a Workload only",
                    spec.service
                ));
            }
        }
        changed.is_dirty = true;
        if !self.persist_rollout(&order.name, &mut changed, now).await {
            return Err("it cannot be stored, and so it may not be done".to_owned());
        }
        if let Some(running) = self.rollouts.get_mut(&order.name) {
            running.kept = changed.kept;
            running.persisted = changed.persisted;
        }
        Ok(())
    }
}

/// Another rollout that divides the requests to the service already, in words.
fn rival(catalog: &Catalog, name: &WorkloadName, service: &ServiceName) -> Option<String> {
    let split = catalog.record::<TrafficSplit>(service.folded().as_str())?;
    let other = catalog.document(&split.rollout)?;
    let is_other = split.rollout != name.rollout_document()
        && spec_of(other).is_some_and(|it| it.service.folded() == service.folded());
    is_other
        .then(|| format!("{} divides the requests to {service}: delete one of the two", other.key))
}
