use std::collections::BTreeMap;

use model::{Diagnostic, Document, Place, Severity, Spec};

/// Namespace and name of a workload.
type Name<'a> = (&'a str, &'a str);

/// Whether the search has been at a workload.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    No,
    /// It is on the path from where the search began.
    OnPath,
    Yes,
}

struct Entry<'a> {
    document: &'a Document,
    depends_on: &'a [String],
    seen: Seen,
}

/// An error for each circle of workloads among `documents` that wait for each other, so that none of them could ever start.
/// Names that are not among them are passed over. Takes time in proportion to the documents and what they depend on.
#[must_use]
pub fn find_circles(documents: &[Document]) -> Vec<Diagnostic> {
    let mut all: BTreeMap<Name<'_>, Entry<'_>> = BTreeMap::new();
    for document in documents {
        match &document.spec {
            Spec::Workload(spec) => {
                let (key, depends_on) = (&document.key, spec.depends_on.as_slice());
                let entry = Entry { document, depends_on, seen: Seen::No };
                all.insert((&key.namespace, &key.name), entry);
            }
            Spec::Service(_) | Spec::Ingress(_) | Spec::Secret(_) | Spec::Rollout(_) => {}
        }
    }
    let names: Vec<Name<'_>> = all.keys().copied().collect();
    names.into_iter().flat_map(|name| search(&mut all, name)).collect()
}

/// The circles that are found from `start` on.
fn search<'a>(all: &mut BTreeMap<Name<'a>, Entry<'a>>, start: Name<'a>) -> Vec<Diagnostic> {
    let mut circles = Vec::new();
    // The path to where the search is; each with the dependencies that are still to be followed.
    let mut path: Vec<(Name<'a>, &'a [String])> = Vec::new();
    let mut next = Some(start);
    loop {
        if let Some(name) = next.take()
            && let Some(entry) = all.get_mut(&name)
        {
            match entry.seen {
                Seen::No => {
                    entry.seen = Seen::OnPath;
                    path.push((name, entry.depends_on));
                }
                Seen::OnPath => {
                    let from = path.iter().position(|it| it.0 == name).unwrap_or_default();
                    circles.push(circle(entry.document, &path[from..]));
                }
                Seen::Yes => {}
            }
        }
        let Some((name, waiting)) = path.last_mut() else { return circles };
        match waiting.split_first() {
            Some((dependency, rest)) => {
                *waiting = rest;
                next = Some((name.0, dependency));
            }
            None => {
                if let Some(entry) = all.get_mut(name) {
                    entry.seen = Seen::Yes;
                }
                path.pop();
            }
        }
    }
}

fn circle(document: &Document, path: &[(Name<'_>, &[String])]) -> Diagnostic {
    let names = path.iter().map(|(name, _)| name.1).chain([document.key.name.as_str()]);
    let names: Vec<&str> = names.collect();
    Diagnostic {
        severity: Severity::Error,
        place: Place { file: document.source.clone(), line: document.line },
        field: "spec.dependsOn".to_owned(),
        message: format!("workloads wait for each other in a circle: {}", names.join(" -> ")),
        remedy: "remove one of these dependencies".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(edges: &str, expected: &[&str]) {
        let mut text = String::new();
        for line in edges.split(';') {
            let (name, depends_on) = line.split_once(':').unwrap();
            text.push_str(&format!(
                "---\napiVersion: leno.dev/v1\nkind: Workload\nmetadata: {{name: {name}}}\n\
                 spec: {{command: [x], dependsOn: [{depends_on}]}}\n"
            ));
        }
        let reading = crate::read(&text, "");
        assert_eq!(reading.errors, []);
        let circles = find_circles(&reading.documents);
        let found: Vec<&str> =
            circles.iter().map(|it| it.message.rsplit_once(": ").unwrap().1).collect();
        assert_eq!(found, expected, "{edges}");
    }

    #[test]
    fn a_circle_is_found_wherever_it_begins() {
        check("a:b;b:c;c:", &[]);
        check("a:b,c;b:d;c:d;d:", &[]);
        check("a:b;b:a", &["a -> b -> a"]);
        check("a:b;b:c;c:d;d:b", &["b -> c -> d -> b"]);
        check("a:b;b:a;c:d,a;d:c", &["a -> b -> a", "c -> d -> c"]);
        check("a:elsewhere", &[]);
    }

    #[test]
    fn a_long_chain_is_no_burden() {
        let edges: Vec<String> = (0..2000).map(|n| format!("w{n}:w{}", n + 1)).collect();
        check(&edges.join(";"), &[]);
    }
}
