//! What becomes of an endpoint's response on its way to the client.

use std::time::Instant;

use codec::message::{HeaderMap, Response};
use http::header::{CONTENT_LENGTH, TRAILER};
use http::{HeaderValue, Method, StatusCode, Version};
use proxy_config::Forward;
use traffic::Outcome;

use super::Asked;
use crate::body::ResponseBody;
use crate::exchange::{Exchange, grpc_outcome, grpc_status, millis};
use crate::frame::Body;
use crate::headers::{self, IMMEDIATE_FAIL, SERVICE_TIME, X_REQUEST_ID};
use crate::incoming::Incoming;
use crate::response::finish_head;

/// Makes the endpoint's response into one for the client.
pub(super) fn respond(
    response: Response<Incoming>,
    mut exchange: Box<Exchange>,
    route: &Forward,
    asked: Asked,
) -> Response<ResponseBody> {
    let (mut parts, body) = response.into_parts();
    let now = exchange.client.worker.now();
    exchange.status = parts.status.as_u16();
    let sent_at = exchange.upstream.as_ref().map_or(exchange.started, |it| it.sent_at);
    let service_time = now.saturating_duration_since(sent_at);
    exchange.service_time = Some(service_time);
    exchange.observe_rtt(service_time, now);
    exchange.details = "via_upstream";
    let version = exchange.upstream.as_ref().and_then(|it| Some(it.lease.as_ref()?.version()));
    if let Some(kept) = &mut exchange.kept {
        kept.sent_at = Some(sent_at);
        kept.upstream_version = version;
    }
    report_head(&mut exchange, &parts.headers, parts.status, now);
    if parts.headers.contains_key(IMMEDIATE_FAIL)
        && let (Some(cluster), Some(upstream)) = (&exchange.cluster, &exchange.upstream)
    {
        cluster.state.fail_checks_at_once(upstream.picked.endpoint());
    }
    headers::remove_hop_by_hop(&mut parts.headers);
    parts.version = asked.version;
    if route.timing_headers {
        parts.headers.insert(SERVICE_TIME, headers::number(millis(service_time)));
    }
    if let Some(request_id) = asked.request_id {
        parts.headers.insert(X_REQUEST_ID, request_id);
    }
    let timing_trailer = route.timing_trailer
        && asked.accepts_trailers
        && has_content(&exchange.method, parts.status);
    if asked.version == Version::HTTP_11 && asked.accepts_trailers {
        if exchange.is_grpc && has_content(&exchange.method, parts.status) {
            announce_trailers(&mut parts.headers, GRPC_TRAILERS);
        }
        if timing_trailer {
            announce_trailers(&mut parts.headers, SERVICE_TIME_NAME);
        }
    }
    let length = if body.is_end_stream() { Some(0) } else { body.size_hint().exact() };
    let encoder = finish_head(parts.status, &mut parts.headers, length, &mut exchange);
    Response::from_parts(parts, ResponseBody::upstream(body, exchange, timing_trailer, encoder))
}

/// Tells what the head of a response says of the endpoint. Of a gRPC call the trailers tell, which may be in the
/// head.
fn report_head(exchange: &mut Exchange, headers: &HeaderMap, status: StatusCode, now: Instant) {
    if !exchange.is_grpc || status != StatusCode::OK {
        return exchange.report(Outcome::Response { status: status.as_u16() }, now);
    }
    exchange.grpc_status = grpc_status(headers);
    if let Some(status) = exchange.grpc_status {
        exchange.report(Outcome::Response { status: grpc_outcome(status) }, now);
    }
}

fn has_content(method: &Method, status: StatusCode) -> bool {
    *method != Method::HEAD && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Trailers come after chunks only, and hyper sends those that are announced only.
fn announce_trailers(headers: &mut HeaderMap, names: &'static str) {
    headers.remove(CONTENT_LENGTH);
    headers.append(TRAILER, HeaderValue::from_static(names));
}

const SERVICE_TIME_NAME: &str = "x-envoy-upstream-service-time";
/// What ends a gRPC call. An endpoint that speaks HTTP/2 need not announce it.
const GRPC_TRAILERS: &str = "grpc-status, grpc-message, grpc-status-details-bin";
