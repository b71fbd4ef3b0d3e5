//! `/leno/v1/instances`: one instance, with all that speaks for and against it.

use model::{Catalog, Check, CheckType, Instance, ServiceId, Stored, Timestamp};
use proxy_config::EndpointUse;
use registry::{
    CheckRun, Known, Outlook, SeenByProxy, SightingsView, aggregate, find_instances, outlook,
    reaps_after, verdict,
};

use super::services::{address_of, since};
use crate::consul::{Answer, Call, Outcome, Read};
use crate::json::JsonWriter;
use crate::{CopyFacts, Facts, InstanceFacts};

/// `GET /leno/v1/instances/:id`: the instances of this id, or the one of this `node/id`; an empty list when there is none.
/// It never waits: most of what it says changes without a new index.
pub(super) fn one(call: &Call<'_>) -> Outcome {
    let id = Read::of(call)?.name("instance ID")?;
    let catalog = call.catalog();
    let found = find_instances(catalog, id);
    Ok(Answer::Reply(call.json(|w| {
        w.array(|w| {
            for instance in found.into_iter().filter(|it| call.access().sees_instance(it)) {
                Page::of(call, instance).write(w);
            }
        });
    })))
}

struct Page<'a> {
    call: &'a Call<'a>,
    catalog: &'a Catalog,
    instance: &'a Stored<Instance>,
    /// The node's checks and its own, the worst first.
    checks: Vec<&'a Check>,
    facts: Facts,
}

impl<'a> Page<'a> {
    fn of(call: &'a Call<'a>, instance: &'a Stored<Instance>) -> Self {
        let catalog = call.catalog();
        let node = instance.node.folded();
        let facts = call.extension::<InstanceFacts>();
        let facts = facts.and_then(|it| it.0.get(&(node.clone(), instance.id.clone())));
        let of_node = catalog.checks_of_instance(&node, &ServiceId::default());
        let own = catalog.checks_of_instance(&node, &instance.id);
        let mut checks: Vec<&Check> = of_node.chain(own).map(|it| &it.value).collect();
        checks.sort_by_key(|it| std::cmp::Reverse(aggregate([*it])));
        Self { call, catalog, instance, checks, facts: facts.cloned().unwrap_or_default() }
    }

    fn write(&self, w: &mut JsonWriter) {
        let instance = self.instance;
        let verdict = verdict(self.catalog, instance);
        let since = since(self.catalog, instance, &verdict.reasons, verdict.state);
        w.object(|w| {
            w.string_field("Node", instance.node.as_str());
            w.string_field("ID", instance.id.as_str());
            w.string_field("Service", instance.service.as_str());
            w.string_field("Address", address_of(self.catalog, instance));
            w.number_field("Port", instance.port);
            w.strings_field("Tags", instance.tags.iter().map(String::as_str));
            w.string_field("State", verdict.state.as_str());
            time_field(w, "SinceMs", since);
            w.number_field("NowMs", self.call.now().0);
            w.key("Evidence");
            w.array(|w| self.checks.iter().for_each(|check| self.write_check(w, check)));
            w.key("Sightings");
            match &self.facts.sightings {
                Some(view) => write_sightings(w, view),
                None => w.null(),
            }
            w.key("Proxies");
            w.array(|w| self.facts.uses.iter().for_each(|(name, it)| self.write_use(w, name, it)));
            w.key("Copy");
            match &self.facts.copy {
                Some(copy) => write_copy(w, copy),
                None => w.null(),
            }
            w.key("Outlook");
            w.array(|w| self.outlook().iter().for_each(|it| write_outlook(w, it)));
        });
    }

    fn outlook(&self) -> Vec<Outlook> {
        let known = Known {
            runs: &self.facts.runs,
            sightings: self.facts.sightings.as_ref(),
            agent_began: self.call.agent().started,
            now: self.call.now(),
            restart: self.facts.copy.as_ref().and_then(|it| it.restart),
        };
        outlook(self.catalog, self.instance, &known)
    }

