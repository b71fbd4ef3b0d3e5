//! What is counted of requests by virtual host and class of path.

use http::{Response, StatusCode};
use proxy_config::{ClassUse, HostUse, RouteAction, path_class};

use super::support::{Backend, Client, Setup, becomes, full, soon};
use crate::ProxyHandle;

fn host(proxy: &ProxyHandle, name: &str) -> HostUse {
    proxy.host_uses().remove(&format!("table/{name}")).unwrap_or_default()
}

/// Successes, refusals and failures.
fn class(proxy: &ProxyHandle, name: &str, path: &str) -> (u64, u64, u64) {
    let ClassUse { successes, refusals, failures } = host(proxy, name).classes[path_class(path)];
    (successes, refusals, failures)
}

#[tokio::test]
async fn each_request_is_counted_by_its_host_and_path_whatever_route_it_takes() {
    let backend = Backend::http1(|request| async move {
        let status = request.uri().path().rsplit('/').next().and_then(|it| it.parse().ok());
        let status = status.and_then(|it| StatusCode::from_u16(it).ok());
        let mut response = Response::new(full("answer"));
        *response.status_mut() = status.unwrap_or(StatusCode::OK);
        response
    })
    .await;
    let gone = Backend::text("gone").await;
    let nobody = gone.address;
    gone.kill().await;
    let local = RouteAction::Respond { status: 503, body: "no".to_owned() };
    let setup = Setup::new()
        .listener("in")
        .route("a", "/x", &[backend.address])
        .route("a", "/dead", &[nobody])
        .action("b", "/local", local)
        .route("b", "/", &[backend.address]);
    let proxy = setup.start();
    let address = proxy.local_addr("in").unwrap();
    assert!(proxy.host_uses().is_empty());
    for mut client in [Client::http1(address).await, Client::http2(address).await] {
        for (name, path) in [
            ("a", "/x/200"),
            ("a", "/x/200"),
            ("a", "/x/404"),
            ("a", "/x/500"),
            ("a", "/dead"),
            ("a", "/none"),
            ("b", "/x/302"),
            ("b", "/local"),
            ("c", "/x/200"),
        ] {
            client.get(name, path).await;
        }
    }
    let total = |name| host(&proxy, name).total().requests();
    for (name, count) in [("a", 12), ("b", 4), ("", 2)] {
        becomes(|| total(name), count).await;
    }
    let classes = ["/x", "/dead", "/none"].map(path_class);
    assert!(classes[0] != classes[1] && classes[0] != classes[2], "{classes:?}");
    assert_eq!(class(&proxy, "a", "/x"), (4, 2, 2));
    assert_eq!(host(&proxy, "a").total().failures, 6);
    let ClassUse { successes, failures, .. } = host(&proxy, "b").total();
    assert_eq!((successes, failures), (2, 2));
    assert_eq!(class(&proxy, "", "/x"), (0, 0, 2));
    // Only those that an endpoint answered have a time.
    let timed = |name| host(&proxy, name).durations.iter().sum::<u64>();
    assert_eq!((timed("a"), timed("b"), timed("")), (8, 2, 0));

    // A change of routes does not begin the counters anew; those of a host that is gone are gone.
    let setup = setup.table(|table| {
        table.virtual_hosts.retain(|it| it.name == "a");
        table.virtual_hosts[0].routes.retain(|it| it.name != "/x");
    });
    soon(proxy.update(setup.config())).await.unwrap();
    Client::http1(address).await.get("a", "/x/200").await;
    becomes(|| host(&proxy, "a").total().requests(), 13).await;
    assert_eq!(class(&proxy, "a", "/x"), (4, 2, 3));
    assert!(!proxy.host_uses().contains_key("table/b"));
}
