//! What header lines say about the message that they belong to.

use http::{Method, StatusCode, Version};

use super::{BodyLength, HeadError};

/// More would not fit 64 bits.
const LENGTH_DIGITS_MAX: usize = 19;

/// What the header lines say about the message itself.
#[derive(Default)]
pub(super) struct Said {
    length: Option<u64>,
    is_chunked: bool,
    close: bool,
    keep_alive: bool,
    pub(super) expects_continue: bool,
}

impl Said {
    /// Takes a line.
    #[inline]
    pub(super) fn note(
        &mut self,
        name: &[u8],
        value: &[u8],
        version: Version,
    ) -> Result<(), HeadError> {
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.is_some() {
                    return Err(HeadError::ContentLength);
                }
                self.length = Some(length(value).ok_or(HeadError::ContentLength)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.note_coding(value, version)?;
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for token in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    self.close |= token.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue");
            }
            _ => {}
        }
        Ok(())
    }

    /// All lines were taken: whether they agree.
    pub(super) fn check(&self) -> Result<(), HeadError> {
        if self.is_chunked && self.length.is_some() {
            return Err(HeadError::Ambiguous);
        }
        Ok(())
    }

    /// `chunked` alone: nobody sends another coding without having been asked (RFC 9112, section 6.1), and a list has
    /// been read in more than one way.
    fn note_coding(&mut self, value: &[u8], version: Version) -> Result<(), HeadError> {
        if version == Version::HTTP_10 || self.is_chunked {
            return Err(HeadError::Ambiguous);
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            let is_known = |it: &[u8]| it.trim_ascii().eq_ignore_ascii_case(b"chunked");
            let has_known = value.split(|byte| *byte == b',').any(is_known);
            return Err(if has_known { HeadError::Ambiguous } else { HeadError::TransferCoding });
        }
        self.is_chunked = true;
        Ok(())
    }

    pub(super) fn keep_alive(&self, version: Version) -> bool {
        !self.close && (version == Version::HTTP_11 || self.keep_alive)
    }

    pub(super) fn request_body(&self) -> BodyLength {
        match self.length {
            _ if self.is_chunked => BodyLength::Chunked,
            None | Some(0) => BodyLength::None,
            Some(length) => BodyLength::Exact(length),
        }
    }

    pub(super) fn response_body(&self, to: &Method, status: StatusCode) -> BodyLength {
        let is_tunnel = *to == Method::CONNECT && status.is_success();
        let is_without = status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        match self.length {
            _ if is_tunnel || is_without || *to == Method::HEAD => BodyLength::None,
            _ if self.is_chunked => BodyLength::Chunked,
            Some(0) => BodyLength::None,
            Some(length) => BodyLength::Exact(length),
            None => BodyLength::UntilClose,
        }
    }
}

/// One number, without a sign and not a list.
fn length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > LENGTH_DIGITS_MAX {
        return None;
    }
    value.iter().try_fold(0_u64, |sum, byte| match byte {
        b'0'..=b'9' => Some(sum * 10 + u64::from(byte - b'0')),
        _ => None,
    })
}
