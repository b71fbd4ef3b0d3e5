use std::collections::BTreeSet;
use std::ops::{Bound, Deref};
use std::sync::Arc;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use crate::{
    Change, Check, CheckId, CheckStatus, DecodeError, Document, DocumentKey, Entry, Folded,
    Instance, KeyChange, KvEntry, KvKey, Node, NodeName, Object, ObjectKey, Operation, Record,
    RecordKey, Revision, Secret, ServiceId, ServiceName, Session, SessionId, Table, Timestamp,
};

mod acl;
mod invariants;
mod keys;
mod mesh;
mod records;

pub use records::Found;

type InstanceKey = (Folded, ServiceId);
/// Checks sort by node, then instance (the node's own, with the empty id, first), then id: the order in which
/// they are listed, and a range for each instance.
type CheckKey = (Folded, ServiceId, CheckId);

/// A stored object with the revisions of its making and of its last change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored<T> {
    /// The object.
    pub value: T,
    /// Revision at which it came to be.
    pub created: Revision,
    /// Revision of its last change.
    pub modified: Revision,
}

impl<T> Deref for Stored<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A service: all its instances, and when anything about them last changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceEntry {
    /// Name in the letter case of its first registration.
    pub name: ServiceName,
    /// Revision of the last change of an instance, of a check of one, or of a node (or a node's check) that
    /// hosts one.
    pub index: Revision,
    instances: RedBlackTreeSetSync<InstanceKey>,
}

impl ServiceEntry {
    /// Number of instances; never 0 (a service without instances does not exist).
    #[must_use]
    pub fn len(&self) -> usize {
        self.instances.size()
    }

    /// False: a service without instances does not exist.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty()
    }
}

/// What somebody can wait for: a part of the catalog whose change must wake him.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum WatchKey {
    /// Any node, or any instance.
    Nodes,
    /// Any instance.
    Services,
    /// One service: its instances, their checks, their nodes. Also wakes when it comes to be or goes.
    Service(Folded),
    /// Which instances a service is reached through in the mesh; of what becomes of them their own services tell.
    Mesh(Folded),
    /// One node and its instances. Also wakes when it comes to be or goes.
    Node(Folded),
    /// Any check.
    Checks,
    /// Any check of one node or of an instance on it.
    NodeChecks(Folded),
    /// One instance or one of its checks (by node and id).
    Instance(Folded, ServiceId),
    /// Any document.
    Documents,
    /// One key of the key-value store.
    Kv(KvKey),
    /// Any key of the key-value store that starts with this. Who touches a key touches all prefixes of it without naming
    /// them.
    KvUnder(KvKey),
    /// Any session.
    Sessions,
    /// Any record of a table.
    Table(Table),
}

/// Revisions of the last change, by table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct TableIndexes {
    nodes: Revision,
    services: Revision,
    checks: Revision,
    documents: Revision,
    kv: Revision,
    /// Deletions up to here are not remembered by key.
    kv_graves: Revision,
    sessions: Revision,
    service_extinction: Revision,
    mesh_extinction: Revision,
    node_extinction: Revision,
}

