use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use proxy_config::{PrivateKey, Secret};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{Backend, soon};

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// One who issues certificates.
pub(in crate::tests) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(in crate::tests) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A secret with a certificate for names: those with a colon are URIs.
    pub(in crate::tests) fn issue(&self, secret: &str, names: &[&str]) -> Secret {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, secret);
        params.subject_alt_names = names
            .iter()
            .map(|name| match name.contains(':') {
                true => SanType::URI((*name).try_into().unwrap()),
                false => SanType::DnsName((*name).try_into().unwrap()),
            })
            .collect();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Secret {
            name: secret.to_owned(),
            certificate_chain_pem: certificate.pem(),
            private_key: PrivateKey(key.serialize_pem()),
            trust_bundle_pem: String::new(),
        }
    }

    /// A secret that trusts whom this has issued certificates for.
    pub(in crate::tests) fn trust(&self, secret: &str) -> Secret {
        let trust_bundle_pem = self.pem.clone();
        Secret { name: secret.to_owned(), trust_bundle_pem, ..Secret::default() }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        roots
    }
}

fn pair(secret: &Secret) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(secret.certificate_chain_pem.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(secret.private_key.0.as_bytes()).unwrap();
    (chain.collect::<Result<_, _>>().unwrap(), key)
}

/// A client that remembers its sessions.
pub(in crate::tests) struct TlsClient(Arc<ClientConfig>);

pub(in crate::tests) type TlsStream = tokio_rustls::client::TlsStream<TcpStream>;

impl TlsClient {
    pub(in crate::tests) fn new(
        trust: &Authority,
        shown: Option<&Secret>,
        alpn: &[&str],
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(trust.roots());
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some(secret) => {
                let (chain, key) = pair(secret);
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|it| it.as_bytes().to_vec()).collect();
        Self(Arc::new(config))
    }

    pub(in crate::tests) async fn over(
        &self,
        stream: TcpStream,
        name: &str,
    ) -> std::io::Result<TlsStream> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        soon(TlsConnector::from(self.0.clone()).connect(name, stream)).await
    }

    pub(in crate::tests) async fn connect(
        &self,
        address: SocketAddr,
        name: &str,
    ) -> std::io::Result<TlsStream> {
        self.over(TcpStream::connect(address).await.unwrap(), name).await
    }
}

/// An endpoint that speaks TLS, asks for certificates of `clients` and serves each connection with `serve`.
pub(in crate::tests) async fn tls_backend<F, R>(
    shown: &Secret,
    clients: Option<&Authority>,
    alpn: &[&str],
    serve: F,
) -> Backend
where
    F: Fn(tokio_rustls::server::TlsStream<TcpStream>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let verifier = match clients {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(clients) => {
            let roots = Arc::new(clients.roots());
            WebPkiClientVerifier::builder_with_provider(roots, provider()).build().unwrap()
        }
    };
    let (chain, key) = pair(shown);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|it| it.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Backend::tcp(move |stream| {
        let (acceptor, serve) = (acceptor.clone(), serve.clone());
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream).await;
            }
        }
    })
    .await
}
