use std::net::SocketAddr;

use http::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use proxy_config::{Cluster, ListenerProtocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{Backend, Client, Refusing, Setup, empty, raw, soon, text};

async fn echo() -> Backend {
    Backend::tcp(|mut stream| async move {
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
        let _ = write.shutdown().await;
    })
    .await
}

#[tokio::test]
async fn a_websocket_upgrade_becomes_a_tunnel() {
    let web = Backend::http1(|mut request| async move {
        assert_eq!(request.headers()["upgrade"], "websocket");
        assert_eq!(request.headers()["connection"], "upgrade");
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgrade.await.unwrap());
            let mut word = [0; 4];
            stream.read_exact(&mut word).await.unwrap();
            stream.write_all(&word).await.unwrap();
            stream.shutdown().await.unwrap();
        });
        Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-accept", "x")
            .body(empty())
            .unwrap()
    })
    .await;
    let proxy = Setup::new().listener("in").route("web", "/", &[web.address]).start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let request = Request::get("/")
        .header("host", "web")
        .header("connection", "keep-alive, Upgrade")
        .header("upgrade", "websocket")
        .body(empty())
        .unwrap();
    let mut response = client.send(request).await;
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["upgrade"], "websocket");
    assert_eq!(response.headers()["sec-websocket-accept"], "x");
    let mut stream = TokioIo::new(soon(hyper::upgrade::on(&mut response)).await.unwrap());
    stream.write_all(b"ping").await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, "ping");
}

#[tokio::test]
async fn an_upgrade_that_the_endpoint_declines_is_an_ordinary_response() {
    let web = Backend::text("no").await;
    let proxy = Setup::new().listener("in").route("web", "/", &[web.address]).start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let request = Request::get("/")
        .header("host", "web")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .body(empty())
        .unwrap();
    let response = client.send(request).await;
    assert_eq!(response.status(), 200);
    assert_eq!(text(response.into_body()).await, "no");
    assert_eq!(client.get("web", "/").await.0, 200);
}

#[tokio::test]
async fn a_forward_proxy_takes_connect_and_absolute_form() {
    let web = Backend::text("web").await;
    let echo = echo().await;
    let dead = Refusing::new();
    let proxy = Setup::new()
        .http_listener("out", |http| http.forward_proxy = true)
        .listener("in")
        .route("web.mesh", "/", &[web.address])
        .route("echo.mesh", "/", &[echo.address])
        .route("dead.mesh", "/", &[dead.address])
        .start();
    let out = proxy.local_addr("out").unwrap();
    let absolute = b"GET http://web.mesh/x HTTP/1.1\r\nhost: other\r\nconnection: close\r\n\r\n";
    let answer = raw(out, absolute).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("web"), "{answer}");

    let mut stream = TcpStream::connect(out).await.unwrap();
    stream.write_all(b"CONNECT echo.mesh:443 HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut head = vec![0; 1024];
    let read = soon(stream.read(&mut head)).await.unwrap();
    let head = String::from_utf8_lossy(&head[..read]).into_owned();
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.ends_with("\r\n\r\n"), "{head}");
    stream.write_all(b"through the tunnel").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut echoed = String::new();
    soon(stream.read_to_string(&mut echoed)).await.unwrap();
    assert_eq!(echoed, "through the tunnel");

    for (listener, host, expected) in [
        ("out", "nowhere.mesh", "HTTP/1.1 404"),
        ("out", "dead.mesh", "HTTP/1.1 502"),
        ("in", "echo.mesh", "HTTP/1.1 404"),
    ] {
        let request =
            format!("CONNECT {host}:443 HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let answer = raw(proxy.local_addr(listener).unwrap(), request.as_bytes()).await;
        assert!(answer.starts_with(expected), "{host}: {answer}");
    }
}

#[tokio::test]
async fn a_tcp_listener_passes_bytes_and_half_closes() {
    let echo = echo().await;
    let setup = tcp_setup(&[echo.address]);
    let proxy = setup.start();
    let mut stream = TcpStream::connect(proxy.local_addr("tcp").unwrap()).await.unwrap();
    let sent = vec![b'z'; 1 << 20];
    let (mut read, mut write) = stream.split();
    let mut received = Vec::new();
    soon(async {
        let send = async {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        };
        tokio::join!(send, read.read_to_end(&mut received)).1.unwrap();
    })
    .await;
    assert_eq!(received.len(), sent.len());
}

#[tokio::test]
async fn a_tcp_connection_goes_to_another_endpoint_when_one_refuses() {
    let echo = echo().await;
    let dead = Refusing::new();
    let proxy = tcp_setup(&[dead.address, echo.address]).start();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(proxy.local_addr("tcp").unwrap()).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        soon(stream.read_to_string(&mut answer)).await.unwrap();
        assert_eq!(answer, "hello");
    }
}

#[tokio::test]
async fn a_tunnel_counts_as_a_connection_until_it_ends() {
    let echo = echo().await;
    let proxy = Setup::new()
        .listener_with("out", |listener| {
            listener.connections_max = 1;
            if let ListenerProtocol::Http(http) = &mut listener.chains[0].protocol {
                http.forward_proxy = true;
            }
        })
        .route("echo.mesh", "/", &[echo.address])
        .start_with(|options| options.workers = 1);
    let address = proxy.local_addr("out").unwrap();
    let counters = proxy.stats().listener(address, 0);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"CONNECT echo.mesh:80 HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let head = b"HTTP/1.1 200 OK\r\n";
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        soon(stream.read_buf(&mut read)).await.unwrap();
    }
    assert!(read.starts_with(head));
    let second = tokio::spawn(async move {
        raw(address, b"GET / HTTP/1.1\r\nhost: nowhere\r\nconnection: close\r\n\r\n").await
    });
    let mut word = [0; 4];
    soon(async {
        while counters.downstream_cx_overflow.get() == 0 {
            stream.write_all(b"ping").await.unwrap();
            stream.read_exact(&mut word).await.unwrap();
        }
    })
    .await;
    assert_eq!(counters.downstream_cx_active.get(), 1);
    assert!(!second.is_finished());
    drop(stream);
    assert!(soon(second).await.unwrap().starts_with("HTTP/1.1 404"));
}

fn tcp_setup(endpoints: &[SocketAddr]) -> Setup {
    let mut cluster: Option<Cluster> = None;
    let mut setup = Setup::new().route_with("tcp", "/", endpoints, |_, it| {
        cluster = Some(it.clone());
    });
    let name = cluster.unwrap().name;
    setup = setup.listener_with("tcp", |listener| {
        listener.chains[0].protocol = ListenerProtocol::Tcp(proxy_config::TcpListener::to(&name));
    });
    setup
}
