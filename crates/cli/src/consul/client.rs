//! Requests to an agent, as Consul's own client sends them: by the flags and the environment variables that it knows.

use std::env;
use std::fs;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::TryStreamExt;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::io::ReaderStream;

use super::flags::{Given, boolean};
use super::trust::{self, TlsFiles};
use crate::list::encoded;

/// Consul's address where nothing else is said.
const ADDRESS: &str = "127.0.0.1:8500";
/// How long it may take to be connected, and to agree on TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer may take: an agent holds a blocking query for at most ten minutes and a sixteenth more.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(11 * 60);
/// The longest answer that is held in memory: a prefix of 500 full values of 512 KiB.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A request that can be sent several times.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Bytes,
    content_type: &'static str,
}

impl Ask {
    /// To a path that is encoded already.
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        let content_type = "application/json";
        Self { method, path: path.into(), query: Vec::new(), body: Bytes::new(), content_type }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// Adds a parameter.
    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// Adds a parameter unless its value is empty.
    pub(crate) fn with_some(self, name: &'static str, value: &str) -> Self {
        if value.is_empty() { self } else { self.with(name, value) }
    }

    /// Adds a parameter without a value when `wanted`.
    pub(crate) fn with_mark(self, name: &'static str, wanted: bool) -> Self {
        if wanted { self.with(name, "") } else { self }
    }

    /// A body of JSON.
    pub(crate) fn json(mut self, body: &Value) -> Self {
        self.body = body.to_string().into();
        self
    }

