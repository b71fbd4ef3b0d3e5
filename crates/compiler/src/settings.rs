use std::net::SocketAddr;
use std::time::Duration;

use proxy_config::{Balancing, RetryBudget};

/// What the operator of a proxy decides, and the defaults of everything that no document says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Address of the plain HTTP ingress; `None` for none.
    pub ingress_http: Option<SocketAddr>,
    /// Address of the HTTPS ingress; `None` for none. Bound while there is a certificate to show.
    pub ingress_https: Option<SocketAddr>,
    /// Address at which callers on this machine reach services by name; `None` for none.
    pub outbound: Option<SocketAddr>,
    /// Domains of DNS by which services are called, in lower case, without a dot at either end: `consul` unless others are
    /// told.
    pub dns_domains: Vec<String>,
    /// Datacenter, as in `web.service.<datacenter>.consul`.
    pub datacenter: String,
    /// Balancing where no document says otherwise.
    pub balancing: Balancing,
    /// Limit for opening a connection to an endpoint.
    pub connect_timeout: Duration,
    /// From the end of a request to the end of its response; 0 means no limit.
    pub request_timeout: Duration,
    /// How long an unused connection to an endpoint is kept.
    pub upstream_idle_timeout: Duration,
    /// Most connections per endpoint and worker.
    pub upstream_connections_max: u32,
    /// Most connections of callers open at once, per listener.
    pub connections_max: u32,
    /// Largest request head, in bytes.
    pub head_bytes_max: u32,
    /// Most request headers.
    pub headers_max: u32,
    /// How long a caller may take to send a request head.
    pub head_timeout: Duration,
    /// How long a caller's connection may stay open without a request.
    pub idle_timeout: Duration,
}

impl Default for Settings {
    /// No ingress, outbound on 127.0.0.1:15001, and Envoy's defaults where it has one: 15 s for a request, an hour for
    /// an idle connection, 100 headers, 1024 connections to an endpoint. Its connect timeout of 5 s is cut to 1 s.
    fn default() -> Self {
        Self {
            ingress_http: None,
            ingress_https: None,
            outbound: Some(SocketAddr::from(([127, 0, 0, 1], 15001))),
            dns_domains: vec!["consul".to_owned()],
            datacenter: "dc1".to_owned(),
            balancing: Balancing::default(),
            connect_timeout: Duration::from_secs(1),
            request_timeout: Duration::from_secs(15),
            // Below the 75 s after which nginx closes: better that we close than that a request meets a close.
            upstream_idle_timeout: Duration::from_secs(60),
            upstream_connections_max: 1024,
            connections_max: 10_000,
            head_bytes_max: 64 << 10,
            headers_max: 100,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_hours(1),
        }
    }
}

/// As many retries as requests may be under way. When one of a few endpoints dies, the requests that it had, a third or
/// half of all, are tried again at once, and none may be lost for want of a budget. Routes of the mesh try once more and
/// only where nothing can have been done twice, so the load on the others is at most doubled. A bootstrap file gets
/// Envoy's 20 %.
pub(crate) const RETRY_BUDGET: RetryBudget = RetryBudget { percent: 100, retries_min: 10 };
