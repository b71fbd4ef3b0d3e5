//! Forms in which Consul's commands print: columns, tabs, JSON as Go writes it, times.

use serde::Serialize;
use serde_json::Value;

/// Rows in columns, two spaces apart; the last of a row is not padded.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    aligned(rows, 2)
}

/// The same with another distance, as Go's `tabwriter` makes it.
pub(crate) fn aligned(rows: &[Vec<String>], distance: usize) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        // A row's last cell starts a column, but does not widen one.
        for (at, cell) in row.iter().enumerate().take(row.len().saturating_sub(1)) {
            let width = cell.chars().count();
            match widths.get_mut(at) {
                Some(known) => *known = width.max(*known),
                None => widths.push(width),
            }
        }
    }
    let mut lines = Vec::with_capacity(rows.len());
    for row in rows {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            line.push_str(cell);
            if at + 1 < row.len() {
                let padding = widths[at] - cell.chars().count() + distance;
                line.extend(std::iter::repeat_n(' ', padding));
            }
        }
        lines.push(line);
    }
    lines.join("\n")
}

/// Cells of text.
pub(crate) fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

/// JSON over several lines, each level `indent` further in, with `<`, `>` and `&` escaped as Go does it.
pub(crate) fn json(value: &Value, indent: &str) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value.serialize(&mut serializer).expect("a JSON value is written to memory without errors");
    escaped_for_html(&String::from_utf8_lossy(&bytes))
}

/// JSON on one line, with Go's escapes.
pub(crate) fn json_line(value: &Value) -> String {
    escaped_for_html(&value.to_string())
}

/// These characters occur within strings only.
fn escaped_for_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            _ => escaped.push(c),
        }
    }
    escaped
}

/// A field's text; empty when there is none.
pub(crate) fn field<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

/// What a list in a field holds; nothing when there is none.
pub(crate) fn items<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    list(&value[name])
}

/// What a list holds; nothing when it is none.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The texts of a list in a field, joined.
pub(crate) fn joined(value: &Value, name: &str, between: &str) -> String {
    let texts = items(value, name).iter().filter_map(Value::as_str);
    texts.collect::<Vec<_>>().join(between)
}

/// The entries of an object of texts as `key=value`, by key, joined.
pub(crate) fn pairs(value: &Value, between: &str) -> String {
    let mut pairs: Vec<String> = value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    pairs.sort_unstable();
    pairs.join(between)
}

/// A time of RFC 3339 as Go prints it: `2024-01-02 15:04:05.12 +0000 UTC`.
pub(crate) fn time(text: &str) -> String {
    let Some((date, clock)) = text.split_once('T') else { return text.to_owned() };
    let Some(zone_at) = clock.find(['Z', '+', '-']) else { return text.to_owned() };
    let (clock, zone) = clock.split_at(zone_at);
    let clock = match clock.split_once('.') {
        Some((seconds, fraction)) => match fraction.trim_end_matches('0') {
            "" => seconds.to_owned(),
            fraction => format!("{seconds}.{fraction}"),
        },
        None => clock.to_owned(),
    };
    let zone = match zone.replace(':', "").as_str() {
        "Z" | "+0000" => "+0000 UTC".to_owned(),
        offset => format!("{offset} {offset}"),
    };
    format!("{date} {clock} {zone}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let rows = [row(&["Node", "ID", "DC"]), row(&["n", "12345", "x"]), row(&["ä", "", ""])];
        assert_eq!(columns(&rows), "Node  ID     DC\nn     12345  x\nä            ");
    }

    #[test]
    fn json_is_escaped_and_indented_as_go_does_it() {
        let value = serde_json::json!({"b": ["<&>"], "a": [], "c": {}});
        let expected =
            "{\n  \"b\": [\n    \"\\u003c\\u0026\\u003e\"\n  ],\n  \"a\": [],\n  \"c\": {}\n}";
        assert_eq!(json(&value, "  "), expected);
        assert_eq!(json_line(&serde_json::json!("\u{2028}")), "\"\\u2028\"");
    }

    #[test]
    fn times_are_printed_as_go_prints_them() {
        for (text, expected) in [
            ("2024-01-02T15:04:05.120Z", "2024-01-02 15:04:05.12 +0000 UTC"),
            ("2024-01-02T15:04:05Z", "2024-01-02 15:04:05 +0000 UTC"),
            ("2024-01-02T15:04:05.5-07:00", "2024-01-02 15:04:05.5 -0700 -0700"),
            ("soon", "soon"),
        ] {
            assert_eq!(time(text), expected);
        }
    }
}
