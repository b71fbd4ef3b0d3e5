use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Request, Response, Version};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proxy_config::{
    Cluster, ListenerProtocol, Secret, TcpListener as TcpChain, TlsClient, UpstreamProtocol,
    ValueMatch,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{
    Authority, Backend, Client, Setup, access_log, full, lines_of, soon, tls_backend,
};

type Stream = tokio_rustls::server::TlsStream<TcpStream>;

/// Answers with the version of HTTP.
async fn answer(stream: Stream) {
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(|request: Request<hyper::body::Incoming>| async move {
        let version = if request.version() == Version::HTTP_2 { "h2" } else { "h1" };
        Ok::<_, Infallible>(Response::new(full(version)))
    });
    let stream = TokioIo::new(stream);
    if is_http2 {
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = builder.serve_connection(stream, service).await;
    } else {
        let builder = hyper::server::conn::http1::Builder::new();
        let _ = builder.serve_connection(stream, service).await;
    }
}

fn setup(
    endpoint: &Backend,
    secrets: Vec<Secret>,
    tls: TlsClient,
    change: impl FnOnce(&mut Cluster),
) -> Setup {
    let mut setup =
        Setup::new().listener("in").route_with("*", "/", &[endpoint.address], |_, cluster| {
            cluster.tls = Some(tls);
            change(cluster);
        });
    for secret in secrets {
        setup.0.secrets.insert(secret.name.clone(), Arc::new(secret));
    }
    setup
}

fn trusting(name: &str) -> TlsClient {
    let (server_name, trust) = (name.to_owned(), Some("trust".to_owned()));
    TlsClient { server_name, trust, ..TlsClient::default() }
}

async fn get(setup: &Setup, host: &str) -> (u16, String) {
    let proxy = setup.start();
    Client::http1(proxy.local_addr("in").unwrap()).await.get(host, "/").await
}

#[tokio::test]
async fn an_endpoint_must_have_a_certificate_that_is_trusted_and_for_its_name() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let own = authority.issue("endpoint", &["web.example.com", "spiffe://mesh/web"]);
    let endpoint = tls_backend(&own, None, &[], answer).await;
    let trust = |who: &Authority| vec![who.trust("trust")];
    let of = |secrets, tls| setup(&endpoint, secrets, tls, |_| {});
    let named = |name: &str, wanted: &str| TlsClient {
        names: vec![ValueMatch::exact(wanted)],
        ..trusting(name)
    };
    for (what, setup, expected) in [
        ("verified", of(trust(&authority), trusting("web.example.com")), 200),
        ("another authority", of(trust(&stranger), trusting("web.example.com")), 503),
        ("another name", of(trust(&authority), trusting("db.example.com")), 503),
        (
            "one of the names",
            of(trust(&authority), named("x.example.com", "spiffe://mesh/web")),
            200,
        ),
        ("none of the names", of(trust(&authority), named("web.example.com", "spiffe://db")), 503),
        ("no name is sent", of(trust(&authority), trusting("")), 200),
        ("nothing is verified", of(Vec::new(), TlsClient::default()), 200),
        ("the trust is missing", of(Vec::new(), trusting("web.example.com")), 503),
    ] {
        assert_eq!(get(&setup, "any").await.0, expected, "{what}");
    }
}

#[tokio::test]
async fn a_spiffe_certificate_without_a_host_name_is_fine() {
    let authority = Authority::new();
    let own = authority.issue("endpoint", &["spiffe://mesh/web"]);
    let endpoint = tls_backend(&own, None, &[], answer).await;
    let tls = TlsClient { names: vec![ValueMatch::exact("spiffe://mesh/web")], ..trusting("") };
    let setup = setup(&endpoint, vec![authority.trust("trust")], tls, |_| {});
    assert_eq!(get(&setup, "any").await, (200, "h1".to_owned()));
}

#[tokio::test]
async fn a_failed_handshake_is_counted_and_flagged() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let own = authority.issue("endpoint", &["web.example.com"]);
    let endpoint = tls_backend(&own, None, &[], answer).await;
    let secrets = vec![stranger.trust("trust")];
    let setup = setup(&endpoint, secrets, trusting("web.example.com"), |_| {});
    let (target, path) = access_log("upstream-tls");
    let proxy = setup.start_with(|options| {
        options.workers = 1;
        options.access_log = Some(target);
    });
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get("any", "/").await.0, 503);
    let counters = proxy.stats().cluster("*/", 0);
    assert!(counters.ssl_connection_error.get() >= 1);
    assert_eq!(counters.ssl_connection_error.get(), counters.upstream_cx_connect_fail.get());
    assert_eq!(counters.ssl_handshake.get(), 0);
    let line = lines_of(&path, 1).await;
    assert!(line.contains(" 503 UF"), "{line}");
}

