use std::sync::Arc;

use model::{
    Catalog, Change, Check, CheckId, Instance, KeyChange, Node, Object, Operation, Origin,
    Revision, ServiceId, Timestamp,
};
use proptest::prelude::*;

use super::*;

const PASS: CheckStatus = CheckStatus::Passing;
const WARN: CheckStatus = CheckStatus::Warning;
const FAIL: CheckStatus = CheckStatus::Critical;

fn judge(success: u32, warning: u32, critical: u32) -> CheckJudge {
    CheckJudge::new(&CheckDefinition {
        success_before_passing: success,
        failures_before_warning: warning,
        failures_before_critical: critical,
        ..CheckDefinition::default()
    })
}

fn verdicts(mut judge: CheckJudge, results: &[CheckStatus]) -> Vec<Option<CheckStatus>> {
    results.iter().map(|result| judge.judge(*result)).collect()
}

#[test]
fn without_thresholds_each_result_is_the_verdict() {
    let seen = verdicts(judge(0, 0, 0), &[FAIL, PASS, WARN, FAIL]);
    assert_eq!(seen, [Some(FAIL), Some(PASS), Some(WARN), Some(FAIL)]);
}

#[test]
fn first_result_applies_at_once_whatever_the_thresholds() {
    assert_eq!(verdicts(judge(3, 3, 3), &[PASS]), [Some(PASS)]);
    assert_eq!(verdicts(judge(3, 2, 3), &[FAIL]), [Some(FAIL)]);
}

#[test]
fn failures_go_through_warning_to_critical() {
    let seen = verdicts(judge(0, 2, 3), &[PASS, FAIL, FAIL, FAIL, FAIL]);
    assert_eq!(seen, [Some(PASS), None, Some(WARN), Some(FAIL), Some(FAIL)]);
}

#[test]
fn warning_threshold_defaults_to_the_critical_one() {
    let seen = verdicts(judge(0, 0, 3), &[PASS, FAIL, FAIL, FAIL]);
    assert_eq!(seen, [Some(PASS), None, None, Some(FAIL)]);
}

#[test]
fn a_success_between_failures_starts_the_count_anew() {
    let seen = verdicts(judge(0, 0, 2), &[PASS, FAIL, WARN, FAIL, FAIL]);
    assert_eq!(seen, [Some(PASS), None, Some(WARN), None, Some(FAIL)]);
}

#[test]
fn success_threshold_holds_back_passing() {
    let seen = verdicts(judge(2, 0, 0), &[FAIL, PASS, PASS, FAIL, WARN, PASS]);
    assert_eq!(seen, [Some(FAIL), None, Some(PASS), Some(FAIL), None, Some(PASS)]);
}

fn status() -> impl Strategy<Value = CheckStatus> {
    prop_oneof![Just(PASS), Just(WARN), Just(FAIL)]
}

proptest! {
    /// The counters agree with what the definition says about the tail of the whole history.
    #[test]
    fn verdict_is_a_function_of_the_run_of_like_results(
        results in proptest::collection::vec(status(), 1..40),
        success in 0..5_u32, warning in 0..5_u32, critical in 0..5_u32,
    ) {
        let mut judge = judge(success, warning, critical);
        for end in 1..=results.len() {
            let history = &results[..end];
            let last = history[end - 1];
            let alike = |it: &&CheckStatus| (**it == FAIL) == (last == FAIL);
            let run = history.iter().rev().take_while(alike).count();
            let first_run = run == end;
            let warning = if warning == 0 { critical } else { warning };
            let reached = |threshold: u32| first_run || run >= threshold as usize;
            let expected = match last {
                PASS | WARN => reached(success).then_some(last),
                FAIL if reached(critical) => Some(FAIL),
                FAIL => (run >= warning as usize).then_some(WARN),
            };
            prop_assert_eq!(judge.judge(last), expected);
        }
    }

    #[test]
    fn delays_stay_within_their_bounds(interval_ms in 0..100_000_u64, random in 0.0..1.0_f64) {
        let interval = Duration::from_millis(interval_ms);
        let cadence = Cadence::of(&CheckDefinition { interval, ..CheckDefinition::default() });
        let effective =
            if interval_ms == 0 { 1000 } else { interval_ms.max(100) };
        let effective = Duration::from_millis(effective);
        prop_assert!(cadence.first_delay(random) <= effective.min(Duration::from_millis(200)));
        let next = cadence.next_delay(random);
        prop_assert!(next >= effective.mul_f64(0.949) && next <= effective.mul_f64(1.051));
    }

    #[test]
    fn a_clipped_note_never_splits_a_character(note in "\\PC{0,40}", bytes_max in 1..40_usize) {
        let clipped = clip_note(&note, bytes_max);
        if note.len() <= bytes_max {
            prop_assert_eq!(clipped, note);
        } else {
            let end = format!(" ... (captured {bytes_max} of {} bytes)", note.len());
            let kept = clipped.strip_suffix(&end).expect("says what was cut");
            prop_assert!(note.starts_with(kept) && kept.len() <= bytes_max);
        }
    }
}

