//! How messages are written. Nothing is checked: what is written was read, or made here.

use bytes::{BufMut, BytesMut};
use http::{Method, StatusCode, Uri, Version};

use crate::message::HeaderMap;

/// Asks for the body of a request that waits to be asked (RFC 9110, section 10.1.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// After the bytes of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";
/// The end of a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
const CONTENT_LENGTH: &str = "content-length";
const DATE: &str = "date";
const TRANSFER_ENCODING: &str = "transfer-encoding";
/// Sixteen digits and the end of the line.
const CHUNK_SIZE_BYTES_MAX: usize = 18;

/// What a head says about the end of its body. What its header map says is written only with [`Framing::Declared`];
/// `Transfer-Encoding` never is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// As the header map has it: of a message whose body is not sent, or has no bytes.
    Declared,
    /// Nothing: it has none, or it ends with the connection.
    Silent,
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// Writes the head of a request.
pub fn request_head(
    out: &mut BytesMut,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    framing: Framing,
) {
    out.put_slice(method.as_str().as_bytes());
    out.put_slice(b" ");
    put_target(out, method, uri);
    out.put_slice(b" HTTP/1.1\r\n");
    put_headers(out, headers, framing);
    out.put_slice(b"\r\n");
}

/// Writes the head of a response. `date` is written if the response has none: 29 characters (RFC 9110, section 5.6.7).
pub fn response_head(
    out: &mut BytesMut,
    version: Version,
    status: StatusCode,
    headers: &HeaderMap,
    framing: Framing,
    date: Option<&[u8]>,
) {
    let version: &[u8] = if version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " };
    out.put_slice(version);
    out.put_slice(status.as_str().as_bytes());
    out.put_slice(b" ");
    out.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
    put_headers(out, headers, framing);
    if let Some(date) = date
        && !headers.contains_key(DATE)
    {
        put_header(out, DATE, date);
    }
    out.put_slice(b"\r\n");
}

/// Writes what stands before the bytes of a chunk. `size` is not 0, which would be the end.
pub fn chunk_size(out: &mut BytesMut, size: usize) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; CHUNK_SIZE_BYTES_MAX];
    let mut at = CHUNK_SIZE_BYTES_MAX - CHUNK_END.len();
    text[at..].copy_from_slice(CHUNK_END);
    let mut rest = size;
    while rest > 0 {
        at -= 1;
        text[at] = HEX[rest & 0xf];
        rest >>= 4;
    }
    out.put_slice(&text[at..]);
}

/// Writes the end of a chunked body with trailers.
pub fn trailers(out: &mut BytesMut, trailers: &HeaderMap) {
    out.put_slice(b"0\r\n");
    put_headers(out, trailers, Framing::Silent);
    out.put_slice(b"\r\n");
}

fn put_target(out: &mut BytesMut, method: &Method, uri: &Uri) {
    if *method == Method::CONNECT {
        out.put_slice(uri.authority().map_or("", |it| it.as_str()).as_bytes());
        return;
    }
    if let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) {
        out.put_slice(scheme.as_bytes());
        out.put_slice(b"://");
        out.put_slice(authority.as_str().as_bytes());
    }
    let path = uri.path_and_query().map_or("/", |it| it.as_str());
    if !path.starts_with(['/', '*']) {
        out.put_slice(b"/");
    }
    out.put_slice(path.as_bytes());
}

fn put_headers(out: &mut BytesMut, headers: &HeaderMap, framing: Framing) {
    let left_out: &[&str] = match framing {
        Framing::Declared => &[TRANSFER_ENCODING],
        Framing::Silent | Framing::Length(_) | Framing::Chunked => {
            &[TRANSFER_ENCODING, CONTENT_LENGTH]
        }
    };
    headers.write_to(out, left_out);
    match framing {
        Framing::Declared | Framing::Silent => {}
        Framing::Length(length) => {
            put_header(out, CONTENT_LENGTH, decimal(length, &mut [0; 20]));
        }
        Framing::Chunked => put_header(out, TRANSFER_ENCODING, b"chunked"),
    }
}

fn put_header(out: &mut BytesMut, name: &str, value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.put_slice(name.as_bytes());
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

/// The digits of a number.
pub fn decimal(number: u64, text: &mut [u8; 20]) -> &[u8] {
    let mut at = text.len();
    let mut rest = number;
    loop {
        at -= 1;
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return &text[at..];
        }
    }
}