/// All that is true at one revision. An immutable value for readers; a clone costs a few reference counts.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Catalog {
    revision: Revision,
    nodes: RedBlackTreeMapSync<Folded, Arc<Stored<Node>>>,
    instances: RedBlackTreeMapSync<InstanceKey, Arc<Stored<Instance>>>,
    checks: RedBlackTreeMapSync<CheckKey, Arc<Stored<Check>>>,
    documents: RedBlackTreeMapSync<DocumentKey, Arc<Stored<Document>>>,
    kv: RedBlackTreeMapSync<KvKey, Arc<Stored<KvEntry>>>,
    /// Keys that are gone, and since when: the index of what is under a prefix does not go back when a key goes.
    kv_graves: RedBlackTreeMapSync<KvKey, Revision>,
    sessions: RedBlackTreeMapSync<(Folded, SessionId), Arc<Stored<Session>>>,
    session_nodes: RedBlackTreeMapSync<SessionId, Folded>,
    /// Which session holds which key, and since when.
    locks: RedBlackTreeMapSync<(SessionId, KvKey), Revision>,
    /// Until when nobody gets a key as a lock, and when that was said.
    lock_delays: RedBlackTreeMapSync<KvKey, (Timestamp, Revision)>,
    check_owners: RedBlackTreeMapSync<(Folded, CheckId), ServiceId>,
    services: RedBlackTreeMapSync<Folded, Arc<ServiceEntry>>,
    /// By service, the instances that it is reached through in the mesh.
    mesh: RedBlackTreeMapSync<Folded, Arc<mesh::MeshEntry>>,
    node_indexes: RedBlackTreeMapSync<Folded, Revision>,
    node_ids: RedBlackTreeMapSync<Folded, Folded>,
    records: RedBlackTreeMapSync<RecordKey, Arc<Stored<Record>>>,
    /// Tokens by what their holders show.
    token_secrets: RedBlackTreeMapSync<Secret, Arc<str>>,
    /// Tokens that end, by when.
    token_ends: RedBlackTreeSetSync<(Timestamp, Arc<str>)>,
    /// By table, the revision of the last change of any of its records.
    table_indexes: [Revision; Table::ALL.len()],
    status_counts: [usize; 3],
    indexes: TableIndexes,
}

impl Catalog {
    /// The catalog that a snapshot of the store holds at `revision`. All indexes start at `revision`, so that no
    /// index that a client saw before a restart is ahead of ours.
    #[must_use]
    pub fn from_entries(
        revision: Revision,
        entries: impl IntoIterator<Item = Entry>,
    ) -> (Self, Vec<DecodeError>) {
        let mut catalog = Catalog::default();
        let mut errors = Vec::new();
        let mut touched = BTreeSet::new();
        for entry in entries {
            match Object::decode(&entry.key, &entry.value) {
                Ok(object) => catalog.put(object, entry.created, entry.modified, &mut touched),
                Err(error) => errors.push(error),
            }
        }
        catalog.revision = revision;
        catalog.indexes = TableIndexes {
            nodes: revision,
            services: revision,
            checks: revision,
            documents: revision,
            kv: revision,
            kv_graves: revision,
            sessions: revision,
            service_extinction: revision,
            mesh_extinction: revision,
            node_extinction: revision,
        };
        catalog.table_indexes = [revision; Table::ALL.len()];
        for name in catalog.services.keys().cloned().collect::<Vec<_>>() {
            catalog.touch_service(&name, revision, &mut touched);
        }
        for name in catalog.nodes.keys().cloned().collect::<Vec<_>>() {
            catalog.node_indexes.insert_mut(name, revision);
        }
        debug_assert_eq!(catalog.check_indexes(), Ok(()));
        (catalog, errors)
    }

    /// Moves to the revision of `change`. Returns what to wake; objects that cannot be read are left out and
    /// returned as errors.
    pub fn apply(&mut self, change: &Change) -> (BTreeSet<WatchKey>, Vec<DecodeError>) {
        debug_assert!(change.revision > self.revision, "changes arrive in order, once each");
        let mut touched = BTreeSet::new();
        let mut errors = Vec::new();
        for key_change in &change.keys {
            match key_change {
                KeyChange::Put { key, value, created } => match Object::decode(key, value) {
                    Ok(object) => self.put(object, *created, change.revision, &mut touched),
                    Err(error) => errors.push(error),
                },
                KeyChange::Delete { key } => match ObjectKey::decode(key) {
                    Some(key) => self.delete(&key, change.revision, &mut touched),
                    None => errors.push(DecodeError::Key { key: key.replace('\0', "/") }),
                },
            }
        }
        self.revision = change.revision;
        (touched, errors)
    }

    /// Revision that this catalog shows.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// A node by name.
    #[must_use]
    pub fn node(&self, name: &Folded) -> Option<&Arc<Stored<Node>>> {
        self.nodes.get(name)
    }

