//! Our own load generator, a process of its own that prints what it counted as one line of JSON.
//!
//! It is for what wrk and h2load do not do: a TLS connection for each request, a count that is exact when answers are few
//! and large, a rate that does not yield to a slow server, and idle connections. Each connection is a thread with a
//! blocking socket, so that it wakes when it should and not at the next tick of a timer.

use std::io::{self, BufRead, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use serde_json::{Value, json};

use super::client::{Client, Target, request, tls_config};
use super::machine::pinned;
use super::units::percentile;
use crate::tools::run;

/// Ports that one source address may use: the kernel's default range has 28,232.
const CONNECTIONS_PER_SOURCE: usize = 20_000;

/// What a load generator counted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Load {
    /// Requests that were answered, whole and with success.
    pub(super) requests: u64,
    pub(super) seconds: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    /// Requests that failed; always 0 unless the plan tolerates them.
    pub(super) failures: u64,
}

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pace {
    /// The next when the last is answered, for so many seconds; what was begun is finished and counted.
    Closed { seconds: u64 },
    /// The same, until the generator's standard input ends.
    UntilTold,
    /// So many a second, evenly, whether the server keeps up or not. The time of a request runs from when it was due.
    Open { rate: u64, seconds: u64 },
    /// One on each connection, then nothing until the generator is told, then one more on each.
    Idle,
}

/// What the generator does.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) address: SocketAddr,
    pub(super) path: String,
    /// Bytes that each answer must have.
    pub(super) bytes: usize,
    pub(super) connections: usize,
    pub(super) pace: Pace,
    /// Speak TLS, and trust this certificate.
    pub(super) certificate: Option<PathBuf>,
    /// A new connection for each request.
    pub(super) connection_each: bool,
    /// Count failures instead of ending with the first.
    pub(super) tolerant: bool,
}

impl Plan {
    /// A plan of a plain closed loop.
    pub(super) fn new(port: u16, path: &str, bytes: usize, connections: usize, pace: Pace) -> Self {
        Self {
            address: (Ipv4Addr::LOCALHOST, port).into(),
            path: path.to_owned(),
            bytes,
            connections,
            pace,
            certificate: None,
            connection_each: false,
            tolerant: false,
        }
    }

    /// Runs it in a process of its own, on the given cores.
    pub(super) fn run(&self, cores: Option<&str>) -> anyhow::Result<Load> {
        let me = std::env::current_exe()?;
        let output = run(pinned(&me, cores).args(self.arguments()))?;
        parse_load(&String::from_utf8_lossy(&output.stdout))
    }

    /// Starts it in a process of its own; it goes on until it is told.
    pub(super) fn start(&self, cores: Option<&str>) -> anyhow::Result<Generator> {
        let me = std::env::current_exe()?;
        let mut child = pinned(&me, cores)
            .args(self.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the load generator")?;
        let told = child.stdin.take();
        let tells = io::BufReader::new(child.stdout.take().context("it is piped")?);
        Ok(Generator { child, told, tells })
    }

    fn arguments(&self) -> Vec<String> {
        let (pace, seconds, rate) = match self.pace {
            Pace::Closed { seconds } => ("closed", seconds, 0),
            Pace::UntilTold => ("until-told", 0, 0),
            Pace::Open { rate, seconds } => ("open", seconds, rate),
            Pace::Idle => ("idle", 0, 0),
        };
        let plan = json!({
            "address": self.address.to_string(),
            "path": self.path,
            "bytes": self.bytes,
            "connections": self.connections,
            "pace": pace,
            "seconds": seconds,
            "rate": rate,
            "certificate": self.certificate.as_ref().map(|it| it.display().to_string()),
            "connection_each": self.connection_each,
            "tolerant": self.tolerant,
        });
        ["bench", "data-plane", "load"]
            .map(str::to_owned)
            .into_iter()
            .chain([plan.to_string()])
            .collect()
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let plan: Value = serde_json::from_str(text).context("the plan is not JSON")?;
        let string = |name: &str| plan[name].as_str().with_context(|| format!("no {name}"));
        let number = |name: &str| plan[name].as_u64().with_context(|| format!("no {name}"));
        let seconds = number("seconds")?;
        let pace = match string("pace")? {
            "closed" => Pace::Closed { seconds },
            "until-told" => Pace::UntilTold,
            "open" => Pace::Open { rate: number("rate")?, seconds },
            "idle" => Pace::Idle,
            other => bail!("no pace {other}"),
        };
        Ok(Self {
            address: string("address")?.parse()?,
            path: string("path")?.to_owned(),
            bytes: usize::try_from(number("bytes")?)?,
            connections: usize::try_from(number("connections")?)?,
            pace,
            certificate: plan["certificate"].as_str().map(PathBuf::from),
            connection_each: plan["connection_each"] == true,
            tolerant: plan["tolerant"] == true,
        })
    }
}

/// A generator that runs until it is told. Ended when it is dropped.
pub(super) struct Generator {
    child: Child,
    told: Option<ChildStdin>,
    tells: io::BufReader<ChildStdout>,
}

impl Generator {
    /// Waits until it has opened its connections.
    pub(super) fn ready(&mut self) -> anyhow::Result<()> {
        let mut line = String::new();
        self.tells.read_line(&mut line)?;
        if line.trim() == "ready" { Ok(()) } else { Err(self.failure(&line)) }
    }

