use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest;
use model::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose, SanType,
    SerialNumber,
};
use serde::{Deserialize, Serialize};

use crate::CaError;

/// How long a root is valid (Consul's `RootCertTTL`).
const ROOT_TTL: Duration = Duration::from_hours(87_600);
/// Clocks of others may be behind by so much.
pub(crate) const BACKDATED: Duration = Duration::from_mins(1);

/// A root certificate with its key: the authority of one trust domain.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// UUID of the trust domain, which is `<cluster id>.consul`.
    pub cluster_id: String,
    /// The certificate, PEM.
    pub cert_pem: String,
    /// Its key, PEM (PKCS #8).
    pub key_pem: String,
    /// Its serial number.
    pub serial: u64,
    /// Fingerprint of the certificate: SHA-256, hex digits in pairs with colons.
    pub id: String,
    /// Identifier of the key, in the same form.
    pub key_id: String,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("cluster_id", &self.cluster_id)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes an authority of a new trust domain, valid for ten years.
    ///
    /// # Errors
    /// When a key cannot be made, or `cluster_id` cannot stand in a certificate.
    pub fn new(cluster_id: &str, now: Timestamp) -> Result<Self, CaError> {
        let failed = |source| CaError::Certificate { name: cluster_id.to_owned(), source };
        let key = KeyPair::generate().map_err(failed)?;
        let serial = random_serial()?;
        let start = Timestamp(now.0.saturating_sub(millis(BACKDATED)));
        let end = now.plus(ROOT_TTL);
        let params = params(cluster_id, serial, start, end).map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        Ok(Self {
            cluster_id: cluster_id.to_owned(),
            id: fingerprint(certificate.der()),
            cert_pem: certificate.pem(),
            key_id: colons(&params.key_identifier(&key)),
            key_pem: key.serialize_pem(),
            serial,
            not_before: start,
            not_after: end,
        })
    }

    /// The trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> String {
        format!("{}.consul", self.cluster_id)
    }

    pub(crate) fn params(&self) -> Result<CertificateParams, rcgen::Error> {
        params(&self.cluster_id, self.serial, self.not_before, self.not_after)
    }
}

fn params(
    cluster_id: &str,
    serial: u64,
    start: Timestamp,
    end: Timestamp,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("Leno CA {cluster_id}"));
    params.subject_alt_names =
        vec![SanType::URI(format!("spiffe://{cluster_id}.consul").try_into()?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params.serial_number = Some(SerialNumber::from(serial));
    set_validity(&mut params, start, end);
    Ok(params)
}

/// Whole seconds; the times of certificates have no others.
pub(crate) fn set_validity(params: &mut CertificateParams, start: Timestamp, end: Timestamp) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(start.0 / 1000);
    params.not_after = epoch + Duration::from_secs(end.0 / 1000);
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A positive number of 63 bits: clients keep it in a signed one.
pub(crate) fn random_serial() -> Result<u64, CaError> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| CaError::Random)?;
    Ok((u64::from_be_bytes(bytes) >> 1).max(1))
}

fn fingerprint(der: &[u8]) -> String {
    colons(digest::digest(&digest::SHA256, der).as_ref())
}

/// Hex digits in pairs with colons between them.
pub(crate) fn colons(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(":")
}
