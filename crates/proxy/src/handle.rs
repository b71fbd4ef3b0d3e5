use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use proxy_config::{EndpointUse, HostUses, ProxyConfig};
use runtime::Drain;
use tokio::sync::{mpsc, oneshot, watch};
use traffic::{EndpointState, Evidence};

use crate::access_log::{Sinks, Target};
use crate::admin::{AdminView, DrainListeners, LogLevels, Operator, Quit};
use crate::control::{self, ControlCommand};
use crate::departed::Departed;
use crate::dns::Lookup;
use crate::error::ProxyError;
use crate::snapshot::Snapshot;
use crate::stats::{ServerState, Stats};

/// How a proxy is run. What it does is in the [`ProxyConfig`].
#[derive(Clone, Debug)]
pub struct ProxyOptions {
    /// Worker threads. [`Default`] has one per core that this process may use.
    pub workers: usize,
    /// Where every filter chain writes Envoy's default line, beside the logs of its own; `None` for nowhere.
    pub access_log: Option<Target>,
    /// Where the admin server listens (port 0: the system chooses); `None` for no admin server.
    pub admin: Option<SocketAddr>,
    /// Seed of all random choices; `None` to take one from the system.
    pub seed: Option<u64>,
    /// Version that the admin server shows.
    pub version: String,
    /// How names of endpoints are looked up.
    pub lookup: Lookup,
    /// How long `/drain_listeners?graceful` lets listeners go on.
    pub drain_time: Duration,
    /// Ends the process, for `/quitquitquit`; without it that is refused.
    pub quit: Option<Quit>,
    /// Shows and changes what is logged, for `/logging`; without it that is refused.
    pub log_levels: Option<LogLevels>,
    /// What it starts with is not what it has to do: it is ready with its first [`ProxyHandle::update`].
    pub awaits_config: bool,
}

impl Default for ProxyOptions {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            access_log: None,
            admin: None,
            seed: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            lookup: Lookup::default(),
            drain_time: Duration::from_secs(600),
            quit: None,
            log_levels: None,
            awaits_config: false,
        }
    }
}

/// The data plane.
#[derive(Debug)]
pub struct Proxy;

impl Proxy {
    /// Opens the listeners of `config` and starts to serve. Blocks for the milliseconds that this takes, and
    /// returns when every worker accepts connections. Secrets that cannot be used are logged; their server names
    /// are not served.
    ///
    /// Where clusters have names to look up, or health checks, connections wait in their queues until each name and
    /// each check has had its first result, or the time for it is over: [`ProxyHandle::warmed`] tells.
    ///
    /// # Errors
    /// When a listener, the admin server, the access log or a thread cannot be opened: then nothing runs.
    pub fn start(
        options: ProxyOptions,
        config: Arc<ProxyConfig>,
    ) -> Result<ProxyHandle, ProxyError> {
        control::start(options, config)
    }
}

/// What the control thread publishes to readers.
pub(crate) struct Published {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) listeners: BTreeMap<String, SocketAddr>,
    /// Clusters that wait for their first addresses or checks.
    pub(crate) warming: BTreeSet<String>,
    /// What is under way beside the snapshot.
    pub(crate) departed: Arc<Departed>,
}

/// What handles, the control thread and the admin server share.
pub(crate) struct Shared {
    pub(crate) published: Arc<ArcSwap<Published>>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) sinks: Sinks,
    pub(crate) is_draining: AtomicBool,
    /// Set by the admin surface.
    pub(crate) is_failed: AtomicBool,
    /// Set by who runs the proxy.
    pub(crate) is_unfit: AtomicBool,
    /// True since the first names and checks have had a result.
    pub(crate) is_warm: watch::Sender<bool>,
    /// For what the admin surface asks of the control thread; it does not keep the proxy alive.
    pub(crate) commands: OnceLock<mpsc::WeakSender<ControlCommand>>,
    pub(crate) quit: Option<Quit>,
    pub(crate) log_levels: Option<LogLevels>,
    /// Where the nanoseconds of `traffic` begin.
    pub(crate) epoch: Instant,
    pub(crate) version: String,
}

