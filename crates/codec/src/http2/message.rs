//! Fields to heads of messages, with the rules of RFC 9113, section 8.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Method, StatusCode, Version};

use super::hpack::Field;
use crate::message::{
    FieldName, HeaderMap, LINES_READ_MAX, Protocol, Request, RequestParts, Response, ResponseParts,
};

/// Why a block of fields makes no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unusable {
    /// Section 8.1.1: a stream error.
    Malformed(&'static str),
    /// Larger than was allowed.
    TooLarge,
}

/// The fields of one header block. What lies above the limit is counted and not kept.
#[derive(Default)]
pub(super) struct Fields {
    method: Option<Method>,
    scheme: Option<Scheme>,
    authority: Option<Authority>,
    path: Option<PathAndQuery>,
    status: Option<StatusCode>,
    protocol: Option<Bytes>,
    headers: HeaderMap,
    content_length: Option<u64>,
    has_regular: bool,
    has_pseudo: bool,
    is_too_large: bool,
    /// The first thing that was wrong.
    malformed: Option<&'static str>,
    list_bytes: usize,
}

/// Lines as they are for most messages, and their bytes, so that the map does not grow step by step.
const HEADERS_EXPECTED: usize = 16;
const HEADER_BYTES_EXPECTED: usize = 768;

impl Fields {
    /// Puts the headers into an empty map.
    pub(super) fn new(headers: HeaderMap) -> Self {
        Self { headers, ..Self::default() }
    }

    /// Takes a field of `bytes` bytes as RFC 7541, section 4.1, counts them, if all together are no more than
    /// `list_bytes_max`.
    pub(super) fn take(&mut self, field: Field, bytes: usize, list_bytes_max: usize) {
        self.list_bytes += bytes;
        self.is_too_large |= self.list_bytes > list_bytes_max;
        if self.is_too_large {
            return;
        }
        let is_new = match field {
            Field::Regular(name, value) => return self.take_regular(name, value),
            Field::Malformed(_) => return self.blame("a field is not one"),
            Field::Method(it) => self.method.replace(it).is_none(),
            Field::Scheme(it) => self.scheme.replace(it).is_none(),
            Field::Authority(it) => self.authority.replace(it).is_none(),
            Field::Path(it) => self.path.replace(it).is_none(),
            Field::Status(it) => self.status.replace(it).is_none(),
            Field::Protocol(it) => self.protocol.replace(it).is_none(),
        };
        self.has_pseudo = true;
        if !is_new {
            self.blame("a pseudo-header comes twice");
        }
        if self.has_regular {
            self.blame("a pseudo-header comes after a header");
        }
    }

    fn take_regular(&mut self, name: HeaderName, value: HeaderValue) {
        if !self.has_regular {
            self.has_regular = true;
            if self.headers.capacity() == 0 {
                self.headers.reserve(HEADERS_EXPECTED, HEADER_BYTES_EXPECTED);
            }
        }
        // Section 8.2.2.
        match name.as_str() {
            "connection" | "proxy-connection" | "keep-alive" | "transfer-encoding" | "upgrade" => {
                return self.blame("a header is about an HTTP/1.1 connection");
            }
            "te" if !value.as_bytes().eq_ignore_ascii_case(b"trailers") => {
                return self.blame("TE is more than trailers");
            }
            "content-length" => {
                let length = content_length(&value);
                if length.is_none() || self.content_length.is_some_and(|it| Some(it) != length) {
                    return self.blame("Content-Length is not one number");
                }
                if self.content_length.is_some() {
                    return;
                }
                self.content_length = length;
            }
            _ => {}
        }
        if self.headers.len() >= LINES_READ_MAX || self.headers.try_append(&name, &value).is_err() {
            self.is_too_large = true;
        }
    }

    fn blame(&mut self, why: &'static str) {
        self.malformed.get_or_insert(why);
    }

