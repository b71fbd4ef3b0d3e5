//! One request and its response, from the first look at the head to the last byte of the answer.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use codec::message::{HeaderMap, Request};
use http::{HeaderValue, Method, Version};
use traffic::{LentEndpoint, Outcome, Permit, Picked, ResponseFlag, ResponseFlags, Router};

use crate::body::{BodyError, RequestProgress};
use crate::connection::Client;
use crate::filters::{self, FilterSet, Work};
use crate::headers::GRPC_STATUS;
use crate::hosts::Place;
use crate::incoming::Incoming;
use crate::observe::{self, Kept};
use crate::rules::{HttpRules, RouteRules};
use crate::time_limit::TimeLimit;
use crate::upstream::Lease;
use crate::view::{ListenerKind, ListenerView, WorkerCluster};

/// One request and its response.
///
/// It ends in exactly one way: [`Exchange::finish`], [`Exchange::fail_response`], or by being dropped, which means
/// that the client has gone.
pub(crate) struct Exchange {
    pub(crate) client: Rc<Client>,
    pub(crate) view: Rc<ListenerView>,
    /// The cluster that it was forwarded to.
    pub(crate) cluster: Option<Rc<WorkerCluster>>,
    pub(crate) started: Instant,
    /// When it was let go on: later than `started` when it was delayed on purpose.
    pub(crate) forwarded_at: Instant,
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) is_grpc: bool,
    /// The client speaks TLS with this proxy, or with one before it that is believed.
    pub(crate) is_https: bool,
    /// Who asks, as far as what others say is believed.
    pub(crate) remote: SocketAddr,
    /// Position of its route in the listener's table.
    pub(crate) route: Option<usize>,
    /// Where it is counted among the virtual hosts.
    pub(crate) place: Option<Place>,
    pub(crate) status: u16,
    pub(crate) flags: ResponseFlags,
    /// Why the response is what it is, in Envoy's words; empty before there is one.
    pub(crate) details: &'static str,
    /// What the filters have still to do.
    pub(crate) work: Option<Box<Work>>,
    /// When the response is to have it too.
    pub(crate) request_id: Option<HeaderValue>,
    pub(crate) bytes_sent: u64,
    pub(crate) request: Option<Rc<RequestProgress>>,
    pub(crate) upstream: Option<Upstream>,
    pub(crate) time_limit: Option<TimeLimit>,
    /// Its place among the requests of the cluster; ends with it.
    pub(crate) permit: Option<RequestPermit>,
    /// Its places among the retries of the cluster.
    pub(crate) retry_permits: Vec<RequestPermit>,
    /// What TLS said when the last connection to an endpoint failed in it; Envoy's `upstream_transport_failure_reason`.
    pub(crate) transport_failure: Option<Rc<str>>,
    /// Further tries after the first.
    pub(crate) retries: u32,
    /// From the request on its way to the endpoint to the head of the response.
    pub(crate) service_time: Option<Duration>,
    pub(crate) grpc_status: Option<u8>,
    /// `None` when neither an access log nor a change of the response asks for it.
    pub(crate) kept: Option<Box<Kept>>,
    is_concluded: bool,
}

/// A place under one of a cluster's circuit breakers.
pub(crate) type RequestPermit = Permit<Rc<WorkerCluster>>;

/// The try that the response comes from, or the last one.
pub(crate) struct Upstream {
    pub(crate) picked: Picked<LentEndpoint>,
    pub(crate) lease: Option<Lease>,
    pub(crate) sent_at: Instant,
    /// How it ended has been told to `traffic`.
    pub(crate) is_reported: bool,
}

impl Exchange {
    pub(crate) fn new(
        client: Rc<Client>,
        view: Rc<ListenerView>,
        request: &Request<Incoming>,
        is_grpc: bool,
    ) -> Box<Self> {
        client.enter();
        let started = client.worker.now();
        let is_logged = !view.logs().is_empty();
        let mut exchange = Box::new(Self {
            started,
            forwarded_at: started,
            is_https: client.facts.tls.is_some(),
            remote: client.facts.remote,
            client,
            view,
            cluster: None,
            method: request.method().clone(),
            version: request.version(),
            is_grpc,
            route: None,
            place: None,
            status: 0,
            flags: ResponseFlags::NONE,
            details: "",
            work: None,
            request_id: None,
            bytes_sent: 0,
            request: None,
            upstream: None,
            time_limit: None,
            permit: None,
            retry_permits: Vec::new(),
            transport_failure: None,
            retries: 0,
            service_time: None,
            grpc_status: None,
            kept: None,
            is_concluded: false,
        });
        if is_logged {
            exchange.keep(request.uri(), None, request.headers());
        }
        observe::begun(&exchange, request.version());
        exchange
    }

