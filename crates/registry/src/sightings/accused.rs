use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use model::{Check, CheckStatus, Instance, Stored, Timestamp};

use super::uses::User;
use super::view::{SeenByProxy, SightingsState, SightingsView};
use super::words::{first_line, seen_by};
use super::{Life, Moment, PROXIES_MAX, Sighting, SightingKind, SightingRules};
use crate::CheckRun;

/// An instance that proxies have seen fail.
#[derive(Debug)]
pub(super) struct Accused {
    life: Life,
    proxies: BTreeMap<String, Seen>,
    stage: Stage,
    /// Times out of use that are not forgotten.
    in_a_row: u32,
    /// Since when it is in use, less what was counted for a time that was forgotten.
    calm_since: Instant,
    next: Option<Instant>,
}

#[derive(Debug)]
struct Seen {
    kind: SightingKind,
    count: u32,
    first: Moment,
    last: Moment,
    ejected_until: Instant,
    recovered: Option<Moment>,
}

#[derive(Debug)]
enum Stage {
    Watched,
    Spared(Spared),
    Against(Against),
}

#[derive(Debug)]
struct Spared {
    since: Moment,
    mercy: Mercy,
}

/// Why an instance is spared.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mercy {
    /// No other would be left.
    IsLast,
    /// Only so many of the usable ones would be left.
    Leaves { left: usize, usable: usize },
}

#[derive(Debug)]
struct Against {
    since: Moment,
    until: Instant,
    /// From then on what speaks for it ends it.
    eases: Instant,
    text: String,
}

/// What is known of an instance beside what proxies saw.
pub(super) struct Facts {
    pub runs: Vec<CheckRun>,
    /// When a check of it began to pass last.
    pub turned_well: Option<Timestamp>,
    pub uses: Vec<User>,
}

/// It is to be out of use.
pub(super) enum Wish {
    /// As it is already, since then.
    Stay(Instant),
    /// From now on, seen first at that time; with what is said of it.
    Take(Instant, String),
}

impl Wish {
    /// Smallest first.
    pub(super) fn rank(&self) -> (bool, std::cmp::Reverse<Option<Instant>>, Option<Instant>) {
        match self {
            Wish::Stay(since) => (false, std::cmp::Reverse(Some(*since)), None),
            Wish::Take(first, _) => (true, std::cmp::Reverse(None), Some(*first)),
        }
    }
}

impl Accused {
    pub(super) fn new(instance: &Stored<Instance>, now: Moment) -> Self {
        Self {
            life: Life::of(instance),
            proxies: BTreeMap::new(),
            stage: Stage::Watched,
            in_a_row: 0,
            calm_since: now.at,
            next: None,
        }
    }

    pub(super) fn is_of(&self, instance: &Stored<Instance>) -> bool {
        self.life == Life::of(instance)
    }

    pub(super) fn see(&mut self, instance: &Stored<Instance>, sighting: &Sighting, now: Moment) {
        if !self.is_of(instance) {
            self.absolve(now.at);
            self.life = Life::of(instance);
        }
        if self.proxies.len() >= PROXIES_MAX && !self.proxies.contains_key(&sighting.proxy) {
            return;
        }
        let ejected_until = now.at.checked_add(Duration::from_millis(sighting.ejected_ms));
        let ejected_until = ejected_until.unwrap_or(now.at);
        let seen = self.proxies.entry(sighting.proxy.clone()).or_insert_with(|| Seen {
            kind: sighting.kind,
            count: 0,
            first: now,
            last: now,
            ejected_until,
            recovered: None,
        });
        seen.kind = sighting.kind;
        seen.count = seen.count.saturating_add(1);
        (seen.last, seen.ejected_until, seen.recovered) = (now, ejected_until, None);
    }

    pub(super) fn recovered(&mut self, proxy: &str, now: Moment) {
        if let Some(seen) = self.proxies.get_mut(proxy) {
            seen.recovered = Some(now);
        }
    }

    /// What an earlier life of the agent said is gone on with.
    pub(super) fn take_up(&mut self, check: &Check, rules: &SightingRules, now: Moment) {
        self.in_a_row = 1;
        self.stage = Stage::Against(Against {
            since: Moment { at: now.at, wall: check.since },
            until: now.at + rules.hold_base,
            eases: now.at,
            text: format!("before this agent began: {}", first_line(&check.output)),
        });
    }

    /// Nothing that was seen counts any more; only how often it was out of use is remembered.
    pub(super) fn absolve(&mut self, now: Instant) {
        self.proxies.clear();
        self.end(now);
        self.next = None;
    }

    fn end(&mut self, now: Instant) {
        if let Stage::Against(_) = self.stage {
            self.calm_since = now;
        }
        self.stage = Stage::Watched;
    }

    /// Forgets one time out of use for each time that it was in use for long enough.
    pub(super) fn calm_down(&mut self, rules: &SightingRules, now: Instant) {
        if let Stage::Against(_) = self.stage {
            return;
        }
        while self.in_a_row > 0 && now.saturating_duration_since(self.calm_since) >= rules.calm {
            self.in_a_row -= 1;
            self.calm_since += rules.calm;
        }
    }

