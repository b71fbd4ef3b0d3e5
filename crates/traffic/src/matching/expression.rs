//! Regular expressions with RE2's meaning, in linear time.

use std::borrow::Cow;

use regex::bytes::{Regex, RegexBuilder};

/// Most bytes of a compiled expression; a larger one is refused. Usual ones take some 20 KB, so a
/// table of 1,000 takes 20 MB; a counted repetition of a large class is what comes near the bound.
pub const EXPRESSION_BYTES_MAX: usize = 2 << 20;

/// Most bytes that each thread keeps to match an expression faster; it takes what its texts need,
/// mostly some 10 KB.
const DFA_BYTES_MAX: usize = 512 << 10;

/// A regular expression that a whole text must match.
///
/// `\w`, `\d`, `\s` and `\b` mean ASCII and a `.` is one byte, as in RE2 for Latin-1; an expression
/// that needs Unicode (`\p{Greek}`) is compiled with it.
#[derive(Clone, Debug)]
pub struct Expression(Regex);

impl Expression {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(pattern: &str) -> Result<Expression, String> {
        // Alone first: `a)|(b` must not become something valid by what is put around it.
        compile(pattern)?;
        compile(&format!(r"\A(?:{pattern})\z")).map(Expression)
    }

    /// Whether the whole text matches.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        self.0.is_match(text)
    }

    /// What the named groups match, by [`Expression::group`]; `None` when the text does not match.
    pub(crate) fn captures<'t>(&self, text: &'t [u8]) -> Option<regex::bytes::Captures<'t>> {
        self.0.captures(text)
    }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    let build = |unicode: bool| {
        RegexBuilder::new(pattern)
            .unicode(unicode)
            .size_limit(EXPRESSION_BYTES_MAX)
            .dfa_size_limit(DFA_BYTES_MAX)
            .build()
    };
    let built = match build(false) {
        Err(regex::Error::Syntax(_)) => build(true),
        built => built,
    };
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("the regular expression {pattern:?} compiles to more than {limit} bytes")
        }
        error => {
            // The library draws the place over several lines; the last says what is wrong.
            let text = error.to_string();
            let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("the regular expression {pattern:?} is not valid: {why}")
        }
    })
}

/// A search for a literal.
pub(super) fn literal(text: &str, fold: bool) -> Result<Regex, String> {
    RegexBuilder::new(&regex::escape(text))
        .unicode(false)
        .case_insensitive(fold)
        .size_limit(EXPRESSION_BYTES_MAX)
        .build()
        .map_err(|error| format!("{text:?} cannot be searched for: {error}"))
}

/// Every match of a regular expression replaced; in RE2's words: `\0` is the match, `\1` to `\9`
/// are its groups, `\\` is a backslash.
#[derive(Clone, Debug)]
pub struct Replacement {
    regex: Regex,
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(String),
    Group(usize),
}

impl Replacement {
    /// Compiles a pattern and what takes the place of its matches.
    ///
    /// # Errors
    /// What is wrong with either.
    pub fn new(pattern: &str, substitution: &str) -> Result<Replacement, String> {
        let regex = compile(pattern)?;
        let parts = parts(substitution)?;
        let groups = regex.captures_len() - 1;
        let highest = parts.iter().filter_map(|it| match it {
            Part::Group(group) => Some(*group),
            Part::Text(_) => None,
        });
        if let Some(highest) = highest.max().filter(|it| *it > groups) {
            return Err(format!(
                "the substitution {substitution:?} names group {highest}, and {pattern:?} has {groups}"
            ));
        }
        Ok(Replacement { regex, parts })
    }

    /// The text with every match replaced; borrowed when there is none. Bytes that are no UTF-8 (a
    /// match may end within a character) are percent-encoded.
    #[must_use]
    pub fn apply<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let replaced =
            self.regex.replace_all(text.as_bytes(), |found: &regex::bytes::Captures<'_>| {
                let mut with = Vec::new();
                for part in &self.parts {
                    match part {
                        Part::Text(text) => with.extend_from_slice(text.as_bytes()),
                        Part::Group(group) => {
                            with.extend_from_slice(
                                found.get(*group).map_or(b"", |it| it.as_bytes()),
                            );
                        }
                    }
                }
                with
            });
        match replaced {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(bytes) => Cow::Owned(utf8_or_encoded(bytes)),
        }
    }
}

fn utf8_or_encoded(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| {
        let mut text = String::new();
        for chunk in error.as_bytes().utf8_chunks() {
            text.push_str(chunk.valid());
            for byte in chunk.invalid() {
                text.push_str(&format!("%{byte:02X}"));
            }
        }
        text
    })
}

fn parts(substitution: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = substitution.chars();
    while let Some(char) = rest.next() {
        if char != '\\' {
            text.push(char);
            continue;
        }
        match rest.next() {
            Some('\\') => text.push('\\'),
            Some(digit @ '0'..='9') => {
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                }
                parts.push(Part::Group(digit as usize - '0' as usize));
            }
            Some(_) | None => {
                return Err(format!(
                    "in the substitution {substitution:?} a backslash must be followed by a digit \
                     or a backslash"
                ));
            }
        }
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    Ok(parts)
}
