//! Sends a request to an endpoint of a cluster, and again to another one when that is allowed.

mod attempt;
mod cookies;
mod facts;
mod hedged;
mod mirrored;
mod response;
mod rewritten;
mod tries;
mod worker_route;

use std::rc::Rc;
use std::time::Duration;

use codec::message::{HeaderMap, Request, RequestParts as Parts, Response};
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderName, HeaderValue, StatusCode, Version};
use proxy_config::{Forward, UpstreamProtocol};
use traffic::{Permit, RequestTimeouts, RetryPlan, RoutePlan, is_idempotent};

use self::attempt::upstream_request;
use self::cookies::Sticky;
use self::facts::Sending;
use self::response::respond;
use self::rewritten::{Host, rewrite};
use self::tries::Tries;
pub(crate) use self::worker_route::{Chosen, WorkerRoute};
use crate::body::{KeptBody, RequestBody, RequestProgress, ResponseBody};
use crate::buffers;
use crate::connection::{AwaitedBody, Client};
use crate::exchange::{Exchange, millis};
use crate::frame::Body;
use crate::headers::{self, X_REQUEST_ID};
use crate::incoming::{Incoming, Upgrade};
use crate::reply::{self, Refusal};
use crate::time_limit::{Durations, TimeLimit};
use crate::tunnel;
use crate::upstream::UpstreamVersion;
use crate::view::WorkerCluster;

/// A route that forwards.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) route: &'a Forward,
    pub(crate) plan: &'a RoutePlan,
    pub(crate) own: &'a WorkerRoute,
}

/// A request with the place that it goes to.
pub(crate) struct Forwarded<'a> {
    pub(crate) parts: Box<Parts>,
    pub(crate) body: Incoming,
    /// The client's connection, should the response end HTTP on it.
    pub(crate) upgrade: Option<Upgrade>,
    pub(crate) authority: HeaderValue,
    pub(crate) chosen: Chosen,
    pub(crate) way: Way<'a>,
    /// How long it may stand still, unless the route says something else.
    pub(crate) idle_timeout: Duration,
    /// The client takes trailers.
    pub(crate) accepts_trailers: bool,
    /// What the client wants to go on with on its connection, if it may.
    pub(crate) wanted_upgrade: Option<HeaderValue>,
    /// What the client asks of this proxy is done.
    pub(crate) is_trusted: bool,
    /// It asks for something, in Envoy's headers.
    pub(crate) has_orders: bool,
}

/// What the response needs to know about the request.
struct Asked {
    version: Version,
    accepts_trailers: bool,
    request_id: Option<HeaderValue>,
    upgrade: Option<Upgrade>,
    /// Position of the cluster in the route's list.
    entry: Option<usize>,
}

/// What an endpoint is told of how long anybody will wait for it.
const EXPECTED_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
const ATTEMPT_COUNT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");
/// What a client asks of the proxy that is next to it, and of no other.
const FOR_PROXY: [HeaderName; 8] = [
    HeaderName::from_static("x-envoy-upstream-rq-timeout-ms"),
    HeaderName::from_static("x-envoy-upstream-rq-per-try-timeout-ms"),
    HeaderName::from_static("x-envoy-hedge-on-per-try-timeout"),
    HeaderName::from_static("x-envoy-retry-on"),
    HeaderName::from_static("x-envoy-retry-grpc-on"),
    HeaderName::from_static("x-envoy-max-retries"),
    HeaderName::from_static("x-envoy-retriable-status-codes"),
    HeaderName::from_static("x-envoy-retriable-header-names"),
];

/// Forwards a request and gives the response, the endpoint's or one that says why there is none.
pub(crate) async fn forward(
    request: Forwarded<'_>,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    let way = request.way;
    let mut tries = match prepare(request, &mut exchange) {
        Ok(tries) => tries,
        Err(refusal) => return reply::refuse(refusal, exchange),
    };
    let ended = tries.run_within_time_limit(&mut exchange).await;
    let Tries { mut request, asked, sticky, authority, limits, .. } = *tries;
    let response = match ended {
        Err(refusal) => reply::refuse(refusal, exchange),
        Ok(mut response) if response.status() != StatusCode::SWITCHING_PROTOCOLS => {
            if let Some(idle) = limits.per_try_idle {
                shorten_idle(&mut exchange, idle);
            }
            change_head(&mut response, &request, &authority, way, &asked, &exchange);
            if let Some(upstream) = &exchange.upstream {
                let endpoint = upstream.picked.endpoint();
                sticky.write(way.route.affinity.as_ref(), endpoint, response.headers_mut());
            }
            respond(response, exchange, way.route, asked)
        }
        Ok(response) => match asked.upgrade {
            Some(downstream) => tunnel::upgrade(response, downstream, exchange),
            // Nobody asked for it.
            None => reply::refuse(Refusal::NotHttp, exchange),
        },
    };
    buffers::put_map(request.headers_mut());
    response
}

