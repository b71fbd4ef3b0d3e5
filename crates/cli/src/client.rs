//! One request to an agent or a proxy's admin pages.

use std::env;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::args::Connection;

/// Consul's HTTP port.
const PORT: u16 = 8500;
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The agent's address, from the flag, the environment, or the default.
pub(crate) fn agent_address(connection: &Connection) -> anyhow::Result<String> {
    // An empty variable is as good as none.
    let variable = |name| env::var(name).ok().filter(|it| !it.is_empty());
    let given = connection
        .http_addr
        .clone()
        .or_else(|| variable("LENO_HTTP_ADDR"))
        .or_else(|| variable("CONSUL_HTTP_ADDR"))
        .unwrap_or_else(|| "127.0.0.1:8500".into());
    if given.starts_with("https://") || given.starts_with("unix://") {
        bail!("{given}: this version of leno reaches an agent by http:// only");
    }
    let address = given.strip_prefix("http://").unwrap_or(&given).trim_end_matches('/').to_owned();
    Ok(with_port(address))
}

/// Adds Consul's port where there is none; an IPv6 address may come with or without brackets.
fn with_port(address: String) -> String {
    match address.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, PORT).to_string(),
        Err(_) if address.ends_with(']') || !address.contains(':') => format!("{address}:{PORT}"),
        Err(_) => address,
    }
}

/// Sends a request to an agent and reads the whole answer.
pub(crate) async fn send(
    address: &str,
    method: Method,
    path: &str,
    body: impl Into<Bytes>,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let hint = "`leno agent --dev` starts an agent, --http-addr or LENO_HTTP_ADDR names another";
    exchange(address, method, path, body.into(), hint).await
}

/// Asks for one of a proxy's admin pages.
pub(crate) async fn get_admin(address: &str, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
    let hint = "`leno agent` logs where its proxy's admin pages are, --proxy-admin names them";
    exchange(address, Method::GET, path, Bytes::new(), hint).await
}

async fn exchange(
    address: &str,
    method: Method,
    path: &str,
    body: Bytes,
    hint: &str,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::HOST, address)
        .header(http::header::USER_AGENT, concat!("leno/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(body))
        .context("the request cannot be built")?;
    let exchange = async {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("cannot reach {address}; is it running? ({hint})"))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        connection.abort();
        anyhow::Ok((status, body))
    };
    tokio::time::timeout(TIMEOUT, exchange)
        .await
        .map_err(|_| anyhow!("{address} did not answer within {} s", TIMEOUT.as_secs()))?
}

/// Asks for JSON; anything but 200 is an error with the answer's text.
pub(crate) async fn get_json(address: &str, path: &str) -> anyhow::Result<serde_json::Value> {
    let (status, body) = send(address, Method::GET, path, Bytes::new()).await?;
    if status != StatusCode::OK {
        bail!("{address}{path}: {status}: {}", String::from_utf8_lossy(&body).trim());
    }
    serde_json::from_slice(&body)
        .with_context(|| format!("{address}{path} did not answer with JSON"))
}
