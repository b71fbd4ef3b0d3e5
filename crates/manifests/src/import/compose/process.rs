//! What a service of a compose file says of its process.

use std::time::Duration;

use model::go::{format_duration, parse_duration};
use model::workload::GIVEN_VARIABLES;
use serde_json::{Map, Value, json};

use super::super::{Draft, escape};
use super::not_taken;
use super::scalar::{duration, pairs, text, words};
use crate::fields::{At, Field, Fields, Report};
use crate::node::Content;

/// Compose's interval, and number of failed probes, of a health check that names none.
const INTERVAL: Duration = Duration::from_secs(30);
const RETRIES: u32 = 3;

/// Reads command, folder and user.
pub(super) fn read(
    fields: &mut Fields<'_>,
    draft: &mut Draft,
    folder: &str,
    report: &mut Report<'_>,
) {
    let mut command = Vec::new();
    for name in ["entrypoint", "command"] {
        let field = fields.take(name);
        command.extend(field.and_then(|it| words(&it, report)).unwrap_or_default());
    }
    draft.set("command", (!command.is_empty()).then_some(command));
    let mut working_dir = (!folder.is_empty()).then(|| folder.to_owned());
    if let Some(field) = fields.take("working_dir")
        && let Some(path) = text(&field, report)
    {
        if path.starts_with('/') {
            working_dir = Some(path);
        } else {
            report.ignored(&field.at, format!("`{path}` is not an absolute path"), "");
        }
    }
    draft.set("workingDir", working_dir);
    draft.set("user", fields.take("user").and_then(|it| text(&it, report)));
}

/// A port inside of a container, with the one of the machine that it is published as.
struct Port {
    target: u16,
    published: Option<u16>,
    at: At,
}

/// Reads `ports` and `expose`. There are no containers, so a process listens where its callers call.
pub(super) fn read_ports(fields: &mut Fields<'_>, draft: &mut Draft, report: &mut Report<'_>) {
    let mut ports = Vec::new();
    for name in ["ports", "expose"] {
        for item in fields.items(name, report) {
            ports.extend(read_port(&item, report));
        }
    }
    let Some(port) = ports.first() else {
        if !draft.is_set("type") {
            let message = "names no port: it is not registered as a service";
            report.approximated(&fields.at, message, "write `port`, and remove `service: None`");
            draft.set("service", Some("None"));
        }
        return;
    };
    let target = port.target;
    for other in ports.iter().filter(|it| it.target != target) {
        let message = format!("a workload has one port: {} is not taken over", other.target);
        report.ignored(&other.at, message, "");
    }
    if let Some(published) = port.published.filter(|it| *it != target) {
        let message = format!("it listens on {target}: nothing is published as {published}");
        let remedy = "let it listen there, or publish it with an Ingress or `leno.dev/listen`";
        report.approximated(&port.at, message, remedy);
    }
    let replicas = draft.spec.get("replicas").and_then(Value::as_u64).unwrap_or(1);
    if replicas > 1 {
        let message = format!("{replicas} copies cannot all listen on {target}: each gets a port");
        report.approximated(&port.at, message, "let it listen on $PORT");
        draft.set("port", Some("Auto"));
        return;
    }
    draft.set("port", Some(target));
    let rollout = draft.spec.get_mut("rollout").and_then(Value::as_object_mut);
    if let Some(rollout) = rollout
        && rollout.remove("maxSurge").is_some_and(|it| it != 0)
    {
        draft.spec.remove("rollout");
        let message = format!("two copies cannot listen on {target}: the old is stopped first");
        report.approximated(&port.at, message, "write `port: Auto`, and listen on $PORT");
    }
}

fn read_port(item: &Field<'_>, report: &mut Report<'_>) -> Option<Port> {
    let at = item.at.clone();
    let (written, published, protocol) = if let Content::Map(_) = &item.node.content {
        let mut fields = item.fields(report)?;
        let target = fields.require("target", report).and_then(|it| text(&it, report));
        let published = fields.take("published").and_then(|it| text(&it, report));
        let protocol = fields.take("protocol").and_then(|it| text(&it, report));
        fields.skip(&["name", "app_protocol", "mode"]);
        not_taken(&fields, report);
        (target?, published, protocol.unwrap_or_default())
    } else {
        let text = text(item, report)?;
        let (ports, protocol) = text.split_once('/').unwrap_or((&text, ""));
        let (published, target) = match ports.rsplit_once(':') {
            Some((before, target)) => (before.rsplit(':').next().map(str::to_owned), target),
            None => (None, ports),
        };
        (target.to_owned(), published, protocol.to_owned())
    };
    if !matches!(protocol.as_str(), "" | "tcp") {
        report.ignored(&at, format!("`{protocol}` is not carried"), "");
        return None;
    }
    let Some(target) = written.parse::<u16>().ok().filter(|it| *it != 0) else {
        report.ignored(&at, format!("`{written}` is not a port (ranges are not taken over)"), "");
        return None;
    };
    Some(Port { target, published: published.and_then(|it| it.parse().ok()), at })
}

