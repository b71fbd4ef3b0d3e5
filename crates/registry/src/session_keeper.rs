use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{Catalog, SessionId};

/// When sessions end because nobody renewed them. Renewals are not written: whoever keeps the sessions keeps them here.
///
/// A session that was renewed last at `t` lives until `t + 3/2 ttl`: never less than its time to live, and never twice that,
/// which is what clients are told. After a restart every session has its whole time again.
///
/// Times are since the caller's epoch, by a clock that does not jump.
#[derive(Debug, Default)]
pub struct SessionKeeper {
    ends: BTreeMap<SessionId, Duration>,
    /// The same by time.
    by_time: BTreeSet<(Duration, SessionId)>,
    /// Their time is over. A renewal comes too late, though they may still be in the catalog.
    ending: BTreeSet<SessionId>,
}

impl SessionKeeper {
    /// Takes in which sessions there are.
    pub fn follow(&mut self, catalog: &Catalog, now: Duration) {
        let gone = |id: &SessionId| catalog.session(id).is_none();
        let forgotten: Vec<SessionId> = self.ends.keys().filter(|it| gone(it)).cloned().collect();
        forgotten.iter().for_each(|id| self.forget(id));
        self.ending.retain(|id| !gone(id));
        for session in catalog.sessions().filter(|it| !it.ttl.is_zero()) {
            if !self.ends.contains_key(&session.id) && !self.ending.contains(&session.id) {
                self.set(&session.id, now + life(session.ttl));
            }
        }
    }

    /// The client of a session lives. False when its time was over before.
    pub fn renew(&mut self, id: &SessionId, ttl: Duration, now: Duration) -> bool {
        if self.ending.contains(id) {
            return false;
        }
        if !ttl.is_zero() {
            self.set(id, now + life(ttl));
        }
        true
    }

    /// When the time of the next session is over; `None` when there is none with a time.
    #[must_use]
    pub fn next_end(&self) -> Option<Duration> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// The sessions whose time is over, each once; they are to be ended.
    pub fn take_ended(&mut self, now: Duration) -> Vec<SessionId> {
        let mut ended = Vec::new();
        while let Some((at, id)) = self.by_time.first().cloned()
            && at <= now
        {
            self.forget(&id);
            self.ending.insert(id.clone());
            ended.push(id);
        }
        ended
    }

    /// A session that is to end could not be ended: it is given out again at `at`. Until then it cannot be renewed.
    pub fn try_again(&mut self, id: &SessionId, at: Duration) {
        self.set(id, at);
    }

    fn set(&mut self, id: &SessionId, at: Duration) {
        self.forget(id);
        self.ends.insert(id.clone(), at);
        self.by_time.insert((at, id.clone()));
    }

    fn forget(&mut self, id: &SessionId) {
        if let Some(at) = self.ends.remove(id) {
            self.by_time.remove(&(at, id.clone()));
        }
    }
}

fn life(ttl: Duration) -> Duration {
    ttl + ttl / 2
}
