//! What becomes of the path, the host and the headers of a request before it is sent on.

use codec::message::RequestParts as Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderName, HeaderValue, Uri};
use traffic::{NewHost, RequestView};

use super::Way;
use super::facts::Sending;
use crate::connection::Client;

const ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");

/// The host that a request is sent to.
#[derive(PartialEq, Eq)]
pub(super) enum Host {
    Keep,
    To(HeaderValue),
    /// That of the endpoint which is picked.
    OfEndpoint,
}

/// Changes the head as the route and the chosen cluster want it, and gives the host.
pub(super) fn rewrite(
    parts: &mut Parts,
    authority: &HeaderValue,
    way: Way<'_>,
    entry: Option<usize>,
    client: &Client,
    cluster: &str,
) -> Host {
    if way.own.is_head_kept {
        return Host::Keep;
    }
    let entry = entry.and_then(|it| way.plan.clusters.entries().get(it));
    if let Some(entry) = entry.filter(|it| !it.request_headers.is_empty()) {
        let values = entry.request_headers.values(&Sending {
            method: &parts.method,
            uri: &parts.uri,
            version: parts.version,
            headers: &parts.headers,
            authority,
            client,
            cluster,
            answer: None,
        });
        entry.request_headers.apply(&mut parts.headers, values);
    }
    let host = new_host(parts, authority, way, client);
    let path = parts.uri.path();
    if let Some(target) = way.plan.path.target(path, parts.uri.query()) {
        rewrite_path(parts, &target);
    }
    host
}

fn new_host(parts: &Parts, authority: &HeaderValue, way: Way<'_>, client: &Client) -> Host {
    let view = RequestView {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query(),
        host: authority.to_str().unwrap_or_default(),
        is_tls: client.facts.tls.is_some(),
        fields: &parts.headers,
        random: 0,
    };
    match way.plan.host.host(&view) {
        NewHost::Keep => Host::Keep,
        NewHost::Endpoint => Host::OfEndpoint,
        // What a header or a path says need not be a host: then it stays what it was.
        NewHost::To(host) => match Authority::try_from(&*host) {
            Ok(authority) => HeaderValue::from_str(authority.as_str()).map_or(Host::Keep, Host::To),
            Err(_) => Host::Keep,
        },
    }
}

/// The path stays what it was when the new one is none, which takes a client that chose its parts.
fn rewrite_path(parts: &mut Parts, target: &str) {
    let Ok(target) = PathAndQuery::try_from(target) else { return };
    let before = parts.uri.path_and_query().map_or("/", |it| it.as_str());
    let Ok(before) = HeaderValue::from_str(before) else { return };
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    let old = uri.path_and_query.replace(target);
    match Uri::from_parts(uri) {
        Ok(uri) => {
            parts.uri = uri;
            parts.headers.insert(ORIGINAL_PATH, before);
        }
        Err(_) => parts.uri = old.map_or_else(Uri::default, Uri::from),
    }
}
