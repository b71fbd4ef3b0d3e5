//! Sessions: what begins and ends them, what becomes of their locks, and when their time is over.

use std::time::Duration;

use model::{Session, SessionBehavior, SessionId};
use proptest::prelude::*;

use super::*;
use crate::{KvCondition, SessionKeeper};

const DELAY: Duration = Duration::from_millis(15_000);

fn session(id: &str, checks: &[&str]) -> Session {
    Session {
        id: id.into(),
        node: "n1".into(),
        lock_delay: DELAY,
        node_checks: checks.iter().map(|it| (*it).into()).collect(),
        ..Session::default()
    }
}

/// A node with a check that passes.
fn base() -> Catalog {
    let mut catalog = agent_catalog();
    run(&mut catalog, &Command::RegisterCheck(agent_check("c")), 2).unwrap();
    run(&mut catalog, &status("c", CheckStatus::Passing, "ok"), 3).unwrap();
    catalog
}

fn acquire(key: &str, session: &str) -> Command {
    lock(key, KvCondition::Acquire(session.into()))
}

fn release(key: &str, session: &str) -> Command {
    lock(key, KvCondition::Release(session.into()))
}

fn lock(key: &str, when: KvCondition) -> Command {
    let value = b"v".as_slice().into();
    Command::SetKv { entry: model::KvEntry { key: key.into(), value, ..Default::default() }, when }
}

fn holder(catalog: &Catalog, key: &str) -> String {
    catalog.kv(&key.into()).map(|it| it.session.to_string()).unwrap_or_default()
}

#[test]
fn a_session_needs_its_node_and_checks_that_do_not_fail() {
    let mut catalog = base();
    let create = |session: Session| Command::CreateSession(session);
    let elsewhere = Session { node: "n9".into(), ..session("s", &[]) };
    let refused = |catalog: &mut Catalog, session| run(catalog, &create(session), 4).unwrap_err();
    assert_eq!(refused(&mut catalog, elsewhere), Rejection::SessionNodeMissing);
    let missing = Rejection::SessionCheckMissing("d".into());
    assert_eq!(refused(&mut catalog, session("s", &["c", "d"])), missing);
    run(&mut catalog, &create(session("s", &["c"])), 4).unwrap();
    run(&mut catalog, &status("c", CheckStatus::Critical, "no"), 5).unwrap();
    let critical = Rejection::SessionCheckCritical("c".into());
    assert_eq!(refused(&mut catalog, session("t", &["c"])), critical);
    let renew = |id: &str| Command::RenewSession(id.into());
    assert!(run(&mut catalog, &renew("s"), 6).is_err(), "its check failed");
}

#[test]
fn one_holds_a_lock_and_others_do_not() {
    let mut catalog = base();
    for id in ["s", "t"] {
        run(&mut catalog, &Command::CreateSession(session(id, &[])), 4).unwrap();
    }
    run(&mut catalog, &acquire("k", "s"), 5).unwrap();
    assert_eq!(holder(&catalog, "k"), "s");
    let held = Err(Rejection::KvLockHeld("k".into()));
    assert_eq!(run(&mut catalog, &acquire("k", "t"), 6), held);
    assert_eq!(run(&mut catalog, &acquire("k", "s"), 6), Ok(None), "it holds it already");
    let not_held = Err(Rejection::KvLockNotHeld("k".into()));
    assert_eq!(run(&mut catalog, &release("k", "t"), 7), not_held);
    // Locks are advice: a plain write goes through, and changes nothing of the lock.
    let entry = model::KvEntry { key: "k".into(), flags: 3, ..Default::default() };
    run(&mut catalog, &Command::SetKv { entry, when: KvCondition::Always }, 8).unwrap();
    assert_eq!(holder(&catalog, "k"), "s");
    run(&mut catalog, &release("k", "s"), 9).unwrap();
    // What is released is free at once.
    run(&mut catalog, &acquire("k", "t"), 9).unwrap();
    assert_eq!(catalog.kv(&"k".into()).unwrap().lock_index, 2);
    let invalid = Err(Rejection::InvalidSession("u".into()));
    assert_eq!(run(&mut catalog, &acquire("k", "u"), 10), invalid);
    assert_eq!(run(&mut catalog, &acquire("k", ""), 10), Err(Rejection::SessionMissing));
}

