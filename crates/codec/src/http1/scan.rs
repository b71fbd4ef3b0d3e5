//! The bytes of a head, looked at once: the first line, and the header lines into a [`HeaderMap`].
//!
//! Every scan stops at the first byte that cannot be there, so that what can never become a head is refused before its
//! end has come.

use http::{Method, StatusCode, Version};

use super::HeadError;
use crate::message::{HeaderMap, LineRead, Reading, TOKEN, value_bytes};

/// Digits of a status.
const STATUS_BYTES: usize = 3;

/// Why a scan did not come to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    /// There are no more bytes; with more it may be a head.
    Partial,
    Refused(HeadError),
}

impl From<HeadError> for Stop {
    fn from(error: HeadError) -> Self {
        Stop::Refused(error)
    }
}

/// Bytes that are looked at one after the other.
pub(super) struct Scan<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Scan<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were looked at.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    fn rest(&self) -> &'b [u8] {
        &self.bytes[self.at..]
    }

    fn peek(&self) -> Result<u8, Stop> {
        self.bytes.get(self.at).copied().ok_or(Stop::Partial)
    }

    /// As many bytes as are of a kind, not none.
    fn take_while(&mut self, is: impl Fn(u8) -> bool, or: HeadError) -> Result<&'b [u8], Stop> {
        let rest = self.rest();
        let length = rest.iter().position(|it| !is(*it)).ok_or(Stop::Partial)?;
        if length == 0 {
            return Err(or.into());
        }
        self.at += length;
        Ok(&rest[..length])
    }

    fn expect(&mut self, byte: u8, or: HeadError) -> Result<(), Stop> {
        if self.peek()? != byte {
            return Err(or.into());
        }
        self.at += 1;
        Ok(())
    }

    /// The end of a line, which is CR LF and nothing else.
    fn line_end(&mut self) -> Result<(), Stop> {
        self.expect(b'\r', HeadError::LineEnd)?;
        self.expect(b'\n', HeadError::LineEnd)
    }

    /// `HTTP/1.0` or `HTTP/1.1`.
    fn version(&mut self) -> Result<Version, Stop> {
        const NAME: &[u8] = b"HTTP/1.";
        let rest = self.rest();
        let length = rest.len().min(NAME.len());
        if rest[..length] != NAME[..length] {
            return Err(HeadError::Version.into());
        }
        let version = match rest.get(NAME.len()) {
            Some(b'1') => Version::HTTP_11,
            Some(b'0') => Version::HTTP_10,
            Some(_) => return Err(HeadError::Version.into()),
            None => return Err(Stop::Partial),
        };
        self.at += NAME.len() + 1;
        Ok(version)
    }

    /// The first line of a request: its method, its target, which may be any text without spaces, and its version.
    pub(super) fn request_line(&mut self) -> Result<(Method, &'b [u8], Version), Stop> {
        let method = match self.rest() {
            [b'G', b'E', b'T', b' ', ..] => {
                self.at += 3;
                Method::GET
            }
            _ => {
                let is_token = |it: u8| TOKEN[usize::from(it)];
                let method = self.take_while(is_token, HeadError::FirstLine)?;
                Method::from_bytes(method).map_err(|_| HeadError::FirstLine)?
            }
        };
        self.expect(b' ', HeadError::FirstLine)?;
        let target = self.take_while(|it| it > b' ' && it != 0x7f, HeadError::FirstLine)?;
        self.expect(b' ', HeadError::FirstLine)?;
        let version = self.version()?;
        self.line_end()?;
        Ok((method, target, version))
    }

    /// The first line of a response. What it says beside the status is left out.
    pub(super) fn status_line(&mut self) -> Result<(Version, StatusCode), Stop> {
        let version = self.version()?;
        self.expect(b' ', HeadError::FirstLine)?;
        let digits = self.rest();
        let digits = &digits[..digits.len().min(STATUS_BYTES)];
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(HeadError::FirstLine.into());
        }
        if digits.len() < STATUS_BYTES {
            return Err(Stop::Partial);
        }
        let status = StatusCode::from_bytes(digits).map_err(|_| HeadError::FirstLine)?;
        self.at += STATUS_BYTES;
        match self.peek()? {
            b' ' => {
                self.at += 1;
                self.at += value_bytes(self.rest());
            }
            b'\r' | b'\n' => {}
            _ => return Err(HeadError::FirstLine.into()),
        }
        match self.peek()? {
            b'\r' | b'\n' => self.line_end()?,
            _ => return Err(HeadError::FirstLine.into()),
        }
        Ok((version, status))
    }

    /// Puts header lines into `headers`, up to the empty line, and tells `see` the name and the value of each that may say
    /// something about the message, as they are written.
    pub(super) fn header_lines(
        &mut self,
        headers: &mut HeaderMap,
        headers_max: usize,
        mut see: impl FnMut(&[u8], &[u8]) -> Result<(), HeadError>,
    ) -> Result<(), Stop> {
        let bytes = self.rest();
        let bytes = &bytes[..bytes.len().min(Reading::BYTES_MAX)];
        let mut reading = headers.read();
        let (mut count, mut at) = (0, 0);
        while !matches!(bytes.get(at), Some(b'\r' | b'\n') | None) {
            if count >= headers_max {
                return Err(HeadError::TooManyHeaders.into());
            }
            count += 1;
            let (line, end) = header_line(bytes, at)?;
            // One look at the length spares most names the others.
            if matches!(line.name_bytes, 6 | 10 | 14 | 17) {
                let value = line.value as usize;
                let name = &bytes[at..at + line.name_bytes as usize];
                see(name, &bytes[value..value + line.value_bytes as usize])?;
            }
            reading.push(&line);
            at = end;
        }
        self.at += at;
        self.line_end()?;
        reading.finish(&bytes[..at]);
        Ok(())
    }
}

