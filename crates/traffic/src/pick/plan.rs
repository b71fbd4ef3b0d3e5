use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use proxy_config::{Balancing, Place};

use super::set::{Set, Turn};
use super::standing::{Health, Standing};
use super::table::Table;
use crate::cluster::Roster;
use crate::locality::{self, Presence, ZoneRouting};
use crate::priority::{Census, Loads};
use crate::schedule::Schedule;

/// All candidates of a cluster as of one moment, so that a pick looks at none that it does not
/// pick. Replaced whole when an endpoint becomes usable or ceases to be.
///
/// O(endpoints × (1 + subset selectors)) to make, without the tables.
#[derive(Debug)]
pub(crate) struct Plan {
    /// So many were published before by the same state.
    pub number: u64,
    /// Membership that it was made for.
    pub epoch: u64,
    /// End of the first ejection that will end; no ejection: `u64::MAX`.
    pub until_ns: u64,
    /// No endpoint is in slow start from then on.
    pub ramp_until_ns: u64,
    /// Tables have places of endpoints that are not to be used.
    pub tables_stale: bool,
    /// By number of the part.
    pub parts: Box<[Part]>,
    /// By index of the endpoint.
    pub standings: Box<[Standing]>,
}

/// Candidates of the whole cluster or of a subset.
#[derive(Debug)]
pub(crate) struct Part {
    pub loads: Loads,
    pub tiers: Box<[Tier]>,
    /// All that are well are ejected, so ejections are ignored.
    pub ejections_ignored: bool,
}

/// Candidates of one priority.
#[derive(Debug)]
pub(crate) struct Tier {
    pub healthy: Group,
    pub degraded: Group,
    /// All, in panic.
    pub everyone: Option<Group>,
    /// Places of all that may ever be candidates, for when there is no better table.
    full: Option<Arc<Table>>,
}

/// Candidates of one priority that are equally well.
#[derive(Debug)]
pub(crate) struct Group {
    pub all: Set,
    pub spread: Spread,
}

/// How requests are spread over localities.
#[derive(Debug)]
pub(crate) enum Spread {
    /// Not.
    None,
    /// In turns by weight.
    ByWeight { schedule: Schedule, turn: Arc<Turn>, sets: Box<[(u32, Set)]> },
    /// By where the proxy is.
    ByZone { routing: ZoneRouting, enabled_percent: u8, sets: Box<[(u32, Set)]> },
}

/// Which tables are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tables {
    /// All that are needed: takes milliseconds, so not on a request's way.
    Exact,
    /// None: those there are are used, and places of endpoints that are gone are passed over.
    Kept,
}

/// What goes on from the plan before.
#[derive(Clone, Copy)]
pub(crate) struct Heritage<'a> {
    pub plan: &'a Plan,
    /// For each part its number there; `None`: the same.
    pub numbers: Option<&'a [Option<usize>]>,
    /// It is of the same configuration, so the same places are meant.
    pub same_endpoints: bool,
}

impl Plan {
    pub(crate) fn new(
        roster: &Roster,
        epoch: u64,
        now_ns: u64,
        before: Option<Heritage<'_>>,
        tables: Tables,
    ) -> Self {
        let narrowing = &roster.cluster.narrowing;
        let standings: Box<[Standing]> = roster
            .each()
            .map(|(endpoint, state)| Standing::of(endpoint, state, narrowing, now_ns))
            .collect();
        let (mut until_ns, mut ramp_until_ns) = (u64::MAX, 0);
        let window_ns = narrowing.slow_start.map(|it| it.window.as_nanos() as u64);
        for ((_, state), standing) in roster.each().zip(&standings) {
            if standing.ejected {
                until_ns = until_ns.min(state.ejected_until_ns());
            }
            if let Some(window_ns) = window_ns {
                standing.note(state, now_ns);
                let since_ns = state.usable_since_ns.load(Relaxed);
                if since_ns > 0 {
                    ramp_until_ns = ramp_until_ns.max(since_ns.saturating_add(window_ns));
                }
            }
        }
        let builder = Builder { roster, standings: &standings, tables, stale: Cell::new(false) };
        let parts = (0..roster.parts.members().len()).map(|number| {
            let before = before.and_then(|before| {
                let number = before.numbers.map_or(Some(number), |numbers| numbers[number])?;
                Some((before.plan.parts.get(number)?, before.same_endpoints))
            });
            builder.part(&roster.parts.members()[number], before)
        });
        let parts = parts.collect();
        let tables_stale = builder.stale.get();
        Self { number: 0, epoch, until_ns, ramp_until_ns, tables_stale, parts, standings }
    }
}

