//! Bytes in both directions: upgrades, `CONNECT`, and TCP listeners.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Response, StatusCode};
use proxy_config::{Forward, RetryPolicy};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use traffic::{
    ActiveConnection, EndpointState, Failure, Origin, Outcome, Picked, RequestTraits, Retry, Stage,
};

use crate::body::ResponseBody;
use crate::exchange::Exchange;
use crate::headers;
use crate::incoming::{Incoming, Upgrade};
use crate::reply::{self, Refusal};
use crate::upstream::{self, Lease, NoConnection, Wire};
use crate::view::WorkerCluster;
use crate::worker::Worker;

/// Per direction. tokio's default of 8 KiB costs six times the processor time on large transfers
/// (reference/data-plane-measurements.md).
const BUFFER_BYTES: usize = 64 * 1024;

/// Copies until both directions have ended; the end of one is passed on as such.
async fn copy<A, B>(mut client: A, mut endpoint: B) -> io::Result<(u64, u64)>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    copy_bidirectional_with_sizes(&mut client, &mut endpoint, BUFFER_BYTES, BUFFER_BYTES).await
}

/// A TCP connection to an endpoint, counted as long as it lives.
pub(crate) struct Dialed {
    stream: Wire,
    picked: Picked,
    _counted: ActiveConnection,
}

/// Connects to an endpoint of the cluster, to another one when that fails.
async fn dial(
    worker: &Worker,
    cluster: &WorkerCluster,
    policy: &RetryPolicy,
) -> Result<Dialed, Refusal> {
    let mut tried: Vec<Arc<EndpointState>> = Vec::new();
    let limit = cluster.state.cluster().connect_timeout;
    loop {
        let picked =
            worker.pick(cluster, &tried, worker.now()).map_err(|_| Refusal::NoHealthyUpstream)?;
        let (origin, outcome) = match upstream::connect(picked.endpoint(), limit).await {
            Ok(stream) => {
                let counted = ActiveConnection::new(picked.endpoint().clone());
                let stream = Wire::new(stream, cluster.counters.clone());
                return Ok(Dialed { stream, picked, _counted: counted });
            }
            Err(NoConnection::TimedOut) => (Origin::Upstream, Outcome::ConnectTimedOut),
            Err(NoConnection::Failed) => (Origin::Upstream, Outcome::ConnectFailed),
            Err(NoConnection::Local | NoConnection::Overflow | NoConnection::Retired) => {
                (Origin::Local, Outcome::Abandoned)
            }
        };
        worker.report(cluster, picked.endpoint(), outcome, worker.now());
        let failure = Failure { origin, stage: Stage::BeforeSend };
        let traits = RequestTraits { idempotent: false, body_replayable: true };
        let retries = u32::try_from(tried.len()).unwrap_or(u32::MAX);
        match worker.retry(policy, retries, failure, traits) {
            Retry::After(_) => tried.push(picked.endpoint().clone()),
            Retry::No(_) => return Err(Refusal::ConnectFailed),
        }
    }
}

/// Serves a connection of a TCP listener.
pub(crate) async fn serve_tcp(
    worker: &Worker,
    cluster: &WorkerCluster,
    client: TcpStream,
) -> io::Result<()> {
    // Without an endpoint the connection is closed: there is no other way to say it.
    let Ok(dialed) = dial(worker, cluster, &RetryPolicy::default()).await else { return Ok(()) };
    let Dialed { stream, picked, _counted } = dialed;
    let copied = copy(client, stream).await;
    // A connection that was established says that the endpoint lives, whatever was spoken on it.
    let outcome = Outcome::Response { status: StatusCode::OK.as_u16() };
    worker.report(cluster, picked.endpoint(), outcome, worker.now());
    copied.map(|_| ())
}

/// Serves `CONNECT`: a tunnel to an endpoint of the service that it names.
pub(crate) async fn connect(
    upgrade: Option<Upgrade>,
    cluster: Rc<WorkerCluster>,
    route: &Forward,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    exchange.enter_cluster(cluster.clone());
    let worker = exchange.client.worker.clone();
    let dialed = match dial(&worker, &cluster, &route.retry).await {
        Ok(dialed) => dialed,
        Err(refusal) => return reply::refuse_connect(refusal, exchange),
    };
    let Some(downstream) = upgrade else {
        return reply::refuse(Refusal::BadRequest("CONNECT cannot be served here\n"), exchange);
    };
    let counted = worker.count_connection();
    // Keeps the connection's place in the limit of its listener.
    let place = exchange.client.clone();
    tokio::task::spawn_local(async move {
        let Dialed { stream, picked, _counted } = dialed;
        if let Ok(client) = downstream.upgraded().await {
            let copied = copy(client, stream).await;
            log_end(copied);
        }
        let outcome = Outcome::Response { status: StatusCode::OK.as_u16() };
        worker.report(&cluster, picked.endpoint(), outcome, worker.now());
        drop((counted, place));
    });
    reply::respond(StatusCode::OK, Bytes::new(), exchange)
}

/// Answers an upgrade that the endpoint agreed to (a WebSocket), and passes bytes from then on.
pub(crate) fn upgrade(
    response: Response<Incoming>,
    downstream: Upgrade,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    let Some(upstream) = exchange.upstream.take() else {
        return reply::refuse(Refusal::NotHttp, exchange);
    };
    let now = exchange.client.worker.now();
    let status = response.status().as_u16();
    let worker = exchange.client.worker.clone();
    let outcome = Outcome::Response { status };
    if let Some(cluster) = &exchange.cluster {
        worker.report(cluster, upstream.picked.endpoint(), outcome, now);
    }
    // The response has no body that would hold on to the connection.
    let endpoint = match upstream.lease {
        Some(Lease::Http1(lease)) => lease.into_tunnel(),
        Some(Lease::Http2(_)) | None => None,
    };
    let Some((endpoint, opened)) = endpoint else {
        return reply::refuse(Refusal::NotHttp, exchange);
    };
    let counted = worker.count_connection();
    let picked = upstream.picked;
    let place = exchange.client.clone();
    tokio::task::spawn_local(async move {
        if let Ok(client) = downstream.upgraded().await {
            let copied = copy(client, endpoint).await;
            log_end(copied);
        }
        drop((opened, picked, counted, place));
    });
    let (mut parts, _) = response.into_parts();
    let upgraded_to = parts.headers.get(UPGRADE).cloned();
    headers::remove_hop_by_hop(&mut parts.headers);
    parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(upgraded_to) = upgraded_to {
        parts.headers.insert(UPGRADE, upgraded_to);
    }
    exchange.status = status;
    Response::from_parts(parts, ResponseBody::full(Bytes::new(), exchange))
}

fn log_end(copied: io::Result<(u64, u64)>) {
    if let Err(error) = copied {
        tracing::debug!(%error, "tunnel ended");
    }
}
