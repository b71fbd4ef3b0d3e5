//! The rules that an entry obeys alone, in Consul's words.

mod defaults;
mod gateways;
mod intentions;
mod others;
mod resolver;
mod routing;

use std::collections::BTreeMap;

use model::ConfigEntry;
use model::go::quote;
use serde::Deserialize;

use crate::view::{HeaderMatch, PassiveHealthCheck, view};

const META_PAIRS_MAX: usize = 64;
const META_KEY_CHARACTERS_MAX: usize = 128;
const META_VALUE_CHARACTERS_MAX: usize = 512;
/// Longest name of an entry: as long as any other name in the store.
const NAME_BYTES_MAX: usize = 1024;

/// What is wrong with an entry.
type Verdict = Result<(), String>;

/// Checks an entry by itself.
///
/// # Errors
/// A sentence about the first thing that is wrong with it.
pub fn validate(entry: &ConfigEntry) -> Result<(), String> {
    if entry.name.len() > NAME_BYTES_MAX {
        return Err(format!("Name is longer than {NAME_BYTES_MAX} bytes"));
    }
    if entry.name.chars().any(char::is_control) {
        return Err("Name contains control characters".to_owned());
    }
    match entry.kind.as_str() {
        "service-defaults" => defaults::service(&entry.name, &view(entry)),
        "proxy-defaults" => defaults::proxy(&entry.name, &view(entry)),
        "service-router" => routing::router(&entry.name, &view(entry)),
        "service-splitter" => routing::splitter(&entry.name, &view(entry)),
        "service-resolver" => resolver::resolver(&entry.name, &view(entry)),
        "ingress-gateway" => gateways::ingress(&view(entry)),
        "terminating-gateway" => gateways::terminating(&view(entry)),
        "api-gateway" => gateways::api(&view(entry)),
        "bound-api-gateway" => {
            Err("bound-api-gateway entries are made from api-gateway entries, not written"
                .to_owned())
        }
        "http-route" => others::http_route(&view(entry)),
        "tcp-route" => others::tcp_route(&view(entry)),
        "inline-certificate" => others::inline_certificate(&entry.body),
        "file-system-certificate" => others::certificate_files(&entry.body),
        "service-intentions" => intentions::intentions(&entry.name, &view(entry)),
        "mesh" => others::mesh(&entry.body),
        "exported-services" => others::exported(&entry.name, &view(entry)),
        "jwt-provider" => others::jwt_provider(&entry.body),
        other => Err(format!("invalid config entry kind: {other}")),
    }?;
    require_name(entry)?;
    meta(&view::<WithMeta>(entry).meta)
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct WithMeta {
    meta: BTreeMap<String, String>,
}

fn require_name(entry: &ConfigEntry) -> Verdict {
    ensure(!entry.name.is_empty(), || "Name is required".to_owned())
}

fn meta(pairs: &BTreeMap<String, String>) -> Verdict {
    ensure(pairs.len() <= META_PAIRS_MAX, || {
        format!("Meta exceeds maximum element count {META_PAIRS_MAX}")
    })?;
    for (key, value) in pairs {
        ensure(key.len() <= META_KEY_CHARACTERS_MAX, || {
            format!("Meta key {} exceeds maximum length {META_KEY_CHARACTERS_MAX}", quote(key))
        })?;
        ensure(value.len() <= META_VALUE_CHARACTERS_MAX, || {
            let key = quote(key);
            format!("Meta value for key {key} exceeds maximum length {META_VALUE_CHARACTERS_MAX}")
        })?;
    }
    Ok(())
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn is_method(method: &str) -> bool {
    matches!(
        method,
        "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE"
    )
}

/// Methods are those that there are, each once. `at` is where they stand.
fn methods(at: &str, methods: &[String]) -> Verdict {
    for (idx, method) in methods.iter().enumerate() {
        ensure(is_method(method), || format!("{at} contains an invalid method {}", quote(method)))?;
        ensure(!methods[..idx].contains(method), || {
            format!("{at} contains {} more than once", quote(method))
        })?;
    }
    Ok(())
}

/// How many conditions a header has; there must be one.
fn header_conditions(header: &HeaderMatch) -> usize {
    let texts = [&header.exact, &header.prefix, &header.suffix, &header.contains, &header.regex];
    usize::from(header.present) + texts.iter().filter(|it| !it.is_empty()).count()
}

/// A regular expression that no proxy could read is refused here, not there. `at` is where it stands.
fn pattern(at: impl FnOnce() -> String, pattern: &str) -> Verdict {
    if pattern.is_empty() {
        return Ok(());
    }
    match regex::RegexBuilder::new(pattern).size_limit(1 << 20).build() {
        Ok(_) => Ok(()),
        Err(error) => {
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default().trim();
            Err(format!("{} is not a regular expression: {reason}", at()))
        }
    }
}

fn passive_health_check(check: Option<&PassiveHealthCheck>) -> Verdict {
    let Some(check) = check else { return Ok(()) };
    ensure(check.interval >= 0, || "passive health check interval cannot be negative".to_owned())?;
    ensure((0..=i64::from(u32::MAX)).contains(&check.max_failures), || {
        "passive health check max_failures is out of range".to_owned()
    })?;
    ensure(check.base_ejection_time.is_none_or(|it| it >= 0), || {
        "passive health check base_ejection_time cannot be negative".to_owned()
    })?;
    let percentages = [
        ("enforcing_consecutive_5xx", check.enforcing_consecutive_5xx),
        ("max_ejection_percent", check.max_ejection_percent),
    ];
    for (name, value) in percentages {
        ensure(value.is_none_or(|it| (0..=100).contains(&it)), || {
            format!("passive health check {name} must be a percentage between 0 and 100")
        })?;
    }
    Ok(())
}

/// A name that DNS could have; with `*.` in front for all below it.
fn is_domain(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    !name.is_empty()
        && name.len() <= 254
        && name.split('.').all(|label| !label.is_empty() && label.len() <= 63)
}
