//! Active health checks: the control thread probes endpoints, `traffic` judges what they answer, and the verdict counts
//! for all workers at once.
//!
//! Bounds: a task of some hundred bytes for each endpoint and check, one connection kept for each, and
//! [`PROBES_MAX`] probes under way, each with a deadline.

mod connection;
mod grpc;
mod http;
mod probe;
mod tcp;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use foldhash::HashMap;
use proxy_config::{Endpoint, HealthCheck};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use traffic::{CHECKS_MAX, ClusterState, EndpointState};

use self::probe::Subject;
use crate::handle::Published;
use crate::snapshot::Snapshot;
use crate::upstream::UpstreamTransport;

/// Probes under way at one time. With an answer in 10 ms that is 25,000 probes a second; a probe that runs into its
/// timeout holds up no more than its own place.
const PROBES_MAX: usize = 256;

/// What all probes share.
pub(crate) struct Surroundings {
    published: Arc<ArcSwap<Published>>,
    epoch: Instant,
    rng: RefCell<SmallRng>,
    slots: Semaphore,
}

impl Surroundings {
    fn now_ns(&self) -> u64 {
        let since = runtime::monotonic().saturating_duration_since(self.epoch);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// The cluster as it is configured now.
    fn cluster(&self, name: &str) -> Option<Arc<ClusterState>> {
        self.published.load().snapshot.clusters.get(name).cloned()
    }
}

/// The checks that are made.
pub(crate) struct Checks {
    surroundings: Rc<Surroundings>,
    running: HashMap<Key, Running>,
    first_round: Rc<FirstRound>,
}

/// A check of an endpoint of a cluster. The endpoint's state lives as long as the entry that holds it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Key {
    cluster: Arc<str>,
    endpoint: *const EndpointState,
    check: usize,
}

struct Running {
    subject: Rc<Subject>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Checks {
    pub(crate) fn new(published: Arc<ArcSwap<Published>>, epoch: Instant, seed: u64) -> Self {
        let surroundings = Rc::new(Surroundings {
            published,
            epoch,
            rng: RefCell::new(SmallRng::seed_from_u64(seed)),
            slots: Semaphore::new(PROBES_MAX),
        });
        Self { surroundings, running: HashMap::default(), first_round: Rc::default() }
    }

    /// Makes the checks of this configuration from now on, and no others. Those that have not changed go on in their
    /// beat. Must be called on the control thread, when the snapshot is published.
    pub(crate) fn follow(&mut self, snapshot: &Snapshot) {
        let mut before = std::mem::take(&mut self.running);
        for (name, cluster) in &snapshot.clusters {
            let checks = &cluster.cluster().health_checks;
            if checks.is_empty() {
                continue;
            }
            let name: Arc<str> = name.as_str().into();
            let transport = snapshot.transports.get(&*name).cloned().unwrap_or_default();
            for (endpoint, state) in cluster.endpoints() {
                for (idx, check) in checks.iter().enumerate().take(CHECKS_MAX) {
                    let (cluster, at) = (name.clone(), Arc::as_ptr(state));
                    let key = Key { cluster, endpoint: at, check: idx };
                    let running = match before.remove(&key) {
                        Some(running) if running.subject.is(endpoint, check, &transport) => running,
                        _ => self.start(&key, endpoint, state, check, &transport),
                    };
                    self.running.insert(key, running);
                }
            }
        }
    }

    /// Makes no more checks.
    pub(crate) fn stop(&mut self) {
        self.running.clear();
    }

    /// Resolves when each check has had a result.
    pub(crate) fn first_results(&self) -> impl Future<Output = ()> + use<> {
        let round = self.first_round.clone();
        async move {
            loop {
                let ended = round.ended.notified();
                if round.left.get() == 0 {
                    return;
                }
                ended.await;
            }
        }
    }

    /// In this time an endpoint that is well has passed its first check; longer nobody waits for it.
    pub(crate) fn first_results_within(&self) -> Duration {
        let limit = |it: &Running| {
            let check = &it.subject.check;
            check.timeout.saturating_add(check.interval).saturating_add(check.interval_jitter)
        };
        self.running.values().map(limit).max().unwrap_or_default()
    }

    fn start(
        &self,
        key: &Key,
        endpoint: &Endpoint,
        state: &Arc<EndpointState>,
        check: &HealthCheck,
        transport: &UpstreamTransport,
    ) -> Running {
        let subject = Rc::new(Subject {
            cluster: key.cluster.clone(),
            endpoint: state.clone(),
            hostname: endpoint.hostname.clone(),
            port: endpoint.health_check_port.unwrap_or(endpoint.port),
            idx: key.check,
            check: check.clone(),
            transport: transport.clone(),
        });
        let first = Unprobed::new(&self.first_round);
        let kept = probe::keep(subject.clone(), self.surroundings.clone(), first);
        Running { subject, task: tokio::task::spawn_local(kept) }
    }
}

/// How many checks have had no result yet.
#[derive(Default)]
struct FirstRound {
    left: Cell<usize>,
    ended: Notify,
}

/// A check that has had no result yet, and is none of those any more when this is dropped.
struct Unprobed(Rc<FirstRound>);

impl Unprobed {
    fn new(round: &Rc<FirstRound>) -> Self {
        round.left.set(round.left.get() + 1);
        Self(round.clone())
    }
}

impl Drop for Unprobed {
    fn drop(&mut self) {
        self.0.left.set(self.0.left.get() - 1);
        if self.0.left.get() == 0 {
            self.0.ended.notify_waiters();
        }
    }
}
