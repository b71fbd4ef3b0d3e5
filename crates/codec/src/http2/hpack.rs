//! Header compression (RFC 7541): field lines to bytes and back, with the state that both ends keep.

mod decoder;
mod encoder;
mod field;
mod huffman;
mod integer;
mod static_table;
#[cfg(test)]
mod tests;

pub(super) use decoder::Decoder;
pub(super) use encoder::Encoder;
pub(super) use field::{Field, Name};

/// Size of the dynamic table of either end, in bytes as section 4.1 counts them: the default of RFC 9113.
pub(super) const TABLE_BYTES: usize = 4096;
/// What an entry counts beside its name and its value (section 4.1).
const ENTRY_OVERHEAD_BYTES: usize = 32;

/// A header block that cannot be decoded. What the two ends know of each other differs from here on, so it ends the
/// connection (RFC 9113, section 4.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum HpackError {
    #[error("the header block ends inside of a field")]
    Truncated,
    #[error("a number in the header block is too large")]
    Integer,
    #[error("a string in the header block has a wrong Huffman code")]
    Huffman,
    #[error("the header block names an entry that does not exist")]
    Index,
    #[error("the header block has a wrong table size update")]
    SizeUpdate,
}
