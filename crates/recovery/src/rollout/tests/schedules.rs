//! Random schedules of crashes, slow starts, lost evidence and killed agents, against what must always hold.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use rand::rngs::SmallRng;

use super::world::{GOOD, Quality, World};
use crate::evidence::tests::{SOUND, Service};
use crate::rollout::*;

const SECOND: u64 = 1000;
/// Faults happen until then; afterwards the world is only as bad as its releases are.
const CALM_AFTER_S: u64 = 40;
/// By then every rollout has ended.
const END_S: u64 = 500;

fn any_spec(rng: &mut SmallRng) -> Spec {
    let replicas = rng.random_range(1..=4);
    let amount = |rng: &mut SmallRng| match rng.random_range(0..3) {
        0 => Amount::Percent(rng.random_range(0..=60)),
        _ => Amount::Count(rng.random_range(0..=2)),
    };
    let strategy = match rng.random_range(0..3) {
        0 => Strategy::Rolling {
            max_surge: amount(rng),
            max_unavailable: amount(rng),
            bake_ms: rng.random_range(0..4) * SECOND,
        },
        1 => Strategy::BlueGreen {
            warm_ms: rng.random_range(0..3) * SECOND,
            watch_ms: rng.random_range(0..5) * SECOND,
            keep_old_ms: rng.random_range(0..10) * SECOND,
        },
        _ => {
            let step = |weight_percent| Step { weight_percent, duration_ms: 3 * SECOND };
            let steps =
                [vec![], vec![step(20)], vec![step(10), step(60)], vec![step(30), step(100)]];
            let steps = steps[rng.random_range(0..4)].clone();
            Strategy::Canary { steps, keep_old_ms: rng.random_range(0..10) * SECOND }
        }
    };
    let deadlines = Deadlines {
        ready_ms: 12 * SECOND,
        acknowledge_ms: 4 * SECOND,
        drain_ms: 4 * SECOND,
        evidence_ms: 5 * SECOND,
        progress_ms: 60 * SECOND,
    };
    Spec { replicas, strategy, deadlines, ..Spec::default() }
}

fn any_quality(rng: &mut SmallRng) -> Quality {
    let sound = Quality { start_ms: rng.random_range(0..6) * SECOND, ..GOOD };
    match rng.random_range(0..8) {
        0 => Quality { service: Service { failing: 0.2, ..SOUND }, ..sound },
        1 => Quality { service: Service { median_ms: 70.0, ..SOUND }, ..sound },
        2 => Quality { never_ready: true, ..sound },
        3 => Quality { crashes_after_ms: Some(rng.random_range(0..8) * SECOND), ..sound },
        _ => sound,
    }
}

/// What must hold between a look at the world and what is done about it. It knows nothing of the reconciler but its promise:
/// it computes by itself from what the world shows.
struct Referee {
    /// Copies that were ready and not acknowledged, since when.
    unacknowledged: BTreeMap<CopyId, u64>,
    /// Copies that are marked, since when; `None`: all proxies have acknowledged it once.
    drained: BTreeMap<CopyId, Option<u64>>,
    marked: BTreeMap<CopyId, u64>,
    split_unacknowledged: Option<(Split, u64)>,
}

impl Referee {
    fn look(&mut self, observed: &Observed, now_ms: u64) {
        let waits = |it: &&Copy| it.phase == Phase::Ready && !it.unacknowledged.is_empty();
        let waiting: BTreeSet<_> = observed.copies.iter().filter(waits).map(|it| it.id).collect();
        self.unacknowledged.retain(|id, _| waiting.contains(id));
        for id in waiting {
            self.unacknowledged.entry(id).or_insert(now_ms);
        }
        let marked = |id: &CopyId| {
            observed.copies.iter().any(|it| it.id == *id && it.phase == Phase::Draining)
        };
        self.drained.retain(|id, _| marked(id));
        self.marked.retain(|id, _| marked(id));
        for copy in observed.copies.iter().filter(|it| it.phase == Phase::Draining) {
            self.marked.entry(copy.id).or_insert(now_ms);
            let since = self.drained.entry(copy.id).or_insert(Some(now_ms));
            if copy.unacknowledged.is_empty() {
                *since = None;
            }
        }
        match &observed.split {
            Some(split) if !observed.split_unacknowledged.is_empty() => {
                if self.split_unacknowledged.as_ref().is_none_or(|it| it.0 != *split) {
                    self.split_unacknowledged = Some((split.clone(), now_ms));
                }
            }
            _ => self.split_unacknowledged = None,
        }
    }

