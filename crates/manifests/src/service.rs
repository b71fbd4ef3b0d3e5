use std::collections::BTreeSet;
use std::net::SocketAddr;

use model::{PortRef, PortSpec, ServiceSpec};

use crate::fields::{Field, Fields, Report};
use crate::metadata::{Annotations, Metadata};
use crate::reference::{is_port_name, is_subdomain, port_number, port_ref};

const BALANCING_WORDS: &[&str] = &["random", "round-robin", "weighted", "least-request"];

const NO_VIRTUAL_IP: (&str, &str) =
    ("a service has no virtual IP here", "reach it by name at the outbound listener");
const NO_CLUSTER_EDGE: (&str, &str) =
    ("there is no cluster edge to open", "publish it with an Ingress or `leno.dev/listen`");

/// Reads what a `Service` asks for.
pub(crate) fn read(
    document: &mut Fields<'_>,
    metadata: &mut Metadata<'_>,
    report: &mut Report<'_>,
) -> ServiceSpec {
    document.skip(&["status"]);
    let mut service = ServiceSpec::default();
    let fields = document.require("spec", report).and_then(|it| it.fields(report));
    let Some(mut fields) = fields else { return service };
    if let Some(field) = fields.take("selector") {
        let labels = field.texts(report).into_iter();
        service.selector = labels.map(|(key, value, _)| (key.into(), value.into())).collect();
    }
    service.external_name = read_type(&mut fields, report);
    let ports = fields.take("ports");
    let no_ports = ports.is_none();
    service.ports = ports.map(|it| read_ports(&it, report)).unwrap_or_default();
    if no_ports && service.external_name.is_none() {
        report.ignored(&fields.at.missing("ports"), "no port: nobody can call it", "add `ports`");
    }
    if service.selector.is_empty() && service.external_name.is_none() {
        let message = "no selector: it has no endpoints (Endpoints documents are not read)";
        report.ignored(&fields.at.missing("selector"), message, "add the labels of the instances");
    }
    refuse_the_rest(&mut fields, report);
    fields.finish(report);
    service.balancing = read_balancing(&mut metadata.annotations, report);
    service.listen = read_listen(&mut metadata.annotations, &service.ports, report);
    service
}

/// Reads `type`; gives the host name of an `ExternalName`.
fn read_type(fields: &mut Fields<'_>, report: &mut Report<'_>) -> Option<String> {
    let kind = fields.take("type");
    let external = fields.take("externalName");
    let word = match &kind {
        Some(field) => field.text(report)?,
        None => "ClusterIP",
    };
    match (word, kind) {
        ("ExternalName", _) => {
            let Some(field) = external else {
                report.error(&fields.at.missing("externalName"), "missing", "add the host name");
                return None;
            };
            let name = field.text(report)?.to_ascii_lowercase();
            if !is_subdomain(name.trim_end_matches('.')) {
                report.error(&field.at, format!("`{name}` is not a host name"), "use a DNS name");
                return None;
            }
            return Some(name);
        }
        ("NodePort" | "LoadBalancer", Some(field)) => {
            let message = format!("`{word}` is served as ClusterIP: {}", NO_CLUSTER_EDGE.0);
            report.approximated(&field.at, message, NO_CLUSTER_EDGE.1);
        }
        ("ClusterIP", _) | (_, None) => {}
        (_, Some(field)) => {
            let remedy = "use ClusterIP, NodePort, LoadBalancer or ExternalName";
            report.error(&field.at, format!("`{word}` is not a type of service"), remedy);
        }
    }
    if let Some(field) = external {
        report.ignored(&field.at, "counts only with `type: ExternalName`", "remove it");
    }
    None
}

fn read_ports(field: &Field<'_>, report: &mut Report<'_>) -> Vec<PortSpec> {
    let items = field.items(report);
    let several = items.len() > 1;
    let mut names = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    let mut ports = Vec::new();
    for item in items {
        let Some(port) = read_port(&item, report) else { continue };
        if several && port.name.is_empty() {
            let remedy = "name each port of several";
            report.error(&item.at.missing("name"), "missing", remedy);
        } else if several && !names.insert(port.name.clone()) {
            let message = format!("`{}` names two ports", port.name);
            report.error(&item.at, message, "give each its own name");
        }
        if !numbers.insert(port.port) {
            let message = format!("port {} is listed twice", port.port);
            report.error(&item.at, message, "keep one of the two");
        }
        ports.push(port);
    }
    ports
}

