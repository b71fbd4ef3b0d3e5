use super::super::history::{Input, Operation, Output, Seen};
use super::check;

const GET: Input = Input::Get;
const DELETE: Input = Input::Delete;
const YES: Output = Output::Done(true);
const NO: Output = Output::Done(false);

fn set(value: u64) -> Input {
    Input::Set { value }
}

fn cas(index: u64, value: u64) -> Input {
    Input::Cas { index, value }
}

fn acquire(session: u32, value: u64) -> Input {
    Input::Acquire { session, value }
}

fn release(session: u32, value: u64) -> Input {
    Input::Release { session, value }
}

fn end(session: u32) -> Input {
    Input::End { session }
}

fn none() -> Output {
    Output::Seen(None)
}

/// A value at an index, held by nobody, never locked.
fn seen(value: u64, modify_index: u64) -> Output {
    Output::Seen(Some(Seen { value, modify_index, lock_index: 0, session: None }))
}

fn locked(value: u64, modify_index: u64, lock_index: u64, session: Option<u32>) -> Output {
    Output::Seen(Some(Seen { value, modify_index, lock_index, session }))
}

/// From one moment to another.
fn at(called: u64, returned: u64, input: Input, output: Output) -> Operation {
    Operation { called, returned, input, output }
}

/// One after the other.
fn in_turn(operations: &[(Input, Output)]) -> Vec<Operation> {
    let moments = (0..).step_by(2);
    let pairs = moments.zip(operations);
    pairs
        .map(|(moment, (input, output))| at(moment, moment + 1, input.clone(), output.clone()))
        .collect()
}

#[track_caller]
fn holds(history: &[Operation]) {
    if let Err(violation) = check(history) {
        panic!("no order explains {violation:#?}");
    }
}

#[track_caller]
fn fails_at(history: &[Operation], operation: usize) {
    let violation = check(history).expect_err("no order explains it");
    assert_eq!(violation.operation, history[operation]);
}

#[test]
fn what_is_asked_in_turn_is_answered_in_turn() {
    holds(&in_turn(&[
        (GET, none()),
        (set(1), YES),
        (GET, seen(1, 5)),
        (cas(5, 2), YES),
        (cas(5, 3), NO),
        (cas(0, 4), NO),
        (GET, seen(2, 6)),
        (Input::DeleteCas { index: 5 }, NO),
        (Input::DeleteCas { index: 6 }, YES),
        (Input::DeleteCas { index: 6 }, YES),
        (cas(6, 7), NO),
        (cas(0, 8), YES),
        (DELETE, YES),
        (GET, none()),
    ]));
}

#[test]
fn a_read_that_misses_what_was_written_before_fails() {
    fails_at(&in_turn(&[(set(1), YES), (GET, seen(1, 5)), (set(2), YES), (GET, seen(1, 5))]), 3);
    fails_at(&in_turn(&[(set(1), YES), (GET, none())]), 1);
    fails_at(&in_turn(&[(set(1), YES), (DELETE, YES), (GET, seen(1, 5))]), 2);
}

#[test]
fn a_read_of_what_was_never_written_fails() {
    fails_at(&in_turn(&[(set(1), YES), (GET, seen(2, 5))]), 1);
    fails_at(&[at(0, 1, GET, seen(1, 5)), at(2, 3, set(1), YES)], 0);
}

#[test]
fn operations_that_overlap_may_come_in_either_order() {
    for read in [none(), seen(1, 5)] {
        holds(&[at(0, 3, set(1), YES), at(1, 2, GET, read)]);
    }
    let both = [at(0, 9, set(1), YES), at(0, 9, set(2), YES)];
    for last in [seen(1, 5), seen(2, 5)] {
        holds(&[&both[..], &[at(10, 11, GET, last)]].concat());
    }
}

#[test]
fn a_deletion_that_could_have_found_nothing_may_find_something_later() {
    holds(&[
        at(0, 9, DELETE, YES),
        at(1, 2, GET, none()),
        at(3, 4, set(1), YES),
        at(5, 6, GET, none()),
    ]);
}

#[test]
fn once_a_read_has_seen_a_write_all_later_reads_do() {
    let history = [at(0, 9, set(1), YES), at(1, 2, GET, seen(1, 5)), at(3, 4, GET, none())];
    fails_at(&history, 2);
    let swapped = [at(0, 9, set(1), YES), at(1, 2, GET, none()), at(3, 4, GET, seen(1, 5))];
    holds(&swapped);
}

#[test]
fn two_reads_do_not_disagree_about_the_order_of_writes() {
    let writes = [at(0, 20, set(1), YES), at(0, 20, set(2), YES)];
    let reads = [at(1, 2, GET, seen(1, 5)), at(3, 4, GET, seen(2, 6)), at(5, 6, GET, seen(1, 5))];
    fails_at(&[&writes[..], &reads].concat(), 4);
    holds(&[&writes[..], &reads[..2]].concat());
}

#[test]
fn of_two_writes_on_one_index_one_goes_through() {
    let first = in_turn(&[(set(1), YES), (GET, seen(1, 5))]);
    let both = |one, two| {
        let race = [at(10, 12, cas(5, 2), one), at(10, 12, cas(5, 3), two)];
        [&first[..], &race].concat()
    };
    holds(&both(YES, NO));
    holds(&both(NO, YES));
    assert!(check(&both(YES, YES)).is_err());
    assert!(check(&both(NO, NO)).is_err());
}

