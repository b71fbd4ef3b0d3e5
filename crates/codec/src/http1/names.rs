//! Header names, made once for all heads that spell them alike.

use http::HeaderName;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};

use super::HeadError;

/// Longer names are made anew for each head; the usual ones with a long prefix have 29 bytes.
const TEXT_BYTES_MAX: usize = 32;
/// A service sees a few dozen names. 256 of some 80 bytes are 20 KiB, and as much again for names that are not standard
/// ones.
const SLOTS: usize = 256;

/// Names that heads had before, as they were spelled. Names that come seldom make room for others: it never holds more
/// than 256.
#[derive(Debug, Default)]
pub struct HeaderNames {
    /// Empty before the first; then [`SLOTS`].
    slots: Vec<Option<Slot>>,
}

#[derive(Debug)]
struct Slot {
    text: [u8; TEXT_BYTES_MAX],
    length: u8,
    name: HeaderName,
    role: Role,
}

/// What a header line says about the message that it belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    ContentLength,
    TransferEncoding,
    Connection,
    Expect,
    None,
}

impl HeaderNames {
    /// The name that is spelled like this.
    pub(super) fn get(&mut self, text: &[u8]) -> Result<(HeaderName, Role), HeadError> {
        let Some(at) = place(text) else { return make(text) };
        // One of two places, so that two names that fall together do not drive each other out.
        let places = [at, at ^ 1];
        for at in places {
            if let Some(Some(slot)) = self.slots.get(at)
                && slot.text() == text
            {
                return Ok((slot.name.clone(), slot.role));
            }
        }
        let slot = Slot::new(text)?;
        let made = (slot.name.clone(), slot.role);
        if self.slots.is_empty() {
            self.slots.resize_with(SLOTS, || None);
        }
        let free = places.into_iter().find(|at| self.slots[*at].is_none());
        self.slots[free.unwrap_or(at)] = Some(slot);
        Ok(made)
    }
}

impl Slot {
    /// For a name of at most [`TEXT_BYTES_MAX`].
    fn new(text: &[u8]) -> Result<Self, HeadError> {
        let (name, role) = make(text)?;
        let mut kept = [0; TEXT_BYTES_MAX];
        kept[..text.len()].copy_from_slice(text);
        Ok(Self { text: kept, length: text.len() as u8, name, role })
    }

    fn text(&self) -> &[u8] {
        &self.text[..usize::from(self.length)]
    }
}

/// A name that is not kept.
pub(super) fn make(text: &[u8]) -> Result<(HeaderName, Role), HeadError> {
    let name = HeaderName::from_bytes(text).map_err(|_| HeadError::HeaderLine)?;
    let role = Role::of(&name);
    Ok((name, role))
}

/// Where a name is looked for; `None` when it is too long to be kept. Names end more differently than they begin.
fn place(text: &[u8]) -> Option<usize> {
    // Fibonacci hashing: the upper bits of a product with 2^64 divided by the golden ratio.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    const SHIFT: u32 = u64::BITS - SLOTS.trailing_zeros();
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let end = match text.last_chunk() {
        Some(end) => u64::from_le_bytes(*end),
        None => text.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
    };
    let mixed = (end ^ (text.len() as u64).rotate_right(8)).wrapping_mul(FACTOR);
    Some((mixed >> SHIFT) as usize)
}

impl Role {
    fn of(name: &HeaderName) -> Self {
        match *name {
            CONTENT_LENGTH => Self::ContentLength,
            TRANSFER_ENCODING => Self::TransferEncoding,
            CONNECTION => Self::Connection,
            EXPECT => Self::Expect,
            _ => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_same_however_often_and_however_it_is_spelled() {
        let mut names = HeaderNames::default();
        let long = "x-".repeat(TEXT_BYTES_MAX);
        for _ in 0..2 {
            for text in ["Sec-Fetch-Mode", "sec-fetch-mode", "Host", "TE", "a", &long] {
                let (name, role) = names.get(text.as_bytes()).unwrap();
                assert_eq!(name, text.to_ascii_lowercase().as_str());
                assert_eq!(role, Role::None);
            }
            for (text, expected) in [
                ("Content-Length", Role::ContentLength),
                ("transfer-encoding", Role::TransferEncoding),
                ("CONNECTION", Role::Connection),
                ("expect", Role::Expect),
            ] {
                assert_eq!(names.get(text.as_bytes()).unwrap().1, expected);
            }
        }
    }

    #[test]
    fn what_is_no_name_never_becomes_one() {
        let mut names = HeaderNames::default();
        for text in ["", "a b", "a:", "ä", "a\0"] {
            for _ in 0..2 {
                assert_eq!(names.get(text.as_bytes()).unwrap_err(), HeadError::HeaderLine);
            }
        }
    }

    #[test]
    fn many_names_are_told_apart_and_not_all_kept() {
        let mut names = HeaderNames::default();
        for number in (0..2000).chain(0..2000) {
            let text = format!("x-{number}");
            assert_eq!(names.get(text.as_bytes()).unwrap().0, text.as_str());
        }
        assert_eq!(names.slots.len(), SLOTS);
    }
}
