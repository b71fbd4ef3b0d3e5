//! `cargo xtask bench registry`: the agent as a user runs it, asked over HTTP from this process.
//!
//! Client and agent share the machine, so the figures are what both together reach.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::tools::{root, say, signal, step};

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

/// A running agent with its data in a temporary folder; killed when it is dropped.
struct Agent {
    process: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
    binary: PathBuf,
}

impl Agent {
    async fn start(binary: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = free_address()?;
        let process = spawn(binary, folder.path(), address)?;
        let agent = Self { process, address, folder, binary: binary.to_owned() };
        agent.ready().await?;
        Ok(agent)
    }

    /// Ends it in order.
    fn end(&mut self) -> anyhow::Result<()> {
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
    async fn rate(&self, clients: u64, request: fn(u64, u64) -> Vec<u8>) -> anyhow::Result<f64> {
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
    async fn wake_ups(&self) -> anyhow::Result<Vec<Duration>> {
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
    async fn blocked(&self, connection: &mut Connection, count: usize) -> anyhow::Result<()> {
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

    async fn register_up_to(&self, from: u64, to: u64) -> anyhow::Result<()> {
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

    fn resident_mib(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        Ok(kib.context("the kernel tells the resident memory")? / 1024.0)
    }

    /// From starting the process again after SIGKILL to its first answer.
    async fn restart_time(mut self) -> anyhow::Result<Duration> {
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

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").into_bytes()
}

fn put(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("PUT {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// A new instance with a check, as an agent's client registers it.
fn registration(client: u64, number: u64) -> Vec<u8> {
    let body = format!(
        r#"{{"ID":"s-{client}-{number}","Name":"s-{}","Address":"127.0.0.1","Port":8080,"Tags":["v1"],"Check":{{"TTL":"30m"}}}}"#,
        number % 100
    );
    put("/v1/agent/service/register", &body)
}

fn web(instance: u64, tag: &str) -> Vec<u8> {
    let body = format!(
        r#"{{"ID":"web-{instance}","Name":"web","Address":"127.0.0.1","Port":8080,"Tags":["{tag}"]}}"#
    );
    put("/v1/agent/service/register", &body)
}

/// One instance of a fleet: 100 to a node, 1,000 services, with metadata and a check each.
fn fleet(number: u64) -> Vec<u8> {
    let (node, service) = (number / 100, number % 1000);
    let body = format!(
        r#"{{"Node":"node-{node}","Address":"10.0.{}.{}","SkipNodeUpdate":true,"Service":{{"ID":"i-{number}","Service":"service-{service}","Address":"10.0.0.1","Port":8080,"Tags":["v1","production"],"Meta":{{"version":"1.2.3","zone":"a"}}}},"Check":{{"CheckID":"c-{number}","Name":"alive","Status":"passing","ServiceID":"i-{number}"}}}}"#,
        node / 256,
        node % 256
    );
    put("/v1/catalog/register", &body)
}

/// A keep-alive connection that speaks just enough HTTP/1.1 for our own agent.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer, as it lies in the connection's buffer.
struct Answer<'a> {
    status: u16,
    head: &'a str,
    body: &'a [u8],
}

impl<'a> Answer<'a> {
    fn header(&self, name: &str) -> Option<&'a str> {
        header(self.head, name)
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").find_map(|line| {
        let (key, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

impl Connection {
    async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 << 10) })
    }

    async fn expect_ok(&mut self, request: &[u8]) -> anyhow::Result<()> {
        let answer = self.exchange(request).await?;
        match answer.status {
            200 => Ok(()),
            status => Err(anyhow!("{status}: {}", String::from_utf8_lossy(answer.body))),
        }
    }

    /// Sends a request and waits for the whole answer. The answer before is forgotten.
    async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let mut lengths = None;
        loop {
            if lengths.is_none() {
                lengths = self.lengths()?;
            }
            if let Some((head, body)) = lengths
                && self.buffer.len() >= head + body
            {
                let text = std::str::from_utf8(&self.buffer[..head])?;
                let status = text.get(9..12).and_then(|it| it.parse().ok()).context("a status")?;
                return Ok(Answer { status, head: text, body: &self.buffer[head..head + body] });
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the agent closed the connection");
            }
        }
    }

    /// Bytes of head and body, once the head is there.
    fn lengths(&self) -> anyhow::Result<Option<(usize, usize)>> {
        let Some(end) = self.buffer.windows(4).position(|it| it == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = std::str::from_utf8(&self.buffer[..end])?;
        let length = header(head, "content-length").context("the agent sends lengths")?;
        Ok(Some((end + 4, length.parse()?)))
    }
}