impl Shared {
    /// What the admin surface shows now.
    pub(crate) fn with_admin_view<R>(&self, read: impl FnOnce(&AdminView<'_>) -> R) -> R {
        let published = self.published.load();
        let uptime = runtime::monotonic().saturating_duration_since(self.epoch);
        let is_unfit = self.is_unfit.load(Ordering::Relaxed);
        let state = if self.is_draining.load(Ordering::Relaxed) || is_unfit {
            ServerState::Draining
        } else if *self.is_warm.borrow() {
            ServerState::Live
        } else {
            ServerState::Initializing
        };
        read(&AdminView {
            config: &published.snapshot.config,
            listeners: &published.listeners,
            routers: &published.snapshot.routers,
            clusters: &published.snapshot.clusters,
            stats: &self.stats,
            warming: &published.warming,
            state,
            operator: self,
            is_failed: &self.is_failed,
            uptime,
            now_ns: u64::try_from(uptime.as_nanos()).unwrap_or(u64::MAX),
            now_unix_ms: runtime::unix_ms(),
            version: &self.version,
        })
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Operator for Shared {
    fn drain_listeners(&self, how: DrainListeners) -> bool {
        let commands = self.commands.get().and_then(mpsc::WeakSender::upgrade);
        commands.is_some_and(|it| it.try_send(ControlCommand::DrainListeners(how)).is_ok())
    }

    fn reopen_logs(&self) {
        self.sinks.reopen();
    }

    fn quit(&self) -> bool {
        if let Some(quit) = &self.quit {
            quit.now();
        }
        self.quit.is_some()
    }

    fn log_levels(&self) -> Option<&LogLevels> {
        self.log_levels.as_ref()
    }
}

/// A running proxy. A cheap clone; when the last one is dropped the proxy ends at once, without a drain.
#[derive(Clone)]
pub struct ProxyHandle {
    pub(crate) commands: mpsc::Sender<ControlCommand>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) evidence: Arc<Mutex<Option<mpsc::Receiver<Evidence>>>>,
    pub(crate) admin_addr: Option<SocketAddr>,
}

impl fmt::Debug for ProxyHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyHandle")
            .field("listeners", &self.shared.published.load().listeners)
            .finish_non_exhaustive()
    }
}

impl ProxyHandle {
    /// Replaces the configuration. Resolves when every worker has taken it: from then on no request is picked by the
    /// one before. Requests and connections that are under way go on.
    ///
    /// What cannot be done is left out, logged and returned: a listener that cannot listen, a secret that cannot be
    /// used. The rest holds. The next update tries again.
    ///
    /// # Errors
    /// [`ProxyError::WorkerGone`] when the proxy has been drained.
    pub async fn update(&self, config: Arc<ProxyConfig>) -> Result<Vec<ProxyError>, ProxyError> {
        let (reply, taken) = oneshot::channel();
        self.command(ControlCommand::Update { config, reply }).await?;
        taken.await.map_err(|_| ProxyError::WorkerGone)?
    }

    /// Resolves when the proxy takes connections: at once where nothing had to be looked up or checked first, and no
    /// configuration is awaited. False when it ended before.
    pub async fn warmed(&self) -> bool {
        let mut is_warm = self.shared.is_warm.subscribe();
        tokio::select! {
            warm = is_warm.wait_for(|it| *it) => warm.is_ok(),
            () = self.commands.closed() => false,
        }
    }

    /// Evidence about endpoints, at most once: further calls give `None`. Bounded; what finds no room is dropped, for
    /// the ejection that it tells of holds all the same.
    #[must_use]
    pub fn evidence(&self) -> Option<mpsc::Receiver<Evidence>> {
        self.evidence.lock().take()
    }

    /// Where a listener listens: as configured, with the port that the system chose in the place of 0. `None` when
    /// there is no such listener, or it could not be opened.
    #[must_use]
    pub fn local_addr(&self, listener: &str) -> Option<SocketAddr> {
        self.shared.published.load().listeners.get(listener).copied()
    }

