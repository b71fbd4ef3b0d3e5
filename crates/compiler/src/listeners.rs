//! The sockets of a proxy: ingress, outbound, and one for each Service document that asks for an address.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use model::{DocumentKey, Revision, Severity};
use proxy_config::{
    ClientAddress, HttpListener, Listener, ListenerProtocol, Source, TcpListener, TlsServer,
};

use crate::declared::{Declared, finding};
use crate::{Finding, INGRESS, INGRESS_HTTPS, OUTBOUND, Settings};

/// All listeners of a proxy. Of two at one address the built-in one wins, then the older document.
pub(crate) fn listeners(
    settings: &Settings,
    tls: &TlsServer,
    documents: &BTreeMap<DocumentKey, Declared>,
) -> (Vec<Listener>, Vec<Finding>) {
    let mut listeners = Vec::new();
    if let Some(address) = settings.ingress_http {
        listeners.push(http(settings, INGRESS, address, INGRESS, None));
    }
    let has_certificate = tls.default.is_some() || !tls.by_server_name.is_empty();
    if let Some(address) = settings.ingress_https.filter(|_| has_certificate) {
        listeners.push(http(settings, INGRESS_HTTPS, address, INGRESS, Some(tls.clone())));
    }
    if let Some(address) = settings.outbound {
        listeners.push(http(settings, OUTBOUND, address, OUTBOUND, None));
    }
    let mut findings = Vec::new();
    let mut by_age: Vec<&Declared> = documents.values().collect();
    by_age.sort_by_key(|it| (it.document.created, &it.document.key));
    for declared in by_age {
        add_raw_port(settings, declared, &mut listeners, &mut findings);
    }
    (listeners, findings)
}

fn http(
    settings: &Settings,
    name: &str,
    address: SocketAddr,
    route_table: &str,
    tls: Option<TlsServer>,
) -> Listener {
    let protocol = ListenerProtocol::Http(Box::new(HttpListener {
        route_table: route_table.to_owned(),
        forward_proxy: name == OUTBOUND,
        head_bytes_max: settings.head_bytes_max,
        headers_max: settings.headers_max,
        head_timeout: settings.head_timeout,
        idle_timeout: settings.idle_timeout,
        client_address: ClientAddress { is_edge: name != OUTBOUND, ..ClientAddress::default() },
        ..HttpListener::default()
    }));
    Listener {
        connections_max: settings.connections_max,
        source: Source { object: "settings of the proxy".to_owned(), revision: Revision(0) },
        ..Listener::with_one_chain(name, address, tls, protocol)
    }
}

/// The listener of a document's port that carries bytes; such a port is reached in no other way.
fn add_raw_port(
    settings: &Settings,
    declared: &Declared,
    listeners: &mut Vec<Listener>,
    findings: &mut Vec<Finding>,
) {
    let document = &declared.document;
    let service = declared.spec();
    for (idx, (spec, port)) in service.ports.iter().zip(&declared.ports).enumerate() {
        if !spec.raw_tcp {
            continue;
        }
        let Some(address) = service.listen else {
            let message = "carries bytes, and no listener leads to it: nobody can call it";
            let remedy = "add the annotation `leno.dev/listen: \"127.0.0.1:5432\"`";
            let field = format!("spec.ports[{idx}]");
            findings.push(finding(document, Severity::Ignored, field, message, remedy));
            continue;
        };
        if let Some(other) = listeners.iter().find(|it| it.address == address) {
            let message = format!("{address} is taken already by listener {}", other.name);
            let field = "metadata.annotations[\"leno.dev/listen\"]";
            let remedy = "choose another address";
            findings.push(finding(document, Severity::Ignored, field, message, remedy));
            continue;
        }
        let name = format!("tcp/{}/{}", document.key.namespace, document.key.name);
        let protocol = ListenerProtocol::Tcp(TcpListener::to(&port.cluster.name));
        listeners.push(Listener {
            connections_max: settings.connections_max,
            source: declared.source(),
            ..Listener::with_one_chain(&name, address, None, protocol)
        });
    }
}
