//! What can be wrong, with the codes that say so to the peer.

use std::fmt;

/// An error code of RFC 9113, section 7. Others than the known ones may come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Code(pub u32);

impl Code {
    /// Nothing is wrong.
    pub const NO_ERROR: Self = Self(0x0);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(0x1);
    /// The sender failed.
    pub const INTERNAL_ERROR: Self = Self(0x2);
    /// The peer sent more than its window.
    pub const FLOW_CONTROL_ERROR: Self = Self(0x3);
    /// Settings were not acknowledged in time.
    pub const SETTINGS_TIMEOUT: Self = Self(0x4);
    /// A frame for a half of a stream that is closed.
    pub const STREAM_CLOSED: Self = Self(0x5);
    /// A frame of a length that it cannot have.
    pub const FRAME_SIZE_ERROR: Self = Self(0x6);
    /// The request was not looked at.
    pub const REFUSED_STREAM: Self = Self(0x7);
    /// Nobody wants the stream any more.
    pub const CANCEL: Self = Self(0x8);
    /// The header block cannot be decoded.
    pub const COMPRESSION_ERROR: Self = Self(0x9);
    /// The connection behind a CONNECT broke.
    pub const CONNECT_ERROR: Self = Self(0xa);
    /// The peer makes trouble.
    pub const ENHANCE_YOUR_CALM: Self = Self(0xb);
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Code::NO_ERROR => "NO_ERROR",
            Code::PROTOCOL_ERROR => "PROTOCOL_ERROR",
            Code::INTERNAL_ERROR => "INTERNAL_ERROR",
            Code::FLOW_CONTROL_ERROR => "FLOW_CONTROL_ERROR",
            Code::SETTINGS_TIMEOUT => "SETTINGS_TIMEOUT",
            Code::STREAM_CLOSED => "STREAM_CLOSED",
            Code::FRAME_SIZE_ERROR => "FRAME_SIZE_ERROR",
            Code::REFUSED_STREAM => "REFUSED_STREAM",
            Code::CANCEL => "CANCEL",
            Code::COMPRESSION_ERROR => "COMPRESSION_ERROR",
            Code::CONNECT_ERROR => "CONNECT_ERROR",
            Code::ENHANCE_YOUR_CALM => "ENHANCE_YOUR_CALM",
            Code(other) => return write!(f, "code {other}"),
        };
        f.write_str(name)
    }
}

/// The connection must end: what was received on it breaks the protocol or its limits. `GOAWAY` with this code is in
/// the output already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the peer's HTTP/2 is wrong, {code}: {reason}")]
pub struct ConnectionError {
    /// What the peer is told.
    pub code: Code,
    /// What was wrong, for people.
    pub reason: &'static str,
}

impl ConnectionError {
    pub(super) const fn new(code: Code, reason: &'static str) -> Self {
        Self { code, reason }
    }

    pub(super) const fn protocol(reason: &'static str) -> Self {
        Self::new(Code::PROTOCOL_ERROR, reason)
    }

    pub(super) const fn calm(reason: &'static str) -> Self {
        Self::new(Code::ENHANCE_YOUR_CALM, reason)
    }
}
