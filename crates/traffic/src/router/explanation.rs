//! How a route is found, in words.

use std::fmt;

use model::Revision;
use proxy_config::{ClusterChoice, PathMatch, Route, RouteAction, Source};
use serde::Serialize;

use super::{Router, conditions};
use crate::host::normalized_host;
use crate::matching::{Fields, RequestView};

impl Router {
    /// How [`Router::route`] decides, except that it does not ask for TLS.
    #[must_use]
    pub fn explain_request<F: Fields>(&self, request: &RequestView<'_, F>) -> RouteExplanation {
        let host = normalized_host(request.host);
        let mut explanation = RouteExplanation {
            route_table: self.table.clone(),
            host: host.to_string(),
            path: request.path.to_owned(),
            virtual_host: None,
            domain: None,
            trials: Vec::new(),
            route: None,
        };
        let Some((virtual_host, domain)) = self.virtual_host(&host) else { return explanation };
        explanation.virtual_host = Some(virtual_host.name.clone());
        explanation.domain = Some(domain.domain(&host));
        for idx in virtual_host.first..virtual_host.end {
            let (route, matcher) = (&self.routes[idx], &self.matchers[idx]);
            let mismatch = match matcher.path.mismatch(request.path) {
                Some(why) => Some(why.to_owned()),
                None => matcher
                    .conditions
                    .as_ref()
                    .and_then(|it| it.mismatch(request))
                    .map(|it| it.words(&route.conditions)),
            };
            let is_match = mismatch.is_none();
            explanation.trials.push(RouteTrial {
                route: route.name.clone(),
                condition: condition(route),
                source: route.source.clone(),
                mismatch,
            });
            if is_match {
                explanation.route = Some(route.clone());
                break;
            }
        }
        explanation
    }
}

fn condition(route: &Route) -> String {
    let path = match &route.path {
        PathMatch::Exact(whole) => format!("path = {whole}"),
        PathMatch::PathPrefix(prefix) => format!("path under {prefix}"),
        PathMatch::Prefix(prefix) => format!("path starts with {prefix}"),
        PathMatch::Regex(pattern) => format!("path matches {pattern}"),
        PathMatch::Template(template) => format!("path has the form {template}"),
    };
    path + &conditions::words(&route.conditions)
}

/// How a route was found, or why none was.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RouteExplanation {
    /// Name of the route table.
    pub route_table: String,
    /// Host as it was looked up.
    pub host: String,
    /// Path.
    pub path: String,
    /// Name of the virtual host, or `None` when no domain matches.
    pub virtual_host: Option<String>,
    /// Domain of the virtual host that matched.
    pub domain: Option<String>,
    /// Routes tried, in order; the last one matched if `route` is there.
    pub trials: Vec<RouteTrial>,
    /// The route that matched.
    pub route: Option<Route>,
}

/// One route that was tried.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RouteTrial {
    /// Name of the route.
    pub route: String,
    /// Its condition in words.
    pub condition: String,
    /// The object behind it.
    pub source: Source,
    /// Why it did not match; `None` for the one that did.
    pub mismatch: Option<String>,
}

impl fmt::Display for RouteExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "route table {}: host {}, path {}", self.route_table, self.host, self.path)?;
        let (Some(virtual_host), Some(domain)) = (&self.virtual_host, &self.domain) else {
            return writeln!(f, "  no virtual host has this host");
        };
        writeln!(f, "  virtual host {virtual_host} by domain {domain}")?;
        for trial in &self.trials {
            let verdict = trial.mismatch.as_deref().unwrap_or("matches");
            let (route, condition) = (&trial.route, &trial.condition);
            writeln!(f, "  route {route} [{condition}] from {}: {verdict}", source(&trial.source))?;
        }
        match self.route.as_ref().map(|route| &route.action) {
            None => writeln!(f, "  no route matches"),
            Some(RouteAction::Forward(forward)) => match &forward.cluster {
                ClusterChoice::Header(name) => {
                    writeln!(f, "  => forward to the cluster that the header {name} names")
                }
                ClusterChoice::One(_) | ClusterChoice::Weighted(_) => {
                    let names: Vec<&str> = forward.cluster.names().collect();
                    writeln!(f, "  => forward to cluster {}", names.join(", "))
                }
            },
            Some(RouteAction::Respond { status, body }) => {
                writeln!(f, "  => respond {status}: {:?}", body.trim_end())
            }
            Some(RouteAction::Redirect(redirect)) => {
                writeln!(f, "  => redirect with {}", redirect.status)
            }
        }
    }
}

/// `object @ revision`, the object alone when it is built in and so has no revision, or `(built
/// in)`.
pub(crate) fn source(source: &Source) -> String {
    if source.object.is_empty() {
        "(built in)".to_owned()
    } else if source.revision == Revision(0) {
        source.object.clone()
    } else {
        format!("{} @ revision {}", source.object, source.revision)
    }
}
