//! What is said of guards, and kept of those that have ended.

use model::{Document, DocumentKey};
use serde::{Deserialize, Serialize};

/// A guarded change, and what became of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GuardReport {
    /// Its number, which grows.
    pub id: u64,
    /// How it stands.
    pub state: GuardState,
    /// When the change was made, in milliseconds since 1970.
    pub began_ms: u64,
    /// When it ended; `None` while it watches.
    pub ended_ms: Option<u64>,
    /// How long it watches, in milliseconds.
    pub window_ms: u64,
    /// In words, with figures; empty while it watches.
    pub reason: String,
    /// The documents that were changed.
    pub documents: Vec<GuardedDocument>,
}

/// How a guarded change stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GuardState {
    /// It is being compared with what was before.
    Watching,
    /// What came after it is as good as before.
    Fine,
    /// Nothing was wrong, but there was too little to say that it is as good.
    Undecided,
    /// It was taken back.
    Undone,
    /// A later change of the same documents has taken its place.
    Superseded,
}

impl GuardState {
    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            GuardState::Watching => "watching",
            GuardState::Fine => "fine",
            GuardState::Undecided => "undecided",
            GuardState::Undone => "undone",
            GuardState::Superseded => "superseded",
        }
    }
}

/// A document of a guarded change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GuardedDocument {
    /// Identity.
    pub key: DocumentKey,
    /// What became of it.
    pub now: Guarded,
}

/// What became of a document of a guarded change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Guarded {
    /// It is as the change made it.
    Changed,
    /// It is as it was before.
    Restored,
    /// It was not there before, and is gone again.
    Removed,
    /// Somebody has changed it since, and it was left so.
    Left,
}

/// What a document's status says of a guard.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GuardNote {
    /// The guard; 0 when none watches.
    pub id: u64,
    /// `watching`, `fine`, `undecided`, `undone` or `superseded`, or `none` when none watches.
    pub state: String,
    /// When that was so, in milliseconds since 1970; 0 when none watches.
    pub at_ms: u64,
    /// In words.
    pub text: String,
}

impl GuardNote {
    /// None watches over a document.
    #[must_use]
    pub fn none(why: &str) -> Self {
        Self { id: 0, state: "none".to_owned(), at_ms: 0, text: why.to_owned() }
    }

    pub(super) fn of(report: &GuardReport) -> Self {
        let (at_ms, text) = match report.ended_ms {
            Some(at_ms) => (at_ms, report.reason.clone()),
            None => {
                let seconds = report.window_ms as f64 / 1000.0;
                (
                    report.began_ms,
                    format!("taken back if it makes requests fail within {seconds} s"),
                )
            }
        };
        Self { id: report.id, state: report.state.as_str().to_owned(), at_ms, text }
    }
}

/// A guard that has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Past {
    pub(super) report: GuardReport,
    /// Versions of its documents as it left them, in their order; empty for one that it left gone. What is said of a
    /// document is said as long as it is that one.
    pub(super) versions: Vec<String>,
}

/// The version of what a document says; empty for none.
pub(super) fn version_of(document: Option<&Document>) -> String {
    let said = document.map(|it| (&it.body, &it.spec));
    said.map(|it| proxy_config::content_version(&it)).unwrap_or_default()
}