#[test]
fn an_interval_of_ages_does_not_overflow() {
    let interval = Duration::MAX;
    let cadence = Cadence::of(&CheckDefinition { interval, ..CheckDefinition::default() });
    assert!(cadence.next_delay(0.999) > Duration::from_secs(300 * 24 * 3600));
}

#[test]
fn ttl_lapses_once_for_each_silence() {
    let start = Instant::now();
    let at = |s: u64| start + Duration::from_secs(s);
    let mut ttl = TtlJudge::new(Duration::from_secs(10), start);
    assert_eq!(ttl.handle_timeout(at(9)), None);
    assert_eq!(ttl.poll_timeout(), Some(at(10)));
    assert_eq!(ttl.handle_timeout(at(10)).as_deref(), Some("TTL expired"));
    assert_eq!(ttl.handle_timeout(at(20)), None);
    assert_eq!(ttl.poll_timeout(), None);

    ttl.handle_heartbeat("all well", at(21));
    ttl.handle_heartbeat("all well", at(25));
    assert_eq!(ttl.handle_timeout(at(34)), None);
    let output = ttl.handle_timeout(at(35)).expect("it lapses");
    assert_eq!(output, "TTL expired (last output before timeout follows): all well");
}

#[test]
fn ttl_of_ages_never_lapses() {
    let ttl = TtlJudge::new(Duration::MAX, Instant::now());
    assert_eq!(ttl.poll_timeout(), None);
}

#[test]
fn a_check_may_only_lower_its_output() {
    let of = |asked| {
        output_bytes_max(&CheckDefinition { output_bytes_max: asked, ..CheckDefinition::default() })
    };
    assert_eq!((of(0), of(100), of(9999)), (4096, 100, 4096));
}

fn critical_check(id: &str, after_s: u64, since: Timestamp) -> Check {
    Check {
        node: "n1".into(),
        id: id.into(),
        status: FAIL,
        service_id: "web-1".into(),
        origin: Origin::Agent,
        since,
        definition: Some(Arc::new(CheckDefinition {
            deregister_critical_service_after: Duration::from_secs(after_s),
            ..CheckDefinition::default()
        })),
        ..Check::default()
    }
}

/// Looks every 30 s from 0 s on; returns the second of the first look that reaps.
fn reaped_at(check_at: impl Fn(u64) -> Check, until_s: u64) -> Option<u64> {
    let start = Instant::now();
    let mut reaper = Reaper::default();
    (0..=until_s).step_by(30).find(|s| {
        let check = check_at(*s);
        let wall = Timestamp(1_000_000 + s * 1000);
        let due = reaper.look([&check], start + Duration::from_secs(*s), wall);
        assert!(due.iter().all(|id| *id == ServiceId::from("web-1")));
        !due.is_empty()
    })
}

#[test]
fn an_instance_critical_for_longer_than_its_limit_is_reaped() {
    let since = Timestamp(1_000_000);
    assert_eq!(reaped_at(|_| critical_check("c", 100, since), 300), Some(120));
    assert_eq!(reaped_at(|_| critical_check("c", 0, since), 3000), None);
}

#[test]
fn a_limit_under_a_minute_is_raised_to_one() {
    assert_eq!(reaped_at(|_| critical_check("c", 1, Timestamp(1_000_000)), 300), Some(90));
}

