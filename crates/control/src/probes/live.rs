use std::collections::BTreeMap;
use std::sync::Arc;

use api::LiveCheck;
use model::{Check, CheckId};
use parking_lot::Mutex;

/// Freshest results where they differ from the catalog. At most one entry for each check of the
/// node, each with at most a probe's output.
#[derive(Default)]
pub(super) struct LiveChecks(Mutex<Arc<BTreeMap<CheckId, LiveCheck>>>);

impl LiveChecks {
    /// All of them. The map is copied at the next change only while somebody holds a snapshot.
    pub(super) fn snapshot(&self) -> Arc<BTreeMap<CheckId, LiveCheck>> {
        Arc::clone(&self.0.lock())
    }

    /// Takes the freshest result of a check; `stored` is what the catalog says about it.
    pub(super) fn set(&self, id: &CheckId, fresh: LiveCheck, stored: &Check) {
        if fresh.status == stored.status && fresh.output == stored.output {
            self.remove(id);
            return;
        }
        let mut map = self.0.lock();
        if map.get(id) != Some(&fresh) {
            Arc::make_mut(&mut map).insert(id.clone(), fresh);
        }
    }

    /// Forgets a check.
    pub(super) fn remove(&self, id: &CheckId) {
        let mut map = self.0.lock();
        if map.contains_key(id) {
            Arc::make_mut(&mut map).remove(id);
        }
    }
}
