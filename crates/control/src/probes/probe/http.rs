use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONNECTION, COOKIE, HOST, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::ext::ReasonPhrase;
use hyper_util::rt::TokioIo;
use model::{CheckDefinition, CheckStatus};
use percent_encoding::percent_decode_str;
use registry::output_bytes_max;
use tokio::time::{Instant, timeout_at};

use super::dial::{self, DialError, Io};
use super::h2ping::drive;
use super::tail::Tail;
use super::tls::Tls;
use super::{ProbeResult, TIMEOUT_DEFAULT, timeout_of};
use location::resolve;

mod location;

/// Most redirects that are followed, as in Go's client.
const REDIRECTS_MAX: usize = 10;
/// Bound of a response's head; hyper's own default is larger.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Why there is no response. The texts are those of Go's client.
#[derive(Debug, thiserror::Error)]
enum HttpError {
    #[error("unsupported protocol scheme {0:?}")]
    Scheme(String),
    #[error("http: no Host in request URL")]
    NoHost,
    #[error("{0}")]
    Dial(#[from] DialError),
    #[error("net/http: invalid method {0:?}")]
    Method(String),
    #[error("net/http: invalid header field {0:?}")]
    Header(String),
    #[error("EOF")]
    Closed,
    #[error("{0}")]
    Exchange(hyper::Error),
    #[error("failed to parse Location header {0:?}")]
    Location(String),
    #[error("stopped after {REDIRECTS_MAX} redirects")]
    TooManyRedirects,
    #[error("context deadline exceeded (Client.Timeout exceeded while awaiting headers)")]
    Deadline,
}

/// A request before it is bound to a connection.
struct Ask {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

/// What came back.
struct Answer {
    status: StatusCode,
    /// As the server worded it: `200 OK`.
    status_text: String,
    location: Option<String>,
    body: String,
}

/// Makes the request: 2xx passes, 429 warns, all else fails. A body that breaks off does not
/// matter.
pub(super) async fn probe(definition: &CheckDefinition, tls: &Tls) -> ProbeResult {
    let method = if definition.method.is_empty() { "GET" } else { &definition.method };
    let target = &definition.http;
    match fetch(definition, method, tls).await {
        Ok(answer) => {
            let status = match answer.status {
                status if status.is_success() => CheckStatus::Passing,
                StatusCode::TOO_MANY_REQUESTS => CheckStatus::Warning,
                _ => CheckStatus::Critical,
            };
            let (status_text, body) = (answer.status_text, answer.body);
            let output = format!("HTTP {method} {target}: {status_text} Output: {body}");
            ProbeResult { status, output }
        }
        Err(error) => {
            // Go names the act as `Get "http://…"`.
            let (first, rest) = method.split_at(method.ceil_char_boundary(1));
            let act = format!("{}{}", first.to_uppercase(), rest.to_lowercase());
            ProbeResult::critical(format!("{act} {target:?}: {error}"))
        }
    }
}

async fn fetch(definition: &CheckDefinition, method: &str, tls: &Tls) -> Result<Answer, HttpError> {
    let limit: Duration = timeout_of(definition, TIMEOUT_DEFAULT);
    let deadline = Instant::now() + limit;
    let mut ask = first_ask(definition, method)?;
    for _ in 0..=REDIRECTS_MAX {
        let answer = exchange(&ask, definition, tls, deadline).await?;
        let followed = answer.status.is_redirection() && !definition.disable_redirects;
        let Some(location) = answer.location.as_deref().filter(|_| followed) else {
            return Ok(answer);
        };
        match redirect(&mut ask, answer.status, location)? {
            Redirect::Follow => {}
            Redirect::Stay => return Ok(answer),
        }
    }
    Err(HttpError::TooManyRedirects)
}

fn first_ask(definition: &CheckDefinition, method: &str) -> Result<Ask, HttpError> {
    let method =
        Method::from_bytes(method.as_bytes()).map_err(|_| HttpError::Method(method.into()))?;
    let uri: Uri = definition
        .http
        .parse()
        .map_err(|_| HttpError::Scheme(scheme_of(&definition.http).to_owned()))?;
    let mut headers = HeaderMap::new();
    for (name, values) in definition.header.iter() {
        let bad = || HttpError::Header(name.to_owned());
        let header: HeaderName = name.parse().map_err(|_| bad())?;
        for value in values {
            headers.append(header.clone(), HeaderValue::from_str(value).map_err(|_| bad())?);
        }
    }
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static("Consul Health Check"));
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static("text/plain, text/*, */*"));
    // One connection for each run: a check proves that a new one can be opened.
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let user = uri.authority().and_then(|it| it.as_str().rsplit_once('@')).map(|(user, _)| user);
    if let Some(user) = user {
        let user: Vec<u8> = percent_decode_str(user).collect();
        let token = base64::engine::general_purpose::STANDARD.encode(user);
        let value = HeaderValue::try_from(format!("Basic {token}"))
            .expect("base64 has only characters that a header may have");
        headers.entry(AUTHORIZATION).or_insert(value);
    }
    let body = Bytes::copy_from_slice(definition.body.as_bytes());
    Ok(Ask { method, uri, headers, body })
}

