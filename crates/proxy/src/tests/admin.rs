use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Request;
use tokio::net::TcpStream;

use super::support::{Backend, Client, HANG, Setup, empty, soon, text};
use crate::stats::ServerState;
use crate::{ProxyHandle, Quit};

async fn post(proxy: &ProxyHandle, target: &str) -> (u16, String) {
    let mut client = Client::http1(proxy.admin_addr().unwrap()).await;
    let request = Request::post(target).header("host", "admin").body(empty()).unwrap();
    let response = client.send(request).await;
    (response.status().as_u16(), text(response.into_body()).await)
}

async fn get(proxy: &ProxyHandle, target: &str) -> (u16, String) {
    Client::http1(proxy.admin_addr().unwrap()).await.get("admin", target).await
}

async fn until_closed(address: std::net::SocketAddr) {
    soon(async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn proxy(drain_time: Duration) -> (ProxyHandle, Backend, Setup) {
    let backend = Backend::text("served").await;
    let setup = Setup::new().listener("in").route("web", "/", &[backend.address]);
    let proxy = setup.start_with(|options| {
        options.admin = Some("127.0.0.1:0".parse().unwrap());
        options.drain_time = drain_time;
    });
    (proxy, backend, setup)
}

#[tokio::test]
async fn listeners_that_are_drained_close_and_the_proxy_goes_on() {
    let (proxy, _backend, setup) = proxy(HANG).await;
    let address = proxy.local_addr("in").unwrap();
    assert_eq!(Client::http1(address).await.get("web", "/").await.0, 200);
    assert_eq!(get(&proxy, "/drain_listeners").await.0, 405);
    assert_eq!(post(&proxy, "/drain_listeners").await, (200, "OK\n".to_owned()));
    until_closed(address).await;
    assert_eq!(get(&proxy, "/ready").await.0, 200);
    soon(async {
        while !get(&proxy, "/listeners").await.1.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (_, stopped) = get(&proxy, "/stats?filter=listener_stopped").await;
    assert_eq!(stopped, "listener_manager.listener_stopped: 1\n");
    // Listeners that come later stay closed, too.
    soon(proxy.update(setup.listener("more").config())).await.unwrap();
    assert_eq!(proxy.local_addr("more"), None);
}

#[tokio::test]
async fn a_graceful_drain_tells_first_and_closes_afterwards() {
    let (proxy, _backend, _) = proxy(Duration::from_millis(20)).await;
    let address = proxy.local_addr("in").unwrap();
    assert_eq!(post(&proxy, "/drain_listeners?graceful").await.0, 200);
    soon(async {
        while get(&proxy, "/ready").await != (503, "DRAINING\n".to_owned()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    until_closed(address).await;
}

#[tokio::test]
async fn a_drain_that_skips_its_end_closes_nothing() {
    let (proxy, _backend, setup) = proxy(Duration::ZERO).await;
    assert_eq!(post(&proxy, "/drain_listeners?graceful&skip_exit").await.0, 200);
    soon(async {
        while proxy.with_admin_view(|view| view.state) != ServerState::Draining {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Taken one after the other: what the drain would have closed is closed now.
    soon(proxy.update(setup.config())).await.unwrap();
    let address = proxy.local_addr("in").unwrap();
    assert_eq!(Client::http1(address).await.get("web", "/").await.0, 200);
}

#[tokio::test]
async fn a_proxy_that_awaits_its_configuration_is_ready_when_it_has_one() {
    let setup = Setup::new();
    let proxy = setup.start_with(|options| {
        options.admin = Some("127.0.0.1:0".parse().unwrap());
        options.awaits_config = true;
    });
    assert_eq!(get(&proxy, "/ready").await, (503, "INITIALIZING\n".to_owned()));
    soon(proxy.update(setup.listener("in").config())).await.unwrap();
    assert!(soon(proxy.warmed()).await);
    assert_eq!(get(&proxy, "/ready").await, (200, "LIVE\n".to_owned()));
}

#[tokio::test]
async fn the_process_can_be_told_to_end() {
    let has_quit = Arc::new(AtomicBool::new(false));
    let told = has_quit.clone();
    let proxy = Setup::new().start_with(|options| {
        options.admin = Some("127.0.0.1:0".parse().unwrap());
        options.quit = Some(Quit::new(move || told.store(true, Ordering::SeqCst)));
    });
    assert_eq!(get(&proxy, "/quitquitquit").await.0, 405);
    assert!(!has_quit.load(Ordering::SeqCst));
    assert_eq!(post(&proxy, "/quitquitquit").await.0, 200);
    assert!(has_quit.load(Ordering::SeqCst));
}

#[tokio::test]
async fn what_is_carried_is_counted_for_clusters_and_for_istio() {
    let (proxy, _backend, setup) = proxy(HANG).await;
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get("web", "/").await.0, 200);
    drop(client);
    let expected = [
        "istio_request_bytes_count",
        "istio_response_bytes_count",
        "envoy_cluster_circuit_breakers_default_remaining_cx",
        "envoy_cluster_manager_cluster_added 1",
        "envoy_listener_manager_listener_create_success 2",
        "envoy_cluster_membership_change{envoy_cluster_name=\"web/\"} 1",
        "envoy_cluster_outlier_detection_ejections_detected_consecutive_5xx",
        "envoy_server_memory_physical_size",
    ];
    soon(async {
        loop {
            let (_, metrics) = get(&proxy, "/stats/prometheus").await;
            if expected.iter().all(|it| metrics.contains(it)) {
                let sizes = metrics.lines().find(|it| it.starts_with("istio_response_bytes_sum"));
                assert!(sizes.unwrap().ends_with(" 6"), "{sizes:?}");
                return;
            }
        }
    })
    .await;
    soon(proxy.update(setup.without_listener("in").config())).await.unwrap();
    let (_, removed) = get(&proxy, "/stats?filter=listener_removed").await;
    assert_eq!(removed, "listener_manager.listener_removed: 1\n");
}
