use super::world::{GOOD, Quality, World};
use crate::evidence::tests::{SOUND, Service};
use crate::rollout::*;

fn quick(strategy: Strategy) -> Spec {
    Spec { replicas: 3, strategy, ..Spec::default() }
}

fn canary() -> Spec {
    let step = |weight_percent| Step { weight_percent, duration_ms: 3_000 };
    quick(Strategy::Canary { steps: vec![step(20), step(50)], keep_old_ms: 5_000 })
}

fn blue_green() -> Spec {
    quick(Strategy::BlueGreen { warm_ms: 2_000, watch_ms: 4_000, keep_old_ms: 5_000 })
}

fn rolling(surge: u32, unavailable: u32) -> Spec {
    let (max_surge, max_unavailable) = (Amount::Count(surge), Amount::Count(unavailable));
    quick(Strategy::Rolling { max_surge, max_unavailable, bake_ms: 2_000 })
}

fn all() -> [Spec; 4] {
    [canary(), blue_green(), rolling(1, 0), rolling(0, 1)]
}

fn ended(world: &World) -> bool {
    world.workload.target().is_none()
}

#[test]
fn a_good_release_is_promoted_by_every_strategy_and_the_old_copies_go() {
    for spec in all() {
        let mut world = World::with_good(1, spec.clone());
        world.release("v2", spec, GOOD);
        world.run_until(250, 120_000, ended);
        assert_eq!(world.last_outcome(), Some(&Outcome::Promoted));
        world.run(250, 10_000);
        assert_eq!(world.copies(), [(2, 3)].into());
        assert_eq!(world.split, Some(Split::all(ReleaseId(2))));
    }
}

#[test]
fn a_bad_release_is_taken_back_by_every_strategy_with_its_reason() {
    let bad = |crashes_after_ms, never_ready, failing| Quality {
        service: Service { failing, ..SOUND },
        crashes_after_ms,
        never_ready,
        ..GOOD
    };
    for spec in all() {
        for (quality, begins) in [
            (bad(None, false, 0.3), "more requests fail: new: "),
            (bad(Some(500), false, 0.0), "copy 2-0 ended (2 ends in all): said so"),
            (bad(None, true, 0.0), "the check of copy 2-0 did not pass within 60 s: said so"),
        ] {
            let mut world = World::with_good(1, spec.clone());
            world.release("v2", spec.clone(), quality);
            world.run_until(250, 120_000, ended);
            let Some(Outcome::RolledBack(reason)) = world.last_outcome() else {
                panic!("{:?}", world.last_outcome())
            };
            let reason = reason.to_string();
            let is_right = reason.starts_with(begins) || begins.starts_with("copy");
            assert!(is_right, "{:?}: {reason}", spec.strategy);
            world.run(250, 10_000);
            assert_eq!(world.copies(), [(1, 3)].into(), "{:?}", spec.strategy);
        }
    }
}

#[test]
fn a_copy_is_stopped_only_after_it_was_drained_everywhere() {
    let mut world = World::with_good(1, rolling(1, 0));
    // The second proxy takes four seconds.
    world.acknowledge_ms[1] = 4_000;
    world.release("v2", rolling(1, 0), GOOD);
    world.run_until(250, 300_000, ended);
    world.run(250, 20_000);
    let mut drained: std::collections::BTreeSet<CopyId> = std::collections::BTreeSet::new();
    let mut stops = 0;
    for action in &world.acted {
        match action {
            Action::Drain(id) => drop(drained.insert(*id)),
            Action::Stop(id) => {
                assert!(drained.contains(id));
                stops += 1;
            }
            Action::Note(note) => {
                assert!(!matches!(note, Note::NotAcknowledged { .. } | Note::CutShort { .. }));
            }
            _ => {}
        }
    }
    assert!(stops >= 3);
}

