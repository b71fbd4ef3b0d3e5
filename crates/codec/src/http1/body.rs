//! Bodies: where they end, and what is in between.

use crate::message::HeaderMap;
use bytes::{Buf, Bytes, BytesMut};

use super::head;
use super::{BodyError, BodyLength, Limits};

/// Of all chunks of a body together. Nobody uses them; they are read because they are allowed.
const EXTENSION_BYTES_MAX: u32 = 16 * 1024;
/// Of a chunk's size, which is as many as 64 bits have.
const SIZE_DIGITS_MAX: u8 = 16;

/// A part of a body.
#[derive(PartialEq, Eq, Debug)]
pub enum BodyPart {
    /// Bytes, at least one.
    Data(Bytes),
    /// What comes after the bytes of a chunked body; the last part.
    Trailers(HeaderMap),
}

/// Takes a body apart.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
    limits: Limits,
    /// Bytes of chunk extensions so far.
    extensions: u32,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Exact(u64),
    UntilClose,
    Size {
        size: u64,
        digits: u8,
    },
    /// White space after a size, before the semicolon of an extension.
    Space {
        size: u64,
    },
    Extension {
        size: u64,
    },
    SizeEnd {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataEnd,
    DataEndLine,
    Trailers {
        searched: usize,
    },
    Failed(BodyError),
    Ended,
}

impl BodyDecoder {
    /// For a body of this length; `limits` are for its trailers.
    #[must_use]
    pub fn new(length: BodyLength, limits: Limits) -> Self {
        let state = match length {
            BodyLength::None | BodyLength::Exact(0) => State::Ended,
            BodyLength::Exact(length) => State::Exact(length),
            BodyLength::Chunked => State::Size { size: 0, digits: 0 },
            BodyLength::UntilClose => State::UntilClose,
        };
        Self { state, limits, extensions: 0 }
    }

    /// True when the body is over; what is in the buffer then is another message.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// True when what came is no body; there is no telling where another message begins.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        matches!(self.state, State::Failed(_))
    }

    /// How many bytes are to come, when that is known.
    #[must_use]
    pub fn bytes_left(&self) -> Option<u64> {
        match self.state {
            State::Exact(left) => Some(left),
            State::Ended => Some(0),
            _ => None,
        }
    }

    /// Takes the next part from the front of `buf`; `None` when more bytes are needed, or none.
    ///
    /// # Errors
    /// When `buf` does not go on as a body. It says so again when asked again.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Option<BodyPart>, BodyError> {
        self.pass_framing(buf);
        let taken = match &mut self.state {
            State::Exact(left) => {
                let data = take(buf, left);
                if *left == 0 {
                    self.state = State::Ended;
                }
                data
            }
            State::UntilClose => {
                let mut endless = u64::MAX;
                take(buf, &mut endless)
            }
            State::Data { left } => {
                let data = take(buf, left);
                if *left == 0 {
                    self.state = State::DataEnd;
                }
                // So that the end is known with the last byte, if it is there.
                self.pass_framing(buf);
                data
            }
            State::Trailers { searched } => {
                return match head::trailers(buf, searched, self.limits) {
                    Ok(None) => Ok(None),
                    Ok(Some(trailers)) => {
                        self.state = State::Ended;
                        Ok((!trailers.is_empty()).then_some(BodyPart::Trailers(trailers)))
                    }
                    Err(error) => Err(self.fail(BodyError::Trailers(error))),
                };
            }
            State::Failed(error) => return Err(*error),
            State::Size { .. }
            | State::Space { .. }
            | State::Extension { .. }
            | State::SizeEnd { .. }
            | State::DataEnd
            | State::DataEndLine
            | State::Ended => None,
        };
        Ok(taken.map(BodyPart::Data))
    }

    /// The connection has ended, and `buf` has been decoded.
    ///
    /// # Errors
    /// When the body has not.
    pub fn end_of_stream(&mut self) -> Result<(), BodyError> {
        match self.state {
            State::UntilClose | State::Ended => {
                self.state = State::Ended;
                Ok(())
            }
            State::Failed(error) => Err(error),
            _ => Err(self.fail(BodyError::Incomplete)),
        }
    }

    fn fail(&mut self, error: BodyError) -> BodyError {
        self.state = State::Failed(error);
        error
    }

    /// Takes all that stands between the bytes of two chunks, and the end if there are no trailers.
    fn pass_framing(&mut self, buf: &mut BytesMut) {
        let mut passed = 0;
        for byte in buf.iter() {
            let next = match self.state {
                State::Exact(_)
                | State::UntilClose
                | State::Data { .. }
                | State::Trailers { .. }
                | State::Failed(_)
                | State::Ended => break,
                State::Size { size, digits } => after_digit(size, digits, *byte),
                State::Space { size } => match byte {
                    b' ' | b'\t' => Ok(State::Space { size }),
                    b';' => Ok(State::Extension { size }),
                    _ => Err(BodyError::ChunkSize),
                },
                State::Extension { size } => match byte {
                    b'\r' => Ok(State::SizeEnd { size }),
                    b'\t' | b' '..=b'~' | 0x80.. => Ok(State::Extension { size }),
                    _ => Err(BodyError::ChunkExtension),
                },
                State::SizeEnd { size } => match (byte, size) {
                    (b'\n', 0) => Ok(State::Trailers { searched: 0 }),
                    (b'\n', left) => Ok(State::Data { left }),
                    _ => Err(BodyError::ChunkEnd),
                },
                State::DataEnd if *byte == b'\r' => Ok(State::DataEndLine),
                State::DataEndLine if *byte == b'\n' => Ok(State::Size { size: 0, digits: 0 }),
                State::DataEnd | State::DataEndLine => Err(BodyError::ChunkEnd),
            };
            if matches!(next, Ok(State::Space { .. } | State::Extension { .. })) {
                self.extensions += 1;
            }
            self.state = match next {
                Ok(_) if self.extensions > EXTENSION_BYTES_MAX => {
                    State::Failed(BodyError::ChunkExtension)
                }
                Ok(state) => state,
                Err(error) => State::Failed(error),
            };
            passed += 1;
        }
        buf.advance(passed);
        if matches!(self.state, State::Trailers { .. }) && buf.starts_with(b"\r\n") {
            buf.advance(2);
            self.state = State::Ended;
        }
    }
}

fn after_digit(size: u64, digits: u8, byte: u8) -> Result<State, BodyError> {
    let digit = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        _ if digits == 0 => return Err(BodyError::ChunkSize),
        b';' => return Ok(State::Extension { size }),
        b' ' | b'\t' => return Ok(State::Space { size }),
        b'\r' => return Ok(State::SizeEnd { size }),
        _ => return Err(BodyError::ChunkSize),
    };
    if digits >= SIZE_DIGITS_MAX {
        return Err(BodyError::ChunkSize);
    }
    Ok(State::Size { size: size << 4 | u64::from(digit), digits: digits + 1 })
}

/// As much as there is, and `left` at most.
fn take(buf: &mut BytesMut, left: &mut u64) -> Option<Bytes> {
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.len());
    *left -= length as u64;
    (length > 0).then(|| buf.split_to(length).freeze())
}
