use std::collections::{BTreeMap, BTreeSet};

use model::{Catalog, Compare, KvEntry, KvKey, ObjectKey, Operation, Revision, Timestamp, Txn};

use super::Decision;
use super::draft::Draft;
use crate::{KvOperation, Rejection};

/// An entry as an operation of a transaction read or left it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KvRead {
    /// The entry; the value of what was written or checked is left out.
    pub entry: KvEntry,
    /// Revision at which it came to be; `None` for the transaction's own.
    pub created: Option<Revision>,
    /// Revision of its last change; `None` for the transaction's own.
    pub modified: Option<Revision>,
}

/// Decides on one operation after the other, each on a catalog in which those before it are done.
pub(super) fn decide(
    catalog: &Catalog,
    operations: &[KvOperation],
    now: Timestamp,
) -> Result<Decision, Rejection> {
    let mut several = Several {
        base: catalog.revision(),
        catalog: catalog.clone(),
        compares: BTreeSet::new(),
        operations: BTreeMap::new(),
        read: Vec::new(),
    };
    let mut refused = Vec::new();
    for (at, operation) in operations.iter().enumerate() {
        if let Err(rejection) = several.take(operation, now) {
            refused.push((at, rejection));
        }
    }
    if !refused.is_empty() {
        return Err(Rejection::Transaction(refused));
    }
    let Several { compares, operations, read, .. } = several;
    // Without a write, what was read is what was true at one revision.
    let txn = if operations.is_empty() {
        Txn::default()
    } else {
        Txn {
            compares: compares.into_iter().collect(),
            operations: operations.into_values().collect(),
        }
    };
    Ok(Decision { txn, read })
}

struct Several {
    /// Revision that was decided on; later ones are those of the operations themselves.
    base: Revision,
    catalog: Catalog,
    compares: BTreeSet<Compare>,
    operations: BTreeMap<String, Operation>,
    read: Vec<KvRead>,
}

impl Several {
    fn take(&mut self, operation: &KvOperation, now: Timestamp) -> Result<(), Rejection> {
        let catalog = self.catalog.clone();
        check(&catalog, operation)?;
        let mut draft = Draft::new(&catalog, now);
        match operation {
            KvOperation::Set { entry, when } => draft.set_kv(entry, when)?,
            KvOperation::Delete { key, when } => draft.delete_kv(key, when)?,
            KvOperation::DeleteUnder(prefix) => draft.delete_kv_under(prefix),
            KvOperation::GetUnder(prefix) => {
                draft.depend_on_all(ObjectKey::kv_prefix(prefix.as_str()));
                catalog.kv_under(prefix).for_each(|it| depend_on(&mut draft, &it.key));
            }
            KvOperation::Get(key)
            | KvOperation::GetOrEmpty(key)
            | KvOperation::CheckIndex(key, _)
            | KvOperation::CheckSession(key, _)
            | KvOperation::CheckNotExists(key) => depend_on(&mut draft, key),
        }
        self.merge(draft.into_parts());
        self.read(operation);
        Ok(())
    }

    /// Takes over what an operation does and what it was decided on. What the transaction has written itself is no
    /// condition of it.
    fn merge(&mut self, txn: Txn) {
        for compare in txn.compares {
            match compare {
                Compare::Key { key, .. } if self.operations.contains_key(&key) => {}
                Compare::Key { .. } => {
                    self.compares.insert(compare);
                }
                Compare::NothingAdded { prefix, .. } => {
                    self.compares.insert(Compare::NothingAdded { prefix, since: self.base });
                }
            }
        }
        if txn.operations.is_empty() {
            return;
        }
        let revision = Revision(self.catalog.revision().0 + 1);
        let change = self.catalog.change_of(revision, &txn.operations);
        self.catalog.apply(&change);
        for operation in txn.operations {
            self.operations.insert(operation.key().to_owned(), operation);
        }
    }

    fn read(&mut self, operation: &KvOperation) {
        match operation {
            KvOperation::Set { entry, .. } => self.read_entry(&entry.key, false),
            KvOperation::Get(key) => self.read_entry(key, true),
            KvOperation::CheckIndex(key, _) | KvOperation::CheckSession(key, _) => {
                self.read_entry(key, false);
            }
            KvOperation::GetOrEmpty(key) if self.catalog.kv(key).is_some() => {
                self.read_entry(key, true);
            }
            KvOperation::GetOrEmpty(key) => {
                let never = Some(Revision(0));
                let entry = KvEntry { key: key.clone(), ..KvEntry::default() };
                self.read.push(KvRead { entry, created: never, modified: never });
            }
            KvOperation::GetUnder(prefix) => {
                let keys: Vec<KvKey> =
                    self.catalog.kv_under(prefix).map(|it| it.key.clone()).collect();
                keys.iter().for_each(|key| self.read_entry(key, true));
            }
            KvOperation::Delete { .. }
            | KvOperation::DeleteUnder(_)
            | KvOperation::CheckNotExists(_) => {}
        }
    }

    fn read_entry(&mut self, key: &KvKey, with_value: bool) {
        let Some(stored) = self.catalog.kv(key) else { return };
        let mut entry = stored.value.clone();
        if !with_value {
            entry.value = [].into();
        }
        let known = |revision: Revision| (revision <= self.base).then_some(revision);
        let (created, modified) = (known(stored.created), known(stored.modified));
        self.read.push(KvRead { entry, created, modified });
    }
}

fn depend_on(draft: &mut Draft<'_>, key: &KvKey) {
    draft.depend_on(&ObjectKey::Kv(key.clone()));
}

/// What an operation demands of the entries that there are, beside what a write demands.
fn check(catalog: &Catalog, operation: &KvOperation) -> Result<(), Rejection> {
    match operation {
        KvOperation::Get(key) if catalog.kv(key).is_none() => {
            Err(Rejection::KvMissing(key.to_string()))
        }
        KvOperation::CheckNotExists(key) if catalog.kv(key).is_some() => {
            Err(Rejection::KvExists(key.to_string()))
        }
        KvOperation::CheckIndex(key, expected) => match catalog.kv(key) {
            None => Err(nothing_to_check("index", key)),
            Some(it) if it.modified != *expected => Err(Rejection::KvOtherIndex {
                key: key.to_string(),
                is: it.modified.0,
                expected: expected.0,
            }),
            Some(_) => Ok(()),
        },
        KvOperation::CheckSession(key, expected) => match catalog.kv(key) {
            None => Err(nothing_to_check("session", key)),
            Some(it) if it.session != *expected => Err(Rejection::KvOtherSession {
                key: key.to_string(),
                is: it.session.to_string(),
                expected: expected.to_string(),
            }),
            Some(_) => Ok(()),
        },
        KvOperation::Set { .. }
        | KvOperation::Delete { .. }
        | KvOperation::DeleteUnder(_)
        | KvOperation::Get(_)
        | KvOperation::GetOrEmpty(_)
        | KvOperation::GetUnder(_)
        | KvOperation::CheckNotExists(_) => Ok(()),
    }
}

fn nothing_to_check(what: &'static str, key: &KvKey) -> Rejection {
    Rejection::KvNothingToCheck { what, key: key.to_string() }
}
