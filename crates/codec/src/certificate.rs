//! Whom an X.509 certificate (RFC 5280) speaks of: its subject and its alternative names, and for how long. Whether it may be believed is
//! not decided here.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whom a certificate speaks of. Borrows from its DER.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate<'a> {
    serial: &'a [u8],
    /// DER of the two times.
    validity: &'a [u8],
    /// DER of the relative distinguished names.
    subject: &'a [u8],
    /// Alternative names in their order; kinds that are not in [`AlternativeName`] are left out.
    pub names: Vec<AlternativeName<'a>>,
}

/// One alternative name of a certificate (RFC 5280, section 4.2.1.6).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AlternativeName<'a> {
    /// A host name; may begin with `*.`.
    Dns(&'a str),
    /// A URI, for example a SPIFFE id.
    Uri(&'a str),
    /// A mail address.
    Email(&'a str),
    /// An IP address.
    Ip(IpAddr),
}

impl<'a> Certificate<'a> {
    /// Reads a certificate; `None` when it is not one.
    #[must_use]
    pub fn read(der: &'a [u8]) -> Option<Self> {
        let certificate = Der(der).expect(SEQUENCE)?;
        let mut fields = Der(Der(certificate).expect(SEQUENCE)?);
        fields.skip_if(VERSION)?;
        let serial = fields.expect(INTEGER)?;
        fields.expect(SEQUENCE)?; // Algorithm of the signature.
        fields.expect(SEQUENCE)?; // Issuer.
        let validity = fields.expect(SEQUENCE)?;
        let subject = fields.expect(SEQUENCE)?;
        fields.expect(SEQUENCE)?; // Public key.
        let mut names = Vec::new();
        while let Some((tag, content)) = fields.next() {
            if tag == EXTENSIONS {
                names = alternative_names(content)?;
            }
        }
        Some(Self { serial, validity, subject, names })
    }

    /// The serial number in hexadecimal digits, lower case, without leading zeros.
    #[must_use]
    pub fn serial_number(&self) -> String {
        let digits = self.serial.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        digits.trim_start_matches('0').to_owned()
    }

    /// From when and until when it is valid, in seconds since 1970; `None` when these are not times, or times before.
    #[must_use]
    pub fn validity_unix_s(&self) -> Option<(u64, u64)> {
        let mut times = Der(self.validity);
        let (from, until) = (times.next()?, times.next()?);
        Some((unix_s(from)?, unix_s(until)?))
    }

    /// The subject as RFC 2253 writes it: the most specific name first, `CN=web,O=Example`.
    #[must_use]
    pub fn subject(&self) -> String {
        let mut relative = Der(self.subject);
        let mut all = Vec::new();
        while let Some((_, set)) = relative.next() {
            all.push(set);
        }
        let mut text = String::new();
        for set in all.into_iter().rev() {
            let mut attributes = Der(set);
            let mut separator = if text.is_empty() { "" } else { "," };
            while let Some((_, attribute)) = attributes.next() {
                text.push_str(separator);
                separator = "+";
                write_attribute(&mut text, attribute);
            }
        }
        text
    }
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const OBJECT_ID: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
const BOOLEAN: u8 = 0x01;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xA0;
const EXTENSIONS: u8 = 0xA3;
/// `2.5.29.17`.
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1D, 0x11];

/// Values of DER, one after the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7F => (usize::from(first), rest),
            // Three bytes say 16 MiB, more than any certificate.
            0x81..=0x83 => {
                let (length, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
                let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                (length, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn expect(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, content)| content)
    }

    fn skip_if(&mut self, tag: u8) -> Option<()> {
        if self.0.first() == Some(&tag) {
            self.next()?;
        }
        Some(())
    }
}

/// `UTCTime` (`YYMMDDHHMMSSZ`) or `GeneralizedTime` (`YYYYMMDDHHMMSSZ`), as RFC 5280, section 4.1.2.5, narrows them
/// down.
fn unix_s((tag, text): (u8, &[u8])) -> Option<u64> {
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (number(year)?, rest)
        }
        _ => return None,
    };
    let [month, day, hour, minute, second] = match rest {
        [digits @ .., b'Z'] if digits.len() == 10 => {
            let mut pairs = digits.chunks_exact(2).map(number);
            let mut next = || pairs.next().flatten();
            [next()?, next()?, next()?, next()?, next()?]
        }
        _ => return None,
    };
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1970 {
        return None;
    }
    // Days since 1970-01-01, with years that begin in March so that the leap day is the last
    // (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    let march_year = year - u64::from(month <= 2);
    let (era, of_era) = (march_year / 400, march_year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    let days = days.checked_sub(719_468)?;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'))
    })
}