    /// Available copies that serve with `split`, without those in `gone`.
    fn serving(
        &self,
        observed: &Observed,
        split: Option<&Split>,
        gone: &BTreeSet<CopyId>,
        now_ms: u64,
    ) -> u32 {
        let is_available = |it: &&Copy| {
            let known =
                self.unacknowledged.get(&it.id).is_none_or(|since| now_ms - since >= 4 * SECOND);
            let serves = split.is_none_or(|split| split.serves(it.id.release));
            it.phase == Phase::Ready && known && serves && !gone.contains(&it.id)
        };
        observed.copies.iter().filter(is_available).count() as u32
    }

    fn check(
        &self,
        workload: &Workload,
        promise: u32,
        observed: &Observed,
        actions: &[Action],
        now_ms: u64,
    ) {
        let split = observed.split.as_ref();
        let mut gone = BTreeSet::new();
        let split_known =
            self.split_unacknowledged.as_ref().is_none_or(|it| now_ms - it.1 >= 4 * SECOND);
        for action in actions {
            match action {
                Action::StartCopy(id) => {
                    let wanted = [workload.stable(), workload.target()];
                    let is_wanted = wanted.into_iter().flatten().any(|it| it.id == id.release);
                    assert!(is_wanted, "{id} is started, and its release is not wanted");
                }
                Action::Drain(id) => {
                    let copy = observed.copies.iter().find(|it| it.id == *id).unwrap();
                    let was = self.serving(observed, split, &gone, now_ms);
                    let is_unused = split_known && split.is_some_and(|it| !it.serves(id.release));
                    gone.insert(*id);
                    let is = self.serving(observed, split, &gone, now_ms);
                    if copy.phase == Phase::Ready && !is_unused && is < was {
                        assert!(is >= promise, "{id} is drained: {is} of {promise} promised");
                    }
                }
                Action::Stop(id) => {
                    let copy = observed.copies.iter().find(|it| it.id == *id).unwrap();
                    match copy.phase {
                        Phase::Draining => {
                            let is_over = |since: u64| now_ms - since >= 4 * SECOND;
                            let all = self.drained[id].is_none_or(is_over);
                            let quiet =
                                copy.in_flight == 0 || self.marked[id] + 4 * SECOND <= now_ms;
                            assert!(all && quiet, "{id} is stopped too early: {copy:?}");
                        }
                        Phase::Stopping | Phase::Failed => {}
                        _ => {
                            // It came back by a crash after it was told to end.
                            assert!(copy.crashes > 0, "{id} is stopped, and was not drained");
                        }
                    }
                }
                Action::SetSplit(next) => {
                    let is = self.serving(observed, Some(next), &BTreeSet::new(), now_ms);
                    assert!(split.is_none() || is > 0, "{next:?} leaves nobody serving");
                }
                Action::Undrain(_) | Action::Note(_) | Action::Finish(_) => {}
            }
        }
    }
}

/// The promise, from the specs alone: the fewest copies that any release that takes part promises.
fn promise(workload: &Workload) -> u32 {
    let stable = workload.stable().map(|it| &it.spec);
    let Some(to) = workload.target().map(|it| &it.spec) else {
        return stable.map_or(0, |it| it.replicas);
    };
    let missing = match to.strategy {
        Strategy::Rolling { max_surge, max_unavailable, .. } => {
            let share = |it| match it {
                Amount::Count(count) => f64::from(count),
                Amount::Percent(percent) => f64::from(to.replicas) * f64::from(percent) / 100.0,
            };
            let (surge, missing) = (share(max_surge).ceil(), share(max_unavailable).floor());
            if surge == 0.0 && missing == 0.0 { 1 } else { missing as u32 }
        }
        _ => 0,
    };
    to.replicas.min(stable.map_or(u32::MAX, |it| it.replicas)).saturating_sub(missing)
}

