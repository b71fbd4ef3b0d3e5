//! How jobs are, for operators.

use model::workload::WorkloadSpec;
use recovery::{CopyId, Job, JobStanding, RunOutcome, RunRecord};

use super::super::job::{attempt_file, has_completed};
use super::super::kept::Running;
use super::super::name::WorkloadName;
use super::{CopyReport, PastRollout, Place, RolloutReport, WorkloadReport};

/// The report of a job, of which `live` are the tries that are looked after.
pub(super) fn of(
    name: &WorkloadName,
    spec: Option<&WorkloadSpec>,
    (running, job): (&Running, &Job),
    live: Vec<CopyReport>,
    place: &Place,
) -> WorkloadReport {
    let (state, reason) = state(spec, running, job, &live);
    let is_completed = spec.is_some_and(|it| has_completed(running, it));
    let mut copies = live;
    let word = |it: &mut CopyReport| {
        if it.state == "ready" {
            "running".clone_into(&mut it.state);
        }
        it.restarts = job.failures();
    };
    copies.iter_mut().for_each(word);
    if let Some(id) = job.last_attempt()
        && copies.is_empty()
        && let Some(spec) = running.kept.specs.get(&id.release)
    {
        copies.push(gone(name, id, spec, job, place));
    }
    WorkloadReport {
        namespace: name.namespace.clone(),
        name: name.name.clone(),
        kind: "job".into(),
        state,
        reason,
        is_pending: super::is_pending(spec, running),
        is_blocked: super::is_blocked(spec, running),
        held_back: super::held_back::of(name, spec, running),
        unenforced: super::unenforced(spec, running, place),
        version: job.version().unwrap_or_default().to_owned(),
        replicas: 1,
        unacknowledged: Vec::new(),
        ready: u32::from(is_completed),
        copies,
        rollout: RolloutReport {
            history: job.history().rev().map(past).collect(),
            events: running.kept.events.iter().rev().cloned().collect(),
            ..RolloutReport::default()
        },
    }
}

fn past(record: &RunRecord) -> PastRollout {
    PastRollout {
        release: record.id.0,
        version: record.version.clone(),
        began_ms: record.began.0,
        ended_ms: record.ended.0,
        outcome: record.outcome.to_string(),
        reason: record.outcome.reason(),
        figures: String::new(),
    }
}

/// The last try, which has no process any more.
fn gone(
    name: &WorkloadName,
    id: CopyId,
    spec: &WorkloadSpec,
    job: &Job,
    place: &Place,
) -> CopyReport {
    let last = job.history().next_back().filter(|it| it.id == id.release);
    let (state, output) = match job.standing() {
        JobStanding::Ended(outcome) => (outcome.to_string(), outcome.reason()),
        JobStanding::Waiting(end) => ("failed".to_owned(), end.to_owned()),
        JobStanding::New | JobStanding::Running | JobStanding::Ending | JobStanding::Stopped => {
            ("ended".to_owned(), String::new())
        }
    };
    CopyReport {
        id: name.instance(id).to_string(),
        release: id.release.0,
        version: spec.version.clone(),
        state,
        since_ms: last.map_or_else(runtime::unix_ms, |it| it.ended.0),
        restarts: job.failures(),
        output,
        log: attempt_file(place, name, id, "log").display().to_string(),
        ..CopyReport::default()
    }
}

/// The state in a word, and why.
fn state(
    spec: Option<&WorkloadSpec>,
    running: &Running,
    job: &Job,
    live: &[CopyReport],
) -> (String, String) {
    let is = |word: &str, reason: String| (word.to_owned(), reason);
    if spec.is_none() {
        return is("removing", "its document is gone".into());
    }
    if !running.obstacles.is_empty() {
        return is("not started", running.obstacles.join("; "));
    }
    if !running.waits_for.is_empty() {
        return is("waiting", super::awaited(running));
    }
    let after_failures = |word: &str, last: &str| match job.failures() {
        0 => is(word, String::new()),
        1 => is(word, format!("its first try failed: {last}")),
        failures => is(word, format!("{failures} tries failed, the last: {last}")),
    };
    match job.standing() {
        JobStanding::New => is("starting", String::new()),
        JobStanding::Waiting("") => is("starting", String::new()),
        JobStanding::Waiting(last) => after_failures("waiting", last),
        JobStanding::Running if live.iter().all(|it| it.state == "starting") => {
            is("starting", String::new())
        }
        JobStanding::Running => after_failures("running", job.last_end()),
        JobStanding::Ending => is("stopping", String::new()),
        JobStanding::Stopped => is("stopped", "an operator stopped it".into()),
        JobStanding::Ended(outcome) => is(&outcome.to_string(), told(outcome, job)),
    }
}

fn told(outcome: &RunOutcome, job: &Job) -> String {
    let Some(last) = job.history().next_back() else { return outcome.reason() };
    let took = last.ended.0.saturating_sub(last.began.0) as f64 / 1000.0;
    let tries = match last.attempts {
        0 | 1 => String::new(),
        attempts => format!(" and {attempts} tries"),
    };
    match outcome {
        RunOutcome::Completed => format!("exit code 0 after {took:.1} s{tries}"),
        RunOutcome::Failed { .. }
        | RunOutcome::TooLong { .. }
        | RunOutcome::Superseded(_)
        | RunOutcome::Removed => outcome.reason(),
    }
}
