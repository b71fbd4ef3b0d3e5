use std::fmt;

use model::Timestamp;
use serde::{Deserialize, Serialize};

use super::observed::{CopyId, ReleaseId};
use super::spec::Spec;
use crate::evidence::{Figures, Regression};

/// One version of a workload.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Release {
    /// Its number.
    pub id: ReleaseId,
    /// What operators call it.
    pub version: String,
    /// Equal for equal commands, environments and files: a start with the fingerprint that runs is none.
    pub fingerprint: String,
    /// How it is run.
    pub spec: Spec,
}

/// Why a rollout did not go on.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Reason {
    /// The proxies' counters say that it is worse.
    Worse {
        /// By what.
        by: Regression,
        /// The figures.
        figures: Box<Figures>,
    },
    /// Its processes end.
    Crashed {
        /// The copy that ended last seen.
        copy: CopyId,
        /// Ends of all its copies since the rollout began.
        crashes: u32,
        /// What it said last.
        output: String,
    },
    /// A check did not pass within its deadline.
    NeverReady {
        /// Of which copy.
        copy: CopyId,
        /// Milliseconds that were waited.
        waited_ms: u64,
        /// What it said last.
        output: String,
    },
    /// There was too little traffic, and the spec says to go back then.
    LittleTraffic {
        /// Requests of the new release.
        requests: u64,
    },
    /// It did not end in time.
    NoProgress,
    /// A newer release came.
    Superseded(ReleaseId),
    /// An operator said so.
    Undone,
    /// The workload is removed.
    Removed,
}

impl Reason {
    /// The reason in words, where copies are called `prefix` with what they are called here behind it, as `web-3-0`.
    #[must_use]
    pub fn text(&self, prefix: &str) -> String {
        match self {
            Self::Worse { by, figures } => format!("{by}: {figures}"),
            Self::Crashed { copy, crashes, output } => {
                format!("{prefix}{copy} ended ({crashes} ends in all): {output}")
            }
            Self::NeverReady { copy, waited_ms, output } => {
                let seconds = *waited_ms as f64 / 1000.0;
                format!("the check of {prefix}{copy} did not pass within {seconds} s: {output}")
            }
            Self::LittleTraffic { requests } => {
                format!("{requests} requests are too few for a verdict")
            }
            Self::NoProgress => "it did not end within its deadline".into(),
            Self::Superseded(by) => format!("release {by} came"),
            Self::Undone => "an operator undid it".into(),
            Self::Removed => "the workload is removed".into(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text("copy "))
    }
}

/// How a rollout ended.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// The new release is the good one.
    Promoted,
    /// The old release serves again, alone.
    RolledBack(Reason),
    /// The new release is bad, and there is no old one, or it could not be restored in time. What serves is left serving.
    Held(Reason),
}

/// A rollout that has ended.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// What was rolled out.
    pub release: Release,
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// How.
    pub outcome: Outcome,
    /// What was counted meanwhile.
    pub figures: Figures,
    /// What spoke for it, where it was promoted.
    #[serde(default)]
    pub grounds: Grounds,
}

/// What a release was promoted on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Grounds {
    /// It was not promoted, there was nothing to compare it with, or it was written down by a version that did not say.
    #[default]
    Unknown,
    /// Its requests went as well as those of the release before.
    Requests,
    /// There were too few requests to compare: its checks passed, and the time was over.
    Checks,
    /// An operator said so.
    Order,
}
