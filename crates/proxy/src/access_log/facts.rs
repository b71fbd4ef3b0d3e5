//! What there is to say about a request or a connection, as formats and conditions ask for it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use codec::message::{FieldValue, HeaderMap};
use http::{HeaderName, HeaderValue, Method, Uri, Version};
use traffic::{
    AddressFact, Facts, NumberFact, Pseudo, RequestFields, ResponseFlag, ResponseFlags, TextFact,
    TimePoint, TlsFact,
};

use crate::exchange::Exchange;
use crate::opening::ClientFacts;
use crate::upstream::UpstreamVersion;

/// The head of a request as far as it is still there.
#[derive(Clone, Copy)]
pub(crate) struct RequestHead<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) version: Version,
    pub(crate) authority: Option<&'a HeaderValue>,
    pub(crate) headers: &'a HeaderMap,
}

/// What there is to say about a request, at any time of its life.
pub(crate) struct ExchangeFacts<'a> {
    pub(crate) exchange: &'a Exchange,
    /// `None` when nobody asks for anything of it.
    pub(crate) request: Option<RequestHead<'a>>,
    pub(crate) response: Option<&'a HeaderMap>,
    pub(crate) now: Instant,
}

impl RequestFields for ExchangeFacts<'_> {
    fn pseudo(&self, which: Pseudo) -> Option<Cow<'_, str>> {
        let head = self.request.as_ref()?;
        match which {
            Pseudo::Method => Some(head.method.as_str().into()),
            Pseudo::Path => Some(head.uri.path_and_query()?.as_str().into()),
            Pseudo::Authority => text(head.authority?.as_bytes()).map(Cow::Borrowed),
            Pseudo::Scheme => Some(if self.exchange.is_https { "https" } else { "http" }.into()),
        }
    }

    fn all<'a>(&'a self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
        let headers = self.request.as_ref().map(|it| it.headers.get_all(name.as_str()));
        headers.into_iter().flatten().map(FieldValue::as_bytes)
    }
}

impl Facts for ExchangeFacts<'_> {
    fn start_unix_ns(&self) -> u64 {
        let since = nanos(self.now.saturating_duration_since(self.exchange.started));
        (runtime::unix_ms() * 1_000_000).saturating_sub(since)
    }

    fn time(&self, point: TimePoint) -> Option<u64> {
        let exchange = self.exchange;
        let kept = exchange.kept.as_ref();
        let at = match point {
            TimePoint::DownstreamRxBegin => exchange.started,
            TimePoint::DownstreamRxEnd => match &exchange.request {
                Some(request) => request.ended_at.get()?,
                None => exchange.started,
            },
            TimePoint::UpstreamTxBegin => kept?.sent_at?,
            TimePoint::UpstreamRxBegin => kept?.sent_at? + exchange.service_time?,
            TimePoint::UpstreamRxEnd if exchange.service_time.is_some() => self.now,
            TimePoint::DownstreamTxBegin => kept?.answered_at?,
            TimePoint::DownstreamTxEnd | TimePoint::End => self.now,
            TimePoint::UpstreamConnectBegin
            | TimePoint::UpstreamConnectEnd
            | TimePoint::UpstreamHandshakeEnd
            | TimePoint::UpstreamTxEnd
            | TimePoint::UpstreamRxEnd => return None,
        };
        Some(nanos(at.saturating_duration_since(exchange.started)))
    }

    fn text(&self, fact: TextFact) -> Option<&str> {
        let exchange = self.exchange;
        let client = &exchange.client.facts;
        match fact {
            TextFact::Protocol => self.request.as_ref().map(|it| protocol(it.version)),
            TextFact::UpstreamProtocol => {
                exchange.kept.as_ref()?.upstream_version.map(|it| match it {
                    UpstreamVersion::Http1 => "HTTP/1.1",
                    UpstreamVersion::Http2 => "HTTP/2",
                })
            }
            TextFact::ResponseCodeDetails => {
                Some(exchange.details).filter(|details| !details.is_empty())
            }
            TextFact::UpstreamTransportFailureReason => exchange.transport_failure.as_deref(),
            TextFact::UpstreamCluster => exchange.cluster.as_ref().map(|it| it.state.name()),
            TextFact::RouteName => exchange.route().map(|(router, at)| &*router.routes()[at].name),
            TextFact::VirtualHostName => {
                exchange.route().map(|(router, at)| router.virtual_host_name(at))
            }
            TextFact::RequestedServerName => client.server_name.as_deref(),
            TextFact::Hostname => Some(host_name()),
            TextFact::FilterChainName => Some(&exchange.view.chain().name),
            TextFact::DownstreamTls(fact) => tls(client, fact),
            TextFact::ConnectionTerminationDetails
            | TextFact::DownstreamTransportFailureReason
            | TextFact::UpstreamHostName
            | TextFact::VirtualClusterName
            | TextFact::StreamId
            | TextFact::TraceId
            | TextFact::UpstreamTls(_) => None,
        }
    }

    fn number(&self, fact: NumberFact) -> Option<u64> {
        let exchange = self.exchange;
        match fact {
            NumberFact::ResponseCode => Some(exchange.status.into()),
            NumberFact::BytesReceived => {
                Some(exchange.request.as_ref().map_or(0, |it| it.bytes.get()))
            }
            NumberFact::BytesSent => Some(exchange.bytes_sent),
            NumberFact::UpstreamRequestAttemptCount => {
                let tries = exchange.upstream.as_ref().map_or(0, |_| exchange.retries + 1);
                Some(tries.into())
            }
            NumberFact::RequestHeadersBytes
            | NumberFact::ResponseHeadersBytes
            | NumberFact::ResponseTrailersBytes
            | NumberFact::ConnectionId
            | NumberFact::UpstreamConnectionId => None,
        }
    }

    fn address(&self, fact: AddressFact) -> Option<SocketAddr> {
        let exchange = self.exchange;
        let upstream = || exchange.upstream.as_ref()?.picked.endpoint().socket_address();
        match fact {
            AddressFact::UpstreamHost => upstream(),
            AddressFact::UpstreamLocal => None,
            AddressFact::DownstreamRemote => Some(exchange.remote),
            AddressFact::DownstreamDirectRemote => Some(exchange.client.facts.direct_remote),
            AddressFact::DownstreamLocal => Some(exchange.client.facts.local),
        }
    }

    fn flags(&self) -> ResponseFlags {
        self.exchange.flags
    }

    fn response_header(&self, name: &HeaderName) -> Option<&[u8]> {
        Some(self.response?.get(name)?.as_bytes())
    }

    fn response_trailer(&self, name: &HeaderName) -> Option<&[u8]> {
        Some(self.exchange.kept.as_ref()?.trailers.as_ref()?.get(name)?.as_bytes())
    }

    fn environment(&self, name: &str) -> Option<&str> {
        environment(name)
    }
}

