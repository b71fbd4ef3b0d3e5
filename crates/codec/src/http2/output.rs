//! What is to be written, gathered so that one write takes all of it.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// A payload up to this size is copied behind what is there already: that costs less than another slice in a write.
const COPIED_BYTES_MAX: usize = 4096;

/// Bytes in the order in which they are to be written: small ones together, large payloads as they came.
#[derive(Default)]
pub(super) struct Output {
    chunks: VecDeque<Bytes>,
    /// Comes after the chunks.
    tail: BytesMut,
    length: usize,
    written: u64,
}

impl Output {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Bytes that were ever added: the position of the next one.
    pub(super) fn position(&self) -> u64 {
        self.written + self.length as u64
    }

    /// Bytes that were ever written.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Appends what `write` writes.
    pub(super) fn put<R>(&mut self, write: impl FnOnce(&mut BytesMut) -> R) -> R {
        let before = self.tail.len();
        let result = write(&mut self.tail);
        self.length += self.tail.len() - before;
        result
    }

    pub(super) fn put_payload(&mut self, payload: Bytes) {
        self.length += payload.len();
        if payload.len() <= COPIED_BYTES_MAX {
            return self.tail.extend_from_slice(&payload);
        }
        if !self.tail.is_empty() {
            self.chunks.push_back(self.tail.split().freeze());
        }
        self.chunks.push_back(payload);
    }

    /// Fills in what is to be written next and gives the number of slices.
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let tail = (!self.tail.is_empty()).then_some(&self.tail[..]);
        let all = self.chunks.iter().map(|it| &it[..]).chain(tail);
        let mut count = 0;
        for (slice, bytes) in slices.iter_mut().zip(all) {
            *slice = IoSlice::new(bytes);
            count += 1;
        }
        count
    }

    /// `count` bytes have been written.
    pub(super) fn advance(&mut self, mut count: usize) {
        debug_assert!(count <= self.length);
        self.length -= count;
        self.written += count as u64;
        while let Some(first) = self.chunks.front_mut() {
            if count < first.len() {
                return first.advance(count);
            }
            count -= first.len();
            self.chunks.pop_front();
        }
        self.tail.advance(count);
        if self.tail.is_empty() {
            self.tail.clear();
        }
    }

    /// Gives back the memory when there is nothing to write.
    pub(super) fn rest(&mut self) {
        if self.length == 0 {
            self.tail = BytesMut::new();
            self.chunks = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_comes_out_in_order_whatever_is_written_at_once() {
        for step in [1, 7, 1000, 5000, 100_000] {
            let mut output = Output::default();
            let mut expected = Vec::new();
            for length in [3, 5000, 10, 4096, 9000, 9000, 1] {
                let payload = Bytes::from(vec![length as u8; length]);
                output.put(|tail| tail.extend_from_slice(b"head"));
                expected.extend_from_slice(b"head");
                expected.extend_from_slice(&payload);
                output.put_payload(payload);
            }
            let mut written = Vec::new();
            while output.len() > 0 {
                let mut slices = [IoSlice::new(&[]); 3];
                let count = output.slices(&mut slices);
                let bytes: Vec<u8> = slices[..count].iter().flat_map(|it| it.to_vec()).collect();
                let taken = step.min(bytes.len());
                written.extend_from_slice(&bytes[..taken]);
                output.advance(taken);
            }
            assert!(written == expected, "{step}");
            let total = expected.len() as u64;
            assert_eq!((output.written(), output.position()), (total, total));
        }
    }
}
