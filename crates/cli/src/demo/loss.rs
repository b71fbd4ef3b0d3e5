//! A copy is killed under load; a copy turns sick. Who notices, and when?

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use http::Method;
use model::CheckStatus;

use super::report::Report;
use super::stage::{COPIES, SERVICE, Stage, check_status};
use crate::client::send;
use crate::load::{Caller, Stream};

/// Connections of the load; all of them are kept alive.
const CONNECTIONS: u64 = 8;
/// Requests that must have gone through before something is broken.
const WARM_UP_REQUESTS: u64 = 200;
/// How long the parts of this scene may take before they count as failed.
const PATIENCE: Duration = Duration::from_secs(15);
/// A killed copy must be out of use so soon.
const REMOVED_WITHIN: Duration = Duration::from_secs(1);
/// … and back in use so soon.
const BACK_WITHIN: Duration = Duration::from_secs(2);

/// The copy that is killed.
const KILLED: usize = 1;
/// The copy that turns sick.
const SICK: usize = 2;

pub(crate) async fn show_kill(stage: &Stage, report: &mut Report) -> anyhow::Result<()> {
    let copy = COPIES[KILLED];
    report.heading(&format!("{copy} is killed with SIGKILL under load"));
    stage.balance_by("round-robin").await?;
    let load = Stream::start(stage.mesh()?, SERVICE, CONNECTIONS);
    requests(&load, WARM_UP_REQUESTS).await?;
    let pid = pid_of(stage, KILLED).await?;
    let id = stage.copy(KILLED)?.id;
    let is_out = |stage: &Stage| !stage.usable().contains(&id);
    let killed = Instant::now();
    runtime::kill(pid).with_context(|| format!("cannot kill process {pid}"))?;
    let removed = stage.until(is_out).await;
    let back = stage.until(|stage| !is_out(stage)).await;
    // The load goes on until the copy that came back has answered its share.
    let answered = answers_again(stage, copy).await;
    let before = load.count();
    requests(&load, before + WARM_UP_REQUESTS).await?;
    let tally = load.stop().await;
    let restarted = stage.copy(KILLED)?.pid.context("it has a process again")?;
    let failures = tally.failures.len();
    let first = tally.failures.first().map_or(String::new(), |it| format!(", first: {it}"));
    report.claim(
        failures == 0,
        "no request failed",
        &format!("{failures} of {} GETs over {CONNECTIONS} connections{first}", tally.total()),
    );
    let since = |at: Option<Instant>| at.map(|at| at.saturating_duration_since(killed));
    claim_within(report, "it is out of use within 1 s", since(removed), REMOVED_WITHIN);
    claim_within(report, "it is restarted and in use again within 2 s", since(back), BACK_WITHIN);
    report.claim(
        answered && restarted != pid,
        "the new process answers through the mesh",
        &format!("process {pid} became {restarted}"),
    );
    Ok(())
}

pub(crate) async fn show_sickness(stage: &Stage, report: &mut Report) -> anyhow::Result<()> {
    let copy = COPIES[SICK];
    report.heading(&format!("{copy} turns unhealthy: it answers, but its check fails"));
    let load = Stream::start(stage.mesh()?, SERVICE, CONNECTIONS);
    requests(&load, WARM_UP_REQUESTS).await?;
    let id = stage.copy(SICK)?.id;
    let is_out = |stage: &Stage| !stage.usable().contains(&id);
    let turned = Instant::now();
    set_health(stage, SICK, "fail").await?;
    let removed = stage.until(is_out).await;
    let took = removed.map(|at| at.saturating_duration_since(turned));
    claim_within(report, "it is taken out within 1 s", took, REMOVED_WITHIN);
    report.claim(
        check_status(stage, &id) == Some(CheckStatus::Critical),
        "the registry says why",
        &reason(stage, &id).await?,
    );
    let turned = Instant::now();
    set_health(stage, SICK, "ok").await?;
    let back = stage.until(|stage| !is_out(stage)).await;
    let took = back.map(|at| at.saturating_duration_since(turned));
    claim_within(report, "it is back within 2 s of being healthy again", took, BACK_WITHIN);
    let before = load.count();
    requests(&load, before + WARM_UP_REQUESTS).await?;
    let tally = load.stop().await;
    report.claim(
        tally.failures.is_empty(),
        "no request failed",
        &format!("{} of {} GETs", tally.failures.len(), tally.total()),
    );
    Ok(())
}

fn claim_within(report: &mut Report, claim: &str, took: Option<Duration>, limit: Duration) {
    match took {
        Some(took) => report.claim(took <= limit, claim, &format!("{} ms", took.as_millis())),
        None => report.claim(false, claim, "not within 15 s"),
    }
}

/// Waits until the load has made so many requests.
async fn requests(load: &Stream, count: u64) -> anyhow::Result<()> {
    let reached = async {
        while load.count() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.context("the load does not get through")
}

/// Which process a copy is, as it says itself.
async fn pid_of(stage: &Stage, idx: usize) -> anyhow::Result<u32> {
    let (_, body) = send(&stage.address(idx)?.to_string(), Method::GET, "/", Bytes::new()).await?;
    let answer: serde_json::Value = serde_json::from_slice(&body)?;
    let pid = answer["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    pid.ok_or_else(|| anyhow!("the copy does not say its process id: {answer}"))
}

/// Does the copy answer a request through the mesh?
async fn answers_again(stage: &Stage, copy: &str) -> bool {
    let Ok(mesh) = stage.mesh() else { return false };
    let mut caller = Caller::new(mesh, SERVICE);
    let asking = async {
        loop {
            if caller.get("/").await.is_ok_and(|who| who == copy) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.is_ok()
}

async fn set_health(stage: &Stage, idx: usize, status: &str) -> anyhow::Result<()> {
    let path = format!("/health?status={status}");
    send(&stage.address(idx)?.to_string(), Method::PUT, &path, Bytes::new()).await?;
    Ok(())
}

/// What the registry says about a copy's check.
async fn reason(stage: &Stage, id: &str) -> anyhow::Result<String> {
    let checks = stage.read(&format!("/v1/health/checks/{SERVICE}")).await?;
    let output =
        checks.as_array().map(Vec::as_slice).unwrap_or_default().iter().find_map(|check| {
            let is_it = check["ServiceID"] == id && check["Type"] == "http";
            is_it.then(|| check["Output"].as_str())?
        });
    Ok(output.unwrap_or("nothing").trim().replace('\n', " "))
}
