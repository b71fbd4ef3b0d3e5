//! One HTTP/2 connection, in either role.

mod headers;
mod receive;
mod send;

use std::collections::VecDeque;
use std::io::IoSlice;

use super::allowance::Allowance;
use super::event::Event;
use super::frame::{self, PREFACE, WINDOW_DEFAULT, setting};
use super::hpack::{Decoder, Encoder};
use super::output::Output;
use super::stream::{Recent, Stream, StreamKey, Streams};
use super::{Code, ConnectionError};
use crate::message::HeaderMap;

pub use send::{Accepted, Target};

/// Which end this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It asks.
    Client,
    /// It answers.
    Server,
}

/// What a connection allows its peer.
#[derive(Clone, Debug)]
pub struct Config {
    /// Streams that the peer may have open at the same time.
    pub streams_max: u32,
    /// What the peer may send on a stream before it is taken, in bytes.
    pub stream_window: u32,
    /// What the peer may send on all streams before it is read off the connection, in bytes; 65,535 at least. One
    /// round trip's worth is enough, since it is given back at once.
    pub connection_window: u32,
    /// Largest payload of a frame that is taken, in bytes; 16,384 at least.
    pub frame_bytes_max: u32,
    /// Largest head, in bytes as RFC 9113, section 6.5.2, counts them: names, values and 32 for each field.
    pub header_list_bytes_max: u32,
    /// Data of one stream that waits to be sent, in bytes.
    pub send_buffer_bytes: usize,
    /// Whether clients are offered extended CONNECT (RFC 8441).
    pub extended_connect: bool,
    /// Where the maps of headers come from: an empty one that had some before has room already.
    pub new_map: fn() -> HeaderMap,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            streams_max: 100,
            stream_window: 256 * 1024,
            connection_window: 1024 * 1024,
            frame_bytes_max: frame::PAYLOAD_BYTES_DEFAULT,
            header_list_bytes_max: 64 * 1024,
            send_buffer_bytes: 64 * 1024,
            extended_connect: false,
            new_map: HeaderMap::new,
        }
    }
}

/// Streams that were reset from here and on which the peer may still be sending, and streams that ended by themselves:
/// enough to tell a late frame from a wrong one.
const RESET_REMEMBERED: usize = 192;
const ENDED_REMEMBERED: usize = 64;

/// What the peer may do that costs more here than there.
struct Allowances {
    /// Requests that the client takes back (CVE-2023-44487). Twice the streams that it may have open: it may leave a
    /// page and do the same again. Each request that comes to its end earns another one, so who takes back every
    /// second request or less is never sent away; beside that, 50 a second.
    cancels: Allowance,
    /// Streams that have to be reset because the peer broke a rule on them (CVE-2025-8671), and those that are refused:
    /// as many, since a client may open that many before it has read the settings.
    faults: Allowance,
    /// Frames that bring nothing: 1,000 at once and 500 a second, which is one for each window of 32 KiB at 16 MB/s.
    /// Each request and each frame with data earns some. A frame costs 1; one that costs more work here, more.
    frames: Allowance,
}

impl Allowances {
    fn new(streams_max: u32) -> Self {
        let streams = streams_max.clamp(50, 10_000) * 2;
        Self {
            cancels: Allowance::new(streams, 50),
            faults: Allowance::new(streams, 10),
            frames: Allowance::new(1000, 500),
        }
    }
}

/// What the peer has said about itself.
struct Peer {
    streams_max: u32,
    stream_window: i64,
    frame_bytes_max: u32,
    extended_connect: bool,
}

/// How far the end of the connection has come that was begun here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    No,
    /// All streams are still taken that the peer opened before it knew.
    Announced,
    /// None are taken after this one.
    Last(u32),
}

/// The payload of the ping that tells when the peer knows that the connection ends.
const LEAVING_PING: [u8; 8] = *b"leaving.";

