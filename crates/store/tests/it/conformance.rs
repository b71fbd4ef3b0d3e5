//! What every engine must do. Each test is run once for each engine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{LeaseId, Revision, Txn};
use store::{Committed, Store, StoreError};
use tokio::task::JoinSet;

use crate::{
    change, compare, contents, delete, delete_change, entry, next, nothing_added, put, put_change,
    put_leased, txn, write,
};

const HOUR: Duration = Duration::from_secs(3600);

macro_rules! every_engine {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(store::open_memory()).await;
            })*
        }
        mod redb {
            $(#[tokio::test]
            async fn $name() {
                let dir = tempfile::tempdir().unwrap();
                super::$name(store::open_redb(dir.path()).unwrap()).await;
            })*
        }
    };
}

every_engine! {
    new_store_is_empty_at_revision_zero,
    commit_takes_the_next_revision_and_is_in_the_snapshot,
    key_keeps_its_created_revision_until_it_is_deleted,
    failed_compare_writes_nothing_and_names_the_first_key,
    compare_with_zero_holds_only_for_an_absent_key,
    nothing_added_fails_for_a_key_that_came_to_be_later,
    nothing_added_does_not_mind_changes_and_deletions,
    nothing_added_holds_over_more_additions_than_are_remembered,
    delete_of_an_absent_key_is_no_effect,
    transaction_without_effect_commits_nothing,
    one_of_many_racing_transactions_wins,
    concurrent_commits_take_every_revision_once,
    watch_sees_history_and_then_each_commit_in_order,
    watch_from_the_future_waits_for_it,
    watch_of_forgotten_history_is_refused,
    watcher_that_falls_behind_is_told_and_commits_go_on,
    dropped_watcher_does_not_disturb_commits,
    watch_ends_when_the_store_is_closed,
    revoked_lease_takes_its_keys_in_one_commit,
    expired_lease_takes_its_keys_and_watchers_see_it,
    lease_that_is_kept_alive_outlives_its_ttl,
    put_without_lease_detaches_the_key,
    put_under_another_lease_moves_the_key,
    deleted_key_that_is_put_again_is_not_with_its_old_lease,
    lease_without_keys_ends_without_a_commit,
    ended_lease_is_not_found,
    put_under_a_lease_that_does_not_exist_writes_nothing,
    big_values_and_keys_with_nul_come_back_as_they_were,
}

async fn new_store_is_empty_at_revision_zero(store: Arc<dyn Store>) {
    assert_eq!(contents(&*store).await, (0, vec![]));
}

async fn commit_takes_the_next_revision_and_is_in_the_snapshot(store: Arc<dyn Store>) {
    assert_eq!(write(&*store, [put("b", "1"), put("a", "2")]).await, 1);
    assert_eq!(write(&*store, [put("c", "3")]).await, 2);
    let expected = vec![entry("a", "2", 1, 1), entry("b", "1", 1, 1), entry("c", "3", 2, 2)];
    assert_eq!(contents(&*store).await, (2, expected));
}

async fn key_keeps_its_created_revision_until_it_is_deleted(store: Arc<dyn Store>) {
    let mut watch = store.watch(Revision(0)).await.unwrap();
    write(&*store, [put("a", "1")]).await;
    write(&*store, [put("a", "2")]).await;
    assert_eq!(contents(&*store).await, (2, vec![entry("a", "2", 1, 2)]));
    write(&*store, [delete("a")]).await;
    assert_eq!(contents(&*store).await, (3, vec![]));
    write(&*store, [put("a", "3")]).await;
    assert_eq!(contents(&*store).await, (4, vec![entry("a", "3", 4, 4)]));

    assert_eq!(next(&mut watch).await, change(1, [put_change("a", "1", 1)]));
    assert_eq!(next(&mut watch).await, change(2, [put_change("a", "2", 1)]));
    assert_eq!(next(&mut watch).await, change(3, [delete_change("a")]));
    assert_eq!(next(&mut watch).await, change(4, [put_change("a", "3", 4)]));
}

