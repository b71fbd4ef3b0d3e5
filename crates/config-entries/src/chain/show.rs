use std::time::Duration;

use model::go;
use serde_json::{Map, Value};

use super::{Chain, ChainNode, ChainResolver, ChainTarget, DEFAULT, NodeKind};

/// Go's `structs.CompiledDiscoveryChain`.
pub(super) fn show(chain: &Chain) -> Value {
    let mut shown = Shown::default();
    shown.text("ServiceName", &chain.service);
    shown.text("Namespace", DEFAULT);
    shown.text("Partition", DEFAULT);
    shown.text("Datacenter", &chain.datacenter);
    shown.text_if_any("CustomizationHash", &chain.customization_hash);
    shown.flag_if_true("Default", chain.is_default);
    shown.text_if_any("Protocol", &chain.protocol);
    if !chain.meta.is_empty() {
        shown.set("ServiceMeta", Value::Object(chain.meta.clone()));
    }
    if !chain.envoy_extensions.is_empty() {
        shown.set("EnvoyExtensions", Value::Array(chain.envoy_extensions.clone()));
    }
    shown.text_if_any("StartNode", &chain.start);
    let nodes = chain.nodes.iter().map(|(key, it)| (key.clone(), node(it)));
    shown.set("Nodes", Value::Object(nodes.collect()));
    let targets = chain.targets.iter().map(|(id, it)| (id.clone(), target(it)));
    shown.set("Targets", Value::Object(targets.collect()));
    Value::Object(shown.0)
}

fn node(it: &ChainNode) -> Value {
    let mut shown = Shown::default();
    shown.text("Type", it.kind.word());
    shown.text("Name", &it.name);
    match &it.kind {
        NodeKind::Router(routes) => {
            let routes = routes.iter().map(|route| {
                let mut shown = Shown::default();
                shown.set("Definition", route.definition.clone());
                shown.text("NextNode", &route.next);
                Value::Object(shown.0)
            });
            shown.set("Routes", Value::Array(routes.collect()));
        }
        NodeKind::Splitter(splits) => {
            let splits = splits.iter().map(|split| {
                let mut shown = Shown::default();
                shown.set("Definition", split.definition.clone());
                if split.weight != 0 {
                    shown.set("Weight", weight(split.weight));
                }
                shown.text("NextNode", &split.next);
                Value::Object(shown.0)
            });
            shown.set("Splits", Value::Array(splits.collect()));
        }
        NodeKind::Resolver(it) => shown.set("Resolver", resolver(it)),
    }
    if let Some(load_balancer) = &it.load_balancer {
        shown.set("LoadBalancer", load_balancer.clone());
    }
    Value::Object(shown.0)
}

/// Whole percentages are whole numbers.
fn weight(hundredths: i64) -> Value {
    #[allow(clippy::cast_precision_loss, reason = "at most 10,000")]
    if hundredths % 100 == 0 {
        Value::from(hundredths / 100)
    } else {
        Value::from(hundredths as f64 / 100.0)
    }
}

fn resolver(it: &ChainResolver) -> Value {
    let mut shown = Shown::default();
    shown.duration_if_any("ConnectTimeout", it.connect_timeout);
    shown.flag_if_true("Default", it.is_default);
    if it.request_timeout > 0 {
        // Unlike the other one it is a number.
        shown.set("RequestTimeout", Value::from(it.request_timeout));
    }
    shown.text_if_any("Target", &it.target);
    if let Some(failover) = &it.failover {
        let mut inner = Shown::default();
        let targets = failover.targets.iter().map(|it| Value::from(it.as_str()));
        inner.set("Targets", Value::Array(targets.collect()));
        if let Some(policy) = &failover.policy {
            inner.set("Policy", policy.clone());
        }
        shown.set("Failover", Value::Object(inner.0));
    }
    Value::Object(shown.0)
}

fn target(it: &ChainTarget) -> Value {
    let mut shown = Shown::default();
    shown.duration_if_any("ConnectTimeout", it.connect_timeout);
    shown.text("ID", &it.id);
    shown.text("Service", &it.service);
    shown.text_if_any("ServiceSubset", &it.subset);
    shown.text("Namespace", DEFAULT);
    shown.text("Partition", DEFAULT);
    shown.text_if_any("Datacenter", &it.datacenter);
    shown.text_if_any("Peer", &it.peer);
    let mut gateway = Shown::default();
    gateway.text_if_any("Mode", &it.mesh_gateway);
    shown.set("MeshGateway", Value::Object(gateway.0));
    let mut subset = Shown::default();
    subset.text_if_any("Filter", &it.definition.filter);
    subset.flag_if_true("OnlyPassing", it.definition.only_passing);
    shown.set("Subset", Value::Object(subset.0));
    let mut transparent = Shown::default();
    transparent.flag_if_true("DialedDirectly", it.dialed_directly);
    shown.set("TransparentProxy", Value::Object(transparent.0));
    shown.flag_if_true("External", it.is_external);
    shown.text_if_any("SNI", &it.sni);
    shown.text_if_any("Name", &it.name);
    Value::Object(shown.0)
}

#[derive(Default)]
struct Shown(Map<String, Value>);

impl Shown {
    fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    fn text(&mut self, name: &str, text: &str) {
        self.set(name, Value::from(text));
    }

    fn text_if_any(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.text(name, text);
        }
    }

    fn flag_if_true(&mut self, name: &str, flag: bool) {
        if flag {
            self.set(name, Value::Bool(true));
        }
    }

    fn duration_if_any(&mut self, name: &str, nanoseconds: i64) {
        if nanoseconds > 0 {
            let time = Duration::from_nanos(nanoseconds.unsigned_abs());
            self.text(name, &go::format_duration(time));
        }
    }
}
