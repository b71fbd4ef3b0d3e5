use std::collections::{BTreeMap, BTreeSet};

use model::{
    Catalog, Check, Compare, Instance, KvEntry, KvKey, Node, Object, ObjectKey, Operation,
    Revision, Timestamp, Txn, VirtualAddress,
};

use super::Decision;
use super::draft::Draft;
use super::names::{check_instance, check_name};
use crate::{KvOperation, ObjectName, Rejection, TxnOperation, TxnVerb};

/// An object as an operation of a transaction read or left it.
#[derive(Clone, PartialEq, Debug)]
pub struct TxnRead {
    /// It.
    pub object: TxnObject,
    /// Revision at which it came to be; `None` for the transaction's own.
    pub created: Option<Revision>,
    /// Revision of its last change; `None` for the transaction's own.
    pub modified: Option<Revision>,
}

/// What a transaction can read.
#[derive(Clone, PartialEq, Debug)]
pub enum TxnObject {
    /// An entry; the value of what was written or checked is left out.
    Kv(KvEntry),
    /// A node.
    Node(Node),
    /// An instance.
    Instance(Instance),
    /// A check, with the instance that it belongs to, if it belongs to one.
    Check(Check, Option<Instance>),
    /// An address that stood for another service; of [`crate::Command::AssignVirtualAddresses`].
    VirtualAddress(VirtualAddress),
}

/// Decides on one operation after the other, each on a catalog in which those before it are done.
pub(super) fn decide(
    catalog: &Catalog,
    operations: &[TxnOperation],
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
    read: Vec<TxnRead>,
}

impl Several {
    fn take(&mut self, operation: &TxnOperation, now: Timestamp) -> Result<(), Rejection> {
        let catalog = self.catalog.clone();
        let mut draft = Draft::new(&catalog, now);
        match operation {
            TxnOperation::Kv(operation) => draft.operate(operation)?,
            TxnOperation::Node(verb, node) => draft.operate_on_node(*verb, node)?,
            TxnOperation::Instance(verb, instance) => {
                draft.operate_on_instance(*verb, instance)?;
            }
            TxnOperation::Check(verb, check) => draft.operate_on_check(*verb, check)?,
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

    fn read(&mut self, operation: &TxnOperation) {
        let is_left = |verb: &TxnVerb| !matches!(verb, TxnVerb::Delete | TxnVerb::DeleteAt(_));
        let catalog = &self.catalog;
        let read = match operation {
            TxnOperation::Kv(operation) => return self.read_kv(operation),
            TxnOperation::Node(verb, node) if is_left(verb) => {
                let found = node_of(catalog, node);
                found.map(|it| (TxnObject::Node(it.value.clone()), it.created, it.modified))
            }
            TxnOperation::Instance(verb, it) if is_left(verb) => {
                let found = catalog.instance(&it.node.folded(), &it.id);
                found.map(|it| (TxnObject::Instance(it.value.clone()), it.created, it.modified))
            }
            TxnOperation::Check(verb, it) if is_left(verb) => {
                let node = it.node.folded();
                catalog.check(&node, &it.id).map(|it| {
                    let owner = catalog.instance(&node, &it.service_id);
                    let owner = owner.map(|it| it.value.clone());
                    (TxnObject::Check(it.value.clone(), owner), it.created, it.modified)
                })
            }
            TxnOperation::Node(..) | TxnOperation::Instance(..) | TxnOperation::Check(..) => None,
        };
        if let Some((object, created, modified)) = read {
            self.push(object, created, modified);
        }
    }

    /// What the transaction itself wrote has no revision yet.
    fn push(&mut self, object: TxnObject, created: Revision, modified: Revision) {
        let known = |revision: Revision| (revision <= self.base).then_some(revision);
        let (created, modified) = (known(created), known(modified));
        self.read.push(TxnRead { object, created, modified });
    }

    fn read_kv(&mut self, operation: &KvOperation) {
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
                self.read.push(TxnRead {
                    object: TxnObject::Kv(entry),
                    created: never,
                    modified: never,
                });
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
        let (created, modified) = (stored.created, stored.modified);
        self.push(TxnObject::Kv(entry), created, modified);
    }
}

fn node_of<'a>(catalog: &'a Catalog, node: &Node) -> Option<&'a model::Stored<Node>> {
    let by_id = catalog.node_by_id(&node.id);
    let found = if node.id.is_empty() { catalog.node(&node.name.folded()) } else { by_id };
    found.map(|it| &**it)
}

