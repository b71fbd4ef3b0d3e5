//! Sends a request to an endpoint of a cluster, and again to another one when that is allowed.

mod response;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::header::{CONNECTION, UPGRADE};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::Body;
use proxy_config::{Forward, UpstreamProtocol};
use traffic::{
    EndpointState, Failure, Origin, Outcome, RefusedRetry, RequestTraits, ResponseFlag, Retry,
    Stage, is_idempotent,
};

use self::response::respond;
use crate::body::{RequestBody, RequestProgress, ResponseBody};
use crate::buffers;
use crate::connection::AwaitedBody;
use crate::exchange::{Exchange, Upstream};
use crate::headers::{self, X_REQUEST_ID};
use crate::incoming::{Incoming, Upgrade};
use crate::opening::ClientFacts;
use crate::reply::{self, Refusal};
use crate::time_limit::{Expired, TimeLimit};
use crate::tunnel;
use crate::upstream::{ForWhom, Greeted, Lease, NoConnection, UpstreamTransport, UpstreamVersion};
use crate::view::WorkerCluster;

/// Connections that may turn out dead under one request before that counts as a failure. They died idle and nothing
/// was sent on them, so the endpoint is not to blame; a whole pool of them dies when a process is killed.
const STALE_CONNECTIONS_MAX: u32 = 8;

/// A request with the place that it goes to.
pub(crate) struct Forwarded<'a> {
    pub(crate) parts: Parts,
    pub(crate) body: Incoming,
    /// The client's connection, should the response end HTTP on it.
    pub(crate) upgrade: Option<Upgrade>,
    pub(crate) authority: HeaderValue,
    pub(crate) cluster: Rc<WorkerCluster>,
    pub(crate) route: &'a Forward,
    /// How long it may stand still.
    pub(crate) idle_timeout: Duration,
    /// The client takes trailers.
    pub(crate) accepts_trailers: bool,
    /// What the client wants to go on with on its connection, if it may.
    pub(crate) wanted_upgrade: Option<HeaderValue>,
}

/// What the response needs to know about the request.
struct Asked {
    version: Version,
    accepts_trailers: bool,
    request_id: Option<HeaderValue>,
    upgrade: Option<Upgrade>,
}

/// Forwards a request and gives the response, the endpoint's or one that says why there is none.
pub(crate) async fn forward(
    request: Forwarded<'_>,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    let Forwarded { mut parts, body, upgrade, authority, cluster, route, idle_timeout, .. } =
        request;
    let (accepts_trailers, wanted_upgrade) = (request.accepts_trailers, request.wanted_upgrade);
    let protocol = match cluster.state.cluster().protocol {
        UpstreamProtocol::Http2 => UpstreamVersion::Http2,
        UpstreamProtocol::Http1
        | UpstreamProtocol::Tcp
        | UpstreamProtocol::SameAsClient
        | UpstreamProtocol::Alpn
            if exchange.is_grpc =>
        {
            UpstreamVersion::Http2
        }
        UpstreamProtocol::SameAsClient if parts.version == Version::HTTP_2 => {
            UpstreamVersion::Http2
        }
        UpstreamProtocol::Http1
        | UpstreamProtocol::Tcp
        | UpstreamProtocol::SameAsClient
        | UpstreamProtocol::Alpn => UpstreamVersion::Http1,
    };
    exchange.enter_cluster(cluster.clone());
    let wanted = match protocol {
        UpstreamVersion::Http1 => wanted_upgrade,
        UpstreamVersion::Http2 => None,
    };
    let upgrade = wanted.and_then(|value| {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(UPGRADE, value);
        upgrade
    });
    let request_id =
        if route.timing_headers { parts.headers.get(X_REQUEST_ID).cloned() } else { None };
    let asked = Asked { version: parts.version, accepts_trailers, request_id, upgrade };
    let body = if body.is_end_stream() {
        RequestBody::Empty
    } else {
        let progress = exchange.request.get_or_insert_with(Rc::<RequestProgress>::default).clone();
        let awaited = AwaitedBody::new(exchange.client.clone());
        RequestBody::streaming(body, progress, awaited)
    };
    let Some(request) = upstream_request(parts, body, &authority, protocol) else {
        return reply::refuse(Refusal::BadRequest("the host is not one\n"), exchange);
    };
    exchange.time_limit = TimeLimit::new(
        route.timeout,
        idle_timeout,
        exchange.request.clone(),
        exchange.forwarded_at,
        exchange.client.spare_timer(),
    );
    let is_agreed = cluster.state.cluster().protocol == UpstreamProtocol::Alpn
        && !exchange.is_grpc
        && asked.upgrade.is_none();
    let mut tries = Tries::new(cluster, route, (protocol, is_agreed), request, authority);
    let ended = tries.run_within_time_limit(&mut exchange).await;
    buffers::put_map(tries.request.headers_mut());
    match ended {
        Err(refusal) => reply::refuse(refusal, exchange),
        Ok(response) if response.status() != StatusCode::SWITCHING_PROTOCOLS => {
            respond(response, exchange, route, asked)
        }
        Ok(response) => match asked.upgrade {
            Some(downstream) => tunnel::upgrade(response, downstream, exchange),
            // Nobody asked for it.
            None => reply::refuse(Refusal::NotHttp, exchange),
        },
    }
}