    /// Whether it is to be out of use, as far as it goes by this instance alone.
    pub(super) fn judge(
        &mut self,
        facts: &Facts,
        rules: &SightingRules,
        now: Moment,
    ) -> Option<Wish> {
        if let Stage::Against(against) = &self.stage {
            let is_over = now.at >= against.until;
            let is_answered = now.at >= against.eases && self.is_answered(facts);
            if !is_over && !is_answered && !self.is_another(facts) {
                let eases = Some(against.eases).filter(|it| *it > now.at);
                self.next = Some(eases.unwrap_or(against.until));
                return Some(Wish::Stay(against.since.at));
            }
            // It is let in again, and must be seen to fail again to be taken out.
            self.absolve(now.at);
            return None;
        }
        self.proxies.retain(|_, it| it.counts_until(rules) > now.at && it.recovered.is_none());
        if self.is_another(facts) || self.is_answered(facts) {
            self.proxies.clear();
        }
        self.next = self.proxies.values().map(|it| it.counts_until(rules)).min();
        let first = self.proxies.values().map(|it| it.first.at).min();
        let wish = first.and_then(|first| self.wish(first, facts, rules, now));
        if wish.is_none() {
            self.stage = Stage::Watched;
        }
        wish
    }

    fn wish(
        &mut self,
        first: Instant,
        facts: &Facts,
        rules: &SightingRules,
        now: Moment,
    ) -> Option<Wish> {
        let accusers = self.proxies.len();
        let others = facts.uses.iter().filter(|it| !self.proxies.contains_key(&it.proxy));
        let users = accusers + others.clone().count();
        if accusers * 2 < users {
            return None;
        }
        let patient_until = first + rules.patience;
        let is_patient = now.at < patient_until;
        // As many say this as that: then it counts what the others see from now on.
        let is_tie = accusers * 2 == users;
        let is_vouched = others.clone().any(|it| it.vouched.is_some_and(|at| at > first));
        let failed = self.failed_probe(facts);
        let awaits_probe = failed.is_none()
            && facts.runs.iter().any(CheckRun::is_probe)
            && !self.has_bad_answers();
        if is_tie && (is_vouched || is_patient) || awaits_probe && is_patient {
            if is_patient {
                self.next = self.next.into_iter().chain([patient_until]).min();
            }
            return None;
        }
        let mut text = self.provenance();
        if users > 1 {
            text.push_str(&format!("; {accusers} of {users} proxies that use it"));
        }
        if let Some(run) = failed {
            let said = run.last.as_ref().map_or("", |it| first_line(&it.output));
            text.push_str(&format!("; its check {} failed then: {said}", run.check));
        }
        Some(Wish::Take(first, text))
    }

    /// It is out of use from now on, or stays so.
    pub(super) fn take(&mut self, wish: Wish, rules: &SightingRules, now: Moment) {
        let Wish::Take(_, text) = wish else { return };
        // A proxy that would not use it would not see that it is well again.
        let ejected = self.proxies.values().map(|it| it.ejected_until).min();
        let ejected = ejected.map_or(Duration::ZERO, |it| it.saturating_duration_since(now.at));
        let hold = rules.hold(self.in_a_row).max(ejected).min(rules.hold_max);
        let (until, eases) = (now.at + hold, now.at + rules.ease(self.in_a_row));
        self.in_a_row = self.in_a_row.saturating_add(1).min(32);
        let until_text = now.wall_at(until).time_of_day();
        let text = format!("{text}; out of use until {until_text} UTC at the latest");
        self.next = Some(if eases > now.at { eases } else { until });
        self.stage = Stage::Against(Against { since: now, until, eases, text });
    }

    /// It is let in ahead of its time, and must be seen to fail again to be taken out. A time that was cut short is none
    /// that makes the next one longer.
    pub(super) fn let_in(&mut self, now: Instant) {
        self.absolve(now);
        self.in_a_row = self.in_a_row.saturating_sub(1);
    }

    /// It would be out of use, and is not; `trial`: until when others are let in instead.
    pub(super) fn spare(&mut self, mercy: Mercy, trial: Option<Instant>, now: Moment) {
        let since = match &self.stage {
            Stage::Spared(spared) => spared.since,
            Stage::Watched | Stage::Against(_) => now,
        };
        self.next = self.next.into_iter().chain(trial).min();
        self.stage = Stage::Spared(Spared { since, mercy });
    }

    pub(super) fn is_spared(&self) -> bool {
        match self.stage {
            Stage::Spared(_) => true,
            Stage::Watched | Stage::Against(_) => false,
        }
    }

    /// What is said against it, if it is to be out of use.
    pub(super) fn is_against(&self) -> Option<&str> {
        match &self.stage {
            Stage::Against(against) => Some(&against.text),
            Stage::Watched | Stage::Spared(_) => None,
        }
    }

    pub(super) fn is_under_way(&self) -> bool {
        !self.proxies.is_empty() || self.is_against().is_some()
    }

