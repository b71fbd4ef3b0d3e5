//! Before anything is measured: does a proxy do the work that is compared?

use std::future::Future;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http2;
use hyper::header::HeaderMap;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use super::backend::Local;
use super::client::{Client, Target, request, tls_config};
use super::proxies::{Bootstrap, Kind, Proxy, Stand};
use super::scenario::Scenario;
use super::units::{BODY_LARGE, BODY_POSTED, BODY_SMALL, GRPC_MESSAGE, grpc_message};

const DEADLINE: Duration = Duration::from_secs(10);

/// Asks each listener, and looks at the answer, at what the backend saw, and at gRPC's trailers. For 10 MiB it asks only
/// where they are measured: they would show in the memory of the other scenarios.
pub(super) fn verify(proxy: &Proxy, stand: &Stand, scenario: Scenario) -> anyhow::Result<()> {
    let name = proxy.name();
    let large = matches!(scenario, Scenario::Tcp10m | Scenario::Http10m);
    http1(proxy, large).with_context(|| format!("{name} over HTTP/1.1"))?;
    if proxy.order.bootstrap == Bootstrap::Policies {
        return Ok(());
    }
    tls(proxy, stand).with_context(|| format!("{name} over TLS"))?;
    tcp(proxy, large).with_context(|| format!("{name} over TCP"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local
        .block_on(&runtime, async { tokio::time::timeout(DEADLINE, h2(proxy.ports.h2c)).await })
        .context("no answer")
        .and_then(|done| done)
        .with_context(|| format!("{name} over HTTP/2"))
}

/// What `/generation` answers.
pub(super) fn generation(proxy: &Proxy) -> anyhow::Result<String> {
    let mut client = open(proxy.ports.http1)?;
    client.exchange(&request("/generation", true))?;
    Ok(String::from_utf8_lossy(&client.take_body()).into_owned())
}

fn open(port: u16) -> anyhow::Result<Client> {
    Client::open(&Target { address: (Ipv4Addr::LOCALHOST, port).into(), tls: None }, None)
}

fn http1(proxy: &Proxy, large: bool) -> anyhow::Result<()> {
    let mut client = open(proxy.ports.http1)?;
    client.expect(&request("/", false), BODY_SMALL)?;
    if large {
        client.expect(&request("/10m", false), BODY_LARGE)?;
    }
    client.exchange(&request("/headers", false))?;
    let seen = String::from_utf8_lossy(&client.take_body()).into_owned();
    for wanted in ["x-forwarded-for", "x-request-id"] {
        ensure!(seen.contains(wanted), "the backend saw no {wanted}: {seen}");
    }
    let head = format!("POST / HTTP/1.1\r\nHost: bench\r\nContent-Length: {BODY_POSTED}\r\n\r\n");
    client.exchange(&[head.into_bytes(), vec![b'x'; BODY_POSTED]].concat())?;
    let seen = String::from_utf8_lossy(&client.take_body()).into_owned();
    ensure!(seen == BODY_POSTED.to_string(), "of {BODY_POSTED} bytes the backend saw {seen}");
    let generation = generation(proxy)?;
    ensure!(generation == "0" || !answers_generation(proxy), "/generation is {generation}");
    Ok(())
}

/// HAProxy has no such answer, and needs none.
fn answers_generation(proxy: &Proxy) -> bool {
    proxy.order.kind != Kind::Haproxy
}

fn tls(proxy: &Proxy, stand: &Stand) -> anyhow::Result<()> {
    let address = (Ipv4Addr::LOCALHOST, proxy.ports.https).into();
    let tls = Some(tls_config(&stand.files.certificate)?);
    let mut client = Client::open(&Target { address, tls }, None)?;
    client.expect(&request("/", false), BODY_SMALL)?;
    Ok(())
}

fn tcp(proxy: &Proxy, large: bool) -> anyhow::Result<()> {
    let mut client = open(proxy.ports.tcp)?;
    client.expect(&request("/", false), BODY_SMALL)?;
    if large {
        client.expect(&request("/10m", false), BODY_LARGE)?;
    }
    client.exchange(&request("/headers", false))?;
    let seen = String::from_utf8_lossy(&client.take_body()).into_owned();
    ensure!(!seen.contains("x-request-id"), "it is no TCP proxy: the backend saw {seen}");
    Ok(())
}

async fn h2(port: u16) -> anyhow::Result<()> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let (mut sender, connection) = http2::handshake(Local, TokioIo::new(stream)).await?;
    spawn(connection);
    let get = Request::get("http://bench/").body(Full::new(Bytes::new()))?;
    let response = sender.send_request(get).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    ensure!(status == 200 && body.len() == BODY_SMALL, "{status} with {} bytes", body.len());
    let call = Request::post("http://bench/bench.Echo/Unary")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from(grpc_message())))?;
    let answer = sender.send_request(call).await?.into_body().collect().await?;
    let trailers: HeaderMap = answer.trailers().cloned().unwrap_or_default();
    let bytes = answer.to_bytes().len();
    if trailers.get("grpc-status").is_none_or(|it| it != "0") || bytes != GRPC_MESSAGE {
        bail!("a gRPC call came back with {bytes} bytes and the trailers {trailers:?}");
    }
    Ok(())
}

fn spawn(connection: impl Future<Output = hyper::Result<()>> + 'static) {
    tokio::task::spawn_local(async move {
        // The request on it fails when it does.
        let _ = connection.await;
    });
}
