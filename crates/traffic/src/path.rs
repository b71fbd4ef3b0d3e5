//! What is done to a path before it is matched.

use std::borrow::Cow;

use proxy_config::{EscapedSlashes, PathNormalization};

/// What becomes of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NormalPath<'a> {
    /// This path is matched and sent on; borrowed when nothing changed.
    Use(Cow<'a, str>),
    /// The client is sent to this path (with its own query) with 307.
    Redirect(String),
    /// 400, and why.
    Refused(&'static str),
}

/// What becomes of a path (without the query), in Envoy's order: escaped slashes, dot segments,
/// repeated slashes.
///
/// Resolving follows RFC 3986, sections 5.2.4 and 6.2.2, and takes `\` for `/`, as the servers do
/// that it protects. A path with dot segments that are not resolved is refused: it would be routed
/// as one path and served as another.
#[must_use]
pub fn normal_path<'a>(path: &'a str, how: &PathNormalization) -> NormalPath<'a> {
    let mut now = Cow::Borrowed(path);
    let mut is_redirected = false;
    if path.contains('%') && how.escaped_slashes != EscapedSlashes::Keep {
        let unescaped = unescape_slashes(path);
        if unescaped != path {
            match how.escaped_slashes {
                EscapedSlashes::Keep => {}
                EscapedSlashes::Reject => {
                    return NormalPath::Refused("the path has escaped slashes\n");
                }
                EscapedSlashes::UnescapeAndRedirect => is_redirected = true,
                EscapedSlashes::UnescapeAndForward => {}
            }
            now = Cow::Owned(unescaped);
        }
    }
    if how.resolve {
        if now.contains(['%', '\\']) {
            now = Cow::Owned(decode_unreserved(&now));
        }
        if has_dot_segment(&now) {
            now = Cow::Owned(without_dot_segments(&now));
        }
    } else if has_dot_segment(&now) {
        return NormalPath::Refused("the path has dot segments\n");
    }
    if how.merge_slashes && now.contains("//") {
        now = Cow::Owned(merge_slashes(&now));
    }
    match now {
        Cow::Owned(path) if is_redirected => NormalPath::Redirect(path),
        // Changed and changed back, or decoded where nothing was to decode.
        Cow::Owned(same) if same == path => NormalPath::Use(Cow::Borrowed(path)),
        now => NormalPath::Use(now),
    }
}

/// True when a segment of the path is `.` or `..`, also percent-encoded: an endpoint that resolves
/// it (RFC 3986, section 5.2.4) would serve another path than the one that was routed. Clients
/// resolve them before they ask.
#[must_use]
pub fn has_dot_segment(path: &str) -> bool {
    // Most paths have no segment that begins with a dot.
    let bytes = path.as_bytes();
    let begins = |at: usize| matches!(bytes.get(at), Some(b'.' | b'%'));
    if !begins(0) && !bytes.iter().enumerate().any(|(at, it)| *it == b'/' && begins(at + 1)) {
        return false;
    }
    path.split('/').any(|segment| dots(segment).is_some())
}

/// How many dots a segment consists of, when it is a dot segment.
fn dots(segment: &str) -> Option<usize> {
    let mut rest = segment.as_bytes();
    let mut dots = 0;
    while dots < 3 {
        rest = match rest {
            [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
            _ => break,
        };
        dots += 1;
    }
    (rest.is_empty() && (dots == 1 || dots == 2)).then_some(dots)
}

fn unescape_slashes(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (before, escaped) = rest.split_at(at);
        out.push_str(before);
        let slash = match escaped.as_bytes() {
            [_, b'2', b'f' | b'F', ..] => '/',
            [_, b'5', b'c' | b'C', ..] => '\\',
            _ => {
                out.push('%');
                rest = &escaped[1..];
                continue;
            }
        };
        out.push(slash);
        rest = &escaped[3..];
    }
    out.push_str(rest);
    out
}

/// Letters, digits, `-`, `.`, `_` and `~` need no encoding (RFC 3986, section 2.3). Where decoding
/// one would complete an escape that was broken (`%2%65`), it stays, so that doing this twice
/// changes nothing.
fn decode_unreserved(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find(['%', '\\']) {
        let (before, special) = rest.split_at(at);
        out.push_str(before);
        if let Some(after) = special.strip_prefix('\\') {
            out.push('/');
            rest = after;
            continue;
        }
        let Some(byte) = escaped_byte(special) else {
            out.push('%');
            rest = &special[1..];
            continue;
        };
        let is_unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if is_unreserved && !(byte.is_ascii_hexdigit() && ends_in_broken_escape(&out)) {
            out.push(char::from(byte));
        } else {
            out.push_str(&special[..3]);
        }
        rest = &special[3..];
    }
    out.push_str(rest);
    out
}

/// The byte that `%XX` at the beginning stands for.
fn escaped_byte(text: &str) -> Option<u8> {
    let [b'%', high, low, ..] = text.as_bytes() else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

fn ends_in_broken_escape(out: &str) -> bool {
    match out.as_bytes() {
        [.., b'%'] => true,
        [.., b'%', last] => last.is_ascii_hexdigit(),
        _ => false,
    }
}

/// RFC 3986, section 5.2.4, for a path that begins with a slash; `..` above the root is the root.
fn without_dot_segments(path: &str) -> String {
    let Some(relative) = path.strip_prefix('/') else { return path.to_owned() };
    let mut out = String::with_capacity(path.len());
    let mut segments = relative.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match dots(segment) {
            None => {
                out.push('/');
                out.push_str(segment);
            }
            Some(count) => {
                if count == 2 {
                    out.truncate(out.rfind('/').unwrap_or(0));
                }
                if is_last {
                    out.push('/');
                }
            }
        }
    }
    out
}

fn merge_slashes(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for char in path.chars() {
        if char != '/' || !out.ends_with('/') {
            out.push(char);
        }
    }
    out
}

#[cfg(test)]
mod tests;
