//! Whom requests are meant for: looked at once for all requests that say the same.

use std::cell::RefCell;

use http::HeaderValue;

/// A proxy sees a few dozen hosts. 64 of at most 64 bytes are some 8 KiB per worker.
const SLOTS: usize = 64;
/// Longer ones are looked at each time.
const BYTES_MAX: usize = 64;

thread_local! {
    // A worker is a thread. Hosts that come seldom make room for others.
    static KNOWN: RefCell<[Option<HeaderValue>; SLOTS]> = const { RefCell::new([const { None }; SLOTS]) };
}

/// The host that is spelled like this; `None` when it is none.
pub(super) fn known(text: &[u8]) -> Option<HeaderValue> {
    if text.len() > BYTES_MAX {
        return make(text);
    }
    KNOWN.with_borrow_mut(|known| {
        let slot = &mut known[slot(text)];
        if slot.as_ref().is_none_or(|it| it.as_bytes() != text) {
            *slot = Some(make(text)?);
        }
        slot.clone()
    })
}

fn make(text: &[u8]) -> Option<HeaderValue> {
    if is_host(text) { HeaderValue::from_bytes(text).ok() } else { None }
}

/// Hosts begin and end more differently than they are in the middle.
fn slot(text: &[u8]) -> usize {
    // Fibonacci hashing: the upper bits of a product with 2^64 divided by the golden ratio.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let word = |bytes: Option<&[u8; 8]>| bytes.map_or(0, |it| u64::from_le_bytes(*it));
    let ends = word(text.first_chunk()) ^ word(text.last_chunk()).rotate_left(32);
    let ends = if text.len() < 8 {
        text.iter().fold(0, |sum, it| sum << 8 | u64::from(*it))
    } else {
        ends
    };
    let mixed = (ends ^ text.len() as u64).wrapping_mul(FACTOR);
    (mixed >> (u64::BITS - SLOTS.trailing_zeros())) as usize
}

/// A host with a port or without (RFC 3986, section 3.2.2). An empty one is one.
pub(super) fn is_host(host: &[u8]) -> bool {
    let (name, port) = match host.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = rest.iter().position(|it| *it == b']') else { return false };
            let is_address = rest[..end]
                .iter()
                .all(|it| it.is_ascii_alphanumeric() || matches!(it, b':' | b'.' | b'%' | b'-'));
            if !is_address || end == 0 {
                return false;
            }
            (&b""[..], &rest[end + 1..])
        }
        None => host.split_at(host.iter().position(|it| *it == b':').unwrap_or(host.len())),
    };
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    is_port && name.iter().all(|it| is_name_byte(*it))
}

/// Letters, digits, `-._~`, `%` and the sub-delimiters of RFC 3986; and what is not ASCII, which some clients send.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || b"-._~%!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::{SLOTS, is_host, known};

    #[test]
    fn hosts_are_names_and_addresses_with_a_port_or_without() {
        for host in ["", "web", "web:80", "web:", "a_b.c-d", "1.2.3.4:5", "[::1]", "[::1]:80", "é"]
        {
            assert!(is_host(host.as_bytes()), "{host:?}");
        }
        for host in
            ["a b", "a/b", "a@b", "a:b", "a?b", "a#b", "[::1", "[]", "[::1]x", "a\\b", "a:1:2"]
        {
            assert!(!is_host(host.as_bytes()), "{host:?}");
        }
    }

    #[test]
    fn a_host_is_itself_however_many_others_there_are() {
        for _ in 0..2 {
            for number in 0..4 * SLOTS {
                let host = format!("web-{number}.example:80");
                assert_eq!(known(host.as_bytes()).unwrap(), host.as_str());
                assert_eq!(known(format!("web {number}").as_bytes()), None);
            }
            for length in 0..100 {
                let host = "h".repeat(length);
                assert_eq!(known(host.as_bytes()).unwrap(), host.as_str());
            }
        }
    }
}
