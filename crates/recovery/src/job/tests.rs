use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const SPEC: JobSpec =
    JobSpec { retries_max: 2, delay_ms: 100, delay_max_ms: 150, deadline_ms: None };

fn ended(is_well: bool) -> AttemptEnd {
    let text = if is_well { "exit code 0" } else { "exit code 1" };
    AttemptEnd { is_well, is_interrupted: false, text: text.into() }
}

/// A shell with processes that live on when it dies.
struct World {
    now: Timestamp,
    job: Job,
    stored: String,
    /// What was started ever, and how it ended.
    started: BTreeMap<CopyId, Option<AttemptEnd>>,
    /// What this life of the shell knows of.
    known: BTreeSet<CopyId>,
    said: Vec<RunRecord>,
}

impl World {
    fn new(spec: JobSpec) -> Self {
        let now = Timestamp(1_000_000);
        let mut job = Job::new(now);
        job.ask("1", "a", spec);
        let (started, known) = (BTreeMap::new(), BTreeSet::new());
        let mut world = Self { now, job, stored: String::new(), started, known, said: Vec::new() };
        world.store();
        world
    }

    fn store(&mut self) {
        self.stored = serde_json::to_string(&self.job).expect("it can be written");
    }

    /// The shell dies, and another one finds what lives, and how what is awaited has ended.
    fn crash(&mut self) {
        self.job = serde_json::from_str(&self.stored).expect("it can be read");
        self.known = self.living().collect();
        self.known.extend(self.job.awaited().filter(|it| self.started.contains_key(it)));
    }

    fn living(&self) -> impl Iterator<Item = CopyId> {
        self.started.iter().filter(|it| it.1.is_none()).map(|it| *it.0)
    }

    /// One look; the shell dies after `acts_max` acts, of which the first is to store what was decided.
    fn look(&mut self, acts_max: usize) {
        let seen: Vec<Attempt> = self
            .known
            .iter()
            .map(|id| Attempt { id: *id, end: self.started[id].clone() })
            .collect();
        let actions = self.job.reconcile(&seen, self.now);
        if acts_max == 0 {
            return self.crash();
        }
        self.store();
        for (nth, action) in actions.into_iter().enumerate() {
            if nth + 1 >= acts_max {
                return self.crash();
            }
            match action {
                JobAction::Start(id) => {
                    assert!(!self.started.contains_key(&id), "{id} is started twice");
                    assert_eq!(self.living().count(), 0, "{id} is started beside another");
                    self.started.insert(id, None);
                    self.known.insert(id);
                }
                JobAction::Stop(id) => self.end(id, false),
                JobAction::Forget(id) => {
                    self.known.remove(&id);
                }
                JobAction::Finish(record) => self.said.push(*record),
            }
        }
    }

    fn end(&mut self, id: CopyId, is_well: bool) {
        self.started.get_mut(&id).expect("it was started").get_or_insert(ended(is_well));
    }

    fn go(&mut self, ms: u64) {
        self.now.0 += ms;
        self.look(usize::MAX);
    }

    fn completed(&self, run: u64) -> usize {
        let is_it = |it: &(&CopyId, &Option<AttemptEnd>)| {
            it.0.release.0 == run && it.1.as_ref().is_some_and(|end| end.is_well)
        };
        self.started.iter().filter(is_it).count()
    }

    fn last(&self) -> CopyId {
        *self.started.last_key_value().expect("something was started").0
    }
}

#[test]
fn what_ends_with_code_0_is_completed_and_not_run_again() {
    let mut world = World::new(SPEC);
    world.go(0);
    assert_eq!(world.job.standing(), JobStanding::Running);
    world.end(world.last(), true);
    for _ in 0..3 {
        world.go(1000);
        world.job.ask("1", "a", SPEC);
        world.crash();
    }
    assert_eq!(world.job.standing(), JobStanding::Ended(&RunOutcome::Completed));
    assert_eq!(world.started.len(), 1);
    assert_eq!(world.said.len(), 1);
    assert_eq!((world.said[0].attempts, world.said[0].id), (1, ReleaseId(1)));
}

#[test]
fn a_failure_is_tried_again_after_a_wait_that_doubles_until_its_budget_is_spent() {
    let mut world = World::new(SPEC);
    world.go(0);
    for (wait_ms, number) in [(100, 1), (150, 2)] {
        world.end(world.last(), false);
        world.go(0);
        assert_eq!(world.job.standing(), JobStanding::Waiting("exit code 1"));
        world.go(wait_ms - 1);
        assert_eq!(world.started.len(), number);
        world.go(1);
        assert_eq!(world.started.len(), number + 1);
    }
    world.end(world.last(), false);
    world.go(0);
    let JobStanding::Ended(outcome) = world.job.standing() else { panic!("it has ended") };
    assert_eq!(outcome.reason(), "3 tries failed, the last: exit code 1");
    world.go(1_000_000);
    assert_eq!(world.started.len(), 3);
}

#[test]
fn an_end_that_came_of_the_agents_end_is_no_failure() {
    let mut world = World::new(JobSpec { retries_max: 0, ..SPEC });
    world.go(0);
    let end = AttemptEnd { is_interrupted: true, ..ended(false) };
    world.started.insert(world.last(), Some(end));
    world.go(0);
    assert_eq!(world.job.standing(), JobStanding::Running);
    assert_eq!(world.started.len(), 2);
}