async fn failed_compare_writes_nothing_and_names_the_first_key(store: Arc<dyn Store>) {
    write(&*store, [put("a", "1"), put("b", "1")]).await;
    let txn = Txn {
        compares: vec![compare("a", 1), compare("b", 9), compare("c", 9)],
        operations: vec![put("a", "2"), delete("b")],
    };
    let conflict = Committed::Conflict { key: "b".into() };
    assert_eq!(store.commit(txn).await.unwrap(), conflict);
    let expected = vec![entry("a", "1", 1, 1), entry("b", "1", 1, 1)];
    assert_eq!(contents(&*store).await, (1, expected));
}

async fn compare_with_zero_holds_only_for_an_absent_key(store: Arc<dyn Store>) {
    let create = || Txn { compares: vec![compare("a", 0)], operations: vec![put("a", "1")] };
    let conflict = Committed::Conflict { key: "a".into() };
    assert_eq!(store.commit(create()).await.unwrap(), Committed::At(Revision(1)));
    assert_eq!(store.commit(create()).await.unwrap(), conflict);
    write(&*store, [delete("a")]).await;
    assert_eq!(store.commit(create()).await.unwrap(), Committed::At(Revision(3)));
}

/// Whether a transaction that wrote nothing else would have been committed.
async fn holds(store: &dyn Store, prefix: &str, since: u64) -> bool {
    let compares = vec![nothing_added(prefix, since)];
    match store.commit(Txn { compares, operations: vec![] }).await.unwrap() {
        Committed::At(_) => true,
        Committed::Conflict { key } => {
            assert_eq!(key, prefix);
            false
        }
    }
}

async fn nothing_added_fails_for_a_key_that_came_to_be_later(store: Arc<dyn Store>) {
    assert!(holds(&*store, "a\0", 0).await);
    write(&*store, [put("a\0x", "1"), put("b\0x", "1")]).await;
    write(&*store, [put("a\0y", "1")]).await;
    write(&*store, [put("ab", "1"), put("c", "1")]).await;
    for (since, expected) in [(0, false), (1, false), (2, true), (3, true), (9, true)] {
        assert_eq!(holds(&*store, "a\0", since).await, expected, "since {since}");
    }
    assert!(!holds(&*store, "b\0", 0).await && holds(&*store, "b\0", 1).await);
    let compares = vec![compare("a\0x", 1), nothing_added("a\0", 1)];
    let txn = Txn { compares, operations: vec![delete("a\0x")] };
    let conflict = Committed::Conflict { key: "a\0".into() };
    assert_eq!(store.commit(txn).await.unwrap(), conflict);
    assert_eq!(contents(&*store).await.0, 3);
}

async fn nothing_added_does_not_mind_changes_and_deletions(store: Arc<dyn Store>) {
    write(&*store, [put("a\0x", "1"), put("a\0y", "1")]).await;
    write(&*store, [put("a\0x", "2"), delete("a\0y")]).await;
    write(&*store, [put("a\0z", "1")]).await;
    write(&*store, [delete("a\0z")]).await;
    assert!(holds(&*store, "a\0", 1).await);
    write(&*store, [put("a\0y", "again")]).await;
    assert!(!holds(&*store, "a\0", 1).await);
}

async fn nothing_added_holds_over_more_additions_than_are_remembered(store: Arc<dyn Store>) {
    write(&*store, [put("a\0x", "1"), put("c\0x", "1")]).await;
    write(&*store, (0..5_000).map(|i| put(&format!("b\0{i}"), ""))).await;
    write(&*store, [put("c\0y", "1")]).await;
    assert!(holds(&*store, "a\0", 1).await && !holds(&*store, "a\0", 0).await);
    assert!(holds(&*store, "b\0", 2).await && !holds(&*store, "b\0", 1).await);
    assert!(!holds(&*store, "c\0", 1).await && holds(&*store, "c\0", 3).await);
}