    /// Tells it to finish, and takes what it counted.
    pub(super) fn finish(mut self) -> anyhow::Result<Load> {
        drop(self.told.take());
        let mut line = String::new();
        self.tells.read_line(&mut line)?;
        parse_load(&line).map_err(|_| self.failure(&line))
    }

    /// Why it ended, in its own words.
    fn failure(&mut self, line: &str) -> anyhow::Error {
        let mut rest = String::new();
        let _ = self.tells.read_to_string(&mut rest);
        anyhow!("the load generator ended early: {line}{rest}")
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parse_load(text: &str) -> anyhow::Result<Load> {
    let load: Value = serde_json::from_str(text.trim()).context("the generator tells no count")?;
    let float = |name: &str| load[name].as_f64().with_context(|| format!("no {name}"));
    let count = |name: &str| load[name].as_u64().with_context(|| format!("no {name}"));
    Ok(Load {
        requests: count("requests")?,
        seconds: float("seconds")?,
        p50_us: float("p50_us")?,
        p99_us: float("p99_us")?,
        failures: count("failures")?,
    })
}

/// The generator's process.
pub(super) fn generate(plan: &str) -> anyhow::Result<()> {
    let plan = Plan::parse(plan)?;
    let target = Target {
        address: plan.address,
        tls: plan.certificate.as_deref().map(tls_config).transpose()?,
    };
    let load = match plan.pace {
        Pace::Idle => idle(&plan, &target)?,
        Pace::Closed { .. } | Pace::UntilTold | Pace::Open { .. } => busy(&plan, &target)?,
    };
    tell(
        &json!({
            "requests": load.requests,
            "seconds": load.seconds,
            "p50_us": load.p50_us,
            "p99_us": load.p99_us,
            "failures": load.failures,
        })
        .to_string(),
    )
}

fn tell(line: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// Source address of a connection: 127.HIGH.LOW.NUMBER with both bytes of the target's port, so that ports which wait for
/// their end after one proxy's run are not missing in the next one's.
fn source(target: SocketAddr, number: usize) -> anyhow::Result<IpAddr> {
    let [high, low] = target.port().to_be_bytes();
    let last = u8::try_from(number + 1).context("more than 255 source addresses")?;
    Ok(Ipv4Addr::new(127, high, low, last).into())
}

/// What one thread counted.
#[derive(Default)]
struct Counted {
    times_us: Vec<u32>,
    failures: u64,
}

fn busy(plan: &Plan, target: &Target) -> anyhow::Result<Load> {
    let stop = Arc::new(AtomicBool::new(false));
    if plan.pace == Pace::UntilTold {
        let stop = Arc::clone(&stop);
        thread::spawn(move || {
            let _ = io::stdin().lock().read_line(&mut String::new());
            stop.store(true, Ordering::Relaxed);
        });
        tell("ready")?;
    }
    let began = Instant::now();
    let counted: Vec<anyhow::Result<Counted>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.connections)
            .map(|number| {
                let stop = &stop;
                scope.spawn(move || {
                    let schedule = Schedule { began, number, plan, stop };
                    schedule.run(target)
                })
            })
            .collect();
        let failed = |_| Err(anyhow!("a thread panicked"));
        threads.into_iter().map(|it| it.join().unwrap_or_else(failed)).collect()
    });
    let seconds = began.elapsed().as_secs_f64();
    let mut times = Vec::new();
    let mut failures = 0;
    for counted in counted {
        let counted = counted?;
        times.extend(counted.times_us);
        failures += counted.failures;
    }
    times.sort_unstable();
    Ok(Load {
        requests: times.len() as u64,
        seconds,
        p50_us: percentile(&times, 0.5),
        p99_us: percentile(&times, 0.99),
        failures,
    })
}

/// One connection's part of the load.
struct Schedule<'a> {
    began: Instant,
    number: usize,
    plan: &'a Plan,
    stop: &'a AtomicBool,
}

