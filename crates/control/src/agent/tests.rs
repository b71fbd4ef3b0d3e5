use std::sync::atomic::{AtomicU32, Ordering};

use model::{CheckId, Folded, Origin, ServiceId};
use registry::ServiceRegistration;

use super::*;

/// An agent in memory on ports that the system chooses.
pub(crate) fn dev() -> AgentOptions {
    AgentOptions::default()
}

/// A data folder of its own, removed in the end.
pub(crate) struct DataDir(PathBuf);

impl DataDir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("leno-agent-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn options(&self, node_name: &str) -> AgentOptions {
        let (data_dir, node_name) = (self.0.clone(), node_name.into());
        AgentOptions { dev: false, data_dir, node_name, ..dev() }
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) async fn end(agent: &Agent) {
    let left = agent.shut_down().await;
    assert!(left.is_empty(), "these tasks did not end: {left:?}");
}

async fn register_web(agent: &Agent) {
    let node = agent.info.node_name.clone();
    let definition =
        model::CheckDefinition { ttl: Duration::from_secs(3600), ..Default::default() };
    let check = Check {
        node: node.clone(),
        id: "web-ttl".into(),
        name: "ttl".into(),
        status: CheckStatus::Passing,
        output: "alive".into(),
        definition: Some(Arc::new(definition)),
        origin: Origin::Agent,
        ..Check::default()
    };
    let instance = Instance {
        node,
        id: "web-1".into(),
        service: "web".into(),
        origin: Origin::Agent,
        ..Instance::default()
    };
    let registration =
        ServiceRegistration { instance, checks: vec![check], ..ServiceRegistration::default() };
    let outcome = agent.mesh.run(Command::RegisterService(registration)).await;
    assert!(matches!(outcome, WriteOutcome::Done(..)), "{outcome:?}");
    let reason = Some("cleaning".into());
    let node = agent.info.node_name.clone();
    agent.mesh.run(Command::SetMaintenance { node, service: None, reason }).await;
}

#[tokio::test]
async fn a_renamed_node_keeps_its_instances_and_leaves_no_zombie() {
    let folder = DataDir::new();
    let agent = Agent::start(folder.options("old")).await.unwrap();
    register_web(&agent).await;
    let id = agent.info.node_id.clone();
    end(&agent).await;
    drop(agent);

    let mut options = folder.options("new");
    options.advertise = "10.0.0.7".into();
    let agent = Agent::start(options).await.unwrap();
    let catalog = agent.mesh.catalog();
    let nodes: Vec<_> = catalog.nodes().map(|it| (it.name.to_string(), it.id.clone())).collect();
    assert_eq!(nodes, [("new".to_owned(), id)]);
    assert_eq!(catalog.nodes().next().unwrap().address, "10.0.0.7");
    let name = Folded::new("new");
    let web = catalog.instance(&name, &ServiceId::from("web-1")).unwrap();
    assert_eq!((web.service.as_str(), web.origin), ("web", Origin::Agent));
    let check = catalog.check(&name, &CheckId::from("web-ttl")).unwrap();
    assert_eq!((check.status, check.output.as_str()), (CheckStatus::Passing, "alive"));
    assert!(check.definition.is_some(), "it is run under the new name");
    assert!(catalog.check(&name, &CheckId::from("_node_maintenance")).is_some());
    assert_eq!(catalog.instance_count(), 2, "consul and web");
    assert_eq!(catalog.check_count(), 3, "serfHealth, web-ttl and the maintenance");
    end(&agent).await;
}

#[tokio::test]
async fn configuration_entries_are_written_in_any_order_unless_they_are_there() {
    use model::ConfigEntry;
    use serde_json::json;

    let folder = DataDir::new();
    let protocol = |agent: &Agent| {
        let catalog = agent.mesh.catalog();
        let key = ConfigEntry::key_of("service-defaults", "web");
        let entry = catalog.record::<ConfigEntry>(&key).expect("written");
        entry.body["Protocol"].as_str().map(str::to_owned)
    };
    let defaults =
        |protocol: &str| json!({"kind": "service-defaults", "name": "web", "protocol": protocol});
    // Subsets are split between by services of HTTP, which stands after it.
    let splitter = json!({"kind": "service-splitter", "name": "web", "splits": [
        {"weight": 50, "service_subset": "v1"}, {"weight": 50, "service_subset": "v2"}]});
    let resolver = json!({"kind": "service-resolver", "name": "web", "subsets": {
        "v1": {"filter": "Service.Meta.version == 1"},
        "v2": {"filter": "Service.Meta.version == 2"}}});
    let mut options = folder.options("n1");
    options.config_entries = vec![splitter.clone(), resolver, defaults("http")];
    let agent = Agent::start(options).await.unwrap();
    assert_eq!(protocol(&agent).as_deref(), Some("http"));
    end(&agent).await;
    drop(agent);

    let mut options = folder.options("n1");
    options.config_entries = vec![defaults("grpc")];
    let agent = Agent::start(options).await.unwrap();
    assert_eq!(protocol(&agent).as_deref(), Some("http"), "it is what somebody has written");
    end(&agent).await;
    drop(agent);

    let other = DataDir::new();
    let mut options = other.options("n1");
    options.config_entries = vec![splitter];
    let Err(error) = Agent::start(options).await else { panic!("a splitter needs HTTP") };
    let text = error.to_string();
    assert!(text.contains("configuration entry service-splitter/web"), "{text}");
}

#[tokio::test]
async fn a_lost_node_id_is_found_again_in_the_store() {
    let folder = DataDir::new();
    let agent = Agent::start(folder.options("n1")).await.unwrap();
    let id = agent.info.node_id.clone();
    end(&agent).await;
    drop(agent);
    fs::remove_file(folder.path().join("node-id")).unwrap();
    let agent = Agent::start(folder.options("n1")).await.unwrap();
    assert_eq!(agent.info.node_id, id);
    end(&agent).await;
}

#[tokio::test]
async fn a_name_that_another_node_has_is_refused_and_nothing_is_moved() {
    let folder = DataDir::new();
    let agent = Agent::start(folder.options("n1")).await.unwrap();
    register_web(&agent).await;
    // External nodes are often registered without an id.
    for (name, id) in [("other", "11111111-2222-3333-4444-555555555555"), ("external", "")] {
        let (id, name) = (id.into(), name.into());
        let node = Node { id, name, address: "10.0.0.9".into(), ..Node::default() };
        let registration = CatalogRegistration { node, ..CatalogRegistration::default() };
        agent.mesh.run(Command::RegisterInCatalog(registration)).await;
    }
    end(&agent).await;
    drop(agent);
    for name in ["other", "external"] {
        let error = Agent::start(folder.options(name)).await.err().unwrap().to_string();
        assert!(error.contains(name) && error.contains("--node"), "{error}");
    }
    let agent = Agent::start(folder.options("n1")).await.unwrap();
    let catalog = agent.mesh.catalog();
    assert!(catalog.instance(&Folded::new("n1"), &ServiceId::from("web-1")).is_some());
    end(&agent).await;
}

#[tokio::test]
async fn an_address_in_use_leaves_nothing_running() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = DataDir::new();
    let options = AgentOptions { http: Some(taken.local_addr().unwrap()), ..folder.options("n1") };
    let error = Agent::start(options).await.err().unwrap();
    assert!(matches!(error, AgentError::Listen(_)), "{error}");
    assert!(!folder.path().exists(), "the data folder was not touched");
}
