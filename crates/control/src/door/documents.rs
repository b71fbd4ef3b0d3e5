//! `/leno/v1/apply`, `/leno/v1/delete` and `/leno/v1/documents`.
//!
//! Apply and delete take `{"files":[{"source":"web.yaml","text":"…"}]}` and work on all files or on none.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Response, StatusCode};
use model::{Catalog, Diagnostic, Document, DocumentKey, Severity, Spec};
use registry::Command;
use serde::{Deserialize, Serialize};

use super::{Door, reply};
use crate::documents::{Reading, read_all, read_keys};
use crate::guards::{GuardNote, GuardReport};
use crate::manifest_folder::SOURCE_PREFIX;
use crate::workloads::{unenforced, unknown};

const JSON: &str = "application/json";

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
        let Files { files, guard } = match parse(body) {
            Ok(files) => files,
            Err(error) => return report(StatusCode::BAD_REQUEST, vec![error]),
        };
        let Reading { documents, errors } =
            read_all(files.iter().map(|file| (file.source.as_str(), file.text.as_str())));
        if !errors.is_empty() {
            return report(StatusCode::BAD_REQUEST, errors);
        }
        let before = self.mesh.catalog();
        let rivals = manifests::find_rivals(&documents, before.documents().map(|it| &it.value));
        if !rivals.is_empty() {
            return report(StatusCode::CONFLICT, rivals);
        }
        let owned = self.owned_by_folder(&before, documents.iter().map(|it| &it.key));
        if !owned.is_empty() {
            return report(StatusCode::CONFLICT, owned);
        }
        let results: Vec<&str> = documents.iter().map(|it| result_of(&before, it)).collect();
        let wanted: BTreeMap<DocumentKey, Option<Document>> =
            documents.iter().map(|it| (it.key.clone(), Some(it.clone()))).collect();
        let guarding = match self.guard(&before, wanted, guard.as_deref()).await {
            Ok(guarding) => guarding,
            Err(error) => return report(StatusCode::CONFLICT, vec![error]),
        };
        let outcome = self.run(Command::ApplyDocuments(documents.clone())).await;
        let failure = failure(&outcome);
        self.settle(&guarding, failure.is_none()).await;
        if let Some(failure) = failure {
            return failure;
        }
        let revision = self.mesh.catalog().revision();
        self.compilation.reached(revision).await;
        if documents.iter().any(|it| matches!(it.spec, Spec::Workload(_))) {
            // An order to it may follow.
            self.workloads.reached(revision).await;
        }
        let rows = documents.iter().zip(results).map(|(it, result)| self.row(it, result));
        let mut rows: Vec<DocumentRow> = rows.collect();
        let guards = self.note_guard(&guarding, &mut rows);
        done(rows, guards)
    }

    pub(super) async fn delete_documents(&self, body: &Bytes) -> Response<Bytes> {
        let Files { files, guard } = match parse(body) {
            Ok(files) => files,
            Err(error) => return report(StatusCode::BAD_REQUEST, vec![error]),
        };
        let (keys, errors) =
            read_keys(files.iter().map(|file| (file.source.as_str(), file.text.as_str())));
        if !errors.is_empty() {
            return report(StatusCode::BAD_REQUEST, errors);
        }
        let before = self.mesh.catalog();
        let owned = self.owned_by_folder(&before, &keys);
        if !owned.is_empty() {
            return report(StatusCode::CONFLICT, owned);
        }
        let wanted = keys.iter().map(|key| (key.clone(), None)).collect();
        let guarding = match self.guard(&before, wanted, guard.as_deref()).await {
            Ok(guarding) => guarding,
            Err(error) => return report(StatusCode::CONFLICT, vec![error]),
        };
        let outcome = self.run(Command::DeleteDocuments(keys.clone())).await;
        let failure = failure(&outcome);
        self.settle(&guarding, failure.is_none()).await;
        if let Some(failure) = failure {
            return failure;
        }
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
            diagnostics.extend(unenforced(&spec.limits));
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

fn parse(body: &Bytes) -> Result<Files, Diagnostic> {
    serde_json::from_slice(body).map_err(|error| Diagnostic {
        severity: Severity::Error,
        place: model::Place::default(),
        field: String::new(),
        message: format!(
            "the request body is not {{\"files\":[{{\"source\",\"text\"}}]}}: {error}"
        ),
        remedy: "use `leno apply -f`".into(),
    })
}

fn failure(outcome: &api::WriteOutcome) -> Option<Response<Bytes>> {
    let text = match outcome {
        api::WriteOutcome::Done(..) => return None,
        api::WriteOutcome::Rejected(rejection) => rejection.to_string(),
        api::WriteOutcome::Failed(text) => text.clone(),
    };
    let error = Diagnostic {
        severity: Severity::Error,
        place: model::Place::default(),
        field: String::new(),
        message: text,
        remedy: String::new(),
    };
    Some(report(StatusCode::INTERNAL_SERVER_ERROR, vec![error]))
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
