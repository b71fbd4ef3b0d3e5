use std::fmt;

use aws_lc_rs::signature::ParsedPublicKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};

use crate::Algorithm;

/// A public key: RSA, P-256, P-384, P-521 or Ed25519.
pub struct Key {
    /// The key, by each algorithm that it can verify.
    parsed: Vec<(Algorithm, ParsedPublicKey)>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.parsed.iter().map(|it| it.0)).finish()
    }
}

/// A text that is no public key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// Neither a key nor a certificate.
    #[error("there is no PEM block \"PUBLIC KEY\" or \"CERTIFICATE\" in it")]
    NotPem,
    /// A certificate that cannot be read.
    #[error("the certificate cannot be read")]
    Certificate,
    /// Of another kind, or too short.
    #[error("it is no key of RSA (2048 to 8192 bits), P-256, P-384, P-521 or Ed25519")]
    Kind,
}

impl Key {
    /// Reads a public key, or the one of a certificate.
    ///
    /// # Errors
    /// When there is none, or of a kind that is not known.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let info = match SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()) {
            Ok(info) => info.as_ref().to_vec(),
            Err(_) => {
                let certificate = CertificateDer::from_pem_slice(text.as_bytes());
                let certificate = certificate.map_err(|_| KeyError::NotPem)?;
                key_of(&certificate).ok_or(KeyError::Certificate)?.to_vec()
            }
        };
        let parsed = Algorithm::ALL.into_iter().filter_map(|algorithm| {
            let key = ParsedPublicKey::new(algorithm.verification(), &info).ok()?;
            Some((algorithm, key))
        });
        let parsed: Vec<_> = parsed.collect();
        if parsed.is_empty() { Err(KeyError::Kind) } else { Ok(Self { parsed }) }
    }

    pub(crate) fn has_signed(&self, by: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let key = self.parsed.iter().find(|it| it.0 == by);
        key.is_some_and(|(_, key)| key.verify_sig(message, signature).is_ok())
    }
}

const SEQUENCE: u8 = 0x30;
/// The version of a certificate, which may be missing.
const VERSION: u8 = 0xa0;

/// One element of DER.
struct Element<'a> {
    tag: u8,
    /// With its tag and length.
    whole: &'a [u8],
    content: &'a [u8],
    /// What follows it.
    rest: &'a [u8],
}

/// The public key in a certificate (RFC 5280, 4.1): behind the serial number, the algorithm, the issuer, the times and the
/// subject.
fn key_of(certificate: &[u8]) -> Option<&[u8]> {
    let certificate = element(certificate).filter(|it| it.tag == SEQUENCE)?;
    let signed = element(certificate.content).filter(|it| it.tag == SEQUENCE)?;
    let mut rest = signed.content;
    let first = element(rest)?;
    if first.tag == VERSION {
        rest = first.rest;
    }
    for _ in 0..5 {
        rest = element(rest)?.rest;
    }
    element(rest).filter(|it| it.tag == SEQUENCE).map(|it| it.whole)
}

/// Reads one element; lengths of up to four bytes.
fn element(bytes: &[u8]) -> Option<Element<'_>> {
    let (&tag, behind) = bytes.split_first()?;
    let (&first, behind) = behind.split_first()?;
    let (length, head) = match first {
        0..=0x7f => (usize::from(first), 2),
        0x81..=0x84 => {
            let count = usize::from(first & 0x7f);
            let digits = behind.get(..count)?;
            let length = digits.iter().fold(0_usize, |sum, it| sum << 8 | usize::from(*it));
            (length, 2 + count)
        }
        _ => return None,
    };
    let end = head.checked_add(length)?;
    let whole = bytes.get(..end)?;
    Some(Element { tag, whole, content: &whole[head..], rest: &bytes[end..] })
}
