//! Answers that the proxy gives itself.

use bytes::Bytes;
use codec::message::{HeaderMap, Response};
use http::header::{ALLOW, CONTENT_TYPE, LOCATION, UPGRADE};
use http::{HeaderValue, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use traffic::{Redirector, ResponseFlag, normalized_host};

use crate::body::ResponseBody;
use crate::exchange::Exchange;
use crate::filters;
use crate::headers::{self, ENVOY_OVERLOADED, GRPC_MESSAGE, GRPC_STATUS};
use crate::response;

/// Why a request is not answered by an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    BadRequest(&'static str),
    TooManyHeaders,
    NoRoute,
    /// With the status that the route wants for it.
    NoCluster(u16),
    NoHealthyUpstream,
    Overflow,
    ConnectFailed,
    ConnectionBroken,
    NotHttp,
    TimedOut,
    StreamIdle,
    /// The stream has lasted as long as it may.
    TookTooLong,
    /// The body of the request is longer than the route allows.
    BodyTooLarge,
    /// The client broke off in the middle of the request's body.
    ClientGone,
}

impl Refusal {
    fn status(self) -> StatusCode {
        match self {
            Refusal::BadRequest(_) | Refusal::ClientGone => StatusCode::BAD_REQUEST,
            Refusal::TooManyHeaders => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Refusal::NoRoute => StatusCode::NOT_FOUND,
            Refusal::NoCluster(status) => {
                StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
            }
            Refusal::NoHealthyUpstream
            | Refusal::Overflow
            | Refusal::ConnectFailed
            | Refusal::ConnectionBroken => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::NotHttp => StatusCode::BAD_GATEWAY,
            Refusal::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Refusal::StreamIdle | Refusal::TookTooLong => StatusCode::REQUEST_TIMEOUT,
        }
    }

    pub(crate) fn flag(self) -> ResponseFlag {
        match self {
            Refusal::BadRequest(_) | Refusal::TooManyHeaders | Refusal::BodyTooLarge => {
                ResponseFlag::DownstreamProtocolError
            }
            Refusal::NoRoute => ResponseFlag::NoRouteFound,
            Refusal::NoCluster(_) => ResponseFlag::NoClusterFound,
            Refusal::NoHealthyUpstream => ResponseFlag::NoHealthyUpstream,
            Refusal::Overflow => ResponseFlag::UpstreamOverflow,
            Refusal::ConnectFailed => ResponseFlag::UpstreamConnectionFailure,
            Refusal::ConnectionBroken => ResponseFlag::UpstreamConnectionTermination,
            Refusal::NotHttp => ResponseFlag::UpstreamProtocolError,
            Refusal::TimedOut => ResponseFlag::UpstreamRequestTimeout,
            Refusal::StreamIdle => ResponseFlag::StreamIdleTimeout,
            Refusal::TookTooLong => ResponseFlag::DurationTimeout,
            Refusal::ClientGone => ResponseFlag::DownstreamConnectionTermination,
        }
    }

    /// Envoy's `response_code_details`.
    pub(crate) fn details(self) -> &'static str {
        match self {
            Refusal::BadRequest(_) => "http_request_invalid",
            Refusal::TooManyHeaders => "request_headers_too_large",
            Refusal::NoRoute => "route_not_found",
            Refusal::BodyTooLarge => "request_payload_too_large",
            Refusal::NoCluster(_) => "cluster_not_found",
            Refusal::NoHealthyUpstream => "no_healthy_upstream",
            Refusal::Overflow => "upstream_reset_before_response_started{overflow}",
            Refusal::ConnectFailed => "upstream_reset_before_response_started{connection_failure}",
            Refusal::ConnectionBroken => {
                "upstream_reset_before_response_started{connection_termination}"
            }
            Refusal::NotHttp => "upstream_reset_before_response_started{protocol_error}",
            Refusal::TimedOut => "upstream_response_timeout",
            Refusal::StreamIdle => "stream_idle_timeout",
            Refusal::TookTooLong => "max_duration_timeout",
            Refusal::ClientGone => "downstream_remote_disconnect",
        }
    }

    /// What gRPC makes of it.
    fn grpc_status(self) -> u8 {
        match self {
            Refusal::BadRequest(_) | Refusal::TooManyHeaders => grpc::INTERNAL,
            // What gRPC makes of 404.
            Refusal::NoRoute => grpc::UNIMPLEMENTED,
            Refusal::ClientGone => grpc::CANCELLED,
            Refusal::BodyTooLarge => grpc::RESOURCE_EXHAUSTED,
            Refusal::TimedOut | Refusal::StreamIdle | Refusal::TookTooLong => {
                grpc::DEADLINE_EXCEEDED
            }
            Refusal::NoCluster(_)
            | Refusal::NoHealthyUpstream
            | Refusal::Overflow
            | Refusal::ConnectFailed
            | Refusal::ConnectionBroken
            | Refusal::NotHttp => grpc::UNAVAILABLE,
        }
    }

    /// Envoy's texts, which people search for.
    fn text(self) -> &'static str {
        match self {
            Refusal::BadRequest(why) => why,
            Refusal::TooManyHeaders => "too many headers\n",
            Refusal::NoRoute => "no route for this host and path\n",
            Refusal::NoCluster(_) => "the route names a cluster that does not exist\n",
            Refusal::NoHealthyUpstream => "no healthy upstream",
            Refusal::Overflow => {
                "upstream connect error or disconnect/reset before headers. reset reason: overflow"
            }
            Refusal::ConnectFailed => {
                "upstream connect error or disconnect/reset before headers. \
                 reset reason: connection failure"
            }
            Refusal::ConnectionBroken => {
                "upstream connect error or disconnect/reset before headers. \
                 reset reason: connection termination"
            }
            Refusal::NotHttp => {
                "upstream connect error or disconnect/reset before headers. \
                 reset reason: protocol error"
            }
            Refusal::TimedOut => "upstream request timeout",
            Refusal::StreamIdle => "stream timeout",
            Refusal::TookTooLong => "downstream duration timeout",
            Refusal::BodyTooLarge => "Payload Too Large",
            Refusal::ClientGone => "the request broke off\n",
        }
    }
}

