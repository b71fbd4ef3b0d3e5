//! Probes over HTTP/1.1 and HTTP/2.

use ::http::header::{HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use ::http::{Method, Request, Response, Uri, Version};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use proxy_config::HealthProbe;
use traffic::{HttpAnswer, ProbeResult, TextMatch};

use super::connection::{Connection, ProbeBody, exchange};
use super::probe::Subject;
use crate::headers::IMMEDIATE_FAIL;

/// Bytes of an answer that are read for the sake of the connection; behind a longer one it is closed.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Envoy's, which applications know to leave out of their logs.
pub(super) const PROBE_AGENT: HeaderValue = HeaderValue::from_static("Envoy/HC");

const SERVICE: HeaderName = HeaderName::from_static("x-envoy-upstream-healthchecked-cluster");
const DEGRADED: HeaderName = HeaderName::from_static("x-envoy-degraded");

pub(super) async fn probe(subject: &Subject, connection: &mut Option<Connection>) -> ProbeResult {
    let HealthProbe::Http { http2, .. } = &subject.check.probe else {
        return ProbeResult::NoAnswer;
    };
    let Some(request) = request(subject) else {
        let cluster = &*subject.cluster;
        tracing::warn!(cluster, "the health check's method, path, host or a header is not one");
        return ProbeResult::NoAnswer;
    };
    let response = match exchange(subject, connection, *http2, request).await {
        Ok(response) => response,
        Err(failed) => return failed,
    };
    let answer = answer(subject, &response);
    match read_to_end(response).await {
        Rest::Read(true) => {}
        Rest::Read(false) | Rest::TooLong => *connection = None,
        Rest::Broken => {
            *connection = None;
            return ProbeResult::NoAnswer;
        }
    }
    ProbeResult::of_http(&subject.check.probe, answer)
}

/// `None` when the configuration does not make one.
fn request(subject: &Subject) -> Option<Request<ProbeBody>> {
    let HealthProbe::Http { host, path, method, http2, headers, .. } = &subject.check.probe else {
        return None;
    };
    let path = if path.is_empty() { "/" } else { path };
    let method = match method.as_str() {
        "" => Method::GET,
        other => Method::from_bytes(other.as_bytes()).ok()?,
    };
    let mut request = Request::new(ProbeBody::default());
    *request.method_mut() = method;
    let all = request.headers_mut();
    all.insert(USER_AGENT, PROBE_AGENT);
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        all.append(name, HeaderValue::from_str(value).ok()?);
    }
    if *http2 {
        let scheme = if subject.transport.tls.is_some() { "https" } else { "http" };
        let authority = subject.authority(host)?;
        *request.uri_mut() =
            Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build().ok()?;
        *request.version_mut() = Version::HTTP_2;
    } else {
        all.insert(HOST, HeaderValue::from_str(subject.host(host)).ok()?);
        *request.uri_mut() = path.parse().ok()?;
    }
    Some(request)
}

fn answer(subject: &Subject, response: &Response<Incoming>) -> HttpAnswer {
    let headers = response.headers();
    HttpAnswer {
        status: response.status().as_u16(),
        service_matches: service_matches(&subject.check.probe, headers),
        degraded: headers.contains_key(DEGRADED),
        fails_immediately: headers.contains_key(IMMEDIATE_FAIL),
    }
}

/// A condition that cannot be read is met by none: what answers may be anybody.
fn service_matches(probe: &HealthProbe, headers: &HeaderMap) -> bool {
    let HealthProbe::Http { service: Some(wanted), .. } = probe else { return true };
    let Ok(wanted) = TextMatch::new(wanted) else { return false };
    headers.get(SERVICE).is_some_and(|it| wanted.matches(it.as_bytes()))
}

enum Rest {
    /// To its end; the connection can be used again or not.
    Read(bool),
    TooLong,
    Broken,
}

async fn read_to_end(response: Response<Incoming>) -> Rest {
    let is_kept = response
        .headers()
        .get(::http::header::CONNECTION)
        .is_none_or(|it| !it.as_bytes().eq_ignore_ascii_case(b"close"));
    match Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await {
        Ok(_) => Rest::Read(is_kept),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Rest::TooLong,
        Err(_) => Rest::Broken,
    }
}
