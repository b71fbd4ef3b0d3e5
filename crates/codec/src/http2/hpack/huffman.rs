//! The Huffman code of RFC 7541, appendix B.
//!
//! The code is canonical: within one length, codes count up with the symbols. So the lengths say it all, and the tables
//! are computed from them when this is compiled.

use bytes::{BufMut, BytesMut};

use super::HpackError;

/// Length in bits of the code of each byte, and last of the end of a string (EOS), which must not occur.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];
const EOS: u16 = 256;
const SHORTEST: usize = 5;
const LONGEST: usize = 30;
/// Codes up to this length are found in one step. They are those of all printable ASCII but nine characters.
const FAST_BITS: usize = 10;

/// Everything that follows from [`LENGTHS`].
struct Tables {
    codes: [u32; 257],
    /// By the next [`FAST_BITS`] bits: the symbol, and above it the length of its code; 0 when that is longer.
    fast: [u16; 1 << FAST_BITS],
    /// The symbols in the order of their codes.
    sorted: [u16; 257],
    /// For each length: the first code that is *longer*, as the upper bits of 32.
    limit: [u64; LONGEST + 1],
    /// For each length: what to add to a code to get its position in `sorted`.
    offset: [i32; LONGEST + 1],
}

static TABLES: Tables = Tables::new();

impl Tables {
    const fn new() -> Self {
        let mut tables = Self {
            codes: [0; 257],
            fast: [0; 1 << FAST_BITS],
            sorted: [0; 257],
            limit: [0; LONGEST + 1],
            offset: [0; LONGEST + 1],
        };
        let mut code = 0u32;
        let mut position = 0;
        let mut length = SHORTEST;
        while length <= LONGEST {
            tables.offset[length] = position as i32 - code as i32;
            let mut symbol = 0;
            while symbol < 257 {
                if LENGTHS[symbol] as usize == length {
                    tables.codes[symbol] = code;
                    tables.sorted[position] = symbol as u16;
                    if length <= FAST_BITS {
                        let spread = FAST_BITS - length;
                        let mut idx = (code as usize) << spread;
                        let end = idx + (1 << spread);
                        while idx < end {
                            tables.fast[idx] = (length as u16) << 8 | symbol as u16;
                            idx += 1;
                        }
                    }
                    position += 1;
                    code += 1;
                }
                symbol += 1;
            }
            tables.limit[length] = (code as u64) << (32 - length);
            code <<= 1;
            length += 1;
        }
        tables
    }
}

/// Appends what `coded` stands for; at most 8/5 of its length, since no code is shorter than five bits.
pub(super) fn decode(coded: &[u8], out: &mut BytesMut) -> Result<(), HpackError> {
    out.reserve(coded.len() * 8 / SHORTEST + 1);
    // The next bits, from the highest on.
    let mut bits = 0u64;
    let mut count = 0usize;
    let mut rest = coded.iter();
    loop {
        while count <= 56 {
            let Some(byte) = rest.next() else { break };
            bits |= u64::from(*byte) << (56 - count);
            count += 8;
        }
        let entry = TABLES.fast[(bits >> (64 - FAST_BITS)) as usize];
        let (symbol, length) = match entry {
            0 => long(bits),
            _ => (entry & 0xff, usize::from(entry >> 8)),
        };
        if length > count {
            break;
        }
        if symbol == EOS {
            return Err(HpackError::Huffman);
        }
        out.put_u8(symbol as u8);
        bits <<= length;
        count -= length;
    }
    // Filled up with the first bits of EOS, which are ones, and with fewer than eight of them (section 5.2).
    let padding = if count == 0 { 0 } else { !0u64 << (64 - count) };
    if count < 8 && bits == padding { Ok(()) } else { Err(HpackError::Huffman) }
}

fn long(bits: u64) -> (u16, usize) {
    let next = bits >> 32;
    let mut length = FAST_BITS + 1;
    while length < LONGEST && next >= TABLES.limit[length] {
        length += 1;
    }
    let code = (next >> (32 - length)) as i32;
    let position = (code + TABLES.offset[length]).clamp(0, 256);
    (TABLES.sorted[position as usize], length)
}

/// How many bytes [`encode`] will append.
pub(super) fn encoded_len(text: &[u8]) -> usize {
    let bits: usize = text.iter().map(|byte| usize::from(LENGTHS[usize::from(*byte)])).sum();
    bits.div_ceil(8)
}

/// Appends the code of `text`.
pub(super) fn encode(text: &[u8], out: &mut BytesMut) {
    let mut bits = 0u64;
    let mut count = 0u32;
    for byte in text {
        let length = u32::from(LENGTHS[usize::from(*byte)]);
        bits = bits << length | u64::from(TABLES.codes[usize::from(*byte)]);
        count += length;
        if count >= 32 {
            count -= 32;
            out.put_u32((bits >> count) as u32);
        }
    }
    while count >= 8 {
        count -= 8;
        out.put_u8((bits >> count) as u8);
    }
    if count > 0 {
        out.put_u8((bits << (8 - count)) as u8 | 0xff >> count);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(coded: &[u8]) -> Result<Vec<u8>, HpackError> {
        let mut out = BytesMut::new();
        decode(coded, &mut out).map(|()| out.to_vec())
    }

    #[test]
    fn codes_are_those_of_the_rfc() {
        for (symbol, code) in
            [(b'0', 0x0), (b' ', 0x14), (b'z', 0x7b), (b'\\', 0x7fff0), (10, 0x3fff_fffc)]
        {
            assert_eq!(TABLES.codes[usize::from(symbol)], code, "{symbol}");
        }
        assert_eq!(TABLES.codes[usize::from(EOS)], 0x3fff_ffff);
    }

    #[test]
    fn padding_that_is_too_long_or_not_of_ones_is_an_error_and_so_is_eos() {
        assert_eq!(decoded(&[0x1f]).unwrap(), b"a");
        assert!(decoded(&[0x1f, 0xff]).is_err());
        assert!(decoded(&[0x18]).is_err());
        assert!(decoded(&[0xff, 0xff, 0xff, 0xff]).is_err());
        assert_eq!(decoded(&[]).unwrap(), b"");
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(text: Vec<u8>) {
            let mut coded = BytesMut::new();
            encode(&text, &mut coded);
            prop_assert_eq!(coded.len(), encoded_len(&text));
            prop_assert_eq!(decoded(&coded).unwrap(), text);
        }

        #[test]
        fn random_bits_never_panic_and_are_encoded_back(coded: Vec<u8>) {
            if let Ok(text) = decoded(&coded) {
                let mut again = BytesMut::new();
                encode(&text, &mut again);
                prop_assert_eq!(again.to_vec(), coded);
            }
        }
    }
}
