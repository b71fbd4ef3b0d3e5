use std::time::Duration;

use model::WorkloadSpec;
use model::workload::{HealthCheck, PortChoice, Probe};

use super::HOUR;
use super::process::{known_variables, read_command};
use crate::fields::{Field, Fields, Report};
use crate::node::Content;
use crate::values::{duration, set, whole};

/// Each costs up to ten probes a second for each copy.
const CHECKS_MAX: usize = 16;

/// Ten probes a second of each copy are more than anybody needs to notice.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

const KINDS: [&str; 4] = ["http", "tcp", "grpc", "command"];

/// Reads `checks`. A registered copy with a port is asked for a TCP connection by default. Port, service and environment were
/// read before.
pub(super) fn read(fields: &mut Fields<'_>, spec: &mut WorkloadSpec, report: &mut Report<'_>) {
    let has_port = spec.port != PortChoice::None;
    let Some(field) = fields.take("checks") else {
        if has_port && spec.service.is_some() {
            spec.checks.push(HealthCheck::default());
        }
        return;
    };
    let items = field.items(report);
    if items.len() > CHECKS_MAX {
        let message = format!("{} checks are more than the {CHECKS_MAX} allowed", items.len());
        report.error(&field.at, message, "remove some");
    }
    let checks = items.iter().filter_map(|it| read_check(it, spec, report)).collect();
    spec.checks = checks;
}

fn read_check(
    item: &Field<'_>,
    spec: &WorkloadSpec,
    report: &mut Report<'_>,
) -> Option<HealthCheck> {
    let mut fields = item.fields(report)?;
    let mut check = HealthCheck::default();
    let probes: Vec<(&str, Field<'_>)> =
        KINDS.into_iter().filter_map(|kind| Some((kind, fields.take(kind)?))).collect();
    match probes.as_slice() {
        [(kind, field)] => {
            set(&mut check.probe, read_probe(kind, field, spec, report));
            if *kind != "command" && spec.port == PortChoice::None {
                let message = format!("there is no port to ask by {kind}");
                report.error(&field.at, message, "add `port: Auto`, or use a `command`");
            }
        }
        [] => {
            let remedy = "add one of http, tcp, grpc and command, for example `http: /health`";
            report.error(&item.at, "says nothing to ask", remedy);
        }
        [..] => report.error(&item.at, "asks several things", "make it several checks"),
    }
    let interval = fields.take("interval");
    let interval = interval.and_then(|it| duration(&it, INTERVAL_MIN..=HOUR, report));
    set(&mut check.interval, interval);
    let shortest = Duration::from_millis(1);
    let timeout = fields.take("timeout").and_then(|it| duration(&it, shortest..=HOUR, report));
    set(&mut check.timeout, timeout);
    let threshold = fields.take("failureThreshold").and_then(|it| whole(&it, 1..=1000, report));
    set(&mut check.failure_threshold, threshold);
    let threshold = fields.take("successThreshold").and_then(|it| whole(&it, 1..=1000, report));
    set(&mut check.success_threshold, threshold);
    for name in ["httpGet", "tcpSocket", "exec"] {
        let because = ("has no effect here", "write `http: /path`, `tcp: true` or `command: […]`");
        fields.refuse(name, &[], because, report);
    }
    fields.finish(report);
    Some(check)
}

fn read_probe(
    kind: &str,
    field: &Field<'_>,
    spec: &WorkloadSpec,
    report: &mut Report<'_>,
) -> Option<Probe> {
    match kind {
        "http" => {
            let path = field.text(report)?;
            let is_odd = |it: char| it.is_whitespace() || it.is_control() || it == '#';
            if !path.starts_with('/') || path.contains(is_odd) {
                let message = format!("`{path}` is not a path");
                let remedy = "write it alone, from its slash on: address and port are the copy's";
                report.error(&field.at, message, remedy);
                return None;
            }
            Some(Probe::Http(path.to_owned()))
        }
        "tcp" => is_true(field, "true", report).then_some(Probe::Tcp),
        "grpc" => match field.node.text() {
            Some(service) => {
                if service.is_empty() || service.contains(|it: char| !it.is_ascii_graphic()) {
                    let message = format!("`{service}` is not a gRPC service");
                    report.error(&field.at, message, "write for example shop.v1.Cart, or true");
                }
                Some(Probe::Grpc(service.to_owned()))
            }
            None => is_true(field, "true, or the name of a gRPC service", report)
                .then(|| Probe::Grpc(String::new())),
        },
        _ => read_command(field, None, &known_variables(spec), report).map(Probe::Command),
    }
}

fn is_true(field: &Field<'_>, expected: &str, report: &mut Report<'_>) -> bool {
    let is_true = field.node.content == Content::Bool(true);
    if !is_true {
        let remedy = "leave the check out if it is not wanted";
        report.error(&field.at, format!("must be {expected}"), remedy);
    }
    is_true
}
