use std::net::SocketAddr;
use std::sync::Arc;

use http::Response;
use proxy_config::{Pattern, RouteAction, Secret, TlsServer, TlsVersion, TlsVersions, ValueMatch};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{Authority, Backend, Client, Setup, TlsClient, becomes, full, soon};
use crate::ProxyHandle;

const VERSIONS: &[&rustls::SupportedProtocolVersion] = rustls::ALL_VERSIONS;

fn setup(secrets: Vec<Secret>, change: impl FnOnce(&mut TlsServer)) -> Setup {
    let mut setup = Setup::new().listener_with("in", |listener| {
        let mut tls = TlsServer { default: Some("own".to_owned()), ..TlsServer::default() };
        change(&mut tls);
        listener.chains[0].tls = Some(tls);
    });
    for secret in secrets {
        setup.0.secrets.insert(secret.name.clone(), Arc::new(secret));
    }
    setup
}

fn counters(proxy: &ProxyHandle) -> crate::stats::Shard<crate::stats::ListenerCounters> {
    proxy.stats().listener(address(proxy), 0)
}

fn address(proxy: &ProxyHandle) -> SocketAddr {
    proxy.local_addr("in").unwrap()
}

fn start(setup: &Setup) -> ProxyHandle {
    setup.start_with(|options| options.workers = 1)
}

/// A backend that answers with what it is told of the client's certificate.
async fn mirror() -> Backend {
    Backend::http1(|request| async move {
        let told = request.headers().get("x-forwarded-client-cert");
        let told = told.map_or("none", |it| it.to_str().unwrap()).to_owned();
        Response::new(full(told))
    })
    .await
}

/// The answer to a request over TLS, or nothing when the proxy refuses: with TLS 1.3 a client knows it only then.
async fn ask(client: &TlsClient, proxy: &ProxyHandle) -> Option<String> {
    let mut stream = client.connect(address(proxy), "web.example.com").await.ok()?;
    let request = "GET / HTTP/1.1\r\nhost: web\r\nx-forwarded-client-cert: Hash=lie\r\n\
                   connection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    let _ = soon(stream.read_to_string(&mut answer)).await;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

#[tokio::test]
async fn a_client_must_show_a_certificate_that_is_trusted_and_has_a_name() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let endpoint = mirror().await;
    let secrets = vec![
        authority.issue("own", &["web.example.com", "spiffe://mesh/proxy"]),
        authority.trust("clients"),
    ];
    let setup = setup(secrets, |tls| {
        tls.client_trust = Some("clients".to_owned());
        tls.require_client_certificate = true;
        tls.forward_client_certificate = true;
        let pattern = Pattern::Prefix("spiffe://mesh/".to_owned());
        tls.client_names = vec![ValueMatch { pattern, ignore_case: false }];
    });
    let proxy = start(&setup.route("web", "/", &[endpoint.address]));
    let counters = counters(&proxy);
    let client = |secret: Option<&Secret>| TlsClient::new(&authority, secret, &[], VERSIONS);

    assert_eq!(ask(&client(None), &proxy).await, None);
    // The client knows of its refusal before the proxy has counted it.
    becomes(|| counters.ssl_fail_verify_no_cert.get(), 1).await;
    let foreign = stranger.issue("foreign", &["spiffe://mesh/shop"]);
    assert_eq!(ask(&client(Some(&foreign)), &proxy).await, None);
    becomes(|| counters.ssl_fail_verify_error.get(), 1).await;
    let other = authority.issue("other", &["spiffe://elsewhere/shop"]);
    assert_eq!(ask(&client(Some(&other)), &proxy).await, None);
    becomes(|| counters.ssl_fail_verify_san.get(), 1).await;
    becomes(|| counters.ssl_connection_error.get(), 3).await;
    assert_eq!(counters.ssl_handshake.get(), 0);

    let shop = authority.issue("shop", &["spiffe://mesh/shop", "shop.example.com"]);
    let told = ask(&client(Some(&shop)), &proxy).await.unwrap();
    let (by, rest) = told.split_once(";Hash=").unwrap();
    let (hash, rest) = rest.split_at(64);
    assert_eq!(by, "By=spiffe://mesh/proxy");
    assert!(hash.bytes().all(|it| it.is_ascii_hexdigit()), "{hash}");
    assert_eq!(rest, ";Subject=\"CN=shop\";URI=spiffe://mesh/shop;DNS=shop.example.com");
    assert_eq!(counters.ssl_handshake.get(), 1);
}

#[tokio::test]
async fn a_certificate_may_be_left_out_where_it_is_only_asked_for() {
    let authority = Authority::new();
    let endpoint = mirror().await;
    let secrets = vec![authority.issue("own", &["web.example.com"]), authority.trust("clients")];
    let setup = setup(secrets, |tls| tls.client_trust = Some("clients".to_owned()));
    let proxy = start(&setup.route("web", "/", &[endpoint.address]));
    let client = TlsClient::new(&authority, None, &[], VERSIONS);
    assert_eq!(ask(&client, &proxy).await.as_deref(), Some("none"));
    assert_eq!(counters(&proxy).ssl_no_certificate.get(), 1);
    let shop = authority.issue("shop", &["spiffe://mesh/shop"]);
    let client = TlsClient::new(&authority, Some(&shop), &[], VERSIONS);
    // It is not forwarded: what a client says about itself is believed no more for that.
    assert_eq!(ask(&client, &proxy).await.as_deref(), Some("none"));
}

