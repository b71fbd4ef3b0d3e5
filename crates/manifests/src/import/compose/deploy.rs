//! What a service of a compose file says of its copies, limits and log.

use serde_json::json;

use super::super::Draft;
use super::not_taken;
use super::scalar::{duration, size, text};
use crate::fields::{Field, Fields, Report};
use crate::node::Content;

/// Reads the limits that stand in the service itself, and how its log is kept.
pub(super) fn read_limits(fields: &mut Fields<'_>, draft: &mut Draft, report: &mut Report<'_>) {
    let memory = fields.take("mem_limit").and_then(|it| size(&it, report));
    draft.set_in("resources", "memory", memory);
    draft.set_in("resources", "cpu", fields.take("cpus").and_then(|it| text(&it, report)));
    let processes = fields.take("pids_limit").and_then(|it| count(&it, report));
    draft.set_in("resources", "processes", processes);
    if let Some(limits) = fields.take("ulimits").and_then(|it| it.fields(report)) {
        for (name, field) in limits.all() {
            read_ulimit(name, &field, draft, report);
        }
    }
    let logging = fields.take("logging").and_then(|it| it.fields(report));
    if let Some(mut logging) = logging {
        logging.refuse("driver", &["json-file", "local"], ("the log is kept in files", ""), report);
        let options = logging.take("options").and_then(|it| it.fields(report));
        if let Some(mut options) = options {
            let file_size = options.take("max-size").and_then(|it| size(&it, report));
            draft.set_in("logs", "maxSize", file_size);
            let files = options.take("max-file").and_then(|it| count(&it, report));
            draft.set_in("logs", "maxFiles", files);
            not_taken(&options, report);
        }
        not_taken(&logging, report);
    }
}

/// Reads a limit: a number, or `{soft, hard}`, of which the soft one is in force.
fn read_ulimit(name: &str, field: &Field<'_>, draft: &mut Draft, report: &mut Report<'_>) {
    let target = match name {
        "nofile" => "openFiles",
        "nproc" => "processes",
        "core" => "coreSize",
        _ => {
            report.ignored(&field.at, "is not taken over", "");
            return;
        }
    };
    let value = if let Content::Map(_) = &field.node.content {
        let Some(mut fields) = field.fields(report) else { return };
        fields.skip(&["hard"]);
        fields.take("soft").and_then(|it| count(&it, report))
    } else {
        count(field, report)
    };
    draft.set_in("resources", target, value);
}

/// A whole number, in quotation marks or not.
pub(super) fn count(field: &Field<'_>, report: &mut Report<'_>) -> Option<u32> {
    let text = text(field, report)?;
    let count = text.parse::<u32>().ok();
    if count.is_none() {
        report.ignored(&field.at, format!("`{text}` is not taken over: it is no number"), "");
    }
    count
}

/// Reads `deploy`.
pub(super) fn read(mut fields: Fields<'_>, draft: &mut Draft, report: &mut Report<'_>) {
    draft.set("replicas", fields.take("replicas").and_then(|it| count(&it, report)));
    fields.refuse("mode", &["replicated"], ("copies are counted by `replicas`", ""), report);
    let resources = fields.take("resources").and_then(|it| it.fields(report));
    if let Some(mut resources) = resources {
        if let Some(mut limits) = resources.take("limits").and_then(|it| it.fields(report)) {
            let memory = limits.take("memory").and_then(|it| size(&it, report));
            draft.set_in("resources", "memory", memory);
            draft.set_in("resources", "cpu", limits.take("cpus").and_then(|it| text(&it, report)));
            let processes = limits.take("pids").and_then(|it| count(&it, report));
            draft.set_in("resources", "processes", processes);
            not_taken(&limits, report);
        }
        resources.refuse("reservations", &[], ("nothing is set aside", ""), report);
        not_taken(&resources, report);
    }
    let restart = fields.take("restart_policy").and_then(|it| it.fields(report));
    if let Some(restart) = restart {
        read_restart(restart, draft, report);
    }
    let update = fields.take("update_config").and_then(|it| it.fields(report));
    if let Some(update) = update {
        read_update(update, draft, report);
    }
    not_taken(&fields, report);
}

fn read_restart(mut fields: Fields<'_>, draft: &mut Draft, report: &mut Report<'_>) {
    if let Some(field) = fields.take("condition")
        && let Some(word) = text(&field, report)
    {
        let policy = match word.as_str() {
            "none" => Some("Never"),
            "on-failure" => Some("OnFailure"),
            "any" if draft.is_set("type") => {
                let message = "a job that is always restarted never completes";
                report.approximated(&field.at, message, "");
                None
            }
            "any" => Some("Always"),
            _ => {
                report.ignored(&field.at, "is not a policy of restarts", "");
                None
            }
        };
        draft.set_in("restart", "policy", policy);
    }
    draft.set_in("restart", "delay", fields.take("delay").and_then(|it| duration(&it, report)));
    let attempts = fields.take("max_attempts").and_then(|it| count(&it, report));
    draft.set_in("restart", "maxRestarts", attempts);
    let window = fields.take("window").and_then(|it| duration(&it, report));
    draft.set_in("restart", "resetAfter", window);
    not_taken(&fields, report);
}

/// Reads `update_config`: so many copies at a time, the new or the old first.
fn read_update(mut fields: Fields<'_>, draft: &mut Draft, report: &mut Report<'_>) {
    let parallelism = fields.take("parallelism").and_then(|it| count(&it, report)).unwrap_or(1);
    let copies = if parallelism == 0 { json!("100%") } else { json!(parallelism) };
    let order = fields.take("order").and_then(|it| text(&it, report));
    let (surge, unavailable) = match order.as_deref() {
        Some("start-first") => (copies, json!(0)),
        _ => (json!(0), copies),
    };
    draft.set_in("rollout", "maxSurge", Some(surge));
    draft.set_in("rollout", "maxUnavailable", Some(unavailable));
    let because = ("a rollout that fails is always undone", "");
    fields.refuse("failure_action", &["rollback"], because, report);
    not_taken(&fields, report);
}