#[test]
fn critical_time_before_the_agent_started_does_not_count() {
    assert_eq!(reaped_at(|_| critical_check("c", 60, Timestamp(5)), 300), Some(90));
}

#[test]
fn critical_time_between_two_looks_counts() {
    // Turned critical at 10 s, seen at 30 s: 110 s later, at 120 s, it is over the limit of 100 s.
    let check_at = |s: u64| {
        let mut check = critical_check("c", 100, Timestamp(1_010_000));
        check.status = if s < 10 { PASS } else { FAIL };
        check
    };
    assert_eq!(reaped_at(check_at, 300), Some(120));
}

#[test]
fn a_recovery_between_two_looks_starts_the_time_anew() {
    let check_at = |s: u64| {
        let since = if s < 60 { Timestamp(1_000_000) } else { Timestamp(1_055_000) };
        critical_check("c", 60, since)
    };
    assert_eq!(reaped_at(check_at, 300), Some(120));
}

fn catalog(objects: Vec<Object>) -> Catalog {
    let keys = objects.iter().map(|object| match object.put() {
        Operation::Put { key, value, .. } => KeyChange::Put { key, value, created: Revision(1) },
        Operation::Delete { key } => KeyChange::Delete { key },
    });
    let mut catalog = Catalog::default();
    catalog.apply(&Change { revision: Revision(1), keys: keys.collect() });
    catalog
}

fn check_of(service: &str, id: &str, status: CheckStatus) -> Object {
    Object::Check(Check {
        node: "n1".into(),
        id: id.into(),
        name: format!("check {id}"),
        status,
        output: format!("output {id}"),
        service_id: service.into(),
        ..Check::default()
    })
}

fn alias(node: &str, service: &str) -> Check {
    let definition = CheckDefinition {
        alias_node: node.into(),
        alias_service: service.into(),
        ..CheckDefinition::default()
    };
    Check {
        node: "n1".into(),
        id: CheckId::from("alias"),
        definition: Some(Arc::new(definition)),
        ..Check::default()
    }
}

fn aliased(checks: Vec<Object>, node: &str, service: &str) -> (CheckStatus, String) {
    let mut objects = vec![
        Object::Node(Node { name: "n1".into(), address: "::1".into(), ..Node::default() }),
        Object::Instance(Instance {
            node: "n1".into(),
            id: "web-1".into(),
            service: "web".into(),
            ..Instance::default()
        }),
    ];
    objects.extend(checks);
    alias_verdict(&catalog(objects), &alias(node, service))
}

#[test]
fn alias_is_the_worst_of_the_instance_and_its_node() {
    let node_check = || check_of("", "n", WARN);
    let (status, text) = aliased(vec![node_check(), check_of("web-1", "a", PASS)], "", "web-1");
    assert_eq!((status, text.as_str()), (WARN, "Aliased check \"check n\" failing: output n"));
    let (status, text) = aliased(vec![node_check(), check_of("web-1", "a", FAIL)], "", "web-1");
    assert_eq!((status, text.as_str()), (FAIL, "Aliased check \"check a\" failing: output a"));
    let (status, text) = aliased(vec![check_of("web-1", "a", PASS)], "N1", "web-1");
    assert_eq!((status, text.as_str()), (PASS, "All checks passing."));
}

#[test]
fn alias_of_nothing_to_check_passes() {
    assert_eq!(aliased(vec![], "", "web-1"), (PASS, "No checks found.".into()));
}

#[test]
fn alias_of_an_unknown_instance_is_critical() {
    let expected = "Service web-2 could not be found on node ";
    assert_eq!(aliased(vec![], "", "web-2"), (FAIL, expected.into()));
}

#[test]
fn alias_of_an_unknown_node_is_critical() {
    assert_eq!(aliased(vec![], "n2", ""), (FAIL, "Node n2 could not be found".into()));
}

#[test]
fn alias_of_a_node_ignores_instances_and_itself() {
    let checks = vec![check_of("web-1", "a", FAIL), check_of("", "alias", FAIL)];
    assert_eq!(aliased(checks, "n1", ""), (PASS, "No checks found.".into()));
}
