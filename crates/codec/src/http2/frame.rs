//! Frames as bytes (RFC 9113, sections 4.1 and 6).

use bytes::{BufMut, BytesMut};

/// Length of the head of every frame.
pub(super) const HEAD_BYTES: usize = 9;
/// What a client says first (section 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Largest payload of a frame that everybody takes, and the smallest that may be asked for (section 4.2).
pub(super) const PAYLOAD_BYTES_DEFAULT: u32 = 16_384;
/// Largest that may be asked for.
pub(super) const PAYLOAD_BYTES_MAX: u32 = (1 << 24) - 1;
/// Largest flow-control window (section 6.9.1).
pub(super) const WINDOW_MAX: i64 = (1 << 31) - 1;
/// Every window before anything was said about it (section 6.9.2).
pub(super) const WINDOW_DEFAULT: i64 = 65_535;

pub(super) mod flag {
    pub(in crate::http2) const END_STREAM: u8 = 0x1;
    pub(in crate::http2) const ACK: u8 = 0x1;
    pub(in crate::http2) const END_HEADERS: u8 = 0x4;
    pub(in crate::http2) const PADDED: u8 = 0x8;
    pub(in crate::http2) const PRIORITY: u8 = 0x20;
}

/// The kinds of frames that are known; others are ignored (section 5.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Data,
    Headers,
    Priority,
    RstStream,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    Unknown,
}

impl Kind {
    fn parse(code: u8) -> Self {
        match code {
            0 => Kind::Data,
            1 => Kind::Headers,
            2 => Kind::Priority,
            3 => Kind::RstStream,
            4 => Kind::Settings,
            5 => Kind::PushPromise,
            6 => Kind::Ping,
            7 => Kind::GoAway,
            8 => Kind::WindowUpdate,
            9 => Kind::Continuation,
            _ => Kind::Unknown,
        }
    }

    fn code(self) -> u8 {
        match self {
            Kind::Data => 0,
            Kind::Headers => 1,
            Kind::Priority => 2,
            Kind::RstStream => 3,
            Kind::Settings => 4,
            Kind::PushPromise => 5,
            Kind::Ping => 6,
            Kind::GoAway => 7,
            Kind::WindowUpdate => 8,
            Kind::Continuation => 9,
            Kind::Unknown => u8::MAX,
        }
    }
}

/// The head of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) kind: Kind,
    pub(super) flags: u8,
    /// 0 for the connection.
    pub(super) stream: u32,
}

impl Head {
    /// `None` when there are not enough bytes yet.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let head = bytes.first_chunk::<HEAD_BYTES>()?;
        let [a, b, c, kind, flags, stream @ ..] = *head;
        Some(Self {
            length: u32::from_be_bytes([0, a, b, c]) as usize,
            kind: Kind::parse(kind),
            flags,
            // The highest bit means nothing.
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
        })
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn write(self, out: &mut BytesMut) {
        debug_assert!(self.length <= PAYLOAD_BYTES_MAX as usize);
        let mut head = [0; HEAD_BYTES];
        let [_, length @ ..] = (self.length as u32).to_be_bytes();
        head[..3].copy_from_slice(&length);
        head[3] = self.kind.code();
        head[4] = self.flags;
        head[5..].copy_from_slice(&self.stream.to_be_bytes());
        out.put_slice(&head);
    }
}

/// The identifiers of settings (section 6.5.2, and RFC 8441, section 3).
pub(super) mod setting {
    pub(in crate::http2) const HEADER_TABLE_SIZE: u16 = 1;
    pub(in crate::http2) const ENABLE_PUSH: u16 = 2;
    pub(in crate::http2) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(in crate::http2) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(in crate::http2) const MAX_FRAME_SIZE: u16 = 5;
    pub(in crate::http2) const MAX_HEADER_LIST_SIZE: u16 = 6;
    pub(in crate::http2) const ENABLE_CONNECT_PROTOCOL: u16 = 8;
}

pub(super) fn write_settings(settings: &[(u16, u32)], out: &mut BytesMut) {
    let head = Head { length: settings.len() * 6, kind: Kind::Settings, flags: 0, stream: 0 };
    head.write(out);
    for (id, value) in settings {
        out.put_u16(*id);
        out.put_u32(*value);
    }
}

pub(super) fn write_settings_ack(out: &mut BytesMut) {
    Head { length: 0, kind: Kind::Settings, flags: flag::ACK, stream: 0 }.write(out);
}

pub(super) fn write_ping(payload: [u8; 8], flags: u8, out: &mut BytesMut) {
    Head { length: 8, kind: Kind::Ping, flags, stream: 0 }.write(out);
    out.put_slice(&payload);
}

pub(super) fn write_go_away(last: u32, code: u32, out: &mut BytesMut) {
    Head { length: 8, kind: Kind::GoAway, flags: 0, stream: 0 }.write(out);
    out.put_u32(last);
    out.put_u32(code);
}

pub(super) fn write_window_update(stream: u32, increment: u32, out: &mut BytesMut) {
    Head { length: 4, kind: Kind::WindowUpdate, flags: 0, stream }.write(out);
    out.put_u32(increment);
}

pub(super) fn write_reset(stream: u32, code: u32, out: &mut BytesMut) {
    Head { length: 4, kind: Kind::RstStream, flags: 0, stream }.write(out);
    out.put_u32(code);
}
