//! The one writer and the many readers of the catalog.
//!
//! A command is turned into a transaction on the newest catalog, committed, and answered once the applier has
//! published a catalog that holds it. The applier is the only one who changes the catalog.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::WriteOutcome;
use arc_swap::ArcSwap;
use model::{Catalog, Change, Revision, Timestamp, WatchKey};
use parking_lot::Mutex;
use registry::{Command, Decision, decide};
use runtime::{Drain, Tasks};
use store::{Committed, Store, StoreError, Watch};
use tokio::sync::watch;

mod waiters;

use waiters::Waiters;
pub use waiters::Watcher;

/// Most times that a command is run again because another writer came first. Each round means that somebody
/// else's write succeeded, so only a storm on one key gets here.
const CONFLICTS_MAX: u32 = 1000;
/// How long a conflicting write of somebody else may take to show up in our catalog.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(10);
/// Most commits applied before the result is published: bounds the work between two publications.
const CHANGES_PER_PUBLICATION_MAX: usize = 1024;
/// Publications whose time is known: what a compiler that rests for long still asks for.
const TIMES_MAX: usize = 1024;

/// Access to the truth. A cheap clone.
#[derive(Clone)]
pub struct Mesh {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn Store>,
    catalog: ArcSwap<Catalog>,
    waiters: Waiters,
    /// When which revisions were published, the oldest first.
    times: Mutex<VecDeque<(Revision, Instant)>>,
    /// Revision of the published catalog; closed when the applier has ended.
    applied: watch::Receiver<Revision>,
}

impl Mesh {
    /// Reads all that the store holds and starts to follow it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn start(store: Arc<dyn Store>, tasks: &Tasks) -> Result<Self, StoreError> {
        let snapshot = store.snapshot().await?;
        let changes = store.watch(snapshot.revision).await?;
        let (catalog, errors) = Catalog::from_entries(snapshot.revision, snapshot.entries);
        for error in errors {
            tracing::warn!(error = &error as &dyn std::error::Error, "an object is left out");
        }
        let (applied_sender, applied) = watch::channel(catalog.revision());
        let shared = Arc::new(Shared {
            store,
            catalog: ArcSwap::from_pointee(catalog),
            waiters: Waiters::default(),
            times: Mutex::default(),
            applied,
        });
        let applier = Applier { shared: Arc::clone(&shared), changes, applied: applied_sender };
        tasks.spawn("catalog applier", applier.run(tasks.drain()));
        Ok(Self { shared })
    }

    /// All that is true now.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.shared.catalog.load_full()
    }

    /// Makes a command true. Resolves when the change is durable and in [`Mesh::catalog`].
    pub async fn run(&self, command: Command) -> WriteOutcome {
        for _ in 0..CONFLICTS_MAX {
            let catalog = self.catalog();
            let Decision { txn, read } =
                match decide(&catalog, &command, Timestamp(runtime::unix_ms())) {
                    Ok(decision) => decision,
                    Err(rejection) => return WriteOutcome::Rejected(rejection),
                };
            if txn.is_noop() {
                return WriteOutcome::Done(catalog.revision(), read);
            }
            match self.shared.store.commit(txn).await {
                Ok(Committed::At(revision)) => {
                    return match self.applied(revision).await {
                        Ok(()) => WriteOutcome::Done(revision, read),
                        Err(failed) => failed,
                    };
                }
                Ok(Committed::Conflict { .. }) => {
                    let newer = Revision(catalog.revision().0 + 1);
                    let caught_up = tokio::time::timeout(CATCH_UP_TIMEOUT, self.applied(newer));
                    match caught_up.await {
                        Ok(Ok(())) => {}
                        Ok(Err(failed)) => return failed,
                        Err(_) => break,
                    }
                }
                Err(error) => return WriteOutcome::Failed(describe(&error)),
            }
        }
        WriteOutcome::Failed("other writers kept changing the same objects; try again".into())
    }

    /// Where it is kept.
    pub(crate) fn store(&self) -> &dyn Store {
        &*self.shared.store
    }

    /// Starts to wait for a change of any of `keys`; changes from here on are not missed.
    #[must_use]
    pub fn watch(&self, keys: &[WatchKey]) -> Watcher {
        self.shared.waiters.watch(keys)
    }

    /// Follows the revision of [`Mesh::catalog`].
    #[must_use]
    pub fn revisions(&self) -> watch::Receiver<Revision> {
        self.shared.applied.clone()
    }

    /// When the first revision after this one was published; `None` when there is none, or that was long ago.
    #[must_use]
    pub(crate) fn published_after(&self, revision: Revision) -> Option<Instant> {
        let times = self.shared.times.lock();
        times.get(times.partition_point(|it| it.0 <= revision)).map(|it| it.1)
    }

    /// Waits until the catalog is at `revision`, or says how that fails.
    pub(crate) async fn applied(&self, revision: Revision) -> Result<(), WriteOutcome> {
        let mut applied = self.shared.applied.clone();
        match applied.wait_for(|at| *at >= revision).await {
            Ok(_) => Ok(()),
            Err(_) => Err(WriteOutcome::Failed("the agent is shutting down".into())),
        }
    }
}

fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Follows the store and publishes each new catalog.
struct Applier {
    shared: Arc<Shared>,
    changes: Watch,
    applied: watch::Sender<Revision>,
}

impl Applier {
    async fn run(mut self, drain: Drain) {
        loop {
            let next = tokio::select! {
                change = self.changes.next() => change,
                () = drain.begun() => return,
            };
            let ended = match next {
                Some(Ok(change)) => self.publish(&change),
                Some(Err(error)) => Some(error),
                None => return,
            };
            let lost = match ended {
                None => continue,
                Some(StoreError::Lagged) => self.start_over().await.err(),
                Some(error) => Some(error),
            };
            if let Some(error) = lost {
                tracing::error!(error = &error as &dyn std::error::Error, "the store is lost");
                return;
            }
        }
    }

    /// Applies `first` and what else is there already, publishes the result once, and wakes whom it concerns.
    /// Returns why the watch ended, if it did.
    fn publish(&mut self, first: &Change) -> Option<StoreError> {
        let mut catalog = (**self.shared.catalog.load()).clone();
        let mut touched = self.apply(&mut catalog, first);
        let mut ended = None;
        for _ in 1..CHANGES_PER_PUBLICATION_MAX {
            match self.changes.try_next() {
                Some(Ok(change)) => touched.extend(self.apply(&mut catalog, &change)),
                Some(Err(error)) => ended = Some(error),
                None => break,
            }
        }
        let revision = catalog.revision();
        self.shared.catalog.store(Arc::new(catalog));
        self.note_time(revision);
        self.shared.waiters.wake(&touched);
        self.applied.send_replace(revision);
        ended
    }

    fn note_time(&self, revision: Revision) {
        let mut times = self.shared.times.lock();
        if times.len() == TIMES_MAX {
            times.pop_front();
        }
        times.push_back((revision, runtime::monotonic()));
    }

    fn apply(
        &self,
        catalog: &mut Catalog,
        change: &Change,
    ) -> std::collections::BTreeSet<WatchKey> {
        let (touched, errors) = catalog.apply(change);
        for error in errors {
            tracing::warn!(error = &error as &dyn std::error::Error, "an object is left out");
        }
        touched
    }

    /// Fell behind: reads everything anew and wakes everybody.
    async fn start_over(&mut self) -> Result<(), StoreError> {
        let snapshot = self.shared.store.snapshot().await?;
        self.changes = self.shared.store.watch(snapshot.revision).await?;
        let (catalog, _) = Catalog::from_entries(snapshot.revision, snapshot.entries);
        let revision = catalog.revision();
        self.shared.catalog.store(Arc::new(catalog));
        self.note_time(revision);
        self.shared.waiters.wake_all();
        self.applied.send_replace(revision);
        Ok(())
    }
}
