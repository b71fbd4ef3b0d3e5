use std::sync::Arc;

use http::Request;
use http_body_util::BodyExt;
use proxy_config::{EndpointHealth, RouteAction};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::support::{Backend, Client, Setup, becomes, empty, raw, slow, soon, text};
use crate::{Proxy, ProxyError, ProxyOptions};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn an_update_adds_and_removes_listeners_and_drops_nothing_under_way() {
    let (slow, go_on) = slow().await;
    let setup = Setup::new().listener("old").route("web", "/", &[slow.address]);
    let proxy = setup.start();
    let old = proxy.local_addr("old").unwrap();
    let mut client = Client::http1(old).await;
    let request = Request::get("/").header("host", "web").body(empty()).unwrap();
    let mut response = client.send(request).await.into_body();
    assert_eq!(soon(response.frame()).await.unwrap().unwrap().into_data().unwrap(), "begin");

    let quick = Backend::text("quick").await;
    let setup = setup.listener("new").without_listener("old").endpoints("web/", &[quick.address]);
    assert!(soon(proxy.update(setup.config())).await.unwrap().is_empty());
    assert_eq!(proxy.local_addr("old"), None);
    assert!(TcpStream::connect(old).await.is_err());
    let answer = raw(proxy.local_addr("new").unwrap(), GET).await;
    assert!(answer.ends_with("quick"), "{answer}");

    go_on.notify_one();
    assert_eq!(text(response).await, " end");
}

#[tokio::test]
async fn an_unchanged_listener_keeps_its_connections_and_takes_new_routes() {
    let one = Backend::text("one").await;
    let two = Backend::text("two").await;
    let setup = Setup::new().listener("in").route("web", "/", &[one.address]);
    let proxy = setup.start();
    let address = proxy.local_addr("in").unwrap();
    let mut client = Client::http1(address).await;
    assert_eq!(client.get("web", "/").await.1, "one");
    let setup = setup.endpoints("web/", &[two.address]);
    soon(proxy.update(setup.config())).await.unwrap();
    assert_eq!(proxy.local_addr("in"), Some(address));
    assert_eq!(client.get("web", "/").await.1, "two");
}

#[tokio::test]
async fn an_endpoint_that_drains_gets_no_new_requests_and_ends_its_own() {
    let (slow, go_on) = slow().await;
    let quick = Backend::text("quick").await;
    let mut setup = Setup::new().listener("in").route("web", "/", &[slow.address]);
    let proxy = setup.start();
    let address = proxy.local_addr("in").unwrap();
    let mut client = Client::http1(address).await;
    let request = Request::get("/").header("host", "web").body(empty()).unwrap();
    let mut response = client.send(request).await.into_body();
    assert_eq!(soon(response.frame()).await.unwrap().unwrap().into_data().unwrap(), "begin");
    setup = setup.endpoints("web/", &[slow.address, quick.address]);
    let endpoints = setup.0.endpoints.get_mut("web/").unwrap();
    Arc::make_mut(endpoints).endpoints[0].health = EndpointHealth::Draining;
    soon(proxy.update(setup.config())).await.unwrap();
    for _ in 0..4 {
        assert!(raw(address, GET).await.ends_with("quick"));
    }
    assert_eq!(slow.connections(), 1);
    go_on.notify_one();
    assert_eq!(text(response).await, " end");
}

#[tokio::test]
async fn what_is_under_way_is_told_until_it_ends_also_when_its_cluster_is_gone() {
    for is_whole_cluster in [true, false] {
        let (slow, go_on) = slow().await;
        let quick = Backend::text("quick").await;
        let setup = Setup::new().listener("in").route("web", "/", &[slow.address]);
        let mut setup = setup.route("api", "/", &[slow.address, quick.address]);
        let proxy = setup.start();
        let id = setup.0.endpoints["web/"].endpoints[0].id.clone();
        let active = || proxy.endpoint_uses().get(&id).map_or(0, |it| it.active);
        let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
        let request = Request::get("/").header("host", "web").body(empty()).unwrap();
        let mut response = client.send(request).await.into_body();
        assert_eq!(soon(response.frame()).await.unwrap().unwrap().into_data().unwrap(), "begin");
        assert_eq!(active(), 1);
        if is_whole_cluster {
            setup.0.clusters.remove("web/");
            setup.0.endpoints.remove("web/");
        } else {
            setup = setup.endpoints("web/", &[quick.address]);
        }
        // The change after it knows it, too.
        for listener in ["a", "b"] {
            setup = setup.listener(listener);
            soon(proxy.update(setup.config())).await.unwrap();
            assert_eq!(active(), 1, "{is_whole_cluster}");
        }
        go_on.notify_one();
        assert_eq!(text(response).await, " end");
        becomes(active, 0).await;
    }
}

