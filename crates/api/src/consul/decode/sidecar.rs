//! `Connect.SidecarService`: a proxy that is registered with its service, and takes from it what it does not say itself.

use std::sync::Arc;

use model::{FlatMap, Instance};
use serde_json::{Map, Value};

use super::proxy::CONNECT_PROXY;

/// What the name and the id of a sidecar end with.
const SUFFIX: &str = "-sidecar-proxy";

/// A declared sidecar completed by its service, which has its own defaults filled in already.
pub(super) fn completed(mut sidecar: Instance, of: &Instance) -> Instance {
    sidecar.node = of.node.clone();
    sidecar.id = format!("{}{SUFFIX}", of.id).into();
    sidecar.sidecar_of = of.id.clone();
    sidecar.origin = of.origin;
    if sidecar.kind.is_empty() {
        CONNECT_PROXY.clone_into(&mut sidecar.kind);
    }
    if sidecar.service.is_empty() {
        sidecar.service = format!("{}{SUFFIX}", of.service).into();
    }
    if sidecar.address.is_empty() {
        sidecar.address.clone_from(&of.address);
    }
    if sidecar.meta.as_ref().is_none_or(FlatMap::is_empty) {
        sidecar.meta.clone_from(&of.meta);
    }
    if sidecar.tags.is_empty() {
        sidecar.tags.clone_from(&of.tags);
    }
    if sidecar.locality.is_none() {
        sidecar.locality.clone_from(&of.locality);
    }
    let mut proxy = match sidecar.proxy.as_deref() {
        Some(Value::Object(fields)) => fields.clone(),
        Some(_) | None => Map::new(),
    };
    complete_proxy(&mut proxy, of);
    sidecar.proxy = Some(Arc::new(Value::Object(proxy)));
    sidecar
}

fn complete_proxy(proxy: &mut Map<String, Value>, of: &Instance) {
    let says = |proxy: &Map<String, Value>, name: &str| {
        proxy.get(name).is_some_and(|it| !matches!(it, Value::Null) && *it != "" && *it != 0)
    };
    let destination =
        [("DestinationServiceName", of.service.as_str()), ("DestinationServiceID", of.id.as_str())];
    for (name, value) in destination {
        if !says(proxy, name) {
            proxy.insert(name.to_owned(), Value::from(value));
        }
    }
    let has_address = says(proxy, "LocalServiceAddress") && says(proxy, "LocalServicePort");
    if says(proxy, "LocalServiceSocketPath") || has_address {
        return;
    }
    if !of.socket_path.is_empty() {
        let path = Value::from(of.socket_path.as_str());
        proxy.insert("LocalServiceSocketPath".to_owned(), path);
        return;
    }
    if !says(proxy, "LocalServiceAddress") {
        proxy.insert("LocalServiceAddress".to_owned(), Value::from("127.0.0.1"));
    }
    if !says(proxy, "LocalServicePort") {
        proxy.insert("LocalServicePort".to_owned(), Value::from(of.port));
    }
}
