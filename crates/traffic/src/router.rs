use std::borrow::Cow;
use std::fmt;

use foldhash::{HashMap, HashMapExt};
use model::Revision;
use proxy_config::{PathMatch, Route, RouteAction, RouteTable, Source};
use serde::Serialize;

/// A route table made ready for look-ups. Built once per configuration, shared by an `Arc`.
#[derive(Debug)]
pub struct Router {
    table: String,
    /// The routes of all virtual hosts, one host after the other.
    routes: Vec<Route>,
    virtual_hosts: Vec<Hosted>,
    exact: HashMap<String, u32>,
    /// By suffix with its leading dot: `*.example.com` is at `.example.com`.
    wildcard: HashMap<String, u32>,
    any: Option<u32>,
}

/// A virtual host: its routes are `routes[first..end]`.
#[derive(Debug)]
struct Hosted {
    name: String,
    first: usize,
    end: usize,
}

impl Router {
    /// A router for a table. A domain is in lower case, without port and in at most one virtual
    /// host; if it is in two, the first has it.
    #[must_use]
    pub fn new(table: &RouteTable) -> Router {
        let mut router = Router {
            table: table.name.clone(),
            routes: Vec::new(),
            virtual_hosts: Vec::new(),
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            any: None,
        };
        for (idx, host) in (0u32..).zip(&table.virtual_hosts) {
            let first = router.routes.len();
            router.routes.extend(host.routes.iter().cloned());
            let end = router.routes.len();
            router.virtual_hosts.push(Hosted { name: host.name.clone(), first, end });
            for domain in &host.domains {
                if domain == "*" {
                    router.any.get_or_insert(idx);
                } else if let Some(suffix) = domain.strip_prefix('*') {
                    router.wildcard.entry(suffix.to_owned()).or_insert(idx);
                } else {
                    router.exact.entry(domain.clone()).or_insert(idx);
                }
            }
        }
        router
    }

    /// The route for a request: `host` as in the `Host` header or `:authority` (port, case and a
    /// final dot do not matter), `path` without the query.
    #[must_use]
    pub fn find(&self, host: &str, path: &str) -> Option<&Route> {
        self.find_index(host, path).map(|idx| &self.routes[idx])
    }

