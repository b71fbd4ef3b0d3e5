//! A real process, killed in the middle of its writes.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use store::open_redb;
use tokio::task::JoinSet;

use crate::{contents, put, write};

/// Folder in which a process that is started by a test writes; the tests below it do nothing
/// without it.
const CRASH_DIR: &str = "LENO_STORE_CRASH_DIR";
const COMMITTERS: usize = 8;
const KEYS: usize = 100_000;

#[tokio::test]
async fn every_acknowledged_write_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeMap::new();
    for round in 0..15 {
        let acks_before_kill = RandomState::new().hash_one(round) % 300 + 1;
        let mut child = start("crash::child_writes_until_it_is_killed", dir.path());
        let acks = acks(&mut child, acks_before_kill as usize);
        assert!(acks.len() >= acks_before_kill as usize, "the child ended by itself");
        acknowledged.extend(acks);

        let store = open_redb(dir.path()).unwrap();
        let (revision, entries) = contents(&*store).await;
        // Each commit made one key, so the keys tell every revision there was.
        let mut revisions: Vec<u64> = entries.iter().map(|it| it.3).collect();
        revisions.sort_unstable();
        assert!(revisions.into_iter().eq(1..=revision), "round {round}: a revision is missing");
        let found: BTreeMap<String, u64> = entries.into_iter().map(|it| (it.0, it.3)).collect();
        for (key, revision) in &acknowledged {
            assert_eq!(found.get(key), Some(revision), "round {round}: {key} is lost");
        }
    }
}

#[tokio::test]
async fn store_of_100_000_keys_opens_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = start("crash::child_fills_the_store", dir.path());
    assert_eq!(acks(&mut child, 1).len(), 1);

    let start = Instant::now();
    let store = open_redb(dir.path()).unwrap();
    let after_kill = start.elapsed();
    let start = Instant::now();
    assert_eq!(store.snapshot().await.unwrap().entries.len(), KEYS);
    let snapshot = start.elapsed();
    drop(store);
    let start = Instant::now();
    drop(open_redb(dir.path()).unwrap());
    let after_close = start.elapsed();
    let mib = dir.path().join("leno.redb").metadata().unwrap().len() >> 20;
    println!(
        "{KEYS} keys in {mib} MiB: opened in {after_kill:?} after a kill, in {after_close:?} after \
         a close; snapshot in {snapshot:?}"
    );
}

/// Not a test of its own: the process that `every_acknowledged_write_survives_a_kill` kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CRASH_DIR) else { return };
    let store = open_redb(Path::new(&dir)).unwrap();
    let (first, _) = contents(&*store).await;
    let mut committers = JoinSet::new();
    for committer in 0..COMMITTERS {
        let store = Arc::clone(&store);
        committers.spawn(async move {
            for i in 0.. {
                let key = format!("{first}/{committer}/{i}");
                let revision = write(&*store, [put(&key, &"v".repeat(200))]).await;
                acknowledge(&key, revision);
            }
        });
    }
    committers.join_all().await;
}

/// Not a test of its own: the process that `store_of_100_000_keys_opens_after_a_kill` kills.
#[tokio::test]
async fn child_fills_the_store() {
    let Some(dir) = std::env::var_os(CRASH_DIR) else { return };
    let store = open_redb(Path::new(&dir)).unwrap();
    let mut last = 0;
    for first in (0..KEYS).step_by(1000) {
        // Spread over the tree, as names are.
        let key = |i: usize| format!("instance\0node-{:06}\0web", i * 7919 % KEYS);
        let puts = (first..first + 1000).map(|i| put(&key(i), &"v".repeat(300)));
        last = write(&*store, puts).await;
    }
    acknowledge("all", last);
    // Until the kill, or until the parent is gone and with it the other end.
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// One write to the pipe, so that a kill cannot cut it in two.
fn acknowledge(key: &str, revision: u64) {
    let line = format!("\nack {key} {revision}\n");
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(line.as_bytes()).unwrap();
    stdout.flush().unwrap();
}

/// Runs one function of this file in a process of its own.
fn start(function: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", function, "--nocapture", "--test-threads=1"])
        .env(CRASH_DIR, dir)
        .stdout(Stdio::piped())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Reads what the process acknowledges, kills it after the first `count`, and reads on to the end:
/// what was acknowledged before the signal came counts too.
fn acks(child: &mut Child, count: usize) -> BTreeMap<String, u64> {
    let mut acks = BTreeMap::new();
    let stdout = child.stdout.take().unwrap();
    for line in BufReader::new(stdout).lines() {
        let line = line.unwrap();
        if let Some((key, revision)) = line.strip_prefix("ack ").and_then(|it| it.rsplit_once(' '))
        {
            acks.insert(key.to_owned(), revision.parse().unwrap());
        }
        if acks.len() == count {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    acks
}
