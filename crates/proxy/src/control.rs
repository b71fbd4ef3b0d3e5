//! The control thread: opens listeners, starts the workers, and takes one change of configuration after the other to
//! them.

mod binding;
mod changes;
mod draining;
mod upkeep;
mod warming;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use proxy_config::ProxyConfig;
use runtime::Drain;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot, watch};
use traffic::Evidence;

use self::binding::SocketKey;
use self::upkeep::Upkeep;
use crate::access_log::{ChainLogs, Sinks};
use crate::admin::DrainListeners;
use crate::admin_server;
use crate::dns::{Lookup, Names};
use crate::error::ProxyError;
use crate::handle::{ProxyHandle, ProxyOptions, Published, Shared};
use crate::health::Checks;
use crate::snapshot::{Making, SharedListener, Snapshot, SocketId};
use crate::stats::Stats;
use crate::worker::{self, Command, Worker};

/// Changes that wait to be taken. Each waits for the one before, so more would only be stale.
const COMMANDS_MAX: usize = 16;
/// Evidence that waits to be read: an ejection each, of which an endpoint has at most one per second.
const EVIDENCE_MAX: usize = 1024;

/// What the control thread is told.
pub(crate) enum ControlCommand {
    Update { config: Arc<ProxyConfig>, reply: oneshot::Sender<Result<Vec<ProxyError>, ProxyError>> },
    Drain { deadline: Duration, begun: Drain, reply: oneshot::Sender<usize> },
    DrainListeners(DrainListeners),
}

/// Commands that came before the proxy could obey them, at most [`COMMANDS_MAX`].
type Held = VecDeque<ControlCommand>;