#[test]
fn a_proxy_that_does_not_acknowledge_is_named_and_passed() {
    let mut world = World::with_good(1, canary());
    world.acknowledge_ms[1] = u64::MAX / 2;
    world.release("v2", canary(), GOOD);
    world.run_until(250, 300_000, ended);
    assert_eq!(world.last_outcome(), Some(&Outcome::Promoted));
    let names = |it: &&Action| matches!(it, Action::Note(Note::NotAcknowledged { proxies, .. }) if *proxies == ["p1"]);
    assert!(world.acted.iter().filter(names).count() >= 3);
}

#[test]
fn a_proxy_that_comes_back_while_a_copy_drains_is_waited_for_or_passed_in_its_time() {
    let passed_ms = Spec::default().deadlines.acknowledge_ms;
    for (takes_ms, least_ms) in [(3_000, 3_000), (u64::MAX / 2, passed_ms)] {
        let mut world = World::with_good(1, rolling(1, 0));
        world.release("v2", rolling(1, 0), GOOD);
        let acknowledged = |world: &World| {
            let mut drains = world.workload.drains.iter();
            drains.find(|it| it.1.acknowledged_ms.is_some()).map(|it| *it.0)
        };
        world.run_until(50, 60_000, |it| acknowledged(it).is_some());
        let id = acknowledged(&world).unwrap();
        assert!(!world.acted.contains(&Action::Stop(id)), "something is under way");
        let back_ms = world.now_ms;
        let process = world.processes.get_mut(&id).unwrap();
        (process.known_ms[1], process.in_flight) = (back_ms + takes_ms, 0);
        world.run_until(50, 60_000, |it| it.acted.contains(&Action::Stop(id)));
        let took_ms = world.now_ms - back_ms;
        assert!((least_ms..least_ms + 1_000).contains(&took_ms), "{took_ms}");
    }
}

#[test]
fn without_traffic_checks_and_time_decide_and_it_is_said() {
    let mut world = World::with_good(1, canary());
    world.rate = 0.0;
    world.release("v2", canary(), GOOD);
    world.run_until(250, 300_000, ended);
    assert_eq!(world.last_outcome(), Some(&Outcome::Promoted));
    assert!(world.acted.contains(&Action::Note(Note::LittleTraffic { requests: 0 })));

    let strict = Spec { little_traffic: LittleTraffic::RollBack, ..canary() };
    world.release("v3", strict, GOOD);
    world.run_until(250, 300_000, ended);
    let back = Outcome::RolledBack(Reason::LittleTraffic { requests: 0 });
    assert_eq!(world.last_outcome(), Some(&back));
}

#[test]
fn an_undo_is_instant_while_the_old_copies_are_kept_and_works_later() {
    let mut world = World::with_good(1, canary());
    world.release("v2", canary(), GOOD);
    world.run_until(250, 120_000, ended);
    world.kill_agent();
    world.command(Command::Undo).unwrap();
    assert_eq!(world.run_until(250, 2_000, |it| it.split == Some(Split::all(ReleaseId(1)))), 250);
    world.run(250, 20_000);
    assert_eq!(world.copies(), [(1, 3)].into());
    // And back again, now that the copies of v2 are gone.
    world.command(Command::Undo).unwrap();
    world.run_until(250, 20_000, ended);
    world.run(250, 20_000);
    assert_eq!(world.copies(), [(2, 3)].into());
    assert_eq!(world.workload.stable().unwrap().version, "v2");
}

#[test]
fn operators_pause_resume_promote_and_undo() {
    let mut world = World::with_good(1, canary());
    assert_eq!(world.command(Command::Pause), Err(Refusal::NoRollout));
    assert_eq!(world.command(Command::Undo), Err(Refusal::NothingBefore));
    world.release("v2", canary(), GOOD);
    world.command(Command::Pause).unwrap();
    world.run(1000, 3_600_000);
    assert!(!ended(&world));
    world.command(Command::Resume).unwrap();
    world.run_until(250, 60_000, ended);
    assert_eq!(world.last_outcome(), Some(&Outcome::Promoted));

    let failing = Quality { service: Service { failing: 0.5, ..SOUND }, ..GOOD };
    world.release("v3", canary(), failing);
    world.command(Command::Promote).unwrap();
    world.run_until(250, 60_000, ended);
    assert_eq!(world.last_outcome(), Some(&Outcome::Promoted));

    world.release("v4", canary(), GOOD);
    world.run(250, 2_000);
    world.command(Command::Undo).unwrap();
    world.run_until(250, 60_000, ended);
    assert_eq!(world.last_outcome(), Some(&Outcome::RolledBack(Reason::Undone)));
    assert_eq!(world.workload.stable().unwrap().version, "v3");
}

