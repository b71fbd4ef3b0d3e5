//! Watches over changes of documents that were asked to be guarded: what the proxies count after a change is compared with
//! what they counted before, and a change that makes requests fail is taken back. `recovery` judges; here it is counted,
//! kept and done.
//!
//! One task does it all. A guard is in the store before its change is made, so that an agent that is killed at any moment is
//! followed by one that goes on; that a change has been made is seen by its documents.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{Document, DocumentChange, NodeName};
use parking_lot::Mutex;
use runtime::Tasks;
use tokio::sync::{mpsc, oneshot};

use crate::compilation::Compilation;
use crate::mesh::Mesh;

mod keeper;
mod kept;
mod memory;
mod report;
mod scopes;

use keeper::Keeper;
use kept::Kept;
use memory::Memory;
pub use report::{GuardNote, GuardReport, GuardState, Guarded, GuardedDocument};
use report::{Past, version_of};

/// Orders that wait.
const ORDERS_MAX: usize = 64;
/// Shortest and longest time that a change is watched.
const WINDOW_MIN: Duration = Duration::from_secs(1);
const WINDOW_MAX: Duration = Duration::from_hours(1);

/// How long changes are guarded that do not say it themselves; zero: not at all.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GuardDefaults {
    /// Of all kinds.
    pub window: Duration,
    /// Of these kinds (`Ingress`), instead.
    pub kinds: BTreeMap<String, Duration>,
}

impl GuardDefaults {
    /// How long a change of such a document is guarded.
    #[must_use]
    pub fn of(&self, kind: &str) -> Duration {
        self.kinds.get(kind).copied().unwrap_or(self.window)
    }
}

/// Reads how long to guard: Go's notation, `0s` or `off` for not at all.
///
/// # Errors
/// What is wrong with it.
pub fn parse_window(text: &str) -> Result<Duration, String> {
    if text == "off" {
        return Ok(Duration::ZERO);
    }
    let window = model::go::parse_duration(text)
        .map_err(|error| format!("{text:?} is no time such as 60s, nor off: {error}"))?;
    if window.is_zero() || (WINDOW_MIN..=WINDOW_MAX).contains(&window) {
        Ok(window)
    } else {
        Err(format!("{text:?} is not from 1s to 1h"))
    }
}

enum Order {
    Begin(Vec<DocumentChange>, Duration, oneshot::Sender<Result<u64, String>>),
    /// The change has been made, or nobody will make it.
    Look(Option<u64>),
}

/// The guards of an agent. A cheap clone.
#[derive(Clone)]
pub struct Guards {
    shared: Arc<Mutex<Shown>>,
    orders: mpsc::Sender<Order>,
}

/// What readers see.
#[derive(Default)]
struct Shown {
    active: Vec<GuardReport>,
    past: Vec<Past>,
}

impl Guards {
    /// Goes on with the guards of the agent's life before, and waits for new ones.
    #[must_use]
    pub fn start(mesh: Mesh, compilation: Compilation, node: NodeName, tasks: &Tasks) -> Self {
        let shared = Arc::new(Mutex::default());
        let (orders, received) = mpsc::channel(ORDERS_MAX);
        let kept = Kept::load(&mesh.catalog(), &node);
        let keeper = Keeper {
            mesh,
            compilation,
            node,
            kept,
            memory: Memory::default(),
            settling: None,
            persisted_ms: 0,
            is_dirty: false,
            shared: Arc::clone(&shared),
        };
        keeper.show();
        let drain = tasks.drain();
        tasks.spawn("guards", async move {
            tokio::select! {
                () = keeper.run(received) => {}
                () = drain.begun() => {}
            }
        });
        Self { shared, orders }
    }

    /// Guards changes that are about to be made. They must be made within 10 s.
    ///
    /// # Errors
    /// Why they cannot be guarded: then they must not be made.
    pub async fn begin(
        &self,
        changes: Vec<DocumentChange>,
        window: Duration,
    ) -> Result<u64, String> {
        let (reply, answer) = oneshot::channel();
        let ending = || "the agent is shutting down".to_owned();
        self.orders.send(Order::Begin(changes, window, reply)).await.map_err(|_| ending())?;
        answer.await.map_err(|_| ending())?
    }

    /// The changes of guard `id` have been made, or (`is_made` is false) will not be made.
    pub async fn settle(&self, id: u64, is_made: bool) {
        // At the end of the agent there is nobody to tell.
        let _ = self.orders.send(Order::Look(Some(id).filter(|_| !is_made))).await;
    }

    /// All guards that watch, and the last that have ended, the newest last.
    #[must_use]
    pub fn reports(&self) -> Vec<GuardReport> {
        let shown = self.shared.lock();
        let past = shown.past.iter().map(|it| it.report.clone());
        past.chain(shown.active.iter().cloned()).collect()
    }

    /// One of them.
    #[must_use]
    pub fn report(&self, id: u64) -> Option<GuardReport> {
        self.reports().into_iter().find(|it| it.id == id)
    }

    /// What is to be said of a document as it is.
    #[must_use]
    pub fn note_of(&self, document: &Document) -> Option<GuardNote> {
        let shown = self.shared.lock();
        let is_about = |it: &GuardReport| it.documents.iter().any(|it| it.key == document.key);
        if let Some(active) = shown.active.iter().rev().find(|it| is_about(it)) {
            return Some(GuardNote::of(active));
        }
        let past = shown.past.iter().rev().find(|it| is_about(&it.report))?;
        let at = past.report.documents.iter().position(|it| it.key == document.key)?;
        (past.versions.get(at) == Some(&version_of(Some(document))))
            .then(|| GuardNote::of(&past.report))
    }
}
