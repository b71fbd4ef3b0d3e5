//! Questions over UDP.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::agent::Load;

/// A datagram that is not answered for so long is lost, and the figure with it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// How many questions for the addresses of the service `web` so many clients get answered.
pub(super) async fn rate(dns: SocketAddr, clients: u64) -> anyhow::Result<Load> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let stop = Arc::clone(&stop);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        socket.connect(dns).await?;
        tasks.spawn(async move {
            let mut times = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let question = question(times.len() as u16);
                let began = Instant::now();
                ask(&socket, &question).await?;
                times.push(began.elapsed());
            }
            anyhow::Ok(times)
        });
    }
    Load::over_time(&stop, tasks).await
}

/// Asks until there is an answer: a service that was just registered may not be known to DNS yet.
pub(super) async fn until_answered(dns: SocketAddr) -> anyhow::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.connect(dns).await?;
    let began = Instant::now();
    loop {
        match ask(&socket, &question(0)).await {
            Ok(()) => return Ok(()),
            Err(error) if began.elapsed() > super::START_TIMEOUT => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn ask(socket: &UdpSocket, question: &[u8]) -> anyhow::Result<()> {
    socket.send(question).await?;
    let mut answer = [0; 1500];
    let length = timeout(ANSWER_TIMEOUT, socket.recv(&mut answer)).await;
    let length = length.context("a question was not answered")??;
    let answer = &answer[..length];
    let is_answer = length > 12 && answer[..2] == question[..2] && answer[3] & 15 == 0;
    if !is_answer || answer[6..8] == [0, 0] {
        bail!("no addresses in {answer:?}");
    }
    Ok(())
}

/// Asks for the addresses of the service `web`, with recursion desired, as resolvers do.
fn question(id: u16) -> Vec<u8> {
    let mut packet = id.to_be_bytes().to_vec();
    packet.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in ["web", "service", "consul"] {
        packet.push(label.len() as u8);
        packet.extend(label.as_bytes());
    }
    packet.extend([0, 0, 1, 0, 1]);
    packet
}
