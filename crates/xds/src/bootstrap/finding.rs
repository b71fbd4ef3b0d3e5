use std::fmt;

use serde::Serialize;

/// Something about a file that its author should know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Path of the field, for example `static_resources.clusters[0].lb_policy`; empty for the whole file.
    pub path: String,
    /// What is the matter.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}; {}", self.message, self.remedy)
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It is done as written; it may not be what one wants.
    Caution,
    /// It is done in a way that differs from what is written.
    Approximated,
    /// It is not honored; nothing else suffers.
    Ignored,
    /// Nothing of the file can be used.
    Error,
}

impl Severity {
    /// The word for it in output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Caution => "caution",
            Severity::Approximated => "approximated",
            Severity::Ignored => "ignored",
            Severity::Error => "error",
        }
    }
}

/// Why a file cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadError {
    /// It is larger than any honest file.
    #[error("{bytes} bytes are more than the {bytes_max} allowed; split the file")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// Largest size.
        bytes_max: usize,
    },
    /// It is neither YAML nor JSON.
    #[error("line {line}: {message}; correct the {format}")]
    Syntax {
        /// Line from 1; 0 when it is not known.
        line: u64,
        /// What is the matter.
        message: String,
        /// `YAML` or `JSON`.
        format: &'static str,
    },
    /// Fields are wrong.
    #[error("{}", lines(findings))]
    Wrong {
        /// Which, and why, at least one; beside them what else there is to say. Only the errors are in the text.
        findings: Vec<Finding>,
    },
}

fn lines(findings: &[Finding]) -> String {
    let errors = findings.iter().filter(|it| it.severity == Severity::Error);
    errors.map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
