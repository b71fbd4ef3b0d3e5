//! TLS on both sides.
//!
//! What is made of secrets belongs to one snapshot; a changed secret makes new configurations, and with them new session
//! tickets: a session is resumed under the rules that it was agreed under, or not at all. Connections take the
//! configuration of the snapshot that is current when they begin, so a certificate is replaced without touching a
//! listener or a connection.
//!
//! A rule that cannot be kept (a secret is missing, a pattern is none) refuses every handshake: it fails closed.

mod client;
mod names;
mod peer;
mod server;
mod socket;

use std::collections::BTreeMap;
use std::sync::Arc;

use proxy_config::{Secret, TlsVersion, TlsVersions};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::cipher_suite;
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, SupportedCipherSuite, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub(crate) use client::{ClientTls, Offer, client_tls};
pub(crate) use peer::TlsFacts;
pub(crate) use server::{ServerTls, is_other_name, server_tls};
pub(crate) use socket::TlsSocket;

use crate::error::SecretError;

/// Secrets by name.
pub(crate) type Secrets = BTreeMap<String, Arc<Secret>>;

/// Cipher suites with the cheapest first that is safe: 128 bits are enough, AES has instructions of its own on every
/// server, and so has SHA-256 but not SHA-384. BoringSSL chooses alike; with a client's order, which usually begins with
/// SHA-384, a handshake costs a tenth more.
static CIPHER_SUITES: &[SupportedCipherSuite] = &[
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

fn provider() -> Arc<CryptoProvider> {
    let cipher_suites = CIPHER_SUITES.to_vec();
    Arc::new(CryptoProvider { cipher_suites, ..rustls::crypto::aws_lc_rs::default_provider() })
}

static ONLY_12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
static ONLY_13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// The versions between the lowest and the highest; all when there are none.
fn versions(asked: TlsVersions) -> &'static [&'static SupportedProtocolVersion] {
    match (asked.min, asked.max) {
        (TlsVersion::V12, TlsVersion::V12) => ONLY_12,
        (TlsVersion::V13, _) => ONLY_13,
        (TlsVersion::V12, TlsVersion::V13) => rustls::ALL_VERSIONS,
    }
}

fn find<'a>(secrets: &'a Secrets, name: &str) -> Result<&'a Secret, SecretError> {
    secrets.get(name).map(Arc::as_ref).ok_or_else(|| SecretError::Missing { secret: name.into() })
}

fn certified_key(secret: &Secret, provider: &CryptoProvider) -> Result<CertifiedKey, SecretError> {
    let name = || secret.name.clone();
    let chain = certificates(secret, &secret.certificate_chain_pem)?;
    let key = PrivateKeyDer::from_pem_slice(secret.private_key.0.as_bytes())
        .map_err(|source| SecretError::PrivateKey { secret: name(), source })?;
    CertifiedKey::from_der(chain, key, provider)
        .map_err(|source| SecretError::Pair { secret: name(), source })
}

/// The certificates that a secret trusts.
fn roots(secret: &Secret) -> Result<RootCertStore, SecretError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(secret, &secret.trust_bundle_pem)? {
        roots.add(certificate).map_err(|source| {
            let secret = secret.name.clone();
            SecretError::Trust { secret, source }
        })?;
    }
    Ok(roots)
}

/// At least one certificate.
fn certificates(secret: &Secret, pem: &str) -> Result<Vec<CertificateDer<'static>>, SecretError> {
    let name = || secret.name.clone();
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|source| SecretError::Certificate { secret: name(), source })?;
    if chain.is_empty() { Err(SecretError::Empty { secret: name() }) } else { Ok(chain) }
}
