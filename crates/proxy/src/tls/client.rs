use std::sync::Arc;

use proxy_config::TlsClient;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionMemoryCache, Resumption, verify_server_cert_signed_by_trust_anchor,
    verify_server_name,
};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, IpAddr, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::names::NameMatches;
use super::{Secrets, certified_key, find, provider, roots, versions};
use crate::error::SecretError;

/// Server names whose sessions are kept; each holds a few tickets of some 200 bytes, and a chain of certificates.
const SESSIONS_MAX: usize = 256;

/// Which protocols an endpoint may choose from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Offer {
    /// No ALPN: bytes.
    Nothing,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// Either of both.
    Either,
}

impl Offer {
    const ALL: [Offer; 4] = [Offer::Nothing, Offer::Http1, Offer::Http2, Offer::Either];

    fn protocols(self) -> Vec<Vec<u8>> {
        let (http1, http2) = (b"http/1.1".to_vec(), b"h2".to_vec());
        match self {
            Offer::Nothing => Vec::new(),
            Offer::Http1 => vec![http1],
            Offer::Http2 => vec![http2],
            Offer::Either => vec![http2, http1],
        }
    }
}

/// The TLS side of a cluster.
#[derive(Debug)]
pub(crate) struct ClientTls {
    /// In the order of [`Offer::ALL`]; or why there can be no connection.
    configs: Result<[Arc<ClientConfig>; 4], String>,
    server_name: String,
    pub(crate) is_name_from_host: bool,
}

impl ClientTls {
    /// Does the handshake. `host` is the server name where the cluster takes it from the request.
    pub(crate) async fn handshake<S>(
        &self,
        stream: S,
        offer: Offer,
        host: Option<&str>,
    ) -> Result<TlsStream<S>, String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let configs = self.configs.as_ref().map_err(Clone::clone)?;
        let config = configs[offer as usize].clone();
        let name = match host.filter(|_| self.is_name_from_host) {
            Some(host) => host,
            None => &self.server_name,
        };
        let name = if name.is_empty() {
            no_name()
        } else {
            ServerName::try_from(name.to_owned())
                .map_err(|_| format!("{name:?} cannot be a server name"))?
        };
        let connected = TlsConnector::from(config).connect(name, stream).await;
        connected.map_err(|error| error.to_string())
    }
}

/// What rustls takes for "no server name": it sends none for an address.
fn no_name() -> ServerName<'static> {
    ServerName::IpAddress(IpAddr::V4([0; 4].into()))
}

/// The TLS side of a cluster, and what is wrong with it: then its connections fail.
pub(crate) fn client_tls(
    tls: &TlsClient,
    secrets: &Secrets,
) -> (Arc<ClientTls>, Option<SecretError>) {
    let (configs, error) = match configs(tls, secrets) {
        Ok(configs) => (Ok(configs), None),
        Err(error) => (Err(error.to_string()), Some(error)),
    };
    let (server_name, is_name_from_host) = (tls.server_name.clone(), tls.server_name_from_host);
    (Arc::new(ClientTls { configs, server_name, is_name_from_host }), error)
}

fn configs(tls: &TlsClient, secrets: &Secrets) -> Result<[Arc<ClientConfig>; 4], SecretError> {
    let provider = provider();
    let trusted =
        tls.trust.as_deref().map(|name| find(secrets, name).and_then(roots)).transpose()?;
    let has_name = tls.server_name_from_host || !tls.server_name.is_empty();
    let verifier = Verifier {
        is_name_verified: trusted.is_some() && has_name,
        roots: trusted,
        names: NameMatches::new(&tls.names)?,
        provider: provider.clone(),
    };
    let shown = tls
        .certificate
        .as_deref()
        .map(|name| find(secrets, name).and_then(|secret| certified_key(secret, &provider)));
    let shown: Option<CertifiedKey> = shown.transpose()?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(tls.versions))
        .expect("the provider supports TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
    };
    // One for all offers: a session is agreed on whatever is spoken later.
    config.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(SESSIONS_MAX)));
    Ok(Offer::ALL.map(|offer| {
        let mut config = config.clone();
        let own = tls.alpn.iter().map(|it| it.clone().into_bytes());
        config.alpn_protocols = if tls.alpn.is_empty() { offer.protocols() } else { own.collect() };
        Arc::new(config)
    }))
}

/// Verifies endpoints as [`TlsClient`] says. rustls' own verifier refuses certificates without a DNS name or address,
/// as SPIFFE has them.
#[derive(Debug)]
struct Verifier {
    /// `None`: any certificate does, as long as its key signs the handshake.
    roots: Option<RootCertStore>,
    names: NameMatches,
    /// Without `names`, the certificate must be for the server name that was sent.
    is_name_verified: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if let Some(roots) = &self.roots {
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                roots,
                intermediates,
                now,
                algorithms,
            )?;
        }
        if !self.names.is_empty() {
            if !self.names.hold_for(end_entity) {
                return Err(CertificateError::NotValidForName.into());
            }
        } else if self.is_name_verified {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
