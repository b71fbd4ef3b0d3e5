//! Go's string literals, as `strconv.Quote` writes and `strconv.Unquote` reads them.

use std::fmt::Write;

/// Writes `text` in double quotes with Go's escapes.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            ' ' => quoted.push(' '),
            c if c.is_control() || c.is_whitespace() || c == '\u{feff}' => {
                push_escape(&mut quoted, c)
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn push_escape(out: &mut String, c: char) {
    let code = u32::from(c);
    let written = match code {
        0..0x80 => write!(out, "\\x{code:02x}"),
        0x80..0x1_0000 => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
    written.expect("writing into a String cannot fail");
}

/// Reads a literal with its quotes, `"…"` or `` `…` ``; `None` when it is none, or is no UTF-8.
#[must_use]
pub fn unquote(literal: &str) -> Option<String> {
    if let Some(raw) = literal.strip_prefix('`') {
        let raw = raw.strip_suffix('`').filter(|raw| !raw.contains('`'))?;
        return Some(raw.replace('\r', ""));
    }
    let body = literal.strip_prefix('"')?.strip_suffix('"')?;
    let mut bytes = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '"' | '\n' => return None,
            '\\' => rest = unescape(rest, &mut bytes)?,
            c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Reads what follows a backslash into `bytes`; returns what comes after it.
fn unescape<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let kind = text.chars().next()?;
    let rest = &text[kind.len_utf8()..];
    let simple = match kind {
        'a' => 7,
        'b' => 8,
        'f' => 0xc,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0xb,
        '\\' => b'\\',
        '"' => b'"',
        'x' | 'u' | 'U' | '0'..='7' => return unescape_code(kind, text, bytes),
        _ => return None,
    };
    bytes.push(simple);
    Some(rest)
}

/// Reads `xHH`, `uHHHH`, `UHHHHHHHH` or three octal digits. `\x` and octal stand for one byte.
fn unescape_code<'a>(kind: char, text: &'a str, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let (start, len, radix) = match kind {
        'x' => (1, 2, 16),
        'u' => (1, 4, 16),
        'U' => (1, 8, 16),
        _ => (0, 3, 8),
    };
    let digits = text.get(start..start + len)?;
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let code = u32::from_str_radix(digits, radix).ok()?;
    if matches!(kind, 'u' | 'U') {
        let c = char::from_u32(code)?;
        bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        bytes.push(u8::try_from(code).ok()?);
    }
    Some(&text[start + len..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_gos_escapes() {
        let cases: &[(&str, Option<&str>)] = &[
            (r#""plain""#, Some("plain")),
            (r#""""#, Some("")),
            (r#""\a\b\f\n\r\t\v\\\"""#, Some("\u{7}\u{8}\u{c}\n\r\t\u{b}\\\"")),
            (r#""\x41\101\u00e9\U0001F600""#, Some("AA\u{e9}\u{1f600}")),
            (r#""\xc3\xa9""#, Some("\u{e9}")),
            (r#""\xff""#, None),
            (r#""\x4""#, None),
            (r#""\x+4""#, None),
            (r#""\400""#, None),
            (r#""\ud800""#, None),
            (r#""\'""#, None),
            (r#""\q""#, None),
            ("\"a\nb\"", None),
            (r#""\"#, None),
            ("`raw \\n \"x\"\r\n`", Some("raw \\n \"x\"\n")),
        ];
        for (literal, text) in cases {
            assert_eq!(unquote(literal).as_deref(), *text, "{literal}");
        }
    }

    #[test]
    fn writes_gos_escapes() {
        assert_eq!(quote("a\"b\\c\n\u{1}\u{a0}\u{2028}é"), r#""a\"b\\c\n\x01\u00a0\u2028é""#);
    }

    proptest! {
        #[test]
        fn what_is_quoted_reads_back_equal(text in ".*") {
            prop_assert_eq!(unquote(&quote(&text)), Some(text));
        }
    }
}
