//! Golden files: each of `tests/golden/*.yaml` is a file that Envoy 1.40 accepts too, with what becomes of it and what is
//! found about it in the `.json` beside it. `UPDATE_GOLDEN=1` rewrites those.

use std::path::{Path, PathBuf};

use serde_json::json;
use xds::bootstrap;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn check(name: &str) {
    let text = std::fs::read_to_string(folder().join(name)).unwrap();
    let mut files = |name: &str| {
        std::fs::read_to_string(folder().join(name)).map_err(|error| error.to_string())
    };
    let (read, findings) = bootstrap::read(&text, &mut files).unwrap();
    // What a file can say, an agent can: so it must reach a proxy elsewhere as it is.
    let received = proxy_config::receive(&proxy_config::deliver(&read.config, "life")).unwrap();
    assert_eq!(received.config, read.config);
    let lines: Vec<String> =
        findings.iter().map(|it| format!("{} {it}", it.severity.as_str())).collect();
    let actual = json!({
        "findings": lines,
        "admin": read.admin,
        "node": format!("{:?}", read.node),
        "config": read.config,
    });
    let actual = format!("{}\n", serde_json::to_string_pretty(&actual).unwrap());
    let path = folder().join(format!("{name}.golden"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    for (expected, actual) in expected.lines().zip(actual.lines()) {
        assert_eq!(expected, actual, "in {name}; UPDATE_GOLDEN=1 accepts it");
    }
    assert_eq!(expected, actual, "in {name}; UPDATE_GOLDEN=1 accepts it");
}

#[test]
fn an_http_listener_with_everything() {
    check("http.yaml");
}

#[test]
fn routes_of_every_kind() {
    check("routes.yaml");
}

#[test]
fn clusters_of_every_kind() {
    check("clusters.yaml");
}

#[test]
fn tls_on_both_sides() {
    check("tls.yaml");
}

#[test]
fn what_is_not_honored_says_so() {
    check("findings.yaml");
}

#[test]
fn json_with_camel_case_numbers_for_names_and_texts_for_numbers() {
    check("camel.json");
}

#[test]
fn what_is_rarely_written() {
    check("rest.yaml");
}
