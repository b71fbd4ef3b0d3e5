use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use codec::certificate::{AlternativeName, Certificate};
use proxy_config::{HttpCodec, TlsServer};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::names::NameMatches;
use super::{Secrets, certified_key, find, provider, roots, versions};
use crate::error::SecretError;

/// A client resumes with the ticket of its last connection; more of them only help one that opens several at once after
/// a single one, and each costs an encryption per handshake.
const TICKETS: usize = 1;

/// A certificate with its key.
#[derive(Clone)]
struct Shown {
    key: Arc<CertifiedKey>,
    /// First URI among its alternative names: who this proxy is, as `x-forwarded-client-cert` says it.
    uri: Option<Arc<str>>,
}

/// Certificates by server name, with the fallback.
#[derive(Default)]
struct Certificates {
    exact: BTreeMap<String, Shown>,
    /// Names below `*.`, without the star: `.example.com`.
    wildcard: BTreeMap<String, Shown>,
    default: Option<Shown>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("exact", &self.exact.keys())
            .field("wildcard", &self.wildcard.keys())
            .field("default", &self.default.is_some())
            .finish()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.shown_to(hello.server_name()).map(|it| it.key.clone())
    }
}

impl Certificates {
    fn shown_to(&self, server_name: Option<&str>) -> Option<&Shown> {
        server_name.and_then(|name| self.find(&name.to_ascii_lowercase())).or(self.default.as_ref())
    }

    fn find(&self, name: &str) -> Option<&Shown> {
        if let Some(shown) = self.exact.get(name) {
            return Some(shown);
        }
        // The longest wildcard wins. One star stands for one label (RFC 6125), and Kubernetes' Gateway API lets it
        // stand for several; the client decides whether it accepts the certificate.
        name.match_indices('.').find_map(|(dot, _)| self.wildcard.get(&name[dot..]))
    }
}

/// The TLS side of a filter chain.
pub(crate) struct ServerTls {
    pub(crate) config: Arc<ServerConfig>,
    /// `x-forwarded-client-cert` is set from the client's certificate.
    pub(crate) forwards_certificate: bool,
    /// Clients are asked for a certificate.
    pub(crate) asks_for_certificate: bool,
    certificates: Arc<Certificates>,
}

impl ServerTls {
    /// Whether there is a certificate to show to who asks for this name, or for none.
    pub(crate) fn knows(&self, server_name: Option<&str>) -> bool {
        self.certificates.shown_to(server_name).is_some()
    }

    /// The URI in the certificate that is shown to who asks for this name.
    pub(crate) fn own_uri(&self, server_name: Option<&str>) -> Option<&str> {
        self.certificates.shown_to(server_name)?.uri.as_deref()
    }
}

/// The TLS side of a filter chain and what was wrong with its secrets. A bad certificate is left out, the others are
/// shown; without what clients are verified by, nobody is let in. `codec` is what is spoken, `None` for bytes.
pub(crate) fn server_tls(
    tls: &TlsServer,
    codec: Option<HttpCodec>,
    secrets: &Secrets,
) -> (Arc<ServerTls>, Vec<SecretError>) {
    let provider = provider();
    let mut errors = Vec::new();
    let mut certificates = certificates(tls, secrets, &provider, &mut errors);
    let verifier = client_verifier(tls, secrets, &provider).unwrap_or_else(|error| {
        errors.push(error);
        // Without a certificate every handshake is refused.
        certificates = Certificates::default();
        WebPkiClientVerifier::no_client_auth()
    });
    let certificates = Arc::new(certificates);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(tls.versions))
        .expect("the provider supports TLS 1.2 and 1.3")
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificates.clone());
    config.alpn_protocols = alpn(tls, codec);
    match Ticketer::new() {
        // Tickets hold the session themselves: all workers resume what one has agreed on, and keep nothing.
        Ok(ticketer) => config.ticketer = ticketer,
        Err(error) => tracing::warn!(%error, "sessions are kept in memory: there are no tickets"),
    }
    config.send_tls13_tickets = TICKETS;
    config.ignore_client_order = true;
    let tls = ServerTls {
        config: Arc::new(config),
        forwards_certificate: tls.forward_client_certificate,
        asks_for_certificate: tls.client_trust.is_some(),
        certificates,
    };
    (Arc::new(tls), errors)
}

