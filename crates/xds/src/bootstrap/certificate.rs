//! The DNS names of a certificate, by which Envoy chooses one of several.
//!
//! Reads as much of PEM (RFC 7468) and DER (X.690) as it takes to find the subject's alternative names (RFC 5280,
//! section 4.2.1.6). Whether a certificate is valid is left to who uses it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// DER's tags that lead to the names.
const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
/// `[3]`, the extensions of a certificate.
const EXTENSIONS: u8 = 0xa3;
/// `[2]`, a DNS name among alternative names.
const DNS_NAME: u8 = 0x82;
/// 2.5.29.17, subject alternative name.
const SUBJECT_ALT_NAME: [u8; 3] = [0x55, 0x1d, 0x11];

/// Whether there is a block of this kind, `CERTIFICATE` for example, in a PEM file.
pub(crate) fn has_block(pem: &str, kind: &str) -> bool {
    pem.lines().any(|line| {
        let label = line.trim().strip_prefix("-----BEGIN ").and_then(|it| it.strip_suffix("-----"));
        label.is_some_and(|it| it.ends_with(kind))
    })
}

/// The DNS names of the first certificate of a PEM file, in lower case; none if it cannot be read.
pub(crate) fn dns_names(pem: &str) -> Vec<String> {
    let Some(der) = first_certificate(pem) else { return Vec::new() };
    alternative_names(&der).unwrap_or_default()
}

fn first_certificate(pem: &str) -> Option<Vec<u8>> {
    let after = pem.split_once("-----BEGIN CERTIFICATE-----")?.1;
    let body = after.split_once("-----END CERTIFICATE-----")?.0;
    let text: String = body.split_whitespace().collect();
    STANDARD.decode(text).ok()
}

fn alternative_names(der: &[u8]) -> Option<Vec<String>> {
    let (_, certificate, _) = element(der)?;
    let (_, signed, _) = element(certificate)?;
    let extensions = elements(signed).find(|it| it.0 == EXTENSIONS)?.1;
    let (_, extensions, _) = element(extensions)?;
    for (_, extension) in elements(extensions).filter(|it| it.0 == SEQUENCE) {
        let is_wanted = elements(extension)
            .any(|(tag, value)| tag == OBJECT_IDENTIFIER && value == SUBJECT_ALT_NAME);
        if !is_wanted {
            continue;
        }
        let value = elements(extension).find(|it| it.0 == OCTET_STRING)?.1;
        let (_, names, _) = element(value)?;
        let names = elements(names).filter(|it| it.0 == DNS_NAME);
        let text =
            |(_, name): (u8, &[u8])| std::str::from_utf8(name).ok().map(str::to_ascii_lowercase);
        return Some(names.filter_map(text).collect());
    }
    None
}

/// The elements of a constructed value; what is malformed ends them.
fn elements(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (tag, value, rest) = element(bytes)?;
        bytes = rest;
        Some((tag, value))
    })
}

/// The tag and value of the first element, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        // Certificates of up to 16 MiB have lengths of up to three bytes.
        0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((*tag, value, rest))
}
