//! Fields to header blocks.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};

use super::static_table::{self, ACCEPT_ENCODING, AUTHORITY, METHOD, PATH, SCHEME, STATUS};
use super::{ENTRY_OVERHEAD_BYTES, TABLE_BYTES, huffman, integer};
use crate::message::{FieldName, FieldValue};

/// Values of fields that were sent once lately. A field is put into the table when it comes for the second time: what
/// is different in every message (a request id, a path) never pushes out what repeats.
const SEEN: usize = 128;
/// A shorter cookie could be guessed from the length of a block (section 7.1.3).
const COOKIE_BYTES_MIN: usize = 20;
/// A field that is larger is not worth its place.
const INDEXED_BYTES_MAX: usize = TABLE_BYTES / 4;

/// Bits of the first number of a field that enters the table (section 6.2.1).
const INDEXED_PREFIX_BITS: u32 = 6;

/// The sending end's state of one connection. Holds at most [`TABLE_BYTES`] as section 4.1 counts them, whatever the
/// receiver would allow; an entry is at least 32 of these bytes, so at most 128 entries.
pub(in crate::http2) struct Encoder {
    /// The newest first.
    entries: VecDeque<Entry>,
    /// How many entries were ever made: the number of the newest one.
    made: u16,
    /// Numbers of the newest entries with a field, and with a name, by their hashes. What has fallen out of the table, or
    /// has another field of the same hash, is found out by a look at the entry.
    fields: Places,
    names: Places,
    bytes: usize,
    bytes_max: usize,
    /// The receiver changed its mind: the smallest size that it asked for since the last block (section 4.2).
    resized_to_min: Option<usize>,
    /// Hashes by their lowest bits; empty until the first field.
    seen: Vec<u32>,
}

struct Entry {
    name: NameKey,
    value: Bytes,
    bytes: usize,
}

/// Numbers of entries by hashes; empty until the first entry. There are twice as many as entries can be, and some ten
/// times as many as there are, so that few share one; who loses his is sent again as if he were new. Numbers begin again
/// after 65,536, long after the table has forgotten the ones before.
#[derive(Default)]
struct Places(Vec<u16>);

impl Places {
    const COUNT: usize = 2 * TABLE_BYTES / ENTRY_OVERHEAD_BYTES;

    fn get(&self, hash: u32) -> Option<u16> {
        self.0.get(hash as usize % Self::COUNT).copied()
    }

    fn set(&mut self, hash: u32, number: u16) {
        if self.0.is_empty() {
            self.0 = vec![0; Self::COUNT];
        }
        self.0[hash as usize % Self::COUNT] = number;
    }
}

/// A name: an index of the static table, or one that is not there.
enum NameKey {
    Static(u8),
    Other(Box<[u8]>),
}

/// The same, borrowed.
#[derive(Clone, Copy)]
enum NameRef<'a> {
    Static(u8),
    Other(&'a [u8]),
}

#[derive(Clone, Copy, PartialEq)]
enum Indexing {
    WhenRepeated,
    Never,
}

