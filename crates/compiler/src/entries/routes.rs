//! A chain as routes.

use std::time::Duration;

use config_entries::view::{self, LoadBalancer, RouteDestination, Split};
use config_entries::{Chain, ChainNode, ChainResolver, ChainSplit, NodeKind};
use model::{Folded, Severity};
use proxy_config::{
    ClusterChoice, Forward, PathMatch, PathRewrite, Route, RouteAction, Source, WeightedCluster,
};
use serde_json::Value;

use super::Compilation;
use super::clusters::{nanoseconds, together};
use super::findings::{finding, key_of};
use super::matching::{conditions, hash, headers, path, retry};

/// Limits that are said of requests to a target, with who says so.
#[derive(Clone, PartialEq, Default)]
struct Limits {
    /// By who calls: `RequestTimeout`.
    calling: Option<Duration>,
    /// By who is called: `LocalRequestTimeoutMs`.
    local: Option<(Duration, Source)>,
}

impl Compilation<'_> {
    /// The routes of a service, in the order in which they are tried; the last one takes every request.
    pub(super) fn routes(&mut self, chain: &Chain, name: &Folded) -> Vec<Route> {
        let Some(start) = chain.nodes.get(&chain.start) else { return Vec::new() };
        let NodeKind::Router(routes) = &start.kind else {
            let action = self.forward(chain, name, start, &RouteDestination::default());
            let source = self.route_source(chain, name, &start.kind, &action);
            let path = PathMatch::Prefix("/".to_owned());
            let action = RouteAction::Forward(Box::new(action));
            return vec![Route { source, ..Route::new(name.as_str(), path, action) }];
        };
        let last = routes.len().saturating_sub(1);
        let source = self.said.source("service-router", name.as_str()).unwrap_or_default();
        let mut made = Vec::with_capacity(routes.len());
        for (idx, route) in routes.iter().enumerate() {
            let Some(next) = chain.nodes.get(&route.next) else { continue };
            let read: view::Route = read(&route.definition);
            let http = read.r#match.and_then(|it| it.http).unwrap_or_default();
            let destination = read.destination.unwrap_or_default();
            let mut forward = self.forward(chain, name, next, &destination);
            forward.retry = retry(&destination);
            forward.idle_timeout = Some(destination.idle_timeout).filter(|it| !it.is_zero());
            if !destination.prefix_rewrite.is_empty() {
                forward.path = PathRewrite::Prefix(destination.prefix_rewrite.clone());
            }
            let place = if idx == last { "default".to_owned() } else { idx.to_string() };
            let action = RouteAction::Forward(Box::new(forward));
            made.push(Route {
                conditions: conditions(&http),
                headers: headers(
                    destination.request_headers.as_ref(),
                    destination.response_headers.as_ref(),
                ),
                source: source.clone(),
                ..Route::new(&format!("{name}[{place}]"), path(&http), action)
            });
        }
        made
    }

    /// Where the requests go that a node gets.
    fn forward(
        &mut self,
        chain: &Chain,
        name: &Folded,
        node: &ChainNode,
        destination: &RouteDestination,
    ) -> Forward {
        let (cluster, limits) = match &node.kind {
            NodeKind::Resolver(resolver) => {
                let limits = self.limits(chain, resolver);
                (ClusterChoice::One(self.cluster_name(chain, resolver)), limits)
            }
            NodeKind::Splitter(splits) => self.legs(chain, name, splits, destination),
            // A router leads to splitters and resolvers only.
            NodeKind::Router(_) => (ClusterChoice::One(name.to_string()), Limits::default()),
        };
        let given = Some(destination.request_timeout).filter(|it| !it.is_zero());
        let timeout = match (given.or(limits.calling), limits.local) {
            (Some(calling), Some((local, _))) => calling.min(local),
            (Some(calling), None) => calling,
            (None, Some((local, _))) => local,
            (None, None) => self.settings.request_timeout,
        };
        let load_balancer: LoadBalancer = node.load_balancer.as_ref().map(read).unwrap_or_default();
        Forward { cluster, timeout, hash: hash(&load_balancer), ..Forward::default() }
    }

    fn limits(&self, chain: &Chain, resolver: &ChainResolver) -> Limits {
        let target = chain.targets.get(&resolver.target);
        let service = target.filter(|it| it.peer.is_empty()).map(|it| Folded::new(&it.service));
        Limits {
            calling: nanoseconds(resolver.request_timeout),
            local: service.and_then(|it| self.said.request_timeout(&it)),
        }
    }

    /// The legs of a splitter. They have one time limit: the longest of theirs.
    fn legs(
        &mut self,
        chain: &Chain,
        name: &Folded,
        splits: &[ChainSplit],
        destination: &RouteDestination,
    ) -> (ClusterChoice, Limits) {
        let mut legs = Vec::with_capacity(splits.len());
        let mut all: Vec<Limits> = Vec::with_capacity(splits.len());
        for split in splits {
            let next = chain.nodes.get(&split.next).map(|it| &it.kind);
            let Some(NodeKind::Resolver(resolver)) = next else { continue };
            let read: Split = read(&split.definition);
            let weight = u32::try_from(split.weight).unwrap_or(0);
            let headers = headers(read.request_headers.as_ref(), read.response_headers.as_ref());
            let cluster = self.cluster_name(chain, resolver);
            legs.push(WeightedCluster { headers, ..WeightedCluster::new(&cluster, weight) });
            all.push(self.limits(chain, resolver));
        }
        let longest = |it: &Limits| {
            let given = it.calling.or(it.local.as_ref().map(|it| it.0));
            given.unwrap_or(self.settings.request_timeout)
        };
        let limits = all.iter().max_by_key(|it| longest(it)).cloned().unwrap_or_default();
        let said = |it: &Limits| (it.calling, it.local.as_ref().map(|it| it.0));
        let is_said_by_route = !destination.request_timeout.is_zero();
        if !is_said_by_route && all.iter().any(|it| said(it) != said(&limits)) {
            let message = "the services behind the splits have different time limits for requests: \
                           the longest holds for all";
            let remedy = "give them the same, or a route of a service-router a RequestTimeout";
            let found = (Severity::Approximated, "Splits", message.to_owned(), remedy);
            self.findings.push(finding(&key_of("service-splitter", name.as_str()), found));
        }
        (ClusterChoice::Weighted(legs), limits)
    }

    /// The entries that make the only route of a service what it is.
    fn route_source(
        &self,
        chain: &Chain,
        name: &Folded,
        start: &NodeKind,
        forward: &Forward,
    ) -> Source {
        let mut causes = Vec::new();
        match start {
            NodeKind::Splitter(_) => {
                causes.extend(self.said.source("service-splitter", name.as_str()));
            }
            NodeKind::Resolver(resolver) => {
                causes.extend(self.said.source("service-resolver", name.as_str()));
                let local = self.limits(chain, resolver).local;
                let is_used = |it: &(Duration, Source)| it.0 == forward.timeout;
                causes.extend(local.filter(is_used).map(|it| it.1));
            }
            NodeKind::Router(_) => {}
        }
        together(causes).unwrap_or_else(|| Self::built_in(name))
    }
}

/// A part of an entry as one of the structs that it is read as; what does not fit counts as nothing said.
fn read<T: serde::de::DeserializeOwned + Default>(value: &Value) -> T {
    T::deserialize(value).unwrap_or_default()
}
