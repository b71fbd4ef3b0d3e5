//! How workloads are, for operators: what `leno ps` and `leno rollout` print.

use std::collections::{BTreeMap, VecDeque};

use api::LiveCheck;
use model::workload::WorkloadSpec;
use model::{Catalog, CheckId};
use recovery::{Grounds, Outcome, Split, Verdict, Workload};
use serde::{Deserialize, Serialize};

use super::copy::{Stage, is_ready};
use super::kept::Running;
use super::name::WorkloadName;
use super::seen::output_of;
use super::{Place, log_of};

mod held_back;
mod job;

/// For so long it is not worth telling that a proxy has not acknowledged something.
const TOLD_AFTER_MS: u64 = 1000;

/// How a workload is, or the rollout of a service that others run.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkloadReport {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// `service` or `job` for workloads, `rollout` for that of a service that others run.
    pub kind: String,
    /// `running`, `starting`, `degraded`, `rolling out`, `rolling back`, `held`, `waiting`, `stopping`, `stopped`, `removing`,
    /// `not started`; of a job also `completed`, `failed` and `canceled`.
    pub state: String,
    /// Why it is so, where that is to be asked; empty otherwise.
    pub reason: String,
    /// What its document asks for has not begun yet.
    pub is_pending: bool,
    /// It cannot begin, because of what it waits for: that does not exist, has failed, or cannot start itself.
    pub is_blocked: bool,
    /// What keeps it from being what its document says, and the command that ends that, as `an operator's stop; ...`; empty when
    /// nothing does.
    pub held_back: String,
    /// Version that serves.
    pub version: String,
    /// Limits that hold otherwise than its document has them, or not at all, each with the reason.
    pub unenforced: Vec<String>,
    /// Copies that are wanted; of a rollout, the instances of the version that serves.
    pub replicas: u32,
    /// Copies that may be used; of a job 1 when it has completed as its document has it now.
    pub ready: u32,
    /// Proxies that are waited for to acknowledge a change, for more than a second.
    pub unacknowledged: Vec<String>,
    /// Its copies; of a job the try under way, or the last one.
    pub copies: Vec<CopyReport>,
    /// Its rollout, and those before.
    pub rollout: RolloutReport,
}

impl WorkloadReport {
    /// All its copies may be used: what depends on it may start.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.replicas > 0 && self.ready >= self.replicas
    }
}

/// How a copy is.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CopyReport {
    /// What it is registered as.
    pub id: String,
    /// Number of its release.
    pub release: u64,
    /// Version of its release.
    pub version: String,
    /// `starting`, `checking`, `ready`, `unused` (its release gets no requests), `draining`, `stopping`, `waiting` (for its
    /// restart), `held`, `ended`; of a job `starting`, `running`, `stopping`, `ended`, `completed`, `failed` or `canceled`.
    pub state: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// Its process.
    pub pid: Option<u32>,
    /// Its port.
    pub port: Option<u16>,
    /// How often its process ended by itself.
    pub restarts: u32,
    /// What it or its check said last, where that is to be asked.
    pub output: String,
    /// File that it writes to.
    pub log: String,
    /// How it is started again, while it waits for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartReport>,
}

/// A copy is started again.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartReport {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The how many-th restart in a row that is.
    pub number: u32,
    /// Most of them.
    pub max: u32,
}

/// The rollouts of a workload.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RolloutReport {
    /// What is being rolled out, as `release N (version V)`; empty when nothing is.
    pub target: String,
    /// How far it is.
    pub progress: String,
    /// What the proxies' counters say so far.
    pub evidence: String,
    /// Share of the requests by release, where there are several.
    pub shares: Vec<(u64, u32)>,
    /// Rollouts that have ended, the newest first.
    pub history: Vec<PastRollout>,
    /// What has happened, the newest first: milliseconds since 1970, and words.
    pub events: Vec<(u64, String)>,
}

/// A rollout that has ended.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PastRollout {
    /// Number of the release.
    pub release: u64,
    /// Its version.
    pub version: String,
    /// When it began and ended, in milliseconds since 1970.
    pub began_ms: u64,
    /// See `began_ms`.
    pub ended_ms: u64,
    /// `promoted`, `rolled back` or `held`; of a job `completed`, `failed` or `canceled`.
    pub outcome: String,
    /// Why; of one that was promoted, on what grounds if not by comparing requests; empty otherwise.
    pub reason: String,
    /// What was counted meanwhile.
    pub figures: String,
}

