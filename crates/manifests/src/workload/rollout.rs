use std::time::Duration;

use model::WorkloadSpec;
use model::workload::{
    CanaryStep, CountOrPercent, Evidence, PortChoice, Rollout, Strategy, WorkloadKind,
};

use super::{DAY, SECOND};
use crate::fields::{Field, Fields, Report};
use crate::values::{count_or_percent, duration, percent_hundredths, set, short, whole, word};

const STEPS_MAX: usize = 20;
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
const KEEP_OLD: Duration = Duration::from_secs(30);

/// The word of a strategy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Rolling,
    Canary,
    BlueGreen,
}

/// Reads `rollout`. Replicas, port and service were read before.
pub(super) fn read(fields: &mut Fields<'_>, spec: &mut WorkloadSpec, report: &mut Report<'_>) {
    if let PortChoice::Fixed(_) = spec.port {
        // Two copies cannot listen on the port: the old one is stopped first.
        spec.rollout.surge_max = CountOrPercent::Count(0);
        spec.rollout.unavailable_max = CountOrPercent::Count(1);
    }
    let Some(field) = fields.take("rollout") else { return };
    if spec.kind == WorkloadKind::Job {
        let message = "a job is not rolled out: a changed one is run again";
        report.ignored(&field.at, message, "remove it, or write `type: Service`");
        return;
    }
    let Some(mut fields) = field.fields(report) else { return };
    let mut rollout = spec.rollout.clone();
    let manner = read_manner(&mut fields, spec, report);
    read_amounts(&mut fields, manner, spec, &mut rollout, report);
    read_plan(&mut fields, manner, &mut rollout, report);
    fields.finish(report);
    spec.rollout = rollout;
}

/// Reads what every rollout has: `steps` or `keepOld`, `deadline` and `evidence`.
pub(crate) fn read_plan(
    fields: &mut Fields<'_>,
    manner: Manner,
    rollout: &mut Rollout,
    report: &mut Report<'_>,
) {
    rollout.strategy = read_strategy(fields, manner, report);
    let deadline = fields.take("deadline");
    let at = deadline.as_ref().map_or_else(|| fields.at.missing("deadline"), |it| it.at.clone());
    set(&mut rollout.deadline, deadline.and_then(|it| duration(&it, SECOND..=WEEK, report)));
    if let Strategy::Canary { steps } = &rollout.strategy {
        let sum: Duration = steps.iter().map(|it| it.duration).sum();
        if sum >= rollout.deadline {
            let (sum, deadline) = (short(sum), short(rollout.deadline));
            let message = format!("the steps take {sum}, and it is undone after {deadline}");
            report.error(&at, message, "make `deadline` longer than the steps together");
        }
    }
    if let Some(field) = fields.take("evidence") {
        read_evidence(&field, &mut rollout.evidence, report);
    }
}

fn read_manner(fields: &mut Fields<'_>, spec: &WorkloadSpec, report: &mut Report<'_>) -> Manner {
    let words = [
        ("Rolling", Manner::Rolling),
        ("Canary", Manner::Canary),
        ("BlueGreen", Manner::BlueGreen),
        // Kubernetes' word.
        ("RollingUpdate", Manner::Rolling),
    ];
    let Some(field) = fields.take("strategy") else { return Manner::Rolling };
    let Some(manner) = word(&field, &words, report) else { return Manner::Rolling };
    if manner == Manner::Rolling {
        return manner;
    }
    if let PortChoice::Fixed(port) = spec.port {
        let message = format!("two releases cannot both listen on port {port}");
        report.error(&field.at, message, "write `port: Auto`, or `strategy: Rolling`");
    }
    if spec.service.is_none() {
        let message = "without a service there are no requests to divide";
        report.error(&field.at, message, "name a `service`, or write `strategy: Rolling`");
    }
    manner
}

/// Reads `steps` and `keepOld`, which count for one strategy each.
fn read_strategy(fields: &mut Fields<'_>, manner: Manner, report: &mut Report<'_>) -> Strategy {
    let (steps, keep_old) = (fields.take("steps"), fields.take("keepOld"));
    let of_another = |field: &Option<Field<'_>>, word: &str, report: &mut Report<'_>| {
        if let Some(field) = field {
            let message = format!("counts only with `strategy: {word}`");
            report.ignored(&field.at, message, "remove it, or write that strategy");
        }
    };
    if manner != Manner::Canary {
        of_another(&steps, "Canary", report);
    }
    if manner != Manner::BlueGreen {
        of_another(&keep_old, "BlueGreen", report);
    }
    match manner {
        Manner::Rolling => Strategy::Rolling,
        Manner::Canary => Strategy::Canary {
            steps: match steps {
                Some(field) => read_steps(&field, report),
                None => CanaryStep::DEFAULT.to_vec(),
            },
        },
        Manner::BlueGreen => {
            let keep_old = keep_old.and_then(|it| duration(&it, Duration::ZERO..=DAY, report));
            Strategy::BlueGreen { keep_old: keep_old.unwrap_or(KEEP_OLD) }
        }
    }
}