    /// A body of bytes.
    pub(crate) fn bytes(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.content_type = "application/octet-stream";
        self
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// An answer other than 200 is an error, in the words of Consul's client.
    pub(crate) fn ok(self) -> anyhow::Result<Self> {
        if self.status == StatusCode::OK {
            return Ok(self);
        }
        let text = String::from_utf8_lossy(&self.body);
        bail!("Unexpected response code: {} ({})", self.status.as_u16(), text.trim_end())
    }

    /// What its JSON says.
    pub(crate) fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).context("the agent did not answer with JSON")
    }

    /// Its index, for the next blocking query; 0 without one.
    pub(crate) fn index(&self) -> u64 {
        self.header("x-consul-index").and_then(|it| it.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// How an agent is reached.
#[derive(Clone, Debug)]
enum Place {
    Network { host: String, port: u16, tls: bool },
    Socket(PathBuf),
}

/// A client of one agent.
pub(crate) struct Client {
    runtime: Runtime,
    place: Place,
    /// Before each path, when the agent stands behind a gateway.
    prefix: String,
    connector: Option<(TlsConnector, String)>,
    headers: HeaderMap,
    /// Added to each request: datacenter, namespace, partition.
    scope: Vec<(&'static str, String)>,
    /// Reads may be answered by any server.
    stale: bool,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}
type Outgoing = UnsyncBoxBody<Bytes, io::Error>;

/// `CONSUL_` and a name, or else `LENO_` and the name; an empty variable is as good as none.
fn variable(name: &str) -> Option<String> {
    let of = |prefix: &str| env::var(format!("{prefix}_{name}")).ok().filter(|it| !it.is_empty());
    of("CONSUL").or_else(|| of("LENO"))
}

impl Client {
    /// # Errors
    /// When a flag or a variable is wrong, or a file that one names cannot be read.
    pub(crate) fn new(given: &Given) -> anyhow::Result<Self> {
        let setting = |flag: &str, name: &str| match given.text(flag) {
            "" => variable(name).unwrap_or_default(),
            text => text.to_owned(),
        };
        let mut address = setting("http-addr", "HTTP_ADDR");
        if address.is_empty() {
            address = ADDRESS.to_owned();
        }
        let is_secure = variable("HTTP_SSL").as_deref().and_then(boolean).unwrap_or(false);
        let (place, prefix) = place_of(&address, is_secure)?;
        let connector = match &place {
            Place::Network { host, tls: true, .. } => {
                let files = TlsFiles {
                    ca_file: setting("ca-file", "CACERT"),
                    ca_path: setting("ca-path", "CAPATH"),
                    certificate: setting("client-cert", "CLIENT_CERT"),
                    key: setting("client-key", "CLIENT_KEY"),
                };
                let verify = variable("HTTP_SSL_VERIFY").as_deref().and_then(boolean);
                let name = match setting("tls-server-name", "TLS_SERVER_NAME") {
                    name if name.is_empty() => host.clone(),
                    name => split_port(&name).0.to_owned(),
                };
                Some((trust::connector(&files, verify.unwrap_or(true))?, name))
            }
            _ => None,
        };
        let scope = [
            ("dc", given.text("datacenter").to_owned()),
            ("ns", setting("namespace", "NAMESPACE")),
            ("partition", setting("partition", "PARTITION")),
        ];
        let scope = scope.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let headers = headers(given)?;
        let stale = given.is("stale");
        Ok(Self { runtime, place, prefix, connector, headers, scope, stale })
    }

    /// The same agent with another token; with none if it is empty.
    pub(crate) fn with_token(mut self, token: &str) -> anyhow::Result<Self> {
        self.headers.remove("x-consul-token");
        if !token.is_empty() {
            self.headers.insert("x-consul-token", secret(token)?);
        }
        Ok(self)
    }

    /// Runs what waits for several things at once.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Sends a request; any answer is one.
    pub(crate) fn ask(&self, ask: &Ask) -> anyhow::Result<Answer> {
        self.block_on(self.send(ask))
    }

    /// Sends a request that is to be done.
    pub(crate) fn done(&self, ask: &Ask) -> anyhow::Result<Answer> {
        self.ask(ask)?.ok()
    }

    /// Sends a request whose answer is JSON.
    pub(crate) fn json(&self, ask: &Ask) -> anyhow::Result<Value> {
        self.done(ask)?.json()
    }

    /// Sends a request for what may not be there: `None` at 404.
    pub(crate) fn find(&self, ask: &Ask) -> anyhow::Result<Option<Value>> {
        let answer = self.ask(ask)?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            _ => answer.ok()?.json().map(Some),
        }
    }

    /// Sends a request that is answered with `true` or `false`.
    pub(crate) fn verdict(&self, ask: &Ask) -> anyhow::Result<bool> {
        Ok(self.done(ask)?.body.trim_ascii() == b"true")
    }

    /// What the agent says about itself.
    ///
    /// # Errors
    /// With the words that Consul's commands start with.
    pub(crate) fn own(&self) -> anyhow::Result<Value> {
        self.json(&Ask::get("/v1/agent/self")).context("Error querying Consul agent")
    }

    /// The same without blocking the thread.
    pub(crate) async fn send(&self, ask: &Ask) -> anyhow::Result<Answer> {
        let whole = async {
            let response = self.open(ask).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| anyhow!(error)).context(self.url(ask))?.to_bytes();
            anyhow::Ok(Answer { status: head.status, headers: head.headers, body })
        };
        match timeout(ANSWER_TIMEOUT, whole).await {
            Ok(answer) => answer,
            Err(_) => bail!("{}: no answer within {} s", self.url(ask), ANSWER_TIMEOUT.as_secs()),
        }
    }

    /// Sends a request and gives its answer as it comes.
    pub(crate) async fn open(&self, ask: &Ask) -> anyhow::Result<Response<Incoming>> {
        let body = Full::new(ask.body.clone()).map_err(|never| match never {}).boxed_unsync();
        self.exchange(ask, body, None).await
    }

    /// Sends a request with a file for its body.
    pub(crate) async fn send_file(&self, ask: &Ask, file: fs::File) -> anyhow::Result<Answer> {
        let bytes = file.metadata()?.len();
        let frames = ReaderStream::new(tokio::fs::File::from_std(file)).map_ok(Frame::data);
        let response =
            self.exchange(ask, StreamBody::new(frames).boxed_unsync(), Some(bytes)).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow!(error)).context(self.url(ask))?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    async fn exchange(
        &self,
        ask: &Ask,
        body: Outgoing,
        bytes: Option<u64>,
    ) -> anyhow::Result<Response<Incoming>> {
        let host = match &self.place {
            Place::Network { host, port, .. } => host_and_port(host, *port),
            Place::Socket(_) => "localhost".to_owned(),
        };
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(self.target(ask))
            .header(HOST, host)
            .header(USER_AGENT, concat!("leno/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, ask.content_type)
            .body(body)
            .with_context(|| format!("{}: the request cannot be built", self.url(ask)))?;
        request.headers_mut().extend(self.headers.clone());
        // Of a body in memory, the length is known without this.
        if let Some(bytes) = bytes {
            request.headers_mut().insert(CONTENT_LENGTH, bytes.into());
        }
        let failed = || format!("{} {:?}", capitalized(&ask.method), self.url(ask));
        let stream = timeout(CONNECT_TIMEOUT, self.connect()).await;
        let stream = stream.map_err(|_| anyhow!("i/o timeout")).flatten().with_context(failed)?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.with_context(failed)?;
        tokio::spawn(connection);
        sender.send_request(request).await.with_context(failed)
    }

    async fn connect(&self) -> anyhow::Result<Box<dyn Stream>> {
        match &self.place {
            Place::Socket(path) => {
                let stream = UnixStream::connect(path).await;
                let failed = |error| anyhow!("dial unix {}: {}", path.display(), reason(&error));
                Ok(Box::new(stream.map_err(failed)?))
            }
            Place::Network { host, port, .. } => {
                let address = host_and_port(host, *port);
                let failed = |error| anyhow!("dial tcp {address}: {}", reason(&error));
                let stream = TcpStream::connect(&address).await.map_err(failed)?;
                let _ = stream.set_nodelay(true);
                let Some((connector, name)) = &self.connector else { return Ok(Box::new(stream)) };
                let name = name.clone().try_into();
                let name = name.map_err(|_| anyhow!("{host} is not a name of a TLS server"))?;
                let stream = connector.connect(name, stream).await.context("tls")?;
                Ok(Box::new(stream))
            }
        }
    }

    fn target(&self, ask: &Ask) -> String {
        let mut target = format!("{}{}", self.prefix, ask.path);
        let stale = (self.stale && ask.method == Method::GET).then(|| ("stale", String::new()));
        let query = ask.query.iter().chain(&self.scope).cloned().chain(stale);
        for (at, (name, value)) in query.enumerate() {
            target.push(if at == 0 { '?' } else { '&' });
            target.push_str(name);
            if !value.is_empty() {
                target.push('=');
                target.push_str(&encoded(&value));
            }
        }
        target
    }

    /// For errors.
    fn url(&self, ask: &Ask) -> String {
        let target = self.target(ask);
        match &self.place {
            Place::Network { host, port, tls } => {
                let scheme = if *tls { "https" } else { "http" };
                format!("{scheme}://{}{target}", host_and_port(host, *port))
            }
            Place::Socket(path) => format!("unix://{}: {target}", path.display()),
        }
    }
}

fn capitalized(method: &Method) -> String {
    let text = method.as_str();
    format!("{}{}", &text[..1], text[1..].to_lowercase())
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        // Scripts look for these words.
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::NotFound => "connect: no such file or directory".to_owned(),
        _ => error.to_string(),
    }
}

fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Host without brackets, and port.
fn split_port(address: &str) -> (&str, Option<&str>) {
    if let Some(rest) = address.strip_prefix('[')
        && let Some((host, rest)) = rest.split_once(']')
    {
        return (host, rest.strip_prefix(':'));
    }
    match address.rsplit_once(':') {
        // More than one colon, without brackets: an IPv6 address alone.
        Some((host, port)) if !host.contains(':') => (host, Some(port)),
        _ => (address, None),
    }
}

/// What an address means, and the prefix of its paths.
fn place_of(address: &str, is_secure: bool) -> anyhow::Result<(Place, String)> {
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None => ("", address),
    };
    let tls = match scheme {
        "unix" => return Ok((Place::Socket(rest.into()), String::new())),
        "" | "http" => is_secure,
        "https" => true,
        other => bail!("Unknown protocol scheme: {other}"),
    };
    let (authority, prefix) = match rest.split_once('/') {
        Some((authority, prefix)) if !scheme.is_empty() => (authority, prefix),
        _ => (rest, ""),
    };
    let (host, port) = split_port(authority);
    let port = match port {
        Some(port) => port.parse().with_context(|| format!("{address}: {port} is no port"))?,
        None if tls => 443,
        None => 80,
    };
    let prefix = prefix.trim_end_matches('/');
    let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
    Ok((Place::Network { host: host.to_owned(), port, tls }, prefix))
}

/// Token and basic authentication.
fn headers(given: &Given) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let token = match (given.text("token-file"), given.text("token")) {
        ("", "") => match variable("HTTP_TOKEN_FILE") {
            Some(file) => Some(token_in(&file)?),
            None => variable("HTTP_TOKEN"),
        },
        ("", token) => Some(token.to_owned()),
        (file, _) => Some(token_in(file)?),
    };
    if let Some(token) = token {
        headers.insert("x-consul-token", secret(&token)?);
    }
    if let Some(user) = variable("HTTP_AUTH") {
        let user = if user.contains(':') { user } else { format!("{user}:") };
        headers.insert(AUTHORIZATION, secret(&format!("Basic {}", STANDARD.encode(user)))?);
    }
    Ok(headers)
}

