use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ::http::uri::Authority;
use proxy_config::{Endpoint, HealthCheck, HealthProbe};
use tokio::time::{sleep, timeout};
use traffic::{CheckedHealth, EndpointState, ProbeHistory, ProbeResult};

use super::connection::Connection;
use super::{Surroundings, Unprobed, grpc, http, tcp};
use crate::upstream::{ForWhom, NoConnection, UpstreamStream, UpstreamTransport, connect_to_port};

/// Between two probes, whatever the configuration says.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// What is probed, and how.
pub(super) struct Subject {
    pub(super) cluster: Arc<str>,
    pub(super) endpoint: Arc<EndpointState>,
    pub(super) hostname: String,
    pub(super) port: u16,
    /// Index among the cluster's checks.
    pub(super) idx: usize,
    pub(super) check: HealthCheck,
    pub(super) transport: UpstreamTransport,
}

impl Subject {
    /// True when it is what the configuration wants.
    pub(super) fn is(
        &self,
        endpoint: &Endpoint,
        check: &HealthCheck,
        transport: &UpstreamTransport,
    ) -> bool {
        self.check == *check
            && self.transport.is_same(transport)
            && self.hostname == endpoint.hostname
            && self.port == endpoint.health_check_port.unwrap_or(endpoint.port)
    }

    /// What the endpoint is called in a probe: as the check says, or by its own name, or by its cluster's.
    pub(super) fn host<'a>(&'a self, configured: &'a str) -> &'a str {
        [configured, &self.hostname].into_iter().find(|it| !it.is_empty()).unwrap_or(&self.cluster)
    }

    /// The same for `:authority`. A cluster may be called what no host can be (`outbound|80||web`); then it is the
    /// address.
    pub(super) fn authority(&self, configured: &str) -> Option<Authority> {
        let host = self.host(configured);
        host.parse().or_else(|_| self.endpoint.address().parse()).ok()
    }

    /// Opens a connection.
    pub(super) async fn connect(&self) -> Result<UpstreamStream, ProbeResult> {
        let offer = Connection::offer(&self.check.probe);
        let host = match &self.check.probe {
            HealthProbe::Http { host, .. } => self.host(host),
            HealthProbe::Grpc { authority, .. } => self.host(authority),
            HealthProbe::Tcp { .. } => self.host(""),
        };
        let host = self.transport.takes_host().then(|| host.into());
        let for_whom = ForWhom { host, addresses: None };
        let (port, limit) = (self.port, self.check.timeout);
        let (endpoint, transport) = (&self.endpoint, &self.transport);
        let connected = connect_to_port(endpoint, port, transport, &for_whom, offer, limit).await;
        connected.map_err(|failure| match failure.why {
            NoConnection::TimedOut => ProbeResult::TimedOut,
            NoConnection::Failed
            | NoConnection::Overflow
            | NoConnection::Local
            | NoConnection::Retired => ProbeResult::NoAnswer,
        })
    }
}

/// Probes again and again, as long as the cluster is there.
pub(super) async fn keep(subject: Rc<Subject>, surroundings: Rc<Surroundings>, first: Unprobed) {
    let mut first = Some(first);
    let mut history = ProbeHistory::default();
    let mut connection = None;
    let Some(cluster) = surroundings.cluster(&subject.cluster) else { return };
    let mut pause = cluster.first_probe_in(subject.idx, &mut *surroundings.rng.borrow_mut());
    drop(cluster);
    loop {
        if !pause.is_zero() {
            sleep(pause).await;
        }
        let slot = surroundings.slots.acquire().await.expect("the semaphore is never closed");
        // Boxed: between probes the task shall not hold the room for one.
        let limit = subject.check.timeout;
        let result = match Box::pin(timeout(limit, once(&subject, &mut connection))).await {
            Ok(result) => result,
            Err(_) => {
                connection = None;
                ProbeResult::TimedOut
            }
        };
        drop(slot);
        if subject.check.new_connection_each {
            connection = None;
        }
        let Some(cluster) = surroundings.cluster(&subject.cluster) else { return };
        let verdict = cluster.judge_probe(
            &subject.endpoint,
            subject.idx,
            &mut history,
            result,
            surroundings.now_ns(),
            &mut *surroundings.rng.borrow_mut(),
        );
        drop(first.take());
        let Some(verdict) = verdict else { return };
        if verdict.changed {
            tell(&subject, verdict.health, result);
        }
        pause = verdict.next_in.max(PAUSE_MIN);
    }
}

fn tell(subject: &Subject, health: CheckedHealth, result: ProbeResult) {
    let (cluster, endpoint) = (&*subject.cluster, subject.endpoint.id());
    match health {
        CheckedHealth::Healthy | CheckedHealth::Degraded => {
            tracing::info!(cluster, endpoint, ?health, "the endpoint passes its health check");
        }
        CheckedHealth::Pending | CheckedHealth::Unhealthy => {
            tracing::warn!(cluster, endpoint, ?result, "the endpoint fails its health check");
        }
    }
}

/// Makes one probe, over the connection of the one before if it is still there.
async fn once(subject: &Subject, connection: &mut Option<Connection>) -> ProbeResult {
    match &subject.check.probe {
        HealthProbe::Http { .. } => http::probe(subject, connection).await,
        HealthProbe::Grpc { .. } => grpc::probe(subject, connection).await,
        HealthProbe::Tcp { .. } => tcp::probe(subject, connection).await,
    }
}