#[test]
fn what_takes_too_long_is_told_to_end_and_has_failed_whatever_it_says_then() {
    let mut world = World::new(JobSpec { deadline_ms: Some(1000), ..SPEC });
    world.go(0);
    world.go(999);
    world.go(0);
    assert_eq!(world.job.standing(), JobStanding::Running);
    let actions =
        world.job.reconcile(&[Attempt { id: world.last(), end: None }], Timestamp(world.now.0 + 1));
    assert_eq!(actions, [JobAction::Stop(world.last())]);
    world.end(world.last(), true);
    world.go(1);
    let outcome = RunOutcome::TooLong { deadline_ms: 1000 };
    assert_eq!(world.job.standing(), JobStanding::Ended(&outcome));
    assert_eq!(outcome.reason(), "it did not end within its deadline of 1 s");
}

#[test]
fn a_deadline_counts_over_all_tries() {
    let mut world = World::new(JobSpec { deadline_ms: Some(120), ..SPEC });
    world.go(0);
    world.end(world.last(), false);
    world.go(50);
    world.go(70);
    assert_eq!(world.job.standing(), JobStanding::Ended(&RunOutcome::TooLong { deadline_ms: 120 }));
    assert_eq!(world.said[0].attempts, 1);
}

#[test]
fn a_changed_document_ends_what_runs_before_it_is_run() {
    let mut world = World::new(SPEC);
    world.go(0);
    let old = world.last();
    world.job.ask("2", "b", SPEC);
    world.go(0);
    assert_eq!(world.started.len(), 1);
    assert_eq!(world.job.standing(), JobStanding::Ending);
    world.go(0);
    assert_eq!(world.said[0].outcome, RunOutcome::Superseded(ReleaseId(2)));
    assert_eq!(world.last().release, ReleaseId(2));
    assert!(world.started[&old].is_some());
    // And back again: what was canceled is run anew.
    world.job.ask("1", "a", SPEC);
    world.go(0);
    world.go(0);
    assert_eq!((world.last().release, world.job.version()), (ReleaseId(3), Some("1")));
}

#[test]
fn what_is_stopped_waits_for_an_operator_and_is_then_tried_again() {
    let mut world = World::new(SPEC);
    world.go(0);
    world.job.stop();
    world.go(0);
    world.go(0);
    assert_eq!(world.job.standing(), JobStanding::Stopped);
    world.go(1_000_000);
    assert_eq!(world.started.len(), 1);
    world.job.go_on();
    world.go(0);
    assert_eq!((world.started.len(), world.job.failures()), (2, 0));
}

#[test]
fn what_was_decided_and_not_done_is_stopped_and_removed_in_peace() {
    let mut world = World::new(SPEC);
    world.look(1);
    world.job.stop();
    world.go(0);
    assert_eq!(world.job.standing(), JobStanding::Stopped);
    world.job.remove();
    world.go(0);
    assert_eq!(world.job.standing(), JobStanding::Ended(&RunOutcome::Removed));
    assert!(world.started.is_empty());
}

#[derive(Clone, Debug)]
enum Event {
    /// Look, and die after so many acts.
    Die(usize),
    Look,
    End(bool),
    Pass(u64),
    Change,
    Stop,
    GoOn,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0..4usize).prop_map(Event::Die),
        6 => Just(Event::Look),
        3 => any::<bool>().prop_map(Event::End),
        3 => (0..200u64).prop_map(Event::Pass),
        1 => Just(Event::Change),
        1 => Just(Event::Stop),
        2 => Just(Event::GoOn),
    ]
}

proptest! {
    #[test]
    fn no_run_completes_twice_and_no_two_tries_overlap_whenever_the_agent_dies(
        events in proptest::collection::vec(event(), 1..80)
    ) {
        let mut world = World::new(JobSpec { retries_max: 3, ..SPEC });
        let mut runs = 1;
        for event in events {
            match event {
                Event::Die(acts) => world.look(acts),
                Event::Look => world.look(usize::MAX),
                Event::End(is_well) => {
                    let living = world.living().next();
                    living.into_iter().for_each(|it| world.end(it, is_well));
                }
                Event::Pass(ms) => world.now.0 += ms,
                Event::Change => {
                    runs += 1;
                    world.job.ask("n", &format!("f{runs}"), SPEC);
                    world.store();
                }
                Event::Stop => { world.job.stop(); world.store(); }
                Event::GoOn => { world.job.go_on(); world.store(); }
            }
            for run in 1..=runs {
                prop_assert!(world.completed(run) <= 1);
            }
        }
        // Left alone, whatever was asked for last comes to its end.
        world.job.go_on();
        world.store();
        for _ in 0..20 {
            world.go(200);
            let living = world.living().next();
            living.into_iter().for_each(|it| world.end(it, true));
        }
        let is_over = matches!(world.job.standing(), JobStanding::Ended(_));
        prop_assert!(is_over, "{:?}", world.job);
        if world.job.standing() == JobStanding::Ended(&RunOutcome::Completed) {
            let run = world.job.last_attempt().map(|it| it.release.0);
            prop_assert_eq!(run.map(|it| world.completed(it)), Some(1));
        }
        prop_assert_eq!(world.living().count(), 0);
    }
}
