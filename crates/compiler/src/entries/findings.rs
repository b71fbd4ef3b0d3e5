//! What of entries is not honored, or not as written: field by field.

use config_entries::view::{
    Failover, LoadBalancer, ProxyDefaults, Resolver, Router, ServiceDefaults, view,
};
use config_entries::{Lookup, shown_body};
use filter::{CHECK_SERVICE_NODE, Filter};
use model::{Catalog, ConfigEntry, Diagnostic, DocumentKey, Place, Severity};
use serde_json::Value;

use super::clusters::RING_SIZE_MAX;
use crate::{ENTRY_GROUP, Finding};

/// The fields that have a meaning here, by kind; `[]` is any element of a list, `*` any key of a map.
const HONORED: &[(&str, &[&str])] = &[
    ("service-router", &["Routes"]),
    ("service-splitter", &["Splits"]),
    (
        "service-resolver",
        &[
            "ConnectTimeout",
            "RequestTimeout",
            "DefaultSubset",
            "Subsets",
            "Redirect",
            "LoadBalancer",
            "Failover.*.Service",
            "Failover.*.ServiceSubset",
            "Failover.*.Namespace",
            "Failover.*.Datacenters",
            "Failover.*.Targets",
            "Failover.*.Policy.Mode",
        ],
    ),
    (
        "service-defaults",
        &[
            "Protocol",
            "MaxInboundConnections",
            "LocalConnectTimeoutMs",
            "LocalRequestTimeoutMs",
            "UpstreamConfig.Overrides[].Name",
            "UpstreamConfig.Overrides[].Peer",
            "UpstreamConfig.Overrides[].ConnectTimeoutMs",
            "UpstreamConfig.Overrides[].Limits",
            "UpstreamConfig.Overrides[].PassiveHealthCheck",
        ],
    ),
    (
        "proxy-defaults",
        &[
            "Config.protocol",
            "Config.local_connect_timeout_ms",
            "Config.local_request_timeout_ms",
            "Config.max_inbound_connections",
            "FailoverPolicy.Mode",
        ],
    ),
];

/// Kinds that are kept and answered, and by which the data plane does nothing.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("service-intentions", "nothing enforces it: whoever reaches an instance may call it"),
    ("ingress-gateway", "declare an Ingress for what comes from outside"),
    ("api-gateway", "declare an Ingress for what comes from outside"),
    ("http-route", "write a service-router, or declare an Ingress"),
    ("tcp-route", ""),
    ("inline-certificate", "declare a Secret, and an Ingress that names it"),
    ("file-system-certificate", "declare a Secret, and an Ingress that names it"),
    ("terminating-gateway", "register the service with its own address"),
    ("mesh", ""),
    ("jwt-provider", ""),
    ("exported-services", "clusters do not peer"),
];

/// What every entry says of itself.
const PLAIN: [&str; 3] = ["Kind", "Name", "Meta"];

/// What to do about some fields.
const REMEDIES: &[(&str, &str)] = &[
    (
        "UpstreamConfig.Defaults",
        "the mesh listener does not know who calls: name the service that is called in UpstreamConfig.Overrides",
    ),
    ("Config.envoy_prometheus_bind_addr", "the proxy's admin page has /stats/prometheus"),
];

/// An entry as what a finding is about.
pub(super) fn key(entry: &ConfigEntry) -> DocumentKey {
    key_of(&entry.kind, &entry.name)
}

pub(super) fn key_of(kind: &str, name: &str) -> DocumentKey {
    DocumentKey {
        group: ENTRY_GROUP.to_owned(),
        kind: kind.to_owned(),
        namespace: String::new(),
        name: name.to_owned(),
    }
}

/// A finding about an entry: how bad, which field, what is wrong, and what to do.
pub(crate) fn finding(
    key: &DocumentKey,
    (severity, field, message, remedy): (Severity, &str, String, &str),
) -> Finding {
    let diagnostic = Diagnostic {
        severity,
        place: Place::default(),
        field: field.to_owned(),
        message,
        remedy: remedy.to_owned(),
    };
    (key.clone(), diagnostic)
}

/// What can be told of each entry alone.
pub(super) fn of_entries(catalog: &Catalog, datacenter: &str, findings: &mut Vec<Finding>) {
    for (kind, remedy) in WITHOUT_EFFECT {
        for entry in catalog.entries(kind) {
            let message = "is kept and answered, and has no effect in Leno's data plane";
            About { key: key(entry), findings }.ignored("Kind", message, remedy);
        }
    }
    for (kind, honored) in HONORED {
        for entry in catalog.entries(kind) {
            let mut about = About { key: key(entry), findings };
            for (field, value) in shown_body(entry) {
                if !PLAIN.contains(&field.as_str()) {
                    about.walk(value, field, field, honored);
                }
            }
            match *kind {
                "service-router" => about.router(&view(entry)),
                "service-resolver" => about.resolver(&view(entry), datacenter),
                "service-defaults" => about.defaults(&view(entry)),
                "proxy-defaults" => about.proxy_defaults(&view(entry)),
                _ => {}
            }
        }
    }
}

struct About<'a> {
    key: DocumentKey,
    findings: &'a mut Vec<Finding>,
}