/// Makes a request ready to be sent.
fn prepare<'a>(
    request: Forwarded<'a>,
    exchange: &mut Box<Exchange>,
) -> Result<Box<Tries<'a>>, Refusal> {
    let Forwarded { mut parts, body, upgrade, authority, chosen, way, idle_timeout, .. } = request;
    let (is_trusted, has_orders) = (request.is_trusted, request.has_orders);
    let Way { route, own, .. } = way;
    let Chosen { cluster, entry } = chosen;
    let client = exchange.client.clone();
    exchange.enter_cluster(cluster.clone());
    exchange.permit = Some(admit(&cluster, route)?);
    if route.body_bytes_max > 0 && body.size_hint().lower() > route.body_bytes_max {
        return Err(Refusal::BodyTooLarge);
    }
    let (limits, plan) = limits(way, &mut parts, (is_trusted, has_orders), exchange.is_grpc);
    let host = rewrite(&mut parts, &authority, way, entry, &client, cluster.state.name());
    let takes_hostname = host == Host::OfEndpoint;
    let authority = if let Host::To(authority) = host { authority } else { authority };
    let (hash, sticky) = sticky(&parts, &authority, way, &client, cluster.state.name());
    let protocol = protocol(&cluster, exchange.is_grpc, parts.version);
    let wanted = match protocol {
        UpstreamVersion::Http1 => request.wanted_upgrade,
        UpstreamVersion::Http2 => None,
    };
    let upgrade = wanted.and_then(|value| {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(UPGRADE, value);
        upgrade
    });
    let request_id = if route.request_id_in_response {
        parts.headers.get(X_REQUEST_ID).map(buffers::copy)
    } else {
        None
    };
    let accepts_trailers = request.accepts_trailers;
    let asked = Asked { version: parts.version, accepts_trailers, request_id, upgrade, entry };
    tell_timeout(&mut parts.headers, own, &limits);
    let body = request_body(body, route, exchange);
    if !route.mirrors.is_empty() {
        mirrored::send_copies(&parts, &authority, way, exchange, &client.worker);
    }
    let idempotent = is_idempotent(&parts.method);
    let has_body = !body.is_end_stream();
    let (body, kept) = keep(body, has_body, &plan, way, idempotent, protocol, &limits);
    let request = upstream_request(parts, body, &authority, protocol)
        .ok_or(Refusal::BadRequest("the host is not one\n"))?;
    let durations = Durations {
        head: limits.all_tries.unwrap_or_default(),
        idle: route.idle_timeout.unwrap_or(idle_timeout),
        stream: route.stream_duration_max.unwrap_or_default(),
    };
    let (progress, timer) = (exchange.request.clone(), client.spare_timer());
    exchange.time_limit = TimeLimit::new(durations, progress, exchange.forwarded_at, timer);
    let is_agreed = cluster.state.cluster().protocol == UpstreamProtocol::Alpn
        && !exchange.is_grpc
        && asked.upgrade.is_none();
    // In a box, for its room is not to be carried along by all that waits for it.
    Ok(Box::new(Tries {
        cluster,
        way,
        is_agreed,
        authority,
        takes_hostname,
        request,
        kept,
        idempotent,
        has_body,
        hash,
        subset: own.subset(route, entry),
        sticky,
        limits,
        plan,
        asked,
        retries: 0,
        stale: 0,
        tried: Vec::new(),
        awaited: Vec::new(),
    }))
}

/// What decides on the endpoint: the hash of the request, and what its client keeps.
fn sticky(
    parts: &Parts,
    authority: &HeaderValue,
    way: Way<'_>,
    client: &Client,
    cluster: &str,
) -> (Option<u64>, Sticky) {
    let mut sticky = Sticky::default();
    if let Some(affinity) = &way.route.affinity {
        sticky.read(affinity, &parts.headers);
    }
    if way.own.hash.is_empty() {
        return (None, sticky);
    }
    let hashed = way.own.hash.of(&Sending {
        method: &parts.method,
        uri: &parts.uri,
        version: parts.version,
        headers: &parts.headers,
        authority,
        client,
        cluster,
        answer: None,
    });
    sticky.given = hashed.cookies;
    (hashed.hash, sticky)
}

/// One more request of the cluster, if there may be one.
fn admit(
    cluster: &Rc<WorkerCluster>,
    route: &Forward,
) -> Result<crate::exchange::RequestPermit, Refusal> {
    Permit::try_request(cluster.clone(), route.priority).map_err(|_| {
        cluster.counters.upstream_rq_pending_overflow.inc();
        Refusal::Overflow
    })
}

/// What HTTP the request goes out with, unless the endpoint has a say in it.
fn protocol(cluster: &WorkerCluster, is_grpc: bool, version: Version) -> UpstreamVersion {
    match cluster.state.cluster().protocol {
        UpstreamProtocol::Http2 => UpstreamVersion::Http2,
        UpstreamProtocol::Http1
        | UpstreamProtocol::Tcp
        | UpstreamProtocol::SameAsClient
        | UpstreamProtocol::Alpn
            if is_grpc =>
        {
            UpstreamVersion::Http2
        }
        UpstreamProtocol::SameAsClient if version == Version::HTTP_2 => UpstreamVersion::Http2,
        UpstreamProtocol::Http1
        | UpstreamProtocol::Tcp
        | UpstreamProtocol::SameAsClient
        | UpstreamProtocol::Alpn => UpstreamVersion::Http1,
    }
}

