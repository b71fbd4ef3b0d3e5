//! Changes of documents that are guarded.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use model::{Catalog, Diagnostic, Document, DocumentChange, DocumentKey, Severity};

use super::Door;
use super::documents::DocumentRow;
use super::workloads::{Parameters, json};
use crate::guards::{GuardNote, GuardReport, parse_window};
use crate::manifest_folder::SOURCE_PREFIX;

/// Why what is rolled out is left to that.
const OF_ROLLOUTS: &str = "not guarded: its rollout judges its versions by itself";
/// Why the documents of a folder are.
const OF_FOLDER: &str = "not guarded: it is as its file in the manifest folder says";

/// How long a change is asked to be guarded.
///
/// # Errors
/// What is wrong with the words for it.
pub(super) fn asked_window(guard: Option<&str>) -> Result<Option<Duration>, Diagnostic> {
    guard.map(parse_window).transpose().map_err(wrong)
}

fn wrong(message: String) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        place: model::Place::default(),
        field: "guard".to_owned(),
        message,
        remedy: "apply it with another guard, or with `--guard off`".to_owned(),
    }
}

/// The guard of a change.
pub(super) struct Guarding {
    /// Its number; `None` when nothing of the change is guarded.
    id: Option<u64>,
    /// It was asked for, rather than being what goes without saying.
    is_asked: bool,
    /// Why it is not guarded though it should be.
    obstacle: Option<String>,
}

impl Guarding {
    /// Whether a guard watches over something of the change.
    pub(super) fn is_watching(&self) -> bool {
        self.id.is_some()
    }
}

impl Door {
    /// All guards that watch and the last that have ended, or one of them: none when it is forgotten.
    pub(super) fn list_guards(&self, request: &Request<Bytes>) -> Response<Bytes> {
        match Parameters::of(request).number("id") {
            Ok(None) => json(&self.guards.reports()),
            Ok(Some(id)) => json(&self.guards.report(id).as_slice()),
            Err(refused) => refused.into(),
        }
    }

    /// Guards what `wanted` makes other than it is, as long as it is `asked` or its kind is guarded.
    ///
    /// # Errors
    /// Why it cannot be guarded though that is asked for; then it must not be made.
    pub(super) async fn guard(
        &self,
        before: &Catalog,
        wanted: BTreeMap<DocumentKey, Option<Document>>,
        asked: Option<Duration>,
    ) -> Result<Guarding, Diagnostic> {
        let window_of = |kind: &str| asked.unwrap_or_else(|| self.guard_defaults.of(kind));
        let mut window = Duration::ZERO;
        let mut changes = Vec::new();
        for (key, after) in wanted {
            let stored = before.document(&key).map(|it| it.value.clone());
            let own = window_of(&key.kind);
            let is_same = Document::say_the_same(stored.as_ref(), after.as_ref());
            if !own.is_zero() && !is_rolled_out(&key.kind) && !is_same {
                window = window.max(own);
                changes.push(DocumentChange { key, before: stored, after });
            }
        }
        let is_asked = asked.is_some_and(|it| !it.is_zero());
        if changes.is_empty() {
            return Ok(Guarding { id: None, is_asked, obstacle: None });
        }
        match self.guards.begin(changes, window).await {
            Ok(id) => Ok(Guarding { id: Some(id), is_asked, obstacle: None }),
            Err(why) if is_asked => Err(wrong(why)),
            // Nobody has asked for it: the change goes before.
            Err(why) => {
                tracing::warn!(why, "a change is not guarded");
                Ok(Guarding { id: None, is_asked, obstacle: Some(why) })
            }
        }
    }

    /// Tells the guard what became of the change.
    pub(super) async fn settle(&self, guarding: &Guarding, is_made: bool) {
        if let Some(id) = guarding.id {
            self.guards.settle(id, is_made).await;
        }
    }

    /// Adds to the rows of a change what is to be said of its guard, and gives its report.
    pub(super) fn note_guard(
        &self,
        guarding: &Guarding,
        rows: &mut [DocumentRow],
    ) -> Vec<GuardReport> {
        for row in rows.iter_mut() {
            if let Some(why) = &guarding.obstacle {
                row.guard = Some(GuardNote::none(&format!("not guarded: {why}")));
            } else if guarding.is_asked && is_rolled_out(&row.key.kind) {
                row.guard = Some(GuardNote::none(OF_ROLLOUTS));
            }
        }
        guarding.id.and_then(|id| self.guards.report(id)).into_iter().collect()
    }

    /// What is to be said of a document's guard in a list.
    pub(super) fn guard_note(&self, document: &Document) -> Option<GuardNote> {
        let is_of_folder = document.source.starts_with(SOURCE_PREFIX);
        if is_of_folder && !self.guard_defaults.of(&document.key.kind).is_zero() {
            return Some(GuardNote::none(OF_FOLDER));
        }
        self.guards.note_of(document)
    }
}

/// Whether such documents are followed by rollouts, which judge what they bring.
fn is_rolled_out(kind: &str) -> bool {
    ["Workload", "Rollout"].contains(&kind)
}
