//! Whether the secrets of a configuration can be used, asked before a configuration is taken: so that a certificate
//! whose key is still being written never replaces one that works.

use proxy_config::{ProxyConfig, Secret};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// What is wrong with each secret that cannot be used.
pub(crate) fn check(config: &ProxyConfig) -> Vec<String> {
    let wrong = |it: &Secret| check_one(it).err().map(|error| format!("{}: {error}", it.name));
    config.secrets.values().filter_map(|it| wrong(it)).collect()
}

fn check_one(secret: &Secret) -> Result<(), String> {
    if !secret.certificate_chain_pem.is_empty() {
        let chain = certificates(&secret.certificate_chain_pem)?;
        let key = PrivateKeyDer::from_pem_slice(secret.private_key.0.as_bytes())
            .map_err(|error| format!("the private key cannot be read ({error})"))?;
        CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(|error| format!("the certificate and its key do not fit ({error})"))?;
    }
    if !secret.trust_bundle_pem.is_empty() {
        let (good, _) = RootCertStore::empty()
            .add_parsable_certificates(certificates(&secret.trust_bundle_pem)?);
        if good == 0 {
            return Err("none of the certificates of authorities can be used".to_owned());
        }
    }
    Ok(())
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the certificates cannot be read ({error})"))
}
