use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::go::quote;
use serde_json::Value;

use super::gateways::tls_versions;
use super::{Verdict, ensure, is_domain, is_method, pattern};
use crate::view::{Exported, HttpRoute, Reference, TcpRoute};

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn items<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    value.pointer(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn parents(all: &[Reference]) -> Verdict {
    let mut seen = BTreeSet::new();
    for parent in all {
        ensure(parent.kind == "api-gateway", || {
            format!("unsupported parent kind: {}, must be 'api-gateway'", quote(&parent.kind))
        })?;
        ensure(!parent.name.is_empty(), || "parent reference must have a name".to_owned())?;
        ensure(seen.insert(parent), || "route parents must be unique".to_owned())?;
    }
    Ok(())
}

pub(super) fn http_route(it: &HttpRoute) -> Verdict {
    parents(&it.parents)?;
    for host in &it.hostnames {
        let below = host.strip_prefix("*.").unwrap_or(host);
        ensure(host == "*" || !below.contains('*'), || {
            format!(
                "host {} is not valid, a wildcard specifier is only allowed as the leftmost label",
                quote(host)
            )
        })?;
        ensure(host == "*" || is_domain(below), || {
            format!("host {} must be a valid DNS hostname", quote(host))
        })?;
    }
    for (idx, rule) in it.rules.iter().enumerate() {
        for (at, matched) in rule.matches.iter().enumerate() {
            http_match(matched).map_err(|why| format!("Rule[{idx}], Match[{at}], {why}"))?;
        }
        filters(&rule.filters).map_err(|why| format!("Rule[{idx}], Filters, {why}"))?;
        for (at, service) in rule.services.iter().enumerate() {
            filters(&service["Filters"])
                .map_err(|why| format!("Rule[{idx}], Service[{at}], Filters, {why}"))?;
        }
    }
    Ok(())
}

fn http_match(it: &Value) -> Verdict {
    let method = text(it, "/Method");
    ensure(method.is_empty() || is_method(method), || {
        format!("Method contains an invalid method {}", quote(method))
    })?;
    for (at, header) in items(it, "/Headers").iter().enumerate() {
        let kind = text(header, "/Match");
        ensure(matches!(kind, "exact" | "prefix" | "present" | "regex" | "suffix"), || {
            format!(
                "Headers[{at}], match type should be one of present, exact, prefix, suffix, or regex"
            )
        })?;
        ensure(!text(header, "/Name").is_empty(), || {
            format!("Headers[{at}], missing required Name field")
        })?;
        let value = if kind == "regex" { text(header, "/Value") } else { "" };
        pattern(|| format!("Headers[{at}], Value"), value)?;
    }
    let path = text(it, "/Path/Value");
    match text(it, "/Path/Match") {
        "exact" | "prefix" => ensure(path.starts_with('/'), || {
            format!("Path value does not start with '/': {}", quote(path))
        })?,
        "regex" => pattern(|| "Path, Value".to_owned(), path)?,
        _ => return Err("Path, match type should be one of exact, prefix, or regex".to_owned()),
    }
    for (at, query) in items(it, "/Query").iter().enumerate() {
        let kind = text(query, "/Match");
        ensure(matches!(kind, "exact" | "present" | "regex"), || {
            format!("Query[{at}], match type should be one of present, exact, or regex")
        })?;
        ensure(!text(query, "/Name").is_empty(), || {
            format!("Query[{at}], missing required Name field")
        })?;
        let value = if kind == "regex" { text(query, "/Value") } else { "" };
        pattern(|| format!("Query[{at}], Value"), value)?;
    }
    Ok(())
}

fn filters(it: &Value) -> Verdict {
    let number = |path: &str| it.pointer(path).and_then(Value::as_i64).unwrap_or_default();
    ensure(number("/TimeoutFilter/RequestTimeout") >= 0, || {
        "RequestTimeout cannot be negative".to_owned()
    })?;
    ensure(number("/TimeoutFilter/IdleTimeout") >= 0, || {
        "IdleTimeout cannot be negative".to_owned()
    })?;
    for code in items(it, "/RetryFilter/RetryOnStatusCodes") {
        ensure(code.as_i64().is_some_and(|it| (100..=599).contains(&it)), || {
            format!("RetryOnStatusCodes contains {code}, which is no HTTP status")
        })?;
    }
    Ok(())
}

pub(super) fn tcp_route(it: &TcpRoute) -> Verdict {
    ensure(it.services.len() <= 1, || "tcp-route currently only supports one service".to_owned())?;
    parents(&it.parents)
}

pub(super) fn inline_certificate(body: &Value) -> Verdict {
    ensure(has_block(text(body, "/PrivateKey"), "PRIVATE KEY"), || {
        "failed to parse private key PEM".to_owned()
    })?;
    ensure(has_block(text(body, "/Certificate"), "CERTIFICATE"), || {
        "failed to parse certificate PEM".to_owned()
    })
}

/// Whether a text has a PEM block whose label ends so, with bytes in it.
fn has_block(text: &str, label: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find("-----BEGIN ") {
        rest = &rest[at + "-----BEGIN ".len()..];
        let Some((found, body)) = rest.split_once("-----") else { return false };
        let end = format!("-----END {found}-----");
        let Some((body, after)) = body.split_once(&end) else { return false };
        let letters: String = body.chars().filter(|it| !it.is_ascii_whitespace()).collect();
        if found.ends_with(label) && STANDARD.decode(letters).is_ok_and(|it| !it.is_empty()) {
            return true;
        }
        rest = after;
    }
    false
}

pub(super) fn certificate_files(body: &Value) -> Verdict {
    ensure(!text(body, "/Certificate").is_empty(), || "certificate path is required".to_owned())?;
    ensure(!text(body, "/PrivateKey").is_empty(), || "private key path is required".to_owned())
}

pub(super) fn mesh(body: &Value) -> Verdict {
    for direction in ["Incoming", "Outgoing"] {
        let at = |field: &str| text(body, &format!("/TLS/{direction}/{field}")).to_owned();
        let suites: Vec<String> = items(body, &format!("/TLS/{direction}/CipherSuites"))
            .iter()
            .filter_map(|it| it.as_str().map(str::to_owned))
            .collect();
        tls_versions(&at("TLSMinVersion"), &at("TLSMaxVersion"), &suites).map_err(|why| {
            format!("error in {} TLS configuration: {why}", direction.to_lowercase())
        })?;
    }
    let normalization = "/HTTP/Incoming/RequestNormalization";
    let action = text(body, &format!("{normalization}/PathWithEscapedSlashesAction"));
    let is_known = matches!(
        action,
        "" | "IMPLEMENTATION_SPECIFIC_DEFAULT"
            | "KEEP_UNCHANGED"
            | "REJECT_REQUEST"
            | "UNESCAPE_AND_REDIRECT"
            | "UNESCAPE_AND_FORWARD"
    );
    ensure(is_known, || {
        format!("error in HTTP configuration: no such path with escaped slashes action: {action}")
    })?;
    let action = text(body, &format!("{normalization}/HeadersWithUnderscoresAction"));
    ensure(matches!(action, "" | "ALLOW" | "REJECT_REQUEST" | "DROP_HEADER"), || {
        format!("error in HTTP configuration: no such headers with underscores action: {action}")
    })
}

pub(super) fn exported(name: &str, it: &Exported) -> Verdict {
    ensure(!name.is_empty(), || "Name is required".to_owned())?;
    ensure(name == "default", || "exported-services Name must be \"default\"".to_owned())?;
    for (idx, service) in it.services.iter().enumerate() {
        ensure(!service.name.is_empty(), || {
            format!("Services[{idx}]: service name cannot be empty")
        })?;
        ensure(!service.consumers.is_empty(), || {
            format!("Services[{idx}]: must have at least one consumer")
        })?;
        for (at, consumer) in service.consumers.iter().enumerate() {
            let place = format!("Services[{idx}].Consumers[{at}]");
            ensure(consumer.sameness_group.is_empty(), || {
                format!("{place}: sameness-groups are an enterprise-only feature")
            })?;
            ensure(consumer.partition.is_empty(), || {
                format!("{place}: partitions are a Consul Enterprise feature")
            })?;
            ensure(!consumer.peer.is_empty(), || {
                format!("{place}: must define at least one of Peer, Partition, or SamenessGroup")
            })?;
            ensure(consumer.peer != "*", || {
                format!("{place}: exporting to all peers (wildcard) is not supported")
            })?;
        }
    }
    Ok(())
}

pub(super) fn jwt_provider(body: &Value) -> Verdict {
    let local = &body["JSONWebKeySet"]["Local"];
    let remote = &body["JSONWebKeySet"]["Remote"];
    ensure(body["JSONWebKeySet"].is_object(), || "JSONWebKeySet is required".to_owned())?;
    ensure(local.is_object() != remote.is_object(), || {
        "must specify exactly one of Local or Remote JSON Web key set".to_owned()
    })?;
    if local.is_object() {
        let keys = text(local, "/JWKS");
        let file = text(local, "/Filename");
        ensure(keys.is_empty() != file.is_empty(), || {
            "must specify exactly one of String or filename for local keyset".to_owned()
        })?;
        ensure(keys.is_empty() || STANDARD.decode(keys).is_ok(), || {
            "JWKS must be valid base64 encoded string".to_owned()
        })?;
    } else {
        let uri = text(remote, "/URI");
        ensure(!uri.is_empty(), || "Remote JWKS URI is required".to_owned())?;
        ensure(uri.starts_with("http://") || uri.starts_with("https://"), || {
            format!("Remote JWKS URI is invalid: {}", quote(uri))
        })?;
        let discovery = text(remote, "/JWKSCluster/DiscoveryType");
        let is_known = matches!(
            discovery,
            "" | "STRICT_DNS" | "STATIC" | "LOGICAL_DNS" | "EDS" | "ORIGINAL_DST"
        );
        ensure(is_known, || {
            format!("unsupported jwks cluster discovery type: {}", quote(discovery))
        })?;
    }
    for (idx, location) in items(body, "/Locations").iter().enumerate() {
        let given = ["Header", "QueryParam", "Cookie"];
        let given: Vec<&str> = given.into_iter().filter(|it| location[it].is_object()).collect();
        ensure(given.len() == 1, || {
            format!(
                "Locations[{idx}]: must set exactly one of: JWT location header, query param or cookie"
            )
        })?;
        let name = text(location, &format!("/{}/Name", given[0]));
        ensure(!name.is_empty(), || {
            format!("Locations[{idx}]: {} name must be specified", given[0])
        })?;
    }
    let forwarding = &body["Forwarding"];
    ensure(!forwarding.is_object() || !text(forwarding, "/HeaderName").is_empty(), || {
        "Header name required for forwarding config".to_owned()
    })
}
