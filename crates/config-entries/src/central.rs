//! What entries say of a proxy that does not say it itself.

use model::Instance;
use serde_json::{Map, Value};

use crate::entry::shown_body;
use crate::{Lookup, protocol_of};

type Fields = Map<String, Value>;

/// `Proxy` of a proxy or gateway with what the entries of its service, and those for all, say where it says nothing;
/// `None` for an instance that is neither.
#[must_use]
pub fn merged_proxy(lookup: &dyn Lookup, instance: &Instance) -> Option<Fields> {
    if instance.is_typical() {
        return None;
    }
    let mut proxy = instance.proxy.as_ref().and_then(|it| it.as_object()).cloned()?;
    let of_all = lookup.entry("proxy-defaults", "global").map(shown_body);
    let service = match proxy.get("DestinationServiceName").and_then(Value::as_str) {
        Some(service) if !service.is_empty() => service,
        Some(_) | None => instance.service.as_str(),
    };
    let own = lookup.entry("service-defaults", service).map(shown_body);
    let config = merged_config(of_all, own, proxy.get("Config"));
    if !config.is_empty() {
        proxy.insert("Config".to_owned(), Value::Object(config));
    }
    for name in ["Mode", "MutualTLSMode"] {
        take_over(&mut proxy, name, &[own, of_all]);
    }
    for name in ["MeshGateway", "Expose", "TransparentProxy"] {
        merge(&mut proxy, name, &[own, of_all]);
    }
    for name in ["AccessLogs", "EnvoyExtensions"] {
        take_over(&mut proxy, name, &[own, of_all]);
    }
    if let Some(Value::Array(upstreams)) = proxy.get_mut("Upstreams") {
        for upstream in upstreams.iter_mut().filter_map(Value::as_object_mut) {
            complete_upstream(lookup, own, upstream);
        }
    }
    Some(proxy)
}

/// Opaque settings: those for all, those that follow from the service's entry, the proxy's own; later ones win.
fn merged_config(of_all: Option<&Fields>, own: Option<&Fields>, given: Option<&Value>) -> Fields {
    let mut config = Fields::new();
    let mut add = |value: Option<&Value>| {
        for (key, value) in value.and_then(Value::as_object).into_iter().flatten() {
            config.insert(key.clone(), value.clone());
        }
    };
    add(of_all.and_then(|it| it.get("Config")));
    let mut of_service = Fields::new();
    for (name, key) in [
        ("Protocol", "protocol"),
        ("MaxInboundConnections", "max_inbound_connections"),
        ("LocalConnectTimeoutMs", "local_connect_timeout_ms"),
        ("LocalRequestTimeoutMs", "local_request_timeout_ms"),
        ("BalanceInboundConnections", "balance_inbound_connections"),
    ] {
        if let Some(value) = own.and_then(|it| it.get(name)).filter(|it| !says_nothing(it)) {
            of_service.insert(key.to_owned(), value.clone());
        }
    }
    add(Some(&Value::Object(of_service)));
    add(given);
    config
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(says_nothing),
    }
}

/// A field that says nothing gets what the first of these entries says.
fn take_over(fields: &mut Fields, name: &str, from: &[Option<&Fields>]) {
    if fields.get(name).is_some_and(|it| !says_nothing(it)) {
        return;
    }
    let mut said = from.iter().flatten().filter_map(|it| it.get(name));
    if let Some(value) = said.find(|it| !says_nothing(it)) {
        fields.insert(name.to_owned(), value.clone());
    }
}

/// As [`take_over`], for each field of a struct.
fn merge(fields: &mut Fields, name: &str, from: &[Option<&Fields>]) {
    let mut merged = fields.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
    for said in from.iter().flatten().filter_map(|it| it.get(name)?.as_object()) {
        for key in said.keys() {
            take_over(&mut merged, key, &[Some(said)]);
        }
    }
    if !merged.is_empty() {
        fields.insert(name.to_owned(), Value::Object(merged));
    }
}

/// What the entry of the calling service says of all that it calls, and of this one, and what this one speaks.
fn complete_upstream(lookup: &dyn Lookup, own: Option<&Fields>, upstream: &mut Fields) {
    let Some(name) = upstream.get("DestinationName").and_then(Value::as_str) else { return };
    let mut config = Fields::new();
    let protocol = protocol_of(lookup, name);
    if protocol != "tcp" {
        config.insert("protocol".to_owned(), Value::String(protocol));
    }
    let upstreams = own.and_then(|it| it.get("UpstreamConfig"));
    let of_all = upstreams.and_then(|it| it.get("Defaults"));
    let overrides = upstreams.and_then(|it| it.get("Overrides")?.as_array());
    let is_this = |it: &&Value| it["Name"].as_str().is_some_and(|it| it.eq_ignore_ascii_case(name));
    let of_this = overrides.and_then(|it| it.iter().find(is_this));
    for said in [of_all, of_this].into_iter().flatten() {
        for (name, key) in [
            ("Protocol", "protocol"),
            ("ConnectTimeoutMs", "connect_timeout_ms"),
            ("Limits", "limits"),
            ("PassiveHealthCheck", "passive_health_check"),
            ("MeshGateway", "mesh_gateway"),
            ("EnvoyListenerJSON", "envoy_listener_json"),
            ("EnvoyClusterJSON", "envoy_cluster_json"),
            ("BalanceOutboundConnections", "balance_outbound_connections"),
        ] {
            if let Some(value) = said.get(name).filter(|it| !says_nothing(it)) {
                config.insert(key.to_owned(), value.clone());
            }
        }
    }
    for (key, value) in upstream.get("Config").and_then(Value::as_object).into_iter().flatten() {
        config.insert(key.clone(), value.clone());
    }
    if !config.is_empty() {
        upstream.insert("Config".to_owned(), Value::Object(config));
    }
}
