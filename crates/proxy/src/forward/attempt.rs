//! One try: a connection to the endpoint that was picked, the request, and the head of the response.

use std::rc::Rc;
use std::time::{Duration, Instant};

use codec::message::{Request, RequestParts as Parts, Response};
use http::header::HOST;
use http::uri::Authority;
use http::{HeaderValue, StatusCode, Version};
use proxy_config::{RoutingPriority, UpstreamProtocol};
use tokio::time::sleep_until;
use traffic::{Failure, Origin, Outcome, Stage};

use crate::body::{RequestBody, RequestProgress};
use crate::connection::Client;
use crate::exchange::Upstream;
use crate::headers;
use crate::incoming::Incoming;
use crate::opening::ClientFacts;
use crate::reply::Refusal;
use crate::upstream::{
    ForWhom, Greeted, Lease, NoConnection, Terms, UpstreamTransport, UpstreamVersion,
};
use crate::view::WorkerCluster;

/// Why a try gave no response.
pub(super) enum FailedTry {
    /// The endpoint was taken out of service while the request waited for a connection, or an idle connection was dead
    /// already; nothing was sent.
    Stale,
    Failed(Failed),
}

/// How a try failed.
pub(super) struct Failed {
    pub(super) failure: Failure,
    pub(super) outcome: Outcome,
    pub(super) refusal: Refusal,
    /// What TLS said.
    pub(super) transport_failure: Option<Rc<str>>,
}

impl Failed {
    pub(super) fn new(origin: Origin, stage: Stage, outcome: Outcome, refusal: Refusal) -> Self {
        Self { failure: Failure { origin, stage }, outcome, refusal, transport_failure: None }
    }

    /// What the request is to be sent to is no host.
    pub(super) fn not_a_host() -> Self {
        let refusal = Refusal::BadRequest("the host is not one\n");
        Self::new(Origin::Downstream, Stage::AfterSend, Outcome::Abandoned, refusal)
    }

    /// The try took too long.
    pub(super) fn timed_out() -> Self {
        let (outcome, refusal) = (Outcome::ResponseTimedOut, Refusal::TimedOut);
        Self::new(Origin::Upstream, Stage::ResponseTimedOut, outcome, refusal)
    }
}

impl From<Failed> for FailedTry {
    fn from(failed: Failed) -> Self {
        FailedTry::Failed(failed)
    }
}

/// What a try is made with.
pub(super) struct Attempt<'a> {
    pub(super) cluster: &'a Rc<WorkerCluster>,
    pub(super) priority: RoutingPriority,
    pub(super) authority: &'a HeaderValue,
    /// The endpoint chooses the version.
    pub(super) is_agreed: bool,
    /// Who gets heads that come before the last one; nobody when `None`.
    pub(super) client: Option<&'a Client>,
    pub(super) facts: &'a ClientFacts,
    pub(super) progress: Option<&'a RequestProgress>,
}

impl Attempt<'_> {
    /// Sends the request to the endpoint that was picked and waits for the head of the response. The body of the request
    /// is gone when this fails, unless nothing was sent.
    pub(super) async fn make(
        self,
        request: &mut Request<RequestBody>,
        upstream: &mut Upstream,
    ) -> Result<Response<Incoming>, FailedTry> {
        let pool = self.cluster.pool(upstream.picked.endpoint());
        let part = pool.part(|transport| self.for_whom(transport));
        let Some(pool) = part else { return Err(no_connection(NoConnection::Overflow)) };
        let terms = Terms::new(&self.cluster.state, self.priority);
        let acquired = if self.is_agreed {
            Lease::acquire_agreed(&pool, terms).await
        } else {
            Lease::acquire(&pool, terms, version_of(request)).await
        };
        let mut lease = acquired.map_err(|why| match no_connection(why) {
            FailedTry::Stale => FailedTry::Stale,
            FailedTry::Failed(failed) => {
                Failed { transport_failure: pool.transport_failure(), ..failed }.into()
            }
        })?;
        self.convert(request, lease.version())?;
        let reused = lease.is_reused();
        if !reused {
            upstream.sent_at = runtime::monotonic();
        }
        let failure = match lease.send(request, self.client).await {
            Ok(response) => {
                upstream.lease = Some(lease);
                return Ok(response);
            }
            Err(failure) => failure,
        };
        if let Some(refusal) = self.of_client() {
            let (origin, stage) = (Origin::Downstream, Stage::AfterSend);
            return Err(Failed::new(origin, stage, Outcome::Abandoned, refusal).into());
        }
        if self.is_other_protocol(failure.greeted) {
            let (origin, refusal) = (Origin::Local, Refusal::NotHttp);
            return Err(Failed::new(origin, failure.stage, Outcome::Abandoned, refusal).into());
        }
        if failure.is_unsent && reused {
            return Err(FailedTry::Stale);
        }
        Err(if failure.is_protocol_error {
            let outcome = Outcome::Response { status: StatusCode::BAD_GATEWAY.as_u16() };
            Failed::new(Origin::Upstream, Stage::ResponseStarted, outcome, Refusal::NotHttp).into()
        } else {
            let outcome = Outcome::BrokenBeforeResponse { reused };
            let refusal = Refusal::ConnectionBroken;
            Failed::new(Origin::Upstream, failure.stage, outcome, refusal).into()
        })
    }

    /// What the client has done that ends the request.
    fn of_client(&self) -> Option<Refusal> {
        let progress = self.progress?;
        if progress.is_too_large.get() {
            return Some(Refusal::BodyTooLarge);
        }
        progress.is_broken.get().then_some(Refusal::ClientGone)
    }

    /// Whom a connection for this request is for.
    fn for_whom(&self, transport: &UpstreamTransport) -> ForWhom {
        let host = if transport.takes_host() { self.host_name() } else { None };
        let addresses = transport.proxy_protocol.map(|_| self.facts.addresses());
        ForWhom { host, addresses }
    }

    /// The host that the request is sent to, without a port.
    fn host_name(&self) -> Option<Rc<str>> {
        let authority: Authority = self.authority.to_str().ok()?.parse().ok()?;
        Some(authority.host().trim_start_matches('[').trim_end_matches(']').into())
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

    /// Makes the request one of the version that was agreed on with the endpoint.
    fn convert(
        &self,
        request: &mut Request<RequestBody>,
        agreed: UpstreamVersion,
    ) -> Result<(), FailedTry> {
        if agreed == version_of(request) {
            return Ok(());
        }
        let (parts, body) =
            std::mem::replace(request, Request::new(RequestBody::Empty)).into_parts();
        match upstream_request(parts, body, self.authority, agreed) {
            Some(converted) => {
                *request = converted;
                Ok(())
            }
            None => Err(Failed::not_a_host().into()),
        }
    }
}

