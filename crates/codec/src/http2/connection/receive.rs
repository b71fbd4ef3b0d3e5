//! What the peer says, frame by frame. Each rule that it can break is an error of the connection or of a stream
//! (RFC 9113, section 5.4).

use bytes::{Buf, Bytes, BytesMut};

use super::{Connection, LEAVING_PING, Leaving, Role};
use crate::http2::event::Event;
use crate::http2::frame::{self, Head, Kind, PREFACE, WINDOW_MAX, flag, setting};
use crate::http2::stream::{Receiving, StreamKey};
use crate::http2::{Code, ConnectionError};

/// A payload up to this size is copied out of the buffer that it came in: kept in it, a byte could hold the whole
/// buffer.
const COPIED_BYTES_MAX: usize = 4096;
/// Answers to settings, pings and broken rules that wait to be written. Who does not read them gets no more: 64 KiB are
/// 3,800 of them.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// From this size on, data is honest work.
const HONEST_BYTES: usize = 256;

/// What frames cost of the allowance. Settings are applied to all streams; a frame without data wakes whoever waits for
/// data.
const SETTINGS_COST: u32 = 8;
const EMPTY_DATA_COST: u32 = 8;

type Outcome = Result<(), ConnectionError>;

impl Connection {
    /// Takes the frames that are complete from the front of `bytes`, and leaves the rest, which is less than one frame.
    ///
    /// # Errors
    /// The peer broke a rule of the connection. Why is in the output, which is to be written; then it is over. The same
    /// error is given again from then on.
    pub fn receive(&mut self, bytes: &mut BytesMut, now_ns: u64) -> Outcome {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.now_ns = now_ns.max(1);
        let received = self.receive_frames(bytes);
        if let Err(error) = received {
            self.failed = Some(error);
            self.go_away(error.code);
        }
        received
    }

    fn receive_frames(&mut self, bytes: &mut BytesMut) -> Outcome {
        if self.preface_left > 0 {
            let expected = &PREFACE[PREFACE.len() - self.preface_left..];
            let length = expected.len().min(bytes.len());
            if bytes[..length] != expected[..length] {
                return Err(ConnectionError::protocol("the preface of HTTP/2 is wrong"));
            }
            bytes.advance(length);
            self.preface_left -= length;
        }
        while self.preface_left == 0
            && let Some(head) = Head::parse(bytes)
        {
            self.check_head(head)?;
            if bytes.len() < frame::HEAD_BYTES + head.length {
                break;
            }
            if head.kind == Kind::Data {
                bytes.advance(frame::HEAD_BYTES);
                let payload = if head.length <= COPIED_BYTES_MAX {
                    let payload = Bytes::copy_from_slice(&bytes[..head.length]);
                    bytes.advance(head.length);
                    payload
                } else {
                    bytes.split_to(head.length).freeze()
                };
                self.data(head, payload)?;
            } else {
                let end = frame::HEAD_BYTES + head.length;
                self.frame(head, &bytes[frame::HEAD_BYTES..end])?;
                bytes.advance(end);
            }
        }
        Ok(())
    }

