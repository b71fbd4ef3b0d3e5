use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use proxy_config::{Redirect, RouteAction};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{
    Backend, Client, Setup, access_log, channel, empty, full, lines_of, raw, soon, text,
    with_trailers,
};

#[tokio::test]
async fn requests_are_routed_by_host_and_path() {
    let web = Backend::text("web").await;
    let api = Backend::text("api").await;
    let proxy = Setup::new()
        .listener("in")
        .route("web.mesh", "/api", &[api.address])
        .route("web.mesh", "/", &[web.address])
        .action(
            "other.mesh",
            "/",
            RouteAction::Respond { status: 418, body: "short and stout".to_owned() },
        )
        .action("secure.mesh", "/", RouteAction::Redirect(Redirect::to_https(301, 443)))
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get("web.mesh", "/").await, (200, "web".to_owned()));
    assert_eq!(client.get("Web.Mesh:80", "/api/x?y").await, (200, "api".to_owned()));
    assert_eq!(client.get("other.mesh", "/").await, (418, "short and stout".to_owned()));
    let unknown = "no route for host \"nowhere.mesh\" and path \"/x\"\n".to_owned();
    assert_eq!(client.get("nowhere.mesh:80", "/x?y").await, (404, unknown));
    let request = Request::get("/a?b").header("host", "secure.mesh:8080").body(empty()).unwrap();
    let response = client.send(request).await;
    assert_eq!(response.status(), 301);
    assert_eq!(response.headers()["location"], "https://secure.mesh/a?b");
}

#[tokio::test]
async fn a_mesh_listener_says_which_name_it_does_not_know() {
    let web = Backend::text("web").await;
    let proxy = Setup::new()
        .http_listener("in", |http| http.forward_proxy = true)
        .route("web", "/a", &[web.address])
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let unknown = "no service or document is known by the name \"nope\"\n".to_owned();
    assert_eq!(client.get("Nope:80", "/").await, (404, unknown));
    let unknown = "no route for host \"web\" and path \"/b\"\n".to_owned();
    assert_eq!(client.get("web", "/b").await, (404, unknown));
}

#[tokio::test]
async fn bytes_to_and_from_endpoints_are_counted_as_on_the_wire() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let web = Backend::tcp(move |mut stream| {
        let count = count.clone();
        async move {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\nbody") {
                stream.read_buf(&mut request).await.unwrap();
            }
            count.store(request.len(), Ordering::SeqCst);
            stream.write_all(answer).await.unwrap();
        }
    })
    .await;
    let proxy = Setup::new().listener("in").route("web", "/", &[web.address]).start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let request = Request::post("/").header("host", "web").body(full("body")).unwrap();
    assert_eq!(text(client.send(request).await.into_body()).await, "ok");
    let counters = [0, 1].map(|worker| proxy.stats().cluster("web/", worker));
    let sent: u64 = counters.iter().map(|it| it.upstream_cx_tx_bytes_total.get()).sum();
    let received: u64 = counters.iter().map(|it| it.upstream_cx_rx_bytes_total.get()).sum();
    assert_eq!((sent, received), (seen.load(Ordering::SeqCst) as u64, answer.len() as u64));
}

#[tokio::test]
async fn a_cluster_without_endpoints_is_503_and_one_that_is_missing_too() {
    let mut setup = Setup::new().listener("in").route("empty", "/", &[]).route("none", "/", &[]);
    setup.0.clusters.remove("none/").unwrap();
    let proxy = setup.start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get("empty", "/").await, (503, "no healthy upstream".to_owned()));
    assert_eq!(client.get("none", "/").await.0, 503);
}

#[tokio::test]
async fn connections_to_an_endpoint_are_used_again() {
    let web = Backend::text("web").await;
    let proxy = Setup::new()
        .listener("in")
        .route("web", "/", &[web.address])
        .start_with(|options| options.workers = 1);
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    for _ in 0..20 {
        assert_eq!(client.get("web", "/").await.0, 200);
    }
    assert_eq!(web.connections(), 1);
}

#[tokio::test]
async fn an_endpoint_sees_who_asked_and_no_hop_by_hop_fields() {
    let web = Backend::http1(|request| async move {
        let headers: Vec<String> = request
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        Response::builder()
            .header("connection", "x-hop")
            .header("x-hop", "1")
            .header("keep-alive", "timeout=5")
            .body(full(headers.join("\n")))
            .unwrap()
    })
    .await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[web.address], |forward, _| {
            forward.timing_headers = true;
            forward.request_id_in_response = true;
        })
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let request = Request::get("/")
        .header("host", "web")
        .header("connection", "keep-alive, x-secret")
        .header("x-secret", "1")
        .header("x-forwarded-for", "9.9.9.9")
        .header("x-forwarded-proto", "https")
        .header("x-envoy-internal", "true")
        .header("x-forwarded-client-cert", "By=admin")
        .body(empty())
        .unwrap();
    let response = client.send(request).await;
    let headers = response.headers().clone();
    assert!(!headers.contains_key("x-hop") && !headers.contains_key("keep-alive"));
    assert!(headers["x-envoy-upstream-service-time"].to_str().unwrap().parse::<u64>().is_ok());
    let id = headers["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(id.len(), 36);
    let seen = text(response.into_body()).await;
    assert!(seen.contains("x-forwarded-for: 9.9.9.9, 127.0.0.1"), "{seen}");
    assert!(seen.contains("x-forwarded-proto: http\n"), "{seen}");
    assert!(!seen.contains("x-envoy-") && !seen.contains("client-cert"), "{seen}");
    assert!(seen.contains(&format!("x-request-id: {id}")), "{seen}");
    assert!(!seen.contains("x-secret") && !seen.contains("connection"), "{seen}");
}

