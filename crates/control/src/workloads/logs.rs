//! The logs of copies that are gone: which are kept, and for how long.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use recovery::{CopyId, Outcome, ReleaseId, RunOutcome};

use super::kept::{Kept, Running};
use super::name::WorkloadName;
use super::{Keeper, Workloads};

/// Files of copies that are gone, of one workload: some of each of ten releases of the most copies that have run at once in
/// anybody's tests.
const FILES_MAX: usize = 500;
/// Bytes of them together.
const BYTES_MAX: u64 = 1 << 30;

/// A file that a copy wrote, or its older part.
struct LogFile {
    path: PathBuf,
    copy: CopyId,
    bytes: u64,
    modified: SystemTime,
}

impl Keeper {
    /// Deletes logs that nobody will ask for, when there may be others than before.
    pub(super) fn tidy_logs(&self, name: &WorkloadName, running: &mut Running) {
        let keep = kept_releases(&running.kept);
        if running.logs_of.as_ref() == Some(&keep) {
            return;
        }
        running.logs_of = Some(keep.clone());
        let live = running.copies.keys().copied().collect();
        self.delete_logs(name, keep, live);
    }

    /// Deletes all logs of a workload that is gone.
    pub(super) fn delete_all_logs(&self, name: &WorkloadName) {
        self.delete_logs(name, BTreeSet::new(), BTreeSet::new());
    }

    fn delete_logs(&self, name: &WorkloadName, keep: BTreeSet<ReleaseId>, live: BTreeSet<CopyId>) {
        let (folder, prefix) = (self.place.logs.join(&name.namespace), name.copy_prefix());
        tokio::task::spawn_blocking(move || {
            for path in surplus(files(&folder, &prefix), &keep, &live) {
                if let Err(error) = fs::remove_file(&path) {
                    tracing::warn!(path = %path.display(), %error, "an old log is not deleted");
                }
            }
        });
    }
}

impl Workloads {
    /// The logs of the release whose copies wrote last, for a workload that has no copies now. Reads the folder.
    #[must_use]
    pub fn last_logs(&self, name: &WorkloadName) -> Vec<(String, PathBuf)> {
        let folder = self.shared.logs.join(&name.namespace);
        let files = files(&folder, &name.copy_prefix());
        let last = files.iter().max_by_key(|it| it.modified).map(|it| it.copy.release);
        last.map_or_else(Vec::new, |it| self.logs_of_release(name, it.0))
    }

    /// The logs of the copies of one release, also of those that are gone. Reads the folder.
    #[must_use]
    pub fn logs_of_release(&self, name: &WorkloadName, release: u64) -> Vec<(String, PathBuf)> {
        let folder = self.shared.logs.join(&name.namespace);
        let mut found: Vec<LogFile> = files(&folder, &name.copy_prefix())
            .into_iter()
            .filter(|it| it.copy.release.0 == release)
            .filter(|it| it.path.extension().is_some_and(|kind| kind == "log"))
            .collect();
        found.sort_by_key(|it| it.copy);
        found.into_iter().map(|it| (name.instance(it.copy).to_string(), it.path)).collect()
    }
}

/// What serves, what comes, what was good before, and what failed last.
fn kept_releases(kept: &Kept) -> BTreeSet<ReleaseId> {
    let workload = &kept.workload;
    let known = [workload.stable(), workload.target(), workload.previous()];
    let mut releases: BTreeSet<ReleaseId> = known.into_iter().flatten().map(|it| it.id).collect();
    let failed = workload.history().rev().find(|it| it.outcome != Outcome::Promoted);
    releases.extend(failed.map(|it| it.release.id));
    if let Some(job) = &kept.job {
        releases.extend(job.last_attempt().map(|it| it.release));
        let failed = job.history().rev().find(|it| it.outcome != RunOutcome::Completed);
        releases.extend(job.history().next_back().into_iter().chain(failed).map(|it| it.id));
    }
    releases
}

fn files(folder: &Path, prefix: &str) -> Vec<LogFile> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let file = |entry: fs::DirEntry| {
        let copy = copy_of(entry.file_name().to_str()?, prefix)?;
        let about = entry.metadata().ok()?;
        let modified = about.modified().ok()?;
        Some(LogFile { path: entry.path(), copy, bytes: about.len(), modified })
    };
    entries.flatten().filter_map(file).collect()
}

/// The copy that a file is of: `web-3-0.log`, `web-3-0.log.1`, `web-3-0.end`.
fn copy_of(name: &str, prefix: &str) -> Option<CopyId> {
    let (copy, kind) = name.strip_prefix(prefix)?.split_once('.')?;
    let is_ours = kind == "end" || kind == "log" || kind.starts_with("log.");
    is_ours.then(|| copy.parse().ok()).flatten()
}

/// Which files are too many: those of releases that are not kept, and of the others the oldest beyond the bounds. Those of
/// copies that live have a bound of their own.
fn surplus(
    mut files: Vec<LogFile>,
    keep: &BTreeSet<ReleaseId>,
    live: &BTreeSet<CopyId>,
) -> Vec<PathBuf> {
    files.retain(|it| !live.contains(&it.copy));
    files.sort_by_key(|it| std::cmp::Reverse(it.modified));
    let (mut count, mut bytes) = (0, 0);
    let is_surplus = |it: &LogFile| {
        if !keep.contains(&it.copy.release) {
            return true;
        }
        count += 1;
        bytes += it.bytes;
        count > FILES_MAX || bytes > BYTES_MAX
    };
    let mut is_surplus = is_surplus;
    files.into_iter().filter(|it| is_surplus(it)).map(|it| it.path).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_file_is_of_the_copy_that_its_name_says() {
        for (name, copy) in [
            ("web-3-0.log", Some("3-0")),
            ("web-3-0.log.12", Some("3-0")),
            ("web-3-0.end", Some("3-0")),
            ("web-2-3-0.log", None),
            ("webs-3-0.log", None),
            ("web-3-0.txt", None),
            ("web-3.log", None),
        ] {
            let found = copy_of(name, "web-").map(|it| it.to_string());
            assert_eq!(found.as_deref(), copy, "{name}");
        }
    }

    #[test]
    fn logs_of_other_releases_go_and_of_the_kept_ones_the_oldest_beyond_the_bounds() {
        let file = |copy: &str, age: u64, bytes| LogFile {
            path: copy.into(),
            copy: copy.parse().unwrap(),
            bytes,
            modified: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age),
        };
        let keep = BTreeSet::from([ReleaseId(2), ReleaseId(3)]);
        let live = BTreeSet::from(["1-0".parse().unwrap(), "3-0".parse().unwrap()]);
        let files = vec![
            file("1-0", 9, 1),
            file("1-1", 9, 1),
            file("2-0", 3, BYTES_MAX / 2),
            file("2-1", 2, BYTES_MAX / 2),
            file("2-2", 1, 5),
            file("3-0", 9, BYTES_MAX * 2),
        ];
        let gone: BTreeSet<PathBuf> = surplus(files, &keep, &live).into_iter().collect();
        assert_eq!(gone, BTreeSet::from(["1-1".into(), "2-0".into()]));
        let many = (0..FILES_MAX + 7).map(|it| file(&format!("2-{it}"), it as u64, 1)).collect();
        assert_eq!(surplus(many, &keep, &live).len(), 7);
    }
}
