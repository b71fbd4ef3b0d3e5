use std::collections::VecDeque;

/// The last bytes of a stream; holds at most `bytes_max`.
pub(super) struct Tail {
    bytes: VecDeque<u8>,
    bytes_max: usize,
}

impl Tail {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes: VecDeque::new(), bytes_max }
    }

    pub(super) fn push(&mut self, chunk: &[u8]) {
        let chunk = &chunk[chunk.len().saturating_sub(self.bytes_max)..];
        let surplus = (self.bytes.len() + chunk.len()).saturating_sub(self.bytes_max);
        self.bytes.drain(..surplus);
        self.bytes.extend(chunk);
    }

    /// As text; bytes that are not UTF-8 are replaced.
    pub(super) fn into_text(self) -> String {
        text_of(&Vec::from(self.bytes))
    }
}

/// The text of the last bytes of an output: what is left of a character that was cut at its start
/// is skipped, other bytes that are not UTF-8 are replaced.
pub(super) fn text_of(bytes: &[u8]) -> String {
    let is_continuation = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
    // A character has at most three bytes after its first.
    let cut = bytes.iter().take(3).take_while(|byte| is_continuation(byte)).count();
    String::from_utf8_lossy(&bytes[cut..]).into_owned()
}
