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
use super::requests::{fleet, get, web};
use super::{RATE_TIME, START_TIMEOUT, WAITERS, WAKE_UPS, WARM_UPS};
use crate::tools::signal;

/// A running agent with its data in a temporary folder; killed when it is dropped.
pub(super) struct Agent {
    process: Child,
    pub(super) address: SocketAddr,
    folder: tempfile::TempDir,
    binary: PathBuf,
}

impl Agent {
    pub(super) async fn start(binary: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = free_address()?;
        let process = spawn(binary, folder.path(), address)?;
        let agent = Self { process, address, folder, binary: binary.to_owned() };
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
                && connection.expect_ok(&get("/v1/status/leader")).await.is_ok()
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bail!("the agent did not start within {} s", START_TIMEOUT.as_secs())
    }

    /// Requests per second that `clients` keep-alive connections get through.
    pub(super) async fn rate(
        &self,
        clients: u64,
        request: fn(u64, u64) -> Vec<u8>,
    ) -> anyhow::Result<f64> {
        let stop = Arc::new(AtomicBool::new(false));
        let count = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for client in 0..clients {
            let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
            let mut connection = Connection::open(self.address).await?;
            tasks.spawn(async move {
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    connection.expect_ok(&request(client, number)).await?;
                    number += 1;
                    count.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(())
            });
        }
        let began = Instant::now();
        tokio::time::sleep(RATE_TIME).await;
        let (done, took) = (count.load(Ordering::Relaxed), began.elapsed());
        stop.store(true, Ordering::Relaxed);
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(done as f64 / took.as_secs_f64())
    }

    /// From sending a change to receiving the answer of each blocked query.
    pub(super) async fn wake_ups(&self) -> anyhow::Result<Vec<Duration>> {
        let mut delays = Vec::new();
        let mut writer = Connection::open(self.address).await?;
        let mut waiters = Vec::new();
        for _ in 0..WAITERS {
            waiters.push(Connection::open(self.address).await?);
        }
        for round in 0..WARM_UPS + WAKE_UPS {
            let answer = writer.exchange(&get("/v1/health/service/web")).await?;
            let index = answer.header("x-consul-index").context("an index")?.to_owned();
            let mut tasks = JoinSet::new();
            for mut waiter in waiters.drain(..) {
                let query = get(&format!("/v1/health/service/web?index={index}&wait=60s"));
                tasks.spawn(async move {
                    waiter.expect_ok(&query).await?;
                    anyhow::Ok((waiter, Instant::now()))
                });
            }
            self.blocked(&mut writer, WAITERS).await?;
            let changed = Instant::now();
            writer.expect_ok(&web(round as u64 % 10, &format!("web-{round}"))).await?;
            while let Some(ended) = tasks.join_next().await {
                let (waiter, at) = ended??;
                waiters.push(waiter);
                if round >= WARM_UPS {
                    delays.push(at - changed);
                }
            }
        }
        Ok(delays)
    }

    /// Waits until the agent itself says that so many queries are blocked.
    pub(super) async fn blocked(
        &self,
        connection: &mut Connection,
        count: usize,
    ) -> anyhow::Result<()> {
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
        self.process = spawn(&self.binary, self.folder.path(), self.address)?;
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

fn spawn(binary: &Path, folder: &Path, address: SocketAddr) -> anyhow::Result<Child> {
    Command::new(binary)
        .args(["--log", "warn", "agent", "--node", "bench", "--dns", "off", "--proxy-admin", "off"])
        .args(["--ingress", "off", "--ingress-tls", "off", "--outbound", "127.0.0.1:0"])
        .arg("--http")
        .arg(address.to_string())
        .arg("--data-dir")
        .arg(folder)
        .stdin(Stdio::null())
        .spawn()
        .context("cannot start the agent")
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(StdListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
