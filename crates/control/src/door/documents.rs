//! `/leno/v1/apply`, `/leno/v1/delete` and `/leno/v1/documents`.
//!
//! Apply and delete take `{"files":[{"source":"web.yaml","text":"…"}]}` and work on all files or on none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::WriteOutcome;
use bytes::Bytes;
use http::{Response, StatusCode};
use model::{Catalog, Diagnostic, Document, DocumentKey, Revision, Severity, Spec};
use registry::{Command, DocumentsChange, Rejection};
use serde::{Deserialize, Serialize};

use super::guarded::{Guarding, asked_window};
use super::{Door, reply};
use crate::documents::{Reading, read_all, read_keys};
use crate::guards::{GuardNote, GuardReport};
use crate::manifest_folder::SOURCE_PREFIX;
use crate::workloads::unknown;

const JSON: &str = "application/json";
/// How often a guarded change is begun before others that change the same documents win.
const TRIES_MAX: usize = 8;

/// What apply and delete take.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Files {
    /// Files, in order.
    pub files: Vec<File>,
    /// How long the change is guarded, in Go's notation, or `off`; without it as the agent is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<String>,
}

/// One file of documents.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct File {
    /// Name for messages: a path, or `-`.
    pub source: String,
    /// YAML or JSON.
    pub text: String,
}

/// What apply, delete and list answer.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct DocumentsReport {
    /// One row for each document.
    pub documents: Vec<DocumentRow>,
    /// Why nothing was done; empty when it was.
    pub errors: Vec<Diagnostic>,
    /// The guard of the change; in a list all that watch and the last that have ended, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<GuardReport>,
}

/// One document and what became of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct DocumentRow {
    /// Identity.
    pub key: DocumentKey,
    /// `apiVersion` as written.
    pub api_version: String,
    /// `created`, `configured`, `unchanged`, `deleted`, `absent`, or empty in a list.
    pub result: String,
    /// What is not honored, and what the compiler found.
    pub diagnostics: Vec<Diagnostic>,
    /// Where it came from.
    pub source: String,
    /// The document as written, values of secrets left out; only in a list.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub body: serde_json::Value,
    /// The guard that watches over it, or did so last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<GuardNote>,
}

impl Door {
    pub(super) fn list_documents(&self) -> Response<Bytes> {
        let catalog = self.mesh.catalog();
        let documents = catalog.documents().map(|document| {
            let (body, guard) = (document.body.clone(), self.guard_note(document));
            DocumentRow { body, guard, ..self.row(document, "") }
        });
        done(documents.collect(), self.guards.reports())
    }

    pub(super) async fn apply_documents(&self, body: &Bytes) -> Response<Bytes> {
        let (files, guard) = match parse(body) {
            Ok(parsed) => parsed,
            Err(error) => return report(StatusCode::BAD_REQUEST, vec![error]),
        };
        let Reading { documents, errors } =
            read_all(files.iter().map(|file| (file.source.as_str(), file.text.as_str())));
        if !errors.is_empty() {
            return report(StatusCode::BAD_REQUEST, errors);
        }
        let change = DocumentsChange { put: documents.clone(), ..DocumentsChange::default() };
        let (before, guarding) = match self.change(change, guard).await {
            Ok(made) => made,
            Err(refusal) => return refusal,
        };
        let revision = self.mesh.catalog().revision();
        self.compilation.reached(revision).await;
        if documents.iter().any(|it| matches!(it.spec, Spec::Workload(_) | Spec::Rollout(_))) {
            // An order to it may follow.
            self.workloads.reached(revision).await;
        }
        let rows = documents.iter().map(|it| self.row(it, result_of(&before, it)));
        let mut rows: Vec<DocumentRow> = rows.collect();
        let guards = self.note_guard(&guarding, &mut rows);
        done(rows, guards)
    }

    pub(super) async fn delete_documents(&self, body: &Bytes) -> Response<Bytes> {
        let (files, guard) = match parse(body) {
            Ok(parsed) => parsed,
            Err(error) => return report(StatusCode::BAD_REQUEST, vec![error]),
        };
        let (keys, errors) =
            read_keys(files.iter().map(|file| (file.source.as_str(), file.text.as_str())));
        if !errors.is_empty() {
            return report(StatusCode::BAD_REQUEST, errors);
        }
        let change = DocumentsChange { delete: keys.clone(), ..DocumentsChange::default() };
        let (before, guarding) = match self.change(change, guard).await {
            Ok(made) => made,
            Err(refusal) => return refusal,
        };
        let rows = keys.into_iter().map(|key| {
            let result = if before.document(&key).is_some() { "deleted" } else { "absent" };
            DocumentRow {
                key,
                api_version: String::new(),
                result: result.into(),
                diagnostics: Vec::new(),
                source: String::new(),
                body: serde_json::Value::Null,
                guard: None,
            }
        });
        let mut rows: Vec<DocumentRow> = rows.collect();
        let guards = self.note_guard(&guarding, &mut rows);
        done(rows, guards)
    }

