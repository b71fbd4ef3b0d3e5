//! Whatever proxies say, and whatever becomes of the instances meanwhile.

use std::collections::BTreeSet;

use model::CheckStatus;
use proptest::prelude::*;

use super::World;
use crate::verdict::state_without_sightings;
use crate::{SightingKind, VerdictState};

const INSTANCES: usize = 6;

#[derive(Clone, Debug)]
enum Event {
    See(u8, usize, SightingKind, u64),
    Probe(usize, bool),
    OwnCheck(usize, CheckStatus),
    Register(usize, u16),
    Pass(u64),
}

fn any_event() -> impl Strategy<Value = Event> {
    let instance = 0..INSTANCES;
    let status = prop_oneof![
        3 => Just(CheckStatus::Passing),
        1 => Just(CheckStatus::Warning),
        2 => Just(CheckStatus::Critical),
    ];
    prop_oneof![
        6 => (0..3u8, instance.clone(), 0..SightingKind::ALL.len(), 0..40_000u64)
            .prop_map(|(proxy, it, kind, ms)| Event::See(proxy, it, SightingKind::ALL[kind], ms)),
        2 => (instance.clone(), any::<bool>()).prop_map(|(it, well)| Event::Probe(it, well)),
        2 => (instance.clone(), status).prop_map(|(it, status)| Event::OwnCheck(it, status)),
        1 => (instance, 80..82u16).prop_map(|(it, port)| Event::Register(it, port)),
        4 => prop_oneof![0..20u64, 0..1000u64, 0..20_000u64].prop_map(Event::Pass),
    ]
}

fn apply(world: &mut World, event: &Event, seen: &mut BTreeSet<usize>) {
    match event {
        Event::See(proxy, number, kind, ms) => {
            if *kind != SightingKind::Recovered {
                seen.insert(*number);
            }
            world.see(&format!("p{proxy}"), *number, *kind, *ms);
        }
        Event::Probe(number, is_well) => {
            let status = if *is_well { CheckStatus::Passing } else { CheckStatus::Critical };
            world.probe(*number, status);
        }
        Event::OwnCheck(number, status) => world.set_check(*number, *status),
        Event::Register(number, port) => world.register(*number, *port),
        Event::Pass(ms) => world.pass(*ms),
    }
}

/// Instances that are out of use for what proxies see alone, and those that would be usable without that.
fn taken(world: &World) -> (Vec<usize>, usize) {
    let usable = |number: usize| {
        let node = model::Folded::new("n1");
        let instance = world.catalog.instance(&node, &super::id(number)).expect("it is there");
        state_without_sightings(&world.catalog, instance).is_usable()
    };
    let all: Vec<usize> = (0..INSTANCES).filter(|it| usable(*it)).collect();
    let taken = all.iter().copied().filter(|it| world.state(*it) == VerdictState::Critical);
    (taken.collect(), all.len())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The floor holds after every look; nobody is out of use of whom nobody said anything; and when nobody says anything
    /// any more, everybody is in use again after the longest time out of use at the latest.
    #[test]
    fn the_floor_holds_nobody_is_accused_by_nobody_and_everything_ends(
        events in proptest::collection::vec(any_event(), 1..120),
    ) {
        let mut world = World::new(INSTANCES);
        let mut seen = BTreeSet::new();
        for event in &events {
            apply(&mut world, event, &mut seen);
            world.look();
            let (taken, usable) = taken(&world);
            prop_assert!(taken.len() * 2 <= usable, "{} of {usable}", taken.len());
            prop_assert!(taken.is_empty() || taken.len() < usable);
            prop_assert!(taken.iter().all(|it| seen.contains(it)), "{taken:?} of {seen:?}");
        }
        // By its own timeouts alone.
        let began = world.now.at;
        let mut looks = 0;
        while let Some(at) = world.judge.poll_timeout() {
            let ms = at.saturating_duration_since(world.now.at).as_millis();
            world.pass(u64::try_from(ms).expect("it is soon") + 1);
            world.look();
            looks += 1;
            prop_assert!(looks < 1000, "it never rests");
        }
        prop_assert!(world.now.at - began <= std::time::Duration::from_secs(400));
        prop_assert_eq!(taken(&world).0, Vec::<usize>::new());
    }

    /// An hour of an instance that fails, and is well, as it likes, with a proxy that sees each failure and a probe that
    /// sees each recovery.
    #[test]
    fn an_hour_of_flapping_changes_the_verdict_seldom(
        periods in proptest::collection::vec((1..30_000u64, 1..30_000u64), 1..12),
        answers in any::<bool>(),
        has_probe in any::<bool>(),
    ) {
        let mut world = World::new(2);
        let kind =
            if answers { SightingKind::ConsecutiveErrors } else { SightingKind::ConnectFailed };
        let (mut at_ms, mut round) = (0, 0);
        while at_ms < 3_600_000 {
            let (bad_ms, well_ms) = periods[round % periods.len()];
            round += 1;
            at_ms += bad_ms + well_ms;
            // A request goes there only while it is in use.
            if world.state(0) == VerdictState::Passing {
                world.see("agent", 0, kind, 1000);
            }
            if has_probe {
                world.probe(0, CheckStatus::Critical);
            }
            world.look();
            world.pass(bad_ms);
            if has_probe {
                world.probe(0, CheckStatus::Passing);
            }
            world.see("agent", 0, SightingKind::Recovered, 0);
            world.look();
            world.pass(well_ms);
            world.look();
        }
        // Once a minute is forgiven, and each time out of use is two changes; the first few come quickly.
        prop_assert!(world.changes <= 2 * (60 + 8), "{} changes", world.changes);
    }
}

proptest! {
    // Each case is minutes of requests.
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Processes end and come back as they like, and requests keep coming, of which each that fails is told: whatever was
    /// seen before, one that answers is in use within a few seconds, as long as there is one.
    #[test]
    fn as_long_as_one_answers_one_that_answers_is_in_use_within_seconds(
        turns in proptest::collection::vec((0..1u8 << INSTANCES, 1..40_000u64), 1..25),
        has_probes in any::<bool>(),
    ) {
        let mut world = World::new(INSTANCES);
        for (alive, ms) in turns {
            let is_alive = |it: usize| alive & (1 << it) != 0;
            let mut missed_ms = 0;
            for _ in 0..ms / 100 {
                for number in 0..INSTANCES {
                    if world.state(number) == VerdictState::Passing {
                        let kind = if is_alive(number) {
                            SightingKind::Recovered
                        } else {
                            SightingKind::ConnectFailed
                        };
                        world.see("agent", number, kind, 1000);
                    }
                    if has_probes && number % 2 == 0 && !is_alive(number) {
                        world.probe(number, CheckStatus::Critical);
                    }
                }
                world.look();
                let answers = |it| is_alive(it) && world.state(it) == VerdictState::Passing;
                let is_served = alive == 0 || (0..INSTANCES).any(answers);
                missed_ms = if is_served { 0 } else { missed_ms + 100 };
                prop_assert!(missed_ms <= 5000, "nobody answers for {missed_ms} ms");
                world.pass(100);
            }
        }
    }
}
