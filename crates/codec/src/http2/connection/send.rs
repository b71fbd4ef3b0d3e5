//! What the shell asks for, and whose turn it is to send.

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, Uri, header};

use super::{Connection, Role};
use crate::http2::Code;
use crate::http2::event::Event;
use crate::http2::frame::{self, Head, Kind, flag};
use crate::http2::hpack::Encoder;
use crate::http2::message::is_connection_specific;
use crate::http2::stream::{Ending, Receiving, Sending, Stream, StreamKey};
use crate::message::HeaderMap;

/// Data is put into frames as long as less than this waits to be written: one write of the size that sockets take.
const OUTPUT_BYTES_MAX: usize = 128 * 1024;
/// Largest payload that is sent, if the peer takes as much: others have their turn after it.
const PAYLOAD_BYTES_MAX: u32 = 64 * 1024;
/// The highest id that there is.
const ID_MAX: u32 = u32::MAX >> 1;
/// From this size on, data is honest work of a client that asked for it.
const HONEST_BYTES: usize = 256;

/// What became of data that was to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accepted {
    /// All of it.
    All,
    /// What was taken is gone from the front of it; [`Event::Room`] tells when there is room again.
    Some,
    /// The stream is over.
    Gone,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its method.
    pub method: &'a Method,
    /// With scheme and authority; with the authority alone for CONNECT.
    pub uri: &'a Uri,
    /// `:protocol` of an extended CONNECT.
    pub protocol: Option<&'a [u8]>,
}

impl Connection {
    /// True when another request may be sent.
    pub fn can_open(&self) -> bool {
        self.role == Role::Client
            && !self.is_leaving()
            && self.streams.len() < self.peer.streams_max as usize
            && self.next_id < ID_MAX
    }

    /// Sends the head of a request; `end` says that it has no content. `None` when [`Connection::can_open`] is false.
    pub fn send_request(
        &mut self,
        target: Target<'_>,
        headers: &HeaderMap,
        end: bool,
    ) -> Option<StreamKey> {
        if !self.can_open() {
            return None;
        }
        let id = self.next_id;
        self.next_id += 2;
        let key = self.open(id, Receiving::Head, Sending::Content);
        let has_authority = target.uri.authority().is_some();
        self.write_block(id, end, |encoder, out| {
            encode_target(target, encoder, out);
            for (name, value) in headers {
                if !(is_connection_specific(name) || has_authority && name == header::HOST) {
                    encoder.header(name, value, out);
                }
            }
        });
        let stream = self.streams.get_mut(key).expect("a stream that was just opened is open");
        stream.is_head = *target.method == Method::HEAD;
        if end {
            stream.sending = Sending::Ended;
        }
        Some(key)
    }

    /// Sends the head of a response; `end` says that it has no content. False when the stream is over.
    pub fn send_response(
        &mut self,
        key: StreamKey,
        status: StatusCode,
        headers: &HeaderMap,
        end: bool,
    ) -> bool {
        let Some(stream) = self.streams.get_mut(key) else { return false };
        if stream.sending != Sending::Head {
            return false;
        }
        stream.sending = if end { Sending::Ended } else { Sending::Content };
        self.write_response(key.id, status, headers, end);
        if end {
            self.close_if_over(key);
        }
        true
    }

