//! The archive of a snapshot: a gzip'd tar file of meta.json, state.bin, and SHA256SUMS of both.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};

use anyhow::{Context, bail, ensure};
use flate2::read::GzDecoder;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;

use super::missing;

/// Bytes of a tar header, and of the blocks that a file is filled up to (POSIX.1-1988 `ustar`).
const BLOCK: usize = 512;
/// The longest file that is held in memory: meta.json and SHA256SUMS have some hundred bytes.
const SMALL_BYTES_MAX: u64 = 1 << 20;
/// Files in an archive; there are three.
const FILES_MAX: usize = 16;

/// An archive on disk; it is read anew for each question, as its files are large.
pub(super) struct Archive {
    path: String,
}

/// A file of the archive, from where it begins.
struct Entry {
    name: String,
    bytes: u64,
}

impl Archive {
    pub(super) fn open(path: &str) -> anyhow::Result<Self> {
        File::open(path)?;
        Ok(Self { path: path.to_owned() })
    }

    /// Checks that each file is what its check sum says.
    pub(super) fn verify(&mut self) -> anyhow::Result<()> {
        let sums = String::from_utf8(self.small_file("SHA256SUMS")?);
        let sums = sums.context("failed to read snapshot file: SHA256SUMS is not text")?;
        let wanted: BTreeMap<&str, &str> = sums
            .lines()
            .filter_map(|line| line.split_once(char::is_whitespace))
            .map(|(sum, name)| (name.trim().trim_start_matches('*'), sum))
            .collect();
        for name in ["meta.json", "state.bin"] {
            ensure!(wanted.contains_key(name), "SHA256SUMS does not list {name}");
            let sum = self.read(name, |content| sha256(content))??;
            if wanted.get(name) != Some(&sum.as_str()) {
                super::damaged(name)?;
            }
        }
        Ok(())
    }

    /// A file that is held in memory.
    pub(super) fn small_file(&mut self, name: &str) -> anyhow::Result<Vec<u8>> {
        self.read(name, |content| {
            let mut bytes = Vec::new();
            content.take(SMALL_BYTES_MAX + 1).read_to_end(&mut bytes)?;
            ensure!(bytes.len() as u64 <= SMALL_BYTES_MAX, "{name} is too long");
            Ok(bytes)
        })?
    }

    /// Gives a file of the archive to `use_it`.
    pub(super) fn read<T>(
        &mut self,
        name: &str,
        use_it: impl FnOnce(&mut dyn Read) -> T,
    ) -> anyhow::Result<T> {
        let file = File::open(&self.path)?;
        let mut tar = BufReader::new(GzDecoder::new(BufReader::new(file)));
        for _ in 0..FILES_MAX {
            let Some(entry) = entry(&mut tar)? else { break };
            if entry.name == name {
                return Ok(use_it(&mut tar.by_ref().take(entry.bytes)));
            }
            let padded = entry.bytes.next_multiple_of(BLOCK as u64);
            let skipped = std::io::copy(&mut tar.by_ref().take(padded), &mut std::io::sink())?;
            ensure!(skipped == padded, "failed to read snapshot file: unexpected EOF");
        }
        Err(missing(name))
    }
}

/// The next header; `None` at the end.
fn entry(tar: &mut impl Read) -> anyhow::Result<Option<Entry>> {
    let mut header = [0; BLOCK];
    let read = tar.read_exact(&mut header);
    read.context("failed to decompress snapshot, or it ends too early")?;
    if header.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let text = |range: std::ops::Range<usize>| {
        let bytes = header[range].split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(bytes).trim().to_owned()
    };
    let sum: u64 = header
        .iter()
        .enumerate()
        // The sum is made as if its own field were blank.
        .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) })
        .sum();
    if u64::from_str_radix(&text(148..156), 8) != Ok(sum) {
        bail!("failed to read snapshot file: it is no tar archive");
    }
    let bytes = if header[124] & 0x80 == 0 {
        u64::from_str_radix(&text(124..136), 8).context("failed to read snapshot file: a length")?
    } else {
        // Lengths from 8 GiB on are binary.
        header[128..136].iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
    };
    Ok(Some(Entry { name: text(0..100), bytes }))
}

/// SHA-256, in hexadecimal digits. TLS has the algorithm already.
fn sha256(content: &mut dyn Read) -> anyhow::Result<String> {
    let suite = TLS13_AES_128_GCM_SHA256.tls13().context("it is a suite of TLS 1.3")?;
    let mut hash = suite.common.hash_provider.start();
    let mut buffer = [0; 64 * 1024];
    loop {
        let read = content.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
    }
    let sum = hash.finish();
    Ok(sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}
