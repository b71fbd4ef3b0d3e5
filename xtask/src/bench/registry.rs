//! `cargo xtask bench registry`: the agent as a user runs it, asked over HTTP from this process.
//!
//! Client and agent share the machine, so the figures are what both together reach.

mod agent;
mod connection;
mod dns;
mod figures;
mod keys;
mod requests;
mod times;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use self::agent::{Agent, Kind, Program};
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
/// How long a Consul gets for queries to block, for it does not say that they do: once, and for each.
const SETTLE_TIME: Duration = Duration::from_millis(20);
const SETTLE_TIME_EACH: Duration = Duration::from_millis(1);
/// How long the agent may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(20);

const USAGE: &str = "\
usage: cargo xtask bench registry [--only catalog|keys] [--instances N] [--rounds N] [--binary PATH] [--consul PATH]

  --only       measure only the catalog, or only keys, locks, names and who waits for them
  --instances  instances in the catalog at the end (100000)
  --rounds     how often keys are measured (3)
  --binary     an agent that is built; else a release build is made
  --consul     a Consul to measure keys of in the same rounds
";

/// What is asked for.
struct Options {
    catalog: bool,
    keys: bool,
    instances: u64,
    rounds: usize,
    binary: Option<PathBuf>,
    consul: Option<PathBuf>,
}

impl Options {
    fn parse(arguments: &[&str]) -> anyhow::Result<Self> {
        let mut options = Self {
            catalog: true,
            keys: true,
            instances: 100_000,
            rounds: 3,
            binary: None,
            consul: None,
        };
        for pair in arguments.chunks(2) {
            match pair {
                ["--only", "catalog"] => options.keys = false,
                ["--only", "keys"] => options.catalog = false,
                ["--instances", number] => {
                    options.instances = number.parse().context("--instances takes a number")?;
                }
                ["--rounds", number] => {
                    options.rounds = number.parse().context("--rounds takes a number")?;
                }
                ["--binary", path] => options.binary = Some(PathBuf::from(path)),
                ["--consul", path] => options.consul = Some(PathBuf::from(path)),
                _ => bail!(USAGE),
            }
        }
        Ok(options)
    }
}

pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<()> {
    let options = Options::parse(arguments)?;
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => build()?,
    };
    let leno = Program { kind: Kind::Leno, binary };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    step("registry");
    say(&machine());
    if options.catalog {
        runtime.block_on(measure_catalog(&leno, options.instances))?;
    }
    if options.keys {
        let consul = options.consul.map(|binary| Program { kind: Kind::Consul, binary });
        let programs: Vec<Program> = [leno].into_iter().chain(consul).collect();
        runtime.block_on(measure_keys(&programs, options.rounds))?;
    }
    Ok(())
}

/// Rounds in which each program is measured once, one after the other.
async fn measure_keys(programs: &[Program], rounds: usize) -> anyhow::Result<()> {
    let mut columns: Vec<_> = programs.iter().map(|it| (it.kind.name(), Vec::new())).collect();
    for _ in 0..rounds {
        for (program, (name, rounds)) in programs.iter().zip(&mut columns) {
            let figures = keys::measure(program).await;
            rounds.push(figures.with_context(|| format!("{name} could not be measured"))?);
        }
    }
    say(&figures::table(&columns));
    Ok(())
}

/// Puts a binary that counts what it does under the loads that are measured, and ends it so that it keeps its counts.
pub(crate) fn train(binary: &Path) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let leno = Program { kind: Kind::Leno, binary: binary.to_owned() };
        let mut agent = Agent::start(&leno).await?;
        agent.rate(64, registration).await?;
        for instance in 0..10 {
            Connection::open(agent.address).await?.expect_ok(&web(instance, "web")).await?;
        }
        agent.rate(64, |_, _| get(WEB_HEALTH)).await?;
        agent.wake_ups(WEB_HEALTH, web_change).await?;
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

/// What waits in the catalog's measurement, and what wakes it.
const WEB_HEALTH: &str = "/v1/health/service/web";

fn web_change(round: u64) -> Vec<u8> {
    web(round % 10, &format!("web-{round}"))
}

async fn measure_catalog(leno: &Program, largest: u64) -> anyhow::Result<()> {
    let agent = Agent::start(leno).await?;
    for clients in [1, 64] {
        let rate = agent.rate(clients, registration).await?.per_second;
        say(&format!("registrations, durable, {clients:>2} client(s)    {rate:>9.0} /s"));
    }
    for instance in 0..10 {
        Connection::open(agent.address).await?.expect_ok(&web(instance, "web")).await?;
    }
    let rate = agent.rate(64, |_, _| get(WEB_HEALTH)).await?.per_second;
    say(&format!("reads of a service with 10 instances      {rate:>9.0} /s"));
    let rate = agent.rate(64, |_, _| get("/v1/catalog/node/none")).await?.per_second;
    say(&format!("reads of nothing (the floor)              {rate:>9.0} /s"));
    let times = agent.wake_ups(WEB_HEALTH, web_change).await?;
    say(&format!(
        "wake-up of {WAITERS} blocked queries              p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        times.within(0.5),
        times.within(0.99),
        times.within(1.0)
    ));
    drop(agent);
    let agent = Agent::start(leno).await?;
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
