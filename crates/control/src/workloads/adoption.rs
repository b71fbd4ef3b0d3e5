//! What an earlier life of the agent has left: processes that are taken over, and instances that have none.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::workload::{META_COPY, META_WORKLOAD};
use model::{Catalog, ServiceId, Timestamp};
use recovery::CopyId;
use runtime::{Process, ProcessId};

use super::copy::CopyHandle;
use super::job::record_of;
use super::kept::{Kept, Running, stored_names};
use super::name::{MARK, Mark, WorkloadName};
use super::plan::CopyPlan;
use super::{DRAINING, Keeper, address_of, log_of, maintenance_of};

impl Keeper {
    /// Finds what an earlier life of the agent has left: processes, and instances that have none.
    pub(super) async fn take_over(&mut self) {
        let catalog = self.around.mesh.catalog();
        for name in stored_names(&catalog, &self.place.node) {
            match Kept::load(&catalog, &self.place.node, &name) {
                Some(kept) => drop(self.all.insert(name, Running::new(kept, &catalog))),
                None => drop(self.left.insert(name, BTreeMap::new())),
            }
        }
        self.adopt_the_recorded(&catalog);
        // Between the start of a process and its record there is only its mark.
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
            if self.is_adopted(mark) == Some(process.id) {
                continue;
            }
            if let Some(left) = self.left.get_mut(&mark.workload) {
                let copy = mark.workload.instance(mark.copy);
                tracing::error!(
                    pid = process.id.pid, %copy,
                    "left alone: it was started by another version; end it when others serve"
                );
                left.insert(mark.copy, process.id);
                continue;
            }
            match Process::adopt(process.id) {
                Ok(Some(adopted)) => self.adopt(&catalog, mark, adopted),
                Ok(None) => {}
                Err(error) => tracing::error!(pid = process.id.pid, %error, "it is not adopted"),
            }
        }
        self.left.retain(|_, copies| !copies.is_empty());
        self.deregister_the_dead(&catalog).await;
    }

    /// A workload as the store has it or, where that cannot be read, as one that has not begun yet. What begins beside processes
    /// that are left alone has other names than they have.
    pub(super) fn known_or_new(
        &self,
        name: &WorkloadName,
        catalog: &Catalog,
        now: Timestamp,
    ) -> Running {
        let kept = Kept::load(catalog, &self.place.node, name);
        let mut kept = kept.unwrap_or_else(|| Kept::new(now));
        if let Some(copies) = self.left.get(name) {
            if let Some((last, _)) = copies.last_key_value() {
                kept.workload.number_after(last.release);
            }
            let pids: Vec<String> = copies.values().map(|it| it.pid.to_string()).collect();
            let pids = pids.join(", ");
            kept.note(format!(
                "its state was written by another version and begins anew; left alone: process {pids}"
            ));
        }
        Running::new(kept, catalog)
    }

    /// Processes that were left alone and have ended are deregistered.
    pub(super) async fn forget_left(&mut self) {
        let ended = |(name, copies): (&WorkloadName, &BTreeMap<CopyId, ProcessId>)| {
            let ended = copies.iter().filter(|it| !Process::is_running(*it.1));
            ended.map(|it| (name.clone(), *it.0)).collect::<Vec<_>>()
        };
        let ended: Vec<(WorkloadName, CopyId)> = self.left.iter().flat_map(ended).collect();
        for (name, copy) in ended {
            self.deregister(&name.instance(copy)).await;
            if let Some(copies) = self.left.get_mut(&name) {
                copies.remove(&copy);
            }
        }
        self.left.retain(|_, copies| !copies.is_empty());
    }

    /// Processes may have overwritten the environment that their marks were in; they are in the store, too.
    fn adopt_the_recorded(&mut self, catalog: &Catalog) {
        let recorded: Vec<(Mark, ProcessId)> = self
            .all
            .iter()
            .flat_map(|(name, running)| {
                running.kept.processes.iter().map(|(copy, it)| {
                    let mark = Mark {
                        node_id: self.place.node_id.clone(),
                        workload: name.clone(),
                        copy: *copy,
                        port: it.port,
                    };
                    (mark, ProcessId { pid: it.pid, started: it.started })
                })
            })
            .collect();
        for (mark, id) in recorded {
            match Process::adopt(id) {
                Ok(Some(process)) => self.adopt(catalog, &mark, process),
                Ok(None) => {}
                Err(error) => tracing::error!(pid = id.pid, %error, "it is not adopted"),
            }
        }
    }

    /// The process that a copy was taken over with.
    fn is_adopted(&self, mark: &Mark) -> Option<ProcessId> {
        let copies = &self.all.get(&mark.workload)?.copies;
        let known = self.all.get(&mark.workload)?.kept.processes.get(&mark.copy)?;
        let id = ProcessId { pid: known.pid, started: known.started };
        copies.contains_key(&mark.copy).then_some(id)
    }

    pub(super) fn adopt(&mut self, catalog: &Catalog, mark: &Mark, mut process: Process) {
        let pid = process.id().pid;
        let place = &self.place;
        if let Some(group) = place.enforcement.group_of(&mark.workload.instance(mark.copy)) {
            process.set_group(group);
        }
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
            can_survive: place.can_survive,
            record: record_of(place, &mark.workload, mark.copy, spec, running.kept.began_ms),
        };
        tracing::info!(pid, copy = %plan.id(), "adopted");
        let past = running.kept.copies.get(&mark.copy).cloned().unwrap_or_default();
        let maintenance = maintenance_of(catalog, &place.node, &plan.id());
        let log = log_of(place, &plan);
        let mut handle = CopyHandle::start(Arc::new(plan), log, &self.around, past, Some(process));
        handle.is_draining = maintenance.is_some_and(|it| it.notes == DRAINING);
        running.copies.insert(mark.copy, handle);
    }

    /// Deregisters copies that have no process: nothing may be sent to where nobody is.
    pub(super) async fn deregister_the_dead(&self, catalog: &Catalog) {
        let node = self.place.node.folded();
        let dead: Vec<ServiceId> = catalog
            .instances_of_node(&node)
            .filter_map(|instance| {
                let meta = instance.meta.as_ref()?;
                let (namespace, name) = meta.get(META_WORKLOAD)?.split_once('/')?;
                let name = WorkloadName { namespace: namespace.to_owned(), name: name.to_owned() };
                let copy: CopyId = meta.get(META_COPY)?.parse().ok()?;
                let lives = self.all.get(&name).is_some_and(|it| it.copies.contains_key(&copy));
                let is_left = self.left.get(&name).is_some_and(|it| it.contains_key(&copy));
                (!lives && !is_left).then(|| instance.id.clone())
            })
            .collect();
        for id in dead {
            self.deregister(&id).await;
        }
    }
}
