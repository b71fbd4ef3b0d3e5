//! What a workload depends on and nobody knows.

use model::workload::WorkloadSpec;
use model::{Catalog, Diagnostic, DocumentKey, Place, Severity};

use super::name::WorkloadName;

/// Most names that a finding lists.
const NAMES_MAX: usize = 10;

/// A finding for each workload that `spec`, the document of `key`, depends on and that does not exist.
pub(crate) fn unknown(
    catalog: &Catalog,
    key: &DocumentKey,
    spec: &WorkloadSpec,
) -> Vec<Diagnostic> {
    let is_unknown = |it: &(usize, &String)| {
        let name = WorkloadName { namespace: key.namespace.clone(), name: it.1.clone() };
        catalog.document(&name.document()).is_none()
    };
    let unknown = spec.depends_on.iter().enumerate().filter(is_unknown);
    let finding = |(at, name): (usize, &String)| Diagnostic {
        severity: Severity::Error,
        place: Place::default(),
        field: format!("spec.dependsOn[{at}]"),
        message: format!(
            "there is no workload {name}, and it waits for that{}",
            others(catalog, key)
        ),
        remedy: format!("apply a document of {name}, or remove the name"),
    };
    unknown.map(finding).collect()
}

fn others(catalog: &Catalog, key: &DocumentKey) -> String {
    let workloads = catalog.documents().filter_map(|it| WorkloadName::of(&it.key));
    let mut names: Vec<String> = workloads
        .filter(|it| it.namespace == key.namespace && it.name != key.name)
        .map(|it| it.name)
        .collect();
    if names.is_empty() {
        return String::new();
    }
    names.sort();
    let more = if names.len() > NAMES_MAX { ", ..." } else { "" };
    names.truncate(NAMES_MAX);
    format!("; there are {}{more}", names.join(", "))
}
