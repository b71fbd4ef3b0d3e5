use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::record::{Reason, Record};
use crate::evidence::Counts;

/// Number of a release of one workload, from 1 up.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ReleaseId(pub u64);

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Name of a copy: its release and its place in it. Starting a copy that is there is no act, so that an action that is given
/// twice, or again after a crash, does not double it. Written `3-0`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CopyId {
    /// Its release.
    pub release: ReleaseId,
    /// Its place, from 0 up.
    pub slot: u32,
}

impl fmt::Display for CopyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.release, self.slot)
    }
}

impl From<CopyId> for String {
    fn from(id: CopyId) -> Self {
        id.to_string()
    }
}

impl FromStr for CopyId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (release, slot) = text.split_once('-')?;
            Some(Self { release: ReleaseId(release.parse().ok()?), slot: slot.parse().ok()? })
        };
        parse().ok_or_else(|| format!("not the name of a copy: {text}"))
    }
}

impl TryFrom<String> for CopyId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// How far a copy is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Its process is being started, or waits for a restart in place.
    Starting,
    /// It runs; its checks do not pass (yet, or any more).
    Checking,
    /// Its checks pass, and it may be used.
    Ready,
    /// It is marked draining: no proxy that has this uses it for new requests.
    Draining,
    /// Its process was told to end.
    Stopping,
    /// It ended and is not restarted: held, or its policy says so.
    Failed,
    /// Its process is gone, and nobody will start it.
    Stopped,
}

/// A copy as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Copy {
    /// Which.
    pub id: CopyId,
    /// How far.
    pub phase: Phase,
    /// How often its process ended by itself since the copy was made.
    pub crashes: u32,
    /// Proxies that use it and have not yet acknowledged the configuration that has it as it is now: with it if it is ready,
    /// without it if it drains. Who is gone does not count.
    pub unacknowledged: Vec<String>,
    /// Requests under way at it, over all proxies.
    pub in_flight: u64,
    /// What it or its check said last, for reasons.
    pub output: String,
}

/// How requests are divided between releases.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Split {
    /// Percent by release; who is not named gets none. They sum up to 100.
    Weights(BTreeMap<ReleaseId, u32>),
    /// Every copy of these releases alike; who is not named gets none.
    ByCopies(BTreeSet<ReleaseId>),
}

impl Split {
    /// Everything to one release.
    #[must_use]
    pub fn all(release: ReleaseId) -> Self {
        Self::Weights(BTreeMap::from([(release, 100)]))
    }

    /// Whether the release gets requests.
    #[must_use]
    pub fn serves(&self, release: ReleaseId) -> bool {
        match self {
            Self::Weights(weights) => weights.get(&release).is_some_and(|it| *it > 0),
            Self::ByCopies(releases) => releases.contains(&release),
        }
    }
}

/// Counters of one proxy by release, as it has them since it started.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ReleaseReport {
    /// Which proxy.
    pub proxy: String,
    /// By release.
    pub counts: BTreeMap<ReleaseId, Counts>,
}

/// What is, as far as it can be seen now.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Observed {
    /// All copies; who is missing does not exist. For a workload that is not supervised: the registered instances.
    pub copies: Vec<Copy>,
    /// The split that the proxies are told; `None` before the first.
    pub split: Option<Split>,
    /// Proxies that have not yet acknowledged it.
    pub split_unacknowledged: Vec<String>,
    /// Counters that came; a proxy that is missing is not heard of.
    pub reports: Vec<ReleaseReport>,
}

/// What to do. Actions are given again until [`Observed`] shows that they are done; doing one twice does no harm.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Start the copy unless it is there.
    StartCopy(CopyId),
    /// Mark it draining, so that the proxies stop using it.
    Drain(CopyId),
    /// Take the mark off again: it is needed.
    Undrain(CopyId),
    /// Signal its process (and kill it after its grace), and do not restart it. Its log is kept.
    Stop(CopyId),
    /// Divide requests so.
    SetSplit(Split),
    /// Say it (given once).
    Note(Note),
    /// A rollout has ended; it is in the history, too (given once).
    Finish(Box<Record>),
}

/// Something that an operator would ask about.
#[derive(Clone, PartialEq, Debug)]
pub enum Note {
    /// A rollout to this release has begun.
    Began(ReleaseId),
    /// The proxies have the weight of a step.
    StepReached {
        /// Which, from 0 up.
        step: usize,
        /// Percent of requests of the new release.
        weight_percent: u32,
    },
    /// The new release is being taken back.
    RollingBack(Reason),
    /// These proxies did not acknowledge in time and are passed.
    NotAcknowledged {
        /// The copy that it was about; `None`: the split.
        copy: Option<CopyId>,
        /// Who.
        proxies: Vec<String>,
    },
    /// Requests were still under way at the deadline.
    CutShort {
        /// At which copy.
        copy: CopyId,
        /// How many.
        in_flight: u64,
    },
    /// There was too little traffic for a verdict; checks and time decided.
    LittleTraffic {
        /// Requests of the new release.
        requests: u64,
    },
    /// What was held is well again.
    Recovered(ReleaseId),
}