#[test]
fn a_newer_release_supersedes_the_one_under_way() {
    for spec in all() {
        let mut world = World::with_good(1, spec.clone());
        world.release("v2", spec.clone(), GOOD);
        world.run(250, 4_000);
        world.release("v3", spec, GOOD);
        world.run_until(250, 200_000, ended);
        world.run(250, 20_000);
        let outcomes: Vec<_> = world.workload.history().map(|it| it.outcome.clone()).collect();
        let superseded = Outcome::RolledBack(Reason::Superseded(ReleaseId(3)));
        assert_eq!(outcomes, [Outcome::Promoted, superseded, Outcome::Promoted]);
        assert_eq!(world.copies(), [(3, 3)].into());
    }
}

#[test]
fn a_first_release_that_never_becomes_ready_is_held_and_can_be_replaced() {
    let mut world = World::new(1);
    world.release("v1", canary(), Quality { never_ready: true, ..GOOD });
    world.run_until(250, 70_000, ended);
    assert!(matches!(world.last_outcome(), Some(Outcome::Held(Reason::NeverReady { .. }))));
    assert!(world.workload.held().is_some());
    world.release("v2", canary(), GOOD);
    world.run_until(250, 70_000, ended);
    world.run(250, 20_000);
    assert_eq!(world.last_outcome(), Some(&Outcome::Promoted));
    assert!(world.workload.held().is_none());
    assert_eq!(world.copies(), [(2, 3)].into());
}

#[test]
fn bad_input_is_named_and_changes_nothing() {
    let mut world = World::with_good(1, canary());
    let before = world.workload.clone();
    let step = |weight_percent| Step { weight_percent, duration_ms: 1 };
    let strategy = Strategy::Canary { steps: vec![step(50), step(10), step(101)], keep_old_ms: 0 };
    let spec = Box::new(Spec { replicas: 0, strategy, ..Spec::default() });
    let start = Command::Start { version: "v2".into(), fingerprint: "v2".into(), spec };
    let error = world.command(start).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the spec cannot be used: replicas must be at least 1; strategy.steps: weights must be 1 to 100 %; \
         strategy.steps: each weight must be above the one before"
    );
    assert!(world.command(Command::Scale { replicas: 0 }).is_err());
    assert_eq!(world.workload, before);
}

#[test]
fn scaling_and_removal_drain_what_goes() {
    let mut world = World::with_good(1, canary());
    world.command(Command::Scale { replicas: 5 }).unwrap();
    world.run(250, 5_000);
    assert_eq!(world.copies(), [(1, 5)].into());
    world.acted.clear();
    world.command(Command::Scale { replicas: 2 }).unwrap();
    world.run(250, 10_000);
    assert_eq!(world.copies(), [(1, 2)].into());
    let drained = |it: &&Action| matches!(it, Action::Drain(id) if id.slot < 2);
    assert_eq!(world.acted.iter().filter(drained).count(), 0);
    world.command(Command::Remove).unwrap();
    world.run(250, 10_000);
    assert!(world.copies().is_empty());
    assert_eq!(world.command(Command::Pause), Err(Refusal::Removed));
}

