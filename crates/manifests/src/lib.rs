//! # manifests: the doors where operators declare
//!
//! Reads YAML or JSON as a Kubernetes cluster would and turns it into [`Document`]s: each with what it asks for in our
//! own words ([`model::Spec`]), the whole text as JSON, and a [`Diagnostic`] for every field that is not honored.
//!
//! Also turns files of other supervisors into such documents, as text ([`import`]).
//!
//! *May touch:* nothing; a text comes in. *Does not know:* files, sockets, the catalog, what routes come of it.
//!
//! Invariants:
//! * No field is dropped silently: whoever reads a map names the fields that he honors, and the rest is reported.
//! * If one document is wrong nothing of the text is given out for applying: [`Reading::errors`] is not empty.
//! * The values of a secret are in its spec and nowhere else, not in the body and not in a diagnostic.
//! * Input is bounded: 4 MiB, 48 levels, 20,000 documents, 50,000 values from aliases.
//! * Documents do not refer to each other here, so they can be applied in any order; the compiler reports what a
//!   reference does not find. [`find_circles`] alone looks at several.

mod dependencies;
mod fields;
pub mod import;
mod ingress;
mod metadata;
mod node;
mod reference;
mod rollout;
mod secret;
mod service;
mod values;
mod workload;

use std::collections::BTreeMap;

use model::{Diagnostic, Document, DocumentKey, Spec};

pub use crate::dependencies::find_circles;
use crate::fields::{Field, Fields, Report};
use crate::metadata::Metadata;
use crate::node::Node;

/// What a text declares.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Reading {
    /// The documents in the order written, each with its diagnostics.
    pub documents: Vec<Document>,
    /// What is wrong, with file and line. If there is anything, nothing may be applied.
    pub errors: Vec<Diagnostic>,
}

/// The documents that a text names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Keys {
    /// Identities in the order written, each once.
    pub keys: Vec<DocumentKey>,
    /// Documents whose identity cannot be read.
    pub errors: Vec<Diagnostic>,
}

/// Bytes as documents have them: `512Mi`.
#[must_use]
pub fn bytes_text(bytes: u64) -> String {
    values::binary(bytes)
}

/// Reads all documents of `text`. `source` is the name of the text for people, for example its file; `-` is standard
/// input, and called so.
#[must_use]
pub fn read(text: &str, source: &str) -> Reading {
    let mut reading = Reading::default();
    let mut lines: BTreeMap<DocumentKey, u32> = BTreeMap::new();
    each_document(text, source, &mut reading.errors, |root, report| {
        let document = read_document(root, report)?;
        if let Some(line) = lines.insert(document.key.clone(), root.at.line) {
            let message = format!("{} is declared twice, first on line {line}", document.key);
            report.error(&root.at, message, "keep one of the two");
        }
        reading.documents.push(document);
        Some(reading.documents.len() - 1)
    })
    .into_iter()
    .for_each(|(idx, diagnostics)| reading.documents[idx].diagnostics = diagnostics);
    reading
}

/// Reads only the identities of the documents in `text`, which may otherwise be wrong: for `get -f` and `delete -f`.
#[must_use]
pub fn parse_keys(text: &str, source: &str) -> Keys {
    let mut keys = Keys::default();
    each_document(text, source, &mut keys.errors, |root, report| {
        let mut fields = root.fields(report)?;
        let kind = Kind::read(&mut fields, report)?;
        let metadata = Metadata::read(&mut fields, kind, report)?;
        if !keys.keys.contains(&metadata.key) {
            keys.keys.push(metadata.key);
        }
        None
    });
    keys
}

