//! The thread that owns the state and what makes it durable, and the handle that talks to it.
//!
//! Group commit: the thread takes all that is queued, runs it on the state, makes the outcome
//! durable at once, and only then answers and feeds the watchers. So the cost of one sync to disk
//! is shared by all who wait for it, and nobody, not even a conflict, is told of something that a
//! crash could take back.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use model::{Change, Entry, LeaseId, Revision, Txn};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};

use crate::history::History;
use crate::state::{Batch, Held, State};
use crate::{BoxFuture, Committed, Snapshot, Store, StoreError, Watch};

/// Requests that wait for the thread, and at most as many in one batch. 1,024 writes of 1 KiB are 1
/// MiB a sync, past which a bigger batch makes the waiting longer and the sync no cheaper; callers
/// beyond it wait for room.
const QUEUE_MAX: usize = 1024;

/// Leases that end in one batch, so that 100,000 that end together do not stop commits for long.
const EXPIRED_MAX: usize = 1024;

/// Commits that a watcher may leave unread. They are shared with the history, so a slot costs a
/// pointer.
const WATCH_MAX: usize = 4096;

/// What makes the state durable. The state machine is the same for all.
pub(crate) trait Medium: Send + 'static {
    /// What the state keeps of values in memory.
    type Held: Held;

    /// Makes the batch durable, all or none. `state` is as it is after the batch.
    fn write(&mut self, batch: &Batch, state: &State<Self::Held>) -> Result<(), Failure>;

    /// All keys, sorted.
    fn entries(&self, state: &State<Self::Held>) -> Result<Vec<Entry>, Failure>;
}

/// A medium has failed. Cheap to clone: everybody who waits is told.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    act: &'static str,
    source: Arc<dyn Error + Send + Sync>,
}

impl Failure {
    /// `act` says what was being done.
    pub(crate) fn new(act: &'static str, source: impl Error + Send + Sync + 'static) -> Self {
        Failure { act, source: Arc::new(source) }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        StoreError::Engine { act: failure.act, source: Box::new(failure.source) }
    }
}

/// Handle of the thread. Dropping it answers what is queued, closes the medium and joins the
/// thread.
pub(crate) struct Engine {
    /// `None` only while dropping.
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

enum Request {
    Commit(Txn, Reply<Committed>),
    Snapshot(Reply<Snapshot>),
    Watch(Revision, Reply<Watch>),
    Grant(Duration, Reply<LeaseId>),
    KeepAlive(LeaseId, Reply<()>),
    Revoke(LeaseId, Reply<()>),
}

impl Engine {
    /// Starts the thread.
    pub(crate) fn start<M: Medium>(medium: M, state: State<M::Held>) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        // The thread's own, because a channel of the standard library cannot be sent to without
        // blocking, and one of tokio's cannot be received from with a timeout without a runtime.
        let runtime = Builder::new_current_thread().enable_time().build()?;
        let history = History::new(state.revision());
        let worker = Worker { medium, state, history, watchers: Vec::new() };
        let thread = thread::Builder::new().name("leno-store".into());
        let thread = thread.spawn(move || worker.run(&runtime, receiver))?;
        Ok(Engine { requests: Some(sender), thread: Some(thread) })
    }

    /// Sends a request and waits for its answer. The thread answers everything or has ended.
    fn call<T: Send + 'static>(
        &self,
        request: impl FnOnce(Reply<T>) -> Request + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let requests = self.requests.as_ref().ok_or(StoreError::Closed)?;
            requests.send(request(reply)).await.map_err(|_| StoreError::Closed)?;
            answer.await.map_err(|_| StoreError::Closed)?
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's thread had panicked");
        }
    }
}

impl Store for Engine {
    fn commit(&self, txn: Txn) -> BoxFuture<'_, Result<Committed, StoreError>> {
        self.call(|reply| Request::Commit(txn, reply))
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Snapshot, StoreError>> {
        self.call(Request::Snapshot)
    }

    fn watch(&self, after: Revision) -> BoxFuture<'_, Result<Watch, StoreError>> {
        self.call(move |reply| Request::Watch(after, reply))
    }

    fn grant_lease(&self, ttl: Duration) -> BoxFuture<'_, Result<LeaseId, StoreError>> {
        self.call(move |reply| Request::Grant(ttl, reply))
    }

    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.call(move |reply| Request::KeepAlive(lease, reply))
    }

    fn revoke_lease(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.call(move |reply| Request::Revoke(lease, reply))
    }
}

/// What the thread owns.
struct Worker<M: Medium> {
    medium: M,
    state: State<M::Held>,
    history: History,
    watchers: Vec<Watcher>,
}

struct Watcher {
    after: Revision,
    changes: mpsc::Sender<Result<Arc<Change>, StoreError>>,
}

/// An answer that is given once the batch is durable.
enum Answer {
    Committed(Reply<Committed>, Result<Committed, StoreError>),
    Granted(Reply<LeaseId>, LeaseId),
    Done(Reply<()>, Result<(), StoreError>),
    Snapshot(Reply<Snapshot>),
    Watch(Revision, Reply<Watch>),
}

