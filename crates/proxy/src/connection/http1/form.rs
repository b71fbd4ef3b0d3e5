//! The form in which a response is sent over HTTP/1.

use codec::http1::Framing;
use codec::message::HeaderMap;
use http::header::{CONNECTION, CONTENT_LENGTH, TRAILER};
use http::{HeaderValue, Method, StatusCode, Version};

use crate::body::ResponseBody;
use crate::frame::Body;
use crate::headers;

/// How a response is sent.
#[derive(Clone, Copy)]
pub(super) struct Form {
    pub(super) framing: Framing,
    pub(super) has_content: bool,
    /// The client wants what comes after the content.
    pub(super) has_trailers: bool,
    /// The connection is the client's for something else than HTTP from here on.
    pub(super) is_switching: bool,
    /// The connection ends after it.
    pub(super) is_last: bool,
}

/// How a response to `method` is sent to a client that speaks `version`.
pub(super) fn form(
    method: &Method,
    version: Version,
    status: StatusCode,
    headers: &HeaderMap,
    body: &ResponseBody,
) -> Form {
    let is_switching = status == StatusCode::SWITCHING_PROTOCOLS
        || *method == Method::CONNECT && status.is_success();
    let has_none = is_switching || matches!(status, StatusCode::NO_CONTENT);
    let length = body.size_hint().exact();
    let framing = if has_none {
        Framing::Silent
    } else if *method == Method::HEAD || status == StatusCode::NOT_MODIFIED {
        match length {
            Some(length @ 1..) if !headers.contains_key(CONTENT_LENGTH) => Framing::Length(length),
            Some(_) | None => Framing::Declared,
        }
    } else {
        let has_trailers = headers.contains_key(TRAILER) && !headers.contains_key(CONTENT_LENGTH);
        match length {
            Some(length) if !has_trailers => Framing::Length(length),
            Some(_) | None if version == Version::HTTP_11 => Framing::Chunked,
            Some(_) | None => Framing::Silent,
        }
    };
    let has_content = !has_none && *method != Method::HEAD && status != StatusCode::NOT_MODIFIED;
    Form { framing, has_content, has_trailers: false, is_switching, is_last: false }
}

/// Says whether the connection goes on, where that is not what the version means without a word.
pub(super) fn announce(headers: &mut HeaderMap, version: Version, goes_on: bool) {
    if !goes_on {
        headers::announce_close(headers);
    } else if version == Version::HTTP_10 {
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
    }
}
