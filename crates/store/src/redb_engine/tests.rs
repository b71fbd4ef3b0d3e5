//! What happens when the disk fails, which only a backend of our own can bring about.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use model::{Operation, Txn};
use redb::BackendError;
use redb::backends::InMemoryBackend;
use tokio::task::JoinSet;

use super::*;
use crate::Committed;

/// A disk in memory that counts its syncs and fails them when told to.
#[derive(Clone, Debug)]
struct Disk {
    bytes: Arc<InMemoryBackend>,
    syncs: Arc<AtomicUsize>,
    is_broken: Arc<AtomicBool>,
}

impl Disk {
    fn new() -> Self {
        Disk {
            bytes: Arc::new(InMemoryBackend::new()),
            syncs: Arc::default(),
            is_broken: Arc::default(),
        }
    }

    fn open(&self) -> Arc<dyn Store> {
        let database = create(self.clone()).unwrap();
        let Loaded::State(state) = load(&database).unwrap() else { panic!("a new file is ours") };
        Arc::new(Engine::start(Redb { database }, state).unwrap())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.bytes.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.bytes.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        if self.is_broken.load(Ordering::Relaxed) {
            return Err(io::Error::other("the disk is broken"));
        }
        self.bytes.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.bytes.write(offset, data)
    }

    fn try_lock_range(
        &self,
        _: std::ops::Bound<u64>,
        _: std::ops::Bound<u64>,
    ) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn unlock_range(
        &self,
        _: std::ops::Bound<u64>,
        _: std::ops::Bound<u64>,
    ) -> Result<(), BackendError> {
        Ok(())
    }
}

fn txn(key: &str) -> Txn {
    let put = Operation::Put { key: key.into(), value: [].into(), lease: None };
    Txn { compares: Vec::new(), operations: vec![put] }
}

#[tokio::test]
async fn failed_disk_fails_every_later_call_and_ends_watches() {
    let disk = Disk::new();
    let store = disk.open();
    assert_eq!(store.commit(txn("a")).await.unwrap(), Committed::At(Revision(1)));
    let mut watch = store.watch(Revision(1)).await.unwrap();

    disk.is_broken.store(true, Ordering::Relaxed);
    let failed = store.commit(txn("b")).await;
    assert!(matches!(failed, Err(StoreError::Engine { .. })), "{failed:?}");
    assert!(matches!(watch.next().await, Some(Err(StoreError::Engine { .. }))));
    assert!(watch.next().await.is_none());

    assert!(matches!(store.commit(txn("c")).await, Err(StoreError::Closed)));
    assert!(matches!(store.snapshot().await, Err(StoreError::Closed)));
    assert!(matches!(store.watch(Revision(1)).await, Err(StoreError::Closed)));
    assert!(matches!(store.keep_alive(LeaseId(1)).await, Err(StoreError::Closed)));
    drop(store);
}

#[tokio::test]
async fn commits_that_are_queued_together_share_a_sync() {
    let disk = Disk::new();
    let store = disk.open();
    let before = disk.syncs.load(Ordering::Relaxed);
    let mut commits = JoinSet::new();
    for i in 0..1000 {
        let store = Arc::clone(&store);
        commits.spawn(async move { store.commit(txn(&i.to_string())).await.unwrap() });
    }
    assert_eq!(commits.join_all().await.len(), 1000);
    let syncs = disk.syncs.load(Ordering::Relaxed) - before;
    assert!((1..=100).contains(&syncs), "1,000 commits took {syncs} syncs");
}

#[tokio::test]
async fn reads_and_keep_alives_take_no_sync() {
    let disk = Disk::new();
    let store = disk.open();
    let lease = store.grant_lease(Duration::from_secs(3600)).await.unwrap();
    let before = disk.syncs.load(Ordering::Relaxed);
    store.keep_alive(lease).await.unwrap();
    store.snapshot().await.unwrap();
    store.commit(Txn::default()).await.unwrap();
    assert_eq!(disk.syncs.load(Ordering::Relaxed), before);
}
