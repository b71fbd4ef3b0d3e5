//! The header lines of a message, as text.
//!
//! A proxy passes most lines on as they came. They are kept as they are written, `name: value` and the end of the line,
//! one behind the other in one piece of memory: to pass them on is to copy that piece, and to let go of them is to let go
//! of it. What is looked for is found by its length and its bytes; heads are short, and a set of bits says at once that a
//! name is not there.

use std::fmt;
use std::ops::Range;

use bytes::{BufMut, BytesMut};

use super::value::{AsName, FieldName, FieldValue, IntoValue};

/// Most lines that a reader puts into a map.
pub(crate) const LINES_READ_MAX: usize = 24_000;
/// Most lines of one head: what a proxy adds has room, however many came.
const LINES_MAX: usize = LINES_READ_MAX + 512;
const SEPARATOR: &[u8] = b": ";
const LINE_END: &[u8] = b"\r\n";
/// What a line has beside its name and its value.
const FRAME_BYTES: usize = SEPARATOR.len() + LINE_END.len();
/// Lines of most heads, and bytes that a proxy adds to one: room for them is made at once.
const LINES_USUAL: usize = 32;
const BYTES_ADDED: usize = 384;

/// Header lines in their order. Names are in lower case; several lines may have the same name.
#[derive(Clone, Default)]
pub struct HeaderMap {
    /// The lines, and what is left of those that were removed.
    text: Vec<u8>,
    lines: Vec<Line>,
    /// A bit for each name that may be there, by [`bit`].
    names: u64,
}

/// Where a line is: its name, a separator, its value, and the end of a line.
#[derive(Clone, Copy)]
struct Line {
    at: u32,
    name_bytes: u32,
    value_bytes: u32,
    is_sensitive: bool,
}

/// A block of lines that is being read into a map. What was read is there when [`Reading::finish`] is called; without
/// it the map is of no use but to be cleared.
pub(crate) struct Reading<'m> {
    map: &'m mut HeaderMap,
    /// Lines with other white space than usual: which, and where their values begin. Few heads have any.
    odd: Vec<(usize, u32)>,
}

/// A line of a block: where it begins, and how long its parts are.
pub(crate) struct LineRead {
    pub(crate) at: u32,
    pub(crate) name_bytes: u32,
    /// Where the value begins.
    pub(crate) value: u32,
    pub(crate) value_bytes: u32,
    /// One space behind the colon and none behind the value.
    pub(crate) is_plain: bool,
}

impl Reading<'_> {
    /// Most bytes of a block: no head may be as long.
    pub(crate) const BYTES_MAX: usize = 1 << 30;

    #[inline]
    pub(crate) fn push(&mut self, line: &LineRead) {
        if !line.is_plain {
            self.odd.push((self.map.lines.len(), line.value));
        }
        self.map.lines.push(Line {
            at: line.at,
            name_bytes: line.name_bytes,
            value_bytes: line.value_bytes,
            is_sensitive: false,
        });
    }

    /// All lines of the block were pushed. Their names are tokens in any case, their values are values.
    pub(crate) fn finish(self, block: &[u8]) {
        let map = self.map;
        map.text.reserve(block.len() + BYTES_ADDED);
        map.text.extend_from_slice(block);
        for line in &map.lines {
            make_lower(&mut map.text, line.name());
            map.names |= bit(&map.text[line.name()]);
        }
        for (at, value) in self.odd {
            map.respell(at, value as usize);
        }
    }
}

/// There is no room for another line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there are too many header lines")]
pub struct TooManyHeaders;

impl Line {
    fn name(self) -> Range<usize> {
        let at = self.at as usize;
        at..at + self.name_bytes as usize
    }

    fn value(self) -> Range<usize> {
        let at = self.name().end + SEPARATOR.len();
        at..at + self.value_bytes as usize
    }

    /// The whole line.
    fn all(self) -> Range<usize> {
        self.at as usize..self.value().end + LINE_END.len()
    }
}

impl HeaderMap {
    /// None at all; takes no memory.
    #[must_use]
    pub const fn new() -> Self {
        Self { text: Vec::new(), lines: Vec::new(), names: 0 }
    }

    /// Makes room for so many more lines of so many bytes together.
    pub fn reserve(&mut self, lines: usize, bytes: usize) {
        self.lines.reserve(lines);
        self.text.reserve(bytes + lines * FRAME_BYTES);
    }

