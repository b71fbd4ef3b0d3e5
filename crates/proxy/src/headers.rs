//! What a proxy does to a header block: hop-by-hop fields go (RFC 9110, section 7.6.1), the trail of forwarding is
//! added, and the two versions of HTTP are converted into each other (RFC 9113, section 8).

use std::ops::Range;

use codec::message::{FieldValue, HeaderMap, IntoValue, NameSet};
use http::header::{CONNECTION, COOKIE, HOST, TE, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Uri, Version};

use crate::buffers;

pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(crate) const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
pub(crate) const X_FORWARDED_CLIENT_CERT: HeaderName =
    HeaderName::from_static("x-forwarded-client-cert");
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const SERVICE_TIME: HeaderName =
    HeaderName::from_static("x-envoy-upstream-service-time");
/// A retry would make it worse.
pub(crate) const ENVOY_OVERLOADED: HeaderName = HeaderName::from_static("x-envoy-overloaded");
/// An endpoint asks to be taken out, as if a health check had failed.
pub(crate) const IMMEDIATE_FAIL: HeaderName =
    HeaderName::from_static("x-envoy-immediate-health-check-fail");
pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(crate) const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

const HOP_BY_HOP: [&str; 7] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "te",
];
const HOP_BY_HOP_SET: NameSet = NameSet::of(&HOP_BY_HOP);

/// True when the comma-separated lists in all values of `name` hold `token`.
pub(crate) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .any(|value| tokens(value).any(|it| it.eq_ignore_ascii_case(token.as_bytes())))
}

fn tokens(value: FieldValue<'_>) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Removes the fields that concern one connection only, and those that `Connection` names. `TE: trailers` stays
/// because trailers are passed on. True when `Connection` named others than the usual ones.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) -> bool {
    // Most heads have none.
    if !headers.may_have_any(HOP_BY_HOP_SET) {
        return false;
    }
    let named = named_by_connection(headers);
    let takes_trailers = has_token(headers, &TE, "trailers");
    headers.retain(|name| {
        let name = name.as_bytes();
        !HOP_BY_HOP.iter().any(|it| it.as_bytes() == name) && !named.contains(name)
    });
    if takes_trailers {
        headers.append(TE, FieldValue::from_static("trailers"));
    }
    !named.is_empty()
}

/// What `Connection` names beside the usual ones, in order, so that however much it names each line is looked for in few
/// steps.
struct Named {
    /// In lower case, one behind the other.
    text: Vec<u8>,
    names: Vec<Range<usize>>,
}

impl Named {
    fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn contains(&self, name: &[u8]) -> bool {
        self.names.binary_search_by(|it| self.text[it.clone()].cmp(name)).is_ok()
    }
}

fn named_by_connection(headers: &HeaderMap) -> Named {
    let mut named = Named { text: Vec::new(), names: Vec::new() };
    for token in headers.get_all(CONNECTION).flat_map(tokens) {
        // The usual ones are no header names, and some must not be taken away: without them the message would end
        // somewhere else, or go somewhere else, than the sender meant.
        let is_kept =
            ["", "close", "keep-alive", "upgrade", "te", "host", "content-length", "trailer"]
                .iter()
                .any(|it| token.eq_ignore_ascii_case(it.as_bytes()));
        if !is_kept {
            let at = named.text.len();
            named.text.extend(token.iter().map(u8::to_ascii_lowercase));
            named.names.push(at..named.text.len());
        }
    }
    let Named { text, names } = &mut named;
    names.sort_unstable_by(|a, b| text[a.clone()].cmp(&text[b.clone()]));
    named
}

/// The value of `Upgrade` when the request asks for one that is passed on. h2c is not: who speaks HTTP/2 says so at
/// once.
pub(crate) fn wanted_upgrade(version: Version, headers: &HeaderMap) -> Option<HeaderValue> {
    let upgrade = headers.get(UPGRADE)?;
    let wanted = version == Version::HTTP_11
        && has_token(headers, &CONNECTION, "upgrade")
        && !upgrade.as_bytes().to_ascii_lowercase().starts_with(b"h2c");
    wanted.then(|| buffers::copy(upgrade))
}

/// Adds who asked to the trail that the request has left.
pub(crate) fn append_forwarded_for(headers: &mut HeaderMap, peer: &HeaderValue) {
    if headers.contains_key(X_FORWARDED_FOR) {
        join(headers, &X_FORWARDED_FOR, b", ", Some(peer));
    } else {
        headers.append(X_FORWARDED_FOR, peer);
    }
}

/// Makes one line of all those with a name, and of one more value.
fn join(headers: &mut HeaderMap, name: &HeaderName, between: &[u8], more: Option<&HeaderValue>) {
    let values = headers.get_all(name).map(FieldValue::as_bytes);
    let values: Vec<&[u8]> = values.chain(more.map(HeaderValue::as_bytes)).collect();
    let joined = values.join(between);
    let joined = FieldValue::new(&joined).expect("joined values are a value");
    headers.insert(name, joined);
}

