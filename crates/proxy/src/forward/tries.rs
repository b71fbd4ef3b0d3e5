//! The tries of one request, one after the other.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use codec::message::{HeaderMap, Request, Response};
use http::HeaderValue;
use traffic::{
    Affinity, EndpointState, Failure, Outcome, Permit, PickRequest, RequestTimeouts, RequestTraits,
    ResponseFlag, ResponseHead, Retry, RetryPlan, TryEnd, TryFacts,
};

use super::attempt::{Attempt, Failed, FailedTry, TryLimits, set_authority};
use super::cookies::{Sticky, unix_seconds};
use super::worker_route::HeadersOnly;
use super::{ATTEMPT_COUNT, Asked, EXPECTED_TIMEOUT, Way, hedged};
use crate::body::{KeptBody, RequestBody};
use crate::exchange::{Exchange, Upstream, grpc_status, millis};
use crate::headers::{self, GRPC_STATUS};
use crate::incoming::Incoming;
use crate::reply::Refusal;
use crate::time_limit::Expired;
use crate::view::WorkerCluster;

/// Connections that may turn out dead under one request before that counts as a failure. They died idle and nothing
/// was sent on them, so the endpoint is not to blame; a whole pool of them dies when a process is killed.
pub(super) const STALE_CONNECTIONS_MAX: u32 = 8;

/// The tries of one request.
pub(super) struct Tries<'a> {
    pub(super) cluster: Rc<WorkerCluster>,
    pub(super) way: Way<'a>,
    /// The endpoint chooses the version.
    pub(super) is_agreed: bool,
    pub(super) authority: HeaderValue,
    /// Each endpoint is sent its own name.
    pub(super) takes_hostname: bool,
    pub(super) request: Request<RequestBody>,
    /// The body, if it can be sent again.
    pub(super) kept: Option<Rc<KeptBody>>,
    pub(super) idempotent: bool,
    pub(super) has_body: bool,
    pub(super) hash: Option<u64>,
    pub(super) subset: Option<&'a BTreeMap<String, String>>,
    pub(super) sticky: Sticky,
    pub(super) limits: RequestTimeouts,
    pub(super) plan: RetryPlan,
    pub(super) asked: Asked,
    pub(super) retries: u32,
    pub(super) stale: u32,
    pub(super) tried: Vec<Arc<EndpointState>>,
    /// Endpoints of tries beside each other whose response is awaited.
    pub(super) awaited: Vec<Arc<EndpointState>>,
}

/// How a try ended that was not [`FailedTry::Stale`].
pub(super) type Ended = Result<Response<Incoming>, Failed>;

