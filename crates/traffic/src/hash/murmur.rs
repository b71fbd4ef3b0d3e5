//! MurmurHash2 for 64 bits by Austin Appleby (public domain), in the form that libstdc++ has for
//! `std::hash<std::string>`; Envoy's `MURMUR_HASH_2`.

/// libstdc++'s seed.
pub(crate) const STD_SEED: u64 = 0xc70f_6907;

const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;

pub(crate) fn hash(bytes: &[u8], seed: u64) -> u64 {
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word).wrapping_mul(FACTOR);
        hash = (hash ^ fold(word).wrapping_mul(FACTOR)).wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u64::from(*byte));
        hash = (hash ^ tail).wrapping_mul(FACTOR);
    }
    fold(fold(hash).wrapping_mul(FACTOR))
}

fn fold(word: u64) -> u64 {
    word ^ word >> 47
}

#[cfg(test)]
mod tests {
    use super::{STD_SEED, hash};

    /// What `std::hash<std::string>` of GCC says.
    #[test]
    fn it_is_what_libstdcxx_has() {
        for (text, expected) in [
            ("", 0x553e_9390_1e46_2a6e),
            ("a", 0x454d_dee4_88c1_ed6b),
            ("foo", 0x85a8_e535_edf1_1e5a),
            ("10.0.0.1:8000_0", 0x63bd_91a4_ae78_8bc3),
            ("hello world, this is long", 0x20e1_5d1b_b480_5021),
        ] {
            assert_eq!(hash(text.as_bytes(), STD_SEED), expected, "{text:?}");
        }
    }
}
