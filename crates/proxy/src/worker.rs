//! One worker: a thread with its own listeners, connections and pools.
//!
//! Tasks are spawned with `spawn_local` and end with the worker's thread; [`Worker::connections`] counts those that a
//! drain waits for.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep_until};
use traffic::{EndpointState, Evidence, LentEndpoint, Outcome, PickError, PickRequest, Picked};

use crate::accept::Acceptor;
use crate::headers;
use crate::http_date::HttpDate;
use crate::snapshot::{Snapshot, SocketId};
use crate::stats::Stats;
use crate::tcp::Pools;
use crate::view::{Clusters, View, WorkerCluster};

/// How often idle connections are looked through: an idle timeout is kept to within this.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);

/// How slow an endpoint is held to be that gave no response, where latencies count; Linkerd's 5 s.
const FAILURE_RTT_NS: u64 = 5_000_000_000;

/// What a worker is told.
pub(crate) enum Command {
    /// Do by this from now on. `sockets` holds those that the worker has not got yet.
    Update {
        snapshot: Arc<Snapshot>,
        sockets: BTreeMap<SocketId, std::net::TcpListener>,
        taken: oneshot::Sender<()>,
    },
    /// Take no more connections, let those that are open end until the deadline, or until nobody can tell the worker
    /// anything any more, and then end. Answers with how many are waited for, and then with how many had not ended.
    Drain { deadline: Instant, begun: oneshot::Sender<usize>, drained: oneshot::Sender<usize> },
}

/// What the tasks of a worker share.
pub(crate) struct Worker {
    pub(crate) index: usize,
    /// Where the nanoseconds of `traffic` begin; the same for all workers.
    epoch: Instant,
    last_now: Cell<Instant>,
    date: HttpDate,
    rng: RefCell<SmallRng>,
    evidence: mpsc::Sender<Evidence>,
    stats: Arc<Stats>,
    /// Buffers and pipes of those who pass on bytes.
    pub(crate) pools: Pools,
    /// Those of the current configuration.
    clusters: RefCell<Rc<Clusters>>,
    connections: Cell<usize>,
    connection_ended: Notify,
}

impl Worker {
    pub(crate) fn new(
        index: usize,
        epoch: Instant,
        seed: u64,
        evidence: mpsc::Sender<Evidence>,
        stats: Arc<Stats>,
    ) -> Self {
        Self {
            index,
            epoch,
            last_now: Cell::new(epoch),
            date: HttpDate::default(),
            rng: RefCell::new(SmallRng::seed_from_u64(seed.wrapping_add(index as u64))),
            evidence,
            stats,
            pools: Pools::default(),
            clusters: RefCell::default(),
            connections: Cell::new(0),
            connection_ended: Notify::new(),
        }
    }

    /// Reads the clock.
    pub(crate) fn now(&self) -> Instant {
        let now = runtime::monotonic();
        self.last_now.set(now);
        now
    }

    /// The time when the clock was read last.
    pub(crate) fn last_now(&self) -> Instant {
        self.last_now.get()
    }

    pub(crate) fn stats(&self) -> &Stats {
        &self.stats
    }

    pub(crate) fn nanos(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }

    /// The time when the clock was read last, for the header `Date`.
    pub(crate) fn http_date(&self) -> [u8; HttpDate::BYTES] {
        self.date.at(self.last_now())
    }

    pub(crate) fn request_id(&self) -> headers::RequestId {
        let mut rng = self.rng.borrow_mut();
        let random = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
        headers::request_id(random)
    }

    /// A number below `below`, which is at least 1.
    pub(crate) fn random_below(&self, below: u64) -> u64 {
        self.rng.borrow_mut().random_range(0..below)
    }

    /// A number of all that there are.
    pub(crate) fn random_u32(&self) -> u32 {
        self.rng.borrow_mut().next_u32()
    }

    /// Lends out the worker's source of randomness. `decide` asks nothing else of the worker.
    pub(crate) fn with_rng<T>(&self, decide: impl FnOnce(&mut SmallRng) -> T) -> T {
        decide(&mut self.rng.borrow_mut())
    }

    /// A cluster as the current configuration has it.
    pub(crate) fn cluster(&self, name: &str) -> Option<Rc<WorkerCluster>> {
        self.clusters.borrow().get(name).cloned()
    }

    /// Picks an endpoint, if possible none that was tried before.
    pub(crate) fn pick(
        &self,
        cluster: &WorkerCluster,
        tried: &[Arc<EndpointState>],
        now: Instant,
    ) -> Result<Picked<LentEndpoint>, PickError> {
        self.pick_for(cluster, PickRequest { exclude: tried, ..PickRequest::default() }, now)
    }

    /// Picks an endpoint for a request; its time is set here.
    pub(crate) fn pick_for(
        &self,
        cluster: &WorkerCluster,
        mut request: PickRequest<'_>,
        now: Instant,
    ) -> Result<Picked<LentEndpoint>, PickError> {
        request.now_ns = self.nanos(now);
        cluster.picker.borrow_mut().pick(&request, &mut *self.rng.borrow_mut())
    }

    /// Calls `decide` with the worker's random numbers.
    pub(crate) fn draw<T>(&self, decide: impl FnOnce(&mut SmallRng) -> T) -> T {
        decide(&mut self.rng.borrow_mut())
    }

    pub(crate) fn random(&self) -> u64 {
        self.rng.borrow_mut().next_u64()
    }