impl About<'_> {
    fn ignored(&mut self, field: &str, message: impl Into<String>, remedy: &str) {
        self.findings.push(finding(&self.key, (Severity::Ignored, field, message.into(), remedy)));
    }

    fn approximated(&mut self, field: &str, message: impl Into<String>, remedy: &str) {
        let found = (Severity::Approximated, field, message.into(), remedy);
        self.findings.push(finding(&self.key, found));
    }

    /// Finds the fields that say something and have no meaning here. Entries are at most 64 levels deep, as JSON is
    /// read.
    fn walk(&mut self, value: &Value, path: &str, pattern: &str, honored: &[&str]) {
        if is_empty(value) || honored.contains(&pattern) {
            return;
        }
        let is_above = |next: &str| {
            let next = format!("{pattern}{next}");
            honored.iter().any(|it| it.starts_with(&next))
        };
        match value {
            Value::Object(fields) if is_above(".*") => {
                for (name, value) in fields {
                    let path = format!("{path}[{name}]");
                    self.walk(value, &path, &format!("{pattern}.*"), honored);
                }
            }
            Value::Object(fields) if is_above(".") => {
                for (name, value) in fields {
                    let path = format!("{path}.{name}");
                    self.walk(value, &path, &format!("{pattern}.{name}"), honored);
                }
            }
            Value::Array(elements) if is_above("[]") => {
                for (idx, value) in elements.iter().enumerate() {
                    let path = format!("{path}[{idx}]");
                    self.walk(value, &path, &format!("{pattern}[]"), honored);
                }
            }
            _ => {
                let remedy = REMEDIES.iter().find(|it| it.0 == pattern).map_or("", |it| it.1);
                self.ignored(path, "has no effect in Leno's data plane", remedy);
            }
        }
    }

    fn router(&mut self, it: &Router) {
        for (idx, route) in it.routes.iter().enumerate() {
            let http = route.r#match.as_ref().and_then(|it| it.http.as_ref());
            if http.is_some_and(|it| it.case_insensitive && !it.path_regex.is_empty()) {
                let field = format!("Routes[{idx}].Match.HTTP.CaseInsensitive");
                let message = "has no meaning for a regular expression";
                self.ignored(&field, message, "begin the expression with (?i)");
            }
        }
    }

    fn resolver(&mut self, it: &Resolver, datacenter: &str) {
        for (name, subset) in &it.subsets {
            if let Err(why) = Filter::parse(&subset.filter, &CHECK_SERVICE_NODE) {
                let field = format!("Subsets[{name}].Filter");
                self.approximated(&field, format!("{why}: no instance is of the subset"), "");
            }
        }
        if let Some(redirect) = &it.redirect {
            let places = [("Datacenter", &redirect.datacenter), ("Peer", &redirect.peer)];
            for (field, name) in places {
                if is_elsewhere(field, name, datacenter) {
                    let field = format!("Redirect.{field}");
                    let message = format!("{name} is not reached from here: requests get 503");
                    self.approximated(&field, message, "");
                }
            }
        }
        for (subset, failover) in &it.failover {
            self.failover(subset, failover, datacenter);
        }
        if let Some(load_balancer) = &it.load_balancer {
            self.load_balancer(load_balancer);
        }
    }

    fn failover(&mut self, subset: &str, it: &Failover, datacenter: &str) {
        let message = |name: &str| format!("{name} is not reached from here: it is left out");
        for (idx, name) in it.datacenters.iter().enumerate() {
            if name != datacenter {
                let field = format!("Failover[{subset}].Datacenters[{idx}]");
                self.ignored(&field, message(name), "");
            }
        }
        for (idx, target) in it.targets.iter().enumerate() {
            for (field, name) in [("Datacenter", &target.datacenter), ("Peer", &target.peer)] {
                if is_elsewhere(field, name, datacenter) {
                    let field = format!("Failover[{subset}].Targets[{idx}].{field}");
                    self.ignored(&field, message(name), "");
                }
            }
        }
        let mode = it.policy.as_ref().map_or("", |it| it.mode.as_str());
        self.failover_mode(&format!("Failover[{subset}].Policy.Mode"), mode);
    }

    fn failover_mode(&mut self, field: &str, mode: &str) {
        if mode == "order-by-locality" {
            let message = "targets are tried in the order in which they are written";
            self.approximated(field, message, "");
        }
    }

    fn load_balancer(&mut self, it: &LoadBalancer) {
        let sizes = it.ring_hash_config.iter().flat_map(|it| {
            [("MinimumRingSize", it.minimum_ring_size), ("MaximumRingSize", it.maximum_ring_size)]
        });
        for (field, size) in sizes.filter(|it| it.1 > i64::from(RING_SIZE_MAX)) {
            let message = format!("{size} is over {RING_SIZE_MAX}, which it is cut to");
            self.approximated(&format!("LoadBalancer.RingHashConfig.{field}"), message, "");
        }
        if it.least_request_config.as_ref().is_some_and(|it| it.choice_count == 1) {
            let message = "of one instance there is nothing to choose: two are compared";
            let remedy = "say 2 or more, or the policy `random`";
            self.approximated("LoadBalancer.LeastRequestConfig.ChoiceCount", message, remedy);
        }
    }

    fn defaults(&mut self, it: &ServiceDefaults) {
        if it.max_inbound_connections > 0 {
            self.connections_max("MaxInboundConnections");
        }
    }

    fn proxy_defaults(&mut self, it: &ProxyDefaults) {
        if it.config.get("max_inbound_connections").is_some_and(|it| !is_empty(it)) {
            self.connections_max("Config.max_inbound_connections");
        }
        let mode = it.failover_policy.as_ref().map_or("", |it| it.mode.as_str());
        self.failover_mode("FailoverPolicy.Mode", mode);
    }

    fn connections_max(&mut self, field: &str) {
        let message =
            "holds for the connections of each calling proxy to an instance, not for their sum";
        self.approximated(field, message, "");
    }
}

fn is_elsewhere(field: &str, name: &str, datacenter: &str) -> bool {
    !name.is_empty() && (field == "Peer" || name != datacenter)
}

/// Whether a value says nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(elements) => elements.iter().all(is_empty),
        Value::Object(fields) => fields.values().all(is_empty),
    }
}
