//! `/leno/v1/services`: services and instances by their merged verdicts.

use std::collections::BTreeSet;

use model::{Catalog, Check, Folded, Instance, ServiceId, Stored, Timestamp, WatchKey};
use registry::{Reason, SightingsState, SightingsView, Verdict, VerdictState, aggregate, verdict};

use crate::InstanceFacts;
use crate::consul::{Call, Outcome, Read};
use crate::json::JsonWriter;

/// `GET /leno/v1/services`
pub(super) fn list(call: &Call<'_>) -> Outcome {
    let read = Read::of(call)?;
    let catalog = call.catalog();
    // Instances and their nodes move the index of nodes.
    let index = catalog.nodes_index().max(catalog.checks_index());
    let keys = || vec![WatchKey::Nodes, WatchKey::Checks];
    Ok(read.answer(index, keys, |w| {
        w.array(|w| {
            for (name, entry) in catalog.services() {
                if !call.access().sees_service(entry.name.as_str()) {
                    continue;
                }
                Summary::of(catalog, name).write(w, entry.name.as_str());
            }
        });
    }))
}

/// `GET /leno/v1/services/:name`: an empty list for a service that is not registered, so that one can wait for it.
pub(super) fn one(call: &Call<'_>) -> Outcome {
    let read = Read::of(call)?;
    let catalog = call.catalog();
    let name = Folded::new(read.name("service name")?);
    let index = catalog.service_index(&name);
    let keys = || vec![WatchKey::Service(name.clone())];
    let facts = call.extension::<InstanceFacts>();
    Ok(read.answer(index, keys, |w| {
        w.array(|w| {
            for instance in catalog.instances_of_service(&name) {
                if !call.access().sees_instance(instance) {
                    continue;
                }
                let key = (instance.node.folded(), instance.id.clone());
                let seen = facts.and_then(|it| it.0.get(&key)?.sightings.as_ref());
                let spared = seen.filter(|it| it.state == SightingsState::Spared);
                write_instance(w, catalog, instance, spared);
            }
        });
    }))
}

/// Instances of a service by state.
#[derive(Default)]
struct Summary<'a> {
    passing: u64,
    warning: u64,
    critical: u64,
    maintenance: u64,
    /// All tags that an instance has.
    tags: BTreeSet<&'a str>,
}

impl<'a> Summary<'a> {
    fn of(catalog: &'a Catalog, service: &Folded) -> Self {
        let mut summary = Self::default();
        for instance in catalog.instances_of_service(service) {
            *match aggregate(checks_of(catalog, instance)) {
                VerdictState::Passing => &mut summary.passing,
                VerdictState::Warning => &mut summary.warning,
                VerdictState::Critical => &mut summary.critical,
                VerdictState::Maintenance => &mut summary.maintenance,
            } += 1;
            summary.tags.extend(instance.tags.iter().map(String::as_str));
        }
        summary
    }

    fn write(&self, w: &mut JsonWriter, name: &str) {
        let Self { passing, warning, critical, maintenance, tags } = self;
        w.object(|w| {
            w.string_field("Name", name);
            w.number_field("Instances", passing + warning + critical + maintenance);
            w.number_field("Passing", *passing);
            w.number_field("Warning", *warning);
            w.number_field("Critical", *critical);
            w.number_field("Maintenance", *maintenance);
            w.strings_field("Tags", tags.iter().copied());
        });
    }
}

/// The checks of an instance's node and its own.
fn checks_of<'a>(
    catalog: &'a Catalog,
    instance: &Instance,
) -> impl Iterator<Item = &'a Check> + use<'a> {
    let node = instance.node.folded();
    let of_node = catalog.checks_of_instance(&node, &ServiceId::default());
    of_node.chain(catalog.checks_of_instance(&node, &instance.id)).map(|it| &it.value)
}

/// The address of an instance: its own, or its node's.
pub(super) fn address_of<'a>(catalog: &'a Catalog, instance: &'a Instance) -> &'a str {
    match instance.address.as_str() {
        "" => catalog.node(&instance.node.folded()).map_or("", |it| it.address.as_str()),
        address => address,
    }
}

/// Since when an instance is in its state, which is none before it was registered; `None` when nothing tells. The worst
/// state began when the first of the checks that are in it got there; passing, when the last one did.
pub(super) fn since(
    catalog: &Catalog,
    instance: &Stored<Instance>,
    reasons: &[Reason],
    state: VerdictState,
) -> Option<Timestamp> {
    let node = instance.node.folded();
    let own = catalog.checks_of_instance(&node, &instance.id);
    let own_since = own.map(|it| it.since).max();
    // What the node's check says may be older than the instance. It is not, if it was said after the registration, and
    // where the instance has checks of its own, the latest of both is not either.
    let of_node = catalog.checks_of_instance(&node, &ServiceId::default());
    let of_node: Vec<_> = of_node.filter(|it| it.modified >= instance.created).collect();
    let is_later = |it: &Reason| !it.is_of_node || of_node.iter().any(|check| check.id == it.check);
    if state > VerdictState::Passing {
        let worst = reasons.iter().filter(|it| it.state == state && is_later(it));
        return worst.map(|it| it.since).min();
    }
    of_node.iter().map(|it| it.since).chain(own_since).max()
}

fn write_instance(
    w: &mut JsonWriter,
    catalog: &Catalog,
    instance: &Stored<Instance>,
    spared: Option<&SightingsView>,
) {
    let Verdict { state, reasons } = verdict(catalog, instance);
    let weight = match state {
        VerdictState::Passing => instance.weights.passing,
        VerdictState::Warning => instance.weights.warning,
        VerdictState::Critical | VerdictState::Maintenance => 0,
    };
    let since = since(catalog, instance, &reasons, state);
    w.object(|w| {
        w.string_field("Node", instance.node.as_str());
        w.string_field("ID", instance.id.as_str());
        w.string_field("Address", address_of(catalog, instance));
        w.number_field("Port", instance.port);
        w.string_field("State", state.as_str());
        w.number_field("Weight", weight);
        w.strings_field("Tags", instance.tags.iter().map(String::as_str));
        w.number_field("Since", since.unwrap_or(Timestamp(0)).0);
        w.key("Reasons");
        w.array(|w| {
            for reason in &reasons {
                w.object(|w| {
                    w.string_field("Check", reason.check.as_str());
                    w.string_field("State", reason.state.as_str());
                    w.string_field("Text", &reason.text);
                    w.number_field("SinceMs", reason.since.0);
                    w.boolean_field("OfNode", reason.is_of_node);
                });
            }
            if let Some(view) = spared {
                w.object(|w| {
                    w.string_field("Check", Check::sightings_id(&instance.id).as_str());
                    w.string_field("State", VerdictState::Passing.as_str());
                    w.string_field("Text", &view.text);
                    w.number_field("SinceMs", view.since.0);
                    w.boolean_field("OfNode", false);
                });
            }
        });
    });
}
