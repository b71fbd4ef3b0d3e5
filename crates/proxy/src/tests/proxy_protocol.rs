use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use codec::proxy_protocol::{Addresses, Header, Start, Version, read, write};
use http::Response;
use proxy_config::{
    ListenerProtocol, ProxyProtocolIn, ProxyProtocolVersion, TcpListener as TcpChain,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{Backend, Client, Setup, full, raw, soon};

const REQUEST: &str = "GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n";

/// A backend that answers with `x-forwarded-for`.
async fn mirror() -> Backend {
    Backend::http1(|request| async move {
        let told = request.headers()["x-forwarded-for"].to_str().unwrap().to_owned();
        Response::new(full(told))
    })
    .await
}

fn setup(endpoint: &Backend, is_optional: bool) -> Setup {
    Setup::new()
        .listener_with("in", |listener| {
            listener.proxy_protocol = Some(ProxyProtocolIn { is_optional });
        })
        .route("web", "/", &[endpoint.address])
}

fn header(version: Version, source: &str) -> Vec<u8> {
    let source = SocketAddr::new(source.parse().unwrap(), 1000);
    let told = Addresses { source, destination: "127.0.0.1:80".parse().unwrap() };
    let mut bytes = Vec::new();
    write(version, Some(&told), &mut bytes);
    bytes
}

#[tokio::test]
async fn the_client_is_whom_the_header_tells_of() {
    let endpoint = mirror().await;
    let proxy = setup(&endpoint, false).start();
    let address = proxy.local_addr("in").unwrap();
    let mut local = Vec::new();
    write(Version::V2, None, &mut local);
    for (header, expected) in [
        (header(Version::V1, "203.0.113.9"), "203.0.113.9"),
        (header(Version::V2, "203.0.113.9"), "203.0.113.9"),
        (header(Version::V2, "2001:db8::9"), "2001:db8::9"),
        (local, "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
    ] {
        let answer = raw(address, &[&header, REQUEST.as_bytes()].concat()).await;
        assert!(answer.ends_with(&format!("\r\n\r\n{expected}")), "{answer}");
    }
}

#[tokio::test]
async fn a_header_may_come_in_pieces() {
    let endpoint = mirror().await;
    let proxy = setup(&endpoint, false).start();
    let mut stream = TcpStream::connect(proxy.local_addr("in").unwrap()).await.unwrap();
    for byte in header(Version::V2, "203.0.113.9") {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    stream.write_all(REQUEST.as_bytes()).await.unwrap();
    let answer = super::support::read_to_close(&mut stream).await;
    assert!(answer.ends_with("203.0.113.9"), "{answer}");
}

#[tokio::test]
async fn a_client_without_a_header_is_closed_unless_it_is_optional() {
    let endpoint = mirror().await;
    let proxy = setup(&endpoint, false).start_with(|options| options.workers = 1);
    let address = proxy.local_addr("in").unwrap();
    let errors = proxy.stats().listener(address, 0);
    assert_eq!(raw(address, REQUEST.as_bytes()).await, "");
    assert_eq!(raw(address, b"PROXY TCP4 nonsense\r\n").await, "");
    assert_eq!(errors.downstream_cx_proxy_proto_error.get(), 2);
    let proxy = setup(&endpoint, true).start();
    let address = proxy.local_addr("in").unwrap();
    assert!(raw(address, REQUEST.as_bytes()).await.ends_with("127.0.0.1"));
    let with = [header(Version::V1, "203.0.113.9"), REQUEST.as_bytes().to_vec()].concat();
    assert!(raw(address, &with).await.ends_with("203.0.113.9"));
    assert_eq!(raw(address, b"PROXY TCP4 nonsense\r\n").await, "");
}

/// An endpoint that answers requests after it has read a header, and the headers that it has read.
async fn introduced() -> (Backend, Arc<Mutex<Vec<Header>>>) {
    let headers = Arc::new(Mutex::new(Vec::new()));
    let note = headers.clone();
    let backend = Backend::tcp(move |mut stream| {
        let note = note.clone();
        async move {
            let mut seen = Vec::new();
            let length = loop {
                if let Start::Header { header, length } = read(&seen).unwrap() {
                    note.lock().unwrap().push(header);
                    break length;
                }
                if stream.read_buf(&mut seen).await.unwrap() == 0 {
                    return;
                }
            };
            seen.drain(..length);
            loop {
                while !seen.ends_with(b"\r\n\r\n") {
                    if stream.read_buf(&mut seen).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                seen.clear();
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                stream.write_all(answer).await.unwrap();
            }
        }
    })
    .await;
    (backend, headers)
}

#[tokio::test]
async fn endpoints_are_told_of_the_client_and_its_connection_is_its_own() {
    for (asked, version) in
        [(ProxyProtocolVersion::V1, Version::V1), (ProxyProtocolVersion::V2, Version::V2)]
    {
        let (endpoint, headers) = introduced().await;
        let setup =
            Setup::new().listener("in").route_with("*", "/", &[endpoint.address], |_, cluster| {
                cluster.proxy_protocol = Some(asked)
            });
        let proxy = setup.start_with(|options| options.workers = 1);
        let address = proxy.local_addr("in").unwrap();
        let mut sources = Vec::new();
        for _ in 0..2 {
            let stream = TcpStream::connect(address).await.unwrap();
            sources.push(stream.local_addr().unwrap());
            let mut client = Client::http1_over(stream).await;
            for _ in 0..3 {
                assert_eq!(client.get("any", "/").await, (200, "ok".to_owned()));
            }
        }
        let expected: Vec<Header> = sources
            .into_iter()
            .map(|source| Header {
                version,
                addresses: Some(Addresses { source, destination: address }),
            })
            .collect();
        assert_eq!(*headers.lock().unwrap(), expected);
    }
}

#[tokio::test]
async fn a_header_is_passed_on_with_the_bytes_of_a_tcp_connection() {
    let (endpoint, headers) = introduced().await;
    let setup = Setup::new()
        .route_with("tcp", "/", &[endpoint.address], |_, cluster| {
            cluster.proxy_protocol = Some(ProxyProtocolVersion::V2);
        })
        .listener_with("in", |listener| {
            listener.proxy_protocol = Some(ProxyProtocolIn::default());
            listener.chains[0].protocol = ListenerProtocol::Tcp(TcpChain::to("tcp/"));
        });
    let proxy = setup.start();
    let mut stream = TcpStream::connect(proxy.local_addr("in").unwrap()).await.unwrap();
    let sent = [header(Version::V1, "203.0.113.9"), REQUEST.as_bytes().to_vec()].concat();
    stream.write_all(&sent).await.unwrap();
    let mut answer = [0; 15];
    soon(stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    let told = headers.lock().unwrap()[0];
    assert_eq!(told.version, Version::V2);
    assert_eq!(told.addresses.unwrap().source, "203.0.113.9:1000".parse().unwrap());
}
