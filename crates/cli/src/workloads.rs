//! `leno ps`, `start`, `stop`, `restart`, `scale`, `logs` and `rollout`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use control::door::workloads::CopyLog;
use control::workloads::{CopyReport, PastRollout, WorkloadReport};
use http::{Method, StatusCode};
use serde::de::DeserializeOwned;

use crate::args::{
    Format, ListArguments, LogsArguments, OrderArguments, PsArguments, RolloutWhat, ScaleArguments,
    StatusArguments,
};
use crate::client::AgentAt;
use crate::list::encoded;
use crate::output::{finish, note, print, print_line, print_rows};

/// Pause between two looks at a log that is followed.
const FOLLOW_PAUSE: Duration = Duration::from_millis(200);
/// How long the agent may take to see a document that it has accepted.
const NEW_WORKLOAD_PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two looks at what is waited for.
const WAIT_PAUSE: Duration = Duration::from_millis(100);
/// How long an agent may be away that is waited for: as long as its restart may take.
const AWAY_MAX: Duration = Duration::from_mins(1);

pub(crate) async fn ps(arguments: PsArguments) -> anyhow::Result<ExitCode> {
    let agent = AgentAt::of(&arguments.list.connection)?;
    let Some(name) = &arguments.name else {
        let reports = reports(&agent, None).await?;
        let rows = reports.iter().map(workload_row).collect();
        let header = ["workload", "version", "ready", "state", "why"];
        print_rows(arguments.list.output, &header, rows, &serde_json::to_value(&reports)?)?;
        if reports.is_empty() && arguments.list.output == Format::Table {
            note("no workloads; `leno apply -f` a document of kind Workload");
        }
        return Ok(ExitCode::SUCCESS);
    };
    let report = report(&agent, name).await?;
    if arguments.list.output == Format::Table {
        print_line(&summary(&report));
        report.unenforced.iter().for_each(|it| print_line(&format!("limit: {it}")));
    }
    let rows = report.copies.iter().map(copy_row).collect();
    let header = ["copy", "version", "state", "since", "pid", "port", "restarts", "why"];
    print_rows(arguments.list.output, &header, rows, &serde_json::to_value(&report)?)?;
    Ok(ExitCode::SUCCESS)
}

fn full_name(report: &WorkloadReport) -> String {
    match report.namespace.as_str() {
        "default" => report.name.clone(),
        namespace => format!("{namespace}/{}", report.name),
    }
}

fn workload_row(it: &WorkloadReport) -> Vec<String> {
    vec![
        full_name(it),
        it.version.clone(),
        format!("{}/{}", it.ready, it.replicas),
        it.state.clone(),
        why(it),
    ]
}

/// Why it is so, and what is to be done to have it otherwise.
fn why(it: &WorkloadReport) -> String {
    // Of what is stopped, the reason says the same.
    if it.held_back.is_empty() || it.state == "stopped" || it.state == "stopping" {
        return it.reason.clone();
    }
    let apart = if it.reason.is_empty() { "" } else { "; " };
    format!("{}{apart}held back by {}", it.reason, it.held_back)
}

fn summary(it: &WorkloadReport) -> String {
    let why = why(it);
    let why = if why.is_empty() { why } else { format!(": {why}") };
    let version = if it.version.is_empty() { "none" } else { &it.version };
    let (name, ready, replicas) = (full_name(it), it.ready, it.replicas);
    format!("{name}, version {version}, {ready} of {replicas} ready, {}{why}", it.state)
}

fn copy_row(it: &CopyReport) -> Vec<String> {
    let number = |it: Option<u64>| it.map_or_else(String::new, |it| it.to_string());
    vec![
        it.id.clone(),
        it.version.clone(),
        it.state.clone(),
        ago(it.since_ms),
        number(it.pid.map(u64::from)),
        number(it.port.map(u64::from)),
        it.restarts.to_string(),
        it.output.clone(),
    ]
}

