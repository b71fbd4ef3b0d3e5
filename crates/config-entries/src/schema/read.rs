//! Reads what a client wrote as Go's `mapstructure` does where Consul uses it: names in any letter case, and values that
//! are nearly of the right type.

use model::go;
use serde_json::{Map, Number, Value};

use super::{Field, Kind, Schema};

/// What cannot be read of a body.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Unreadable {
    /// Fields that there are not, by their paths: `Routes[0].Foo`.
    pub unknown: Vec<String>,
    /// Fields whose values are of another type, each with a sentence that says so.
    pub mismatches: Vec<String>,
}

/// Reads an object: its fields under their own names, in the order of the schema, without those that are not given.
/// Fields that `skips` names are passed over.
///
/// # Errors
/// When it has fields that there are not, or values of another type.
pub fn read(
    schema: &Schema,
    object: &Map<String, Value>,
    skips: &[&str],
) -> Result<Map<String, Value>, Unreadable> {
    let mut reader = Reader { found: Unreadable::default() };
    let kept =
        object.iter().filter(|(key, _)| !skips.iter().any(|it| key.eq_ignore_ascii_case(it)));
    let fields = reader.object(schema, kept, "");
    if reader.found == Unreadable::default() { Ok(fields) } else { Err(reader.found) }
}

struct Reader {
    found: Unreadable,
}

