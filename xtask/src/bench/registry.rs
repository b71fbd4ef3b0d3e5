//! `cargo xtask bench registry`: the agent as a user runs it, asked over HTTP from this process.
//!
//! Client and agent share the machine, so the figures are what both together reach.

mod agent;
mod connection;
mod requests;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use self::agent::Agent;
use self::connection::Connection;
use self::requests::{get, registration, web};
use crate::tools::{root, say, step};

/// How long each rate is measured.
const RATE_TIME: Duration = Duration::from_secs(5);
/// Queries that wait at once.
const WAITERS: usize = 1000;
/// Changes that wake them, and are measured.
const WAKE_UPS: usize = 50;
/// Changes before them that are not: what was measured before settles, and connections get their buffers.
const WARM_UPS: usize = 5;
/// How long the agent may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(20);

const USAGE: &str = "usage: cargo xtask bench registry [--instances N] [--binary PATH]";

pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<()> {
    let mut largest = 100_000;
    let mut binary = None;
    for pair in arguments.chunks(2) {
        match pair {
            ["--instances", number] => {
                largest = number.parse().context("--instances takes a number")?
            }
            ["--binary", path] => binary = Some(PathBuf::from(path)),
            _ => bail!(USAGE),
        }
    }
    let binary = match binary {
        Some(binary) => binary,
        None => build()?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(&binary, largest))
}

/// Puts a binary that counts what it does under the loads that are measured, and ends it so that it keeps its counts.
pub(crate) fn train(binary: &Path) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut agent = Agent::start(binary).await?;
        agent.rate(64, registration).await?;
        for instance in 0..10 {
            Connection::open(agent.address).await?.expect_ok(&web(instance, "web")).await?;
        }
        agent.rate(64, |_, _| get("/v1/health/service/web")).await?;
        agent.wake_ups().await?;
        agent.end()
    })
}

fn build() -> anyhow::Result<PathBuf> {
    step("building");
    let built = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["build", "--release", "--package", "cli"])
        .status()?;
    if built.success() {
        Ok(root().join("target/release/leno"))
    } else {
        bail!("the release build failed")
    }
}

async fn measure(binary: &Path, largest: u64) -> anyhow::Result<()> {
    step("registry");
    say(&machine());
    let agent = Agent::start(binary).await?;
    for clients in [1, 64] {
        let rate = agent.rate(clients, registration).await?;
        say(&format!("registrations, durable, {clients:>2} client(s)    {rate:>9.0} /s"));
    }
    for instance in 0..10 {
        Connection::open(agent.address).await?.expect_ok(&web(instance, "web")).await?;
    }
    let rate = agent.rate(64, |_, _| get("/v1/health/service/web")).await?;
    say(&format!("reads of a service with 10 instances      {rate:>9.0} /s"));
    let rate = agent.rate(64, |_, _| get("/v1/catalog/node/none")).await?;
    say(&format!("reads of nothing (the floor)              {rate:>9.0} /s"));
    let mut delays = agent.wake_ups().await?;
    delays.sort();
    let at = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    say(&format!(
        "wake-up of {WAITERS} blocked queries              p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    ));
    drop(agent);
    let agent = Agent::start(binary).await?;
    say(&format!("resident memory with       0 instances     {:>6.1} MiB", agent.resident_mib()?));
    let mut registered = 0;
    for target in [10_000, largest] {
        agent.register_up_to(registered, target).await?;
        registered = target;
        let resident = agent.resident_mib()?;
        say(&format!("resident memory with {target:>7} instances     {resident:>6.1} MiB"));
    }
    let took = agent.restart_time().await?;
    say(&format!("restart with {registered} instances            {:>6} ms", took.as_millis()));
    Ok(())
}

/// What it ran on; figures are compared only with others from the same run.
fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("machine: {cores} cores,{}", model.trim_start_matches([' ', '\t', ':']).trim())
}
