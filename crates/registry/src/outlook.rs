use model::{Catalog, Check, CheckStatus, CheckType, Folded, Instance, Origin, Stored, Timestamp};

use crate::verdict::aggregate;
use crate::{CheckRun, SightingsState, SightingsView, VerdictState, reaps_after};

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // Some instant is needed to count from.
mod tests;

/// What would change the state of an instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outlook {
    /// When it happens, where that is known.
    pub at: Option<Timestamp>,
    /// The state that the instance would be in; `None` when it would be gone.
    pub to: Option<VerdictState>,
    /// What it is, or who does it.
    pub text: String,
}

/// What is known of an instance beside the catalog.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// How the checks go that the agent runs.
    pub runs: &'a [CheckRun<Timestamp>],
    /// What proxies see.
    pub sightings: Option<&'a SightingsView>,
    /// When the agent began: how long a check has been critical counts from then.
    pub agent_began: Timestamp,
    /// Now.
    pub now: Timestamp,
    /// How the process is started again, if its supervisor waits for that.
    pub restart: Option<Restart>,
}

/// A process that ended is started again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Restart {
    /// When.
    pub at: Timestamp,
    /// The how many-th restart in a row that is.
    pub number: u32,
    /// Most of them.
    pub max: u32,
}

/// The instances of this id, or the one of this `node/id`.
#[must_use]
pub fn find_instances<'a>(catalog: &'a Catalog, id: &str) -> Vec<&'a Stored<Instance>> {
    let by_id: Vec<&Stored<Instance>> =
        catalog.instances().map(|it| &**it).filter(|it| it.id.as_str() == id).collect();
    if by_id.is_empty() {
        return crate::instance_of_endpoint(catalog, id).into_iter().collect();
    }
    by_id
}

/// What would change the state of an instance, what comes by itself first.
#[must_use]
pub fn outlook(catalog: &Catalog, instance: &Instance, known: &Known<'_>) -> Vec<Outlook> {
    let node = instance.node.folded();
    let checks = checks(catalog, &node, instance);
    let mut found = Vec::new();
    for check in &checks {
        // What the others come to, if this one were otherwise.
        let others = checks.iter().copied().filter(|it| it.id != check.id);
        // What is not run while there is no process says nothing of the next one.
        let without = aggregate(others.filter(|it| !is_of_process(check) || !is_held(it, known)));
        of_check(check, without, known, &mut found);
    }
    let now = aggregate(checks.iter().copied());
    let without = aggregate(checks.iter().copied().filter(|it| !it.is_sightings()));
    of_sightings(without, known, &mut found);
    let is_maintained = checks.iter().any(|it| it.is_maintenance() && !it.service_id.is_empty());
    if instance.origin == Origin::Agent && !is_maintained {
        let id = &instance.id;
        let text = format!("an operator: leno consul maint -enable -service={id} -reason=…");
        found.push(Outlook { at: None, to: Some(VerdictState::Maintenance), text });
    }
    found.retain(|it| it.to != Some(now));
    found.sort_by_key(|it| (it.at.is_none(), it.at));
    found
}

fn checks<'a>(catalog: &'a Catalog, node: &Folded, instance: &Instance) -> Vec<&'a Check> {
    let of_node = catalog.checks_of_instance(node, &model::ServiceId::default());
    of_node.chain(catalog.checks_of_instance(node, &instance.id)).map(|it| &it.value).collect()
}