impl Tries<'_> {
    pub(super) async fn run_within_time_limit(
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
                Expired::TookTooLong => (Outcome::Abandoned, Refusal::TookTooLong),
            };
            exchange.report(outcome, now);
            for endpoint in &self.awaited {
                exchange.client.worker.report(&self.cluster, endpoint, outcome, now);
            }
            Err(refusal)
        })
    }

    async fn run(&mut self, exchange: &mut Exchange) -> Result<Response<Incoming>, Refusal> {
        if self.limits.hedges && self.limits.per_try.is_some() && self.plan.is_enabled() {
            return Box::pin(hedged::run(self, exchange)).await;
        }
        let mut now = exchange.forwarded_at;
        loop {
            exchange.upstream = Some(self.pick(exchange, now)?);
            let ended = match self.try_once(exchange).await {
                Ok(response) if !self.may_retry_after(&response, exchange) => return Ok(response),
                Ok(response) => Ok(response),
                Err(FailedTry::Stale) if self.stale < STALE_CONNECTIONS_MAX => {
                    self.stale += 1;
                    now = exchange.client.worker.now();
                    exchange.report(Outcome::Abandoned, now);
                    self.renew_cluster(exchange);
                    continue;
                }
                Err(FailedTry::Stale) => Err(self.too_stale()),
                Err(FailedTry::Failed(failed)) => Err(failed),
            };
            now = exchange.client.worker.now();
            if let Err(failed) = &ended {
                exchange.transport_failure.clone_from(&failed.transport_failure);
                exchange.report(failed.outcome, now);
            }
            exchange.retry_permits.clear();
            let Retry::After(wait) = self.decide(&ended, exchange, now) else {
                return ended.map_err(|failed| self.refused(&failed, exchange));
            };
            self.begin_retry(exchange);
            self.discard(ended, exchange, now);
            if !wait.is_zero() {
                Box::pin(tokio::time::sleep(wait)).await;
                now = exchange.client.worker.now();
            }
            self.renew_cluster(exchange);
            self.make_again(exchange, now);
        }
    }

    pub(super) fn pick(&self, exchange: &Exchange, now: Instant) -> Result<Upstream, Refusal> {
        let route = self.way.route;
        let exclude = if route.retry.avoid_previous { self.tried.as_slice() } else { &[] };
        let strict = route.affinity.as_ref().is_some_and(|it| it.strict);
        let affinity = self.sticky.address.as_deref();
        let affinity = affinity.map(|address| Affinity { address, strict });
        let request =
            PickRequest { now_ns: 0, hash: self.hash, exclude, subset: self.subset, affinity };
        let worker = &exchange.client.worker;
        let picked = worker.pick_for(&self.cluster, request, now);
        let picked = picked.map_err(|_| Refusal::NoHealthyUpstream)?;
        if picked.is_panic() {
            self.cluster.counters.lb_healthy_panic.inc();
        }
        Ok(Upstream { picked, lease: None, sent_at: now, is_reported: false })
    }

    async fn try_once(&mut self, exchange: &mut Exchange) -> Result<Response<Incoming>, FailedTry> {
        let limits = TryLimits { head: self.limits.per_try, idle: self.limits.per_try_idle };
        let upstream = exchange.upstream.as_mut().expect("an endpoint was picked");
        let own = self
            .takes_hostname
            .then(|| self.cluster.hostname(upstream.picked.endpoint()))
            .flatten();
        if let Some(own) = own
            && set_authority(&mut self.request, own).is_none()
        {
            return Err(Failed::not_a_host().into());
        }
        let attempt = Attempt {
            cluster: &self.cluster,
            priority: self.way.route.priority,
            authority: own.unwrap_or(&self.authority),
            is_agreed: self.is_agreed,
            client: Some(&exchange.client),
            facts: &exchange.client.facts,
            progress: exchange.request.as_deref(),
        };
        let begun = upstream.sent_at;
        let made = attempt.make(&mut self.request, upstream);
        if limits.is_none() {
            return made.await;
        }
        let progress = exchange.request.as_deref();
        let made = Box::pin(async {
            let (mut made, mut expired) = (pin!(made), pin!(limits.expired(begun, progress)));
            poll_fn(|cx| match made.as_mut().poll(cx) {
                Poll::Ready(made) => Poll::Ready(Some(made)),
                Poll::Pending => expired.as_mut().poll(cx).map(|()| None),
            })
            .await
        });
        match made.await {
            Some(made) => made,
            None => {
                self.cluster.counters.upstream_rq_per_try_timeout.inc();
                Err(Failed::timed_out().into())
            }
        }
    }

    /// Whether there is anything about a response that the policy might not like.
    pub(super) fn may_retry_after(
        &self,
        response: &Response<Incoming>,
        exchange: &Exchange,
    ) -> bool {
        self.plan.looks_at(response.status().as_u16())
            || (exchange.is_grpc
                && self.plan.is_enabled()
                && response.headers().contains_key(GRPC_STATUS))
    }

    /// Whether another try is made in the place of one that ended so. When it is, its place among the retries is taken.
    pub(super) fn decide(&self, ended: &Ended, exchange: &mut Exchange, now: Instant) -> Retry {
        let facts = self.facts(exchange, now);
        let policy = &self.way.route.retry;
        let worker = exchange.client.worker.clone();
        let decision = match ended {
            Err(failed) => {
                let end = TryEnd::Failed(failed.failure);
                worker.draw(|rng| self.plan.decide(policy, facts, end, rng))
            }
            Ok(response) => {
                let headers = response.headers();
                let conditions = &self.way.own.retry_responses;
                let meets = || conditions.iter().any(|it| it.holds(&HeadersOnly(headers)));
                let end = TryEnd::Response(ResponseHead {
                    status: response.status().as_u16(),
                    grpc_status: if exchange.is_grpc { grpc_status(headers) } else { None },
                    headers,
                    meets_policy: &meets,
                });
                worker.draw(|rng| self.plan.decide(policy, facts, end, rng))
            }
        };
        let decision = self.admit_retry(decision, exchange);
        if let Retry::After(wait) = decision {
            let headers = ended.as_ref().ok().map(Response::headers);
            self.count_back_off(wait, headers);
        }
        decision
    }

    /// Where the request is, for a decision on another try.
    pub(super) fn facts(&self, exchange: &Exchange, now: Instant) -> TryFacts {
        let since = match &exchange.request {
            None => Some(exchange.forwarded_at),
            Some(request) => request.ended_at.get(),
        };
        let elapsed = since.map_or(Duration::ZERO, |it| now.saturating_duration_since(it));
        let is_by_clock = self.way.route.retry.rate_limited_back_off.is_some();
        TryFacts {
            retries: self.retries,
            request: RequestTraits {
                idempotent: self.idempotent,
                body_replayable: self.is_replayable(),
            },
            time_left: self.limits.left(elapsed),
            unix_seconds: if is_by_clock { unix_seconds() } else { 0 },
        }
    }

    fn is_replayable(&self) -> bool {
        !self.is_spent() || self.kept.as_ref().is_some_and(|it| it.is_whole())
    }

    /// The body was sent, at least in part.
    fn is_spent(&self) -> bool {
        self.has_body && matches!(self.request.body(), RequestBody::Empty)
    }

    /// Takes a place among the retries of the cluster, and notes why there is none.
    pub(super) fn admit_retry(&self, decision: Retry, exchange: &mut Exchange) -> Retry {
        let refused = match decision {
            Retry::After(wait) => {
                let permit = Permit::try_retry(self.cluster.clone(), self.way.route.priority);
                if let Ok(permit) = permit {
                    exchange.retry_permits.push(permit);
                    return Retry::After(wait);
                }
                self.cluster.counters.upstream_rq_retry_overflow.inc();
                traffic::RefusedRetry::BudgetExhausted
            }
            Retry::No(refused) => refused,
        };
        if let Some(flag) = refused.flag() {
            exchange.flags.insert(flag);
        }
        Retry::No(refused)
    }

    fn count_back_off(&self, wait: Duration, headers: Option<&HeaderMap>) {
        let counters = &self.cluster.counters;
        let limited = self.way.route.retry.rate_limited_back_off.as_ref();
        let is_limited = limited.zip(headers).is_some_and(|(limited, headers)| {
            limited.headers.iter().any(|it| headers.contains_key(it.name.as_str()))
        });
        if is_limited {
            counters.upstream_rq_retry_backoff_ratelimited.inc();
        } else if !wait.is_zero() {
            counters.upstream_rq_retry_backoff_exponential.inc();
        }
    }

    /// Another try has been decided on.
    pub(super) fn begin_retry(&mut self, exchange: &mut Exchange) {
        self.retries += 1;
        exchange.retries = self.retries;
    }

    /// Makes the request ready to be sent once more.
    fn make_again(&mut self, exchange: &Exchange, now: Instant) {
        if self.is_spent()
            && let Some(kept) = &self.kept
        {
            *self.request.body_mut() = kept.read();
        }
        self.number_try(exchange, now);
    }

    /// Tells the endpoint which try it is, and how long anybody will wait for it.
    pub(super) fn number_try(&mut self, exchange: &Exchange, now: Instant) {
        let elapsed = now.saturating_duration_since(exchange.forwarded_at);
        let count = u64::from(self.retries) + 1;
        let headers = self.request.headers_mut();
        if self.way.route.attempt_count_in_request {
            headers.insert(ATTEMPT_COUNT, headers::number(count));
        }
        if let Some(expected) = self.limits.expected(elapsed) {
            headers.insert(EXPECTED_TIMEOUT, headers::number(millis(expected)));
        }
    }

    /// Forgets what the last try gave, and avoids its endpoint from now on.
    fn discard(&mut self, ended: Ended, exchange: &mut Exchange, now: Instant) {
        if let Ok(response) = &ended {
            exchange.report(response_outcome(response), now);
        }
        let Some(mut upstream) = exchange.upstream.take() else { return };
        self.tried.push(upstream.picked.endpoint().clone());
        if let Ok(response) = ended {
            throw_away(response, &mut upstream, exchange, now);
        }
    }

    /// Takes the cluster as it is now: the configuration may have changed during the last try. Held on to when it is
    /// gone, or speaks another protocol than the request was made for.
    pub(super) fn renew_cluster(&mut self, exchange: &mut Exchange) {
        let Some(current) = exchange.client.worker.cluster(self.cluster.state.name()) else {
            return;
        };
        if Rc::ptr_eq(&current, &self.cluster) {
            return;
        }
        if current.state.cluster().protocol == self.cluster.state.cluster().protocol {
            exchange.renew_cluster(current.clone());
            self.cluster = current;
        }
    }

    /// Dead connections again and again: the request is as it was, but somebody must answer.
    pub(super) fn too_stale(&self) -> Failed {
        Failed::new(
            traffic::Origin::Upstream,
            traffic::Stage::ClosedUnsent,
            Outcome::BrokenBeforeResponse { reused: true },
            Refusal::ConnectionBroken,
        )
    }

    pub(super) fn refused(&self, failed: &Failed, exchange: &mut Exchange) -> Refusal {
        if failed.refusal == Refusal::Overflow {
            self.cluster.counters.upstream_rq_pending_overflow.inc();
        }
        let Failure { stage, .. } = failed.failure;
        if stage == traffic::Stage::ResponseTimedOut {
            exchange.flags.insert(ResponseFlag::UpstreamRequestTimeout);
        }
        failed.refusal
    }
}

/// Leaves a response to nobody.
pub(super) fn throw_away(
    response: Response<Incoming>,
    upstream: &mut Upstream,
    exchange: &Exchange,
    now: Instant,
) {
    let Some(lease) = upstream.lease.take() else { return };
    // As long as the request is being sent, its body is read by the connection.
    if exchange.request.as_ref().is_none_or(|it| it.ended_at.get().is_some()) {
        lease.discard(response.into_body(), now);
    }
}

pub(super) fn response_outcome(response: &Response<Incoming>) -> Outcome {
    match grpc_status(response.headers()) {
        Some(status) => Outcome::of_grpc(status),
        None => Outcome::Response { status: response.status().as_u16() },
    }
}