/// Starts the control thread, and through it everything else.
pub(crate) fn start(
    options: ProxyOptions,
    config: Arc<ProxyConfig>,
) -> Result<ProxyHandle, ProxyError> {
    let (started, handle) = std::sync::mpsc::channel();
    spawn_thread("proxy-control".to_owned(), move || {
        block_on_local(async move {
            match Controller::start(options, config).await {
                Ok((mut controller, handle, mut commands)) => {
                    // Gone if the caller panicked; then the commands end at once.
                    let _ = started.send(Ok(handle));
                    if controller.warm(&mut commands).await.is_some() {
                        controller.run(commands).await;
                    }
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
    match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
        Ok(runtime) => runtime.block_on(future),
        Err(error) => tracing::error!(%error, "a thread of the proxy cannot wait for events"),
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
    lookup: Lookup,
    /// As it was asked for: with names where there are names.
    asked: Arc<ProxyConfig>,
    names: Names,
    checks: Checks,
    upkeep: Upkeep,
    /// Sockets that the workers get when the proxy is warm.
    unserved: Option<(Sockets, NewSockets)>,
    /// Listeners take no connections any more, those that come later neither.
    is_stopped: bool,
    drain_time: Duration,
    held: Held,
    /// When listeners that were told to drain gracefully are stopped.
    stop_at: Option<Instant>,
}

impl Controller {
    async fn start(
        options: ProxyOptions,
        config: Arc<ProxyConfig>,
    ) -> Result<(Self, ProxyHandle, mpsc::Receiver<ControlCommand>), ProxyError> {
        let workers = options.workers.max(1);
        let sinks = Sinks::new(options.access_log.clone())
            .map_err(|source| ProxyError::AccessLog { source })?;
        // There is nothing yet that would have to go on without a log that somebody wants.
        let mut errors = Vec::new();
        for chain in config.listeners.values().flat_map(|it| SharedListener::chain_configs(it)) {
            ChainLogs::new(chain, &sinks, &mut errors);
        }
        if let Some(error) = errors.into_iter().next() {
            return Err(error);
        }
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let shared = Arc::new(Shared {
            published: Arc::new(ArcSwap::from_pointee(Published {
                snapshot: Arc::default(),
                listeners: BTreeMap::new(),
                warming: BTreeSet::new(),
                departed: Arc::default(),
            })),
            stats: Arc::new(Stats::new(workers)),
            sinks,
            is_draining: false.into(),
            is_failed: false.into(),
            is_unfit: false.into(),
            is_warm: watch::Sender::new(false),
            commands: OnceLock::from(commands.downgrade()),
            quit: options.quit,
            log_levels: options.log_levels,
            epoch: runtime::monotonic(),
            version: options.version,
        });
        let admin_addr =
            options.admin.map(|it| admin_server::start(it, shared.clone())).transpose()?;
        let seed = options.seed.unwrap_or_else(rand::random);
        let (evidence_sender, evidence) = mpsc::channel(EVIDENCE_MAX);
        let (published, epoch) = (shared.published.clone(), shared.epoch);
        let mut controller = Self {
            shared: shared.clone(),
            workers: Vec::with_capacity(workers),
            bound: BTreeMap::new(),
            next_socket: 0,
            seed,
            names: Names::new(options.lookup.clone()),
            lookup: options.lookup,
            asked: config.clone(),
            checks: Checks::new(published.clone(), epoch, seed),
            upkeep: Upkeep::new(published, epoch, seed, evidence_sender.clone()),
            unserved: None,
            is_stopped: false,
            drain_time: options.drain_time,
            held: Held::new(),
            stop_at: None,
        };
        let (sockets, new, errors) = controller.bind(&config, workers);
        if let Some(error) = errors.into_iter().next() {
            return Err(error);
        }
        for index in 0..workers {
            controller.start_worker(index, evidence_sender.clone())?;
        }
        if controller.must_warm() {
            controller.names.follow(&config, &shared.stats);
            controller.unserved = Some((sockets, new));
            controller.publish_unserved().await?;
        } else {
            for error in controller.publish(config, &sockets, new).await? {
                log(&error);
            }
            shared.is_warm.send_replace(!options.awaits_config);
        }
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
        loop {
            while let Some(command) = self.held.pop_front() {
                self.obey(command, &mut commands).await;
            }
            let stop_at = self.stop_at;
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command, &mut commands).await,
                    None => return,
                },
                () = self.names.changed() => self.take_answers().await,
                () = self.upkeep.beat() => self.upkeep.run(),
                () = until(stop_at) => self.stop_listeners().await,
            }
        }
    }

    async fn obey(
        &mut self,
        command: ControlCommand,
        commands: &mut mpsc::Receiver<ControlCommand>,
    ) {
        match command {
            ControlCommand::Update { config, reply } => {
                let taken = match self.warm_new(&config, commands).await {
                    Some(()) => self.update(config).await,
                    None => Err(ProxyError::WorkerGone),
                };
                if taken.is_ok() {
                    self.shared.is_warm.send_if_modified(|it| !std::mem::replace(it, true));
                }
                // The one who asked may have stopped waiting.
                let _ = reply.send(taken);
            }
            ControlCommand::Drain { deadline, begun, reply } => {
                self.drain(deadline, &begun, reply, commands).await
            }
            ControlCommand::DrainListeners(how) => self.drain_listeners(how),
        }
    }

    /// Takes in what has been looked up, as if it were a change of configuration.
    async fn take_answers(&mut self) {
        if self.workers.is_empty() {
            return;
        }
        match self.update(self.asked.clone()).await {
            Ok(_) => tracing::debug!("endpoints follow their names"),
            Err(error) => log(&error),
        }
    }

    async fn update(&mut self, config: Arc<ProxyConfig>) -> Result<Vec<ProxyError>, ProxyError> {
        let workers = self.workers.len();
        if workers == 0 {
            return Err(ProxyError::WorkerGone);
        }
        self.asked = config.clone();
        self.names.follow(&config, &self.shared.stats);
        let config = self.names.resolved(&config);
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
        let manager = self.shared.stats.listener_manager();
        manager.listener_create_failure.add(errors.len() as u64);
        errors.extend(bad_secrets);
        errors.iter().for_each(log);
        Ok(errors)
    }

    /// Takes a configuration to all workers, waits until they have it, and shows it.
    async fn publish(
        &mut self,
        config: Arc<ProxyConfig>,
        sockets: &Sockets,
        new: NewSockets,
    ) -> Result<Vec<ProxyError>, ProxyError> {
        let before = self.shared.published.load_full();
        let now = runtime::monotonic().saturating_duration_since(self.shared.epoch);
        let making = Making {
            seed: self.seed,
            sinks: &self.shared.sinks,
            now_ns: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
            lookup: self.lookup.clone(),
        };
        let served = if self.unserved.is_some() { &Sockets::new() } else { sockets };
        let (snapshot, errors) = Snapshot::build(config, served, &before.snapshot, &making);
        let snapshot = Arc::new(snapshot);
        self.hand_out(&snapshot, new).await?;
        self.bound.retain(|_, socket| sockets.values().any(|it| it.0 == socket.0));
        let listeners: BTreeMap<String, SocketAddr> =
            sockets.iter().map(|(name, (_, address))| (name.clone(), *address)).collect();
        let addresses: Vec<SocketAddr> = listeners.values().copied().collect();
        self.shared.stats.retain(&snapshot.config, &addresses);
        changes::count(&self.shared.stats, &before.snapshot, &snapshot);
        let warming = BTreeSet::new();
        let departed = Arc::new(before.departed.after(&before.snapshot, &snapshot));
        let published = Published { snapshot: snapshot.clone(), listeners, warming, departed };
        self.shared.published.store(Arc::new(published));
        self.checks.follow(&snapshot);
        drop(before);
        // Before listeners are served their logs are open, and nobody writes to them.
        if self.unserved.is_none() {
            self.shared.sinks.close_unused();
        }
        Ok(errors)
    }

    /// Resolves when every worker has the snapshot.
    async fn hand_out(
        &mut self,
        snapshot: &Arc<Snapshot>,
        mut new: NewSockets,
    ) -> Result<(), ProxyError> {
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
        Ok(())
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn log(error: &ProxyError) {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::error!(%error, cause, "part of the configuration cannot be used");
}
