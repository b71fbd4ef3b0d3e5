//! Reads texts with command operators.

use std::fmt;

use crate::format::operator::Operator;
use crate::format::{Piece, Value};

/// Why a text is not a format.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FormatError {
    /// Where the operator begins, in bytes from the beginning of the text.
    pub position: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.position, self.what)
    }
}

impl std::error::Error for FormatError {}

pub(super) fn parse(text: &str) -> Result<Vec<Piece>, FormatError> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut at = 0;
    while let Some(found) = text[at..].find('%') {
        literal.push_str(&text[at..at + found]);
        at += found;
        if text[at..].starts_with("%%") {
            literal.push('%');
            at += 2;
            continue;
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut literal)));
        }
        let (value, length) =
            value(&text[at..]).map_err(|what| FormatError { position: at, what })?;
        pieces.push(Piece::Value(value));
        at += length;
    }
    literal.push_str(&text[at..]);
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    Ok(pieces)
}

/// Reads the operator that `text` begins with; also says how many bytes it takes.
fn value(text: &str) -> Result<(Value, usize), String> {
    let is_name = |it: char| it.is_ascii_uppercase() || it.is_ascii_digit() || it == '_';
    let after = &text[1..];
    let name = &after[..after.find(|it| !is_name(it)).unwrap_or(after.len())];
    if name.is_empty() {
        return Err("% begins an operator (%NAME%); write %% for the sign itself".to_owned());
    }
    let rest = &after[name.len()..];
    let (argument, length_max, end) = match rest.strip_prefix('(') {
        Some(rest) => {
            let (argument, length_max, end) =
                argument(rest).ok_or_else(|| format!("the argument of %{name} does not end"))?;
            (Some(argument), length_max, 1 + end)
        }
        None => {
            let (length_max, end) =
                ending(rest).ok_or_else(|| format!("%{name} does not end with %"))?;
            (None, length_max, end)
        }
    };
    let operator = Operator::new(name, argument)?;
    let value =
        Value { name: name.into(), argument: argument.map(str::to_owned), length_max, operator };
    Ok((value, 1 + name.len() + end))
}

/// An argument, which may hold `%` and ends at the first `)` that an ending follows.
fn argument(text: &str) -> Option<(&str, Option<usize>, usize)> {
    text.match_indices(')').find_map(|(at, _)| {
        let (length_max, end) = ending(&text[at + 1..])?;
        Some((&text[..at], length_max, at + 1 + end))
    })
}

/// `%` or `:length%`, and how many bytes it takes.
fn ending(text: &str) -> Option<(Option<usize>, usize)> {
    if text.starts_with('%') {
        return Some((None, 1));
    }
    let (length, _) = text.strip_prefix(':')?.split_once('%')?;
    let is_number = !length.is_empty() && length.bytes().all(|it| it.is_ascii_digit());
    is_number.then(|| length.parse().ok())?.map(|max| (Some(max), length.len() + 2))
}
