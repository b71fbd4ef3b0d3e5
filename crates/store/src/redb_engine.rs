//! The engine on one machine's disk.
//!
//! One file, three tables: `records` ((created, key) -> modified, lease, value), `leases` (id -> time
//! to live) and `meta` (format, revision, last lease id). One redb transaction, one sync, for each
//! batch. The history of commits is in memory only; [`crate::history::History`] says why.
//!
//! What a batch costs is pages: about ten of 4 KiB, and for each key about two (its leaf, and a
//! share of the branches), so many small keys far apart are bound by how many pages the disk writes
//! a second. That is why records are sorted by the revision at which their key came to be: new keys
//! lie side by side at the end of the tree and share their pages, where sorted by name 64 of them
//! made the sync wait for 110 pages.
//!
//! Not used: redb's quick repair. It would make every commit sync twice and write the allocator's
//! state, to spare a walk over the file after a crash, which was measured at 55 to 90 ms for 100,000
//! keys in 68 MiB (debug build).

#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Entry, LeaseId, Revision};
use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend,
    TableDefinition, TableError, WriteTransaction,
};

use crate::engine::{Engine, Failure, Medium};
use crate::state::{Batch, KeyState, LeaseChange, State};
use crate::{Store, StoreError};

const FILE: &str = "leno.redb";

/// Version of the tables below. Raise it when an older program would misread them.
const FORMAT: u64 = 1;

/// Pages that redb keeps: the upper levels of any registry and the end of the tree, where new keys go. The system's
/// page cache has the rest, and gives it back when memory is short.
const CACHE_BYTES: usize = 16 << 20;

/// By the revision at which the key came to be, and the key. A record is [`HEAD_BYTES`] of a [`KeyState`],
/// then the bytes of the key's value.
const RECORDS: TableDefinition<(u64, &str), &[u8]> = TableDefinition::new("records");
/// Time to live in milliseconds by lease id.
const LEASES: TableDefinition<u64, u64> = TableDefinition::new("leases");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

const META_FORMAT: &str = "format";
const META_REVISION: &str = "revision";
const META_LEASE_LAST: &str = "lease_last";

/// Modified, lease: two little-endian `u64`.
const HEAD_BYTES: usize = 16;

/// Opens the store of a data folder, which is made if it is missing. Blocks for the time of reading
/// all keys.
///
/// Dropping the store writes what is queued and closes the file; it blocks for that long.
///
/// # Errors
/// [`StoreError::Folder`] when the folder cannot be made or written, [`StoreError::InUse`] when
/// another store has it open (also in this process), [`StoreError::NewerFormat`] when a later
/// version of this program wrote it, [`StoreError::Engine`] when the file cannot be read.
pub fn open_redb(dir: &Path) -> Result<Arc<dyn Store>, StoreError> {
    let in_use = || StoreError::InUse { path: dir.to_owned() };
    let folder = |source| StoreError::Folder { path: dir.to_owned(), source };
    let file = match open_file(dir) {
        Ok(Some(file)) => file,
        Ok(None) => return Err(in_use()),
        Err(source) => return Err(folder(source)),
    };
    let database = match FileBackend::new(file).and_then(create) {
        Ok(database) => database,
        Err(DatabaseError::DatabaseAlreadyOpen) => return Err(in_use()),
        Err(error) => return Err(Failure::new("opening the store's file", error).into()),
    };
    match load(&database) {
        Ok(Loaded::State(state)) => {
            let revision = state.revision().0;
            tracing::debug!(path = %dir.display(), revision, keys = state.iter().len(), "opened");
            Ok(Arc::new(Engine::start(Redb { database }, state).map_err(folder)?))
        }
        Ok(Loaded::Newer(found)) => {
            Err(StoreError::NewerFormat { path: dir.to_owned(), found, supported: FORMAT })
        }
        Err(error) => Err(Failure::new("reading the store's file", error).into()),
    }
}

/// Opens and locks the file, so that it is nobody else's from here on; `None` when it is somebody's
/// already.
fn open_file(dir: &Path) -> io::Result<Option<File>> {
    fs::create_dir_all(dir)?;
    let path = dir.join(FILE);
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    if is_unfinished(&mut file)? {
        file.set_len(0)?;
    }
    // Else a power loss could take the new file's name, and with it all commits.
    File::open(dir)?.sync_all()?;
    Ok(Some(file))
}

/// True when making the file was cut short: redb writes its magic number last, and refuses a file
/// without it.
fn is_unfinished(file: &mut File) -> io::Result<bool> {
    let mut start = [0; 9];
    match file.read_exact(&mut start) {
        Ok(()) => Ok(start == [0; 9]),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(true),
        Err(error) => Err(error),
    }
}

fn create(backend: impl StorageBackend) -> Result<Database, DatabaseError> {
    Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend)
}

enum Loaded {
    State(State<()>),
    /// The file has this format, which is unknown here.
    Newer(u64),
}

