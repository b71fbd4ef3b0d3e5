//! The routes of the ingress listeners, from all Ingress documents together. Of two that claim the same host and path
//! the one that is there longer wins, so that a new document cannot take over the traffic of another.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use model::{
    Backend, Catalog, Document, DocumentKey, Folded, IngressSpec, PathKind, PortRef, Revision,
    Severity, Spec, Stored,
};
use proxy_config::{Forward, PathMatch, Route, RouteAction, RouteTable, Source, VirtualHost};

use crate::declared::{Declared, finding, source};
use crate::entries::{Entries, Host, narrow};
use crate::registered::Registered;
use crate::{Finding, INGRESS, Settings};

/// What a backend is looked up in.
pub(crate) struct Backends<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) services: &'a BTreeMap<Folded, Registered>,
    pub(crate) documents: &'a BTreeMap<DocumentKey, Declared>,
    pub(crate) entries: &'a Entries,
}

/// How a path is matched; sorts as routes are tried: whole paths first, then prefixes, longer before shorter.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct PathKey {
    is_prefix: bool,
    length: Reverse<usize>,
    path: String,
}

type Routes = BTreeMap<PathKey, Claim>;

/// A path that a document has taken.
#[derive(Clone)]
struct Claim {
    /// The document.
    winner: String,
    /// What is done with requests there: several where configuration entries tell them apart.
    routes: Vec<Route>,
}

/// The Ingress documents of a catalog, those that are there longest first.
pub(crate) fn ingress_documents(catalog: &Catalog) -> Vec<(&Arc<Stored<Document>>, &IngressSpec)> {
    let mut found: Vec<_> = catalog
        .documents()
        .filter_map(|document| match &document.spec {
            Spec::Ingress(ingress) => Some((document, ingress)),
            Spec::Service(_) | Spec::Secret(_) | Spec::Workload(_) | Spec::Rollout(_) => None,
        })
        .collect();
    found.sort_by(|a, b| (a.0.created, &a.0.key).cmp(&(b.0.created, &b.0.key)));
    found
}

/// All routes from outside. Hosts in the order of their names, `*` for any.
pub(crate) fn route_table(
    documents: &[(&Arc<Stored<Document>>, &IngressSpec)],
    backends: &Backends<'_>,
) -> (RouteTable, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut hosts: BTreeMap<String, Routes> = BTreeMap::new();
    let mut default: Option<Claim> = None;
    for (document, ingress) in documents {
        add_rules(document, ingress, backends, &mut hosts, &mut findings);
        let Some(backend) = &ingress.default_backend else { continue };
        let field = "spec.defaultBackend";
        if let Some(winner) = &default {
            let message = format!("{} has a default backend already", winner.winner);
            let remedy = "keep one of the two";
            findings.push(finding(document, Severity::Ignored, field, message, remedy));
            continue;
        }
        let name = format!("{}/{} default", document.key.namespace, document.key.name);
        let path = PathMatch::PathPrefix("/".to_owned());
        let claim = Claiming { document, ingress, name, path };
        default = Some(backends.claim(claim, backend, field, &mut findings));
    }
    if default.is_some() {
        hosts.entry("*".to_owned()).or_default();
    }
    let virtual_hosts = hosts
        .into_iter()
        .map(|(host, routes)| {
            let catches_all = routes.keys().any(|it| it.is_prefix && it.path == "/");
            let mut routes: Vec<Route> = routes.into_values().flat_map(|it| it.routes).collect();
            let default = default.iter().filter(|_| !catches_all);
            routes.extend(default.flat_map(|it| it.routes.iter().cloned()));
            VirtualHost { name: host.clone(), domains: vec![host], routes, require_tls: false }
        })
        .collect();
    (RouteTable { name: INGRESS.to_owned(), virtual_hosts }, findings)
}

fn add_rules(
    document: &Stored<Document>,
    ingress: &IngressSpec,
    backends: &Backends<'_>,
    hosts: &mut BTreeMap<String, Routes>,
    findings: &mut Vec<Finding>,
) {
    for (rule_idx, rule) in ingress.rules.iter().enumerate() {
        let host = if rule.host.is_empty() { "*" } else { rule.host.as_str() };
        let routes = hosts.entry(host.to_owned()).or_default();
        for (path_idx, path) in rule.paths.iter().enumerate() {
            let field = format!("spec.rules[{rule_idx}].http.paths[{path_idx}]");
            let key = PathKey::new(&path.path, path.kind);
            let free = match routes.entry(key) {
                Entry::Vacant(free) => free,
                Entry::Occupied(taken) => {
                    let winner = &taken.get().winner;
                    let message = format!("{host}{} is taken already by {winner}", path.path);
                    let remedy = "use another host or path, or delete one of the two";
                    findings.push(finding(document, Severity::Ignored, field, message, remedy));
                    continue;
                }
            };
            let DocumentKey { namespace, name, .. } = &document.key;
            let name = format!("{namespace}/{name} {host}{}", path.path);
            let of_backend = format!("{field}.backend");
            let claim = Claiming { document, ingress, name, path: free.key().to_match() };
            free.insert(backends.claim(claim, &path.backend, &of_backend, findings));
        }
    }
}

