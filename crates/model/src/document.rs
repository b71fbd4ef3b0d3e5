use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Spec;

/// Identity of a declared document.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct DocumentKey {
    /// API group without the version; empty for Kubernetes' core group. All Ingress versions share
    /// `networking.k8s.io`, so that applying a newer version replaces the older.
    pub group: String,
    /// Kind, for example `Service`.
    pub kind: String,
    /// Namespace; `default` when the document gives none; empty for what is in none.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for DocumentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)?;
        if self.namespace.is_empty() {
            return Ok(());
        }
        write!(f, " in namespace {}", self.namespace)
    }
}

/// A document as it was declared, with what became of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Document {
    /// Identity.
    pub key: DocumentKey,
    /// `apiVersion` as written.
    pub api_version: String,
    /// The whole document as written, as JSON; the values of a secret are left out.
    pub body: Value,
    /// What it asks for, in our own words.
    pub spec: Spec,
    /// What was not honored, field by field; empty when all was.
    pub diagnostics: Vec<Diagnostic>,
    /// Where it came from: a file, `stdin`, or empty.
    pub source: String,
    /// Line of its source that it starts on, from 1; 0 when it is not known.
    #[serde(default)]
    pub line: u32,
}

impl Document {
    /// Whether both ask for the same, wherever they come from and whatever was found about them. Of a secret the body does
    /// not hold all.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.body == other.body && self.spec == other.spec
    }

    /// [`Self::says_the_same`] of two that may not be there.
    #[must_use]
    pub fn say_the_same(one: Option<&Self>, other: Option<&Self>) -> bool {
        match (one, other) {
            (Some(one), Some(other)) => one.says_the_same(other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

/// A document before and after a change of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DocumentChange {
    /// Its identity.
    pub key: DocumentKey,
    /// As it was; `None` when it was not there.
    pub before: Option<Document>,
    /// As it was made; `None` when it was deleted.
    pub after: Option<Document>,
}

/// One finding about a document, request or file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Where, as far as it is known.
    pub place: Place,
    /// Path of the field, for example `spec.rules[0].http.paths[1].backend`; empty for the whole.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it; empty when there is nothing to do.
    pub remedy: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.file.is_empty() {
            write!(f, "{}", self.place.file)?;
            if self.place.line > 0 {
                write!(f, ":{}", self.place.line)?;
            }
            f.write_str(": ")?;
        } else if self.place.line > 0 {
            write!(f, "line {}: ", self.place.line)?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)?;
        if !self.remedy.is_empty() {
            write!(f, " ({})", self.remedy)?;
        }
        Ok(())
    }
}

/// How bad a [`Diagnostic`] is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The field is not honored; nothing else suffers.
    Ignored,
    /// The field is honored in a way that differs from what was written.
    Approximated,
    /// Nothing of the document can be used.
    Error,
}

/// A place in a text.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Place {
    /// File as the user named it; empty when it is not known.
    pub file: String,
    /// Line from 1; 0 when it is not known.
    pub line: u32,
}
