//! Messages, whichever HTTP brought them: heads and what they are made of.

mod header_map;
mod value;

use bytes::Bytes;
use http::{Method, StatusCode, Uri, Version};

pub use header_map::{HeaderMap, Iter, NameSet, TooManyHeaders};
pub(crate) use header_map::{LINES_READ_MAX, LineRead, Reading};
pub use value::{AsName, FieldName, FieldValue, IntoValue, NotText};
pub(crate) use value::{TOKEN, value_bytes};

/// The value of `:protocol`, an extension of a request whose method is CONNECT (RFC 8441, section 4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Protocol(pub Bytes);

/// The head of a request.
#[derive(Clone, Debug)]
pub struct RequestParts {
    /// Method.
    pub method: Method,
    /// Target.
    pub uri: Uri,
    /// Version of HTTP.
    pub version: Version,
    /// Header lines.
    pub headers: HeaderMap,
    /// `:protocol` of an extended CONNECT.
    pub protocol: Option<Protocol>,
}

impl Default for RequestParts {
    fn default() -> Self {
        Self {
            method: Method::GET,
            uri: Uri::default(),
            version: Version::HTTP_11,
            headers: HeaderMap::new(),
            protocol: None,
        }
    }
}

/// The head of a response.
#[derive(Clone, Debug)]
pub struct ResponseParts {
    /// Status.
    pub status: StatusCode,
    /// Version of HTTP.
    pub version: Version,
    /// Header lines.
    pub headers: HeaderMap,
}

impl Default for ResponseParts {
    fn default() -> Self {
        Self { status: StatusCode::OK, version: Version::HTTP_11, headers: HeaderMap::new() }
    }
}

/// A request: a head and a body.
///
/// The head is in a box, for it is handed on many times between its reader and its writer.
#[derive(Debug)]
pub struct Request<B> {
    parts: Box<RequestParts>,
    body: B,
}

impl<B> Request<B> {
    /// `GET /` without headers.
    pub fn new(body: B) -> Self {
        Self { parts: Box::default(), body }
    }

    /// A head and a body together.
    pub fn from_parts(parts: Box<RequestParts>, body: B) -> Self {
        Self { parts, body }
    }

    /// The head and the body.
    pub fn into_parts(self) -> (Box<RequestParts>, B) {
        (self.parts, self.body)
    }

    /// The head.
    pub fn head(&self) -> &RequestParts {
        &self.parts
    }

    /// Method.
    pub fn method(&self) -> &Method {
        &self.parts.method
    }

    /// Target.
    pub fn uri(&self) -> &Uri {
        &self.parts.uri
    }

    /// Target, to be changed.
    pub fn uri_mut(&mut self) -> &mut Uri {
        &mut self.parts.uri
    }

    /// Version of HTTP.
    pub fn version(&self) -> Version {
        self.parts.version
    }

    /// Header lines.
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// Header lines, to be changed.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.parts.headers
    }

    /// Body.
    pub fn body(&self) -> &B {
        &self.body
    }

    /// Body, to be read or changed.
    pub fn body_mut(&mut self) -> &mut B {
        &mut self.body
    }

    /// The same head with another body.
    pub fn map<C>(self, change: impl FnOnce(B) -> C) -> Request<C> {
        Request { parts: self.parts, body: change(self.body) }
    }
}

/// A response: a head and a body.
#[derive(Debug)]
pub struct Response<B> {
    parts: ResponseParts,
    body: B,
}

impl<B> Response<B> {
    /// `200 OK` without headers.
    pub fn new(body: B) -> Self {
        Self { parts: ResponseParts::default(), body }
    }

    /// A head and a body together.
    pub fn from_parts(parts: ResponseParts, body: B) -> Self {
        Self { parts, body }
    }

    /// The head and the body.
    pub fn into_parts(self) -> (ResponseParts, B) {
        (self.parts, self.body)
    }

    /// The body alone.
    pub fn into_body(self) -> B {
        self.body
    }

    /// Status.
    pub fn status(&self) -> StatusCode {
        self.parts.status
    }

    /// Status, to be changed.
    pub fn status_mut(&mut self) -> &mut StatusCode {
        &mut self.parts.status
    }

    /// Header lines.
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// Header lines, to be changed.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.parts.headers
    }

    /// Body, to be read or changed.
    pub fn body_mut(&mut self) -> &mut B {
        &mut self.body
    }

    /// The same head with another body.
    pub fn map<C>(self, change: impl FnOnce(B) -> C) -> Response<C> {
        Response { parts: self.parts, body: change(self.body) }
    }
}
