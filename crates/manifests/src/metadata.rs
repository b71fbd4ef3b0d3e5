use model::DocumentKey;

use crate::Kind;
use crate::fields::{At, Fields, Report, nearest};
use crate::reference::{is_label, is_subdomain};

/// Annotations by which tools keep their books; nobody expects a router to honor them.
const BOOKKEEPING: &[&str] = &[
    "kubectl.kubernetes.io/",
    "meta.helm.sh/",
    "helm.sh/",
    "app.kubernetes.io/",
    "argocd.argoproj.io/",
    "fluxcd.io/",
    "kustomize.toolkit.fluxcd.io/",
    "deployment.kubernetes.io/",
];

/// The `metadata` of a document.
pub(crate) struct Metadata<'a> {
    pub(crate) key: DocumentKey,
    pub(crate) annotations: Annotations<'a>,
}

impl<'a> Metadata<'a> {
    /// Reads `metadata`; `None` when the document's identity cannot be told.
    pub(crate) fn read(
        document: &mut Fields<'a>,
        kind: Kind,
        report: &mut Report<'_>,
    ) -> Option<Self> {
        let mut fields = document.require("metadata", report)?.fields(report)?;
        let name = read_name(&mut fields, kind, report);
        let namespace = match fields.take("namespace") {
            None => Some("default"),
            Some(field) => field.text(report).filter(|it| {
                let good = is_label(it);
                if !good {
                    let message = format!("`{it}` is not a namespace");
                    report.error(&field.at, message, "use a-z, 0-9 and `-`, at most 63 characters");
                }
                good
            }),
        };
        if let Some(field) = fields.take("labels") {
            field.texts(report);
        }
        let entries = fields.take("annotations").map(|it| it.texts(report)).unwrap_or_default();
        fields.skip(&[
            "creationTimestamp",
            "deletionGracePeriodSeconds",
            "deletionTimestamp",
            "generateName",
            "generation",
            "managedFields",
            "ownerReferences",
            "resourceVersion",
            "selfLink",
            "uid",
        ]);
        let because = ("nothing here finalizes documents: a deletion is at once", "remove it");
        fields.refuse("finalizers", &[], because, report);
        fields.finish(report);
        let (group, kind) = kind.group_and_name();
        let key = DocumentKey {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace?.to_owned(),
            name: name?.to_owned(),
        };
        Some(Self { key, annotations: Annotations { entries, asked: Vec::new() } })
    }
}

fn read_name<'a>(fields: &mut Fields<'a>, kind: Kind, report: &mut Report<'_>) -> Option<&'a str> {
    let field = fields.require("name", report)?;
    let name = field.text(report)?;
    let (good, remedy) = match kind {
        // The name is a label of `name.namespace.svc.cluster.local`; a workload's is by default that of its service.
        Kind::Service | Kind::Workload | Kind::Rollout => {
            (is_label(name), "use a-z, 0-9 and `-`, at most 63 characters")
        }
        Kind::Ingress | Kind::Secret => {
            (is_subdomain(name), "use a-z, 0-9, `-` and `.`, at most 253 characters")
        }
    };
    if !good {
        report.error(&field.at, format!("`{name}` is not a name"), remedy);
    }
    good.then_some(name)
}

/// The annotations of a document. Whoever honors one takes it; the rest is reported.
pub(crate) struct Annotations<'a> {
    entries: Vec<(&'a str, &'a str, At)>,
    asked: Vec<&'static str>,
}

impl<'a> Annotations<'a> {
    /// An annotation that is honored.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<(&'a str, At)> {
        self.asked.push(name);
        let found = self.entries.iter().find(|it| it.0 == name)?;
        Some((found.1, found.2.clone()))
    }

    /// An annotation that says `"true"` or `"false"`; false when it is absent.
    pub(crate) fn take_flag(&mut self, name: &'static str, report: &mut Report<'_>) -> bool {
        match self.take(name) {
            Some(("true", _)) => true,
            None | Some(("false", _)) => false,
            Some((other, at)) => {
                let message = format!("`{other}` is neither true nor false");
                report.error(&at, message, "write \"true\" or \"false\"");
                false
            }
        }
    }

    /// Reports every annotation that nobody asked for.
    pub(crate) fn finish(self, report: &mut Report<'_>) {
        for (name, _, at) in &self.entries {
            let known = self.asked.iter().any(|it| it == name);
            if known || BOOKKEEPING.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            let remedy = match nearest(name, &self.asked) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None if self.asked.is_empty() => "remove it".to_owned(),
                None => format!("known here: {}", self.asked.join(", ")),
            };
            report.ignored(at, "unknown annotation, has no effect", remedy);
        }
    }
}
