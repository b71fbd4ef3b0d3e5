//! What is counted and logged of an exchange when it has ended.

use std::time::{Duration, Instant};

use codec::message::{FieldValue, HeaderMap};
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use traffic::ResponseFlag;

use crate::access_log::{ExchangeFacts, RequestHead, Unread};
use crate::connection::Client;
use crate::exchange::Exchange;
use crate::stats::{HttpCounters, ListenerCounters, MeshResponse, Shard};
use crate::upstream::UpstreamVersion;
use crate::view::{ListenerKind, ListenerView};

/// What logs and changes of the response need of a request, kept until it has ended. Values are shared with the request,
/// not copied.
pub(crate) struct Kept {
    uri: Uri,
    version: Version,
    authority: Option<HeaderValue>,
    headers: HeaderMap,
    pub(crate) sent_at: Option<Instant>,
    pub(crate) answered_at: Option<Instant>,
    pub(crate) upstream_version: Option<UpstreamVersion>,
    pub(crate) response: Option<HeaderMap>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Kept {
    /// `names` are the headers that are asked for.
    pub(crate) fn new<'a>(
        uri: &Uri,
        version: Version,
        authority: Option<&HeaderValue>,
        headers: &HeaderMap,
        names: impl Iterator<Item = &'a HeaderName>,
    ) -> Self {
        let mut kept = HeaderMap::new();
        for name in names {
            if kept.contains_key(name) {
                continue;
            }
            for value in headers.get_all(name) {
                kept.append(name, value);
            }
        }
        let of_target = || HeaderValue::from_str(uri.authority()?.as_str()).ok();
        let authority = authority.cloned().or_else(of_target);
        Self {
            uri: uri.clone(),
            version,
            authority: authority
                .or_else(|| headers.get(http::header::HOST).map(FieldValue::to_owned)),
            headers: kept,
            sent_at: None,
            answered_at: None,
            upstream_version: None,
            response: None,
            trailers: None,
        }
    }

    pub(crate) fn head<'a>(&'a self, method: &'a Method) -> RequestHead<'a> {
        RequestHead {
            method,
            uri: &self.uri,
            version: self.version,
            authority: self.authority.as_ref(),
            headers: &self.headers,
        }
    }
}

/// Counts a connection of a listener while it lives.
pub(crate) struct ConnectionCount {
    since: Instant,
    listener: Shard<ListenerCounters>,
    /// Set when it has been found out which HTTP is spoken.
    http: Option<Shard<HttpCounters>>,
}

impl ConnectionCount {
    pub(crate) fn new(listener: &Shard<ListenerCounters>, since: Instant) -> Self {
        let listener = listener.clone();
        listener.downstream_cx_total.inc();
        listener.downstream_cx_active.inc();
        Self { since, listener, http: None }
    }

    pub(crate) fn is_http(&mut self, view: &ListenerView, is_http2: bool, is_tls: bool) {
        let http = view.http_counters.clone();
        http.downstream_cx_total.inc();
        http.downstream_cx_active.inc();
        if is_http2 {
            http.downstream_cx_http2_total.inc();
        } else {
            http.downstream_cx_http1_total.inc();
        }
        if is_tls {
            http.downstream_cx_ssl_total.inc();
        }
        self.http = Some(http);
    }
}

impl Drop for ConnectionCount {
    fn drop(&mut self) {
        self.listener.downstream_cx_active.dec();
        self.listener.downstream_cx_destroy.inc();
        let length = runtime::monotonic().saturating_duration_since(self.since);
        self.listener.downstream_cx_length_ms.record(length);
        if let Some(http) = &self.http {
            http.downstream_cx_active.dec();
            http.downstream_cx_destroy.inc();
            http.downstream_cx_length_ms.record(length);
        }
    }
}

/// Counts a request that came.
pub(crate) fn begun(exchange: &Exchange, version: Version) {
    let http = &exchange.view.http_counters;
    http.downstream_rq_total.inc();
    http.downstream_rq_active.inc();
    match version {
        Version::HTTP_2 => http.downstream_rq_http2_total.inc(),
        _ => http.downstream_rq_http1_total.inc(),
    }
}

/// Counts a request that goes to a cluster.
pub(crate) fn forwarded(exchange: &Exchange) {
    if let Some(cluster) = &exchange.cluster {
        cluster.counters.upstream_rq_total.inc();
        cluster.counters.upstream_rq_active.inc();
    }
}

