//! Which route a request takes.

mod conditions;
mod domains;
mod explanation;
mod index;
mod path_match;
mod plan;

use std::fmt;

use proxy_config::{Route, RouteTable, VirtualHost};

use crate::host::normalized_host;
use crate::matching::{Fields, RequestView};
use crate::router::conditions::RouteConditions;
use crate::router::domains::{DomainMatch, Domains};
use crate::router::index::{Indexed, PathIndex};
use crate::router::path_match::{PathMatcher, Reach};

pub use explanation::{RouteExplanation, RouteTrial};
pub use plan::{ChosenCluster, ClusterSplit, RoutePlan, SplitEntry, stable_random};

pub(crate) use explanation::source;

/// Up to this many routes of a virtual host are tried one after the other, which takes less time
/// than an index does.
const UNINDEXED_MAX: usize = 8;

/// A route table made ready for look-ups. Built once per configuration, shared by an `Arc`.
#[derive(Debug)]
pub struct Router {
    table: String,
    /// The routes of all virtual hosts, one host after the other.
    routes: Vec<Route>,
    /// In the order of `routes`.
    matchers: Vec<RouteMatcher>,
    plans: Vec<RoutePlan>,
    virtual_hosts: Vec<Hosted>,
    domains: Domains,
    problems: Vec<Problem>,
}

/// The conditions of a route.
#[derive(Debug)]
struct RouteMatcher {
    path: PathMatcher,
    /// Boxed, so that those who scan matchers touch less memory.
    conditions: Option<Box<RouteConditions>>,
}

impl RouteMatcher {
    fn matches<F: Fields>(&self, request: &RequestView<'_, F>) -> bool {
        self.path.matches(request.path) && self.holds(request)
    }

    /// Whether the conditions beyond the path hold.
    fn holds<F: Fields>(&self, request: &RequestView<'_, F>) -> bool {
        self.conditions.as_ref().is_none_or(|it| it.mismatch(request).is_none())
    }
}

/// A virtual host: its routes are `routes[first..end]`.
#[derive(Debug)]
struct Hosted {
    name: String,
    first: usize,
    end: usize,
    require_tls: bool,
    /// Empty when the host has few routes.
    indexes: Vec<PathIndex>,
}

/// What is done with a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Routed {
    /// It takes the route at this position of [`Router::routes`].
    Route(usize),
    /// Its virtual host wants TLS: [`crate::Redirector::to_https`].
    TlsRequired,
    /// Its virtual host has no route for it.
    NoRoute,
    /// No virtual host has its host.
    NoHost,
}

/// Something in a route table that cannot be done as it is said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Name of the virtual host.
    pub virtual_host: String,
    /// Name of the route; empty when it is about the virtual host.
    pub route: String,
    /// What is wrong.
    pub what: String,
    /// The route matches nothing because of it; otherwise only what is wrong is left out.
    pub disables_route: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "virtual host {}", self.virtual_host)?;
        if !self.route.is_empty() {
            write!(f, ", route {}", self.route)?;
        }
        write!(f, ": {}", self.what)?;
        if self.disables_route { f.write_str("; the route matches nothing") } else { Ok(()) }
    }
}

impl Router {
    /// A router for a table. What of it cannot be done is in [`Router::problems`]; a route with a
    /// broken condition or action matches nothing, and the others are as they are.
    ///
    /// A domain is in lower case, without port and in at most one virtual host; if it is in two,
    /// the first has it.
    #[must_use]
    pub fn new(table: &RouteTable) -> Router {
        let mut router = Router {
            table: table.name.clone(),
            routes: Vec::new(),
            matchers: Vec::new(),
            plans: Vec::new(),
            virtual_hosts: Vec::new(),
            domains: Domains::new(),
            problems: Vec::new(),
        };
        for (idx, host) in (0u32..).zip(&table.virtual_hosts) {
            router.add_host(idx, host);
        }
        router
    }

    /// What of a table cannot be done, for validators.
    #[must_use]
    pub fn check(table: &RouteTable) -> Vec<Problem> {
        Router::new(table).problems
    }

    /// What of the table cannot be done.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// What is done with a request. Allocates nothing, but for a host in upper case, conditions on
    /// several values of one header or on `:path`, and what a thread needs for its first use of a
    /// regular expression.
    #[must_use]
    pub fn route<F: Fields>(&self, request: &RequestView<'_, F>) -> Routed {
        self.route_in(request).1
    }

    /// Like [`Router::route`], with the position of the virtual host in the table, if there is one
    /// for the request's host.
    #[must_use]
    pub fn route_in<F: Fields>(&self, request: &RequestView<'_, F>) -> (Option<usize>, Routed) {
        let Some((at, _)) = self.domains.find(&normalized_host(request.host)) else {
            return (None, Routed::NoHost);
        };
        let host = &self.virtual_hosts[at as usize];
        let routed = if host.require_tls && !request.is_tls {
            Routed::TlsRequired
        } else {
            self.first_match(host, request).map_or(Routed::NoRoute, Routed::Route)
        };
        (Some(at as usize), routed)
    }

    /// The route for a `GET` over TLS without query and headers: `host` as in the `Host` header or
    /// `:authority` (port, case and a final dot do not matter), `path` without the query.
    #[must_use]
    pub fn find(&self, host: &str, path: &str) -> Option<&Route> {
        self.find_index(host, path).map(|idx| &self.routes[idx])
    }

