//! What is done to the head of every response before it is sent, whoever made it.

use codec::message::HeaderMap;
use http::header::{SERVER, VIA};
use http::{StatusCode, Version};

use crate::access_log::ExchangeFacts;
use crate::exchange::Exchange;
use crate::filters::{self, Encoder};
use crate::headers::{self, X_REQUEST_ID};
use crate::rules::{HttpRules, ResponseRules};
use crate::upstream::{Lease, UpstreamVersion};

/// Makes the head one for the client: the route's changes, then the filters', then the listener's. Gives what compresses
/// the body, which is `length` bytes long where that is known.
pub(crate) fn finish_head(
    status: StatusCode,
    headers: &mut HeaderMap,
    length: Option<u64>,
    exchange: &mut Exchange,
) -> Option<Box<Encoder>> {
    if exchange.route_rules().is_some_and(|it| it.edits_response) {
        edit(headers, exchange);
    }
    let encoder = if exchange.work.is_some() {
        filters::respond(status, headers, length, exchange)
    } else {
        None
    };
    if let Some(rules) = exchange.rules()
        && let Some(of_all) = &rules.response
    {
        follow(rules, of_all, headers, exchange);
    }
    // An upgrade has an end of its own.
    if exchange.client.is_closing.get() && status != StatusCode::SWITCHING_PROTOCOLS {
        headers::announce_close(headers);
    }
    if exchange.kept.is_some() {
        let now = exchange.client.worker.now();
        if let Some(kept) = &mut exchange.kept {
            kept.response = Some(headers.clone());
            kept.answered_at = Some(now);
        }
    }
    encoder
}

fn edit(headers: &mut HeaderMap, exchange: &Exchange) {
    let Some((router, at)) = exchange.route() else { return };
    let edits = &router.plans()[at].response_headers;
    let values = edits.values(&ExchangeFacts {
        exchange,
        request: exchange.kept.as_ref().map(|it| it.head(&exchange.method)),
        response: Some(headers),
        now: exchange.client.worker.now(),
    });
    edits.apply(headers, values);
}

/// What the listener does to every response.
fn follow(rules: &HttpRules, of_all: &ResponseRules, headers: &mut HeaderMap, exchange: &Exchange) {
    if let Some(server) = &of_all.server
        && (server.is_overwritten || !headers.contains_key(SERVER))
    {
        headers.insert(SERVER, &server.name);
    }
    if let Some(via) = &rules.via {
        let lease = exchange.upstream.as_ref().and_then(|it| it.lease.as_ref());
        let version = match lease.map(Lease::version) {
            Some(UpstreamVersion::Http1) => Version::HTTP_11,
            Some(UpstreamVersion::Http2) => Version::HTTP_2,
            None => exchange.version,
        };
        headers.append(VIA, via.of(version));
    }
    if of_all.request_id
        && let Some(id) = &exchange.request_id
    {
        headers.insert(X_REQUEST_ID, id);
    }
}