impl Schedule<'_> {
    fn run(&self, target: &Target) -> anyhow::Result<Counted> {
        let request = request(&self.plan.path, self.plan.connection_each);
        let source = self.plan.connection_each.then(|| source(target.address, self.number));
        let source = source.transpose()?;
        let mut counted = Counted::default();
        let mut client = None;
        for round in 0.. {
            let Some(due) = self.next(round) else { break };
            let mut open = match client.take() {
                Some(client) => Ok(client),
                None => Client::open(target, source),
            };
            let done = open
                .as_mut()
                .map_err(|error| anyhow!("{error:#}"))
                .and_then(|it| it.expect(&request, self.plan.bytes));
            match done {
                Ok(answer) => {
                    let took = due.elapsed().as_micros();
                    counted.times_us.push(u32::try_from(took).unwrap_or(u32::MAX));
                    if !answer.closes && !self.plan.connection_each {
                        client = open.ok();
                    }
                }
                Err(error) if !self.plan.tolerant => return Err(error),
                Err(_) => counted.failures += 1,
            }
        }
        Ok(counted)
    }

    /// Waits until the next request is due, and says when that was; none when all is sent.
    fn next(&self, round: u32) -> Option<Instant> {
        match self.plan.pace {
            Pace::Closed { seconds } => {
                let over = self.began.elapsed() >= Duration::from_secs(seconds);
                (!over).then(Instant::now)
            }
            Pace::UntilTold => (!self.stop.load(Ordering::Relaxed)).then(Instant::now),
            Pace::Open { rate, seconds } => {
                let turn = self.number as f64 + f64::from(round) * self.plan.connections as f64;
                let at = Duration::from_secs_f64(turn / rate as f64);
                let due = self.began + at;
                thread::sleep(due.saturating_duration_since(Instant::now()));
                (at < Duration::from_secs(seconds)).then_some(due)
            }
            Pace::Idle => None,
        }
    }
}

/// Opens every connection with one request, waits, and asks once more on each: none may have been lost.
fn idle(plan: &Plan, target: &Target) -> anyhow::Result<Load> {
    let request = request(&plan.path, false);
    let began = Instant::now();
    let mut clients = Vec::with_capacity(plan.connections);
    for number in 0..plan.connections {
        let opened =
            Client::open(target, Some(source(target.address, number / CONNECTIONS_PER_SOURCE)?));
        let mut client = opened.with_context(|| format!("connection {number}"))?;
        client.expect(&request, plan.bytes).with_context(|| format!("connection {number}"))?;
        // 100,000 buffers would be more memory than the proxies have.
        client.take_body();
        clients.push(client);
    }
    tell("ready")?;
    io::stdin().lock().read_line(&mut String::new())?;
    for (number, client) in clients.iter_mut().enumerate() {
        client
            .expect(&request, plan.bytes)
            .with_context(|| format!("connection {number}, after it was idle"))?;
        client.take_body();
    }
    let requests = 2 * plan.connections as u64;
    let seconds = began.elapsed().as_secs_f64();
    Ok(Load { requests, seconds, p50_us: 0.0, p99_us: 0.0, failures: 0 })
}

/// The certificate's file, for a plan with TLS.
pub(super) fn with_tls(mut plan: Plan, certificate: &Path) -> Plan {
    plan.certificate = Some(certificate.to_owned());
    plan
}

#[cfg(test)]
mod tests;