    /// Like [`Router::find`], as an index into [`Router::routes`]: a caller keeps what it resolved
    /// per route in a list beside it.
    #[must_use]
    pub fn find_index(&self, host: &str, path: &str) -> Option<usize> {
        let request = RequestView::bare(host, path);
        let (host, _) = self.virtual_host(&normalized_host(host))?;
        self.first_match(host, &request)
    }

    /// Whether a virtual host has this host, whatever its routes are.
    #[must_use]
    pub fn has_host(&self, host: &str) -> bool {
        self.virtual_host(&normalized_host(host)).is_some()
    }

    /// All routes, those of one virtual host after those of another.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// What each route does, in the order of [`Router::routes`].
    #[must_use]
    pub fn plans(&self) -> &[RoutePlan] {
        &self.plans
    }

    /// Name of the virtual host of a route.
    #[must_use]
    pub fn virtual_host_name(&self, route: usize) -> &str {
        let at = self.virtual_hosts.partition_point(|it| it.end <= route);
        self.virtual_hosts.get(at).map_or("", |it| &it.name)
    }

    /// How [`Router::find`] decides.
    #[must_use]
    pub fn explain(&self, host: &str, path: &str) -> RouteExplanation {
        self.explain_request(&RequestView::bare(host, path))
    }

    fn add_host(&mut self, idx: u32, host: &VirtualHost) {
        for domain in &host.domains {
            if normalized_host(domain) != domain.as_str() || domain.matches('*').count() > 1 {
                self.report(host, "", format!("no request matches the domain {domain:?}"), false);
            }
            if !self.domains.add(domain, idx) {
                let what = format!("another virtual host has the domain {domain:?}");
                self.report(host, "", what, false);
            }
        }
        let first = self.routes.len();
        for route in &host.routes {
            self.add_route(host, route);
        }
        let end = self.routes.len();
        let indexes = if end - first > UNINDEXED_MAX {
            indexes(first, &self.matchers[first..end])
        } else {
            Vec::new()
        };
        let (name, require_tls) = (host.name.clone(), host.require_tls);
        self.virtual_hosts.push(Hosted { name, first, end, require_tls, indexes });
    }

    fn add_route(&mut self, host: &VirtualHost, route: &Route) {
        let mut left_out = Vec::new();
        let made = RoutePlan::new(route, &mut left_out).and_then(|plan| {
            let path = PathMatcher::new(&route.path, route.conditions.ignore_path_case)?;
            let conditions = RouteConditions::new(&route.conditions)?.map(Box::new);
            Ok((plan, RouteMatcher { path, conditions }))
        });
        for what in left_out {
            self.report(host, &route.name, what, false);
        }
        let (plan, matcher) = made.unwrap_or_else(|what| {
            self.report(host, &route.name, what, true);
            let never = RouteMatcher { path: PathMatcher::never(), conditions: None };
            (RoutePlan::default(), never)
        });
        self.routes.push(route.clone());
        self.plans.push(plan);
        self.matchers.push(matcher);
    }

    fn report(&mut self, host: &VirtualHost, route: &str, what: String, disables_route: bool) {
        let (virtual_host, route) = (host.name.clone(), route.to_owned());
        self.problems.push(Problem { virtual_host, route, what, disables_route });
    }

    fn virtual_host(&self, host: &str) -> Option<(&Hosted, DomainMatch)> {
        let (idx, domain) = self.domains.find(host)?;
        Some((&self.virtual_hosts[idx as usize], domain))
    }

    fn first_match<F: Fields>(&self, host: &Hosted, request: &RequestView<'_, F>) -> Option<usize> {
        if host.indexes.is_empty() {
            return (host.first..host.end).find(|idx| self.matchers[*idx].matches(request));
        }
        let mut best = host.end as u32;
        for index in &host.indexes {
            best = index.first(request.path, best, |candidate| {
                let matcher = &self.matchers[candidate.position as usize];
                let path_matches = match candidate.reach {
                    Reach::Check => matcher.path.matches(request.path),
                    Reach::Exact | Reach::Segments | Reach::Prefix => true,
                };
                path_matches && matcher.holds(request)
            });
        }
        ((best as usize) < host.end).then_some(best as usize)
    }
}

/// Indexes of routes, of which the first is at position `first`: for paths as they are, and in
/// lower case.
fn indexes(first: usize, matchers: &[RouteMatcher]) -> Vec<PathIndex> {
    let mut indexes = [PathIndex::new(false), PathIndex::new(true)];
    for (position, matcher) in (first as u32..).zip(matchers) {
        let Some((key, reach)) = matcher.path.key() else { continue };
        let is_unconditional = matcher.conditions.is_none();
        let route = Indexed { position, reach, is_unconditional };
        indexes[usize::from(matcher.path.is_folded())].add(key, route);
    }
    let mut used: Vec<PathIndex> = indexes.into_iter().filter(|it| !it.is_empty()).collect();
    if used.is_empty() {
        // None of the routes is valid; an empty list would mean that they are tried.
        used.push(PathIndex::new(false));
    }
    used
}

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod tests;
