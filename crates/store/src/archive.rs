//! A snapshot as a file: everything at one revision, versioned and with check sums, so that a damaged one is refused as a
//! whole.
//!
//! A gzip'd tar archive of `meta.json`, `state.bin` and `SHA256SUMS` of both. `state.bin` holds the entries one after the
//! other: the revisions of making and of the last change, then the key and the value, each after its length; numbers are
//! little-endian, revisions of 8 bytes, lengths of 4.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use aws_lc_rs::digest::{SHA256, digest};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use model::{Entry, Revision};
use serde::{Deserialize, Serialize};

use crate::Snapshot;

/// Version of the format that is written, and the newest that is read.
const VERSION: u32 = 1;
/// Name of the format, so that an archive of another program is not taken for ours.
const FORMAT: &str = "leno-snapshot";
/// Most bytes of all that is in an archive, so that a small file cannot fill the memory.
const UNPACKED_BYTES_MAX: u64 = 1 << 30;
/// Most bytes of an archive.
pub const ARCHIVE_BYTES_MAX: usize = 512 << 20;
/// What an archive has beside the state: heads and ends of its files, the check sums, and what it says of itself.
const FRAME_BYTES_MAX: u64 = 64 << 10;

const META: &str = "meta.json";
const STATE: &str = "state.bin";
const SUMS: &str = "SHA256SUMS";

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Meta {
    format: String,
    version: u32,
    index: u64,
    entries: u64,
}

/// An archive that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is no gzip'd data, or is cut off.
    #[error("failed to decompress snapshot: {0}")]
    Compression(io::Error),
    /// It is no archive, or lacks a file.
    #[error("failed to read snapshot file: {0}")]
    Archive(String),
    /// A file is not what its check sum says.
    #[error("failed to read snapshot file: the check sum of {0} does not match; it is damaged")]
    Damaged(&'static str),
    /// Consul wrote it.
    #[error(
        "this is a snapshot of Consul, whose format Leno does not read: take its keys over with `consul kv export` and \
         `consul kv import`, and register services anew"
    )]
    OfConsul,
    /// It would be larger than what is read again.
    #[error(
        "the state has {0} bytes, more than the {max} of a snapshot; back up the data folder instead",
        max = UNPACKED_BYTES_MAX - FRAME_BYTES_MAX
    )]
    StateTooLarge(u64),
    /// It is larger than what is read again, packed.
    #[error(
        "the snapshot has {0} bytes, more than {ARCHIVE_BYTES_MAX}; back up the data folder instead"
    )]
    TooLarge(usize),
    /// It was written by a later version, or by another program.
    #[error(
        "failed to read snapshot file: it is of format {found}, and this version reads {supported}"
    )]
    Format {
        /// What it says of itself.
        found: String,
        /// What is read.
        supported: String,
    },
}

/// Writes an archive.
///
/// # Errors
/// When it would be larger than what [`read_archive`] reads, or than [`ARCHIVE_BYTES_MAX`].
pub fn write_archive(snapshot: &Snapshot) -> Result<Vec<u8>, ArchiveError> {
    let bytes = state_bytes(snapshot);
    if bytes > UNPACKED_BYTES_MAX - FRAME_BYTES_MAX {
        return Err(ArchiveError::StateTooLarge(bytes));
    }
    let packed = pack(snapshot);
    if packed.len() > ARCHIVE_BYTES_MAX {
        return Err(ArchiveError::TooLarge(packed.len()));
    }
    Ok(packed)
}

/// How long the state is: two revisions and two lengths for each entry, its key and its value.
fn state_bytes(snapshot: &Snapshot) -> u64 {
    snapshot.entries.iter().map(|it| (24 + it.key.len() + it.value.len()) as u64).sum()
}

fn pack(snapshot: &Snapshot) -> Vec<u8> {
    let meta = Meta {
        format: FORMAT.to_owned(),
        version: VERSION,
        index: snapshot.revision.0,
        entries: snapshot.entries.len() as u64,
    };
    let meta = serde_json::to_vec(&meta).expect("it has text keys only");
    let mut state = Vec::new();
    for entry in &snapshot.entries {
        write_entry(&mut state, entry);
    }
    debug_assert_eq!(state.len() as u64, state_bytes(snapshot));
    let sums = format!("{}  {META}\n{}  {STATE}\n", sum_of(&meta), sum_of(&state));
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (name, content) in [(META, &*meta), (STATE, &*state), (SUMS, sums.as_bytes())] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        let written = tar.append_data(&mut header, name, content);
        written.expect("writing to a Vec does not fail, and the names are short");
    }
    let packed = tar.into_inner().and_then(GzEncoder::finish);
    packed.expect("writing to a Vec does not fail")
}

fn write_entry(state: &mut Vec<u8>, entry: &Entry) {
    state.extend_from_slice(&entry.created.0.to_le_bytes());
    state.extend_from_slice(&entry.modified.0.to_le_bytes());
    for part in [entry.key.as_bytes(), &entry.value] {
        let length = u32::try_from(part.len()).expect("keys and values are bounded by the doors");
        state.extend_from_slice(&length.to_le_bytes());
        state.write_all(part).expect("writing to a Vec does not fail");
    }
}

