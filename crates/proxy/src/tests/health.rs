use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use proxy_config::{HealthCheck, HealthProbe, OutlierDetection, TlsClient, ValueMatch};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use traffic::CheckedHealth;

use super::support::{
    Authority, Backend, Client, HANG, Refusing, Setup, full, soon, tls_backend, with_trailers,
};
use crate::ProxyHandle;
use crate::stats::ServerState;

/// A check that comes again at once, and believes at once.
fn check(probe: HealthProbe) -> HealthCheck {
    HealthCheck {
        probe,
        timeout: HANG,
        interval: Duration::from_millis(5),
        interval_jitter: Duration::ZERO,
        no_traffic_interval: Duration::from_millis(5),
        unhealthy_interval: None,
        unhealthy_edge_interval: None,
        healthy_edge_interval: None,
        unhealthy_threshold: 1,
        healthy_threshold: 1,
        new_connection_each: false,
    }
}

fn http(http2: bool) -> HealthProbe {
    HealthProbe::Http {
        host: String::new(),
        path: "/health".to_owned(),
        method: String::new(),
        expected: Vec::new(),
        retriable: Vec::new(),
        http2,
        headers: vec![("x-probe".to_owned(), "yes".to_owned())],
        service: None,
    }
}

/// A proxy with the cluster `web/` that is checked.
fn setup(address: std::net::SocketAddr, check: HealthCheck) -> Setup {
    Setup::new().listener("in").route_with("web", "/", &[address], |_, cluster| {
        cluster.health_checks = vec![check];
        cluster.outliers = OutlierDetection::off();
        // With one endpoint that is unhealthy, panic would send it requests.
        cluster.narrowing.panic_threshold_percent = 0;
    })
}

fn health(proxy: &ProxyHandle) -> CheckedHealth {
    proxy.with_admin_view(|view| {
        view.clusters["web/"].endpoints().next().unwrap().1.check().health()
    })
}

