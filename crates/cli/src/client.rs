//! One request to an agent or a proxy's admin pages.

use std::env;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use model::Secret;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::args::Connection;

/// Consul's HTTP port.
const PORT: u16 = 8500;
const AGENT_HINT: &str =
    "`leno agent --dev` starts an agent, --http-addr or LENO_HTTP_ADDR names another";
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An agent, and the token that it is asked with.
#[derive(Clone, Debug)]
pub(crate) struct AgentAt {
    address: String,
    token: Secret,
}

impl fmt::Display for AgentAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

impl AgentAt {
    /// By the flags, the environment, or the default.
    pub(crate) fn of(connection: &Connection) -> anyhow::Result<Self> {
        Ok(Self { address: address(connection)?, token: token(connection.token.clone()) })
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let (status, body) =
            exchange(&self.address, method, path, body.into(), &self.token, AGENT_HINT).await?;
        if status == StatusCode::FORBIDDEN {
            bail!(
                "{self}: {status}: {} (--token or LENO_HTTP_TOKEN says who asks)",
                String::from_utf8_lossy(&body).trim()
            );
        }
        Ok((status, body))
    }

    /// Asks for JSON; anything but 200 is an error with the answer's text.
    pub(crate) async fn get_json(&self, path: &str) -> anyhow::Result<Value> {
        read_json(&self.address, path, self.send(Method::GET, path, Bytes::new()).await?)
    }
}

/// The token by the flag or the environment; empty for none.
pub(crate) fn token(given: Option<Secret>) -> Secret {
    let variables = ["LENO_HTTP_TOKEN", "CONSUL_HTTP_TOKEN"];
    let told = || variables.into_iter().find_map(variable).map(Secret::from);
    given.or_else(told).unwrap_or_default()
}

/// An empty variable is as good as none.
pub(crate) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|it| !it.is_empty())
}

/// The agent's address, from the flag, the environment, or the default.
fn address(connection: &Connection) -> anyhow::Result<String> {
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

/// Sends a request without a token and reads the whole answer.
pub(crate) async fn send(
    address: &str,
    method: Method,
    path: &str,
    body: impl Into<Bytes>,
) -> anyhow::Result<(StatusCode, Bytes)> {
    exchange(address, method, path, body.into(), &Secret::default(), AGENT_HINT).await
}

/// Asks for one of a proxy's admin pages.
pub(crate) async fn get_admin(address: &str, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
    let hint = "`leno agent` logs where its proxy's admin pages are, --proxy-admin names them";
    exchange(address, Method::GET, path, Bytes::new(), &Secret::default(), hint).await
}

async fn exchange(
    address: &str,
    method: Method,
    path: &str,
    body: Bytes,
    token: &Secret,
    hint: &str,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::HOST, address)
        .header(http::header::USER_AGENT, concat!("leno/", env!("CARGO_PKG_VERSION")));
    if !token.is_empty() {
        let mut value = HeaderValue::from_str(token.reveal())
            .context("the token has characters that no header can carry")?;
        value.set_sensitive(true);
        request = request.header("x-consul-token", value);
    }
    let request = request.body(Full::new(body)).context("the request cannot be built")?;
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

/// Asks for JSON without a token; anything but 200 is an error with the answer's text.
pub(crate) async fn get_json(address: &str, path: &str) -> anyhow::Result<Value> {
    read_json(address, path, send(address, Method::GET, path, Bytes::new()).await?)
}

fn read_json(
    address: &str,
    path: &str,
    (status, body): (StatusCode, Bytes),
) -> anyhow::Result<Value> {
    if status != StatusCode::OK {
        bail!("{address}{path}: {status}: {}", String::from_utf8_lossy(&body).trim());
    }
    serde_json::from_slice(&body)
        .with_context(|| format!("{address}{path} did not answer with JSON"))
}
