use ::http::{Request, Response};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use proxy_config::HealthProbe;
use traffic::ProbeResult;

use super::probe::Subject;
use crate::tls::Offer;
use crate::upstream::UpstreamStream;

/// Bytes of a response's head. What says how an endpoint is needs no more.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Runs hyper's futures on the control thread.
#[derive(Clone, Copy, Debug)]
struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// The body of a probe.
pub(super) type ProbeBody = Full<Bytes>;

/// A connection that is kept from one probe to the next.
pub(super) enum Connection {
    Http1(http1::SendRequest<ProbeBody>),
    Http2(http2::SendRequest<ProbeBody>),
    Bytes(UpstreamStream),
}

/// Why a request got no response.
pub(super) enum NoResponse {
    /// None of it was sent: the connection had ended already.
    Unsent(Box<Request<ProbeBody>>),
    /// It was sent, and no whole response head came.
    Failed,
}

impl Connection {
    /// What the endpoint is offered where TLS is spoken.
    pub(super) fn offer(probe: &HealthProbe) -> Offer {
        match probe {
            HealthProbe::Http { http2: false, .. } => Offer::Http1,
            HealthProbe::Http { http2: true, .. } | HealthProbe::Grpc { .. } => Offer::Http2,
            HealthProbe::Tcp { .. } => Offer::Nothing,
        }
    }

    /// Opens a connection that speaks HTTP.
    pub(super) async fn http(subject: &Subject, is_http2: bool) -> Result<Self, ProbeResult> {
        let stream = TokioIo::new(subject.connect().await?);
        if is_http2 {
            let mut builder = http2::Builder::new(LocalExecutor);
            builder.timer(TokioTimer::new()).max_header_list_size(HEAD_BYTES_MAX as u32);
            let shaken = builder.handshake(stream).await;
            let (sender, connection) = shaken.map_err(|_| ProbeResult::NoAnswer)?;
            tokio::task::spawn_local(connection);
            return Ok(Connection::Http2(sender));
        }
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES_MAX);
        let shaken = builder.handshake(stream).await;
        let (sender, connection) = shaken.map_err(|_| ProbeResult::NoAnswer)?;
        tokio::task::spawn_local(connection);
        Ok(Connection::Http1(sender))
    }

    /// Sends a request and waits for the head of its response.
    pub(super) async fn send(
        &mut self,
        request: Request<ProbeBody>,
    ) -> Result<Response<Incoming>, NoResponse> {
        let sent = match self {
            Connection::Http1(sender) => match sender.ready().await {
                Ok(()) => sender.try_send_request(request).await,
                Err(_) => return Err(NoResponse::Unsent(Box::new(request))),
            },
            Connection::Http2(sender) => match sender.ready().await {
                Ok(()) => sender.try_send_request(request).await,
                Err(_) => return Err(NoResponse::Unsent(Box::new(request))),
            },
            Connection::Bytes(_) => return Err(NoResponse::Unsent(Box::new(request))),
        };
        sent.map_err(|mut error: TrySendError<_>| match error.take_message() {
            Some(request) => NoResponse::Unsent(Box::new(request)),
            None => NoResponse::Failed,
        })
    }
}

/// Sends a request over the connection that is kept, or over a new one when that has ended meanwhile. What is sent and
/// broken off is the endpoint's failure: a request is not repeated.
pub(super) async fn exchange(
    subject: &Subject,
    connection: &mut Option<Connection>,
    is_http2: bool,
    mut request: Request<ProbeBody>,
) -> Result<Response<Incoming>, ProbeResult> {
    if let Some(mut kept) = connection.take() {
        match kept.send(request).await {
            Ok(response) => {
                *connection = Some(kept);
                return Ok(response);
            }
            Err(NoResponse::Unsent(unsent)) => request = *unsent,
            Err(NoResponse::Failed) => return Err(ProbeResult::NoAnswer),
        }
    }
    let mut fresh = Connection::http(subject, is_http2).await?;
    let response = fresh.send(request).await.map_err(|_| ProbeResult::NoAnswer)?;
    *connection = Some(fresh);
    Ok(response)
}
