//! Bytes in both directions: upgrades and `CONNECT`.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use codec::message::{FieldValue, Response};
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, StatusCode};
use proxy_config::Forward;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};
use traffic::Outcome;

use crate::body::ResponseBody;
use crate::exchange::Exchange;
use crate::headers;
use crate::incoming::{Incoming, Upgrade};
use crate::reply::{self, Refusal};
use crate::response;
use crate::tcp::{self, Ended, Way};
use crate::upstream::{ForWhom, Lease};
use crate::view::WorkerCluster;

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

/// Serves `CONNECT`: a tunnel to an endpoint of the service that it names.
pub(crate) async fn connect(
    upgrade: Option<Upgrade>,
    cluster: Rc<WorkerCluster>,
    route: &Forward,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    exchange.enter_cluster(cluster.clone());
    let worker = exchange.client.worker.clone();
    let tries_max = route.retry.retries_max.saturating_add(1);
    let for_whom = ForWhom {
        addresses: cluster.transport.proxy_protocol.map(|_| exchange.client.facts.addresses()),
        ..ForWhom::default()
    };
    let dialed = match tcp::dial(&worker, &cluster, tries_max, &for_whom).await {
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
        let mut dialed = dialed;
        if let Ok(client) = downstream.upgraded().await {
            let (client, endpoint) = ((client, Bytes::new()), (&mut dialed.stream, Bytes::new()));
            let counters = cluster.counters.clone();
            let count = |way, bytes| match way {
                Way::ToEndpoint => counters.upstream_cx_tx_bytes_total.add(bytes),
                Way::ToClient => counters.upstream_cx_rx_bytes_total.add(bytes),
            };
            let relayed = tcp::relay(&worker.pools, client, endpoint, Duration::ZERO, count).await;
            if let Ended::Broken(error) = relayed.ended {
                tracing::debug!(%error, "tunnel ended");
            }
        }
        let outcome = Outcome::Response { status: StatusCode::OK.as_u16() };
        worker.report(&cluster, dialed.picked.endpoint(), outcome, worker.now());
        drop((counted, place));
    });
    exchange.details = "via_upstream";
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
    let mut picked = upstream.picked;
    picked.keep();
    let place = exchange.client.clone();
    tokio::task::spawn_local(async move {
        if let Ok(client) = downstream.upgraded().await {
            let copied = copy(client, endpoint).await;
            log_end(copied);
        }
        drop((opened, picked, counted, place));
    });
    let (mut parts, _) = response.into_parts();
    let upgraded_to = parts.headers.get(UPGRADE).map(FieldValue::to_owned);
    headers::remove_hop_by_hop(&mut parts.headers);
    parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(upgraded_to) = upgraded_to {
        parts.headers.insert(UPGRADE, upgraded_to);
    }
    exchange.status = status;
    exchange.details = "via_upstream";
    let end = Some(0);
    response::finish_head(parts.status, &mut parts.headers, end, &mut exchange);
    Response::from_parts(parts, ResponseBody::full(Bytes::new(), exchange, None))
}

fn log_end(copied: io::Result<(u64, u64)>) {
    if let Err(error) = copied {
        tracing::debug!(%error, "tunnel ended");
    }
}
