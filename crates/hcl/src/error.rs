//! What is wrong with a text, and where.

/// The first thing in a text that cannot be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{line}:{column}: expected {expected}, found {found}")]
pub struct Error {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What could have been there, in words.
    pub expected: String,
    /// What is there, in words; of long texts the beginning.
    pub found: String,
}