    /// What can be said before the payload is there.
    fn check_head(&self, head: Head) -> Outcome {
        if head.length > self.config.frame_bytes_max as usize {
            return Err(ConnectionError::new(
                Code::FRAME_SIZE_ERROR,
                "a frame is larger than allowed",
            ));
        }
        if !self.is_greeted && (head.kind != Kind::Settings || head.has(flag::ACK)) {
            return Err(ConnectionError::protocol("the first frame is not SETTINGS"));
        }
        let continues = self.block.as_ref().map(|it| it.stream);
        match continues {
            Some(stream) if head.kind != Kind::Continuation || head.stream != stream => {
                Err(ConnectionError::protocol("a header block is interrupted"))
            }
            None if head.kind == Kind::Continuation => {
                Err(ConnectionError::protocol("CONTINUATION without a header block"))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn frame(&mut self, head: Head, payload: &[u8]) -> Outcome {
        match head.kind {
            Kind::Data => self.data(head, Bytes::copy_from_slice(payload)),
            Kind::Headers => self.headers(head, payload),
            Kind::Continuation => self.continuation(head, payload),
            Kind::Priority => self.priority(head, payload),
            Kind::RstStream => self.reset_by_peer(head, payload),
            Kind::Settings => self.settings(head, payload),
            // A client does not push, and a server was told not to.
            Kind::PushPromise => Err(ConnectionError::protocol("PUSH_PROMISE was not allowed")),
            Kind::Ping => self.pinged(head, payload),
            Kind::GoAway => self.peer_goes_away(head, payload),
            Kind::WindowUpdate => self.window_update(head, payload),
            Kind::Unknown => self.spend(1),
        }
    }

    /// Takes some of the allowance for frames.
    pub(super) fn spend(&mut self, cost: u32) -> Outcome {
        if self.allowances.frames.take(cost, self.now_ns) {
            Ok(())
        } else {
            Err(ConnectionError::calm("too many frames that bring nothing"))
        }
    }

    fn data(&mut self, head: Head, mut payload: Bytes) -> Outcome {
        if head.stream == 0 {
            return Err(ConnectionError::protocol("DATA without a stream"));
        }
        self.take_from_connection_window(head.length)?;
        let padded = unpadded(head, &payload)?;
        payload.truncate(padded.end);
        payload.advance(padded.start);
        let end = head.has(flag::END_STREAM);
        let Some(key) = self.streams.find(head.stream) else {
            return self.data_without_stream(head.stream);
        };
        let stream = self.streams.get_mut(key).expect("a stream that was found is open");
        match stream.receiving {
            Receiving::Content | Receiving::Discarded => {}
            Receiving::Head => {
                return self.fault(key, Code::PROTOCOL_ERROR, "DATA before the head");
            }
            Receiving::Ended => {
                return self.fault(key, Code::STREAM_CLOSED, "DATA after the end of the stream");
            }
        }
        stream.receive_window -= head.length as i64;
        if stream.receive_window < 0 {
            return self.fault(key, Code::FLOW_CONTROL_ERROR, "more DATA than the stream's window");
        }
        let padding = (head.length - payload.len()) as u32;
        stream.released += padding;
        if let Some(left) = &mut stream.content_left {
            let Some(after) = left.checked_sub(payload.len() as u64) else {
                return self.fault(key, Code::PROTOCOL_ERROR, "more DATA than Content-Length");
            };
            *left = after;
            if end && after > 0 {
                return self.fault(key, Code::PROTOCOL_ERROR, "less DATA than Content-Length");
            }
        }
        let is_wanted = stream.receiving == Receiving::Content;
        if end {
            stream.receiving = Receiving::Ended;
        }
        if payload.len() >= HONEST_BYTES {
            self.allowances.frames.give(2);
        } else if payload.is_empty() && !end {
            return self.spend(EMPTY_DATA_COST);
        }
        if is_wanted {
            self.events.push_back(Event::Data { stream: key, data: payload, end });
        }
        if end {
            self.close_if_over(key);
        } else if padding > 0 {
            self.give_back(key);
        }
        Ok(())
    }

    /// Section 6.9.1. What was read off the connection lies in the bounded window of its stream: the connection's is
    /// given back at once.
    fn take_from_connection_window(&mut self, length: usize) -> Outcome {
        self.receive_window -= length as i64;
        if self.receive_window < 0 {
            return Err(ConnectionError::new(
                Code::FLOW_CONTROL_ERROR,
                "more DATA than the connection's window",
            ));
        }
        self.released += length as u32;
        if self.released >= self.config.connection_window.max(2) / 2 {
            let increment = std::mem::take(&mut self.released);
            self.receive_window += i64::from(increment);
            self.output.put(|out| frame::write_window_update(0, increment, out));
        }
        Ok(())
    }

    /// Section 5.1, "closed" and "idle".
    fn data_without_stream(&mut self, id: u32) -> Outcome {
        if self.is_idle(id) {
            return Err(ConnectionError::protocol("DATA on a stream that was not opened"));
        }
        if self.may_be_late(id) {
            return self.spend(1);
        }
        Err(ConnectionError::new(Code::STREAM_CLOSED, "DATA on a stream that is closed"))
    }

    /// True when nobody has opened the stream yet.
    pub(super) fn is_idle(&self, id: u32) -> bool {
        if self.is_opened_by_peer(id) { id > self.peer_last } else { id >= self.next_id }
    }

    pub(super) fn is_opened_by_peer(&self, id: u32) -> bool {
        (id % 2 == 1) == (self.role == Role::Server)
    }

    /// True when a frame on a closed stream may have been sent before the peer knew that it is closed. Of what a server
    /// sends nothing is wrong that way: its streams were opened from here.
    pub(super) fn may_be_late(&self, id: u32) -> bool {
        let is_beyond = matches!(self.leaving, Leaving::Last(last) if id > last);
        self.role == Role::Client || is_beyond || self.reset_recent.has(id)
    }

    fn priority(&mut self, head: Head, payload: &[u8]) -> Outcome {
        if head.stream == 0 {
            return Err(ConnectionError::protocol("PRIORITY without a stream"));
        }
        self.spend(1)?;
        let Some(dependency) = payload.first_chunk().filter(|_| payload.len() == 5) else {
            return self.fault_on(head.stream, Code::FRAME_SIZE_ERROR, "PRIORITY is not 5 bytes");
        };
        if u32::from_be_bytes(*dependency) & 0x7fff_ffff == head.stream {
            let why = "a stream depends on itself";
            return self.fault_on(head.stream, Code::PROTOCOL_ERROR, why);
        }
        Ok(())
    }

    /// An error of a stream that may not be open; then it is one of the connection.
    fn fault_on(&mut self, id: u32, code: Code, reason: &'static str) -> Outcome {
        match self.streams.find(id) {
            Some(key) => self.fault(key, code, reason),
            None => Err(ConnectionError::new(code, reason)),
        }
    }

    fn reset_by_peer(&mut self, head: Head, payload: &[u8]) -> Outcome {
        let code = Code(u32_of(payload, "RST_STREAM is not 4 bytes")?);
        if head.stream == 0 || self.is_idle(head.stream) {
            return Err(ConnectionError::protocol("RST_STREAM on a stream that was not opened"));
        }
        let Some(key) = self.streams.find(head.stream) else { return self.spend(1) };
        self.streams.remove(key);
        self.ended_recent.add(key.id);
        let is_unread = code == Code::REFUSED_STREAM && self.role == Role::Client;
        self.events.push_back(Event::Reset { stream: key, code, by_peer: true, is_unread });
        if self.role == Role::Server && !self.allowances.cancels.take(1, self.now_ns) {
            return Err(ConnectionError::calm("too many requests are taken back"));
        }
        Ok(())
    }

    fn settings(&mut self, head: Head, payload: &[u8]) -> Outcome {
        if head.stream != 0 {
            return Err(ConnectionError::protocol("SETTINGS on a stream"));
        }
        if head.has(flag::ACK) {
            if !payload.is_empty() {
                let why = "the acknowledgement of SETTINGS is not empty";
                return Err(ConnectionError::new(Code::FRAME_SIZE_ERROR, why));
            }
            self.spend(1)?;
            self.settings_acked();
            return Ok(());
        }
        let (settings, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() {
            let why = "SETTINGS is not a multiple of 6 bytes";
            return Err(ConnectionError::new(Code::FRAME_SIZE_ERROR, why));
        }
        self.spend(SETTINGS_COST)?;
        self.is_greeted = true;
        let mut window = None;
        for [a, b, value @ ..] in settings {
            let value = u32::from_be_bytes(*value);
            match u16::from_be_bytes([*a, *b]) {
                setting::INITIAL_WINDOW_SIZE if i64::from(value) > WINDOW_MAX => {
                    let why = "SETTINGS_INITIAL_WINDOW_SIZE is too large";
                    return Err(ConnectionError::new(Code::FLOW_CONTROL_ERROR, why));
                }
                setting::INITIAL_WINDOW_SIZE => window = Some(i64::from(value)),
                id => self.set(id, value)?,
            }
        }
        if let Some(window) = window {
            self.resize_stream_windows(window)?;
        }
        self.answer(frame::write_settings_ack)
    }

    fn set(&mut self, id: u16, value: u32) -> Outcome {
        let is_good = match id {
            setting::HEADER_TABLE_SIZE => {
                self.encoder.set_bytes_allowed(value);
                true
            }
            // A server must not say 1 (section 6.5.2).
            setting::ENABLE_PUSH => value == 0 || (value == 1 && self.role == Role::Server),
            setting::MAX_CONCURRENT_STREAMS => {
                self.peer.streams_max = value;
                true
            }
            setting::MAX_FRAME_SIZE => {
                self.peer.frame_bytes_max = value;
                (frame::PAYLOAD_BYTES_DEFAULT..=frame::PAYLOAD_BYTES_MAX).contains(&value)
            }
            setting::ENABLE_CONNECT_PROTOCOL => {
                let is_taken_back = self.peer.extended_connect && value == 0;
                self.peer.extended_connect = value == 1;
                value <= 1 && !is_taken_back
            }
            // MAX_HEADER_LIST_SIZE is advice: a head that is too large for the peer is its to refuse.
            _ => true,
        };
        if is_good { Ok(()) } else { Err(ConnectionError::protocol("a setting is out of range")) }
    }

    /// Section 6.9.2: what the streams have left changes by as much.
    fn resize_stream_windows(&mut self, window: i64) -> Outcome {
        let change = window - self.peer.stream_window;
        self.peer.stream_window = window;
        if change == 0 {
            return Ok(());
        }
        for key in self.streams.keys() {
            let Some(stream) = self.streams.get_mut(key) else { continue };
            stream.send_window += change;
            if stream.send_window > WINDOW_MAX {
                let why = "SETTINGS_INITIAL_WINDOW_SIZE makes a window too large";
                return Err(ConnectionError::new(Code::FLOW_CONTROL_ERROR, why));
            }
            self.schedule(key);
        }
        Ok(())
    }

    /// From now on the peer keeps to our window, which may be smaller than what it knew before.
    fn settings_acked(&mut self) {
        let window = i64::from(self.config.stream_window);
        let less = self.receive_window_initial - window;
        self.receive_window_initial = window;
        if less > 0 {
            for key in self.streams.keys() {
                let Some(stream) = self.streams.get_mut(key) else { continue };
                stream.receive_window -= less;
            }
        }
        self.events.push_back(Event::SettingsAcked);
    }

    fn pinged(&mut self, head: Head, payload: &[u8]) -> Outcome {
        if head.stream != 0 {
            return Err(ConnectionError::protocol("PING on a stream"));
        }
        let Ok(payload) = <[u8; 8]>::try_from(payload) else {
            return Err(ConnectionError::new(Code::FRAME_SIZE_ERROR, "PING is not 8 bytes"));
        };
        self.spend(1)?;
        if !head.has(flag::ACK) {
            return self.answer(|out| frame::write_ping(payload, flag::ACK, out));
        }
        if payload == LEAVING_PING && self.leaving == Leaving::Announced {
            self.finish_going_away();
        } else {
            self.events.push_back(Event::PingAcked { payload });
        }
        Ok(())
    }

    fn peer_goes_away(&mut self, head: Head, payload: &[u8]) -> Outcome {
        if head.stream != 0 {
            return Err(ConnectionError::protocol("GOAWAY on a stream"));
        }
        let Some([a, b, c, d, code @ ..]) = payload.first_chunk::<8>() else {
            return Err(ConnectionError::new(Code::FRAME_SIZE_ERROR, "GOAWAY is too short"));
        };
        self.spend(1)?;
        let last = u32::from_be_bytes([*a, *b, *c, *d]) & 0x7fff_ffff;
        let code = Code(u32::from_be_bytes(*code));
        // It must not grow.
        let last = self.peer_leaving.map_or(last, |it| it.min(last));
        self.peer_leaving = Some(last);
        if self.role == Role::Client {
            for key in self.streams.keys() {
                if key.id > last {
                    self.streams.remove(key);
                    let reset = Event::Reset { stream: key, code, by_peer: true, is_unread: true };
                    self.events.push_back(reset);
                }
            }
        }
        self.events.push_back(Event::GoAway { last, code });
        Ok(())
    }

    fn window_update(&mut self, head: Head, payload: &[u8]) -> Outcome {
        let increment = u32_of(payload, "WINDOW_UPDATE is not 4 bytes")? & 0x7fff_ffff;
        self.spend(1)?;
        if head.stream == 0 {
            self.send_window += i64::from(increment);
            self.blocked_since_ns = 0;
            return match increment {
                0 => Err(ConnectionError::protocol("WINDOW_UPDATE of 0")),
                _ if self.send_window > WINDOW_MAX => Err(ConnectionError::new(
                    Code::FLOW_CONTROL_ERROR,
                    "the connection's window is too large",
                )),
                _ => Ok(()),
            };
        }
        let Some(key) = self.streams.find(head.stream) else {
            return match self.is_idle(head.stream) {
                true => Err(ConnectionError::protocol("WINDOW_UPDATE on a stream not opened")),
                // It may have been sent before the stream was closed.
                false => Ok(()),
            };
        };
        if increment == 0 {
            return self.fault(key, Code::PROTOCOL_ERROR, "WINDOW_UPDATE of 0");
        }
        let stream = self.streams.get_mut(key).expect("a stream that was found is open");
        stream.send_window += i64::from(increment);
        if stream.send_window > WINDOW_MAX {
            return self.fault(key, Code::FLOW_CONTROL_ERROR, "a stream's window is too large");
        }
        self.schedule(key);
        Ok(())
    }

    /// The peer broke a rule on a stream, which ends by it.
    pub(super) fn fault(&mut self, key: StreamKey, code: Code, reason: &'static str) -> Outcome {
        let was_wanted =
            self.streams.get(key).is_some_and(|it| it.receiving != Receiving::Discarded);
        self.streams.remove(key);
        if was_wanted {
            let reset = Event::Reset { stream: key, code, by_peer: false, is_unread: false };
            self.events.push_back(reset);
        }
        self.refuse(key.id, code, reason)
    }

    /// Resets a stream that is not open, or not any more, because of what the peer did.
    pub(super) fn refuse(&mut self, id: u32, code: Code, reason: &'static str) -> Outcome {
        self.reset_recent.add(id);
        self.answer(|out| frame::write_reset(id, code.0, out))?;
        if self.allowances.faults.take(1, self.now_ns) {
            Ok(())
        } else {
            Err(ConnectionError::calm(reason))
        }
    }

    /// Writes what the peer asked for.
    fn answer(&mut self, write: impl FnOnce(&mut BytesMut)) -> Outcome {
        if self.output.written() >= self.answers_mark {
            self.answers_mark = self.output.position() + 1;
            self.answer_bytes = 0;
        }
        let before = self.output.len();
        self.output.put(write);
        self.answer_bytes += self.output.len() - before;
        if self.answer_bytes > ANSWER_BYTES_MAX {
            return Err(ConnectionError::calm("the answers to control frames are not read"));
        }
        Ok(())
    }
}

/// Where the content of a frame lies that may be padded (section 6.1).
pub(super) fn unpadded(
    head: Head,
    payload: &[u8],
) -> Result<std::ops::Range<usize>, ConnectionError> {
    if !head.has(flag::PADDED) {
        return Ok(0..payload.len());
    }
    let Some(padding) = payload.first() else {
        return Err(ConnectionError::new(Code::FRAME_SIZE_ERROR, "a padded frame is empty"));
    };
    match payload.len().checked_sub(usize::from(*padding)) {
        Some(end) if end >= 1 => Ok(1..end),
        _ => Err(ConnectionError::protocol("the padding is longer than the frame")),
    }
}

fn u32_of(payload: &[u8], why: &'static str) -> Result<u32, ConnectionError> {
    let bytes = <[u8; 4]>::try_from(payload);
    bytes.map(u32::from_be_bytes).map_err(|_| ConnectionError::new(Code::FRAME_SIZE_ERROR, why))
}