#[test]
fn a_session_that_ends_gives_its_locks_back_after_the_delay() {
    for (behavior, is_kept) in [(SessionBehavior::Release, true), (SessionBehavior::Delete, false)]
    {
        let mut catalog = base();
        let first = Session { behavior, ..session("s", &["c"]) };
        run(&mut catalog, &Command::CreateSession(first), 4).unwrap();
        run(&mut catalog, &Command::CreateSession(session("t", &[])), 4).unwrap();
        run(&mut catalog, &acquire("k", "s"), 5).unwrap();
        let ended_at = 1_000;
        run(&mut catalog, &status("c", CheckStatus::Critical, "no"), ended_at).unwrap();
        assert!(catalog.session(&"s".into()).is_none());
        assert_eq!(
            (holder(&catalog, "k").as_str(), catalog.kv_count()),
            ("", usize::from(is_kept))
        );
        let free_at = ended_at + 15_000;
        let delayed = Err(Rejection::KvLockDelayed("k".into()));
        assert_eq!(run(&mut catalog, &acquire("k", "t"), free_at - 1), delayed);
        run(&mut catalog, &acquire("k", "t"), free_at).unwrap();
        assert_eq!(holder(&catalog, "k"), "t");
        assert_eq!(catalog.lock_delays().count(), 0);
    }
}

#[test]
fn a_session_ends_with_its_check_and_with_its_node() {
    let gone = Command::DeregisterCheck { node: "n1".into(), id: "c".into() };
    let target = CatalogTarget::Node;
    let node_gone = Command::DeregisterFromCatalog { node: "n1".into(), target };
    for (command, ended) in [(gone, 1), (node_gone, 2)] {
        let mut catalog = base();
        run(&mut catalog, &Command::CreateSession(session("s", &["c"])), 4).unwrap();
        run(&mut catalog, &Command::CreateSession(session("t", &[])), 4).unwrap();
        run(&mut catalog, &command, 5).unwrap();
        assert_eq!(catalog.session_count(), 2 - ended);
    }
}

proptest! {
    /// A client that renews now and then and dies: its session is there for its time to live after the last renewal, and
    /// gone before twice that. Somebody looks after `lag` at the latest.
    #[test]
    fn a_session_lives_its_time_and_not_twice_that(
        ttl_s in 10..3_600u64,
        pauses_percent in prop::collection::vec(1..100u64, 0..20),
    ) {
        let ttl = Duration::from_secs(ttl_s);
        let mut catalog = base();
        let session = Session { ttl, ..session("s", &[]) };
        run(&mut catalog, &Command::CreateSession(session), 4).unwrap();
        let mut keeper = SessionKeeper::default();
        let mut now = Duration::from_secs(1);
        keeper.follow(&catalog, now);
        let id = SessionId::from("s");
        for percent in pauses_percent {
            let next = now + ttl * u32::try_from(percent).unwrap() / 100;
            prop_assert_eq!(keeper.take_ended(next), Vec::<SessionId>::new());
            now = next;
            prop_assert!(keeper.renew(&id, ttl, now));
        }
        let end = keeper.next_end().unwrap();
        prop_assert!(end >= now + ttl && end < now + 2 * ttl);
        prop_assert_eq!(keeper.take_ended(end - Duration::from_millis(1)), Vec::<SessionId>::new());
        prop_assert_eq!(keeper.take_ended(end), vec![id.clone()]);
        // Too late, though it is still in the catalog.
        keeper.follow(&catalog, end);
        prop_assert!(!keeper.renew(&id, ttl, end));
        prop_assert_eq!(keeper.next_end(), None);
        run(&mut catalog, &Command::EndSession(id), 5).unwrap();
        keeper.follow(&catalog, end);
        prop_assert_eq!(keeper.next_end(), None);
    }
}
