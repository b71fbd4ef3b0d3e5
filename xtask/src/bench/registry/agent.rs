//! A running agent, and what is measured of it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::Signal;
use tokio::task::JoinSet;

use super::connection::Connection;
use super::requests::{fleet, get};
use super::times::Times;
use super::{RATE_TIME, SETTLE_TIME, SETTLE_TIME_EACH, START_TIMEOUT, WAITERS, WAKE_UPS, WARM_UPS};
use crate::tools::signal;

/// A registry that can be measured.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) kind: Kind,
    pub(super) binary: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Leno,
    /// One server with its data on disk, as Leno has.
    Consul,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Leno => "Leno",
            Self::Consul => "Consul",
        }
    }
}

/// A running agent with its data in a temporary folder; killed when it is dropped.
pub(super) struct Agent {
    process: Child,
    pub(super) address: SocketAddr,
    pub(super) dns: SocketAddr,
    folder: tempfile::TempDir,
    program: Program,
}

/// How fast something went, and how long each took.
pub(super) struct Load {
    pub(super) per_second: f64,
    pub(super) times: Times,
}

impl Agent {
    pub(super) async fn start(program: &Program) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (address, dns) = (free_address()?, free_address()?);
        let process = spawn(program, folder.path(), address, dns)?;
        let agent = Self { process, address, dns, folder, program: program.clone() };
        agent.ready().await?;
        Ok(agent)
    }

    /// Ends it in order.
    pub(super) fn end(&mut self) -> anyhow::Result<()> {
        signal(&self.process, Signal::TERM)?;
        let status = self.process.wait()?;
        if status.success() { Ok(()) } else { bail!("the agent ended with {status}") }
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        while began.elapsed() < START_TIMEOUT {
            if let Ok(mut connection) = Connection::open(self.address).await
                && let Ok(answer) = connection.exchange(&get("/v1/status/leader")).await
                // Consul answers with an empty name as long as it has none.
                && answer.status == 200
                && answer.body.len() > 2
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bail!("the agent did not start within {} s", START_TIMEOUT.as_secs())
    }

    /// What `clients` keep-alive connections get through.
    pub(super) async fn rate(
        &self,
        clients: u64,
        request: fn(u64, u64) -> Vec<u8>,
    ) -> anyhow::Result<Load> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for client in 0..clients {
            let stop = Arc::clone(&stop);
            let mut connection = Connection::open(self.address).await?;
            tasks.spawn(async move {
                let mut times = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let request = request(client, times.len() as u64);
                    let began = Instant::now();
                    connection.expect_ok(&request).await?;
                    times.push(began.elapsed());
                }
                anyhow::Ok(times)
            });
        }
        Load::over_time(&stop, tasks).await
    }

    /// From sending a change to receiving the answer of each blocked query.
    pub(super) async fn wake_ups(
        &self,
        path: &str,
        change: fn(u64) -> Vec<u8>,
    ) -> anyhow::Result<Times> {
        let mut delays = Vec::new();
        let mut writer = Connection::open(self.address).await?;
        let mut waiters = Vec::new();
        for _ in 0..WAITERS {
            waiters.push(Connection::open(self.address).await?);
        }
        for round in 0..(WARM_UPS + WAKE_UPS) as u64 {
            let answer = writer.exchange(&get(path)).await?;
            let index = answer.header("x-consul-index").context("an index")?.to_owned();
            let mut tasks = JoinSet::new();
            for mut waiter in waiters.drain(..) {
                let query = get(&format!("{path}?index={index}&wait=60s"));
                tasks.spawn(async move {
                    waiter.expect_ok(&query).await?;
                    anyhow::Ok((waiter, Instant::now()))
                });
            }
            self.blocked(&mut writer, WAITERS).await?;
            let changed = Instant::now();
            writer.expect_ok(&change(round)).await?;
            while let Some(ended) = tasks.join_next().await {
                let (waiter, at) = ended??;
                waiters.push(waiter);
                if round >= WARM_UPS as u64 {
                    delays.push(at - changed);
                }
            }
        }
        Ok(Times::of(delays))
    }

    /// Waits until the agent itself says that so many queries are blocked. Consul's figure comes too late for that.
    pub(super) async fn blocked(
        &self,
        connection: &mut Connection,
        count: usize,
    ) -> anyhow::Result<()> {
        if self.program.kind == Kind::Consul {
            tokio::time::sleep(SETTLE_TIME + SETTLE_TIME_EACH * count as u32).await;
            return Ok(());
        }
        let began = Instant::now();
        while began.elapsed() < START_TIMEOUT {
            let answer = connection.exchange(&get("/metrics")).await?;
            let body = std::str::from_utf8(answer.body)?;
            let line = body.lines().find(|line| line.starts_with("leno_blocked_queries{"));
            let blocked = line.and_then(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
            if blocked.is_some_and(|blocked| blocked >= count) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bail!("the queries did not block")
    }

    pub(super) async fn register_up_to(&self, from: u64, to: u64) -> anyhow::Result<()> {
        let next = Arc::new(AtomicU64::new(from));
        let mut tasks = JoinSet::new();
        for _ in 0..64 {
            let next = Arc::clone(&next);
            let mut connection = Connection::open(self.address).await?;
            tasks.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= to {
                        return anyhow::Ok(());
                    }
                    connection.expect_ok(&fleet(number)).await?;
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(())
    }

    pub(super) fn resident_mib(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        Ok(kib.context("the kernel tells the resident memory")? / 1024.0)
    }

    /// From starting the process again after SIGKILL to its first answer.
    pub(super) async fn restart_time(mut self) -> anyhow::Result<Duration> {
        self.process.kill()?;
        self.process.wait()?;
        let began = Instant::now();
        self.process = spawn(&self.program, self.folder.path(), self.address, self.dns)?;
        self.ready().await?;
        Ok(began.elapsed())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Load {
    /// Lets clients run for as long as a rate is measured. Each returns how long its requests took.
    pub(super) async fn over_time(
        stop: &AtomicBool,
        mut clients: JoinSet<anyhow::Result<Vec<Duration>>>,
    ) -> anyhow::Result<Self> {
        let began = Instant::now();
        tokio::time::sleep(RATE_TIME).await;
        stop.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        while let Some(ended) = clients.join_next().await {
            times.extend(ended??);
        }
        let per_second = times.len() as f64 / began.elapsed().as_secs_f64();
        Ok(Self { per_second, times: Times::of(times) })
    }
}

fn spawn(
    program: &Program,
    folder: &Path,
    http: SocketAddr,
    dns: SocketAddr,
) -> anyhow::Result<Child> {
    let mut command = Command::new(&program.binary);
    match program.kind {
        Kind::Leno => command
            .args(["--log", "warn", "agent", "--node", "bench", "--proxy-admin", "off"])
            .args(["--connections-per-client", "0"])
            .args(["--ingress", "off", "--ingress-tls", "off", "--outbound", "127.0.0.1:0"])
            .args(["--http", &http.to_string(), "--dns", &dns.to_string()]),
        Kind::Consul => command
            .args(["agent", "-server", "-bootstrap-expect=1", "-node=bench", "-log-level=err"])
            .args(["-bind=127.0.0.1", "-client=127.0.0.1", "-grpc-port=-1"])
            .arg(format!("-http-port={}", http.port()))
            .arg(format!("-dns-port={}", dns.port()))
            .arg(format!("-server-port={}", free_address()?.port()))
            .arg(format!("-serf-lan-port={}", free_address()?.port()))
            .args(["-serf-wan-port=-1", "-disable-host-node-id"])
            // Else it refuses more than 200 connections of one address; with more than the files it may open, to start.
            .args(["-hcl", "limits { http_max_conns_per_client = 15000 }"])
            .args(["-hcl", "performance { raft_multiplier = 1 }"])
            .args(["-hcl", "disable_update_check = true"])
            .stdout(Stdio::null()),
    };
    let flag = match program.kind {
        Kind::Leno => "--data-dir",
        Kind::Consul => "-data-dir",
    };
    command.arg(flag).arg(folder).stdin(Stdio::null()).spawn().context("cannot start the agent")
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(StdListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
