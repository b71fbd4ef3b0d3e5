//! A request that is about to be sent on, as hashes, conditions and header changes see it.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use codec::message::{FieldValue, HeaderMap};
use http::header::COOKIE;
use http::{HeaderName, HeaderValue, Method, Uri, Version};
use percent_encoding::percent_decode_str;
use traffic::{
    AddressFact, Facts, Fields, HashFacts, NumberFact, Pseudo, RequestFields, ResponseFlags,
    TextFact, TimePoint, query_value,
};

use crate::connection::Client;
use crate::headers::X_REQUEST_ID;

/// A request that is about to be sent on, or was answered.
#[derive(Clone, Copy)]
pub(super) struct Sending<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) version: Version,
    pub(super) headers: &'a HeaderMap,
    pub(super) authority: &'a HeaderValue,
    pub(super) client: &'a Client,
    pub(super) cluster: &'a str,
    pub(super) answer: Option<Answered<'a>>,
}

/// The head of the response.
#[derive(Clone, Copy)]
pub(super) struct Answered<'a> {
    pub(super) status: u16,
    pub(super) headers: &'a HeaderMap,
    pub(super) endpoint: Option<SocketAddr>,
}

impl Sending<'_> {
    fn path_and_query(&self) -> &str {
        self.uri.path_and_query().map_or("/", |it| it.as_str())
    }
}

impl RequestFields for Sending<'_> {
    fn pseudo(&self, which: Pseudo) -> Option<Cow<'_, str>> {
        let text = match which {
            Pseudo::Method => self.method.as_str(),
            Pseudo::Path => self.path_and_query(),
            Pseudo::Authority => self.authority.to_str().ok()?,
            Pseudo::Scheme if self.client.facts.tls.is_some() => "https",
            Pseudo::Scheme => "http",
        };
        Some(Cow::Borrowed(text))
    }

    fn all<'a>(&'a self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
        Fields::all(self.headers, name)
    }
}

impl HashFacts for Sending<'_> {
    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let pseudo = match Pseudo::parse(name) {
            Some(Pseudo::Method) => Some(self.method.as_str().as_bytes()),
            Some(Pseudo::Path) => Some(self.path_and_query().as_bytes()),
            Some(Pseudo::Authority) => Some(self.authority.as_bytes()),
            Some(Pseudo::Scheme) if self.client.facts.tls.is_some() => Some(b"https".as_slice()),
            Some(Pseudo::Scheme) => Some(b"http".as_slice()),
            None => None,
        };
        let fields = self.headers.get_all(name).map(FieldValue::as_bytes);
        let fields = pseudo.is_none().then_some(fields);
        pseudo.into_iter().chain(fields.into_iter().flatten())
    }

    fn cookie(&self, name: &str) -> Option<&str> {
        cookie(self.headers, name)
    }

    fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        let value = query_value(self.uri.query()?, name)?;
        Some(percent_decode_str(value).decode_utf8_lossy())
    }

    fn source_ip(&self) -> Option<IpAddr> {
        Some(self.client.facts.remote.ip())
    }

    fn connection(&self) -> String {
        format!("{}{}", self.client.facts.remote, self.client.facts.local)
    }
}

impl Facts for Sending<'_> {
    fn start_unix_ns(&self) -> u64 {
        runtime::unix_ms().saturating_mul(1_000_000)
    }

    fn time(&self, _: TimePoint) -> Option<u64> {
        None
    }

    fn text(&self, fact: TextFact) -> Option<&str> {
        match fact {
            TextFact::UpstreamCluster => Some(self.cluster),
            TextFact::RequestedServerName => self.client.facts.server_name.as_deref(),
            TextFact::StreamId => self.headers.get(X_REQUEST_ID)?.to_str().ok(),
            TextFact::Protocol => Some(match self.version {
                Version::HTTP_2 => "HTTP/2",
                Version::HTTP_10 => "HTTP/1.0",
                _ => "HTTP/1.1",
            }),
            _ => None,
        }
    }

    fn number(&self, fact: NumberFact) -> Option<u64> {
        match fact {
            NumberFact::ResponseCode => self.answer.map(|it| u64::from(it.status)),
            _ => None,
        }
    }

    fn address(&self, fact: AddressFact) -> Option<SocketAddr> {
        match fact {
            AddressFact::DownstreamRemote => Some(self.client.facts.remote),
            AddressFact::DownstreamDirectRemote => Some(self.client.facts.direct_remote),
            AddressFact::DownstreamLocal => Some(self.client.facts.local),
            AddressFact::UpstreamHost => self.answer?.endpoint,
            AddressFact::UpstreamLocal => None,
        }
    }

    fn flags(&self) -> ResponseFlags {
        ResponseFlags::NONE
    }

    fn response_header(&self, name: &HeaderName) -> Option<&[u8]> {
        self.answer?.headers.get(name).map(FieldValue::as_bytes)
    }

    fn response_trailer(&self, _: &HeaderName) -> Option<&[u8]> {
        None
    }

    fn environment(&self, _: &str) -> Option<&str> {
        None
    }
}

/// The value of a cookie (RFC 6265, section 5.4), without quotes around it.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(COOKIE).filter_map(|it| it.to_str().ok());
    let mut cookies = lines.flat_map(|line| line.split(';'));
    cookies.find_map(|cookie| {
        let (key, value) = cookie.trim().split_once('=')?;
        (key == name).then(|| value.trim_matches('"'))
    })
}