/// Statuses of gRPC.
mod grpc {
    pub(super) const CANCELLED: u8 = 1;
    pub(super) const UNKNOWN: u8 = 2;
    pub(super) const DEADLINE_EXCEEDED: u8 = 4;
    pub(super) const PERMISSION_DENIED: u8 = 7;
    pub(super) const RESOURCE_EXHAUSTED: u8 = 8;
    pub(super) const UNIMPLEMENTED: u8 = 12;
    pub(super) const INTERNAL: u8 = 13;
    pub(super) const UNAVAILABLE: u8 = 14;
    pub(super) const UNAUTHENTICATED: u8 = 16;
}

/// An answer of the proxy's own.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Envoy's `response_code_details`.
    details: &'static str,
    flag: Option<ResponseFlag>,
    pub(crate) headers: HeaderMap,
    content: Bytes,
    /// What a gRPC client is told; follows from `status` when `None`.
    grpc_status: Option<u8>,
}

impl Answer {
    /// Without a body.
    pub(crate) fn new(status: StatusCode, details: &'static str) -> Self {
        let (headers, content) = (HeaderMap::new(), Bytes::new());
        Self { status, details, flag: None, headers, content, grpc_status: None }
    }

    /// To a request that is refused.
    pub(crate) fn refusal(refusal: Refusal) -> Self {
        let answer = Self::new(refusal.status(), refusal.details()).flagged(refusal.flag());
        let mut answer = answer.saying(refusal.text()).grpc(refusal.grpc_status());
        if refusal == Refusal::Overflow {
            answer.headers.insert(ENVOY_OVERLOADED, HeaderValue::from_static("true"));
        }
        answer
    }

    /// To a client whose version of HTTP is too old here.
    pub(crate) fn upgrade_required() -> Self {
        let mut answer = Self::new(StatusCode::UPGRADE_REQUIRED, "low_version");
        answer.headers.insert(UPGRADE, HeaderValue::from_static("HTTP/1.1"));
        answer.flagged(ResponseFlag::DownstreamProtocolError).saying("HTTP/1.1 is needed here\n")
    }

    /// Sends the client elsewhere. `None` when that would be no address.
    pub(crate) fn redirect(status: u16, location: String, details: &'static str) -> Option<Self> {
        let status = StatusCode::from_u16(status).ok()?;
        let mut answer = Self::new(status, details);
        answer.headers.insert(LOCATION, HeaderValue::try_from(location).ok()?);
        Some(answer)
    }

    /// Sends the client where a route says.
    pub(crate) fn redirect_by(
        redirector: &Redirector,
        is_https: bool,
        host: &str,
        (path, query): (&str, Option<&str>),
    ) -> Option<Self> {
        let location = redirector.location(is_https, host, path, query);
        Self::redirect(redirector.status(), location, "direct_response")
    }

    /// To a request whose last recipient is this proxy.
    pub(crate) fn options() -> Self {
        let mut answer = Self::new(StatusCode::OK, "max_forwards");
        let all = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE";
        answer.headers.insert(ALLOW, HeaderValue::from_static(all));
        answer
    }

    pub(crate) fn flagged(mut self, flag: ResponseFlag) -> Self {
        self.flag = Some(flag);
        self
    }

    pub(crate) fn saying(mut self, text: &'static str) -> Self {
        self.content = Bytes::from_static(text.as_bytes());
        self
    }