pub(super) fn of(
    name: &WorkloadName,
    spec: Option<&WorkloadSpec>,
    running: &Running,
    catalog: &Catalog,
    live: &BTreeMap<CheckId, LiveCheck>,
    place: &Place,
) -> WorkloadReport {
    let kept = &running.kept;
    let copies: Vec<CopyReport> = copies(running, catalog, live, place);
    if let Some(job) = &kept.job {
        return job::of(name, spec, (running, job), copies, place);
    }
    let workload = &kept.workload;
    let serving = workload.stable().or(workload.target());
    let replicas = match (&kept.stopped, serving) {
        (Some(_), _) => 0,
        (None, Some(release)) => release.spec.replicas,
        (None, None) => spec.map_or(0, |it| it.replicas),
    };
    let ready = copies.iter().filter(|it| it.state == "ready").count();
    let ready = u32::try_from(ready).unwrap_or(u32::MAX);
    let version = serving.map_or_else(String::new, |it| it.version.clone());
    let prefix = name.copy_prefix();
    let (state, mut reason) = state(spec, running, ready >= replicas, (&copies, &prefix));
    let now_ms = runtime::unix_ms();
    let is_told = |since_ms: &u64| now_ms.saturating_sub(*since_ms) >= TOLD_AFTER_MS;
    let unacknowledged = running.unacknowledged.iter().filter(|it| is_told(it.1));
    let unacknowledged: Vec<String> = unacknowledged.map(|it| it.0.clone()).collect();
    if !unacknowledged.is_empty() {
        let apart = if reason.is_empty() { "" } else { "; " };
        let proxies = unacknowledged.join(", ");
        reason.push_str(&format!("{apart}waits for proxies that have not acknowledged: {proxies}"));
    }
    WorkloadReport {
        namespace: name.namespace.clone(),
        name: name.name.clone(),
        kind: "service".into(),
        state,
        reason,
        is_pending: is_pending(spec, running),
        is_blocked: is_blocked(spec, running),
        held_back: held_back::of(name, spec, running),
        unenforced: unenforced(spec, running, place),
        version,
        replicas,
        ready,
        unacknowledged,
        copies,
        rollout: rollout(workload, kept.split.as_ref(), &kept.events, &prefix),
    }
}

fn copies(
    running: &Running,
    catalog: &Catalog,
    live: &BTreeMap<CheckId, LiveCheck>,
    place: &Place,
) -> Vec<CopyReport> {
    let report = |(id, handle): (&recovery::CopyId, &super::CopyHandle)| {
        let (state, plan) = (handle.state(), &handle.plan);
        let serves = running.kept.split.as_ref().is_none_or(|it| it.serves(id.release));
        let word = match state.stage {
            Stage::Starting => "starting",
            Stage::Waiting => "waiting",
            Stage::Stopping => "stopping",
            Stage::Held => "held",
            Stage::Left | Stage::Stopped => "ended",
            Stage::Running if handle.is_draining => "draining",
            Stage::Running if !is_ready(catalog, plan) => "checking",
            Stage::Running if !serves => "unused",
            Stage::Running => "ready",
        };
        let is_well = ["ready", "unused", "draining"].contains(&word);
        let output = output_of(catalog, live, handle, &state);
        CopyReport {
            id: plan.id().to_string(),
            release: id.release.0,
            version: plan.spec.version.clone(),
            state: word.to_owned(),
            since_ms: state.since_ms,
            pid: state.process.map(|it| it.pid),
            port: plan.port,
            restarts: state.crashes,
            output: if is_well { state.last_end } else { output },
            log: log_of(place, plan).display().to_string(),
            restart: state.starts_at_ms.map(|at_ms| RestartReport {
                at_ms,
                number: state.restart.restarts,
                max: plan.spec.restart.restarts_max,
            }),
        }
    };
    running.copies.iter().map(report).collect()
}

/// What is not enforced on this agent at all, and what was not for single copies.
fn unenforced(spec: Option<&WorkloadSpec>, running: &Running, place: &Place) -> Vec<String> {
    let found = spec.map(|it| place.enforcement.unenforced(&it.limits)).unwrap_or_default();
    let of_all = found.iter().map(|it| format!("{} {}", it.field, it.message));
    let of_copy = |it: &super::CopyHandle| {
        let reason = it.state().ungrouped.filter(|_| !it.state().stage.is_over())?;
        Some(format!("{} has limits of each process alone: {reason}", it.plan.id()))
    };
    of_all.chain(running.copies.values().filter_map(of_copy)).collect()
}

/// Whether what the document asks for is still to be begun, and not kept from it.
fn is_pending(spec: Option<&WorkloadSpec>, running: &Running) -> bool {
    spec.is_some_and(|it| running.kept.told.as_ref() != Some(it))
        && running.obstacles.is_empty()
        && !running.kept.is_stopped()
}

/// Whether it is still to be begun, and never will be by waiting alone.
fn is_blocked(spec: Option<&WorkloadSpec>, running: &Running) -> bool {
    is_pending(spec, running) && running.waits_for.iter().any(|it| !it.trouble.is_empty())
}

/// What is waited for, in words.
fn awaited(running: &Running) -> String {
    let words: Vec<String> = running.waits_for.iter().map(ToString::to_string).collect();
    format!("for {}", words.join("; for "))
}

