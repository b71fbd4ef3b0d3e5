//! Commits per second of both engines: `cargo run -p store --example throughput`, best with
//! `--release`.
//!
//! 64 committers write transactions of one compare and one put of 200 bytes, to random ones of
//! 100,000 keys.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement for people")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Compare, Operation, Revision, Txn};
use store::{Committed, Store, open_memory, open_redb};
use tokio::task::JoinSet;

const COMMITTERS: u64 = 64;
const KEYS: u64 = 100_000;
const TIME: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() {
    println!("memory: {:.0} commits/s", measure(open_memory()).await);
    // Beside the target folder and not in /tmp, which may be no disk at all.
    let dir = PathBuf::from(std::env::args().nth(1).unwrap_or("target/throughput".into()));
    _ = std::fs::remove_dir_all(&dir);
    println!("redb: {:.0} commits/s", measure(open_redb(&dir).unwrap()).await);
    std::fs::remove_dir_all(&dir).unwrap();
}

async fn measure(store: Arc<dyn Store>) -> f64 {
    for first in (0..KEYS).step_by(1000) {
        let operations = (first..first + 1000).map(put).collect();
        store.commit(Txn { compares: vec![], operations }).await.unwrap();
    }
    let start = Instant::now();
    let mut committers = JoinSet::new();
    for committer in 0..COMMITTERS {
        committers.spawn(commit_until(Arc::clone(&store), committer, start + TIME));
    }
    let commits: u64 = committers.join_all().await.into_iter().sum();
    commits as f64 / start.elapsed().as_secs_f64()
}

/// Writes the keys that are this committer's own, in a scattered order, each time comparing with
/// the last write.
async fn commit_until(store: Arc<dyn Store>, committer: u64, end: Instant) -> u64 {
    let own = KEYS / COMMITTERS;
    let mut modified = vec![None; own as usize];
    let mut commits = 0;
    while Instant::now() < end {
        let i = commits * 7919 % own;
        let key = i * COMMITTERS + committer;
        let compares =
            modified[i as usize].map(|modified| Compare::Key { key: name(key), modified });
        let txn = Txn { compares: compares.into_iter().collect(), operations: vec![put(key)] };
        let Committed::At(revision) = store.commit(txn).await.unwrap() else {
            panic!("nobody else writes key {key}");
        };
        modified[i as usize] = Some::<Revision>(revision);
        commits += 1;
    }
    commits
}

fn name(key: u64) -> String {
    format!("instance\0node-{:06}\0web", key * 7919 % KEYS)
}

fn put(key: u64) -> Operation {
    Operation::Put { key: name(key), value: vec![b'v'; 200].into(), lease: None }
}
