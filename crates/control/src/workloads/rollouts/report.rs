//! How rollouts are, for operators.

use model::{Catalog, RolloutSpec, TrafficSplit};

use super::running::INSTANCE;
use super::{RunningRollout, Seen};
use crate::workloads::name::WorkloadName;
use crate::workloads::report::{self, CopyReport, WorkloadReport};

pub(super) fn of(
    name: &WorkloadName,
    spec: &RolloutSpec,
    running: &RunningRollout,
    catalog: &Catalog,
) -> WorkloadReport {
    let kept = &running.kept;
    let workload = &kept.workload;
    let serving = workload.stable().or(workload.target());
    let record = catalog.record::<TrafficSplit>(spec.service.folded().as_str());
    let split = record.filter(|it| it.rollout == name.rollout_document()).map(|it| it.value);
    let instances = running.instances(catalog, spec);
    let of_serving = || {
        instances.iter().filter(|it| serving.is_some_and(|release| release.version == it.version))
    };
    let (state, reason) = state(spec, running, split, &instances);
    WorkloadReport {
        kind: "rollout".to_owned(),
        namespace: name.namespace.clone(),
        name: name.name.clone(),
        state,
        reason,
        version: serving.map_or_else(String::new, |it| it.version.clone()),
        replicas: number(of_serving().count()),
        ready: number(of_serving().filter(|it| it.is_usable()).count()),
        is_pending: !running.waits_for.is_empty(),
        is_blocked: false,
        held_back: String::new(),
        unenforced: Vec::new(),
        unacknowledged: Vec::new(),
        copies: instances.iter().map(|it| copy(it, running, split)).collect(),
        rollout: report::rollout(
            workload,
            split.and_then(|it| running.split(it)).as_ref(),
            &kept.events,
            INSTANCE,
        ),
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn copy(it: &Seen, running: &RunningRollout, split: Option<&TrafficSplit>) -> CopyReport {
    let has_share = split.is_none_or(|split| split.share_of(&it.version).is_some());
    let state = match it.is_usable() {
        true if has_share => "ready",
        true => "unused",
        false => it.verdict.state.as_str(),
    };
    CopyReport {
        id: it.endpoint.clone(),
        release: running.release_of(&it.version).0,
        version: it.version.clone(),
        state: state.to_owned(),
        output: it.output(),
        ..CopyReport::default()
    }
}

/// The state in a word, and why.
fn state(
    spec: &RolloutSpec,
    running: &RunningRollout,
    split: Option<&TrafficSplit>,
    instances: &[Seen],
) -> (String, String) {
    let workload = &running.kept.workload;
    let is = |word: &str, reason: String| (word.to_owned(), reason);
    if !running.obstacle.is_empty() {
        return is("held", running.obstacle.clone());
    }
    if let Some(progress) = report::progress(workload, INSTANCE) {
        return progress;
    }
    let shares = |it: &&Seen| split.is_some_and(|split| split.share_of(&it.version).is_some());
    let is_served = instances.iter().filter(shares).any(Seen::is_usable);
    if let (Some(stable), false) = (workload.stable(), is_served) {
        let version = &stable.version;
        let reason = if instances.iter().any(Seen::is_usable) {
            format!("no instance of version {version} is usable: requests go to all that there are")
        } else {
            format!("no instance of {} is usable", spec.service)
        };
        return is("degraded", reason);
    }
    if let Some(reason) = workload.held() {
        return is("held", reason.text(INSTANCE));
    }
    if !running.waits_for.is_empty() {
        return is("waiting", running.waits_for.clone());
    }
    is("running", report::last_undone(workload, INSTANCE))
}
