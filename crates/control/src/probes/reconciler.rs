use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{Catalog, Check, CheckId, CheckType, NodeName, Origin, WatchKey};
use runtime::{Pace, Tasks};
use tokio::sync::Semaphore;

use super::probe::Prober;
use super::runner::Run;
use super::runners::Runners;
use super::truth::{Truth, Watch};

/// Least rest between two looks at the node's checks; a look passes over all of them.
const REST_MIN: Duration = Duration::from_millis(5);

/// Keeps exactly one task for each check of the node.
pub(super) struct Reconciler<T, P> {
    truth: T,
    prober: Arc<P>,
    node: NodeName,
    runners: Arc<Runners>,
    turns: Arc<Semaphore>,
    tasks: Tasks,
}

impl<T: Truth, P: Prober> Reconciler<T, P> {
    /// At most `at_once_max` probes run at the same time.
    pub(super) fn new(
        truth: T,
        prober: P,
        node: NodeName,
        runners: Arc<Runners>,
        at_once_max: usize,
        tasks: Tasks,
    ) -> Self {
        let turns = Arc::new(Semaphore::new(at_once_max.clamp(1, Semaphore::MAX_PERMITS)));
        Self { truth, prober: Arc::new(prober), node, runners, turns, tasks }
    }

    /// Follows the catalog until the drain begins, which also ends the checks' tasks.
    pub(super) async fn run(self) {
        let drain = self.tasks.drain();
        let mut watch = self.truth.watch(&[WatchKey::NodeChecks(self.node.folded())]);
        let mut pace = Pace::new(REST_MIN);
        loop {
            pace.begin();
            self.reconcile(&self.truth.catalog());
            pace.rest().await;
            tokio::select! {
                () = drain.begun() => return,
                () = watch.changed() => {}
            }
        }
    }

    fn reconcile(&self, catalog: &Catalog) {
        let node = self.node.folded();
        let wanted: BTreeMap<&CheckId, &Check> = catalog
            .checks_of_node(&node)
            .filter(|check| kind_to_run(check).is_some())
            .map(|check| (&check.id, &check.value))
            .collect();
        for check in self.runners.retain(wanted) {
            self.start(check);
        }
    }

    fn start(&self, check: &Check) {
        let (Some(kind), Some(definition)) = (kind_to_run(check), &check.definition) else {
            return;
        };
        let orders = self.runners.insert(check, definition, kind, self.tasks.drain().child());
        let run = Run {
            truth: self.truth.clone(),
            prober: Arc::clone(&self.prober),
            node: check.node.clone(),
            id: check.id.clone(),
            definition: Arc::clone(definition),
            runners: Arc::clone(&self.runners),
            turns: Arc::clone(&self.turns),
        };
        tracing::debug!(check = %check.id, kind = kind.as_str(), "start");
        self.tasks.spawn("check", run.run(kind, orders));
    }
}

/// The kind of a check that this agent runs; `None` for one that came from outside or has nothing
/// to run.
fn kind_to_run(check: &Check) -> Option<CheckType> {
    match check.origin {
        Origin::Agent => check.definition.as_ref()?.check_type(),
        Origin::Catalog => None,
    }
}