    /// Tells `traffic` how a try ended, and the registry what it makes of it.
    pub(crate) fn report(
        &self,
        cluster: &WorkerCluster,
        endpoint: &EndpointState,
        outcome: Outcome,
        now: Instant,
    ) {
        let now_ns = self.nanos(now);
        if matches!(
            outcome,
            Outcome::ConnectFailed
                | Outcome::ConnectTimedOut
                | Outcome::BrokenBeforeResponse { .. }
                | Outcome::ResponseTimedOut
        ) {
            cluster.state.observe_rtt(endpoint, FAILURE_RTT_NS, now_ns);
        }
        let mut rng = self.rng.borrow_mut();
        if let Some(evidence) = cluster.state.report(endpoint, outcome, now_ns, &mut *rng) {
            self.tell(evidence);
        }
    }

    /// Looks at the failure rates of a cluster when that is due, for all workers.
    fn look_at_rates(&self, cluster: &WorkerCluster, now_ns: u64) {
        let evidence = cluster.state.on_interval(now_ns, &mut *self.rng.borrow_mut());
        evidence.into_iter().for_each(|it| self.tell(it));
    }

    fn tell(&self, evidence: Evidence) {
        tracing::info!(
            cluster = evidence.cluster,
            endpoint = evidence.endpoint,
            kind = evidence.kind.as_str(),
            ejected_s = evidence.ejected_ns as f64 / 1e9,
            "endpoint evidence"
        );
        // Full when nobody reads it. The ejection holds all the same; what is lost is a hint to the registry.
        let _ = self.evidence.try_send(evidence);
    }

    /// Counts a connection until the guard is dropped.
    pub(crate) fn count_connection(self: &Rc<Self>) -> CountedConnection {
        self.connections.set(self.connections.get() + 1);
        CountedConnection(self.clone())
    }
}

/// Counts a connection while it lives.
pub(crate) struct CountedConnection(Rc<Worker>);

impl Drop for CountedConnection {
    fn drop(&mut self) {
        self.0.connections.set(self.0.connections.get() - 1);
        self.0.connection_ended.notify_one();
    }
}

/// The listeners and the configuration of a worker.
struct State {
    worker: Rc<Worker>,
    view: View,
    acceptors: BTreeMap<SocketId, Rc<Acceptor>>,
}

/// Runs a worker until it is drained or nobody can tell it anything any more.
pub(crate) async fn run(worker: Worker, mut commands: mpsc::Receiver<Command>) {
    let mut state =
        State { worker: Rc::new(worker), view: View::default(), acceptors: BTreeMap::new() };
    let mut sweep = interval(SWEEP_INTERVAL);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Update { snapshot, sockets, taken }) => {
                    state.update(snapshot, sockets).await;
                    // The one who asked may have stopped waiting.
                    let _ = taken.send(());
                }
                Some(Command::Drain { deadline, begun, drained }) => {
                    let _ = begun.send(state.close().await);
                    let _ = drained.send(state.drain(deadline, commands).await);
                    return;
                }
                None => return,
            },
            _ = sweep.tick() => state.sweep(),
        }
    }
}

impl State {
    /// Returns when the listeners that are gone have closed their sockets.
    async fn update(
        &mut self,
        snapshot: Arc<Snapshot>,
        mut sockets: BTreeMap<SocketId, std::net::TcpListener>,
    ) {
        let (stats, index) = (&self.worker.stats, self.worker.index);
        self.view = View::new(snapshot, &self.view, stats, index);
        *self.worker.clusters.borrow_mut() = self.view.clusters.clone();
        let mut before = std::mem::take(&mut self.acceptors);
        for shared in self.view.shared.listeners.values() {
            let views = self.view.chains(shared, stats, index);
            let counters = stats.listener(shared.local_address, index);
            if let Some(acceptor) = before.remove(&shared.socket) {
                acceptor.replace(shared.clone(), counters, views);
                self.acceptors.insert(shared.socket, acceptor);
                continue;
            }
            let Some(socket) = sockets.remove(&shared.socket) else { continue };
            match TcpListener::from_std(socket) {
                Ok(socket) => {
                    let worker = self.worker.clone();
                    let acceptor = Acceptor::start(worker, shared.clone(), counters, views, socket);
                    self.acceptors.insert(shared.socket, acceptor);
                }
                Err(error) => {
                    let listener = &shared.config.name;
                    tracing::error!(listener, %error, "a worker cannot watch its socket");
                }
            }
        }
        for acceptor in before.into_values() {
            acceptor.stop();
            acceptor.stopped().await;
        }
    }

    fn sweep(&self) {
        let now = self.worker.now();
        let now_ns = self.worker.nanos(now);
        for cluster in self.view.clusters.values() {
            cluster.sweep(now, now_ns);
            // What it looks at is common to all workers.
            if self.worker.index == 0 {
                self.worker.look_at_rates(cluster, now_ns);
                cluster.rebuild_tables(now_ns);
            }
        }
    }

    /// Closes the listeners. Gives the number of connections that are open.
    async fn close(&mut self) -> usize {
        let acceptors = std::mem::take(&mut self.acceptors);
        acceptors.values().for_each(|it| it.stop());
        // Each counts as a connection until it has emptied its queue.
        for acceptor in acceptors.values() {
            acceptor.stopped().await;
        }
        self.worker.connections.get()
    }

    /// How many connections were still open at the deadline, or when `commands` ended.
    async fn drain(&mut self, deadline: Instant, mut commands: mpsc::Receiver<Command>) -> usize {
        while self.worker.connections.get() > 0 {
            tokio::select! {
                () = self.worker.connection_ended.notified() => {}
                () = sleep_until(deadline.into()) => break,
                _ = commands.recv() => break,
            }
        }
        self.worker.connections.get()
    }
}