impl PathKey {
    fn new(path: &str, kind: PathKind) -> Self {
        let is_prefix = match kind {
            PathKind::Exact => false,
            PathKind::Prefix | PathKind::Implementation => true,
        };
        // `/a` and `/a/` are the same prefix.
        let path = match path.trim_end_matches('/') {
            "" if is_prefix => "/",
            trimmed if is_prefix => trimmed,
            _ => path,
        };
        Self { is_prefix, length: Reverse(path.len()), path: path.to_owned() }
    }

    fn to_match(&self) -> PathMatch {
        if self.is_prefix {
            PathMatch::PathPrefix(self.path.clone())
        } else {
            PathMatch::Exact(self.path.clone())
        }
    }
}

/// A path that a document takes.
struct Claiming<'a> {
    document: &'a Stored<Document>,
    ingress: &'a IngressSpec,
    /// Of the route.
    name: String,
    path: PathMatch,
}

/// What a backend is.
enum Destination<'a> {
    /// A cluster.
    Cluster(String),
    /// A service that configuration entries speak of.
    Host(&'a Host),
}

impl Backends<'_> {
    /// What to do with requests for `backend`. One that is not there answers 503 and says so.
    fn claim(
        &self,
        claiming: Claiming<'_>,
        backend: &Backend,
        field: &str,
        findings: &mut Vec<Finding>,
    ) -> Claim {
        let Claiming { document, ingress, name, path } = claiming;
        let found = self.find(&document.key.namespace, backend);
        let source = source(document);
        let winner = source.object.clone();
        let routes = match found {
            Ok((destination, doubt)) => {
                findings.extend(doubt.map(|message| {
                    let remedy = "declare a Service document of that name";
                    finding(document, Severity::Approximated, field, message, remedy)
                }));
                match destination {
                    Destination::Cluster(cluster) => {
                        let forward = Forward {
                            timeout: self.settings.request_timeout,
                            ..Forward::to(&cluster)
                        };
                        let action = RouteAction::Forward(Box::new(forward));
                        vec![Route { source, ..Route::new(&name, path, action) }]
                    }
                    Destination::Host(host) => below(&path, &name, &source, host),
                }
            }
            Err((reason, remedy)) => {
                let message = format!("{reason}: answered with 503");
                findings.push(finding(document, Severity::Approximated, field, message, remedy));
                let body = format!("{}: {reason}\n", document.key);
                let action = RouteAction::Respond { status: 503, body };
                vec![Route { source, ..Route::new(&name, path, action) }]
            }
        };
        let routes = routes.into_iter().map(|it| as_asked(it, ingress)).collect();
        Claim { winner, routes }
    }

    /// The cluster of a backend with a doubt about it, or why there is none and what to do.
    fn find(
        &self,
        namespace: &str,
        backend: &Backend,
    ) -> Result<(Destination<'_>, Option<String>), (String, String)> {
        let key = DocumentKey {
            group: String::new(),
            kind: "Service".to_owned(),
            namespace: namespace.to_owned(),
            name: backend.service.clone(),
        };
        let Some(declared) = self.documents.get(&key) else {
            let name = Folded::new(&backend.service);
            let host = self.entries.host(&name).map(Destination::Host);
            let cluster =
                self.services.get(&name).map(|it| Destination::Cluster(it.cluster.name.clone()));
            if let Some(destination) = host.or(cluster) {
                let doubt = format!(
                    "there is no {key}: the registered service {name} is called, on its own ports"
                );
                return Ok((destination, Some(doubt)));
            }
            let remedy = "declare it, or register a service of that name".to_owned();
            return Err((format!("{key} does not exist"), remedy));
        };
        match declared.port(&backend.port) {
            Some((spec, port)) if !spec.raw_tcp => {
                Ok((Destination::Cluster(port.cluster.name.clone()), None))
            }
            Some((spec, _)) => {
                let reason = format!("port {} of {key} carries bytes, not HTTP", spec.port);
                Err((reason, "change its `appProtocol`".to_owned()))
            }
            None => {
                let wanted = match &backend.port {
                    PortRef::Number(number) => number.to_string(),
                    PortRef::Name(name) => format!("`{name}`"),
                };
                let known: Vec<String> = declared.spec().ports.iter().map(describe).collect();
                let remedy = format!("its ports are: {}", known.join(", "));
                Err((format!("{key} has no port {wanted}"), remedy))
            }
        }
    }
}

/// The routes of a service below a path. The document says where, the entries what is done there.
fn below(path: &PathMatch, name: &str, document: &Source, host: &Host) -> Vec<Route> {
    let routes = host.routes.iter().cloned().filter_map(|it| narrow(path, it));
    routes
        .map(|route| {
            let is_built_in = route.source.revision == Revision(0);
            let source = if is_built_in {
                document.clone()
            } else {
                Source {
                    object: format!("{}, {}", document.object, route.source.object),
                    revision: document.revision.max(route.source.revision),
                }
            };
            let name = format!("{name} {}", route.name);
            Route { name, source, ..route }
        })
        .collect()
}

/// With what an Ingress says of all its requests.
fn as_asked(mut route: Route, ingress: &IngressSpec) -> Route {
    if let RouteAction::Forward(forward) = &mut route.action {
        forward.timing_headers = ingress.timing_headers;
        forward.request_id_in_response = ingress.timing_headers;
        forward.timing_trailer = ingress.timing_trailer;
    }
    route
}

fn describe(port: &model::PortSpec) -> String {
    if port.name.is_empty() {
        port.port.to_string()
    } else {
        format!("{} `{}`", port.port, port.name)
    }
}