    /// Bytes for which there is room.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.text.capacity() + self.lines.capacity() * size_of::<Line>()
    }

    /// Number of lines.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Removes all of them, and keeps the room.
    pub fn clear(&mut self) {
        self.text.clear();
        self.lines.clear();
        self.names = 0;
    }

    /// The first line of this name.
    pub fn get(&self, name: impl AsName) -> Option<FieldValue<'_>> {
        self.position(name.as_name()).map(|at| self.value_of(self.lines[at]))
    }

    /// All lines of this name.
    pub fn get_all<N: AsName>(
        &self,
        name: N,
    ) -> impl DoubleEndedIterator<Item = FieldValue<'_>> + use<'_, N> {
        let lines = if self.may_have(name.as_name()) { &self.lines[..] } else { &[] };
        let named =
            lines.iter().filter(move |it| self.text[it.name()] == *name.as_name().as_bytes());
        named.map(|line| self.value_of(*line))
    }

    /// There is a line of this name.
    pub fn contains_key(&self, name: impl AsName) -> bool {
        self.position(name.as_name()).is_some()
    }

    /// All lines.
    pub fn iter(&self) -> Iter<'_> {
        Iter { map: self, lines: self.lines.iter() }
    }

    /// The names of all lines.
    pub fn keys(&self) -> impl Iterator<Item = FieldName<'_>> {
        self.lines.iter().map(|line| self.name_of(*line))
    }

    /// Adds a line behind the others. What is too much for any head is left out.
    pub fn append(&mut self, name: impl AsName, value: impl IntoValue) {
        // Only what came from outside can be so much, and its readers stop before.
        let _ = self.try_append(name, value);
    }

    /// Adds a line behind the others.
    ///
    /// # Errors
    /// When there are 24,512 lines, or 4 GiB of them.
    pub fn try_append(
        &mut self,
        name: impl AsName,
        value: impl IntoValue,
    ) -> Result<(), TooManyHeaders> {
        if self.lines.len() >= LINES_MAX {
            return Err(TooManyHeaders);
        }
        let line = self.write(name.as_name().as_bytes(), value.value())?;
        self.lines.push(line);
        Ok(())
    }

    /// Begins to read lines into this map, whose own lines are forgotten.
    pub(crate) fn read(&mut self) -> Reading<'_> {
        self.clear();
        self.lines.reserve(LINES_USUAL);
        Reading { map: self, odd: Vec::new() }
    }

    /// Writes the line at `at` again, whose value is at `value`, with the usual white space.
    #[cold]
    fn respell(&mut self, at: usize, value: usize) {
        let line = self.lines[at];
        let place = self.text.len();
        self.text.extend_from_within(line.name());
        self.text.extend_from_slice(SEPARATOR);
        self.text.extend_from_within(value..value + line.value_bytes as usize);
        self.text.extend_from_slice(LINE_END);
        // At most twice the block.
        self.lines[at].at = place as u32;
    }

    /// Makes this the only line of its name, in the place of the first one that there is.
    pub fn insert(&mut self, name: impl AsName, value: impl IntoValue) {
        let (name, value) = (name.as_name(), value.value());
        let Some(at) = self.position(name) else {
            return self.append(name, value);
        };
        let line = self.lines[at];
        if line.value_bytes as usize == value.len() {
            self.text[line.value()].copy_from_slice(value.as_bytes());
            self.lines[at].is_sensitive = value.is_sensitive();
        } else if let Ok(line) = self.write(name.as_bytes(), value) {
            self.lines[at] = line;
        }
        self.remove_from(at + 1, name);
    }

    /// Removes all lines of this name. False when there are none.
    pub fn remove(&mut self, name: impl AsName) -> bool {
        let name = name.as_name();
        self.position(name).is_some_and(|at| self.remove_from(at, name))
    }

    fn remove_from(&mut self, first: usize, name: &str) -> bool {
        let before = self.lines.len();
        let (text, mut at) = (&self.text, 0);
        self.lines.retain(|line| {
            at += 1;
            at <= first || text[line.name()] != *name.as_bytes()
        });
        self.lines.len() < before
    }

    /// Keeps the lines that `keep` says are to be kept.
    pub fn retain(&mut self, mut keep: impl FnMut(FieldName<'_>) -> bool) {
        let text = &self.text;
        self.lines.retain(|line| keep(FieldName(&text[line.name()])));
    }

    /// Writes the lines as HTTP/1 has them, but for those with the names `left_out`.
    pub fn write_to(&self, out: &mut BytesMut, left_out: &[&str]) {
        let is_any_there = left_out.iter().any(|it| self.may_have(it));
        let mut run = 0..0;
        for line in &self.lines {
            if is_any_there && left_out.iter().any(|it| self.text[line.name()] == *it.as_bytes()) {
                continue;
            }
            let all = line.all();
            if all.start == run.end {
                run.end = all.end;
            } else {
                out.put_slice(&self.text[run]);
                run = all;
            }
        }
        out.put_slice(&self.text[run]);
    }

    fn write(&mut self, name: &[u8], value: FieldValue<'_>) -> Result<Line, TooManyHeaders> {
        let at = self.text.len();
        let bytes = name.len() + value.len() + FRAME_BYTES;
        if at + bytes > u32::MAX as usize {
            return Err(TooManyHeaders);
        }
        self.text.reserve(bytes);
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(SEPARATOR);
        self.text.extend_from_slice(value.as_bytes());
        self.text.extend_from_slice(LINE_END);
        self.names |= bit(name);
        Ok(Line {
            at: at as u32,
            name_bytes: name.len() as u32,
            value_bytes: value.len() as u32,
            is_sensitive: value.is_sensitive(),
        })
    }

    /// False when none of these names is there; true does not mean that one is.
    pub fn may_have_any(&self, names: NameSet) -> bool {
        self.names & names.0 != 0
    }

    fn may_have(&self, name: &str) -> bool {
        self.names & bit(name.as_bytes()) != 0
    }

    fn position(&self, name: &str) -> Option<usize> {
        if !self.may_have(name) {
            return None;
        }
        let is_named = |line: &Line| {
            line.name_bytes as usize == name.len() && self.text[line.name()] == *name.as_bytes()
        };
        self.lines.iter().position(is_named)
    }

    fn name_of(&self, line: Line) -> FieldName<'_> {
        FieldName(&self.text[line.name()])
    }

    fn value_of(&self, line: Line) -> FieldValue<'_> {
        FieldValue { bytes: &self.text[line.value()], is_sensitive: line.is_sensitive }
    }
}

