//! What an agent's addresses are on the machine that it runs on.

use std::net::IpAddr;

use model::{Diagnostic, Place, Severity};
use serde_json::Value;

use crate::config::AgentConfig;
use crate::section::Findings;
use crate::template::{InterfaceAddress, expand, is_of_rfc, is_template, private, public};

/// Keys that templates are resolved of, with what is wanted of them. They stay as they are in keys that are not honored.
const KEYS: [(&str, Wanted); 7] = [
    ("bind_addr", Wanted::Address),
    ("advertise_addr", Wanted::Address),
    ("client_addr", Wanted::Addresses),
    ("addresses.dns", Wanted::Addresses),
    ("addresses.http", Wanted::Addresses),
    ("addresses.https", Wanted::Addresses),
    ("recursors", Wanted::Words),
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wanted {
    Address,
    Addresses,
    /// What it may be is known where it is used.
    Words,
}

/// Whether there are templates in merged settings, so that [`resolve`] is needed.
#[must_use]
pub fn has_templates(settings: &Value) -> bool {
    KEYS.iter().any(|(key, _)| match at(settings, key) {
        Some(Value::String(text)) => is_template(text),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).any(is_template),
        _ => false,
    })
}

/// Puts what templates give on a machine with those addresses in their place. Returned is what is wrong with them.
#[must_use]
pub fn resolve(settings: &mut Value, machine: &[InterfaceAddress]) -> Vec<Diagnostic> {
    let mut found = Findings::default();
    for (key, wanted) in KEYS {
        match at_mut(settings, key) {
            Some(Value::String(text)) if is_template(text) => {
                *text = words(key, text, wanted, machine, &mut found).join(" ");
            }
            Some(Value::Array(items)) => {
                let mut resolved = Vec::with_capacity(items.len());
                for item in items.drain(..) {
                    match item.as_str() {
                        Some(text) if is_template(text) => {
                            let words = words(key, text, wanted, machine, &mut found);
                            resolved.extend(words.into_iter().map(Value::from));
                        }
                        _ => resolved.push(item),
                    }
                }
                *items = resolved;
            }
            _ => {}
        }
    }
    found.0
}

fn at<'a>(settings: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(settings, |value, name| {
        value.as_object()?.iter().find(|it| it.0.eq_ignore_ascii_case(name)).map(|it| it.1)
    })
}

fn at_mut<'a>(settings: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    key.split('.').try_fold(settings, |value, name| {
        let mut pairs = value.as_object_mut()?.iter_mut();
        pairs.find(|it| it.0.eq_ignore_ascii_case(name)).map(|it| it.1)
    })
}

/// What a text gives, word by word.
fn words(
    key: &str,
    text: &str,
    wanted: Wanted,
    machine: &[InterfaceAddress],
    found: &mut Findings,
) -> Vec<String> {
    let expanded = match expand(text, machine) {
        Ok(expanded) => expanded,
        Err(error) => {
            found.error(key.to_owned(), format!("the template {text:?} is wrong: {error}"));
            return Vec::new();
        }
    };
    let words: Vec<String> = expanded.split_whitespace().map(str::to_owned).collect();
    let is_address = |it: &str| ip_of(it).is_some() || it.starts_with("unix://");
    let other = words.iter().find(|it| wanted != Wanted::Words && !is_address(it));
    let (message, remedy) = match (words.len(), other) {
        (0, _) => (
            "gives no address on this machine".to_owned(),
            "name an interface or a network that it has, or write the address itself",
        ),
        (_, Some(other)) => (
            format!("gives {other:?}, which is no IP address"),
            "ask for the address: | attr \"address\"",
        ),
        (count @ 2.., None) if wanted == Wanted::Address => (
            format!("gives {count} addresses, of which there may be one: {expanded}"),
            "choose by a name or network, or take the first: | attr \"address\"",
        ),
        _ => return words,
    };
    found.error_to_mend(key.to_owned(), format!("the template {text:?} {message}"), remedy);
    Vec::new()
}

/// An IP address; one of IPv6 may stand in brackets.
pub(crate) fn ip_of(text: &str) -> Option<IpAddr> {
    let inner = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    match inner {
        Some(inner) => inner.parse().ok().filter(IpAddr::is_ipv6),
        None => text.parse().ok(),
    }
}

/// Advertises an address of this machine if none is told, as Consul does: a private one of IPv4, or a public one of IPv6 when
/// `bind_addr` is `::`; that of the interface with the default route before others. What is told stays, and with `dev` none is
/// looked for. Returned is a finding when there is none, or no good reason for just this one.
pub fn advertise(config: &mut AgentConfig, machine: &[InterfaceAddress]) -> Option<Diagnostic> {
    if config.advertise.is_some() || config.dev {
        return None;
    }
    let (sort, candidates): (_, Vec<_>) = if config.bind.is_some_and(|it| it.is_ipv6()) {
        ("public IPv6", public(machine).into_iter().filter(|it| it.ip.is_ipv6()).collect())
    } else {
        let is_private = |it: &InterfaceAddress| is_of_rfc(it, 1918) || is_of_rfc(it, 6598);
        ("private IPv4", private(machine).into_iter().filter(is_private).collect())
    };
    config.advertise = candidates.first().map(|it| it.ip);
    match candidates.as_slice() {
        [] => Some(advertised_local(&format!("no interface has a {sort} address"))),
        [first, others @ ..]
            if !first.has_default_route && others.iter().any(|it| it.name != first.name) =>
        {
            Some(to_set(format!(
                "several interfaces have a {sort} address, but not the one with the default route, \
                 so others are told {} of {}",
                first.ip, first.name
            )))
        }
        _ => None,
    }
}

/// The finding that an agent has no address to advertise but 127.0.0.1, and why.
#[must_use]
pub fn advertised_local(why: &str) -> Diagnostic {
    to_set(format!("{why}, so others are told 127.0.0.1"))
}

fn to_set(message: String) -> Diagnostic {
    Diagnostic {
        severity: Severity::Approximated,
        place: Place::default(),
        field: "advertise_addr".into(),
        message,
        remedy: "set it to the address at which others reach this node".into(),
    }
}

#[cfg(test)]
mod tests;
