//! Rounds: every proxy of a scenario alive at once, one after the other under load, and again.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::load::{Load, Pace, Plan};
use super::machine::{self, Layout};
use super::probe;
use super::proxies::{Kind, Order, Proxy, Stand};
use super::scenario::{Amount, Scenario, apply};
use super::units::BODY_SMALL;
use super::{Options, note};

/// How long each proxy is under load before anything counts.
const WARM_UP_SECONDS: u64 = 1;
/// Requests of a warm-up, for a tool that counts; they also tell how many make a round.
const WARM_UP_REQUESTS: u64 = 5_000;
/// Connections that a proxy must bear at once, on both sides: 200 streams at most, and their upstream connections.
const CONNECTIONS: u64 = 4_096;
/// Files that a process has open beside its connections.
const OTHER_FILES: u64 = 500;
/// Connections that send while the configuration is reloaded.
const RELOAD_CONNECTIONS: usize = 16;
/// How long a reload may take.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is looked whether it has happened.
const RELOAD_LOOK_EVERY: Duration = Duration::from_millis(1);

/// What one proxy did in one round.
#[derive(Clone, Debug)]
pub(super) struct Round {
    pub(super) load: Load,
    /// CPU time of the proxy's process, user and system.
    pub(super) cpu_us_per_request: f64,
    /// CPU time of the proxy in this time, as a share of one core.
    pub(super) busy: f64,
    /// Resident memory at the end of the round's load.
    pub(super) loaded_kib: u64,
}

/// All rounds of one proxy.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) workers: u16,
    /// The most that it had before it was under load, over the rounds.
    pub(super) idle_kib: u64,
    pub(super) rounds: Vec<Round>,
}

/// Memory of idle connections.
#[derive(Clone, Debug)]
pub(super) struct Idle {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) connections: u64,
    pub(super) wanted: u64,
    pub(super) before_kib: u64,
    pub(super) after_kib: u64,
}

/// Reloads under load.
#[derive(Clone, Debug)]
pub(super) struct Reloads {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) reloads: u32,
    pub(super) load: Load,
    pub(super) before_kib: u64,
    /// After a tenth of the reloads, when caches have what they will have.
    pub(super) early_kib: u64,
    pub(super) after_kib: u64,
}

/// What a scenario showed.
pub(super) enum Outcome {
    Rounds(Scenario, Vec<Series>),
    Idle(Vec<Idle>),
    Reloads(Vec<Reloads>),
}

pub(super) fn measure(
    scenario: Scenario,
    options: &Options,
    stand: &Stand,
) -> anyhow::Result<Option<Outcome>> {
    let kinds: Vec<Kind> =
        options.proxies.iter().copied().filter(|kind| scenario.has(*kind)).collect();
    if kinds.is_empty() {
        return Ok(None);
    }
    note(&format!("\n{}: {}", scenario.name(), scenario.title()));
    let cores = machine::cores();
    Ok(Some(match scenario {
        Scenario::Idle100k => {
            let layout = Layout::one_worker(cores)?;
            let idle = |kind| idle(kind, options, stand, &layout);
            Outcome::Idle(kinds.into_iter().map(idle).collect::<Result<_, _>>()?)
        }
        Scenario::Reloads => {
            let layout = Layout::one_worker(cores)?;
            let reloads = |kind| reloads(kind, options, stand, &layout);
            Outcome::Reloads(kinds.into_iter().map(reloads).collect::<Result<_, _>>()?)
        }
        Scenario::Workers2 => {
            let layout = Layout::two_workers(cores);
            rounds(scenario, &kinds, &[1, 2], &layout, options, stand)?
        }
        _ => rounds(scenario, &kinds, &[1], &Layout::one_worker(cores)?, options, stand)?,
    }))
}

fn order(kind: Kind, workers: u16, scenario: Scenario, layout: &Layout) -> Order {
    Order {
        kind,
        workers,
        bootstrap: scenario.bootstrap(),
        cores: layout.proxy.clone(),
        connections: CONNECTIONS,
    }
}

/// Each round has processes of its own: two of one program were seen to differ by a tenth for as long as they lived.
fn rounds(
    scenario: Scenario,
    kinds: &[Kind],
    workers: &[u16],
    layout: &Layout,
    options: &Options,
    stand: &Stand,
) -> anyhow::Result<Outcome> {
    let mut series = Vec::new();
    for kind in kinds {
        series.extend(workers.iter().map(|workers| Series {
            name: order(*kind, *workers, scenario, layout).name(),
            kind: *kind,
            workers: *workers,
            idle_kib: 0,
            rounds: Vec::new(),
        }));
    }
    for number in 0..options.rounds {
        let mut proxies = Vec::new();
        for one in &mut series {
            let proxy = Proxy::start(&order(one.kind, one.workers, scenario, layout), stand)?;
            one.idle_kib = one.idle_kib.max(proxy.idle_kib);
            probe::verify(&proxy, stand, scenario)?;
            let amount = warm_up(scenario, &proxy, layout, options, stand)?;
            proxies.push((proxy, amount));
        }
        for turn in 0..proxies.len() {
            // Each round begins with another, so that none always runs behind the same neighbor.
            let index = (turn + number) % proxies.len();
            let (proxy, amount) = &proxies[index];
            let round = round(scenario, proxy, stand, amount)?;
            note(&format!(
                "  round {}  {:<10} {:>9.2} µs  {:>8.0} /s",
                number + 1,
                proxy.name(),
                round.cpu_us_per_request,
                round.load.requests as f64 / round.load.seconds,
            ));
            series[index].rounds.push(round);
        }
        for (proxy, _) in &proxies {
            probe::verify(proxy, stand, scenario)?;
        }
    }
    Ok(Outcome::Rounds(scenario, series))
}

