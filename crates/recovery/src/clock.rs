use model::Timestamp;
use serde::{Deserialize, Serialize};

/// Longest step that counts as time passed, in milliseconds. Between two calls that are further apart the agent was dead,
/// asleep, or its clock was set: no deadline runs out then, because nobody was there to keep it.
const STEP_MAX_MS: u64 = 10_000;

/// Time as a persisted state machine feels it: it never goes back, stands still while the agent is not there, and survives
/// being written and read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Clock {
    elapsed_ms: u64,
    last: Timestamp,
}

impl Clock {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { elapsed_ms: 0, last: now }
    }

    /// Goes on to `now` and says by how many milliseconds.
    pub(crate) fn advance(&mut self, now: Timestamp) -> u64 {
        let step_ms = now.0.saturating_sub(self.last.0).min(STEP_MAX_MS);
        self.last = now;
        self.elapsed_ms += step_ms;
        step_ms
    }

    pub(crate) fn elapsed_ms(&self) -> u64 {
        self.elapsed_ms
    }
}
