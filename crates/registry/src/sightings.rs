use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use model::{Catalog, Check, Folded, Instance, Revision, ServiceId, Stored, Timestamp};

use crate::verdict::state_without_sightings;
use crate::{CheckRun, Command};
use accused::{Accused, Facts, Wish};
use floor::Trials;
use uses::Uses;
pub use view::{SeenByProxy, SightingsState, SightingsView};

mod accused;
mod floor;
#[cfg(test)]
#[allow(clippy::disallowed_methods)] // Some instant is needed to count from.
mod tests;
mod uses;
mod view;
mod words;

/// Most proxies that are remembered to speak against one instance. More would not change what is decided: a mesh of more
/// proxies than that has other things than names to tell of them.
const PROXIES_MAX: usize = 64;

/// Something that a proxy saw of an endpoint and tells the registry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sighting {
    /// Name of the proxy.
    pub proxy: String,
    /// Id of the endpoint: `node/instance id`.
    pub endpoint: String,
    /// What was seen.
    pub kind: SightingKind,
    /// For how long the proxy itself does not use it from then on; 0 when it does.
    pub ejected_ms: u64,
}

/// What a proxy saw. The words are those of the proxies' own logs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SightingKind {
    /// A connection was refused, or the address is unreachable.
    ConnectFailed,
    /// A connection was not established in time.
    ConnectTimedOut,
    /// A fresh connection broke before a response.
    BrokenBeforeResponse,
    /// Server errors in a row.
    ConsecutiveErrors,
    /// Errors of a gateway (502, 503, 504) in a row.
    GatewayFailures,
    /// A success rate far below that of the others.
    SuccessRate,
    /// A share of failures over the threshold.
    FailurePercentage,
    /// The first success after an ejection.
    Recovered,
}

impl SightingKind {
    /// All of them.
    pub const ALL: [SightingKind; 8] = [
        SightingKind::ConnectFailed,
        SightingKind::ConnectTimedOut,
        SightingKind::BrokenBeforeResponse,
        SightingKind::ConsecutiveErrors,
        SightingKind::GatewayFailures,
        SightingKind::SuccessRate,
        SightingKind::FailurePercentage,
        SightingKind::Recovered,
    ];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            SightingKind::ConnectFailed => "connect-failed",
            SightingKind::ConnectTimedOut => "connect-timed-out",
            SightingKind::BrokenBeforeResponse => "broken-before-response",
            SightingKind::ConsecutiveErrors => "consecutive-errors",
            SightingKind::GatewayFailures => "gateway-failures",
            SightingKind::SuccessRate => "success-rate",
            SightingKind::FailurePercentage => "failure-percentage",
            SightingKind::Recovered => "recovered",
        }
    }

    /// Reads the word for it; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }

    /// Whether the instance answered, only badly. A check that merely reaches it says nothing against that.
    #[must_use]
    pub fn is_answer(self) -> bool {
        match self {
            SightingKind::ConsecutiveErrors
            | SightingKind::GatewayFailures
            | SightingKind::SuccessRate
            | SightingKind::FailurePercentage => true,
            SightingKind::ConnectFailed
            | SightingKind::ConnectTimedOut
            | SightingKind::BrokenBeforeResponse
            | SightingKind::Recovered => false,
        }
    }
}

/// One moment on the two clocks: what is counted goes by one, what is told by the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// By the clock that does not jump.
    pub at: Instant,
    /// By the wall clock.
    pub wall: Timestamp,
}

impl Moment {
    /// What the wall clock shows at another time, seen from this moment.
    #[must_use]
    pub fn wall_at(self, at: Instant) -> Timestamp {
        match at.checked_duration_since(self.at) {
            Some(ahead) => self.wall.plus(ahead),
            None => {
                let back = self.at.saturating_duration_since(at).as_millis();
                Timestamp(self.wall.0.saturating_sub(u64::try_from(back).unwrap_or(u64::MAX)))
            }
        }
    }
}

/// The rules by which what proxies see becomes a verdict; docs/decisions/0013 says why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SightingRules {
    /// How long an instance is out of use the first time; each further time twice as long.
    pub hold_base: Duration,
    /// Longest time out of use.
    pub hold_max: Duration,
    /// How long an instance must be in use for one time out of use to be forgotten.
    pub calm: Duration,
    /// Most of a service's otherwise usable instances that may be out of use for what proxies see, in percent. One stays
    /// whatever this says.
    pub taken_percent_max: u8,
    /// How long a failing or passing probe, or another proxy's word, is waited for before what was seen counts by itself.
    pub patience: Duration,
    /// A proxy uses an instance that it has sent a request to within this time.
    pub lately: Duration,
    /// How long what a proxy saw counts, if it does not eject the instance for longer.
    pub memory: Duration,
    /// How long a trial of instances that are let in ahead of their time takes the first time, and is nothing else changed
    /// for that reason; each further time within `calm` twice as long.
    pub trial_base: Duration,
    /// Longest trial.
    pub trial_max: Duration,
}

