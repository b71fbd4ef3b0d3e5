//! What a transaction does, the same for every engine: pure, no clock and no IO.
//!
//! Invariants:
//! * A key's lease exists, and lists the key; and the other way around.
//! * A lease has exactly one deadline.

mod additions;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Change, Compare, KeyChange, LeaseId, Operation, Revision, Txn};

use self::additions::Additions;
use crate::{Committed, StoreError};

const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_secs(24 * 3600);

/// "No lease" in [`KeyState`]: ids start at 1, and an `Option` would add 8 bytes to every key.
const NO_LEASE: LeaseId = LeaseId(0);

/// What an engine keeps of a value in memory: the value, or nothing.
pub(crate) trait Held: Send + 'static {
    /// The part of `value` that is kept.
    fn of(value: &Arc<[u8]>) -> Self;
}

impl Held for Arc<[u8]> {
    fn of(value: &Arc<[u8]>) -> Self {
        Arc::clone(value)
    }
}

impl Held for () {
    fn of(_: &Arc<[u8]>) -> Self {}
}

/// Every key's revisions, and the leases. `V` is what is kept of the values.
///
/// A key costs 24 bytes plus `V` plus the boxed text and the slack of a B-tree: about 100 bytes for
/// a key of 40.
pub(crate) struct State<V> {
    revision: Revision,
    keys: BTreeMap<Box<str>, KeyState<V>>,
    leases: BTreeMap<LeaseId, Lease>,
    deadlines: BTreeSet<(Instant, LeaseId)>,
    lease_last: LeaseId,
    additions: Additions,
}

/// What is known of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct KeyState<V> {
    /// Revision at which the key came to be.
    pub(crate) created: Revision,
    /// Revision of its last modification.
    pub(crate) modified: Revision,
    /// The lease that it goes with; `LeaseId(0)` for none.
    pub(crate) lease: LeaseId,
    /// What is kept of the value.
    pub(crate) held: V,
}

struct Lease {
    ttl: Duration,
    ends: Instant,
    keys: BTreeSet<Box<str>>,
}

/// What has changed in the state and is not durable yet.
#[derive(Default)]
pub(crate) struct Batch {
    /// Commits, in order.
    pub(crate) changes: Vec<Arc<Change>>,
    /// Grants and ends of leases, in order.
    pub(crate) leases: Vec<LeaseChange>,
    /// Keys that went, each with the revision at which it had come to be.
    pub(crate) gone: Vec<(Revision, String)>,
}

/// What became of a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LeaseChange {
    /// It is new.
    Granted { lease: LeaseId, ttl: Duration },
    /// It was revoked or has expired.
    Ended { lease: LeaseId },
}

impl Batch {
    /// True when there is nothing to make durable.
    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.leases.is_empty()
    }

    /// The last value of every key that the batch writes, by key; `None` where the key was deleted.
    pub(crate) fn last_writes(&self) -> BTreeMap<&str, Option<&[u8]>> {
        let writes = self.changes.iter().flat_map(|change| &change.keys).map(|it| match it {
            KeyChange::Put { key, value, .. } => (key.as_str(), Some(&**value)),
            KeyChange::Delete { key } => (key.as_str(), None),
        });
        writes.collect()
    }
}

impl<V: Held> State<V> {
    /// A state without keys.
    pub(crate) fn new(revision: Revision, lease_last: LeaseId) -> Self {
        State {
            revision,
            keys: BTreeMap::new(),
            leases: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            lease_last,
            additions: Additions::new(revision),
        }
    }

    /// Puts a stored lease back; its time starts at `now`.
    pub(crate) fn restore_lease(&mut self, lease: LeaseId, ttl: Duration, now: Instant) {
        let ends = now + ttl;
        self.leases.insert(lease, Lease { ttl, ends, keys: BTreeSet::new() });
        self.deadlines.insert((ends, lease));
    }

    /// Puts a stored key back, after the leases. False when its lease does not exist.
    pub(crate) fn restore_key(&mut self, key: &str, state: KeyState<V>) -> bool {
        if state.lease != NO_LEASE {
            let Some(lease) = self.leases.get_mut(&state.lease) else { return false };
            lease.keys.insert(key.into());
        }
        self.keys.insert(key.into(), state);
        true
    }

    /// Revision of the last commit.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// The highest lease id ever granted.
    pub(crate) fn lease_last(&self) -> LeaseId {
        self.lease_last
    }

    /// One key.
    pub(crate) fn get(&self, key: &str) -> Option<&KeyState<V>> {
        self.keys.get(key)
    }

