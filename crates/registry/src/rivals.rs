use std::collections::BTreeMap;

use model::{Diagnostic, Document, DocumentKey, Folded, Place, Severity, Spec};

/// An error for each two documents, one of `documents` among them, of which only one can rule: a rollout and a workload of
/// one name (orders name either), two rollouts of one service, and a rollout of a service that a workload's copies are
/// registered as. `others` are there already; those that `documents` replace do not count.
pub(crate) fn find_rivals<'a>(
    documents: &'a [Document],
    others: impl IntoIterator<Item = &'a Document>,
) -> Vec<Diagnostic> {
    let is_replaced = |key: &DocumentKey| documents.iter().any(|it| it.key == *key);
    let others = others.into_iter().filter(|it| !is_replaced(&it.key));
    let all: Vec<&Document> = others.chain(documents).filter(|it| rules(it)).collect();
    let mut named: BTreeMap<(&str, &str), &Document> = BTreeMap::new();
    let mut divided: BTreeMap<Folded, &Document> = BTreeMap::new();
    let mut rivals: Vec<(&Document, &Document, &str)> = Vec::new();
    for document in &all {
        let name = (document.key.namespace.as_str(), document.key.name.as_str());
        let other = named.insert(name, document);
        rivals.extend(other.map(|it| (it, *document, "metadata.name")));
        if let Spec::Rollout(spec) = &document.spec {
            let other = divided.insert(spec.service.folded(), document);
            rivals.extend(other.map(|it| (it, *document, "spec.service")));
        }
    }
    for document in &all {
        if let Spec::Workload(spec) = &document.spec
            && let Some(service) = &spec.service
            && let Some(rollout) = divided.get(&service.name.folded())
        {
            rivals.push((rollout, document, "spec.service"));
        }
    }
    let is_new = |it: &Document| documents.iter().any(|new| std::ptr::eq(new, it));
    let errors = rivals.into_iter().filter_map(|(one, other, field)| {
        let (new, old) = if is_new(other) { (other, one) } else { (one, other) };
        is_new(new).then(|| error(new, old, field))
    });
    errors.collect()
}

/// Whether it may be somebody's rival.
pub(crate) fn rules(document: &Document) -> bool {
    match &document.spec {
        Spec::Workload(_) | Spec::Rollout(_) => true,
        Spec::Service(_) | Spec::Ingress(_) | Spec::Secret(_) => false,
    }
}

fn error(document: &Document, other: &Document, field: &str) -> Diagnostic {
    let (message, remedy) = if field == "metadata.name" {
        ("has the same name, and orders name either", "give one of the two another name")
    } else {
        (
            "is about the same service, and only one can divide its requests",
            "delete one of the two; a workload rolls out its versions by its own document",
        )
    };
    Diagnostic {
        severity: Severity::Error,
        place: Place { file: document.source.clone(), line: document.line },
        field: field.to_owned(),
        message: format!("{}: {} {message}", document.key, other.key),
        remedy: remedy.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use model::workload::Registration;
    use model::{RolloutSpec, ServiceName, WorkloadSpec};

    use super::*;

    /// `R:NAME/SERVICE` is a rollout, `W:NAME/SERVICE` a workload.
    fn documents(text: &str) -> Vec<Document> {
        let document = |word: &str| {
            let (kind, rest) = word.split_once(':').unwrap();
            let (name, service) = rest.split_once('/').unwrap();
            let service: ServiceName = service.into();
            let (kind, spec) = if kind == "R" {
                ("Rollout", Spec::Rollout(RolloutSpec { service, ..RolloutSpec::default() }.into()))
            } else {
                let service = Some(Registration { name: service, ..Registration::default() });
                (
                    "Workload",
                    Spec::Workload(WorkloadSpec { service, ..WorkloadSpec::default() }.into()),
                )
            };
            let (group, namespace) = ("leno.dev".to_owned(), "default".to_owned());
            Document {
                key: DocumentKey { group, kind: kind.into(), namespace, name: name.into() },
                api_version: "leno.dev/v1".to_owned(),
                body: serde_json::Value::Null,
                spec,
                diagnostics: Vec::new(),
                source: String::new(),
                line: 1,
            }
        };
        text.split_whitespace().map(document).collect()
    }

    fn check(new: &str, there: &str, expected: &[&str]) {
        let (new, there) = (documents(new), documents(there));
        let found: Vec<String> = find_rivals(&new, &there)
            .iter()
            .map(|it| format!("{} {}", it.field, it.message.replace(" in namespace default", "")))
            .collect();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found}");
        }
    }

    #[test]
    fn only_one_rules_over_a_name_and_over_a_service() {
        check("R:a/web R:b/db W:c/one W:d/one", "", &[]);
        check("R:a/one", "W:a/two", &["metadata.name Rollout/a: Workload/a"]);
        check("R:a/web", "R:b/Web", &["spec.service Rollout/a: Rollout/b"]);
        check("R:a/web", "W:b/web", &["spec.service Rollout/a: Workload/b"]);
        check("W:b/web", "R:a/web", &["spec.service Workload/b: Rollout/a"]);
        check("R:a/web", "R:a/web", &[]);
        check("R:c/other", "R:a/web W:b/web", &[]);
        check("R:a/web R:b/web", "", &["spec.service Rollout/b: Rollout/a"]);
    }
}
