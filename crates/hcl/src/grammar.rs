//! Objects, lists and blocks of HCL 1, read by recursive descent.

use serde_json::{Map, Value};

use crate::cursor::Cursor;
use crate::error::Error;
use crate::literal;

pub(crate) fn read(mut cursor: Cursor<'_>) -> Result<Value, Error> {
    let mut object = Map::new();
    loop {
        skip_blank(&mut cursor)?;
        if cursor.peek().is_none() {
            return Ok(Value::Object(object));
        }
        read_item(&mut cursor, &mut object)?;
    }
}

/// What stands behind a key, before it is known whether the key came before.
enum Parsed {
    Single(Value),
    List(Vec<Value>),
    Object(Map<String, Value>),
}

impl Parsed {
    /// As an item of a list.
    fn into_value(self) -> Value {
        match self {
            Self::Single(value) => value,
            Self::List(list) => Value::Array(list),
            Self::Object(object) => Value::Object(object),
        }
    }
}

/// Reads `key = value` or a block, and a comma behind it if there is one.
fn read_item(cursor: &mut Cursor<'_>, object: &mut Map<String, Value>) -> Result<(), Error> {
    let start = cursor.at();
    let name = read_key(cursor, "a key")?;
    let mut labels = Vec::new();
    let parsed = loop {
        skip_blank(cursor)?;
        match cursor.peek() {
            Some('=') if labels.is_empty() => {
                cursor.bump();
                skip_blank(cursor)?;
                break read_value(cursor)?;
            }
            Some('=') => return Err(cursor.error("`{`, as a block with labels has no `=`")),
            Some('{') => break Parsed::Object(read_object(cursor)?),
            Some(it) if it == '"' || literal::starts_word(it) => {
                cursor.enter()?;
                labels.push(read_key(cursor, "a label")?);
            }
            _ => {
                let expected = format!("`=` or `{{` behind {}", crate::cursor::quote(&name));
                return Err(cursor.error(expected));
            }
        }
    };
    cursor.leave(labels.len());
    let nested = labels.into_iter().rev().fold(parsed, |inner, label| {
        let value = Value::Array(vec![inner.into_value()]);
        Parsed::Object(Map::from_iter([(label, value)]))
    });
    gather(cursor, start, object, name, nested)?;
    skip_blank(cursor)?;
    cursor.eat(",");
    Ok(())
}

/// Puts a value under its key: lists and objects join those that came before, of single values the last one stays.
fn gather(
    cursor: &Cursor<'_>,
    start: usize,
    object: &mut Map<String, Value>,
    name: String,
    parsed: Parsed,
) -> Result<(), Error> {
    let value = match parsed {
        Parsed::Single(value) => value,
        Parsed::List(list) => Value::Array(list),
        Parsed::Object(object) => Value::Array(vec![Value::Object(object)]),
    };
    match (object.get_mut(&name), value) {
        (None, value) => {
            object.insert(name, value);
        }
        (Some(Value::Array(before)), Value::Array(more)) => before.extend(more),
        (Some(Value::Array(_)), _) => {
            let found = format!("{} with a single value", crate::cursor::quote(&name));
            return Err(cursor.error_with(start, "a list or an object again", found));
        }
        (Some(_), Value::Array(_)) => {
            let found = format!("{} with a list or an object", crate::cursor::quote(&name));
            return Err(cursor.error_with(start, "a single value again", found));
        }
        (Some(before), value) => *before = value,
    }
    Ok(())
}

fn read_key(cursor: &mut Cursor<'_>, what: &str) -> Result<String, Error> {
    match cursor.peek() {
        Some('"') => literal::read_string(cursor),
        Some(it) if literal::starts_word(it) => Ok(literal::read_word(cursor).to_owned()),
        Some(it) if it.is_ascii_digit() => {
            Err(cursor.error(format!("{what} (in quotes, if it begins with a digit)")))
        }
        _ => Err(cursor.error(what)),
    }
}

fn read_value(cursor: &mut Cursor<'_>) -> Result<Parsed, Error> {
    let start = cursor.at();
    match cursor.peek() {
        Some('{') => read_object(cursor).map(Parsed::Object),
        Some('[') => read_list(cursor).map(Parsed::List),
        Some('"') => Ok(Parsed::Single(Value::String(literal::read_string(cursor)?))),
        Some('<') => Ok(Parsed::Single(Value::String(literal::read_heredoc(cursor)?))),
        Some('-' | '.' | '0'..='9') => literal::read_number(cursor).map(Parsed::Single),
        Some(it) if literal::starts_word(it) => match literal::read_word(cursor) {
            "true" => Ok(Parsed::Single(Value::Bool(true))),
            "false" => Ok(Parsed::Single(Value::Bool(false))),
            _ => Err(cursor.error_at(start, "a value (text stands in quotes)")),
        },
        _ => Err(cursor.error("a value")),
    }
}

fn read_object(cursor: &mut Cursor<'_>) -> Result<Map<String, Value>, Error> {
    let start = cursor.at();
    cursor.enter()?;
    cursor.eat("{");
    let mut object = Map::new();
    loop {
        skip_blank(cursor)?;
        if cursor.eat("}") {
            cursor.leave(1);
            return Ok(object);
        }
        if cursor.peek().is_none() {
            let (line, column) = cursor.position(start);
            return Err(cursor.error(format!("`}}` for the `{{` at {line}:{column}")));
        }
        read_item(cursor, &mut object)?;
    }
}

fn read_list(cursor: &mut Cursor<'_>) -> Result<Vec<Value>, Error> {
    cursor.enter()?;
    cursor.eat("[");
    let mut list = Vec::new();
    loop {
        skip_blank(cursor)?;
        if cursor.eat("]") {
            cursor.leave(1);
            return Ok(list);
        }
        list.push(read_value(cursor)?.into_value());
        skip_blank(cursor)?;
        if !cursor.eat(",") && cursor.peek() != Some(']') {
            return Err(cursor.error("`,` or `]`"));
        }
    }
}

/// Goes over white space and comments. Errors: a comment that does not end, a lone `/`.
fn skip_blank(cursor: &mut Cursor<'_>) -> Result<(), Error> {
    loop {
        cursor.take_while(|it| matches!(it, ' ' | '\t' | '\n' | '\r'));
        let start = cursor.at();
        if cursor.eat("#") || cursor.eat("//") {
            cursor.take_while(|it| it != '\n');
        } else if cursor.eat("/*") {
            let Some(length) = cursor.rest().find("*/") else {
                let expected = "`*/` at the end of the comment that begins here";
                return Err(cursor.error_with(start, expected, "the end of the text"));
            };
            cursor.skip(length + 2);
        } else if cursor.peek() == Some('/') {
            return Err(cursor.error("`//` or `/*`, which begin comments"));
        } else {
            return Ok(());
        }
    }
}
