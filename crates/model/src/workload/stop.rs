use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::duration_ns;

/// How a copy is stopped: callers are told first, then it gets a signal, then it is killed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Stop {
    /// Longest wait until every caller has left it, before the signal; 0 s to 1 h.
    #[serde(with = "duration_ns")]
    pub drain_timeout: Duration,
    /// What it is told to end by.
    pub signal: StopSignal,
    /// Longest wait for its end after the signal, before SIGKILL; 0 s to 1 h.
    #[serde(with = "duration_ns")]
    pub grace_period: Duration,
}

impl Default for Stop {
    /// 10 s for each, as docker stop has it.
    fn default() -> Self {
        let (drain_timeout, grace_period) = (Duration::from_secs(10), Duration::from_secs(10));
        Self { drain_timeout, signal: StopSignal::default(), grace_period }
    }
}

/// A signal that asks a process to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)] // The names are POSIX's.
pub enum StopSignal {
    SigHup,
    SigInt,
    SigQuit,
    SigKill,
    SigUsr1,
    SigUsr2,
    #[default]
    SigTerm,
    SigWinch,
}

impl StopSignal {
    /// All of them, by number.
    pub const ALL: [StopSignal; 8] = [
        StopSignal::SigHup,
        StopSignal::SigInt,
        StopSignal::SigQuit,
        StopSignal::SigKill,
        StopSignal::SigUsr1,
        StopSignal::SigUsr2,
        StopSignal::SigTerm,
        StopSignal::SigWinch,
    ];

    /// The name, for example `SIGTERM`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            StopSignal::SigHup => "SIGHUP",
            StopSignal::SigInt => "SIGINT",
            StopSignal::SigQuit => "SIGQUIT",
            StopSignal::SigKill => "SIGKILL",
            StopSignal::SigUsr1 => "SIGUSR1",
            StopSignal::SigUsr2 => "SIGUSR2",
            StopSignal::SigTerm => "SIGTERM",
            StopSignal::SigWinch => "SIGWINCH",
        }
    }

    /// The signal of a name, with or without `SIG`, in any letter case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let is = |it: &StopSignal| {
            let full = it.as_str();
            full.eq_ignore_ascii_case(name) || full["SIG".len()..].eq_ignore_ascii_case(name)
        };
        Self::ALL.into_iter().find(is)
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
