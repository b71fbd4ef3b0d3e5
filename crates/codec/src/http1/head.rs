//! Heads: from bytes to a message, strictly.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri, Version};
use httparse::{Header, ParserConfig, Status};

use super::fields::{Fields, HEADERS_USUAL, range};
use super::names::{self, HeaderNames};
use super::{BodyLength, HeadError, Limits, RequestHead, ResponseHead};

/// What a [`HeaderMap`] can hold: 2^15 slots of which three quarters are used.
const HEADERS_MAX: usize = 24_000;
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
    /// for its lines, perhaps one that was used before, and `names` may hold those of other heads.
    ///
    /// # Errors
    /// When no further bytes can make it a head. What is in `buf` then is of no use.
    pub fn request(
        &mut self,
        buf: &mut BytesMut,
        limits: Limits,
        empty: fn() -> HeaderMap,
        names: &mut HeaderNames,
    ) -> Result<Option<RequestHead>, HeadError> {
        self.skip_empty_lines(buf)?;
        if !self.is_worth_parsing(buf)? {
            return self.unfinished(buf, limits);
        }
        let mut fields = Fields::default();
        let Some(line) = parse(buf, limits, &mut fields, request_line)? else {
            return self.unfinished(buf, limits);
        };
        let head = self.take(buf, fields.end, limits)?;
        let version = line.version;
        let (headers, said) = fields.read(&head, version, empty(), |it| names.get(it))?;
        let uri = target(&line.method, head.slice(line.target.0..line.target.1))?;
        Ok(Some(RequestHead {
            method: line.method,
            uri,
            version,
            body: said.request_body(),
            keep_alive: said.keep_alive(version),
            expects_continue: said.expects_continue && version == Version::HTTP_11,
            headers,
        }))
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
        names: &mut HeaderNames,
    ) -> Result<Option<ResponseHead>, HeadError> {
        if matches!(buf.first(), Some(b'\r' | b'\n')) {
            return Err(HeadError::FirstLine);
        }
        if !self.is_worth_parsing(buf)? {
            return self.unfinished(buf, limits);
        }
        let mut fields = Fields::default();
        let Some(line) = parse(buf, limits, &mut fields, status_line)? else {
            return self.unfinished(buf, limits);
        };
        let head = self.take(buf, fields.end, limits)?;
        let (headers, said) = fields.read(&head, line.version, empty(), |it| names.get(it))?;
        let body = said.response_body(to, line.status);
        Ok(Some(ResponseHead {
            status: line.status,
            version: line.version,
            body,
            keep_alive: body != BodyLength::UntilClose && said.keep_alive(line.version),
            headers,
        }))
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
    fn take(
        &mut self,
        buf: &mut BytesMut,
        length: usize,
        limits: Limits,
    ) -> Result<Bytes, HeadError> {
        *self = Self::default();
        if length > limits.bytes_max {
            return Err(HeadError::TooLong);
        }
        let head = buf.split_to(length).freeze();
        if head.ends_with(b"\r\n\r\n") { Ok(head) } else { Err(HeadError::LineEnd) }
    }
}

/// The first line of a request, its target as a range of the head.
struct RequestLine {
    method: Method,
    target: (usize, usize),
    version: Version,
}

struct StatusLine {
    status: StatusCode,
    version: Version,
}

/// Parses with little room first, and with much when that is not enough. `None` when the head is not all there.
fn parse<'b, L>(
    buf: &'b [u8],
    limits: Limits,
    fields: &mut Fields,
    once: impl Fn(&'b [u8], &mut [MaybeUninit<Header<'b>>], &mut Fields) -> httparse::Result<L>,
) -> Result<Option<L>, HeadError> {
    let headers_max = limits.headers_max.min(HEADERS_MAX);
    let mut room = [const { MaybeUninit::uninit() }; HEADERS_USUAL];
    let mut parsed = once(buf, &mut room[..headers_max.min(HEADERS_USUAL)], fields);
    if matches!(parsed, Err(httparse::Error::TooManyHeaders)) && headers_max > HEADERS_USUAL {
        let mut room = vec![MaybeUninit::uninit(); headers_max];
        parsed = once(buf, &mut room, fields);
    }
    match parsed.map_err(refusal)? {
        Status::Complete(line) => Ok(Some(line)),
        Status::Partial => Ok(None),
    }
}

fn refusal(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue => HeadError::HeaderLine,
        httparse::Error::NewLine => HeadError::LineEnd,
        httparse::Error::Status | httparse::Error::Token => HeadError::FirstLine,
        httparse::Error::TooManyHeaders => HeadError::TooManyHeaders,
        httparse::Error::Version => HeadError::Version,
    }
}

fn request_line<'b>(
    buf: &'b [u8],
    room: &mut [MaybeUninit<Header<'b>>],
    fields: &mut Fields,
) -> httparse::Result<RequestLine> {
    let mut request = httparse::Request::new(&mut []);
    let Status::Complete(end) = request.parse_with_uninit_headers(buf, room)? else {
        return Ok(Status::Partial);
    };
    fields.note(buf, request.headers, end);
    let (Some(method), Some(path)) = (request.method, request.path) else {
        return Err(httparse::Error::Token);
    };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| httparse::Error::Token)?;
    let target = range(buf, path.as_bytes());
    let line = RequestLine { method, target, version: version(request.version) };
    Ok(Status::Complete(line))
}

fn status_line<'b>(
    buf: &'b [u8],
    room: &mut [MaybeUninit<Header<'b>>],
    fields: &mut Fields,
) -> httparse::Result<StatusLine> {
    let mut response = httparse::Response::new(&mut []);
    let parsed =
        ParserConfig::default().parse_response_with_uninit_headers(&mut response, buf, room)?;
    let Status::Complete(end) = parsed else { return Ok(Status::Partial) };
    fields.note(buf, response.headers, end);
    let status = response.code.and_then(|it| StatusCode::from_u16(it).ok());
    let status = status.ok_or(httparse::Error::Status)?;
    Ok(Status::Complete(StatusLine { status, version: version(response.version) }))
}

fn version(minor: Option<u8>) -> Version {
    if minor == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 }
}

/// The target in the form that the method allows (RFC 9112, section 3.2). None of them has a fragment.
fn target(method: &Method, text: Bytes) -> Result<Uri, HeadError> {
    let first = text.first().copied();
    if text.contains(&b'#') {
        return Err(HeadError::Target);
    }
    let uri = Uri::from_maybe_shared(text).map_err(|_| HeadError::Target)?;
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
    let lines = buf.split_to(end).freeze();
    let mut room = vec![httparse::EMPTY_HEADER; limits.headers_max.min(HEADERS_MAX)];
    let mut fields = Fields::default();
    match httparse::parse_headers(&lines, &mut room).map_err(refusal)? {
        Status::Complete((parsed, headers)) if parsed == end => fields.note(&lines, headers, end),
        Status::Complete(_) | Status::Partial => return Err(HeadError::HeaderLine),
    }
    let (mut headers, _) = fields.read(&lines, Version::HTTP_11, HeaderMap::new(), names::make)?;
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
