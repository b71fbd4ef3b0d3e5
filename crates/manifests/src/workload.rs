use std::net::IpAddr;
use std::time::Duration;

use model::WorkloadSpec;
use model::workload::{OnAgentExit, PortChoice, WorkloadKind};

use crate::fields::{Field, Fields, Report};
use crate::metadata::Metadata;
use crate::node::Content;
use crate::reference::{is_label, port_number};
use crate::values::{duration, set, whole, word};

mod checks;
mod policy;
mod process;
mod registration;
pub(crate) mod rollout;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Copies of one workload on one machine; each is a process, with a port of some 28,000 that the system chooses from.
const REPLICAS_MAX: u32 = 1000;

/// Words of other systems for what is here, with what to write.
const FOREIGN: &[(&str, &str)] = &[
    ("image", "no container image is run here: install the program and name it in `command`"),
    ("containers", "a workload is one process: write its `command` here"),
    ("template", "a workload is one process: write its `command` here"),
    ("entrypoint", "write `command`"),
    ("environment", "write `env`"),
    ("ports", "write `port`; callers use the name of the service"),
    ("restartPolicy", "write `restart: {policy: Always}`"),
    ("livenessProbe", "write `checks`"),
    ("readinessProbe", "write `checks`"),
    ("startupProbe", "write `checks` and `startTimeout`"),
    ("healthcheck", "write `checks`"),
    ("terminationGracePeriodSeconds", "write `stop: {gracePeriod: 10s}`"),
    ("strategy", "write `rollout: {strategy: Rolling}`"),
    ("activeDeadlineSeconds", "write `type: Job` and for example `activeDeadline: 10m`"),
    ("backoffLimit", "write `restart: {maxRestarts: 6}`"),
    ("completions", "a job is run once: write a workload for each part"),
    ("parallelism", "a job is run once: write a workload for each part"),
];

/// Reads what a `Workload` asks for.
pub(crate) fn read(
    document: &mut Fields<'_>,
    metadata: &Metadata<'_>,
    report: &mut Report<'_>,
) -> WorkloadSpec {
    document.skip(&["status"]);
    let mut spec = WorkloadSpec::default();
    let fields = document.require("spec", report).and_then(|it| it.fields(report));
    let Some(mut fields) = fields else { return spec };
    let kinds = [("Service", WorkloadKind::Service), ("Job", WorkloadKind::Job)];
    set(&mut spec.kind, fields.take("type").and_then(|it| word(&it, &kinds, report)));
    let replicas = fields.take("replicas");
    if let Some(field) = replicas.as_ref().filter(|_| spec.kind == WorkloadKind::Job) {
        let message = "a job is run once, as one process";
        report.ignored(&field.at, message, "remove it, or write a workload for each part");
    } else {
        set(&mut spec.replicas, replicas.and_then(|it| read_replicas(&it, report)));
    }
    spec.service = registration::read(&mut fields, spec.kind, &metadata.key.name, report);
    read_port(&mut fields, &mut spec, report);
    spec.address = fields.take("address").and_then(|it| address(&it, report));
    process::read(&mut fields, &mut spec, report);
    checks::read(&mut fields, &mut spec, report);
    policy::read(&mut fields, &mut spec, report);
    let start_timeout = fields.take("startTimeout");
    let start_timeout = start_timeout.and_then(|it| duration(&it, SECOND..=DAY, report));
    set(&mut spec.start_timeout, start_timeout);
    spec.depends_on = read_dependencies(&mut fields, &metadata.key.name, report);
    if spec.kind == WorkloadKind::Job {
        // Half of a migration is worse than one that ends a little later.
        spec.on_agent_exit = OnAgentExit::Keep;
    }
    let ends = [("Stop", OnAgentExit::Stop), ("Keep", OnAgentExit::Keep)];
    let end = fields.take("onAgentExit").and_then(|it| word(&it, &ends, report));
    set(&mut spec.on_agent_exit, end);
    rollout::read(&mut fields, &mut spec, report);
    read_deadline(&mut fields, &mut spec, report);
    let version = fields.take("version").and_then(|it| read_version(&it, report));
    spec.version = match version {
        Some(version) => version,
        None => spec.template_hash()[..8].to_owned(),
    };
    for (name, remedy) in FOREIGN {
        fields.refuse(name, &[], ("has no effect here", remedy), report);
    }
    fields.finish(report);
    spec
}

