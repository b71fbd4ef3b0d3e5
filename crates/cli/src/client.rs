//! One request to an agent or a proxy's admin pages.

use std::env;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::args::Connection;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The agent's address, from the flag, the environment, or the default.
pub(crate) fn agent_address(connection: &Connection) -> anyhow::Result<String> {
    let given = connection
        .http_addr
        .clone()
        .or_else(|| env::var("LENO_HTTP_ADDR").ok())
        .or_else(|| env::var("CONSUL_HTTP_ADDR").ok())
        .unwrap_or_else(|| "127.0.0.1:8500".into());
    if given.starts_with("https://") || given.starts_with("unix://") {
        bail!("{given}: this version of leno reaches an agent by http:// only");
    }
    let address = given.strip_prefix("http://").unwrap_or(&given).trim_end_matches('/').to_owned();
    Ok(if address.contains(':') { address } else { format!("{address}:8500") })
}

/// Sends a request and reads the whole answer.
pub(crate) async fn send(
    address: &str,
    method: Method,
    path: &str,
    body: impl Into<Bytes>,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::HOST, address)
        .header(http::header::USER_AGENT, concat!("leno/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(body.into()))
        .context("the request cannot be built")?;
    let exchange = async {
        let stream = TcpStream::connect(address).await.with_context(|| {
            format!(
                "cannot reach {address}; is it running? (`leno agent --dev` starts an agent, --http-addr or \
                 LENO_HTTP_ADDR names another)"
            )
        })?;
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
