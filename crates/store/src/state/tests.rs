use super::*;

type Values = State<Arc<[u8]>>;

fn empty() -> Values {
    State::new(Revision(0), NO_LEASE)
}

fn put(key: &str, value: &str, lease: Option<LeaseId>) -> Operation {
    Operation::Put { key: key.into(), value: value.as_bytes().into(), lease }
}

fn delete(key: &str) -> Operation {
    Operation::Delete { key: key.into() }
}

fn txn(operations: Vec<Operation>) -> Txn {
    Txn { compares: Vec::new(), operations }
}

fn compare(key: &str, modified: u64) -> Compare {
    Compare::Key { key: key.into(), modified: Revision(modified) }
}

/// The two invariants of the state, over all of it.
fn check_invariants(state: &Values) {
    for (key, it) in &state.keys {
        assert!(it.created <= it.modified && it.modified <= state.revision, "{key}: {it:?}");
        if it.lease != NO_LEASE {
            assert!(state.leases[&it.lease].keys.contains(key), "{key} is not with its lease");
        }
    }
    for (lease, it) in &state.leases {
        assert!(state.deadlines.contains(&(it.ends, *lease)));
        assert!(it.keys.iter().all(|key| state.keys[key].lease == *lease));
    }
    assert_eq!(state.deadlines.len(), state.leases.len());
}

#[test]
fn compare_in_one_batch_sees_what_the_batch_wrote_before() {
    let (mut state, mut batch) = (empty(), Batch::default());
    let absent = Txn { compares: vec![compare("a", 0)], operations: vec![put("a", "1", None)] };
    assert_eq!(state.commit(absent.clone(), &mut batch).unwrap(), Committed::At(Revision(1)));
    let conflict = Committed::Conflict { key: "a".into() };
    assert_eq!(state.commit(absent, &mut batch).unwrap(), conflict);
    let next = Txn { compares: vec![compare("a", 1)], operations: vec![delete("a")] };
    assert_eq!(state.commit(next, &mut batch).unwrap(), Committed::At(Revision(2)));
    assert_eq!(batch.changes.len(), 2);
    assert_eq!(batch.last_writes(), BTreeMap::from([("a", None)]));
}

/// What is remembered and what is walked over must say the same, for every prefix and revision.
#[test]
fn additions_are_found_whether_they_are_remembered_or_not() {
    for seed in 1..=10 {
        let mut rng = Rng(seed);
        let (mut state, mut now) = (empty(), Instant::now());
        for step in 0..200 {
            rng.step(step, &mut state, &mut now, &mut Batch::default());
        }
        for since in 0..=state.revision().0 {
            for prefix in ["", "k", "k1", "k7", "x"] {
                let added = |it: (&str, &KeyState<_>)| {
                    it.0.starts_with(prefix) && it.1.created > Revision(since)
                };
                let expected = state.iter().any(added);
                assert_eq!(state.has_additions(prefix, Revision(since)), expected);
                let remembered =
                    std::mem::replace(&mut state.additions, Additions::new(state.revision));
                assert_eq!(state.has_additions(prefix, Revision(since)), expected);
                state.additions = remembered;
            }
        }
    }
}

#[test]
fn lease_ends_at_its_deadline_and_not_before() {
    let (mut state, mut batch, start) = (empty(), Batch::default(), Instant::now());
    let lease = state.grant(Duration::from_secs(10), start, &mut batch);
    state
        .commit(txn(vec![put("b", "", Some(lease)), put("a", "", Some(lease))]), &mut batch)
        .unwrap();
    state.keep_alive(lease, start + Duration::from_secs(5)).unwrap();
    assert_eq!(state.deadline(), Some(start + Duration::from_secs(15)));

    let mut batch = Batch::default();
    state.expire(start + Duration::from_millis(14_999), 10, &mut batch);
    assert!(batch.is_empty());
    state.expire(start + Duration::from_secs(15), 10, &mut batch);
    assert_eq!(batch.leases, [LeaseChange::Ended { lease }]);
    let deletes = ["a", "b"].map(|key| KeyChange::Delete { key: key.into() });
    assert_eq!(*batch.changes[0], Change { revision: Revision(2), keys: deletes.into() });
    assert_eq!(state.deadline(), None);
    check_invariants(&state);
}