fn read_steps(field: &Field<'_>, report: &mut Report<'_>) -> Vec<CanaryStep> {
    let items = field.items(report);
    if items.is_empty() || items.len() > STEPS_MAX {
        let message = format!("{} steps are not a canary", items.len());
        report.error(&field.at, message, format!("write 1 to {STEPS_MAX} steps"));
    }
    let mut steps: Vec<CanaryStep> = Vec::new();
    for item in items {
        let Some(step) = read_step(&item, report) else { continue };
        if let Some(before) = steps.last()
            && before.weight_percent >= step.weight_percent
        {
            let (weight, before) = (step.weight_percent, before.weight_percent);
            let message = format!("weight {weight} is not above the one before, {before}");
            report.error(&item.at, message, "let the weights ascend");
        }
        steps.push(step);
    }
    steps
}

fn read_step(item: &Field<'_>, report: &mut Report<'_>) -> Option<CanaryStep> {
    let mut fields = item.fields(report)?;
    let weight = fields.require("weight", report);
    let time = fields.require("duration", report);
    fields.finish(report);
    let weight = weight.and_then(|it| whole(&it, 1..=100, report));
    let time = time.and_then(|it| duration(&it, SECOND..=DAY, report));
    Some(CanaryStep { weight_percent: u8::try_from(weight?).ok()?, duration: time? })
}

/// Reads `maxSurge` and `maxUnavailable`.
fn read_amounts(
    fields: &mut Fields<'_>,
    manner: Manner,
    spec: &WorkloadSpec,
    rollout: &mut Rollout,
    report: &mut Report<'_>,
) {
    let (surge, unavailable) = (fields.take("maxSurge"), fields.take("maxUnavailable"));
    if manner != Manner::Rolling {
        for field in [surge, unavailable].into_iter().flatten() {
            let message = "counts only with `strategy: Rolling`";
            report.ignored(&field.at, message, "remove it, or write that strategy");
        }
        return;
    }
    let surge_count = surge.as_ref().map(|it| count_or_percent(it, report));
    let unavailable_count = unavailable.as_ref().map(|it| count_or_percent(it, report));
    if surge_count == Some(None) || unavailable_count == Some(None) {
        return;
    }
    set(&mut rollout.surge_max, surge_count.flatten());
    let surge_copies = rollout.surge_max.round_up(spec.replicas);
    if surge_copies == 0 {
        rollout.unavailable_max = CountOrPercent::Count(1);
    }
    set(&mut rollout.unavailable_max, unavailable_count.flatten());
    if let (PortChoice::Fixed(port), Some(field)) = (spec.port, &surge)
        && surge_copies > 0
    {
        let message = format!("a second copy cannot listen on port {port} beside the first");
        let remedy = "leave it out: the old copy is then stopped before the new one is started; \
                      or write `port: Auto`";
        report.error(&field.at, message, remedy);
    } else if surge_copies == 0 && rollout.unavailable_max.round_down(spec.replicas) == 0 {
        let at = unavailable.or(surge).map_or_else(|| fields.at.clone(), |it| it.at);
        let message = format!(
            "of {} copies none may be missing and none be added: a rollout could not begin",
            spec.replicas
        );
        let remedy = match spec.port {
            PortChoice::Fixed(_) => "write `maxUnavailable: 1`, or `port: Auto`",
            PortChoice::None | PortChoice::Auto => "write `maxSurge: 1` or `maxUnavailable: 1`",
        };
        report.error(&at, message, remedy);
    }
}

fn read_evidence(field: &Field<'_>, evidence: &mut Evidence, report: &mut Report<'_>) {
    let Some(mut fields) = field.fields(report) else { return };
    let requests = fields.take("minRequests").and_then(|it| whole(&it, 1..=1_000_000, report));
    set(&mut evidence.requests_min, requests);
    let errors = fields.take("maxErrorIncrease");
    let errors = errors.and_then(|it| percent_hundredths(&it, 100, report));
    set(&mut evidence.error_increase_max_basis_points, errors);
    let latency = fields.take("maxLatencyIncrease");
    let latency = latency.and_then(|it| percent_hundredths(&it, 10_000, report));
    set(&mut evidence.latency_increase_max_basis_points, latency);
    fields.finish(report);
}
