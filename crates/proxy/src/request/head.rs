//! What of a request's head is checked and changed before it is routed.

mod hosts;

use std::borrow::Cow;

use codec::message::{HeaderMap, RequestParts as Parts};
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, MAX_FORWARDS, PROXY_AUTHORIZATION};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode, Uri, Version};
use proxy_config::HttpListener;
use traffic::{NormalPath, normal_path, without_port};

use crate::headers;
use crate::reply::{Answer, Refusal};

/// Refuses what is not served here.
pub(super) fn check(parts: &Parts, config: &HttpListener) -> Result<(), Box<Answer>> {
    if !config.accept_http_10 && matches!(parts.version, Version::HTTP_10 | Version::HTTP_09) {
        return Err(Answer::upgrade_required().into());
    }
    // HTTP/1.1 heads are counted as they are parsed.
    if parts.headers.len() > config.headers_max as usize {
        return Err(Answer::refusal(Refusal::TooManyHeaders).into());
    }
    if is_asterisk(parts) && parts.method != Method::OPTIONS {
        return Err(bad("only OPTIONS asks about the server itself\n"));
    }
    Ok(())
}

/// Who the request is meant for: the target's authority if it has one, else `Host` (RFC 9112, section 3.2).
pub(super) fn authority(parts: &Parts, strip_port: bool) -> Result<HeaderValue, Box<Answer>> {
    let mut hosts = parts.headers.get_all(HOST);
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(bad("more than one Host\n"));
    }
    let authority = if let Some(authority) = parts.uri.authority() {
        if host.is_some_and(|it| !hosts::is_host(it.as_bytes())) {
            return Err(bad("the host is not one\n"));
        }
        // What comes before `@` is a name and a password, for the client alone.
        let text = authority.as_str();
        let text = text.rsplit_once('@').map_or(text, |(_, host)| host);
        hosts::known(text.as_bytes()).ok_or_else(|| bad("the authority is not one\n"))?
    } else {
        match host {
            Some(host) => {
                hosts::known(host.as_bytes()).ok_or_else(|| bad("the host is not one\n"))?
            }
            None if parts.version == Version::HTTP_10 => HeaderValue::from_static(""),
            None => return Err(bad("no Host\n")),
        }
    };
    if !strip_port {
        return Ok(authority);
    }
    let Ok(text) = authority.to_str() else { return Ok(authority) };
    let name = without_port(text);
    if name.len() == text.len() {
        return Ok(authority);
    }
    Ok(HeaderValue::from_str(name).unwrap_or(authority))
}

/// Counts `max-forwards` down; who is the last recipient answers (RFC 9110, section 7.6.2).
pub(super) fn count_forwards_down(parts: &mut Parts) -> Result<(), Box<Answer>> {
    if parts.method != Method::OPTIONS && parts.method != Method::TRACE {
        return Ok(());
    }
    let left = parts.headers.get(MAX_FORWARDS).and_then(|it| it.to_str().ok()?.parse().ok());
    match left {
        None => Ok(()),
        Some(0_u64) if parts.method == Method::OPTIONS => Err(Answer::options().into()),
        Some(0_u64) => Err(trace(parts).into()),
        Some(left) => {
            parts.headers.insert(MAX_FORWARDS, headers::number(left - 1));
            Ok(())
        }
    }
}

/// What came, without what is for nobody else to see (RFC 9110, section 9.3.8).
fn trace(parts: &Parts) -> Answer {
    let mut text = format!("TRACE {} HTTP/1.1\r\n", parts.uri).into_bytes();
    for (name, value) in &parts.headers {
        if [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].iter().any(|it| name == *it) {
            continue;
        }
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("message/http"));
    Answer::new(StatusCode::OK, "max_forwards").with(headers).containing(text)
}

/// Makes the path the one that is matched and sent on.
pub(super) fn normalize(parts: &mut Parts, config: &HttpListener) -> Result<(), Box<Answer>> {
    if parts.method == Method::CONNECT || is_asterisk(parts) {
        return Ok(());
    }
    let query = parts.uri.query();
    let with_query = |path: &str| match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    match normal_path(parts.uri.path(), &config.path) {
        NormalPath::Use(Cow::Borrowed(_)) => Ok(()),
        NormalPath::Use(Cow::Owned(path)) => {
            let target = with_query(&path);
            let made = PathAndQuery::try_from(target).ok().and_then(|target| {
                let mut uri = parts.uri.clone().into_parts();
                uri.path_and_query = Some(target);
                Uri::from_parts(uri).ok()
            });
            parts.uri = made.ok_or_else(|| bad("the path is not one\n"))?;
            Ok(())
        }
        NormalPath::Redirect(path) => {
            let answer = Answer::redirect(307, with_query(&path), "path_normalization_failed");
            Err(answer.map_or_else(|| bad("the path is not one\n"), Box::new))
        }
        NormalPath::Refused(why) => Err(bad(why)),
    }
}

/// What routes are matched with.
pub(super) fn routed_path(parts: &Parts) -> &str {
    if parts.method == Method::CONNECT || is_asterisk(parts) { "/" } else { parts.uri.path() }
}

/// `OPTIONS *` (RFC 9112, section 3.2.4).
fn is_asterisk(parts: &Parts) -> bool {
    parts.uri.path() == "*"
}

fn bad(why: &'static str) -> Box<Answer> {
    Box::new(Answer::refusal(Refusal::BadRequest(why)))
}
