use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest;
use model::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData,
    SanType, SerialNumber,
};
use serde::{Deserialize, Serialize};
use x509_parser::extensions::ParsedExtension;
use x509_parser::pem::parse_x509_pem;

use crate::CaError;

/// How long a root is valid (Consul's `RootCertTTL`).
const ROOT_TTL: Duration = Duration::from_hours(87_600);
/// Serial numbers have 63 bits here: clients keep them in signed numbers.
const SERIAL_MAX: u64 = u64::MAX >> 1;
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

    /// The authority that a certificate and its key make, for the trust domain `cluster_id`. Both are PEM; the key is that of
    /// the certificate.
    ///
    /// # Errors
    /// When either cannot be read, they do not belong together, or the certificate may not sign others.
    pub fn given(cluster_id: &str, cert_pem: &str, key_pem: &str) -> Result<Self, CaError> {
        let refused = |why: String| CaError::Given { why };
        let key = KeyPair::from_pem(key_pem)
            .map_err(|error| refused(format!("its private key cannot be read: {error}")))?;
        let (_, pem) = parse_x509_pem(cert_pem.as_bytes())
            .map_err(|error| refused(format!("it is no PEM: {error}")))?;
        let certificate =
            pem.parse_x509().map_err(|error| refused(format!("it is no certificate: {error}")))?;
        if !certificate.is_ca() {
            return Err(refused("it is not the certificate of an authority".to_owned()));
        }
        if certificate.public_key().raw != key.subject_public_key_info() {
            return Err(refused("the private key is another certificate's".to_owned()));
        }
        let signs = certificate.key_usage().ok().flatten();
        if signs.is_some_and(|usage| !usage.value.key_cert_sign()) {
            return Err(refused("its key may not sign certificates".to_owned()));
        }
        let key_id = certificate.extensions().iter().find_map(|it| match it.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(colons(id.0)),
            _ => None,
        });
        let at = |seconds: i64| Timestamp(u64::try_from(seconds).unwrap_or_default() * 1000);
        let serial = certificate.raw_serial().iter().rev().take(8).rev();
        Ok(Self {
            cluster_id: cluster_id.to_owned(),
            id: fingerprint(&pem.contents),
            cert_pem: cert_pem.to_owned(),
            key_id: key_id.unwrap_or_default(),
            key_pem: key_pem.to_owned(),
            serial: serial.fold(0, |serial, byte| (serial << 8) | u64::from(*byte)) & SERIAL_MAX,
            not_before: at(certificate.validity().not_before.timestamp()),
            not_after: at(certificate.validity().not_after.timestamp()),
        })
    }

    /// The authorities of a stored list; what cannot be read is left out.
    #[must_use]
    pub fn all_of(list: &serde_json::Value) -> Vec<Self> {
        let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().filter_map(|it| serde_json::from_value(it.clone()).ok()).collect()
    }

    /// The same without its key: what there was issued can still be verified, and nothing more is issued.
    #[must_use]
    pub fn retired(self) -> Self {
        Self { key_pem: String::new(), ..self }
    }

    /// The trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> String {
        format!("{}.consul", self.cluster_id)
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
    Ok((u64::from_be_bytes(bytes) & SERIAL_MAX).max(1))
}

fn fingerprint(der: &[u8]) -> String {
    colons(digest::digest(&digest::SHA256, der).as_ref())
}

/// Hex digits in pairs with colons between them.
pub(crate) fn colons(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(":")
}
