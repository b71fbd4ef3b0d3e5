//! Heads: from bytes to a message, strictly.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use httparse::{Header, ParserConfig, Status};

use super::{BodyLength, HeadError, Limits, RequestHead, ResponseHead};

/// Most heads have fewer lines than this; the others are parsed a second time, with an allocation.
const HEADERS_USUAL: usize = 32;
/// What a [`HeaderMap`] can hold: 2^15 slots of which three quarters are used.
const HEADERS_MAX: usize = 24_000;
/// Lines that a proxy adds to a head: room for them is made at once.
const HEADERS_ADDED: usize = 6;
/// Empty lines before a request that are skipped (RFC 9112, section 2.2, asks for one).
const EMPTY_LINES_MAX: u8 = 4;
/// What says how a message is read or where it goes is not heeded when it comes after the message (RFC 9110, section
/// 6.5.1), and must not be believed by a reader behind this one.
const NOT_IN_TRAILERS: [HeaderName; 5] =
    [CONNECTION, CONTENT_LENGTH, HOST, TRAILER, TRANSFER_ENCODING];
/// More would not fit 64 bits.
const LENGTH_DIGITS_MAX: usize = 19;

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
        let Some((line, fields)) = parse(buf, limits, request_line)? else {
            return self.unfinished(buf, limits);
        };
        let head = self.take(buf, fields.end, limits)?;
        let version = line.version;
        let (headers, said) = fields.read(&head, version, empty())?;
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
    ) -> Result<Option<ResponseHead>, HeadError> {
        if matches!(buf.first(), Some(b'\r' | b'\n')) {
            return Err(HeadError::FirstLine);
        }
        if !self.is_worth_parsing(buf)? {
            return self.unfinished(buf, limits);
        }
        let Some((line, fields)) = parse(buf, limits, status_line)? else {
            return self.unfinished(buf, limits);
        };
        let head = self.take(buf, fields.end, limits)?;
        let (headers, said) = fields.read(&head, line.version, empty())?;
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

/// Where the header lines are in a head.
#[derive(Default)]
struct Fields {
    usual: [Field; HEADERS_USUAL],
    /// In place of `usual` when there are more.
    many: Vec<Field>,
    count: usize,
    /// Where the body begins.
    end: usize,
}

/// A header line: where its name begins and ends, and its value.
#[derive(Clone, Copy, Default)]
struct Field {
    name: (usize, usize),
    value: (usize, usize),
}

/// Parses with little room first, and with much when that is not enough. `None` when the head is not all there.
fn parse<'b, L>(
    buf: &'b [u8],
    limits: Limits,
    once: impl Fn(&'b [u8], &mut [MaybeUninit<Header<'b>>], &mut Fields) -> httparse::Result<L>,
) -> Result<Option<(L, Fields)>, HeadError> {
    let headers_max = limits.headers_max.min(HEADERS_MAX);
    let mut fields = Fields::default();
    let mut room = [const { MaybeUninit::uninit() }; HEADERS_USUAL];
    let mut parsed = once(buf, &mut room[..headers_max.min(HEADERS_USUAL)], &mut fields);
    if matches!(parsed, Err(httparse::Error::TooManyHeaders)) && headers_max > HEADERS_USUAL {
        let mut room = vec![MaybeUninit::uninit(); headers_max];
        parsed = once(buf, &mut room, &mut fields);
    }
    match parsed.map_err(refusal)? {
        Status::Complete(line) => Ok(Some((line, fields))),
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

/// Where a part of a buffer is in it.
fn range(buf: &[u8], part: &[u8]) -> (usize, usize) {
    let from = part.as_ptr() as usize - buf.as_ptr() as usize;
    (from, from + part.len())
}

impl Fields {
    fn note(&mut self, buf: &[u8], headers: &[Header<'_>], end: usize) {
        self.end = end;
        self.count = headers.len();
        if headers.len() > HEADERS_USUAL {
            self.many.resize(headers.len(), Field::default());
        }
        let fields = if self.many.is_empty() { &mut self.usual[..] } else { &mut self.many[..] };
        for (field, header) in fields.iter_mut().zip(headers) {
            let name = range(buf, header.name.as_bytes());
            let value = range(buf, header.value);
            *field = Field { name, value };
        }
    }

    /// Makes the map, and notes what it says about the message itself.
    fn read(
        &self,
        head: &Bytes,
        version: Version,
        mut headers: HeaderMap,
    ) -> Result<(HeaderMap, Said), HeadError> {
        let fields = if self.many.is_empty() { &self.usual[..] } else { &self.many[..] };
        let lines = self.count + HEADERS_ADDED;
        headers.try_reserve(lines).map_err(|_| HeadError::TooManyHeaders)?;
        let mut said = Said::default();
        for field in &fields[..self.count] {
            // The parser takes a line feed alone for the end of a line as well.
            if field.name.0 != 0 && !head[..field.name.0].ends_with(b"\r\n") {
                return Err(HeadError::LineEnd);
            }
            let name = HeaderName::from_bytes(&head[field.name.0..field.name.1])
                .map_err(|_| HeadError::HeaderLine)?;
            let value = HeaderValue::from_maybe_shared(head.slice(field.value.0..field.value.1))
                .map_err(|_| HeadError::HeaderLine)?;
            said.note(&name, &value, version)?;
            headers.try_append(name, value).map_err(|_| HeadError::TooManyHeaders)?;
        }
        if said.is_chunked && said.length.is_some() {
            return Err(HeadError::Ambiguous);
        }
        Ok((headers, said))
    }
}

/// What the header lines say about the message itself.
#[derive(Default)]
struct Said {
    length: Option<u64>,
    is_chunked: bool,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
}

impl Said {
    fn note(
        &mut self,
        name: &HeaderName,
        value: &HeaderValue,
        version: Version,
    ) -> Result<(), HeadError> {
        if *name == CONTENT_LENGTH {
            if self.length.is_some() {
                return Err(HeadError::ContentLength);
            }
            self.length = Some(length(value.as_bytes()).ok_or(HeadError::ContentLength)?);
        } else if *name == TRANSFER_ENCODING {
            self.note_coding(value.as_bytes(), version)?;
        } else if *name == CONNECTION {
            for token in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                self.close |= token.eq_ignore_ascii_case(b"close");
                self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if *name == EXPECT {
            self.expects_continue |= value.as_bytes().eq_ignore_ascii_case(b"100-continue");
        }
        Ok(())
    }

    /// `chunked` alone: nobody sends another coding without having been asked (RFC 9112, section 6.1), and a list has
    /// been read in more than one way.
    fn note_coding(&mut self, value: &[u8], version: Version) -> Result<(), HeadError> {
        if version == Version::HTTP_10 || self.is_chunked {
            return Err(HeadError::Ambiguous);
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            let is_known = |it: &[u8]| it.trim_ascii().eq_ignore_ascii_case(b"chunked");
            let has_known = value.split(|byte| *byte == b',').any(is_known);
            return Err(if has_known { HeadError::Ambiguous } else { HeadError::TransferCoding });
        }
        self.is_chunked = true;
        Ok(())
    }

    fn keep_alive(&self, version: Version) -> bool {
        !self.close && (version == Version::HTTP_11 || self.keep_alive)
    }

    fn request_body(&self) -> BodyLength {
        match self.length {
            _ if self.is_chunked => BodyLength::Chunked,
            None | Some(0) => BodyLength::None,
            Some(length) => BodyLength::Exact(length),
        }
    }

    fn response_body(&self, to: &Method, status: StatusCode) -> BodyLength {
        let is_tunnel = *to == Method::CONNECT && status.is_success();
        let is_without = status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        match self.length {
            _ if is_tunnel || is_without || *to == Method::HEAD => BodyLength::None,
            _ if self.is_chunked => BodyLength::Chunked,
            Some(0) => BodyLength::None,
            Some(length) => BodyLength::Exact(length),
            None => BodyLength::UntilClose,
        }
    }
}

/// One number, without a sign and not a list.
fn length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > LENGTH_DIGITS_MAX {
        return None;
    }
    value.iter().try_fold(0_u64, |sum, byte| match byte {
        b'0'..=b'9' => Some(sum * 10 + u64::from(byte - b'0')),
        _ => None,
    })
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
    let (mut headers, _) = fields.read(&lines, Version::HTTP_11, HeaderMap::new())?;
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
