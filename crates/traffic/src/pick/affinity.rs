use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Longest cookie that is read: an address, a time and what they are wrapped in are below 100
/// bytes.
const COOKIE_BYTES_MAX: usize = 512;

/// Fields of Envoy's protobuf message `Cookie` (`source/extensions/http/stateful_session/cookie`)
/// with their wire types.
const ADDRESS: u8 = 1 << 3 | 2;
const EXPIRES: u8 = 2 << 3;

/// The value of a cookie by which a client keeps an endpoint, as Envoy's cookie-based stateful
/// session has it: base64 of a protobuf message of the address (`ip:port`) and the time it ends
/// (seconds since 1970; none: with the client's session).
#[must_use]
pub fn affinity_cookie(address: &str, expires_s: Option<u64>) -> String {
    let mut message = vec![ADDRESS];
    push_varint(&mut message, address.len() as u64);
    message.extend_from_slice(address.as_bytes());
    if let Some(expires_s) = expires_s {
        message.push(EXPIRES);
        push_varint(&mut message, expires_s);
    }
    STANDARD.encode(message)
}

/// The address in the value of such a cookie; `None` when it is none, or its time is up.
#[must_use]
pub fn read_affinity_cookie(value: &str, now_s: u64) -> Option<String> {
    if value.len() > COOKIE_BYTES_MAX {
        return None;
    }
    let message = STANDARD.decode(value).ok()?;
    let mut rest = message.as_slice();
    let (mut address, mut expires_s) = (None, 0);
    while let Some((tag, after)) = rest.split_first() {
        let (number, after) = take_varint(after)?;
        rest = match *tag {
            ADDRESS => {
                let (text, after) = after.split_at_checked(usize::try_from(number).ok()?)?;
                address = Some(String::from_utf8(text.to_vec()).ok()?);
                after
            }
            EXPIRES => {
                expires_s = number;
                after
            }
            _ => return None,
        };
    }
    address.filter(|_| expires_s == 0 || now_s < expires_s)
}

fn push_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0u64;
    for (idx, byte) in bytes.iter().take(10).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * idx);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[idx + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{affinity_cookie, read_affinity_cookie};

    /// What protoc makes of `address: "127.0.0.1:80"`, and with `expires: 300`.
    #[test]
    fn a_cookie_is_envoys() {
        assert_eq!(affinity_cookie("127.0.0.1:80", None), "CgwxMjcuMC4wLjE6ODA=");
        assert_eq!(affinity_cookie("127.0.0.1:80", Some(300)), "CgwxMjcuMC4wLjE6ODAQrAI=");
    }

    #[test]
    fn a_cookie_whose_time_is_up_is_none() {
        let cookie = affinity_cookie("10.0.0.1:80", Some(1000));
        assert_eq!(read_affinity_cookie(&cookie, 999).as_deref(), Some("10.0.0.1:80"));
        assert_eq!(read_affinity_cookie(&cookie, 1000), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(address in "[0-9a-f:.]{0,60}", expires in proptest::option::of(1u64..)) {
            let cookie = affinity_cookie(&address, expires);
            prop_assert_eq!(read_affinity_cookie(&cookie, 0), Some(address));
        }

        #[test]
        fn any_text_is_read_without_harm(value in "[A-Za-z0-9+/=]{0,80}", now in any::<u64>()) {
            let _ = read_affinity_cookie(&value, now);
        }
    }
}
