use model::{
    CheckId, CheckStatus, Folded, KvEntry, Object, ObjectKey, Session, SessionBehavior, SessionId,
};

use super::draft::Draft;
use crate::Rejection;

impl Draft<'_> {
    /// Whoever takes a check or the node away at the same time conflicts, or sees the session.
    pub(super) fn create_session(&mut self, session: &Session) -> Result<(), Rejection> {
        let node = session.node.folded();
        if session.node.is_empty() {
            return Err(Rejection::NodeMissing);
        }
        self.depend_on(&ObjectKey::Node(node.clone()));
        if self.catalog.node(&node).is_none() {
            return Err(Rejection::SessionNodeMissing);
        }
        for id in session.checks() {
            self.depend_on(&ObjectKey::Check(node.clone(), id.clone()));
            match self.catalog.check(&node, id).map(|it| it.status) {
                None => return Err(Rejection::SessionCheckMissing(id.to_string())),
                Some(CheckStatus::Critical) => {
                    return Err(Rejection::SessionCheckCritical(id.to_string()));
                }
                Some(CheckStatus::Passing | CheckStatus::Warning) => {}
            }
        }
        self.put(Object::Session(session.clone()));
        Ok(())
    }

    pub(super) fn renew_session(&mut self, id: &SessionId) -> Result<(), Rejection> {
        match self.catalog.session(id) {
            Some(_) => Ok(()),
            None => Err(Rejection::UnknownSession(id.to_string())),
        }
    }

    /// Who takes a key by the session at the same time adds a lock, and so conflicts.
    pub(super) fn end_session(&mut self, id: &SessionId) {
        let catalog = self.catalog;
        let Some(session) = catalog.session(id) else { return };
        self.depend_on_all(ObjectKey::locks_prefix(id));
        let has_delay = !session.lock_delay.is_zero();
        if has_delay && catalog.locks_of(id).next().is_some() {
            self.forget_lock_delays();
        }
        for key in catalog.locks_of(id) {
            self.delete(&ObjectKey::Lock(id.clone(), key.clone()));
            let held = catalog.kv(key).filter(|it| it.session == *id);
            let Some(entry) = held else { continue };
            match session.behavior {
                SessionBehavior::Release => {
                    let released = KvEntry { session: SessionId::default(), ..entry.value.clone() };
                    self.put(Object::Kv(released));
                }
                SessionBehavior::Delete => self.delete(&ObjectKey::Kv(key.clone())),
            }
            if has_delay {
                // Nobody gets the key as a lock before.
                let until = self.now.plus(session.lock_delay);
                self.put(Object::LockDelay(key.clone(), until));
            }
        }
        self.end_queries_of(id);
        self.delete(&ObjectKey::Session(session.node.folded(), id.clone()));
    }

    pub(super) fn end_sessions_of_node(&mut self, node: &Folded) {
        self.end_sessions(node, |_| true);
    }

    /// Ends those that depend on a check which fails from now on, or goes. None depends on one that is not there or has
    /// failed before; the caller's write compares that this stayed so.
    pub(super) fn end_sessions_of_check(&mut self, node: &Folded, id: &CheckId) {
        let failed = |status| status == CheckStatus::Critical;
        if self.catalog.check(node, id).is_none_or(|it| failed(it.status)) {
            return;
        }
        self.end_sessions(node, |session| session.checks().any(|it| it == id));
    }

    fn end_sessions(&mut self, node: &Folded, ends: impl Fn(&Session) -> bool) {
        let catalog = self.catalog;
        self.depend_on_all(ObjectKey::sessions_prefix(node));
        for session in catalog.sessions_of_node(node).filter(|it| ends(it)) {
            self.end_session(&session.id);
        }
    }
}