/// `None` when the authority is not one.
fn upstream_request(
    mut parts: Parts,
    body: RequestBody,
    authority: &HeaderValue,
    protocol: UpstreamVersion,
) -> Option<Request<RequestBody>> {
    let headers = &mut parts.headers;
    let version = match protocol {
        UpstreamVersion::Http1 => {
            headers::for_http1(&mut parts.uri, headers, authority);
            Version::HTTP_11
        }
        UpstreamVersion::Http2 => {
            parts.uri = headers::for_http2(&parts.uri, headers, authority)?;
            Version::HTTP_2
        }
    };
    let mut request = Request::new(body);
    *request.method_mut() = parts.method;
    *request.uri_mut() = parts.uri;
    *request.version_mut() = version;
    *request.headers_mut() = parts.headers;
    Some(request)
}

/// The tries of one request.
struct Tries<'a> {
    cluster: Rc<WorkerCluster>,
    route: &'a Forward,
    protocol: UpstreamVersion,
    /// The endpoint chooses the version.
    is_agreed: bool,
    authority: HeaderValue,
    request: Request<RequestBody>,
    /// It was sent in a way that cannot be repeated.
    is_spent: bool,
    idempotent: bool,
    has_body: bool,
    retries: u32,
    stale: u32,
    tried: Vec<Arc<EndpointState>>,
}

/// Why a try gave no response.
enum FailedTry {
    /// An idle connection was dead already, or the endpoint was taken out of service while the request waited for one;
    /// nothing was sent.
    Stale,
    Failed {
        origin: Origin,
        stage: Stage,
        outcome: Outcome,
        refusal: Refusal,
    },
}

impl<'a> Tries<'a> {
    fn new(
        cluster: Rc<WorkerCluster>,
        route: &'a Forward,
        (protocol, is_agreed): (UpstreamVersion, bool),
        request: Request<RequestBody>,
        authority: HeaderValue,
    ) -> Self {
        Self {
            cluster,
            route,
            protocol,
            is_agreed,
            authority,
            idempotent: is_idempotent(request.method()),
            has_body: !request.body().is_end_stream(),
            request,
            is_spent: false,
            retries: 0,
            stale: 0,
            tried: Vec::new(),
        }
    }

    async fn run_within_time_limit(
        &mut self,
        exchange: &mut Exchange,
    ) -> Result<Response<Incoming>, Refusal> {
        let mut time_limit = exchange.time_limit.take();
        let ended = {
            let mut tries = pin!(self.run(exchange));
            poll_fn(|cx| {
                if let Poll::Ready(ended) = tries.as_mut().poll(cx) {
                    return Poll::Ready(Ok(ended));
                }
                match &mut time_limit {
                    Some(limit) => limit.poll_head(cx).map(Err),
                    None => Poll::Pending,
                }
            })
            .await
        };
        exchange.time_limit = time_limit;
        ended.unwrap_or_else(|expired| {
            let now = exchange.client.worker.now();
            let (outcome, refusal) = match expired {
                Expired::Head => (Outcome::ResponseTimedOut, Refusal::TimedOut),
                Expired::Idle => (Outcome::Abandoned, Refusal::StreamIdle),
            };
            exchange.report(outcome, now);
            Err(refusal)
        })
    }

