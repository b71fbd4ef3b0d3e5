//! What is counted and logged of an exchange when it has ended.

use std::time::{Duration, Instant};

use http::header::{HOST, USER_AGENT};
use http::{HeaderValue, Request, StatusCode, Uri, Version};
use traffic::ResponseFlag;

use crate::access_log::AccessRecord;
use crate::exchange::{Exchange, millis};
use crate::headers::{X_FORWARDED_FOR, X_REQUEST_ID};
use crate::incoming::Incoming;
use crate::stats::{HttpCounters, ListenerCounters, MeshResponse, Shard};
use crate::view::ListenerView;
use crate::worker::Worker;

/// What the access log needs of a request, kept until it is answered. Values are shared with the request, not copied.
pub(crate) struct LogEntry {
    start_unix_ms: u64,
    uri: Uri,
    version: Version,
    user_agent: Option<HeaderValue>,
    authority: Option<HeaderValue>,
    pub(crate) forwarded_for: Option<HeaderValue>,
    pub(crate) request_id: Option<HeaderValue>,
}

impl LogEntry {
    pub(crate) fn new(request: &Request<Incoming>) -> Self {
        let header = |name| request.headers().get(name).cloned();
        Self {
            start_unix_ms: runtime::unix_ms(),
            uri: request.uri().clone(),
            version: request.version(),
            user_agent: header(USER_AGENT),
            authority: header(HOST),
            forwarded_for: header(X_FORWARDED_FOR),
            request_id: header(X_REQUEST_ID),
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
    if let Some(entry) = &exchange.log {
        log(exchange, entry, duration);
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
        (ResponseFlag::UpstreamOverflow, &counters.upstream_rq_pending_overflow),
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
pub(crate) fn rejected(worker: &Worker, http: &HttpCounters, status: StatusCode) {
    http.downstream_cx_protocol_error.inc();
    http.downstream_rq_http1_total.inc();
    log_rejected(worker, http, status, "HTTP/1.1");
}

/// Counts and logs a request that could not be read as HTTP/2: its stream has been reset or answered.
pub(crate) fn rejected_http2(worker: &Worker, http: &HttpCounters, status: StatusCode) {
    http.downstream_rq_http2_total.inc();
    log_rejected(worker, http, status, "HTTP/2");
}

fn log_rejected(worker: &Worker, http: &HttpCounters, status: StatusCode, protocol: &'static str) {
    let status = status.as_u16();
    http.downstream_rq_total.inc();
    http.response(status, Duration::ZERO);
    if !worker.access_log.is_on() {
        return;
    }
    worker.access_log.write(&AccessRecord {
        start_unix_ms: runtime::unix_ms(),
        method: "-",
        path: "-",
        protocol,
        status,
        flags: ResponseFlag::DownstreamProtocolError.into(),
        bytes_received: 0,
        bytes_sent: 0,
        duration: Duration::ZERO,
        upstream_service_time_ms: None,
        forwarded_for: None,
        user_agent: None,
        request_id: None,
        authority: None,
        upstream_host: None,
    });
}

fn log(exchange: &Exchange, entry: &LogEntry, duration: Duration) {
    let authority = entry.uri.authority().map(|it| it.as_str().as_bytes());
    exchange.client.worker.access_log.write(&AccessRecord {
        start_unix_ms: entry.start_unix_ms,
        method: exchange.method.as_str(),
        path: entry.uri.path_and_query().map_or("", |it| it.as_str()),
        protocol: match entry.version {
            Version::HTTP_2 => "HTTP/2",
            Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        },
        status: exchange.status,
        flags: exchange.flags,
        bytes_received: exchange.request.as_ref().map_or(0, |it| it.bytes.get()),
        bytes_sent: exchange.bytes_sent,
        duration,
        upstream_service_time_ms: exchange.service_time.map(millis),
        forwarded_for: text(&entry.forwarded_for),
        user_agent: text(&entry.user_agent),
        request_id: text(&entry.request_id),
        authority: authority.or_else(|| text(&entry.authority)),
        upstream_host: exchange
            .upstream
            .as_ref()
            .and_then(|it| it.picked.endpoint().socket_address()),
    });
}

fn text(value: &Option<HeaderValue>) -> Option<&[u8]> {
    value.as_ref().map(HeaderValue::as_bytes)
}
