use std::fmt::Write as _;
use std::path::Path;

use model::{Severity, Spec};

use super::*;

/// Reads `testdata/<name>.yaml` and compares what comes of it with `testdata/<name>.golden`.
fn check(name: &str) -> Reading {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let text = std::fs::read_to_string(folder.join(format!("{name}.yaml"))).unwrap();
    let reading = read(&text, &format!("{name}.yaml"));
    let golden = folder.join(format!("{name}.golden"));
    let found = render(&reading);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(&golden).unwrap_or_default(), "{golden:?}");
    reading
}

fn render(reading: &Reading) -> String {
    let mut text = String::new();
    for document in &reading.documents {
        let spec = serde_json::to_string_pretty(&document.spec).unwrap();
        writeln!(text, "# {} ({})\n{spec}", document.key, document.api_version).unwrap();
        for it in &document.diagnostics {
            writeln!(text, "{:?}: {it}", it.severity).unwrap();
        }
        text.push('\n');
    }
    for it in &reading.errors {
        writeln!(text, "{:?}: {it}", it.severity).unwrap();
    }
    text
}

#[test]
fn the_manifest_that_users_start_from_is_honored_whole() {
    let reading = check("my-service");
    assert_eq!(reading.errors, []);
    assert!(reading.documents.iter().all(|it| it.diagnostics.is_empty()));
    let Spec::Ingress(ingress) = &reading.documents[1].spec else { panic!("an ingress") };
    assert!(ingress.timing_headers && ingress.timing_trailer);
}

#[test]
fn the_documents_that_the_compiler_is_tested_with_are_up_to_date() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(folder.join("testdata/my-service.yaml")).unwrap();
    let found = serde_json::to_string_pretty(&read(&text, "my-service.yaml").documents).unwrap();
    let golden = folder.join("../compiler/testdata/my-service.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, found.clone() + "\n").unwrap();
    }
    assert_eq!(found + "\n", std::fs::read_to_string(&golden).unwrap());
}

#[test]
fn every_field_of_an_ingress_is_honored_or_reported() {
    assert_eq!(check("ingress-v1").errors, []);
}

#[test]
fn older_ingresses_and_lists_are_read() {
    let reading = check("ingress-v1beta1");
    assert_eq!(reading.errors, []);
    assert_eq!(reading.documents[0].key.group, "networking.k8s.io");
}

#[test]
fn every_field_of_a_service_is_honored_or_reported() {
    assert_eq!(check("services").errors, []);
}

#[test]
fn every_field_of_a_workload_is_honored_or_reported() {
    assert_eq!(check("workloads").errors, []);
}

#[test]
fn every_field_of_a_rollout_is_honored_or_reported() {
    assert_eq!(check("rollouts").errors, []);
}

#[test]
fn all_errors_of_a_workload_are_told_at_once() {
    let reading = check("bad-workloads");
    assert!(reading.errors.iter().all(|it| it.place.line > 0 && !it.remedy.is_empty()));
    let many = reading.errors.iter().filter(|it| (14..42).contains(&it.place.line));
    assert!(many.count() > 25);
}

#[test]
fn the_values_of_a_secret_are_nowhere_but_in_its_spec() {
    let reading = check("secrets");
    assert_eq!(reading.errors, []);
    for document in &reading.documents {
        let body = document.body.to_string();
        assert!(body.contains("(hidden)"), "{body}");
        assert!(!body.contains("PRIVATE KEY") && !body.contains("hidden-value"), "{body}");
        assert!(!format!("{document:?}").contains("hidden-value"));
    }
}

/// The documents of `bad.yaml` from this one on, with the errors that they have alone.
fn errors_of(name: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let text = std::fs::read_to_string(folder.join("bad.yaml")).unwrap();
    let mut documents = text.split("\n---\n");
    let text = documents.find(|it| it.contains(&format!("{{name: {name}}}"))).unwrap();
    read(text, "-").errors.iter().map(ToString::to_string).collect()
}

#[test]
fn a_key_must_be_that_of_its_certificate() {
    let expected = "stdin:18: stringData[\"tls.key\"]: is not the key of the certificate in `tls.crt` \
                    (give the key that the certificate was made for)";
    assert_eq!(errors_of("pair"), [expected]);
}

#[test]
fn all_errors_of_an_ingress_are_told_at_once() {
    let errors = errors_of("many");
    for field in ["host", "http.paths[0].path", "http.paths[0].pathType"] {
        let field = format!("spec.rules[0].{field}: ");
        assert!(errors.iter().any(|it| it.contains(&field)), "{field} in {errors:?}");
    }
    assert!(errors[0].contains("(leave scheme and port out: shop.example.com)"), "{errors:?}");
    assert_eq!(errors.len(), 5, "{errors:?}");
}

#[test]
fn a_document_knows_its_line() {
    let text = "# head\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {}\n---\n\
                apiVersion: v1\nkind: Secret\nmetadata: {name: b}\n";
    let documents = read(text, "-").documents;
    let found: Vec<_> = documents.iter().map(|it| (it.line, it.source.as_str())).collect();
    assert_eq!(found, [(3, "stdin"), (8, "stdin")]);
    assert_eq!(parse_keys("kind: [", "-").errors[0].place.file, "stdin");
}

#[test]
fn every_error_names_its_line_and_a_remedy() {
    let reading = check("bad");
    assert!(reading.errors.len() > 30);
    for error in &reading.errors {
        assert_eq!(error.severity, Severity::Error);
        assert!(error.place.line > 0, "{error}");
        assert!(!error.remedy.is_empty(), "{error}");
        assert!(!error.to_string().contains("hidden-value"), "{error}");
    }
}

#[test]
fn a_newer_ingress_takes_the_key_of_an_older() {
    let ingress = |version| {
        format!("{{apiVersion: {version}, kind: Ingress, metadata: {{name: a}}, spec: {{}}}}")
    };
    let key = |version| parse_keys(&ingress(version), "").keys.remove(0);
    assert_eq!(key("extensions/v1beta1"), key("networking.k8s.io/v1"));
}

#[test]
fn keys_are_read_from_documents_that_are_otherwise_wrong() {
    let text = "{apiVersion: v1, kind: Service, metadata: {name: a, namespace: b}, spec: 7}";
    let keys = parse_keys(text, "t.yaml");
    assert_eq!(keys.errors, []);
    assert_eq!(keys.keys[0].to_string(), "Service/a in namespace b");
    assert_eq!(parse_keys("kind: Service", "t.yaml").errors.len(), 1);
}

#[test]
fn nothing_is_declared_by_an_empty_text() {
    for text in ["", "---\n", "# only words\n", "---\n---\n"] {
        assert_eq!(read(text, ""), Reading::default());
    }
}
