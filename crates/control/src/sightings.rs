//! What proxies see of instances, brought to the registry: it is taken in, the [`registry`] judges, and what it decides is
//! made true.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::WriteOutcome;
use model::{Folded, Instance, ServiceId, Timestamp, WatchKey};
use parking_lot::Mutex;
use registry::{Command, Moment, SightingsView};
pub use registry::{Sighting, SightingKind};
use runtime::{Drain, Tasks};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::fleet::{Fleet, Uses};
use crate::mesh::{Mesh, Watcher};
use crate::probes::ProbesHandle;
use crate::workloads::Workloads;

/// Sightings that wait to be taken in: a proxy tells of an endpoint at most once a second, and taking one in takes
/// microseconds, so they are more than a thousand endpoints that fail at once. What finds no room is told again by the
/// next ejection, while the proxy's own holds.
const SIGHTINGS_MAX: usize = 4096;
/// Least time between two looks.
const LOOK_PAUSE_MIN: Duration = Duration::from_millis(5);
/// How soon a command that failed is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How often it is asked what proxies have counted while something is under way: twice within the judge's patience.
const SAMPLE_PAUSE: Duration = Duration::from_millis(200);
/// How often otherwise, so that it is known who uses what when something happens; and how often the catalog is searched
/// for what an earlier life of the agent, or a restored snapshot, says.
const CALM_PAUSE: Duration = Duration::from_secs(10);

/// How often the checks run of an instance that is out of use: who is back is used again within about a second, however
/// long the pause between its checks is.
const HURRY_PAUSE: Duration = Duration::from_secs(1);

/// Takes in what proxies see. A cheap clone.
#[derive(Clone)]
pub struct SightingsHandle {
    sender: mpsc::Sender<Sighting>,
    judge: Arc<Mutex<registry::Sightings>>,
}

impl SightingsHandle {
    /// A proxy saw something of an endpoint. Returns at once; what finds no room is dropped.
    pub fn see(&self, sighting: Sighting) {
        if self.sender.try_send(sighting).is_err() {
            tracing::debug!("too many sightings wait; one is dropped");
        }
    }

    /// What proxies see of an instance; `None` when that is nothing.
    #[must_use]
    pub fn view(&self, node: &Folded, id: &ServiceId) -> Option<SightingsView> {
        self.judge.lock().view(node, id, now())
    }
}

/// What proxies see of instances.
pub struct Sightings {
    mesh: Mesh,
    probes: ProbesHandle,
    fleet: Fleet,
    workloads: Workloads,
    judge: Arc<Mutex<registry::Sightings>>,
}

