//! Names and values of header lines, borrowed.

use std::fmt;

use http::{HeaderName, HeaderValue};

/// A name by which header lines are looked for: lower case, as [`HeaderName`] has it.
pub trait AsName {
    /// The name.
    fn as_name(&self) -> &str;
}

impl AsName for HeaderName {
    fn as_name(&self) -> &str {
        self.as_str()
    }
}

impl AsName for &HeaderName {
    fn as_name(&self) -> &str {
        self.as_str()
    }
}

/// What is not in lower case names nothing.
impl AsName for &str {
    fn as_name(&self) -> &str {
        self
    }
}

impl AsName for FieldName<'_> {
    fn as_name(&self) -> &str {
        self.as_str()
    }
}

/// The name of a header line: a token in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FieldName<'a>(pub(super) &'a [u8]);

impl<'a> FieldName<'a> {
    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        // Tokens are ASCII; a check costs less than to be wrong about it.
        std::str::from_utf8(self.0).unwrap_or_default()
    }

    /// The same in bytes, which costs no look at them.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

impl<'a> From<&'a HeaderName> for FieldName<'a> {
    fn from(name: &'a HeaderName) -> Self {
        Self(name.as_str().as_bytes())
    }
}

impl PartialEq<HeaderName> for FieldName<'_> {
    fn eq(&self, other: &HeaderName) -> bool {
        self.0 == other.as_str().as_bytes()
    }
}

impl PartialEq<str> for FieldName<'_> {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl fmt::Display for FieldName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The value of a header line: no control characters but tabs.
#[derive(Clone, Copy)]
pub struct FieldValue<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) is_sensitive: bool,
}

/// A value has bytes that are not visible ASCII.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the value of a header is not text")]
pub struct NotText;

impl<'a> FieldValue<'a> {
    /// One that is written in the program, without control characters.
    #[must_use]
    pub const fn from_static(text: &'static str) -> FieldValue<'static> {
        FieldValue { bytes: text.as_bytes(), is_sensitive: false }
    }

    /// `None` when it has control characters.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let is_valid = value_bytes(bytes) == bytes.len();
        is_valid.then_some(Self { bytes, is_sensitive: false })
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The text.
    ///
    /// # Errors
    /// When there are bytes that are neither visible ASCII nor white space.
    pub fn to_str(self) -> Result<&'a str, NotText> {
        if !self.bytes.iter().all(|it| (b' '..0x7f).contains(it) || *it == b'\t') {
            return Err(NotText);
        }
        std::str::from_utf8(self.bytes).map_err(|_| NotText)
    }

    /// Whoever passes it on must keep it out of tables (RFC 7541, section 7.1.3).
    #[must_use]
    pub fn is_sensitive(self) -> bool {
        self.is_sensitive
    }

    /// Number of bytes.
    #[must_use]
    pub fn len(self) -> usize {
        self.bytes.len()
    }

    /// It has no bytes.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.bytes.is_empty()
    }

    /// A copy that lives on its own.
    #[must_use]
    pub fn to_owned(self) -> HeaderValue {
        let mut value = HeaderValue::from_bytes(self.bytes).expect("it was read as a value");
        value.set_sensitive(self.is_sensitive);
        value
    }
}

impl PartialEq for FieldValue<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl PartialEq<&str> for FieldValue<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.bytes == other.as_bytes()
    }
}

impl PartialEq<str> for FieldValue<'_> {
    fn eq(&self, other: &str) -> bool {
        self.bytes == other.as_bytes()
    }
}

impl fmt::Debug for FieldValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_sensitive {
            f.write_str("Sensitive")
        } else {
            write!(f, "\"{}\"", self.bytes.escape_ascii())
        }
    }
}

/// What can be the value of a header line, because it has been found to be one.
pub trait IntoValue {
    /// The value.
    fn value(&self) -> FieldValue<'_>;
}

impl IntoValue for HeaderValue {
    fn value(&self) -> FieldValue<'_> {
        FieldValue { bytes: self.as_bytes(), is_sensitive: self.is_sensitive() }
    }
}

impl IntoValue for &HeaderValue {
    fn value(&self) -> FieldValue<'_> {
        (*self).value()
    }
}

impl IntoValue for FieldValue<'_> {
    fn value(&self) -> FieldValue<'_> {
        *self
    }
}

/// Whether a token may be made of a byte (RFC 9110, section 5.6.2).
pub(crate) const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
};

/// How many bytes from the beginning may be in a value: no control characters but tabs.
#[inline]
pub(crate) fn value_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let (words, rest) = bytes.as_chunks::<8>();
    for (idx, word) in words.iter().enumerate() {
        // Eight bytes at a time. A byte's highest bit ends up set when it is below 0x20 or 0x7f; a borrow may set it in
        // bytes above such a one, never below.
        let word = u64::from_le_bytes(*word);
        let delete = word ^ (ONES * 0x7f);
        let below = word.wrapping_sub(ONES * 0x20) & !word;
        let suspects = (below | (delete.wrapping_sub(ONES) & !delete)) & HIGH;
        if suspects != 0 {
            let at = idx * 8 + suspects.trailing_zeros() as usize / 8;
            return at + one_by_one(&bytes[at..]);
        }
    }
    let at = words.len() * 8;
    at + one_by_one(rest)
}

fn one_by_one(bytes: &[u8]) -> usize {
    let is_in_value = |it: &u8| *it >= b' ' && *it != 0x7f || *it == b'\t';
    let end = bytes.iter().position(|it| !is_in_value(it));
    end.unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn values_end_where_they_end_byte_by_byte(
            bytes in prop::collection::vec(
                prop_oneof![8 => 0x20_u8..0x7f, 1 => any::<u8>(), 1 => Just(b'\t'), 1 => 0x7e_u8..0x81],
                0..64,
            ),
        ) {
            prop_assert_eq!(value_bytes(&bytes), one_by_one(&bytes));
        }
    }
}
