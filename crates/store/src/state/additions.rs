//! The keys that came to be last, so that "nothing was added since" is not a walk over all that is there.

use std::collections::VecDeque;

use model::Revision;

/// Additions that are remembered: four batches of the engine, some 400 KiB. A decision is rarely older.
const ADDITIONS_MAX: usize = 4096;

/// The last additions, in order.
pub(super) struct Additions {
    /// All that came to be after this revision is listed.
    floor: Revision,
    keys: VecDeque<(Revision, Box<str>)>,
    keys_max: usize,
}

impl Additions {
    /// Nothing is remembered of what was added up to `floor`.
    pub(super) fn new(floor: Revision) -> Self {
        Self { floor, keys: VecDeque::new(), keys_max: ADDITIONS_MAX }
    }

    /// Remembers that `key` came to be at `revision`, and forgets the oldest.
    pub(super) fn push(&mut self, revision: Revision, key: &str) {
        self.keys.push_back((revision, key.into()));
        while self.keys.len() > self.keys_max {
            let Some((oldest, _)) = self.keys.pop_front() else { break };
            // Others of the same commit may still be listed; without the first the list is not whole.
            self.floor = oldest;
        }
    }

    /// The keys that came to be after `since`, which may be gone again; `None` when that is not remembered.
    pub(super) fn after(&self, since: Revision) -> Option<impl Iterator<Item = &str>> {
        let newer = self.keys.iter().rev().take_while(move |(revision, _)| *revision > since);
        (since >= self.floor).then(|| newer.map(|(_, key)| &**key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additions_are_told_as_far_back_as_the_bound() {
        let mut additions = Additions { keys_max: 3, ..Additions::new(Revision(5)) };
        for (revision, key) in [(6, "a"), (7, "b"), (7, "c"), (9, "d")] {
            additions.push(Revision(revision), key);
        }
        let after =
            |since| additions.after(Revision(since)).map(|it| it.collect::<Vec<_>>().concat());
        assert_eq!(after(5), None);
        assert_eq!(after(6).as_deref(), Some("dcb"));
        assert_eq!(after(7).as_deref(), Some("d"));
        assert_eq!(after(9).as_deref(), Some(""));
    }
}
