//! The hash by which `agent/service/:id` says whether a definition changed. Clients pin it, so it is Consul's: FNV-1
//! over the fields by name, as the library `hashstructure` walks the client's `AgentService`.

use config_entries::proxy_hash;
use model::go::structure_hash::{Hash, boolean, list, map, nil, number, structure, text};
use model::{Instance, ServiceAddress, Weights};

/// The hash of an instance's definition, in hexadecimal without leading zeros.
pub(super) fn content_hash(instance: &Instance) -> String {
    let addresses = instance.tagged_addresses.iter().map(|(role, it)| (text(role), address(it)));
    let meta = instance.meta.iter().flat_map(|meta| meta.iter());
    let fields = [
        ("Kind", text(&instance.kind)),
        ("ID", text(instance.id.as_str())),
        ("Service", text(instance.service.as_str())),
        ("Tags", list(instance.tags.iter().map(|tag| text(tag)))),
        ("Meta", map(meta.map(|(key, value)| (text(key), text(value))))),
        ("Port", number(u64::from(instance.port))),
        ("Address", text(&instance.address)),
        ("SocketPath", text(&instance.socket_path)),
        ("TaggedAddresses", map(addresses)),
        ("Weights", weights(instance.weights)),
        ("EnableTagOverride", boolean(instance.enable_tag_override)),
        ("CreateIndex", number(0)),
        ("ModifyIndex", number(0)),
        ("ContentHash", text("")),
        ("Proxy", proxy(instance)),
        ("Connect", if instance.connect_native { native_connect() } else { nil() }),
        ("PeerName", text("")),
    ];
    format!("{:x}", structure("AgentService", fields))
}

fn address(it: &ServiceAddress) -> Hash {
    let fields = [("Address", text(&it.address)), ("Port", number(u64::from(it.port)))];
    structure("ServiceAddress", fields)
}

fn weights(it: Weights) -> Hash {
    let fields =
        [("Passing", number(u64::from(it.passing))), ("Warning", number(u64::from(it.warning)))];
    structure("AgentWeights", fields)
}

/// Only of proxies and gateways, as only theirs is shown.
fn proxy(instance: &Instance) -> Hash {
    match instance.proxy.as_ref().and_then(|it| it.as_object()) {
        Some(fields) if !instance.is_typical() => proxy_hash(fields),
        Some(_) | None => nil(),
    }
}

fn native_connect() -> Hash {
    structure("AgentServiceConnect", [("Native", boolean(true)), ("SidecarService", nil())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_the_one_that_the_go_client_pins() {
        let instance = Instance {
            id: "foo".into(),
            service: "foo".into(),
            tags: vec!["bar".into(), "baz".into()],
            port: 8000,
            ..Instance::default()
        };
        assert_eq!(content_hash(&instance), "3e352f348d44f7eb");
    }
}