fn of_check(check: &Check, without: VerdictState, known: &Known<'_>, found: &mut Vec<Outlook>) {
    let mut push = |at: Option<Timestamp>, to: VerdictState, text: String| {
        found.push(Outlook { at, to: Some(to), text });
    };
    let id = &check.id;
    if check.is_maintenance() {
        push(None, without, end_of_maintenance(check));
        return;
    }
    if check.is_sightings() {
        return;
    }
    let is_failing = check.status == CheckStatus::Critical;
    let run = known.runs.iter().find(|it| it.check == *id);
    match run {
        Some(run) if run.kind == CheckType::Ttl && is_failing => {
            push(None, without, format!("a heartbeat of check {id} that says it is well"));
        }
        Some(run) if run.kind == CheckType::Ttl => {
            let text = format!("check {id} lapses, unless a heartbeat comes before");
            push(run.next, without.max(VerdictState::Critical), text);
        }
        Some(run) if run.kind == CheckType::Alias => {
            push(None, without, format!("check {id} follows what it is an alias of"));
        }
        Some(CheckRun { held: Some(_), .. }) => {
            let text = format!("check {id} is run again once its process is there");
            push(None, without, text);
        }
        Some(run) if is_failing => {
            let text = format!("{} of check {id}", runs_of(run.successes_left, "passing"));
            push(run.next, without, text);
        }
        Some(run) => {
            let text = format!("{} of check {id}", runs_of(run.failures_left, "failing"));
            push(run.next, without.max(VerdictState::Critical), text);
        }
        None if is_failing && is_of_process(check) => match known.restart {
            Some(restart) => push(Some(restart.at), without, started_again(restart)),
            None => push(None, without, format!("check {id}, when its process is started again")),
        },
        None if is_failing => {
            let text = format!("check {id}, when whoever registered it says so");
            push(None, without, text);
        }
        None => {}
    }
    if let Some(after) = reaps_after(check) {
        let at = check.since.max(known.agent_began).plus(after);
        let text = format!("it is deregistered if check {id} is critical until then");
        found.push(Outlook { at: Some(at), to: None, text });
    }
}

/// `without`: what the state is, or would be, without what proxies see.
fn of_sightings(without: VerdictState, known: &Known<'_>, found: &mut Vec<Outlook>) {
    let seen =
        known.sightings.filter(|it| it.state != SightingsState::Watched || !it.proxies.is_empty());
    let Some(view) = seen else {
        if without.is_usable() {
            let text = "at least half of the proxies that use it see it fail".to_owned();
            found.push(Outlook { at: None, to: Some(VerdictState::Critical), text });
        }
        return;
    };
    match view.state {
        SightingsState::Against => {
            let text = "it is let in again, on trial, whatever proxies saw".to_owned();
            found.push(Outlook { at: view.until, to: Some(without), text });
            let has_probes = known.runs.iter().any(CheckRun::is_probe);
            let complains = view.proxies.iter().any(|it| it.kind.is_answer());
            let what = if has_probes && !complains {
                "a passing run of all its probes, or a proxy that sees it succeed"
            } else {
                "a success at every proxy that saw it fail"
            };
            let from = view.eases.filter(|it| *it > known.now);
            let text = match from {
                Some(from) => format!("{what}, from {} UTC on", from.time_of_day()),
                None => what.to_owned(),
            };
            found.push(Outlook { at: None, to: Some(without), text });
        }
        SightingsState::Spared => {
            let text =
                "another instance of the service is usable, and proxies still see this one fail";
            let to = Some(VerdictState::Critical);
            found.push(Outlook { at: None, to, text: text.to_owned() });
        }
        SightingsState::Watched => {
            let text = "more proxies, or a failing probe, say the same".to_owned();
            found.push(Outlook { at: None, to: Some(VerdictState::Critical), text });
        }
    }
}

fn is_of_process(check: &Check) -> bool {
    check.kind == "process"
}

fn is_held(check: &Check, known: &Known<'_>) -> bool {
    known.runs.iter().any(|it| it.check == check.id && it.held.is_some())
}

fn started_again(restart: Restart) -> String {
    format!("its process is started again (restart {} of {})", restart.number, restart.max)
}

fn runs_of(count: u32, which: &str) -> String {
    match count {
        1 => format!("a {which} run"),
        _ => format!("{count} {which} runs in a row"),
    }
}

fn end_of_maintenance(check: &Check) -> String {
    let id = check.service_id.as_str();
    match id {
        "" => "an operator: leno consul maint -disable (the whole node)".to_owned(),
        _ => format!("an operator: leno consul maint -disable -service={id}"),
    }
}
