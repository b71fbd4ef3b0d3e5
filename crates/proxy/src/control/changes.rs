use std::collections::BTreeMap;
use std::sync::Arc;

use crate::snapshot::Snapshot;
use crate::stats::Stats;

/// Counts what came, changed and went from one snapshot to the next.
pub(super) fn count(stats: &Stats, before: &Snapshot, now: &Snapshot) {
    let clusters = differences(&before.config.clusters, &now.config.clusters);
    let manager = stats.cluster_manager();
    manager.cluster_added.add(clusters.added);
    manager.cluster_modified.add(clusters.modified);
    manager.cluster_removed.add(clusters.removed);
    let listeners = differences(&before.config.listeners, &now.config.listeners);
    let manager = stats.listener_manager();
    manager.listener_added.add(listeners.added);
    manager.listener_modified.add(listeners.modified);
    manager.listener_removed.add(listeners.removed);
    for (name, state) in &now.clusters {
        let ids = |snapshot: &Snapshot| {
            let endpoints = snapshot.config.endpoints.get(name);
            endpoints.map_or(0, |it| it.endpoints.len())
        };
        let is_same = match before.clusters.get(name) {
            Some(before) if Arc::ptr_eq(before, state) => true,
            Some(before) => {
                let ids = before.endpoints().map(|it| it.1.id());
                ids.eq(state.endpoints().map(|it| it.1.id()))
            }
            None => ids(now) == 0,
        };
        let counters = stats.updates(name);
        if !is_same {
            counters.membership_change.inc();
        }
    }
}

#[derive(Default)]
struct Differences {
    added: u64,
    modified: u64,
    removed: u64,
}

fn differences<T: PartialEq>(
    before: &BTreeMap<String, Arc<T>>,
    now: &BTreeMap<String, Arc<T>>,
) -> Differences {
    let mut differences = Differences::default();
    for (name, it) in now {
        match before.get(name) {
            None => differences.added += 1,
            Some(before) if Arc::ptr_eq(before, it) || before == it => {}
            Some(_) => differences.modified += 1,
        }
    }
    differences.removed = before.keys().filter(|it| !now.contains_key(*it)).count() as u64;
    differences
}
