//! The kinds of entries, with their fields.

mod defaults;
mod gateways;
mod intentions;
mod mesh;
pub(crate) mod proxy;
mod routes;
mod routing;

pub use self::intentions::INTENTION;
pub use self::proxy::{AGENT_PROXY, PROXY};
use crate::schema::Schema;

/// A kind of entries.
#[derive(Debug)]
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// The fields of its entries.
    pub schema: &'static Schema,
    /// The name of its only entry; `None` when there may be several.
    pub only: Option<&'static str>,
}

const fn kind(name: &'static str, schema: &'static Schema) -> Kind {
    Kind { name, schema, only: None }
}

/// Kinds that Consul's community edition has.
pub static KINDS: &[Kind] = &[
    kind("service-defaults", &defaults::SERVICE),
    Kind { only: Some("global"), ..kind("proxy-defaults", &defaults::PROXY) },
    kind("service-router", &routing::ROUTER),
    kind("service-splitter", &routing::SPLITTER),
    kind("service-resolver", &routing::RESOLVER),
    kind("ingress-gateway", &gateways::INGRESS),
    kind("terminating-gateway", &gateways::TERMINATING),
    kind("api-gateway", &gateways::API),
    kind("bound-api-gateway", &gateways::BOUND_API),
    kind("http-route", &routes::HTTP),
    kind("tcp-route", &routes::TCP),
    kind("inline-certificate", &gateways::CERTIFICATE),
    kind("file-system-certificate", &gateways::CERTIFICATE_FILES),
    kind("service-intentions", &intentions::ENTRY),
    Kind { only: Some("mesh"), ..kind("mesh", &mesh::MESH) },
    kind("exported-services", &mesh::EXPORTED),
    kind("jwt-provider", &mesh::JWT_PROVIDER),
];

/// Kinds that only the other edition has.
const ENTERPRISE_KINDS: &[&str] = &["sameness-group", "control-plane-request-limit"];

/// Finds a kind by its name.
///
/// # Errors
/// A sentence that there is none of that name.
pub fn find(name: &str) -> Result<&'static Kind, String> {
    if let Some(kind) = KINDS.iter().find(|it| it.name == name) {
        return Ok(kind);
    }
    if ENTERPRISE_KINDS.contains(&name) {
        return Err(format!("{name} config entries are a Consul Enterprise feature"));
    }
    Err(format!("invalid config entry kind: {name}"))
}
