//! Who waits for what. A wake costs the number of those who wait for what was touched, not of all.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::WatchKey;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Who waits, by what he waits for and then by his number.
type Table = HashMap<WatchKey, HashMap<u64, Arc<Notify>>>;

#[derive(Default)]
pub(super) struct Waiters {
    table: Arc<Mutex<Table>>,
    next_id: AtomicU64,
}

impl Waiters {
    pub(super) fn watch(&self, keys: &[WatchKey]) -> Watcher {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let woken = Arc::new(Notify::new());
        let mut table = self.table.lock();
        for key in keys {
            table.entry(key.clone()).or_default().insert(id, Arc::clone(&woken));
        }
        Watcher { table: Arc::clone(&self.table), keys: keys.into(), id, woken }
    }

    pub(super) fn wake(&self, touched: &BTreeSet<WatchKey>) {
        let table = self.table.lock();
        for key in touched {
            for woken in table.get(key).into_iter().flat_map(HashMap::values) {
                woken.notify_one();
            }
        }
    }

    pub(super) fn wake_all(&self) {
        for woken in self.table.lock().values().flat_map(HashMap::values) {
            woken.notify_one();
        }
    }
}

/// A wait for changes.
pub struct Watcher {
    table: Arc<Mutex<Table>>,
    keys: Box<[WatchKey]>,
    id: u64,
    woken: Arc<Notify>,
}

impl Watcher {
    /// Resolves at the next change since the last call (or since the watcher was made). Cancel-safe.
    pub async fn changed(&mut self) {
        // A `Notify` keeps one permit, so a wake between two calls is not lost.
        self.woken.notified().await;
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut table = self.table.lock();
        for key in &self.keys {
            if let Some(waiters) = table.get_mut(key) {
                waiters.remove(&self.id);
                if waiters.is_empty() {
                    table.remove(key);
                }
            }
        }
    }
}
