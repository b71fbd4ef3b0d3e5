//! A field line as it comes out of a header block.

use bytes::{Bytes, BytesMut};
use http::header::{HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, StatusCode};

use super::static_table;
use crate::message::TOKEN;

/// A field line, already in the form in which a message holds it: what the dynamic table repeats is parsed once.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::http2) enum Field {
    Method(Method),
    Scheme(Scheme),
    Authority(Authority),
    Path(PathAndQuery),
    Status(StatusCode),
    Protocol(Bytes),
    Regular(HeaderName, HeaderValue),
    /// Its value, or its name, is not one. The block goes on, the message is malformed.
    Malformed(Name),
}

/// What a field line is named.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::http2) enum Name {
    Method,
    Scheme,
    Authority,
    Path,
    Status,
    Protocol,
    Regular(HeaderName),
    /// No name, or one with upper-case letters (RFC 9113, section 8.2.1), or an unknown pseudo-header.
    Malformed,
}

impl Name {
    pub(super) fn parse(name: &[u8]) -> Self {
        match name {
            b":method" => Name::Method,
            b":scheme" => Name::Scheme,
            b":authority" => Name::Authority,
            b":path" => Name::Path,
            b":status" => Name::Status,
            b":protocol" => Name::Protocol,
            // The `http` crate takes some that are no tokens, which HTTP/1 could not pass on.
            _ if !name.iter().all(|it| TOKEN[usize::from(*it)]) => Name::Malformed,
            _ => HeaderName::from_lowercase(name).map_or(Name::Malformed, Name::Regular),
        }
    }

    /// `index` is one of the static table, from 1 on.
    pub(super) fn of_static(index: u8) -> Self {
        match index {
            ..static_table::METHOD => Name::Authority,
            static_table::METHOD..static_table::PATH => Name::Method,
            static_table::PATH..static_table::SCHEME => Name::Path,
            static_table::SCHEME..static_table::STATUS => Name::Scheme,
            static_table::STATUS..static_table::FIRST_REGULAR => Name::Status,
            static_table::FIRST_REGULAR.. => Name::Regular(static_table::header_name(index)),
        }
    }

    /// Length in bytes; of one that is malformed what its entry counts does not matter, so long as it counts.
    pub(super) fn len(&self) -> usize {
        match self {
            Name::Method => ":method".len(),
            Name::Scheme => ":scheme".len(),
            Name::Authority => ":authority".len(),
            Name::Path => ":path".len(),
            Name::Status => ":status".len(),
            Name::Protocol => ":protocol".len(),
            Name::Regular(name) => name.as_str().len(),
            Name::Malformed => 0,
        }
    }

    /// Makes it a field with the bytes of `value`, which is empty afterwards. They are not copied, unless they are to
    /// outlive the message (`keep`): a table must not hold on to the buffer that they came in.
    pub(super) fn with_value(self, value: &mut BytesMut, keep: bool) -> Field {
        let field = match &self {
            Name::Method => Method::from_bytes(value).map(Field::Method).ok(),
            Name::Status => status(value).map(Field::Status),
            Name::Scheme => Scheme::try_from(&value[..]).map(Field::Scheme).ok(),
            Name::Authority => {
                Authority::from_maybe_shared(taken(value, keep)).map(Field::Authority).ok()
            }
            Name::Path if !is_path(value) => None,
            Name::Path => PathAndQuery::from_maybe_shared(taken(value, keep)).map(Field::Path).ok(),
            Name::Protocol => Some(Field::Protocol(taken(value, keep))),
            Name::Regular(name) => {
                // Section 8.2.1: no space around it, and nothing that would end a line of HTTP/1.1.
                let is_padded = matches!(value.first(), Some(b' ' | b'\t'))
                    || matches!(value.last(), Some(b' ' | b'\t'));
                let parsed = HeaderValue::from_maybe_shared(taken(value, keep)).ok();
                parsed.filter(|_| !is_padded).map(|it| Field::Regular(name.clone(), it))
            }
            Name::Malformed => None,
        };
        value.clear();
        field.unwrap_or(Field::Malformed(self))
    }
}

fn taken(value: &mut BytesMut, keep: bool) -> Bytes {
    if keep { Bytes::copy_from_slice(value) } else { value.split().freeze() }
}

fn status(value: &[u8]) -> Option<StatusCode> {
    // `StatusCode` takes 100 to 999; RFC 9110, section 15, knows five classes.
    StatusCode::from_bytes(value).ok().filter(|it| it.as_u16() < 600)
}

/// A path begins with `/`, or is the `*` of `OPTIONS`; a fragment is no part of it (RFC 9113, section 8.3.1).
fn is_path(value: &[u8]) -> bool {
    (value.first() == Some(&b'/') || value == b"*") && !value.contains(&b'#')
}

impl Field {
    /// `index` is one of the static table, from 1 on.
    pub(super) fn of_static(index: u8) -> Self {
        match index {
            2 => Field::Method(Method::GET),
            3 => Field::Method(Method::POST),
            6 => Field::Scheme(Scheme::HTTP),
            7 => Field::Scheme(Scheme::HTTPS),
            8 => Field::Status(StatusCode::OK),
            4 | 5 => Field::Path(PathAndQuery::from_static(static_table::value(index))),
            // An empty authority is none.
            static_table::AUTHORITY => Field::Malformed(Name::Authority),
            static_table::FIRST_REGULAR.. => Field::Regular(
                static_table::header_name(index),
                HeaderValue::from_static(static_table::value(index)),
            ),
            _ => {
                let status = StatusCode::from_bytes(static_table::value(index).as_bytes());
                status.map_or(Field::Malformed(Name::Status), Field::Status)
            }
        }
    }

    pub(super) fn name(&self) -> Name {
        match self {
            Field::Method(_) => Name::Method,
            Field::Scheme(_) => Name::Scheme,
            Field::Authority(_) => Name::Authority,
            Field::Path(_) => Name::Path,
            Field::Status(_) => Name::Status,
            Field::Protocol(_) => Name::Protocol,
            Field::Regular(name, _) => Name::Regular(name.clone()),
            Field::Malformed(name) => name.clone(),
        }
    }
}
