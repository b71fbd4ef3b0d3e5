//! One rollout in memory, and the instances that it is about.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::{
    Catalog, NodeName, RolloutSpec, ServiceId, ServiceName, Timestamp, TrafficSplit, WatchKey,
};
use recovery::{Action, Approach, Command as Change, CopyId, Phase, ReleaseId, Split, Workload};
use registry::{Verdict, VerdictState};
use serde::{Deserialize, Serialize};

use crate::workloads::kept::{self, Persisted};
use crate::workloads::name::WorkloadName;
use crate::workloads::plan;
use crate::workloads::tally::Tally;
use crate::workloads::words::{finished, told};

/// The release of instances whose version is none that is known; releases have numbers from 1 up.
pub(super) const NO_RELEASE: ReleaseId = ReleaseId(0);

/// What instances are called in reasons, with their places behind it.
pub(super) const INSTANCE: &str = "instance ";

/// What the store keeps of a rollout, so that the next life of the agent goes on where this one ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Its releases are versions of the service.
    pub(super) workload: Workload,
    /// The service that it is about.
    pub(super) service: ServiceName,
    /// What its document asked for when it was last followed.
    pub(super) told: Option<RolloutSpec>,
    /// What has happened, the oldest first: milliseconds since 1970, and words.
    pub(super) events: VecDeque<(u64, String)>,
}

/// A rollout in memory.
pub(in crate::workloads) struct RunningRollout {
    pub(super) kept: Kept,
    pub(super) persisted: Persisted,
    /// Something has changed that the store does not have yet.
    pub(super) is_dirty: bool,
    pub(super) tally: Tally,
    /// The places of the instances in their releases, by endpoint.
    pub(super) slots: BTreeMap<String, u32>,
    /// What it waits for before what its document asks for begins; empty when that has.
    pub(super) waits_for: String,
    /// What keeps it from dividing requests at all; empty when nothing does.
    pub(super) obstacle: String,
}

/// A registered instance of the service.
pub(super) struct Seen {
    /// Its endpoint's id at the proxies.
    pub(super) endpoint: String,
    pub(super) node: NodeName,
    pub(super) id: ServiceId,
    pub(super) version: String,
    /// Without what proxies see of it, which a rollout judges by their counters.
    pub(super) verdict: Verdict,
    pub(super) has_port: bool,
}

impl Seen {
    pub(super) fn is_usable(&self) -> bool {
        self.has_port && self.verdict.state.is_usable()
    }

    pub(super) fn phase(&self) -> Phase {
        match self.verdict.state {
            VerdictState::Maintenance => Phase::Draining,
            _ if self.is_usable() => Phase::Ready,
            VerdictState::Passing | VerdictState::Warning | VerdictState::Critical => {
                Phase::Checking
            }
        }
    }

    /// What speaks against it.
    pub(super) fn output(&self) -> String {
        if !self.has_port {
            return "it is registered without a port".to_owned();
        }
        let reason = self.verdict.reasons.first();
        reason.map_or_else(String::new, |it| format!("{}: {}", it.check, it.text.trim_end()))
    }
}

impl RunningRollout {
    pub(super) fn new(kept: Kept) -> Self {
        Self {
            kept,
            persisted: Persisted::default(),
            is_dirty: false,
            tally: Tally::default(),
            slots: BTreeMap::new(),
            waits_for: String::new(),
            obstacle: String::new(),
        }
    }

    pub(super) fn fresh(service: ServiceName, now: Timestamp) -> Self {
        let workload = Workload::new(now);
        Self::new(Kept { workload, service, told: None, events: VecDeque::new() })
    }

    /// What brings news of it.
    pub(in crate::workloads) fn watched(&self) -> WatchKey {
        WatchKey::Service(self.kept.service.folded())
    }

    /// Versions that are known to be some.
    fn versions<'a>(&'a self, spec: &'a RolloutSpec) -> BTreeSet<&'a str> {
        let workload = &self.kept.workload;
        let releases = [workload.target(), workload.stable(), workload.previous()];
        let versions = releases.into_iter().flatten().map(|it| it.version.as_str());
        versions.chain([spec.version.as_str()]).collect()
    }

    pub(super) fn release_of(&self, version: &str) -> ReleaseId {
        let workload = &self.kept.workload;
        let releases = [workload.target(), workload.stable(), workload.previous()];
        let found = releases.into_iter().flatten().find(|it| it.version == version);
        found.map_or(NO_RELEASE, |it| it.id)
    }

    pub(super) fn instances(&self, catalog: &Catalog, spec: &RolloutSpec) -> Vec<Seen> {
        let versions = self.versions(spec);
        let instances = catalog.instances_of_service(&spec.service.folded());
        let seen = instances.filter(|it| it.is_typical()).map(|it| Seen {
            endpoint: it.endpoint_id(),
            node: it.node.clone(),
            id: it.id.clone(),
            version: it.version(&spec.version_label, |tag| versions.contains(tag)).to_owned(),
            verdict: registry::verdict_without_sightings(catalog, it),
            has_port: it.port != 0,
        });
        seen.collect()
    }

