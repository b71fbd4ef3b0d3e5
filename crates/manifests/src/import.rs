//! Files of other supervisors, turned into `Workload` documents.
//!
//! What comes out is text for people to read and change before it is applied. What of the file is not taken over is told
//! field by field.

mod compose;
mod procfile;

use std::collections::BTreeSet;

use model::{Diagnostic, Place, Severity};
use serde_json::{Map, Value, json};

use crate::fields::{At, Report};

pub use compose::compose;
pub use procfile::procfile;

/// What became of a file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Imported {
    /// YAML documents; `None` when the file cannot be read as what it is said to be.
    pub documents: Option<String>,
    /// What was not taken over, or differs, in the order of the lines; of kind [`Severity::Error`] is only what keeps the
    /// documents from being made, or from being applied as they are.
    pub findings: Vec<Diagnostic>,
}

/// The order in which fields are written: what it is, how it runs, how it is found, what becomes of it.
const ORDER: [&str; 17] = [
    "type",
    "command",
    "env",
    "workingDir",
    "user",
    "replicas",
    "port",
    "service",
    "checks",
    "startTimeout",
    "dependsOn",
    "restart",
    "stop",
    "resources",
    "logs",
    "onAgentExit",
    "rollout",
];

/// A `Workload` to write.
struct Draft {
    name: String,
    labels: Map<String, Value>,
    spec: Map<String, Value>,
}

impl Draft {
    fn new(name: String) -> Self {
        Self { name, labels: Map::new(), spec: Map::new() }
    }

    /// Sets a field of the spec, unless there is nothing to set.
    fn set(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.spec.insert(name.to_owned(), value.into());
        }
    }

    /// Sets a field of a map in the spec.
    fn set_in(&mut self, map: &str, name: &str, value: Option<impl Into<Value>>) {
        let Some(value) = value else { return };
        let map = self.spec.entry(map).or_insert_with(|| json!({}));
        if let Value::Object(fields) = map {
            fields.insert(name.to_owned(), value.into());
        }
    }

    fn is_set(&self, name: &str) -> bool {
        self.spec.contains_key(name)
    }

    fn write(mut self) -> String {
        let place = |name: &str| ORDER.iter().position(|it| *it == name).unwrap_or(ORDER.len());
        let mut fields: Vec<(String, Value)> = std::mem::take(&mut self.spec).into_iter().collect();
        fields.sort_by_key(|it| place(&it.0));
        self.spec.extend(fields);
        let mut metadata = Map::new();
        metadata.insert("name".to_owned(), self.name.into());
        if !self.labels.is_empty() {
            metadata.insert("labels".to_owned(), self.labels.into());
        }
        let document = json!({
            "apiVersion": "leno.dev/v1",
            "kind": "Workload",
            "metadata": metadata,
            "spec": self.spec,
        });
        serde_saphyr::to_string(&document).expect("JSON has string keys only and can be written")
    }
}

/// Writes the documents, and tells what keeps them from being applied as they are.
fn finish(drafts: Vec<Draft>, report: Report<'_>) -> Imported {
    let texts: Vec<String> = drafts.into_iter().map(Draft::write).collect();
    let (mut findings, rest) = report.finish();
    findings.extend(rest);
    findings.sort_by_key(|it| it.place.line);
    for text in &texts {
        let reading = crate::read(text, "");
        let name = crate::parse_keys(text, "").keys.first().map(|it| it.name.clone());
        findings.extend(reading.errors.into_iter().map(|error| Diagnostic {
            severity: Severity::Error,
            // Lines of what was written mean nothing to who reads the report.
            place: Place::default(),
            field: format!("Workload/{}: {}", name.as_deref().unwrap_or("?"), error.field),
            ..error
        }));
    }
    Imported { documents: Some(texts.join("---\n")), findings }
}

/// Names that are labels of DNS, each given once.
#[derive(Default)]
struct Names {
    given: BTreeSet<String>,
}

impl Names {
    /// The name of a workload for `written`; `None`, with an error, when another has it.
    fn give(&mut self, written: &str, at: &At, report: &mut Report<'_>) -> Option<String> {
        let name = label(written);
        if name.is_empty() || !self.given.insert(name.clone()) {
            let message = format!("`{written}` makes no name of its own for a workload");
            report.error(at, message, "give it a name of a-z, 0-9 and `-` that no other has");
            return None;
        }
        if name != written {
            let message = format!("`{written}` is called `{name}`: a name is a label of DNS");
            report.approximated(at, message, "");
        }
        Some(name)
    }
}

/// A name as a label of DNS: lower case, and `-` for what may not stand in one. Empty when nothing is left.
fn label(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let allowed = |it: char| if it.is_ascii_alphanumeric() { it } else { '-' };
    let label: String = lower.chars().map(allowed).take(63).collect();
    label.trim_matches('-').to_owned()
}

/// A text that [`model::workload::expand`] makes `text` of.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(it) = rest.next() {
        escaped.push(it);
        if it == '$' && matches!(rest.peek(), Some('$' | '(')) {
            escaped.push('$');
        }
    }
    escaped
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // Golden files are files.
mod tests;