    /// All keys, sorted.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &KeyState<V>)> {
        self.keys.iter().map(|(key, it)| (&**key, it))
    }

    /// When the next lease ends.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(ends, _)| *ends)
    }

    /// Makes the changes of the transaction if every compare holds.
    pub(crate) fn commit(&mut self, txn: Txn, batch: &mut Batch) -> Result<Committed, StoreError> {
        if let Some(broken) = txn.compares.iter().find(|it| !self.holds(it)) {
            return Ok(Committed::Conflict { key: broken.key().to_owned() });
        }
        if let Some(lease) = txn.operations.iter().find_map(|it| self.missing_lease(it)) {
            return Err(StoreError::LeaseNotFound(lease));
        }
        let revision = Revision(self.revision.0 + 1);
        let operations = txn.operations.into_iter();
        let keys: Vec<KeyChange> =
            operations.filter_map(|it| self.apply(it, revision, batch)).collect();
        if !keys.is_empty() {
            self.revision = revision;
            batch.changes.push(Arc::new(Change { revision, keys }));
        }
        Ok(Committed::At(self.revision))
    }

    /// Makes a lease.
    pub(crate) fn grant(&mut self, ttl: Duration, now: Instant, batch: &mut Batch) -> LeaseId {
        // Whole milliseconds, because that is what is stored.
        let ttl = Duration::from_millis(ttl.clamp(TTL_MIN, TTL_MAX).as_millis() as u64);
        let lease = LeaseId(self.lease_last.0 + 1);
        self.lease_last = lease;
        self.restore_lease(lease, ttl, now);
        batch.leases.push(LeaseChange::Granted { lease, ttl });
        lease
    }

    /// Starts a lease's time anew.
    pub(crate) fn keep_alive(&mut self, lease: LeaseId, now: Instant) -> Result<(), StoreError> {
        let it = self.leases.get_mut(&lease).ok_or(StoreError::LeaseNotFound(lease))?;
        self.deadlines.remove(&(it.ends, lease));
        it.ends = now + it.ttl;
        self.deadlines.insert((it.ends, lease));
        Ok(())
    }

    /// Ends a lease and deletes its keys in one commit; a lease without keys takes no revision.
    pub(crate) fn revoke(&mut self, lease: LeaseId, batch: &mut Batch) -> Result<(), StoreError> {
        let it = self.leases.remove(&lease).ok_or(StoreError::LeaseNotFound(lease))?;
        self.deadlines.remove(&(it.ends, lease));
        batch.leases.push(LeaseChange::Ended { lease });
        if it.keys.is_empty() {
            return Ok(());
        }
        self.revision.0 += 1;
        for key in &it.keys {
            let gone = self.keys.remove(key).expect("a lease lists keys that exist");
            batch.gone.push((gone.created, key.to_string()));
        }
        let deletes = it.keys.into_iter().map(|key| KeyChange::Delete { key: key.into() });
        let change = Change { revision: self.revision, keys: deletes.collect() };
        batch.changes.push(Arc::new(change));
        Ok(())
    }

    /// Ends the leases whose time is over, the longest over first, at most `max` of them.
    pub(crate) fn expire(&mut self, now: Instant, max: usize, batch: &mut Batch) {
        let due = self.deadlines.iter().take_while(|(ends, _)| *ends <= now).take(max);
        let due: Vec<LeaseId> = due.map(|(_, lease)| *lease).collect();
        for lease in due {
            self.revoke(lease, batch).expect("a deadline is that of a lease that exists");
        }
    }

    fn holds(&self, compare: &Compare) -> bool {
        match compare {
            Compare::Key { key, modified } => {
                self.get(key).map_or(Revision(0), |it| it.modified) == *modified
            }
            Compare::NothingAdded { prefix, since } => !self.has_additions(prefix, *since),
        }
    }

    /// True when a key with this prefix came to be after `since`, and is there still. Costs the additions since then, or
    /// all keys with the prefix when that is longer ago than is remembered.
    fn has_additions(&self, prefix: &str, since: Revision) -> bool {
        let is_new = |key: &str| self.get(key).is_some_and(|it| it.created > since);
        if let Some(mut keys) = self.additions.after(since) {
            return keys.any(|key| key.starts_with(prefix) && is_new(key));
        }
        let from = (Bound::Included(prefix), Bound::Unbounded);
        self.keys
            .range::<str, _>(from)
            .take_while(|(key, _)| key.starts_with(prefix))
            .any(|(_, it)| it.created > since)
    }

    fn missing_lease(&self, operation: &Operation) -> Option<LeaseId> {
        match operation {
            Operation::Put { lease: Some(lease), .. } => {
                (!self.leases.contains_key(lease)).then_some(*lease)
            }
            Operation::Put { lease: None, .. } | Operation::Delete { .. } => None,
        }
    }

    /// Does one operation; `None` when it has no effect.
    fn apply(
        &mut self,
        operation: Operation,
        revision: Revision,
        batch: &mut Batch,
    ) -> Option<KeyChange> {
        match operation {
            Operation::Put { key, value, lease } => {
                let created = self.put(&key, &value, lease.unwrap_or(NO_LEASE), revision);
                Some(KeyChange::Put { key, value, created })
            }
            Operation::Delete { key } => {
                let gone = self.keys.remove(key.as_str())?;
                self.detach(&key, gone.lease);
                batch.gone.push((gone.created, key.clone()));
                Some(KeyChange::Delete { key })
            }
        }
    }

    /// Sets a key and returns the revision at which it came to be.
    fn put(
        &mut self,
        key: &str,
        value: &Arc<[u8]>,
        lease: LeaseId,
        modified: Revision,
    ) -> Revision {
        let (created, detached) = match self.keys.get_mut(key) {
            Some(it) => {
                it.modified = modified;
                it.held = V::of(value);
                (it.created, std::mem::replace(&mut it.lease, lease))
            }
            None => {
                let it = KeyState { created: modified, modified, lease, held: V::of(value) };
                self.keys.insert(key.into(), it);
                self.additions.push(modified, key);
                (modified, NO_LEASE)
            }
        };
        if detached != lease {
            self.detach(key, detached);
            if let Some(it) = self.leases.get_mut(&lease) {
                it.keys.insert(key.into());
            }
        }
        created
    }

    fn detach(&mut self, key: &str, lease: LeaseId) {
        if let Some(it) = self.leases.get_mut(&lease) {
            it.keys.remove(key);
        }
    }
}