    /// Begins what the document asks for, if that is something else than it was.
    pub(super) fn follow(&mut self, spec: &RolloutSpec, instances: &[Seen], now: Timestamp) {
        self.waits_for.clear();
        if self.kept.told.as_ref() == Some(spec) {
            return;
        }
        let version = match self.kept.workload.approach(&spec.version, &count(instances)) {
            Approach::Begin => spec.version.clone(),
            Approach::Adopt(version) => {
                self.note(format!("version {version:?} is there, and is taken for the good one"));
                version
            }
            Approach::Wait => return self.wait_for_instance_of(spec),
            Approach::GiveUp => {
                // It may be asked for again.
                self.kept.told = None;
                self.note(format!("version {} is asked for instead", spec.version));
                // A rollout that goes forward, from a good release, can be undone.
                let _ = self.kept.workload.handle_command(Change::Undo, now);
                return self.wait_for_instance_of(spec);
            }
        };
        let change = Change::Start {
            version: version.clone(),
            fingerprint: version.clone(),
            spec: Box::new(plan::traffic(spec)),
        };
        match self.kept.workload.handle_command(change, now) {
            Ok(()) if version == spec.version => {
                self.kept.told = Some(spec.clone());
                self.is_dirty = true;
            }
            Ok(()) => self.is_dirty = true,
            Err(refusal) => self.waits_for = format!("for a document that can be used: {refusal}"),
        }
    }

    fn wait_for_instance_of(&mut self, spec: &RolloutSpec) {
        self.waits_for = format!("for an instance of version {}", spec.version);
    }

    pub(super) fn note(&mut self, text: String) {
        kept::note(&mut self.kept.events, text);
        self.is_dirty = true;
    }

    /// What an operator would want to read later.
    pub(super) fn remember(&mut self, name: &WorkloadName, action: &Action) {
        let text = match action {
            Action::Note(note) => told(note, INSTANCE, |copy| self.endpoint(copy)),
            Action::Finish(record) => finished(record, INSTANCE),
            Action::SetSplit(_)
            | Action::StartCopy(_)
            | Action::Drain(_)
            | Action::Undrain(_)
            | Action::Stop(_) => return,
        };
        tracing::info!(rollout = %name, "{text}");
        self.note(text);
    }

    fn endpoint(&self, copy: CopyId) -> String {
        let found = self.slots.iter().find(|it| *it.1 == copy.slot);
        found.map_or_else(|| copy.to_string(), |it| it.0.clone())
    }

    /// Gives each instance a place that it keeps, the lowest that is free.
    pub(super) fn place(&mut self, instances: &[Seen]) {
        self.slots.retain(|endpoint, _| instances.iter().any(|it| it.endpoint == *endpoint));
        let taken: BTreeSet<u32> = self.slots.values().copied().collect();
        let mut free = (0..).filter(|slot| !taken.contains(slot));
        for it in instances {
            if !self.slots.contains_key(&it.endpoint) {
                let slot = free.next().expect("there are more numbers than instances");
                self.slots.insert(it.endpoint.clone(), slot);
            }
        }
    }

    /// The split that the store has, in releases; `None` before the first, and where it is about others.
    pub(super) fn split(&self, record: &TrafficSplit) -> Option<Split> {
        let shares = record.shares.iter().filter(|it| *it.1 > 0);
        let shares: BTreeMap<ReleaseId, u32> =
            shares.map(|(version, share)| (self.release_of(version), *share)).collect();
        (!shares.is_empty() && !shares.contains_key(&NO_RELEASE)).then_some(Split::Weights(shares))
    }

    /// The record that says to divide requests so.
    pub(super) fn record(
        &self,
        name: &WorkloadName,
        spec: &RolloutSpec,
        split: &Split,
    ) -> TrafficSplit {
        let share = |version: &str| match split {
            Split::Weights(shares) => {
                shares.get(&self.release_of(version)).copied().unwrap_or_default()
            }
            // It is said of copies that are replaced one by one, which others do here.
            Split::ByCopies(_) => 0,
        };
        TrafficSplit {
            service: spec.service.clone(),
            rollout: name.rollout_document(),
            version_label: spec.version_label.clone(),
            shares: self.versions(spec).into_iter().map(|it| (it.to_owned(), share(it))).collect(),
        }
    }
}

/// Usable instances by version.
pub(super) fn count(instances: &[Seen]) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for it in instances {
        *counts.entry(it.version.clone()).or_default() += u32::from(it.is_usable());
    }
    counts
}
