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

    /// A copy that lives on its own.
    #[must_use]
    pub fn to_owned(self) -> HeaderName {
        HeaderName::from_bytes(self.0).expect("it was read as a name")
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
        let is_valid = bytes.iter().all(|it| *it >= b' ' && *it != 0x7f || *it == b'\t');
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
