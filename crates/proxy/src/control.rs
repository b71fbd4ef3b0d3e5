//! The control thread: opens listeners, starts the workers, and takes one change of configuration after the other to
//! them.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use proxy_config::ProxyConfig;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use traffic::Evidence;

use crate::access_log::Sinks;
use crate::admin_server;
use crate::error::ProxyError;
use crate::exchange::millis;
use crate::handle::{ProxyHandle, ProxyOptions, Published, Shared};
use crate::snapshot::{Making, Snapshot, SocketId};
use crate::socket;
use crate::stats::Stats;
use crate::worker::{self, Command, Worker};

/// Changes that wait to be taken. Each waits for the one before, so more would only be stale.
const COMMANDS_MAX: usize = 16;
/// Evidence that waits to be read: an ejection each, of which an endpoint has at most one per second.
const EVIDENCE_MAX: usize = 1024;

/// What the control thread is told.
pub(crate) enum ControlCommand {
    Update { config: Arc<ProxyConfig>, reply: oneshot::Sender<Result<Vec<ProxyError>, ProxyError>> },
    Drain { deadline: Duration, reply: oneshot::Sender<usize> },
}

/// Starts the control thread, and through it everything else.
pub(crate) fn start(
    options: ProxyOptions,
    config: Arc<ProxyConfig>,
) -> Result<ProxyHandle, ProxyError> {
    let (started, handle) = std::sync::mpsc::channel();
    spawn_thread("proxy-control".to_owned(), move || {
        block_on_local(async move {
            match Controller::start(options, config).await {
                Ok((mut controller, handle, commands)) => {
                    // Gone if the caller panicked; then the commands end at once.
                    let _ = started.send(Ok(handle));
                    controller.run(commands).await;
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            }
        });
    })?;
    handle.recv().map_err(|_| ProxyError::WorkerGone)?
}

fn spawn_thread(name: String, run: impl FnOnce() + Send + 'static) -> Result<(), ProxyError> {
    match thread::Builder::new().name(name.clone()).spawn(run) {
        Ok(_) => Ok(()),
        Err(source) => Err(ProxyError::Thread { name, source }),
    }
}

/// Runs a thread's one future on a runtime of its own.
fn block_on_local(future: impl Future<Output = ()>) {
    match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => LocalSet::new().block_on(&runtime, future),
        Err(error) => tracing::error!(%error, "a thread of the proxy cannot wait for events"),
    }
}

/// What an address is known by. With port 0 each listener gets a port of its own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct SocketKey {
    address: SocketAddr,
    listener: Option<String>,
}

impl SocketKey {
    fn new(listener: &str, address: SocketAddr) -> Self {
        let listener = (address.port() == 0).then(|| listener.to_owned());
        Self { address, listener }
    }
}

/// Which listener listens where.
type Sockets = BTreeMap<String, (SocketId, SocketAddr)>;
/// New sockets, one per worker.
type NewSockets = BTreeMap<SocketId, Vec<TcpListener>>;

struct Controller {
    shared: Arc<Shared>,
    workers: Vec<mpsc::Sender<Command>>,
    bound: BTreeMap<SocketKey, (SocketId, SocketAddr)>,
    next_socket: u64,
    seed: u64,
}

impl Controller {
    async fn start(
        options: ProxyOptions,
        config: Arc<ProxyConfig>,
    ) -> Result<(Self, ProxyHandle, mpsc::Receiver<ControlCommand>), ProxyError> {
        let workers = options.workers.max(1);
        let sinks = Sinks::new(options.access_log.clone())
            .map_err(|source| ProxyError::AccessLog { source })?;
        let shared = Arc::new(Shared {
            published: ArcSwap::from_pointee(Published {
                snapshot: Arc::default(),
                listeners: BTreeMap::new(),
            }),
            stats: Arc::new(Stats::new(workers)),
            sinks,
            is_draining: false.into(),
            is_failed: false.into(),
            epoch: runtime::monotonic(),
            version: options.version,
        });
        let admin_addr =
            options.admin.map(|it| admin_server::start(it, shared.clone())).transpose()?;
        let mut controller = Self {
            shared: shared.clone(),
            workers: Vec::with_capacity(workers),
            bound: BTreeMap::new(),
            next_socket: 0,
            seed: options.seed.unwrap_or_else(rand::random),
        };
        let (evidence_sender, evidence) = mpsc::channel(EVIDENCE_MAX);
        let (sockets, new, errors) = controller.bind(&config, workers);
        if let Some(error) = errors.into_iter().next() {
            return Err(error);
        }
        for index in 0..workers {
            controller.start_worker(index, evidence_sender.clone())?;
        }
        for error in controller.publish(config, &sockets, new).await? {
            log(&error);
        }
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let evidence = Arc::new(Mutex::new(Some(evidence)));
        Ok((controller, ProxyHandle { commands, shared, evidence, admin_addr }, receiver))
    }

