//! `Proxy` of a service, and the rules of proxies and gateways.

use std::collections::BTreeSet;
use std::sync::Arc;

use config_entries::{PROXY, Unreadable, read_fields};
use model::Instance;
use model::go::quote;
use serde_json::{Map, Value};

use super::BadRequest;
use super::fields::Fields;

/// Kinds of services that are gateways.
const GATEWAYS: &[&str] =
    &["mesh-gateway", "terminating-gateway", "ingress-gateway", "api-gateway"];
/// Kind of a service that is a proxy in front of another.
pub(super) const CONNECT_PROXY: &str = "connect-proxy";

/// Reads `Kind`.
pub(super) fn read_kind(fields: &mut Fields<'_>) -> Result<String, BadRequest> {
    let kind = fields.text("Kind")?;
    let is_known =
        matches!(kind.as_str(), "" | "typical" | CONNECT_PROXY) || GATEWAYS.contains(&&*kind);
    if is_known {
        return Ok(kind);
    }
    Err(BadRequest::new(format!(
        "Invalid Kind {}: must be empty, {CONNECT_PROXY}, {}",
        quote(&kind),
        GATEWAYS.join(", ")
    )))
}

/// Reads `Proxy` of a service of this kind. That of one that is no proxy says nothing in most cases: clients write back
/// the `"Proxy":{"Mode":"","MeshGateway":{}}` that they read.
pub(super) fn read_proxy(
    fields: &mut Fields<'_>,
    kind: &str,
) -> Result<Option<Arc<Value>>, BadRequest> {
    let given = fields.take("Proxy");
    let is_proxy = !matches!(kind, "" | "typical");
    let empty = Value::Object(Map::new());
    let value = match given {
        Some(value) if is_proxy || !is_hollow(value) => value,
        Some(_) | None if is_proxy => &empty,
        Some(_) | None => return Ok(None),
    };
    let Value::Object(object) = value else {
        let text = "json: cannot unmarshal value into Go struct field Proxy of type struct";
        return Err(BadRequest::undecodable(text));
    };
    let read =
        read_fields(&PROXY, object, &[]).map_err(|Unreadable { unknown, mismatches }| {
            match (mismatches.first(), unknown.first()) {
                (Some(mismatch), _) => BadRequest::undecodable(format!("json: Proxy: {mismatch}")),
                (None, field) => {
                    let field = field.map_or("", String::as_str);
                    BadRequest::undecodable(format!("json: unknown field {}", quote(field)))
                }
            }
        })?;
    Ok(Some(Arc::new(Value::Object(read))))
}

/// True for a value that says nothing.
fn is_hollow(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(is_hollow),
        Value::Object(object) => object.values().all(is_hollow),
    }
}

/// What is wrong with a service as a part of the mesh, in Consul's words.
pub(super) fn mesh_faults(instance: &Instance) -> Vec<String> {
    let nothing = Value::Null;
    let proxy = instance.proxy.as_deref().unwrap_or(&nothing);
    let mut faults = Vec::new();
    if instance.kind == CONNECT_PROXY {
        proxy_faults(instance, proxy, &mut faults);
    }
    if GATEWAYS.contains(&&*instance.kind) {
        gateway_faults(instance, proxy, &mut faults);
    }
    if instance.connect_native && instance.port == 0 && instance.socket_path.is_empty() {
        faults.push("Port or SocketPath must be set for a Connect native service.".to_owned());
    }
    faults
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn number(value: &Value, name: &str) -> i64 {
    value[name].as_i64().unwrap_or_default()
}

fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn proxy_faults(instance: &Instance, proxy: &Value, faults: &mut Vec<String>) {
    let what = "Proxy.DestinationServiceName must";
    match text(proxy, "DestinationServiceName").trim() {
        "" => faults.push(format!("{what} be non-empty for Connect proxy services")),
        "*" => faults.push(format!("{what} not be a wildcard for Connect proxy services")),
        _ => {}
    }
    if instance.connect_native {
        faults.push("A Proxy cannot also be Connect Native, only typical services".to_owned());
    }
    upstream_faults(proxy, faults);
    let mut ports = BTreeSet::new();
    for path in items(&proxy["Expose"], "Paths") {
        if text(path, "Path").is_empty() {
            faults.push("expose.paths: empty path exposed".to_owned());
        }
        let port = number(path, "ListenerPort");
        if !ports.insert(port) {
            faults.push("expose.paths: duplicate listener ports exposed".to_owned());
        }
        if !(1..=65535).contains(&port) {
            faults.push(format!("expose.paths: invalid listener port: {port}"));
        }
        let protocol = text(path, "Protocol").to_lowercase();
        if !matches!(protocol.as_str(), "" | "http" | "http2") {
            let path = text(path, "Path");
            faults.push(format!(
                "protocol '{protocol}' not supported for path: {path}, must be in: [http http2]"
            ));
        }
    }
}

fn upstream_faults(proxy: &Value, faults: &mut Vec<String>) {
    let (mut upstreams, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    for upstream in items(proxy, "Upstreams") {
        let kind = text(upstream, "DestinationType");
        let name = text(upstream, "DestinationName");
        if !matches!(kind, "" | "service" | "prepared_query") {
            faults.push(format!("unknown upstream destination type: {}", quote(kind)));
            continue;
        }
        if name.is_empty() {
            faults.push("upstream destination name cannot be empty".to_owned());
            continue;
        }
        if name == "*" {
            faults.push("upstream destination name cannot be a wildcard".to_owned());
            continue;
        }
        let port = number(upstream, "LocalBindPort");
        let socket = text(upstream, "LocalBindSocketPath");
        let is_central = upstream["CentrallyConfigured"].as_bool().unwrap_or_default();
        if port == 0 && socket.is_empty() && !is_central {
            faults.push(
                "upstream local bind port or local socket path must be defined and nonzero"
                    .to_owned(),
            );
            continue;
        }
        let key = (kind, name, text(upstream, "Datacenter"), text(upstream, "DestinationPeer"));
        if !upstreams.insert(key) {
            faults.push(format!("upstreams cannot contain duplicates of {name}"));
            continue;
        }
        let address = match (socket, text(upstream, "LocalBindAddress")) {
            ("", "") => format!("127.0.0.1:{port}"),
            ("", address) => format!("{address}:{port}"),
            (socket, _) => socket.to_owned(),
        };
        if !addresses.insert(address.clone()) && !is_central {
            faults.push(format!(
                "upstreams cannot contain duplicates by local bind address and port or unix path; {} is specified twice",
                quote(&address)
            ));
        }
    }
}

fn gateway_faults(instance: &Instance, proxy: &Value, faults: &mut Vec<String>) {
    let kind = &instance.kind;
    if instance.port == 0 && !matches!(kind.as_str(), "ingress-gateway" | "api-gateway") {
        faults.push(format!("Port must be non-zero for a {kind}"));
    }
    for name in [
        "DestinationServiceName",
        "DestinationServiceID",
        "LocalServiceAddress",
        "LocalServicePort",
        "LocalServiceSocketPath",
        "Upstreams",
    ] {
        if !is_hollow(&proxy[name]) {
            faults.push(format!("The Proxy.{name} configuration is invalid for a {kind}"));
        }
    }
}

/// Several faults in the form of Go's `multierror`; `None` without any.
pub(super) fn listed(faults: &[String]) -> Option<String> {
    let count = match faults.len() {
        0 => return None,
        1 => "1 error".to_owned(),
        count => format!("{count} errors"),
    };
    let lines: String = faults.iter().map(|it| format!("\t* {it}\n")).collect();
    Some(format!("{count} occurred:\n{lines}\n"))
}