/// The line that begins at `at`, a name and a value without the white space around it (RFC 9112, section 5.1), and where
/// it ends. `bytes` are no more than [`Reading::BYTES_MAX`].
#[inline]
fn header_line(bytes: &[u8], at: usize) -> Result<(LineRead, usize), Stop> {
    let mut colon = at;
    loop {
        colon += plain_bytes(&bytes[colon..]);
        match bytes.get(colon) {
            Some(b':') if colon > at => break,
            // What names seldom have.
            Some(byte) if TOKEN[usize::from(*byte)] => colon += 1,
            Some(_) => return Err(HeadError::HeaderLine.into()),
            None => return Err(Stop::Partial),
        }
    }
    let mut value = colon + 1;
    while matches!(bytes.get(value), Some(b' ' | b'\t')) {
        value += 1;
    }
    let mut end = value + value_bytes(&bytes[value..]);
    let line_end = end + 2;
    match bytes.get(end..line_end) {
        Some(b"\r\n") => {}
        Some([b'\n', _]) => return Err(HeadError::LineEnd.into()),
        Some(_) => return Err(HeadError::HeaderLine.into()),
        None => return Err(line_end_missing(&bytes[end..])),
    }
    while end > value && matches!(bytes[end - 1], b' ' | b'\t') {
        end -= 1;
    }
    let line = LineRead {
        at: at as u32,
        name_bytes: (colon - at) as u32,
        value: value as u32,
        value_bytes: (end - value) as u32,
        is_plain: value == colon + 2 && bytes[colon + 1] == b' ' && end + 2 == line_end,
    };
    Ok((line, line_end))
}

/// What the last byte, or none, says of a line that has not ended.
#[cold]
fn line_end_missing(rest: &[u8]) -> Stop {
    match rest {
        [] | [b'\r'] => Stop::Partial,
        [b'\n', ..] => HeadError::LineEnd.into(),
        _ => HeadError::HeaderLine.into(),
    }
}

/// How many bytes from the beginning are letters, digits and hyphens, which most names are made of. It may stop early.
#[inline]
fn plain_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    /// The highest bit of each byte that is at least `first`; all bytes are ASCII.
    const fn from(word: u64, first: u8) -> u64 {
        word + ONES * (0x80 - first as u64)
    }
    let (words, _) = bytes.as_chunks::<8>();
    for (idx, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let ascii = word & !HIGH;
        let lower = ascii | (ONES * 0x20);
        let letters = from(lower, b'a') & !from(lower, b'z' + 1);
        let digits = from(ascii, b'0') & !from(ascii, b'9' + 1);
        let hyphens = from(ascii, b'-') & !from(ascii, b'-' + 1);
        let others = !((letters | digits | hyphens) & !word) & HIGH;
        if others != 0 {
            return idx * 8 + others.trailing_zeros() as usize / 8;
        }
    }
    words.len() * 8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn letters_digits_and_hyphens_are_plain() {
        for byte in 0..=u8::MAX {
            let is_plain = byte.is_ascii_alphanumeric() || byte == b'-';
            for at in 0..8 {
                let mut bytes = *b"aZ09-zA5";
                bytes[at] = byte;
                assert_eq!(plain_bytes(&bytes), if is_plain { 8 } else { at }, "{byte}");
            }
        }
    }

    proptest! {
        /// Against another parser that is used everywhere. It takes a line feed for the end of a line, which nothing
        /// here may; the rest is the same, to the byte.
        #[test]
        fn lines_are_what_another_parser_takes_them_for(
            lines in prop::collection::vec(
                prop_oneof![
                    6 => ("[A-Za-z0-9-]{1,40}", "[ \t]{0,3}[!-~]([ -~\t\u{80}-\u{ff}]{0,40}[!-~])?[ \t]{0,2}"),
                    1 => ("[A-Za-z0-9!#$%&'*+.^_`|~-]{0,12}[ \t:\"]?", "[ -~\t\u{80}-\u{ff}\r\n\0\x7f]{0,12}"),
                ],
                0..6,
            ),
        ) {
            let text: String = lines.iter().map(|(name, value)| format!("{name}:{value}\r\n")).collect();
            let bytes = format!("{text}\r\n").into_bytes();
            let mut ours = HeaderMap::new();
            let mut scan = Scan::new(&bytes);
            let read = scan.header_lines(&mut ours, 50, |_, _| Ok(()));
            let mut room = [httparse::EMPTY_HEADER; 50];
            match httparse::parse_headers(&bytes, &mut room) {
                Ok(httparse::Status::Complete((end, theirs))) if !has_bare_line_feed(&bytes[..end]) => {
                    prop_assert_eq!(read, Ok(()));
                    prop_assert_eq!(scan.position(), end);
                    prop_assert_eq!(ours.len(), theirs.len());
                    for ((name, value), theirs) in ours.iter().zip(theirs.iter()) {
                        prop_assert_eq!(name.as_str(), theirs.name.to_ascii_lowercase());
                        prop_assert_eq!(value.as_bytes(), theirs.value);
                    }
                }
                Ok(httparse::Status::Complete(_)) => prop_assert!(read.is_err()),
                Ok(httparse::Status::Partial) => prop_assert!(read.is_err()),
                Err(_) => prop_assert!(matches!(read, Err(Stop::Refused(_)))),
            }
        }
    }

    fn has_bare_line_feed(bytes: &[u8]) -> bool {
        (0..bytes.len()).any(|at| bytes[at] == b'\n' && (at == 0 || bytes[at - 1] != b'\r'))
    }
}