    pub(super) fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    fn check(&mut self) -> Result<(), Unusable> {
        match self.malformed {
            // Of one that is too large not all is known.
            Some(why) => Err(Unusable::Malformed(why)),
            None if self.is_too_large => Err(Unusable::TooLarge),
            None => Ok(()),
        }
    }

    /// Makes it a request (section 8.3.1). `extended_connect` says that RFC 8441 was offered.
    pub(super) fn into_request(mut self, extended_connect: bool) -> Result<Request<()>, Unusable> {
        self.check()?;
        if self.status.is_some() {
            return Err(Unusable::Malformed("a request has :status"));
        }
        let method = self.method.take().ok_or(Unusable::Malformed("there is no :method"))?;
        let is_plain_connect = method == Method::CONNECT && self.protocol.is_none();
        let uri = if is_plain_connect { self.connect_target() } else { self.target() };
        let uri = uri.map_err(Unusable::Malformed)?;
        self.check_host()?;
        if self.protocol.is_some() && (method != Method::CONNECT || !extended_connect) {
            return Err(Unusable::Malformed(":protocol was not offered, or is for CONNECT"));
        }
        let (version, protocol) = (Version::HTTP_2, self.protocol.map(Protocol));
        let parts = RequestParts { method, uri, version, headers: self.headers, protocol };
        Ok(Request::from_parts(Box::new(parts), ()))
    }

    /// Section 8.5.
    fn connect_target(&mut self) -> Result<Uri, &'static str> {
        if self.scheme.is_some() || self.path.is_some() {
            return Err("CONNECT has :scheme or :path");
        }
        let authority = self.authority.take().ok_or("CONNECT has no :authority")?;
        Ok(authority.into())
    }

    fn target(&mut self) -> Result<Uri, &'static str> {
        let scheme = self.scheme.take().ok_or("there is no :scheme")?;
        let path = self.path.take().ok_or("there is no :path")?;
        let Some(authority) = self.authority.clone() else { return Ok(path.into()) };
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(scheme);
        parts.authority = Some(authority);
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).map_err(|_| "the target is not one")
    }

    /// A `Host` that names somebody else than `:authority` would be routed by one and answered by the other.
    fn check_host(&self) -> Result<(), Unusable> {
        let (Some(authority), Some(host)) = (&self.authority, self.headers.get(header::HOST))
        else {
            return Ok(());
        };
        if host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) {
            Ok(())
        } else {
            Err(Unusable::Malformed("Host and :authority differ"))
        }
    }

    /// Makes it a response (section 8.3.2).
    pub(super) fn into_response(mut self) -> Result<Response<()>, Unusable> {
        self.check()?;
        let status = self.status.take().ok_or(Unusable::Malformed("there is no :status"))?;
        let has_others = self.method.is_some()
            || self.scheme.is_some()
            || self.authority.is_some()
            || self.path.is_some()
            || self.protocol.is_some();
        if has_others {
            return Err(Unusable::Malformed("a response has a request's pseudo-header"));
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            // Section 8.6.
            return Err(Unusable::Malformed("the status is 101"));
        }
        let parts = ResponseParts { status, version: Version::HTTP_2, headers: self.headers };
        Ok(Response::from_parts(parts, ()))
    }

    pub(super) fn into_trailers(mut self) -> Result<HeaderMap, Unusable> {
        if self.has_pseudo {
            return Err(Unusable::Malformed("trailers have a pseudo-header"));
        }
        self.check()?;
        Ok(self.headers)
    }
}

fn content_length(value: &HeaderValue) -> Option<u64> {
    let digits = value.as_bytes();
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |length, digit| match digit {
        b'0'..=b'9' => length.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// Names that a head of HTTP/2 must not carry; a sender leaves them out (section 8.2.2).
pub(super) fn is_connection_specific(name: FieldName<'_>) -> bool {
    matches!(
        name.as_bytes(),
        b"connection" | b"proxy-connection" | b"keep-alive" | b"transfer-encoding" | b"upgrade"
    )
}
