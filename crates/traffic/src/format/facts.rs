//! What there is to say about a request.

use std::net::SocketAddr;

use http::HeaderName;

use crate::ResponseFlags;
use crate::matching::RequestFields;

/// What there is to say about a request (or a connection, where it is all that there is). All by
/// reference; what a shell does not know, it does not say.
pub trait Facts: RequestFields {
    /// When it began, in nanoseconds since the Unix epoch.
    fn start_unix_ns(&self) -> u64;

    /// When something happened, in nanoseconds since it began.
    fn time(&self, point: TimePoint) -> Option<u64>;

    /// A text.
    fn text(&self, fact: TextFact) -> Option<&str>;

    /// A number.
    fn number(&self, fact: NumberFact) -> Option<u64>;

    /// An address.
    fn address(&self, fact: AddressFact) -> Option<SocketAddr>;

    /// Why the response is not what the endpoint said.
    fn flags(&self) -> ResponseFlags;

    /// The first value of a response header.
    fn response_header(&self, name: &HeaderName) -> Option<&[u8]>;

    /// The first value of a trailer of the response.
    fn response_trailer(&self, name: &HeaderName) -> Option<&[u8]>;

    /// A variable of the process's environment.
    fn environment(&self, name: &str) -> Option<&str>;

    /// The gRPC status: in the trailers, or in the head of a response that has nothing else. `None`
    /// when there is none or it is no number.
    fn grpc_status(&self) -> Option<u64> {
        const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
        let value =
            self.response_trailer(&GRPC_STATUS).or_else(|| self.response_header(&GRPC_STATUS))?;
        std::str::from_utf8(value).ok()?.parse().ok()
    }
}

/// A moment in the life of a request. Downstream is the client's side, upstream the endpoint's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimePoint {
    /// First byte of the request from the client.
    DownstreamRxBegin,
    /// Last byte of the request from the client.
    DownstreamRxEnd,
    /// A connection to the endpoint is begun.
    UpstreamConnectBegin,
    /// It is there.
    UpstreamConnectEnd,
    /// Its TLS handshake is done.
    UpstreamHandshakeEnd,
    /// First byte of the request to the endpoint.
    UpstreamTxBegin,
    /// Last byte of the request to the endpoint.
    UpstreamTxEnd,
    /// First byte of the response from the endpoint.
    UpstreamRxBegin,
    /// Last byte of the response from the endpoint.
    UpstreamRxEnd,
    /// First byte of the response to the client.
    DownstreamTxBegin,
    /// Last byte of the response to the client.
    DownstreamTxEnd,
    /// The request is over, however it ended.
    End,
}

/// A text about a request. What its operator's name says is not said again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "they are Envoy's names, which its documentation explains")]
pub enum TextFact {
    Protocol,
    UpstreamProtocol,
    ResponseCodeDetails,
    ConnectionTerminationDetails,
    UpstreamTransportFailureReason,
    DownstreamTransportFailureReason,
    UpstreamCluster,
    UpstreamHostName,
    RouteName,
    VirtualHostName,
    VirtualClusterName,
    RequestedServerName,
    Hostname,
    FilterChainName,
    StreamId,
    TraceId,
    /// Of the connection with the client.
    DownstreamTls(TlsFact),
    /// Of the connection with the endpoint.
    UpstreamTls(TlsFact),
}

/// A text about a connection with TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "they are Envoy's names, which its documentation explains")]
pub enum TlsFact {
    Version,
    Cipher,
    SessionId,
    PeerSubject,
    PeerIssuer,
    PeerUriSan,
    PeerDnsSan,
    PeerFingerprint256,
    PeerFingerprint1,
    PeerSerial,
    PeerCertificate,
    LocalSubject,
    LocalUriSan,
    LocalDnsSan,
}

/// A number about a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NumberFact {
    /// Status; 0 when the client left before there was one.
    ResponseCode,
    /// Bytes of the request's body.
    BytesReceived,
    /// Bytes of the response's body.
    BytesSent,
    /// Bytes of the request's head, uncompressed.
    RequestHeadersBytes,
    /// Bytes of the response's head, uncompressed.
    ResponseHeadersBytes,
    /// Bytes of the response's trailers, uncompressed.
    ResponseTrailersBytes,
    /// How often it was sent to an endpoint.
    UpstreamRequestAttemptCount,
    /// Number of the connection with the client.
    ConnectionId,
    /// Number of the connection with the endpoint.
    UpstreamConnectionId,
}

/// An address about a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddressFact {
    /// The endpoint that answered, or was tried last.
    UpstreamHost,
    /// This end of the connection with it.
    UpstreamLocal,
    /// The client, as `x-forwarded-for` or the PROXY protocol say where they are believed.
    DownstreamRemote,
    /// The peer of the connection.
    DownstreamDirectRemote,
    /// This end of the connection with the client.
    DownstreamLocal,
}
