use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

fn rng() -> StdRng {
    StdRng::seed_from_u64(7)
}

#[test]
fn the_wait_doubles_until_a_sound_run() {
    let mut now = Instant::now();
    let mut restart = Restart::new(Policy::Always, RestartLimits::default());
    let mut waits = Vec::new();
    for run in [0, 0, 0, 20, 0] {
        restart.handle_started(now);
        now += Duration::from_secs(run);
        let Next::StartAt(at) = restart.handle_ended(Ended::Badly, now, &mut rng()) else {
            panic!("it is restarted")
        };
        waits.push((at - now).as_millis() / 100);
        now = at;
    }
    assert_eq!(waits, [1, 2, 4, 1, 2]);
}

#[test]
fn it_is_held_when_restarts_do_not_help() {
    let now = Instant::now();
    let limits = RestartLimits { restarts_max: 2, ..RestartLimits::default() };
    let mut restart = Restart::new(Policy::OnFailure, limits);
    let mut next = || restart.handle_ended(Ended::Badly, now, &mut rng());
    assert!(matches!(next(), Next::StartAt(_)));
    assert!(matches!(next(), Next::StartAt(_)));
    assert_eq!(next(), Next::Hold { restarts: 2 });
}

#[test]
fn the_policy_decides_whether_it_comes_back() {
    let now = Instant::now();
    let next = |policy, ended| {
        Restart::new(policy, RestartLimits::default()).handle_ended(ended, now, &mut rng())
    };
    assert_eq!(next(Policy::OnFailure, Ended::Well), Next::Leave);
    assert_eq!(next(Policy::Never, Ended::Badly), Next::Leave);
    assert!(matches!(next(Policy::Always, Ended::Well), Next::StartAt(_)));
}

proptest! {
    #[test]
    fn no_wait_is_longer_than_the_longest_and_a_tenth(
        runs_ms in proptest::collection::vec(0..20_000u64, 1..40), seed: u64
    ) {
        let limits = RestartLimits {
            restarts_max: u32::MAX, budget: u32::MAX, ..RestartLimits::default()
        };
        let mut rng = StdRng::seed_from_u64(seed);
        let mut restart = Restart::new(Policy::Always, limits);
        let mut now = Instant::now();
        for run_ms in runs_ms {
            restart.handle_started(now);
            now += Duration::from_millis(run_ms);
            let next = restart.handle_ended(Ended::Badly, now, &mut rng);
            let Next::StartAt(at) = next else { panic!("it is never held") };
            prop_assert!(at >= now + limits.first_delay);
            prop_assert!(at <= now + limits.delay_max.mul_f64(1.1));
            now = at;
        }
    }
}

#[test]
fn a_process_that_flaps_waits_longer_and_is_held_when_its_budget_is_used_up() {
    let limits = RestartLimits { budget: 8, jitter: 0.0, ..RestartLimits::default() };
    let mut restart = Restart::new(Policy::Always, limits);
    let mut now = Instant::now();
    let mut waits_ms = Vec::new();
    let held = loop {
        restart.handle_started(now);
        // Sound each time: by the runs in a row alone it would come back for ever.
        now += limits.sound_after;
        match restart.handle_ended(Ended::Well, now, &mut rng()) {
            Next::StartAt(at) => {
                waits_ms.push((at - now).as_millis());
                now = at;
            }
            next => break next,
        }
    };
    assert_eq!(waits_ms, [100, 100, 100, 100, 200, 400, 800, 1600]);
    assert_eq!(held, Next::Hold { restarts: 8 });
    assert!(restart.is_held());
    assert_eq!(restart.release(now), Some(Next::StartAt(now)));
    assert_eq!(restart.release(now), None);
    let next = restart.handle_ended(Ended::Badly, now, &mut rng());
    assert_eq!(next, Next::StartAt(now + limits.first_delay));
}