/// Makes a name one in lower case, eight bytes at a time.
fn make_lower(text: &mut [u8], name: Range<usize>) {
    let mut at = name.start;
    while at < name.end {
        let length = (name.end - at).min(8);
        let Some(chunk) = text.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<8>) else {
            text[at..name.end].make_ascii_lowercase();
            return;
        };
        let word = u64::from_le_bytes(*chunk);
        let of_name = u64::MAX >> (64 - 8 * length);
        *chunk = (word | (upper_bits(word) & of_name)).to_le_bytes();
        at += length;
    }
}

/// The bit that makes a letter one in lower case, for each byte that is one in upper case. Bytes above one that is not
/// ASCII may be wrong.
fn upper_bits(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    // The highest bit of a byte ends up set from `A` on, and from behind `Z` on.
    let from_a = word.wrapping_add(ONES * (0x80 - b'A' as u64));
    let behind_z = word.wrapping_add(ONES * (0x80 - b'Z' as u64 - 1));
    (from_a & !behind_z & HIGH) >> 2
}

/// Names that are looked for together.
#[derive(Clone, Copy, Debug)]
pub struct NameSet(u64);

impl NameSet {
    /// Of names in lower case.
    #[must_use]
    pub const fn of(names: &[&str]) -> Self {
        let (mut set, mut at) = (0, 0);
        while at < names.len() {
            set |= bit(names[at].as_bytes());
            at += 1;
        }
        Self(set)
    }
}

/// One of 64 bits, by the length and the ends of a name.
const fn bit(name: &[u8]) -> u64 {
    // Fibonacci hashing: the upper bits of a product with 2^64 divided by the golden ratio.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let (Some(first), Some(last)) = (name.first(), name.last()) else { return 1 };
    let mixed = name.len() as u64 | (*first as u64) << 16 | (*last as u64) << 24;
    1 << (mixed.wrapping_mul(FACTOR) >> (u64::BITS - 6))
}

/// All lines of a [`HeaderMap`].
#[derive(Clone)]
pub struct Iter<'a> {
    map: &'a HeaderMap,
    lines: std::slice::Iter<'a, Line>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (FieldName<'a>, FieldValue<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let line = *self.lines.next()?;
        Some((self.map.name_of(line), self.map.value_of(line)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.lines.size_hint()
    }
}

impl<'a> IntoIterator for &'a HeaderMap {
    type Item = (FieldName<'a>, FieldValue<'a>);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<N: AsName, V: IntoValue> Extend<(N, V)> for HeaderMap {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, lines: I) {
        for (name, value) in lines {
            self.append(name, value);
        }
    }
}

impl<N: AsName, V: IntoValue> FromIterator<(N, V)> for HeaderMap {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(lines: I) -> Self {
        let mut map = Self::new();
        map.extend(lines);
        map
    }
}

/// Equal when each name has the same values in the same order.
impl PartialEq for HeaderMap {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.keys().all(|name| self.get_all(name).eq(other.get_all(name)))
    }
}

impl Eq for HeaderMap {}

impl fmt::Debug for HeaderMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.iter().map(|(name, value)| (name.as_str(), value));
        f.debug_list().entries(lines).finish()
    }
}

#[cfg(test)]
mod tests;
