//! Memory that the connections of a worker lend each other: who has nothing to read or write holds none, and a request
//! finds what the one before it has left.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};
use codec::message::{FieldValue, HeaderMap};
use http::HeaderValue;

/// Room for a head and a body of 16 KiB in one read.
pub(crate) const BUFFER_BYTES: usize = 32 * 1024;
/// Kept for the next one, per worker: 32 x 32 KiB = 1 MiB, or 2 MiB when all of them have grown to twice their size for a
/// long body. A buffer is held while its connection works, so that a worker seldom needs more than a few.
const FREE_MAX: usize = 32;

/// The last ones are in the processor's cache; the very last ones are often still read.
const LOOKED_AT_MAX: usize = 4;
/// 64 header maps of at most 8 KiB are 512 KiB per worker.
const FREE_MAPS_MAX: usize = 64;
const MAP_BYTES_MAX: usize = 8 * 1024;
/// Small values are cut from one piece of this size. It lives as long as one of them, in the access log at the latest.
const VALUES_BYTES: usize = 4 * 1024;

thread_local! {
    // A worker is a thread.
    static FREE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
    static FREE_MAPS: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
    static VALUES: RefCell<BytesMut> = RefCell::default();
}

/// An empty buffer with room for [`BUFFER_BYTES`], or for half of it while the rest is still read by somebody.
pub(crate) fn take() -> BytesMut {
    let mut buffer = FREE.with_borrow_mut(take_whole).unwrap_or_default();
    if buffer.capacity() < BUFFER_BYTES / 2 {
        buffer.reserve(BUFFER_BYTES);
    }
    buffer
}

/// One that nobody reads anything of any more, so that all of it is free; else the last one.
fn take_whole(free: &mut Vec<BytesMut>) -> Option<BytesMut> {
    let last = free.len().checked_sub(1)?;
    for at in (0..=last).rev().take(LOOKED_AT_MAX) {
        if free[at].try_reclaim(BUFFER_BYTES) {
            return Some(free.swap_remove(at));
        }
    }
    free.pop()
}

/// Gives back a buffer whose bytes are not needed any more.
pub(crate) fn put(buffer: &mut BytesMut) {
    let mut buffer = std::mem::take(buffer);
    // What never had room has nothing to give.
    if buffer.capacity() == 0 {
        return;
    }
    buffer.clear();
    FREE.with_borrow_mut(|free| {
        if free.len() < FREE_MAX {
            free.push(buffer);
        }
    });
}

/// An empty map, with room if one was given back.
pub(crate) fn take_map() -> HeaderMap {
    FREE_MAPS.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Gives back a map whose lines are not needed any more.
pub(crate) fn put_map(map: &mut HeaderMap) {
    let mut map = std::mem::take(map);
    map.clear();
    if map.capacity() == 0 || map.capacity() > MAP_BYTES_MAX {
        return;
    }
    FREE_MAPS.with_borrow_mut(|free| {
        if free.len() < FREE_MAPS_MAX {
            free.push(map);
        }
    });
}

/// A copy of a header value that outlives the others of its head.
pub(crate) fn copy(value: FieldValue<'_>) -> HeaderValue {
    let copied = HeaderValue::from_maybe_shared(cut(value.as_bytes()));
    let mut copied = copied.expect("it was read as a value");
    copied.set_sensitive(value.is_sensitive());
    copied
}

fn cut(text: &[u8]) -> Bytes {
    VALUES.with_borrow_mut(|values| {
        if values.capacity() < text.len() {
            *values = BytesMut::with_capacity(VALUES_BYTES.max(text.len()));
        }
        values.extend_from_slice(text);
        values.split().freeze()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_lent_again_with_all_its_room() {
        let mut buffer = take();
        buffer.extend_from_slice(&[b'x'; BUFFER_BYTES]);
        let at = buffer.as_ptr();
        let cut = buffer.split_to(BUFFER_BYTES / 2).freeze();
        drop(cut);
        put(&mut buffer);
        assert_eq!(buffer.capacity(), 0);
        let again = take();
        assert!(again.is_empty() && again.capacity() >= BUFFER_BYTES);
        assert_eq!(again.as_ptr(), at);
    }

    #[test]
    fn what_is_still_read_is_not_written_over() {
        let mut buffer = take();
        buffer.extend_from_slice(b"kept");
        let kept = buffer.split().freeze();
        put(&mut buffer);
        let mut again = take();
        again.extend_from_slice(&[b'x'; BUFFER_BYTES]);
        assert_eq!(kept, "kept");
    }
}
