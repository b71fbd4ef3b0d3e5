//! Whom a client of an agent trusts over TLS, and how it shows itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

/// Files of PEM, by their paths; an empty path is none.
#[derive(Debug)]
pub(crate) struct TlsFiles {
    pub(crate) ca_file: String,
    pub(crate) ca_path: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A connector that trusts the certificates in the files, or the system's if there are none.
///
/// # Errors
/// When a file cannot be read or does not hold what it should.
pub(crate) fn connector(files: &TlsFiles, verify: bool) -> anyhow::Result<TlsConnector> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .context("TLS has no versions")?;
    let builder = if verify {
        builder.with_root_certificates(roots(files)?)
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    };
    let config = match (files.certificate.as_str(), files.key.as_str()) {
        ("", "") => builder.with_no_client_auth(),
        ("", _) | (_, "") => bail!("both client cert and client key must be provided"),
        (certificate, key) => {
            let chain = certificates(Path::new(certificate))?;
            let key = PrivateKeyDer::from_pem_file(key)
                .with_context(|| format!("{key} holds no private key in PEM"))?;
            builder.with_client_auth_cert(chain, key).context("the client's certificate")?
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots(files: &TlsFiles) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let mut paths: Vec<PathBuf> = Vec::new();
    if !files.ca_file.is_empty() {
        paths.push(PathBuf::from(&files.ca_file));
    } else if !files.ca_path.is_empty() {
        let folder = fs::read_dir(&files.ca_path);
        let folder = folder.with_context(|| format!("cannot read folder {}", files.ca_path))?;
        for entry in folder {
            let path = entry?.path();
            if path.is_file() {
                paths.push(path);
            }
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    }
    for path in &paths {
        for certificate in certificates(path)? {
            let added = roots.add(certificate);
            added.with_context(|| format!("{} is not usable as a CA", path.display()))?;
        }
    }
    Ok(roots)
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let shown = path.display();
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = all.with_context(|| format!("cannot read certificates in {shown}"))?;
    if all.is_empty() {
        bail!("{shown} holds no certificate in PEM");
    }
    Ok(all)
}

/// Trusts every server, as `CONSUL_HTTP_SSL_VERIFY=false` asks for.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
