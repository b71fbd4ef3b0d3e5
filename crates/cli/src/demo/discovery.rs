//! Are the copies found, by HTTP and by DNS?

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use tokio::net::UdpSocket;

use super::report::Report;
use super::stage::{COPIES, SERVICE, Stage};

/// How long a DNS answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) async fn show(stage: &Stage, report: &mut Report) -> anyhow::Result<()> {
    report.heading("Discovery");
    let began = Instant::now();
    let found = stage.read(&format!("/v1/health/service/{SERVICE}?passing")).await?;
    let took = began.elapsed();
    let ids: Vec<&str> = found
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .filter_map(|entry| entry["Service"]["ID"].as_str())
        .collect();
    report.claim(
        ids.len() == COPIES.len() && ids.iter().zip(COPIES).all(|(id, name)| id.starts_with(name)),
        "Consul's HTTP API lists the healthy copies",
        &format!("{} in {:.1} ms", ids.join(", "), took.as_secs_f64() * 1e3),
    );
    let dns = stage.dns()?;
    let name = format!("{SERVICE}.service.consul.");
    let began = Instant::now();
    let answer = ask(dns, &name, RecordType::SRV).await?;
    let took = began.elapsed();
    report.claim(
        answer.answers.len() == COPIES.len(),
        "DNS lists them",
        &format!("{} SRV records in {:.1} ms", answer.answers.len(), took.as_secs_f64() * 1e3),
    );
    let answer = ask(dns, "nobody.service.consul.", RecordType::A).await?;
    report.claim(
        answer.metadata.response_code == hickory_proto::op::ResponseCode::NXDomain,
        "DNS knows what it does not know",
        &format!("nobody.service.consul: {}", answer.metadata.response_code),
    );
    Ok(())
}

async fn ask(server: SocketAddr, name: &str, kind: RecordType) -> anyhow::Result<Message> {
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_ascii(name)?, kind));
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(server).await?;
    socket.send(&query.to_vec()?).await?;
    let mut buffer = vec![0; 4096];
    let received = tokio::time::timeout(TIMEOUT, socket.recv(&mut buffer)).await;
    let length = received.context("DNS did not answer within 5 s")??;
    Message::from_vec(&buffer[..length]).context("DNS answered with something else")
}