#[test]
fn leases_that_end_together_take_one_commit_each_up_to_the_bound() {
    let (mut state, mut batch, now) = (empty(), Batch::default(), Instant::now());
    for key in ["a", "b", "c"] {
        let lease = state.grant(Duration::from_secs(1), now, &mut batch);
        state.commit(txn(vec![put(key, "", Some(lease))]), &mut batch).unwrap();
    }
    let mut batch = Batch::default();
    state.expire(now + Duration::from_secs(1), 2, &mut batch);
    assert_eq!(batch.changes.len(), 2);
    state.expire(now + Duration::from_secs(1), 2, &mut batch);
    assert_eq!(batch.changes.len(), 3);
    assert_eq!(state.revision(), Revision(6));
}

#[test]
fn ttl_is_kept_between_a_second_and_a_day() {
    let (mut state, mut batch, now) = (empty(), Batch::default(), Instant::now());
    state.grant(Duration::ZERO, now, &mut batch);
    state.grant(Duration::MAX, now, &mut batch);
    let ttls: Vec<Duration> = state.leases.values().map(|it| it.ttl).collect();
    assert_eq!(ttls, [TTL_MIN, TTL_MAX]);
}

/// Random transactions and lease calls against a naive model of the keys: 20 seeds of 500 steps.
#[test]
fn state_agrees_with_a_naive_model_of_keys() {
    for seed in 1..=20 {
        let mut rng = Rng(seed);
        let (mut state, mut now) = (empty(), Instant::now());
        let mut model: BTreeMap<String, Arc<[u8]>> = BTreeMap::new();
        for step in 0..500 {
            let mut batch = Batch::default();
            let before = state.revision();
            rng.step(step, &mut state, &mut now, &mut batch);
            for (i, change) in batch.changes.iter().enumerate() {
                assert_eq!(change.revision.0, before.0 + 1 + i as u64, "seed {seed} step {step}");
                assert!(!change.keys.is_empty());
                for it in &change.keys {
                    match it {
                        KeyChange::Put { key, value, created } => {
                            let new = model.insert(key.clone(), value.clone()).is_none();
                            assert_eq!(new, *created == change.revision);
                        }
                        KeyChange::Delete { key } => assert!(model.remove(key).is_some()),
                    }
                }
            }
            check_invariants(&state);
            let keys = state.iter().map(|(key, it)| (key.to_owned(), it.held.clone()));
            assert!(keys.eq(model.clone()), "seed {seed} step {step}");
        }
    }
}

/// xorshift64: the test needs variety, not quality.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn step(&mut self, step: u64, state: &mut Values, now: &mut Instant, batch: &mut Batch) {
        *now += Duration::from_millis(self.below(300));
        let lease = LeaseId(self.below(state.lease_last().0 + 2));
        match self.below(8) {
            0 => {
                state.grant(Duration::from_secs(1 + self.below(5)), *now, batch);
            }
            // The last lease may have ended or never been: that must change nothing.
            1 => _ = state.keep_alive(lease, *now),
            2 => _ = state.revoke(lease, batch),
            3 => state.expire(*now, 2, batch),
            _ => {
                let first = self.below(12);
                let count = 1 + self.below(3);
                let operations = (first..first + count).map(|i| match self.below(4) {
                    0 => delete(&format!("k{i}")),
                    1 => put(&format!("k{i}"), &step.to_string(), Some(lease)),
                    _ => put(&format!("k{i}"), &step.to_string(), None),
                });
                _ = state.commit(txn(operations.collect()), batch);
            }
        }
    }
}
