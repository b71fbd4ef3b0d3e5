//! TLS on both sides, and the secrets that it needs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ValueMatch;
use crate::listener::CertificatesByServerName;

/// What a listener shows of itself, and asks of its clients.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TlsServer {
    /// Names of secrets by server name (`example.com`, `*.example.com`).
    pub by_server_name: CertificatesByServerName,
    /// Secret for any other server name, or none: then the handshake is refused.
    pub default: Option<String>,
    /// Protocols offered through ALPN, the preferred one first. Empty: what the listener speaks.
    pub alpn: Vec<String>,
    /// Lowest and highest version.
    pub versions: TlsVersions,
    /// Secret whose [`Secret::trust_bundle_pem`] certificates of clients must lead to.
    pub client_trust: Option<String>,
    /// A client without a certificate is refused. Needs `client_trust`.
    pub require_client_certificate: bool,
    /// With `client_trust`: of these one must match one of the alternative names of the client's certificate; any
    /// does when empty.
    pub client_names: Vec<ValueMatch>,
    /// What becomes of `x-forwarded-client-cert`: set from the client's certificate, or removed.
    pub forward_client_certificate: bool,
}

/// Versions of TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TlsVersions {
    /// Lowest.
    pub min: TlsVersion,
    /// Highest.
    pub max: TlsVersion,
}

impl Default for TlsVersions {
    fn default() -> Self {
        Self { min: TlsVersion::V12, max: TlsVersion::V13 }
    }
}

/// A version of TLS.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2.
    V12,
    /// TLS 1.3.
    V13,
}

/// How the endpoints of a cluster are spoken to with TLS.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TlsClient {
    /// Server name; none is sent when empty, unless `server_name_from_host`.
    pub server_name: String,
    /// The server name is the host that the request is sent to.
    pub server_name_from_host: bool,
    /// Secret whose [`Secret::trust_bundle_pem`] the endpoint's certificate must lead to. Without it no certificate is
    /// verified, which is Envoy's default and named in a warning by whoever reads one.
    pub trust: Option<String>,
    /// Of these one must match one of the alternative names of the endpoint's certificate; when empty, the server name
    /// must (where one is sent).
    pub names: Vec<ValueMatch>,
    /// Secret with the certificate that is shown to endpoints that ask for one.
    pub certificate: Option<String>,
    /// Protocols offered through ALPN. Empty: what the cluster speaks.
    pub alpn: Vec<String>,
    /// Lowest and highest version.
    pub versions: TlsVersions,
}

/// A certificate with its key, certificates to trust, or both.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Secret {
    /// Name, unique in a proxy.
    pub name: String,
    /// Certificates as PEM, leaf first. Empty when the secret only says whom to trust.
    pub certificate_chain_pem: String,
    /// Private key as PEM.
    #[serde(skip_serializing, default)]
    pub private_key: PrivateKey,
    /// Certificates of authorities as PEM. Empty when the secret only shows who one is.
    #[serde(default)]
    pub trust_bundle_pem: String,
}

/// A private key as PEM, not shown by `Debug` and not serialized.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct PrivateKey(pub String);

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(redacted)")
    }
}
