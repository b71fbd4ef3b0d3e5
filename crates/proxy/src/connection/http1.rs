//! A client connection that speaks HTTP/1: one task reads a request, has it answered, writes the response, and begins
//! again. Between two requests it holds no buffer.

mod form;
mod socket;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::BufMut;
use codec::http1::{self, Framing, HeadError, RequestHead};
use codec::message::{HeaderMap, Request, RequestParts, Response};
use http::header::{CONNECTION, TE, UPGRADE};
use http::{HeaderValue, Method, Version};
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::WaitForCancellationFuture;

pub(crate) use self::socket::{RequestReader, Socket};

use self::form::{Form, announce, form};
use super::Client;
use super::phase::{Limits, Phase};
use crate::body::ResponseBody;
use crate::buffers;
use crate::frame::{Body, Frame};
use crate::headers;
use crate::incoming::{Upgrade, Upgraded};
use crate::{observe, request};

/// Bytes of a request that nobody wants that are read away, so that the connection can be used for another one, or so
/// that closing it does not reset it before the client has read the answer; and for how long.
const UNREAD_BYTES_MAX: usize = 64 * 1024;
const UNREAD_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves a connection to its end.
pub(super) async fn serve(client: &Rc<Client>, limits: Limits) -> io::Result<()> {
    let Some(socket) = &client.http1 else { return Ok(()) };
    let closing = pin!(client.slot.closing.cancelled());
    let timer = pin!(sleep(limits.idle.min(limits.look())));
    let mut driver = Driver {
        client,
        socket,
        limits,
        phase: Phase::First { since: runtime::monotonic() },
        closing,
        is_woken_to_close: false,
        closing_since: None,
        ends_at: limits.ends_at(runtime::monotonic()),
        timer,
    };
    let ended = driver.run().await;
    // Who still reads a body of this connection must not wait for it.
    socket.close();
    ended
}

struct Driver<'a, 't> {
    client: &'a Rc<Client>,
    socket: &'a Socket,
    limits: Limits,
    phase: Phase,
    closing: Pin<&'t mut WaitForCancellationFuture<'a>>,
    is_woken_to_close: bool,
    closing_since: Option<Instant>,
    /// When it takes no more requests, whatever the listener does.
    ends_at: Option<Instant>,
    /// Looked at only when it fires or must fire earlier than it is set to.
    timer: Pin<&'t mut Sleep>,
}

/// What comes after a request was answered.
enum Next {
    Request,
    /// Nothing; what the client has still sent is of no use, if there may be anything.
    Close {
        lingers: bool,
    },
    /// Nothing, at once: the client has gone or is not waited for any longer.
    Gone,
}

/// How sending a response ended.
enum Sent {
    Whole,
    /// Its sender broke off.
    Broken,
    /// The client has gone or is not waited for any longer.
    Gone,
}

