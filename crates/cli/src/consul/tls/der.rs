//! What is needed of an authority's certificate to sign in its name: its subject and the identifier of its key (RFC 5280,
//! section 4.1; the encoding is DER).

use anyhow::{Context, bail, ensure};
use rcgen::{DistinguishedName, DnType, DnValue};

/// Who signs.
#[derive(Debug)]
pub(super) struct Authority {
    pub(super) name: DistinguishedName,
    pub(super) key_id: Vec<u8>,
}

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0]`: the version of a certificate; `[3]`: its extensions.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// 2.5.29.14, the identifier of the subject's key.
const KEY_ID: [u8; 3] = [0x55, 0x1d, 0x0e];

/// Bytes of which elements are taken from the front.
#[derive(Clone, Copy)]
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    /// The next element: its tag, and what is in it.
    fn next(&mut self) -> anyhow::Result<(u8, Reader<'b>)> {
        let [tag, length, rest @ ..] = self.0 else { bail!("the certificate ends too early") };
        let (length, rest) = match usize::from(*length) {
            short @ 0..=0x7f => (short, rest),
            long if (0x81..=0x84).contains(&long) => {
                let count = long - 0x80;
                ensure!(rest.len() >= count, "the certificate ends too early");
                let (digits, rest) = rest.split_at(count);
                (digits.iter().fold(0, |sum, digit| (sum << 8) | usize::from(*digit)), rest)
            }
            _ => bail!("a length in the certificate is not of DER"),
        };
        ensure!(rest.len() >= length, "the certificate ends too early");
        let (content, rest) = rest.split_at(length);
        self.0 = rest;
        Ok((*tag, Reader(content)))
    }

    fn expect(&mut self, tag: u8) -> anyhow::Result<Reader<'b>> {
        let (found, content) = self.next()?;
        ensure!(found == tag, "the certificate has {found:#x} where {tag:#x} must be");
        Ok(content)
    }

    fn peek(self) -> Option<u8> {
        self.0.first().copied()
    }
}

/// Reads them from a certificate.
pub(super) fn authority(certificate: &[u8]) -> anyhow::Result<Authority> {
    let mut body = Reader(certificate).expect(SEQUENCE)?.expect(SEQUENCE)?;
    if body.peek() == Some(VERSION) {
        body.next()?;
    }
    body.expect(INTEGER)?;
    // Algorithm, issuer and validity come before the subject; its key after it.
    for _ in 0..3 {
        body.expect(SEQUENCE)?;
    }
    let name = name(body.expect(SEQUENCE)?)?;
    body.expect(SEQUENCE)?;
    while let Some(tag) = body.peek() {
        let (_, mut content) = body.next()?;
        if tag == EXTENSIONS
            && let Some(key_id) = key_id(content.expect(SEQUENCE)?)?
        {
            return Ok(Authority { name, key_id });
        }
    }
    bail!("it does not identify its key")
}

fn name(mut sequence: Reader<'_>) -> anyhow::Result<DistinguishedName> {
    let mut name = DistinguishedName::new();
    while sequence.peek().is_some() {
        let mut attribute = sequence.expect(SET)?.expect(SEQUENCE)?;
        let kind = DnType::from_oid(&object_id(attribute.expect(OBJECT_ID)?.0)?);
        let (tag, value) = attribute.next()?;
        let text = std::str::from_utf8(value.0).context("its name is not UTF-8")?;
        name.push(
            kind,
            match tag {
                0x0c => DnValue::Utf8String(text.to_owned()),
                0x13 => DnValue::PrintableString(text.try_into()?),
                0x16 => DnValue::Ia5String(text.try_into()?),
                other => bail!("its name has a text of kind {other:#x}, which is not supported"),
            },
        );
    }
    Ok(name)
}

/// Numbers of seven bits a byte; the first two are in one (X.690, 8.19).
fn object_id(bytes: &[u8]) -> anyhow::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    let mut number: u64 = 0;
    for byte in bytes {
        ensure!(number < 1 << 50, "an object identifier in its name is too long");
        number = (number << 7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if numbers.is_empty() {
                let first = (number / 40).min(2);
                numbers.extend([first, number - first * 40]);
            } else {
                numbers.push(number);
            }
            number = 0;
        }
    }
    ensure!(!numbers.is_empty(), "its name has a part without a kind");
    Ok(numbers)
}

fn key_id(mut extensions: Reader<'_>) -> anyhow::Result<Option<Vec<u8>>> {
    while extensions.peek().is_some() {
        let mut extension = extensions.expect(SEQUENCE)?;
        if extension.expect(OBJECT_ID)?.0 != KEY_ID {
            continue;
        }
        loop {
            // It may say first whether it is critical.
            let (tag, mut content) = extension.next()?;
            if tag == OCTET_STRING {
                return Ok(Some(content.expect(OCTET_STRING)?.0.to_vec()));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    #[test]
    fn what_was_put_into_a_certificate_is_read_from_it() {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let country = DnValue::PrintableString("US".try_into().unwrap());
        params.distinguished_name.push(DnType::CountryName, country);
        params.distinguished_name.push(DnType::from_oid(&[2, 5, 4, 17]), "94105");
        params.distinguished_name.push(DnType::CommonName, "An authority".repeat(20));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let read = authority(certificate.der()).unwrap();
        assert_eq!(read.key_id, params.key_identifier(&key));
        let values = |name: &DistinguishedName| {
            name.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        assert_eq!(values(&read.name), values(&params.distinguished_name));
    }

    #[test]
    fn a_certificate_that_is_cut_off_is_an_error() {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let bytes = certificate.der();
        for end in 0..bytes.len() {
            assert!(authority(&bytes[..end]).is_err(), "{end}");
        }
    }
}
