use std::fmt::Write as _;

use codec::certificate::{AlternativeName, Certificate};
use http::HeaderValue;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::{CipherSuite, HandshakeKind, ProtocolVersion, ServerConnection};

use super::ServerTls;

/// What a handshake with a client agreed on, for headers and logs.
#[derive(Debug)]
pub(crate) struct TlsFacts {
    /// `TLSv1.2`, `TLSv1.3`, as Envoy writes them.
    pub(crate) version: &'static str,
    /// IANA's number and name are its methods.
    pub(crate) cipher: Option<CipherSuite>,
    pub(crate) is_resumed: bool,
    /// The certificate that the client showed; it was verified.
    pub(crate) peer: Option<PeerCertificate>,
    /// What `x-forwarded-client-cert` is set to.
    pub(crate) forwarded: Option<HeaderValue>,
}

/// Whom a client's certificate speaks of.
#[derive(Debug)]
pub(crate) struct PeerCertificate {
    /// As RFC 2253 writes it.
    pub(crate) subject: String,
    /// URIs among the alternative names.
    pub(crate) uris: Vec<String>,
    /// DNS names among the alternative names.
    pub(crate) dns_names: Vec<String>,
    /// SHA-256 of the certificate in hexadecimal digits, lower case.
    pub(crate) fingerprint: String,
}

impl TlsFacts {
    /// After the handshake.
    pub(crate) fn new(tls: &ServerTls, connection: &ServerConnection) -> Self {
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(_) | None => "-",
        };
        let suite = connection.negotiated_cipher_suite();
        let peer = connection
            .peer_certificates()
            .and_then(|chain| chain.first())
            .and_then(|der| PeerCertificate::read(der));
        let forwarded = match &peer {
            Some(peer) if tls.forwards_certificate => {
                HeaderValue::try_from(peer.forwarded(tls.own_uri(connection.server_name()))).ok()
            }
            Some(_) | None => None,
        };
        Self {
            version,
            cipher: suite.map(|it| it.suite()),
            is_resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            peer,
            forwarded,
        }
    }
}

impl PeerCertificate {
    fn read(der: &[u8]) -> Option<Self> {
        let certificate = Certificate::read(der)?;
        let (mut uris, mut dns_names) = (Vec::new(), Vec::new());
        for name in &certificate.names {
            match name {
                AlternativeName::Uri(uri) => uris.push((*uri).to_owned()),
                AlternativeName::Dns(name) => dns_names.push((*name).to_owned()),
                AlternativeName::Email(_) | AlternativeName::Ip(_) => {}
            }
        }
        let fingerprint = sha256_hex(der);
        Some(Self { subject: certificate.subject(), uris, dns_names, fingerprint })
    }

    /// Envoy's form of `x-forwarded-client-cert`, with one element: that of this client.
    fn forwarded(&self, by: Option<&str>) -> String {
        let mut text = String::new();
        if let Some(by) = by {
            let _ = write!(text, "By={};", quoted(by));
        }
        let _ = write!(text, "Hash={};Subject={}", self.fingerprint, always_quoted(&self.subject));
        for uri in &self.uris {
            let _ = write!(text, ";URI={}", quoted(uri));
        }
        for name in &self.dns_names {
            let _ = write!(text, ";DNS={}", quoted(name));
        }
        text
    }
}

/// A value that holds one of the separators is quoted; a quote in it is escaped.
fn quoted(value: &str) -> String {
    if value.contains([',', ';', '=', '"']) { always_quoted(value) } else { value.to_owned() }
}

fn always_quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('"', "\\\""))
}

fn sha256_hex(bytes: &[u8]) -> String {
    let suite = TLS13_AES_128_GCM_SHA256.tls13().expect("it is a suite of TLS 1.3");
    let hash = suite.common.hash_provider.hash(bytes);
    hash.as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_forwarded_as_envoy_does_it() {
        let peer = PeerCertificate {
            subject: "CN=web,O=\"A\\, B\"".to_owned(),
            uris: vec!["spiffe://mesh/web".to_owned(), "urn:a;b".to_owned()],
            dns_names: vec!["web.example.com".to_owned()],
            fingerprint: "00ff".to_owned(),
        };
        assert_eq!(
            peer.forwarded(Some("spiffe://mesh/proxy")),
            "By=spiffe://mesh/proxy;Hash=00ff;Subject=\"CN=web,O=\\\"A\\, B\\\"\";\
             URI=spiffe://mesh/web;URI=\"urn:a;b\";DNS=web.example.com"
        );
        assert!(peer.forwarded(None).starts_with("Hash=00ff;"));
    }

    #[test]
    fn the_fingerprint_is_sha_256() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex(b"abc"), expected);
    }
}