/// The state in a word, and why.
fn state(
    spec: Option<&WorkloadSpec>,
    running: &Running,
    all_ready: bool,
    (copies, prefix): (&[CopyReport], &str),
) -> (String, String) {
    let workload = &running.kept.workload;
    let is = |word: &str, reason: String| (word.to_owned(), reason);
    if spec.is_none() {
        return is("removing", "its document is gone".into());
    }
    if running.kept.stopped.is_some() {
        let word = if copies.is_empty() { "stopped" } else { "stopping" };
        return is(word, "an operator stopped it".into());
    }
    if !running.obstacles.is_empty() {
        let word = if copies.is_empty() { "not started" } else { "held" };
        return is(word, running.obstacles.join("; "));
    }
    if let Some(reason) = workload.held() {
        return is("held", reason.text(prefix));
    }
    let held = copies.iter().find(|it| it.state == "held");
    if !running.waits_for.is_empty() && copies.is_empty() {
        return is("waiting", awaited(running));
    }
    if let Some(progress) = progress(workload, prefix) {
        return progress;
    }
    if let Some(copy) = held {
        return is("degraded", format!("{} is held: {}", copy.id, copy.output));
    }
    if all_ready {
        let is_it = |it: &recovery::Release| {
            spec.is_some_and(|spec| it.fingerprint == running.kept.fingerprint(spec))
        };
        // Once its document and what serves agree again, that is over.
        let is_settled = workload.stable().is_some_and(is_it);
        let reason = if is_settled { String::new() } else { last_undone(workload, prefix) };
        return is("running", reason);
    }
    let missing = copies.iter().find(|it| it.state != "ready" && !it.output.is_empty());
    is("degraded", missing.map_or_else(String::new, |it| format!("{}: {}", it.id, it.output)))
}

/// The state of what is being rolled out, in a word, and how far it is.
pub(super) fn progress(workload: &Workload, prefix: &str) -> Option<(String, String)> {
    let progress = workload.progress(prefix)?;
    let word = if progress.starts_with("rolling back") {
        "rolling back"
    } else if workload.stable().is_none() {
        "starting"
    } else {
        "rolling out"
    };
    let how_far = progress.strip_prefix("rolling back: ").map(str::to_owned);
    Some((word.to_owned(), how_far.unwrap_or(progress)))
}

/// Why the last rollout was undone, if it was.
pub(super) fn last_undone(workload: &Workload, prefix: &str) -> String {
    match workload.history().next_back().map(|it| &it.outcome) {
        Some(Outcome::RolledBack(reason)) => {
            format!("the last rollout was undone: {}", reason.text(prefix))
        }
        Some(Outcome::Promoted | Outcome::Held(_)) | None => String::new(),
    }
}

pub(super) fn rollout(
    workload: &Workload,
    split: Option<&Split>,
    events: &VecDeque<(u64, String)>,
    prefix: &str,
) -> RolloutReport {
    let target = workload.target().map(|it| format!("release {} (version {})", it.id, it.version));
    let evidence = workload.verdict().map(|verdict| match verdict {
        Verdict::Undecided { .. } => "undecided".to_owned(),
        Verdict::Worse { by, figures } => format!("worse: {by}: {figures}"),
        Verdict::AsGood { figures } => format!("as good: {figures}"),
    });
    let shares = match split {
        Some(Split::Weights(shares)) if shares.len() > 1 => {
            shares.iter().map(|(release, share)| (release.0, *share)).collect()
        }
        _ => Vec::new(),
    };
    let past = |record: &recovery::Record| {
        let (outcome, reason) = match &record.outcome {
            Outcome::Promoted => ("promoted", grounds(record)),
            Outcome::RolledBack(reason) => ("rolled back", reason.text(prefix)),
            Outcome::Held(reason) => ("held", reason.text(prefix)),
        };
        PastRollout {
            release: record.release.id.0,
            version: record.release.version.clone(),
            began_ms: record.began.0,
            ended_ms: record.ended.0,
            outcome: outcome.to_owned(),
            reason,
            figures: record.figures.to_string(),
        }
    };
    RolloutReport {
        target: target.unwrap_or_default(),
        progress: workload.progress(prefix).unwrap_or_default(),
        evidence: evidence.unwrap_or_default(),
        shares,
        history: workload.history().rev().map(past).collect(),
        events: events.iter().rev().cloned().collect(),
    }
}

/// On what grounds a release was promoted, if not because its requests went as well as those before.
fn grounds(record: &recovery::Record) -> String {
    match record.grounds {
        Grounds::Requests | Grounds::Unknown => String::new(),
        Grounds::Order => "an operator said so".to_owned(),
        Grounds::Checks => {
            let requests = record.figures.new.requests;
            format!("{requests} requests were too few to compare; checks and time decided")
        }
    }
}