#[tokio::test]
async fn a_large_body_is_streamed_both_ways() {
    let echo = Backend::http1(|request| async move {
        Response::new(request.into_body().map_err(|_| unreachable!()).boxed())
    })
    .await;
    let proxy = Setup::new().listener("in").route("echo", "/", &[echo.address]).start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    // The echo starts to answer before it has read all: neither side can be buffered whole.
    let (sender, body) = channel();
    let request = Request::post("/").header("host", "echo").body(body).unwrap();
    let chunk = bytes::Bytes::from(vec![b'x'; 64 * 1024]);
    sender.send(Frame::data(chunk.clone())).await.unwrap();
    let mut response = client.send(request).await.into_body();
    let mut received = 0;
    for sent in 1..=16 {
        while received < sent * chunk.len() {
            let frame = soon(response.frame()).await.unwrap().unwrap();
            received += frame.into_data().unwrap().len();
        }
        if sent < 16 {
            sender.send(Frame::data(chunk.clone())).await.unwrap();
        }
    }
    drop(sender);
    assert!(soon(response.frame()).await.is_none());
    assert_eq!(received, 1 << 20);
    // And one with a length.
    let request =
        Request::post("/").header("host", "echo").body(full(vec![b'y'; 1 << 20])).unwrap();
    assert_eq!(text(client.send(request).await.into_body()).await.len(), 1 << 20);
}

#[tokio::test]
async fn trailers_are_passed_on_both_ways() {
    let echo = Backend::http1(|request| async move {
        let collected = request.into_body().collect().await.unwrap();
        let trailers = collected.trailers().cloned().unwrap_or_default();
        Response::builder()
            .header("trailer", "x-sum")
            .body(with_trailers("body", trailers))
            .unwrap()
    })
    .await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("echo", "/", &[echo.address], |forward, _| forward.timing_trailer = true)
        .start();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("42"));
    let request = Request::post("/")
        .header("host", "echo")
        .header("te", "trailers")
        .header("trailer", "x-sum")
        .body(with_trailers("ask", trailers))
        .unwrap();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let response = client.send(request).await;
    let announced: Vec<_> = response.headers().get_all("trailer").iter().collect();
    assert_eq!(announced, ["x-sum", "x-envoy-upstream-service-time"]);
    let collected = soon(response.into_body().collect()).await.unwrap();
    let trailers = collected.trailers().unwrap();
    assert_eq!(trailers["x-sum"], "42");
    assert!(trailers["x-envoy-upstream-service-time"].to_str().unwrap().parse::<u64>().is_ok());
}

#[tokio::test]
async fn the_timing_trailer_comes_only_to_those_who_want_trailers() {
    let web = Backend::text("web").await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[web.address], |forward, _| forward.timing_trailer = true)
        .start();
    let address = proxy.local_addr("in").unwrap();
    let with = "GET / HTTP/1.1\r\nhost: web\r\nte: trailers\r\nconnection: close\r\n\r\n";
    let answer = raw(address, with.as_bytes()).await;
    assert!(answer.contains("transfer-encoding: chunked"), "{answer}");
    assert!(answer.contains("0\r\nx-envoy-upstream-service-time: "), "{answer}");
    let without = "GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n";
    let answer = raw(address, without.as_bytes()).await;
    assert!(answer.contains("content-length: 3"), "{answer}");
    assert!(!answer.contains("x-envoy-upstream-service-time"), "{answer}");
}

#[tokio::test]
async fn a_head_request_keeps_the_length_and_the_connection() {
    let web = Backend::text("web").await;
    let proxy = Setup::new().listener("in").route("web", "/", &[web.address]).start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    for _ in 0..2 {
        let request = Request::head("/").header("host", "web").body(empty()).unwrap();
        let response = client.send(request).await;
        assert_eq!(response.headers()["content-length"], "3");
        assert_eq!(text(response.into_body()).await, "");
    }
    assert_eq!(client.get("web", "/").await, (200, "web".to_owned()));
}

#[tokio::test]
async fn counters_and_the_access_log_tell_of_every_request() {
    let web = Backend::text("web").await;
    let (log, path) = access_log("access");
    let proxy =
        Setup::new().listener("in").route("web", "/", &[web.address]).start_with(|options| {
            options.access_log = Some(log);
            options.admin = Some("127.0.0.1:0".parse().unwrap());
        });
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get("web", "/seen?q").await.0, 200);
    assert_eq!(client.get("nowhere", "/").await.0, 404);
    let mut admin = Client::http1(proxy.admin_addr().unwrap()).await;
    let (status, stats) = admin.get("admin", "/stats").await;
    assert_eq!(status, 200);
    for line in [
        "cluster.web/.upstream_rq_200: 1",
        "cluster.web/.upstream_cx_total: 1",
        "http.in.downstream_rq_2xx: 1",
        "http.in.no_route: 1",
        "http.in.downstream_rq_active: 0",
        "cluster.web/.upstream_rq_active: 0",
    ] {
        assert!(stats.contains(line), "{line} is not in\n{stats}");
    }
    assert_eq!(soon(proxy.drain(super::support::HANG)).await, 0);
    drop(proxy);
    let lines = lines_of(&path, 2).await;
    assert!(lines.contains("\"GET /seen?q HTTP/1.1\" 200 - 0 3 "), "{lines}");
    assert!(lines.contains(&format!("\"web\" \"{}\"", web.address)), "{lines}");
    assert!(lines.contains(" 404 NR "), "{lines}");
}
