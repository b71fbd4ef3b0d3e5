//! Server-side TLS of one snapshot: certificates by server name.
//!
//! A changed secret makes a new [`rustls::ServerConfig`]; connections take the one of the snapshot that is current
//! when they arrive, so a certificate is replaced without touching a listener.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use proxy_config::{Secret, TlsServer};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::SecretError;

/// Certificates by server name, with the fallback.
#[derive(Default)]
struct Certificates {
    exact: BTreeMap<String, Arc<CertifiedKey>>,
    /// Names below `*.`, without the star: `.example.com`.
    wildcard: BTreeMap<String, Arc<CertifiedKey>>,
    default: Option<Arc<CertifiedKey>>,
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
        self.key_for(hello.server_name())
    }
}

impl Certificates {
    fn key_for(&self, server_name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        server_name
            .and_then(|name| self.find(&name.to_ascii_lowercase()))
            .or_else(|| self.default.clone())
    }

    fn find(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        if let Some(key) = self.exact.get(name) {
            return Some(key.clone());
        }
        // The longest wildcard wins. One star stands for one label (RFC 6125), and Kubernetes' Gateway API lets it
        // stand for several; the client decides whether it accepts the certificate.
        name.match_indices('.').find_map(|(dot, _)| self.wildcard.get(&name[dot..]).cloned())
    }
}

/// The TLS side of a listener.
pub(crate) struct ServerTls {
    pub(crate) config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
}

impl ServerTls {
    /// Whether there is a certificate to show to who asks for this name, or for none.
    pub(crate) fn knows(&self, server_name: Option<&str>) -> bool {
        self.certificates.key_for(server_name).is_some()
    }
}

/// The TLS side of a listener and what was wrong with its secrets. A bad secret is left out, the others are served.
pub(crate) fn server_config(
    tls: &TlsServer,
    secrets: &BTreeMap<String, Arc<Secret>>,
) -> (Arc<ServerTls>, Vec<SecretError>) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut errors = Vec::new();
    let mut keys: BTreeMap<&str, Option<Arc<CertifiedKey>>> = BTreeMap::new();
    let mut certificates = Certificates::default();
    let mut load = |name: &str| match secrets.get_key_value(name) {
        Some((name, secret)) => keys
            .entry(name)
            .or_insert_with(|| {
                certified_key(secret, &provider).map_err(|it| errors.push(it)).ok().map(Arc::new)
            })
            .clone(),
        None => {
            errors.push(SecretError::Missing { secret: name.to_string() });
            None
        }
    };
    for (server_name, secret) in &tls.by_server_name {
        let Some(key) = load(secret) else { continue };
        match server_name.strip_prefix('*') {
            Some(suffix) => certificates.wildcard.insert(suffix.to_ascii_lowercase(), key),
            None => certificates.exact.insert(server_name.to_ascii_lowercase(), key),
        };
    }
    certificates.default = tls.default.as_deref().and_then(load);
    let certificates = Arc::new(certificates);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider supports TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_cert_resolver(certificates.clone());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (Arc::new(ServerTls { config: Arc::new(config), certificates }), errors)
}

fn certified_key(secret: &Secret, provider: &CryptoProvider) -> Result<CertifiedKey, SecretError> {
    let name = || secret.name.clone();
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(secret.certificate_chain_pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|source| SecretError::Certificate { secret: name(), source })?;
    if chain.is_empty() {
        return Err(SecretError::Empty { secret: name() });
    }
    let key = PrivateKeyDer::from_pem_slice(secret.private_key.0.as_bytes())
        .map_err(|source| SecretError::PrivateKey { secret: name(), source })?;
    CertifiedKey::from_der(chain, key, provider)
        .map_err(|source| SecretError::Pair { secret: name(), source })
}