    fn start_worker(
        &mut self,
        index: usize,
        evidence: mpsc::Sender<Evidence>,
    ) -> Result<(), ProxyError> {
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let (epoch, seed) = (self.shared.epoch, self.seed);
        let stats = self.shared.stats.clone();
        spawn_thread(format!("proxy-worker-{index}"), move || {
            let worker = Worker::new(index, epoch, seed, evidence, stats);
            block_on_local(worker::run(worker, commands));
        })?;
        self.workers.push(sender);
        Ok(())
    }

    async fn run(&mut self, mut commands: mpsc::Receiver<ControlCommand>) {
        while let Some(command) = commands.recv().await {
            match command {
                ControlCommand::Update { config, reply } => {
                    // The one who asked may have stopped waiting.
                    let _ = reply.send(self.update(config).await);
                }
                ControlCommand::Drain { deadline, reply } => {
                    self.drain(deadline, reply, &mut commands).await;
                }
            }
        }
    }

    async fn update(&mut self, config: Arc<ProxyConfig>) -> Result<Vec<ProxyError>, ProxyError> {
        let workers = self.workers.len();
        if workers == 0 {
            return Err(ProxyError::WorkerGone);
        }
        let held = self.bound.len();
        let (sockets, new, mut errors) = self.bind(&config, workers);
        let added = new.len();
        let mut bad_secrets = self.publish(config.clone(), &sockets, new).await?;
        let was_freed = self.bound.len() < held + added;
        if was_freed && !errors.is_empty() {
            // A listener that went may have held what a new one wants; now it is closed.
            let (sockets, new, still) = self.bind(&config, workers);
            errors = still;
            if !new.is_empty() {
                bad_secrets = self.publish(config, &sockets, new).await?;
            }
        }
        errors.extend(bad_secrets);
        errors.iter().for_each(log);
        Ok(errors)
    }

    /// Finds or opens the socket of each listener.
    fn bind(
        &mut self,
        config: &ProxyConfig,
        workers: usize,
    ) -> (Sockets, NewSockets, Vec<ProxyError>) {
        let mut sockets = Sockets::new();
        let mut new = NewSockets::new();
        let mut errors = Vec::new();
        let mut holders: BTreeMap<SocketKey, &str> = BTreeMap::new();
        for (name, listener) in &config.listeners {
            let address = listener.address;
            let key = SocketKey::new(name, address);
            if let Some(holder) = holders.get(&key) {
                let (listener, holder) = (name.clone(), (*holder).to_owned());
                errors.push(ProxyError::AddressTaken { listener, address, holder });
                continue;
            }
            let socket = match self.bound.get(&key) {
                Some(socket) => *socket,
                None => match self.open(address, workers, &mut new) {
                    Ok(socket) => {
                        tracing::info!(listener = %name, address = %socket.1, "listener opened");
                        self.bound.insert(key.clone(), socket);
                        socket
                    }
                    Err(source) => {
                        let source = runtime::naming_port_owner(address.port(), source);
                        let listener = name.clone();
                        errors.push(ProxyError::Listen { listener, address, source });
                        continue;
                    }
                },
            };
            holders.insert(key, name);
            sockets.insert(name.clone(), socket);
        }
        (sockets, new, errors)
    }

    fn open(
        &mut self,
        address: SocketAddr,
        workers: usize,
        new: &mut NewSockets,
    ) -> io::Result<(SocketId, SocketAddr)> {
        let group = socket::bind_group(address, workers)?;
        let local = group[0].local_addr()?;
        let id = SocketId(self.next_socket);
        self.next_socket += 1;
        new.insert(id, group);
        Ok((id, local))
    }

