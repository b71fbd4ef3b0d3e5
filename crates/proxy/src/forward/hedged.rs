//! Tries beside each other: when the time limit of one is over it goes on while another is made, and the first good
//! response wins.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use codec::message::{Request, Response};
use http::HeaderValue;
use tokio::time::sleep_until;
use traffic::{EndedTry, Hedge, HedgeVerdict, Outcome, Retry};

use super::attempt::{Attempt, Failed, FailedTry, TryLimits, set_authority};
use super::tries::{STALE_CONNECTIONS_MAX, Tries, response_outcome, throw_away};
use crate::body::RequestBody;
use crate::exchange::{Exchange, Upstream};
use crate::incoming::Incoming;
use crate::reply::Refusal;

type Made = (Result<Response<Incoming>, FailedTry>, Upstream);

/// A try under way.
struct Running {
    made: Pin<Box<dyn Future<Output = Made>>>,
    begun: Instant,
    /// Its time limit is over.
    is_late: bool,
    /// And another try is made beside it.
    hedged: bool,
}

/// What happened first.
enum Event {
    Ended(usize, Box<Made>),
    /// A try is late, or the back-off of one is over.
    Time,
}

/// The tries of a request; there are never more than its retries and one.
struct Hedged<'t, 'a> {
    tries: &'t mut Tries<'a>,
    hedge: Hedge,
    running: Vec<Running>,
    /// When further tries begin that have been decided on.
    begins: Vec<Instant>,
    limits: TryLimits,
}

/// Runs the tries of a request until one has won or all are lost.
pub(super) async fn run(
    tries: &mut Tries<'_>,
    exchange: &mut Exchange,
) -> Result<Response<Incoming>, Refusal> {
    let limits = TryLimits { head: tries.limits.per_try, idle: None };
    let mut hedged = Hedged {
        tries,
        hedge: Hedge::default(),
        running: Vec::new(),
        begins: vec![exchange.forwarded_at],
        limits,
    };
    hedged.hedge.begin_try();
    loop {
        let now = exchange.client.worker.now();
        if let Err(refusal) = hedged.begin_those_due(exchange, now)
            && hedged.running.is_empty()
            && hedged.begins.is_empty()
        {
            return Err(refusal);
        }
        match hedged.next_event(exchange).await {
            Event::Time => hedged.hedge_those_late(exchange),
            Event::Ended(at, made) => {
                if let Some(ended) = hedged.end(at, *made, exchange) {
                    return ended;
                }
            }
        }
    }
}

impl Hedged<'_, '_> {
    fn begin_those_due(&mut self, exchange: &mut Exchange, now: Instant) -> Result<(), Refusal> {
        while let Some(at) = self.begins.iter().position(|it| *it <= now) {
            self.begins.swap_remove(at);
            if let Err(refusal) = self.begin(exchange, now) {
                self.hedge.end_try(EndedTry { answered: false, hedged: true }, NO_ENDPOINT);
                return Err(refusal);
            }
        }
        Ok(())
    }

    fn begin(&mut self, exchange: &mut Exchange, now: Instant) -> Result<(), Refusal> {
        let tries = &mut *self.tries;
        tries.renew_cluster(exchange);
        if tries.retries > 0 {
            tries.number_try(exchange, now);
        }
        let mut upstream = tries.pick(exchange, now)?;
        tries.tried.push(upstream.picked.endpoint().clone());
        tries.awaited.push(upstream.picked.endpoint().clone());
        let mut request = copy(&tries.request, tries.kept.as_ref().map(|it| it.read()));
        if !tries.has_body {
            *request.body_mut() = RequestBody::Empty;
        } else if tries.kept.is_none() {
            // It can be sent once, and so there is only this try.
            *request.body_mut() = std::mem::replace(tries.request.body_mut(), RequestBody::Empty);
        }
        let authority = authority(tries, &upstream);
        if tries.takes_hostname && set_authority(&mut request, &authority).is_none() {
            tries.awaited.pop();
            return Err(Failed::not_a_host().refusal);
        }
        let (cluster, client) = (tries.cluster.clone(), exchange.client.clone());
        let (priority, is_agreed) = (tries.way.route.priority, tries.is_agreed);
        let progress = exchange.request.clone();
        let made = Box::pin(async move {
            let attempt = Attempt {
                cluster: &cluster,
                priority,
                authority: &authority,
                is_agreed,
                client: Some(&client),
                facts: &client.facts,
                progress: progress.as_deref(),
            };
            let made = attempt.make(&mut request, &mut upstream).await;
            (made, upstream)
        });
        self.running.push(Running { made, begun: now, is_late: false, hedged: false });
        Ok(())
    }

