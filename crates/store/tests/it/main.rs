//! The store from outside: one suite for every engine, and what only a disk can do.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]

mod conformance;
mod crash;
mod disk;

use model::{Change, Compare, KeyChange, LeaseId, Operation, Revision, Txn};
use store::{Committed, Store, Watch};

fn put(key: &str, value: &str) -> Operation {
    Operation::Put { key: key.into(), value: value.as_bytes().into(), lease: None }
}

fn put_leased(key: &str, value: &str, lease: LeaseId) -> Operation {
    Operation::Put { key: key.into(), value: value.as_bytes().into(), lease: Some(lease) }
}

fn delete(key: &str) -> Operation {
    Operation::Delete { key: key.into() }
}

fn compare(key: &str, modified: u64) -> Compare {
    Compare::Key { key: key.into(), modified: Revision(modified) }
}

fn nothing_added(prefix: &str, since: u64) -> Compare {
    Compare::NothingAdded { prefix: prefix.into(), since: Revision(since) }
}

fn txn(operations: impl IntoIterator<Item = Operation>) -> Txn {
    Txn { compares: Vec::new(), operations: operations.into_iter().collect() }
}

fn put_change(key: &str, value: &str, created: u64) -> KeyChange {
    let value = value.as_bytes().into();
    KeyChange::Put { key: key.into(), value, created: Revision(created) }
}

fn delete_change(key: &str) -> KeyChange {
    KeyChange::Delete { key: key.into() }
}

fn change(revision: u64, keys: impl IntoIterator<Item = KeyChange>) -> Change {
    Change { revision: Revision(revision), keys: keys.into_iter().collect() }
}

/// Commits operations without compares and returns the revision.
async fn write(store: &dyn Store, operations: impl IntoIterator<Item = Operation>) -> u64 {
    match store.commit(txn(operations)).await.unwrap() {
        Committed::At(revision) => revision.0,
        Committed::Conflict { key } => panic!("conflict at {key} without a compare"),
    }
}

/// The snapshot as (revision, [(key, value, created, modified)]).
async fn contents(store: &dyn Store) -> (u64, Vec<(String, String, u64, u64)>) {
    let snapshot = store.snapshot().await.unwrap();
    let entries = snapshot.entries.into_iter().map(|it| {
        let value = String::from_utf8(it.value.to_vec()).unwrap();
        (it.key, value, it.created.0, it.modified.0)
    });
    (snapshot.revision.0, entries.collect())
}

fn entry(key: &str, value: &str, created: u64, modified: u64) -> (String, String, u64, u64) {
    (key.into(), value.into(), created, modified)
}

async fn next(watch: &mut Watch) -> Change {
    watch.next().await.expect("the store is open").expect("the watch goes on")
}
