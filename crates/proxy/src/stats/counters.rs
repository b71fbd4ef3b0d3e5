use std::time::Duration;

use super::metric::{Counter, Gauge, Histogram, SeriesTable};

/// Whether a number only grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Counter,
    Gauge,
}

/// A field of a group of counters: its name in the text form, its family in Prometheus' form, and
/// how to read it.
pub(super) struct Field<T> {
    pub(super) name: &'static str,
    pub(super) family: &'static str,
    pub(super) kind: Kind,
    pub(super) read: fn(&T) -> u64,
}

macro_rules! group {
    ($(#[$doc:meta])* $group:ident $prefix:literal {
        $($(#[$field_doc:meta])* $field:ident: $kind:ident,)*
    } and {
        $($(#[$more_doc:meta])* $more:ident: $type:ty,)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $group {
            $($(#[$field_doc])* pub $field: $kind,)*
            $($(#[$more_doc])* pub $more: $type,)*
        }

        impl $group {
            pub(super) const FIELDS: &[Field<Self>] = &[$(Field {
                name: stringify!($field),
                family: concat!($prefix, stringify!($field)),
                kind: Kind::$kind,
                read: |group| group.$field.get(),
            },)*];
        }
    };
}

group! {
    /// Counters of a cluster, under Envoy's names.
    ClusterCounters "envoy_cluster_" {
        /// Connections opened.
        upstream_cx_total: Counter,
        /// Connections open now.
        upstream_cx_active: Gauge,
        /// HTTP/1.1 connections opened.
        upstream_cx_http1_total: Counter,
        /// HTTP/2 connections opened.
        upstream_cx_http2_total: Counter,
        /// Connections that failed to open.
        upstream_cx_connect_fail: Counter,
        /// Connections that did not open in time; they are in `upstream_cx_connect_fail` too.
        upstream_cx_connect_timeout: Counter,
        /// Times that the connection limit was met.
        upstream_cx_overflow: Counter,
        /// Connections closed.
        upstream_cx_destroy: Counter,
        /// Connections closed with requests under way.
        upstream_cx_destroy_with_active_rq: Counter,
        /// Connections closed because they had carried as many requests as they may.
        upstream_cx_max_requests: Counter,
        /// Bytes received on the wire.
        upstream_cx_rx_bytes_total: Counter,
        /// Bytes sent on the wire.
        upstream_cx_tx_bytes_total: Counter,
        /// Requests; each once, however often it is tried.
        upstream_rq_total: Counter,
        /// Requests under way.
        upstream_rq_active: Gauge,
        /// Requests answered, by an endpoint or for lack of one.
        upstream_rq_completed: Counter,
        /// Requests that had to wait for a connection.
        upstream_rq_pending_total: Counter,
        /// Requests that a circuit breaker refused: too many were under way, or waited for a connection.
        upstream_rq_pending_overflow: Counter,
        /// Requests without a response within the time limit.
        upstream_rq_timeout: Counter,
        /// Tries without a response within the time limit of a try.
        upstream_rq_per_try_timeout: Counter,
        /// Further tries.
        upstream_rq_retry: Counter,
        /// Further tries that a circuit breaker or the retry budget refused.
        upstream_rq_retry_overflow: Counter,
        /// Further tries before which a time was waited that was drawn.
        upstream_rq_retry_backoff_exponential: Counter,
        /// Further tries before which a time was waited that the response before asked for.
        upstream_rq_retry_backoff_ratelimited: Counter,
        /// Further tries that got a response.
        upstream_rq_retry_success: Counter,
        /// Requests that failed with all tries used up.
        upstream_rq_retry_limit_exceeded: Counter,
        /// Requests that the endpoint reset.
        upstream_rq_rx_reset: Counter,
        /// Requests that this proxy reset.
        upstream_rq_tx_reset: Counter,
        /// Requests for which there was no endpoint.
        upstream_cx_none_healthy: Counter,
        /// Picks with all endpoints ejected.
        lb_healthy_panic: Counter,
        /// Clients for which no endpoint could be connected to within the tries that there are.
        upstream_cx_connect_attempts_exceeded: Counter,
        /// TLS handshakes that succeeded.
        ssl_handshake: Counter,
        /// TLS handshakes that failed.
        ssl_connection_error: Counter,
    } and {
        /// Responses by status class: `[0]` is 1xx.
        upstream_rq_xx: [Counter; 5],
        /// Responses by status code.
        upstream_rq: SeriesTable<Counter>,
        /// From the request to the end of the response.
        upstream_rq_time: Histogram,
    }
}

impl ClusterCounters {
    /// Counts a response of an endpoint.
    pub fn response(&self, status: u16, time: Duration) {
        self.local_response(status);
        self.upstream_rq_time.record(time);
    }

    /// Counts a response made here for lack of one of an endpoint. As in Envoy it is one of the
    /// cluster's responses by status, but says nothing about its time.
    pub fn local_response(&self, status: u16) {
        self.upstream_rq_completed.inc();
        count_class(&self.upstream_rq_xx, status);
        self.upstream_rq.at(u64::from(status)).inc();
    }
}

group! {
    /// Counters of the HTTP side of a listener, under Envoy's names.
    HttpCounters "envoy_http_" {
        /// Connections accepted.
        downstream_cx_total: Counter,
        /// Connections open now.
        downstream_cx_active: Gauge,
        /// HTTP/1.1 connections accepted.
        downstream_cx_http1_total: Counter,
        /// HTTP/2 connections accepted.
        downstream_cx_http2_total: Counter,
        /// TLS connections accepted.
        downstream_cx_ssl_total: Counter,
        /// Connections closed.
        downstream_cx_destroy: Counter,
        /// Connections closed because no request came.
        downstream_cx_idle_timeout: Counter,
        /// Connections that did not speak HTTP.
        downstream_cx_protocol_error: Counter,
        /// Bytes received.
        downstream_cx_rx_bytes_total: Counter,
        /// Bytes sent.
        downstream_cx_tx_bytes_total: Counter,
        /// Requests.
        downstream_rq_total: Counter,
        /// Requests under way.
        downstream_rq_active: Gauge,
        /// HTTP/1.1 requests.
        downstream_rq_http1_total: Counter,
        /// HTTP/2 requests.
        downstream_rq_http2_total: Counter,
        /// Requests answered.
        downstream_rq_completed: Counter,
        /// Request heads that did not come in time.
        downstream_rq_header_timeout: Counter,
        /// Requests that ran into their time limit.
        downstream_rq_timeout: Counter,
        /// Requests that ended because no byte moved for too long.
        downstream_rq_idle_timeout: Counter,
        /// Requests that the client reset.
        downstream_rq_rx_reset: Counter,
        /// Requests that lasted longer than they may.
        downstream_rq_max_duration_reached: Counter,
        /// Connections that were told to end because they had lasted long enough.
        downstream_cx_max_duration_reached: Counter,
        /// Connections that were told to end because they had had enough requests.
        downstream_cx_max_requests_reached: Counter,
        /// Requests for which there was no route.
        no_route: Counter,
        /// Requests that were asked for a token of the local rate limit.
        local_rate_limit_enabled: Counter,
        /// Those that had one.
        local_rate_limit_ok: Counter,
        /// Those that had none.
        local_rate_limit_rate_limited: Counter,
        /// Those that had none and were refused.
        local_rate_limit_enforced: Counter,
        /// Delays on purpose.
        fault_delays_injected: Counter,
        /// Refusals on purpose.
        fault_aborts_injected: Counter,
        /// Requests refused because the endpoints bear no more at once.
        adaptive_concurrency_rq_blocked: Counter,
    } and {
        /// Responses by status class: `[0]` is 1xx.
        downstream_rq_xx: [Counter; 5],
        /// From the request to the end of the response.
        downstream_rq_time: Histogram,
        /// How long connections were open.
        downstream_cx_length_ms: Histogram,
    }
}

impl HttpCounters {
    /// Counts an answered request.
    pub fn response(&self, status: u16, time: Duration) {
        self.downstream_rq_completed.inc();
        count_class(&self.downstream_rq_xx, status);
        self.downstream_rq_time.record(time);
    }
}

group! {
    /// Counters of a listener, under Envoy's names.
    ListenerCounters "envoy_listener_" {
        /// Connections accepted.
        downstream_cx_total: Counter,
        /// Connections open now.
        downstream_cx_active: Gauge,
        /// Connections closed.
        downstream_cx_destroy: Counter,
        /// Times that the connection limit was met.
        downstream_cx_overflow: Counter,
        /// Failed accepts.
        downstream_cx_accept_error: Counter,
        /// Connections closed because no filter chain is for them.
        no_filter_chain_match: Counter,
        /// Connections whose beginning is still being read, to choose a filter chain by.
        downstream_pre_cx_active: Gauge,
        /// Connections closed because their beginning did not come in time.
        downstream_pre_cx_timeout: Counter,
        /// Connections closed for what should be a PROXY protocol header.
        downstream_cx_proxy_proto_error: Counter,
        /// TLS handshakes that succeeded.
        ssl_handshake: Counter,
        /// TLS handshakes that failed.
        ssl_connection_error: Counter,
        /// Handshakes that resumed a session.
        ssl_session_reused: Counter,
        /// Handshakes of clients that showed no certificate.
        ssl_no_certificate: Counter,
        /// Handshakes that failed because the client showed no certificate.
        ssl_fail_verify_no_cert: Counter,
        /// Handshakes that failed because the client's certificate leads to nobody who is trusted.
        ssl_fail_verify_error: Counter,
        /// Handshakes that failed because the client's certificate has none of the names asked for.
        ssl_fail_verify_san: Counter,
    } and {
        /// Handshakes that agreed on TLS 1.2, and on TLS 1.3.
        ssl_versions: [Counter; 2],
        /// Handshakes by the number of the cipher suite that they agreed on.
        ssl_ciphers: SeriesTable<Counter>,
        /// How long connections were open.
        downstream_cx_length_ms: Histogram,
    }
}

group! {
    /// Counters of the TCP side of a listener, under Envoy's names.
    TcpCounters "envoy_tcp_" {
        /// Connections accepted.
        downstream_cx_total: Counter,
        /// Connections for which there was no cluster.
        downstream_cx_no_route: Counter,
        /// Bytes received from clients.
        downstream_cx_rx_bytes_total: Counter,
        /// Bytes sent to clients.
        downstream_cx_tx_bytes_total: Counter,
        /// Connections closed because nothing moved for too long.
        idle_timeout: Counter,
    } and {}
}

group! {
    /// What the control thread counts of a cluster, under Envoy's names.
    UpdateCounters "envoy_cluster_" {
        /// Times that the endpoints changed.
        membership_change: Counter,
        /// Look-ups of names that became endpoints.
        update_attempt: Counter,
        /// Look-ups that were answered.
        update_success: Counter,
        /// Look-ups that were not.
        update_failure: Counter,
        /// Answers without an address.
        update_empty: Counter,
        /// Answers that changed nothing.
        update_no_rebuild: Counter,
    } and {}
}

group! {
    /// Clusters over their changes, under Envoy's names.
    ClusterManagerCounters "envoy_cluster_manager_" {
        /// Clusters that came.
        cluster_added: Counter,
        /// Clusters that changed.
        cluster_modified: Counter,
        /// Clusters that went.
        cluster_removed: Counter,
    } and {}
}

group! {
    /// Listeners over their changes, under Envoy's names.
    ListenerManagerCounters "envoy_listener_manager_" {
        /// Listeners that came.
        listener_added: Counter,
        /// Listeners that changed.
        listener_modified: Counter,
        /// Listeners that went.
        listener_removed: Counter,
        /// Listeners that were told to take no more connections.
        listener_stopped: Counter,
        /// Listeners that could be opened, one for each worker.
        listener_create_success: Counter,
        /// Listeners that could not.
        listener_create_failure: Counter,
    } and {}
}

fn count_class(classes: &[Counter; 5], status: u16) {
    if let Some(class) = classes.get((usize::from(status) / 100).wrapping_sub(1)) {
        class.inc();
    }
}