/// What there is to say about a connection whose bytes are passed on.
pub(crate) struct Connection<'a> {
    pub(crate) client: &'a ClientFacts,
    pub(crate) chain: &'a str,
    pub(crate) cluster: Option<&'a str>,
    pub(crate) start_unix_ms: u64,
    pub(crate) duration: Duration,
    pub(crate) flags: ResponseFlags,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) upstream_host: Option<SocketAddr>,
}

impl RequestFields for Connection<'_> {
    /// Envoy's default line shows the server name where that of a request shows its host.
    fn pseudo(&self, which: Pseudo) -> Option<Cow<'_, str>> {
        match which {
            Pseudo::Authority => self.client.server_name.as_deref().map(Cow::Borrowed),
            Pseudo::Method | Pseudo::Path | Pseudo::Scheme => None,
        }
    }

    fn all<'a>(&'a self, _: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
        std::iter::empty()
    }
}

impl Facts for Connection<'_> {
    fn start_unix_ns(&self) -> u64 {
        self.start_unix_ms * 1_000_000
    }

    fn time(&self, point: TimePoint) -> Option<u64> {
        match point {
            TimePoint::DownstreamRxBegin => Some(0),
            TimePoint::DownstreamRxEnd | TimePoint::DownstreamTxEnd | TimePoint::End => {
                Some(nanos(self.duration))
            }
            TimePoint::UpstreamConnectBegin
            | TimePoint::UpstreamConnectEnd
            | TimePoint::UpstreamHandshakeEnd
            | TimePoint::UpstreamTxBegin
            | TimePoint::UpstreamTxEnd
            | TimePoint::UpstreamRxBegin
            | TimePoint::UpstreamRxEnd
            | TimePoint::DownstreamTxBegin => None,
        }
    }

    fn text(&self, fact: TextFact) -> Option<&str> {
        match fact {
            TextFact::UpstreamCluster => self.cluster,
            TextFact::RequestedServerName => self.client.server_name.as_deref(),
            TextFact::Hostname => Some(host_name()),
            TextFact::FilterChainName => Some(self.chain),
            TextFact::DownstreamTls(fact) => tls(self.client, fact),
            _ => None,
        }
    }

    fn number(&self, fact: NumberFact) -> Option<u64> {
        match fact {
            NumberFact::ResponseCode => Some(0),
            NumberFact::BytesReceived => Some(self.bytes_received),
            NumberFact::BytesSent => Some(self.bytes_sent),
            _ => None,
        }
    }

    fn address(&self, fact: AddressFact) -> Option<SocketAddr> {
        match fact {
            AddressFact::UpstreamHost => self.upstream_host,
            AddressFact::UpstreamLocal => None,
            AddressFact::DownstreamRemote => Some(self.client.remote),
            AddressFact::DownstreamDirectRemote => Some(self.client.direct_remote),
            AddressFact::DownstreamLocal => Some(self.client.local),
        }
    }

    fn flags(&self) -> ResponseFlags {
        self.flags
    }

    fn response_header(&self, _: &HeaderName) -> Option<&[u8]> {
        None
    }

    fn response_trailer(&self, _: &HeaderName) -> Option<&[u8]> {
        None
    }

    fn environment(&self, name: &str) -> Option<&str> {
        environment(name)
    }
}