impl Driver<'_, '_> {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            let head = match poll_fn(|cx| self.poll_arrival(cx)).await {
                Ok(Some(head)) => head,
                Err(error) => {
                    self.reject(error);
                    self.close(true).await;
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
                Ok(None) => {
                    self.close(false).await;
                    return Ok(());
                }
            };
            match self.serve_one(head).await {
                Next::Request => {}
                Next::Close { lingers } => {
                    self.close(lingers).await;
                    return Ok(());
                }
                Next::Gone => return Ok(()),
            }
        }
    }

    /// The next request; `None` when there is none, or no more time for it.
    fn poll_arrival(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<RequestHead>, HeadError>> {
        self.poll_closing(cx);
        if let Poll::Ready(arrival) = self.socket.poll_request(cx) {
            return Poll::Ready(arrival);
        }
        if matches!(self.phase, Phase::First { .. } | Phase::Idle { .. }) && self.socket.has_input()
        {
            self.phase = Phase::Head { since: runtime::monotonic() };
        }
        self.poll_time(cx).map(|()| Ok(None))
    }

    async fn serve_one(&mut self, head: RequestHead) -> Next {
        self.phase = Phase::Busy;
        self.look_at_end();
        let RequestHead { method, uri, version, headers, keep_alive, .. } = head;
        let is_upgrade = method == Method::CONNECT || headers.contains_key(UPGRADE);
        let (give_up, upgrade) = match is_upgrade.then(oneshot::channel) {
            Some((give_up, taken)) => (Some(give_up), Some(Upgrade::Http1(taken))),
            None => (None, None),
        };
        let accepts_trailers = headers::has_token(&headers, &TE, "trailers");
        let parts = RequestParts { method: method.clone(), uri, version, headers, protocol: None };
        let request = Request::from_parts(Box::new(parts), self.socket.body(self.client));
        let response = {
            // In its place, although it is large: into a box it would be copied, for each request.
            let mut answer = pin!(request::answer(self.client.clone(), request, upgrade));
            poll_fn(|cx| self.poll_answer(cx, answer.as_mut())).await
        };
        let Some(response) = response else { return Next::Gone };
        let (mut parts, mut body) = response.into_parts();
        let mut form = form(&method, version, parts.status, &parts.headers, &body);
        form.has_trailers = accepts_trailers;
        let goes_on = keep_alive && self.goes_on(form, &parts.headers);
        form.is_last = !goes_on && !form.is_switching;
        if !form.is_switching {
            announce(&mut parts.headers, version, goes_on);
        }
        self.socket.begin_response();
        let date = self.client.worker.http_date();
        self.socket.write(|out| {
            let (out, headers) = (out.head(), &parts.headers);
            http1::response_head(out, version, parts.status, headers, form.framing, Some(&date));
        });
        buffers::put_map(&mut parts.headers);
        let mut is_ended = !form.has_content;
        let sent = poll_fn(|cx| self.poll_send(cx, &mut body, form, &mut is_ended)).await;
        drop(body);
        match sent {
            Sent::Gone => Next::Gone,
            Sent::Broken => {
                // A response without a length would look whole.
                if form.framing == Framing::Silent {
                    self.socket.reset();
                }
                Next::Gone
            }
            Sent::Whole if form.is_switching => self.give_up(give_up),
            Sent::Whole => self.after(goes_on).await,
        }
    }

    /// Makes this request the last one, when the connection has had its time or its number of them.
    fn look_at_end(&mut self) {
        let client = self.client;
        if client.is_closing.get() {
            return;
        }
        let counters = || client.slot.view();
        if self.limits.are_enough(client.requests_begun.get() + 1) {
            counters().http_counters.downstream_cx_max_requests_reached.inc();
            client.is_closing.set(true);
        } else if self.ends_at.is_some_and(|at| at <= runtime::monotonic()) {
            counters().http_counters.downstream_cx_max_duration_reached.inc();
            client.is_closing.set(true);
        }
    }

    /// When the connection has waited long enough for what it is waiting for.
    fn deadline(&self) -> Option<Instant> {
        let deadline = self.phase.deadline(self.limits, self.closing_since);
        match (self.phase, self.ends_at) {
            (Phase::First { .. } | Phase::Idle { .. }, Some(end)) => {
                Some(deadline.map_or(end, |it| it.min(end)))
            }
            (_, _) => deadline,
        }
    }

    /// `None` when the client is not waited for any longer.
    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        answer: Pin<&mut impl Future<Output = Response<ResponseBody>>>,
    ) -> Poll<Option<Response<ResponseBody>>> {
        self.poll_closing(cx);
        if let Poll::Ready(response) = answer.poll(cx) {
            return Poll::Ready(Some(response));
        }
        self.poll_waiting(cx).map(|()| None)
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut ResponseBody,
        form: Form,
        is_ended: &mut bool,
    ) -> Poll<Sent> {
        let is_chunked = form.framing == Framing::Chunked;
        loop {
            if *is_ended && form.is_last {
                self.socket.begin_end();
            }
            if *is_ended || self.socket.is_full() {
                match self.socket.poll_flush(cx) {
                    Poll::Ready(Ok(())) if *is_ended => return Poll::Ready(Sent::Whole),
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Sent::Gone),
                    Poll::Pending => {
                        body.poll_upload(cx);
                        return self.poll_time(cx).map(|()| Sent::Gone);
                    }
                }
                continue;
            }
            let frame = match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => return self.poll_waiting(cx).map(|()| Sent::Gone),
            };
            let trailers = match frame {
                None => None,
                Some(Err(_)) => {
                    // What came before it is sent, as far as the client takes it.
                    let _ = self.socket.poll_flush(cx);
                    return Poll::Ready(Sent::Broken);
                }
                Some(Ok(Frame::Data(data))) => {
                    self.socket.write(|out| out.push(data, is_chunked));
                    if !body.is_end_stream() {
                        continue;
                    }
                    None
                }
                Some(Ok(Frame::Trailers(trailers))) => Some(trailers),
            };
            *is_ended = true;
            if is_chunked {
                self.socket.write(|out| match &trailers {
                    Some(trailers) if form.has_trailers => out.push_trailers(trailers),
                    Some(_) | None => out.push_last_chunk(),
                });
            }
        }
    }

    /// While others are waited for: sends what there is to send, and looks after the client. Ready when it is not waited
    /// for any longer.
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Poll::Ready(Err(_)) = self.socket.poll_flush(cx) {
            return Poll::Ready(());
        }
        if self.socket.poll_gone(cx).is_ready() {
            return Poll::Ready(());
        }
        self.poll_time(cx)
    }

    /// Whether another request may follow, as far as can be told before the response is sent.
    fn goes_on(&self, form: Form, headers: &HeaderMap) -> bool {
        let is_until_close = form.has_content && form.framing == Framing::Silent;
        !form.is_switching
            && !is_until_close
            && !self.client.is_closing.get()
            && !headers::has_token(headers, &CONNECTION, "close")
            && self.socket.can_go_on(UNREAD_BYTES_MAX as u64)
    }

    fn give_up(&self, to: Option<oneshot::Sender<Upgraded>>) -> Next {
        if let (Some(to), Some(stream)) = (to, self.socket.take()) {
            // Who has answered so but does not take it wants it closed.
            let _ = to.send(Upgraded::Http1(stream));
        }
        Next::Gone
    }

    async fn after(&mut self, goes_on: bool) -> Next {
        let is_read = if goes_on && !self.socket.is_body_ended() {
            let mut bytes_left = UNREAD_BYTES_MAX;
            let skipped = poll_fn(|cx| self.socket.poll_skip_body(cx, &mut bytes_left));
            Box::pin(tokio::time::timeout(UNREAD_TIMEOUT, skipped)).await.unwrap_or(false)
        } else {
            goes_on
        };
        if is_read {
            self.phase = Phase::Idle { since: self.client.worker.last_now() };
            return Next::Request;
        }
        Next::Close { lingers: !self.socket.is_body_ended() || self.socket.has_input() }
    }

    /// Answers what is no request.
    fn reject(&mut self, error: HeadError) {
        let status = error.status();
        let client = self.client;
        observe::rejected(client, status);
        let text = format!("{error}\n");
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers::announce_close(&mut headers);
        let date = client.worker.http_date();
        let framing = Framing::Length(text.len() as u64);
        self.socket.write(|out| {
            let out = out.head();
            http1::response_head(out, Version::HTTP_11, status, &headers, framing, Some(&date));
            out.put_slice(text.as_bytes());
        });
    }

    /// Sends what is left, says that nothing more comes, and waits for the client to close if it may still be sending:
    /// closing over unread bytes would reset the connection, and the client would lose the answer.
    async fn close(&mut self, lingers: bool) {
        self.phase = Phase::Ending { since: runtime::monotonic() };
        self.socket.begin_end();
        let is_closed = poll_fn(|cx| {
            let flushed = self.socket.poll_flush(cx);
            let closed = match flushed {
                // Without a wait in between, closing says it too.
                Poll::Ready(Ok(())) if lingers => self.socket.poll_shutdown(cx),
                Poll::Ready(_) | Poll::Pending => flushed,
            };
            match closed {
                Poll::Ready(closed) => Poll::Ready(closed.is_ok()),
                Poll::Pending => self.poll_time(cx).map(|()| false),
            }
        })
        .await;
        if is_closed && lingers {
            let mut bytes_left = UNREAD_BYTES_MAX;
            let discarded = poll_fn(|cx| self.socket.poll_discard(cx, &mut bytes_left));
            // How it ends does not matter any more.
            let _ = Box::pin(tokio::time::timeout(UNREAD_TIMEOUT, discarded)).await;
        }
    }

    fn poll_closing(&mut self, cx: &mut Context<'_>) {
        // Asked once, so that it wakes this task, which is the same as long as the connection lives.
        if !self.is_woken_to_close {
            self.is_woken_to_close = true;
            let _ = self.closing.as_mut().poll(cx);
        }
        if self.closing_since.is_none() && self.client.slot.is_closing() {
            self.closing_since = Some(runtime::monotonic());
            self.client.is_closing.set(true);
        }
    }

    /// Ready when the connection has waited long enough.
    fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_closing(cx);
        loop {
            match self.deadline() {
                Some(deadline) if tokio::time::Instant::from(deadline) < self.timer.deadline() => {
                    self.timer.as_mut().reset(deadline.into());
                }
                Some(_) | None => {}
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = runtime::monotonic();
            let deadline = self.deadline();
            let counters = || self.client.slot.view();
            match self.phase {
                Phase::Busy if self.is_stalled() && !self.limits.stream_idle.is_zero() => {
                    self.client.is_cut_idle.set(true);
                    return Poll::Ready(());
                }
                _ if deadline.is_none_or(|deadline| deadline > now) => {
                    let look = now + self.limits.look();
                    let next = deadline.map_or(look, |it| it.min(look));
                    self.timer.as_mut().reset(next.into());
                }
                Phase::First { .. } | Phase::Idle { .. }
                    if self.ends_at.is_some_and(|end| end <= now) =>
                {
                    counters().http_counters.downstream_cx_max_duration_reached.inc();
                    return Poll::Ready(());
                }
                Phase::First { .. } | Phase::Idle { .. } => {
                    counters().http_counters.downstream_cx_idle_timeout.inc();
                    return Poll::Ready(());
                }
                Phase::Head { .. } => {
                    counters().http_counters.downstream_rq_header_timeout.inc();
                    return Poll::Ready(());
                }
                Phase::Ending { .. } | Phase::Busy => return Poll::Ready(()),
            }
        }
    }

    fn is_stalled(&self) -> bool {
        self.client.is_stalled(self.socket.take_moved(), self.socket.is_write_blocked())
    }
}
