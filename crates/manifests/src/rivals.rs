use std::collections::BTreeMap;

use model::{Diagnostic, Document, DocumentKey, Folded, Place, Severity, Spec};

/// An error for each two documents, one of `documents` among them, of which only one can rule: a rollout and a workload of
/// one name (orders name either), two rollouts of one service, and a rollout of a service that a workload's copies are
/// registered as. `others` are there already; those that `documents` replace do not count.
#[must_use]
pub fn find_rivals<'a>(
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
fn rules(document: &Document) -> bool {
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
    use super::*;

    fn documents(text: &str) -> Vec<Document> {
        let document = |(kind, name, spec): (&str, &str, &str)| {
            format!(
                "---\napiVersion: leno.dev/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
            )
        };
        let words = text.split_whitespace().map(|it| it.split_once(':').unwrap());
        let texts = words.map(|(kind, rest)| {
            let (name, service) = rest.split_once('/').unwrap();
            if kind == "R" {
                document(("Rollout", name, &format!("service: {service}, version: v1")))
            } else {
                document(("Workload", name, &format!("command: [x], service: {service}")))
            }
        });
        let reading = crate::read(&texts.collect::<String>(), "");
        assert_eq!(reading.errors, []);
        reading.documents
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