#[test]
fn traffic_alone_is_rolled_out_where_others_run_the_copies() {
    let spec = Spec { supervised: false, ..canary() };
    for (failing, expected) in [(0.001, 2), (0.3, 1)] {
        let mut world = World::new(1);
        for release in 1..=2u64 {
            let service = Service { failing: if release == 2 { failing } else { 0.001 }, ..SOUND };
            world.quality.insert(ReleaseId(release), Quality { service, ..GOOD });
            for slot in 0..2 {
                world.act(&Action::StartCopy(CopyId { release: ReleaseId(release), slot }));
            }
        }
        world.acted.clear();
        for version in ["v1", "v2"] {
            let (version, spec) = (version.to_owned(), Box::new(spec.clone()));
            let start = Command::Start { fingerprint: version.clone(), version, spec };
            world.command(start).unwrap();
            world.run_until(250, 120_000, ended);
        }
        world.run(250, 5_000);
        assert_eq!(world.split, Some(Split::all(ReleaseId(expected))));
        let only_moves =
            |it: &Action| matches!(it, Action::SetSplit(_) | Action::Note(_) | Action::Finish(_));
        assert!(world.acted.iter().all(only_moves));
    }
}

#[test]
fn an_old_version_of_others_that_is_gone_empties_nothing_and_serves_when_it_is_back() {
    let deadlines = Deadlines { progress_ms: 20_000, ..Deadlines::default() };
    let spec = Spec { supervised: false, deadlines, ..canary() };
    let mut world = World::new(1);
    let start = |world: &mut World, release| {
        for slot in 0..2 {
            world.act(&Action::StartCopy(CopyId { release: ReleaseId(release), slot }));
        }
    };
    let failing = Service { failing: 0.3, ..SOUND };
    for (release, service) in [(1, SOUND), (2, failing)] {
        world.quality.insert(ReleaseId(release), Quality { service, ..GOOD });
        start(&mut world, release);
    }
    for version in ["v1", "v2"] {
        let (version, spec) = (version.to_owned(), Box::new(spec.clone()));
        let command = Command::Start { fingerprint: version.clone(), version, spec };
        world.command(command).unwrap();
        let serves = |it: &World| it.split.as_ref().is_some_and(|it| it.serves(ReleaseId(2)));
        world.run_until(250, 120_000, |it| ended(it) || serves(it));
    }
    world.processes.retain(|id, _| id.release == ReleaseId(2));
    world.run_until(250, 120_000, ended);
    assert!(matches!(world.last_outcome(), Some(Outcome::Held(_))));
    assert!(world.split.as_ref().is_some_and(|it| it.serves(ReleaseId(2))), "somebody serves");
    start(&mut world, 1);
    world.run(250, 5_000);
    assert_eq!(world.split, Some(Split::all(ReleaseId(1))));
    assert_eq!(world.workload.held(), None);
}

#[test]
fn while_the_agent_is_away_no_deadline_runs_out() {
    let mut world = World::with_good(1, canary());
    world.release("v2", canary(), Quality { start_ms: 40_000, ..GOOD });
    world.run(250, 5_000);
    world.now_ms += 24 * 3_600_000;
    world.kill_agent();
    // The clock is set back by an hour, too.
    world.run(250, 1_000);
    world.run_until(250, 120_000, ended);
    assert_eq!(world.last_outcome(), Some(&Outcome::Promoted));
}

#[test]
fn a_release_that_gets_nowhere_is_taken_back_at_the_deadline() {
    let mut world = World::with_good(1, canary());
    // Each check passes once, so no check is late, and no proxy ever has a copy.
    let flapping = Quality { crashes_after_ms: Some(0), ..GOOD };
    world.release("v2", Spec { crashes_max: u32::MAX, ..canary() }, flapping);
    world.run_until(250, 1_000_000, ended);
    assert_eq!(world.last_outcome(), Some(&Outcome::RolledBack(Reason::NoProgress)));
}

#[test]
fn copies_that_an_agent_took_with_it_come_back_also_in_the_middle_of_a_rollout() {
    for spec in all() {
        let mut world = World::with_good(1, spec.clone());
        world.release("v2", spec, GOOD);
        world.run(250, 1_500);
        assert!(!ended(&world));
        world.kill_agent();
        world.processes.clear();
        world.run(250, 1_500);
        let copies: usize = world.copies().values().sum();
        assert!(copies >= 3, "{:?}", world.copies());
        world.run_until(250, 120_000, ended);
        assert_eq!(world.last_outcome(), Some(&Outcome::Promoted));
    }
}