impl Sightings {
    /// Starts to judge. Ends with the drain of `tasks`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn start(
        mesh: Mesh,
        probes: ProbesHandle,
        fleet: Fleet,
        workloads: Workloads,
        tasks: &Tasks,
    ) -> SightingsHandle {
        let (sender, received) = mpsc::channel(SIGHTINGS_MAX);
        let judge = Arc::new(Mutex::default());
        let handle = SightingsHandle { sender, judge: Arc::clone(&judge) };
        let shell = Self { mesh, probes, fleet, workloads, judge };
        tasks.spawn("sightings", shell.run(received, tasks.drain()));
        handle
    }

    async fn run(self, mut received: mpsc::Receiver<Sighting>, drain: Drain) {
        let mut ran = self.probes.ran();
        let mut sampled: Option<Instant> = None;
        let mut searched: Option<Instant> = None;
        let mut hurried: Option<Instant> = None;
        loop {
            ran.borrow_and_update();
            let is_watching = self.judge.lock().is_watching();
            if is_due(searched, CALM_PAUSE) {
                searched = Some(runtime::monotonic());
                self.judge.lock().take_up(&self.mesh.catalog(), now());
            }
            let pause = if is_watching { SAMPLE_PAUSE } else { CALM_PAUSE };
            if is_due(sampled, pause) {
                sampled = Some(runtime::monotonic());
                self.sample();
            }
            if is_watching && is_due(hurried, HURRY_PAUSE) {
                hurried = Some(runtime::monotonic());
                self.hurry();
            }
            let mut news = self.watch();
            let is_done = self.look().await;
            let next = self.judge.lock().poll_timeout();
            let pause = if self.judge.lock().is_watching() { SAMPLE_PAUSE } else { CALM_PAUSE };
            let pause = if is_done { pause } else { pause.min(RETRY_PAUSE) };
            let next = next.map(|it| it.saturating_duration_since(runtime::monotonic()));
            let pause = next.map_or(pause, |it| it.min(pause));
            sleep(LOOK_PAUSE_MIN).await;
            tokio::select! {
                seen = received.recv() => match seen {
                    Some(seen) => {
                        self.take_in(&seen);
                        while let Ok(seen) = received.try_recv() {
                            self.take_in(&seen);
                        }
                    }
                    None => return,
                },
                // The sender lives as long as the probes here.
                _ = ran.changed(), if is_watching => {}
                () = changed(&mut news) => {}
                () = sleep(pause) => {}
                () = drain.begun() => return,
            }
        }
    }

    /// Has the judge know of it, and the instance's checks run: a recovery is as good a reason to look as a failure.
    fn take_in(&self, sighting: &Sighting) {
        let catalog = self.mesh.catalog();
        let instance = registry::instance_of_endpoint(&catalog, &sighting.endpoint);
        let in_rollout = instance.is_some_and(|it| self.workloads.is_rolling_out(&it.node, &it.id));
        let seen = self.judge.lock().see(&catalog, sighting, in_rollout, now());
        if let Some(instance) = seen {
            self.probes.probe_now(&instance.node, &instance.id);
        }
    }

    /// A proxy that is alone needs no others to be asked.
    fn sample(&self) {
        let is_alone = self.fleet.proxies().len() < 2;
        let uses = if is_alone { Vec::new() } else { self.fleet.uses() };
        let counts = uses.into_iter().map(|(proxy, uses)| (proxy, counts(&uses)));
        self.judge.lock().sample(counts, runtime::monotonic());
    }

    /// Has the checks run of those that a passing one would bring back.
    fn hurry(&self) {
        let catalog = self.mesh.catalog();
        for instance in self.judge.lock().against(&catalog) {
            self.probes.probe_now(&instance.node, &instance.id);
        }
    }

    /// Changes of the services that something was seen of.
    fn watch(&self) -> Option<Watcher> {
        let catalog = self.mesh.catalog();
        let judge = self.judge.lock();
        let keys: Vec<WatchKey> = judge.services(&catalog).map(WatchKey::Service).collect();
        (!keys.is_empty()).then(|| self.mesh.watch(&keys))
    }

    /// Decides, and makes it true. False when something could not be written.
    async fn look(&self) -> bool {
        let commands = {
            let catalog = self.mesh.catalog();
            let runs = |it: &Instance| self.probes.runs(&it.node, &it.id);
            self.judge.lock().look(&catalog, runs, now())
        };
        let mut is_done = true;
        for command in commands {
            is_done &= self.write(command).await;
        }
        is_done
    }

    async fn write(&self, command: Command) -> bool {
        let Command::SetSightings { node, id, seen } = &command else { return true };
        let (node, id, seen) = (node.clone(), id.clone(), seen.clone());
        match self.mesh.run(command).await {
            WriteOutcome::Done(..) => {
                match seen {
                    Some(seen) => {
                        tracing::warn!(%node, instance = %id, "out of use for what proxies see: {seen}");
                    }
                    None => tracing::info!(%node, instance = %id, "proxies may use it again"),
                }
                true
            }
            WriteOutcome::Rejected(reason) => {
                tracing::debug!(%node, instance = %id, %reason, "the instance is gone");
                true
            }
            WriteOutcome::Failed(reason) => {
                tracing::warn!(%node, instance = %id, reason, "cannot write what proxies see");
                false
            }
        }
    }
}

fn counts(uses: &Uses) -> BTreeMap<String, (u64, u64)> {
    let used = uses.iter().filter(|it| it.1.successes > 0 || it.1.failures > 0);
    used.map(|(endpoint, it)| (endpoint.clone(), (it.successes, it.failures))).collect()
}

fn is_due(last: Option<Instant>, pause: Duration) -> bool {
    last.is_none_or(|it| runtime::monotonic().saturating_duration_since(it) >= pause)
}

async fn changed(news: &mut Option<Watcher>) {
    match news {
        Some(news) => news.changed().await,
        None => std::future::pending().await,
    }
}

/// Now, on both clocks.
pub(crate) fn now() -> Moment {
    Moment { at: runtime::monotonic(), wall: Timestamp(runtime::unix_ms()) }
}
