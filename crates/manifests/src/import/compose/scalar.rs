//! Scalars as a compose file has them.

use model::go::{format_duration, parse_duration};

use super::super::escape;
use crate::fields::{At, Field, Report};
use crate::node::Content;
use crate::values::binary;

/// The text of a scalar of any kind, with `${…}` replaced where that can be known.
pub(super) fn text(field: &Field<'_>, report: &mut Report<'_>) -> Option<String> {
    match &field.node.content {
        Content::String(text) => Some(interpolate(text, &field.at, report)),
        Content::Number(number) => Some(number.to_string()),
        Content::Bool(value) => Some(value.to_string()),
        Content::Null | Content::List(_) | Content::Map(_) => field.text(report).map(str::to_owned),
    }
}

/// Replaces `$$` by `$` and `${NAME:-default}` by the default. Other variables come from the shell that compose is called
/// in: they stay as they are, and are reported.
fn interpolate(text: &str, at: &At, report: &mut Report<'_>) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        replaced.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            replaced.push('$');
            rest = after;
            continue;
        }
        let Variable { name, default, bytes } = variable(after);
        let (written, after) = after.split_at(bytes);
        rest = after;
        if let Some(default) = default {
            let message = format!("`{name}` is not asked for: its default is taken");
            report.approximated(at, message, "write the value that is meant");
            replaced.push_str(default);
            continue;
        }
        if !name.is_empty() {
            let message = format!("`{name}` of compose's own environment is not known: it stays");
            report.ignored(at, message, "write the value that is meant");
        }
        replaced.push('$');
        replaced.push_str(written);
    }
    replaced.push_str(rest);
    replaced
}

/// What follows a `$`.
struct Variable<'a> {
    /// Empty when it is no variable.
    name: &'a str,
    default: Option<&'a str>,
    /// How much of the text it takes.
    bytes: usize,
}

fn variable(text: &str) -> Variable<'_> {
    let name_end =
        |it: &str| it.find(|it: char| !it.is_ascii_alphanumeric() && it != '_').unwrap_or(it.len());
    let Some((inner, _)) = text.strip_prefix('{').and_then(|it| it.split_once('}')) else {
        let bytes = name_end(text);
        return Variable { name: &text[..bytes], default: None, bytes };
    };
    let (name, operator) = inner.split_at(name_end(inner));
    let default = operator.strip_prefix(":-").or_else(|| operator.strip_prefix('-'));
    Variable { name, default, bytes: inner.len() + "{}".len() }
}

/// The pairs of a map of scalars, or of a list of `name=value`; the value is `None` where only a name is given.
pub(super) fn pairs(
    field: &Field<'_>,
    report: &mut Report<'_>,
) -> Vec<(String, Option<String>, At)> {
    let Content::List(_) = &field.node.content else {
        let Some(fields) = field.fields(report) else { return Vec::new() };
        let pair = |(name, it): (&str, Field<'_>)| {
            let is_null = it.node.content == Content::Null;
            let value = if is_null { None } else { Some(text(&it, report)?) };
            Some((name.to_owned(), value, it.at))
        };
        return fields.all().filter_map(pair).collect();
    };
    let mut pairs = Vec::new();
    for item in field.items(report) {
        let Some(text) = text(&item, report) else { continue };
        pairs.push(match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned()), item.at),
            None => (text, None, item.at),
        });
    }
    pairs
}

/// A duration, in our own notation.
pub(super) fn duration(field: &Field<'_>, report: &mut Report<'_>) -> Option<String> {
    let text = text(field, report)?;
    let duration = parse_duration(&text).ok();
    if duration.is_none() {
        report.ignored(&field.at, format!("`{text}` is not a duration"), "");
    }
    duration.map(format_duration)
}

/// A size such as `512m` or `1gb`, where every unit is a power of 1024, as a quantity.
pub(super) fn size(field: &Field<'_>, report: &mut Report<'_>) -> Option<String> {
    let text = text(field, report)?;
    let bytes = bytes(&text);
    if bytes.is_none() {
        report.ignored(&field.at, format!("`{text}` is not a size"), "");
    }
    bytes.map(binary)
}

fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits_end = lower.find(|it: char| !it.is_ascii_digit()).unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits_end);
    let shift = match unit.trim_start() {
        "" | "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// A command as it stands in a list of a workload: a list, or a text that is split as a shell would, but run by none.
pub(super) fn words(field: &Field<'_>, report: &mut Report<'_>) -> Option<Vec<String>> {
    if let Content::List(_) = &field.node.content {
        let items = field.items(report);
        return Some(items.iter().filter_map(|it| Some(escape(&text(it, report)?))).collect());
    }
    let text = text(field, report)?;
    let words = split(&text);
    if words.is_none() {
        report.error(&field.at, "a quotation is not closed", "close it, or write a list");
    }
    Some(words?.iter().map(|it| escape(it)).collect())
}

/// Splits at blanks, but for what is in quotation marks or behind a backslash. `None` when a quotation is not closed.
fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = text.chars();
    while let Some(it) = rest.next() {
        match it {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\\' => word.get_or_insert_default().push(rest.next()?),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next()? {
                        '\'' => break,
                        it => word.push(it),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next()? {
                        '"' => break,
                        '\\' => match rest.next()? {
                            it @ ('"' | '\\' | '$' | '`') => word.push(it),
                            it => word.extend(['\\', it]),
                        },
                        it => word.push(it),
                    }
                }
            }
            it => word.get_or_insert_default().push(it),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_as_a_shell_does() {
        for (text, expected) in [
            ("", &[][..]),
            ("  a  b\n", &["a", "b"]),
            ("a 'b c' \"d 'e\"f", &["a", "b c", "d 'ef"]),
            (r#"a\ b "c\"d\e" ''"#, &["a b", "c\"d\\e", ""]),
        ] {
            assert_eq!(split(text).unwrap(), expected, "{text}");
        }
        for open in ["'a", "\"a", "a\\", "\"a\\"] {
            assert_eq!(split(open), None, "{open}");
        }
    }

    #[test]
    fn variables_are_replaced_as_far_as_they_are_known() {
        for (text, expected, findings) in [
            ("a", "a", 0),
            ("$$HOME", "$HOME", 0),
            ("${A:-b}c", "bc", 1),
            ("${A-}", "", 1),
            ("$A/${B}/${C:?x}", "$A/${B}/${C:?x}", 3),
            ("$ ${", "$ ${", 0),
            ("é$", "é$", 0),
        ] {
            let mut report = Report::new("");
            let at = At { path: String::new(), line: 1 };
            assert_eq!(interpolate(text, &at, &mut report), expected);
            assert_eq!(report.finish().1.len(), findings, "{text}");
        }
    }

    #[test]
    fn units_of_sizes_are_powers_of_1024() {
        for (text, expected) in [("5", 5), ("1b", 1), ("64k", 65_536), ("1Gb", 1 << 30)] {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        for bad in ["", "k", "1.5g", "-1", "1t", "99999999999999999999", "99999999999g"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }
}
