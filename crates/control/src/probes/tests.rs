//! The tasks around the probes, with a catalog in memory, a scripted network and virtual time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::WriteOutcome;
use model::{
    Catalog, Change, Check, CheckDefinition, Instance, KeyChange, Node, Operation, Origin,
    Revision, Timestamp, WatchKey,
};
use parking_lot::Mutex;
use registry::{CatalogRegistration, Command, ServiceRegistration, transact};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::probe::ProbeResult;
use super::*;

mod behavior;
mod real_mesh;

const PASS: CheckStatus = CheckStatus::Passing;
const WARN: CheckStatus = CheckStatus::Warning;
const FAIL: CheckStatus = CheckStatus::Critical;

/// A mesh without a store.
#[derive(Clone)]
struct FakeMesh(Arc<FakeShared>);

struct FakeShared {
    catalog: Mutex<Arc<Catalog>>,
    revision: watch::Sender<Revision>,
    is_broken: AtomicBool,
}

struct FakeWatch(watch::Receiver<Revision>);

impl truth::Watch for FakeWatch {
    async fn changed(&mut self) {
        self.0.changed().await.unwrap();
    }
}

impl truth::Truth for FakeMesh {
    type Watch = FakeWatch;

    fn catalog(&self) -> Arc<Catalog> {
        self.0.catalog.lock().clone()
    }

    async fn run(&self, command: Command) -> WriteOutcome {
        if self.0.is_broken.load(Ordering::SeqCst) {
            return WriteOutcome::Failed("the disk is full".into());
        }
        let mut published = self.0.catalog.lock();
        let txn = match transact(&published, &command, Timestamp(runtime::unix_ms())) {
            Ok(txn) => txn,
            Err(rejection) => return WriteOutcome::Rejected(rejection),
        };
        if txn.is_noop() {
            return WriteOutcome::Done(published.revision(), Vec::new());
        }
        let revision = Revision(published.revision().0 + 1);
        let keys = txn.operations.into_iter().map(|operation| match operation {
            Operation::Put { key, value, .. } => KeyChange::Put { key, value, created: revision },
            Operation::Delete { key } => KeyChange::Delete { key },
        });
        let mut catalog = (**published).clone();
        let (_, errors) = catalog.apply(&Change { revision, keys: keys.collect() });
        assert!(errors.is_empty(), "{errors:?}");
        *published = Arc::new(catalog);
        drop(published);
        self.0.revision.send_replace(revision);
        WriteOutcome::Done(revision, Vec::new())
    }

    fn watch(&self, _keys: &[WatchKey]) -> FakeWatch {
        FakeWatch(self.0.revision.subscribe())
    }
}

impl FakeMesh {
    /// Holds the node `n1` and on it the instance `web-1`.
    async fn new() -> Self {
        let mesh = Self(Arc::new(FakeShared {
            catalog: Mutex::default(),
            revision: watch::Sender::new(Revision(0)),
            is_broken: AtomicBool::new(false),
        }));
        let node = Node { name: "n1".into(), address: "127.0.0.1".into(), ..Node::default() };
        let registration = CatalogRegistration { node, ..CatalogRegistration::default() };
        mesh.done(Command::RegisterInCatalog(registration)).await;
        let instance = Instance {
            node: "n1".into(),
            id: "web-1".into(),
            service: "web".into(),
            origin: Origin::Agent,
            ..Instance::default()
        };
        let registration = ServiceRegistration { instance, ..ServiceRegistration::default() };
        mesh.done(Command::RegisterService(registration)).await;
        mesh
    }

    async fn done(&self, command: Command) {
        let outcome = truth::Truth::run(self, command).await;
        assert!(matches!(outcome, WriteOutcome::Done(..)), "{outcome:?}");
    }

    async fn register(&self, check: Check) {
        self.done(Command::RegisterCheck(check)).await;
    }

    async fn set(&self, id: &str, status: CheckStatus, output: &str) {
        let command = Command::SetCheckStatus {
            node: "n1".into(),
            id: id.into(),
            status,
            output: output.into(),
            output_matters: true,
        };
        self.done(command).await;
    }

    /// Waits until the catalog is as `holds` says.
    async fn until(&self, what: &str, holds: impl Fn(&Catalog) -> bool) {
        let mut revision = self.0.revision.subscribe();
        let waiting = revision.wait_for(|_| holds(&truth::Truth::catalog(self)));
        let result = timeout(Duration::from_secs(3600), waiting).await;
        assert!(result.is_ok(), "never happened: {what}");
    }

