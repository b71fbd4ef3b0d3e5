//! Heads: from bytes to a message, strictly.

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRAILER, TRANSFER_ENCODING};
use http::{HeaderName, Method, Uri, Version};

use super::said::Said;
use super::scan::{Scan, Stop};
use super::{BodyLength, HeadError, Limits, RequestHead, ResponseHead};
use crate::message::{HeaderMap, LINES_READ_MAX};

/// Empty lines before a request that are skipped (RFC 9112, section 2.2, asks for one).
const EMPTY_LINES_MAX: u8 = 4;
/// What says how a message is read or where it goes is not heeded when it comes after the message (RFC 9110, section
/// 6.5.1), and must not be believed by a reader behind this one.
const NOT_IN_TRAILERS: [HeaderName; 5] =
    [CONNECTION, CONTENT_LENGTH, HOST, TRAILER, TRANSFER_ENCODING];

/// Finds heads in a buffer that grows. Remembers how far it has looked, so that a head in many pieces costs no more
/// than twice one in a single piece.
#[derive(Debug, Default)]
pub struct HeadDecoder {
    /// Bytes of the buffer that hold no end of a head; 0 when they were not looked at.
    searched: usize,
    empty_lines: u8,
}

impl HeadDecoder {
    /// Takes the head of a request from the front of `buf`; `None` when it is not all there. `empty` gives an empty map
    /// for its lines, perhaps one that was used before.
    ///
    /// # Errors
    /// When no further bytes can make it a head. What is in `buf` then is of no use.
    pub fn request(
        &mut self,
        buf: &mut BytesMut,
        limits: Limits,
        empty: fn() -> HeaderMap,
    ) -> Result<Option<RequestHead>, HeadError> {
        self.skip_empty_lines(buf)?;
        if !self.is_worth_parsing(buf)? {
            return self.unfinished(buf, limits);
        }
        match read_request(buf, limits, empty) {
            Ok((head, length)) => self.take(buf, length, limits).map(|()| Some(head)),
            Err(stop) => self.stopped(stop, buf, limits),
        }
    }

    /// Takes the head of a response to a request with the method `to` from the front of `buf`; `None` when it is not
    /// all there.
    ///
    /// # Errors
    /// When no further bytes can make it a head.
    pub fn response(
        &mut self,
        buf: &mut BytesMut,
        limits: Limits,
        to: &Method,
        empty: fn() -> HeaderMap,
    ) -> Result<Option<ResponseHead>, HeadError> {
        if matches!(buf.first(), Some(b'\r' | b'\n')) {
            return Err(HeadError::FirstLine);
        }
        if !self.is_worth_parsing(buf)? {
            return self.unfinished(buf, limits);
        }
        match read_response(buf, limits, to, empty) {
            Ok((head, length)) => self.take(buf, length, limits).map(|()| Some(head)),
            Err(stop) => self.stopped(stop, buf, limits),
        }
    }

    fn stopped<T>(
        &mut self,
        stop: Stop,
        buf: &[u8],
        limits: Limits,
    ) -> Result<Option<T>, HeadError> {
        match stop {
            Stop::Partial => self.unfinished(buf, limits),
            Stop::Refused(error) => Err(error),
        }
    }

    fn skip_empty_lines(&mut self, buf: &mut BytesMut) -> Result<(), HeadError> {
        loop {
            match **buf {
                [b'\r', b'\n', ..] if self.empty_lines < EMPTY_LINES_MAX => {
                    self.empty_lines += 1;
                    buf.advance(2);
                }
                [b'\r'] => return Ok(()),
                [b'\r' | b'\n', ..] => return Err(HeadError::FirstLine),
                _ => return Ok(()),
            }
        }
    }

    /// The first look parses at once, because most heads come whole. After that only the end of the head is looked for.
    fn is_worth_parsing(&mut self, buf: &[u8]) -> Result<bool, HeadError> {
        if self.searched == 0 || buf.is_empty() {
            return Ok(!buf.is_empty() && buf != b"\r");
        }
        Ok(end_of_lines(buf, self.searched)?.is_some())
    }

    fn unfinished<T>(&mut self, buf: &[u8], limits: Limits) -> Result<Option<T>, HeadError> {
        self.searched = if buf == b"\r" { 0 } else { buf.len() };
        if buf.len() >= limits.bytes_max { Err(HeadError::TooLong) } else { Ok(None) }
    }

    /// Cuts the head off, for it is whole.
    fn take(&mut self, buf: &mut BytesMut, length: usize, limits: Limits) -> Result<(), HeadError> {
        *self = Self::default();
        if length > limits.bytes_max {
            return Err(HeadError::TooLong);
        }
        buf.advance(length);
        Ok(())
    }
}

