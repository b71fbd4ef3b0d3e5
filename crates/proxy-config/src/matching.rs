//! Conditions on texts and headers.

use serde::{Deserialize, Serialize};

/// Condition on a text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ValueMatch {
    /// How it is compared.
    pub pattern: Pattern,
    /// Letters are compared without case; of no meaning for `Regex` and `Range`.
    #[serde(default)]
    pub ignore_case: bool,
}

impl ValueMatch {
    /// Exactly this text.
    #[must_use]
    pub fn exact(text: &str) -> Self {
        Self { pattern: Pattern::Exact(text.to_owned()), ignore_case: false }
    }
}

/// How a text is compared.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pattern {
    /// Any text, also an empty one.
    Present,
    /// This text.
    Exact(String),
    /// Begins with it.
    Prefix(String),
    /// Ends with it.
    Suffix(String),
    /// Has it somewhere.
    Contains(String),
    /// The whole text matches this regular expression (RE2's syntax; matching takes linear time).
    Regex(String),
    /// A whole number, `start <= number < end`.
    Range {
        /// First that fits.
        start: i64,
        /// First that does not.
        end: i64,
    },
}

/// Condition on a header.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HeaderMatch {
    /// Name in lower case; `:path`, `:method`, `:authority` and `:scheme` are what HTTP/2 calls so.
    pub name: String,
    /// Condition on the value; several values of one name are joined with `,`.
    pub value: ValueMatch,
    /// The condition must not hold. A header that is missing does not meet an inverted condition on its value, except
    /// `Present`, whose inversion means that it must be missing.
    #[serde(default)]
    pub invert: bool,
    /// A missing header is treated as an empty one.
    #[serde(default)]
    pub missing_as_empty: bool,
}

/// Condition on a query parameter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct QueryMatch {
    /// Name, as it stands in the query (no decoding).
    pub name: String,
    /// Condition on its first value.
    pub value: ValueMatch,
}
