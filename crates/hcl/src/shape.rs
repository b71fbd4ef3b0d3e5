//! Lists of objects made objects where a consumer wants objects.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

/// What a consumer wants of a key that has one or more objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repeated {
    /// One object: of a key that several have, lists are joined, objects are merged, and of single values the last stays.
    Merged,
    /// A list of objects, also if there is only one.
    Listed,
}

/// A value is not of the kind that it must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShapeError {
    /// The keys and labels from outside to the value.
    pub path: Vec<String>,
    /// The kind that it must be.
    pub expected: &'static str,
    /// The kind that it is.
    pub found: &'static str,
}

impl std::error::Error for ShapeError {}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, found {}", self.path.join("."), self.expected, self.found)
    }
}

/// A value's kind in words, with its article: `a string`, `an object`.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// What [`crate::parse`] gave, with each object and each list of objects made one object or a list as the consumer says.
///
/// `wanted` gets the keys from the outermost object to the value in question; places in lists are not in it. Lists of other
/// things, and of objects and other things together, stay as they are.
pub fn flatten(value: &Value, wanted: impl Fn(&[&str]) -> Repeated) -> Value {
    let mut flattening = Flattening { wanted, path: Vec::new() };
    flattening.item(value)
}

struct Flattening<'a, F> {
    wanted: F,
    path: Vec<&'a str>,
}

impl<'a, F: Fn(&[&str]) -> Repeated> Flattening<'a, F> {
    /// A value that is under no key of its own.
    fn item(&mut self, value: &'a Value) -> Value {
        match value {
            Value::Object(object) => Value::Object(self.merged(&[object])),
            Value::Array(list) => list.iter().map(|it| self.item(it)).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
        }
    }

    fn merged(&mut self, objects: &[&'a Map<String, Value>]) -> Map<String, Value> {
        let mut values: Vec<(&'a String, Vec<&'a Value>)> = Vec::new();
        let mut places = BTreeMap::new();
        for (key, value) in objects.iter().flat_map(|it| it.iter()) {
            let place = *places.entry(key).or_insert(values.len());
            match values.get_mut(place) {
                Some((_, before)) => before.push(value),
                None => values.push((key, vec![value])),
            }
        }
        let mut merged = Map::new();
        for (key, values) in values {
            self.path.push(key);
            merged.insert(key.clone(), self.under_key(&values));
            self.path.pop();
        }
        merged
    }

    /// What becomes of the values that one key has in the objects that are merged; there is at least one.
    fn under_key(&mut self, values: &[&'a Value]) -> Value {
        let mut items = Vec::new();
        for value in values {
            match value {
                Value::Array(list) => items.extend(list),
                _ => items.push(value),
            }
        }
        let objects: Vec<_> = items.iter().filter_map(|it| it.as_object()).collect();
        if !objects.is_empty() && objects.len() == items.len() {
            return match (self.wanted)(&self.path) {
                Repeated::Merged => Value::Object(self.merged(&objects)),
                Repeated::Listed => {
                    objects.iter().map(|it| Value::Object(self.merged(&[it]))).collect()
                }
            };
        }
        if values.iter().any(|it| it.is_array()) {
            return items.into_iter().map(|it| self.item(it)).collect();
        }
        values.last().map_or(Value::Null, |it| self.item(it))
    }
}
