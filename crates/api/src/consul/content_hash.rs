//! The hash by which `agent/service/:id` says whether a definition changed. Clients pin it, so it is Consul's: FNV-1
//! over the fields by name, as the library `hashstructure` walks the client's `AgentService`.

use model::{Instance, ServiceAddress, Weights};

/// The hash of an instance's definition, in hexadecimal without leading zeros.
pub(super) fn content_hash(instance: &Instance) -> String {
    let addresses = instance.tagged_addresses.iter().map(|(role, it)| (text(role), address(it)));
    let meta = instance.meta.iter().flat_map(|meta| meta.iter());
    let fields = [
        ("Kind", text(&instance.kind)),
        ("ID", text(instance.id.as_str())),
        ("Service", text(instance.service.as_str())),
        ("Tags", instance.tags.iter().fold(0, |hash, tag| ordered(hash, text(tag)))),
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
        ("Proxy", nil()),
        ("Connect", if instance.connect_native { native_connect() } else { nil() }),
        ("PeerName", text("")),
    ];
    format!("{:x}", structure("AgentService", fields))
}

fn address(it: &ServiceAddress) -> u64 {
    let fields = [("Address", text(&it.address)), ("Port", number(u64::from(it.port)))];
    structure("ServiceAddress", fields)
}

fn weights(it: Weights) -> u64 {
    let fields =
        [("Passing", number(u64::from(it.passing))), ("Warning", number(u64::from(it.warning)))];
    structure("AgentWeights", fields)
}

fn native_connect() -> u64 {
    structure("AgentServiceConnect", [("Native", boolean(true)), ("SidecarService", nil())])
}

fn structure<const N: usize>(name: &str, fields: [(&str, u64); N]) -> u64 {
    fields.iter().fold(text(name), |hash, (name, value)| hash ^ ordered(text(name), *value))
}

fn map(pairs: impl Iterator<Item = (u64, u64)>) -> u64 {
    pairs.fold(0, |hash, (key, value)| hash ^ ordered(key, value))
}

fn ordered(first: u64, second: u64) -> u64 {
    fnv1(first.to_le_bytes().into_iter().chain(second.to_le_bytes()))
}

fn text(text: &str) -> u64 {
    fnv1(text.bytes())
}

fn number(number: u64) -> u64 {
    fnv1(number.to_le_bytes())
}

fn boolean(value: bool) -> u64 {
    fnv1([u8::from(value)])
}

/// A pointer to nothing is hashed as the number 0.
fn nil() -> u64 {
    number(0)
}

/// 64-bit FNV-1: multiply, then xor (FNV-1a is the other way around).
fn fnv1(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)
    })
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
