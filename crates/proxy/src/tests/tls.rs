use std::sync::Arc;

use proxy_config::{PrivateKey, RouteAction, Secret, TlsServer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::support::{Client, Setup, raw, soon};
use crate::ProxyHandle;

struct Authority(RootCertStore);

fn secret(name: &str, host: &str, trust: &mut Authority) -> Secret {
    let made = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    let pem = made.cert.pem();
    trust.0.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    Secret {
        name: name.to_owned(),
        certificate_chain_pem: pem,
        private_key: PrivateKey(made.signing_key.serialize_pem()),
        trust_bundle_pem: String::new(),
    }
}

async fn connect(
    proxy: &ProxyHandle,
    host: &str,
    trust: &Authority,
    alpn: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(trust.0.clone())
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let stream = TcpStream::connect(proxy.local_addr("in").unwrap()).await.unwrap();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    soon(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

fn setup(secrets: Vec<Secret>) -> Setup {
    let respond = RouteAction::Respond { status: 200, body: "safe".to_owned() };
    let mut setup = Setup::new()
        .listener_with("in", |listener| {
            listener.chains[0].tls = Some(TlsServer {
                by_server_name: [
                    ("a.example.com".to_owned(), "a".to_owned()),
                    ("*.wild.example.com".to_owned(), "wild".to_owned()),
                ]
                .into(),
                ..TlsServer::default()
            });
        })
        .action("*", "/", respond);
    for secret in secrets {
        setup.0.secrets.insert(secret.name.clone(), Arc::new(secret));
    }
    setup
}

#[tokio::test]
async fn the_certificate_is_chosen_by_server_name_and_the_protocol_by_alpn() {
    let mut trust = Authority(RootCertStore::empty());
    let secrets = vec![
        secret("a", "a.example.com", &mut trust),
        secret("wild", "*.wild.example.com", &mut trust),
    ];
    let proxy = setup(secrets).start();
    let stream = connect(&proxy, "a.example.com", &trust, b"http/1.1").await.unwrap();
    let mut client = Client::http1_over(stream).await;
    assert_eq!(client.get("a.example.com", "/").await, (200, "safe".to_owned()));
    let stream = connect(&proxy, "b.wild.example.com", &trust, b"h2").await.unwrap();
    let mut client = Client::http2_over(stream).await;
    assert_eq!(client.get("b.wild.example.com", "/").await, (200, "safe".to_owned()));
}

#[tokio::test]
async fn a_server_name_without_a_certificate_is_unrecognized() {
    let mut trust = Authority(RootCertStore::empty());
    let proxy = setup(vec![secret("a", "a.example.com", &mut trust)]).start();
    for host in ["other.example.com", "127.0.0.1"] {
        let refused = connect(&proxy, host, &trust, b"h2").await.unwrap_err();
        let refused = refused.into_inner().unwrap().downcast::<rustls::Error>().unwrap();
        assert_eq!(*refused, rustls::Error::AlertReceived(AlertDescription::UnrecognisedName));
    }
}

#[tokio::test]
async fn plain_http_on_a_tls_port_is_told_so() {
    let mut trust = Authority(RootCertStore::empty());
    let proxy = setup(vec![secret("a", "a.example.com", &mut trust)]).start();
    let address = proxy.local_addr("in").unwrap();
    for request in ["GET / HTTP/1.1\r\nhost: a\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let answer = raw(address, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        let text = "the plain HTTP request was sent to an HTTPS port\n";
        assert!(answer.ends_with(text), "{answer}");
    }
}

#[tokio::test]
async fn a_connection_that_the_proxy_closes_ends_with_the_end_of_tls() {
    let mut trust = Authority(RootCertStore::empty());
    let proxy = setup(vec![secret("a", "a.example.com", &mut trust)]).start();
    let mut stream = connect(&proxy, "a.example.com", &trust, b"http/1.1").await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: a.example.com\r\nconnection: close\r\n\r\n";
    soon(stream.write_all(request)).await.unwrap();
    let mut answer = String::new();
    // It fails when TCP ends before TLS, as if somebody had cut it off.
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("safe"), "{answer}");
}

#[tokio::test]
async fn a_certificate_is_replaced_under_an_open_connection() {
    let mut old = Authority(RootCertStore::empty());
    let mut new = Authority(RootCertStore::empty());
    let first = vec![
        secret("a", "a.example.com", &mut old),
        secret("wild", "*.wild.example.com", &mut old),
    ];
    let proxy = setup(first).start();
    let stream = connect(&proxy, "a.example.com", &old, b"http/1.1").await.unwrap();
    let mut client = Client::http1_over(stream).await;
    assert_eq!(client.get("a.example.com", "/").await.0, 200);
    let second = vec![secret("a", "a.example.com", &mut new)];
    let mut changed = setup(second);
    // Keep the port.
    changed.0.listeners = proxy.config().listeners.clone();
    let errors = soon(proxy.update(changed.config())).await.unwrap();
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["listener in cannot show a certificate"]);
    assert!(connect(&proxy, "a.example.com", &new, b"http/1.1").await.is_ok());
    assert!(connect(&proxy, "a.example.com", &old, b"http/1.1").await.is_err());
    assert_eq!(client.get("a.example.com", "/").await.0, 200);
}
