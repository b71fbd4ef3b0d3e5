//! What others chose, made harmless for where it is written.

/// Where a value is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Escaping {
    /// A line of a log: quotes, backslashes, control characters and all that is not ASCII become
    /// `\xHH`.
    Log,
    /// A string in JSON (RFC 8259, section 7); bytes that are no UTF-8 become `\xHH`, as text.
    Json,
    /// A header value (RFC 9110, section 5.5): what may not be in one is left out.
    Header,
}

impl Escaping {
    /// Escapes what was appended to `out` since `start`.
    pub(super) fn escape(self, out: &mut Vec<u8>, start: usize) {
        let Some(first) = out[start..].iter().position(|byte| !self.is_plain(*byte)) else {
            return;
        };
        let tail = out.split_off(start + first);
        match self {
            Escaping::Log => {
                for byte in tail {
                    if self.is_plain(byte) { out.push(byte) } else { push_hex(out, b"\\x", byte) }
                }
            }
            Escaping::Json => {
                for chunk in tail.utf8_chunks() {
                    chunk.valid().chars().for_each(|char| push_json(out, char));
                    chunk.invalid().iter().for_each(|byte| push_hex(out, b"\\\\x", *byte));
                }
            }
            Escaping::Header => out.extend(tail.into_iter().filter(|byte| self.is_plain(*byte))),
        }
    }

    fn is_plain(self, byte: u8) -> bool {
        match self {
            Escaping::Log | Escaping::Json => {
                matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
            }
            Escaping::Header => byte == b'\t' || byte >= b' ' && byte != 0x7f,
        }
    }
}

/// Appends a text as a string of JSON, with its quotes.
pub(super) fn push_json_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    text.chars().for_each(|char| push_json(out, char));
    out.push(b'"');
}

fn push_json(out: &mut Vec<u8>, char: char) {
    match char {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        // DEL need not be escaped, but terminals act on it.
        '\0'..='\x1f' | '\x7f' => push_hex(out, b"\\u00", char as u8),
        _ => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

fn push_hex(out: &mut Vec<u8>, before: &[u8], byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(before);
    out.push(HEX[usize::from(byte >> 4)]);
    out.push(HEX[usize::from(byte & 0xf)]);
}
