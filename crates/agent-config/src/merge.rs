use model::{Diagnostic, Place, Severity};
use serde_json::{Map, Value};

/// What one file, or the command line, says.
#[derive(Clone, PartialEq, Debug)]
pub struct Source {
    /// File as the user named it.
    pub name: String,
    /// What is in it: an object.
    pub value: Value,
}

/// Merges sources in their order: of single values the last one counts, lists are joined, objects are merged key by key.
///
/// # Errors
/// A finding for each source that is no object.
pub fn merge(sources: &[Source]) -> Result<Value, Vec<Diagnostic>> {
    let mut merged = Map::new();
    let mut errors = Vec::new();
    for source in sources {
        match &source.value {
            Value::Object(object) => merge_into(&mut merged, object),
            _ => errors.push(Diagnostic {
                severity: Severity::Error,
                place: Place { file: source.name.clone(), line: 0 },
                field: String::new(),
                message: "it holds no object of settings".into(),
                remedy: String::new(),
            }),
        }
    }
    if errors.is_empty() { Ok(Value::Object(merged)) } else { Err(errors) }
}

fn merge_into(merged: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (key, value) in from {
        let name = merged.keys().find(|it| it.eq_ignore_ascii_case(key)).unwrap_or(key).clone();
        let before = merged.remove(&name);
        let value = match value {
            // One alone is one of many, too: those of other sources stay.
            Value::Object(_) if is_list(&name) => Value::Array(vec![value.clone()]),
            _ if is_list(&name) => value.clone(),
            _ => gathered(value),
        };
        merged.insert(name, joined(before, &value));
    }
}

/// Keys whose objects are each one of many. What else HCL gathers in a list of objects is one object, written in parts.
const LISTS: [&str; 7] =
    ["service", "services", "check", "checks", "watches", "segments", "bootstrap"];

fn is_list(name: &str) -> bool {
    LISTS.contains(&name.to_lowercase().as_str())
}

fn gathered(value: &Value) -> Value {
    match value {
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_object) => {
            let mut whole = Map::new();
            for part in items.iter().filter_map(Value::as_object) {
                merge_into(&mut whole, part);
            }
            Value::Object(whole)
        }
        Value::Object(object) => {
            let mut whole = Map::new();
            merge_into(&mut whole, object);
            Value::Object(whole)
        }
        other => other.clone(),
    }
}

fn joined(before: Option<Value>, value: &Value) -> Value {
    match (before, value) {
        (Some(before), Value::Null) => before,
        (Some(Value::Object(mut before)), Value::Object(object)) => {
            merge_into(&mut before, object);
            Value::Object(before)
        }
        (Some(Value::Array(before)), Value::Array(list)) => {
            Value::Array(before.into_iter().chain(list.iter().cloned()).collect())
        }
        _ => value.clone(),
    }
}

/// The source that a setting of the merged whole is from: the last one that has it. `field` is a key, or keys joined by dots
/// as findings have them.
#[must_use]
pub fn source_of<'a>(sources: &'a [Source], field: &str) -> Option<&'a Source> {
    sources.iter().rev().find(|source| has(&source.value, field))
}

fn has(value: &Value, field: &str) -> bool {
    // A key may itself have dots in it.
    let below = |key: &str| match field.get(..key.len()) {
        Some(start) if start.eq_ignore_ascii_case(key) => Some(&field[key.len()..]),
        _ => None,
    };
    match value {
        Value::Object(object) => object.iter().any(|(key, value)| match below(key) {
            Some("") => true,
            Some(rest) => rest.strip_prefix('.').is_some_and(|rest| has(value, rest)),
            None => false,
        }),
        // HCL writes an object as a list, perhaps in parts.
        Value::Array(parts) => parts.iter().filter(|it| it.is_object()).any(|it| has(it, field)),
        _ => false,
    }
}