async fn delete_of_an_absent_key_is_no_effect(store: Arc<dyn Store>) {
    let mut watch = store.watch(Revision(0)).await.unwrap();
    assert_eq!(write(&*store, [delete("absent"), put("a", "1")]).await, 1);
    assert_eq!(next(&mut watch).await, change(1, [put_change("a", "1", 1)]));
}

async fn transaction_without_effect_commits_nothing(store: Arc<dyn Store>) {
    write(&*store, [put("a", "1")]).await;
    let mut watch = store.watch(Revision(1)).await.unwrap();
    assert_eq!(write(&*store, [delete("absent")]).await, 1);
    assert_eq!(write(&*store, []).await, 1);
    let failing = Txn { compares: vec![compare("a", 7)], operations: vec![] };
    let conflict = Committed::Conflict { key: "a".into() };
    assert_eq!(store.commit(failing).await.unwrap(), conflict);
    assert_eq!(write(&*store, [delete("a")]).await, 2);
    assert_eq!(next(&mut watch).await, change(2, [delete_change("a")]));
}

async fn one_of_many_racing_transactions_wins(store: Arc<dyn Store>) {
    let mut racing = JoinSet::new();
    for i in 0..50 {
        let store = Arc::clone(&store);
        let operations = vec![put("lock", &i.to_string())];
        let txn = Txn { compares: vec![compare("lock", 0)], operations };
        racing.spawn(async move { store.commit(txn).await.unwrap() });
    }
    let outcomes = racing.join_all().await;
    let won = outcomes.iter().filter(|it| matches!(it, Committed::At(Revision(1)))).count();
    let lost = outcomes.iter().filter(|it| matches!(it, Committed::Conflict { .. })).count();
    assert_eq!((won, lost), (1, 49));
}

async fn concurrent_commits_take_every_revision_once(store: Arc<dyn Store>) {
    let mut watch = store.watch(Revision(0)).await.unwrap();
    let mut commits = JoinSet::new();
    for task in 0..16 {
        let store = Arc::clone(&store);
        commits.spawn(async move {
            let mut revisions = Vec::new();
            for i in 0..25 {
                revisions.push(write(&*store, [put(&format!("{task}/{i}"), "")]).await);
            }
            assert!(revisions.is_sorted(), "a later commit has an earlier revision: {revisions:?}");
            revisions
        });
    }
    let mut revisions = commits.join_all().await.concat();
    revisions.sort_unstable();
    assert!(revisions.into_iter().eq(1..=400));
    for revision in 1..=400 {
        assert_eq!(next(&mut watch).await.revision, Revision(revision));
    }
}

async fn watch_sees_history_and_then_each_commit_in_order(store: Arc<dyn Store>) {
    for i in 1..=3 {
        write(&*store, [put("a", &i.to_string())]).await;
    }
    let mut watch = store.watch(Revision(1)).await.unwrap();
    write(&*store, [put("b", "4")]).await;
    assert_eq!(next(&mut watch).await, change(2, [put_change("a", "2", 1)]));
    assert_eq!(watch.try_next().unwrap().unwrap(), change(3, [put_change("a", "3", 1)]));
    assert_eq!(next(&mut watch).await, change(4, [put_change("b", "4", 4)]));
    assert!(watch.try_next().is_none());
}

async fn watch_from_the_future_waits_for_it(store: Arc<dyn Store>) {
    let mut watch = store.watch(Revision(2)).await.unwrap();
    for i in 1..=3 {
        write(&*store, [put("a", &i.to_string())]).await;
    }
    assert_eq!(next(&mut watch).await, change(3, [put_change("a", "3", 1)]));
}

/// Commits `count` transactions, all queued at once.
async fn write_many(store: &Arc<dyn Store>, count: usize) {
    let mut commits = JoinSet::new();
    for i in 0..count {
        let store = Arc::clone(store);
        commits.spawn(async move { write(&*store, [put(&format!("k{}", i % 100), "")]).await });
    }
    commits.join_all().await;
}

