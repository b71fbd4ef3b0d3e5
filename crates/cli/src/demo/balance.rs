//! Are requests shared as each policy promises?

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::report::Report;
use super::stage::{COPIES, SERVICE, Stage};
use crate::load::{self, Volley};

/// How the requests come.
struct Load {
    path: &'static str,
    connections: u64,
}

const LOAD: Load = Load { path: "/", connections: 8 };
/// Least request gives less to a copy that the machine lets wait, as it should. Here all take equally long, so much
/// longer than the machine makes any of them wait; and so many are under way that the policy has something to compare.
const SLOW_LOAD: Load = Load { path: "/?delay_ms=50", connections: 128 };
/// How far a share may be from the expected one, in percent of all requests.
const TOLERANCE_PERCENT: f64 = 3.0;

pub(crate) async fn show(stage: &Stage, report: &mut Report, requests: u32) -> anyhow::Result<()> {
    report.heading(&format!("Balancing: {requests} requests under each policy"));
    let third = 100.0 / 3.0;
    let even = [third; 3];
    show_policy(stage, report, requests, ("random", &LOAD), even).await?;
    show_policy(stage, report, requests, ("round-robin", &LOAD), even).await?;
    stage.declare([1, 2, 3]).await?;
    let weighted = [100.0 / 6.0, third, 50.0];
    show_policy(stage, report, requests, ("weighted", &LOAD), weighted).await?;
    stage.declare([1, 1, 1]).await?;
    show_policy(stage, report, requests, ("least-request", &SLOW_LOAD), even).await
}

async fn show_policy(
    stage: &Stage,
    report: &mut Report,
    requests: u32,
    (policy, load): (&str, &Load),
    expected: [f64; 3],
) -> anyhow::Result<()> {
    stage.balance_by(policy).await?;
    let done = Arc::new(AtomicU64::new(0));
    let total = u64::from(requests);
    let volley = Volley { path: load.path, requests: total, connections: load.connections };
    let sending = load::send(stage.mesh()?, SERVICE, &volley, &done);
    let tally = report.with_bar(policy, total, &done, sending).await;
    let shares: Vec<f64> = COPIES
        .iter()
        .map(|copy| *tally.answered.get(*copy).unwrap_or(&0) as f64 * 100.0 / total as f64)
        .collect();
    let off = shares.iter().zip(expected).map(|(is, should)| (is - should).abs());
    let worst = off.fold(0.0, f64::max);
    let text = |shares: &[f64]| {
        let shares: Vec<String> = shares.iter().map(|share| format!("{share:.1}")).collect();
        shares.join(" / ")
    };
    let mut figures =
        format!("{} %, expected {} %, off by {worst:.1}", text(&shares), text(&expected));
    if let Some(failure) = tally.failures.first() {
        figures.push_str(&format!("; {} failed, first: {failure}", tally.failures.len()));
    }
    let holds = tally.failures.is_empty() && worst <= TOLERANCE_PERCENT;
    report.claim(holds, &format!("{policy} shares them as it promises"), &figures);
    Ok(())
}
