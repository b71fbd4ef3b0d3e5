//! JSON (RFC 8259), with the same errors and bounds as HCL.

use serde_json::{Map, Number, Value};

use crate::cursor::{Cursor, quote};
use crate::error::Error;

pub(crate) fn read(mut cursor: Cursor<'_>) -> Result<Value, Error> {
    skip_blank(&mut cursor);
    let value = read_value(&mut cursor)?;
    skip_blank(&mut cursor);
    match cursor.peek() {
        None => Ok(value),
        Some(_) => Err(cursor.error("the end of the text behind the value")),
    }
}

fn skip_blank(cursor: &mut Cursor<'_>) {
    cursor.take_while(|it| matches!(it, ' ' | '\t' | '\n' | '\r'));
}

fn read_value(cursor: &mut Cursor<'_>) -> Result<Value, Error> {
    let start = cursor.at();
    match cursor.peek() {
        Some('{') => read_object(cursor).map(Value::Object),
        Some('[') => read_list(cursor).map(Value::Array),
        Some('"') => read_string(cursor).map(Value::String),
        Some('-' | '0'..='9') => read_number(cursor),
        _ => match cursor.take_while(|it| it.is_ascii_alphabetic()) {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "null" => Ok(Value::Null),
            _ => Err(cursor.error_at(start, "a JSON value")),
        },
    }
}

fn read_object(cursor: &mut Cursor<'_>) -> Result<Map<String, Value>, Error> {
    cursor.enter()?;
    cursor.eat("{");
    let mut object = Map::new();
    skip_blank(cursor);
    if !cursor.eat("}") {
        loop {
            skip_blank(cursor);
            if cursor.peek() != Some('"') {
                return Err(cursor.error("a key in quotes"));
            }
            let key = read_string(cursor)?;
            skip_blank(cursor);
            if !cursor.eat(":") {
                return Err(cursor.error("`:`"));
            }
            skip_blank(cursor);
            let value = read_value(cursor)?;
            object.insert(key, value);
            skip_blank(cursor);
            if cursor.eat("}") {
                break;
            }
            if !cursor.eat(",") {
                return Err(cursor.error("`,` or `}`"));
            }
        }
    }
    cursor.leave(1);
    Ok(object)
}

fn read_list(cursor: &mut Cursor<'_>) -> Result<Vec<Value>, Error> {
    cursor.enter()?;
    cursor.eat("[");
    let mut list = Vec::new();
    skip_blank(cursor);
    if !cursor.eat("]") {
        loop {
            skip_blank(cursor);
            list.push(read_value(cursor)?);
            skip_blank(cursor);
            if cursor.eat("]") {
                break;
            }
            if !cursor.eat(",") {
                return Err(cursor.error("`,` or `]`"));
            }
        }
    }
    cursor.leave(1);
    Ok(list)
}

fn read_number(cursor: &mut Cursor<'_>) -> Result<Value, Error> {
    let start = cursor.at();
    let text = cursor.take_while(|it| it.is_ascii_alphanumeric() || matches!(it, '-' | '+' | '.'));
    // The grammar of numbers in JSON is narrower than what parsers of numbers take.
    let digits = text.strip_prefix('-').unwrap_or(text);
    let whole = digits.len() - digits.trim_start_matches(|it: char| it.is_ascii_digit()).len();
    let rest = &digits[whole..];
    let is_json = whole > 0
        && (whole == 1 || !digits.starts_with('0'))
        && (rest.is_empty() || is_fraction_and_exponent(rest));
    if is_json && rest.is_empty() {
        if let Ok(number) = text.parse::<i64>() {
            return Ok(Value::Number(number.into()));
        }
        if let Ok(number) = text.parse::<u64>() {
            return Ok(Value::Number(number.into()));
        }
    }
    match text.parse::<f64>().ok().filter(|_| is_json).and_then(Number::from_f64) {
        Some(number) => Ok(Value::Number(number)),
        None => Err(cursor.error_with(start, "a JSON number that 64 bits can hold", quote(text))),
    }
}

fn is_fraction_and_exponent(text: &str) -> bool {
    let is_digits = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    let (fraction, exponent) = match text.split_once(['e', 'E']) {
        Some((fraction, exponent)) => (fraction, Some(exponent)),
        None => (text, None),
    };
    (fraction.is_empty() || fraction.strip_prefix('.').is_some_and(is_digits))
        && exponent.is_none_or(|it| is_digits(it.strip_prefix(['+', '-']).unwrap_or(it)))
}

fn read_string(cursor: &mut Cursor<'_>) -> Result<String, Error> {
    let start = cursor.at();
    cursor.eat("\"");
    let mut text = String::new();
    loop {
        text.push_str(cursor.take_while(|it| !matches!(it, '"' | '\\' | '\0'..='\x1F')));
        match cursor.peek() {
            Some('"') => {
                cursor.bump();
                return Ok(text);
            }
            Some('\\') => text.push(read_escape(cursor)?),
            _ => {
                let (line, column) = cursor.position(start);
                let expected = format!("`\"` at the end of the string from {line}:{column}");
                return Err(cursor.error(expected));
            }
        }
    }
}

fn read_escape(cursor: &mut Cursor<'_>) -> Result<char, Error> {
    let start = cursor.at();
    cursor.eat("\\");
    let wrong = |cursor: &Cursor<'_>, expected: &str| {
        Err(cursor.error_with(start, expected, quote(cursor.since(start))))
    };
    match cursor.bump() {
        Some(it @ ('"' | '\\' | '/')) => Ok(it),
        Some('b') => Ok('\x08'),
        Some('f') => Ok('\x0C'),
        Some('n') => Ok('\n'),
        Some('r') => Ok('\r'),
        Some('t') => Ok('\t'),
        Some('u') => {
            let Some(first) = read_unit(cursor) else {
                return wrong(cursor, "4 hexadecimal digits");
            };
            if let Some(it) = char::from_u32(first.into()) {
                return Ok(it);
            }
            let second = if cursor.eat("\\u") { read_unit(cursor) } else { None };
            match second.and_then(|second| char::decode_utf16([first, second]).next()?.ok()) {
                Some(it) => Ok(it),
                None => wrong(cursor, "both halves of a surrogate pair"),
            }
        }
        _ => wrong(cursor, "an escape of JSON"),
    }
}

fn read_unit(cursor: &mut Cursor<'_>) -> Option<u16> {
    let digits = cursor.rest().get(..4).filter(|it| it.bytes().all(|it| it.is_ascii_hexdigit()))?;
    cursor.skip(4);
    u16::from_str_radix(digits, 16).ok()
}