    /// Takes a configuration to all workers, waits until they have it, and shows it.
    async fn publish(
        &mut self,
        config: Arc<ProxyConfig>,
        sockets: &Sockets,
        mut new: NewSockets,
    ) -> Result<Vec<ProxyError>, ProxyError> {
        let before = self.shared.published.load_full();
        let now = runtime::monotonic().saturating_duration_since(self.shared.epoch);
        let making = Making {
            seed: self.seed,
            sinks: &self.shared.sinks,
            now_ns: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
        };
        let (snapshot, errors) = Snapshot::build(config, sockets, &before.snapshot, making);
        let snapshot = Arc::new(snapshot);
        let mut waiting = Vec::with_capacity(self.workers.len());
        for worker in &self.workers {
            let (taken, ack) = oneshot::channel();
            let sockets = new
                .iter_mut()
                .filter_map(|(id, group)| group.pop().map(|socket| (*id, socket)))
                .collect();
            let snapshot = snapshot.clone();
            let command = Command::Update { snapshot, sockets, taken };
            worker.send(command).await.map_err(|_| ProxyError::WorkerGone)?;
            waiting.push(ack);
        }
        for ack in waiting {
            ack.await.map_err(|_| ProxyError::WorkerGone)?;
        }
        self.bound.retain(|_, socket| sockets.values().any(|it| it.0 == socket.0));
        let listeners: BTreeMap<String, SocketAddr> =
            sockets.iter().map(|(name, (_, address))| (name.clone(), *address)).collect();
        let addresses: Vec<SocketAddr> = listeners.values().copied().collect();
        self.shared.stats.retain(&snapshot.config, &addresses);
        self.shared.published.store(Arc::new(Published { snapshot, listeners }));
        drop(before);
        self.shared.sinks.close_unused();
        Ok(errors)
    }

    /// Ends at once when it is asked for a second time, or when nobody is left who could ask.
    async fn drain(
        &mut self,
        limit: Duration,
        reply: oneshot::Sender<usize>,
        commands: &mut mpsc::Receiver<ControlCommand>,
    ) {
        let begun_at = runtime::monotonic();
        let ends = self.begin_drain(begun_at + limit).await;
        let mut replies = vec![reply];
        let mut ends = pin!(sum(ends));
        let cut = loop {
            tokio::select! {
                cut = &mut ends => break cut,
                command = commands.recv(), if !self.workers.is_empty() => match command {
                    Some(ControlCommand::Update { reply, .. }) => {
                        let _ = reply.send(Err(ProxyError::WorkerGone));
                    }
                    Some(ControlCommand::Drain { reply, .. }) => {
                        replies.push(reply);
                        self.workers.clear();
                    }
                    None => self.workers.clear(),
                },
            }
        };
        self.workers.clear();
        let took = runtime::monotonic().saturating_duration_since(begun_at);
        tracing::info!(cut, took_ms = millis(took), "the proxy is drained");
        for reply in replies {
            // The one who asked may have stopped waiting.
            let _ = reply.send(cut);
        }
    }

    /// Gives what tells, for each worker, how many of its connections were cut.
    async fn begin_drain(&mut self, deadline: Instant) -> Vec<oneshot::Receiver<usize>> {
        self.shared.is_draining.store(true, Ordering::Relaxed);
        let (mut begins, mut ends) = (Vec::new(), Vec::new());
        for worker in &self.workers {
            let (begun, count) = oneshot::channel();
            let (drained, cut) = oneshot::channel();
            // A worker that has ended has no connections.
            if worker.send(Command::Drain { deadline, begun, drained }).await.is_ok() {
                begins.push(count);
                ends.push(cut);
            }
        }
        self.bound.clear();
        let connections = sum(begins).await;
        let limit = deadline.saturating_duration_since(runtime::monotonic());
        tracing::info!(connections, limit_ms = millis(limit), "the proxy is draining");
        ends
    }
}

/// Of what the workers answer; one that has ended has nothing.
async fn sum(answers: Vec<oneshot::Receiver<usize>>) -> usize {
    let mut sum = 0;
    for answer in answers {
        sum += answer.await.unwrap_or(0);
    }
    sum
}

fn log(error: &ProxyError) {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::error!(%error, cause, "part of the configuration cannot be used");
}