/// How long ago a time was, in one unit.
pub(crate) fn ago(at_ms: u64) -> String {
    let seconds = runtime::unix_ms().saturating_sub(at_ms) / 1000;
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

async fn reports(agent: &AgentAt, name: Option<&str>) -> anyhow::Result<Vec<WorkloadReport>> {
    let query = name.map_or_else(String::new, |it| format!("?name={}", encoded(it)));
    let path = format!("/leno/v1/workloads{query}");
    get(agent, &path).await
}

/// What the agent says at `path`; what it refuses is an error in its own words.
async fn get<T: DeserializeOwned>(agent: &AgentAt, path: &str) -> anyhow::Result<T> {
    let body = ask(agent, Method::GET, path).await?;
    serde_json::from_slice(&body).with_context(|| format!("{agent} answered something else"))
}

async fn ask(agent: &AgentAt, method: Method, path: &str) -> anyhow::Result<Bytes> {
    let (status, body) = agent.send(method, path, Bytes::new()).await?;
    if status != StatusCode::OK {
        bail!("{}", String::from_utf8_lossy(&body).trim());
    }
    Ok(body)
}

async fn report(agent: &AgentAt, name: &str) -> anyhow::Result<WorkloadReport> {
    let found = reports(agent, Some(name)).await?.into_iter().next();
    found.with_context(|| format!("there is no workload {name}"))
}

/// A workload, or a service that others run, as one that is rolled out.
async fn rollout_report(agent: &AgentAt, name: &str) -> anyhow::Result<WorkloadReport> {
    let path = format!("/leno/v1/rollouts?name={}", encoded(name));
    let found: Vec<WorkloadReport> = get(agent, &path).await?;
    found.into_iter().next().with_context(|| format!("there is no workload and no rollout {name}"))
}

async fn send_order(agent: &AgentAt, order: &str, name: &str, more: &str) -> anyhow::Result<()> {
    let path = format!("/leno/v1/workloads/{order}?name={}{more}", encoded(name));
    ask(agent, Method::POST, &path).await.map(drop)
}

pub(crate) async fn order(order: &str, arguments: OrderArguments) -> anyhow::Result<ExitCode> {
    let agent = AgentAt::of(&arguments.connection)?;
    let before = last_ended(&rollout_report(&agent, &arguments.name).await?);
    send_order(&agent, order, &arguments.name, "").await?;
    if arguments.no_wait {
        return Ok(ExitCode::SUCCESS);
    }
    let is_well = settle(&agent, &arguments.name, before, order == "undo").await?;
    tell_grounds(&agent, &arguments.name, before).await;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// When the last rollout of each workload, and of each service that others run, ended, in milliseconds since 1970, by
/// `NAMESPACE/NAME`.
pub(crate) async fn last_ends(agent: &AgentAt) -> anyhow::Result<BTreeMap<String, u64>> {
    let reports: Vec<WorkloadReport> = get(agent, "/leno/v1/rollouts").await?;
    Ok(reports.iter().map(|it| (format!("{}/{}", it.namespace, it.name), last_ended(it))).collect())
}

/// Waits for a workload or a rollout whose document was just applied; says why if it does not come to be what that asks for.
pub(crate) async fn comes_to_rest(agent: &AgentAt, name: &str, before: u64) -> bool {
    let began = Instant::now();
    // The agent looks at a new document at once.
    while rollout_report(agent, name).await.is_err() && began.elapsed() < NEW_WORKLOAD_PATIENCE {
        tokio::time::sleep(WAIT_PAUSE).await;
    }
    match settle(agent, name, before, false).await {
        Ok(is_well) => {
            tell_grounds(agent, name, before).await;
            let is_held_back = tell_held_back(agent, name).await;
            is_well && !is_held_back
        }
        Err(error) => {
            note(&format!("error: {name}: {error:#}"));
            false
        }
    }
}

/// Says by what a workload or a rollout is held back from being what its document says. True if it is.
pub(crate) async fn tell_held_back(agent: &AgentAt, name: &str) -> bool {
    let Ok(report) = rollout_report(agent, name).await else { return false };
    if !report.held_back.is_empty() {
        note(&format!("{} is held back by {}", full_name(&report), report.held_back));
        return true;
    }
    let last = report.rollout.history.first().filter(|it| !report.is_pending && !is_good(it));
    let undone = last.filter(|it| report.kind == "rollout" && report.version != it.version);
    if let Some(last) = undone {
        let (name, version) = (full_name(&report), &last.version);
        note(&format!(
            "version {version} of {name} was {}; `leno rollout retry {name}` tries it again",
            last.outcome
        ));
    }
    undone.is_some()
}

/// Says on what grounds a release was promoted since `before`, if not by comparing requests.
async fn tell_grounds(agent: &AgentAt, name: &str, before: u64) {
    let Ok(report) = rollout_report(agent, name).await else { return };
    let last = report.rollout.history.first().filter(|it| it.ended_ms > before);
    if let Some(last) = last.filter(|it| it.outcome == "promoted" && !it.reason.is_empty()) {
        print_line(&format!("release {} was promoted: {}", last.release, last.reason));
    }
}

/// What keeps workloads and rollouts from coming to rest, in lines.
pub(crate) async fn still_changing(agent: &AgentAt) -> anyhow::Result<Vec<String>> {
    let all: Vec<WorkloadReport> = get(agent, "/leno/v1/rollouts").await?;
    Ok(all.iter().filter(|it| is_changing(it)).map(summary).collect())
}

/// By what workloads are held back, by `NAMESPACE/NAME`.
pub(crate) async fn held_back(agent: &AgentAt) -> anyhow::Result<BTreeMap<String, String>> {
    let held = reports(agent, None).await?.into_iter().filter(|it| !it.held_back.is_empty());
    Ok(held.map(|it| (format!("{}/{}", it.namespace, it.name), it.held_back)).collect())
}

fn is_good(past: &PastRollout) -> bool {
    ["promoted", "completed"].contains(&&*past.outcome)
}

/// When the last rollout ended, in milliseconds since 1970.
fn last_ended(report: &WorkloadReport) -> u64 {
    report.rollout.history.first().map_or(0, |it| it.ended_ms)
}

pub(crate) async fn scale(arguments: ScaleArguments) -> anyhow::Result<ExitCode> {
    let agent = AgentAt::of(&arguments.order.connection)?;
    let before = last_ended(&rollout_report(&agent, &arguments.order.name).await?);
    let more = format!("&replicas={}", arguments.replicas);
    send_order(&agent, "scale", &arguments.order.name, &more).await?;
    if arguments.order.no_wait {
        return Ok(ExitCode::SUCCESS);
    }
    let is_well = settle(&agent, &arguments.order.name, before, false).await?;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says each new state until there is one that stays. It failed if a rollout has ended since `before` that was not promoted,
/// unless it was `undone` on purpose. An agent that is away for a while comes back with it.
async fn settle(agent: &AgentAt, name: &str, before: u64, undone: bool) -> anyhow::Result<bool> {
    let mut said = String::new();
    let mut first = true;
    let mut answered = Instant::now();
    loop {
        // What was ordered is seen by the look after it.
        tokio::time::sleep(WAIT_PAUSE).await;
        let report = match rollout_report(agent, name).await {
            Ok(report) => report,
            Err(error) if is_away(&error) && answered.elapsed() < AWAY_MAX => continue,
            Err(error) => return Err(error),
        };
        answered = Instant::now();
        let text = summary(&report);
        if text != said {
            print_line(&text);
            finish()?;
            said = text;
        }
        let is_changing = is_changing(&report);
        if !std::mem::take(&mut first) && !is_changing {
            let last = report.rollout.history.first().filter(|it| it.ended_ms > before);
            if let Some(last) = last.filter(|it| !is_good(it) && !undone) {
                let what = if report.kind == "job" { "run" } else { "release" };
                bail!("{what} {} was {}: {}", last.release, last.outcome, last.reason);
            }
            let is_paused = report.reason.ends_with(", paused") && !has_copies_to_come(&report);
            let is_well =
                is_paused || ["running", "stopped", "completed"].contains(&&*report.state);
            // Copies that were just asked for are on their way.
            if is_well || report.state != "degraded" || !has_copies_to_come(&report) {
                return Ok(is_well);
            }
        }
    }
}

/// Whether nobody has answered, rather than somebody that it cannot be said.
fn is_away(error: &anyhow::Error) -> bool {
    error.chain().any(|it| it.is::<std::io::Error>() || it.is::<hyper::Error>())
}

fn is_changing(report: &WorkloadReport) -> bool {
    let state = report.state.as_str();
    if report.is_pending {
        // What is blocked waits for somebody to do something about it.
        return !report.is_blocked;
    }
    if report.kind == "job" && ["running", "waiting"].contains(&state) {
        // Its end is what is waited for.
        return true;
    }
    ["starting", "rolling out", "rolling back", "stopping"].contains(&state)
        && !report.reason.ends_with(", paused")
}

fn has_copies_to_come(report: &WorkloadReport) -> bool {
    let on_its_way = |it: &CopyReport| ["starting", "checking", "waiting"].contains(&&*it.state);
    report.copies.iter().any(on_its_way) || report.copies.len() < report.replicas as usize
}

pub(crate) async fn logs(arguments: LogsArguments) -> anyhow::Result<ExitCode> {
    let agent = AgentAt::of(&arguments.connection)?;
    let name = encoded(&arguments.name);
    let copy = arguments.copy.as_deref().map(|it| format!("&copy={}", encoded(it)));
    let path = format!(
        "/leno/v1/workloads/logs?name={name}{}&lines={}",
        copy.unwrap_or_default(),
        arguments.lines
    );
    let logs: Vec<CopyLog> = get(&agent, &path).await?;
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    let has_several = logs.len() > 1;
    for log in &logs {
        print_log(log, has_several);
        ends.insert(log.id.clone(), log.end);
    }
    if !arguments.follow {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        finish()?;
        tokio::time::sleep(FOLLOW_PAUSE).await;
        if arguments.copy.is_none() {
            // Copies come and go.
            for copy in report(&agent, &arguments.name).await?.copies {
                ends.entry(copy.id).or_insert(0);
            }
        }
        let mut gone = Vec::new();
        for (id, end) in &mut ends {
            let path =
                format!("/leno/v1/workloads/logs?name={name}&copy={}&after={end}", encoded(id));
            match get::<Vec<CopyLog>>(&agent, &path).await {
                Ok(logs) => {
                    for log in logs {
                        *end = log.end;
                        print_log(&log, has_several || arguments.copy.is_none());
                    }
                }
                Err(_) => gone.push(id.clone()),
            }
        }
        ends.retain(|id, _| !gone.contains(id));
    }
}

fn print_log(log: &CopyLog, with_name: bool) {
    if !with_name {
        print(&log.text);
        return;
    }
    for line in log.text.lines() {
        print_line(&format!("{}  {line}", log.id));
    }
}

pub(crate) async fn rollout(what: RolloutWhat) -> anyhow::Result<ExitCode> {
    let (word, arguments) = match what {
        RolloutWhat::List(arguments) => return list(arguments).await,
        RolloutWhat::Status(arguments) => return status(arguments).await,
        RolloutWhat::History(arguments) => return history(arguments).await,
        RolloutWhat::Pause(arguments) => ("pause", arguments),
        RolloutWhat::Resume(arguments) => ("resume", arguments),
        RolloutWhat::Undo(arguments) => ("undo", arguments),
        RolloutWhat::Retry(arguments) => ("retry", arguments),
        RolloutWhat::Promote(arguments) => ("promote", arguments),
    };
    let arguments = OrderArguments { no_wait: arguments.no_wait || word == "pause", ..arguments };
    order(word, arguments).await
}

async fn list(arguments: ListArguments) -> anyhow::Result<ExitCode> {
    let agent = AgentAt::of(&arguments.connection)?;
    let reports: Vec<WorkloadReport> = get(&agent, "/leno/v1/rollouts").await?;
    let rows = reports.iter().map(|it| {
        let (kind, version) = (it.kind.clone(), it.version.clone());
        vec![full_name(it), kind, version, it.state.clone(), it.reason.clone()]
    });
    let header = ["name", "kind", "version", "state", "why"];
    print_rows(arguments.output, &header, rows.collect(), &serde_json::to_value(&reports)?)?;
    Ok(ExitCode::SUCCESS)
}

async fn status(arguments: StatusArguments) -> anyhow::Result<ExitCode> {
    let (wait, arguments) = (arguments.wait, arguments.workload);
    let agent = AgentAt::of(&arguments.list.connection)?;
    let Some(name) = &arguments.name else { bail!("say which workload or rollout") };
    if wait {
        let is_well = settle(&agent, name, 0, false).await?;
        return Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let report = rollout_report(&agent, name).await?;
    let rollout = &report.rollout;
    if arguments.list.output != Format::Table {
        print_rows(arguments.list.output, &[], Vec::new(), &serde_json::to_value(&report)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    print_line(&summary(&report));
    if !rollout.target.is_empty() {
        print_line(&format!("rolling out {}: {}", rollout.target, rollout.progress));
        print_line(&format!("evidence: {}", rollout.evidence));
    }
    for (release, share) in &rollout.shares {
        print_line(&format!("release {release} gets {share} % of the requests"));
    }
    if let Some(last) = rollout.history.first().filter(|_| rollout.target.is_empty()) {
        let why = if last.reason.is_empty() { String::new() } else { format!(": {}", last.reason) };
        let (release, version, outcome) = (last.release, &last.version, &last.outcome);
        print_line(&format!(
            "release {release} (version {version}) was {outcome} {} ago{why}",
            ago(last.ended_ms)
        ));
        if !last.figures.is_empty() {
            print_line(&format!("figures: {}", last.figures));
        }
    }
    for (at_ms, text) in &rollout.events {
        print_line(&format!("{:>7} ago  {text}", ago(*at_ms)));
    }
    Ok(ExitCode::SUCCESS)
}

async fn history(arguments: PsArguments) -> anyhow::Result<ExitCode> {
    let agent = AgentAt::of(&arguments.list.connection)?;
    let Some(name) = &arguments.name else { bail!("say which workload or rollout") };
    let history = rollout_report(&agent, name).await?.rollout.history;
    let rows = history.iter().map(|it| {
        vec![
            it.release.to_string(),
            it.version.clone(),
            it.outcome.clone(),
            format!("{} ago", ago(it.ended_ms)),
            format!("{:.1} s", it.ended_ms.saturating_sub(it.began_ms) as f64 / 1000.0),
            it.reason.clone(),
        ]
    });
    let header = ["release", "version", "outcome", "ended", "took", "why"];
    print_rows(arguments.list.output, &header, rows.collect(), &serde_json::to_value(&history)?)?;
    Ok(ExitCode::SUCCESS)
}
