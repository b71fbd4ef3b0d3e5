use std::collections::{BTreeMap, BTreeSet};

use model::{
    Catalog, Check, Compare, Folded, Object, ObjectKey, Operation, ServiceId, SessionId, Timestamp,
    Txn,
};

/// A transaction in the making.
pub(super) struct Draft<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) now: Timestamp,
    compares: BTreeSet<Compare>,
    /// By key, because a transaction writes each key at most once: the last write wins.
    operations: BTreeMap<String, Operation>,
    /// Checks, by key, that were of another instance or of the node before, with their new owner.
    adopted: BTreeMap<String, (Folded, ServiceId)>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(catalog: &'a Catalog, now: Timestamp) -> Self {
        Self {
            catalog,
            now,
            compares: BTreeSet::new(),
            operations: BTreeMap::new(),
            adopted: BTreeMap::new(),
        }
    }

    /// Without anything to write there is nothing to compare.
    pub(super) fn into_txn(self) -> Txn {
        let txn = self.into_parts();
        if txn.is_noop() { Txn::default() } else { txn }
    }

    /// What it was decided on, also when nothing is to be written.
    pub(super) fn into_parts(mut self) -> Txn {
        // An adoption adds no key, so whoever removes the new owner would not see it.
        for (node, owner) in std::mem::take(&mut self.adopted).into_values() {
            self.touch_instance(&node, &owner);
        }
        Txn {
            compares: self.compares.into_iter().collect(),
            operations: self.operations.into_values().collect(),
        }
    }

    /// Notes that the decision depends on this key as the catalog has it.
    pub(super) fn depend_on(&mut self, key: &ObjectKey) {
        let modified = self.catalog.revisions_of(key).map(|it| it.1);
        let modified = modified.unwrap_or_default();
        self.compares.insert(Compare::Key { key: key.encode(), modified });
    }

    /// Notes that the decision depends on the catalog knowing all keys with this prefix. What is made below something
    /// compares that it is there; who removes it must compare that nothing was made below it since, or the two pass each
    /// other and leave an orphan.
    pub(super) fn depend_on_all(&mut self, prefix: String) {
        self.compares.insert(Compare::NothingAdded { prefix, since: self.catalog.revision() });
    }

    /// Writes an object unless it is in the catalog as it is.
    pub(super) fn put(&mut self, object: Object) {
        let key = object.key();
        self.depend_on(&key);
        if let Object::Check(check) = &object {
            self.note_adoption(check, &key);
        }
        let unchanged = match (&object, &key) {
            (Object::Node(new), ObjectKey::Node(name)) => {
                self.catalog.node(name).is_some_and(|old| old.value == *new)
            }
            (Object::Instance(new), ObjectKey::Instance(node, id)) => {
                self.catalog.instance(node, id).is_some_and(|old| old.value == *new)
            }
            (Object::Check(new), ObjectKey::Check(node, id)) => {
                self.catalog.check(node, id).is_some_and(|old| old.value == *new)
            }
            (Object::Document(new), ObjectKey::Document(key)) => {
                self.catalog.document(key).is_some_and(|old| old.value == *new)
            }
            (Object::Kv(new), ObjectKey::Kv(key)) => {
                self.catalog.kv(key).is_some_and(|old| old.value == *new)
            }
            (Object::Session(new), ObjectKey::Session(_, id)) => {
                self.catalog.session(id).is_some_and(|old| old.value == *new)
            }
            (Object::Lock(session, key), _) => self.catalog.locked_at(session, key).is_some(),
            (Object::LockDelay(key, until), _) => {
                self.catalog.lock_delay(key).is_some_and(|old| old.0 == *until)
            }
            (Object::Record(new), ObjectKey::Record(key)) => {
                self.catalog.record_at(key).is_some_and(|old| old.value == *new)
            }
            (
                Object::Node(_)
                | Object::Instance(_)
                | Object::Check(_)
                | Object::Document(_)
                | Object::Kv(_)
                | Object::Session(_)
                | Object::Record(_),
                _,
            ) => unreachable!("an object's key is of its own kind"),
        };
        self.write(&key, (!unchanged).then(|| object.put()));
    }

    pub(super) fn delete(&mut self, key: &ObjectKey) {
        if let ObjectKey::Check(node, id) = key {
            self.end_sessions_of_check(node, id);
        }
        self.depend_on(key);
        self.write(key, Some(Operation::Delete { key: key.encode() }));
    }

    fn note_adoption(&mut self, check: &Check, key: &ObjectKey) {
        let node = check.node.folded();
        let before = self.catalog.check(&node, &check.id);
        if before.is_some_and(|it| it.service_id != check.service_id) {
            self.adopted.insert(key.encode(), (node, check.service_id.clone()));
        } else {
            self.adopted.remove(&key.encode());
        }
    }

    /// Writes an instance again as it is, so that whoever removes it at the same time has a conflict.
    fn touch_instance(&mut self, node: &Folded, id: &ServiceId) {
        let Some(instance) = self.catalog.instance(node, id) else { return };
        let key = ObjectKey::Instance(node.clone(), id.clone());
        self.depend_on(&key);
        let put = || Object::Instance(instance.value.clone()).put();
        self.operations.entry(key.encode()).or_insert_with(put);
    }

    /// Writes a session again as it is, so that whoever ends it at the same time has a conflict.
    pub(super) fn touch_session(&mut self, id: &SessionId) {
        let Some(session) = self.catalog.session(id) else { return };
        let object = Object::Session(session.value.clone());
        self.depend_on(&object.key());
        self.write(&object.key(), Some(object.put()));
    }

    /// `None` means that the key is as it should be.
    fn write(&mut self, key: &ObjectKey, operation: Option<Operation>) {
        match operation {
            Some(operation) => self.operations.insert(key.encode(), operation),
            None => self.operations.remove(&key.encode()),
        };
    }
}
