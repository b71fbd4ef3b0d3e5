//! Buffers that the connections of a worker lend each other: who has nothing to read or write holds none.

use std::cell::RefCell;

use bytes::BytesMut;

/// Room for a head and a body of 16 KiB in one read.
pub(crate) const BUFFER_BYTES: usize = 32 * 1024;
/// Kept for the next one, per worker: 32 x 32 KiB = 1 MiB, or 2 MiB when all of them have grown to twice their size for a
/// long body. A buffer is held while its connection works, so that a worker seldom needs more than a few.
const FREE_MAX: usize = 32;

thread_local! {
    // A worker is a thread.
    static FREE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer with room for [`BUFFER_BYTES`], or for half of it while the rest is still read by somebody.
pub(crate) fn take() -> BytesMut {
    let free = FREE.with_borrow_mut(Vec::pop);
    let mut buffer = free.unwrap_or_default();
    if !buffer.try_reclaim(BUFFER_BYTES) && buffer.capacity() < BUFFER_BYTES / 2 {
        buffer.reserve(BUFFER_BYTES);
    }
    buffer
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