    fn write_check(&self, w: &mut JsonWriter, check: &Check) {
        let is_run_here = self.facts.runs.iter().find(|it| it.check == check.id);
        // What the last run said is newer than what led to the verdict.
        let live = is_run_here.and_then(|_| self.call.live_check(&check.id));
        let text = match live {
            Some(live) => &live.output,
            None if check.is_maintenance() => &check.notes,
            None => &check.output,
        };
        w.object(|w| {
            w.string_field("Check", check.id.as_str());
            w.string_field("Name", &check.name);
            w.string_field("Kind", &check.kind);
            w.boolean_field("OfNode", check.service_id.is_empty());
            w.string_field("State", aggregate([check]).as_str());
            w.number_field("SinceMs", check.since.0);
            w.string_field("Text", text);
            w.key("Run");
            match is_run_here {
                Some(run) => write_run(w, run),
                None => w.null(),
            }
            let began = self.call.agent().started.max(check.since);
            let at = reaps_after(check).map(|after| began.plus(after));
            time_field(w, "DeregistersMs", at);
        });
    }

    fn write_use(&self, w: &mut JsonWriter, proxy: &str, it: &EndpointUse) {
        let mut seen = self.facts.sightings.iter().flat_map(|it| &it.proxies);
        let seen: Option<&SeenByProxy> = seen.find(|it| it.proxy == proxy);
        w.object(|w| {
            w.string_field("Proxy", proxy);
            w.number_field("Active", it.active);
            w.number_field("Connections", it.connections);
            w.number_field("Successes", it.successes);
            w.number_field("Failures", it.failures);
            time_field(w, "EjectedUntilMs", seen.and_then(|it| it.ejected_until));
        });
    }
}

fn time_field(w: &mut JsonWriter, name: &'static str, time: Option<Timestamp>) {
    w.key(name);
    match time {
        Some(time) => w.number(time.0),
        None => w.null(),
    }
}

fn write_run(w: &mut JsonWriter, run: &CheckRun<Timestamp>) {
    let is_ttl = run.kind == CheckType::Ttl;
    w.object(|w| {
        w.string_field("Kind", run.kind.as_str());
        time_field(w, "LastMs", run.last.as_ref().map(|it| it.ended));
        w.key("TookMs");
        match &run.last {
            Some(last) => w.number(last.ended.0.saturating_sub(last.started.0)),
            None => w.null(),
        }
        w.string_field("LastState", run.last.as_ref().map_or("", |it| it.status.as_str()));
        time_field(w, "NextMs", run.next.filter(|_| !is_ttl));
        time_field(w, "LapsesMs", run.next.filter(|_| is_ttl));
        time_field(w, "LapsedMs", run.lapsed);
        w.number_field("FailuresLeft", run.failures_left);
        w.number_field("SuccessesLeft", run.successes_left);
        w.string_field("Held", run.held.as_deref().unwrap_or_default());
    });
}

fn write_sightings(w: &mut JsonWriter, view: &SightingsView) {
    w.object(|w| {
        w.string_field("State", view.state.as_str());
        w.number_field("SinceMs", view.since.0);
        time_field(w, "UntilMs", view.until);
        time_field(w, "EasesMs", view.eases);
        w.string_field("Text", &view.text);
        w.number_field("TimesInARow", view.times_in_a_row);
        w.number_field("NextHoldMs", view.next_hold_ms);
        w.key("Proxies");
        w.array(|w| {
            for it in &view.proxies {
                w.object(|w| {
                    w.string_field("Proxy", &it.proxy);
                    w.string_field("Kind", it.kind.as_str());
                    w.string_field("Text", it.words);
                    w.number_field("Count", it.count);
                    w.number_field("FirstMs", it.first.0);
                    w.number_field("LastMs", it.last.0);
                    time_field(w, "EjectedUntilMs", it.ejected_until);
                    time_field(w, "RecoveredMs", it.recovered);
                });
            }
        });
    });
}

fn write_copy(w: &mut JsonWriter, copy: &CopyFacts) {
    w.object(|w| {
        w.string_field("Workload", &copy.workload);
        w.string_field("Version", &copy.version);
        w.string_field("State", &copy.state);
        w.number_field("SinceMs", copy.since_ms);
        w.key("Pid");
        match copy.pid {
            Some(pid) => w.number(pid),
            None => w.null(),
        }
        w.number_field("Restarts", copy.restarts);
        w.string_field("Text", &copy.output);
    });
}

fn write_outlook(w: &mut JsonWriter, it: &Outlook) {
    w.object(|w| {
        time_field(w, "AtMs", it.at);
        w.string_field("To", it.to.map_or("gone", |it| it.as_str()));
        w.string_field("Text", &it.text);
    });
}
