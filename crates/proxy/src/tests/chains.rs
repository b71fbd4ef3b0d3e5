use std::sync::Arc;
use std::time::Duration;

use proxy_config::{
    ChainMatch, FilterChain, Listener, ListenerProtocol, ProxyProtocolIn, RouteAction, Secret,
    TcpListener as TcpChain, TlsServer, TransportMatch,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{Authority, Client, Setup, TlsClient, raw, read_to_close, soon, tls_backend};
use crate::ProxyHandle;

const VERSIONS: &[&rustls::SupportedProtocolVersion] = rustls::ALL_VERSIONS;

/// A chain beside the first one of a listener.
fn chain<'a>(
    listener: &'a mut Listener,
    name: &str,
    protocol: ListenerProtocol,
    matches: ChainMatch,
) -> &'a mut FilterChain {
    let chain = FilterChain { name: name.to_owned(), matches, tls: None, protocol };
    listener.chains.push(chain);
    listener.chains.last_mut().unwrap()
}

fn names(names: &[&str]) -> ChainMatch {
    ChainMatch {
        server_names: names.iter().map(|it| (*it).to_owned()).collect(),
        ..ChainMatch::default()
    }
}

fn with_secrets(mut setup: Setup, secrets: impl IntoIterator<Item = Secret>) -> Setup {
    let secrets = secrets.into_iter().map(|it| (it.name.clone(), Arc::new(it)));
    setup.0.secrets.extend(secrets);
    setup
}

fn no_match(proxy: &ProxyHandle) -> u64 {
    let counters = |worker| proxy.stats().listener(proxy.local_addr("in").unwrap(), worker);
    (0..2).map(|worker| counters(worker).no_filter_chain_match.get()).sum()
}

#[tokio::test]
async fn one_port_terminates_tls_passes_it_through_and_speaks_plain_text() {
    let authority = Authority::new();
    let behind = authority.issue("behind", &["db.pass.example.com"]);
    let database = tls_backend(&behind, None, &[], |mut stream| async move {
        let mut word = [0; 4];
        stream.read_exact(&mut word).await.unwrap();
        stream.write_all(&word).await.unwrap();
        stream.shutdown().await.unwrap();
    })
    .await;
    let respond = RouteAction::Respond { status: 200, body: "here".to_owned() };
    let setup = Setup::new()
        .listener_with("in", |listener| {
            listener.chains[0].matches.transport = Some(TransportMatch::Plain);
            let http = listener.chains[0].protocol.clone();
            let terminated = chain(listener, "terminated", http, names(&["a.example.com"]));
            let by_server_name = [("a.example.com".to_owned(), "a".to_owned())].into();
            terminated.tls = Some(TlsServer { by_server_name, ..TlsServer::default() });
            let passed = ListenerProtocol::Tcp(TcpChain::to("db/"));
            chain(listener, "passed", passed, names(&["*.pass.example.com"]));
        })
        .action("*", "/", respond)
        .route("db", "/", &[database.address]);
    let setup = with_secrets(setup, [authority.issue("a", &["a.example.com"])]);
    let proxy = setup.start();
    let address = proxy.local_addr("in").unwrap();

    assert_eq!(Client::http1(address).await.get("any", "/").await, (200, "here".to_owned()));
    let client = TlsClient::new(&authority, None, &["h2"], VERSIONS);
    let stream = client.connect(address, "a.example.com").await.unwrap();
    assert_eq!(Client::http2_over(stream).await.get("any", "/").await.0, 200);
    let client = TlsClient::new(&authority, None, &[], VERSIONS);
    let mut stream = client.connect(address, "db.pass.example.com").await.unwrap();
    stream.write_all(b"ping").await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, "ping");

    assert_eq!(no_match(&proxy), 0);
    assert!(client.connect(address, "other.example.com").await.is_err());
    assert_eq!(no_match(&proxy), 1);
}

#[tokio::test]
async fn what_no_chain_is_for_gets_the_default_one() {
    let respond = RouteAction::Respond { status: 200, body: "default".to_owned() };
    let setup = Setup::new()
        .listener_with("in", |listener| {
            let mut default = listener.chains[0].clone();
            default.name = "default".to_owned();
            listener.default_chain = Some(default);
            listener.chains[0].matches = names(&["a.example.com"]);
        })
        .action("*", "/", respond);
    let proxy = setup.start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get("any", "/").await, (200, "default".to_owned()));
    assert_eq!(no_match(&proxy), 0);
}

