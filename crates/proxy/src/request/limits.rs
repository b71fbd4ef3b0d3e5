//! Limits of a request as a whole: to its own end, and to the end of its response.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use codec::message::Response;
use http::StatusCode;
use tokio::time::sleep_until;
use traffic::ResponseFlag;

use crate::body::{RequestProgress, ResponseBody};
use crate::connection::Client;
use crate::exchange::Exchange;
use crate::frame::Body;
use crate::incoming::Incoming;
use crate::reply::Answer;
use crate::rules::StreamLimits;
use crate::time_limit::Timer;

/// Which limit was reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Overdue {
    /// The request has not ended in time.
    Request,
    /// The response has not.
    Duration,
}

impl Overdue {
    /// Of the answer, where there is still one to be given. As in Envoy 408 says that the client was waited for.
    fn status(self, is_request_ended: bool) -> StatusCode {
        match self {
            Overdue::Duration if is_request_ended => StatusCode::GATEWAY_TIMEOUT,
            Overdue::Request | Overdue::Duration => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// Writes down why the exchange has ended.
    pub(crate) fn note(self, exchange: &mut Exchange) {
        match self {
            Overdue::Request => {
                exchange.details = "request_overall_timeout";
                exchange.view.http_counters.downstream_rq_timeout.inc();
            }
            Overdue::Duration => {
                exchange.details = "max_duration_timeout";
                exchange.flags.insert(ResponseFlag::DurationTimeout);
                exchange.view.http_counters.downstream_rq_max_duration_reached.inc();
            }
        }
    }

    /// Notes what the client is told of an exchange that ends without a response.
    pub(crate) fn conclude(self, exchange: &mut Exchange) {
        let is_request_ended =
            exchange.request.as_ref().is_none_or(|it| it.ended_at.get().is_some());
        exchange.status = self.status(is_request_ended).as_u16();
        self.note(exchange);
    }
}

/// When a request is broken off.
pub(crate) struct Deadline {
    /// Of the request's own end, unless that has come.
    request: Option<(Instant, Rc<RequestProgress>)>,
    duration: Option<Instant>,
    timer: Timer,
}

impl Deadline {
    /// `None` when there is nothing to wait for.
    fn new(
        limits: StreamLimits,
        began: Instant,
        progress: Option<&Rc<RequestProgress>>,
    ) -> Option<Box<Self>> {
        let request = progress
            .filter(|_| !limits.request.is_zero())
            .map(|it| (began + limits.request, it.clone()));
        let duration = (!limits.duration.is_zero()).then(|| began + limits.duration);
        let first = request.iter().map(|it| it.0).chain(duration).min()?;
        let timer = Box::pin(sleep_until(first.into()));
        Some(Box::new(Self { request, duration, timer }))
    }

    /// Ready when a limit is reached.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Overdue> {
        if self.request.as_ref().is_some_and(|it| it.1.ended_at.get().is_some()) {
            self.request = None;
        }
        let request = self.request.as_ref().map(|it| it.0);
        let Some(next) = request.into_iter().chain(self.duration).min() else {
            return Poll::Pending;
        };
        if self.timer.deadline() != next.into() {
            self.timer.as_mut().reset(next.into());
        }
        let overdue = if request == Some(next) { Overdue::Request } else { Overdue::Duration };
        self.timer.as_mut().poll(cx).map(|()| overdue)
    }
}

/// What a request is limited by.
pub(super) fn deadline(
    limits: StreamLimits,
    body: &Incoming,
    exchange: &mut Exchange,
) -> Option<Box<Deadline>> {
    if !body.is_end_stream() {
        exchange.request = Some(Rc::default());
    }
    Deadline::new(limits, exchange.started, exchange.request.as_ref())
}

/// Answers within the limits. `client` and `is_grpc` are those of the exchange that `answering` has.
pub(super) async fn within(
    mut deadline: Box<Deadline>,
    client: Rc<Client>,
    is_grpc: bool,
    answering: impl Future<Output = Response<ResponseBody>>,
) -> Response<ResponseBody> {
    let answered = {
        let mut answering = pin!(answering);
        poll_fn(|cx| {
            if let Poll::Ready(response) = answering.as_mut().poll(cx) {
                return Poll::Ready(Ok(response));
            }
            deadline.poll(cx).map(|overdue| {
                // Who is dropped now sees why.
                client.overdue.set(Some(overdue));
                Err((overdue, deadline.request.is_none()))
            })
        })
        .await
    };
    match answered {
        Ok(mut response) => {
            response.body_mut().end_by(deadline);
            response
        }
        Err((overdue, is_request_ended)) => {
            client.overdue.set(None);
            let text = match overdue {
                Overdue::Request => "request timeout",
                Overdue::Duration => "downstream duration timeout",
            };
            let answer = Answer::new(overdue.status(is_request_ended), "").saying(text);
            answer.alone(is_grpc)
        }
    }
}