    async fn run(&mut self, exchange: &mut Exchange) -> Result<Response<Incoming>, Refusal> {
        let mut now = exchange.forwarded_at;
        loop {
            let picked = exchange
                .client
                .worker
                .pick(&self.cluster, &self.tried, now)
                .map_err(|_| Refusal::NoHealthyUpstream)?;
            if picked.is_panic() {
                self.cluster.counters.lb_healthy_panic.inc();
            }
            let endpoint = picked.endpoint().clone();
            exchange.upstream =
                Some(Upstream { picked, lease: None, sent_at: now, is_reported: false });
            let failed = match self.try_once(&endpoint, exchange).await {
                Ok(response) => return Ok(response),
                Err(failed) => failed,
            };
            now = exchange.client.worker.now();
            match failed {
                FailedTry::Stale => exchange.report(Outcome::Abandoned, now),
                FailedTry::Failed { origin, stage, outcome, refusal } => {
                    exchange.report(outcome, now);
                    self.may_retry(Failure { origin, stage }, exchange).map_err(|()| refusal)?;
                    self.tried.push(endpoint);
                }
            }
            self.renew_cluster(exchange);
        }
    }

    /// Takes the cluster as it is now: the configuration may have changed during the last try. Held on to when it is
    /// gone, or speaks another protocol than the request was made for.
    fn renew_cluster(&mut self, exchange: &mut Exchange) {
        let Some(current) = exchange.client.worker.cluster(self.cluster.state.name()) else {
            return;
        };
        if current.state.cluster().protocol == self.cluster.state.cluster().protocol {
            exchange.renew_cluster(current.clone());
            self.cluster = current;
        }
    }

    /// True when the endpoint does not speak the HTTP/2 that was spoken to it. Silence says so only where HTTP/2 was
    /// a guess, from the request being gRPC; elsewhere the endpoint may just have died.
    fn is_other_protocol(&self, greeted: Option<Greeted>) -> bool {
        match greeted {
            None | Some(Greeted::Http2) => false,
            Some(Greeted::Otherwise) => true,
            Some(Greeted::Silent) => match self.cluster.state.cluster().protocol {
                UpstreamProtocol::Http1
                | UpstreamProtocol::Tcp
                | UpstreamProtocol::SameAsClient
                | UpstreamProtocol::Alpn => true,
                UpstreamProtocol::Http2 => false,
            },
        }
    }

    fn may_retry(&mut self, failure: Failure, exchange: &mut Exchange) -> Result<(), ()> {
        let request = RequestTraits {
            idempotent: self.idempotent,
            body_replayable: !self.has_body || !self.is_spent,
        };
        let worker = &exchange.client.worker;
        match worker.retry(&self.route.retry, self.retries, failure, request) {
            Retry::After(_) if !self.is_spent => {
                self.retries += 1;
                exchange.retries = self.retries;
                Ok(())
            }
            Retry::No(RefusedRetry::LimitReached) => {
                exchange.flags.insert(ResponseFlag::UpstreamRetryLimitExceeded);
                Err(())
            }
            Retry::After(_) | Retry::No(_) => Err(()),
        }
    }

    /// Whom a connection for this request is for.
    fn for_whom(&self, transport: &UpstreamTransport, client: &ClientFacts) -> ForWhom {
        let host = if transport.takes_host() { self.host_name() } else { None };
        let addresses = transport.proxy_protocol.map(|_| client.addresses());
        ForWhom { host, addresses }
    }

    /// The host that the request is sent to, without a port.
    fn host_name(&self) -> Option<Rc<str>> {
        let authority: Authority = self.authority.to_str().ok()?.parse().ok()?;
        Some(authority.host().trim_start_matches('[').trim_end_matches(']').into())
    }

