//! The part of the catalog that holds keys with values, and the sessions that lock them.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

use super::{Catalog, Stored, WatchKey, ensure};
use crate::{CheckStatus, Folded, KvEntry, KvKey, Revision, Session, SessionId, Timestamp};

/// Keys that are gone of which it is remembered when: some 5 MiB.
const GRAVES_MAX: usize = 32_768;

impl Catalog {
    /// An entry of the key-value store.
    #[must_use]
    pub fn kv(&self, key: &KvKey) -> Option<&Arc<Stored<KvEntry>>> {
        self.kv.get(key)
    }

    /// The entries of the key-value store whose keys start with `prefix`, by key.
    pub fn kv_under<'a>(
        &'a self,
        prefix: &KvKey,
    ) -> impl Iterator<Item = &'a Arc<Stored<KvEntry>>> + use<'a> {
        under(&self.kv, prefix).map(|(_, entry)| entry)
    }

    /// Number of entries of the key-value store.
    #[must_use]
    pub fn kv_count(&self) -> usize {
        self.kv.size()
    }

    /// Revision of the last change of any entry of the key-value store.
    #[must_use]
    pub fn kv_index(&self) -> Revision {
        self.indexes.kv
    }

    /// Revision of the last change of any entry whose key starts with `prefix`; that of all entries when there was none
    /// under it. Looks at each of them.
    #[must_use]
    pub fn kv_index_under(&self, prefix: &KvKey) -> Revision {
        if prefix.is_empty() {
            return self.indexes.kv;
        }
        let changed = self.kv_under(prefix).map(|it| it.modified).max();
        let gone = under(&self.kv_graves, prefix).map(|(_, it)| *it).max();
        match changed.max(gone) {
            Some(index) => index.max(self.indexes.kv_graves),
            None => self.indexes.kv,
        }
    }

    /// A session by its id.
    #[must_use]
    pub fn session(&self, id: &SessionId) -> Option<&Arc<Stored<Session>>> {
        let node = self.session_nodes.get(id)?;
        self.sessions.get(&(node.clone(), id.clone()))
    }

    /// All sessions, by node and then by id.
    pub fn sessions(&self) -> impl Iterator<Item = &Arc<Stored<Session>>> {
        self.sessions.values()
    }

    /// The sessions of one node, by id.
    pub fn sessions_of_node<'a>(
        &'a self,
        node: &Folded,
    ) -> impl Iterator<Item = &'a Arc<Stored<Session>>> + use<'a> {
        let start = (node.clone(), SessionId::default());
        let node = node.clone();
        self.sessions
            .range((Bound::Included(start), Bound::Unbounded))
            .take_while(move |((of, _), _)| *of == node)
            .map(|(_, session)| session)
    }

    /// Number of sessions.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions.size()
    }

    /// Revision of the last change of any session.
    #[must_use]
    pub fn sessions_index(&self) -> Revision {
        self.indexes.sessions
    }

    /// The keys that a session holds, in order.
    pub fn locks_of<'a>(
        &'a self,
        session: &SessionId,
    ) -> impl Iterator<Item = &'a KvKey> + use<'a> {
        let start = (session.clone(), KvKey::default());
        let session = session.clone();
        self.locks
            .range((Bound::Included(start), Bound::Unbounded))
            .take_while(move |((of, _), _)| *of == session)
            .map(|((_, key), _)| key)
    }

    /// When a session took a key; `None` when it does not hold it.
    #[must_use]
    pub fn locked_at(&self, session: &SessionId, key: &KvKey) -> Option<Revision> {
        self.locks.get(&(session.clone(), key.clone())).copied()
    }

    /// Until when nobody gets a key as a lock, perhaps over already, and the revision that says so.
    #[must_use]
    pub fn lock_delay(&self, key: &KvKey) -> Option<(Timestamp, Revision)> {
        self.lock_delays.get(key).copied()
    }

    /// All locks: which session holds which key, and when it took it.
    pub fn locks(&self) -> impl Iterator<Item = (&SessionId, &KvKey, Revision)> {
        self.locks.iter().map(|((session, key), since)| (session, key, *since))
    }

    /// All delays of locks, also those that are over.
    pub fn lock_delays(&self) -> impl Iterator<Item = (&KvKey, Timestamp)> {
        self.lock_delays.iter().map(|(key, (until, _))| (key, *until))
    }

    /// Sessions have their nodes and checks that work, and what a lock says is what the entry says.
    pub(super) fn check_locks(&self) -> Result<(), String> {
        for ((node, id), session) in &self.sessions {
            ensure(self.nodes.contains_key(node), || format!("session {id} has no node"))?;
            for check in session.checks() {
                let status = self.check(node, check).map(|it| it.status);
                let works = status.is_some_and(|it| it != CheckStatus::Critical);
                ensure(works, || format!("session {id} depends on {check}, which is {status:?}"))?;
            }
        }
        for ((session, key), _) in &self.locks {
            let is_held = self.kv.get(key).is_some_and(|it| it.session == *session);
            ensure(is_held, || format!("{session} does not hold {key}, though a lock says so"))?;
        }
        for (key, entry) in self.kv.iter().filter(|(_, it)| !it.session.is_empty()) {
            let (session, lives) = (&entry.session, self.session(&entry.session).is_some());
            ensure(lives, || format!("{key} is held by {session}, which does not exist"))?;
            let has_lock = self.locked_at(session, key).is_some();
            ensure(has_lock, || format!("{key} is held by {session}, though no lock says so"))?;
        }
        Ok(())
    }

    pub(super) fn check_session_ids(&self) -> Result<(), String> {
        for ((node, id), session) in &self.sessions {
            let is_found = self.session_nodes.get(id) == Some(node) && session.id == *id;
            ensure(is_found, || format!("session {id} is not found by its id"))?;
        }
        let strays = self.session_nodes.size() != self.sessions.size();
        ensure(!strays, || "stray ids of sessions".into())
    }

    pub(super) fn put_kv(&mut self, entry: Stored<KvEntry>, touched: &mut BTreeSet<WatchKey>) {
        let (key, modified) = (entry.key.clone(), entry.modified);
        self.kv.insert_mut(key.clone(), Arc::new(entry));
        self.kv_graves.remove_mut(&key);
        self.indexes.kv = self.indexes.kv.max(modified);
        touched.insert(WatchKey::Kv(key));
    }

    pub(super) fn delete_kv(
        &mut self,
        key: &KvKey,
        revision: Revision,
        touched: &mut BTreeSet<WatchKey>,
    ) {
        if self.kv.remove_mut(key) {
            self.bury(key, revision);
            touched.insert(WatchKey::Kv(key.clone()));
        }
    }

    /// Notes that a key is gone. Too many notes are forgotten together: then all prefixes count as changed once.
    fn bury(&mut self, key: &KvKey, revision: Revision) {
        if self.kv_graves.size() >= GRAVES_MAX {
            self.kv_graves = RedBlackTreeMapSync::new_sync();
            self.indexes.kv_graves = revision;
        }
        self.kv_graves.insert_mut(key.clone(), revision);
        self.indexes.kv = revision;
    }

    pub(super) fn put_session(
        &mut self,
        session: Stored<Session>,
        touched: &mut BTreeSet<WatchKey>,
    ) {
        let key = (session.node.folded(), session.id.clone());
        self.session_nodes.insert_mut(key.1.clone(), key.0.clone());
        self.indexes.sessions = self.indexes.sessions.max(session.modified);
        self.sessions.insert_mut(key, Arc::new(session));
        touched.insert(WatchKey::Sessions);
    }

    pub(super) fn delete_session(
        &mut self,
        node: &Folded,
        id: &SessionId,
        revision: Revision,
        touched: &mut BTreeSet<WatchKey>,
    ) {
        if self.sessions.remove_mut(&(node.clone(), id.clone())) {
            self.session_nodes.remove_mut(id);
            self.indexes.sessions = revision;
            touched.insert(WatchKey::Sessions);
        }
    }
}

/// The part of a map whose keys start with `prefix`.
fn under<'a, V>(
    map: &'a RedBlackTreeMapSync<KvKey, V>,
    prefix: &KvKey,
) -> impl Iterator<Item = (&'a KvKey, &'a V)> + use<'a, V> {
    let prefix = prefix.clone();
    let start = (Bound::Included(prefix.clone()), Bound::Unbounded);
    map.range(start).take_while(move |(key, _)| key.as_str().starts_with(prefix.as_str()))
}
