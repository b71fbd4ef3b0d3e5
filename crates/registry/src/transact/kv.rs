use model::{KvEntry, KvKey, Object, ObjectKey, Revision, SessionId};

use super::draft::Draft;
use crate::{KvCondition, Rejection};

/// Delays that are over and go when others are made: so they never become many.
const DELAYS_FORGOTTEN_MAX: usize = 16;

impl Draft<'_> {
    /// The lock stays as it is, unless the condition is about it.
    pub(super) fn set_kv(&mut self, entry: &KvEntry, when: &KvCondition) -> Result<(), Rejection> {
        let existing = self.catalog.kv(&entry.key);
        let mut entry = entry.clone();
        entry.session = existing.map(|it| it.session.clone()).unwrap_or_default();
        entry.lock_index = existing.map_or(0, |it| it.lock_index);
        match when {
            KvCondition::Always => {}
            KvCondition::ModifiedAt(expected) => {
                if existing.map_or(Revision(0), |it| it.modified) != *expected {
                    return Err(stale("set", &entry.key));
                }
            }
            KvCondition::Acquire(session) => self.acquire(&mut entry, session)?,
            KvCondition::Release(session) => {
                if session.is_empty() || entry.session != *session {
                    return Err(Rejection::KvLockNotHeld(entry.key.to_string()));
                }
                self.delete(&ObjectKey::Lock(session.clone(), entry.key.clone()));
                entry.session = SessionId::default();
            }
        }
        self.put(Object::Kv(entry));
        Ok(())
    }

    fn acquire(&mut self, entry: &mut KvEntry, session: &SessionId) -> Result<(), Rejection> {
        if session.is_empty() {
            return Err(Rejection::SessionMissing);
        }
        let Some(found) = self.catalog.session(session) else {
            return Err(Rejection::InvalidSession(session.to_string()));
        };
        self.depend_on(&ObjectKey::Session(found.node.folded(), session.clone()));
        if entry.session == *session {
            return Ok(());
        }
        if !entry.session.is_empty() {
            return Err(Rejection::KvLockHeld(entry.key.to_string()));
        }
        let delay = ObjectKey::LockDelay(entry.key.clone());
        self.depend_on(&delay);
        match self.catalog.lock_delay(&entry.key) {
            Some((until, _)) if until > self.now => {
                return Err(Rejection::KvLockDelayed(entry.key.to_string()));
            }
            Some(_) => self.delete(&delay),
            None => {}
        }
        entry.session = session.clone();
        entry.lock_index += 1;
        self.put(Object::Lock(session.clone(), entry.key.clone()));
        Ok(())
    }

    pub(super) fn delete_kv(&mut self, key: &KvKey, when: &KvCondition) -> Result<(), Rejection> {
        let Some(existing) = self.catalog.kv(key) else { return Ok(()) };
        if let KvCondition::ModifiedAt(expected) = when
            && existing.modified != *expected
        {
            return Err(stale("delete", key));
        }
        self.delete_entry(existing);
        Ok(())
    }

    /// Who adds a key meanwhile is not passed by: a reader may have seen it beside those that are deleted.
    pub(super) fn delete_kv_under(&mut self, prefix: &KvKey) {
        self.depend_on_all(ObjectKey::kv_prefix(prefix.as_str()));
        for entry in self.catalog.kv_under(prefix) {
            self.delete_entry(entry);
        }
    }

    fn delete_entry(&mut self, entry: &KvEntry) {
        if !entry.session.is_empty() {
            self.delete(&ObjectKey::Lock(entry.session.clone(), entry.key.clone()));
        }
        self.delete(&ObjectKey::Kv(entry.key.clone()));
    }

    /// Takes away delays that are over.
    pub(super) fn forget_lock_delays(&mut self) {
        let (catalog, now) = (self.catalog, self.now);
        let over = catalog.lock_delays().filter(|(_, until)| *until <= now);
        for (key, _) in over.take(DELAYS_FORGOTTEN_MAX) {
            self.delete(&ObjectKey::LockDelay(key.clone()));
        }
    }
}

fn stale(act: &'static str, key: &KvKey) -> Rejection {
    Rejection::KvIndexStale { act, key: key.to_string() }
}
