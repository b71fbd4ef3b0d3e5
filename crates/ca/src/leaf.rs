use std::fmt;
use std::time::Duration;

use model::Timestamp;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};

use crate::authority::{BACKDATED, colons, millis, random_serial, set_validity};
use crate::{Authority, CaError};

/// How long a leaf is valid when nobody says otherwise (Consul's `LeafCertTTL`).
pub const LEAF_TTL: Duration = Duration::from_hours(72);

/// The certificate of a service, with its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The service.
    pub service: String,
    /// Its identity: `spiffe://<trust domain>/ns/default/dc/<datacenter>/svc/<service>`.
    pub uri: String,
    /// The certificate, PEM.
    pub cert_pem: String,
    /// Its key, PEM (PKCS #8).
    pub key_pem: String,
    /// Its serial number: hex digits in pairs with colons.
    pub serial: String,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaf")
            .field("uri", &self.uri)
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}

impl Leaf {
    /// When a new one is to be issued: two thirds into its validity.
    #[must_use]
    pub fn renew_at(&self) -> Timestamp {
        let validity = self.not_after.since(self.not_before);
        self.not_before.plus(validity * 2 / 3)
    }
}

impl Authority {
    /// Issues a certificate to a service, valid for `ttl`, and not longer than the root.
    ///
    /// # Errors
    /// When the root is not valid now, the name cannot stand in a certificate, or a key cannot be made.
    pub fn issue(
        &self,
        service: &str,
        datacenter: &str,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<Leaf, CaError> {
        if now < self.not_before || now >= self.not_after {
            return Err(CaError::RootExpired);
        }
        let failed = |source| CaError::Certificate { name: service.to_owned(), source };
        if service.is_empty() || service.contains(['/', '?', '#', '%']) {
            return Err(CaError::Name { name: service.to_owned() });
        }
        let uri =
            format!("spiffe://{}/ns/default/dc/{datacenter}/svc/{service}", self.trust_domain());
        let serial = random_serial()?;
        let start = Timestamp(now.0.saturating_sub(millis(BACKDATED)).max(self.not_before.0));
        let end = now.plus(ttl).min(self.not_after);
        let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(uri.clone().try_into().map_err(failed)?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.serial_number = Some(SerialNumber::from(serial));
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, start, end);
        let key = KeyPair::generate().map_err(failed)?;
        let root_key = KeyPair::from_pem(&self.key_pem).map_err(failed)?;
        let issuer = Issuer::from_ca_cert_pem(&self.cert_pem, root_key).map_err(failed)?;
        let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
        Ok(Leaf {
            service: service.to_owned(),
            uri,
            cert_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            serial: colons(&serial.to_be_bytes()),
            not_before: start,
            not_after: end,
        })
    }
}
