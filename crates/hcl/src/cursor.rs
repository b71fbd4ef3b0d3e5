//! A place in a text: looks at what is next, and knows how to say what is wrong there.

use crate::{DEPTH_MAX, Error, INPUT_BYTES_MAX};

/// How much of a text an error shows, in characters.
const SHOWN_CHARS_MAX: usize = 32;

#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    /// In bytes, always between two characters.
    at: usize,
    depth: usize,
}

impl<'a> Cursor<'a> {
    /// At the beginning, behind the byte order mark if there is one.
    ///
    /// Errors: too long, not UTF-8, a zero byte.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        if bytes.len() > INPUT_BYTES_MAX {
            let expected = format!("at most {INPUT_BYTES_MAX} bytes");
            let found = format!("{} bytes", bytes.len());
            return Err(Error { line: 1, column: 1, expected, found });
        }
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let (text, rest) = match std::str::from_utf8(bytes) {
            Ok(text) => (text, None),
            Err(error) => {
                let (good, rest) = bytes.split_at(error.valid_up_to());
                let good = std::str::from_utf8(good).expect("valid up to here");
                (good, rest.first())
            }
        };
        let cursor = Self { text, at: 0, depth: 0 };
        if let Some(zero) = text.find('\0') {
            return Err(cursor.error_with(zero, "text", "a zero byte"));
        }
        match rest {
            None => Ok(cursor),
            Some(byte) => {
                let found = format!("the byte 0x{byte:02X}, which is not UTF-8");
                Err(cursor.error_with(text.len(), "text in UTF-8", found))
            }
        }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// What lies between an earlier place and this one.
    pub(crate) fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    pub(crate) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(crate) fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    /// Goes over `what` if it is next.
    pub(crate) fn eat(&mut self, what: &str) -> bool {
        let is_next = self.rest().starts_with(what);
        if is_next {
            self.at += what.len();
        }
        is_next
    }

    /// Goes over so many bytes, which end between two characters.
    pub(crate) fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// Goes back over so many bytes, all of which were characters of one byte.
    pub(crate) fn rewind(&mut self, bytes: usize) {
        self.at -= bytes;
    }

    pub(crate) fn take_while(&mut self, mut is_part: impl FnMut(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|it| !is_part(it)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// The rest of the line without its end; the end is gone over too. `None` at the end of the text.
    pub(crate) fn take_line(&mut self) -> Option<&'a str> {
        if self.rest().is_empty() {
            return None;
        }
        let line = self.take_while(|it| it != '\n');
        self.eat("\n");
        Some(line.strip_suffix('\r').unwrap_or(line))
    }

    /// One level deeper; who calls it calls [`Cursor::leave`] as often. Errors: too deep.
    pub(crate) fn enter(&mut self) -> Result<(), Error> {
        if self.depth == DEPTH_MAX {
            let expected = format!("objects, lists and labels at most {DEPTH_MAX} deep");
            return Err(self.error_with(self.at, expected, "one deeper"));
        }
        self.depth += 1;
        Ok(())
    }

    pub(crate) fn leave(&mut self, levels: usize) {
        self.depth -= levels;
    }

    /// Something else should have been here.
    pub(crate) fn error(&self, expected: impl Into<String>) -> Error {
        self.error_at(self.at, expected)
    }

    /// Something else should have been at an earlier place.
    pub(crate) fn error_at(&self, at: usize, expected: impl Into<String>) -> Error {
        self.error_with(at, expected, describe(&self.text[at..]))
    }

    pub(crate) fn error_with(
        &self,
        at: usize,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Error {
        let (line, column) = self.position(at);
        Error { line, column, expected: expected.into(), found: found.into() }
    }

    /// The line and column of a place, both from 1.
    pub(crate) fn position(&self, at: usize) -> (usize, usize) {
        let before = &self.text[..at];
        let line_start = before.rfind('\n').map_or(0, |it| it + 1);
        let line = 1 + before.bytes().filter(|it| *it == b'\n').count();
        (line, 1 + before[line_start..].chars().count())
    }
}

/// What a text begins with, in words.
fn describe(text: &str) -> String {
    let Some(first) = text.chars().next() else { return "the end of the text".to_owned() };
    let is_word = |it: char| it.is_alphanumeric() || matches!(it, '_' | '-' | '.');
    match first {
        '\n' => "the end of the line".to_owned(),
        '\r' if text.starts_with("\r\n") => "the end of the line".to_owned(),
        '"' => "a string".to_owned(),
        it if it.is_control() => format!("the control character U+{:04X}", u32::from(it)),
        it if is_word(it) => quote(text.split(|it| !is_word(it)).next().unwrap_or_default()),
        it => format!("`{it}`"),
    }
}

/// A text in quotes, cut to what an error shows.
pub(crate) fn quote(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        None => format!("`{text}`"),
        Some((end, _)) => format!("`{}…`", &text[..end]),
    }
}