/// One HTTP/2 connection. Time is in nanoseconds since any epoch.
pub struct Connection {
    role: Role,
    config: Config,
    decoder: Decoder,
    encoder: Encoder,
    streams: Streams,
    events: VecDeque<Event>,
    output: Output,
    /// Streams with something to send and a window for it, in the order of their turns. May name ones that are over.
    ready: VecDeque<StreamKey>,
    peer: Peer,
    /// Bytes of the client's preface that have not come yet.
    preface_left: usize,
    /// The peer's first settings have come.
    is_greeted: bool,
    /// What streams begin with: the default of the protocol until the peer knows ours, if ours is smaller.
    receive_window_initial: i64,
    receive_window: i64,
    /// Read off the connection and not yet given back.
    released: u32,
    send_window: i64,
    /// Since when data waits for the connection's window; 0 when none does.
    blocked_since_ns: u64,
    block: Option<headers::Block>,
    /// The highest stream that the peer opened, and the next that is opened from here.
    peer_last: u32,
    next_id: u32,
    reset_recent: Recent,
    ended_recent: Recent,
    allowances: Allowances,
    /// Bytes of answers that the peer caused, since `answers_mark`.
    answer_bytes: usize,
    /// They are counted anew when all that was to be written at this position is written.
    answers_mark: u64,
    leaving: Leaving,
    /// The peer wants no streams above this one.
    peer_leaving: Option<u32>,
    failed: Option<ConnectionError>,
    now_ns: u64,
}

impl Connection {
    /// A connection on which nothing has been said yet; what is to be said first is in the output.
    pub fn new(role: Role, config: Config) -> Self {
        let window = i64::from(config.stream_window);
        let mut connection = Self {
            role,
            decoder: Decoder::new(),
            encoder: Encoder::new(),
            streams: Streams::default(),
            events: VecDeque::new(),
            output: Output::default(),
            ready: VecDeque::new(),
            peer: Peer {
                // No limit until the peer names one (section 6.5.2); 100 is what it is advised to allow at least.
                streams_max: 100,
                stream_window: WINDOW_DEFAULT,
                frame_bytes_max: frame::PAYLOAD_BYTES_DEFAULT,
                extended_connect: false,
            },
            preface_left: if role == Role::Server { PREFACE.len() } else { 0 },
            is_greeted: false,
            receive_window_initial: window.max(WINDOW_DEFAULT),
            receive_window: i64::from(config.connection_window).max(WINDOW_DEFAULT),
            released: 0,
            send_window: WINDOW_DEFAULT,
            blocked_since_ns: 0,
            block: None,
            peer_last: 0,
            next_id: 1,
            reset_recent: Recent::new(RESET_REMEMBERED),
            ended_recent: Recent::new(ENDED_REMEMBERED),
            allowances: Allowances::new(config.streams_max),
            answer_bytes: 0,
            answers_mark: 0,
            leaving: Leaving::No,
            peer_leaving: None,
            failed: None,
            now_ns: 0,
            config,
        };
        connection.greet();
        connection
    }

    /// Section 3.4.
    fn greet(&mut self) {
        let config = &self.config;
        let mut settings = vec![
            (setting::INITIAL_WINDOW_SIZE, config.stream_window),
            (setting::MAX_HEADER_LIST_SIZE, config.header_list_bytes_max),
        ];
        match self.role {
            Role::Client => settings.push((setting::ENABLE_PUSH, 0)),
            Role::Server => {
                settings.push((setting::MAX_CONCURRENT_STREAMS, config.streams_max));
                if config.extended_connect {
                    settings.push((setting::ENABLE_CONNECT_PROTOCOL, 1));
                }
            }
        }
        if config.frame_bytes_max != frame::PAYLOAD_BYTES_DEFAULT {
            settings.push((setting::MAX_FRAME_SIZE, config.frame_bytes_max));
        }
        let more = (self.receive_window - WINDOW_DEFAULT) as u32;
        let role = self.role;
        self.output.put(|out| {
            if role == Role::Client {
                out.extend_from_slice(PREFACE);
            }
            frame::write_settings(&settings, out);
            if more > 0 {
                frame::write_window_update(0, more, out);
            }
        });
    }

