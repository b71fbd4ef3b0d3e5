//! The path of a request, read as Go's server reads it.

use percent_encoding::percent_decode_str;

use super::params::has_whole_escapes;

/// What a path turned out to be.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// A clean path, decoded.
    At(String),
    /// Go would send the client to this path instead.
    Moved(String),
    /// Broken escapes, bytes that are not UTF-8, or characters that cannot be printed.
    Unreadable,
}

/// Cleanliness is judged before decoding: `%2F` inside a segment stays where it is.
pub(super) fn read(escaped: &str) -> Place {
    if !has_whole_escapes(escaped) {
        return Place::Unreadable;
    }
    let Ok(path) = percent_decode_str(escaped).decode_utf8() else { return Place::Unreadable };
    if !path.chars().all(is_printable) {
        return Place::Unreadable;
    }
    let clean = clean(escaped);
    if clean != escaped { Place::Moved(clean) } else { Place::At(path.into_owned()) }
}

/// Close to Go's `unicode.IsPrint`: no controls, no spaces but the ASCII one, no invisible format characters.
fn is_printable(c: char) -> bool {
    let is_format = matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}' | '\u{feff}');
    c == ' ' || !(c.is_control() || c.is_whitespace() || is_format)
}

/// Removes empty segments, `.` and `..`; a slash at the end stays.
fn clean(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let is_folder = path.ends_with('/') && !segments.is_empty();
    format!("/{}{}", segments.join("/"), if is_folder { "/" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_paths_are_decoded_and_others_redirected() {
        let at = |path: &str| Place::At(path.into());
        let moved = |path: &str| Place::Moved(path.into());
        for (path, expected) in [
            ("/v1/kv/a%2Fb", at("/v1/kv/a/b")),
            ("/v1/kv/a%20b", at("/v1/kv/a b")),
            ("/v1/kv/a/", at("/v1/kv/a/")),
            ("/", at("/")),
            ("/v1//kv/", moved("/v1/kv/")),
            ("/v1/./agent/../kv", moved("/v1/kv")),
            ("/v1/kv/..", moved("/v1")),
            ("//", moved("/")),
            ("/v1/kv/a%0Ab", Place::Unreadable),
            ("/v1/kv/%E2%80%8B", Place::Unreadable),
            ("/v1/kv/%FF", Place::Unreadable),
            ("/v1/kv/%zz", Place::Unreadable),
        ] {
            assert_eq!(read(path), expected, "{path}");
        }
    }
}