impl Default for SightingRules {
    fn default() -> Self {
        Self {
            hold_base: Duration::from_secs(5),
            hold_max: Duration::from_secs(300),
            calm: Duration::from_secs(60),
            taken_percent_max: 50,
            patience: Duration::from_millis(500),
            lately: Duration::from_secs(30),
            memory: Duration::from_secs(10),
            trial_base: Duration::from_secs(1),
            trial_max: Duration::from_secs(4),
        }
    }
}

impl SightingRules {
    /// How long an instance is out of use that has been so `in_a_row` times before.
    #[must_use]
    pub fn hold(&self, in_a_row: u32) -> Duration {
        self.hold_base.saturating_mul(1 << in_a_row.min(20)).min(self.hold_max)
    }

    /// How much of that must be over before a passing probe, or a success, ends it: nothing the first time, a quarter later.
    #[must_use]
    pub fn ease(&self, in_a_row: u32) -> Duration {
        if in_a_row == 0 { Duration::ZERO } else { self.hold(in_a_row) / 4 }
    }

    /// How long a trial takes before which there were so many.
    #[must_use]
    pub fn trial(&self, in_a_row: u32) -> Duration {
        self.trial_base.saturating_mul(1 << in_a_row.min(20)).min(self.trial_max)
    }

    /// Of so many usable instances of a service, how many may be out of use.
    #[must_use]
    pub fn may_take(&self, usable: usize) -> usize {
        let share = usable * usize::from(self.taken_percent_max.min(100)) / 100;
        share.min(usable.saturating_sub(1))
    }
}

type Key = (Folded, ServiceId);

/// Judges instances by what proxies see of them.
///
/// What counts is decided by [`Sightings::look`], which compares with the catalog and returns the commands that make it
/// say so; it is to be called after news of any kind, and at [`Sightings::poll_timeout`].
#[derive(Debug, Default)]
pub struct Sightings {
    rules: SightingRules,
    accused: BTreeMap<Key, Accused>,
    uses: Uses,
    trials: Trials,
}

/// The instance that an endpoint of a proxy stands for. The name of a node may hold slashes, and so may an id.
#[must_use]
pub fn instance_of_endpoint<'a>(
    catalog: &'a Catalog,
    endpoint: &str,
) -> Option<&'a Stored<Instance>> {
    endpoint.match_indices('/').find_map(|(at, _)| {
        let (node, id) = (Folded::new(&endpoint[..at]), ServiceId::from(&endpoint[at + 1..]));
        catalog.instance(&node, &id).map(|it| &**it)
    })
}

impl Sightings {
    /// A judge by these rules.
    #[must_use]
    pub fn new(rules: SightingRules) -> Self {
        Self { rules, ..Self::default() }
    }