impl<M: Medium> Worker<M> {
    /// Runs until every handle is dropped or the medium fails.
    fn run(mut self, runtime: &Runtime, mut receiver: mpsc::Receiver<Request>) {
        let mut requests = Vec::with_capacity(QUEUE_MAX);
        while wait(runtime, &mut receiver, &mut requests, self.state.deadline()) {
            let (answers, batch) = self.evaluate(&mut requests);
            if let Err(failure) = self.finish(answers, batch) {
                tracing::error!(act = failure.act, error = %failure.source, "the store has failed");
                for watcher in self.watchers {
                    // There is room, the slot for `Lagged`; if it fails, the watcher is gone.
                    _ = watcher.changes.try_send(Err(failure.clone().into()));
                }
                return;
            }
        }
    }

    /// Runs the requests on the state. Requests come before expiry: a lease whose keep-alive was
    /// queued while the disk was slow has been kept alive.
    fn evaluate(&mut self, requests: &mut Vec<Request>) -> (Vec<Answer>, Batch) {
        let now = Instant::now();
        let mut batch = Batch::default();
        let answers = requests.drain(..).map(|request| match request {
            Request::Commit(txn, reply) => {
                Answer::Committed(reply, self.state.commit(txn, &mut batch))
            }
            Request::Snapshot(reply) => Answer::Snapshot(reply),
            Request::Watch(after, reply) => Answer::Watch(after, reply),
            Request::Grant(ttl, reply) => {
                Answer::Granted(reply, self.state.grant(ttl, now, &mut batch))
            }
            Request::KeepAlive(lease, reply) => {
                Answer::Done(reply, self.state.keep_alive(lease, now))
            }
            Request::Revoke(lease, reply) => {
                Answer::Done(reply, self.state.revoke(lease, &mut batch))
            }
        });
        let answers = answers.collect();
        self.state.expire(now, EXPIRED_MAX, &mut batch);
        (answers, batch)
    }

    /// Makes the batch durable, feeds the watchers and answers; or else answers all with the
    /// failure.
    fn finish(&mut self, answers: Vec<Answer>, batch: Batch) -> Result<(), Failure> {
        let written =
            if batch.is_empty() { Ok(()) } else { self.medium.write(&batch, &self.state) };
        if let Err(failure) = written {
            answers.into_iter().for_each(|answer| answer.fail(&failure));
            return Err(failure);
        }
        for change in batch.changes {
            self.watchers.retain(|watcher| watcher.feed(&change));
            self.history.push(change);
        }
        let mut answers = answers.into_iter();
        while let Some(answer) = answers.next() {
            if let Err(failure) = self.answer(answer) {
                answers.for_each(|answer| answer.fail(&failure));
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Gives one answer. Who asked may be gone; then there is nobody to tell.
    fn answer(&mut self, answer: Answer) -> Result<(), Failure> {
        match answer {
            Answer::Committed(reply, result) => _ = reply.send(result),
            Answer::Granted(reply, lease) => _ = reply.send(Ok(lease)),
            Answer::Done(reply, result) => _ = reply.send(result),
            Answer::Snapshot(reply) => match self.medium.entries(&self.state) {
                Ok(entries) => {
                    let revision = self.state.revision();
                    _ = reply.send(Ok(Snapshot { revision, entries }));
                }
                Err(failure) => {
                    _ = reply.send(Err(failure.clone().into()));
                    return Err(failure);
                }
            },
            Answer::Watch(after, reply) => _ = reply.send(self.watch(after)),
        }
        Ok(())
    }

    fn watch(&mut self, after: Revision) -> Result<Watch, StoreError> {
        let backlog = self.history.after(after);
        let backlog = backlog.map_err(|oldest| StoreError::Compacted { oldest })?;
        // One slot is for the word that it fell behind.
        let (sender, changes) = mpsc::channel(WATCH_MAX + 1);
        self.watchers.retain(|it| !it.changes.is_closed());
        self.watchers.push(Watcher { after, changes: sender });
        Ok(Watch { backlog, changes })
    }
}

impl Watcher {
    /// Hands on a commit, never waiting; false when the watcher is gone or too far behind to be
    /// kept.
    fn feed(&self, change: &Arc<Change>) -> bool {
        if change.revision <= self.after {
            return true;
        }
        if self.changes.capacity() > 1 {
            return self.changes.try_send(Ok(Arc::clone(change))).is_ok();
        }
        // If this fails, the watcher is gone.
        _ = self.changes.try_send(Err(StoreError::Lagged));
        false
    }
}

impl Answer {
    fn fail(self, failure: &Failure) {
        let error = StoreError::from(failure.clone());
        match self {
            Answer::Committed(reply, _) => _ = reply.send(Err(error)),
            Answer::Granted(reply, _) => _ = reply.send(Err(error)),
            Answer::Done(reply, _) => _ = reply.send(Err(error)),
            Answer::Snapshot(reply) => _ = reply.send(Err(error)),
            Answer::Watch(_, reply) => _ = reply.send(Err(error)),
        }
    }
}

/// Waits for requests, at least one, or until the deadline; false when there will be none any more.
fn wait(
    runtime: &Runtime,
    receiver: &mut mpsc::Receiver<Request>,
    requests: &mut Vec<Request>,
    deadline: Option<Instant>,
) -> bool {
    let received = receiver.recv_many(requests, QUEUE_MAX);
    runtime.block_on(async {
        match deadline {
            Some(at) => tokio::time::timeout_at(at.into(), received).await != Ok(0),
            None => received.await != 0,
        }
    })
}
