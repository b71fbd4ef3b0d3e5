use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use proxy_config::{Endpoint, Endpoints, Resolution};

use super::support::{Backend, Client, HANG, Setup, soon};
use crate::{Lookup, ProxyHandle};

type Answers = Arc<Mutex<io::Result<Vec<IpAddr>>>>;

/// Answers every name with what is in it at the moment.
fn lookup(answers: &Answers) -> Lookup {
    let answers = answers.clone();
    Lookup::new(move |name| {
        assert_eq!(name, "web.test");
        let answer = match &*answers.lock() {
            Ok(addresses) => Ok(addresses.clone()),
            Err(error) => Err(error.kind().into()),
        };
        Box::pin(async move { answer })
    })
}

fn local(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

/// The cluster `web/` with one endpoint that is a name.
fn setup(host: &str, port: u16, resolution: Resolution) -> Setup {
    let mut setup = Setup::new().listener("in").route_with("web", "/", &[], |_, cluster| {
        cluster.resolution = resolution;
    });
    let endpoints = Endpoints {
        cluster: "web/".to_owned(),
        endpoints: vec![Endpoint::new("node/web", host, port)],
        ..Endpoints::default()
    };
    setup.0.endpoints.insert("web/".to_owned(), Arc::new(endpoints));
    setup
}

fn ids(proxy: &ProxyHandle) -> Vec<String> {
    proxy.with_admin_view(|view| {
        view.clusters["web/"].endpoints().map(|it| it.0.id.clone()).collect()
    })
}

async fn until_ids(proxy: &ProxyHandle, wanted: &[&str]) {
    soon(async {
        while ids(proxy) != wanted {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn updates(proxy: &ProxyHandle) -> Arc<crate::stats::Stats> {
    proxy.stats().clone()
}

const OFTEN: Resolution = Resolution::Strict { refresh: Duration::from_millis(2) };

#[tokio::test]
async fn each_address_of_a_name_is_an_endpoint_and_follows_the_answers() {
    let backend = Backend::text("found").await;
    let answers: Answers = Arc::new(Mutex::new(Ok(vec![local(1)])));
    let setup = setup("web.test", backend.address.port(), OFTEN);
    let proxy = setup.start_with(|options| options.lookup = lookup(&answers));
    soon(proxy.warmed()).await;
    assert_eq!(ids(&proxy), ["node/web@127.0.0.1"]);
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get("web", "/").await, (200, "found".to_owned()));
    let state =
        proxy.with_admin_view(|view| view.clusters["web/"].endpoints().next().unwrap().1.clone());
    *answers.lock() = Ok(vec!["::ffff:127.0.0.3".parse().unwrap(), local(1)]);
    until_ids(&proxy, &["node/web@127.0.0.1", "node/web@::ffff:127.0.0.3"]).await;
    // What was known of an address, and its connections, go on.
    let kept = proxy.with_admin_view(|view| {
        let all = view.clusters["web/"].endpoints().map(|it| it.1.clone());
        all.into_iter().any(|it| Arc::ptr_eq(&it, &state))
    });
    assert!(kept);
    *answers.lock() = Ok(vec![local(1)]);
    until_ids(&proxy, &["node/web@127.0.0.1"]).await;
    assert_eq!(client.get("web", "/").await, (200, "found".to_owned()));
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn a_failure_and_an_empty_answer_keep_the_last_one() {
    let answers: Answers = Arc::new(Mutex::new(Ok(vec![local(1), "::1".parse().unwrap()])));
    let setup = setup("web.test", 80, OFTEN);
    let proxy = setup.start_with(|options| options.lookup = lookup(&answers));
    soon(proxy.warmed()).await;
    let both = ["node/web@127.0.0.1", "node/web@::1"];
    assert_eq!(ids(&proxy), both);
    let counters = updates(&proxy).updates("web/");
    *answers.lock() = Err(io::ErrorKind::NotFound.into());
    soon(async {
        while counters.update_failure.get() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    *answers.lock() = Ok(Vec::new());
    soon(async {
        while counters.update_empty.get() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(ids(&proxy), both);
    assert!(counters.update_attempt.get() >= counters.update_success.get());
    assert_eq!(counters.membership_change.get(), 1);
}

#[tokio::test]
async fn a_name_that_is_not_found_holds_nothing_up_and_is_found_later() {
    let backend = Backend::text("found").await;
    let answers: Answers = Arc::new(Mutex::new(Err(io::ErrorKind::NotFound.into())));
    let setup = setup("web.test", backend.address.port(), OFTEN);
    let proxy = setup.start_with(|options| options.lookup = lookup(&answers));
    assert!(soon(proxy.warmed()).await);
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get("web", "/").await.0, 503);
    *answers.lock() = Ok(vec![local(1)]);
    until_ids(&proxy, &["node/web@127.0.0.1"]).await;
    assert_eq!(client.get("web", "/").await, (200, "found".to_owned()));
}

#[tokio::test]
async fn names_are_looked_up_by_the_system_both_ways() {
    let backend = Backend::text("found").await;
    for resolution in [Resolution::OnConnect, Resolution::Strict { refresh: HANG }] {
        let setup = setup("localhost", backend.address.port(), resolution);
        let proxy = setup.start();
        soon(proxy.warmed()).await;
        let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
        // Of the two addresses that it may have, one is served; the others fail and are tried again.
        let (status, _) = client.get("web", "/").await;
        assert_eq!(status, 200, "{resolution:?}");
    }
}
