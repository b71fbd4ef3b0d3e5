use std::collections::BTreeSet;

use model::workload::StopSignal;
use serde_json::{Map, Value, json};

use super::{Draft, Imported, Names, finish, label};
use crate::fields::{At, Field, Fields, Report};
use crate::node::{self, Content};
use crate::source_name;

mod deploy;
mod process;
mod scalar;

use scalar::{duration, text};

/// What stands in for an image, and has no meaning without one.
const NOT_TAKEN: &[(&str, &str, &str)] = &[
    ("image", "a container image is not run here", "install the program on the machine"),
    ("build", "a container image is not built here", "build the program on the machine"),
    ("volumes", "nothing is mounted: a process sees the folders of its machine", "change paths"),
    ("networks", "a process is on the network of its machine", "reach others by their services"),
    ("network_mode", "a process is on the network of its machine", ""),
    ("secrets", "is not given to the process", "name a file that it can read"),
    ("configs", "is not given to the process", "name a file that it can read"),
    ("env_file", "the file is not read", "write its variables into `env`"),
    ("profiles", "there are no profiles: the workload is always wanted", ""),
    ("extends", "is not followed: what is taken over from elsewhere is missing", "write it here"),
];

/// Makes a workload of each service of a docker-compose file.
///
/// `source` is the name of the text for people; `folder` is what commands run in that name no `working_dir`, an absolute path,
/// or empty when it is not known. Containers are not run: what a service says of its process is taken over, with what it says of
/// replicas, restarts, checks and limits.
#[must_use]
pub fn compose(text: &str, source: &str, folder: &str) -> Imported {
    let source = source_name(source);
    let mut report = Report::new(source);
    let unreadable = |report: Report<'_>| {
        let (findings, rest) = report.finish();
        Imported { documents: None, findings: [findings, rest].concat() }
    };
    let nodes = match node::parse(text, source) {
        Ok(nodes) => nodes,
        Err(error) => return Imported { documents: None, findings: vec![error] },
    };
    let start = At { path: String::new(), line: 0 };
    let [root] = nodes.as_slice() else {
        let message = format!("holds {} documents", nodes.len());
        report.error(&start, message, "a compose file is one document");
        return unreadable(report);
    };
    let root = Field::root(root, "");
    let services = root.fields(&mut report).and_then(|mut fields| {
        fields.skip(&["version", "name"]);
        let services = fields.require("services", &mut report);
        not_taken(&fields, &mut report);
        services?.fields(&mut report)
    });
    let Some(services) = services else { return unreadable(report) };
    let jobs = awaited_to_end(&services);
    let mut names = Names::default();
    let mut drafts = Vec::new();
    for (name, field) in services.all() {
        let Some(given) = names.give(name, &field.at, &mut report) else { continue };
        let Some(fields) = field.fields(&mut report) else { continue };
        drafts.push(read_service(given, jobs.contains(name), fields, folder, &mut report));
    }
    finish(drafts, report)
}

/// Names of the services that another waits for until they end.
fn awaited_to_end(services: &Fields<'_>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, service) in services.all() {
        let entries = service.node.get("depends_on").and_then(node::Node::entries);
        for entry in entries.unwrap_or_default() {
            let condition = entry.value.get("condition").and_then(node::Node::text);
            if condition == Some("service_completed_successfully") {
                names.insert(entry.key.clone());
            }
        }
    }
    names
}

fn read_service(
    name: String,
    is_job: bool,
    mut fields: Fields<'_>,
    folder: &str,
    report: &mut Report<'_>,
) -> Draft {
    let mut draft = Draft::new(name);
    draft.set("type", is_job.then_some("Job"));
    process::read(&mut fields, &mut draft, folder, report);
    let replicas = fields.take("scale").and_then(|it| deploy::count(&it, report));
    draft.set("replicas", replicas);
    deploy::read_limits(&mut fields, &mut draft, report);
    if let Some(fields) = fields.take("deploy").and_then(|it| it.fields(report)) {
        deploy::read(fields, &mut draft, report);
    }
    // Whether there can be a port of its own depends on the number of copies.
    process::read_ports(&mut fields, &mut draft, report);
    process::read_environment(&mut fields, &mut draft, report);
    process::read_healthcheck(&mut fields, &mut draft, report);
    read_restart(&mut fields, &mut draft, report);
    read_stop(&mut fields, &mut draft, report);
    read_dependencies(&mut fields, &mut draft, report);
    read_labels(&mut fields, &mut draft, report);
    for (name, message, remedy) in NOT_TAKEN {
        fields.refuse(name, &[], (message, remedy), report);
    }
    not_taken(&fields, report);
    draft
}