    pub(super) fn is_forgotten(&self) -> bool {
        !self.is_under_way() && self.in_a_row == 0
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// When it was seen to fail last; what an earlier life saw was before this one began.
    fn last_seen(&self) -> Option<Moment> {
        let since = match &self.stage {
            Stage::Against(against) => Some(against.since),
            Stage::Watched | Stage::Spared(_) => None,
        };
        let last = self.proxies.values().map(|it| it.last).max_by_key(|it| it.at);
        last.or(since)
    }

    /// A check has begun to pass since: what was seen was before that.
    fn is_another(&self, facts: &Facts) -> bool {
        let seen = self.last_seen().map(|it| it.wall);
        seen.is_some_and(|seen| facts.turned_well.is_some_and(|well| well > seen))
    }

    /// Every proxy has seen it succeed since, or all its probes have, if nobody complains of its answers.
    fn is_answered(&self, facts: &Facts) -> bool {
        let Some(seen) = self.last_seen() else { return false };
        let is_recovered =
            !self.proxies.is_empty() && self.proxies.values().all(|it| it.recovered.is_some());
        let mut probes = facts.runs.iter().filter(|it| it.is_probe()).peekable();
        let is_probed = probes.peek().is_some()
            && probes.all(|it| {
                it.last.as_ref().is_some_and(|last| {
                    last.started > seen.at && last.status != CheckStatus::Critical
                })
            });
        is_recovered || is_probed && !self.has_bad_answers()
    }

    fn failed_probe<'a>(&self, facts: &'a Facts) -> Option<&'a CheckRun> {
        let first = self.proxies.values().map(|it| it.first.at).min()?;
        facts.runs.iter().filter(|it| it.is_probe()).find(|it| {
            let last = it.last.as_ref();
            last.is_some_and(|it| it.started > first && it.status == CheckStatus::Critical)
        })
    }

    fn has_bad_answers(&self) -> bool {
        self.proxies.values().any(|it| it.kind.is_answer() && it.recovered.is_none())
    }

    /// Who saw what.
    fn provenance(&self) -> String {
        let seen = self.proxies.iter().map(|it| seen_by(it.0, it.1.kind, it.1.count, it.1.last));
        seen.collect::<Vec<_>>().join("; ")
    }

    /// Why it is in use although proxies see it fail.
    fn mercy(&self, mercy: Mercy) -> String {
        let mut seen: Vec<&str> = self.proxies.values().map(|it| it.kind.words()).collect();
        seen.sort_unstable();
        seen.dedup();
        let but = match mercy {
            Mercy::IsLast => "it is the last one".to_owned(),
            Mercy::Leaves { left, usable } => {
                format!("without it {left} of {usable} usable instances would be left")
            }
        };
        format!("spared: proxies see it fail ({}), but {but}", seen.join(", "))
    }

    pub(super) fn view(&self, rules: &SightingRules, now: Moment) -> SightingsView {
        let seen_since = self.proxies.values().map(|it| it.first.wall).min();
        let (state, since, until, eases, text) = match &self.stage {
            Stage::Watched if self.proxies.is_empty() => {
                let calm = now.wall_at(self.calm_since);
                let text = "was out of use for it, and is in use again".to_owned();
                (SightingsState::Watched, calm, None, None, text)
            }
            Stage::Watched => {
                let text = format!("{}; not enough to take it out of use", self.provenance());
                let since = seen_since.unwrap_or(now.wall);
                (SightingsState::Watched, since, self.next, None, text)
            }
            Stage::Spared(spared) => {
                let text = format!("{}; {}", self.mercy(spared.mercy), self.provenance());
                (SightingsState::Spared, spared.since.wall, self.next, None, text)
            }
            Stage::Against(against) => {
                let (until, eases) = (Some(against.until), Some(against.eases));
                let (since, text) = (against.since.wall, against.text.clone());
                (SightingsState::Against, since, until, eases, text)
            }
        };
        let hold = rules.hold(self.in_a_row).as_millis();
        SightingsView {
            state,
            since,
            until: until.map(|it| now.wall_at(it)),
            eases: eases.map(|it| now.wall_at(it)),
            text,
            times_in_a_row: self.in_a_row,
            next_hold_ms: u64::try_from(hold).unwrap_or(u64::MAX),
            proxies: self.proxies.iter().map(|(proxy, it)| it.view(proxy, now)).collect(),
        }
    }
}

impl Seen {
    fn counts_until(&self, rules: &SightingRules) -> Instant {
        (self.last.at + rules.memory).max(self.ejected_until)
    }

    fn view(&self, proxy: &str, now: Moment) -> SeenByProxy {
        SeenByProxy {
            proxy: proxy.to_owned(),
            kind: self.kind,
            words: self.kind.words(),
            count: self.count,
            first: self.first.wall,
            last: self.last.wall,
            ejected_until: (self.ejected_until > now.at).then(|| now.wall_at(self.ejected_until)),
            recovered: self.recovered.map(|it| it.wall),
        }
    }
}
