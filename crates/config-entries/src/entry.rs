use model::ConfigEntry;
use serde_json::{Map, Value};

use crate::kinds;
use crate::normalize::normalize;
use crate::schema::{self, Unreadable};

/// Fields that clients write back as they read them, and that are ours to say.
const OURS: &[&str] = &["CreateIndex", "ModifyIndex", "Hash"];

/// Why a body is no entry.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadError {
    /// It is no object.
    #[error("json: cannot unmarshal {0} into Go value of type map[string]interface {{}}")]
    NotAnObject(&'static str),
    /// It does not say its kind.
    #[error("Payload does not contain a kind/Kind key at the top level")]
    KindMissing,
    /// What stands for its kind is no text.
    #[error("Kind value in payload is not a string")]
    KindNotText,
    /// There is no such kind.
    #[error("{0}")]
    UnknownKind(String),
    /// Fields that the kind does not have.
    #[error("{}", unknown_keys(.0))]
    UnknownFields(Vec<String>),
    /// Values of another type.
    #[error("{} error(s) decoding:\n\n{}", .0.len(), bullets(.0))]
    Mismatches(Vec<String>),
}

fn bullets(lines: &[String]) -> String {
    let lines: Vec<String> = lines.iter().map(|it| format!("* {it}")).collect();
    lines.join("\n")
}

/// In the form of Go's `multierror`.
fn unknown_keys(paths: &[String]) -> String {
    let errors =
        if paths.len() == 1 { "1 error".to_owned() } else { format!("{} errors", paths.len()) };
    let lines: Vec<String> = paths
        .iter()
        .map(|path| {
            let key = model::go::quote(path);
            let last = path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
            let why = match last.as_str() {
                "namespace" => ", namespaces are a consul enterprise feature",
                "partition" => ", partitions are a consul enterprise feature",
                _ => "",
            };
            format!("\t* invalid config key {key}{why}\n")
        })
        .collect();
    format!("{errors} occurred:\n{}\n", lines.concat())
}

/// Reads an entry that a client wrote, and completes it with what follows from what it says.
///
/// # Errors
/// When it is none, or says what its kind has no words for.
pub fn read(body: &Value) -> Result<ConfigEntry, ReadError> {
    let Value::Object(object) = body else {
        return Err(ReadError::NotAnObject(type_of(body)));
    };
    let kind = object.get("Kind").or_else(|| object.get("kind")).ok_or(ReadError::KindMissing)?;
    let Value::String(kind) = kind else { return Err(ReadError::KindNotText) };
    let kind = kinds::find(kind).map_err(ReadError::UnknownKind)?;
    let is_named = kind.schema.fields.iter().any(|it| it.name == "Name");
    let skips: Vec<&str> = OURS.iter().copied().chain((!is_named).then_some("Name")).collect();
    let mut fields = schema::read(kind.schema, object, &skips).map_err(
        |Unreadable { unknown, mismatches }| {
            if mismatches.is_empty() {
                ReadError::UnknownFields(unknown)
            } else {
                ReadError::Mismatches(mismatches)
            }
        },
    )?;
    let given = fields.get("Name").and_then(Value::as_str).unwrap_or_default();
    let name = match (given, kind.only) {
        ("", Some(only)) => only.to_owned(),
        (given, _) => given.to_owned(),
    };
    fields.insert("Kind".to_owned(), Value::String(kind.name.to_owned()));
    if is_named {
        fields.insert("Name".to_owned(), Value::String(name.clone()));
    }
    normalize(kind.name, &name, &mut fields);
    let body = Value::Object(schema::show(kind.schema, &fields));
    Ok(ConfigEntry { kind: kind.name.to_owned(), name, body })
}

/// The fields of an entry as they are shown; empty for a body that is none.
#[must_use]
pub fn shown_body(entry: &ConfigEntry) -> &Map<String, Value> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    entry.body.as_object().unwrap_or(&NONE)
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