impl Encoder {
    pub(in crate::http2) fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            made: 0,
            fields: Places::default(),
            names: Places::default(),
            bytes: 0,
            bytes_max: TABLE_BYTES,
            resized_to_min: None,
            seen: Vec::new(),
        }
    }

    /// The receiver says how large the table may be.
    pub(in crate::http2) fn set_bytes_allowed(&mut self, allowed: u32) {
        let bytes_max = TABLE_BYTES.min(allowed as usize);
        let changed = bytes_max != self.bytes_max || self.resized_to_min.is_some();
        if changed {
            let min = self.resized_to_min.map_or(bytes_max, |it| it.min(bytes_max));
            self.resized_to_min = Some(min);
            self.bytes_max = bytes_max;
            self.shrink_to(min);
        }
    }

    /// To be called before the first field of a block.
    pub(in crate::http2) fn begin(&mut self, out: &mut BytesMut) {
        let Some(min) = self.resized_to_min.take() else { return };
        if min < self.bytes_max {
            integer::encode(min, 5, 0x20, out);
        }
        integer::encode(self.bytes_max, 5, 0x20, out);
    }

    pub(in crate::http2) fn method(&mut self, method: &Method, out: &mut BytesMut) {
        match *method {
            Method::GET => indexed(2, out),
            Method::POST => indexed(3, out),
            _ => self.pseudo(METHOD, method.as_str(), out),
        }
    }

    pub(in crate::http2) fn scheme(&mut self, scheme: &str, out: &mut BytesMut) {
        match scheme {
            "http" => indexed(6, out),
            "https" => indexed(7, out),
            _ => self.pseudo(SCHEME, scheme, out),
        }
    }

    pub(in crate::http2) fn authority(&mut self, authority: &str, out: &mut BytesMut) {
        self.pseudo(AUTHORITY, authority, out);
    }

    pub(in crate::http2) fn path(&mut self, path: &str, out: &mut BytesMut) {
        match path {
            "/" => indexed(4, out),
            _ => self.pseudo(PATH, path, out),
        }
    }

    pub(in crate::http2) fn status(&mut self, status: StatusCode, out: &mut BytesMut) {
        match status.as_u16() {
            200 => indexed(8, out),
            204 => indexed(9, out),
            206 => indexed(10, out),
            304 => indexed(11, out),
            400 => indexed(12, out),
            404 => indexed(13, out),
            500 => indexed(14, out),
            _ => self.pseudo(STATUS, status.as_str(), out),
        }
    }

    /// `:protocol` of an extended CONNECT (RFC 8441).
    pub(in crate::http2) fn protocol(&mut self, protocol: &[u8], out: &mut BytesMut) {
        integer::encode(0, 4, 0, out);
        string(b":protocol", out);
        string(protocol, out);
    }

    pub(in crate::http2) fn header(
        &mut self,
        name: FieldName<'_>,
        value: FieldValue<'_>,
        out: &mut BytesMut,
    ) {
        let name = name.as_bytes();
        let indexing =
            if is_secret(name, value) { Indexing::Never } else { Indexing::WhenRepeated };
        match static_table::index_of(name) {
            Some(ACCEPT_ENCODING)
                if value.as_bytes() == static_table::value(ACCEPT_ENCODING).as_bytes() =>
            {
                indexed(usize::from(ACCEPT_ENCODING), out);
            }
            Some(index) => self.field(NameRef::Static(index), value.as_bytes(), indexing, out),
            None => self.field(NameRef::Other(name), value.as_bytes(), indexing, out),
        }
    }

    fn pseudo(&mut self, index: u8, value: &str, out: &mut BytesMut) {
        self.field(NameRef::Static(index), value.as_bytes(), Indexing::WhenRepeated, out);
    }

    fn field(&mut self, name: NameRef<'_>, value: &[u8], indexing: Indexing, out: &mut BytesMut) {
        let name_hash = match name {
            NameRef::Static(index) => u32::from(index),
            NameRef::Other(name) => hash(0, name),
        };
        if indexing == Indexing::Never {
            return self.literal(name, name_hash, value, (4, 0x10), out);
        }
        let value_hash = hash(name_hash, value);
        let is_same = |it: &Entry| name.is(&it.name) && it.value == value;
        if let Some(found) = self.find(self.fields.get(value_hash), is_same) {
            return indexed(static_table::LEN + 1 + found, out);
        }
        let bytes = name.len() + value.len() + ENTRY_OVERHEAD_BYTES;
        if bytes > INDEXED_BYTES_MAX.min(self.bytes_max) || !self.was_seen(value_hash) {
            return self.literal(name, name_hash, value, (4, 0x00), out);
        }
        self.literal(name, name_hash, value, (INDEXED_PREFIX_BITS, 0x40), out);
        self.shrink_to(self.bytes_max - bytes);
        self.bytes += bytes;
        let name = name.to_key();
        self.entries.push_front(Entry { name, value: Bytes::copy_from_slice(value), bytes });
        self.made = self.made.wrapping_add(1);
        self.fields.set(value_hash, self.made);
        self.names.set(name_hash, self.made);
    }

    /// Where an entry is in the table, by its number.
    fn find(&self, number: Option<u16>, matches: impl Fn(&Entry) -> bool) -> Option<usize> {
        let at = usize::from(self.made.wrapping_sub(number?));
        self.entries.get(at).is_some_and(matches).then_some(at)
    }

    /// True when a field with this hash was sent lately, as far as is remembered; from now on it was.
    fn was_seen(&mut self, hash: u32) -> bool {
        if self.seen.is_empty() {
            self.seen = vec![0; SEEN];
        }
        std::mem::replace(&mut self.seen[hash as usize % SEEN], hash) == hash
    }

    fn literal(
        &self,
        name: NameRef<'_>,
        name_hash: u32,
        value: &[u8],
        (prefix_bits, first): (u32, u8),
        out: &mut BytesMut,
    ) {
        let index = match name {
            NameRef::Static(index) => usize::from(index),
            NameRef::Other(_) => {
                let found = self.find(self.names.get(name_hash), |it| name.is(&it.name));
                found.map_or(0, |it| static_table::LEN + 1 + it)
            }
        };
        integer::encode(index, prefix_bits, first, out);
        if let (0, NameRef::Other(name)) = (index, name) {
            string(name, out);
        }
        // What is different in every message, such as a request id, is sent as it is: to pack it costs more than the few
        // bytes that it saves.
        if prefix_bits == INDEXED_PREFIX_BITS {
            string(value, out);
        } else {
            integer::encode(value.len(), 7, 0, out);
            out.extend_from_slice(value);
        }
    }

    fn shrink_to(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max
            && let Some(oldest) = self.entries.pop_back()
        {
            self.bytes -= oldest.bytes;
        }
    }

    #[cfg(test)]
    pub(super) fn table_bytes(&self) -> usize {
        self.bytes
    }
}