impl Reader {
    fn object<'v>(
        &mut self,
        schema: &Schema,
        pairs: impl Iterator<Item = (&'v String, &'v Value)>,
        path: &str,
    ) -> Map<String, Value> {
        let mut given: Vec<Option<Value>> = vec![None; schema.fields.len()];
        for (key, value) in pairs {
            let at = schema.fields.iter().position(|it| it.is_called(key));
            match at {
                Some(_) if value.is_null() => {}
                Some(at) => {
                    let field = &schema.fields[at];
                    if let Some(value) = self.value(field, value, &join(path, field.name)) {
                        given[at] = Some(value);
                    }
                }
                None => self.found.unknown.push(join(path, key)),
            }
        }
        let named = schema.fields.iter().zip(given);
        named.filter_map(|(field, value)| Some((field.name.to_owned(), value?))).collect()
    }

    fn value(&mut self, field: &Field, value: &Value, path: &str) -> Option<Value> {
        match field.kind {
            Kind::Text => self.text(value, path).map(Value::String),
            Kind::Flag => self.flag(value, path).map(Value::Bool),
            Kind::Integer | Kind::GivenInteger => self.integer(value, path).map(Value::from),
            Kind::Number => self.number(value, path).map(Value::Number),
            Kind::Duration => {
                let text = |it| Value::String(format_nanoseconds(it));
                self.nanoseconds(value, path).map(text)
            }
            Kind::Nanoseconds | Kind::GivenNanoseconds => {
                self.nanoseconds(value, path).map(Value::from)
            }
            Kind::Texts => {
                let texts = items(value).enumerate();
                let texts = texts.filter_map(|(idx, it)| self.text(it, &format!("{path}[{idx}]")));
                Some(Value::Array(texts.map(Value::String).collect()))
            }
            Kind::Integers => {
                let numbers = items(value).enumerate();
                let numbers =
                    numbers.filter_map(|(idx, it)| self.integer(it, &format!("{path}[{idx}]")));
                Some(Value::Array(numbers.map(Value::from).collect()))
            }
            Kind::TextMap => self.text_map(value, path),
            Kind::Anything => match single(value) {
                Value::Object(object) => Some(Value::Object(object.clone())),
                other => self.mismatch(path, "map[string]interface {}", other),
            },
            Kind::Struct(schema) | Kind::Given(schema) => self.nested(schema, value, path),
            Kind::List(schema) => {
                let nested = items(value).enumerate().filter(|(_, it)| !it.is_null());
                let nested = nested
                    .filter_map(|(idx, it)| self.nested(schema, it, &format!("{path}[{idx}]")));
                Some(Value::Array(nested.collect()))
            }
            Kind::Map(schema) => match single(value) {
                Value::Object(object) => {
                    let nested = object.iter().filter_map(|(key, it)| {
                        // Nothing given is an empty struct, here where there is a name for it.
                        let empty = Value::Object(Map::new());
                        let it = if it.is_null() { &empty } else { it };
                        Some((key.clone(), self.nested(schema, it, &format!("{path}[{key}]"))?))
                    });
                    let mut nested: Vec<(String, Value)> = nested.collect();
                    nested.sort_by(|a, b| a.0.cmp(&b.0));
                    Some(Value::Object(nested.into_iter().collect()))
                }
                other => self.mismatch(path, "map", other),
            },
        }
    }

    fn nested(&mut self, schema: &Schema, value: &Value, path: &str) -> Option<Value> {
        match single(value) {
            Value::Object(object) => Some(Value::Object(self.object(schema, object.iter(), path))),
            other => self.mismatch(path, "struct", other),
        }
    }

    fn text_map(&mut self, value: &Value, path: &str) -> Option<Value> {
        let Value::Object(object) = single(value) else {
            return self.mismatch(path, "map[string]string", value);
        };
        let mut pairs: Vec<(String, Value)> = Vec::with_capacity(object.len());
        for (key, value) in object {
            let text = match value {
                Value::Null => String::new(),
                value => self.text(value, &format!("{path}[{key}]"))?,
            };
            pairs.push((key.clone(), Value::String(text)));
        }
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        Some(Value::Object(pairs.into_iter().collect()))
    }

    fn text(&mut self, value: &Value, path: &str) -> Option<String> {
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Bool(flag) => Some(if *flag { "1" } else { "0" }.to_owned()),
            Value::Number(number) => Some(number.to_string()),
            other => self.mismatch(path, "string", other),
        }
    }

    fn flag(&mut self, value: &Value, path: &str) -> Option<bool> {
        match value {
            Value::Bool(flag) => Some(*flag),
            Value::Number(number) => Some(number.as_f64() != Some(0.0)),
            Value::String(text) => match text.as_str() {
                "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
                "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
                _ => self.mismatch(path, "bool", value),
            },
            other => self.mismatch(path, "bool", other),
        }
    }

    fn integer(&mut self, value: &Value, path: &str) -> Option<i64> {
        let read = match value {
            Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?.trunc())),
            Value::Bool(flag) => Some(i64::from(*flag)),
            Value::String(text) if text.is_empty() => Some(0),
            Value::String(text) => text.parse().ok(),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        read.or_else(|| self.mismatch(path, "int", value))
    }

    fn number(&mut self, value: &Value, path: &str) -> Option<Number> {
        let read = match value {
            Value::Number(number) => Some(number.clone()),
            Value::String(text) => text.parse().ok().and_then(Number::from_f64),
            Value::Bool(_) | Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        read.or_else(|| self.mismatch(path, "float32", value))
    }

    /// Go's are signed: a negative one is refused by the rules of its kind, not here.
    fn nanoseconds(&mut self, value: &Value, path: &str) -> Option<i64> {
        match value {
            Value::String(text) if text.is_empty() => Some(0),
            Value::String(text) => match parse_nanoseconds(text) {
                Ok(nanoseconds) => Some(nanoseconds),
                Err(why) => {
                    self.found.mismatches.push(format!("error decoding '{path}': {why}"));
                    None
                }
            },
            value => self.integer(value, path),
        }
    }

    fn mismatch<T>(&mut self, path: &str, wanted: &str, value: &Value) -> Option<T> {
        let got = match value {
            Value::Null => "nil",
            Value::Bool(_) => "bool",
            Value::Number(_) => "float64",
            Value::String(_) => "string",
            Value::Array(_) => "[]interface {}",
            Value::Object(_) => "map[string]interface {}",
        };
        let text = format!("'{path}' expected type '{wanted}', got unconvertible type '{got}'");
        self.found.mismatches.push(text);
        None
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The items of a list; a single value stands for a list of it, and an empty text for an empty one.
fn items(value: &Value) -> impl Iterator<Item = &Value> {
    let (list, one): (&[Value], Option<&Value>) = match value {
        Value::Array(list) => (list, None),
        Value::String(text) if text.is_empty() => (&[], None),
        Value::Object(object) if object.is_empty() => (&[], None),
        other => (&[], Some(other)),
    };
    list.iter().chain(one)
}

/// A list of one stands for what it holds: HCL writes blocks so.
fn single(value: &Value) -> &Value {
    match value {
        Value::Array(list) if list.len() == 1 => &list[0],
        other => other,
    }
}

fn whole(number: f64) -> Option<i64> {
    // 2^63 is exact in a double; what is below it fits.
    let is_in_range = number.abs() < 9_223_372_036_854_775_808.0;
    #[allow(clippy::cast_possible_truncation, reason = "within range and whole")]
    is_in_range.then_some(number as i64)
}

fn parse_nanoseconds(text: &str) -> Result<i64, String> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let duration = go::parse_duration(digits).map_err(|it| it.to_string())?;
    let nanoseconds = i64::try_from(duration.as_nanos())
        .map_err(|_| format!("time: invalid duration {}", go::quote(text)))?;
    Ok(if is_negative { -nanoseconds } else { nanoseconds })
}

fn format_nanoseconds(nanoseconds: i64) -> String {
    let text = go::format_duration(std::time::Duration::from_nanos(nanoseconds.unsigned_abs()));
    if nanoseconds < 0 { format!("-{text}") } else { text }
}
