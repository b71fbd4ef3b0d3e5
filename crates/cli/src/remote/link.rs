//! A connection to an agent that is used again and again.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::uri::Authority;
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use model::Secret;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::client::variable;
use crate::consul::trust::{self, TlsFiles};

/// Consul's HTTP port.
const PORT: u16 = 8500;
/// How long it may take to be connected, and to agree on TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest configuration: a million endpoints of 250 bytes each.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// A connection to an agent, made when it is needed.
pub(crate) struct Link {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    token: Option<HeaderValue>,
    open: Option<SendRequest<Full<Bytes>>>,
}

impl Link {
    /// To the agent at a URL. What TLS trusts, and how it shows itself, say the variables that the other commands know.
    ///
    /// # Errors
    /// When the URL, the token or a file cannot be used.
    pub(crate) fn to(url: &str, token: &Secret) -> anyhow::Result<Self> {
        let expected = || format!("--agent {url:?} is not http://HOST:PORT or https://HOST:PORT");
        let uri: Uri =
            if url.contains("://") { url.parse() } else { format!("http://{url}").parse() }
                .with_context(expected)?;
        if uri.path_and_query().is_some_and(|it| it.as_str() != "/") {
            bail!("{}: without a path", expected());
        }
        let host = uri.host().filter(|it| !it.is_empty()).with_context(expected)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = match uri.scheme_str() {
            Some("http") => None,
            Some("https") => Some(secured(&host)?),
            _ => bail!("{}", expected()),
        };
        let port = uri.authority().and_then(Authority::port_u16).unwrap_or(PORT);
        let token = match token.reveal() {
            "" => None,
            secret => {
                let value = HeaderValue::from_str(secret);
                let mut value =
                    value.context("the token has characters that no header can carry")?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Self { host, port, tls, token, open: None })
    }

    /// Who could read along could read private keys.
    pub(crate) fn can_be_read(&self) -> bool {
        let is_own = self.host == "localhost"
            || self.host.parse::<std::net::IpAddr>().is_ok_and(|it| it.is_loopback());
        self.tls.is_none() && !is_own
    }

    /// Sends JSON and reads the whole answer, within a time. When it fails, or is not waited for, the connection is given up.
    pub(crate) async fn post(
        &mut self,
        path: &str,
        body: Vec<u8>,
        within: Duration,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let mut request = Request::post(path)
            .header(HOST, self.authority())
            .header(USER_AGENT, concat!("leno/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header("x-consul-token", token);
        }
        let request = request.body(Full::from(body)).context("the request cannot be built")?;
        let mut sender = match self.open.take().filter(|it| !it.is_closed()) {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let exchange = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| anyhow!(error))?.to_bytes();
            anyhow::Ok((status, body))
        };
        let answer = timeout(within, exchange).await;
        let late = |_| anyhow!("no answer within {} s", within.as_secs());
        let answer = answer.map_err(late).flatten().with_context(|| self.authority())?;
        self.open = Some(sender);
        Ok(answer)
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let connecting = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            let _ = stream.set_nodelay(true);
            match &self.tls {
                None => drive(stream).await,
                Some((connector, name)) => {
                    let stream = connector.connect(name.clone(), stream).await;
                    drive(stream.context("TLS")?).await
                }
            }
        };
        let late = |_| anyhow!("not connected within {} s", CONNECT_TIMEOUT.as_secs());
        let connected = timeout(CONNECT_TIMEOUT, connecting).await.map_err(late).flatten();
        connected.with_context(|| format!("cannot reach the agent at {}", self.authority()))
    }

    fn authority(&self) -> String {
        let (host, port) = (&self.host, self.port);
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

async fn drive<S>(stream: S) -> anyhow::Result<SendRequest<Full<Bytes>>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

fn secured(host: &str) -> anyhow::Result<(TlsConnector, ServerName<'static>)> {
    let told = |name: &str| {
        ["LENO", "CONSUL"].into_iter().find_map(|prefix| variable(&format!("{prefix}_{name}")))
    };
    let file = |name: &str| told(name).unwrap_or_default();
    let files = TlsFiles {
        ca_file: file("CACERT"),
        ca_path: file("CAPATH"),
        certificate: file("CLIENT_CERT"),
        key: file("CLIENT_KEY"),
    };
    let name = told("TLS_SERVER_NAME").unwrap_or_else(|| host.to_owned());
    let shown = name.clone();
    let name = name.try_into().with_context(|| format!("{shown} is no name of a TLS server"))?;
    Ok((trust::connector(&files, true)?, name))
}