#[test]
fn of_two_writes_of_a_new_key_one_goes_through() {
    let both = |one, two| [at(0, 2, cas(0, 1), one), at(0, 2, cas(0, 2), two)];
    holds(&both(YES, NO));
    assert!(check(&both(YES, YES)).is_err());
    assert!(check(&both(NO, NO)).is_err());
}

#[test]
fn a_write_refused_for_its_index_had_another() {
    let history = [
        at(0, 1, set(1), YES),
        at(2, 9, GET, seen(1, 5)),
        at(4, 5, cas(5, 2), NO),
        at(10, 11, GET, seen(1, 5)),
    ];
    assert!(check(&history).is_err());
}

#[test]
fn indexes_of_a_key_only_grow() {
    holds(&in_turn(&[(set(1), YES), (GET, seen(1, 5)), (set(2), YES), (GET, seen(2, 9))]));
    fails_at(&in_turn(&[(set(1), YES), (GET, seen(1, 5)), (set(2), YES), (GET, seen(2, 4))]), 3);
    fails_at(&in_turn(&[(set(1), YES), (GET, seen(1, 5)), (GET, seen(1, 6))]), 2);
    let anew = [(set(1), YES), (GET, seen(1, 5)), (DELETE, YES), (set(2), YES), (GET, seen(2, 5))];
    fails_at(&in_turn(&anew), 4);
}

#[test]
fn one_session_holds_a_key_at_a_time() {
    holds(&in_turn(&[
        (acquire(1, 1), YES),
        (acquire(2, 2), NO),
        (acquire(1, 3), YES),
        (GET, locked(3, 5, 1, Some(1))),
        (set(4), YES),
        (release(2, 5), NO),
        (GET, locked(4, 6, 1, Some(1))),
        (release(1, 6), YES),
        (release(1, 7), NO),
        (GET, locked(6, 7, 1, None)),
        (acquire(2, 8), YES),
        (GET, locked(8, 8, 2, Some(2))),
        (DELETE, YES),
        (acquire(1, 9), YES),
        (GET, locked(9, 9, 1, Some(1))),
    ]));
    fails_at(&in_turn(&[(acquire(1, 1), YES), (acquire(2, 2), YES)]), 1);
    fails_at(&in_turn(&[(acquire(1, 1), YES), (release(2, 2), YES)]), 1);
    fails_at(&in_turn(&[(acquire(1, 1), NO)]), 0);
    let both = |one, two| [at(0, 2, acquire(1, 1), one), at(0, 2, acquire(2, 2), two)];
    holds(&both(YES, NO));
    assert!(check(&both(YES, YES)).is_err());
    assert!(check(&both(NO, NO)).is_err());
}

#[test]
fn locks_are_counted() {
    let taken_twice = [(acquire(1, 1), YES), (release(1, 2), YES), (acquire(2, 3), YES)];
    let read = |lock_index| {
        in_turn(&[&taken_twice[..], &[(GET, locked(3, 9, lock_index, Some(2)))]].concat())
    };
    holds(&read(2));
    fails_at(&read(1), 3);
}

#[test]
fn a_session_that_ends_lets_go_and_takes_nothing_more() {
    holds(&in_turn(&[
        (acquire(1, 1), YES),
        (GET, locked(1, 5, 1, Some(1))),
        (end(1), YES),
        (GET, locked(1, 6, 1, None)),
        (acquire(1, 2), Output::NoSuchSession),
        (end(1), YES),
        (acquire(2, 3), YES),
    ]));
    fails_at(&in_turn(&[(end(1), YES), (acquire(1, 1), YES)]), 1);
    fails_at(&in_turn(&[(acquire(1, 1), Output::NoSuchSession)]), 0);
    fails_at(&in_turn(&[(acquire(1, 1), YES), (end(1), YES), (acquire(2, 2), NO)]), 2);
    let race = |taken| [at(0, 3, end(1), YES), at(1, 2, acquire(1, 1), taken)];
    holds(&race(YES));
    holds(&race(Output::NoSuchSession));
}

#[test]
fn what_nobody_answered_happened_or_not_but_not_both() {
    let cut = [at(0, 1, set(1), YES), at(2, 5, set(2), Output::Unknown)];
    let then = |reads: &[Output]| {
        let reads = (6..).step_by(2).zip(reads);
        let reads = reads.map(|(moment, seen)| at(moment, moment + 1, GET, seen.clone()));
        cut.iter().cloned().chain(reads).collect::<Vec<_>>()
    };
    holds(&then(&[seen(1, 5), seen(1, 5)]));
    holds(&then(&[seen(2, 6), seen(2, 6)]));
    fails_at(&then(&[seen(2, 6), seen(1, 5)]), 3);
    fails_at(&then(&[seen(1, 5), seen(2, 6)]), 3);
}

#[test]
fn what_nobody_answered_is_bound_by_its_conditions() {
    let history = |index, last: Output| {
        [
            at(0, 1, set(1), YES),
            at(2, 3, GET, seen(1, 5)),
            at(4, 5, cas(index, 2), Output::Unknown),
            at(6, 7, GET, last),
        ]
    };
    holds(&history(5, seen(2, 6)));
    holds(&history(5, seen(1, 5)));
    holds(&history(4, seen(1, 5)));
    fails_at(&history(4, seen(2, 6)), 3);
}

#[test]
fn a_write_that_was_answered_and_then_lost_fails() {
    let history = [
        at(0, 1, set(1), YES),
        at(2, 5, set(2), Output::Unknown),
        at(3, 4, set(3), YES),
        at(6, 7, GET, seen(1, 5)),
    ];
    fails_at(&history, 3);
}
