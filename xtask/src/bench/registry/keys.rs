//! Keys, transactions, locks, names, and who waits for changes of them.

use std::time::Instant;

use anyhow::{Context, bail};

use super::agent::{Agent, Load, Program};
use super::connection::Connection;
use super::dns;
use super::figures::Figure;
use super::requests::{get, kv_put, put, transaction, web};
use super::times::Times;

/// Clients that ask at once.
const CLIENTS: u64 = 64;
/// Clients that ask for names at once.
const DNS_CLIENTS: u64 = 16;
/// Times that a lock goes from one session to the other.
const HAND_OVERS: usize = 200;
/// Queries that wait while nothing happens.
const IDLE_WAITERS: usize = 10_000;

/// Measures one agent, from its start.
pub(super) async fn measure(program: &Program) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let agent = Agent::start(program).await?;
    let load = agent.rate(1, kv_put).await?;
    of_load(&mut figures, "KV put, 1 client", &load);
    let load = agent.rate(CLIENTS, kv_put).await?;
    of_load(&mut figures, "KV put, 64 clients", &load);
    let load = agent.rate(CLIENTS, |client, _| get(&format!("/v1/kv/bench/{client}/0"))).await?;
    of_load(&mut figures, "KV get, 64 clients", &load);
    let load = agent.rate(CLIENTS, transaction).await?;
    of_load(&mut figures, "transaction of 8 writes, 64 clients", &load);
    let times = hand_overs(&agent).await?;
    of_times(&mut figures, "a lock goes to one who waits", &times, None);
    for instance in 0..10 {
        Connection::open(agent.address).await?.expect_ok(&web(instance, "web")).await?;
    }
    dns::until_answered(agent.dns).await?;
    let load = dns::rate(agent.dns, DNS_CLIENTS).await?;
    of_load(&mut figures, "DNS over UDP, 16 clients", &load);
    let path = "/v1/kv/bench/watched";
    Connection::open(agent.address).await?.expect_ok(&put(path, "first")).await?;
    let times = agent.wake_ups(path, |round| put("/v1/kv/bench/watched", &round.to_string()));
    of_times(&mut figures, "1,000 queries on a key wake", &times.await?, Some(100.0));
    drop(agent);
    idle(&mut figures, &Agent::start(program).await?).await?;
    Ok(figures)
}

fn of_load(figures: &mut Vec<Figure>, name: &'static str, load: &Load) {
    figures.push(Figure::new(name, "/s", load.per_second));
    figures.push(Figure::new("", "ms p50", load.times.within(0.5)));
    figures.push(Figure::new("", "ms p99", load.times.within(0.99)));
}

/// The bar is for the 99th percentile.
fn of_times(figures: &mut Vec<Figure>, name: &'static str, times: &Times, bar: Option<f64>) {
    figures.push(Figure::new(name, "ms p50", times.within(0.5)));
    figures.push(Figure { bar, ..Figure::new("", "ms p99", times.within(0.99)) });
    figures.push(Figure::new("", "ms max", times.within(1.0)));
}

/// From sending a release to having the lock, for a session that waits for it by a blocking query.
async fn hand_overs(agent: &Agent) -> anyhow::Result<Times> {
    let path = "/v1/kv/bench/lock";
    let mut holder = Contender::new(agent).await?;
    let mut waiter = Contender::new(agent).await?;
    let mut watch = Connection::open(agent.address).await?;
    if !holder.asks(&format!("{path}?acquire={}", holder.session)).await? {
        bail!("a new lock was not given");
    }
    let mut times = Vec::new();
    for _ in 0..HAND_OVERS {
        let answer = watch.exchange(&get(path)).await?;
        let index = answer.header("x-consul-index").context("an index")?.to_owned();
        waiter.connection.send(&get(&format!("{path}?index={index}&wait=60s"))).await?;
        agent.blocked(&mut watch, 1).await?;
        let release = format!("{path}?release={}", holder.session);
        let acquire = format!("{path}?acquire={}", waiter.session);
        let began = Instant::now();
        let (released, acquired) = tokio::join!(holder.asks(&release), async {
            waiter.connection.receive().await?;
            let acquired = waiter.asks(&acquire).await?;
            anyhow::Ok(acquired.then(Instant::now))
        });
        let (true, Some(at)) = (released?, acquired?) else {
            bail!("the lock was not handed over")
        };
        times.push(at - began);
        std::mem::swap(&mut holder, &mut waiter);
    }
    Ok(Times::of(times))
}

/// A session and a connection.
struct Contender {
    connection: Connection,
    session: String,
}

impl Contender {
    async fn new(agent: &Agent) -> anyhow::Result<Self> {
        let mut connection = Connection::open(agent.address).await?;
        let body = r#"{"LockDelay":"0s"}"#;
        let answer = connection.exchange(&put("/v1/session/create", body)).await?;
        let made: serde_json::Value = serde_json::from_slice(answer.body)?;
        let session = made["ID"].as_str().context("a session's id")?.to_owned();
        Ok(Self { connection, session })
    }

    /// Asks for something that is done or refused.
    async fn asks(&mut self, path: &str) -> anyhow::Result<bool> {
        let answer = self.connection.exchange(&put(path, &self.session)).await?;
        Ok(answer.body.trim_ascii() == b"true")
    }
}

/// What queries that wait for nothing cost, and that all of them wake in the end.
async fn idle(figures: &mut Vec<Figure>, agent: &Agent) -> anyhow::Result<()> {
    let path = "/v1/kv/bench/idle";
    let mut writer = Connection::open(agent.address).await?;
    writer.expect_ok(&put(path, "first")).await?;
    let answer = writer.exchange(&get(path)).await?;
    let index = answer.header("x-consul-index").context("an index")?.to_owned();
    let query = get(&format!("{path}?index={index}&wait=10m"));
    let before = agent.resident_mib()?;
    let mut waiters = Vec::new();
    for _ in 0..IDLE_WAITERS {
        let mut waiter = Connection::open(agent.address).await.context("one more connection")?;
        waiter.send(&query).await?;
        waiters.push(waiter);
    }
    agent.blocked(&mut writer, IDLE_WAITERS).await?;
    let grown = agent.resident_mib()? - before;
    let bar = Some(200e6 / f64::from(1 << 20));
    figures.push(Figure { bar, ..Figure::new("10,000 queries that wait", "MiB more", grown) });
    let began = Instant::now();
    writer.expect_ok(&put(path, "second")).await?;
    for waiter in &mut waiters {
        let answer = waiter.receive().await?;
        if answer.status != 200 {
            bail!("a query that waited was answered with {}", answer.status);
        }
    }
    let took = began.elapsed().as_secs_f64() * 1e3;
    figures.push(Figure::new("all of them wake", "ms", took));
    Ok(())
}