    pub(crate) fn with(mut self, headers: HeaderMap) -> Self {
        self.headers = headers;
        self
    }

    pub(crate) fn containing(mut self, content: impl Into<Bytes>) -> Self {
        self.content = content.into();
        self
    }

    /// What a gRPC client is told.
    pub(crate) fn grpc(mut self, status: u8) -> Self {
        self.grpc_status = Some(status);
        self
    }

    /// What a gRPC client makes of it where nothing else is said (gRPC, "HTTP to gRPC status code mapping").
    fn told_grpc_status(&self) -> u8 {
        self.grpc_status.unwrap_or(match self.status.as_u16() {
            400 => grpc::INTERNAL,
            401 => grpc::UNAUTHENTICATED,
            403 => grpc::PERMISSION_DENIED,
            404 => grpc::UNIMPLEMENTED,
            408 | 504 if self.flag.is_none() => grpc::DEADLINE_EXCEEDED,
            429 | 502..=504 => grpc::UNAVAILABLE,
            _ => grpc::UNKNOWN,
        })
    }

    /// The answer to a request whose exchange has ended.
    pub(crate) fn alone(self, is_grpc: bool) -> Response<ResponseBody> {
        let answer = if is_grpc { self.into_grpc() } else { self };
        let Answer { status, mut headers, content, .. } = answer;
        filters::plain_text(&mut headers, &content);
        let mut response = Response::new(ResponseBody::last_words(content));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    /// gRPC clients read the status from the trailers, which may come at once (a "trailers-only" response).
    fn into_grpc(mut self) -> Self {
        let status = self.told_grpc_status();
        let content = std::mem::take(&mut self.content);
        let reason = String::from_utf8_lossy(content.trim_ascii());
        let message = utf8_percent_encode(&reason, GRPC_MESSAGE_ENCODED).to_string();
        let message = HeaderValue::try_from(message).expect("what is encoded is printable ASCII");
        self.status = StatusCode::OK;
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        self.headers.insert(GRPC_STATUS, headers::number(status.into()));
        self.headers.insert(GRPC_MESSAGE, message);
        self
    }
}

/// What gRPC percent-encodes in a status message: all but printable ASCII, and the percent sign.
const GRPC_MESSAGE_ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// The answer to a request that is refused.
pub(crate) fn refuse(refusal: Refusal, exchange: Box<Exchange>) -> Response<ResponseBody> {
    answer(Answer::refusal(refusal), exchange)
}

/// Longest host or path that is repeated to the client, in characters. DNS allows 255.
const REPEATED_MAX: usize = 255;

/// The answer to a request that no route matches, which says what was looked for. Who asks for a service of the mesh
/// thinks in names.
pub(crate) fn no_route(host: &str, path: &str, is_unknown_service: bool) -> Answer {
    let host: String = normalized_host(host).chars().take(REPEATED_MAX).collect();
    let path: String = path.chars().take(REPEATED_MAX).collect();
    let reason = if is_unknown_service {
        format!("no service or document is known by the name {host:?}\n")
    } else {
        format!("no route for host {host:?} and path {path:?}\n")
    };
    Answer::refusal(Refusal::NoRoute).containing(reason)
}

/// The answer to a `CONNECT` whose tunnel does not come about: 502, for the way on is what failed.
pub(crate) fn refuse_connect(refusal: Refusal, exchange: Box<Exchange>) -> Response<ResponseBody> {
    let answered = Answer { status: StatusCode::BAD_GATEWAY, ..Answer::refusal(refusal) };
    answer(answered, exchange)
}

/// Answers a request, in the way that its client understands.
pub(crate) fn answer(answer: Answer, mut exchange: Box<Exchange>) -> Response<ResponseBody> {
    let is_grpc = exchange.is_grpc
        && (answer.grpc_status.is_some() || !answer.status.is_success())
        && !answer.status.is_redirection();
    if let Some(flag) = answer.flag {
        exchange.flags.insert(flag);
    }
    exchange.details = answer.details;
    let answer = if is_grpc { answer.into_grpc() } else { answer };
    let Answer { status, mut headers, content, .. } = answer;
    filters::plain_text(&mut headers, &content);
    send(status, headers, content, exchange)
}

/// A response with a body that is at hand.
pub(crate) fn respond(
    status: StatusCode,
    content: Bytes,
    exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    send(status, HeaderMap::new(), content, exchange)
}

fn send(
    status: StatusCode,
    mut headers: HeaderMap,
    content: Bytes,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    exchange.status = status.as_u16();
    let encoder =
        response::finish_head(status, &mut headers, Some(content.len() as u64), &mut exchange);
    let mut response = Response::new(ResponseBody::full(content, exchange, encoder));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