/// Reads everything but the values; makes the tables in a new file.
fn load(database: &Database) -> Result<Loaded, redb::Error> {
    let txn = database.begin_read()?;
    let meta = match txn.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_)) => {
            make_tables(database)?;
            return Ok(Loaded::State(State::new(Revision(0), LeaseId(0))));
        }
        Err(error) => return Err(error.into()),
    };
    let number = |key: &str| -> Result<u64, redb::Error> {
        let it = meta.get(key)?.ok_or_else(|| corrupted(format!("no {key} in its meta table")))?;
        Ok(it.value())
    };
    let format = number(META_FORMAT)?;
    if format > FORMAT {
        return Ok(Loaded::Newer(format));
    }

    let now = Instant::now();
    let mut state = State::new(Revision(number(META_REVISION)?), LeaseId(number(META_LEASE_LAST)?));
    for lease in txn.open_table(LEASES)?.iter()? {
        let (lease, ttl_ms) = lease?;
        state.restore_lease(LeaseId(lease.value()), Duration::from_millis(ttl_ms.value()), now);
    }
    for entry in txn.open_table(RECORDS)?.iter()? {
        let (place, record) = entry?;
        let (created, key) = place.value();
        let (head, _) = decode(created, key, record.value())?;
        if !state.restore_key(key, head) {
            return Err(corrupted(format!("key {key:?} has a lease that does not exist")));
        }
    }
    Ok(Loaded::State(state))
}

fn make_tables(database: &Database) -> Result<(), redb::Error> {
    let txn = database.begin_write()?;
    txn.open_table(RECORDS)?;
    txn.open_table(LEASES)?;
    {
        let mut meta = txn.open_table(META)?;
        meta.insert(META_FORMAT, FORMAT)?;
        meta.insert(META_REVISION, 0)?;
        meta.insert(META_LEASE_LAST, 0)?;
    }
    Ok(txn.commit()?)
}

struct Redb {
    database: Database,
}

impl Medium for Redb {
    /// Values are on disk only.
    type Held = ();

    fn write(&mut self, batch: &Batch, state: &State<()>) -> Result<(), Failure> {
        let written = self.write_all(batch, state);
        written.map_err(|error| Failure::new("writing the store's file", error))
    }

    fn entries(&self, state: &State<()>) -> Result<Vec<Entry>, Failure> {
        let read = self.read_all(state);
        read.map_err(|error| Failure::new("reading the store's file", error))
    }
}

impl Redb {
    fn write_all(&self, batch: &Batch, state: &State<()>) -> Result<(), redb::Error> {
        let txn = self.database.begin_write()?;
        if !batch.changes.is_empty() {
            write_keys(&txn, batch, state)?;
        }
        if !batch.leases.is_empty() {
            write_leases(&txn, batch)?;
        }
        {
            let mut meta = txn.open_table(META)?;
            meta.insert(META_REVISION, state.revision().0)?;
            meta.insert(META_LEASE_LAST, state.lease_last().0)?;
        }
        Ok(txn.commit()?)
    }

    fn read_all(&self, state: &State<()>) -> Result<Vec<Entry>, redb::Error> {
        let txn = self.database.begin_read()?;
        let mut entries = Vec::with_capacity(state.iter().len());
        for entry in txn.open_table(RECORDS)?.iter()? {
            let (place, record) = entry?;
            let (created, key) = place.value();
            let (head, value) = decode(created, key, record.value())?;
            entries.push(Entry {
                key: key.to_owned(),
                value: value.into(),
                created: head.created,
                modified: head.modified,
            });
        }
        entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(entries)
    }
}

/// Removes what went, then writes each key once, as it is after the batch, in order of the tree.
fn write_keys(txn: &WriteTransaction, batch: &Batch, state: &State<()>) -> Result<(), redb::Error> {
    let mut records = txn.open_table(RECORDS)?;
    for (created, key) in &batch.gone {
        records.remove((created.0, key.as_str()))?;
    }
    let mut writes: Vec<(u64, &str, &KeyState<()>, &[u8])> = batch
        .last_writes()
        .into_iter()
        .filter_map(|(key, value)| {
            let (value, head) = value.zip(state.get(key))?;
            Some((head.created.0, key, head, value))
        })
        .collect();
    writes.sort_unstable_by_key(|(created, key, _, _)| (*created, *key));
    for (created, key, head, value) in writes {
        let mut record = records.insert_reserve((created, key), HEAD_BYTES + value.len())?;
        let record = record.as_mut();
        record[..8].copy_from_slice(&head.modified.0.to_le_bytes());
        record[8..HEAD_BYTES].copy_from_slice(&head.lease.0.to_le_bytes());
        record[HEAD_BYTES..].copy_from_slice(value);
    }
    Ok(())
}

fn write_leases(txn: &WriteTransaction, batch: &Batch) -> Result<(), redb::Error> {
    let mut leases = txn.open_table(LEASES)?;
    for change in &batch.leases {
        match change {
            LeaseChange::Granted { lease, ttl } => {
                leases.insert(lease.0, ttl.as_millis() as u64)?;
            }
            LeaseChange::Ended { lease } => {
                leases.remove(lease.0)?;
            }
        }
    }
    Ok(())
}

/// Reads what [`write_keys`] wrote.
fn decode<'a>(
    created: u64,
    key: &str,
    record: &'a [u8],
) -> Result<(KeyState<()>, &'a [u8]), redb::Error> {
    let Some((head, value)) = record.split_first_chunk::<HEAD_BYTES>() else {
        return Err(corrupted(format!("the record of key {key:?} is too short")));
    };
    let (words, _) = head.as_chunks::<8>();
    let [modified, lease] = [0, 1].map(|i| u64::from_le_bytes(words[i]));
    let head = KeyState {
        created: Revision(created),
        modified: Revision(modified),
        lease: LeaseId(lease),
        held: (),
    };
    Ok((head, value))
}

fn corrupted(what: String) -> redb::Error {
    redb::Error::Corrupted(what)
}