fn scheme_of(url: &str) -> &str {
    url.split_once("://").map_or("", |(scheme, _)| scheme)
}

enum Redirect {
    Follow,
    Stay,
}

/// Turns the request into the one that follows a redirect, by the rules of Go's client: 301, 302
/// and 303 make a GET of everything but HEAD; 307 and 308 repeat the request. Another host is not
/// told the credentials.
fn redirect(ask: &mut Ask, status: StatusCode, location: &str) -> Result<Redirect, HttpError> {
    match status {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => {
            if ask.method != Method::HEAD {
                ask.method = Method::GET;
            }
            ask.body = Bytes::new();
        }
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {}
        _ => return Ok(Redirect::Stay),
    }
    let bad = || HttpError::Location(location.to_owned());
    let next = resolve(&ask.uri, location).ok_or_else(bad)?;
    if next.host() != ask.uri.host() {
        ask.headers.remove(AUTHORIZATION);
        ask.headers.remove(COOKIE);
    }
    if next.authority() != ask.uri.authority() {
        ask.headers.remove(HOST);
    }
    ask.uri = next;
    Ok(Redirect::Follow)
}

/// One request on a connection of its own.
async fn exchange(
    ask: &Ask,
    definition: &CheckDefinition,
    tls: &Tls,
    deadline: Instant,
) -> Result<Answer, HttpError> {
    let opened = async {
        let stream = connect(&ask.uri, definition, tls).await?;
        http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(HttpError::Exchange)
    };
    let (mut sender, connection) =
        timeout_at(deadline, opened).await.unwrap_or(Err(HttpError::Deadline))?;
    let request = request_of(ask)?;
    let talk = async {
        let response = timeout_at(deadline, sender.send_request(request))
            .await
            .map_err(|_| HttpError::Deadline)?
            .map_err(|error| {
                let closed = error.is_incomplete_message() || error.is_canceled();
                if closed { HttpError::Closed } else { HttpError::Exchange(error) }
            })?;
        let (head, body) = response.into_parts();
        let status = head.status;
        let phrase = head.extensions.get::<ReasonPhrase>().map_or_else(
            || status.canonical_reason().unwrap_or_default().into(),
            |phrase| String::from_utf8_lossy(phrase.as_bytes()),
        );
        let status_text = format!("{} {phrase}", status.as_u16());
        let location = head.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.map(str::to_owned);
        let body = read_tail(body, output_bytes_max(definition), deadline).await;
        Ok(Answer { status, status_text, location, body })
    };
    tokio::select! {
        answer = talk => answer,
        never = drive(connection) => match never {},
    }
}

async fn connect(
    uri: &Uri,
    definition: &CheckDefinition,
    tls: &Tls,
) -> Result<Box<dyn Io>, HttpError> {
    let port = match uri.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        other => return Err(HttpError::Scheme(other.unwrap_or_default().to_owned())),
    };
    let host = uri.host().filter(|host| !host.is_empty()).ok_or(HttpError::NoHost)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let stream = dial::connect(host, uri.port_u16().unwrap_or(port)).await?;
    if uri.scheme_str() == Some("https") {
        Ok(Box::new(tls.connect(stream, host, definition, &[b"http/1.1"]).await?))
    } else {
        Ok(Box::new(stream))
    }
}

fn request_of(ask: &Ask) -> Result<Request<Full<Bytes>>, HttpError> {
    let path = ask.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::new(Full::new(ask.body.clone()));
    *request.method_mut() = ask.method.clone();
    *request.uri_mut() = path.parse().map_err(|_| HttpError::Location(path.to_owned()))?;
    *request.headers_mut() = ask.headers.clone();
    if !ask.headers.contains_key(HOST) {
        let authority = ask.uri.authority().map_or("", |it| it.as_str());
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let value = HeaderValue::from_str(host).map_err(|_| HttpError::NoHost)?;
        request.headers_mut().insert(HOST, value);
    }
    Ok(request)
}

async fn read_tail(mut body: Incoming, bytes_max: usize, deadline: Instant) -> String {
    let mut tail = Tail::new(bytes_max);
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            if let Some(chunk) = frame.data_ref() {
                tail.push(chunk);
            }
        }
    };
    // What came until then is shown.
    let _ = timeout_at(deadline, reading).await;
    tail.into_text()
}
