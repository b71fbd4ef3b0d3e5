//! Documents in files: JSON, or Consul's own language where this build reads it.

use anyhow::Context;
use serde_json::{Map, Value, json};

use super::command::{read_source, refuse};

/// Reads a document from a file, or from standard input for `-`.
pub(crate) fn read(source: &str) -> anyhow::Result<Value> {
    parse(&read_source(source)?).with_context(|| match source {
        "-" => "standard input".to_owned(),
        path => path.to_owned(),
    })
}

/// Reads a document.
pub(crate) fn parse(bytes: &[u8]) -> anyhow::Result<Value> {
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return refuse("only documents in JSON are read; write it as a JSON object");
    }
    serde_json::from_slice(bytes).context("it is not JSON")
}

/// Reads a config entry.
pub(crate) fn config_entry(source: &str) -> anyhow::Result<Value> {
    read(source)
}

/// The value of a key that may be written in snake case or as the API names it.
pub(crate) fn value<'v>(document: &'v Value, name: &str) -> &'v Value {
    let wanted = |key: &String| key.replace('_', "").eq_ignore_ascii_case(name);
    let found = document.as_object().and_then(|all| all.iter().find(|(key, _)| wanted(key)));
    found.map_or(&Value::Null, |(_, value)| value)
}

/// Services in an agent's configuration file, as the HTTP API registers them.
///
/// # Errors
/// When a part of a service has the wrong form.
pub(crate) fn services(document: &Value) -> anyhow::Result<Vec<Value>> {
    let mut services = Vec::new();
    for name in ["service", "services"] {
        match value(document, name) {
            Value::Null => {}
            Value::Array(all) => services.extend(all),
            one => services.push(one),
        }
    }
    services.into_iter().map(service).collect()
}

/// Keys below which keys are names of the user's, and values text.
const NAMED: [&str; 4] = ["meta", "header", "taggedaddresses", "config"];

fn service(service: &Value) -> anyhow::Result<Value> {
    let Some(fields) = service.as_object() else { return refuse("a service must be an object") };
    let mut api = Map::new();
    for (key, value) in fields {
        let plain = key.replace('_', "").to_ascii_lowercase();
        let value = match (plain.as_str(), value) {
            ("check", Value::Object(_)) => check(value),
            ("check" | "checks", Value::Array(all)) => all.iter().map(check).collect(),
            ("meta", Value::Object(pairs)) => {
                pairs.iter().map(|(key, value)| (key.clone(), json!(as_text(value)))).collect()
            }
            _ => renamed(&plain, value),
        };
        // Several `check` blocks are what the API calls checks.
        let is_list = plain == "check" && value.is_array();
        api.insert(if is_list { "Checks".to_owned() } else { api_name(key) }, value);
    }
    Ok(Value::Object(api))
}

fn check(value: &Value) -> Value {
    let Some(fields) = value.as_object() else { return value.clone() };
    let fields = fields.iter().map(|(key, value)| {
        let plain = key.replace('_', "").to_ascii_lowercase();
        match plain.as_str() {
            "id" | "checkid" => ("CheckID".to_owned(), value.clone()),
            _ => (api_name(key), renamed(&plain, value)),
        }
    });
    Value::Object(fields.collect())
}

/// The value with the keys below it named as the API names them.
fn renamed(under: &str, value: &Value) -> Value {
    match value {
        Value::Object(_) if NAMED.contains(&under) => value.clone(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| {
                let plain = key.replace('_', "").to_ascii_lowercase();
                (api_name(key), renamed(&plain, value))
            })
            .collect(),
        Value::Array(all) => all.iter().map(|value| renamed(under, value)).collect(),
        plain => plain.clone(),
    }
}

/// `enable_tag_override` becomes `EnableTagOverride`; the API reads names without regard to case.
fn api_name(key: &str) -> String {
    match key {
        "id" => return "ID".to_owned(),
        "http" | "tcp" | "ttl" | "grpc" | "udp" => return key.to_uppercase(),
        _ => {}
    }
    let mut name = String::with_capacity(key.len());
    for part in key.split('_') {
        let mut letters = part.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}

fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_of_a_file_become_registrations() {
        let document = json!({"service": {
            "id": "web-1", "name": "web", "enable_tag_override": true,
            "meta": {"some_key": 4}, "tagged_addresses": {"lan_ipv4": {"address": "10.0.0.1", "port": 80}},
            "checks": [{"id": "up", "http": "http://a/", "tls_skip_verify": true, "interval": "1s",
                "header": {"x_y": ["1"]}}],
        }});
        let expected = json!([{
            "ID": "web-1", "Name": "web", "EnableTagOverride": true,
            "Meta": {"some_key": "4"},
            "TaggedAddresses": {"lan_ipv4": {"address": "10.0.0.1", "port": 80}},
            "Checks": [{"CheckID": "up", "HTTP": "http://a/", "TlsSkipVerify": true, "Interval": "1s",
                "Header": {"x_y": ["1"]}}],
        }]);
        assert_eq!(Value::Array(services(&document).unwrap()), expected);
    }

    #[test]
    fn a_file_may_hold_many_services_and_other_things() {
        let document = json!({"datacenter": "dc1", "services": [{"Name": "a"}, {"Name": "b"}]});
        assert_eq!(services(&document).unwrap().len(), 2);
        assert_eq!(services(&json!({})).unwrap(), Vec::<Value>::new());
        assert!(services(&json!({"service": 1})).is_err());
    }

    #[test]
    fn what_is_no_json_is_refused_with_what_to_do() {
        assert!(parse(b"service {}").unwrap_err().to_string().contains("JSON"));
        assert!(parse(b" {").is_err());
        assert_eq!(parse(b" {}").unwrap(), json!({}));
    }
}
