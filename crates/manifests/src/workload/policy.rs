use std::time::Duration;

use model::WorkloadSpec;
use model::workload::{Logs, Restart, RestartPolicy, Stop, StopSignal, WorkloadKind};

use super::{DAY, HOUR, SECOND};
use crate::fields::{Field, Fields, Report};
use crate::values::{bytes, duration, either, set, short, whole, word};

/// A file of 64 KiB holds some 500 lines.
const LOG_BYTES_MIN: u64 = 64 << 10;
const LOG_BYTES_MAX: u64 = 64 << 30;

/// Reads `restart`, `stop` and `logs`.
pub(super) fn read(fields: &mut Fields<'_>, spec: &mut WorkloadSpec, report: &mut Report<'_>) {
    if spec.kind == WorkloadKind::Job {
        spec.restart.policy = RestartPolicy::OnFailure;
    }
    if let Some(field) = fields.take("restart") {
        read_restart(&field, spec.kind, &mut spec.restart, report);
    }
    if let Some(field) = fields.take("stop") {
        read_stop(&field, &mut spec.stop, report);
    }
    if let Some(field) = fields.take("logs") {
        read_logs(&field, &mut spec.logs, report);
    }
}

fn read_restart(
    field: &Field<'_>,
    kind: WorkloadKind,
    restart: &mut Restart,
    report: &mut Report<'_>,
) {
    let Some(mut fields) = field.fields(report) else { return };
    let policies = [
        ("Always", RestartPolicy::Always),
        ("OnFailure", RestartPolicy::OnFailure),
        ("Never", RestartPolicy::Never),
    ];
    if let Some(field) = fields.take("policy") {
        set(&mut restart.policy, word(&field, &policies, report));
        if kind == WorkloadKind::Job && restart.policy == RestartPolicy::Always {
            let message = "a job that is always restarted never completes";
            report.error(&field.at, message, "use OnFailure or Never, or `type: Service`");
        }
    }
    let shortest = Duration::from_millis(1);
    let delay = fields.take("delay").and_then(|it| duration(&it, shortest..=HOUR, report));
    set(&mut restart.delay, delay);
    let longest = fields.take("maxDelay");
    let at = longest.as_ref().map_or_else(|| fields.at.missing("delay"), |it| it.at.clone());
    set(&mut restart.delay_max, longest.and_then(|it| duration(&it, shortest..=DAY, report)));
    if restart.delay_max < restart.delay {
        let (delay, most) = (short(restart.delay), short(restart.delay_max));
        let message = format!("the first wait, {delay}, is longer than the longest, {most}");
        report.error(&at, message, "make `maxDelay` at least as long as `delay`");
    }
    let restarts = fields.take("maxRestarts").and_then(|it| whole(&it, 0..=10_000, report));
    set(&mut restart.restarts_max, restarts);
    let reset = fields.take("resetAfter").and_then(|it| duration(&it, SECOND..=DAY, report));
    set(&mut restart.reset_after, reset);
    let checks = fields.take("afterFailedChecks").and_then(|it| whole(&it, 0..=1000, report));
    set(&mut restart.failed_checks_max, checks);
    fields.finish(report);
}

fn read_stop(field: &Field<'_>, stop: &mut Stop, report: &mut Report<'_>) {
    let Some(mut fields) = field.fields(report) else { return };
    if let Some(field) = fields.take("signal")
        && let Some(name) = field.text(report)
    {
        let signal = StopSignal::parse(name);
        if signal.is_none() {
            let known = StopSignal::ALL.map(StopSignal::as_str);
            let message = format!("`{name}` is not a signal to stop by");
            report.error(&field.at, message, format!("use {}", either(&known)));
        }
        set(&mut stop.signal, signal);
    }
    let bounds = Duration::ZERO..=HOUR;
    let grace = fields.take("gracePeriod").and_then(|it| duration(&it, bounds.clone(), report));
    set(&mut stop.grace_period, grace);
    let drain = fields.take("drainTimeout").and_then(|it| duration(&it, bounds, report));
    set(&mut stop.drain_timeout, drain);
    fields.finish(report);
}

fn read_logs(field: &Field<'_>, logs: &mut Logs, report: &mut Report<'_>) {
    let Some(mut fields) = field.fields(report) else { return };
    let size = fields.take("maxSize");
    let size = size.and_then(|it| bytes(&it, LOG_BYTES_MIN..=LOG_BYTES_MAX, report));
    set(&mut logs.file_bytes_max, size);
    let files = fields.take("maxFiles").and_then(|it| whole(&it, 1..=1000, report));
    set(&mut logs.files_max, files);
    fields.finish(report);
}