/// A short load that does not count; it tells how many requests a round has, for a tool that does not look at the clock.
fn warm_up<'a>(
    scenario: Scenario,
    proxy: &Proxy,
    layout: &'a Layout,
    options: &Options,
    stand: &Stand,
) -> anyhow::Result<Amount<'a>> {
    let amount =
        Amount { seconds: WARM_UP_SECONDS, requests: WARM_UP_REQUESTS, rate: options.rate, layout };
    let load = apply(scenario, proxy, stand, &amount)?;
    let rate = load.requests as f64 / load.seconds.max(1e-3);
    let requests = (rate * options.seconds as f64).max(WARM_UP_REQUESTS as f64) as u64;
    Ok(Amount { seconds: options.seconds, requests, ..amount })
}

fn round(
    scenario: Scenario,
    proxy: &Proxy,
    stand: &Stand,
    amount: &Amount<'_>,
) -> anyhow::Result<Round> {
    let before_ns = proxy.cpu_ns()?;
    let began = Instant::now();
    let load = apply(scenario, proxy, stand, amount)?;
    let took_ns = began.elapsed().as_nanos() as f64;
    let used_ns = proxy.cpu_ns()?.saturating_sub(before_ns) as f64;
    if load.requests == 0 || used_ns == 0.0 {
        bail!("{} did nothing under {}", proxy.name(), scenario.name());
    }
    Ok(Round {
        cpu_us_per_request: used_ns / 1e3 / load.requests as f64,
        busy: used_ns / took_ns,
        loaded_kib: proxy.resident_kib()?,
        load,
    })
}

/// The proxy's side and, for those that need one for each client, the backend's side.
fn idle_connections(wanted: u64, file_limit: u64) -> u64 {
    wanted.min(file_limit.saturating_sub(OTHER_FILES) / 2)
}

fn idle(kind: Kind, options: &Options, stand: &Stand, layout: &Layout) -> anyhow::Result<Idle> {
    let connections = idle_connections(options.idle, stand.files.file_limit);
    let order = Order {
        connections: 2 * connections + OTHER_FILES,
        ..order(kind, 1, Scenario::Idle100k, layout)
    };
    let proxy = Proxy::start(&order, stand)?;
    if connections < options.idle {
        let limit = stand.files.file_limit;
        note(&format!("  {connections} connections: a process may open only {limit} files"));
    }
    let count = usize::try_from(connections)?;
    let plan = Plan::new(proxy.ports.http1, "/", BODY_SMALL, count, Pace::Idle);
    let mut generator = plan.start(layout.load.as_deref())?;
    generator.ready().with_context(|| proxy.name())?;
    let after_kib = proxy.resident_kib()?;
    generator.finish().with_context(|| format!("{} lost idle connections", proxy.name()))?;
    let before_kib = proxy.idle_kib;
    note(&format!("  {:<10} {before_kib} KiB, then {after_kib} KiB", proxy.name()));
    Ok(Idle { name: proxy.name(), kind, connections, wanted: options.idle, before_kib, after_kib })
}

fn reloads(
    kind: Kind,
    options: &Options,
    stand: &Stand,
    layout: &Layout,
) -> anyhow::Result<Reloads> {
    let proxy = Proxy::start(&order(kind, 1, Scenario::Reloads, layout), stand)?;
    probe::verify(&proxy, stand, Scenario::Reloads)?;
    let mut plan =
        Plan::new(proxy.ports.http1, "/", BODY_SMALL, RELOAD_CONNECTIONS, Pace::UntilTold);
    plan.tolerant = true;
    let mut generator = plan.start(layout.load.as_deref())?;
    generator.ready()?;
    thread::sleep(Duration::from_secs(WARM_UP_SECONDS));
    let before_kib = proxy.resident_kib()?;
    let mut early_kib = before_kib;
    for number in 1..=options.reloads {
        proxy.reload(number, stand)?;
        wait_for_generation(&proxy, number)?;
        if number == options.reloads.div_ceil(10) {
            early_kib = proxy.resident_kib()?;
        }
    }
    let after_kib = proxy.resident_kib()?;
    let load = generator.finish()?;
    let (name, count) = (proxy.name(), options.reloads);
    note(&format!(
        "  {name:<10} {count} reloads, {} requests, {} failed",
        load.requests, load.failures
    ));
    Ok(Reloads { name, kind, reloads: count, load, before_kib, early_kib, after_kib })
}

/// Asks over new connections until the new file answers.
fn wait_for_generation(proxy: &Proxy, number: u32) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let generation = probe::generation(proxy);
        if generation.as_ref().is_ok_and(|it| *it == number.to_string()) {
            return Ok(());
        }
        if began.elapsed() > RELOAD_TIMEOUT {
            bail!("{} did not reload: /generation is {generation:?}", proxy.name());
        }
        thread::sleep(RELOAD_LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_connections_stay_below_the_limit_of_files() {
        assert_eq!(idle_connections(100_000, 1 << 20), 100_000);
        assert_eq!(idle_connections(100_000, 20_000), 9_750);
        assert_eq!(idle_connections(100_000, 100), 0);
    }
}