impl Draft<'_> {
    fn operate(&mut self, operation: &KvOperation) -> Result<(), Rejection> {
        let catalog = self.catalog;
        check(catalog, operation)?;
        match operation {
            KvOperation::Set { entry, when } => self.set_kv(entry, when)?,
            KvOperation::Delete { key, when } => self.delete_kv(key, when)?,
            KvOperation::DeleteUnder(prefix) => self.delete_kv_under(prefix),
            KvOperation::GetUnder(prefix) => {
                self.depend_on_all(ObjectKey::kv_prefix(prefix.as_str()));
                catalog.kv_under(prefix).for_each(|it| depend_on(self, &it.key));
            }
            KvOperation::Get(key)
            | KvOperation::GetOrEmpty(key)
            | KvOperation::CheckIndex(key, _)
            | KvOperation::CheckSession(key, _)
            | KvOperation::CheckNotExists(key) => depend_on(self, key),
        }
        Ok(())
    }

    fn operate_on_node(&mut self, verb: TxnVerb, node: &Node) -> Result<(), Rejection> {
        let found = node_of(self.catalog, node);
        let name = found.map_or(&node.name, |it| &it.name).clone();
        let key = ObjectKey::Node(name.folded());
        let named = || {
            let named = if node.name.is_empty() { node.id.clone() } else { node.name.to_string() };
            ObjectName::Node(named)
        };
        self.require(verb, &key, found.map(|it| it.modified), named)?;
        match verb {
            TxnVerb::Get => Ok(()),
            TxnVerb::Set | TxnVerb::SetAt(_) => self.set_node(node),
            TxnVerb::Delete | TxnVerb::DeleteAt(_) => {
                self.delete_node(&name.folded());
                Ok(())
            }
        }
    }

    fn operate_on_instance(&mut self, verb: TxnVerb, it: &Instance) -> Result<(), Rejection> {
        let node = it.node.folded();
        let key = ObjectKey::Instance(node.clone(), it.id.clone());
        let found = self.catalog.instance(&node, &it.id).map(|it| it.modified);
        let (on, id) = (it.node.to_string(), it.id.to_string());
        self.require(verb, &key, found, || ObjectName::Instance { node: on, id })?;
        match verb {
            TxnVerb::Get => Ok(()),
            TxnVerb::Set | TxnVerb::SetAt(_) => {
                self.depend_on(&ObjectKey::Node(node.clone()));
                if self.catalog.node(&node).is_none() {
                    return Err(Rejection::SessionNodeMissing);
                }
                self.put(Object::Instance(check_instance(it.clone())?));
                Ok(())
            }
            TxnVerb::Delete | TxnVerb::DeleteAt(_) => {
                if found.is_some() {
                    self.delete_instance(&node, &it.id);
                }
                Ok(())
            }
        }
    }

    fn operate_on_check(&mut self, verb: TxnVerb, it: &Check) -> Result<(), Rejection> {
        let node = it.node.folded();
        let key = ObjectKey::Check(node.clone(), it.id.clone());
        let found = self.catalog.check(&node, &it.id).map(|it| it.modified);
        let (on, id) = (it.node.to_string(), it.id.to_string());
        self.require(verb, &key, found, || ObjectName::Check { node: on, id })?;
        match verb {
            TxnVerb::Get => Ok(()),
            TxnVerb::Set | TxnVerb::SetAt(_) => {
                check_name("check ID", it.id.as_str())?;
                self.depend_on(&ObjectKey::Node(node.clone()));
                if self.catalog.node(&node).is_none() {
                    return Err(Rejection::SessionNodeMissing);
                }
                if !it.service_id.is_empty() {
                    self.depend_on(&ObjectKey::Instance(node.clone(), it.service_id.clone()));
                    if self.catalog.instance(&node, &it.service_id).is_none() {
                        return Err(Rejection::ServiceNotRegistered);
                    }
                }
                self.put_check(it.clone());
                Ok(())
            }
            TxnVerb::Delete | TxnVerb::DeleteAt(_) => {
                if found.is_some() {
                    self.delete(&key);
                }
                Ok(())
            }
        }
    }

    /// What a verb demands of the object that there is.
    fn require(
        &mut self,
        verb: TxnVerb,
        key: &ObjectKey,
        modified: Option<Revision>,
        named: impl FnOnce() -> ObjectName,
    ) -> Result<(), Rejection> {
        self.depend_on(key);
        match (verb, modified) {
            (TxnVerb::Get, None) => Err(Rejection::ObjectMissing(named())),
            (TxnVerb::SetAt(expected), _) if modified.unwrap_or_default() != expected => {
                Err(Rejection::ObjectIndexStale { act: "set", object: named() })
            }
            (TxnVerb::DeleteAt(expected), _) if modified != Some(expected) => {
                Err(Rejection::ObjectIndexStale { act: "delete", object: named() })
            }
            _ => Ok(()),
        }
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
