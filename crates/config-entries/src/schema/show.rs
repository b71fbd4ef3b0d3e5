//! Shows what was read as Go's `encoding/json` does: which fields are left out when they are empty, and what stands for
//! those that are not.

use serde_json::{Map, Value};

use super::{Field, Kind, Schema};

/// The fields of an object that was read by this schema or a wider one, in its order and completed.
#[must_use]
pub fn show(schema: &Schema, object: &Map<String, Value>) -> Map<String, Value> {
    let mut shown = Map::new();
    for field in schema.fields {
        if let Some(value) = show_field(field, object.get(field.name)) {
            shown.insert(field.name.to_owned(), value);
        }
    }
    shown
}

fn show_field(field: &Field, value: Option<&Value>) -> Option<Value> {
    let value = match (field.kind, value) {
        (Kind::Struct(schema), Some(Value::Object(object))) => {
            return Some(Value::Object(show(schema, object)));
        }
        (Kind::Struct(schema), _) => return Some(Value::Object(show(schema, &Map::new()))),
        (Kind::Given(schema), Some(Value::Object(object))) => {
            return Some(Value::Object(show(schema, object)));
        }
        // A number that is given is shown, also when it is zero.
        (Kind::GivenInteger | Kind::GivenNanoseconds, Some(value)) => return Some(value.clone()),
        (Kind::List(schema), Some(Value::Array(items))) => {
            let items = items.iter().filter_map(Value::as_object);
            Value::Array(items.map(|it| Value::Object(show(schema, it))).collect())
        }
        (Kind::Map(schema), Some(Value::Object(items))) => {
            let items = items.iter().filter_map(|(key, it)| Some((key, it.as_object()?)));
            let items = items.map(|(key, it)| (key.clone(), Value::Object(show(schema, it))));
            Value::Object(items.collect())
        }
        (_, Some(value)) => value.clone(),
        (_, None) => zero(field.kind),
    };
    (field.is_always_shown || !is_empty(&value)).then_some(value)
}

fn zero(kind: Kind) -> Value {
    match kind {
        Kind::Text => Value::String(String::new()),
        Kind::Flag => Value::Bool(false),
        Kind::Integer | Kind::Nanoseconds | Kind::Number => Value::from(0),
        Kind::Duration => Value::String("0s".to_owned()),
        Kind::GivenInteger
        | Kind::GivenNanoseconds
        | Kind::Texts
        | Kind::Integers
        | Kind::TextMap
        | Kind::Anything
        | Kind::Struct(_)
        | Kind::Given(_)
        | Kind::List(_)
        | Kind::Map(_) => Value::Null,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty() || text == "0s",
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}