/// The head at the front of `buf`, and how many bytes it has.
fn read_request(
    buf: &[u8],
    limits: Limits,
    empty: fn() -> HeaderMap,
) -> Result<(RequestHead, usize), Stop> {
    let mut scan = Scan::new(buf);
    let (method, text, version) = scan.request_line()?;
    let (headers, said) = lines(&mut scan, version, limits, empty)?;
    let uri = target(&method, text)?;
    let head = RequestHead {
        method,
        uri,
        version,
        body: said.request_body(),
        keep_alive: said.keep_alive(version),
        expects_continue: said.expects_continue && version == Version::HTTP_11,
        headers,
    };
    Ok((head, scan.position()))
}

fn read_response(
    buf: &[u8],
    limits: Limits,
    to: &Method,
    empty: fn() -> HeaderMap,
) -> Result<(ResponseHead, usize), Stop> {
    let mut scan = Scan::new(buf);
    let (version, status) = scan.status_line()?;
    let (headers, said) = lines(&mut scan, version, limits, empty)?;
    let body = said.response_body(to, status);
    let keep_alive = body != BodyLength::UntilClose && said.keep_alive(version);
    let head = ResponseHead { status, version, headers, body, keep_alive };
    Ok((head, scan.position()))
}

/// Header lines up to the empty one, and what they say about the message.
fn lines(
    scan: &mut Scan<'_>,
    version: Version,
    limits: Limits,
    empty: fn() -> HeaderMap,
) -> Result<(HeaderMap, Said), Stop> {
    let mut headers = empty();
    let mut said = Said::default();
    let headers_max = limits.headers_max.min(LINES_READ_MAX);
    scan.header_lines(&mut headers, headers_max, |name, value| said.note(name, value, version))?;
    said.check()?;
    Ok((headers, said))
}

/// The target in the form that the method allows (RFC 9112, section 3.2). None of them has a fragment.
fn target(method: &Method, text: &[u8]) -> Result<Uri, HeadError> {
    if text == b"/" && *method != Method::CONNECT {
        return Ok(Uri::default());
    }
    let first = text.first().copied();
    if text.contains(&b'#') {
        return Err(HeadError::Target);
    }
    let uri = Uri::from_maybe_shared(Bytes::copy_from_slice(text));
    let uri = uri.map_err(|_| HeadError::Target)?;
    let is_in_form = match first {
        _ if *method == Method::CONNECT => {
            uri.scheme().is_none() && uri.path_and_query().is_none() && uri.port_u16().is_some()
        }
        Some(b'/') => true,
        Some(b'*') => *method == Method::OPTIONS && uri.path() == "*",
        _ => uri.authority().is_some() && matches!(uri.scheme_str(), Some("http" | "https")),
    };
    if is_in_form { Ok(uri) } else { Err(HeadError::Target) }
}

/// The trailers of a chunked body, from after the last chunk on, with the empty line that ends them. `None` when they
/// are not all there; `searched` is where the last look ended.
pub(super) fn trailers(
    buf: &mut BytesMut,
    searched: &mut usize,
    limits: Limits,
) -> Result<Option<HeaderMap>, HeadError> {
    let Some(end) = end_of_lines(buf, *searched)? else {
        *searched = buf.len();
        return if buf.len() >= limits.bytes_max { Err(HeadError::TooLong) } else { Ok(None) };
    };
    if end > limits.bytes_max {
        return Err(HeadError::TooLong);
    }
    let mut scan = Scan::new(&buf[..end]);
    let (mut headers, _) = match lines(&mut scan, Version::HTTP_11, limits, HeaderMap::new) {
        Ok(read) if scan.position() == end => read,
        Ok(_) | Err(Stop::Partial) => return Err(HeadError::HeaderLine),
        Err(Stop::Refused(error)) => return Err(error),
    };
    buf.advance(end);
    for name in NOT_IN_TRAILERS {
        headers.remove(name);
    }
    Ok(Some(headers))
}

/// Where the empty line ends that is at the end of a head or of trailers. What is before `searched` has none.
fn end_of_lines(buf: &[u8], searched: usize) -> Result<Option<usize>, HeadError> {
    for at in searched..buf.len() {
        if buf[at] != b'\n' {
            continue;
        }
        if at == 0 || buf[at - 1] != b'\r' {
            return Err(HeadError::LineEnd);
        }
        if buf[..at].ends_with(b"\r\n\r") {
            return Ok(Some(at + 1));
        }
    }
    Ok(None)
}