#[tokio::test]
async fn the_endpoint_chooses_the_version_of_http() {
    let authority = Authority::new();
    let own = authority.issue("endpoint", &["web.example.com"]);
    for (offered, protocol, expected) in [
        (&["h2", "http/1.1"][..], UpstreamProtocol::Alpn, "h2"),
        (&["http/1.1"], UpstreamProtocol::Alpn, "h1"),
        (&[], UpstreamProtocol::Alpn, "h1"),
        (&["h2", "http/1.1"], UpstreamProtocol::Http1, "h1"),
        (&["h2", "http/1.1"], UpstreamProtocol::Http2, "h2"),
    ] {
        let endpoint = tls_backend(&own, None, offered, answer).await;
        let secrets = vec![authority.trust("trust")];
        let setup = setup(&endpoint, secrets, trusting("web.example.com"), |cluster| {
            cluster.protocol = protocol;
        });
        let proxy = setup.start_with(|options| options.workers = 1);
        let address = proxy.local_addr("in").unwrap();
        let expected = (200, expected.to_owned());
        let mut first = Client::http1(address).await;
        assert_eq!(first.get("any", "/").await, expected, "{offered:?} {protocol:?}");
        assert_eq!(first.get("any", "/").await, expected);
        assert_eq!(Client::http2(address).await.get("any", "/").await, expected);
        assert_eq!(endpoint.connections(), 1, "{offered:?} {protocol:?}");
    }
}

#[tokio::test]
async fn an_endpoint_is_shown_the_certificate_that_it_asks_for() {
    let authority = Authority::new();
    let own = authority.issue("endpoint", &["web.example.com"]);
    let endpoint = tls_backend(&own, Some(&authority), &[], answer).await;
    let secrets =
        || vec![authority.trust("trust"), authority.issue("shown", &["spiffe://mesh/me"])];
    let tls = trusting("web.example.com");
    let with = TlsClient { certificate: Some("shown".to_owned()), ..tls.clone() };
    assert_eq!(get(&setup(&endpoint, secrets(), with, |_| {}), "any").await.0, 200);
    assert_ne!(get(&setup(&endpoint, secrets(), tls, |_| {}), "any").await.0, 200);
}

#[tokio::test]
async fn the_host_of_the_request_is_the_server_name_and_connections_are_kept_apart_by_it() {
    let authority = Authority::new();
    let own = authority.issue("endpoint", &["*.example.com"]);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let note = asked.clone();
    let endpoint = tls_backend(&own, None, &[], move |stream| {
        let name = stream.get_ref().1.server_name().unwrap_or("-").to_owned();
        note.lock().unwrap().push(name);
        answer(stream)
    })
    .await;
    let tls = TlsClient { server_name_from_host: true, ..trusting("") };
    let proxy = setup(&endpoint, vec![authority.trust("trust")], tls, |_| {})
        .start_with(|options| options.workers = 1);
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    for host in ["a.example.com", "b.example.com:443", "a.example.com"] {
        assert_eq!(client.get(host, "/").await.0, 200, "{host}");
    }
    assert_eq!(*asked.lock().unwrap(), ["a.example.com", "b.example.com"]);
    assert_eq!(client.get("elsewhere.org", "/").await.0, 503);
}

#[tokio::test]
async fn a_changed_trust_holds_for_the_next_request() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let own = authority.issue("endpoint", &["web.example.com"]);
    let endpoint = tls_backend(&own, None, &[], answer).await;
    let with = |who: &Authority| {
        setup(&endpoint, vec![who.trust("trust")], trusting("web.example.com"), |_| {})
    };
    let proxy = with(&authority).start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get("any", "/").await.0, 200);
    soon(proxy.update(with(&stranger).config())).await.unwrap();
    assert_eq!(client.get("any", "/").await.0, 503);
}

#[tokio::test]
async fn bytes_go_to_an_endpoint_over_tls() {
    let authority = Authority::new();
    let own = authority.issue("endpoint", &["db.example.com"]);
    let endpoint = tls_backend(&own, None, &[], |stream: Stream| async move {
        let (mut read, mut write) = tokio::io::split(stream);
        let _ = tokio::io::copy(&mut read, &mut write).await;
        let _ = write.shutdown().await;
    })
    .await;
    let secrets = vec![authority.trust("trust")];
    let setup = setup(&endpoint, secrets, trusting("db.example.com"), |_| {});
    let setup = setup.listener_with("tcp", |listener| {
        listener.chains[0].protocol = ListenerProtocol::Tcp(TcpChain::to("*/"));
    });
    let proxy = setup.start();
    let mut stream = TcpStream::connect(proxy.local_addr("tcp").unwrap()).await.unwrap();
    let sent: Vec<u8> = (0..1 << 20).map(|it: u32| (it >> 3) as u8).collect();
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
    assert!(received == sent);
}
