use std::sync::atomic::{AtomicUsize, Ordering};

use model::{Catalog, CheckDefinition, Folded, Origin};
use recovery::RestartLimits;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::agent::Agent;
use crate::agent::tests::{DataDir, dev, end};

/// Nothing here takes nearly as long.
const HANG: Duration = Duration::from_secs(60);

/// Somebody who answers probes, whatever becomes of the process.
struct Stranger {
    address: String,
    probes: Arc<AtomicUsize>,
}

impl Stranger {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let probes = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&probes);
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address, probes }
    }
}

fn check(id: &str, target: &str) -> Check {
    let interval = Duration::from_millis(100);
    let definition = CheckDefinition { tcp: target.into(), interval, ..Default::default() };
    Check {
        node: "n1".into(),
        id: id.into(),
        name: id.into(),
        definition: Some(Arc::new(definition)),
        origin: Origin::Agent,
        ..Check::default()
    }
}

fn sleeper(target: &str, first_delay: Duration) -> Supervised {
    let child = ChildSpec {
        program: "sleep".into(),
        arguments: vec!["1000".into()],
        ..ChildSpec::default()
    };
    let instance = Instance {
        node: "n1".into(),
        id: "web-1".into(),
        service: "web".into(),
        origin: Origin::Agent,
        ..Instance::default()
    };
    let limits = RestartLimits { first_delay, ..RestartLimits::default() };
    let restart = Restart::new(Policy::Always, limits);
    Supervised { restart, ..Supervised::new(child, instance, vec![check("up", target)]) }
}

async fn until(mesh: &Mesh, what: &str, holds: impl Fn(&Catalog) -> bool) {
    let mut revisions = mesh.revisions();
    let waiting = revisions.wait_for(|_| holds(&mesh.catalog()));
    assert!(timeout(HANG, waiting).await.is_ok(), "never happened: {what}");
}

fn status(catalog: &Catalog) -> Option<(CheckStatus, String)> {
    let check = catalog.check(&Folded::new("n1"), &"up".into())?;
    Some((check.status, check.output.clone()))
}

fn is_passing(catalog: &Catalog) -> bool {
    status(catalog).is_some_and(|(status, _)| status == CheckStatus::Passing)
}

async fn started(events: &mut broadcast::Receiver<Event>) -> u32 {
    loop {
        let event = timeout(HANG, events.recv()).await.expect("an event comes").unwrap();
        if let What::Started { pid } = event.what {
            return pid;
        }
    }
}

#[tokio::test]
async fn a_dead_process_is_not_revived_by_somebody_who_answers_in_its_place() {
    let agent = Agent::start(dev()).await.unwrap();
    let (stranger, other) = (Stranger::new().await, Stranger::new().await);
    let mut events = agent.supervisor.events();
    agent.supervisor.supervise(sleeper(&stranger.address, Duration::from_secs(3600)));
    let pid = started(&mut events).await;
    until(&agent.mesh, "it is up", is_passing).await;
    runtime::kill(pid).unwrap();
    until(&agent.mesh, "it is down", |catalog| !is_passing(catalog)).await;
    let expected = (CheckStatus::Critical, format!("process {pid} ended: SIGKILL"));
    assert_eq!(status(&agent.mesh.catalog()), Some(expected.clone()));
    let before = stranger.probes.load(Ordering::SeqCst);
    // Another check with the same interval shows that time goes on.
    agent.mesh.run(Command::RegisterCheck(check("clock", &other.address))).await;
    let ticks = async {
        while other.probes.load(Ordering::SeqCst) < 5 {
            tokio::task::yield_now().await;
        }
    };
    timeout(HANG, ticks).await.expect("the clock ticks");
    assert_eq!(status(&agent.mesh.catalog()), Some(expected));
    assert_eq!(stranger.probes.load(Ordering::SeqCst), before, "nobody is probed");
    end(&agent).await;
}

#[tokio::test]
async fn a_process_that_ends_is_restarted_and_found_ready_again() {
    let agent = Agent::start(dev()).await.unwrap();
    let stranger = Stranger::new().await;
    let mut events = agent.supervisor.events();
    agent.supervisor.supervise(sleeper(&stranger.address, Duration::from_millis(1)));
    let first = started(&mut events).await;
    until(&agent.mesh, "it is up", is_passing).await;
    runtime::kill(first).unwrap();
    until(&agent.mesh, "it is down", |catalog| !is_passing(catalog)).await;
    let second = started(&mut events).await;
    assert_ne!(first, second);
    until(&agent.mesh, "it is up again", is_passing).await;
    end(&agent).await;
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_tried_again_and_then_held() {
    let agent = Agent::start(dev()).await.unwrap();
    let mut events = agent.supervisor.events();
    let mut process = sleeper("127.0.0.1:1", Duration::from_millis(1));
    process.child.program = "/nowhere/at/all".into();
    let first_delay = Duration::from_millis(1);
    let limits = RestartLimits { first_delay, restarts_max: 2, ..RestartLimits::default() };
    process.restart = Restart::new(Policy::Always, limits);
    agent.supervisor.supervise(process);
    let mut seen = Vec::new();
    while seen.last() != Some(&"held") {
        let event = timeout(HANG, events.recv()).await.expect("an event comes").unwrap();
        seen.push(match event.what {
            What::NotStarted { error } => {
                assert!(error.contains("/nowhere/at/all"), "{error}");
                "not started"
            }
            What::Held { restarts: 2 } => "held",
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(seen, ["not started", "not started", "not started", "held"]);
    end(&agent).await;
}

#[tokio::test]
async fn what_ends_with_the_agent_is_critical_in_the_store() {
    let folder = DataDir::new();
    let agent = Agent::start(folder.options("n1")).await.unwrap();
    let stranger = Stranger::new().await;
    let mut events = agent.supervisor.events();
    agent.supervisor.supervise(sleeper(&stranger.address, Duration::from_secs(1)));
    let pid = started(&mut events).await;
    until(&agent.mesh, "it is up", is_passing).await;
    end(&agent).await;
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "it has ended and is reaped");
    drop(agent);
    let tasks = Tasks::new();
    let mesh = Mesh::start(store::open_redb(folder.path()).unwrap(), &tasks).await.unwrap();
    let expected = (CheckStatus::Critical, "the agent is shutting down".to_owned());
    assert_eq!(status(&mesh.catalog()), Some(expected));
    tasks.shut_down(HANG).await;
}