#[tokio::test]
async fn a_retry_goes_by_the_configuration_of_its_time() {
    let (asked, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (on_asked, on_go) = (asked.clone(), go_on.clone());
    let breaking = Backend::tcp(move |mut stream| {
        let (asked, go_on) = (on_asked.clone(), on_go.clone());
        async move {
            let _ = stream.read(&mut [0; 1024]).await;
            asked.notify_one();
            go_on.notified().await;
        }
    })
    .await;
    let new = Backend::text("new").await;
    let setup = Setup::new().listener("in").route("web", "/", &[breaking.address]);
    let proxy = setup.start();
    let address = proxy.local_addr("in").unwrap();
    let answer = tokio::spawn(async move { Client::http1(address).await.get("web", "/").await });
    soon(asked.notified()).await;
    let setup = setup.endpoints("web/", &[new.address]);
    soon(proxy.update(setup.config())).await.unwrap();
    go_on.notify_one();
    assert_eq!(soon(answer).await.unwrap(), (200, "new".to_owned()));
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_it_and_the_rest_goes_on() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let respond = RouteAction::Respond { status: 200, body: "here".to_owned() };
    let setup = Setup::new().listener("in").action("web", "/", respond);
    let with_taken = |setup: Setup| setup.listener_with("late", |it| it.address = address);

    let proxy = setup.start();
    let setup = with_taken(setup).listener("more");
    let errors = soon(proxy.update(setup.config())).await.unwrap();
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(texts, [format!("listener late cannot listen on {address}")]);
    assert!(raw(proxy.local_addr("more").unwrap(), GET).await.ends_with("here"));
    assert_eq!(proxy.local_addr("late"), None);

    let options = ProxyOptions { workers: 2, ..ProxyOptions::default() };
    let failed = Proxy::start(options, setup.config()).unwrap_err();
    assert!(matches!(failed, ProxyError::Listen { listener, .. } if listener == "late"));

    drop(taken);
    assert!(soon(proxy.update(setup.config())).await.unwrap().is_empty());
    assert!(raw(address, GET).await.ends_with("here"));
}

#[tokio::test]
async fn a_second_proxy_does_not_silently_share_a_port() {
    let setup = Setup::new().listener("in");
    let first = setup.start();
    let address = first.local_addr("in").unwrap();
    let setup = setup.listener_with("in", |it| it.address = address);
    let failed = Proxy::start(ProxyOptions::default(), setup.config()).unwrap_err();
    assert_eq!(failed.to_string(), format!("listener in cannot listen on {address}"));
}

#[tokio::test]
async fn a_renamed_listener_keeps_its_socket() {
    let respond = RouteAction::Respond { status: 200, body: "here".to_owned() };
    let setup = Setup::new().listener("in").action("web", "/", respond);
    let first = setup.start();
    let address = first.local_addr("in").unwrap();
    // Fix the port, then rename.
    drop(first);
    let setup = setup.listener_with("in", |it| it.address = address);
    let proxy = soon(async {
        loop {
            match Proxy::start(ProxyOptions::default(), setup.config()) {
                Ok(proxy) => return proxy,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    let mut client = Client::http1(address).await;
    assert_eq!(client.get("web", "/").await.0, 200);
    let setup = setup.without_listener("in").listener_with("out", |it| it.address = address);
    assert!(soon(proxy.update(setup.config())).await.unwrap().is_empty());
    assert_eq!(client.get("web", "/").await.0, 200);
    assert_eq!(proxy.local_addr("out"), Some(address));
}

#[tokio::test]
async fn a_listener_that_cannot_move_stays_where_it_is() {
    let web = Backend::text("web").await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let wanted = taken.local_addr().unwrap();
    let setup = Setup::new().listener("in").route("web", "/", &[web.address]);
    let proxy = setup.start();
    let old = proxy.local_addr("in").unwrap();
    let mut client = Client::http1(old).await;
    let setup = setup.listener_with("in", |it| it.address = wanted);
    for _ in 0..2 {
        let failed = soon(proxy.update(setup.config())).await.unwrap();
        assert!(matches!(failed.as_slice(), [ProxyError::Listen { .. }]), "{failed:?}");
        assert_eq!(proxy.local_addr("in"), Some(old));
        assert_eq!(client.get("web", "/").await.1, "web");
        let answer = raw(old, GET).await;
        assert!(answer.ends_with("web"), "{answer}");
    }
    // Unless another one is to be there.
    let moved = setup.config();
    let other = setup.listener_with("other", |it| it.address = old);
    assert_eq!(soon(proxy.update(other.config())).await.unwrap().len(), 1);
    assert_eq!((proxy.local_addr("in"), proxy.local_addr("other")), (None, Some(old)));
    drop(taken);
    assert!(soon(proxy.update(moved)).await.unwrap().is_empty());
    assert_eq!(proxy.local_addr("in"), Some(wanted));
}