/// The parts of a random schedule.
struct Faults {
    crashes: f64,
    kills: f64,
    commands: f64,
}

fn run_schedule(seed: u64) -> BTreeMap<&'static str, u32> {
    let mut world = World::new(seed);
    world.exact = false;
    world.rate = if world.rng.random_bool(0.1) { 0.0 } else { 60.0 };
    world.loses_reports = [0.0, 0.3, 0.9][world.rng.random_range(0..3)];
    let spec = any_spec(&mut world.rng);
    world.release("v1", spec, GOOD);
    world.run(SECOND, 12 * SECOND);
    let faults = Faults {
        crashes: [0.0, 0.02, 0.1][world.rng.random_range(0..3)],
        kills: [0.0, 0.1, 0.5][world.rng.random_range(0..3)],
        commands: [0.0, 0.1][world.rng.random_range(0..2)],
    };
    let mut referee = Referee {
        unacknowledged: BTreeMap::new(),
        drained: BTreeMap::new(),
        marked: BTreeMap::new(),
        split_unacknowledged: None,
    };
    let (mut versions, mut quiet) = (1, 0);
    for second in 0..END_S {
        let is_calm = second >= CALM_AFTER_S;
        if second == 1 {
            versions += 1;
            let (spec, quality) = (any_spec(&mut world.rng), any_quality(&mut world.rng));
            world.release(&format!("v{versions}"), spec, quality);
        }
        if !is_calm {
            inject(&mut world, &faults, &mut versions);
        } else if second == CALM_AFTER_S {
            world.acknowledge_ms = vec![100, 300];
            // It may be that there is nothing to resume.
            let _ = world.command(Command::Resume);
        }
        world.pass(SECOND);
        let now_ms = world.now_ms;
        let (observed, actions) = world.reconcile();
        referee.look(&observed, now_ms);
        referee.check(&world.workload, promise(&world.workload), &observed, &actions, now_ms);
        let is_killed = !is_calm && world.rng.random_bool(faults.kills);
        let done =
            if is_killed { world.rng.random_range(0..=actions.len()) } else { actions.len() };
        actions[..done].iter().for_each(|it| world.act(it));
        if is_killed {
            world.kill_agent();
        }
        let is_quiet = world.workload.target().is_none() && actions.is_empty();
        quiet = if is_calm && is_quiet && world.workload.held().is_none() { quiet + 1 } else { 0 };
        // Old copies are kept for ten seconds at most.
        if quiet > 11 {
            break;
        }
    }
    check_end(&mut world)
}

fn inject(world: &mut World, faults: &Faults, versions: &mut u32) {
    let ids: Vec<CopyId> = world.processes.keys().copied().collect();
    for id in ids {
        if world.rng.random_bool(faults.crashes) {
            world.crash(id);
        }
    }
    if world.rng.random_bool(0.1) {
        let proxy = world.rng.random_range(0..2);
        world.acknowledge_ms[proxy] = [100, 3_000, 60_000][world.rng.random_range(0..3)];
    }
    if !world.rng.random_bool(faults.commands) {
        return;
    }
    let command = match world.rng.random_range(0..6) {
        0 => {
            *versions += 1;
            let (spec, quality) = (any_spec(&mut world.rng), any_quality(&mut world.rng));
            world.release(&format!("v{versions}"), spec, quality);
            return;
        }
        1 => Command::Pause,
        2 => Command::Resume,
        3 => Command::Promote,
        4 => Command::Undo,
        _ => Command::Scale { replicas: world.rng.random_range(1..=4) },
    };
    // It may be refused.
    let _ = world.command(command);
}