/// Counts and logs an exchange that has ended.
pub(crate) fn ended(exchange: &Exchange, now: Instant) {
    let duration = now.saturating_duration_since(exchange.started);
    let http = &exchange.view.http_counters;
    http.downstream_rq_active.dec();
    if exchange.status != 0 {
        http.response(exchange.status, duration);
    }
    let flags = exchange.flags;
    if flags.contains(ResponseFlag::DownstreamConnectionTermination) {
        http.downstream_rq_rx_reset.inc();
    }
    if flags.contains(ResponseFlag::NoRouteFound) {
        http.no_route.inc();
    }
    if flags.contains(ResponseFlag::UpstreamRequestTimeout) {
        http.downstream_rq_timeout.inc();
    }
    if flags.contains(ResponseFlag::StreamIdleTimeout) {
        http.downstream_rq_idle_timeout.inc();
    }
    if let Some(cluster) = &exchange.cluster {
        let counters = &cluster.counters;
        counters.upstream_rq_active.dec();
        if exchange.status != 0 {
            counters.response(exchange.status, duration);
            let grpc = exchange.is_grpc.then_some(exchange.grpc_status);
            let response = MeshResponse { status: exchange.status, flags, grpc };
            let received = exchange.request.as_ref().map_or(0, |it| it.bytes.get());
            cluster.mesh.response(response, duration, (received, exchange.bytes_sent));
        }
        if !flags.is_empty() || exchange.retries > 0 {
            failed_or_retried(exchange);
        }
    }
    if let (Some(place), ListenerKind::Http(http)) = (exchange.place, &exchange.view.kind) {
        http.table.hosts.count(place, exchange);
    }
    let logs = exchange.view.logs();
    if !logs.is_empty() {
        let kept = exchange.kept.as_ref();
        let facts = ExchangeFacts {
            exchange,
            request: kept.map(|it| it.head(&exchange.method)),
            response: kept.and_then(|it| it.response.as_ref()),
            now,
        };
        logs.write(&facts, || exchange.client.worker.random_u32());
    }
}

fn failed_or_retried(exchange: &Exchange) {
    let Some(cluster) = &exchange.cluster else { return };
    let counters = &cluster.counters;
    let flags = exchange.flags;
    counters.upstream_rq_retry.add(u64::from(exchange.retries));
    if flags.is_empty() && exchange.retries > 0 {
        counters.upstream_rq_retry_success.inc();
    }
    for (flag, counter) in [
        (ResponseFlag::UpstreamRequestTimeout, &counters.upstream_rq_timeout),
        (ResponseFlag::NoHealthyUpstream, &counters.upstream_cx_none_healthy),
        (ResponseFlag::UpstreamRetryLimitExceeded, &counters.upstream_rq_retry_limit_exceeded),
        (ResponseFlag::UpstreamConnectionTermination, &counters.upstream_rq_rx_reset),
        (ResponseFlag::DownstreamConnectionTermination, &counters.upstream_rq_tx_reset),
    ] {
        if flags.contains(flag) {
            counter.inc();
        }
    }
}

/// Counts and logs a request that could not be read as HTTP/1.
pub(crate) fn rejected(client: &Client, status: StatusCode) {
    let view = client.slot.view();
    view.http_counters.downstream_cx_protocol_error.inc();
    view.http_counters.downstream_rq_http1_total.inc();
    log_rejected(client, &view, status, "HTTP/1.1");
}

/// Counts and logs a request that could not be read as HTTP/2: its stream has been reset or answered.
pub(crate) fn rejected_http2(client: &Client, status: StatusCode) {
    let view = client.slot.view();
    view.http_counters.downstream_rq_http2_total.inc();
    log_rejected(client, &view, status, "HTTP/2");
}

fn log_rejected(client: &Client, view: &ListenerView, status: StatusCode, protocol: &'static str) {
    let status = status.as_u16();
    view.http_counters.downstream_rq_total.inc();
    view.http_counters.response(status, Duration::ZERO);
    let logs = view.logs();
    if !logs.is_empty() {
        let facts = Unread { client: &client.facts, protocol, status };
        logs.write(&facts, || client.worker.random_u32());
    }
}