    async fn until_status(&self, id: &str, status: CheckStatus) -> Check {
        let what = format!("{id} is {status}");
        self.until(&what, |catalog| find(catalog, id).is_some_and(|it| it.status == status)).await;
        find(&truth::Truth::catalog(self), id).unwrap()
    }

    fn revision(&self) -> Revision {
        *self.0.revision.borrow()
    }

    fn break_store(&self, is_broken: bool) {
        self.0.is_broken.store(is_broken, Ordering::SeqCst);
    }
}

fn find(catalog: &Catalog, id: &str) -> Option<Check> {
    catalog.check(&NodeName::from("n1").folded(), &id.into()).map(|it| it.value.clone())
}

/// A network in which every target answers as it was told.
#[derive(Clone)]
struct FakeNetwork(Arc<FakeNetworkShared>);

struct FakeNetworkShared {
    answers: Mutex<BTreeMap<String, ProbeResult>>,
    /// Targets with the times at which they were probed.
    runs: watch::Sender<Vec<(String, Instant)>>,
    takes: Mutex<Duration>,
    running: watch::Sender<usize>,
    running_most: Mutex<usize>,
}

impl Prober for FakeNetwork {
    async fn probe(&self, definition: &CheckDefinition) -> ProbeResult {
        let target = definition.tcp.clone();
        self.0.running.send_modify(|running| *running += 1);
        {
            let mut most = self.0.running_most.lock();
            *most = (*most).max(*self.0.running.borrow());
        }
        let answer = self.0.answers.lock().get(&target).cloned();
        self.0.runs.send_modify(|runs| runs.push((target, Instant::now())));
        let takes = *self.0.takes.lock();
        sleep(takes).await;
        self.0.running.send_modify(|running| *running -= 1);
        answer.unwrap_or(ProbeResult { status: FAIL, output: "unknown target".into() })
    }
}

impl FakeNetwork {
    fn new() -> Self {
        Self(Arc::new(FakeNetworkShared {
            answers: Mutex::default(),
            runs: watch::Sender::new(Vec::new()),
            takes: Mutex::default(),
            running: watch::Sender::new(0),
            running_most: Mutex::default(),
        }))
    }

    fn answer(&self, target: &str, status: CheckStatus, output: &str) {
        let result = ProbeResult { status, output: output.into() };
        self.0.answers.lock().insert(target.into(), result);
    }

    fn runs_of(&self, target: &str) -> Vec<Instant> {
        let runs = self.0.runs.borrow();
        runs.iter().filter(|(of, _)| of == target).map(|(_, at)| *at).collect()
    }

    /// Waits until the target was probed `count` more times.
    async fn more_runs(&self, target: &str, count: usize) {
        let enough = self.runs_of(target).len() + count;
        let mut runs = self.0.runs.subscribe();
        let waiting =
            runs.wait_for(|runs| runs.iter().filter(|(of, _)| of == target).count() >= enough);
        let result = timeout(Duration::from_secs(3600), waiting).await;
        assert!(result.is_ok(), "{target} was not probed {count} more times");
    }
}

/// The probes of `n1` under test.
struct World {
    mesh: FakeMesh,
    network: FakeNetwork,
    tasks: Tasks,
    probes: ProbesHandle,
}

async fn world() -> World {
    world_with(ProbeOptions::default()).await
}

async fn world_with(options: ProbeOptions) -> World {
    let mesh = FakeMesh::new().await;
    let network = FakeNetwork::new();
    let tasks = Tasks::new();
    let probes = start(mesh.clone(), network.clone(), "n1".into(), options, &tasks);
    World { mesh, network, tasks, probes }
}

/// A check of `web-1`.
fn check(id: &str, definition: CheckDefinition) -> Check {
    Check {
        node: "n1".into(),
        id: id.into(),
        name: format!("check {id}"),
        service_id: "web-1".into(),
        definition: Some(Arc::new(definition)),
        origin: Origin::Agent,
        ..Check::default()
    }
}

/// A definition that probes `target` every 10 s.
fn every_10_s(target: &str) -> CheckDefinition {
    let interval = Duration::from_secs(10);
    CheckDefinition { tcp: target.into(), interval, ..CheckDefinition::default() }
}
