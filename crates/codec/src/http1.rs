//! HTTP/1.0 and 1.1 (RFC 9112): heads, bodies, and how they are written.
//!
//! A head is read whole or not at all, into a [`HeaderMap`] of its own. What two readers
//! could take for two messages (RFC 9112, section 11.2) is refused, not repaired, in requests and in responses: a bare
//! line feed, a folded line, white space before a colon, a length that is not one number, a length beside a transfer
//! coding.

mod body;
mod encode;
mod head;
mod said;
mod scan;

use http::{Method, StatusCode, Uri, Version};

pub use body::{BodyDecoder, BodyPart};
pub use encode::{
    CHUNK_END, CONTINUE, Framing, LAST_CHUNK, chunk_size, decimal, request_head, response_head,
    trailers,
};
pub use head::HeadDecoder;

use crate::message::HeaderMap;

/// How much a head, or the trailers of a body, may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes, with the first line and the empty last one.
    pub bytes_max: usize,
    /// Header lines. Above 24,000, which is what a [`HeaderMap`] can hold, it means that.
    pub headers_max: usize,
}

/// The head of a request.
#[derive(Debug)]
pub struct RequestHead {
    /// Method.
    pub method: Method,
    /// The target in one of the four forms of RFC 9112, section 3.2, the one that the method allows.
    pub uri: Uri,
    /// `HTTP/1.0` or `HTTP/1.1`.
    pub version: Version,
    /// All header lines, also those that are about the connection.
    pub headers: HeaderMap,
    /// Where the body ends; never [`BodyLength::UntilClose`].
    pub body: BodyLength,
    /// The client would like to send another request after this one.
    pub keep_alive: bool,
    /// The body comes when it was asked for (`Expect: 100-continue`).
    pub expects_continue: bool,
}

/// The head of a response.
#[derive(Debug)]
pub struct ResponseHead {
    /// Status; below 200 another head follows, except after 101.
    pub status: StatusCode,
    /// `HTTP/1.0` or `HTTP/1.1`.
    pub version: Version,
    /// All header lines, also those that are about the connection.
    pub headers: HeaderMap,
    /// Where the body ends.
    pub body: BodyLength,
    /// The connection may be used again when the body has ended.
    pub keep_alive: bool,
}

/// Where a body ends (RFC 9112, section 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyLength {
    /// There is none, whatever the head says about its length.
    None,
    /// After this many bytes.
    Exact(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection; responses only.
    UntilClose,
}

/// Why bytes are not the head of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeadError {
    /// More bytes than [`Limits::bytes_max`].
    #[error("the head has too many bytes")]
    TooLong,
    /// More lines than [`Limits::headers_max`].
    #[error("the head has too many header lines")]
    TooManyHeaders,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("the version is neither HTTP/1.0 nor HTTP/1.1")]
    Version,
    /// A transfer coding other than `chunked`.
    #[error("the transfer coding is not known")]
    TransferCoding,
    /// No method, target or status as they are written.
    #[error("the first line is not one of HTTP/1")]
    FirstLine,
    /// A target that no client sends with this method.
    #[error("the target is not one for this method")]
    Target,
    /// Not a name, a colon and a value without control characters, or folded.
    #[error("a header line is not a name and a value")]
    HeaderLine,
    /// A line that does not end with CR LF.
    #[error("a line ends without CR LF")]
    LineEnd,
    /// Not one number of at most 19 digits.
    #[error("the content length is not one number")]
    ContentLength,
    /// `chunked` twice, or in HTTP/1.0, or beside a content length.
    #[error("the transfer coding contradicts the rest of the head")]
    Ambiguous,
}

impl HeadError {
    /// What a server answers.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            HeadError::TooLong | HeadError::TooManyHeaders => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            HeadError::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            HeadError::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            HeadError::FirstLine
            | HeadError::Target
            | HeadError::HeaderLine
            | HeadError::LineEnd
            | HeadError::ContentLength
            | HeadError::Ambiguous => StatusCode::BAD_REQUEST,
        }
    }
}

/// Why bytes are not a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BodyError {
    /// Not hexadecimal digits, or more than 16.
    #[error("the size of a chunk is not a number")]
    ChunkSize,
    /// Control characters, or more of them than a body may have.
    #[error("the extensions of the chunks are too long or not text")]
    ChunkExtension,
    /// A chunk, or a line about one, does not end with CR LF.
    #[error("a chunk ends without CR LF")]
    ChunkEnd,
    /// Not header lines, or too many.
    #[error("the trailers cannot be read")]
    Trailers(#[source] HeadError),
    /// The connection ended first.
    #[error("the connection ended before the body did")]
    Incomplete,
}

/// Reads header lines alone.
#[cfg(test)]
pub(crate) fn read_lines(bytes: &[u8], headers: &mut HeaderMap) -> Result<(), HeadError> {
    let read = scan::Scan::new(bytes).header_lines(headers, usize::MAX, |_, _| Ok(()));
    read.map_err(|_| HeadError::HeaderLine)
}

#[cfg(test)]
mod tests;
