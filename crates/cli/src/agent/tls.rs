//! TLS of the HTTP API.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_config::TlsConfig;
use anyhow::{Context, bail};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// What the server needs; `None` when no certificate is named.
///
/// # Errors
/// When a file cannot be read, or holds nothing of the kind.
pub(crate) fn server(config: &TlsConfig) -> anyhow::Result<Option<Arc<ServerConfig>>> {
    let (Some(certificate), Some(key)) = (&config.cert_file, &config.key_file) else {
        if config.cert_file.is_some() || config.key_file.is_some() {
            bail!("cert_file and key_file must be given together");
        }
        return Ok(None);
    };
    let chain = certificates(certificate).context("tls: cert_file")?;
    let key = open(key).and_then(|opened| {
        let read = PrivateKeyDer::from_pem_reader(opened);
        read.with_context(|| format!("there is no private key in {}", key.display()))
    });
    let key = key.context("tls: key_file")?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let only_new = matches!(config.min_version.as_deref(), Some("TLSv1_3" | "tls13"));
    let versions: &[&rustls::SupportedProtocolVersion] =
        if only_new { &[&rustls::version::TLS13] } else { rustls::ALL_VERSIONS };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .context("the versions of TLS are known")?;
    let builder = if config.verify_incoming {
        let roots = Arc::new(roots(config)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
        builder.with_client_cert_verifier(verifier.context("verify_incoming needs ca_file")?)
    } else {
        builder.with_no_client_auth()
    };
    let mut server = builder
        .with_single_cert(chain, key)
        .with_context(|| format!("the certificate of {} cannot be used", certificate.display()))?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(Arc::new(server)))
}

fn roots(config: &TlsConfig) -> anyhow::Result<RootCertStore> {
    let mut files: Vec<PathBuf> = config.ca_file.iter().cloned().collect();
    if let Some(folder) = &config.ca_path {
        let shown = folder.display();
        let entries = std::fs::read_dir(folder);
        for entry in entries.with_context(|| format!("tls: ca_path: cannot read {shown}"))? {
            files.push(entry.with_context(|| format!("tls: ca_path: cannot read {shown}"))?.path());
        }
    }
    let mut roots = RootCertStore::empty();
    for file in &files {
        for certificate in certificates(file).context("tls: ca_file")? {
            roots
                .add(certificate)
                .with_context(|| format!("a certificate of {} cannot be used", file.display()))?;
        }
    }
    if roots.is_empty() {
        bail!("verify_incoming needs the authorities of clients: give ca_file or ca_path");
    }
    Ok(roots)
}

fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_reader_iter(open(file)?).collect();
    let found = read.with_context(|| format!("cannot read certificates in {}", file.display()))?;
    if found.is_empty() {
        bail!("there is no certificate in {}", file.display());
    }
    Ok(found)
}

fn open(file: &Path) -> anyhow::Result<BufReader<File>> {
    let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(BufReader::new(opened))
}