    /// Takes in what a proxy saw. `in_rollout`: the instance is one of a workload that is being rolled out, whose answers
    /// are judged by the rollout. Returns the instance, whose checks are worth a run now; `None` when there is none.
    pub fn see<'a>(
        &mut self,
        catalog: &'a Catalog,
        sighting: &Sighting,
        in_rollout: bool,
        now: Moment,
    ) -> Option<&'a Stored<Instance>> {
        let instance = instance_of_endpoint(catalog, &sighting.endpoint)?;
        let key = (instance.node.folded(), instance.id.clone());
        if sighting.kind == SightingKind::Recovered {
            if let Some(accused) = self.accused.get_mut(&key) {
                accused.recovered(&sighting.proxy, now);
            }
            return Some(instance);
        }
        let is_ours = state_without_sightings(catalog, instance).is_usable();
        if is_ours && !(in_rollout && sighting.kind.is_answer()) {
            let accused = self.accused.entry(key).or_insert_with(|| Accused::new(instance, now));
            accused.see(instance, sighting, now);
        }
        Some(instance)
    }

    /// Takes in what proxies have counted so far of their endpoints: successes and failures of each.
    pub fn sample(
        &mut self,
        counts: impl IntoIterator<Item = (String, BTreeMap<String, (u64, u64)>)>,
        now: Instant,
    ) {
        self.uses.sample(counts, now);
    }

    /// Takes up what the catalog says that this judge knows nothing of: an earlier life of the agent said it, or a
    /// snapshot that was restored. It ends with the shortest time out of use, or with a passing probe.
    pub fn take_up(&mut self, catalog: &Catalog, now: Moment) {
        for check in catalog.checks().filter(|it| it.is_sightings()) {
            let key = (check.node.folded(), check.service_id.clone());
            let is_whole = check.id == Check::sightings_id(&check.service_id);
            if is_whole
                && !self.accused.contains_key(&key)
                && let Some(instance) = catalog.instance(&key.0, &key.1)
            {
                let mut accused = Accused::new(instance, now);
                accused.take_up(check, &self.rules, now);
                self.accused.insert(key, accused);
            }
        }
    }

    /// Whether anything is under way that a run of a check or a change of the catalog may decide.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        self.accused.values().any(Accused::is_under_way)
    }

    /// Instances whose probes are worth a run now and then, for one that passes would end it.
    pub fn against<'a>(
        &'a self,
        catalog: &'a Catalog,
    ) -> impl Iterator<Item = &'a Stored<Instance>> + 'a {
        let against = self.accused.iter().filter(|it| it.1.is_against().is_some());
        against.filter_map(|it| catalog.instance(&it.0.0, &it.0.1)).map(|it| &**it)
    }

    /// Services of the instances that something was seen of.
    pub fn services<'a>(&'a self, catalog: &'a Catalog) -> impl Iterator<Item = Folded> + 'a {
        let instances = self.accused.keys().filter_map(|key| catalog.instance(&key.0, &key.1));
        instances.map(|it| Folded::new(it.service.as_str()))
    }

    /// Decides anew. Returns what must become true; a command that failed is returned again.
    pub fn look(
        &mut self,
        catalog: &Catalog,
        runs: impl Fn(&Instance) -> Vec<CheckRun>,
        now: Moment,
    ) -> Vec<Command> {
        let mut wishes: BTreeMap<Folded, Vec<(Wish, Key)>> = BTreeMap::new();
        for (key, accused) in &mut self.accused {
            accused.calm_down(&self.rules, now.at);
            let instance = catalog.instance(&key.0, &key.1);
            let instance = instance.filter(|it| accused.is_of(it));
            let Some(instance) =
                instance.filter(|it| state_without_sightings(catalog, it).is_usable())
            else {
                accused.absolve(now.at);
                continue;
            };
            let facts = Facts {
                runs: runs(instance),
                turned_well: turned_well(catalog, instance),
                uses: self.uses.of(&instance.endpoint_id(), now.at, self.rules.lately),
            };
            if let Some(wish) = accused.judge(&facts, &self.rules, now) {
                let service = Folded::new(instance.service.as_str());
                wishes.entry(service).or_default().push((wish, key.clone()));
            }
        }
        self.trials.forget(self.rules.calm, now.at);
        for (service, wishes) in wishes {
            self.grant(catalog, &service, wishes, now);
        }
        let commands = self.commands(catalog);
        self.accused.retain(|key, it| !it.is_forgotten() || has_check(catalog, key));
        commands
    }

    /// When the next change is due; `None` when nothing changes by time alone.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.accused.values().filter_map(Accused::next).min()
    }

    /// What is seen of an instance, in words; `None` when nothing is.
    #[must_use]
    pub fn view(&self, node: &Folded, id: &ServiceId, now: Moment) -> Option<SightingsView> {
        let accused = self.accused.get(&(node.clone(), id.clone()))?;
        Some(accused.view(&self.rules, now))
    }

    fn commands(&self, catalog: &Catalog) -> Vec<Command> {
        let command = |(key, accused): (&Key, &Accused)| {
            let instance = catalog.instance(&key.0, &key.1)?;
            let seen = accused.is_against().map(str::to_owned);
            (seen.is_some() != has_check(catalog, key)).then(|| Command::SetSightings {
                node: instance.node.clone(),
                id: instance.id.clone(),
                seen,
            })
        };
        self.accused.iter().filter_map(command).collect()
    }
}

fn has_check(catalog: &Catalog, key: &Key) -> bool {
    catalog.check(&key.0, &Check::sightings_id(&key.1)).is_some()
}

/// When a check of the instance began to pass last: since then it has been another one than before.
fn turned_well(catalog: &Catalog, instance: &Instance) -> Option<Timestamp> {
    let checks = catalog.checks_of_instance(&instance.node.folded(), &instance.id);
    let well = checks.filter(|it| !it.is_sightings() && it.status == model::CheckStatus::Passing);
    well.map(|it| it.since).max()
}

/// What makes an instance of an id the one that it was.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Life {
    created: Revision,
    address: String,
    port: u16,
}

impl Life {
    fn of(instance: &Stored<Instance>) -> Self {
        Self { created: instance.created, address: instance.address.clone(), port: instance.port }
    }
}