fn alternative_names(extensions: &[u8]) -> Option<Vec<AlternativeName<'_>>> {
    let mut extensions = Der(Der(extensions).expect(SEQUENCE)?);
    while let Some((_, extension)) = extensions.next() {
        let mut extension = Der(extension);
        if extension.expect(OBJECT_ID)? != SUBJECT_ALTERNATIVE_NAME {
            continue;
        }
        extension.skip_if(BOOLEAN)?;
        let mut found = Der(Der(extension.expect(OCTET_STRING)?).expect(SEQUENCE)?);
        let mut names = Vec::new();
        while let Some((tag, content)) = found.next() {
            names.extend(alternative_name(tag, content));
        }
        return Some(names);
    }
    Some(Vec::new())
}

fn alternative_name(tag: u8, content: &[u8]) -> Option<AlternativeName<'_>> {
    let text = || std::str::from_utf8(content).ok().filter(|it| it.is_ascii());
    match tag & 0x1F {
        1 => text().map(AlternativeName::Email),
        2 => text().map(AlternativeName::Dns),
        6 => text().map(AlternativeName::Uri),
        7 => {
            let v4 = <[u8; 4]>::try_from(content).map(|it| Ipv4Addr::from(it).into());
            let v6 = || <[u8; 16]>::try_from(content).map(|it| Ipv6Addr::from(it).into());
            v4.or_else(|_| v6()).ok().map(AlternativeName::Ip)
        }
        _ => None,
    }
}

/// Object ids of attributes with the names that RFC 2253 and OpenSSL give them.
const ATTRIBUTES: &[(&[u8], &str)] = &[
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 4], "SN"),
    (&[0x55, 4, 5], "serialNumber"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "street"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 12], "title"),
    (&[0x55, 4, 42], "GN"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 1], "UID"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 25], "DC"),
    (&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 9, 1], "emailAddress"),
];

fn write_attribute(text: &mut String, attribute: &[u8]) {
    let mut attribute = Der(attribute);
    let id = attribute.expect(OBJECT_ID).unwrap_or_default();
    let (tag, value) = attribute.next().unwrap_or_default();
    let named = ATTRIBUTES.iter().find(|(known, _)| *known == id);
    match named {
        Some((_, name)) => text.push_str(name),
        None => write_object_id(text, id),
    }
    text.push('=');
    match named.and_then(|_| decoded(tag, value)) {
        Some(value) => write_escaped(text, &value),
        None => {
            text.push('#');
            for byte in value {
                let _ = write!(text, "{byte:02X}");
            }
        }
    }
}

/// Dotted numbers. Numbers above 2^32 do not occur in names.
fn write_object_id(text: &mut String, id: &[u8]) {
    let mut number: u32 = 0;
    let mut is_first = true;
    for byte in id {
        number = number << 7 | u32::from(byte & 0x7F);
        if byte & 0x80 != 0 {
            continue;
        }
        let written = if is_first {
            let first = (number / 40).min(2);
            write!(text, "{first}.{}", number - first * 40)
        } else {
            write!(text, ".{number}")
        };
        written.expect("writing to a String does not fail");
        is_first = false;
        number = 0;
    }
}

fn decoded(tag: u8, value: &[u8]) -> Option<String> {
    match tag {
        // UTF8String, PrintableString, IA5String, NumericString.
        0x0C | 0x13 | 0x16 | 0x12 => std::str::from_utf8(value).ok().map(ToOwned::to_owned),
        // TeletexString is used for Latin-1.
        0x14 => Some(value.iter().map(|byte| char::from(*byte)).collect()),
        // BMPString.
        0x1E => {
            let units = value.chunks_exact(2).map(|it| u16::from_be_bytes([it[0], it[1]]));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        _ => None,
    }
}

fn write_escaped(text: &mut String, value: &str) {
    let last = value.chars().count().saturating_sub(1);
    for (at, letter) in value.chars().enumerate() {
        let is_special = match letter {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
            '#' => at == 0,
            ' ' => at == 0 || at == last,
            _ => false,
        };
        if letter.is_ascii_control() || !letter.is_ascii() {
            let mut bytes = [0; 4];
            for byte in letter.encode_utf8(&mut bytes).bytes() {
                let _ = write!(text, "\\{byte:02X}");
            }
            continue;
        }
        if is_special {
            text.push('\\');
        }
        text.push(letter);
    }
}

#[cfg(test)]
mod tests;