#[test]
fn what_lies_outside_the_window_does_not_count_against_the_budget() {
    let limits = RestartLimits { budget: 2, jitter: 0.0, ..RestartLimits::default() };
    let mut restart = Restart::new(Policy::Always, limits);
    let mut now = Instant::now();
    for _ in 0..20 {
        restart.handle_started(now);
        now += limits.budget_window / 2 + Duration::from_secs(1);
        let next = restart.handle_ended(Ended::Badly, now, &mut rng());
        assert_eq!(next, Next::StartAt(now + limits.first_delay));
    }
}

#[test]
fn failed_checks_in_a_row_restart_a_process_that_was_ready() {
    let limits = RestartLimits { failed_checks_max: 3, ..RestartLimits::default() };
    let now = Instant::now();
    let actions = |policy, results: &[bool]| {
        let mut restart = Restart::new(policy, limits);
        restart.handle_started(now);
        results.iter().fold(CheckAction::Leave, |_, passed| restart.handle_check(*passed, now))
    };
    let restarts = CheckAction::RestartUnhealthy { failed: 3 };
    assert_eq!(actions(Policy::Always, &[true, false, false, false]), restarts);
    assert_eq!(actions(Policy::Always, &[true, false, false, true, false]), CheckAction::Leave);
    assert_eq!(actions(Policy::Always, &[false, false, false, false]), CheckAction::Leave);
    assert_eq!(actions(Policy::Never, &[true, false, false, false]), CheckAction::Leave);
}

#[test]
fn a_check_that_never_passes_is_told_at_its_deadline() {
    let ready_within = Duration::from_secs(5);
    let limits = RestartLimits { ready_within, ..RestartLimits::default() };
    let now = Instant::now();
    let mut restart = Restart::new(Policy::OnFailure, limits);
    assert_eq!(restart.poll_timeout(), None);
    restart.handle_started(now);
    assert_eq!(restart.poll_timeout(), Some(now + ready_within));
    assert_eq!(restart.handle_check(false, now + ready_within / 2), CheckAction::Leave);
    let late = CheckAction::RestartNeverReady { after: ready_within };
    assert_eq!(restart.handle_timeout(now + ready_within), late);
    assert_eq!(restart.handle_check(true, now + ready_within), CheckAction::Leave);
    assert_eq!(restart.handle_timeout(now + ready_within * 2), CheckAction::Leave);
}

#[test]
fn what_is_written_down_holds_it_again_and_spends_the_same_budget() {
    let (now, at) = (Instant::now() + Duration::from_secs(100), Timestamp(1_000_000));
    let limits = RestartLimits { restarts_max: 2, ..RestartLimits::default() };
    let mut first = Restart::new(Policy::Always, limits);
    let _ = first.handle_ended(Ended::Badly, now - Duration::from_secs(5), &mut rng());
    let memory = first.memory(now, at);
    assert_eq!((memory.restarts, memory.recent.as_slice()), (1, &[Timestamp(995_000)][..]));
    let json = serde_json::to_string(&memory).expect("it can be written");
    let memory: RestartMemory = serde_json::from_str(&json).expect("it can be read");
    let mut second = Restart::new(Policy::Always, limits);
    second.remember(&memory, now, at);
    assert!(matches!(second.handle_ended(Ended::Badly, now, &mut rng()), Next::StartAt(_)));
    assert_eq!(second.handle_ended(Ended::Badly, now, &mut rng()), Next::Hold { restarts: 2 });
    let mut third = Restart::new(Policy::Always, limits);
    third.remember(&second.memory(now, at), now, at);
    assert!(third.is_held());
}

#[test]
fn looking_often_at_the_same_failed_checks_counts_them_once() {
    let now = Instant::now();
    let limits = RestartLimits { failed_checks_max: 3, ..RestartLimits::default() };
    let mut restart = Restart::new(Policy::Always, limits);
    restart.handle_started(now);
    assert_eq!(restart.handle_checks(true, 0, now), CheckAction::Leave);
    for _ in 0..10 {
        assert_eq!(restart.handle_checks(false, 2, now), CheckAction::Leave);
    }
    let action = restart.handle_checks(false, 3, now);
    assert_eq!(action, CheckAction::RestartUnhealthy { failed: 3 });
}
