//! What is done with requests on their way, beyond routing, in this order: rules for other origins, the local rate limit,
//! faults, adaptive concurrency; and with responses: what those have still to say, and compression.
//!
//! Who uses none of them pays a look at two pointers.

mod accept_encoding;
mod compression;
mod encoder;
mod set;

use std::sync::Arc;

use bytes::Bytes;
use codec::message::{FieldValue, HeaderMap, RequestParts as Parts};
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};
use tokio::time::sleep;
use traffic::{
    AbortStatus, ConcurrencyLimiter, ConcurrencyPermit, CorsDecision, CorsGrant, Injection,
    RateVerdict, RequestView, ResponseFlag, TokenState,
};

use crate::exchange::Exchange;
use crate::headers;
use crate::reply::Answer;

pub(crate) use compression::Compressing;
pub(crate) use encoder::Encoder;
pub(crate) use set::FilterSet;

const RATE_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const RATE_LIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RATE_LIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const RATE_LIMITED: HeaderName = HeaderName::from_static("x-envoy-ratelimited");

/// What the filters have still to do when the response comes, and what they hold until it has ended.
#[derive(Default)]
pub(crate) struct Work {
    cors: Option<CorsGrant>,
    /// What the bucket said, and how much it holds.
    tokens: Option<(TokenState, u32)>,
    permit: Option<ConcurrencyPermit<Arc<ConcurrencyLimiter>>>,
    /// Counts as a fault under way.
    _injection: Option<Injection>,
    /// What the client takes, when its response may be compressed.
    accept_encoding: Option<Vec<HeaderValue>>,
}

/// Lets a request through, or answers it.
pub(crate) async fn pass(
    parts: &mut Parts,
    host: &str,
    path: &str,
    exchange: &mut Exchange,
) -> Result<(), Box<Answer>> {
    let view = exchange.view.clone();
    let (listener, route) = exchange.filters_of(&view);
    let mut work = Work::default();
    if let Some(compression) = FilterSet::compression(listener, route) {
        work.accept_encoding =
            Some(parts.headers.get_all(ACCEPT_ENCODING).map(FieldValue::to_owned).collect());
        if compression.removes_accept_encoding() {
            parts.headers.remove(ACCEPT_ENCODING);
        }
    }
    if let Some(cors) = FilterSet::cors(listener, route) {
        match cors.decide(parts.method.as_str(), &parts.headers) {
            CorsDecision::Forward(grant) => work.cors = Some(grant),
            CorsDecision::Answer(headers) => {
                return Err(Answer::new(StatusCode::OK, "cors_response").with(headers).into());
            }
        }
    }
    exchange.work = Some(Box::new(work));
    rate_limit(listener, route, exchange)?;
    inject(listener, route, (parts, host, path), exchange).await?;
    limit_concurrency(listener, route, exchange)
}

fn rate_limit(
    listener: Option<&FilterSet>,
    route: Option<&FilterSet>,
    exchange: &mut Exchange,
) -> Result<(), Box<Answer>> {
    let Some(limiter) = FilterSet::rate_limit(listener, route) else { return Ok(()) };
    let worker = exchange.client.worker.clone();
    let now_ns = worker.nanos(exchange.started);
    let verdict = worker.with_rng(|rng| limiter.check(now_ns, rng));
    let http = &exchange.view.http_counters;
    let settings = limiter.settings();
    let (state, is_refused) = match verdict {
        RateVerdict::NotAsked => return Ok(()),
        RateVerdict::Pass(state) => (state, false),
        RateVerdict::Refuse(state) => (state, true),
    };
    http.local_rate_limit_enabled.inc();
    if state.taken {
        http.local_rate_limit_ok.inc();
    } else {
        http.local_rate_limit_rate_limited.inc();
    }
    if settings.rate_limit_headers
        && let Some(work) = &mut exchange.work
    {
        work.tokens = Some((state, settings.tokens_max));
    }
    if !is_refused {
        return Ok(());
    }
    http.local_rate_limit_enforced.inc();
    let status = StatusCode::from_u16(settings.status).unwrap_or(StatusCode::TOO_MANY_REQUESTS);
    let mut answer = Answer::new(status, "local_rate_limited")
        .flagged(ResponseFlag::RateLimited)
        .saying("local_rate_limited");
    answer.headers.insert(RATE_LIMITED, HeaderValue::from_static("true"));
    for (name, value) in &settings.response_headers {
        let (name, value) = (HeaderName::try_from(name), HeaderValue::try_from(value));
        if let (Ok(name), Ok(value)) = (name, value) {
            answer.headers.append(name, value);
        }
    }
    Err(answer.into())
}