fn read_port(item: &Field<'_>, report: &mut Report<'_>) -> Option<PortSpec> {
    let mut fields = item.fields(report)?;
    let name = match fields.take("name") {
        Some(field) => {
            let name = field.text(report)?;
            if !is_port_name(name) {
                let message = format!("`{name}` is not a port's name");
                report.error(&field.at, message, "use a-z, 0-9 and `-`, with at least one letter");
            }
            name
        }
        None => "",
    };
    let port = fields.require("port", report).and_then(|it| port_number(&it, report));
    let target = match fields.take("targetPort") {
        Some(field) => port_ref(&field, report),
        None => Some(PortRef::default()),
    };
    let carried = read_protocol(&mut fields, report);
    let (raw_tcp, http2) = read_app_protocol(&mut fields, name, report);
    fields.refuse("nodePort", &["0"], NO_CLUSTER_EDGE, report);
    fields.finish(report);
    let port = PortSpec { name: name.to_owned(), port: port?, target: target?, raw_tcp, http2 };
    carried.then_some(port)
}

/// True when the port can be carried: `TCP`, which is also the default.
fn read_protocol(fields: &mut Fields<'_>, report: &mut Report<'_>) -> bool {
    let Some(field) = fields.take("protocol") else { return true };
    match field.text(report) {
        Some("TCP") => true,
        Some(word @ ("UDP" | "SCTP")) => {
            let message = format!("{word} is not carried: the port is left out");
            report.ignored(&field.at, message, "callers can find the instances by DNS");
            false
        }
        Some(word) => {
            let message = format!("`{word}` is not a protocol");
            report.error(&field.at, message, "write TCP");
            false
        }
        None => false,
    }
}

/// What is spoken on a port: (bytes, HTTP/2 without TLS).
fn read_app_protocol(fields: &mut Fields<'_>, name: &str, report: &mut Report<'_>) -> (bool, bool) {
    let by_name = name == "grpc" || name.starts_with("grpc-");
    let Some(field) = fields.take("appProtocol") else { return (false, by_name) };
    match field.text(report) {
        None | Some("http" | "http1" | "kubernetes.io/ws") => (false, false),
        Some("kubernetes.io/h2c" | "h2c" | "http2" | "grpc") => (false, true),
        Some("tcp") => (true, false),
        Some(word) => {
            let message = format!("`{word}` is not known: the port is served as HTTP/1.1");
            let remedy = "use http, kubernetes.io/h2c, grpc, kubernetes.io/ws or tcp";
            report.approximated(&field.at, message, remedy);
            (false, by_name)
        }
    }
}

/// Fields that Kubernetes knows and that are not honored, each unless it asks for what happens anyway.
fn refuse_the_rest(fields: &mut Fields<'_>, report: &mut Report<'_>) {
    fields.skip(&["ipFamilies", "ipFamilyPolicy"]);
    // `None` asks for no virtual IP, and there is none.
    fields.refuse("clusterIP", &["None", ""], NO_VIRTUAL_IP, report);
    fields.skip(&["clusterIPs"]);
    for name in ["externalIPs", "loadBalancerIP", "loadBalancerClass", "loadBalancerSourceRanges"] {
        fields.refuse(name, &[], NO_CLUSTER_EDGE, report);
    }
    fields.refuse("allocateLoadBalancerNodePorts", &["false"], NO_CLUSTER_EDGE, report);
    fields.refuse("healthCheckNodePort", &["0"], NO_CLUSTER_EDGE, report);
    let affinity = ("requests of one client are spread over all instances", "remove it");
    fields.refuse("sessionAffinity", &["None"], affinity, report);
    fields.refuse("sessionAffinityConfig", &[], affinity, report);
    let near = ("all instances are used, wherever they are", "remove it");
    fields.refuse("internalTrafficPolicy", &["Cluster"], near, report);
    fields.refuse("externalTrafficPolicy", &["Cluster"], near, report);
    fields.refuse("trafficDistribution", &[], near, report);
    let ready = ("an instance with a critical check gets no requests", "remove it");
    fields.refuse("publishNotReadyAddresses", &["false"], ready, report);
}

fn read_balancing(annotations: &mut Annotations<'_>, report: &mut Report<'_>) -> Option<String> {
    let (word, at) = annotations.take("leno.dev/balance")?;
    if !BALANCING_WORDS.contains(&word) {
        let message = format!("`{word}` is not a way of balancing");
        report.error(&at, message, format!("use one of {}", BALANCING_WORDS.join(", ")));
        return None;
    }
    Some(word.to_owned())
}

fn read_listen(
    annotations: &mut Annotations<'_>,
    ports: &[PortSpec],
    report: &mut Report<'_>,
) -> Option<SocketAddr> {
    let (text, at) = annotations.take("leno.dev/listen")?;
    let address = text.parse::<SocketAddr>().ok().filter(|it| it.port() != 0);
    if address.is_none() {
        let message = format!("`{text}` is not an address with a port");
        report.error(&at, message, "write for example 127.0.0.1:5432");
    }
    if ports.iter().filter(|it| it.raw_tcp).count() != 1 {
        let message = "needs exactly one port that carries bytes";
        report.error(&at, message, "give one port `appProtocol: tcp`");
    }
    address
}