    /// What has come, in order; `None` when there is no more.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Streams that are open.
    pub fn streams_open(&self) -> usize {
        self.streams.len()
    }

    /// The stream with this id, if it is open.
    #[cfg(test)]
    pub(super) fn stream_key(&self, id: u32) -> Option<StreamKey> {
        self.streams.find(id)
    }

    /// Streams that this client may have open at the same time, as far as the peer is concerned.
    pub fn streams_allowed(&self) -> u32 {
        self.peer.streams_max
    }

    /// Whether the peer takes extended CONNECT (RFC 8441).
    pub fn allows_extended_connect(&self) -> bool {
        self.peer.extended_connect
    }

    /// The peer's first settings have come.
    pub fn is_greeted(&self) -> bool {
        self.is_greeted
    }

    /// A header block has begun and not ended.
    pub fn is_inside_head(&self) -> bool {
        self.block.is_some()
    }

    /// The peer, or this end, has said that it opens or takes no more streams.
    pub fn is_leaving(&self) -> bool {
        self.failed.is_some() || self.peer_leaving.is_some() || self.leaving != Leaving::No
    }

    /// Both ends know that there are no more streams, and none is open.
    pub fn is_finished(&self) -> bool {
        let is_left = self.peer_leaving.is_some() || matches!(self.leaving, Leaving::Last(_));
        is_left && self.streams.len() == 0
    }

    /// Bytes that are to be written.
    pub fn output_len(&self) -> usize {
        self.output.len()
    }

    /// What is to be written next; gives the number of slices that were filled in.
    pub fn output<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.output.slices(slices)
    }

    /// So many bytes of the output have been written.
    pub fn advance_output(&mut self, count: usize) {
        self.output.advance(count);
    }

    /// True when nothing of the stream's head has been written.
    pub fn is_unsent(&self, stream: StreamKey) -> bool {
        self.streams.get(stream).is_some_and(|it| self.output.written() <= it.begun_at)
    }

    /// The stream whose data has waited longest for a window, of the stream or of the connection, and since when.
    pub fn blocked_longest(&self) -> Option<(StreamKey, u64)> {
        let since = |stream: &Stream| match (stream.blocked_since_ns, self.blocked_since_ns) {
            (0, 0) => None,
            (0, connection) => (stream.queued_bytes > 0).then_some(connection),
            (stream, _) => Some(stream),
        };
        let blocked = self.streams.iter().filter_map(|(key, it)| Some((key, since(it)?)));
        blocked.min_by_key(|(_, since)| *since)
    }

    /// Gives back memory that only speed needs, when nothing is under way.
    pub fn rest(&mut self) {
        if self.streams.len() == 0 && self.events.is_empty() {
            self.streams.rest();
            self.output.rest();
            self.decoder.rest();
            self.events = VecDeque::new();
            self.ready = VecDeque::new();
        }
    }

    /// Says why the connection ends, at once. What is under way is lost.
    pub fn go_away(&mut self, code: Code) {
        self.leaving = Leaving::Last(self.peer_last);
        let last = self.peer_last;
        self.output.put(|out| frame::write_go_away(last, code.0, out));
    }

    /// Begins to end the connection without losing a request (section 6.8): says that it ends, and when the peer has
    /// seen that, which stream is the last.
    pub fn go_away_gracefully(&mut self) {
        if self.leaving != Leaving::No {
            return;
        }
        self.leaving = Leaving::Announced;
        self.output.put(|out| {
            frame::write_go_away(u32::MAX >> 1, Code::NO_ERROR.0, out);
            frame::write_ping(LEAVING_PING, 0, out);
        });
    }

    /// Takes no more streams, whether or not the peer has seen yet that the connection ends.
    pub fn finish_going_away(&mut self) {
        if self.leaving == Leaving::Announced {
            self.go_away(Code::NO_ERROR);
        }
    }

    /// Asks the peer for a sign of life.
    pub fn ping(&mut self, payload: [u8; 8]) {
        self.output.put(|out| frame::write_ping(payload, 0, out));
    }
}