/// Carries out a fault. While a request is delayed it holds nothing of an endpoint.
async fn inject(
    listener: Option<&FilterSet>,
    route: Option<&FilterSet>,
    (parts, host, path): (&Parts, &str, &str),
    exchange: &mut Exchange,
) -> Result<(), Box<Answer>> {
    let Some(fault) = FilterSet::fault(listener, route) else { return Ok(()) };
    let view = RequestView {
        method: parts.method.as_str(),
        path,
        query: parts.uri.query(),
        host,
        is_tls: exchange.is_https,
        fields: &parts.headers,
        random: 0,
    };
    let worker = exchange.client.worker.clone();
    let Some(injection) = worker.with_rng(|rng| fault.decide(&view, rng)) else { return Ok(()) };
    let (delay, abort) = (injection.delay, injection.abort);
    if let Some(delay) = delay {
        exchange.view.http_counters.fault_delays_injected.inc();
        exchange.flags.insert(ResponseFlag::DelayInjected);
        sleep(delay).await;
        exchange.forwarded_at = worker.now();
    }
    let answer = abort.map(|status| {
        exchange.view.http_counters.fault_aborts_injected.inc();
        let answer = match status {
            AbortStatus::Http(status) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
                Answer::new(status, "fault_filter_abort")
            }
            AbortStatus::Grpc(status) => {
                Answer::new(StatusCode::OK, "fault_filter_abort").grpc(status)
            }
        };
        answer.flagged(ResponseFlag::FaultInjected).saying("fault filter abort").into()
    });
    if let Some(work) = &mut exchange.work {
        work._injection = Some(injection);
    }
    answer.map_or(Ok(()), Err)
}

fn limit_concurrency(
    listener: Option<&FilterSet>,
    route: Option<&FilterSet>,
    exchange: &mut Exchange,
) -> Result<(), Box<Answer>> {
    let Some(limiter) = FilterSet::concurrency(listener, route) else { return Ok(()) };
    let now_ns = exchange.client.worker.nanos(exchange.forwarded_at);
    match ConcurrencyPermit::try_new(limiter.clone(), now_ns) {
        Ok(permit) => {
            if let Some(work) = &mut exchange.work {
                work.permit = Some(permit);
            }
            Ok(())
        }
        Err(_) => {
            exchange.view.http_counters.adaptive_concurrency_rq_blocked.inc();
            let status = limiter.settings().status;
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            let answer = Answer::new(status, "reached_concurrency_limit");
            Err(answer.saying("reached concurrency limit").into())
        }
    }
}

/// What the filters do to the head of a response. Gives what compresses its body.
pub(crate) fn respond(
    status: StatusCode,
    headers: &mut HeaderMap,
    length: Option<u64>,
    exchange: &mut Exchange,
) -> Option<Box<Encoder>> {
    let mut work = exchange.work.take()?;
    let view = exchange.view.clone();
    let (listener, route) = exchange.filters_of(&view);
    if let (Some(cors), Some(grant)) = (FilterSet::cors(listener, route), work.cors.take()) {
        cors.grant(grant, headers);
    }
    if let Some((tokens, tokens_max)) = work.tokens {
        headers.insert(RATE_LIMIT, headers::number(tokens_max.into()));
        headers.insert(RATE_LIMIT_REMAINING, headers::number(tokens.remaining.into()));
        // In whole seconds, so that who waits so long is not refused again.
        let reset = tokens.next_fill_in.as_millis().div_ceil(1000);
        let reset = u64::try_from(reset).unwrap_or(u64::MAX);
        headers.insert(RATE_LIMIT_RESET, headers::number(reset));
    }
    let compression = FilterSet::compression(listener, route);
    let encoder = match (compression, work.accept_encoding.take()) {
        (Some(compression), Some(accepted)) => {
            compression.begin(&exchange.method, (status, length), &accepted, headers)
        }
        (Some(_) | None, _) => None,
    };
    exchange.work = Some(work);
    encoder
}

/// The response has come to its end.
pub(crate) fn finish(work: Work, exchange: &Exchange, now: std::time::Instant) {
    if let Some(permit) = work.permit {
        let worker = &exchange.client.worker;
        worker.with_rng(|rng| permit.finish(worker.nanos(now), rng));
    }
}

/// Of a local answer without anything of its own.
pub(crate) fn plain_text(headers: &mut HeaderMap, content: &Bytes) {
    if !content.is_empty() && !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
}