    /// A node by its id, in any letter case; `None` for the empty id.
    #[must_use]
    pub fn node_by_id(&self, id: &str) -> Option<&Arc<Stored<Node>>> {
        self.node_ids.get(&Folded::new(id)).and_then(|name| self.nodes.get(name))
    }

    /// The one node whose id starts with `prefix` (in any letter case); `None` when there is none, or several.
    #[must_use]
    pub fn node_by_id_prefix(&self, prefix: &str) -> Option<&Arc<Stored<Node>>> {
        let prefix = Folded::new(prefix);
        let start = (Bound::Included(prefix.clone()), Bound::Unbounded);
        let mut found = self
            .node_ids
            .range(start)
            .take_while(|(id, _)| id.as_str().starts_with(prefix.as_str()))
            .map(|(_, name)| name);
        let name = found.next()?;
        if found.next().is_some() { None } else { self.nodes.get(name) }
    }

    /// All nodes in the order of their folded names.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Stored<Node>>> {
        self.nodes.values()
    }

    /// Number of nodes.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.size()
    }

    /// An instance by node and id.
    #[must_use]
    pub fn instance(&self, node: &Folded, id: &ServiceId) -> Option<&Arc<Stored<Instance>>> {
        self.instances.get(&(node.clone(), id.clone()))
    }

    /// All instances, by node and then by id.
    pub fn instances(&self) -> impl Iterator<Item = &Arc<Stored<Instance>>> {
        self.instances.values()
    }

    /// Number of instances.
    #[must_use]
    pub fn instance_count(&self) -> usize {
        self.instances.size()
    }

    /// The instances of one node, by id.
    pub fn instances_of_node<'a>(
        &'a self,
        node: &Folded,
    ) -> impl Iterator<Item = &'a Arc<Stored<Instance>>> + use<'a> {
        let start = (node.clone(), ServiceId::default());
        let node = node.clone();
        self.instances
            .range((Bound::Included(start), Bound::Unbounded))
            .take_while(move |((of, _), _)| *of == node)
            .map(|(_, instance)| instance)
    }

    /// A service by name; `None` when it has no instance.
    #[must_use]
    pub fn service(&self, name: &Folded) -> Option<&Arc<ServiceEntry>> {
        self.services.get(name)
    }

    /// All services by folded name.
    pub fn services(&self) -> impl Iterator<Item = (&Folded, &Arc<ServiceEntry>)> {
        self.services.iter()
    }

    /// Number of services.
    #[must_use]
    pub fn service_count(&self) -> usize {
        self.services.size()
    }

    /// The instances of one service, by node and then by id.
    pub fn instances_of_service<'a>(
        &'a self,
        name: &Folded,
    ) -> impl Iterator<Item = &'a Arc<Stored<Instance>>> + use<'a> {
        self.services.get(name).into_iter().flat_map(move |entry| {
            entry.instances.iter().map(|key| {
                self.instances.get(key).expect("a service lists only instances that exist")
            })
        })
    }

    /// A check by node and id.
    #[must_use]
    pub fn check(&self, node: &Folded, id: &CheckId) -> Option<&Arc<Stored<Check>>> {
        let owner = self.check_owners.get(&(node.clone(), id.clone()))?;
        self.checks.get(&(node.clone(), owner.clone(), id.clone()))
    }

    /// All checks: by node, the node's own first, then by instance and id.
    pub fn checks(&self) -> impl Iterator<Item = &Arc<Stored<Check>>> {
        self.checks.values()
    }

    /// Number of checks.
    #[must_use]
    pub fn check_count(&self) -> usize {
        self.checks.size()
    }

    /// Number of checks with this status.
    #[must_use]
    pub fn check_count_by(&self, status: CheckStatus) -> usize {
        self.status_counts[status as usize]
    }

    /// All checks of a node and of its instances, in the order of [`Catalog::checks`].
    pub fn checks_of_node<'a>(
        &'a self,
        node: &Folded,
    ) -> impl Iterator<Item = &'a Arc<Stored<Check>>> + use<'a> {
        let start = (node.clone(), ServiceId::default(), CheckId::default());
        let node = node.clone();
        self.checks
            .range((Bound::Included(start), Bound::Unbounded))
            .take_while(move |((of, _, _), _)| *of == node)
            .map(|(_, check)| check)
    }

    /// The checks of one instance, or with an empty `id` those of the node itself, by check id.
    pub fn checks_of_instance<'a>(
        &'a self,
        node: &Folded,
        id: &ServiceId,
    ) -> impl Iterator<Item = &'a Arc<Stored<Check>>> + use<'a> {
        let start = (node.clone(), id.clone(), CheckId::default());
        let owner = (node.clone(), id.clone());
        self.checks
            .range((Bound::Included(start), Bound::Unbounded))
            .take_while(move |((node, id, _), _)| (node, id) == (&owner.0, &owner.1))
            .map(|(_, check)| check)
    }

    /// A document by key.
    #[must_use]
    pub fn document(&self, key: &DocumentKey) -> Option<&Arc<Stored<Document>>> {
        self.documents.get(key)
    }

    /// Number of documents.
    #[must_use]
    pub fn document_count(&self) -> usize {
        self.documents.size()
    }

    /// All documents by key.
    pub fn documents(&self) -> impl Iterator<Item = &Arc<Stored<Document>>> {
        self.documents.values()
    }

    /// Revision of the last change of any node or instance.
    #[must_use]
    pub fn nodes_index(&self) -> Revision {
        self.indexes.nodes
    }

    /// Revision of the last change of any instance.
    #[must_use]
    pub fn services_index(&self) -> Revision {
        self.indexes.services
    }

    /// Revision of the last change of any check.
    #[must_use]
    pub fn checks_index(&self) -> Revision {
        self.indexes.checks
    }

    /// Revision of the last change of any document.
    #[must_use]
    pub fn documents_index(&self) -> Revision {
        self.indexes.documents
    }

    /// Revision of the last change of a service; for one without instances the last time that any service
    /// lost its last instance, or, if none ever did, of the last change of all tables.
    #[must_use]
    pub fn service_index(&self, name: &Folded) -> Revision {
        match self.services.get(name) {
            Some(entry) => entry.index,
            None if self.indexes.service_extinction > Revision(0) => {
                self.indexes.service_extinction
            }
            None => self.indexes.nodes.max(self.indexes.services).max(self.indexes.checks),
        }
    }

    /// Revision of the last change of a node or its instances; for an unknown node the last time that any
    /// node went, or, if none ever did, of the last change of any node.
    #[must_use]
    pub fn node_index(&self, name: &Folded) -> Revision {
        match self.node_indexes.get(name) {
            Some(index) => *index,
            None if self.indexes.node_extinction > Revision(0) => self.indexes.node_extinction,
            None => self.indexes.nodes,
        }
    }

    /// When an object came to be and when it was changed last; `None` when there is none.
    #[must_use]
    pub fn revisions_of(&self, key: &ObjectKey) -> Option<(Revision, Revision)> {
        match key {
            ObjectKey::Node(name) => self.node(name).map(|it| (it.created, it.modified)),
            ObjectKey::Instance(node, id) => {
                self.instance(node, id).map(|it| (it.created, it.modified))
            }
            ObjectKey::Check(node, id) => self.check(node, id).map(|it| (it.created, it.modified)),
            ObjectKey::Document(key) => self.document(key).map(|it| (it.created, it.modified)),
            ObjectKey::Kv(key) => self.kv(key).map(|it| (it.created, it.modified)),
            ObjectKey::Session(_, id) => self.session(id).map(|it| (it.created, it.modified)),
            ObjectKey::Lock(session, key) => self.locked_at(session, key).map(|it| (it, it)),
            ObjectKey::LockDelay(key) => self.lock_delay(key).map(|it| (it.1, it.1)),
            ObjectKey::Record(key) => self.record_at(key).map(|it| (it.created, it.modified)),
        }
    }

    /// The change that a store makes of these operations at a revision.
    #[must_use]
    pub fn change_of(&self, revision: Revision, operations: &[Operation]) -> Change {
        let keys = operations.iter().map(|operation| match operation {
            Operation::Put { key, value, .. } => {
                let before = ObjectKey::decode(key).and_then(|it| self.revisions_of(&it));
                let created = before.map_or(revision, |it| it.0);
                KeyChange::Put { key: key.clone(), value: Arc::clone(value), created }
            }
            Operation::Delete { key } => KeyChange::Delete { key: key.clone() },
        });
        Change { revision, keys: keys.collect() }
    }

    /// Checks every relation between the tables and indexes. For `debug_assert!` and property tests: O(n log n).
    ///
    /// # Errors
    /// A sentence about the first relation that does not hold.
    pub fn check_invariants(&self) -> Result<(), String> {
        self.check_indexes()?;
        self.check_references()
    }

    fn put(
        &mut self,
        object: Object,
        created: Revision,
        modified: Revision,
        touched: &mut BTreeSet<WatchKey>,
    ) {
        match object {
            Object::Node(node) => self.put_node(Stored { value: node, created, modified }, touched),
            Object::Instance(it) => {
                self.put_instance(Stored { value: it, created, modified }, touched);
            }
            Object::Check(it) => self.put_check(Stored { value: it, created, modified }, touched),
            Object::Document(document) => {
                let stored = Stored { value: document, created, modified };
                self.documents.insert_mut(stored.key.clone(), Arc::new(stored));
                self.indexes.documents = self.indexes.documents.max(modified);
                touched.insert(WatchKey::Documents);
            }
            Object::Kv(entry) => {
                self.put_kv(Stored { value: entry, created, modified }, touched);
            }
            Object::Session(session) => {
                self.put_session(Stored { value: session, created, modified }, touched);
            }
            Object::Lock(session, key) => {
                self.locks.insert_mut((session, key), modified);
            }
            Object::LockDelay(key, until) => {
                self.lock_delays.insert_mut(key, (until, modified));
            }
            Object::Record(record) => {
                self.put_record(Stored { value: record, created, modified }, touched);
            }
        }
    }

    fn put_node(&mut self, node: Stored<Node>, touched: &mut BTreeSet<WatchKey>) {
        let name = node.name.folded();
        let revision = node.modified;
        self.forget_node_id(&name);
        if !node.id.is_empty() {
            self.node_ids.insert_mut(Folded::new(&node.id), name.clone());
        }
        self.nodes.insert_mut(name.clone(), Arc::new(node));
        self.touch_node(&name, revision, touched);
        self.touch_services_on(&name, revision, touched);
    }

    /// Takes the node's id out of the index, if it is this node that the index has under it.
    fn forget_node_id(&mut self, name: &Folded) {
        let id = self.nodes.get(name).map(|node| Folded::new(&node.id));
        if let Some(id) = id.filter(|id| self.node_ids.get(id) == Some(name)) {
            self.node_ids.remove_mut(&id);
        }
    }

    fn put_instance(&mut self, mut instance: Stored<Instance>, touched: &mut BTreeSet<WatchKey>) {
        let node = self.node_key(&instance.node);
        let service = instance.service.folded();
        let service = self.services.get_key_value(&service).map_or(service, |(key, _)| key.clone());
        let revision = instance.modified;
        self.share_names(&mut instance.value, &node, &service);
        let key = (node.clone(), instance.id.clone());
        self.refile_in_mesh(&key, Some(&instance), revision, touched);
        let before = self.instances.get(&key).map(|it| it.service.folded());
        if let Some(before) = before.filter(|before| *before != service) {
            self.unlist(&before, &key, revision, touched);
        }
        let mut entry = self.services.get(&service).map_or_else(
            || ServiceEntry {
                name: instance.service.clone(),
                index: revision,
                instances: RedBlackTreeSetSync::new_sync(),
            },
            |entry| (**entry).clone(),
        );
        if !entry.instances.contains(&key) {
            entry.instances.insert_mut(key.clone());
        }
        self.services.insert_mut(service.clone(), Arc::new(entry));
        touched.insert(WatchKey::Instance(node.clone(), key.1.clone()));
        self.instances.insert_mut(key, Arc::new(instance));
        self.touch_service(&service, revision, touched);
        self.touch_services(revision, touched);
        self.touch_node(&node, revision, touched);
    }

    /// Points the instance's names at the copies that the node and the service already hold.
    fn share_names(&self, instance: &mut Instance, node: &Folded, service: &Folded) {
        if let Some(known) = self.nodes.get(node).filter(|known| known.name == instance.node) {
            instance.node = known.name.clone();
        }
        if let Some(known) = self.services.get(service).filter(|it| it.name == instance.service) {
            instance.service = known.name.clone();
        }
    }

    /// The node's key as the catalog has it: one allocation for all that is filed under it.
    fn node_key(&self, name: &NodeName) -> Folded {
        let folded = name.folded();
        self.nodes.get_key_value(&folded).map_or(folded, |(key, _)| key.clone())
    }

    fn put_check(&mut self, mut check: Stored<Check>, touched: &mut BTreeSet<WatchKey>) {
        let node = self.node_key(&check.node);
        if let Some(owner) = self.instance(&node, &check.service_id) {
            check.value.service_id = owner.id.clone();
        }
        let owner_key = (node.clone(), check.id.clone());
        let revision = check.modified;
        if let Some(known) = self.nodes.get(&node).filter(|known| known.name == check.node) {
            check.value.node = known.name.clone();
        }
        let before =
            self.check_owners.get(&owner_key).filter(|it| **it != check.service_id).cloned();
        if let Some(before) = before {
            self.remove_check(&(node.clone(), before.clone(), check.id.clone()));
            self.touch_check_owner(&node, &before, revision, touched);
        }
        self.check_owners.insert_mut(owner_key, check.service_id.clone());
        let owner = check.service_id.clone();
        let key = (node.clone(), owner.clone(), check.id.clone());
        self.uncount_check(&key);
        self.status_counts[check.status as usize] += 1;
        self.checks.insert_mut(key, Arc::new(check));
        self.touch_check_owner(&node, &owner, revision, touched);
    }

    fn remove_check(&mut self, key: &CheckKey) {
        self.uncount_check(key);
        self.checks.remove_mut(key);
    }

    /// Takes a check that is about to be replaced or removed, if there is one, out of the counts.
    fn uncount_check(&mut self, key: &CheckKey) {
        if let Some(check) = self.checks.get(key) {
            self.status_counts[check.status as usize] -= 1;
        }
    }

    fn delete(&mut self, key: &ObjectKey, revision: Revision, touched: &mut BTreeSet<WatchKey>) {
        match key {
            ObjectKey::Node(name) => {
                self.forget_node_id(name);
                if self.nodes.remove_mut(name) {
                    self.touch_node(name, revision, touched);
                    self.node_indexes.remove_mut(name);
                    self.indexes.node_extinction = revision;
                }
            }
            ObjectKey::Instance(node, id) => {
                let instance_key = (node.clone(), id.clone());
                let service = self.instances.get(&instance_key).map(|it| it.service.folded());
                if let Some(service) = service {
                    self.refile_in_mesh(&instance_key, None, revision, touched);
                    self.instances.remove_mut(&instance_key);
                    self.unlist(&service, &instance_key, revision, touched);
                    self.touch_services(revision, touched);
                    self.touch_node(node, revision, touched);
                    touched.insert(WatchKey::Instance(node.clone(), id.clone()));
                }
            }
            ObjectKey::Check(node, id) => {
                let owner_key = (node.clone(), id.clone());
                if let Some(owner) = self.check_owners.get(&owner_key).cloned() {
                    self.check_owners.remove_mut(&owner_key);
                    self.remove_check(&(node.clone(), owner.clone(), id.clone()));
                    self.touch_check_owner(node, &owner, revision, touched);
                    if owner.is_empty() {
                        self.touch_services(revision, touched);
                    }
                }
            }
            ObjectKey::Document(key) => {
                if self.documents.remove_mut(key) {
                    self.indexes.documents = revision;
                    touched.insert(WatchKey::Documents);
                }
            }
            ObjectKey::Kv(key) => self.delete_kv(key, revision, touched),
            ObjectKey::Session(node, id) => self.delete_session(node, id, revision, touched),
            ObjectKey::Lock(session, key) => {
                self.locks.remove_mut(&(session.clone(), key.clone()));
            }
            ObjectKey::LockDelay(key) => {
                self.lock_delays.remove_mut(key);
            }
            ObjectKey::Record(key) => self.delete_record(key, revision, touched),
        }
    }

    /// Takes an instance off its service's list; the service goes with its last instance.
    fn unlist(
        &mut self,
        service: &Folded,
        key: &InstanceKey,
        revision: Revision,
        touched: &mut BTreeSet<WatchKey>,
    ) {
        touched.insert(WatchKey::Service(service.clone()));
        let Some(entry) = self.services.get(service) else { return };
        let mut entry = (**entry).clone();
        entry.instances.remove_mut(key);
        if entry.is_empty() {
            self.services.remove_mut(service);
            self.indexes.service_extinction = revision;
        } else {
            entry.index = revision;
            self.services.insert_mut(service.clone(), Arc::new(entry));
        }
    }

    fn touch_check_owner(
        &mut self,
        node: &Folded,
        owner: &ServiceId,
        revision: Revision,
        touched: &mut BTreeSet<WatchKey>,
    ) {
        self.indexes.checks = self.indexes.checks.max(revision);
        touched.insert(WatchKey::Checks);
        touched.insert(WatchKey::NodeChecks(node.clone()));
        if owner.is_empty() {
            self.touch_services_on(node, revision, touched);
            return;
        }
        touched.insert(WatchKey::Instance(node.clone(), owner.clone()));
        let service = self.instance(node, owner).map(|instance| instance.service.folded());
        if let Some(service) = service {
            self.touch_service(&service, revision, touched);
        }
    }

    fn touch_service(
        &mut self,
        name: &Folded,
        revision: Revision,
        touched: &mut BTreeSet<WatchKey>,
    ) {
        touched.insert(WatchKey::Service(name.clone()));
        if let Some(entry) = self.services.get(name).filter(|entry| entry.index < revision) {
            let entry = ServiceEntry { index: revision, ..(**entry).clone() };
            self.services.insert_mut(name.clone(), Arc::new(entry));
        }
    }

    fn touch_services_on(
        &mut self,
        node: &Folded,
        revision: Revision,
        touched: &mut BTreeSet<WatchKey>,
    ) {
        let names: BTreeSet<Folded> =
            self.instances_of_node(node).map(|it| it.service.folded()).collect();
        for name in names {
            self.touch_service(&name, revision, touched);
        }
    }

    fn touch_services(&mut self, revision: Revision, touched: &mut BTreeSet<WatchKey>) {
        self.indexes.services = self.indexes.services.max(revision);
        self.indexes.nodes = self.indexes.nodes.max(revision);
        touched.insert(WatchKey::Services);
        touched.insert(WatchKey::Nodes);
    }

    fn touch_node(&mut self, name: &Folded, revision: Revision, touched: &mut BTreeSet<WatchKey>) {
        self.indexes.nodes = self.indexes.nodes.max(revision);
        if self.nodes.contains_key(name) {
            self.node_indexes.insert_mut(name.clone(), revision);
        }
        touched.insert(WatchKey::Node(name.clone()));
        touched.insert(WatchKey::Nodes);
    }
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

#[cfg(test)]
mod tests;
