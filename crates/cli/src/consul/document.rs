//! Documents in files, in Consul's language (HCL 1) or JSON.

use agent_config::Source;
use anyhow::{Context, anyhow};
use hcl::Repeated;
use serde_json::{Map, Value};

use super::command::read_source;

/// Keys of which the value is a list of objects, without underscores and in small letters. What else HCL gathers in a list
/// is one object, written in parts. They are those of config entries, by the types of Consul's Go client.
const LISTS: [&str; 24] = [
    "certificates",
    "consumers",
    "envoyextensions",
    "hashpolicies",
    "header",
    "headers",
    "listeners",
    "locations",
    "matches",
    "members",
    "overrides",
    "parents",
    "paths",
    "permissions",
    "providers",
    "query",
    "queryparam",
    "routes",
    "rules",
    "services",
    "sources",
    "splits",
    "targets",
    "verifyclaims",
];

/// Reads a document from a file, or from standard input for `-`.
pub(crate) fn read(source: &str) -> anyhow::Result<Value> {
    let (value, is_json) = parse(source)?;
    Ok(if is_json { value } else { hcl::flatten(&value, repeated) })
}

fn repeated(path: &[&str]) -> Repeated {
    let key = path.last().copied().unwrap_or_default();
    // A template may be used for several names.
    if LISTS.contains(&plain(key).as_str()) || key.starts_with("builtin/") {
        Repeated::Listed
    } else {
        Repeated::Merged
    }
}

/// What is in a file as the language has it, and whether it is JSON.
fn parse(source: &str) -> anyhow::Result<(Value, bool)> {
    let bytes = read_source(source)?;
    let name = if source == "-" { "standard input" } else { source };
    let value = hcl::parse(&bytes).map_err(|error| anyhow!("{name}:{error}"))?;
    Ok((value, bytes.trim_ascii_start().starts_with(b"{")))
}

fn plain(key: &str) -> String {
    key.replace('_', "").to_ascii_lowercase()
}

/// The value of a key that may be written in snake case or as the API names it.
pub(crate) fn value<'v>(document: &'v Value, name: &str) -> &'v Value {
    let mut entries = document.as_object().into_iter().flatten();
    entries.find(|(key, _)| plain(key) == name).map_or(&Value::Null, |(_, value)| value)
}

/// Services in an agent's configuration files, as the HTTP API registers them.
///
/// # Errors
/// When a file is not one that an agent could be started with.
pub(crate) fn services(files: &[String]) -> anyhow::Result<Vec<Map<String, Value>>> {
    let mut sources = Vec::new();
    for file in files {
        sources.push(Source { name: file.clone(), value: parse(file)?.0 });
    }
    let merged = agent_config::merge(&sources);
    let config = merged.and_then(|merged| agent_config::read(&merged)).map_err(|wrong| {
        let lines: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        anyhow!("{}", lines.join("\n"))
    });
    let (config, _) = config?;
    let mut services = Vec::new();
    for service in config.services {
        let Value::Object(mut service) = service else {
            return Err(anyhow!("a service is no object")).context("the configuration is wrong");
        };
        // Metadata is text; people write numbers.
        if let Some(Value::Object(meta)) = service.get_mut("meta") {
            for value in meta.values_mut().filter(|it| it.is_number() || it.is_boolean()) {
                *value = value.to_string().into();
            }
        }
        services.push(service);
    }
    Ok(services)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file(text: &str) -> (tempfile::NamedTempFile, String) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        (file, path)
    }

    #[test]
    fn blocks_are_lists_where_config_entries_have_lists() {
        let (_file, path) = file(
            r#"
            Kind = "service-router"
            Name = "web"
            routes { match { http { path_prefix = "/a" header { name = "x" } } } }
            meta { owner = "team" }
            "#,
        );
        let expected = json!({
            "Kind": "service-router", "Name": "web",
            "routes": [{"match": {"http": {"path_prefix": "/a", "header": [{"name": "x"}]}}}],
            "meta": {"owner": "team"},
        });
        assert_eq!(read(&path).unwrap(), expected);
    }

    #[test]
    fn json_stays_as_it_is() {
        let (_file, path) = file(r#" {"Kind": "x", "Other": [{"a": [{"b": 1}]}]}"#);
        let expected = json!({"Kind": "x", "Other": [{"a": [{"b": 1}]}]});
        assert_eq!(read(&path).unwrap(), expected);
    }

    #[test]
    fn services_of_files_become_registrations() {
        let (_first, first) = file(
            r#"
            service {
              id = "web-1"  name = "web"  enable_tag_override = true
              meta { version = 4 }
              check { id = "up"  http = "http://a/"  interval = "1s" }
            }
            "#,
        );
        let (_second, second) = file(r#"{"services": [{"name": "b"}], "datacenter": "dc1"}"#);
        let expected = json!([
            {
                "id": "web-1", "name": "web", "enabletagoverride": true, "meta": {"version": "4"},
                "check": {"checkid": "up", "http": "http://a/", "interval": "1s"},
            },
            {"name": "b"},
        ]);
        let services = services(&[first, second]).unwrap().into_iter().map(Value::Object);
        assert_eq!(services.collect::<Value>(), expected);
    }

    #[test]
    fn an_error_says_in_which_file_and_line() {
        let (_file, path) = file("a = \n");
        let error = read(&path).unwrap_err().to_string();
        assert!(error.starts_with(&path), "{error}");
        let (_file, path) = file("no_such_key = 1");
        let error = services(&[path]).unwrap_err().to_string();
        assert!(error.contains("no_such_key"), "{error}");
    }
}
