use crate::Lookup;
use crate::view::{ProxyDefaults, ServiceDefaults, view};

/// What is spoken where nothing is said.
const DEFAULT: &str = "tcp";

/// Whether a protocol has requests with paths and headers.
#[must_use]
pub fn is_http_like(protocol: &str) -> bool {
    matches!(protocol, "http" | "http2" | "grpc")
}

/// What is spoken with a service: as its own entry says, or the one for all, in lower case. An entry of its own that says
/// nothing means `tcp`.
#[must_use]
pub fn protocol_of(lookup: &dyn Lookup, service: &str) -> String {
    let of_service =
        lookup.entry("service-defaults", service).map(|it| view::<ServiceDefaults>(it).protocol);
    let of_all = || {
        let defaults = view::<ProxyDefaults>(lookup.entry("proxy-defaults", "global")?);
        Some(defaults.config.get("protocol")?.as_str()?.to_owned())
    };
    match of_service.or_else(of_all) {
        Some(protocol) if !protocol.is_empty() => protocol.to_lowercase(),
        Some(_) | None => DEFAULT.to_owned(),
    }
}