fn alpn(tls: &TlsServer, codec: Option<HttpCodec>) -> Vec<Vec<u8>> {
    if !tls.alpn.is_empty() {
        return tls.alpn.iter().map(|it| it.clone().into_bytes()).collect();
    }
    let (http1, http2) = (b"http/1.1".to_vec(), b"h2".to_vec());
    match codec {
        Some(HttpCodec::Auto) => vec![http2, http1],
        Some(HttpCodec::Http1) => vec![http1],
        Some(HttpCodec::Http2) => vec![http2],
        None => Vec::new(),
    }
}

fn certificates(
    tls: &TlsServer,
    secrets: &Secrets,
    provider: &CryptoProvider,
    errors: &mut Vec<SecretError>,
) -> Certificates {
    let mut loaded: BTreeMap<&str, Option<Shown>> = BTreeMap::new();
    let mut certificates = Certificates::default();
    let by_name = tls.by_server_name.iter().map(|(name, secret)| (Some(name), secret));
    for (server_name, name) in by_name.chain(tls.default.iter().map(|secret| (None, secret))) {
        let shown = loaded.entry(name).or_insert_with(|| {
            let key = find(secrets, name).and_then(|secret| certified_key(secret, provider));
            key.map(Shown::new).map_err(|error| errors.push(error)).ok()
        });
        let Some(shown) = shown.clone() else { continue };
        let Some(server_name) = server_name else {
            certificates.default = Some(shown);
            continue;
        };
        match server_name.strip_prefix('*') {
            Some(suffix) => certificates.wildcard.insert(suffix.to_ascii_lowercase(), shown),
            None => certificates.exact.insert(server_name.to_ascii_lowercase(), shown),
        };
    }
    certificates
}

impl Shown {
    fn new(key: CertifiedKey) -> Self {
        let leaf = key.cert.first().and_then(|der| Certificate::read(der));
        let uri = leaf.and_then(|leaf| {
            leaf.names.iter().find_map(|name| match name {
                AlternativeName::Uri(uri) => Some(Arc::from(*uri)),
                AlternativeName::Dns(_) | AlternativeName::Email(_) | AlternativeName::Ip(_) => {
                    None
                }
            })
        });
        Self { uri, key: Arc::new(key) }
    }
}

fn client_verifier(
    tls: &TlsServer,
    secrets: &Secrets,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, SecretError> {
    let Some(name) = &tls.client_trust else {
        return if tls.require_client_certificate {
            Err(SecretError::NoTrust)
        } else {
            Ok(WebPkiClientVerifier::no_client_auth())
        };
    };
    let secret = find(secrets, name)?;
    let roots = Arc::new(roots(secret)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
    let builder =
        if tls.require_client_certificate { builder } else { builder.allow_unauthenticated() };
    // It fails without roots alone, and there is at least one.
    let verifier = builder.build().map_err(|_| SecretError::Empty { secret: name.clone() })?;
    let names = NameMatches::new(&tls.client_names)?;
    Ok(if names.is_empty() { verifier } else { Arc::new(NamedClients { verifier, names }) })
}

/// Clients whose certificates have one of some names.
#[derive(Debug)]
struct NamedClients {
    verifier: Arc<dyn ClientCertVerifier>,
    names: NameMatches,
}

/// What the handshake fails with when a client's certificate has none of the names.
pub(crate) fn is_other_name(error: &Error) -> bool {
    *error == Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
}

impl ClientCertVerifier for NamedClients {
    fn offer_client_auth(&self) -> bool {
        self.verifier.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.verifier.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.verifier.verify_client_cert(end_entity, intermediates, now)?;
        if self.names.hold_for(end_entity) {
            Ok(verified)
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
