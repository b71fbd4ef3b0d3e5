use model::RolloutSpec;
use model::workload::Rollout;

use crate::fields::{Field, Fields, Report};
use crate::values::word;
use crate::workload::read_version;
use crate::workload::rollout::{Manner, read_plan};

/// The label by which versions are told apart where the document says none.
const VERSION_LABEL: &str = "version";
/// Longest label, as Consul's keys of metadata.
const LABEL_BYTES_MAX: usize = 128;

/// Words of other systems for what is here, with what to write.
const FOREIGN: &[(&str, &str)] = &[
    ("workloadRef", "write `service`, the name that the instances are registered as"),
    ("selector", "write `service`, the name that the instances are registered as"),
    ("template", "instances are run by others here; to have them run, write a `Workload`"),
    ("command", "instances are run by others here; to have them run, write a `Workload`"),
    ("replicas", "instances are run by others here; to have them run, write a `Workload`"),
    ("analysis", "write `evidence`"),
    ("maxSurge", "it is about copies, and instances are run by others"),
    ("maxUnavailable", "it is about copies, and instances are run by others"),
];

/// Reads what a `Rollout` asks for.
pub(crate) fn read(document: &mut Fields<'_>, report: &mut Report<'_>) -> RolloutSpec {
    document.skip(&["status"]);
    let mut spec =
        RolloutSpec { version_label: VERSION_LABEL.to_owned(), ..RolloutSpec::default() };
    let fields = document.require("spec", report).and_then(|it| it.fields(report));
    let Some(mut fields) = fields else { return spec };
    if let Some(name) = fields.require("service", report).and_then(|it| service(&it, report)) {
        spec.service = name.into();
    }
    if let Some(version) =
        fields.require("version", report).and_then(|it| read_version(&it, report))
    {
        spec.version = version;
    }
    if let Some(label) = fields.take("versionLabel").and_then(|it| label(&it, report)) {
        spec.version_label = label.to_owned();
    }
    let manner = read_manner(&mut fields, report);
    let mut plan = Rollout::default();
    read_plan(&mut fields, manner, &mut plan, report);
    spec.plan = plan;
    for (name, remedy) in FOREIGN {
        fields.refuse(name, &[], ("has no effect here", remedy), report);
    }
    fields.finish(report);
    spec
}

fn service<'a>(field: &Field<'a>, report: &mut Report<'_>) -> Option<&'a str> {
    let name = field.text(report)?;
    if name.is_empty() {
        report.error(&field.at, "a service has a name", "write the one that is registered");
        return None;
    }
    Some(name)
}

fn label<'a>(field: &Field<'a>, report: &mut Report<'_>) -> Option<&'a str> {
    let label = field.text(report)?;
    let is_odd = |it: char| it.is_whitespace() || it.is_control() || it == '=';
    if label.is_empty() || label.len() > LABEL_BYTES_MAX || label.contains(is_odd) {
        let remedy = "write a key of the instances' `Meta`, or of their tags of the form key=value";
        report.error(&field.at, format!("`{label}` is not a label"), remedy);
        return None;
    }
    Some(label)
}

fn read_manner(fields: &mut Fields<'_>, report: &mut Report<'_>) -> Manner {
    let words = [("Canary", Manner::Canary), ("BlueGreen", Manner::BlueGreen)];
    let field = fields.take("strategy");
    if let Some(field) = &field
        && matches!(field.node.text(), Some("Rolling" | "RollingUpdate"))
    {
        let message = "copies are replaced by those who run them: here only requests move";
        report.error(&field.at, message, "write `strategy: Canary` or `BlueGreen`");
        return Manner::Canary;
    }
    field.and_then(|it| word(&it, &words, report)).unwrap_or(Manner::Canary)
}

#[cfg(test)]
mod tests {
    use model::workload::{CanaryStep, Strategy};
    use model::{Severity, Spec};

    fn text(spec: &str) -> String {
        format!(
            "{{apiVersion: leno.dev/v1, kind: Rollout, metadata: {{name: web}}, spec: {{{spec}}}}}"
        )
    }

    #[test]
    fn service_and_version_alone_are_a_canary_by_the_label_version() {
        let reading = crate::read(&text("service: web, version: v2"), "");
        assert_eq!(reading.errors, []);
        let Spec::Rollout(spec) = &reading.documents[0].spec else { panic!("a rollout") };
        assert_eq!((spec.service.as_str(), spec.version.as_str()), ("web", "v2"));
        assert_eq!(spec.version_label, "version");
        let steps = CanaryStep::DEFAULT.to_vec();
        assert_eq!(spec.plan.strategy, Strategy::Canary { steps });
    }

    #[test]
    fn what_cannot_be_honored_is_named_with_a_remedy() {
        let cases = [
            ("version: v2", "spec.service", "missing"),
            ("service: web", "spec.version", "missing"),
            ("service: web, version: v 2", "spec.version", "not a version"),
            ("service: web, version: v2, versionLabel: a=b", "spec.versionLabel", "not a label"),
            ("service: web, version: v2, strategy: Rolling", "spec.strategy", "only requests move"),
            ("service: web, version: v2, steps: []", "spec.steps", "0 steps"),
            ("service: web, version: v2, deadline: 10s", "spec.deadline", "the steps take 40s"),
        ];
        for (spec, field, words) in cases {
            let errors = crate::read(&text(spec), "").errors;
            let [error] = errors.as_slice() else { panic!("{spec}: {errors:?}") };
            assert_eq!(error.field, field, "{error}");
            assert!(error.message.contains(words) && !error.remedy.is_empty(), "{error}");
        }
        let reading = crate::read(&text("service: web, version: v2, replicas: 3"), "");
        let found = &reading.documents[0].diagnostics;
        assert_eq!((found.len(), found[0].severity), (1, Severity::Ignored));
    }
}
