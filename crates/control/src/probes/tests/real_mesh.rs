use tokio::net::TcpListener;

use super::*;

/// The whole way, with nothing faked: a registered service becomes passing, loses its server and
/// becomes critical.
#[tokio::test]
async fn a_real_check_follows_its_server_through_the_real_mesh() {
    let tasks = Tasks::new();
    let mesh = Mesh::start(store::open_memory(), &tasks).await.unwrap();
    let options = ProbeOptions::default();
    let _probes = Probes::start(mesh.clone(), "n1".into(), options, &tasks);

    let node = Node { name: "n1".into(), address: "127.0.0.1".into(), ..Node::default() };
    let registration = CatalogRegistration { node, ..CatalogRegistration::default() };
    mesh.run(Command::RegisterInCatalog(registration)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let definition = CheckDefinition {
        tcp: listener.local_addr().unwrap().to_string(),
        interval: Duration::from_millis(100),
        ..CheckDefinition::default()
    };
    let node_check = Check { service_id: ServiceId::default(), ..check("c", definition) };
    let outcome = mesh.run(Command::RegisterCheck(node_check)).await;
    assert!(matches!(outcome, WriteOutcome::Done(..)), "{outcome:?}");
    until_status(&mesh, PASS).await;
    drop(listener);
    until_status(&mesh, FAIL).await;
    let late = tasks.shut_down(Duration::from_secs(10)).await;
    assert!(late.is_empty(), "{late:?}");
}

async fn until_status(mesh: &Mesh, status: CheckStatus) {
    let mut watcher = mesh.watch(&[WatchKey::Checks]);
    let waiting = async {
        while find(&mesh.catalog(), "c").is_none_or(|it| it.status != status) {
            watcher.changed().await;
        }
    };
    let result = timeout(Duration::from_secs(60), waiting).await;
    assert!(result.is_ok(), "the check never became {status}");
}
