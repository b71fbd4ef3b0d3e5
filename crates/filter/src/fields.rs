//! Rows that are JSON: what Consul's clients wrote and we keep as it is.

use serde_json::{Map, Value as Json};

use super::row::{Row, Value};

/// The fields of an object. Lists of texts and maps are not looked into; no schema of such rows has any.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(pub &'a Map<String, Json>);

impl Row for Fields<'_> {
    fn field(&self, name: &str) -> Value<'_> {
        match self.0.get(name) {
            Some(Json::String(text)) => Value::Str(text),
            Some(Json::Number(number)) => Value::Int(number.as_i64().unwrap_or_default()),
            Some(Json::Bool(flag)) => Value::Bool(*flag),
            Some(Json::Object(fields)) => Value::Struct(Box::new(Fields(fields))),
            Some(Json::Array(items)) => {
                let items = items.iter().filter_map(Json::as_object);
                Value::Structs(items.map(|it| Box::new(Fields(it)) as Box<dyn Row>).collect())
            }
            Some(Json::Null) | None => Value::Zero,
        }
    }
}
