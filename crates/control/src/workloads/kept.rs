//! What is known of one workload, and what of it is kept in the store.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use model::workload::{Registration, Rollout, WorkloadKind, WorkloadSpec};
use model::{Catalog, NodeName, Record, RecordKey, Revision, Setting, Table, Timestamp};
use proxy_config::content_version;
use recovery::{CopyId, Job, Release, ReleaseId, Split, Workload};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::copy::{CopyHandle, CopyPast};
use super::name::WorkloadName;
use super::tally::Tally;

/// What has happened to a workload that is remembered for operators.
const EVENTS_MAX: usize = 50;
/// How often the evidence of a rollout is stored.
const EVIDENCE_PAUSE_MS: u64 = 2000;

/// What the store keeps of a workload, so that the next life of the agent goes on where this one ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Its releases, and what is being rolled out.
    pub workload: Workload,
    /// What its document asked for when it was last followed.
    pub told: Option<WorkloadSpec>,
    /// Restarts that operators asked for; each is a release.
    pub restarts: u64,
    /// Copies that an operator asked for since the document was last followed.
    pub replicas: Option<u32>,
    /// An operator stopped it: what of it is on its way out.
    pub stopped: Option<Workload>,
    /// How requests are divided.
    pub split: Option<Split>,
    /// What the releases run.
    pub specs: BTreeMap<ReleaseId, Arc<WorkloadSpec>>,
    /// What has happened, the oldest first: milliseconds since 1970, and words.
    pub events: VecDeque<(u64, String)>,
    /// The processes of its copies, for the next life of the agent.
    #[serde(default)]
    pub processes: BTreeMap<CopyId, KeptProcess>,
    /// What runs it to its end, if that is what its document asks for.
    #[serde(default)]
    pub job: Option<Job>,
    /// What is known of copies whose processes have ended by themselves.
    #[serde(default)]
    pub copies: BTreeMap<CopyId, CopyPast>,
    /// When this was begun, in milliseconds since 1970; it tells apart workloads that have had the same name.
    #[serde(default)]
    pub began_ms: u64,
}

/// A process, as it is known again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct KeptProcess {
    pub pid: u32,
    /// See [`runtime::ProcessId::started`].
    pub started: u64,
    pub port: Option<u16>,
}

impl Kept {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            workload: Workload::new(now),
            told: None,
            restarts: 0,
            replicas: None,
            stopped: None,
            split: None,
            specs: BTreeMap::new(),
            events: VecDeque::new(),
            processes: BTreeMap::new(),
            job: None,
            copies: BTreeMap::new(),
            began_ms: now.0,
        }
    }

    /// Reads what the store has; `None` when there is nothing that this version can read.
    pub(super) fn load(catalog: &Catalog, node: &NodeName, name: &WorkloadName) -> Option<Self> {
        load(catalog, &record_name(node, name), name, Kept::is_readable)
    }

    fn is_readable(&self) -> bool {
        self.workload.is_readable() && self.job.as_ref().is_none_or(Job::is_readable)
    }

    /// It is being removed, for good.
    pub(super) fn is_removed(&self) -> bool {
        self.workload.is_removed() || self.job.as_ref().is_some_and(Job::is_removed)
    }

    /// An operator stopped it.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.is_some() || self.job.as_ref().is_some_and(Job::is_stopped)
    }

    /// Whether a document of this kind goes on with what is here, and is not something else of the same name.
    pub(super) fn goes_on_with(&self, kind: WorkloadKind) -> bool {
        match kind {
            WorkloadKind::Service => self.job.is_none(),
            WorkloadKind::Job => self.job.is_some() || self.workload.revision() == 0,
        }
    }

    /// Grows with every change of what decides.
    pub(super) fn revision(&self) -> u64 {
        self.workload.revision()
            + self.stopped.as_ref().map_or(0, Workload::revision)
            + self.job.as_ref().map_or(0, Job::revision)
    }

    pub(super) fn record(&self, node: &NodeName, name: &WorkloadName) -> Record {
        record(record_name(node, name), self)
    }

    /// The state machine that says what to do now.
    pub(super) fn machine(&mut self) -> &mut Workload {
        self.stopped.as_mut().unwrap_or(&mut self.workload)
    }

    /// Equal for equal copies that an operator did not ask to be started anew in between. How many there are, what each weighs,
    /// how they are replaced and what they wait for is not of the copies.
    pub(super) fn fingerprint(&self, spec: &WorkloadSpec) -> String {
        if spec.kind == WorkloadKind::Job {
            // How its end is awaited is not what is run.
            return format!("{}.{}", spec.template_hash(), self.restarts);
        }
        format!("{}.{}", content_version(&Self::of_copies(spec)), self.restarts)
    }

    /// What of a document is of the copies: equal where they need not be replaced.
    pub(super) fn of_copies(spec: &WorkloadSpec) -> WorkloadSpec {
        WorkloadSpec {
            replicas: 1,
            rollout: Rollout::default(),
            depends_on: Vec::new(),
            // Which is registered anew where they are.
            service: spec.service.clone().map(|it| Registration { weight: 1, ..it }),
            ..spec.clone()
        }
    }

    /// Remembers what a release runs, and forgets those that nobody can go back to.
    pub(super) fn remember(&mut self, fingerprint: &str, spec: &WorkloadSpec) {
        let workload = &self.workload;
        let known = [workload.target(), workload.stable(), workload.previous()];
        let is_it = |it: &&Release| it.fingerprint == fingerprint;
        if let Some(release) = known.into_iter().flatten().find(is_it) {
            self.specs.insert(release.id, Arc::new(spec.clone()));
        }
    }

    /// Forgets what releases ran that nobody can go back to, and that have no copies.
    pub(super) fn forget(&mut self, copies: &BTreeMap<CopyId, CopyHandle>) {
        let workload = &self.workload;
        self.specs.retain(|id, _| {
            let of_job = self.job.as_ref().is_some_and(|it| it.is_known(*id));
            of_job
                || workload.release(*id).is_some()
                || copies.keys().any(|copy| copy.release == *id)
        });
        let specs = &self.specs;
        self.copies.retain(|copy, _| specs.contains_key(&copy.release));
    }

    /// The weight of each copy of a release, as its document has it now.
    pub(super) fn weight_of(&self, release: ReleaseId) -> u16 {
        let spec = self.specs.get(&release);
        spec.and_then(|it| it.service.as_ref()).map_or(1, |it| it.weight)
    }

    pub(super) fn note(&mut self, text: String) {
        note(&mut self.events, text);
    }
}

