//! What conditions look at.

use std::borrow::Cow;

use codec::message::{FieldValue, HeaderMap};
use http::HeaderName;
use http::header::CONTENT_TYPE;

/// A header block, by names.
pub trait Fields {
    /// Values of a name, in the order in which they came.
    fn all<'a>(&'a self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]>;
}

impl Fields for HeaderMap {
    fn all<'a>(&'a self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
        self.get_all(name.as_str()).map(FieldValue::as_bytes)
    }
}

/// No headers at all.
impl Fields for () {
    fn all<'a>(&'a self, _: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
        std::iter::empty()
    }
}

/// What HTTP/2 begins with a colon (RFC 9113, section 8.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pseudo {
    /// `:method`.
    Method,
    /// `:path`, with the query.
    Path,
    /// `:authority`, in HTTP/1 `host`.
    Authority,
    /// `:scheme`.
    Scheme,
}

impl Pseudo {
    /// The pseudo-header of this name; case does not matter, and `host` is `:authority`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Pseudo> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if is(":method") {
            Some(Pseudo::Method)
        } else if is(":path") {
            Some(Pseudo::Path)
        } else if is(":authority") || is("host") {
            Some(Pseudo::Authority)
        } else if is(":scheme") {
            Some(Pseudo::Scheme)
        } else {
            None
        }
    }
}

/// The fields of a request, whatever holds them.
pub trait RequestFields {
    /// A pseudo-header.
    fn pseudo(&self, which: Pseudo) -> Option<Cow<'_, str>>;

    /// Values of a header, in the order in which they came.
    fn all<'a>(&'a self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]>;
}

/// A request as routing sees it. All borrowed: made on the stack for one look-up.
#[derive(Debug)]
pub struct RequestView<'a, F> {
    /// Method, as sent.
    pub method: &'a str,
    /// Path without the query, normalized; `/` for a `CONNECT`.
    pub path: &'a str,
    /// What stands after `?`.
    pub query: Option<&'a str>,
    /// As in `Host` or `:authority`: port, case and a final dot do not matter.
    pub host: &'a str,
    /// The client came over TLS.
    pub is_tls: bool,
    /// Headers.
    pub fields: &'a F,
    /// A number that was drawn for this request, for shares of the traffic.
    pub random: u32,
}

impl<F> Clone for RequestView<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for RequestView<'_, F> {}

impl<'a> RequestView<'a, ()> {
    /// A `GET` over TLS that says nothing but where it goes.
    #[must_use]
    pub fn bare(host: &'a str, path: &'a str) -> Self {
        Self { method: "GET", path, query: None, host, is_tls: true, fields: &(), random: 0 }
    }
}

impl<F: Fields> RequestView<'_, F> {
    /// Whether it is a gRPC request, by its `content-type`.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        self.fields.all(&CONTENT_TYPE).next().is_some_and(is_grpc_content_type)
    }
}

impl<F: Fields> RequestFields for RequestView<'_, F> {
    fn pseudo(&self, which: Pseudo) -> Option<Cow<'_, str>> {
        Some(match (which, self.query) {
            (Pseudo::Method, _) => Cow::Borrowed(self.method),
            (Pseudo::Path, None) => Cow::Borrowed(self.path),
            (Pseudo::Path, Some(query)) => Cow::Owned(format!("{}?{query}", self.path)),
            (Pseudo::Authority, _) => Cow::Borrowed(self.host),
            (Pseudo::Scheme, _) => Cow::Borrowed(if self.is_tls { "https" } else { "http" }),
        })
    }

    fn all<'a>(&'a self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
        self.fields.all(name)
    }
}

/// `application/grpc`, alone or with a format (`+proto`) or parameters. `application/grpc-web` is
/// another protocol, over any HTTP.
#[must_use]
pub fn is_grpc_content_type(value: &[u8]) -> bool {
    value
        .strip_prefix(b"application/grpc")
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'\t')))
}

/// The first value of a query parameter; empty when it has no `=`. Nothing is decoded.
#[must_use]
pub fn query_value<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|parameter| {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        (key == name && !parameter.is_empty()).then_some(value)
    })
}