async fn watch_of_forgotten_history_is_refused(store: Arc<dyn Store>) {
    write_many(&store, 10_500).await;
    let oldest = match store.watch(Revision(0)).await {
        Err(StoreError::Compacted { oldest }) => oldest,
        other => panic!("{other:?}"),
    };
    assert_eq!(oldest, Revision(500));
    let mut watch = store.watch(oldest).await.unwrap();
    for revision in 501..=10_500 {
        assert_eq!(next(&mut watch).await.revision, Revision(revision));
    }
}

async fn watcher_that_falls_behind_is_told_and_commits_go_on(store: Arc<dyn Store>) {
    let mut slow = store.watch(Revision(0)).await.unwrap();
    write_many(&store, 4096).await;
    assert_eq!(next(&mut slow).await.revision, Revision(1));
    write_many(&store, 2).await;
    for revision in 2..=4097 {
        assert_eq!(next(&mut slow).await.revision, Revision(revision));
    }
    assert!(matches!(slow.next().await, Some(Err(StoreError::Lagged))));
    assert!(slow.next().await.is_none());

    let mut fresh = store.watch(Revision(4097)).await.unwrap();
    assert_eq!(next(&mut fresh).await.revision, Revision(4098));
}

async fn dropped_watcher_does_not_disturb_commits(store: Arc<dyn Store>) {
    let gone = store.watch(Revision(0)).await.unwrap();
    let mut stays = store.watch(Revision(0)).await.unwrap();
    drop(gone);
    write(&*store, [put("a", "1")]).await;
    assert_eq!(next(&mut stays).await.revision, Revision(1));
}

async fn watch_ends_when_the_store_is_closed(store: Arc<dyn Store>) {
    let mut watch = store.watch(Revision(0)).await.unwrap();
    write(&*store, [put("a", "1")]).await;
    drop(store);
    assert_eq!(next(&mut watch).await.revision, Revision(1));
    assert!(watch.next().await.is_none());
}

async fn revoked_lease_takes_its_keys_in_one_commit(store: Arc<dyn Store>) {
    let lease = store.grant_lease(HOUR).await.unwrap();
    write(&*store, [put_leased("b", "", lease), put("stays", "")]).await;
    write(&*store, [put_leased("a", "", lease)]).await;
    let mut watch = store.watch(Revision(2)).await.unwrap();
    store.revoke_lease(lease).await.unwrap();
    assert_eq!(next(&mut watch).await, change(3, [delete_change("a"), delete_change("b")]));
    assert_eq!(contents(&*store).await, (3, vec![entry("stays", "", 1, 1)]));
}

async fn expired_lease_takes_its_keys_and_watchers_see_it(store: Arc<dyn Store>) {
    let mut watch = store.watch(Revision(0)).await.unwrap();
    let granted = Instant::now();
    let lease = store.grant_lease(Duration::from_secs(1)).await.unwrap();
    write(&*store, [put_leased("a", "", lease)]).await;
    assert_eq!(next(&mut watch).await, change(1, [put_change("a", "", 1)]));
    assert_eq!(next(&mut watch).await, change(2, [delete_change("a")]));
    assert!(granted.elapsed() >= Duration::from_secs(1), "it ended after {:?}", granted.elapsed());
    assert!(
        matches!(store.keep_alive(lease).await, Err(StoreError::LeaseNotFound(it)) if it == lease)
    );
}

