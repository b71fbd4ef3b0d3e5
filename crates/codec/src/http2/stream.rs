//! The streams of a connection.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use bytes::Bytes;

use crate::message::HeaderMap;

/// A stream of one connection. It may be over already: commands for it have no effect then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamKey {
    pub(super) slot: u32,
    pub(super) id: u32,
}

impl StreamKey {
    /// Its id on the wire.
    pub fn id(self) -> u32 {
        self.id
    }

    /// Its place: streams that are open at the same time have different ones, and all are small numbers.
    pub fn slot(self) -> usize {
        self.slot as usize
    }
}

/// How far the peer's half has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Receiving {
    /// Of a response there is no final head yet.
    Head,
    Content,
    /// Nobody wants the rest; it is dropped as it comes.
    Discarded,
    Ended,
}

/// How far our half has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sending {
    Head,
    Content,
    Ended,
}

/// What comes after the data that is queued.
#[derive(Debug)]
pub(super) enum Ending {
    /// More may be queued.
    Open,
    End,
    Trailers(HeaderMap),
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    pub(super) receiving: Receiving,
    pub(super) sending: Sending,
    /// What the peer may still send.
    pub(super) receive_window: i64,
    /// Dealt with, and not yet given back to the peer.
    pub(super) released: u32,
    /// What we may still send; below zero when the peer made it smaller.
    pub(super) send_window: i64,
    pub(super) queue: VecDeque<Bytes>,
    pub(super) queued_bytes: usize,
    pub(super) ending: Ending,
    /// It waits for its turn to send.
    pub(super) is_scheduled: bool,
    /// The shell has more and waits for room.
    pub(super) wants_room: bool,
    /// Since when its data waits for a window; 0 when it does not.
    pub(super) blocked_since_ns: u64,
    /// What has to come according to `Content-Length`.
    pub(super) content_left: Option<u64>,
    /// The request has the method HEAD: whatever the response's `Content-Length` says, it has no content.
    pub(super) is_head: bool,
    /// Where in the output its first byte was.
    pub(super) begun_at: u64,
}

impl Stream {
    pub(super) fn is_over(&self) -> bool {
        self.receiving == Receiving::Ended && self.sending == Sending::Ended
    }

    pub(super) fn has_something_to_send(&self) -> bool {
        self.queued_bytes > 0 || !matches!(self.ending, Ending::Open)
    }
}

/// Ids are given out in order; multiplied they differ in the upper bits as well.
#[derive(Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, id: u32) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// Streams that are open, by their place and by their id.
#[derive(Default)]
pub(super) struct Streams {
    slots: Vec<Option<Stream>>,
    free: Vec<u32>,
    by_id: HashMap<u32, u32, BuildHasherDefault<IdHasher>>,
}

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn insert(&mut self, stream: Stream) -> StreamKey {
        let id = stream.id;
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(stream);
                slot
            }
            None => {
                self.slots.push(Some(stream));
                (self.slots.len() - 1) as u32
            }
        };
        self.by_id.insert(id, slot);
        StreamKey { slot, id }
    }

    pub(super) fn find(&self, id: u32) -> Option<StreamKey> {
        self.by_id.get(&id).map(|slot| StreamKey { slot: *slot, id })
    }

    pub(super) fn get(&self, key: StreamKey) -> Option<&Stream> {
        let stream = self.slots.get(key.slot())?.as_ref()?;
        (stream.id == key.id).then_some(stream)
    }

    pub(super) fn get_mut(&mut self, key: StreamKey) -> Option<&mut Stream> {
        let stream = self.slots.get_mut(key.slot())?.as_mut()?;
        (stream.id == key.id).then_some(stream)
    }

    pub(super) fn remove(&mut self, key: StreamKey) -> Option<Stream> {
        self.get(key)?;
        self.by_id.remove(&key.id);
        self.free.push(key.slot);
        self.slots[key.slot()].take()
    }

    /// In the order of their places.
    pub(super) fn keys(&self) -> Vec<StreamKey> {
        self.iter().map(|(key, _)| key).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (StreamKey, &Stream)> {
        self.slots.iter().enumerate().filter_map(|(slot, stream)| {
            let stream = stream.as_ref()?;
            Some((StreamKey { slot: slot as u32, id: stream.id }, stream))
        })
    }

    /// Gives back the memory when no stream is open.
    pub(super) fn rest(&mut self) {
        if self.by_id.is_empty() {
            *self = Self::default();
        }
    }
}

/// Ids of streams that were closed last, with room for a number of them.
pub(super) struct Recent {
    ids: VecDeque<u32>,
    most: usize,
}

impl Recent {
    pub(super) fn new(most: usize) -> Self {
        Self { ids: VecDeque::new(), most }
    }

    pub(super) fn add(&mut self, id: u32) {
        if self.ids.len() == self.most {
            self.ids.pop_front();
        }
        self.ids.push_back(id);
    }

    pub(super) fn has(&self, id: u32) -> bool {
        self.ids.contains(&id)
    }
}
