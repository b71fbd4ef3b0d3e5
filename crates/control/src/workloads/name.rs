use std::fmt;

use model::{DocumentKey, ServiceId};
use recovery::CopyId;

/// Name of the variable by which a copy is known again: `NODE-ID NAMESPACE/NAME COPY PORT`.
pub(super) const MARK: &str = "LENO_COPY";

/// Group and kinds of the documents.
const GROUP: &str = "leno.dev";
const KIND: &str = "Workload";
const ROLLOUT_KIND: &str = "Rollout";
const DEFAULT: &str = "default";

/// Which workload, or rollout: no two of either have the same.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WorkloadName {
    /// Its namespace.
    pub namespace: String,
    /// Its name there.
    pub name: String,
}

impl WorkloadName {
    /// Reads `NAME` or `NAMESPACE/NAME`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let (namespace, name) = text.split_once('/').unwrap_or((DEFAULT, text));
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub(super) fn of(key: &DocumentKey) -> Option<Self> {
        let is_workload = key.group == GROUP && key.kind == KIND;
        is_workload.then(|| Self { namespace: key.namespace.clone(), name: key.name.clone() })
    }

    /// The name of a rollout of instances that others run.
    pub(super) fn of_rollout(key: &DocumentKey) -> Option<Self> {
        let is_rollout = key.group == GROUP && key.kind == ROLLOUT_KIND;
        is_rollout.then(|| Self { namespace: key.namespace.clone(), name: key.name.clone() })
    }

    /// The document that asks for a workload.
    #[must_use]
    pub fn document(&self) -> DocumentKey {
        self.document_of_kind(KIND)
    }

    /// The document that asks for a rollout of instances that others run.
    pub(super) fn rollout_document(&self) -> DocumentKey {
        self.document_of_kind(ROLLOUT_KIND)
    }

    fn document_of_kind(&self, kind: &str) -> DocumentKey {
        DocumentKey {
            group: GROUP.into(),
            kind: kind.into(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }

    /// What a copy is registered as, and called by operators: `web-3-0`.
    pub(super) fn instance(&self, copy: CopyId) -> ServiceId {
        format!("{}{copy}", self.copy_prefix()).into()
    }

    /// As operators write it: without the namespace where that is the default.
    pub(super) fn short(&self) -> String {
        if self.namespace == DEFAULT { self.name.clone() } else { self.to_string() }
    }

    /// What stands before the numbers of a copy: `web-`.
    pub(super) fn copy_prefix(&self) -> String {
        if self.namespace == DEFAULT {
            format!("{}-", self.name)
        } else {
            // A name has no dot, so that no two workloads have the same.
            format!("{}.{}-", self.namespace, self.name)
        }
    }
}

impl fmt::Display for WorkloadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace != DEFAULT {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// What the mark of a copy says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    pub node_id: String,
    pub workload: WorkloadName,
    pub copy: CopyId,
    pub port: Option<u16>,
}

impl Mark {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (node_id, workload, copy) = (words.next()?, words.next()?, words.next()?);
        let (namespace, name) = workload.split_once('/')?;
        Some(Self {
            node_id: node_id.to_owned(),
            workload: WorkloadName { namespace: namespace.to_owned(), name: name.to_owned() },
            copy: copy.parse().ok()?,
            port: words.next()?.parse().ok().filter(|it| *it != 0),
        })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WorkloadName { namespace, name } = &self.workload;
        let port = self.port.unwrap_or_default();
        write!(f, "{} {namespace}/{name} {} {port}", self.node_id, self.copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_says_what_it_was_made_of() {
        for port in [None, Some(80)] {
            let workload = WorkloadName::parse("a/web");
            let mark = Mark { node_id: "5a".into(), workload, copy: "3-0".parse().unwrap(), port };
            assert_eq!(Mark::parse(&mark.to_string()), Some(mark));
        }
        for bad in ["", "a", "a b 3-0 1", "a b/c 3 1", "a b/c 3-0"] {
            assert_eq!(Mark::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_namespace_is_named_where_it_is_not_the_usual_one() {
        for (text, instance) in [("web", "web-3-0"), ("a/web", "a.web-3-0")] {
            let name = WorkloadName::parse(text);
            assert_eq!(name.to_string(), text);
            assert_eq!(name.instance("3-0".parse().unwrap()).as_str(), instance);
            assert_eq!(WorkloadName::of(&name.document()), Some(name));
        }
    }
}
