//! Endpoints that left the configuration while something was under way to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use proxy_config::EndpointUse;
use traffic::EndpointState;

use crate::snapshot::Snapshot;

/// States that are remembered at most, at about 1 KiB each: 16 MiB. Each has a request or a connection of its own, which
/// take more than that by themselves.
const DEPARTED_MAX: usize = 16_384;

/// States of endpoints that are in no cluster any more. Whoever wants to end such an endpoint has to know what is under way
/// to it.
#[derive(Debug, Default)]
pub(crate) struct Departed {
    /// Those that left first come first.
    states: Mutex<Vec<Arc<EndpointState>>>,
}

impl Departed {
    /// Those that there are when `now` follows `before`, and no pick is made by `before` for a new request.
    pub(crate) fn after(&self, before: &Snapshot, now: &Snapshot) -> Self {
        let mut states = self.states.lock().clone();
        states.retain(is_used);
        for (name, cluster) in &before.clusters {
            let next = now.clusters.get(name);
            if next.is_some_and(|it| Arc::ptr_eq(it, cluster)) {
                continue;
            }
            let stays: BTreeSet<_> =
                next.iter().flat_map(|it| it.endpoints()).map(|it| Arc::as_ptr(it.1)).collect();
            let left = cluster.endpoints().map(|it| it.1);
            states.extend(left.filter(|it| !stays.contains(&Arc::as_ptr(it))).cloned());
        }
        bound(&mut states);
        Self { states: Mutex::new(states) }
    }

    /// Forgets those that nothing is under way to.
    pub(crate) fn forget_idle(&self) {
        self.states.lock().retain(is_used);
    }

    /// Adds what is under way to them. What they have counted before left with them.
    pub(crate) fn add_to(&self, uses: &mut BTreeMap<String, EndpointUse>) {
        for state in self.states.lock().iter() {
            let active = u64::from(state.active());
            let connections = state.counters().cx_active.load(Ordering::Relaxed);
            if active + connections > 0 {
                let sum = uses.entry(state.id().to_owned()).or_default();
                sum.active += active;
                sum.connections += connections;
            }
        }
    }
}

/// A request that is not counted yet, for it was picked just now, is seen by its hold only.
fn is_used(state: &Arc<EndpointState>) -> bool {
    is_active(state) || Arc::strong_count(state) > 1
}

fn is_active(state: &Arc<EndpointState>) -> bool {
    state.active() > 0 || state.counters().cx_active.load(Ordering::Relaxed) > 0
}

fn bound(states: &mut Vec<Arc<EndpointState>>) {
    if states.len() > DEPARTED_MAX {
        states.retain(is_active);
        states.drain(..states.len().saturating_sub(DEPARTED_MAX));
    }
}
