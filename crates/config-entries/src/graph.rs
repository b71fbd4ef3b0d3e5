//! The rules that entries obey among each other.

use std::collections::BTreeSet;

use model::ConfigEntry;

use crate::chain::{Chain, Overrides, Scope};
use crate::view::{IngressGateway, Resolver, Router, Splitter, view};
use crate::{Lookup, intentions, is_http_like, protocol_of};

/// Kinds that are parts of chains.
const ROUTING: &[&str] = &["service-router", "service-splitter", "service-resolver"];

/// Checks what an entry changes for others. `lookup` has it as it is to be: there, changed, or gone.
///
/// # Errors
/// A sentence about what would no longer be right.
pub fn check_graph(lookup: &dyn Lookup, kind: &str, name: &str) -> Result<(), String> {
    match kind {
        "ingress-gateway" => check_clash(lookup, name, kind, "terminating-gateway"),
        "terminating-gateway" => check_clash(lookup, name, kind, "ingress-gateway"),
        "service-intentions" => check_permissions(lookup, name),
        _ => Ok(()),
    }?;
    match kind {
        "proxy-defaults" => check_all(lookup),
        "service-defaults" | "service-router" | "service-splitter" | "service-resolver"
        | "ingress-gateway" => check_around(lookup, kind, name),
        _ => Ok(()),
    }
}

fn check_clash(lookup: &dyn Lookup, name: &str, own: &str, other: &str) -> Result<(), String> {
    if lookup.entry(own, name).is_none() || lookup.entry(other, name).is_none() {
        return Ok(());
    }
    Err(format!(
        "cannot create a \"{own}\" config entry with name \"{name}\", a \"{other}\" config entry with that name already exists"
    ))
}

/// What of a request matters only where there are requests.
fn check_permissions(lookup: &dyn Lookup, name: &str) -> Result<(), String> {
    let Some(entry) = lookup.entry(intentions::KIND, name) else { return Ok(()) };
    let has_permissions = intentions::of_entry(entry).any(|it| it.allows().is_none());
    let protocol = protocol_of(lookup, name);
    if !has_permissions || is_http_like(&protocol) {
        return Ok(());
    }
    Err(format!(
        "service \"{name}\" has protocol \"{protocol}\", which does not support L7 intentions with Permissions"
    ))
}

/// Every chain and gateway: what is spoken everywhere has changed.
fn check_all(lookup: &dyn Lookup) -> Result<(), String> {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for kind in ROUTING {
        names.extend(lookup.entries(kind).into_iter().map(|it| it.name.as_str()));
    }
    for name in names {
        check_chain(lookup, name)?;
    }
    for gateway in lookup.entries("ingress-gateway") {
        check_gateway(lookup, gateway)?;
    }
    for entry in lookup.entries(intentions::KIND) {
        check_permissions(lookup, &entry.name)?;
    }
    Ok(())
}

/// The chain of a service, and those that lead to it.
fn check_around(lookup: &dyn Lookup, kind: &str, name: &str) -> Result<(), String> {
    if kind == "ingress-gateway" {
        return match lookup.entry(kind, name) {
            Some(gateway) => check_gateway(lookup, gateway),
            None => Ok(()),
        };
    }
    // Who leads to who leads to it is concerned, too.
    let mut concerned: BTreeSet<String> = BTreeSet::from([name.to_lowercase()]);
    let links = links(lookup);
    loop {
        let more: Vec<String> = links
            .iter()
            .filter(|(from, to)| {
                !concerned.contains(from) && to.iter().any(|it| concerned.contains(it))
            })
            .map(|(from, _)| from.clone())
            .collect();
        if more.is_empty() {
            break;
        }
        concerned.extend(more);
    }
    for service in &concerned {
        check_chain(lookup, service)?;
    }
    for gateway in lookup.entries("ingress-gateway") {
        let view: IngressGateway = view(gateway);
        let mut services = view.listeners.iter().flat_map(|it| &it.services);
        if services.any(|it| concerned.contains(&it.name.to_lowercase())) {
            check_gateway(lookup, gateway)?;
        }
    }
    if kind == "service-defaults" {
        check_permissions(lookup, name)?;
    }
    Ok(())
}

/// Which services the entries of each lead to, in lower case.
fn links(lookup: &dyn Lookup) -> Vec<(String, BTreeSet<String>)> {
    let mut links = Vec::new();
    for kind in ROUTING {
        for entry in lookup.entries(kind) {
            let to = related(entry).into_iter().filter(|it| !it.is_empty());
            links.push((entry.name.to_lowercase(), to.map(|it| it.to_lowercase()).collect()));
        }
    }
    links
}

fn related(entry: &ConfigEntry) -> Vec<String> {
    match entry.kind.as_str() {
        "service-router" => {
            let routes = view::<Router>(entry).routes;
            routes.into_iter().filter_map(|it| it.destination).map(|it| it.service).collect()
        }
        "service-splitter" => {
            view::<Splitter>(entry).splits.into_iter().map(|it| it.service).collect()
        }
        _ => {
            let resolver: Resolver = view(entry);
            let redirect = resolver.redirect.into_iter().map(|it| it.service);
            let failover = resolver.failover.into_values().flat_map(|it| {
                let targets = it.targets.into_iter().filter(|it| it.peer.is_empty());
                targets.map(|it| it.service).chain([it.service]).collect::<Vec<_>>()
            });
            redirect.chain(failover).collect()
        }
    }
}

fn check_chain(lookup: &dyn Lookup, service: &str) -> Result<(), String> {
    // Where it is looked at from makes no difference to whether it is right.
    let scope = Scope { datacenter: "dc1", trust_domain: "consul" };
    let compiled = Chain::compile(lookup, service, scope, &Overrides::default());
    compiled.map(|_| ()).map_err(|it| it.to_string())
}

/// What is spoken at a port of a gateway is what the services behind it speak.
fn check_gateway(lookup: &dyn Lookup, entry: &ConfigEntry) -> Result<(), String> {
    let gateway: IngressGateway = view(entry);
    for listener in &gateway.listeners {
        for service in listener.services.iter().filter(|it| it.name != "*") {
            let protocol = protocol_of(lookup, &service.name);
            if protocol != listener.protocol {
                return Err(format!(
                    "service \"{}\" has protocol \"{protocol}\", which is incompatible with listener with protocol \"{}\"",
                    service.name, listener.protocol
                ));
            }
        }
    }
    Ok(())
}
