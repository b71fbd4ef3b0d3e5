//! Which responses are compressed, as Envoy's filter decides.

use codec::message::HeaderMap;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, VARY,
};
use http::{HeaderValue, Method, StatusCode};
use proxy_config::{Compression, Compressor};

use super::Encoder;
use super::accept_encoding::{chosen, name};
use crate::headers::has_token;

/// Envoy's list.
const CONTENT_TYPES: &[&str] = &[
    "application/javascript",
    "application/json",
    "application/xhtml+xml",
    "image/svg+xml",
    "text/css",
    "text/html",
    "text/plain",
    "text/xml",
];

/// The compression of responses, made ready.
#[derive(Debug)]
pub(crate) struct Compressing {
    algorithms: Vec<Compressor>,
    length_min: u64,
    content_types: Vec<String>,
    keep_etag: bool,
    remove_accept_encoding: bool,
}

impl Compressing {
    pub(super) fn new(settings: &Compression) -> Self {
        let content_types = if settings.content_types.is_empty() {
            CONTENT_TYPES.iter().map(|it| (*it).to_owned()).collect()
        } else {
            settings.content_types.iter().map(|it| it.to_ascii_lowercase()).collect()
        };
        Self {
            algorithms: settings.algorithms.clone(),
            length_min: settings.length_min.into(),
            content_types,
            keep_etag: settings.keep_etag,
            remove_accept_encoding: settings.remove_accept_encoding,
        }
    }

    pub(super) fn removes_accept_encoding(&self) -> bool {
        self.remove_accept_encoding
    }

    /// Makes the head one of a compressed response, where that is to be so, and gives what compresses the body.
    ///
    /// A response that would be compressed for another client says that it depends on what the client takes.
    pub(super) fn begin(
        &self,
        method: &Method,
        (status, length): (StatusCode, Option<u64>),
        accepted: &[HeaderValue],
        headers: &mut HeaderMap,
    ) -> Option<Box<Encoder>> {
        if !self.suits(method, status, headers) || !self.is_long_enough(length) {
            return None;
        }
        if !has_token(headers, &VARY, "accept-encoding") && !has_token(headers, &VARY, "*") {
            headers.append(VARY, HeaderValue::from_static("accept-encoding"));
        }
        let algorithm = chosen(accepted, &self.algorithms)?;
        headers.remove(CONTENT_LENGTH);
        headers.remove(ACCEPT_RANGES);
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name(algorithm)));
        // A strong one names these bytes, which the client does not get.
        if headers.get(ETAG).is_some_and(|it| !it.as_bytes().starts_with(b"W/")) {
            headers.remove(ETAG);
        }
        Some(Box::new(Encoder::new(algorithm)))
    }

    fn suits(&self, method: &Method, status: StatusCode, headers: &HeaderMap) -> bool {
        let has_content = *method != Method::HEAD
            && *method != Method::CONNECT
            && !status.is_informational()
            && !matches!(
                status,
                StatusCode::NO_CONTENT
                    | StatusCode::RESET_CONTENT
                    | StatusCode::PARTIAL_CONTENT
                    | StatusCode::NOT_MODIFIED
            );
        let is_fixed = headers.contains_key(CONTENT_ENCODING)
            || headers.contains_key(CONTENT_RANGE)
            || self.keep_etag && headers.contains_key(ETAG)
            || has_token(headers, &CACHE_CONTROL, "no-transform");
        has_content && !is_fixed && self.is_listed(headers)
    }

    /// Without a length it may be long.
    fn is_long_enough(&self, length: Option<u64>) -> bool {
        length.is_none_or(|length| length > 0 && length >= self.length_min)
    }

    fn is_listed(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok()) else {
            return false;
        };
        let media_type = value.split(';').next().unwrap_or_default().trim();
        self.content_types.iter().any(|it| media_type.eq_ignore_ascii_case(it))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(lines: &[(&'static str, &'static str)], keep_etag: bool) -> (bool, HeaderMap) {
        begin_with_length(lines, keep_etag, None)
    }

    fn begin_with_length(
        lines: &[(&'static str, &'static str)],
        keep_etag: bool,
        length: Option<u64>,
    ) -> (bool, HeaderMap) {
        let compressing = Compressing::new(&Compression {
            algorithms: vec![Compressor::Gzip { level: 1 }],
            length_min: 30,
            content_types: Vec::new(),
            keep_etag,
            remove_accept_encoding: false,
        });
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        for (name, value) in lines {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        let accepted = [HeaderValue::from_static("gzip")];
        let of = (StatusCode::OK, length);
        let encoder = compressing.begin(&Method::GET, of, &accepted, &mut headers);
        (encoder.is_some(), headers)
    }

    #[test]
    fn what_gains_nothing_or_must_not_be_changed_is_left_alone() {
        for line in [
            ("content-encoding", "br"),
            ("cache-control", "max-age=1, no-transform"),
            ("content-range", "bytes 0-1/2"),
            ("content-type", "image/png"),
        ] {
            let (is_compressed, headers) = begin(&[line], false);
            assert!(!is_compressed && !headers.contains_key(VARY), "{line:?}");
        }
        assert!(!begin(&[("etag", "\"a\"")], true).0);
        for (length, expected) in [(Some(0), false), (Some(29), false), (Some(30), true)] {
            assert_eq!(begin_with_length(&[], false, length).0, expected);
        }
    }

    #[test]
    fn the_head_says_what_the_body_is() {
        let lines = [("content-length", "30"), ("etag", "\"a\""), ("accept-ranges", "bytes")];
        let (is_compressed, headers) = begin(&lines, false);
        assert!(is_compressed);
        assert_eq!(headers.get(CONTENT_ENCODING).unwrap(), "gzip");
        assert_eq!(headers.get(VARY).unwrap(), "accept-encoding");
        for name in [CONTENT_LENGTH, ETAG, ACCEPT_RANGES] {
            assert!(!headers.contains_key(&name), "{name}");
        }
        assert_eq!(begin(&[("etag", "W/\"a\"")], false).1.get(ETAG).unwrap(), "W/\"a\"");
        let (_, headers) = begin(&[("vary", "origin, Accept-Encoding")], false);
        assert_eq!(headers.get_all(VARY).count(), 1);
    }
}