/// The longer lease is kept alive when the shorter one's key goes, halfway through its own time.
async fn lease_that_is_kept_alive_outlives_its_ttl(store: Arc<dyn Store>) {
    let mut watch = store.watch(Revision(0)).await.unwrap();
    let kept = store.grant_lease(Duration::from_secs(2)).await.unwrap();
    let other = store.grant_lease(Duration::from_secs(1)).await.unwrap();
    write(&*store, [put_leased("kept", "", kept), put_leased("other", "", other)]).await;
    assert_eq!(next(&mut watch).await.revision, Revision(1));
    assert_eq!(next(&mut watch).await, change(2, [delete_change("other")]));
    let kept_alive = Instant::now();
    store.keep_alive(kept).await.unwrap();
    assert_eq!(next(&mut watch).await, change(3, [delete_change("kept")]));
    assert!(kept_alive.elapsed() >= Duration::from_secs(2));
}

async fn put_without_lease_detaches_the_key(store: Arc<dyn Store>) {
    let lease = store.grant_lease(HOUR).await.unwrap();
    write(&*store, [put_leased("a", "1", lease), put_leased("b", "1", lease)]).await;
    write(&*store, [put("a", "2")]).await;
    store.revoke_lease(lease).await.unwrap();
    assert_eq!(contents(&*store).await, (3, vec![entry("a", "2", 1, 2)]));
}

async fn put_under_another_lease_moves_the_key(store: Arc<dyn Store>) {
    let first = store.grant_lease(HOUR).await.unwrap();
    let second = store.grant_lease(HOUR).await.unwrap();
    assert_ne!(first, second);
    write(&*store, [put_leased("a", "1", first)]).await;
    write(&*store, [put_leased("a", "2", second)]).await;
    store.revoke_lease(first).await.unwrap();
    assert_eq!(contents(&*store).await, (2, vec![entry("a", "2", 1, 2)]));
    store.revoke_lease(second).await.unwrap();
    assert_eq!(contents(&*store).await, (3, vec![]));
}

async fn deleted_key_that_is_put_again_is_not_with_its_old_lease(store: Arc<dyn Store>) {
    let lease = store.grant_lease(HOUR).await.unwrap();
    write(&*store, [put_leased("a", "1", lease)]).await;
    write(&*store, [delete("a")]).await;
    write(&*store, [put("a", "2")]).await;
    store.revoke_lease(lease).await.unwrap();
    assert_eq!(contents(&*store).await, (3, vec![entry("a", "2", 3, 3)]));
}

async fn lease_without_keys_ends_without_a_commit(store: Arc<dyn Store>) {
    let lease = store.grant_lease(HOUR).await.unwrap();
    store.revoke_lease(lease).await.unwrap();
    assert_eq!(contents(&*store).await, (0, vec![]));
}

async fn ended_lease_is_not_found(store: Arc<dyn Store>) {
    let lease = store.grant_lease(HOUR).await.unwrap();
    store.keep_alive(lease).await.unwrap();
    store.revoke_lease(lease).await.unwrap();
    let is_gone = |it: Result<(), StoreError>| matches!(it, Err(StoreError::LeaseNotFound(_)));
    assert!(is_gone(store.revoke_lease(lease).await));
    assert!(is_gone(store.keep_alive(lease).await));
    assert!(is_gone(store.keep_alive(LeaseId(0)).await));
}

async fn put_under_a_lease_that_does_not_exist_writes_nothing(store: Arc<dyn Store>) {
    for lease in [LeaseId(0), LeaseId(77)] {
        let failed = store.commit(txn([put("a", ""), put_leased("b", "", lease)])).await;
        assert!(matches!(failed, Err(StoreError::LeaseNotFound(it)) if it == lease), "{failed:?}");
    }
    assert_eq!(contents(&*store).await, (0, vec![]));
}

async fn big_values_and_keys_with_nul_come_back_as_they_were(store: Arc<dyn Store>) {
    let big = "v".repeat(1 << 20);
    let long = format!("kv\0{}", "k".repeat(5000));
    write(&*store, [put("node\0a", &big), put(&long, "long"), put("node\0b", "")]).await;
    let expected =
        vec![entry(&long, "long", 1, 1), entry("node\0a", &big, 1, 1), entry("node\0b", "", 1, 1)];
    assert_eq!(contents(&*store).await, (1, expected));
}
