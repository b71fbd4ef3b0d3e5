//! The last commits, so that a watch can start in the past.

use std::collections::VecDeque;
use std::sync::Arc;

use model::{Change, KeyChange, Revision};

/// A watcher that was away for as long as this many commits takes a snapshot instead.
const CHANGES_MAX: usize = 10_000;

/// What the history may hold beyond the bound of [`CHANGES_MAX`]: 10,000 commits of one 2 KiB
/// object are 20 MiB; this bound is for commits of big values (Consul's KV allows 512 KiB each).
const BYTES_MAX: usize = 32 << 20;

/// The last commits, without gaps, in memory only.
///
/// It is not written to disk: it would double the bytes of every write, to spare watchers a
/// snapshot in the one case that the store was restarted, when the only watcher, in the same
/// process, was restarted too and begins with a snapshot anyway. So after a restart everything
/// before the revision found on disk is compacted.
pub(crate) struct History {
    /// The revision before the first of `changes`: the oldest that can be watched from.
    floor: Revision,
    changes: VecDeque<Arc<Change>>,
    bytes: usize,
    changes_max: usize,
    bytes_max: usize,
}

impl History {
    /// A history that begins at `floor`.
    pub(crate) fn new(floor: Revision) -> Self {
        Self::bounded(floor, CHANGES_MAX, BYTES_MAX)
    }

    fn bounded(floor: Revision, changes_max: usize, bytes_max: usize) -> Self {
        History { floor, changes: VecDeque::new(), bytes: 0, changes_max, bytes_max }
    }

    /// Adds the next commit and forgets the oldest ones.
    pub(crate) fn push(&mut self, change: Arc<Change>) {
        debug_assert_eq!(change.revision.0, self.floor.0 + self.changes.len() as u64 + 1);
        self.bytes += size(&change);
        self.changes.push_back(change);
        while self.changes.len() > self.changes_max || self.bytes > self.bytes_max {
            let Some(oldest) = self.changes.pop_front() else { break };
            self.bytes -= size(&oldest);
            self.floor = oldest.revision;
        }
    }

    /// Every commit after revision `after`, or else the oldest revision that can be asked for.
    pub(crate) fn after(&self, after: Revision) -> Result<VecDeque<Arc<Change>>, Revision> {
        let skip = after.0.checked_sub(self.floor.0).ok_or(self.floor)?;
        let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(self.changes.len());
        Ok(self.changes.range(skip..).cloned().collect())
    }
}

/// Bytes that a commit holds, about.
fn size(change: &Change) -> usize {
    let keys = change.keys.iter().map(|it| match it {
        KeyChange::Put { key, value, .. } => key.len() + value.len(),
        KeyChange::Delete { key } => key.len(),
    });
    keys.map(|bytes| bytes + size_of::<KeyChange>()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(revision: u64, value_bytes: usize) -> Arc<Change> {
        let value = vec![0; value_bytes].into();
        let put = KeyChange::Put { key: "k".into(), value, created: Revision(revision) };
        Arc::new(Change { revision: Revision(revision), keys: vec![put] })
    }

    fn revisions(history: &History, after: u64) -> Result<Vec<u64>, u64> {
        let changes = history.after(Revision(after)).map_err(|oldest| oldest.0)?;
        Ok(changes.iter().map(|it| it.revision.0).collect())
    }

    #[test]
    fn history_goes_back_as_far_as_the_bound_on_changes() {
        let mut history = History::bounded(Revision(5), 2, usize::MAX);
        assert_eq!(revisions(&history, 4), Err(5));
        assert_eq!(revisions(&history, 5), Ok(vec![]));
        for revision in 6..=8 {
            history.push(change(revision, 1));
        }
        assert_eq!(revisions(&history, 5), Err(6));
        assert_eq!(revisions(&history, 6), Ok(vec![7, 8]));
        assert_eq!(revisions(&history, 7), Ok(vec![8]));
        assert_eq!(revisions(&history, 8), Ok(vec![]));
        assert_eq!(revisions(&history, 99), Ok(vec![]));
    }

    #[test]
    fn history_forgets_commits_of_big_values_sooner() {
        let mut history = History::bounded(Revision(0), 100, 1000);
        history.push(change(1, 700));
        history.push(change(2, 100));
        assert_eq!(revisions(&history, 0), Ok(vec![1, 2]));
        history.push(change(3, 100));
        assert_eq!(revisions(&history, 0), Err(1));
        history.push(change(4, 5000));
        assert_eq!(revisions(&history, 4), Ok(vec![]));
        assert_eq!(revisions(&history, 3), Err(4));
    }
}