    /// Like [`Router::find`], as an index into [`Router::routes`]: a caller keeps what it resolved
    /// per route in a list beside it.
    #[must_use]
    pub fn find_index(&self, host: &str, path: &str) -> Option<usize> {
        let (virtual_host, _) = self.virtual_host(&normalized_host(host))?;
        (virtual_host.first..virtual_host.end)
            .find(|idx| mismatch(&self.routes[*idx].path, path).is_none())
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

    /// How [`Router::find`] decides.
    #[must_use]
    pub fn explain(&self, host: &str, path: &str) -> RouteExplanation {
        let host = normalized_host(host);
        let mut explanation = RouteExplanation {
            route_table: self.table.clone(),
            host: host.to_string(),
            path: path.to_owned(),
            virtual_host: None,
            domain: None,
            trials: Vec::new(),
            route: None,
        };
        let Some((virtual_host, domain)) = self.virtual_host(&host) else { return explanation };
        explanation.virtual_host = Some(virtual_host.name.clone());
        explanation.domain = Some(domain.domain(&host));
        for route in &self.routes[virtual_host.first..virtual_host.end] {
            let mismatch = mismatch(&route.path, path);
            explanation.trials.push(RouteTrial {
                route: route.name.clone(),
                condition: condition(&route.path),
                source: route.source.clone(),
                mismatch: mismatch.map(str::to_owned),
            });
            if mismatch.is_none() {
                explanation.route = Some(route.clone());
                break;
            }
        }
        explanation
    }

    /// The virtual host for a host, and how it matched: exactly, else by the longest wildcard, else
    /// by `*`.
    fn virtual_host(&self, host: &str) -> Option<(&Hosted, DomainMatch)> {
        let (idx, domain) = match self.exact.get(host) {
            Some(idx) => (*idx, DomainMatch::Exact),
            None => match self.longest_wildcard(host) {
                Some((idx, dot)) => (idx, DomainMatch::Wildcard { dot }),
                None => (self.any?, DomainMatch::Any),
            },
        };
        Some((&self.virtual_hosts[idx as usize], domain))
    }

    /// From the left, the first dot whose suffix is known has the longest suffix. A host is at most
    /// one request head long and a look-up costs its length, so it is bounded to names that DNS
    /// allows.
    fn longest_wildcard(&self, host: &str) -> Option<(u32, usize)> {
        if self.wildcard.is_empty() || host.len() > DNS_NAME_BYTES_MAX {
            return None;
        }
        let dots = host.bytes().enumerate().skip(1).filter(|(_, byte)| *byte == b'.');
        dots.map(|(dot, _)| dot)
            .find_map(|dot| self.wildcard.get(&host[dot..]).map(|idx| (*idx, dot)))
    }
}

/// Longest name that DNS allows, in bytes of its text form (RFC 1035, 2.3.4).
const DNS_NAME_BYTES_MAX: usize = 255;

/// Which kind of domain matched a host.
#[derive(Clone, Copy, Debug)]
enum DomainMatch {
    Exact,
    /// `*` and the host from this dot on.
    Wildcard {
        dot: usize,
    },
    Any,
}

impl DomainMatch {
    fn domain(self, host: &str) -> String {
        match self {
            DomainMatch::Exact => host.to_owned(),
            DomainMatch::Wildcard { dot } => format!("*{}", &host[dot..]),
            DomainMatch::Any => "*".to_owned(),
        }
    }
}

/// A host without port and final dot, in lower case; borrowed when it already is.
#[must_use]
pub fn normalized_host(host: &str) -> Cow<'_, str> {
    let name = without_port(host);
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// `[::1]:80` is `[::1]`; a bare IPv6 address (more than one colon) has no port.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            let bracketed = name.starts_with('[') && name.ends_with(']');
            if bracketed || !name.contains(':') { name } else { host }
        }
        _ => host,
    }
}

/// Why a path does not meet a condition; `None` when it does.
fn mismatch(condition: &PathMatch, path: &str) -> Option<&'static str> {
    match condition {
        PathMatch::Exact(whole) => (path != whole).then_some("the path is not exactly this"),
        PathMatch::Prefix(prefix) => {
            (!path.starts_with(prefix.as_str())).then_some("the path does not start with this")
        }
        PathMatch::PathPrefix(prefix) => {
            let segments = prefix.strip_suffix('/').unwrap_or(prefix);
            match path.strip_prefix(segments) {
                None => Some("the path does not start with these segments"),
                Some(rest) if rest.is_empty() || rest.starts_with('/') => None,
                Some(_) => Some("the path goes on within the last segment"),
            }
        }
        PathMatch::Regex(_) | PathMatch::Template(_) => Some("the path does not have this form"),
    }
}

fn condition(path: &PathMatch) -> String {
    match path {
        PathMatch::Exact(whole) => format!("path = {whole}"),
        PathMatch::PathPrefix(prefix) => format!("path under {prefix}"),
        PathMatch::Prefix(prefix) => format!("path starts with {prefix}"),
        PathMatch::Regex(pattern) => format!("path matches {pattern}"),
        PathMatch::Template(template) => format!("path has the form {template}"),
    }
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
            Some(RouteAction::Forward(forward)) => {
                let names: Vec<&str> = forward.cluster.names().collect();
                writeln!(f, "  => forward to cluster {}", names.join(", "))
            }
            Some(RouteAction::Respond { status, body }) => {
                writeln!(f, "  => respond {status}: {:?}", body.trim_end())
            }
            Some(RouteAction::Redirect(redirect)) => {
                writeln!(f, "  => redirect with {}", redirect.status)
            }
        }
    }
}

/// `object @ revision`, the object alone when it is built in and so has no revision, or `(built in)`.
pub(crate) fn source(source: &Source) -> String {
    if source.object.is_empty() {
        "(built in)".to_owned()
    } else if source.revision == Revision(0) {
        source.object.clone()
    } else {
        format!("{} @ revision {}", source.object, source.revision)
    }
}

#[cfg(test)]
mod tests;