/// Remembers something that has happened.
pub(super) fn note(events: &mut VecDeque<(u64, String)>, text: String) {
    if events.len() == EVENTS_MAX {
        events.pop_front();
    }
    events.push_back((runtime::unix_ms(), text));
}

/// Reads the state that the store has under a name; `None` when there is nothing that this version can read.
pub(super) fn load<T: DeserializeOwned>(
    catalog: &Catalog,
    record_name: &str,
    name: &WorkloadName,
    is_readable: impl Fn(&T) -> bool,
) -> Option<T> {
    let stored = catalog.record::<Setting>(record_name)?;
    match serde_json::from_value::<T>(stored.value.body.clone()) {
        Ok(kept) if is_readable(&kept) => Some(kept),
        Ok(_) => {
            tracing::error!(workload = %name, "its state is of another version, and begins anew");
            None
        }
        Err(error) => {
            tracing::error!(workload = %name, %error, "its state cannot be read, and begins anew");
            None
        }
    }
}

/// A state as the store keeps it.
pub(super) fn record(name: String, state: &impl Serialize) -> Record {
    let body = serde_json::to_value(state).expect("it has text keys only");
    Record::Setting(Setting { name, body })
}

/// What of a state machine the store has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Persisted {
    /// See [`Workload::revision`].
    revision: u64,
    /// Since when, in milliseconds since 1970; 0 for never.
    at_ms: u64,
}

impl Persisted {
    /// Whether it must be stored before anything is done by it. The evidence of a rollout alone is stored now and then.
    pub(super) fn is_due(&self, revision: u64, is_rolling: bool, now: Timestamp) -> bool {
        let is_old = now.0.saturating_sub(self.at_ms) >= EVIDENCE_PAUSE_MS;
        self.at_ms == 0 || revision != self.revision || is_old && is_rolling
    }

    pub(super) fn note(&mut self, revision: u64, now: Timestamp) {
        (self.revision, self.at_ms) = (revision, now.0);
    }
}

fn record_name(node: &NodeName, name: &WorkloadName) -> String {
    format!("workload/{}/{}/{}", node.folded(), name.namespace, name.name)
}

pub(super) fn record_key(node: &NodeName, name: &WorkloadName) -> RecordKey {
    RecordKey::new(Table::Setting, &record_name(node, name))
}

/// The names of all workloads whose state the store keeps for this node.
pub(super) fn stored_names(catalog: &Catalog, node: &NodeName) -> Vec<WorkloadName> {
    let prefix = format!("workload/{}/", node.folded());
    let stored = catalog.records_under::<Setting>(&prefix);
    stored
        .filter_map(|it| Some(WorkloadName::parse(it.value.name.strip_prefix(&prefix)?)))
        .collect()
}

/// Another workload that is waited for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Awaited {
    pub name: String,
    /// Why waiting alone is of no use; empty while it may come.
    pub trouble: &'static str,
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let apart = if self.trouble.is_empty() { "" } else { ", " };
        write!(f, "{}{apart}{}", self.name, self.trouble)
    }
}

/// A workload in memory.
pub(super) struct Running {
    pub kept: Kept,
    pub persisted: Persisted,
    pub copies: BTreeMap<CopyId, CopyHandle>,
    /// Revision from which on the proxies have the split.
    pub split_at: Revision,
    /// Copies that are not registered, and the revision at which that was first seen.
    pub gone: BTreeMap<CopyId, Revision>,
    pub tally: Tally,
    /// What keeps it from following its document.
    pub obstacles: Vec<String>,
    /// What it waits for before it starts.
    pub waits_for: Vec<Awaited>,
    /// Proxies that have not acknowledged yet what is waited for, and since when that is so, in milliseconds since 1970.
    pub unacknowledged: BTreeMap<String, u64>,
    /// When obstacles were last looked for, in milliseconds since 1970.
    pub looked_ms: u64,
    /// Releases whose logs were kept when the others were deleted last.
    pub logs_of: Option<BTreeSet<ReleaseId>>,
    /// Something has changed that the store does not have yet.
    pub is_dirty: bool,
}

impl Running {
    pub(super) fn new(kept: Kept, catalog: &Catalog) -> Self {
        Self {
            persisted: Persisted::default(),
            kept,
            copies: BTreeMap::new(),
            split_at: catalog.revision(),
            gone: BTreeMap::new(),
            tally: Tally::default(),
            obstacles: Vec::new(),
            waits_for: Vec::new(),
            unacknowledged: BTreeMap::new(),
            looked_ms: 0,
            logs_of: None,
            is_dirty: false,
        }
    }

    /// Remembers since when which proxies are waited for.
    pub(super) fn wait_for<'a>(&mut self, proxies: impl Iterator<Item = &'a String>, now_ms: u64) {
        let since = |name: &String| self.unacknowledged.get(name).copied().unwrap_or(now_ms);
        self.unacknowledged = proxies.map(|it| (it.clone(), since(it))).collect();
    }
}
