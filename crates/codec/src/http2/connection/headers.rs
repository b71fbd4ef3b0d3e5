//! Header blocks: their frames, and what they mean on which stream.

use bytes::BytesMut;
use http::StatusCode;

use super::receive::unpadded;
use super::{Connection, Leaving, Role};
use crate::http2::event::{Event, Malformed};
use crate::http2::frame::{Head, flag};
use crate::http2::message::{Fields, Unusable};
use crate::http2::stream::{Receiving, Sending, Stream, StreamKey};
use crate::http2::{Code, ConnectionError};

/// Frames that a header block may be continued in (CVE-2024-27316). A block of 64 KiB needs three of the usual size.
pub(super) const CONTINUATIONS_MAX: u32 = 32;
/// What a header block may be larger than the list that comes out of it: a frame.
const BLOCK_SLACK_BYTES: usize = 16 * 1024;

/// A header block of which not all frames have come.
pub(super) struct Block {
    pub(super) stream: u32,
    opening: Opening,
    bytes: BytesMut,
    continuations: u32,
}

/// What the first frame of a block says.
#[derive(Clone, Copy)]
struct Opening {
    ends_stream: bool,
    depends_on_itself: bool,
}

impl Connection {
    pub(super) fn headers(&mut self, head: Head, payload: &[u8]) -> Result<(), ConnectionError> {
        if head.stream == 0 {
            return Err(ConnectionError::protocol("HEADERS without a stream"));
        }
        let mut block = &payload[unpadded(head, payload)?];
        let mut opening =
            Opening { ends_stream: head.has(flag::END_STREAM), depends_on_itself: false };
        if head.has(flag::PRIORITY) {
            let Some((dependency, rest)) = block.split_first_chunk::<5>() else {
                let why = "HEADERS is too short for its priority";
                return Err(ConnectionError::new(Code::FRAME_SIZE_ERROR, why));
            };
            let [a, b, c, d, _] = *dependency;
            let dependency = u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff;
            opening.depends_on_itself = dependency == head.stream;
            block = rest;
        }
        if head.has(flag::END_HEADERS) {
            return self.header_block(head.stream, opening, block);
        }
        let bytes = BytesMut::from(block);
        self.block = Some(Block { stream: head.stream, opening, bytes, continuations: 0 });
        Ok(())
    }

    pub(super) fn continuation(
        &mut self,
        head: Head,
        payload: &[u8],
    ) -> Result<(), ConnectionError> {
        self.spend(1)?;
        let Some(mut block) = self.block.take() else {
            return Err(ConnectionError::protocol("CONTINUATION without a header block"));
        };
        block.bytes.extend_from_slice(payload);
        block.continuations += 1;
        let bytes_max = self.config.header_list_bytes_max as usize + BLOCK_SLACK_BYTES;
        if block.bytes.len() > bytes_max || block.continuations > CONTINUATIONS_MAX {
            return Err(ConnectionError::calm("a header block is too long"));
        }
        if head.has(flag::END_HEADERS) {
            return self.header_block(block.stream, block.opening, &block.bytes);
        }
        self.block = Some(block);
        Ok(())
    }

    fn header_block(
        &mut self,
        id: u32,
        opening: Opening,
        block: &[u8],
    ) -> Result<(), ConnectionError> {
        let list_bytes_max = self.config.header_list_bytes_max as usize;
        let mut fields = Fields::new((self.config.new_map)());
        // Decoded whatever it is for, since the tables of both ends must stay alike.
        self.decoder
            .decode(block, |field, bytes| fields.take(field, bytes, list_bytes_max))
            .map_err(|_| {
                ConnectionError::new(Code::COMPRESSION_ERROR, "a header block cannot be decoded")
            })?;
        let found = self.streams.find(id);
        if opening.depends_on_itself {
            let why = "a stream depends on itself";
            return match found {
                Some(key) => self.fault(key, Code::PROTOCOL_ERROR, why),
                None => {
                    self.peer_last = self.peer_last.max(id);
                    self.refuse(id, Code::PROTOCOL_ERROR, why)
                }
            };
        }
        match found {
            Some(key) => self.more_headers(key, opening.ends_stream, fields),
            None if self.role == Role::Server => self.request(id, opening.ends_stream, fields),
            None if self.is_opened_by_peer(id) || self.is_idle(id) => {
                Err(ConnectionError::protocol("HEADERS on a stream that was not opened"))
            }
            None => self.spend(1),
        }
    }

    /// A client opens a stream.
    fn request(
        &mut self,
        id: u32,
        ends_stream: bool,
        fields: Fields,
    ) -> Result<(), ConnectionError> {
        if !self.is_opened_by_peer(id) {
            return Err(ConnectionError::protocol("a client's stream has an even id"));
        }
        if id <= self.peer_last {
            return self.headers_on_closed(id);
        }
        self.peer_last = id;
        if let Leaving::Last(_) = self.leaving {
            // The client knows by now, or will, that it was not looked at.
            return self.spend(1);
        }
        if self.streams.len() >= self.config.streams_max as usize {
            return self.refuse(id, Code::REFUSED_STREAM, "too many streams at the same time");
        }
        self.allowances.frames.give(4);
        let content_length = fields.content_length();
        let request = match fields.into_request(self.config.extended_connect) {
            Ok(request) => request,
            Err(Unusable::TooLarge) => {
                let stream = self.open(id, Receiving::Content, Sending::Head);
                self.events.push_back(Event::HeadTooLarge { stream });
                if ends_stream {
                    self.end_receiving(stream);
                }
                return Ok(());
            }
            Err(Unusable::Malformed(reason)) => return self.malformed(id, reason),
        };
        if ends_stream && content_length.is_some_and(|it| it > 0) {
            return self.malformed(id, "there is no DATA, other than Content-Length says");
        }
        let is_connect = request.method() == http::Method::CONNECT;
        let stream = self.open(id, Receiving::Content, Sending::Head);
        if let Some(it) = self.streams.get_mut(stream) {
            it.content_left = content_length.filter(|_| !is_connect);
        }
        let event = Event::Request { stream, request, content_length, end: ends_stream };
        self.events.push_back(event);
        if ends_stream {
            self.end_receiving(stream);
        }
        Ok(())
    }

