use std::fmt::Write as _;
use std::path::Path;

use super::*;

/// Imports `testdata/<name>` and compares what comes of it with `testdata/<name>.golden`.
fn check(name: &str, import: fn(&str, &str, &str) -> Imported) -> Imported {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/import");
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    let imported = import(&text, name, "/srv/shop");
    let mut found = imported.documents.clone().unwrap_or_default();
    for it in &imported.findings {
        writeln!(found, "# {:?}: {it}", it.severity).unwrap();
    }
    let golden = folder.join(format!("{name}.golden"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(&golden).unwrap_or_default(), "{golden:?}");
    imported
}

/// The documents can be applied as they are, and are honored whole.
fn applies(imported: &Imported) {
    let reading = crate::read(imported.documents.as_deref().unwrap(), "");
    assert_eq!(reading.errors, []);
    for document in reading.documents {
        assert_eq!(document.diagnostics, [], "{}", document.key);
    }
    assert!(imported.findings.iter().all(|it| it.severity != Severity::Error));
}

#[test]
fn a_procfile_becomes_workloads() {
    applies(&check("Procfile", procfile));
}

#[test]
fn a_compose_file_becomes_workloads() {
    applies(&check("compose.yaml", compose));
}

#[test]
fn what_of_a_compose_file_cannot_be_taken_over_is_told() {
    let imported = check("odd-compose.yaml", compose);
    assert!(imported.findings.iter().all(|it| !it.message.is_empty()));
}

#[test]
fn a_file_of_another_kind_is_unreadable() {
    for text in ["", "a: [", "7", "services: 7", "web: {}", "services: {}\n---\nservices: {}"] {
        let imported = compose(text, "-", "");
        assert_eq!(imported.documents, None, "{text}");
        assert_eq!(imported.findings[0].severity, Severity::Error, "{text}");
    }
    for text in ["", "# web\n", "no process\n", ": x", "web:", "a b: c"] {
        assert_eq!(procfile(text, "-", "").documents, None, "{text}");
    }
}

#[test]
fn every_value_survives_being_written() {
    for value in [
        "",
        "yes",
        "007",
        "1e3",
        "null",
        "~",
        " a ",
        "a: b # c",
        "- x",
        "é\n\"'\\\t",
        "$$(A)",
        "!x",
        "&a",
        "%",
        "@",
    ] {
        let text = serde_json::json!({"services": {"a": {
            "command": ["x", value.replace('$', "$$")],
            "environment": {"A": value.replace('$', "$$")},
            "expose": [80],
        }}});
        let imported = compose(&text.to_string(), "", "");
        let documents = crate::read(&imported.documents.unwrap(), "").documents;
        let model::Spec::Workload(spec) = &documents[0].spec else { panic!("a workload") };
        let environment = spec.environment(&std::collections::BTreeMap::new());
        assert_eq!(environment["A"], value);
        assert_eq!(spec.command.arguments(|_| Some("replaced")), ["x", value]);
    }
}

#[test]
fn no_text_makes_it_panic() {
    let text = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/import/odd-compose.yaml"),
    )
    .unwrap();
    for (idx, _) in text.char_indices().step_by(5) {
        let _ = compose(&text[..idx], "", "");
        let _ = procfile(&text[..idx], "", "");
    }
    let lines: Vec<&str> = text.lines().collect();
    for idx in 0..lines.len() {
        for odd in ["null", "[]", "{}", "-1", "[null, [], {}]", "{a: {b: []}}", "'$${é:-}'"] {
            let mut changed: Vec<String> = lines.iter().map(|it| (*it).to_owned()).collect();
            if let Some((name, _)) = lines[idx].split_once(": ") {
                changed[idx] = format!("{name}: {odd}");
                let _ = compose(&changed.join("\n"), "", "");
            }
        }
    }
}
