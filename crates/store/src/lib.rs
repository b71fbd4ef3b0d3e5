//! # store: a revisioned key-value log
//!
//! Keys with values, changed by transactions that compare and write; each commit takes the next
//! revision; watchers see every commit in order; leases take keys with them. The semantics are
//! etcd's, so that etcd can be an engine.
//!
//! *May touch:* disk, network. *Does not know:* what the keys and values mean.
//!
//! Invariants:
//! * A commit is acknowledged after it is durable, and watchers see it only then.
//! * Revisions have no gaps and never go back, also over a restart and a crash.
//! * Nothing here assumes that this process is the only writer.

mod archive;
mod engine;
mod history;
mod memory;
mod redb_engine;
mod state;

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use model::{Change, Entry, LeaseId, Revision, Txn};
use tokio::sync::mpsc;

pub use archive::{ARCHIVE_BYTES_MAX, ArchiveError, read_archive, write_archive};
pub use memory::open_memory;
pub use redb_engine::open_redb;

/// A future that owns what it needs, as trait objects return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A revisioned key-value store. Engines are told apart only when they are opened.
pub trait Store: Send + Sync + 'static {
    /// Makes the changes if every compare holds; a transaction that changes nothing (no operations,
    /// or only deletes of absent keys) commits nothing and returns the current revision. Resolves
    /// when the commit is durable; a future that is dropped before may or may not have committed.
    ///
    /// Fails with [`StoreError::LeaseNotFound`], having written nothing, when it puts under a lease
    /// that has ended.
    fn commit(&self, txn: Txn) -> BoxFuture<'_, Result<Committed, StoreError>>;

    /// Everything at one revision, sorted by key.
    fn snapshot(&self) -> BoxFuture<'_, Result<Snapshot, StoreError>>;

    /// Every commit after revision `after`, in order, without gaps, and then as they happen.
    ///
    /// Fails with [`StoreError::Compacted`] when the history does not reach back so far: take a
    /// snapshot. A watcher that leaves 4,096 commits unread gets [`StoreError::Lagged`] and no
    /// more.
    fn watch(&self, after: Revision) -> BoxFuture<'_, Result<Watch, StoreError>>;

    /// A new lease that ends `ttl` after its last [`Store::keep_alive`]. 1 s to 24 h; less or more
    /// is taken as the nearest of them. A lease outlives a restart of the store and starts its time
    /// anew then.
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
        /// The first key, or prefix of keys, whose compare failed.
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
    /// What had been committed already when the watch began. Shared with the history, so it costs a
    /// pointer each.
    pub(crate) backlog: VecDeque<Arc<Change>>,
    pub(crate) changes: mpsc::Receiver<Result<Arc<Change>, StoreError>>,
}

impl Watch {
    /// The next commit. `None` when the store was closed; an error ends the watch.
    pub async fn next(&mut self) -> Option<Result<Change, StoreError>> {
        match self.backlog.pop_front() {
            Some(change) => Some(Ok(Arc::unwrap_or_clone(change))),
            None => self.changes.recv().await.map(|it| it.map(Arc::unwrap_or_clone)),
        }
    }

    /// The next commit, if it is there already.
    pub fn try_next(&mut self) -> Option<Result<Change, StoreError>> {
        match self.backlog.pop_front() {
            Some(change) => Some(Ok(Arc::unwrap_or_clone(change))),
            None => self.changes.try_recv().ok().map(|it| it.map(Arc::unwrap_or_clone)),
        }
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
    /// The data folder was written by a later version of this program.
    #[error(
        "data folder {path} has format {found} and this version reads up to {supported}; start the \
         version that wrote it, or use another --data-dir"
    )]
    NewerFormat {
        /// The folder.
        path: PathBuf,
        /// Format of its file.
        found: u64,
        /// Newest format that this version reads.
        supported: u64,
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
