//! What has happened, in words for operators.

use recovery::{CopyId, Note, Outcome, Record, RunRecord};

/// What a note says. `name_of` is what operators call a copy; for `prefix` see [`recovery::Reason::text`].
pub(super) fn told(note: &Note, prefix: &str, name_of: impl Fn(CopyId) -> String) -> String {
    match note {
        Note::Began(release) => format!("a rollout to release {release} begins"),
        Note::StepReached { step, weight_percent } => {
            format!("step {}: the new release gets {weight_percent} % of the requests", step + 1)
        }
        Note::RollingBack(reason) => {
            format!("rolling back: {}", reason.text(prefix))
        }
        Note::NotAcknowledged { copy, proxies } => {
            let what = copy.map_or_else(
                || "how requests are divided".to_owned(),
                |copy| format!("the change of {}", name_of(copy)),
            );
            format!(
                "passed proxies that did not acknowledge {what} in time: {}",
                proxies.join(", ")
            )
        }
        Note::CutShort { copy, in_flight } => {
            let copy = name_of(*copy);
            format!("{in_flight} requests were still under way at {copy} at its deadline")
        }
        Note::LittleTraffic { requests } => {
            format!("{requests} requests were too few to compare; checks and time decided")
        }
        Note::Recovered(release) => format!("release {release} is well again"),
    }
}

pub(super) fn finished(record: &Record, prefix: &str) -> String {
    let release = &record.release;
    let what = format!("release {} (version {})", release.id, release.version);
    match &record.outcome {
        Outcome::Promoted => format!("{what} is promoted"),
        Outcome::RolledBack(reason) => {
            format!("{what} is rolled back: {}", reason.text(prefix))
        }
        Outcome::Held(reason) => format!("{what} is held: {}", reason.text(prefix)),
    }
}

pub(super) fn ran(record: &RunRecord) -> String {
    let what = format!("run {} (version {})", record.id, record.version);
    let took = record.ended.0.saturating_sub(record.began.0) as f64 / 1000.0;
    let reason = record.outcome.reason();
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    format!("{what} {} after {took:.1} s{why}", record.outcome)
}