    /// Keeps what logs and changes of the response are made of. Again whenever the head has changed.
    pub(crate) fn keep(
        &mut self,
        uri: &http::Uri,
        authority: Option<&HeaderValue>,
        headers: &HeaderMap,
    ) {
        let logs = self.view.logs();
        let of_route = self.route_rules().map_or(&[][..], |it| &it.request_headers);
        if logs.is_empty() && of_route.is_empty() {
            return;
        }
        let names = logs.request_headers().iter().chain(of_route);
        let kept = Kept::new(uri, self.version, authority, headers, names);
        self.kept = Some(Box::new(kept));
    }

    /// What the listener asks for beside sending requests on.
    pub(crate) fn rules(&self) -> Option<&HttpRules> {
        match &self.view.kind {
            ListenerKind::Http(http) => Some(&http.rules),
            ListenerKind::Tcp(_) => None,
        }
    }

    /// What its route asks for beside sending it on.
    pub(crate) fn route_rules(&self) -> Option<&RouteRules> {
        match &self.view.kind {
            ListenerKind::Http(http) => http.table_rules.get(self.route?)?.as_deref(),
            ListenerKind::Tcp(_) => None,
        }
    }

    /// Its route: the table and the position in it.
    pub(crate) fn route(&self) -> Option<(&Router, usize)> {
        match &self.view.kind {
            ListenerKind::Http(http) => Some((&http.table.router, self.route?)),
            ListenerKind::Tcp(_) => None,
        }
    }

