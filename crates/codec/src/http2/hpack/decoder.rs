//! Header blocks to fields.

use std::collections::VecDeque;

use bytes::BytesMut;

use super::{ENTRY_OVERHEAD_BYTES, Field, HpackError, Name, TABLE_BYTES};
use super::{huffman, integer, static_table};

/// Strings are unpacked into buffers of at least this size, which the values of several messages share.
const SCRATCH_BYTES: usize = 2048;

/// The receiving end's state of one connection. Holds at most [`TABLE_BYTES`] as section 4.1 counts them; an entry is
/// at least 32 of these bytes, so at most 128 entries.
pub(in crate::http2) struct Decoder {
    /// The newest first.
    table: VecDeque<Entry>,
    bytes: usize,
    /// What the sender chose, at most [`TABLE_BYTES`], which is what it is told.
    bytes_max: usize,
    scratch: BytesMut,
}

struct Entry {
    field: Field,
    bytes: usize,
}

impl Decoder {
    pub(in crate::http2) fn new() -> Self {
        Self { table: VecDeque::new(), bytes: 0, bytes_max: TABLE_BYTES, scratch: BytesMut::new() }
    }

    /// Hands each field of the block to `take`, with its size as section 4.1 counts it. An error leaves the state
    /// useless.
    pub(in crate::http2) fn decode(
        &mut self,
        mut block: &[u8],
        mut take: impl FnMut(Field, usize),
    ) -> Result<(), HpackError> {
        let mut is_first = true;
        while let Some(first) = block.first() {
            match first {
                0x80.. => {
                    let index = integer::decode(&mut block, 7)?;
                    let (field, bytes) = self.field(index)?;
                    take(field, bytes);
                }
                0x40.. => {
                    let (name, name_bytes) = self.name(&mut block, 6)?;
                    let value_bytes = self.string(&mut block)?;
                    let field = name.with_value(&mut self.scratch, true);
                    let bytes = name_bytes + value_bytes + ENTRY_OVERHEAD_BYTES;
                    self.insert(Entry { field: field.clone(), bytes });
                    take(field, bytes);
                }
                0x20.. if !is_first => return Err(HpackError::SizeUpdate),
                0x20.. => {
                    self.resize(integer::decode(&mut block, 5)?)?;
                    continue;
                }
                0x10.. => self.literal(&mut block, true, &mut take)?,
                _ => self.literal(&mut block, false, &mut take)?,
            }
            is_first = false;
        }
        Ok(())
    }

    /// Gives back what is held for the sake of speed.
    pub(in crate::http2) fn rest(&mut self) {
        self.scratch = BytesMut::new();
    }

    fn literal(
        &mut self,
        block: &mut &[u8],
        is_sensitive: bool,
        take: &mut impl FnMut(Field, usize),
    ) -> Result<(), HpackError> {
        let (name, name_bytes) = self.name(block, 4)?;
        let value_bytes = self.string(block)?;
        let mut field = name.with_value(&mut self.scratch, false);
        if let Field::Regular(_, value) = &mut field {
            // Who passes it on must not index it either (section 7.1.3).
            value.set_sensitive(is_sensitive);
        }
        take(field, name_bytes + value_bytes + ENTRY_OVERHEAD_BYTES);
        Ok(())
    }

    /// The field at an index, and its size.
    fn field(&self, index: usize) -> Result<(Field, usize), HpackError> {
        match index {
            0 => Err(HpackError::Index),
            1..=static_table::LEN => {
                let index = index as u8;
                let bytes = static_name_bytes(index) + static_table::value(index).len();
                Ok((Field::of_static(index), bytes + ENTRY_OVERHEAD_BYTES))
            }
            _ => {
                let entry =
                    self.table.get(index - static_table::LEN - 1).ok_or(HpackError::Index)?;
                Ok((entry.field.clone(), entry.bytes))
            }
        }
    }

    /// A name by index or as a string, and its length.
    fn name(&mut self, block: &mut &[u8], prefix_bits: u32) -> Result<(Name, usize), HpackError> {
        match integer::decode(block, prefix_bits)? {
            0 => {
                let length = self.string(block)?;
                let name = Name::parse(&self.scratch);
                self.scratch.clear();
                Ok((name, length))
            }
            index @ 1..=static_table::LEN => {
                Ok((Name::of_static(index as u8), static_name_bytes(index as u8)))
            }
            index => {
                let (field, _) = self.field(index)?;
                let name = field.name();
                let length = name.len();
                Ok((name, length))
            }
        }
    }

    /// Unpacks a string into the empty scratch and gives its length.
    fn string(&mut self, block: &mut &[u8]) -> Result<usize, HpackError> {
        let is_coded = block.first().is_some_and(|it| it & 0x80 != 0);
        let length = integer::decode(block, 7)?;
        let Some((text, rest)) = block.split_at_checked(length) else {
            return Err(HpackError::Truncated);
        };
        *block = rest;
        let room = length * 2;
        if self.scratch.capacity() < room {
            self.scratch.reserve(room.max(SCRATCH_BYTES));
        }
        if is_coded {
            huffman::decode(text, &mut self.scratch)?;
        } else {
            self.scratch.extend_from_slice(text);
        }
        Ok(self.scratch.len())
    }

    fn resize(&mut self, bytes_max: usize) -> Result<(), HpackError> {
        if bytes_max > TABLE_BYTES {
            return Err(HpackError::SizeUpdate);
        }
        self.bytes_max = bytes_max;
        self.shrink_to(bytes_max);
        Ok(())
    }

    /// An entry that is larger than the table empties it (section 4.4).
    fn insert(&mut self, entry: Entry) {
        self.shrink_to(self.bytes_max.saturating_sub(entry.bytes));
        if entry.bytes <= self.bytes_max {
            self.bytes += entry.bytes;
            self.table.push_front(entry);
        }
    }

    fn shrink_to(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max
            && let Some(oldest) = self.table.pop_back()
        {
            self.bytes -= oldest.bytes;
        }
    }

    #[cfg(test)]
    pub(super) fn table_bytes(&self) -> usize {
        self.bytes
    }
}

fn static_name_bytes(index: u8) -> usize {
    Name::of_static(index).len()
}
