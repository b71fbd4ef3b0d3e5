//! Completes entries with what follows from what they say, so that whoever reads them need not know the rules.

use serde_json::{Map, Value};

use crate::intentions;

type Fields = Map<String, Value>;

pub(crate) fn normalize(kind: &str, name: &str, fields: &mut Fields) {
    match kind {
        "service-defaults" => {
            lower(fields, "Protocol");
            if let Some(Value::Object(upstreams)) = fields.get_mut("UpstreamConfig") {
                for upstream in each(upstreams, "Overrides") {
                    normalize_upstream(upstream);
                }
                if let Some(Value::Object(defaults)) = upstreams.get_mut("Defaults") {
                    normalize_upstream(defaults);
                }
            }
        }
        "service-router" => {
            for route in each(fields, "Routes") {
                if let Some(Value::Object(http)) = inner(route, &["Match", "HTTP"]) {
                    upper_all(http, "Methods");
                }
            }
        }
        "service-splitter" => {
            for split in each(fields, "Splits") {
                let weight = split.get("Weight").and_then(Value::as_f64).unwrap_or_default();
                split.insert("Weight".to_owned(), number(hundredths(weight)));
            }
        }
        "ingress-gateway" => {
            for listener in each(fields, "Listeners") {
                default(listener, "Protocol", "tcp");
                lower(listener, "Protocol");
            }
        }
        "api-gateway" => normalize_api_gateway(fields),
        "http-route" => normalize_http_route(fields),
        "tcp-route" => normalize_parents(fields),
        "jwt-provider" => normalize_jwt_provider(fields),
        "service-intentions" => intentions::normalize(name, fields),
        _ => {}
    }
}

/// A share of a hundred in hundredths, as whole as it is kept.
pub(crate) fn hundredths(weight: f64) -> i64 {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "saturates; the rules refuse what is not within 0 to 10000"
    )]
    let scaled = (weight * 100.0).round() as i64;
    scaled
}

/// Hundredths as a number with as few digits as it needs.
fn number(hundredths: i64) -> Value {
    if hundredths % 100 == 0 {
        return Value::from(hundredths / 100);
    }
    #[allow(clippy::cast_precision_loss, reason = "exact below 2^53")]
    let value = hundredths as f64 / 100.0;
    Value::from(value)
}

fn normalize_upstream(upstream: &mut Fields) {
    lower(upstream, "Protocol");
    if upstream.get("ConnectTimeoutMs").and_then(Value::as_i64).is_some_and(|it| it < 0) {
        upstream.remove("ConnectTimeoutMs");
    }
}

fn normalize_api_gateway(fields: &mut Fields) {
    // What became of it is not the client's to say.
    fields.remove("Status");
    for listener in each(fields, "Listeners") {
        lower(listener, "Protocol");
        if let Some(Value::Object(tls)) = listener.get_mut("TLS") {
            for certificate in each(tls, "Certificates") {
                default(certificate, "Kind", "inline-certificate");
            }
        }
    }
}

fn normalize_http_route(fields: &mut Fields) {
    normalize_parents(fields);
    for rule in each(fields, "Rules") {
        for matched in each(rule, "Matches") {
            upper(matched, "Method");
            let path = matched.entry("Path").or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(path) = path {
                default(path, "Match", "prefix");
                default(path, "Value", "/");
            }
        }
        for service in each(rule, "Services") {
            if service.get("Weight").and_then(Value::as_i64).is_none_or(|it| it <= 0) {
                service.insert("Weight".to_owned(), Value::from(1));
            }
        }
    }
}

fn normalize_parents(fields: &mut Fields) {
    fields.remove("Status");
    for parent in each(fields, "Parents") {
        default(parent, "Kind", "api-gateway");
    }
}

fn normalize_jwt_provider(fields: &mut Fields) {
    // Consul's default: half a minute.
    if fields.get("ClockSkewSeconds").and_then(Value::as_i64).is_none_or(|it| it == 0) {
        fields.insert("ClockSkewSeconds".to_owned(), Value::from(30));
    }
}

/// The objects of a list.
pub(crate) fn each<'a>(fields: &'a mut Fields, name: &str) -> impl Iterator<Item = &'a mut Fields> {
    let list = fields.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten();
    list.filter_map(Value::as_object_mut)
}

fn inner<'a>(fields: &'a mut Fields, path: &[&str]) -> Option<&'a mut Value> {
    let (first, rest) = path.split_first()?;
    let mut at = fields.get_mut(*first)?;
    for name in rest {
        at = at.get_mut(*name)?;
    }
    Some(at)
}

pub(crate) fn default(fields: &mut Fields, name: &str, value: &str) {
    let is_empty = fields.get(name).and_then(Value::as_str).unwrap_or_default().is_empty();
    if is_empty {
        fields.insert(name.to_owned(), Value::String(value.to_owned()));
    }
}

fn lower(fields: &mut Fields, name: &str) {
    if let Some(Value::String(text)) = fields.get_mut(name) {
        *text = text.to_lowercase();
    }
}

fn upper(fields: &mut Fields, name: &str) {
    if let Some(Value::String(text)) = fields.get_mut(name) {
        *text = text.to_uppercase();
    }
}

pub(crate) fn upper_all(fields: &mut Fields, name: &str) {
    for item in fields.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten() {
        if let Value::String(text) = item {
            *text = text.to_uppercase();
        }
    }
}
