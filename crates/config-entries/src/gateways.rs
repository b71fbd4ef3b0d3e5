//! Which services stand behind which gateways.

use model::ConfigEntry;

use crate::view::{IngressGateway, TerminatingGateway, view};
use crate::{Lookup, protocol_of};

/// A service behind a gateway.
#[derive(Clone, PartialEq, Debug)]
pub struct GatewayService<'a> {
    /// The entry that says so; its name is that of the gateway.
    pub entry: &'a ConfigEntry,
    /// The service.
    pub service: String,
    /// Port of the gateway; 0 for a terminating one.
    pub port: i64,
    /// What is spoken at that port; empty for a terminating one.
    pub protocol: String,
    /// Hosts that it is known by.
    pub hosts: Vec<String>,
    /// File with the certificate that it is known by.
    pub ca_file: String,
    /// File with the certificate that it is shown.
    pub cert_file: String,
    /// File with the key to that.
    pub key_file: String,
    /// Name that is asked for.
    pub sni: String,
    /// It is not named: `*` means it.
    pub from_wildcard: bool,
    /// The host of requests becomes its own.
    pub auto_host_rewrite: bool,
}

/// The services behind a gateway, by name and port. `known` are the services that `*` may mean.
#[must_use]
pub fn services_of<'a>(
    lookup: &'a dyn Lookup,
    gateway: &str,
    known: &[&str],
) -> Vec<GatewayService<'a>> {
    let mut found = Vec::new();
    if let Some(entry) = lookup.entry("terminating-gateway", gateway) {
        terminating(entry, known, &mut found);
    }
    if let Some(entry) = lookup.entry("ingress-gateway", gateway) {
        ingress(lookup, entry, known, &mut found);
    }
    found.sort_by(|a, b| (&a.service, a.port).cmp(&(&b.service, b.port)));
    found
}

/// The gateways of a kind that a service stands behind. `is_known` says that `*` means it, too.
#[must_use]
pub fn in_front_of<'a>(
    lookup: &'a dyn Lookup,
    kind: &str,
    service: &str,
    is_known: bool,
) -> Vec<&'a ConfigEntry> {
    let known: &[&str] = if is_known { &[service] } else { &[] };
    let mut gateways = lookup.entries(kind);
    gateways.retain(|entry| {
        let mut found = Vec::new();
        match kind {
            "terminating-gateway" => terminating(entry, known, &mut found),
            _ => ingress(lookup, entry, known, &mut found),
        }
        found.iter().any(|it| it.service.eq_ignore_ascii_case(service))
    });
    gateways
}

fn terminating<'a>(entry: &'a ConfigEntry, known: &[&str], found: &mut Vec<GatewayService<'a>>) {
    let gateway: TerminatingGateway = view(entry);
    let is_named =
        |name: &str| gateway.services.iter().any(|it| it.name.eq_ignore_ascii_case(name));
    for linked in &gateway.services {
        let from_wildcard = linked.name == "*";
        let names: Vec<&str> = if from_wildcard {
            let others = known.iter().copied();
            others.filter(|it| !is_named(it) && !it.eq_ignore_ascii_case(&entry.name)).collect()
        } else {
            vec![&linked.name]
        };
        found.extend(names.into_iter().map(|service| GatewayService {
            entry,
            service: service.to_owned(),
            port: 0,
            protocol: String::new(),
            hosts: Vec::new(),
            ca_file: linked.ca_file.clone(),
            cert_file: linked.cert_file.clone(),
            key_file: linked.key_file.clone(),
            sni: linked.sni.clone(),
            from_wildcard,
            auto_host_rewrite: !linked.disable_auto_host_rewrite,
        }));
    }
}

fn ingress<'a>(
    lookup: &dyn Lookup,
    entry: &'a ConfigEntry,
    known: &[&str],
    found: &mut Vec<GatewayService<'a>>,
) {
    let gateway: IngressGateway = view(entry);
    for listener in &gateway.listeners {
        let is_named =
            |name: &str| listener.services.iter().any(|it| it.name.eq_ignore_ascii_case(name));
        for service in &listener.services {
            let from_wildcard = service.name == "*";
            let names: Vec<&str> = if from_wildcard {
                let others = known.iter().copied().filter(|it| !is_named(it));
                others.filter(|it| protocol_of(lookup, it) == listener.protocol).collect()
            } else {
                vec![&service.name]
            };
            found.extend(names.into_iter().map(|name| GatewayService {
                entry,
                service: name.to_owned(),
                port: listener.port,
                protocol: listener.protocol.clone(),
                hosts: service.hosts.clone(),
                ca_file: String::new(),
                cert_file: String::new(),
                key_file: String::new(),
                sni: String::new(),
                from_wildcard,
                auto_host_rewrite: false,
            }));
        }
    }
}