    async fn next_event(&mut self, exchange: &Exchange) -> Event {
        let now = runtime::monotonic();
        let progress = exchange.request.as_deref();
        let in_time = self.running.iter().filter(|it| !it.is_late);
        let looks = in_time.map(|it| self.limits.deadline(it.begun, progress, now).at());
        let next = looks.chain(self.begins.iter().copied()).min();
        let mut timer = pin!(async {
            match next {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        });
        poll_fn(|cx| match self.poll_running(cx) {
            Poll::Ready(event) => Poll::Ready(event),
            Poll::Pending => timer.as_mut().poll(cx).map(|()| Event::Time),
        })
        .await
    }

    fn poll_running(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        for (at, running) in self.running.iter_mut().enumerate() {
            if let Poll::Ready(made) = running.made.as_mut().poll(cx) {
                return Poll::Ready(Event::Ended(at, Box::new(made)));
            }
        }
        Poll::Pending
    }

    /// Decides on another try beside each whose time limit is over.
    fn hedge_those_late(&mut self, exchange: &mut Exchange) {
        let now = exchange.client.worker.now();
        for at in 0..self.running.len() {
            let running = &self.running[at];
            let deadline = self.limits.deadline(running.begun, exchange.request.as_deref(), now);
            if running.is_late || !deadline.is_over(now) {
                continue;
            }
            self.running[at].is_late = true;
            let tries = &mut *self.tries;
            tries.cluster.counters.upstream_rq_per_try_timeout.inc();
            let facts = tries.facts(exchange, now);
            let policy = &tries.way.route.retry;
            let worker = exchange.client.worker.clone();
            let decision = worker.draw(|rng| tries.plan.decide_hedge(policy, facts, rng));
            if let Retry::After(wait) = decision
                && let Retry::After(_) = tries.admit_retry(decision, exchange)
            {
                tries.begin_retry(exchange);
                self.hedge.begin_try();
                self.begins.push(now + wait);
                self.running[at].hedged = true;
            }
        }
    }

    /// A try has ended. Gives what the request ends with, if that is it.
    fn end(
        &mut self,
        at: usize,
        (made, mut upstream): Made,
        exchange: &mut Exchange,
    ) -> Option<Result<Response<Incoming>, Refusal>> {
        let running = self.running.swap_remove(at);
        let now = exchange.client.worker.now();
        let tries = &mut *self.tries;
        let endpoint = upstream.picked.endpoint();
        if let Some(at) = tries.awaited.iter().position(|it| Arc::ptr_eq(it, endpoint)) {
            tries.awaited.swap_remove(at);
        }
        let ended = match made {
            Ok(response) => Ok(response),
            Err(FailedTry::Failed(failed)) => Err(failed),
            Err(FailedTry::Stale) if tries.stale < STALE_CONNECTIONS_MAX && !tries.has_body => {
                tries.stale += 1;
                exchange.report_of(&mut upstream, Outcome::Abandoned, now);
                tries.tried.retain(|it| !Arc::ptr_eq(it, upstream.picked.endpoint()));
                self.begins.push(now);
                return None;
            }
            Err(FailedTry::Stale) => Err(tries.too_stale()),
        };
        if let Err(failed) = &ended {
            exchange.transport_failure.clone_from(&failed.transport_failure);
            exchange.report_of(&mut upstream, failed.outcome, now);
        }
        let flags = exchange.flags;
        let decision = tries.decide(&ended, exchange, now);
        let ended_try = EndedTry { answered: ended.is_ok(), hedged: running.hedged };
        match self.hedge.end_try(ended_try, decision) {
            HedgeVerdict::Use => {
                exchange.upstream = Some(upstream);
                self.running.clear();
                tries.awaited.clear();
                Some(ended.map_err(|failed| tries.refused(&failed, exchange)))
            }
            verdict => {
                // What there is to say about this try is not said of the request.
                exchange.flags = flags;
                if let Ok(response) = ended {
                    exchange.report_of(&mut upstream, response_outcome(&response), now);
                    throw_away(response, &mut upstream, exchange, now);
                }
                if let HedgeVerdict::Retry(wait) = verdict {
                    tries.begin_retry(exchange);
                    self.hedge.begin_try();
                    self.begins.push(now + wait);
                }
                None
            }
        }
    }
}

/// There is nothing to try it on.
const NO_ENDPOINT: Retry = Retry::No(traffic::RefusedRetry::NotUpstream);

fn authority(tries: &Tries<'_>, upstream: &Upstream) -> HeaderValue {
    let own =
        tries.takes_hostname.then(|| tries.cluster.hostname(upstream.picked.endpoint())).flatten();
    own.unwrap_or(&tries.authority).clone()
}

/// The head of a request with another body.
fn copy(request: &Request<RequestBody>, body: Option<RequestBody>) -> Request<RequestBody> {
    Request::from_parts(Box::new(request.head().clone()), body.unwrap_or(RequestBody::Empty))
}
