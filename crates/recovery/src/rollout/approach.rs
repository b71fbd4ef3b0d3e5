//! Where others run the instances: when a version that is asked for is begun, and with what.

use std::collections::BTreeMap;

use super::Workload;
use super::command::Refusal;
use super::record::Release;

/// What is begun when a version is asked for whose instances others run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Approach {
    /// It is rolled out now.
    Begin,
    /// This version is there, and has the requests: it is taken for the good one first.
    Adopt(String),
    /// Nothing yet: no instance of it is there, or what is there is just being adopted.
    Wait,
    /// As [`Approach::Wait`], while what is being rolled out is taken back, for nobody asks for it any more.
    GiveUp,
}

impl Workload {
    /// What is begun of `version`; `there` counts the usable instances by version.
    ///
    /// A rollout does not wait within its deadline for instances that nobody has started: it begins when one is there. A
    /// rollout under way is given up at once for another version, also for one that is not there yet. The first version that is asked for is taken as it is if
    /// it is there, and else what most instances have is adopted, so that the rollout has an old side.
    #[must_use]
    pub fn approach(&self, version: &str, there: &BTreeMap<String, u32>) -> Approach {
        let is_it = |it: &Release| it.version == version;
        let is_there = there.get(version).is_some_and(|count| *count > 0);
        match (&self.stable, &self.rollout) {
            (Some(stable), _) if is_it(stable) => Approach::Begin,
            (_, Some(rollout)) if is_it(&rollout.to) => Approach::Begin,
            (Some(_), _) if is_there => Approach::Begin,
            (Some(_), Some(rollout)) if !rollout.is_back() => Approach::GiveUp,
            (_, Some(_)) => Approach::Wait,
            (None, None) if is_there => Approach::Begin,
            (Some(_), None) => Approach::Wait,
            (None, None) => {
                let most = there.iter().filter(|it| *it.1 > 0).max_by_key(|it| *it.1);
                most.map_or(Approach::Wait, |(version, _)| Approach::Adopt(version.clone()))
            }
        }
    }

    /// Whether an undo has instances to lead to; `there` as in [`Workload::approach`].
    ///
    /// # Errors
    /// When it would lead to a version of which none is there.
    pub fn may_undo(&self, there: &BTreeMap<String, u32>) -> Result<(), Refusal> {
        let leads_to = if self.rollout.is_some() { &self.stable } else { &self.previous };
        match leads_to {
            Some(to) if there.get(&to.version).is_none_or(|count| *count == 0) => {
                Err(Refusal::NoInstance(to.version.clone()))
            }
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;
    use crate::rollout::{Command, Copy, CopyId, Observed, Phase, Spec, Split};

    fn there(counts: &[(&str, u32)]) -> BTreeMap<String, u32> {
        counts.iter().map(|(version, count)| ((*version).to_owned(), *count)).collect()
    }

    fn start(workload: &mut Workload, version: &str) {
        let spec = Box::new(Spec { supervised: false, ..Spec::default() });
        let (version, fingerprint) = (version.to_owned(), version.to_owned());
        let command = Command::Start { version, fingerprint, spec };
        workload.handle_command(command, Timestamp(0)).unwrap();
    }

    /// `version` is the good one.
    fn with_good(version: &str) -> Workload {
        let mut workload = Workload::new(Timestamp(0));
        start(&mut workload, version);
        let release = workload.target().unwrap().id;
        let copy = Copy {
            id: CopyId { release, slot: 0 },
            phase: Phase::Ready,
            crashes: 0,
            unacknowledged: Vec::new(),
            in_flight: 0,
            output: String::new(),
        };
        let split = Some(Split::all(release));
        let observed = Observed { copies: vec![copy], split, ..Observed::default() };
        for now_ms in [0, 1, 2] {
            workload.reconcile(&observed, Timestamp(now_ms));
        }
        assert_eq!(workload.stable().map(|it| it.version.as_str()), Some(version));
        workload
    }

    #[test]
    fn the_first_version_is_adopted_and_a_later_one_begins_when_it_is_there() {
        let mut fresh = Workload::new(Timestamp(0));
        assert_eq!(fresh.approach("v2", &there(&[])), Approach::Wait);
        assert_eq!(fresh.approach("v2", &there(&[("v1", 3), ("v2", 1)])), Approach::Begin);
        let several = there(&[("", 1), ("v0", 0), ("v1", 3)]);
        assert_eq!(fresh.approach("v2", &several), Approach::Adopt("v1".into()));
        start(&mut fresh, "v1");
        assert_eq!(fresh.approach("v2", &there(&[("v1", 3), ("v2", 1)])), Approach::Wait);

        let mut good = with_good("v1");
        assert_eq!(good.approach("v2", &there(&[("v1", 3)])), Approach::Wait);
        assert_eq!(good.approach("v2", &there(&[("v2", 1)])), Approach::Begin);
        start(&mut good, "v2");
        assert_eq!(good.approach("v1", &there(&[])), Approach::Begin);
        // What is asked for no longer is given up at once, and what is asked for now begins when it is there.
        assert_eq!(good.approach("v3", &there(&[("v1", 3), ("v3", 1)])), Approach::Begin);
        assert_eq!(good.approach("v3", &there(&[("v1", 3)])), Approach::GiveUp);
        good.handle_command(Command::Undo, Timestamp(3)).unwrap();
        assert_eq!(good.approach("v3", &there(&[("v1", 3)])), Approach::Wait);
        assert_eq!(good.approach("v3", &there(&[("v1", 3), ("v3", 1)])), Approach::Begin);
    }

    #[test]
    fn an_undo_needs_somebody_to_lead_to() {
        let mut good = with_good("v1");
        assert_eq!(good.may_undo(&there(&[])), Ok(()), "there is nothing to undo");
        start(&mut good, "v2");
        assert_eq!(good.may_undo(&there(&[("v1", 1)])), Ok(()));
        let refused = good.may_undo(&there(&[("v1", 0), ("v2", 2)]));
        assert_eq!(refused, Err(Refusal::NoInstance("v1".into())));
    }
}
