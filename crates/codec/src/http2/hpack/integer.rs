//! Integers with a prefix (RFC 7541, section 5.1).

use bytes::{BufMut, BytesMut};

use super::HpackError;

/// Bytes that may follow the prefix: four carry 28 bits, more than any length or index that is used here.
const CONTINUED_BYTES_MAX: usize = 4;

/// Takes an integer with a prefix of `prefix_bits` bits (1 to 8) from the front of `block`, which begins with the byte
/// that holds the prefix.
pub(super) fn decode(block: &mut &[u8], prefix_bits: u32) -> Result<usize, HpackError> {
    let (first, mut rest) = block.split_first().ok_or(HpackError::Truncated)?;
    let mask = 0xff_u8 >> (8 - prefix_bits);
    let mut value = usize::from(first & mask);
    if first & mask == mask {
        let mut shift = 0;
        loop {
            let (byte, after) = rest.split_first().ok_or(HpackError::Truncated)?;
            rest = after;
            value += usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
            if shift == 7 * CONTINUED_BYTES_MAX {
                return Err(HpackError::Integer);
            }
        }
    }
    *block = rest;
    Ok(value)
}

/// Appends an integer; `first` holds the bits beside the prefix.
pub(super) fn encode(value: usize, prefix_bits: u32, first: u8, out: &mut BytesMut) {
    let mask = 0xff_u8 >> (8 - prefix_bits);
    if value < usize::from(mask) {
        return out.put_u8(first | value as u8);
    }
    out.put_u8(first | mask);
    let mut rest = value - usize::from(mask);
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_the_rfc() {
        for (value, prefix_bits, bytes) in
            [(10, 5, &[0x0a][..]), (1337, 5, &[0x1f, 0x9a, 0x0a]), (42, 8, &[0x2a])]
        {
            let mut out = BytesMut::new();
            encode(value, prefix_bits, 0, &mut out);
            assert_eq!(out, bytes);
            let mut block = bytes;
            assert_eq!(decode(&mut block, prefix_bits), Ok(value));
            assert!(block.is_empty());
        }
    }

    #[test]
    fn a_number_that_is_too_long_or_cut_off_is_an_error() {
        let too_long = [0xff, 0x80, 0x80, 0x80, 0x80, 0x00];
        assert_eq!(decode(&mut &too_long[..], 8), Err(HpackError::Integer));
        assert_eq!(decode(&mut &[0xff, 0x80][..], 8), Err(HpackError::Truncated));
        assert_eq!(decode(&mut &[][..], 8), Err(HpackError::Truncated));
    }
}
