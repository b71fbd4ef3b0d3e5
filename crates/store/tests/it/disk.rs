//! What only an engine with a disk can do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use model::{Revision, Txn};
use redb::{Database, TableDefinition};
use store::{Committed, StoreError, open_redb};

use crate::{change, compare, contents, delete_change, entry, next, put, put_leased, write};

#[tokio::test]
async fn reopened_store_has_its_keys_and_goes_on_with_the_next_revision() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_redb(dir.path()).unwrap();
    write(&*store, [put("a", "1"), put("b", "1")]).await;
    write(&*store, [put("a", "2")]).await;
    let before = contents(&*store).await;
    drop(store);

    let store = open_redb(dir.path()).unwrap();
    assert_eq!(contents(&*store).await, before);
    assert_eq!(before, (2, vec![entry("a", "2", 1, 2), entry("b", "1", 1, 1)]));
    let stale = Txn { compares: vec![compare("a", 1)], operations: vec![put("a", "3")] };
    let conflict = Committed::Conflict { key: "a".into() };
    assert_eq!(store.commit(stale).await.unwrap(), conflict);
    let fresh = Txn { compares: vec![compare("a", 2)], operations: vec![put("a", "3")] };
    assert_eq!(store.commit(fresh).await.unwrap(), Committed::At(Revision(3)));
    assert_eq!(contents(&*store).await.1[0], entry("a", "3", 1, 3));
}

#[tokio::test]
async fn history_before_a_restart_is_compacted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_redb(dir.path()).unwrap();
    write(&*store, [put("a", "1")]).await;
    write(&*store, [put("a", "2")]).await;
    drop(store);

    let store = open_redb(dir.path()).unwrap();
    let failed = store.watch(Revision(1)).await;
    assert!(matches!(failed, Err(StoreError::Compacted { oldest: Revision(2) })), "{failed:?}");
    let mut watch = store.watch(Revision(2)).await.unwrap();
    write(&*store, [put("b", "")]).await;
    assert_eq!(next(&mut watch).await.revision, Revision(3));
}

#[tokio::test]
async fn leases_and_their_keys_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_redb(dir.path()).unwrap();
    let hour = Duration::from_secs(3600);
    let kept = store.grant_lease(hour).await.unwrap();
    let revoked = store.grant_lease(hour).await.unwrap();
    store.revoke_lease(revoked).await.unwrap();
    write(&*store, [put_leased("a", "", kept), put_leased("b", "", kept)]).await;
    write(&*store, [put("b", "detached")]).await;
    drop(store);

    let store = open_redb(dir.path()).unwrap();
    assert!(matches!(store.keep_alive(revoked).await, Err(StoreError::LeaseNotFound(_))));
    store.keep_alive(kept).await.unwrap();
    let next_lease = store.grant_lease(hour).await.unwrap();
    assert!(next_lease > revoked, "the id of an ended lease was given again");
    store.revoke_lease(kept).await.unwrap();
    assert_eq!(contents(&*store).await, (3, vec![entry("b", "detached", 1, 2)]));
}

#[tokio::test]
async fn lease_starts_its_time_anew_after_a_restart_and_expires() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_redb(dir.path()).unwrap();
    let lease = store.grant_lease(Duration::from_secs(1)).await.unwrap();
    write(&*store, [put_leased("a", "", lease)]).await;
    drop(store);

    let reopened = std::time::Instant::now();
    let store = open_redb(dir.path()).unwrap();
    let mut watch = store.watch(Revision(1)).await.unwrap();
    assert_eq!(next(&mut watch).await, change(2, [delete_change("a")]));
    assert!(reopened.elapsed() >= Duration::from_secs(1));
    drop(store);
    assert_eq!(contents(&*open_redb(dir.path()).unwrap()).await, (2, vec![]));
}

#[test]
fn missing_folders_are_made() {
    let dir = tempfile::tempdir().unwrap();
    let nested = dir.path().join("var/lib/leno");
    drop(open_redb(&nested).unwrap());
    assert!(nested.join("leno.redb").is_file());
}

#[test]
fn second_open_is_refused_until_the_first_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let first = open_redb(dir.path()).unwrap();
    let refused = refusal(dir.path());
    assert!(matches!(&refused, StoreError::InUse { path } if path == dir.path()), "{refused:?}");
    drop(first);
    drop(open_redb(dir.path()).unwrap());
}

#[test]
fn folder_that_is_a_file_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = refusal(&file);
    assert!(matches!(&refused, StoreError::Folder { path, .. } if *path == file), "{refused:?}");
}

#[test]
fn folder_that_cannot_be_written_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let locked = dir.path().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(locked.join("probe"), "").is_ok() {
        // The superuser writes everywhere; /proc is the folder where even it cannot make a file.
        assert!(matches!(refusal(Path::new("/proc")), StoreError::Folder { .. }));
        return;
    }
    assert!(matches!(refusal(&locked), StoreError::Folder { path, .. } if path == locked));
}

#[test]
fn file_of_another_program_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("leno.redb");
    fs::write(&file, "not a database, but somebody's letters").unwrap();
    let refused = refusal(dir.path());
    assert!(matches!(refused, StoreError::Engine { .. }), "{refused:?}");
    assert_eq!(fs::read(&file).unwrap(), b"not a database, but somebody's letters");
}

/// redb sets the file's length first and writes its magic number last.
#[tokio::test]
async fn file_whose_making_was_cut_short_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("leno.redb"), vec![0; 1 << 20]).unwrap();
    let store = open_redb(dir.path()).unwrap();
    assert_eq!(write(&*store, [put("a", "")]).await, 1);
}

#[test]
fn file_of_a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open_redb(dir.path()).unwrap());
    let database = Database::open(dir.path().join("leno.redb")).unwrap();
    let txn = database.begin_write().unwrap();
    let meta = TableDefinition::<&str, u64>::new("meta");
    txn.open_table(meta).unwrap().insert("format", 2).unwrap();
    txn.commit().unwrap();
    drop(database);
    let refused = refusal(dir.path());
    let StoreError::NewerFormat { path, found: 2, supported: 1 } = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(path, dir.path());
}

fn refusal(dir: &Path) -> StoreError {
    match open_redb(dir) {
        Ok(_) => panic!("{} was opened", dir.display()),
        Err(error) => error,
    }
}
