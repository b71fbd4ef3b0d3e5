//! What Go's library `hashstructure` (its first version) makes of values: 64-bit FNV-1. Consul shows such hashes, and
//! clients compare them.

/// A hash.
pub type Hash = u64;

/// Of a struct: its name and those of its fields count, their order does not.
pub fn structure<'n>(name: &str, fields: impl IntoIterator<Item = (&'n str, Hash)>) -> Hash {
    let fields = fields.into_iter();
    fields.fold(text(name), |hash, (name, value)| hash ^ ordered(text(name), value))
}

/// Of a map, from the hashes of its pairs.
pub fn map(pairs: impl IntoIterator<Item = (Hash, Hash)>) -> Hash {
    pairs.into_iter().fold(0, |hash, (key, value)| hash ^ ordered(key, value))
}

/// Of a list, from the hashes of its items.
pub fn list(items: impl IntoIterator<Item = Hash>) -> Hash {
    items.into_iter().fold(0, ordered)
}

/// Of two hashes in their order.
#[must_use]
pub fn ordered(first: Hash, second: Hash) -> Hash {
    fnv1(first.to_le_bytes().into_iter().chain(second.to_le_bytes()))
}

/// Of a text.
#[must_use]
pub fn text(text: &str) -> Hash {
    fnv1(text.bytes())
}

/// Of a whole number, by its bits.
#[must_use]
pub fn number(number: u64) -> Hash {
    fnv1(number.to_le_bytes())
}

/// Of a fraction.
#[must_use]
pub fn fraction(number: f64) -> Hash {
    fnv1(number.to_le_bytes())
}

/// Of a truth value.
#[must_use]
pub fn boolean(value: bool) -> Hash {
    fnv1([u8::from(value)])
}

/// Of a pointer to nothing, which is hashed as the number 0.
#[must_use]
pub fn nil() -> Hash {
    number(0)
}

/// Multiply, then xor (FNV-1a is the other way around).
fn fnv1(bytes: impl IntoIterator<Item = u8>) -> Hash {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)
    })
}
