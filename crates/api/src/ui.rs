//! The pages for people under `/ui/`: files that are part of the binary, and use the HTTP API of the agent that served
//! them with the token that their reader gives. They are no secret: no token is asked for.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};

use crate::Settings;

#[cfg(test)]
mod tests;

/// The request came to an address where the UI is not served, as an extension of the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WithoutUi;

const HOME: &str = "/ui/";
const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Everything comes from this agent, nothing runs that stands in a page, no page of others frames it, and no text from
/// the catalog can become markup.
const POLICY: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// What is at `/` where the UI is not.
const WELCOME: &str = "Leno agent. There is no UI at this address.

  leno services                  services and their health, in a terminal
  /v1/catalog/services           the same over Consul's HTTP API
  /v1/agent/self                 this agent
  /leno/v1/status                what it holds, at which revision
  /leno/v1/documents             declared documents
  /metrics                       for Prometheus
";

const OFF: &str = "The UI is switched off on this agent. To switch it on, leave `ui_config.enabled`, `ui` and `leno.ui` out \
    of the agent's configuration, and start the agent again.\n";
const ELSEWHERE: &str =
    "The UI is at another address of this agent: `leno.ui` of its configuration says which.\n";

struct File {
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

macro_rules! files {
    ($($name:literal: $content_type:expr),* $(,)?) => {
        &[$(File {
            name: $name,
            content_type: $content_type,
            bytes: include_bytes!(concat!("../ui/", $name)),
        }),*]
    };
}

/// The page for every path that is no file: its script reads the path.
const INDEX: &str = "index.html";

const FILES: &[File] = files! {
    "index.html": HTML,
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "app.js": SCRIPT,
    "api.js": SCRIPT,
    "dom.js": SCRIPT,
    "overview.js": SCRIPT,
    "services.js": SCRIPT,
    "routing.js": SCRIPT,
    "nodes.js": SCRIPT,
    "kv.js": SCRIPT,
    "intentions.js": SCRIPT,
    "acl.js": SCRIPT,
    "explain.js": SCRIPT,
};

/// Answers `GET` and `HEAD` of `/` and of what is under `/ui`, where the server sends no body to `HEAD`; nothing for any
/// other request.
#[must_use]
pub fn page(request: &Request<Bytes>, settings: &Settings) -> Option<Response<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let path = request.uri().path();
    let inside = path.strip_prefix(HOME);
    let is_here = settings.ui && request.extensions().get::<WithoutUi>().is_none();
    Some(match (path, inside) {
        ("/", _) if !is_here => text(StatusCode::OK, WELCOME),
        ("/ui", _) | (_, Some(_)) if !settings.ui => text(StatusCode::NOT_FOUND, OFF),
        ("/ui", _) | (_, Some(_)) if !is_here => text(StatusCode::NOT_FOUND, ELSEWHERE),
        ("/" | "/ui", _) => moved(),
        (_, Some(inside)) => match file(inside) {
            Some(file) => sent(file, request),
            None => text(StatusCode::NOT_FOUND, "There is no such file of the UI.\n"),
        },
        (_, None) => return None,
    })
}

/// Files stand right under `/ui/` and their names have dots. Paths of pages have none at that place, where a datacenter or
/// a page stands; further down they may have, as in `/ui/dc1/nodes/n1.example.com`.
fn file(inside: &str) -> Option<&'static File> {
    let is_page = inside.contains('/') || !inside.contains('.');
    let name = if is_page { INDEX } else { inside };
    FILES.iter().find(|it| it.name == name)
}

fn sent(file: &File, request: &Request<Bytes>) -> Response<Bytes> {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, file.bytes);
    let tag: String = digest.as_ref()[..8].iter().map(|it| format!("{it:02x}")).collect();
    let tag = format!("\"{tag}\"");
    let is_known = knows(request, &tag);
    let body = if is_known { Bytes::new() } else { Bytes::from_static(file.bytes) };
    let mut response = guarded(Response::new(body));
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.content_type));
    headers.insert(ETAG, HeaderValue::try_from(tag).expect("hexadecimal digits in quotes"));
    // Always asked for, and mostly answered with 304: an agent that was updated never mixes two versions.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn knows(request: &Request<Bytes>, tag: &str) -> bool {
    let lists = request.headers().get_all(IF_NONE_MATCH).iter();
    lists.filter_map(|it| it.to_str().ok()).flat_map(|it| it.split(',')).any(|it| {
        let it = it.trim();
        it == "*" || it.strip_prefix("W/").unwrap_or(it) == tag
    })
}

/// Not for ever: the UI may be switched off.
fn moved() -> Response<Bytes> {
    let mut response = guarded(Response::new(Bytes::new()));
    *response.status_mut() = StatusCode::FOUND;
    response.headers_mut().insert(LOCATION, HeaderValue::from_static(HOME));
    response
}

fn text(status: StatusCode, text: &'static str) -> Response<Bytes> {
    let mut response = guarded(Response::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
    response
}

fn guarded(mut response: Response<Bytes>) -> Response<Bytes> {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