    /// Sends a head with status 1xx, before the final one. False when the stream is over.
    pub fn send_informational(
        &mut self,
        key: StreamKey,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> bool {
        let is_due = self.streams.get(key).is_some_and(|it| it.sending == Sending::Head);
        if is_due {
            self.write_response(key.id, status, headers, false);
        }
        is_due
    }

    fn write_response(&mut self, id: u32, status: StatusCode, headers: &HeaderMap, end: bool) {
        self.write_block(id, end, |encoder, out| {
            encoder.status(status, out);
            encode_headers(headers, encoder, out);
        });
    }

    /// How many bytes [`Connection::send_data`] would take; when that is none, [`Event::Room`] tells when there is room
    /// again. `None` when nothing can be sent on the stream.
    pub fn room(&mut self, key: StreamKey) -> Option<usize> {
        let room_max = self.config.send_buffer_bytes;
        let stream = self.streams.get_mut(key)?;
        if stream.sending != Sending::Content || !matches!(stream.ending, Ending::Open) {
            return None;
        }
        let room = room_max.saturating_sub(stream.queued_bytes);
        stream.wants_room |= room == 0;
        Some(room)
    }

    /// Sends content after the head; `end` says that nothing follows it, which holds when all of it is taken.
    pub fn send_data(&mut self, key: StreamKey, data: &mut Bytes, end: bool) -> Accepted {
        let room_max = self.config.send_buffer_bytes;
        let frame_max = self.frame_bytes_max() as usize;
        let Some(stream) = self.streams.get_mut(key) else { return Accepted::Gone };
        if stream.sending != Sending::Content || !matches!(stream.ending, Ending::Open) {
            return Accepted::Gone;
        }
        let is_next = self.ready.is_empty()
            && stream.queued_bytes == 0
            && self.output.len() < OUTPUT_BYTES_MAX
            && data.len() <= frame_max
            && data.len() as i64 <= stream.send_window.min(self.send_window);
        if is_next {
            let data = std::mem::take(data);
            stream.send_window -= data.len() as i64;
            self.send_window -= data.len() as i64;
            if data.len() >= HONEST_BYTES {
                self.allowances.frames.give(2);
            }
            self.write_data(key, end, data.len(), [data]);
            return Accepted::All;
        }
        let taken = data.len().min(room_max.saturating_sub(stream.queued_bytes));
        if taken > 0 {
            stream.queue.push_back(data.split_to(taken));
            stream.queued_bytes += taken;
        }
        let is_all = data.is_empty();
        stream.wants_room = !is_all;
        if is_all && end {
            stream.ending = Ending::End;
        }
        self.schedule(key);
        if is_all { Accepted::All } else { Accepted::Some }
    }

    /// Ends what is sent with trailers. False when the stream is over.
    pub fn send_trailers(&mut self, key: StreamKey, trailers: HeaderMap) -> bool {
        let Some(stream) = self.streams.get_mut(key) else { return false };
        if stream.sending != Sending::Content || !matches!(stream.ending, Ending::Open) {
            return false;
        }
        if stream.queued_bytes > 0 {
            stream.ending = Ending::Trailers(trailers);
            self.schedule(key);
        } else {
            self.write_trailers(key, &trailers);
        }
        true
    }

    /// Ends a stream both ways, at once; what of it has not been put into frames is lost.
    pub fn reset(&mut self, key: StreamKey, code: Code) {
        if self.streams.remove(key).is_some() {
            self.reset_recent.add(key.id);
            self.output.put(|out| frame::write_reset(key.id, code.0, out));
        }
    }

    /// The rest of what the peer sends on the stream is not wanted. It is dropped, and when the answer is complete the
    /// peer is told (section 8.1).
    pub fn stop_receiving(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        match stream.receiving {
            Receiving::Head | Receiving::Content => stream.receiving = Receiving::Discarded,
            Receiving::Discarded | Receiving::Ended => {}
        }
        self.close_if_over(key);
    }

    /// Received data has been dealt with: the peer may send as much again.
    pub fn release_capacity(&mut self, key: StreamKey, count: usize) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        stream.released = stream.released.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        self.give_back(key);
    }

    pub(super) fn give_back(&mut self, key: StreamKey) {
        let half = self.config.stream_window.max(2) / 2;
        let Some(stream) = self.streams.get_mut(key) else { return };
        if stream.released >= half && stream.receiving == Receiving::Content {
            let increment = std::mem::take(&mut stream.released);
            stream.receive_window += i64::from(increment);
            self.output.put(|out| frame::write_window_update(key.id, increment, out));
        }
    }

    /// Puts data into frames, a frame of each stream in turn, as long as little waits to be written. To be called once
    /// before the output is written, and again as it is.
    pub fn fill_output(&mut self, now_ns: u64) {
        self.now_ns = now_ns.max(1);
        while self.output.len() < OUTPUT_BYTES_MAX
            && let Some(key) = self.ready.pop_front()
        {
            let Some(stream) = self.streams.get_mut(key) else { continue };
            if stream.queued_bytes == 0 {
                stream.is_scheduled = false;
                self.write_ending(key);
            } else if self.send_window <= 0 {
                if self.blocked_since_ns == 0 {
                    self.blocked_since_ns = self.now_ns;
                }
                self.ready.push_front(key);
                return;
            } else if stream.send_window <= 0 {
                // A change of its window puts it back.
                stream.is_scheduled = false;
                if stream.blocked_since_ns == 0 {
                    stream.blocked_since_ns = self.now_ns;
                }
            } else {
                stream.is_scheduled = false;
                self.write_queued(key);
            }
        }
    }

    /// One frame of what is queued.
    fn write_queued(&mut self, key: StreamKey) {
        let frame_max = i64::from(self.frame_bytes_max());
        let Some(stream) = self.streams.get_mut(key) else { return };
        let allowed = frame_max.min(stream.send_window).min(self.send_window);
        let length = stream.queued_bytes.min(usize::try_from(allowed).unwrap_or(0));
        stream.send_window -= length as i64;
        self.send_window -= length as i64;
        stream.queued_bytes -= length;
        stream.blocked_since_ns = 0;
        let is_last = stream.queued_bytes == 0;
        let end = is_last && matches!(stream.ending, Ending::End);
        if end {
            stream.ending = Ending::Open;
        }
        let pieces = take_front(stream, length);
        if stream.wants_room && stream.queued_bytes <= self.config.send_buffer_bytes / 2 {
            stream.wants_room = false;
            self.events.push_back(Event::Room { stream: key });
        }
        // Whoever hands out its window byte by byte makes work, and earns nothing by it.
        if length >= HONEST_BYTES || is_last {
            self.allowances.frames.give(2);
        }
        self.write_data(key, end, length, pieces);
        self.schedule(key);
    }