/// Runs `visit` for each document, with those of a `List` unwrapped. Errors are added to `errors`; what was not
/// honored is returned with the index that `visit` gave.
fn each_document(
    text: &str,
    source: &str,
    errors: &mut Vec<Diagnostic>,
    mut visit: impl FnMut(&Field<'_>, &mut Report<'_>) -> Option<usize>,
) -> Vec<(usize, Vec<Diagnostic>)> {
    let source = source_name(source);
    let nodes = match node::parse(text, source) {
        Ok(nodes) => nodes,
        Err(error) => {
            errors.push(error);
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    let mut waiting: Vec<Field<'_>> = nodes.iter().map(|it| Field::root(it, "")).rev().collect();
    while let Some(root) = waiting.pop() {
        let mut report = Report::new(source);
        let mut idx = None;
        if is_list(root.node) {
            let items = read_list(&root, &mut report);
            waiting.extend(items.into_iter().rev());
        } else {
            idx = visit(&root, &mut report);
        }
        let (wrong, rest) = report.finish();
        errors.extend(wrong);
        found.extend(idx.map(|idx| (idx, rest)));
    }
    found
}

/// What a text is called in findings.
fn source_name(source: &str) -> &str {
    if source == "-" { "stdin" } else { source }
}

fn is_list(node: &Node) -> bool {
    let is = |name: &str, word: &str| node.get(name).and_then(Node::text) == Some(word);
    is("apiVersion", "v1") && is("kind", "List")
}

/// The items of a `List`; anything else in it but its own metadata is an error, for no document could tell of it.
fn read_list<'a>(root: &Field<'a>, report: &mut Report<'_>) -> Vec<Field<'a>> {
    let Some(mut fields) = root.fields(report) else { return Vec::new() };
    fields.skip(&["apiVersion", "kind", "metadata"]);
    let items = fields.require("items", report).map(|it| it.items(report)).unwrap_or_default();
    fields.finish_strictly(report);
    items
}

fn read_document(root: &Field<'_>, report: &mut Report<'_>) -> Option<Document> {
    let mut fields = root.fields(report)?;
    let api_version = fields.text("apiVersion", report).unwrap_or_default().to_owned();
    let kind = Kind::read(&mut fields, report)?;
    let mut metadata = Metadata::read(&mut fields, kind, report)?;
    let mut body = root.node.to_json();
    let spec = match kind {
        Kind::Service => Spec::Service(service::read(&mut fields, &mut metadata, report)),
        Kind::Ingress => Spec::Ingress(ingress::read(&mut fields, &mut metadata, report)),
        Kind::Secret => {
            secret::hide(&mut body);
            Spec::Secret(secret::read(&mut fields, report))
        }
        Kind::Workload => Spec::Workload(Box::new(workload::read(&mut fields, &metadata, report))),
        Kind::Rollout => Spec::Rollout(Box::new(rollout::read(&mut fields, report))),
    };
    metadata.annotations.finish(report);
    fields.finish(report);
    let source = report.source().to_owned();
    let (key, line, diagnostics) = (metadata.key, root.at.line, Vec::new());
    Some(Document { key, api_version, body, spec, diagnostics, source, line })
}

/// The kinds of documents that are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Service,
    Ingress,
    Secret,
    Workload,
    Rollout,
}

/// All pairs of `apiVersion` and `kind` that are known.
const KINDS: &[(&str, &str, Kind)] = &[
    ("v1", "Service", Kind::Service),
    ("v1", "Secret", Kind::Secret),
    ("networking.k8s.io/v1", "Ingress", Kind::Ingress),
    ("networking.k8s.io/v1beta1", "Ingress", Kind::Ingress),
    ("extensions/v1beta1", "Ingress", Kind::Ingress),
    ("leno.dev/v1", "Workload", Kind::Workload),
    ("leno.dev/v1", "Rollout", Kind::Rollout),
];

impl Kind {
    fn read(fields: &mut Fields<'_>, report: &mut Report<'_>) -> Option<Self> {
        let version = fields.require("apiVersion", report);
        let kind = fields.require("kind", report);
        let (version, kind) = (version?, kind?);
        let (version_word, kind_word) = (version.text(report), kind.text(report));
        let (version_word, kind_word) = (version_word?, kind_word?);
        let found = KINDS.iter().find(|it| (it.0, it.1) == (version_word, kind_word));
        if found.is_none() {
            let versions: Vec<&str> =
                KINDS.iter().filter(|it| it.1 == kind_word).map(|it| it.0).collect();
            let all: Vec<String> = KINDS.iter().map(|it| format!("{} ({})", it.1, it.0)).collect();
            if versions.is_empty() {
                let message = format!("kind `{kind_word}` of `{version_word}` is not known");
                report.error(&kind.at, message, format!("known are {}, List (v1)", all.join(", ")));
            } else {
                let message = format!("`{version_word}` has no kind `{kind_word}`");
                let remedy = format!("known for {kind_word}: {}", versions.join(", "));
                report.error(&version.at, message, remedy);
            }
        }
        found.map(|it| it.2)
    }

    /// API group of its key and its name.
    pub(crate) fn group_and_name(self) -> (&'static str, &'static str) {
        match self {
            Kind::Service => ("", "Service"),
            Kind::Ingress => ("networking.k8s.io", "Ingress"),
            Kind::Secret => ("", "Secret"),
            Kind::Workload => ("leno.dev", "Workload"),
            Kind::Rollout => ("leno.dev", "Rollout"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // Golden files are files.
mod tests;