/// The target and the headers as HTTP/1.1 wants them: a path, `Host`, one `Cookie` line.
pub(crate) fn for_http1(uri: &mut Uri, headers: &mut HeaderMap, authority: &HeaderValue) {
    if uri.authority().is_some() || uri.scheme().is_some() {
        *uri = origin_form(uri);
    }
    headers.insert(HOST, authority);
    if headers.get_all(COOKIE).nth(1).is_some() {
        join(headers, &COOKIE, b"; ", None);
    }
}

/// The target and the headers as HTTP/2 wants them: everything in the target, no `Host`. `None` when the authority is
/// not one.
pub(crate) fn for_http2(
    uri: &Uri,
    headers: &mut HeaderMap,
    authority: &HeaderValue,
) -> Option<Uri> {
    headers.remove(HOST);
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(Authority::try_from(authority.as_bytes()).ok()?);
    parts.path_and_query = Some(path_and_query(uri));
    Uri::from_parts(parts).ok()
}

fn origin_form(uri: &Uri) -> Uri {
    path_and_query(uri).into()
}

fn path_and_query(uri: &Uri) -> PathAndQuery {
    uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
}

/// Says that the connection ends after this response. HTTP/2 leaves it out.
pub(crate) fn announce_close(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
}

/// A number as a header value.
pub(crate) struct Number([u8; 20]);

pub(crate) fn number(value: u64) -> Number {
    let mut text = [0; 20];
    codec::http1::decimal(value, &mut text);
    Number(text)
}

impl IntoValue for Number {
    fn value(&self) -> FieldValue<'_> {
        let digits = self.0.iter().position(|it| *it != 0).unwrap_or(0);
        FieldValue::new(&self.0[digits..]).expect("digits are a value")
    }
}

/// A random UUID (version 4).
pub(crate) struct RequestId([u8; 36]);

/// The one with these random bits.
pub(crate) fn request_id(random: u128) -> RequestId {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let version = 0x4 << 76;
    let variant = 0x8 << 60;
    let bits = random & !(0xf << 76) & !(0xc << 60) | version | variant;
    let mut text = [b'-'; 36];
    let mut at = 0;
    for byte in bits.to_be_bytes() {
        if matches!(at, 8 | 13 | 18 | 23) {
            at += 1;
        }
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 0xf)];
        at += 2;
    }
    RequestId(text)
}

impl IntoValue for RequestId {
    fn value(&self) -> FieldValue<'_> {
        FieldValue::new(&self.0).expect("hexadecimal digits are a value")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn hop_by_hop_fields_are_removed_and_framing_stays() {
        let mut headers = map(&[
            ("connection", "close, X-Secret, content-length"),
            ("connection", "te"),
            ("x-secret", "1"),
            ("content-length", "3"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip, trailers"),
            ("trailer", "x-sum"),
            ("upgrade", "h2c"),
            ("accept", "*/*"),
        ]);
        remove_hop_by_hop(&mut headers);
        let expected = map(&[
            ("content-length", "3"),
            ("trailer", "x-sum"),
            ("accept", "*/*"),
            ("te", "trailers"),
        ]);
        assert_eq!(headers, expected);
    }

    #[test]
    fn connection_may_name_thousands() {
        let names: Vec<String> = (0..10_000).map(|it| format!("X-{}", it % 5_000)).collect();
        let mut headers = map(&[("x-5000", "stays"), ("host", "a")]);
        headers.append(CONNECTION, HeaderValue::try_from(names.join(" ,")).unwrap());
        headers.append(CONNECTION, HeaderValue::from_static("host,,Close"));
        for number in (0..5_000).step_by(50) {
            let name = HeaderName::try_from(format!("x-{number}")).unwrap();
            headers.append(name, HeaderValue::from_static("goes"));
        }
        assert!(remove_hop_by_hop(&mut headers));
        assert_eq!(headers, map(&[("x-5000", "stays"), ("host", "a")]));
    }

    #[test]
    fn the_trail_of_forwarding_grows_by_one() {
        let mut headers = map(&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "3.3.3.3")]);
        append_forwarded_for(&mut headers, &HeaderValue::from_static("2.2.2.2"));
        assert_eq!(headers, map(&[("x-forwarded-for", "1.1.1.1, 3.3.3.3, 2.2.2.2")]));
    }

    #[test]
    fn http2_becomes_http1_and_back() {
        let mut uri: Uri = "http://web.mesh:80/a?b=c".parse().unwrap();
        let mut headers = map(&[("cookie", "a=1"), ("cookie", "b=2")]);
        let authority = HeaderValue::from_static("web.mesh:80");
        for_http1(&mut uri, &mut headers, &authority);
        assert_eq!(uri, "/a?b=c");
        assert_eq!(headers, map(&[("host", "web.mesh:80"), ("cookie", "a=1; b=2")]));
        let back = for_http2(&uri, &mut headers, &authority).unwrap();
        assert_eq!(back, "http://web.mesh:80/a?b=c");
        assert!(!headers.contains_key("host"));
    }

    #[test]
    fn a_request_id_is_a_uuid_of_version_4() {
        assert_eq!(request_id(u128::MAX).value(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(request_id(0).value(), "00000000-0000-4000-8000-000000000000");
    }

    #[test]
    fn a_number_is_written_in_digits() {
        assert_eq!(number(0).value(), "0");
        assert_eq!(number(u64::MAX).value(), "18446744073709551615");
    }
}