    /// The filters of its listener and of its route; `view` is its own.
    pub(crate) fn filters_of<'v>(
        &self,
        view: &'v ListenerView,
    ) -> (Option<&'v FilterSet>, Option<&'v FilterSet>) {
        let ListenerKind::Http(http) = &view.kind else { return (None, None) };
        let route = self.route.and_then(|at| http.table_rules.get(at)?.as_deref());
        (http.rules.filters.as_ref(), route.and_then(|it| it.filters.as_ref()))
    }

    /// It goes to a cluster.
    pub(crate) fn enter_cluster(&mut self, cluster: Rc<WorkerCluster>) {
        self.cluster = Some(cluster);
        observe::forwarded(self);
    }

    /// The configuration of its cluster has changed. The counters may be others too, when it was gone in between.
    pub(crate) fn renew_cluster(&mut self, cluster: Rc<WorkerCluster>) {
        cluster.counters.upstream_rq_active.inc();
        if let Some(before) = self.cluster.replace(cluster) {
            before.counters.upstream_rq_active.dec();
        }
    }

    /// The response has been handed over to its end.
    pub(crate) fn finish(mut self: Box<Self>) {
        let now = self.client.worker.now();
        if let Some(upstream) = &mut self.upstream {
            if let Some(lease) = upstream.lease.take() {
                lease.release(now);
            }
            if !upstream.is_reported {
                self.report(Outcome::Response { status: self.status }, now);
            }
        }
        if let Some(work) = self.work.take() {
            filters::finish(*work, &self, now);
        }
        self.conclude(now);
    }

    /// The response broke off after its head.
    pub(crate) fn fail_response(mut self: Box<Self>, error: &BodyError) {
        let now = self.client.worker.now();
        match error {
            BodyError::Broken(_) => {
                self.flags.insert(ResponseFlag::UpstreamConnectionTermination);
                self.details = "upstream_reset_after_response_started{connection_termination}";
            }
            BodyError::Idle => {
                self.flags.insert(ResponseFlag::StreamIdleTimeout);
                self.details = "stream_idle_timeout";
            }
            BodyError::TookTooLong => {
                self.flags.insert(ResponseFlag::DurationTimeout);
                self.details = "max_duration_timeout";
            }
            // Of a request only.
            BodyError::TooLarge => self.flags.insert(ResponseFlag::DownstreamProtocolError),
            BodyError::Overdue(limit) => limit.note(&mut self),
        }
        if self.upstream.as_ref().is_some_and(|it| !it.is_reported) {
            self.report(Outcome::Response { status: self.status }, now);
        }
        self.conclude(now);
    }

    /// The client has gone.
    pub(crate) fn abandon(self: Box<Self>) {
        drop(self);
    }

    /// Tells `traffic` how the current try ended.
    pub(crate) fn report(&mut self, outcome: Outcome, now: Instant) {
        let (Some(upstream), Some(cluster)) = (&mut self.upstream, &self.cluster) else { return };
        if std::mem::replace(&mut upstream.is_reported, true) {
            return;
        }
        let worker = &self.client.worker;
        worker.report(cluster, upstream.picked.endpoint(), outcome, now);
    }

    /// Tells `traffic` how long the endpoint took for the head of its response.
    pub(crate) fn observe_rtt(&self, rtt: Duration, now: Instant) {
        if let (Some(upstream), Some(cluster)) = (&self.upstream, &self.cluster) {
            let worker = &self.client.worker;
            let rtt_ns = u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX);
            cluster.state.observe_response(upstream.picked.endpoint(), rtt_ns, worker.nanos(now));
        }
    }

    /// Tells `traffic` how another try than the current one ended.
    pub(crate) fn report_of(&self, upstream: &mut Upstream, outcome: Outcome, now: Instant) {
        if let Some(cluster) = &self.cluster
            && !std::mem::replace(&mut upstream.is_reported, true)
        {
            self.client.worker.report(cluster, upstream.picked.endpoint(), outcome, now);
        }
    }

    /// gRPC says in the trailers how a call went.
    pub(crate) fn note_trailers(&mut self, trailers: &HeaderMap) {
        if let Some(kept) = &mut self.kept {
            kept.trailers = Some(trailers.clone());
        }
        if !self.is_grpc {
            return;
        }
        self.grpc_status = grpc_status(trailers);
        if self.upstream.as_ref().is_some_and(|it| !it.is_reported) {
            let now = self.client.worker.now();
            let status = self.grpc_status.map_or(self.status, grpc_outcome);
            self.report(Outcome::Response { status }, now);
        }
    }

    /// Milliseconds since the request was sent to the endpoint.
    pub(crate) fn upstream_elapsed_ms(&self) -> u64 {
        let since = self.upstream.as_ref().map_or(self.started, |it| it.sent_at);
        millis(self.client.worker.now().saturating_duration_since(since))
    }

    fn conclude(&mut self, now: Instant) {
        self.is_concluded = true;
        observe::ended(self, now);
        if let Some(limit) = self.time_limit.take() {
            self.client.keep_timer(limit.into_timer());
        }
        self.client.leave();
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.is_concluded {
            return;
        }
        let now = self.client.worker.now();
        if let Some(limit) = self.client.overdue.take() {
            limit.conclude(self);
        } else if self.client.is_cut_idle.get() {
            self.flags.insert(ResponseFlag::StreamIdleTimeout);
            self.details = "stream_idle_timeout";
        } else {
            self.flags.insert(ResponseFlag::DownstreamConnectionTermination);
            self.details = "downstream_remote_disconnect";
        }
        if self.upstream.as_ref().is_some_and(|it| !it.is_reported) {
            self.report(Outcome::Abandoned, now);
        }
        self.conclude(now);
    }
}

pub(crate) fn grpc_status(headers: &HeaderMap) -> Option<u8> {
    headers.get(GRPC_STATUS)?.to_str().ok()?.parse().ok()
}

/// The HTTP status that a gRPC status stands for, as far as the endpoint's health is concerned.
pub(crate) fn grpc_outcome(status: u8) -> u16 {
    match status {
        // UNKNOWN, INTERNAL, DATA_LOSS
        2 | 13 | 15 => 500,
        // UNAVAILABLE
        14 => 503,
        // DEADLINE_EXCEEDED
        4 => 504,
        _ => 200,
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
