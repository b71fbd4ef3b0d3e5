//! Bytes to a JSON value, with the error texts of Go's `encoding/json`.

use serde_json::Value;
use serde_json::error::Category;

use super::BadRequest;

/// Reads the first JSON value of `body`.
pub(super) fn read(body: &[u8]) -> Result<Value, BadRequest> {
    // Like Go, take U+FFFD for what is no UTF-8.
    let text = String::from_utf8_lossy(body);
    let mut values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    match values.next() {
        None => Err(BadRequest::undecodable("EOF")),
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(BadRequest::undecodable(explain(&text, &error))),
    }
}

fn explain(text: &str, error: &serde_json::Error) -> String {
    if error.classify() == Category::Eof {
        return "unexpected EOF".to_owned();
    }
    let message = error.to_string();
    let offender = character_at(text, error.line(), error.column());
    let context = match message.split(" at line ").next().unwrap_or_default() {
        "expected value" => "looking for beginning of value",
        "expected ident" => "in literal",
        "expected `:`" => "after object key",
        "expected `,` or `}`" => "after object key:value pair",
        "expected `,` or `]`" => "after array element",
        "key must be a string" | "expected `\"`" => "looking for beginning of object key string",
        "trailing comma" if offender == Some(']') => "looking for beginning of value",
        "trailing comma" => "looking for beginning of object key string",
        "invalid escape" => "in string escape code",
        "invalid number" => "in numeric literal",
        text if text.starts_with("control character") => "in string literal",
        other => return other.to_owned(),
    };
    match offender {
        Some(c) => format!("invalid character {} {context}", quote_character(c)),
        None => message,
    }
}

/// The character at `column` (bytes, 1-based, of the last byte read) of `line` (1-based).
fn character_at(text: &str, line: usize, column: usize) -> Option<char> {
    let mut line = text.split_inclusive('\n').nth(line.checked_sub(1)?)?;
    let mut idx = column.saturating_sub(1);
    if column == 0 {
        // A line break is column 0 of the line that it begins.
        line = "\n";
        idx = 0;
    }
    let start = line.floor_char_boundary(idx);
    line[start..].chars().next()
}

fn quote_character(c: char) -> String {
    match c {
        '\'' => r"'\''".to_owned(),
        '"' => r#"'"'"#.to_owned(),
        c => {
            let quoted = model::go::quote(&c.to_string());
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
    }
}
