use std::sync::{Arc, OnceLock};

use model::CheckDefinition;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::dial::DialError;

/// The client side of TLS for checks.
pub(super) struct Tls {
    provider: Arc<CryptoProvider>,
    roots: OnceLock<Arc<RootCertStore>>,
}

impl Tls {
    /// Trusts what the operating system trusts. Its certificates are read at the first check that
    /// needs them, once, which takes some 10 ms.
    pub(super) fn with_native_roots() -> Self {
        Self {
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            roots: OnceLock::new(),
        }
    }

    /// Trusts `roots` only.
    #[cfg(test)]
    pub(super) fn with_roots(roots: RootCertStore) -> Self {
        Self { roots: OnceLock::from(Arc::new(roots)), ..Self::with_native_roots() }
    }

    /// Shakes hands as the check asks for: its `tls_server_name` or else `host` is expected in the
    /// certificate, unless the check skips verification. `alpn` is what is offered.
    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        host: &str,
        definition: &CheckDefinition,
        alpn: &[&[u8]],
    ) -> Result<TlsStream<TcpStream>, DialError> {
        let name = match definition.tls_server_name.as_str() {
            "" => host,
            name => name,
        };
        let server_name = ServerName::try_from(name.to_owned())
            .map_err(|_| DialError::ServerName(name.to_owned()))?;
        let mut config = self.config(definition.tls_skip_verify);
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        // A check proves that a whole handshake works.
        config.resumption = Resumption::disabled();
        TlsConnector::from(Arc::new(config))
            .connect(server_name, stream)
            .await
            .map_err(|error| DialError::Handshake(error.to_string()))
    }

    fn config(&self, skip_verify: bool) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .expect("the provider supports TLS 1.2 and 1.3");
        let builder = if skip_verify {
            let verifier = AnyCertificate(Arc::clone(&self.provider));
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        } else {
            builder.with_root_certificates(Arc::clone(self.roots.get_or_init(native_roots)))
        };
        builder.with_no_client_auth()
    }
}

fn native_roots() -> Arc<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "cannot read a certificate of the operating system");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    Arc::new(roots)
}

/// Accepts every certificate (`tls_skip_verify`), but still checks that the server holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