fn read_deadline(fields: &mut Fields<'_>, spec: &mut WorkloadSpec, report: &mut Report<'_>) {
    let Some(field) = fields.take("activeDeadline") else { return };
    if spec.kind == WorkloadKind::Job {
        spec.active_deadline = duration(&field, SECOND..=30 * DAY, report);
    } else {
        report.ignored(&field.at, "counts only for a job", "remove it, or write `type: Job`");
    }
}

fn read_replicas(field: &Field<'_>, report: &mut Report<'_>) -> Option<u32> {
    if let Content::Number(number) = &field.node.content
        && number.as_u64() == Some(0)
    {
        let remedy = "to stop it use `leno stop`, to remove it `leno delete`";
        report.error(&field.at, "0 copies are no workload", remedy);
        return None;
    }
    whole(field, 1..=REPLICAS_MAX, report)
}

/// Reads `port`. A number is one port of one copy; a registered workload gets one by default.
fn read_port(fields: &mut Fields<'_>, spec: &mut WorkloadSpec, report: &mut Report<'_>) {
    let Some(field) = fields.take("port") else {
        spec.port = if spec.service.is_some() { PortChoice::Auto } else { PortChoice::None };
        return;
    };
    spec.port = match field.node.text() {
        Some("Auto") => PortChoice::Auto,
        Some("None") => PortChoice::None,
        Some(text) if text.parse::<u16>().is_err() => {
            let message = format!("`{text}` is not a port");
            report.error(&field.at, message, "write a number from 1 to 65535, Auto or None");
            return;
        }
        Some(_) | None => match port_number(&field, report) {
            Some(port) => PortChoice::Fixed(port),
            None => return,
        },
    };
    if let PortChoice::Fixed(port) = spec.port
        && spec.replicas > 1
    {
        let message = format!(
            "{} copies cannot all listen on port {port}: only the first could start",
            spec.replicas
        );
        let remedy = "write `port: Auto` and listen on $(PORT): callers use the service's name; \
                      or `replicas: 1`";
        report.error(&field.at, message, remedy);
    }
}

fn address(field: &Field<'_>, report: &mut Report<'_>) -> Option<IpAddr> {
    let text = field.text(report)?;
    match text.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() => {
            let message = format!("`{text}` means any address: nobody can call that");
            report.error(&field.at, message, "give the one at which others reach the copies");
            None
        }
        Ok(address) => Some(address),
        Err(_) => {
            let message = format!("`{text}` is not an IP address");
            report.error(&field.at, message, "write for example 127.0.0.1");
            None
        }
    }
}

/// Reads `version`: it stands in metadata, in variables and in tables.
pub(crate) fn read_version(field: &Field<'_>, report: &mut Report<'_>) -> Option<String> {
    let text = field.text(report)?;
    let is_odd = |it: char| it.is_whitespace() || it.is_control();
    if text.is_empty() || text.len() > 128 || text.contains(is_odd) {
        let remedy = "use 1 to 128 characters without blanks, for example \"1.4.2\"";
        report.error(&field.at, format!("`{text}` is not a version"), remedy);
        return None;
    }
    Some(text.to_owned())
}

fn read_dependencies(
    fields: &mut Fields<'_>,
    own_name: &str,
    report: &mut Report<'_>,
) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for field in fields.items("dependsOn", report) {
        let Some(name) = field.text(report) else { continue };
        if !is_label(name) {
            let remedy = "name a workload of the same namespace";
            report.error(&field.at, format!("`{name}` is not a workload's name"), remedy);
        } else if name == own_name {
            report.error(&field.at, "it would wait for itself for ever", "remove it");
        } else if names.iter().any(|it| it == name) {
            report.error(&field.at, format!("`{name}` is listed twice"), "keep one of the two");
        } else {
            names.push(name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests;