/// When all is quiet: exactly the copies of one good release, all requests at it, and every rollout has ended.
fn check_end(world: &mut World) -> BTreeMap<&'static str, u32> {
    assert!(world.workload.target().is_none(), "a rollout does not end: {:?}", world.workload);
    let mut outcomes = BTreeMap::new();
    for record in world.workload.history() {
        let outcome = match record.outcome {
            Outcome::Promoted => "promoted",
            Outcome::RolledBack(_) => "rolled back",
            Outcome::Held(_) => "held",
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    let stable = world.workload.stable().unwrap().clone();
    let quality = world.quality[&stable.id];
    if quality.never_ready || quality.crashes_after_ms.is_some() {
        // An operator promoted it, or there was too little to see.
        return outcomes;
    }
    assert!(world.workload.held().is_none(), "held, and nothing is wrong: {:?}", world.workload);
    let copies = BTreeMap::from([(stable.id.0, stable.spec.replicas as usize)]);
    assert_eq!(world.copies(), copies, "copies were lost or doubled");
    assert_eq!(world.split, Some(Split::all(stable.id)));
    outcomes
}

fn run_schedules(seeds: std::ops::Range<u64>) {
    let mut outcomes: BTreeMap<&str, u32> = BTreeMap::new();
    for seed in seeds {
        let ended = std::panic::catch_unwind(|| run_schedule(seed));
        let ended = ended.unwrap_or_else(|_| panic!("the schedule of seed {seed} breaks a rule"));
        ended
            .into_iter()
            .for_each(|(outcome, count)| *outcomes.entry(outcome).or_default() += count);
    }
    println!("{outcomes:?}");
    assert!(outcomes["promoted"] > 100 && outcomes["rolled back"] > 100);
}

#[test]
fn the_first_quarter_of_ten_thousand_schedules_keeps_every_promise() {
    run_schedules(0..2_500);
}

#[test]
fn the_second_quarter_of_ten_thousand_schedules_keeps_every_promise() {
    run_schedules(2_500..5_000);
}

#[test]
fn the_third_quarter_of_ten_thousand_schedules_keeps_every_promise() {
    run_schedules(5_000..7_500);
}

#[test]
fn the_fourth_quarter_of_ten_thousand_schedules_keeps_every_promise() {
    run_schedules(7_500..10_000);
}

/// One rollout in which the agent is killed in the `nth` second: before anything of the second is done, or after half of it.
fn killed_at(nth: u64, half: bool, spec: &Spec, quality: Quality) -> (bool, World) {
    let mut world = World::with_good(nth, spec.clone());
    world.release("v2", spec.clone(), quality);
    let mut was_killed = false;
    for second in 0..300 {
        world.pass(SECOND);
        let (_, actions) = world.reconcile();
        let is_killed = second == nth;
        let done = if is_killed {
            actions.len() / if half { 2 } else { usize::MAX }
        } else {
            actions.len()
        };
        actions[..done].iter().for_each(|it| world.act(it));
        if is_killed {
            was_killed = true;
            // Some time passes before it is there again.
            world.pass(7 * SECOND);
            world.kill_agent();
        }
        if second > nth && world.workload.target().is_none() && actions.is_empty() {
            break;
        }
    }
    world.run(SECOND, 10 * SECOND);
    (was_killed, world)
}

#[test]
fn an_agent_killed_at_any_step_ends_the_rollout_in_one_of_the_two_good_states() {
    let failing = Quality { service: Service { failing: 0.2, ..SOUND }, ..GOOD };
    let rolling = |surge, unavailable| Strategy::Rolling {
        max_surge: Amount::Count(surge),
        max_unavailable: Amount::Count(unavailable),
        bake_ms: 2 * SECOND,
    };
    let step = |weight_percent| Step { weight_percent, duration_ms: 4 * SECOND };
    let strategies = [
        rolling(1, 0),
        rolling(0, 1),
        Strategy::Canary { steps: vec![step(20), step(50)], keep_old_ms: 3 * SECOND },
        Strategy::BlueGreen { warm_ms: SECOND, watch_ms: 3 * SECOND, keep_old_ms: 3 * SECOND },
    ];
    for strategy in strategies {
        for (quality, expected) in [(GOOD, 2), (failing, 1)] {
            let spec = Spec { replicas: 3, strategy: strategy.clone(), ..Spec::default() };
            for nth in 0..45 {
                for half in [false, true] {
                    let (was_killed, world) = killed_at(nth, half, &spec, quality);
                    let place = format!("{strategy:?}, killed in second {nth}, {half}");
                    assert!(was_killed, "{place}");
                    assert_eq!(world.copies(), [(expected, 3)].into(), "{place}");
                    assert_eq!(world.workload.history().count(), 2, "{place}");
                    assert_eq!(world.split, Some(Split::all(ReleaseId(expected))), "{place}");
                }
            }
        }
    }
}