async fn until(proxy: &ProxyHandle, wanted: CheckedHealth) {
    soon(async {
        while health(proxy) != wanted {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn stat(proxy: &ProxyHandle, name: &str) -> u64 {
    let query = format!("filter=^{name}$");
    let (get, path) = (http::Method::GET, "/stats");
    let answer = proxy
        .with_admin_view(|view| crate::admin::respond(&get, path, Some(&query), view))
        .into_body();
    let text = String::from_utf8(answer.to_vec()).unwrap();
    text.trim().rsplit_once(": ").unwrap_or_else(|| panic!("no {name}")).1.parse().unwrap()
}

/// An endpoint whose answers to probes have the status of the moment; everything else is well.
async fn moody(http2: bool) -> (Backend, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let of_moment = status.clone();
    let answer = move |request: Request<hyper::body::Incoming>| {
        let status = of_moment.clone();
        async move {
            let is_probe = request.uri().path() == "/health";
            if is_probe {
                assert_eq!(request.headers()["x-probe"], "yes");
                assert_eq!(request.headers()["user-agent"], "Envoy/HC");
                let host = request.uri().authority().map(|it| it.as_str().to_owned());
                let host =
                    host.unwrap_or_else(|| request.headers()["host"].to_str().unwrap().to_owned());
                assert_eq!(host, "shop.test");
            }
            let status = if is_probe { status.load(Ordering::SeqCst) } else { 200 };
            Response::builder().status(status).body(full("ok")).unwrap()
        }
    };
    let backend = if http2 { Backend::http2(answer).await } else { Backend::http1(answer).await };
    (backend, status)
}

fn called(host: &str, probe: HealthProbe) -> HealthProbe {
    match probe {
        HealthProbe::Http {
            path, method, expected, retriable, http2, headers, service, ..
        } => {
            let host = host.to_owned();
            HealthProbe::Http { host, path, method, expected, retriable, http2, headers, service }
        }
        other => other,
    }
}

#[tokio::test]
async fn an_endpoint_leaves_and_comes_back_as_its_probes_say() {
    for http2 in [false, true] {
        let (backend, status) = moody(http2).await;
        let probe = called("shop.test", http(http2));
        let proxy = setup(backend.address, check(probe)).start();
        soon(proxy.warmed()).await;
        until(&proxy, CheckedHealth::Healthy).await;
        status.store(503, Ordering::SeqCst);
        until(&proxy, CheckedHealth::Unhealthy).await;
        let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
        if !http2 {
            let (status, body) = client.get("web", "/").await;
            assert_eq!((status, body.as_str()), (503, "no healthy upstream"));
        }
        status.store(200, Ordering::SeqCst);
        until(&proxy, CheckedHealth::Healthy).await;
        if !http2 {
            assert_eq!(client.get("web", "/").await.0, 200);
        }
        let counted = |name: &str| stat(&proxy, &format!("cluster.web/.health_check.{name}"));
        assert!(counted("attempt") >= 3 && counted("success") >= 2 && counted("failure") >= 1);
        assert_eq!((counted("network_failure"), counted("healthy")), (0, 1));
        // One for the probes, one at most for the request.
        assert!(backend.connections() <= 2, "{}", backend.connections());
    }
}

#[tokio::test]
async fn each_probe_has_a_connection_of_its_own_where_that_is_asked_for() {
    let (backend, _) = moody(false).await;
    let probe = called("shop.test", http(false));
    let check = HealthCheck { new_connection_each: true, ..check(probe) };
    let _proxy = setup(backend.address, check).start();
    soon(async {
        while backend.connections() < 4 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_answer_is_judged_by_its_service_and_its_wish_to_be_spared() {
    let degraded = Backend::http1(|_| async {
        Response::builder().header("x-envoy-degraded", "true").body(full("")).unwrap()
    })
    .await;
    let proxy = setup(degraded.address, check(http(false))).start();
    until(&proxy, CheckedHealth::Degraded).await;
    let stranger = Backend::http1(|_| async {
        let name = "x-envoy-upstream-healthchecked-cluster";
        Response::builder().header(name, "stock").body(full("")).unwrap()
    })
    .await;
    let HealthProbe::Http { host, path, method, expected, retriable, http2, headers, .. } =
        http(false)
    else {
        unreachable!()
    };
    let service = Some(ValueMatch::exact("shop"));
    let probe =
        HealthProbe::Http { host, path, method, expected, retriable, http2, headers, service };
    let proxy = setup(stranger.address, check(probe)).start();
    until(&proxy, CheckedHealth::Unhealthy).await;
}

/// Reads what comes, and answers with this.
async fn bytes(answer: &'static [u8]) -> Backend {
    Backend::tcp(move |mut stream| async move {
        let mut read = [0; 64];
        while let Ok(1..) = stream.read(&mut read).await {
            if stream.write_all(answer).await.is_err() {
                return;
            }
        }
    })
    .await
}

#[tokio::test]
async fn bytes_are_sent_and_waited_for() {
    let probe = |send: &[u8], receive: &[&[u8]]| HealthProbe::Tcp {
        send: send.to_vec(),
        receive: receive.iter().map(|it| it.to_vec()).collect(),
    };
    let pong = bytes(b"+PONG\r\n").await;
    let proxy = setup(pong.address, check(probe(b"PING\r\n", &[b"PO", b"NG"]))).start();
    until(&proxy, CheckedHealth::Healthy).await;
    let silent = bytes(b"+LOADING\r\n").await;
    let impatient =
        HealthCheck { timeout: Duration::from_millis(50), ..check(probe(b"PING\r\n", &[b"PONG"])) };
    let proxy = setup(silent.address, impatient).start();
    until(&proxy, CheckedHealth::Unhealthy).await;
    assert!(stat(&proxy, "cluster.web/.health_check.network_failure") >= 1);
    let refusing = Refusing::new();
    let proxy = setup(refusing.address, check(probe(b"", &[]))).start();
    until(&proxy, CheckedHealth::Unhealthy).await;
}

#[tokio::test]
async fn grpc_endpoints_are_asked_for_a_service() {
    let serving = Arc::new(AtomicUsize::new(1));
    let status = serving.clone();
    let backend = Backend::http2(move |request| {
        let status = status.clone();
        async move {
            use http_body_util::BodyExt;
            assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
            assert_eq!(request.headers()["content-type"], "application/grpc");
            let message = request.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(&message[..], b"\0\0\0\0\x06\x0a\x04shop");
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            let body = match status.load(Ordering::SeqCst) {
                1 => with_trailers("\0\0\0\0\x02\x08\x01", trailers),
                _ => with_trailers("\0\0\0\0\x02\x08\x02", trailers),
            };
            Response::builder().header("content-type", "application/grpc").body(body).unwrap()
        }
    })
    .await;
    let probe = HealthProbe::Grpc { service: "shop".to_owned(), authority: String::new() };
    let proxy = setup(backend.address, check(probe)).start();
    until(&proxy, CheckedHealth::Healthy).await;
    serving.store(2, Ordering::SeqCst);
    until(&proxy, CheckedHealth::Unhealthy).await;
    serving.store(1, Ordering::SeqCst);
    until(&proxy, CheckedHealth::Healthy).await;
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn probes_speak_tls_where_requests_do() {
    let authority = Authority::new();
    let secret = authority.issue("backend", &["web.test"]);
    let backend = tls_backend(&secret, None, &["http/1.1"], |stream| async move {
        let answer = hyper::service::service_fn(|_| async {
            Ok::<_, std::convert::Infallible>(Response::new(full("")))
        });
        let stream = hyper_util::rt::TokioIo::new(stream);
        let builder = hyper::server::conn::http1::Builder::new();
        let _ = builder.serve_connection(stream, answer).await;
    })
    .await;
    let mut setup = setup(backend.address, check(http(false)));
    let tls = |trust: &str| TlsClient {
        server_name: "web.test".to_owned(),
        trust: Some(trust.to_owned()),
        ..TlsClient::default()
    };
    for (name, trust) in
        [("right", authority.trust("right")), ("wrong", Authority::new().trust("wrong"))]
    {
        setup.0.secrets.insert(name.to_owned(), Arc::new(trust));
    }
    let with = |mut setup: Setup, trust: &str| {
        let mut cluster = (*setup.0.clusters["web/"]).clone();
        cluster.tls = Some(tls(trust));
        setup.0.clusters.insert("web/".to_owned(), Arc::new(cluster));
        setup
    };
    let setup = with(setup, "right");
    let proxy = setup.start();
    until(&proxy, CheckedHealth::Healthy).await;
    let setup = with(setup, "wrong");
    soon(proxy.update(setup.config())).await.unwrap();
    until(&proxy, CheckedHealth::Unhealthy).await;
}

#[tokio::test]
async fn another_port_is_probed_where_the_endpoint_says_so() {
    let (probed, _) = moody(false).await;
    let refusing = Refusing::new();
    let mut setup = setup(refusing.address, check(http(false)));
    let mut endpoints = (*setup.0.endpoints["web/"]).clone();
    endpoints.endpoints[0].health_check_port = Some(probed.address.port());
    endpoints.endpoints[0].hostname = "shop.test".to_owned();
    setup.0.endpoints.insert("web/".to_owned(), Arc::new(endpoints));
    let proxy = setup.start();
    until(&proxy, CheckedHealth::Healthy).await;
}

#[tokio::test]
async fn connections_wait_for_the_first_round_of_checks() {
    let answer = Arc::new(Notify::new());
    let wait = answer.clone();
    let asked = Arc::new(Notify::new());
    let on_asked = asked.clone();
    let backend = Backend::http1(move |request| {
        let (wait, asked) = (wait.clone(), on_asked.clone());
        async move {
            if request.uri().path() == "/health" {
                asked.notify_one();
                wait.notified().await;
            }
            Response::new(full("served"))
        }
    })
    .await;
    let slow = HealthCheck { interval: HANG, no_traffic_interval: HANG, ..check(http(false)) };
    let setup = setup(backend.address, slow);
    let proxy = setup.start();
    let address = proxy.local_addr("in").unwrap();
    soon(asked.notified()).await;
    assert_eq!(health(&proxy), CheckedHealth::Pending);
    assert!(proxy.with_admin_view(|view| view.state == ServerState::Initializing));
    assert!(proxy.with_admin_view(|view| view.warming.contains("web/")));
    let early = tokio::spawn(async move { Client::http1(address).await.get("web", "/").await });
    // A change that comes meanwhile is taken afterwards.
    let handle = proxy.clone();
    let config = setup.listener("more").config();
    let updated = tokio::spawn(async move { handle.update(config).await });
    answer.notify_one();
    assert!(soon(proxy.warmed()).await);
    assert_eq!(soon(early).await.unwrap(), (200, "served".to_owned()));
    assert!(soon(updated).await.unwrap().unwrap().is_empty());
    assert!(proxy.local_addr("more").is_some());
    assert!(proxy.with_admin_view(|view| view.state == ServerState::Live));
}

#[tokio::test]
async fn a_cluster_that_is_new_is_checked_before_a_request_can_go_there() {
    let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (on_asked, on_answer) = (asked.clone(), answer.clone());
    let backend = Backend::http1(move |request| {
        let (asked, answer) = (on_asked.clone(), on_answer.clone());
        async move {
            if request.uri().path() == "/health" {
                asked.notify_one();
                answer.notified().await;
            }
            Response::new(full("new"))
        }
    })
    .await;
    let old = Backend::text("old").await;
    let before = Setup::new().listener("in").route("*", "/", &[old.address]);
    let proxy = before.start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let slow = HealthCheck { interval: HANG, no_traffic_interval: HANG, ..check(http(false)) };
    let config = setup(backend.address, slow).config();
    let handle = proxy.clone();
    let updated = tokio::spawn(async move { handle.update(config).await });
    soon(asked.notified()).await;
    assert_eq!(client.get("web", "/").await, (200, "old".to_owned()));
    assert!(!updated.is_finished());
    answer.notify_one();
    assert!(soon(updated).await.unwrap().unwrap().is_empty());
    assert_eq!(client.get("web", "/").await, (200, "new".to_owned()));
}

#[tokio::test]
async fn a_check_without_an_answer_does_not_hold_the_proxy_for_ever() {
    let silent = Backend::tcp(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let impatient = HealthCheck { timeout: Duration::from_millis(50), ..check(http(false)) };
    let proxy = setup(silent.address, impatient).start();
    assert!(soon(proxy.warmed()).await);
    until(&proxy, CheckedHealth::Unhealthy).await;
}

#[tokio::test]
async fn an_answer_to_a_client_can_take_the_endpoint_out() {
    let backend = Backend::http1(|request| async move {
        let mut response = Response::new(full("last"));
        if request.uri().path() != "/health" {
            let name = "x-envoy-immediate-health-check-fail";
            response.headers_mut().insert(name, "true".parse().unwrap());
        }
        response
    })
    .await;
    let seldom = HealthCheck { interval: HANG, no_traffic_interval: HANG, ..check(http(false)) };
    let proxy = setup(backend.address, seldom).start();
    soon(proxy.warmed()).await;
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get("web", "/").await, (200, "last".to_owned()));
    assert_eq!(health(&proxy), CheckedHealth::Unhealthy);
    assert_eq!(client.get("web", "/").await.0, 503);
    assert_eq!(stat(&proxy, "cluster.web/.health_check.passive_failure"), 1);
}

#[tokio::test]
async fn probes_end_with_their_endpoint() {
    let (gone, _) = moody(false).await;
    let (stays, _) = moody(false).await;
    let probe = called("shop.test", http(false));
    let each = HealthCheck { new_connection_each: true, ..check(probe) };
    let setup = setup(gone.address, each).endpoints("web/", &[gone.address, stays.address]);
    let proxy = setup.start();
    soon(proxy.warmed()).await;
    let setup = setup.endpoints("web/", &[stays.address]);
    soon(proxy.update(setup.config())).await.unwrap();
    let (of_gone, of_stays) = (gone.connections(), stays.connections());
    soon(async {
        while stays.connections() < of_stays + 5 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // One may have been on its way.
    assert!(gone.connections() <= of_gone + 1);
    assert_eq!(stat(&proxy, "cluster.web/.membership_change"), 2);
}

#[tokio::test]
async fn of_many_endpoints_no_more_are_probed_at_once_than_there_are_places() {
    let (under_way, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let (count, highest, wait) = (under_way.clone(), most.clone(), gate.clone());
    let backend = Backend::http1(move |_| {
        let (count, highest, wait) = (count.clone(), highest.clone(), wait.clone());
        async move {
            highest.fetch_max(count.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let _passed = wait.acquire().await;
            count.fetch_sub(1, Ordering::SeqCst);
            Response::new(full(""))
        }
    })
    .await;
    let seldom = HealthCheck { interval: HANG, no_traffic_interval: HANG, ..check(http(false)) };
    let mut setup = setup(backend.address, seldom);
    let mut endpoints = (*setup.0.endpoints["web/"]).clone();
    let one = endpoints.endpoints[0].clone();
    endpoints.endpoints = (0..300)
        .map(|nth| proxy_config::Endpoint { id: format!("node/{nth}"), ..one.clone() })
        .collect();
    setup.0.endpoints.insert("web/".to_owned(), Arc::new(endpoints));
    let proxy = setup.start();
    soon(async {
        while under_way.load(Ordering::SeqCst) < 256 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    gate.add_permits(256);
    assert!(soon(proxy.warmed()).await);
    assert_eq!(most.load(Ordering::SeqCst), 256);
    assert_eq!(stat(&proxy, "cluster.web/.membership_healthy"), 300);
}
