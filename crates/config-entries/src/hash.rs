//! Hashes that Go's library `hashstructure` makes of Consul's structs: 64-bit FNV-1 over the fields by name. Clients compare
//! them, so they are its.

use model::go::structure_hash::{
    Hash, boolean, fraction, list, map, nil, number, ordered, structure, text,
};
use serde_json::{Map, Value};

use crate::kinds::AGENT_PROXY;
use crate::schema::{Kind, Schema};

/// The hash of `Proxy` of an agent's service, as Go's client would hash its own struct.
#[must_use]
pub fn proxy_hash(proxy: &Map<String, Value>) -> Hash {
    of_struct(&AGENT_PROXY, proxy)
}

/// The hash of the overrides of a chain.
pub(crate) fn customization(mesh_gateway: &str, protocol: &str, connect_timeout: i64) -> Hash {
    let gateway = structure("MeshGatewayConfig", [("Mode", text(mesh_gateway))]);
    let fields = [
        ("OverrideMeshGateway", gateway),
        ("OverrideProtocol", text(protocol)),
        ("OverrideConnectTimeout", number(connect_timeout.unsigned_abs())),
    ];
    structure("", fields)
}

fn of_struct(schema: &Schema, fields: &Map<String, Value>) -> Hash {
    let hashes = schema.fields.iter().map(|it| (it.name, of_field(it.kind, fields.get(it.name))));
    structure(schema.go_name, hashes)
}

fn of_field(kind: Kind, value: Option<&Value>) -> Hash {
    match (kind, value) {
        (Kind::Text | Kind::Duration, value) => {
            text(value.and_then(Value::as_str).unwrap_or_default())
        }
        (Kind::Flag, value) => boolean(value.and_then(Value::as_bool).unwrap_or_default()),
        (
            Kind::Integer | Kind::Nanoseconds | Kind::GivenInteger | Kind::GivenNanoseconds,
            value,
        ) =>
        {
            #[allow(clippy::cast_sign_loss, reason = "the bits are hashed")]
            number(value.and_then(Value::as_i64).unwrap_or_default() as u64)
        }
        (Kind::Number, value) => fraction(value.and_then(Value::as_f64).unwrap_or_default()),
        (Kind::Struct(schema), Some(Value::Object(fields))) => of_struct(schema, fields),
        (Kind::Struct(schema), _) => of_struct(schema, &Map::new()),
        (Kind::Given(schema), Some(Value::Object(fields))) => of_struct(schema, fields),
        (Kind::Given(_), _) => nil(),
        (Kind::List(schema), value) => {
            let items = value.and_then(Value::as_array).into_iter().flatten();
            list(items.filter_map(Value::as_object).map(|it| of_struct(schema, it)))
        }
        (Kind::Map(schema), value) => {
            let items = value.and_then(Value::as_object).into_iter().flatten();
            let items = items.filter_map(|(key, it)| Some((key, it.as_object()?)));
            map(items.map(|(key, it)| (text(key), of_struct(schema, it))))
        }
        (Kind::Texts | Kind::Integers | Kind::TextMap | Kind::Anything, Some(value)) => {
            of_any(value)
        }
        (Kind::Texts | Kind::Integers | Kind::TextMap | Kind::Anything, None) => 0,
    }
}

/// A value behind Go's `interface{}`: numbers are fractions there.
fn of_any(value: &Value) -> Hash {
    match value {
        Value::Null => number(0),
        Value::Bool(flag) => boolean(*flag),
        Value::Number(it) => fraction(it.as_f64().unwrap_or_default()),
        Value::String(it) => text(it),
        Value::Array(items) => items.iter().fold(0, |hash, it| ordered(hash, of_any(it))),
        Value::Object(fields) => map(fields.iter().map(|(key, it)| (text(key), of_any(it)))),
    }
}
