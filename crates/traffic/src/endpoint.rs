use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed},
};

use proxy_config::Endpoint;

use crate::durations::Durations;
use crate::ewma::Latency;
use crate::health_check::CheckState;
use crate::outlier::OutlierState;

/// What is known about an endpoint from its use; kept over changes of the configuration as long as
/// id and address stay. Weight and health are not here but in the configuration
/// ([`crate::ClusterState::endpoints`]).
///
/// All fields are independent atomics: a reader may see one before the other. 128-byte alignment
/// keeps two endpoints out of one pair of cache lines.
#[derive(Debug)]
#[repr(align(128))]
pub struct EndpointState {
    id: String,
    host: String,
    port: u16,
    socket_address: Option<SocketAddr>,
    outlier: OutlierState,
    check: CheckState,
    /// As the latest candidates had it.
    pub(crate) was_usable: AtomicBool,
    /// When it became usable, for slow start; 0: it always was.
    pub(crate) usable_since_ns: AtomicU64,
    counters: EndpointCounters,
}

/// Counters of one endpoint, under Envoy's names in `/clusters`.
///
/// The first three are all that a pick reads and writes: the order and the alignment keep them in one
/// cache line.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct EndpointCounters {
    /// Tries that were sent its way, also those whose connection failed.
    pub rq_total: AtomicU64,
    /// Of these, those that have ended.
    pub(crate) rq_ended: AtomicU64,
    pub(crate) latency: Latency,
    /// Responses with a status below 500.
    pub rq_success: AtomicU64,
    /// Responses with a status of 500 and above, and tries without a response.
    pub rq_error: AtomicU64,
    /// Tries without a response within the time limit.
    pub rq_timeout: AtomicU64,
    /// Connections opened.
    pub cx_total: AtomicU64,
    /// Connections open now.
    pub cx_active: AtomicU64,
    /// Connections that were refused, unreachable or not established in time.
    pub cx_connect_fail: AtomicU64,
    /// Times that it was ejected.
    pub ejections: AtomicU64,
    /// Time from the sending of a request to the head of its response.
    pub durations: Durations,
}

impl EndpointState {
    /// `is_late`: it joins others that are in use, so it starts slowly where that is asked for.
    pub(crate) fn new(endpoint: &Endpoint, now_ns: u64, is_late: bool) -> Self {
        let socket_address = endpoint
            .host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .ok()
            .map(|ip| SocketAddr::new(ip, endpoint.port));
        Self {
            id: endpoint.id.clone(),
            host: endpoint.host.clone(),
            port: endpoint.port,
            socket_address,
            outlier: OutlierState::default(),
            check: CheckState::default(),
            was_usable: AtomicBool::new(true),
            usable_since_ns: AtomicU64::new(if is_late { now_ns.max(1) } else { 0 }),
            counters: EndpointCounters {
                latency: Latency::new(now_ns),
                ..EndpointCounters::default()
            },
        }
    }

    /// `node/instance id`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// IP address or host name.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where to connect, or `None` when the host is a name that must be resolved first.
    #[must_use]
    pub fn socket_address(&self) -> Option<SocketAddr> {
        self.socket_address
    }

    /// `host:port`, with brackets around an IPv6 address.
    #[must_use]
    pub fn address(&self) -> String {
        match self.socket_address {
            Some(address) => address.to_string(),
            None => format!("{}:{}", self.host, self.port),
        }
    }

    /// Requests under way on all workers. One that begins or ends just now may be counted, too.
    #[must_use]
    #[inline]
    pub fn active(&self) -> u32 {
        // In this order, so that the difference is not negative.
        let ended = self.counters.rq_ended.load(Acquire);
        self.counters.rq_total.load(Relaxed).wrapping_sub(ended) as u32
    }

    /// Whether it is ejected at `now_ns`.
    #[must_use]
    pub fn is_ejected(&self, now_ns: u64) -> bool {
        self.outlier.is_ejected(now_ns)
    }

    /// End of its latest ejection; 0 when there was none.
    #[must_use]
    pub fn ejected_until_ns(&self) -> u64 {
        self.outlier.ejected_until_ns()
    }

    /// What outlier detection knows of it.
    #[must_use]
    pub fn outlier(&self) -> &OutlierState {
        &self.outlier
    }

    /// What active health checks say of it.
    #[must_use]
    pub fn check(&self) -> &CheckState {
        &self.check
    }

    /// Its counters.
    #[must_use]
    pub fn counters(&self) -> &EndpointCounters {
        &self.counters
    }

    pub(crate) fn is_same_place(&self, endpoint: &Endpoint) -> bool {
        self.id == endpoint.id && self.host == endpoint.host && self.port == endpoint.port
    }
}

/// Counts an open connection to an endpoint until it is dropped.
#[derive(Debug)]
pub struct ActiveConnection(Arc<EndpointState>);

impl ActiveConnection {
    /// Counts one more connection.
    #[must_use]
    pub fn new(endpoint: Arc<EndpointState>) -> Self {
        endpoint.counters.cx_total.fetch_add(1, Relaxed);
        endpoint.counters.cx_active.fetch_add(1, Relaxed);
        Self(endpoint)
    }
}

impl Drop for ActiveConnection {
    fn drop(&mut self) {
        self.0.counters.cx_active.fetch_sub(1, Relaxed);
    }
}
