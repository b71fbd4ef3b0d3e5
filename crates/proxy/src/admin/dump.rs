use bytes::Bytes;
use http::{Response, StatusCode};
use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value as Json, json};

use super::query::Query;
use super::{AdminView, json as json_answer, plain};

/// Bytes of a compiled expression for names.
const EXPRESSION_BYTES_MAX: usize = 1 << 20;

/// Kinds of resources by name.
const KINDS: [&str; 5] = ["listeners", "route_tables", "clusters", "endpoints", "secrets"];

/// The whole configuration, or the part that `resource` names; of it the resources whose name matches `name_regex`, and
/// of each the fields that `mask` names (`balancing,outliers.interval`).
pub(super) fn respond(view: &AdminView<'_>, query: &Query) -> Response<Bytes> {
    let mut dump = serde_json::to_value(view.config).expect("a configuration has string keys only");
    if let Some(secrets) = dump.get_mut("secrets").and_then(Json::as_object_mut) {
        for secret in secrets.values_mut() {
            secret["private_key"] = json!("[redacted]");
        }
    }
    if let Some(expression) = query.get("name_regex").filter(|it| !it.is_empty()) {
        // As in Envoy the whole name must match.
        let whole = format!("^(?:{expression})$");
        match RegexBuilder::new(&whole).size_limit(EXPRESSION_BYTES_MAX).build() {
            Ok(names) => keep_names(&mut dump, &names),
            Err(error) => {
                return plain(StatusCode::BAD_REQUEST, format!("Invalid regex: {error}\n"));
            }
        }
    }
    if let Some(mask) = query.get("mask").filter(|it| !it.is_empty()) {
        for kind in KINDS {
            if let Some(resources) = dump.get_mut(kind).and_then(Json::as_object_mut) {
                resources.values_mut().for_each(|it| *it = masked(it, mask));
            }
        }
    }
    match query.get("resource") {
        None => json_answer(&dump),
        Some(resource) => match dump.get(resource) {
            Some(part) => json_answer(&json!({ resource: part })),
            None => plain(StatusCode::NOT_FOUND, format!("there is no resource {resource}\n")),
        },
    }
}

fn keep_names(dump: &mut Json, names: &Regex) {
    for kind in KINDS {
        if let Some(resources) = dump.get_mut(kind).and_then(Json::as_object_mut) {
            resources.retain(|name, _| names.is_match(name));
        }
    }
}

/// The fields of a resource that the paths of a mask name.
fn masked(resource: &Json, mask: &str) -> Json {
    let mut kept = Json::Object(Map::new());
    for path in mask.split(',').filter(|it| !it.is_empty()) {
        copy(resource, &mut kept, path);
    }
    kept
}

fn copy(from: &Json, to: &mut Json, path: &str) {
    let (field, rest) = path.split_once('.').unwrap_or((path, ""));
    let (Some(value), Some(to)) = (from.get(field), to.as_object_mut()) else { return };
    if rest.is_empty() {
        to.insert(field.to_owned(), value.clone());
    } else {
        let inner = to.entry(field).or_insert_with(|| Json::Object(Map::new()));
        copy(value, inner, rest);
    }
}

/// Envoy's `/init_dump`: clusters that are waited for.
pub(super) fn unready(view: &AdminView<'_>) -> Response<Bytes> {
    let names: Vec<String> = view.warming.iter().map(|it| format!("Cluster {it}")).collect();
    let dumps = match names.is_empty() {
        true => json!([]),
        false => json!([{ "name": "init manager Server", "target_names": names }]),
    };
    json_answer(&json!({ "unready_targets_dumps": dumps }))
}