    /// Where the admin server listens.
    #[must_use]
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// Opens the files of the access logs anew, for who has moved them away (`SIGUSR1`). Lines of requests that end
    /// after this call go to the files that have the names then; a file that cannot be opened is gone on with. Returns
    /// at once.
    pub fn reopen_access_logs(&self) {
        self.shared.sinks.reopen();
    }

    /// Lines of the access logs that are open now that were dropped, because a disk was slower than the traffic.
    #[must_use]
    pub fn access_log_lines_dropped(&self) -> u64 {
        self.shared.sinks.dropped()
    }

    /// The configuration that every worker has taken.
    #[must_use]
    pub fn config(&self) -> Arc<ProxyConfig> {
        self.shared.published.load().snapshot.config.clone()
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> &Arc<Stats> {
        &self.shared.stats
    }

    /// What became of requests by endpoint id, over all clusters that it is in, as far as the configuration in use has it; and
    /// what is under way, also where the configuration has the endpoint or its cluster no more.
    #[must_use]
    pub fn endpoint_uses(&self) -> BTreeMap<String, EndpointUse> {
        let published = self.shared.published.load();
        let mut uses: BTreeMap<String, EndpointUse> = BTreeMap::new();
        for cluster in published.snapshot.clusters.values() {
            for (_, endpoint) in cluster.endpoints() {
                add_use(uses.entry(endpoint.id().to_owned()).or_default(), endpoint);
            }
        }
        published.departed.add_to(&mut uses);
        uses
    }

    /// What became of clients' requests by virtual host, as far as the configuration in use has it and it had any.
    #[must_use]
    pub fn host_uses(&self) -> HostUses {
        let published = self.shared.published.load();
        let mut uses = HostUses::new();
        published.snapshot.hosts.iter().for_each(|(table, hosts)| hosts.read(table, &mut uses));
        uses
    }

    /// Reads what the admin surface shows now, for [`crate::admin::respond`] or for a page of one's own.
    pub fn with_admin_view<R>(&self, read: impl FnOnce(&AdminView<'_>) -> R) -> R {
        self.shared.with_admin_view(read)
    }

    /// Whether others should send requests here: `/ready` says no while they should not. What comes is served all the same.
    pub fn set_fit(&self, is_fit: bool) {
        self.shared.is_unfit.store(!is_fit, Ordering::Relaxed);
    }

    /// Takes no new connections, ends the others as soon as what is under way on them is done, and returns when that
    /// is so, at the latest after `deadline`. Returns how many connections were cut then. The proxy serves nothing
    /// after that.
    ///
    /// A second call while the first one waits cuts what is left at once, and so does dropping the last handle.
    pub async fn drain(&self, deadline: Duration) -> usize {
        self.drain_telling(deadline, Drain::new()).await
    }

    /// As [`Self::drain`]; `begun` begins when no worker takes a new connection any more.
    pub async fn drain_telling(&self, deadline: Duration, begun: Drain) -> usize {
        let (reply, drained) = oneshot::channel();
        if self.command(ControlCommand::Drain { deadline, begun, reply }).await.is_err() {
            return 0;
        }
        drained.await.unwrap_or(0)
    }

    async fn command(&self, command: ControlCommand) -> Result<(), ProxyError> {
        self.commands.send(command).await.map_err(|_| ProxyError::WorkerGone)
    }
}

fn add_use(to: &mut EndpointUse, endpoint: &EndpointState) {
    let counters = endpoint.counters();
    to.active += u64::from(endpoint.active());
    to.connections += counters.cx_active.load(Ordering::Relaxed);
    to.successes += counters.rq_success.load(Ordering::Relaxed);
    to.failures += counters.rq_error.load(Ordering::Relaxed);
    let durations = counters.durations.counts();
    to.durations.resize(durations.len(), 0);
    to.durations.iter_mut().zip(durations).for_each(|(sum, it)| *sum += it);
    to.duration_sum_us += counters.durations.sum_us();
}