    /// Makes a change, guarded as it is asked or as its kinds are; gives what was there before, too. A guard must know what
    /// its change replaces: when somebody else was faster, all is done again on what there is then.
    async fn change(
        &self,
        mut change: DocumentsChange,
        asked: Option<Duration>,
    ) -> Result<(Arc<Catalog>, Guarding), Response<Bytes>> {
        for _ in 0..TRIES_MAX {
            let before = self.mesh.catalog();
            let put = change.put.iter().map(|it| (it.key.clone(), Some(it.clone())));
            let delete = change.delete.iter().map(|it| (it.clone(), None));
            let wanted: BTreeMap<DocumentKey, Option<Document>> = put.chain(delete).collect();
            let owned = self.owned_by_folder(&before, wanted.keys());
            if !owned.is_empty() {
                return Err(report(StatusCode::CONFLICT, owned));
            }
            let modified = |key: &DocumentKey| before.document(key).map(|it| it.modified);
            let read_at: Vec<(DocumentKey, Revision)> =
                wanted.keys().map(|key| (key.clone(), modified(key).unwrap_or_default())).collect();
            let guarding = self
                .guard(&before, wanted, asked)
                .await
                .map_err(|error| report(StatusCode::CONFLICT, vec![error]))?;
            change.read_at = if guarding.is_watching() { read_at } else { Vec::new() };
            let outcome = self.run(Command::ChangeDocuments(change.clone())).await;
            self.settle(&guarding, matches!(outcome, WriteOutcome::Done(..))).await;
            match outcome {
                WriteOutcome::Done(..) => return Ok((before, guarding)),
                WriteOutcome::Rejected(Rejection::DocumentChanged(_)) => {}
                WriteOutcome::Rejected(Rejection::Rivals(rivals)) => {
                    return Err(report(StatusCode::CONFLICT, rivals));
                }
                WriteOutcome::Rejected(rejection) => return Err(failed(rejection.to_string())),
                WriteOutcome::Failed(text) => return Err(failed(text)),
            }
        }
        let text = "others kept changing the same documents; try again";
        Err(report(StatusCode::CONFLICT, vec![error(text.to_owned())]))
    }

    /// An error for each document that a followed folder declares: a change from elsewhere would be undone with the
    /// folder's next one.
    fn owned_by_folder<'a>(
        &self,
        catalog: &Catalog,
        keys: impl IntoIterator<Item = &'a DocumentKey>,
    ) -> Vec<Diagnostic> {
        if !self.follows_folder {
            return Vec::new();
        }
        let documents = keys.into_iter().filter_map(|key| catalog.document(key));
        let owned =
            documents.filter_map(|it| it.source.strip_prefix(SOURCE_PREFIX).zip(Some(&it.key)));
        owned
            .map(|(file, key)| Diagnostic {
                severity: Severity::Error,
                place: model::Place::default(),
                field: String::new(),
                message: format!("{key} is declared by {file} in the agent's manifest folder"),
                remedy: "change that file".into(),
            })
            .collect()
    }

    fn row(&self, document: &Document, result: &str) -> DocumentRow {
        let mut diagnostics = document.diagnostics.clone();
        diagnostics.extend(self.compilation.diagnostics_of(&document.key));
        if let Spec::Workload(spec) = &document.spec {
            diagnostics.extend(self.workloads.unenforced(&spec.limits));
            diagnostics.extend(unknown(&self.mesh.catalog(), &document.key, spec));
        }
        DocumentRow {
            key: document.key.clone(),
            api_version: document.api_version.clone(),
            result: result.into(),
            diagnostics,
            source: document.source.clone(),
            body: serde_json::Value::Null,
            guard: None,
        }
    }
}

fn result_of(catalog: &Catalog, document: &Document) -> &'static str {
    match catalog.document(&document.key) {
        None => "created",
        Some(existing) if existing.body == document.body => "unchanged",
        Some(_) => "configured",
    }
}

/// The files, and how long their change is asked to be guarded.
fn parse(body: &Bytes) -> Result<(Vec<File>, Option<Duration>), Diagnostic> {
    let Files { files, guard } = serde_json::from_slice(body).map_err(|error| Diagnostic {
        severity: Severity::Error,
        place: model::Place::default(),
        field: String::new(),
        message: format!(
            "the request body is not {{\"files\":[{{\"source\",\"text\"}}]}}: {error}"
        ),
        remedy: "use `leno apply -f`".into(),
    })?;
    Ok((files, asked_window(guard.as_deref())?))
}

fn failed(text: String) -> Response<Bytes> {
    report(StatusCode::INTERNAL_SERVER_ERROR, vec![error(text)])
}

fn error(message: String) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        place: model::Place::default(),
        field: String::new(),
        message,
        remedy: String::new(),
    }
}

fn done(documents: Vec<DocumentRow>, guards: Vec<GuardReport>) -> Response<Bytes> {
    answer(StatusCode::OK, &DocumentsReport { documents, errors: Vec::new(), guards })
}

/// Nothing was done.
fn report(status: StatusCode, errors: Vec<Diagnostic>) -> Response<Bytes> {
    answer(status, &DocumentsReport { errors, ..DocumentsReport::default() })
}

fn answer(status: StatusCode, report: &DocumentsReport) -> Response<Bytes> {
    let body = serde_json::to_string(report).expect("a report has string keys only");
    reply(status, JSON, body)
}