    fn malformed(&mut self, id: u32, reason: &'static str) -> Result<(), ConnectionError> {
        self.events.push_back(Event::Malformed(Malformed { reason }));
        self.refuse(id, Code::PROTOCOL_ERROR, reason)
    }

    /// Sections 5.1 and 5.1.1: one that ended is closed; one that was left out cannot be opened any more.
    fn headers_on_closed(&mut self, id: u32) -> Result<(), ConnectionError> {
        if self.may_be_late(id) {
            return self.spend(1);
        }
        if self.ended_recent.has(id) {
            let why = "HEADERS on a stream that is closed";
            return Err(ConnectionError::new(Code::STREAM_CLOSED, why));
        }
        Err(ConnectionError::protocol("the ids of streams go back"))
    }

    /// A stream with windows as they are at its beginning.
    pub(super) fn open(&mut self, id: u32, receiving: Receiving, sending: Sending) -> StreamKey {
        self.streams.insert(Stream {
            id,
            receiving,
            sending,
            receive_window: self.receive_window_initial,
            released: 0,
            send_window: self.peer.stream_window,
            queue: Default::default(),
            queued_bytes: 0,
            ending: crate::http2::stream::Ending::Open,
            is_scheduled: false,
            wants_room: false,
            blocked_since_ns: 0,
            content_left: None,
            is_head: false,
            begun_at: self.output.position(),
        })
    }

    /// Headers on a stream that is open: a response, or trailers.
    fn more_headers(
        &mut self,
        key: StreamKey,
        ends_stream: bool,
        fields: Fields,
    ) -> Result<(), ConnectionError> {
        let receiving = self.streams.get(key).map(|it| it.receiving);
        match receiving {
            Some(Receiving::Head) => self.response(key, ends_stream, fields),
            Some(Receiving::Content | Receiving::Discarded) if !ends_stream => {
                self.fault(key, Code::PROTOCOL_ERROR, "trailers do not end the stream")
            }
            Some(Receiving::Content) => self.trailers(key, fields),
            Some(Receiving::Discarded) => {
                self.end_receiving(key);
                Ok(())
            }
            Some(Receiving::Ended) | None => {
                self.fault(key, Code::STREAM_CLOSED, "HEADERS after the end of the stream")
            }
        }
    }

    fn response(
        &mut self,
        key: StreamKey,
        ends_stream: bool,
        fields: Fields,
    ) -> Result<(), ConnectionError> {
        let content_length = fields.content_length();
        let response = match fields.into_response() {
            Ok(response) => response,
            Err(Unusable::TooLarge) => {
                return self.fault(key, Code::CANCEL, "the head of a response is too large");
            }
            Err(Unusable::Malformed(why)) => return self.fault(key, Code::PROTOCOL_ERROR, why),
        };
        if response.status().is_informational() {
            if ends_stream {
                let why = "an informational response ends the stream";
                return self.fault(key, Code::PROTOCOL_ERROR, why);
            }
            self.spend(1)?;
            self.events.push_back(Event::Informational { stream: key, response });
            return Ok(());
        }
        let stream = self.streams.get_mut(key).expect("a stream that was found is open");
        let has_no_content = stream.is_head
            || matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        stream.receiving = Receiving::Content;
        stream.content_left = if has_no_content { Some(0) } else { content_length };
        if ends_stream && stream.content_left.is_some_and(|it| it > 0) {
            let why = "there is no DATA, other than Content-Length says";
            return self.fault(key, Code::PROTOCOL_ERROR, why);
        }
        let content_length = stream.content_left;
        self.events.push_back(Event::Response {
            stream: key,
            response,
            content_length,
            end: ends_stream,
        });
        if ends_stream {
            self.end_receiving(key);
        }
        Ok(())
    }

    fn trailers(&mut self, key: StreamKey, fields: Fields) -> Result<(), ConnectionError> {
        let left = self.streams.get(key).and_then(|it| it.content_left);
        if left.is_some_and(|it| it > 0) {
            return self.fault(key, Code::PROTOCOL_ERROR, "less DATA than Content-Length");
        }
        match fields.into_trailers() {
            Ok(trailers) => {
                self.events.push_back(Event::Trailers { stream: key, trailers });
                self.end_receiving(key);
                Ok(())
            }
            Err(Unusable::TooLarge) => self.fault(key, Code::CANCEL, "the trailers are too large"),
            Err(Unusable::Malformed(why)) => self.fault(key, Code::PROTOCOL_ERROR, why),
        }
    }

    fn end_receiving(&mut self, key: StreamKey) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.receiving = Receiving::Ended;
        }
        self.close_if_over(key);
    }
}