/// What of the time limits and the retries holds for this request. What a client asks for in headers does, where it is
/// trusted, and goes no further.
fn limits(
    way: Way<'_>,
    parts: &mut Parts,
    (is_trusted, is_told): (bool, bool),
    is_grpc: bool,
) -> (RequestTimeouts, RetryPlan) {
    let Way { route, own, .. } = way;
    let timeouts = if is_told || (is_grpc && route.grpc_timeout_max.is_some()) {
        RequestTimeouts::new(route, &parts.headers, is_grpc, is_trusted)
    } else {
        own.timeouts
    };
    let plan = if is_told || !own.retry_requests.is_empty() {
        let meets_policy = || {
            let headers = worker_route::HeadersOnly(&parts.headers);
            own.retry_requests.iter().any(|it| it.holds(&headers))
        };
        if is_told {
            RetryPlan::new(&route.retry, &parts.headers, meets_policy)
        } else {
            RetryPlan::of_policy(&route.retry, meets_policy)
        }
    } else {
        own.retry.clone()
    };
    if is_told {
        for name in FOR_PROXY {
            parts.headers.remove(name);
        }
    }
    (timeouts, plan)
}

fn tell_timeout(headers: &mut HeaderMap, own: &WorkerRoute, limits: &RequestTimeouts) {
    if *limits == own.timeouts {
        if let Some(expected) = &own.expected {
            headers.insert(EXPECTED_TIMEOUT, expected);
        }
    } else if let Some(expected) = limits.expected(Duration::ZERO) {
        headers.insert(EXPECTED_TIMEOUT, headers::number(millis(expected)));
    }
}

fn request_body(body: Incoming, route: &Forward, exchange: &mut Exchange) -> RequestBody {
    if body.is_end_stream() {
        return RequestBody::Empty;
    }
    let progress = exchange.request.get_or_insert_with(Rc::<RequestProgress>::default).clone();
    progress.bytes_max.set(route.body_bytes_max);
    RequestBody::streaming(body, progress, AwaitedBody::new(exchange.client.clone()))
}

/// Keeps a body as it is sent, if the request may be sent again after it.
fn keep(
    body: RequestBody,
    has_body: bool,
    plan: &RetryPlan,
    way: Way<'_>,
    idempotent: bool,
    protocol: UpstreamVersion,
    limits: &RequestTimeouts,
) -> (RequestBody, Option<Rc<KeptBody>>) {
    let bytes_max = way.route.retry.body_bytes_max;
    let may_be_refused = protocol == UpstreamVersion::Http2;
    let is_kept = has_body
        && bytes_max > 0
        && body.size_hint().lower() <= u64::from(bytes_max)
        && (plan.needs_body(idempotent, may_be_refused) || limits.hedges && plan.is_enabled());
    if !is_kept {
        return (body, None);
    }
    let kept = KeptBody::new(body, bytes_max as usize);
    (kept.read(), Some(kept))
}

fn shorten_idle(exchange: &mut Exchange, idle: Duration) {
    if let Some(limit) = &mut exchange.time_limit {
        return limit.shorten_idle(idle);
    }
    let durations = Durations { head: Duration::ZERO, idle, stream: Duration::ZERO };
    let (progress, timer) = (exchange.request.clone(), exchange.client.spare_timer());
    let now = exchange.client.worker.last_now();
    exchange.time_limit = TimeLimit::new(durations, progress, now, timer);
}

/// What the chosen cluster does to the head of a response, and how often the request was tried.
fn change_head(
    response: &mut Response<Incoming>,
    request: &Request<RequestBody>,
    authority: &HeaderValue,
    way: Way<'_>,
    asked: &Asked,
    exchange: &Exchange,
) {
    if way.route.attempt_count_in_response {
        let count = headers::number(u64::from(exchange.retries) + 1);
        response.headers_mut().insert(ATTEMPT_COUNT, count);
    }
    let entry = asked.entry.and_then(|it| way.plan.clusters.entries().get(it));
    let Some(entry) = entry.filter(|it| !it.response_headers.is_empty()) else { return };
    let endpoint = exchange.upstream.as_ref().map(|it| it.picked.endpoint());
    let values = entry.response_headers.values(&Sending {
        method: request.method(),
        uri: request.uri(),
        version: asked.version,
        headers: request.headers(),
        authority,
        client: &exchange.client,
        cluster: &entry.cluster,
        answer: Some(facts::Answered {
            status: response.status().as_u16(),
            headers: response.headers(),
            endpoint: endpoint.and_then(|it| it.socket_address()),
        }),
    });
    entry.response_headers.apply(response.headers_mut(), values);
}