#[tokio::test]
async fn clients_are_refused_when_it_cannot_be_said_whom_to_trust() {
    let authority = Authority::new();
    let own = || authority.issue("own", &["web.example.com"]);
    let client = TlsClient::new(&authority, None, &[], VERSIONS);
    let missing: fn(&mut TlsServer) = |tls| tls.client_trust = Some("clients".to_owned());
    let nobody: fn(&mut TlsServer) = |tls| tls.require_client_certificate = true;
    for change in [missing, nobody] {
        let setup = setup(vec![own()], change);
        let setup =
            setup.action("*", "/", RouteAction::Respond { status: 200, body: String::new() });
        let proxy = start(&setup);
        assert_eq!(ask(&client, &proxy).await, None);
        let errors = soon(proxy.update(Setup::new().config())).await.unwrap();
        assert!(errors.is_empty());
    }
}

#[tokio::test]
async fn versions_are_kept_to() {
    let authority = Authority::new();
    let respond = || RouteAction::Respond { status: 200, body: "ok".to_owned() };
    let old: &[_] = &[&rustls::version::TLS12];
    let new: &[_] = &[&rustls::version::TLS13];
    for (min, max, client_versions, expected) in [
        (TlsVersion::V12, TlsVersion::V12, VERSIONS, Some(0)),
        (TlsVersion::V12, TlsVersion::V12, new, None),
        (TlsVersion::V13, TlsVersion::V13, VERSIONS, Some(1)),
        (TlsVersion::V13, TlsVersion::V13, old, None),
        (TlsVersion::V12, TlsVersion::V13, old, Some(0)),
    ] {
        let secrets = vec![authority.issue("own", &["web.example.com"])];
        let setup = setup(secrets, |tls| tls.versions = TlsVersions { min, max });
        let proxy = start(&setup.action("*", "/", respond()));
        let client = TlsClient::new(&authority, None, &[], client_versions);
        let answer = ask(&client, &proxy).await;
        assert_eq!(answer.is_some(), expected.is_some(), "{min:?} {max:?}");
        if let Some(at) = expected {
            assert_eq!(counters(&proxy).ssl_versions[at].get(), 1);
        }
    }
}

#[tokio::test]
async fn a_session_is_resumed_by_any_worker_until_the_certificate_changes() {
    let authority = Authority::new();
    let respond = RouteAction::Respond { status: 200, body: "ok".to_owned() };
    let with = |own: Secret| setup(vec![own], |_| {}).action("*", "/", respond.clone());
    let proxy = with(authority.issue("own", &["web.example.com"])).start();
    let workers = [0, 1].map(|it| proxy.stats().listener(address(&proxy), it));
    let resumed = || workers.iter().map(|it| it.ssl_session_reused.get()).sum::<u64>();
    let client = TlsClient::new(&authority, None, &[], VERSIONS);
    for _ in 0..8 {
        ask(&client, &proxy).await.unwrap();
    }
    assert_eq!(resumed(), 7);
    let mut changed = with(authority.issue("own", &["web.example.com"]));
    changed.0.listeners = proxy.config().listeners.clone();
    soon(proxy.update(changed.config())).await.unwrap();
    ask(&client, &proxy).await.unwrap();
    assert_eq!(resumed(), 7);
    ask(&client, &proxy).await.unwrap();
    assert_eq!(resumed(), 8);
}

#[tokio::test]
async fn plain_clients_cannot_claim_a_certificate() {
    let endpoint = mirror().await;
    let proxy = Setup::new().listener("in").route("web", "/", &[endpoint.address]).start();
    let mut client = Client::http1(address(&proxy)).await;
    let request = http::Request::get("/")
        .header("host", "web")
        .header("x-forwarded-client-cert", "Hash=lie")
        .body(super::support::empty())
        .unwrap();
    let answer = client.send(request).await;
    assert_eq!(super::support::text(answer.into_body()).await, "none");
}

#[tokio::test]
async fn the_cheapest_cipher_suite_is_agreed_on_whatever_the_client_prefers() {
    let authority = Authority::new();
    let respond = RouteAction::Respond { status: 200, body: "ok".to_owned() };
    let own = authority.issue("own", &["web.example.com"]);
    let proxy = start(&setup(vec![own], |_| {}).action("*", "/", respond));
    let client = TlsClient::new(&authority, None, &[], VERSIONS);
    let stream = client.connect(address(&proxy), "web.example.com").await.unwrap();
    let suite = stream.get_ref().1.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
}

#[tokio::test]
async fn what_breaks_the_handshake_off_is_counted_and_harms_nobody() {
    let authority = Authority::new();
    let own = authority.issue("own", &["web.example.com"]);
    let respond = RouteAction::Respond { status: 200, body: "ok".to_owned() };
    let proxy = start(&setup(vec![own], |_| {}).action("*", "/", respond));
    let close_notify = [21, 3, 3, 0, 2, 1, 0];
    for bytes in [
        &b"\x16\x03\x01\x00\x05garbage"[..],
        &[close_notify, close_notify].concat(),
        &[0xFF; 9000],
        &[22, 3, 1, 0x7F, 0xFF],
        b"",
    ] {
        let mut stream = tokio::net::TcpStream::connect(address(&proxy)).await.unwrap();
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        super::support::read_to_close(&mut stream).await;
    }
    let counters = counters(&proxy);
    soon(async {
        while counters.downstream_cx_active.get() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(counters.ssl_connection_error.get(), 5);
    let client = TlsClient::new(&authority, None, &[], VERSIONS);
    assert_eq!(ask(&client, &proxy).await.as_deref(), Some("ok"));
}
