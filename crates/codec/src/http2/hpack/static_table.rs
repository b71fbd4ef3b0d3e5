//! The static table of RFC 7541, appendix A.

use http::header::{self, HeaderName};

/// Entries of the static table; dynamic ones are counted on from here.
pub(super) const LEN: usize = 61;
pub(super) const AUTHORITY: u8 = 1;
pub(super) const METHOD: u8 = 2;
pub(super) const PATH: u8 = 4;
pub(super) const SCHEME: u8 = 6;
pub(super) const STATUS: u8 = 8;
/// The first entry whose name is not that of a pseudo-header; from here on every name occurs once.
pub(super) const FIRST_REGULAR: u8 = LAST_PSEUDO + 1;
const LAST_PSEUDO: u8 = 14;

/// Values of the entries before [`FIRST_REGULAR`], from 2 on.
const PSEUDO_VALUES: [&str; 13] = [
    "GET",
    "POST",
    "/",
    "/index.html",
    "http",
    "https",
    "200",
    "204",
    "206",
    "304",
    "400",
    "404",
    "500",
];
/// The one of the others that has a value.
pub(super) const ACCEPT_ENCODING: u8 = 16;
const ACCEPT_ENCODING_VALUE: &str = "gzip, deflate";

/// Names of the entries from [`FIRST_REGULAR`] on.
#[rustfmt::skip]
const NAMES: [&str; LEN - 14] = [
    "accept-charset", "accept-encoding", "accept-language", "accept-ranges", "accept",
    "access-control-allow-origin", "age", "allow", "authorization", "cache-control",
    "content-disposition", "content-encoding", "content-language", "content-length",
    "content-location", "content-range", "content-type", "cookie", "date", "etag", "expect",
    "expires", "from", "host", "if-match", "if-modified-since", "if-none-match", "if-range",
    "if-unmodified-since", "last-modified", "link", "location", "max-forwards",
    "proxy-authenticate", "proxy-authorization", "range", "referer", "refresh", "retry-after",
    "server", "set-cookie", "strict-transport-security", "transfer-encoding", "user-agent",
    "vary", "via", "www-authenticate",
];

/// The same as header names.
static HEADER_NAMES: [HeaderName; LEN - 14] = [
    header::ACCEPT_CHARSET,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::ACCEPT_RANGES,
    header::ACCEPT,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::AGE,
    header::ALLOW,
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_LOCATION,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::DATE,
    header::ETAG,
    header::EXPECT,
    header::EXPIRES,
    header::FROM,
    header::HOST,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::LAST_MODIFIED,
    header::LINK,
    header::LOCATION,
    header::MAX_FORWARDS,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::RANGE,
    header::REFERER,
    header::REFRESH,
    header::RETRY_AFTER,
    header::SERVER,
    header::SET_COOKIE,
    header::STRICT_TRANSPORT_SECURITY,
    header::TRANSFER_ENCODING,
    header::USER_AGENT,
    header::VARY,
    header::VIA,
    header::WWW_AUTHENTICATE,
];

/// The name of an entry that is not a pseudo-header; `index` is from [`FIRST_REGULAR`] to [`LEN`].
pub(super) fn header_name(index: u8) -> HeaderName {
    HEADER_NAMES[usize::from(index - FIRST_REGULAR)].clone()
}

/// The value of an entry, empty for most.
pub(super) fn value(index: u8) -> &'static str {
    match index {
        ACCEPT_ENCODING => ACCEPT_ENCODING_VALUE,
        METHOD..=LAST_PSEUDO => PSEUDO_VALUES[usize::from(index - METHOD)],
        _ => "",
    }
}

/// Slots of the table below: enough that most names are found at the first look.
const SLOTS: usize = 256;

/// Where the names are, by [`slot`], then onward. 0 is empty.
const SLOT_OF_NAME: [u8; SLOTS] = {
    let mut slots = [0; SLOTS];
    let mut idx = 0;
    while idx < NAMES.len() {
        let mut at = slot(NAMES[idx].as_bytes());
        while slots[at] != 0 {
            at = (at + 1) % SLOTS;
        }
        slots[at] = idx as u8 + FIRST_REGULAR;
        idx += 1;
    }
    slots
};

const fn slot(name: &[u8]) -> usize {
    let first = name[0] as usize;
    let last = name[name.len() - 1] as usize;
    let middle = name[name.len() / 2] as usize;
    (name.len() * 31 + first * 7 + middle * 5 + last * 3) % SLOTS
}

/// The index of a name that is not that of a pseudo-header.
pub(super) fn index_of(name: &[u8]) -> Option<u8> {
    let mut at = slot(name);
    loop {
        let index = SLOT_OF_NAME[at];
        if index == 0 {
            return None;
        }
        if NAMES[usize::from(index - FIRST_REGULAR)].as_bytes() == name {
            return Some(index);
        }
        at = (at + 1) % SLOTS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_at_its_index_and_others_are_not() {
        for (idx, name) in NAMES.iter().enumerate() {
            let index = idx as u8 + FIRST_REGULAR;
            assert_eq!(header_name(index), *name);
            assert_eq!(index_of(name.as_bytes()), Some(index));
        }
        for name in ["x", "x-request-id", "te", "forwarded", "accept-encodinh"] {
            assert_eq!(index_of(name.as_bytes()), None, "{name}");
        }
        assert_eq!(
            (header_name(61).as_str(), header_name(32).as_str()),
            ("www-authenticate", "cookie")
        );
    }
}