    /// Makes the request one of the version that was agreed on with the endpoint.
    fn convert(&mut self, agreed: UpstreamVersion) -> Result<(), FailedTry> {
        if agreed == self.protocol {
            return Ok(());
        }
        self.protocol = agreed;
        let request = std::mem::replace(&mut self.request, Request::new(RequestBody::Empty));
        let (parts, body) = request.into_parts();
        if let Some(request) = upstream_request(parts, body, &self.authority, agreed) {
            self.request = request;
            return Ok(());
        }
        Err(FailedTry::Failed {
            origin: Origin::Downstream,
            stage: Stage::AfterSend,
            outcome: Outcome::Abandoned,
            refusal: Refusal::BadRequest("the host is not one\n"),
        })
    }

    async fn try_once(
        &mut self,
        endpoint: &Arc<EndpointState>,
        exchange: &mut Exchange,
    ) -> Result<Response<Incoming>, FailedTry> {
        let pool = self.cluster.pool(endpoint);
        let part = pool.part(|transport| self.for_whom(transport, &exchange.client.facts));
        let Some(pool) = part else { return Err(no_connection(NoConnection::Overflow)) };
        let cluster = self.cluster.state.cluster();
        let acquired = if self.is_agreed {
            Lease::acquire_agreed(&pool, cluster).await
        } else {
            Lease::acquire(&pool, cluster, self.protocol).await
        };
        let mut lease = acquired.map_err(|why| {
            exchange.transport_failure = pool.transport_failure();
            no_connection(why)
        })?;
        self.convert(lease.version())?;
        let reused = lease.is_reused();
        if !reused && let Some(upstream) = &mut exchange.upstream {
            upstream.sent_at = exchange.client.worker.now();
        }
        // HTTP/1.1 has no way to say that a request was not looked at: then only an idempotent one is sent again.
        let may_repeat = self.idempotent || self.protocol == UpstreamVersion::Http2;
        let may_retry = self.retries < self.route.retry.retries_max;
        self.is_spent = self.has_body || !may_repeat || !may_retry;
        let client = exchange.client.clone();
        let failure = match lease.send(&mut self.request, &client).await {
            Ok(response) => {
                if let Some(upstream) = &mut exchange.upstream {
                    upstream.lease = Some(lease);
                }
                return Ok(response);
            }
            Err(failure) => failure,
        };
        if exchange.request.as_ref().is_some_and(|it| it.is_broken.get()) {
            return Err(FailedTry::Failed {
                origin: Origin::Downstream,
                stage: Stage::AfterSend,
                outcome: Outcome::Abandoned,
                refusal: Refusal::ClientGone,
            });
        }
        if self.is_other_protocol(failure.greeted) {
            return Err(FailedTry::Failed {
                origin: Origin::Local,
                stage: failure.stage,
                outcome: Outcome::Abandoned,
                refusal: Refusal::NotHttp,
            });
        }
        if failure.is_unsent {
            self.is_spent = false;
            if reused && self.stale < STALE_CONNECTIONS_MAX {
                self.stale += 1;
                return Err(FailedTry::Stale);
            }
        }
        Err(if failure.is_protocol_error {
            FailedTry::Failed {
                origin: Origin::Upstream,
                stage: Stage::ResponseStarted,
                outcome: Outcome::Response { status: StatusCode::BAD_GATEWAY.as_u16() },
                refusal: Refusal::NotHttp,
            }
        } else {
            FailedTry::Failed {
                origin: Origin::Upstream,
                stage: failure.stage,
                outcome: Outcome::BrokenBeforeResponse { reused },
                refusal: Refusal::ConnectionBroken,
            }
        })
    }
}

fn no_connection(why: NoConnection) -> FailedTry {
    let (origin, outcome, refusal) = match why {
        NoConnection::Retired => return FailedTry::Stale,
        NoConnection::Local => (Origin::Local, Outcome::Abandoned, Refusal::ConnectFailed),
        NoConnection::Failed => (Origin::Upstream, Outcome::ConnectFailed, Refusal::ConnectFailed),
        NoConnection::TimedOut => {
            (Origin::Upstream, Outcome::ConnectTimedOut, Refusal::ConnectFailed)
        }
        NoConnection::Overflow => (Origin::Local, Outcome::Abandoned, Refusal::Overflow),
    };
    FailedTry::Failed { origin, stage: Stage::BeforeSend, outcome, refusal }
}
