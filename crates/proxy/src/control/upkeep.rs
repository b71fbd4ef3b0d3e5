use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};
use traffic::{ClusterState, Evidence};

use crate::handle::Published;

/// How often clusters are looked through: for intervals of outlier detection that are over, and for hash tables that
/// lag behind ejections and checks. Picks pass over what such a table should not hold, so that nothing hurries.
const BEAT: Duration = Duration::from_millis(250);

/// What is to be done for clusters off the way of requests.
pub(super) struct Upkeep {
    published: Arc<ArcSwap<Published>>,
    epoch: Instant,
    rng: SmallRng,
    evidence: mpsc::Sender<Evidence>,
    beat: Interval,
    /// Tables are being made on another thread.
    is_rebuilding: Rc<Cell<bool>>,
}

impl Upkeep {
    pub(super) fn new(
        published: Arc<ArcSwap<Published>>,
        epoch: Instant,
        seed: u64,
        evidence: mpsc::Sender<Evidence>,
    ) -> Self {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let rng = SmallRng::seed_from_u64(seed);
        Self { published, epoch, rng, evidence, beat, is_rebuilding: Rc::default() }
    }

    /// Resolves when there may be something to do.
    pub(super) async fn beat(&mut self) {
        self.beat.tick().await;
    }

    pub(super) fn run(&mut self) {
        let since = runtime::monotonic().saturating_duration_since(self.epoch);
        let now_ns = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let published = self.published.load();
        published.departed.forget_idle();
        let snapshot = published.snapshot.clone();
        drop(published);
        let mut stale = Vec::new();
        for cluster in snapshot.clusters.values() {
            if cluster.next_interval_at(now_ns) <= now_ns {
                for evidence in cluster.on_interval(now_ns, &mut self.rng) {
                    let (cluster, endpoint) = (&evidence.cluster, &evidence.endpoint);
                    let kind = evidence.kind.as_str();
                    tracing::info!(cluster, endpoint, kind, "endpoint evidence");
                    // Full when nobody reads it; the ejection holds all the same.
                    let _ = self.evidence.try_send(evidence);
                }
            }
            if cluster.tables_are_stale(now_ns) {
                stale.push(cluster.clone());
            }
        }
        self.rebuild(stale, now_ns);
    }

    /// Makes tables on a thread that may take its time: large ones take seconds.
    fn rebuild(&self, stale: Vec<Arc<ClusterState>>, now_ns: u64) {
        if stale.is_empty() || self.is_rebuilding.replace(true) {
            return;
        }
        let is_rebuilding = self.is_rebuilding.clone();
        tokio::task::spawn_local(async move {
            let made = tokio::task::spawn_blocking(move || {
                stale.iter().for_each(|cluster| cluster.rebuild_tables(now_ns));
            });
            if let Err(error) = made.await {
                tracing::error!(%error, "hash tables cannot be made");
            }
            is_rebuilding.set(false);
        });
    }
}