    /// What comes after the data.
    fn write_ending(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        match std::mem::replace(&mut stream.ending, Ending::Open) {
            Ending::Open => {}
            Ending::End => self.write_data(key, true, 0, []),
            Ending::Trailers(trailers) => self.write_trailers(key, &trailers),
        }
    }

    fn write_data(
        &mut self,
        key: StreamKey,
        end: bool,
        length: usize,
        pieces: impl IntoIterator<Item = Bytes>,
    ) {
        let flags = if end { flag::END_STREAM } else { 0 };
        let head = Head { length, kind: Kind::Data, flags, stream: key.id };
        self.output.put(|out| head.write(out));
        for piece in pieces {
            self.output.put_payload(piece);
        }
        if end {
            self.end_sending(key);
        }
    }

    fn write_trailers(&mut self, key: StreamKey, trailers: &HeaderMap) {
        self.write_block(key.id, true, |encoder, out| encode_headers(trailers, encoder, out));
        self.end_sending(key);
    }

    fn end_sending(&mut self, key: StreamKey) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.sending = Sending::Ended;
        }
        self.close_if_over(key);
    }

    /// Gives a stream a turn if it has something to send.
    pub(super) fn schedule(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if stream.is_scheduled || !stream.has_something_to_send() {
            return;
        }
        // It is looked at again when its window changes; until then it is blocked, which is noted once.
        stream.is_scheduled = true;
        self.ready.push_back(key);
    }

    /// Forgets a stream whose halves have both ended.
    pub(super) fn close_if_over(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get(key) else { return };
        let is_answered = stream.sending == Sending::Ended;
        if is_answered && stream.receiving == Receiving::Discarded {
            return self.reset(key, Code::NO_ERROR);
        }
        if stream.is_over() {
            self.streams.remove(key);
            self.ended_recent.add(key.id);
            self.allowances.cancels.give(1);
            self.allowances.faults.give(1);
        }
    }

    fn frame_bytes_max(&self) -> u32 {
        self.peer.frame_bytes_max.min(PAYLOAD_BYTES_MAX)
    }

    /// Writes a header block in as many frames as it needs.
    fn write_block(
        &mut self,
        stream: u32,
        end: bool,
        encode: impl FnOnce(&mut Encoder, &mut BytesMut),
    ) {
        let payload_max = self.peer.frame_bytes_max as usize;
        let encoder = &mut self.encoder;
        self.output.put(|out| {
            let start = out.len();
            let kind = Kind::Headers;
            let flags = if end { flag::END_STREAM } else { 0 };
            Head { length: 0, kind, flags, stream }.write(out);
            let block_at = out.len();
            encoder.begin(out);
            encode(encoder, out);
            let length = out.len() - block_at;
            if length <= payload_max {
                let [_, a, b, c] = (length as u32).to_be_bytes();
                out[start..start + 3].copy_from_slice(&[a, b, c]);
                out[start + 4] = flags | flag::END_HEADERS;
                return;
            }
            let block = out.split_off(block_at);
            out.truncate(start);
            let count = length.div_ceil(payload_max);
            for (idx, part) in block.chunks(payload_max).enumerate() {
                let (kind, flags) = if idx == 0 { (kind, flags) } else { (Kind::Continuation, 0) };
                let last = if idx + 1 == count { flag::END_HEADERS } else { 0 };
                Head { length: part.len(), kind, flags: flags | last, stream }.write(out);
                out.extend_from_slice(part);
            }
        });
    }
}

fn encode_target(target: Target<'_>, encoder: &mut Encoder, out: &mut BytesMut) {
    let Target { method, uri, protocol } = target;
    encoder.method(method, out);
    if *method != Method::CONNECT || protocol.is_some() {
        encoder.scheme(uri.scheme_str().unwrap_or("http"), out);
        encoder.path(uri.path_and_query().map_or("/", |it| it.as_str()), out);
    }
    if let Some(authority) = uri.authority() {
        encoder.authority(authority.as_str(), out);
    }
    if let Some(protocol) = protocol {
        encoder.protocol(protocol, out);
    }
}

fn encode_headers(headers: &HeaderMap, encoder: &mut Encoder, out: &mut BytesMut) {
    for (name, value) in headers {
        if !is_connection_specific(name) {
            encoder.header(name, value, out);
        }
    }
}

/// Takes `length` bytes from the front of what is queued.
fn take_front(stream: &mut Stream, mut length: usize) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    while length > 0
        && let Some(first) = stream.queue.front_mut()
    {
        if first.len() > length {
            pieces.push(first.split_to(length));
            break;
        }
        length -= first.len();
        pieces.extend(stream.queue.pop_front());
    }
    pieces
}