impl NameRef<'_> {
    fn len(self) -> usize {
        match self {
            NameRef::Static(index) => super::Name::of_static(index).len(),
            NameRef::Other(name) => name.len(),
        }
    }

    fn is(self, key: &NameKey) -> bool {
        match (self, key) {
            (NameRef::Static(index), NameKey::Static(key)) => index == *key,
            (NameRef::Other(name), NameKey::Other(key)) => *name == **key,
            (NameRef::Static(_), NameKey::Other(_)) | (NameRef::Other(_), NameKey::Static(_)) => {
                false
            }
        }
    }

    fn to_key(self) -> NameKey {
        match self {
            NameRef::Static(index) => NameKey::Static(index),
            NameRef::Other(name) => NameKey::Other(name.into()),
        }
    }
}

/// Values that must stay out of every table on their way (section 7.1.3).
fn is_secret(name: &[u8], value: FieldValue<'_>) -> bool {
    match name {
        b"authorization" | b"proxy-authorization" => true,
        b"cookie" | b"set-cookie" => value.len() < COOKIE_BYTES_MIN || value.is_sensitive(),
        _ => value.is_sensitive(),
    }
}

fn indexed(index: usize, out: &mut BytesMut) {
    integer::encode(index, 7, 0x80, out);
}

fn string(text: &[u8], out: &mut BytesMut) {
    let coded = huffman::encoded_len(text);
    if coded < text.len() {
        integer::encode(coded, 7, 0x80, out);
        huffman::encode(text, out);
    } else {
        integer::encode(text.len(), 7, 0, out);
        out.extend_from_slice(text);
    }
}

/// Tells fields apart well enough; equality is checked afterwards, and a collision costs no more than a place in the
/// table.
fn hash(seed: u32, bytes: &[u8]) -> u32 {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = (u64::from(seed) + 1).wrapping_mul(MULTIPLIER) ^ bytes.len() as u64;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state = (state ^ u64::from_le_bytes(*word)).wrapping_mul(MULTIPLIER).rotate_left(29);
    }
    for byte in rest {
        state = (state ^ u64::from(*byte)).wrapping_mul(MULTIPLIER).rotate_left(29);
    }
    let hash = (state ^ state >> 32) as u32;
    // 0 stands for nothing in `seen`.
    hash.max(1)
}