fn sum_of(content: &[u8]) -> String {
    digest(&SHA256, content).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads an archive, all of it or nothing.
///
/// # Errors
/// When it is damaged in any way, or of another format.
pub fn read_archive(bytes: &[u8]) -> Result<Snapshot, ArchiveError> {
    let mut files = unpack(bytes)?;
    let mut take = |name: &str| {
        let missing = || ArchiveError::Archive(format!("there is no {name} in it"));
        files.remove(name).ok_or_else(missing)
    };
    let (meta, state, sums) = (take(META)?, take(STATE)?, take(SUMS)?);
    let sums = String::from_utf8_lossy(&sums);
    for (name, content) in [(META, &meta), (STATE, &state)] {
        let line = sums.lines().find_map(|it| it.strip_suffix(name));
        if line.map(str::trim_end) != Some(sum_of(content).as_str()) {
            return Err(ArchiveError::Damaged(name));
        }
    }
    let unreadable = |error: serde_json::Error| ArchiveError::Archive(format!("{META}: {error}"));
    let meta: Meta = serde_json::from_slice(&meta).map_err(|error| {
        let fields: Option<serde_json::Map<_, _>> = serde_json::from_slice(&meta).ok();
        // What Consul's say of themselves.
        let is_consuls = fields.is_some_and(|it| it.contains_key("Term"));
        if is_consuls { ArchiveError::OfConsul } else { unreadable(error) }
    })?;
    if meta.format != FORMAT || meta.version == 0 || meta.version > VERSION {
        return Err(ArchiveError::Format {
            found: format!("{} {}", meta.format, meta.version),
            supported: format!("{FORMAT} {VERSION}"),
        });
    }
    let entries = read_entries(&state)?;
    if entries.len() as u64 != meta.entries {
        return Err(ArchiveError::Archive(format!("{STATE} has not the entries of {META}")));
    }
    Ok(Snapshot { revision: Revision(meta.index), entries })
}

/// The three files; whatever else is in the archive, or is no plain file, is refused. What is unpacked is bounded as a
/// whole before anything of it is believed.
fn unpack(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, ArchiveError> {
    let broken = |error: io::Error| match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            ArchiveError::Compression(error)
        }
        _ => ArchiveError::Archive(error.to_string()),
    };
    let mut files = BTreeMap::new();
    let mut left = UNPACKED_BYTES_MAX;
    let mut tar = tar::Archive::new(GzDecoder::new(bytes).take(UNPACKED_BYTES_MAX));
    for file in tar.entries().map_err(broken)? {
        let mut file = file.map_err(broken)?;
        let name = file.path().map_err(broken)?.to_string_lossy().into_owned();
        let is_plain = file.header().entry_type() == tar::EntryType::Regular;
        if !is_plain || ![META, STATE, SUMS].contains(&name.as_str()) {
            return Err(ArchiveError::Archive(format!("{name:?} does not belong into it")));
        }
        let size = file.header().size().map_err(broken)?;
        left = left.checked_sub(size).ok_or_else(|| {
            ArchiveError::Archive(format!("it has more than {UNPACKED_BYTES_MAX} bytes"))
        })?;
        let mut content = Vec::new();
        file.by_ref().take(size).read_to_end(&mut content).map_err(broken)?;
        if content.len() as u64 != size {
            return Err(ArchiveError::Archive(format!("{name} is cut off")));
        }
        files.insert(name, content);
    }
    // To its end, where gzip has a check sum of its own.
    io::copy(&mut tar.into_inner(), &mut io::sink()).map_err(broken)?;
    Ok(files)
}

fn read_entries(mut state: &[u8]) -> Result<Vec<Entry>, ArchiveError> {
    let mut entries: Vec<Entry> = Vec::new();
    while !state.is_empty() {
        let entry = read_entry(&mut state)
            .ok_or_else(|| ArchiveError::Archive(format!("{STATE} ends within an entry")))?;
        if entries.last().is_some_and(|before| before.key >= entry.key) {
            return Err(ArchiveError::Archive(format!("{STATE}: the keys are not in order")));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn read_entry(state: &mut &[u8]) -> Option<Entry> {
    let revision = |state: &mut &[u8]| {
        let (number, rest) = state.split_first_chunk::<8>()?;
        *state = rest;
        Some(Revision(u64::from_le_bytes(*number)))
    };
    let part = |state: &mut &[u8]| {
        let (length, rest) = state.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (part, rest) = rest.split_at_checked(length)?;
        *state = rest;
        Some(part.to_vec())
    };
    let (created, modified) = (revision(state)?, revision(state)?);
    let key = String::from_utf8(part(state)?).ok()?;
    Some(Entry { key, value: part(state)?.into(), created, modified })
}

#[cfg(test)]
mod tests;