fn token_in(file: &str) -> anyhow::Result<String> {
    let text = fs::read_to_string(file);
    let text = text.with_context(|| format!("Error loading token file: open {file}"))?;
    Ok(text.trim().to_owned())
}

fn secret(text: &str) -> anyhow::Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text)
        .context("a token or a password holds a character that no header may have")?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_consul_reads_them() {
        for (address, is_secure, expected) in [
            ("127.0.0.1:8500", false, "127.0.0.1 8500 false "),
            ("consul.example", false, "consul.example 80 false "),
            ("consul.example", true, "consul.example 443 true "),
            ("http://[::1]:8500", false, "::1 8500 false "),
            ("https://consul.example/gate/way/", false, "consul.example 443 true /gate/way"),
            ("http://a:1", true, "a 1 true "),
        ] {
            let (place, prefix) = place_of(address, is_secure).unwrap();
            let Place::Network { host, port, tls } = place else { panic!("{address}") };
            assert_eq!(format!("{host} {port} {tls} {prefix}"), expected);
        }
        let (place, _) = place_of("unix:///run/consul.sock", false).unwrap();
        assert!(matches!(place, Place::Socket(path) if path.ends_with("run/consul.sock")));
        let error = place_of("ftp://a", false).unwrap_err();
        assert_eq!(error.to_string(), "Unknown protocol scheme: ftp");
        assert!(place_of("a:b", false).is_err());
    }
}
