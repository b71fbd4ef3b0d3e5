//! # store: a revisioned key-value log
//!
//! Keys with values, changed by transactions that compare and write; each commit takes the next revision; watchers
//! see every commit in order; leases take keys with them. The semantics are etcd's, so that etcd can be an engine.
//!
//! *May touch:* disk, network. *Does not know:* what the keys and values mean.
//!
//! Invariants:
//! * A commit is acknowledged after it is durable, and watchers see it only then.
//! * Revisions have no gaps and never go back, also over a restart and a crash.
//! * Nothing here assumes that this process is the only writer.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use model::{Change, Entry, LeaseId, Revision, Txn};
use tokio::sync::mpsc;

/// A future that owns what it needs, as trait objects return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A revisioned key-value store. Engines are told apart only when they are opened.
pub trait Store: Send + Sync + 'static {
    /// Makes the changes if every compare holds; a transaction without operations commits nothing and returns the
    /// current revision. Resolves when the commit is durable.
    fn commit(&self, txn: Txn) -> BoxFuture<'_, Result<Committed, StoreError>>;

    /// Everything at one revision, sorted by key.
    fn snapshot(&self) -> BoxFuture<'_, Result<Snapshot, StoreError>>;

    /// Every commit after revision `after`, in order, without gaps, and then as they happen.
    ///
    /// Fails with [`StoreError::Compacted`] when the history does not reach back so far: take a snapshot.
    fn watch(&self, after: Revision) -> BoxFuture<'_, Result<Watch, StoreError>>;

    /// A new lease that ends `ttl` after its last [`Store::keep_alive`]. 1 s to 24 h.
    fn grant_lease(&self, ttl: Duration) -> BoxFuture<'_, Result<LeaseId, StoreError>>;

    /// Starts the lease's time anew. Fails with [`StoreError::LeaseNotFound`] when it has ended.
    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Ends a lease now: its keys are deleted in one commit.
    fn revoke_lease(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// What became of a transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Committed {
    /// It is durable at this revision.
    At(Revision),
    /// A compare did not hold; nothing was written.
    Conflict {
        /// The first key whose compare failed.
        key: String,
    },
}

/// Everything at one revision.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// The revision.
    pub revision: Revision,
    /// All keys, sorted.
    pub entries: Vec<Entry>,
}

/// Commits in order, as they happen.
#[derive(Debug)]
pub struct Watch {
    pub(crate) changes: mpsc::Receiver<Result<Change, StoreError>>,
}

impl Watch {
    /// The next commit. `None` when the store was closed; an error ends the watch.
    pub async fn next(&mut self) -> Option<Result<Change, StoreError>> {
        self.changes.recv().await
    }

    /// The next commit, if it is there already.
    pub fn try_next(&mut self) -> Option<Result<Change, StoreError>> {
        self.changes.try_recv().ok()
    }
}

/// The store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data folder cannot be made or written.
    #[error("cannot use data folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has the data folder open.
    #[error("data folder {path} is in use by another agent; give this one its own with --data-dir")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// Reading or writing failed; `act` says what was being done.
    #[error("{act} failed")]
    Engine {
        /// What was being done.
        act: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The history does not reach back so far.
    #[error("history before revision {oldest} is gone")]
    Compacted {
        /// The oldest revision that can still be watched from.
        oldest: Revision,
    },
    /// A watcher did not keep up; it must take a snapshot.
    #[error("the watcher fell behind")]
    Lagged,
    /// No such lease, or it has ended.
    #[error("lease {0:?} does not exist or has ended")]
    LeaseNotFound(LeaseId),
    /// The store was closed, or failed before in a way that it cannot go on from.
    #[error("the store is closed")]
    Closed,
}
