//! Data that was received and not yet taken.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Pieces that are kept as they came; what comes on top is gathered.
const PIECES_MAX: usize = 8;

/// The data of one stream, from the connection to whoever reads it. How much it holds is bounded by the stream's
/// window; what it costs beside that is bounded here: a window of pieces of one byte would be a hundred times its size.
#[derive(Default, Debug)]
pub struct Inbox {
    pieces: VecDeque<Bytes>,
    gathered: BytesMut,
}

impl Inbox {
    /// Adds what came.
    pub fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        if self.gathered.is_empty() && self.pieces.len() < PIECES_MAX {
            self.pieces.push_back(piece);
        } else {
            self.gathered.extend_from_slice(&piece);
        }
    }

    /// Takes what came first.
    pub fn pop(&mut self) -> Option<Bytes> {
        self.pieces.pop_front().or_else(|| {
            (!self.gathered.is_empty()).then(|| std::mem::take(&mut self.gathered).freeze())
        })
    }

    /// True when there is nothing to take.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.gathered.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inbox_keeps_the_order_and_few_pieces() {
        let mut inbox = Inbox::default();
        let mut taken = Vec::new();
        for round in 0..100u8 {
            for byte in 0..40 {
                inbox.push(Bytes::from(vec![round, byte]));
            }
            inbox.push(Bytes::new());
            taken.extend_from_slice(&inbox.pop().unwrap());
        }
        let mut pieces = 0;
        while let Some(piece) = inbox.pop() {
            pieces += 1;
            taken.extend_from_slice(&piece);
        }
        let expected: Vec<u8> =
            (0..100u8).flat_map(|round| (0..40).flat_map(move |byte| [round, byte])).collect();
        assert_eq!(taken, expected);
        assert!(pieces <= PIECES_MAX + 1 && inbox.is_empty());
    }
}