/// What there is to say about a request that could not be read.
pub(crate) struct Unread<'a> {
    pub(crate) client: &'a ClientFacts,
    pub(crate) protocol: &'static str,
    pub(crate) status: u16,
}

impl RequestFields for Unread<'_> {
    fn pseudo(&self, _: Pseudo) -> Option<Cow<'_, str>> {
        None
    }

    fn all<'a>(&'a self, _: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
        std::iter::empty()
    }
}

impl Facts for Unread<'_> {
    fn start_unix_ns(&self) -> u64 {
        runtime::unix_ms() * 1_000_000
    }

    fn time(&self, point: TimePoint) -> Option<u64> {
        matches!(point, TimePoint::DownstreamRxBegin | TimePoint::End).then_some(0)
    }

    fn text(&self, fact: TextFact) -> Option<&str> {
        match fact {
            TextFact::Protocol => Some(self.protocol),
            TextFact::ResponseCodeDetails => Some("codec_error"),
            TextFact::RequestedServerName => self.client.server_name.as_deref(),
            TextFact::Hostname => Some(host_name()),
            TextFact::DownstreamTls(fact) => tls(self.client, fact),
            _ => None,
        }
    }

    fn number(&self, fact: NumberFact) -> Option<u64> {
        match fact {
            NumberFact::ResponseCode => Some(self.status.into()),
            NumberFact::BytesReceived | NumberFact::BytesSent => Some(0),
            _ => None,
        }
    }

    fn address(&self, fact: AddressFact) -> Option<SocketAddr> {
        match fact {
            AddressFact::UpstreamHost | AddressFact::UpstreamLocal => None,
            AddressFact::DownstreamRemote => Some(self.client.remote),
            AddressFact::DownstreamDirectRemote => Some(self.client.direct_remote),
            AddressFact::DownstreamLocal => Some(self.client.local),
        }
    }

    fn flags(&self) -> ResponseFlags {
        ResponseFlag::DownstreamProtocolError.into()
    }

    fn response_header(&self, _: &HeaderName) -> Option<&[u8]> {
        None
    }

    fn response_trailer(&self, _: &HeaderName) -> Option<&[u8]> {
        None
    }

    fn environment(&self, name: &str) -> Option<&str> {
        environment(name)
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

fn tls(client: &ClientFacts, fact: TlsFact) -> Option<&str> {
    let tls = client.tls.as_ref()?;
    let peer = tls.peer.as_ref();
    match fact {
        TlsFact::Version => Some(tls.version),
        TlsFact::Cipher => tls.cipher?.as_str(),
        TlsFact::PeerSubject => Some(&peer?.subject),
        TlsFact::PeerUriSan => peer?.uris.first().map(String::as_str),
        TlsFact::PeerDnsSan => peer?.dns_names.first().map(String::as_str),
        TlsFact::PeerFingerprint256 => Some(&peer?.fingerprint),
        TlsFact::SessionId
        | TlsFact::PeerIssuer
        | TlsFact::PeerFingerprint1
        | TlsFact::PeerSerial
        | TlsFact::PeerCertificate
        | TlsFact::LocalSubject
        | TlsFact::LocalUriSan
        | TlsFact::LocalDnsSan => None,
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn host_name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        name.trim().to_owned()
    })
}

/// The environment does not change while the process runs.
fn environment(name: &str) -> Option<&'static str> {
    static VARIABLES: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    let all = VARIABLES.get_or_init(|| {
        let text = |it: std::ffi::OsString| it.into_string().ok();
        std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect()
    });
    all.get(name).map(String::as_str)
}