struct Builder<'a> {
    roster: &'a Roster,
    standings: &'a [Standing],
    tables: Tables,
    stale: Cell<bool>,
}

/// Endpoints of one locality of one priority.
#[derive(Default)]
struct Lists {
    healthy: Vec<u32>,
    degraded: Vec<u32>,
    everyone: Vec<u32>,
    all: usize,
    excluded: usize,
}

impl Builder<'_> {
    fn part(&self, members: &[u32], before: Option<(&Part, bool)>) -> Part {
        let standing = |member: &u32| self.standings[*member as usize];
        let ejections_ignored = members.iter().any(|it| standing(it).is_well())
            && !members.iter().any(|it| standing(it).is_usable());
        let mut priorities: Vec<BTreeMap<u32, Lists>> = Vec::new();
        priorities.resize_with(self.roster.priorities, BTreeMap::new);
        for member in members {
            let spot = self.roster.spot(*member);
            let lists = priorities[spot.priority].entry(spot.locality).or_default();
            let standing = standing(member);
            let in_use = ejections_ignored || !standing.ejected;
            lists.all += 1;
            lists.excluded += usize::from(standing.health == Health::Excluded);
            match standing.health {
                Health::Healthy if in_use => lists.healthy.push(*member),
                Health::Degraded if in_use => lists.degraded.push(*member),
                Health::Healthy
                | Health::Degraded
                | Health::Unhealthy
                | Health::Draining
                | Health::Excluded => {}
            }
            if standing.health != Health::Draining {
                lists.everyone.push(*member);
            }
        }
        let census: Vec<Census> = priorities.iter().map(census).collect();
        let percent = self.roster.endpoints.overprovisioning_percent;
        let loads = Loads::new(&census, percent, &self.roster.cluster.narrowing);
        let tiers = priorities.into_iter().enumerate().map(|(priority, lists)| {
            let before = before.and_then(|(part, same)| Some((part.tiers.get(priority)?, same)));
            self.tier(lists, before, priority, loads.panic[priority])
        });
        let tiers = tiers.collect();
        Part { loads, tiers, ejections_ignored }
    }

    fn tier(
        &self,
        lists: BTreeMap<u32, Lists>,
        before: Option<(&Tier, bool)>,
        priority: usize,
        panic: bool,
    ) -> Tier {
        let (mut healthy, mut degraded, mut everyone) = (Vec::new(), Vec::new(), Vec::new());
        for (locality, it) in lists {
            healthy.push(Local { locality, all: it.all, members: it.healthy });
            degraded.push(Local { locality, all: it.all, members: it.degraded });
            everyone.push(Local { locality, all: it.all, members: it.everyone });
        }
        let then = |group: fn(&Tier) -> Option<&Group>| before.and_then(|it| group(it.0));
        if self.roster.cluster.balancing.is_consistent() {
            let same = before.filter(|it| it.1).map(|it| it.0);
            let full = match same.and_then(|it| it.full.clone()) {
                Some(full) => Some(full),
                None => {
                    let (members, weights) = self.shares(&everyone);
                    self.table(&members, &weights)
                }
            };
            let known = |group: Option<&Group>| {
                let own = group.filter(|_| same.is_some()).and_then(|it| it.all.table());
                own.into_iter().chain(&full).cloned().collect::<Vec<_>>()
            };
            let group = |locals: &[Local], group| self.hashed(locals, &known(group));
            return Tier {
                healthy: group(&healthy, then(|it| Some(&it.healthy))),
                degraded: group(&degraded, then(|it| Some(&it.degraded))),
                everyone: panic.then(|| group(&everyone, then(|it| it.everyone.as_ref()))),
                full,
            };
        }
        let zone = priority == 0;
        Tier {
            healthy: self.group(healthy, then(|it| Some(&it.healthy)), zone),
            degraded: self.group(degraded, then(|it| Some(&it.degraded)), false),
            everyone: panic.then(|| self.group(everyone, then(|it| it.everyone.as_ref()), false)),
            full: None,
        }
    }

    fn group(&self, locals: Vec<Local>, before: Option<&Group>, zone: bool) -> Group {
        let mut members: Vec<u32> = locals.iter().flat_map(|it| it.members.clone()).collect();
        members.sort_unstable();
        let all = self.set(members, before.map(|it| &it.all));
        let spread = if self.roster.cluster.narrowing.locality_weighted {
            self.by_weight(locals, before)
        } else if zone {
            self.by_zone(locals, before)
        } else {
            Spread::None
        };
        Group { all, spread }
    }

    fn set(&self, members: Vec<u32>, before: Option<&Set>) -> Set {
        Set::new(members, self.roster, || {
            before.and_then(Set::turn).cloned().unwrap_or_else(|| self.first_turn())
        })
    }

    fn first_turn(&self) -> Arc<Turn> {
        Arc::new(Turn(AtomicU64::new(self.roster.first_turn)))
    }

    /// Localities in turns by weight: an exact proportional interleave like Envoy's earliest
    /// deadline first, though not the same sequence.
    fn by_weight(&self, locals: Vec<Local>, before: Option<&Group>) -> Spread {
        let presences: Vec<Presence> = locals
            .iter()
            .map(|it| Presence {
                weight: self.roster.locality(it.locality).and_then(|it| it.weight).unwrap_or(0),
                all: it.all,
                usable: it.members.len(),
            })
            .collect();
        let percent = self.roster.endpoints.overprovisioning_percent;
        let weights = locality::effective_weights(&presences, percent);
        let (before, turn) = match before.map(|it| &it.spread) {
            Some(Spread::ByWeight { turn, sets, .. }) => (&**sets, Arc::clone(turn)),
            _ => (&[][..], self.first_turn()),
        };
        let locals = locals.into_iter().zip(&weights).filter(|it| *it.1 > 0).map(|it| it.0);
        let sets = self.sets(locals, before);
        if sets.is_empty() {
            return Spread::None;
        }
        let schedule = Schedule::weighted(weights.iter().copied().filter(|it| *it > 0));
        Spread::ByWeight { schedule, turn, sets }
    }

    fn by_zone(&self, locals: Vec<Local>, before: Option<&Group>) -> Spread {
        let narrowing = &self.roster.cluster.narrowing;
        let (Some(zone), Some(home)) = (&narrowing.zone_aware, &self.roster.home) else {
            return Spread::None;
        };
        let nowhere = Place::default();
        let place = |it: &Local| self.roster.locality(it.locality).map_or(&nowhere, |it| &it.place);
        let upstream: Vec<_> = locals.iter().map(|it| (place(it), it.members.len())).collect();
        let threshold = narrowing.panic_threshold_percent;
        let Some(routing) = ZoneRouting::new(zone, home, &upstream, threshold) else {
            return Spread::None;
        };
        let before = match before.map(|it| &it.spread) {
            Some(Spread::ByZone { sets, .. }) => &**sets,
            _ => &[][..],
        };
        let sets = self.sets(locals.into_iter(), before);
        Spread::ByZone { routing, enabled_percent: zone.enabled_percent, sets }
    }

    fn sets(
        &self,
        locals: impl Iterator<Item = Local>,
        before: &[(u32, Set)],
    ) -> Box<[(u32, Set)]> {
        locals
            .map(|local| {
                let before = before.iter().find(|it| it.0 == local.locality).map(|it| &it.1);
                (local.locality, self.set(local.members, before))
            })
            .collect()
    }

    /// A set with a table: one of the known ones, or a new one.
    fn hashed(&self, locals: &[Local], known: &[Arc<Table>]) -> Group {
        let (members, weights) = self.shares(locals);
        let spread = Spread::None;
        if members.is_empty() {
            return Group { all: self.set(members, None), spread };
        }
        let percent = match self.roster.cluster.balancing {
            Balancing::RingHash(ring) => ring.load_max_percent,
            Balancing::Maglev(maglev) => maglev.load_max_percent,
            Balancing::Random
            | Balancing::RoundRobin
            | Balancing::Weighted
            | Balancing::LeastRequest(_)
            | Balancing::PeakEwma(_) => None,
        };
        let same = known.iter().find(|it| it.members() == members && it.weights() == weights);
        if let Some(table) = same {
            let all = Set::hashed(members, Arc::clone(table), None, percent);
            return Group { all, spread };
        }
        if self.tables == Tables::Kept {
            for table in known {
                if let Some(gone) = gone(table, &members) {
                    self.stale.set(true);
                    let all = Set::hashed(members, Arc::clone(table), Some(gone), percent);
                    return Group { all, spread };
                }
            }
        }
        let all = match self.table(&members, &weights) {
            Some(table) => Set::hashed(members, table, None, percent),
            None => self.set(members, None),
        };
        Group { all, spread }
    }

    fn table(&self, members: &[u32], weights: &[f64]) -> Option<Arc<Table>> {
        let endpoint = |it| (self.roster.endpoint(it), &**self.roster.state(it));
        Table::new(self.roster.cluster.balancing, members, weights, endpoint).map(Arc::new)
    }

    /// Members with their shares of 1, by Envoy's arithmetic: of the locality's share where
    /// localities have weights (those of weight 0 have none), else of all.
    fn shares(&self, locals: &[Local]) -> (Vec<u32>, Vec<f64>) {
        let weight = |it: &Local| self.roster.locality(it.locality)?.weight;
        let total: u64 = locals.iter().map(|it| u64::from(weight(it).unwrap_or(0))).sum();
        let (mut members, mut weights) = (Vec::new(), Vec::new());
        let mut add = |list: &[u32], share: f64| {
            let weight = |it: &u32| f64::from(self.roster.endpoint(*it).weight.max(1));
            let sum: f64 = list.iter().map(weight).sum();
            members.extend_from_slice(list);
            weights.extend(list.iter().map(|it| weight(it) * share / sum));
        };
        if self.roster.cluster.narrowing.locality_weighted && total > 0 {
            for local in locals {
                let weight = weight(local).unwrap_or(0);
                if weight > 0 {
                    add(&local.members, f64::from(weight) / total as f64);
                }
            }
        } else {
            let mut all: Vec<u32> = locals.iter().flat_map(|it| it.members.clone()).collect();
            all.sort_unstable();
            add(&all, 1.0);
        }
        (members, weights)
    }
}

/// Endpoints of a group in one locality.
struct Local {
    locality: u32,
    /// Also those that are not in the group.
    all: usize,
    members: Vec<u32>,
}

fn census(lists: &BTreeMap<u32, Lists>) -> Census {
    let sum = |part: fn(&Lists) -> usize| lists.values().map(part).sum();
    Census {
        all: sum(|it| it.all),
        excluded: sum(|it| it.excluded),
        healthy: sum(|it| it.healthy.len()),
        degraded: sum(|it| it.degraded.len()),
    }
}

/// Which members of the table are not in the list; `None` when the table lacks one of the list.
fn gone(table: &Table, list: &[u32]) -> Option<Box<[bool]>> {
    let list: foldhash::HashSet<u32> = list.iter().copied().collect();
    let gone: Box<[bool]> = table.members().iter().map(|it| !list.contains(it)).collect();
    (gone.iter().filter(|gone| !**gone).count() == list.len()).then_some(gone)
}
