//! Names of fields: their two spellings, those that were probably meant, and how they make up a path.

use serde_json::Value;

/// Whether `key` is the JSON name of the field `name`: `maxRequests` of `max_requests`.
pub(super) fn is_camel_case_of(key: &str, name: &str) -> bool {
    let mut key = key.bytes();
    let mut name = name.bytes();
    while let Some(wanted) = name.next() {
        let wanted = match wanted {
            b'_' => name.next().unwrap_or(b'_').to_ascii_uppercase(),
            _ => wanted,
        };
        if key.next() != Some(wanted) {
            return false;
        }
    }
    key.next().is_none()
}

/// A word for what a value is, with its article.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// The field that `word` was probably meant to be: at most two letters apart, and fewer than a third of its own.
pub(super) fn nearest(word: &str, fields: &'static str) -> Option<&'static str> {
    fields
        .split_ascii_whitespace()
        .map(|it| it.split(['?', '=']).next().unwrap_or(it))
        .map(|it| (distance(word, it), it))
        .filter(|(distance, it)| *distance <= 2 && distance * 3 < it.len())
        .min()
        .map(|(_, it)| it)
}

/// Levenshtein's distance of two words, in bytes.
fn distance(a: &str, b: &str) -> usize {
    // Envoy's longest name of a field has 58 bytes; longer ones are no typing errors.
    if a.len() > 80 || b.len() > 80 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// A path and a key below it; a key with a dot or a slash is quoted so that the path stays readable.
pub(super) fn join(path: &str, key: &str) -> String {
    match (path.is_empty(), key.contains(['.', '/', '[', ' '])) {
        (true, false) => key.to_owned(),
        (false, false) => format!("{path}.{key}"),
        (_, true) => format!("{path}[\"{key}\"]"),
    }
}
