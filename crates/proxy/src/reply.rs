//! Answers that the proxy gives itself.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Response, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use traffic::{ResponseFlag, normalized_host};

use crate::body::ResponseBody;
use crate::exchange::Exchange;
use crate::headers::{self, ENVOY_OVERLOADED, GRPC_MESSAGE, GRPC_STATUS};

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

/// The answer to a request that is refused.
pub(crate) fn refuse(refusal: Refusal, mut exchange: Box<Exchange>) -> Response<ResponseBody> {
    exchange.flags.insert(refusal.flag());
    let reason = refusal.text();
    let mut response = if exchange.is_grpc {
        let message = HeaderValue::from_static(reason.trim_ascii());
        refuse_grpc(refusal, message, exchange)
    } else {
        text(refusal.status(), Bytes::from_static(reason.as_bytes()), exchange)
    };
    if refusal == Refusal::Overflow {
        response.headers_mut().insert(ENVOY_OVERLOADED, HeaderValue::from_static("true"));
    }
    response
}

/// Longest host or path that is repeated to the client, in characters. DNS allows 255.
const REPEATED_MAX: usize = 255;

/// The answer to a request that no route matches, which says what was looked for. Who asks for a service of the mesh
/// thinks in names.
pub(crate) fn no_route(
    host: &str,
    path: &str,
    is_unknown_service: bool,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    exchange.flags.insert(Refusal::NoRoute.flag());
    let host: String = normalized_host(host).chars().take(REPEATED_MAX).collect();
    let path: String = path.chars().take(REPEATED_MAX).collect();
    let reason = if is_unknown_service {
        format!("no service or document is known by the name {host:?}")
    } else {
        format!("no route for host {host:?} and path {path:?}")
    };
    if exchange.is_grpc {
        let encoded = utf8_percent_encode(&reason, GRPC_MESSAGE_ENCODED).to_string();
        let message = HeaderValue::try_from(encoded).expect("what is encoded is printable ASCII");
        return refuse_grpc(Refusal::NoRoute, message, exchange);
    }
    text(Refusal::NoRoute.status(), format!("{reason}\n").into(), exchange)
}

/// What gRPC percent-encodes in a status message: all but printable ASCII, and the percent sign.
const GRPC_MESSAGE_ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// gRPC clients read the status from the trailers, which may come at once (a "trailers-only" response).
fn refuse_grpc(
    refusal: Refusal,
    message: HeaderValue,
    exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    let status = match refusal {
        // INTERNAL
        Refusal::BadRequest(_) | Refusal::TooManyHeaders => "13",
        // RESOURCE_EXHAUSTED
        Refusal::BodyTooLarge => "8",
        // UNIMPLEMENTED, which is what gRPC makes of 404
        Refusal::NoRoute => "12",
        // CANCELLED
        Refusal::ClientGone => "1",
        // DEADLINE_EXCEEDED
        Refusal::TimedOut | Refusal::StreamIdle | Refusal::TookTooLong => "4",
        // UNAVAILABLE
        Refusal::NoCluster(_)
        | Refusal::NoHealthyUpstream
        | Refusal::Overflow
        | Refusal::ConnectFailed
        | Refusal::ConnectionBroken
        | Refusal::NotHttp => "14",
    };
    let mut response = respond(StatusCode::OK, Bytes::new(), exchange);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, HeaderValue::from_static(status));
    headers.insert(GRPC_MESSAGE, message);
    response
}

/// The answer to a `CONNECT` whose tunnel does not come about: 502, for the way on is what failed.
pub(crate) fn refuse_connect(
    refusal: Refusal,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    exchange.flags.insert(refusal.flag());
    text(StatusCode::BAD_GATEWAY, Bytes::from_static(refusal.text().as_bytes()), exchange)
}

/// A text.
pub(crate) fn text(
    status: StatusCode,
    content: Bytes,
    exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    let mut response = respond(status, content, exchange);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// A redirect to `https` with the same host and path.
pub(crate) fn redirect_to_https(
    status: u16,
    host: &str,
    port: u16,
    path_and_query: &str,
    exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let Ok(location) = HeaderValue::try_from(format!("https://{host}{port}{path_and_query}"))
    else {
        return refuse(Refusal::BadRequest("the host is not one\n"), exchange);
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::MOVED_PERMANENTLY);
    let mut response = respond(status, Bytes::new(), exchange);
    response.headers_mut().insert(LOCATION, location);
    response
}

/// A response with a body that is at hand.
pub(crate) fn respond(
    status: StatusCode,
    content: Bytes,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    exchange.status = status.as_u16();
    let is_closing = exchange.client.is_closing.get();
    let mut response = Response::new(ResponseBody::full(content, exchange));
    *response.status_mut() = status;
    if is_closing {
        headers::announce_close(response.headers_mut());
    }
    response
}
