//! Responses: status, headers, body, and what is done to every one of them on its way out.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};

use super::decode::BadRequest;
use crate::{Acl, DefaultPolicy};

/// Bodies from this size on are compressed. Consul's value: a body below it fits in one packet anyway.
const GZIP_BYTES_MIN: usize = 1400;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// A response in the making.
#[derive(Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    /// A later one replaces an earlier one of the same name. (A `HeaderMap` is too large for a `Result`.)
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Vec<u8>,
}

impl Reply {
    /// 200 with a JSON body.
    pub(super) fn json(body: Vec<u8>) -> Self {
        Self::new(StatusCode::OK, JSON, body)
    }

    /// 200 without a body: what Consul says when a write to the agent is done.
    pub(super) fn empty() -> Self {
        Self::json(Vec::new())
    }

    /// 200 with bytes that somebody else has written, which no browser is to take for a page.
    pub(super) fn bytes(body: &[u8]) -> Self {
        Self::new(StatusCode::OK, HeaderValue::from_static("text/plain"), body.to_vec())
            .with(X_CONTENT_TYPE_OPTIONS, "nosniff")
            .with(CONTENT_SECURITY_POLICY, "sandbox")
    }

    /// Plain text: all errors.
    pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self::new(status, TEXT, text.into().into_bytes())
    }

    /// A page: Go's redirects have one.
    pub(super) fn html(status: StatusCode, page: String) -> Self {
        Self::new(status, HTML, page.into_bytes())
    }

    fn new(status: StatusCode, content_type: HeaderValue, body: Vec<u8>) -> Self {
        Self { status, headers: vec![(CONTENT_TYPE, content_type)], body }
    }

    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// Adds a header, or replaces it. A value that no header can carry is left out.
    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    #[cfg(test)]
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The response, with the headers that all have, compressed if the client takes that.
    pub(super) fn finish(self, manner: Manner) -> Response<Bytes> {
        let Self { status, headers, mut body } = self;
        let mut all = HeaderMap::with_capacity(headers.len() + 3);
        for (name, value) in headers {
            all.insert(name, value);
        }
        all.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        all.insert(
            HeaderName::from_static("x-consul-default-acl-policy"),
            HeaderValue::from_static(match manner.default_policy {
                DefaultPolicy::Allow => "allow",
                DefaultPolicy::Deny => "deny",
            }),
        );
        if manner.encoding == Encoding::Gzip && body.len() >= GZIP_BYTES_MIN {
            body = gzip(&body);
            all.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        *response.headers_mut() = all;
        response
    }
}

impl From<BadRequest> for Reply {
    fn from(bad: BadRequest) -> Self {
        let status = StatusCode::from_u16(bad.status).unwrap_or(StatusCode::BAD_REQUEST);
        Reply::text(status, bad.text)
    }
}

/// What is the same of every response to a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    encoding: Encoding,
    default_policy: DefaultPolicy,
}

impl Manner {
    pub(super) fn of<B>(request: &Request<B>, acl: &Acl) -> Self {
        let default_policy = acl.settings().default_policy;
        Self { encoding: Encoding::of(request), default_policy }
    }
}

/// How the client wants the body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Encoding {
    Identity,
    Gzip,
}

impl Encoding {
    /// Reads `Accept-Encoding`. `*` does not count, as in Consul.
    fn of<B>(request: &Request<B>) -> Self {
        let takes_gzip = request
            .headers()
            .get_all(ACCEPT_ENCODING)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|coding| {
                let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
                let quality = parameters.trim().strip_prefix("q=").map(str::parse::<f32>);
                name.trim().eq_ignore_ascii_case("gzip")
                    && quality.is_none_or(|quality| quality.is_ok_and(|quality| quality > 0.0))
            });
        if takes_gzip { Encoding::Gzip } else { Encoding::Identity }
    }
}

/// The fastest level: lists of instances repeat themselves, and shrink about as well as with the slow ones.
fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 8), Compression::fast());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("writing to a Vec does not fail")
}
