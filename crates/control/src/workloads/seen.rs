//! What is, as `recovery` sees it.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::LiveCheck;
use model::{Catalog, Check, CheckId, CheckStatus, NodeName, Revision, ServiceId};
use recovery::{Copy, CopyId, Observed, Phase};

use super::copy::{CopyHandle, CopyState, Stage, is_ready};
use super::kept::Running;
use super::name::WorkloadName;
use super::plan::CopyPlan;
use super::{DRAINING, Keeper, UNUSED, maintenance_of};
use crate::fleet::Uses;

impl Keeper {
    /// What is, as `recovery` sees it.
    pub(super) fn observe(
        &self,
        catalog: &Catalog,
        name: &WorkloadName,
        running: &mut Running,
        uses: &[(String, Arc<Uses>)],
    ) -> Observed {
        let live = self.around.probes.live_checks();
        // Who has acknowledged is asked before what is under way: a request that began before is seen then.
        let Running { copies, gone, .. } = &mut *running;
        gone.retain(|id, _| copies.contains_key(id));
        let behind: BTreeMap<CopyId, Vec<String>> = copies
            .iter()
            .map(|(id, handle)| {
                let known = known_at(catalog, &handle.plan.node, &handle.plan.id(), *id, gone);
                (*id, self.fleet.behind(known))
            })
            .collect();
        let drains = running.copies.values().any(|it| it.is_draining);
        let fresh = drains.then(|| self.fleet.uses());
        let uses = fresh.as_deref().unwrap_or(uses);
        let copies = running.copies.iter().map(|(id, handle)| {
            let state = handle.state();
            let endpoint = format!("{}/{}", self.place.node, handle.plan.id());
            let in_flight = uses.iter().filter_map(|it| it.1.get(&endpoint)).map(|it| it.active);
            Copy {
                id: *id,
                phase: phase(catalog, handle, state.stage),
                crashes: state.crashes,
                unacknowledged: behind.get(id).cloned().unwrap_or_default(),
                in_flight: in_flight.fold(0, u64::saturating_add),
                output: output_of(catalog, &live, handle, &state),
            }
        });
        let copies: Vec<Copy> = copies.collect();
        let split_unacknowledged = self.fleet.behind(running.split_at);
        let is_waited_for = |it: &&Copy| matches!(it.phase, Phase::Ready | Phase::Draining);
        let of_copies = copies.iter().filter(is_waited_for).flat_map(|it| &it.unacknowledged);
        let of_split = split_unacknowledged.iter().filter(|_| running.kept.split.is_some());
        let waited: Vec<String> = of_copies.chain(of_split).cloned().collect();
        running.wait_for(waited.iter(), runtime::unix_ms());
        let prefix = format!("{}/", self.place.node);
        let base = name.copy_prefix();
        let release_of = |endpoint: &str| {
            let copy = endpoint.strip_prefix(&prefix)?.strip_prefix(&base)?;
            Some(copy.parse::<CopyId>().ok()?.release)
        };
        Observed {
            copies,
            split: running.kept.split.clone(),
            split_unacknowledged,
            reports: running.tally.take(uses, release_of),
        }
    }
}

pub(super) fn phase(catalog: &Catalog, handle: &CopyHandle, stage: Stage) -> Phase {
    let plan = &handle.plan;
    match stage {
        Stage::Stopped => Phase::Stopped,
        Stage::Stopping => Phase::Stopping,
        Stage::Held | Stage::Left => Phase::Failed,
        Stage::Starting | Stage::Waiting | Stage::Running if handle.is_draining => {
            // The mark holds once the registry has it.
            let marked = maintenance_of(catalog, &plan.node, &plan.id());
            // What is not registered is not used.
            let is_gone = catalog.instance(&plan.node.folded(), &plan.id()).is_none();
            // Whatever took it out of use, nobody calls it.
            let is_marked = is_gone || marked.is_some();
            if is_marked { Phase::Draining } else { Phase::Ready }
        }
        Stage::Starting | Stage::Waiting => Phase::Starting,
        Stage::Running if is_ready(catalog, plan) && !is_out_of_use(catalog, plan) => Phase::Ready,
        Stage::Running => Phase::Checking,
    }
}

/// An operator has put it, or the node, into maintenance.
fn is_out_of_use(catalog: &Catalog, plan: &CopyPlan) -> bool {
    let node = plan.node.folded();
    let own = catalog.checks_of_instance(&node, &plan.id());
    let of_node = catalog.checks_of_instance(&node, &ServiceId::default());
    let is_foreign = |it: &Check| it.is_maintenance() && ![DRAINING, UNUSED].contains(&&*it.notes);
    own.chain(of_node).any(|it| is_foreign(it))
}

/// What a copy, or its check, said last.
pub(super) fn output_of(
    catalog: &Catalog,
    live: &BTreeMap<CheckId, LiveCheck>,
    handle: &CopyHandle,
    state: &CopyState,
) -> String {
    let plan = &handle.plan;
    let node = plan.node.folded();
    let of_node = catalog.checks_of_instance(&node, &ServiceId::default());
    let failing = of_node
        .chain(catalog.checks_of_instance(&node, &plan.id()))
        .filter(|it| !it.is_maintenance() && !it.is_sightings())
        .find(|it| it.status != CheckStatus::Passing);
    match failing {
        // What the last probe said is newer than what led to the verdict.
        Some(check) if state.stage == Stage::Running => {
            let said = live.get(&check.id).map_or(&check.output, |it| &it.output);
            format!("{}: {}", check.name, said.trim_end())
        }
        Some(_) | None => state.last_end.clone(),
    }
}

/// The revision from which on proxies know how it is with an instance. When one that is gone went is not in the catalog: at the
/// latest when it was first seen to be, which `gone` keeps.
fn known_at(
    catalog: &Catalog,
    node: &NodeName,
    id: &ServiceId,
    copy: CopyId,
    gone: &mut BTreeMap<CopyId, Revision>,
) -> Revision {
    if catalog.instance(&node.folded(), id).is_none() {
        return *gone.entry(copy).or_insert_with(|| catalog.revision());
    }
    gone.remove(&copy);
    changed_at(catalog, node, id)
}

/// The revision of the last change of an instance that proxies have to know of.
pub(super) fn changed_at(catalog: &Catalog, node: &NodeName, id: &ServiceId) -> Revision {
    let node = node.folded();
    let instance = catalog.instance(&node, id).map(|it| it.modified);
    let checks = catalog.checks_of_instance(&node, id).map(|it| it.modified);
    instance.into_iter().chain(checks).max().unwrap_or(Revision(0))
}
