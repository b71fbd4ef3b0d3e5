use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use model::{Catalog, Folded};

use super::accused::{Mercy, Wish};
use super::{Key, Moment, SightingRules, Sightings};
use crate::verdict::state_without_sightings;

/// When instances of a service were let in ahead of their time, because those that the floor leaves fail. An entry for
/// each service of which that was so lately.
#[derive(Debug, Default)]
pub(super) struct Trials(BTreeMap<Folded, Trial>);

#[derive(Clone, Copy, Debug)]
struct Trial {
    began: Instant,
    until: Instant,
    in_a_row: u32,
}

impl Trials {
    /// Until when nobody else is let in, if it is not over.
    fn running(&self, service: &Folded, now: Instant) -> Option<Instant> {
        self.0.get(service).map(|it| it.until).filter(|it| *it > now)
    }

    /// Begins one; returns when it ends.
    fn begin(&mut self, service: &Folded, rules: &SightingRules, now: Instant) -> Instant {
        let in_a_row = self.0.get(service).map_or(0, |it| it.in_a_row.saturating_add(1));
        let until = now + rules.trial(in_a_row);
        self.0.insert(service.clone(), Trial { began: now, until, in_a_row });
        until
    }

    /// Forgets those that began too long ago to make the next one longer.
    pub(super) fn forget(&mut self, calm: Duration, now: Instant) {
        self.0.retain(|_, it| now.saturating_duration_since(it.began) < calm);
    }
}

impl Sightings {
    /// Takes of one service as many instances out of use as the floor allows. Those that are out of use already go first,
    /// the latest foremost: who is let in because there are too few is the one whose time is the nearest to its end.
    ///
    /// Where one must be spared that fails, as many as are spared are let in on trial, who is out of use for the longest
    /// foremost: one of them may be well. Until the trial is over nobody is taken who was spared when it began, for the
    /// others may be as bad.
    pub(super) fn grant(
        &mut self,
        catalog: &Catalog,
        service: &Folded,
        mut wishes: Vec<(Wish, Key)>,
        now: Moment,
    ) {
        let usable = catalog.instances_of_service(service).filter(|it| {
            it.weights.passing > 0 && state_without_sightings(catalog, it).is_usable()
        });
        let usable = usable.count();
        wishes.sort_by_key(|(wish, _)| wish.rank());
        let may_take = self.rules.may_take(usable);
        let mut room = may_take;
        let trial = self.trials.running(service, now.at);
        let (mut stay, mut spared) = (Vec::new(), Vec::new());
        for (wish, key) in wishes {
            let Some(accused) = self.accused.get_mut(&key) else { continue };
            let is_after_trial = trial.is_some() && accused.is_spared();
            match wish {
                Wish::Stay(since) if room > 0 => stay.push((since, key)),
                Wish::Stay(_) => {
                    accused.let_in(now.at);
                    continue;
                }
                Wish::Take(..) if room > 0 && !is_after_trial => {
                    accused.take(wish, &self.rules, now);
                }
                Wish::Take(..) => {
                    spared.push(key);
                    continue;
                }
            }
            room -= 1;
        }
        // Who was seen to fail a moment ago fails still.
        let ripe_at = stay.last().map(|it| it.0 + self.rules.trial_base);
        let until = match (trial, ripe_at) {
            (None, Some(at)) if !spared.is_empty() && at <= now.at => {
                let ripe = stay.iter().rev().filter(|it| it.0 + self.rules.trial_base <= now.at);
                for (_, key) in ripe.take(spared.len()) {
                    self.accused.entry(key.clone()).and_modify(|it| it.let_in(now.at));
                }
                Some(self.trials.begin(service, &self.rules, now.at))
            }
            (Some(until), _) | (None, Some(until)) => Some(until),
            (None, None) => None,
        };
        let mercy = match usable - (may_take + 1).min(usable) {
            0 => Mercy::IsLast,
            left => Mercy::Leaves { left, usable },
        };
        for key in spared {
            let accused = self.accused.get_mut(&key);
            accused.into_iter().for_each(|it| it.spare(mercy, until, now));
        }
    }
}
