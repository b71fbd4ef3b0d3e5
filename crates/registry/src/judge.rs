use std::time::{Duration, Instant};

use model::{CheckDefinition, CheckStatus};

pub use alias::alias_verdict;
pub use cadence::Cadence;
pub use reaper::{REAPER_PERIOD, Reaper, reaps_after};
pub use run::{CheckRun, LastRun};

mod alias;
mod cadence;
mod reaper;
mod run;
#[cfg(test)]
#[allow(clippy::disallowed_methods)] // Some instant is needed to count from.
mod tests;

/// Most bytes of output that are kept of a run (Consul's `check_output_max_size`). A check may only
/// lower it.
const OUTPUT_BYTES_MAX: usize = 4096;

/// Turns results of probes into verdicts, so that one bad (or good) result need not change the
/// verdict.
///
/// The rule is that of Consul's `StatusHandler` (`agent/checks/check.go`): passing and warning
/// results are successes; the verdict follows after `success_before_passing` of them in a row, or
/// after `failures_before_critical` failures in a row; fewer failures, but
/// `failures_before_warning` of them, make a warning. The first result of all applies at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckJudge {
    success_before_passing: u32,
    failures_before_warning: u32,
    failures_before_critical: u32,
    successes: u32,
    failures: u32,
}

impl CheckJudge {
    /// A judge that has seen no result yet, with the thresholds of `definition`.
    #[must_use]
    pub fn new(definition: &CheckDefinition) -> Self {
        let critical = definition.failures_before_critical;
        let warning = definition.failures_before_warning;
        Self {
            success_before_passing: definition.success_before_passing,
            failures_before_warning: if warning == 0 { critical } else { warning },
            failures_before_critical: critical,
            successes: definition.success_before_passing,
            failures: critical,
        }
    }

    /// Failures in a row that would still make the verdict critical; at least 1.
    #[must_use]
    pub fn failures_left(&self) -> u32 {
        self.failures_before_critical.saturating_sub(self.failures).max(1)
    }

    /// Successes in a row that would still make it passing; at least 1.
    #[must_use]
    pub fn successes_left(&self) -> u32 {
        self.success_before_passing.saturating_sub(self.successes).max(1)
    }

    /// Takes the next result and returns the verdict, or `None` when the verdict stays what it was,
    /// with the output that it had.
    pub fn judge(&mut self, result: CheckStatus) -> Option<CheckStatus> {
        match result {
            CheckStatus::Passing | CheckStatus::Warning => {
                self.successes = self.successes.saturating_add(1);
                self.failures = 0;
                (self.successes >= self.success_before_passing).then_some(result)
            }
            CheckStatus::Critical => {
                self.failures = self.failures.saturating_add(1);
                self.successes = 0;
                if self.failures >= self.failures_before_critical {
                    Some(CheckStatus::Critical)
                } else if self.failures >= self.failures_before_warning {
                    Some(CheckStatus::Warning)
                } else {
                    None
                }
            }
        }
    }
}

/// Watches over the heartbeats of one TTL check: it lapses once when they stop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TtlJudge {
    ttl: Duration,
    lapses_at: Option<Instant>,
    last_output: String,
}

impl TtlJudge {
    /// The time starts at `now`, as if a heartbeat without output had come.
    #[must_use]
    pub fn new(ttl: Duration, now: Instant) -> Self {
        Self { ttl, lapses_at: now.checked_add(ttl), last_output: String::new() }
    }

    /// A heartbeat came at `at`; the time starts anew, also after a lapse.
    pub fn handle_heartbeat(&mut self, output: &str, at: Instant) {
        self.lapses_at = at.checked_add(self.ttl);
        output.clone_into(&mut self.last_output);
    }

    /// When it will lapse; `None` after a lapse, or when that is beyond what the clock can express.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.lapses_at
    }

    /// The output of the critical verdict if it has lapsed by `now`: once for each silence.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<String> {
        self.lapses_at.filter(|at| *at <= now)?;
        self.lapses_at = None;
        Some(match self.last_output.as_str() {
            "" => "TTL expired".into(),
            output => format!("TTL expired (last output before timeout follows): {output}"),
        })
    }
}

/// Bytes of output that a check keeps: 4096, or fewer if its definition says so.
#[must_use]
pub fn output_bytes_max(definition: &CheckDefinition) -> usize {
    match usize::try_from(definition.output_bytes_max) {
        Ok(0) | Err(_) => OUTPUT_BYTES_MAX,
        Ok(asked) => asked.min(OUTPUT_BYTES_MAX),
    }
}

/// The note of a heartbeat as it is kept: its first `bytes_max` bytes (fewer where that would split
/// a character) and what was cut, as Consul words it.
#[must_use]
pub fn clip_note(note: &str, bytes_max: usize) -> String {
    if note.len() <= bytes_max {
        return note.to_owned();
    }
    let kept = &note[..note.floor_char_boundary(bytes_max)];
    format!("{kept} ... (captured {bytes_max} of {} bytes)", note.len())
}