/// Reports what nobody asked for, but for extensions (`x-…`).
fn not_taken(fields: &Fields<'_>, report: &mut Report<'_>) {
    for (name, field) in fields.unasked() {
        if !name.starts_with("x-") {
            report.ignored(&field.at, "is not taken over", "");
        }
    }
}

/// Compose's default is no restart; here it is one, so that without a word the default stays.
fn read_restart(fields: &mut Fields<'_>, draft: &mut Draft, report: &mut Report<'_>) {
    let Some(field) = fields.take("restart") else { return };
    // `no` without quotes is a boolean to YAML.
    if field.node.content == Content::Bool(false) {
        draft.set_in("restart", "policy", Some("Never"));
        return;
    }
    let Some(word) = text(&field, report) else { return };
    let (word, attempts) = match word.split_once(':') {
        Some((word, attempts)) => (word, Some(attempts)),
        None => (word.as_str(), None),
    };
    let is_job = draft.is_set("type");
    let policy = match word {
        "no" => Some("Never"),
        "always" | "unless-stopped" if is_job => {
            let message = "a job that is always restarted never completes: restarted on failure";
            report.approximated(&field.at, message, "");
            None
        }
        "always" | "unless-stopped" => Some("Always"),
        "on-failure" => Some("OnFailure"),
        _ => {
            report.ignored(&field.at, "is not a policy of restarts", "");
            None
        }
    };
    draft.set_in("restart", "policy", policy);
    let attempts = attempts.map(str::parse::<u32>);
    if let Some(Err(_)) = attempts {
        report.ignored(&field.at, "the number of attempts is not a number", "");
    }
    draft.set_in("restart", "maxRestarts", attempts.and_then(Result::ok));
}

fn read_stop(fields: &mut Fields<'_>, draft: &mut Draft, report: &mut Report<'_>) {
    if let Some(field) = fields.take("stop_signal")
        && let Some(name) = text(&field, report)
    {
        match StopSignal::parse(&name) {
            Some(signal) => draft.set_in("stop", "signal", Some(signal.as_str())),
            None => {
                let known = StopSignal::ALL.map(StopSignal::as_str).join(", ");
                let message = format!("`{name}` is not a signal to stop by; SIGTERM is sent");
                report.approximated(&field.at, message, format!("known are {known}"));
            }
        }
    }
    if let Some(field) = fields.take("stop_grace_period") {
        draft.set_in("stop", "gracePeriod", duration(&field, report));
    }
}

fn read_dependencies(fields: &mut Fields<'_>, draft: &mut Draft, report: &mut Report<'_>) {
    let Some(field) = fields.take("depends_on") else { return };
    let mut names: Vec<Value> = Vec::new();
    if let Content::List(_) = &field.node.content {
        for item in field.items(report) {
            let Some(name) = item.text(report) else { continue };
            names.push(label(name).into());
            note_condition(name, "service_started", &item.at, report);
        }
    } else if let Some(dependencies) = field.fields(report) {
        for (name, dependency) in dependencies.all() {
            names.push(label(name).into());
            let Some(mut fields) = dependency.fields(report) else { continue };
            let condition = fields.text("condition", report).unwrap_or("service_started");
            note_condition(name, condition, &dependency.at, report);
            not_taken(&fields, report);
        }
    }
    draft.set("dependsOn", (!names.is_empty()).then_some(names));
}

fn note_condition(name: &str, condition: &str, at: &At, report: &mut Report<'_>) {
    match condition {
        "service_healthy" | "service_completed_successfully" => {}
        "service_started" => {
            let message = format!("waits until `{name}` is healthy, not only started");
            report.approximated(at, message, "");
        }
        _ => report.ignored(
            at,
            format!("`{condition}` is not a condition: it waits until healthy"),
            "",
        ),
    }
}

/// Labels are a map, or a list of `name=value`.
fn read_labels(fields: &mut Fields<'_>, draft: &mut Draft, report: &mut Report<'_>) {
    let Some(field) = fields.take("labels") else { return };
    draft.labels = scalar::pairs(&field, report)
        .into_iter()
        .map(|(name, value, _)| (name, json!(value.unwrap_or_default())))
        .collect::<Map<String, Value>>();
}
