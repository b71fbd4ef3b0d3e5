//! Who waits for what. A wake costs the number of those who wait for what was touched, not of all.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::{KvKey, WatchKey};
use parking_lot::Mutex;
use tokio::sync::Notify;

type Waiting = HashMap<u64, Arc<Notify>>;

/// Who waits, by what he waits for and then by his number.
#[derive(Default)]
struct Table {
    keys: HashMap<WatchKey, Waiting>,
    /// Those who wait for all keys of the key-value store that start with something.
    kv_under: BTreeMap<KvKey, Waiting>,
}

impl Table {
    fn at(&mut self, key: &WatchKey) -> &mut Waiting {
        match key {
            WatchKey::KvUnder(prefix) => self.kv_under.entry(prefix.clone()).or_default(),
            key => self.keys.entry(key.clone()).or_default(),
        }
    }

    fn forget(&mut self, key: &WatchKey, id: u64) {
        let waiting = self.at(key);
        waiting.remove(&id);
        if waiting.is_empty() {
            match key {
                WatchKey::KvUnder(prefix) => self.kv_under.remove(prefix),
                key => self.keys.remove(key),
            };
        }
    }

    /// Those who wait for a change of `key`.
    fn waiting_for(&self, key: &WatchKey) -> impl Iterator<Item = &Arc<Notify>> {
        let prefixes = match key {
            WatchKey::Kv(key) if !self.kv_under.is_empty() => prefixes(key),
            _ => Vec::new(),
        };
        let under = prefixes.into_iter().filter_map(|prefix| self.kv_under.get(&prefix));
        self.keys.get(key).into_iter().chain(under).flat_map(HashMap::values)
    }
}

/// All that a key starts with, nothing and itself among them.
fn prefixes(key: &KvKey) -> Vec<KvKey> {
    let key = key.as_str();
    let ends = key.char_indices().map(|(at, _)| at).chain([key.len()]);
    ends.map(|end| key[..end].into()).collect()
}

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
            table.at(key).insert(id, Arc::clone(&woken));
        }
        Watcher { table: Arc::clone(&self.table), keys: keys.into(), id, woken }
    }

    pub(super) fn wake(&self, touched: &BTreeSet<WatchKey>) {
        let table = self.table.lock();
        for key in touched {
            table.waiting_for(key).for_each(|woken| woken.notify_one());
        }
    }

    pub(super) fn wake_all(&self) {
        let table = self.table.lock();
        let all = table.keys.values().chain(table.kv_under.values());
        all.flat_map(HashMap::values).for_each(|woken| woken.notify_one());
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
            table.forget(key, self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn is_woken(watcher: &mut Watcher) -> bool {
        watcher.changed().now_or_never().is_some()
    }

    #[test]
    fn a_changed_key_wakes_those_who_wait_for_it_and_for_what_it_starts_with() {
        let waiters = Waiters::default();
        let under = |prefix: &str| waiters.watch(&[WatchKey::KvUnder(prefix.into())]);
        let mut all = under("");
        let mut folder = under("\u{e4}/");
        let mut itself = under("\u{e4}/b");
        let mut longer = under("\u{e4}/bc");
        let mut other = under("b");
        let mut key = waiters.watch(&[WatchKey::Kv("\u{e4}/b".into())]);
        let mut other_key = waiters.watch(&[WatchKey::Kv("\u{e4}".into())]);
        waiters.wake(&BTreeSet::from([WatchKey::Kv("\u{e4}/b".into())]));
        for woken in [&mut all, &mut folder, &mut itself, &mut key] {
            assert!(is_woken(woken), "{:?}", woken.keys);
        }
        for asleep in [&mut longer, &mut other, &mut other_key] {
            assert!(!is_woken(asleep), "{:?}", asleep.keys);
        }
        waiters.wake_all();
        assert!(is_woken(&mut other) && is_woken(&mut other_key));
        drop((all, folder, itself, longer, other, key, other_key));
        let table = waiters.table.lock();
        assert!(table.keys.is_empty() && table.kv_under.is_empty());
    }
}
