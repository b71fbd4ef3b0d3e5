//! Header lines, and what they say about the message that they belong to.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use httparse::Header;

use super::names::Role;
use super::{BodyLength, HeadError};

/// Most heads have fewer lines than this; the others are parsed a second time, with an allocation.
pub(super) const HEADERS_USUAL: usize = 32;
/// Lines that a proxy adds to a head: room for them is made at once.
const HEADERS_ADDED: usize = 6;
/// More would not fit 64 bits.
const LENGTH_DIGITS_MAX: usize = 19;

/// Where the header lines are in a head.
#[derive(Default)]
pub(super) struct Fields {
    usual: [Field; HEADERS_USUAL],
    /// In place of `usual` when there are more.
    many: Vec<Field>,
    count: usize,
    /// Where the body begins.
    pub(super) end: usize,
}

/// A header line: where its name begins and ends, and its value.
#[derive(Clone, Copy, Default)]
struct Field {
    name: (usize, usize),
    value: (usize, usize),
}

impl Fields {
    pub(super) fn note(&mut self, buf: &[u8], headers: &[Header<'_>], end: usize) {
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

    /// Makes the map with `names`, and notes what it says about the message itself.
    pub(super) fn read(
        &self,
        head: &Bytes,
        version: Version,
        mut headers: HeaderMap,
        mut names: impl FnMut(&[u8]) -> Result<(HeaderName, Role), HeadError>,
    ) -> Result<(HeaderMap, Said), HeadError> {
        let fields = if self.many.is_empty() { &self.usual[..] } else { &self.many[..] };
        let lines = self.count + HEADERS_ADDED;
        headers.try_reserve(lines).map_err(|_| HeadError::TooManyHeaders)?;
        let mut said = Said::default();
        for field in &fields[..self.count] {
            // The parser takes a line feed alone for the end of a line as well.
            if field.name.0 != 0 && head[..field.name.0].last_chunk() != Some(b"\r\n") {
                return Err(HeadError::LineEnd);
            }
            let (name, role) = names(&head[field.name.0..field.name.1])?;
            let value = HeaderValue::from_maybe_shared(head.slice(field.value.0..field.value.1))
                .map_err(|_| HeadError::HeaderLine)?;
            if role != Role::None {
                said.note(role, &value, version)?;
            }
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
pub(super) struct Said {
    length: Option<u64>,
    is_chunked: bool,
    close: bool,
    keep_alive: bool,
    pub(super) expects_continue: bool,
}

impl Said {
    fn note(&mut self, role: Role, value: &HeaderValue, version: Version) -> Result<(), HeadError> {
        match role {
            Role::ContentLength => {
                if self.length.is_some() {
                    return Err(HeadError::ContentLength);
                }
                self.length = Some(length(value.as_bytes()).ok_or(HeadError::ContentLength)?);
            }
            Role::TransferEncoding => self.note_coding(value.as_bytes(), version)?,
            Role::Connection => {
                for token in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    self.close |= token.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            Role::Expect => {
                self.expects_continue |= value.as_bytes().eq_ignore_ascii_case(b"100-continue");
            }
            Role::None => {}
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

    pub(super) fn keep_alive(&self, version: Version) -> bool {
        !self.close && (version == Version::HTTP_11 || self.keep_alive)
    }

    pub(super) fn request_body(&self) -> BodyLength {
        match self.length {
            _ if self.is_chunked => BodyLength::Chunked,
            None | Some(0) => BodyLength::None,
            Some(length) => BodyLength::Exact(length),
        }
    }

    pub(super) fn response_body(&self, to: &Method, status: StatusCode) -> BodyLength {
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

/// Where a part of a buffer is in it.
pub(super) fn range(buf: &[u8], part: &[u8]) -> (usize, usize) {
    let from = part.as_ptr() as usize - buf.as_ptr() as usize;
    (from, from + part.len())
}
