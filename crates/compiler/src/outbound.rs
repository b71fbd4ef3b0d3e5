//! The routes of the outbound listener, where the host names the service.

use std::collections::{BTreeMap, BTreeSet};

use model::{DocumentKey, Folded, Severity};
use proxy_config::{Forward, PathMatch, Route, RouteAction, RouteTable, Source, VirtualHost};

use crate::declared::{Declared, finding};
use crate::entries::{Entries, Host, finding as entry_finding};
use crate::registered::{self, Registered};
use crate::{Finding, OUTBOUND, Settings};

/// One virtual host for each Service document with an HTTP port and for each service of the registry. A domain is given
/// once: to a document before a service, to a service's own name before a name derived from another's. What a
/// configuration entry says of a service is said of a service of the registry, also when that has no instances.
pub(crate) fn route_table(
    settings: &Settings,
    services: &BTreeMap<Folded, Registered>,
    documents: &BTreeMap<DocumentKey, Declared>,
    entries: &Entries,
) -> (RouteTable, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let mut virtual_hosts = Vec::with_capacity(services.len() + documents.len());
    for declared in documents.values() {
        let Some((http, port)) = declared.http_port() else { continue };
        findings.extend(unreachable_ports(declared, http.port));
        let DocumentKey { name, namespace, .. } = &declared.document.key;
        let mut domains = vec![
            format!("{name}.{namespace}"),
            format!("{name}.{namespace}.svc"),
            format!("{name}.{namespace}.svc.cluster.local"),
        ];
        if namespace == "default" {
            domains.insert(0, name.clone());
        }
        domains.retain(|it| taken.insert(it.clone()));
        let name = format!("{name}.{namespace}");
        let route = route(name.clone(), &port.cluster.name, settings, declared.source());
        virtual_hosts.push(VirtualHost { name, domains, routes: vec![route], require_tls: false });
    }
    let first = virtual_hosts.len();
    let names: BTreeSet<&Folded> = services.keys().chain(entries.names()).collect();
    for name in names {
        let own = name.to_string();
        let host = entries.host(name);
        // A `*` would be read as a pattern.
        let domains = if own.contains('*') {
            Vec::new()
        } else if taken.insert(own.clone()) {
            vec![own.clone()]
        } else {
            findings.extend(host.and_then(|it| taken_by_document(name, it)));
            Vec::new()
        };
        let routes = match host {
            Some(host) => host.routes.clone(),
            None => vec![route(own.clone(), &own, settings, registered::source(name))],
        };
        virtual_hosts.push(VirtualHost { name: own, domains, routes, require_tls: false });
    }
    let datacenter = settings.datacenter.to_lowercase();
    for host in virtual_hosts.iter_mut().skip(first).filter(|it| !it.name.contains('*')) {
        let name = &host.name;
        let of_dns = settings.dns_domains.iter().flat_map(|domain| {
            [format!("{name}.service.{domain}"), format!("{name}.service.{datacenter}.{domain}")]
        });
        let own = [format!("{name}.mesh"), format!("{name}.service.mesh")];
        for domain in own.into_iter().chain(of_dns) {
            if taken.insert(domain.clone()) {
                host.domains.push(domain);
            }
        }
    }
    virtual_hosts.retain(|it| !it.domains.is_empty());
    (RouteTable { name: OUTBOUND.to_owned(), virtual_hosts }, findings)
}

fn route(name: String, cluster: &str, settings: &Settings, source: Source) -> Route {
    let forward = Forward { timeout: settings.request_timeout, ..Forward::to(cluster) };
    let path = PathMatch::Prefix("/".to_owned());
    Route { source, ..Route::new(&name, path, RouteAction::Forward(Box::new(forward))) }
}

/// Where both a document and an entry speak of a name, the document wins.
fn taken_by_document(name: &Folded, host: &Host) -> Option<Finding> {
    let message = format!(
        "a Service document is called {name}: the entry holds for {name}.mesh and {name}.service.consul only"
    );
    let remedy = "delete the document, or give it another name";
    Some(entry_finding(host.cause.as_ref()?, (Severity::Approximated, "Name", message, remedy)))
}

/// A host has no port in a route table, so of several HTTP ports only one is reached by name.
fn unreachable_ports(declared: &Declared, reached: u16) -> impl Iterator<Item = Finding> {
    let ports = declared.spec().ports.iter().enumerate();
    let others = ports.filter(move |it| !it.1.raw_tcp && it.1.port != reached);
    others.map(move |(idx, port)| {
        let message = format!(
            "callers at the outbound listener get port {reached}; port {} is reached through an Ingress only",
            port.port
        );
        let field = format!("spec.ports[{idx}]");
        let remedy = "make it a Service of its own";
        finding(&declared.document, Severity::Approximated, field, message, remedy)
    })
}