/// Reads `environment`. Values are literal there, so what looks like a reference is escaped.
pub(super) fn read_environment(
    fields: &mut Fields<'_>,
    draft: &mut Draft,
    report: &mut Report<'_>,
) {
    let Some(field) = fields.take("environment") else { return };
    let has_port = draft.is_set("port");
    let mut env = Map::new();
    for (name, value, at) in pairs(&field, report) {
        let is_given = GIVEN_VARIABLES.contains(&name.as_str()) && (has_port || name != "PORT");
        match value {
            _ if is_given => {
                let message = "is given to every copy by the agent: the value is left out";
                report.approximated(&at, message, "");
            }
            Some(value) => {
                env.insert(name, json!(escape(&value)));
            }
            None => {
                let message = format!("`{name}` of compose's own environment is not known");
                report.ignored(&at, message, "write its value into `env`");
            }
        }
    }
    draft.set("env", (!env.is_empty()).then_some(env));
}

/// Reads `healthcheck`.
pub(super) fn read_healthcheck(
    fields: &mut Fields<'_>,
    draft: &mut Draft,
    report: &mut Report<'_>,
) {
    let fields = fields.take("healthcheck").and_then(|it| it.fields(report));
    let Some(mut fields) = fields else { return };
    let disabled = fields.take("disable").is_some_and(|it| it.node.content == Content::Bool(true));
    let test = fields.take("test").and_then(|it| read_test(&it, report));
    let interval = fields.take("interval").and_then(|it| duration(&it, report));
    let timeout = fields.take("timeout").and_then(|it| duration(&it, report));
    let retries = fields.take("retries").and_then(|it| super::deploy::count(&it, report));
    let start_period = fields.take("start_period").and_then(|it| duration(&it, report));
    not_taken(&fields, report);
    let Some(command) = test.filter(|_| !disabled) else {
        if disabled {
            draft.set("checks", Some(json!([])));
        }
        return;
    };
    // Failures count from the end of the start period on, so it fails after that and the probes that it takes.
    if let Some(start_period) = start_period.as_deref().and_then(|it| parse_duration(it).ok()) {
        let interval = interval.as_deref().and_then(|it| parse_duration(it).ok());
        let failing = interval.unwrap_or(INTERVAL).saturating_mul(retries.unwrap_or(RETRIES));
        let start_timeout = start_period.saturating_add(failing);
        draft.set("startTimeout", Some(format_duration(start_timeout)));
    }
    let mut check = Map::new();
    check.insert("command".to_owned(), command);
    check.insert("interval".to_owned(), interval.unwrap_or(format_duration(INTERVAL)).into());
    check.insert("timeout".to_owned(), timeout.unwrap_or(format_duration(INTERVAL)).into());
    check.insert("failureThreshold".to_owned(), retries.unwrap_or(RETRIES).max(1).into());
    draft.set("checks", Some(json!([check])));
}

/// The command of a health check; `None` for `[NONE]`.
fn read_test(field: &Field<'_>, report: &mut Report<'_>) -> Option<Value> {
    let Content::List(items) = &field.node.content else {
        return text(field, report).map(Value::from);
    };
    let first = items.first().and_then(|it| it.text());
    let items = field.items(report);
    match (first, items.as_slice()) {
        (Some("CMD"), [_, rest @ ..]) => {
            let words = rest.iter().filter_map(|it| Some(escape(&text(it, report)?)));
            Some(words.collect::<Vec<String>>().into())
        }
        (Some("CMD-SHELL"), [_, command, ..]) => text(command, report).map(Value::from),
        (Some("NONE"), _) => None,
        _ => {
            report.ignored(&field.at, "begins with none of CMD, CMD-SHELL and NONE", "");
            None
        }
    }
}
