//! Copies of requests for mirrors. What becomes of them has no effect on the request.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use codec::message::{HeaderMap, Request, RequestParts as Parts, Response};
use http::{HeaderValue, Method, Uri, Version};
use proxy_config::{Mirror, RoutingPriority, UpstreamProtocol};
use traffic::{Outcome, Permit, PickRequest, ResponseFlags, mirrors, shadow_host};

use super::Way;
use super::attempt::{Attempt, FailedTry, upstream_request};
use crate::body::{BodyCopy, RequestBody};
use crate::connection::Client;
use crate::exchange::{Exchange, Upstream};
use crate::frame::Body;
use crate::incoming::Incoming;
use crate::stats::MeshResponse;
use crate::upstream::UpstreamVersion;
use crate::view::WorkerCluster;
use crate::worker::Worker;

/// A mirror that takes longer than this for a request is left alone, where the route has no time limit.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Sends a copy of the request to each mirror that is drawn for it. Their bodies are filled as that of the request is
/// read.
pub(super) fn send_copies(
    parts: &Parts,
    authority: &HeaderValue,
    way: Way<'_>,
    exchange: &Exchange,
    worker: &Worker,
) {
    let all = &way.route.mirrors;
    let drawn: Vec<usize> = worker.draw(|rng| {
        let drawn = mirrors(all, rng);
        let at = |it: &Mirror| all.iter().position(|other| std::ptr::eq(it, other));
        drawn.filter_map(at).collect()
    });
    let mut copies = Vec::new();
    for at in drawn {
        let Some(cluster) = &way.own.mirrors[at] else { continue };
        let body = exchange.request.as_ref().map(|_| Rc::new(BodyCopy::default()));
        copies.extend(body.clone());
        let authority = if all[at].shadow_host { shadowed(authority) } else { authority.clone() };
        let copy = Copy {
            cluster: cluster.clone(),
            client: exchange.client.clone(),
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            headers: parts.headers.clone(),
            version: version(cluster, exchange.is_grpc, parts.version),
            authority,
            priority: way.route.priority,
        };
        let timeout = if way.route.timeout.is_zero() { TIMEOUT } else { way.route.timeout };
        let body = body.map_or(RequestBody::Empty, RequestBody::Copy);
        tokio::task::spawn_local(async move {
            // A mirror that is too slow is nobody's concern.
            let _ = tokio::time::timeout(timeout, copy.send(body)).await;
        });
    }
    if let Some(progress) = &exchange.request {
        // Set once: a request is prepared once.
        let _ = progress.copies.set(copies);
    }
}

fn shadowed(authority: &HeaderValue) -> HeaderValue {
    let host = authority.to_str().unwrap_or_default();
    HeaderValue::try_from(shadow_host(host)).unwrap_or_else(|_| authority.clone())
}

fn version(cluster: &WorkerCluster, is_grpc: bool, version: Version) -> UpstreamVersion {
    match cluster.state.cluster().protocol {
        // What is agreed on through ALPN is found out by whom the connection is for; a copy takes what is sure.
        UpstreamProtocol::Alpn if !is_grpc => UpstreamVersion::Http1,
        _ => super::protocol(cluster, is_grpc, version),
    }
}

/// A copy of a request on its way to a mirror.
struct Copy {
    cluster: Rc<WorkerCluster>,
    client: Rc<Client>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    version: UpstreamVersion,
    authority: HeaderValue,
    priority: RoutingPriority,
}

impl Copy {
    async fn send(self, body: RequestBody) {
        let worker = self.client.worker.clone();
        let counters = self.cluster.counters.clone();
        counters.upstream_rq_total.inc();
        let Ok(_permit) = Permit::try_request(self.cluster.clone(), self.priority) else {
            counters.upstream_rq_pending_overflow.inc();
            return;
        };
        let begun = worker.now();
        let Ok(picked) = worker.pick_for(&self.cluster, PickRequest::default(), begun) else {
            counters.upstream_cx_none_healthy.inc();
            return;
        };
        let mut upstream = Upstream { picked, lease: None, sent_at: begun, is_reported: false };
        let Some(mut request) = self.request(body) else { return };
        let attempt = Attempt {
            cluster: &self.cluster,
            priority: self.priority,
            authority: &self.authority,
            is_agreed: false,
            client: None,
            facts: &self.client.facts,
            progress: None,
        };
        let made = attempt.make(&mut request, &mut upstream).await;
        let now = worker.now();
        let endpoint = upstream.picked.endpoint();
        match made {
            Ok(response) => {
                let status = response.status().as_u16();
                worker.report(&self.cluster, endpoint, Outcome::Response { status }, now);
                let time = now.saturating_duration_since(begun);
                counters.response(status, time);
                let response_of = MeshResponse { status, flags: ResponseFlags::NONE, grpc: None };
                let bytes = read_to_end(response, &mut upstream).await;
                // What a copy sends is counted with the request that it is one of.
                self.cluster.mesh.response(response_of, time, (0, bytes));
            }
            Err(FailedTry::Failed(failed)) => {
                worker.report(&self.cluster, endpoint, failed.outcome, now);
            }
            Err(FailedTry::Stale) => {
                worker.report(&self.cluster, endpoint, Outcome::Abandoned, now);
            }
        }
    }

    fn request(&self, body: RequestBody) -> Option<Request<RequestBody>> {
        let (method, uri) = (self.method.clone(), self.uri.clone());
        let parts = Parts { method, uri, headers: self.headers.clone(), ..Parts::default() };
        let parts = Box::new(parts);
        upstream_request(parts, body, &self.authority, self.version)
    }
}

/// Reads a response that nobody wants, so that its connection can carry another request.
/// How many bytes there were.
async fn read_to_end(response: Response<Incoming>, upstream: &mut Upstream) -> u64 {
    let mut bytes = 0;
    let mut body = response.into_body();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(frame) = frame else { return bytes };
        bytes += frame.data_ref().map_or(0, |it| it.len() as u64);
    }
    if let Some(lease) = upstream.lease.take() {
        drop(body);
        lease.release(runtime::monotonic());
    }
    bytes
}