#[tokio::test]
async fn the_source_that_a_proxy_tells_of_chooses_the_chain() {
    let from = |name: &str, network: &str| {
        let respond = RouteAction::Respond { status: 200, body: name.to_owned() };
        (respond, vec![network.to_owned()])
    };
    let (respond, inside) = from("inside", "10.0.0.0/8");
    let setup = Setup::new()
        .listener_with("in", |listener| {
            listener.proxy_protocol = Some(ProxyProtocolIn::default());
            listener.chains[0].matches.source_prefixes = inside;
        })
        .action("*", "/", respond);
    let proxy = setup.start();
    let address = proxy.local_addr("in").unwrap();
    for (source, expected) in [("10.1.2.3", "HTTP/1.1 200"), ("192.168.0.1", "")] {
        let request = format!(
            "PROXY TCP4 {source} 1.1.1.1 1000 80\r\nGET / HTTP/1.1\r\nhost: a\r\n\
             connection: close\r\n\r\n"
        );
        let answer = raw(address, request.as_bytes()).await;
        assert_eq!(answer.get(..expected.len().max(1)).unwrap_or(""), expected, "{source}");
    }
    assert_eq!(no_match(&proxy), 1);
}

#[tokio::test]
async fn the_port_that_was_connected_to_chooses_the_chain() {
    let respond = RouteAction::Respond { status: 200, body: String::new() };
    let setup = Setup::new()
        .listener_with("in", |listener| {
            listener.proxy_protocol = Some(ProxyProtocolIn { is_optional: true });
            listener.chains[0].matches.destination_port = Some(8443);
        })
        .action("*", "/", respond);
    let proxy = setup.start();
    let address = proxy.local_addr("in").unwrap();
    let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let told = format!("PROXY TCP4 10.0.0.1 10.0.0.2 1000 8443\r\n{request}");
    assert!(raw(address, told.as_bytes()).await.starts_with("HTTP/1.1 200"));
    assert_eq!(raw(address, request.as_bytes()).await, "");
}

#[tokio::test]
async fn who_does_not_say_in_time_which_chain_is_meant_is_closed() {
    let setup = Setup::new().listener_with("in", |listener| {
        listener.chains[0].matches.transport = Some(TransportMatch::Plain);
        listener.opening_timeout = Duration::from_millis(50);
    });
    let proxy = setup.start_with(|options| options.workers = 1);
    let address = proxy.local_addr("in").unwrap();
    let counters = proxy.stats().listener(address, 0);
    let mut silent = TcpStream::connect(address).await.unwrap();
    assert_eq!(read_to_close(&mut silent).await, "");
    assert_eq!(counters.downstream_pre_cx_timeout.get(), 1);
    assert_eq!(counters.downstream_pre_cx_active.get(), 0);
}

#[tokio::test]
async fn a_chain_that_goes_ends_its_connections_and_no_others() {
    let respond = RouteAction::Respond { status: 200, body: "yes".to_owned() };
    let with = |inside_only: bool| {
        Setup::new()
            .listener_with("in", |listener| {
                listener.proxy_protocol = Some(ProxyProtocolIn::default());
                listener.chains[0].matches.source_prefixes = vec!["10.0.0.0/8".to_owned()];
                if !inside_only {
                    let http = listener.chains[0].protocol.clone();
                    chain(listener, "outside", http, ChainMatch::default());
                }
            })
            .action("*", "/", respond.clone())
    };
    let proxy = with(false).start();
    let address = proxy.local_addr("in").unwrap();
    let from = |source: &'static str| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let header = format!("PROXY TCP4 {source} 1.1.1.1 1 2\r\n");
        stream.write_all(header.as_bytes()).await.unwrap();
        Client::http1_over(stream).await
    };
    let (mut inside, mut outside) = (from("10.0.0.1").await, from("192.168.0.1").await);
    assert_eq!(inside.get("a", "/").await.0, 200);
    assert_eq!(outside.get("a", "/").await.0, 200);
    soon(proxy.update(with(true).config())).await.unwrap();
    assert_eq!(inside.get("a", "/").await.0, 200);
    // One more request may find the connection still there; it says then that it is the last.
    soon(async {
        let request = || http::Request::get("/").header("host", "a").body(super::support::empty());
        while outside.try_send(request().unwrap()).await.is_ok() {}
    })
    .await;
    assert_eq!(inside.get("a", "/").await.0, 200);
}
