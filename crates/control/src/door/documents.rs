//! `/leno/v1/apply`, `/leno/v1/delete` and `/leno/v1/documents`.
//!
//! Apply and delete take `{"files":[{"source":"web.yaml","text":"…"}]}` and work on all files or on none.

use bytes::Bytes;
use http::{Response, StatusCode};
use model::{Catalog, Diagnostic, Document, DocumentKey, Severity, Spec};
use registry::Command;
use serde::{Deserialize, Serialize};

use super::{Door, reply};
use crate::documents::{Reading, read_all, read_keys};
use crate::manifest_folder::SOURCE_PREFIX;
use crate::workloads::unenforced;

const JSON: &str = "application/json";

/// What apply and delete take.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Files {
    /// Files, in order.
    pub files: Vec<File>,
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
}

impl Door {
    pub(super) fn list_documents(&self) -> Response<Bytes> {
        let catalog = self.mesh.catalog();
        let documents = catalog.documents().map(|document| {
            let body = document.body.clone();
            DocumentRow { body, ..self.row(document, "") }
        });
        report(StatusCode::OK, documents.collect(), Vec::new())
    }

    pub(super) async fn apply_documents(&self, body: &Bytes) -> Response<Bytes> {
        let files = match parse(body) {
            Ok(files) => files,
            Err(error) => return report(StatusCode::BAD_REQUEST, Vec::new(), vec![error]),
        };
        let Reading { documents, errors } =
            read_all(files.iter().map(|file| (file.source.as_str(), file.text.as_str())));
        if !errors.is_empty() {
            return report(StatusCode::BAD_REQUEST, Vec::new(), errors);
        }
        let before = self.mesh.catalog();
        let rivals = manifests::find_rivals(&documents, before.documents().map(|it| &it.value));
        if !rivals.is_empty() {
            return report(StatusCode::CONFLICT, Vec::new(), rivals);
        }
        let owned = self.owned_by_folder(&before, documents.iter().map(|it| &it.key));
        if !owned.is_empty() {
            return report(StatusCode::CONFLICT, Vec::new(), owned);
        }
        let results: Vec<&str> = documents.iter().map(|it| result_of(&before, it)).collect();
        let outcome = self.run(Command::ApplyDocuments(documents.clone())).await;
        if let Some(failure) = failure(&outcome) {
            return failure;
        }
        let revision = self.mesh.catalog().revision();
        self.compilation.reached(revision).await;
        if documents.iter().any(|it| matches!(it.spec, Spec::Workload(_))) {
            // An order to it may follow.
            self.workloads.reached(revision).await;
        }
        let rows = documents.iter().zip(results).map(|(it, result)| self.row(it, result));
        report(StatusCode::OK, rows.collect(), Vec::new())
    }

    pub(super) async fn delete_documents(&self, body: &Bytes) -> Response<Bytes> {
        let files = match parse(body) {
            Ok(files) => files,
            Err(error) => return report(StatusCode::BAD_REQUEST, Vec::new(), vec![error]),
        };
        let (keys, errors) =
            read_keys(files.iter().map(|file| (file.source.as_str(), file.text.as_str())));
        if !errors.is_empty() {
            return report(StatusCode::BAD_REQUEST, Vec::new(), errors);
        }
        let before = self.mesh.catalog();
        let owned = self.owned_by_folder(&before, &keys);
        if !owned.is_empty() {
            return report(StatusCode::CONFLICT, Vec::new(), owned);
        }
        let outcome = self.run(Command::DeleteDocuments(keys.clone())).await;
        if let Some(failure) = failure(&outcome) {
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
            }
        });
        report(StatusCode::OK, rows.collect(), Vec::new())
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
        }
        DocumentRow {
            key: document.key.clone(),
            api_version: document.api_version.clone(),
            result: result.into(),
            diagnostics,
            source: document.source.clone(),
            body: serde_json::Value::Null,
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

fn parse(body: &Bytes) -> Result<Vec<File>, Diagnostic> {
    serde_json::from_slice(body).map(|files: Files| files.files).map_err(|error| Diagnostic {
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
    Some(report(StatusCode::INTERNAL_SERVER_ERROR, Vec::new(), vec![error]))
}

fn report(
    status: StatusCode,
    documents: Vec<DocumentRow>,
    errors: Vec<Diagnostic>,
) -> Response<Bytes> {
    let report = DocumentsReport { documents, errors };
    let body = serde_json::to_string(&report).expect("a report has string keys only");
    reply(status, JSON, body)
}
