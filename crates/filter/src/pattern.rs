//! Go's regular expressions on the `regex` crate. Both descend from RE2; what differs is put right here: in Go
//! `\d`, `\w`, `\s` and `\b` are about ASCII only, and a class has no nested classes and no set operations.

pub use regex::Regex;
use regex::RegexBuilder;

/// Most memory for one compiled expression. A filter holds at most 16 of them.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// Compiles a regular expression in Go's syntax, unanchored. The error is one line for people.
///
/// # Errors
/// The line of the error.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(&translate(pattern))
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(COMPILED_BYTES_MAX)
        .nest_limit(64)
        .build()
        .map_err(|error| {
            let text = error.to_string();
            let line = text.lines().last().unwrap_or_default();
            line.strip_prefix("error: ").unwrap_or(line).trim().to_owned()
        })
}

fn translate(pattern: &str) -> String {
    let mut translated = String::with_capacity(pattern.len() + 16);
    let mut in_class = false;
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, in_class) {
            ('\\', _) => match chars.next() {
                Some(escaped) => push_escape(&mut translated, escaped, in_class),
                None => translated.push('\\'),
            },
            ('[', false) => {
                in_class = true;
                translated.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    translated.push('^');
                }
                if chars.next_if_eq(&']').is_some() {
                    translated.push_str("\\]");
                }
            }
            ('[', true) if chars.peek() == Some(&':') => {
                translated.push('[');
                for c in chars.by_ref() {
                    translated.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            ('[', true) => translated.push_str("\\["),
            ('&' | '~', true) => translated.extend(['\\', c]),
            (']', true) => {
                in_class = false;
                translated.push(']');
            }
            (c, _) => translated.push(c),
        }
    }
    translated
}

fn push_escape(translated: &mut String, escaped: char, in_class: bool) {
    match (escaped, in_class) {
        ('d', _) => translated.push_str("[0-9]"),
        ('D', _) => translated.push_str("[^0-9]"),
        ('w', _) => translated.push_str("[0-9A-Za-z_]"),
        ('W', _) => translated.push_str("[^0-9A-Za-z_]"),
        ('s', _) => translated.push_str("[\\t\\n\\f\\r ]"),
        ('S', _) => translated.push_str("[^\\t\\n\\f\\r ]"),
        ('b', false) => translated.push_str("(?-u:\\b)"),
        (escaped, _) => translated.extend(['\\', escaped]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_what_it_means_in_go() {
        let cases = [
            ("^web-\\d+$", "web-12", true),
            ("^web-\\d+$", "web-\u{661}", false),
            ("\\w", "\u{e9}", false),
            ("\\W", "\u{e9}", true),
            ("^.$", "\u{e9}", true),
            ("[\\d.]+$", "1.2", true),
            ("[^\\d]", "12", false),
            ("[[]x[]]", "[x]", true),
            ("[]a]", "]", true),
            ("[a&&b]", "&", true),
            ("^[[:alpha:]_]+$", "ab_", true),
            ("\\bx\\b", "a x b", true),
            ("eb", "web", true),
            ("(?i)WEB", "web", true),
            ("a\\.b", "a.b", true),
            ("\\s", "\u{a0}", false),
        ];
        for (pattern, text, matches) in cases {
            let compiled = compile(pattern).unwrap();
            assert_eq!(compiled.is_match(text), matches, "{pattern} on {text}");
        }
    }

    #[test]
    fn refuses_what_is_malformed_or_too_big() {
        assert_eq!(compile("x(").unwrap_err(), "unclosed group");
        assert!(compile("\\").is_err());
        assert!(compile("[a").is_err());
        assert!(compile("(?:x{1000}){1000}").is_err());
        assert!(compile(&"(".repeat(10_000)).is_err());
    }
}