fn version_of(request: &Request<RequestBody>) -> UpstreamVersion {
    match request.version() {
        Version::HTTP_2 => UpstreamVersion::Http2,
        _ => UpstreamVersion::Http1,
    }
}

/// `None` when the authority is not one.
pub(super) fn upstream_request(
    mut parts: Box<Parts>,
    body: RequestBody,
    authority: &HeaderValue,
    protocol: UpstreamVersion,
) -> Option<Request<RequestBody>> {
    let headers = &mut parts.headers;
    parts.version = match protocol {
        UpstreamVersion::Http1 => {
            headers::for_http1(&mut parts.uri, headers, authority);
            Version::HTTP_11
        }
        UpstreamVersion::Http2 => {
            parts.uri = headers::for_http2(&parts.uri, headers, authority)?;
            Version::HTTP_2
        }
    };
    Some(Request::from_parts(parts, body))
}

/// Sends the request to another host than the one that it was made for; `None` when it is none.
pub(super) fn set_authority(
    request: &mut Request<RequestBody>,
    authority: &HeaderValue,
) -> Option<()> {
    match version_of(request) {
        UpstreamVersion::Http1 => {
            request.headers_mut().insert(HOST, authority);
        }
        UpstreamVersion::Http2 => {
            let uri = request.uri().clone();
            *request.uri_mut() = headers::for_http2(&uri, request.headers_mut(), authority)?;
        }
    }
    Some(())
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
    Failed::new(origin, Stage::BeforeSend, outcome, refusal).into()
}

/// The time limits of one try.
#[derive(Clone, Copy)]
pub(super) struct TryLimits {
    /// From the end of the request to the head of the response.
    pub(super) head: Option<Duration>,
    /// Without a byte of the request.
    pub(super) idle: Option<Duration>,
}

impl TryLimits {
    pub(super) fn is_none(&self) -> bool {
        self.head.is_none() && self.idle.is_none()
    }

    /// When a try that began at `begun` has taken too long, as far as is known now, or must be looked at again.
    pub(super) fn deadline(
        &self,
        begun: Instant,
        progress: Option<&RequestProgress>,
        now: Instant,
    ) -> Deadline {
        let head = self.head.map(|head| match progress {
            None => Deadline::Expires(begun + head),
            Some(progress) => match progress.ended_at.get() {
                Some(ended_at) => Deadline::Expires(begun.max(ended_at) + head),
                // Nobody tells when the request ends, so it is looked at as often as the limit is long.
                None => Deadline::Look(now + head),
            },
        });
        let idle = self.idle.map(|idle| {
            let moved_at = progress.and_then(|it| it.moved_at.get());
            Deadline::Expires(moved_at.map_or(begun, |it| it.max(begun)) + idle)
        });
        match (head, idle) {
            (Some(head), Some(idle)) if idle.at() < head.at() => idle,
            (Some(head), _) => head,
            (None, Some(idle)) => idle,
            (None, None) => Deadline::Look(now + Duration::from_hours(1)),
        }
    }

    /// Waits until the try has taken too long.
    pub(super) async fn expired(&self, begun: Instant, progress: Option<&RequestProgress>) {
        loop {
            let now = runtime::monotonic();
            let deadline = self.deadline(begun, progress, now);
            if deadline.is_over(now) {
                return;
            }
            sleep_until(deadline.at().into()).await;
        }
    }
}

/// When something is to be done about a try.
#[derive(Clone, Copy)]
pub(super) enum Deadline {
    Expires(Instant),
    Look(Instant),
}

impl Deadline {
    pub(super) fn at(self) -> Instant {
        match self {
            Deadline::Expires(at) | Deadline::Look(at) => at,
        }
    }

    pub(super) fn is_over(self, now: Instant) -> bool {
        matches!(self, Deadline::Expires(at) if at <= now)
    }
}
