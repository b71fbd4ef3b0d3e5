use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    Check, CheckId, Document, DocumentKey, Folded, Instance, KvEntry, KvKey, Node, Record,
    RecordKey, ServiceId, Session, SessionId, Table, Timestamp,
};

/// Position in the history of the store: each commit takes the next number, the first is 1. 0 means "never".
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Identity of a lease of the store: keys put under it go when it is not kept alive.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct LeaseId(pub u64);

/// Changes to be made all or none, if every compare holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Txn {
    /// What must still be true.
    pub compares: Vec<Compare>,
    /// What to write. A key appears at most once.
    pub operations: Vec<Operation>,
}

impl Txn {
    /// True when nothing is to be written: such a transaction is not sent to the store at all.
    #[must_use]
    pub fn is_noop(&self) -> bool {
        self.operations.is_empty()
    }
}

/// What a transaction was decided on, and must still be true when it is committed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Compare {
    /// The key's last modification must be exactly this revision (0: the key must not exist).
    Key {
        /// Key of the store.
        key: String,
        /// Revision of its last modification.
        modified: Revision,
    },
    /// No key with this prefix may have come to be after this revision: what a decision knows of that there is under the
    /// prefix is still all. Changes and deletions of keys that were there do not break it, and neither does a key that
    /// came and went. In etcd: a compare of a range, `create_revision < since + 1`, which holds for an empty range.
    NothingAdded {
        /// Start of the keys.
        prefix: String,
        /// Revision at which the decision looked.
        since: Revision,
    },
}

impl Compare {
    /// The key, or the prefix of the keys, that it looks at.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Compare::Key { key, .. } | Compare::NothingAdded { prefix: key, .. } => key,
        }
    }
}

/// One write of a [`Txn`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Sets the key's value.
    Put {
        /// Key of the store.
        key: String,
        /// New value.
        value: Arc<[u8]>,
        /// The key goes when this lease ends; `None` means that it stays.
        lease: Option<LeaseId>,
    },
    /// Removes the key; no effect if it is absent.
    Delete {
        /// Key of the store.
        key: String,
    },
}

impl Operation {
    /// The key that it writes.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Operation::Put { key, .. } | Operation::Delete { key } => key,
        }
    }
}

/// What one commit did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Revision of the commit.
    pub revision: Revision,
    /// Its writes, in order.
    pub keys: Vec<KeyChange>,
}

/// What one commit did to one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyChange {
    /// The key has a new value.
    Put {
        /// Key of the store.
        key: String,
        /// New value.
        value: Arc<[u8]>,
        /// Revision at which the key came to be (since it was last absent).
        created: Revision,
    },
    /// The key is gone.
    Delete {
        /// Key of the store.
        key: String,
    },
}

/// One key with its value, as a snapshot of the store lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Key of the store.
    pub key: String,
    /// Value.
    pub value: Arc<[u8]>,
    /// Revision at which the key came to be.
    pub created: Revision,
    /// Revision of its last modification.
    pub modified: Revision,
}

/// Identity of an object of the catalog; its text form is the key of the store.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ObjectKey {
    /// A node by its folded name.
    Node(Folded),
    /// An instance by node and id.
    Instance(Folded, ServiceId),
    /// A check by node and id.
    Check(Folded, CheckId),
    /// A document by its key.
    Document(DocumentKey),
    /// A key of the key-value store.
    Kv(KvKey),
    /// A session by node and id.
    Session(Folded, SessionId),
    /// That a session holds a key. It says what the entry says, too; but who ends the session sees by it that a key was
    /// taken meanwhile.
    Lock(SessionId, KvKey),
    /// That nobody gets a key as a lock for some time.
    LockDelay(KvKey),
    /// A record of a table.
    Record(RecordKey),
}

impl ObjectKey {
    /// The key of the store: `kind NUL part NUL part …`. NUL cannot be part of a name (the registry
    /// rejects control characters), so the form is unambiguous and sorts by its parts. A key of the key-value store may be
    /// any text, and is the last part; so is a record's name.
    #[must_use]
    pub fn encode(&self) -> String {
        match self {
            ObjectKey::Node(name) => format!("node\0{name}"),
            ObjectKey::Instance(node, id) => format!("instance\0{node}\0{id}"),
            ObjectKey::Check(node, id) => format!("check\0{node}\0{id}"),
            ObjectKey::Document(key) => {
                format!("document\0{}\0{}\0{}\0{}", key.group, key.kind, key.namespace, key.name)
            }
            ObjectKey::Kv(key) => Self::kv_prefix(key.as_str()),
            ObjectKey::Session(node, id) => format!("session\0{node}\0{id}"),
            ObjectKey::Lock(session, key) => format!("lock\0{session}\0{key}"),
            ObjectKey::LockDelay(key) => format!("lock-delay\0{key}"),
            ObjectKey::Record(key) => Self::record_prefix(key.table, &key.name),
        }
    }

    /// Start of the keys of all records of a table whose names start with `prefix`.
    #[must_use]
    pub fn record_prefix(table: Table, prefix: &str) -> String {
        format!("record\0{}\0{prefix}", table.as_str())
    }

    /// Start of the keys of all entries of the key-value store whose keys start with `prefix`.
    #[must_use]
    pub fn kv_prefix(prefix: &str) -> String {
        format!("kv\0{prefix}")
    }

    /// Start of the keys of all instances on a node.
    #[must_use]
    pub fn instances_prefix(node: &Folded) -> String {
        format!("instance\0{node}\0")
    }

    /// Start of the keys of all checks on a node, those of its instances included.
    #[must_use]
    pub fn checks_prefix(node: &Folded) -> String {
        format!("check\0{node}\0")
    }

    /// Start of the keys of all documents.
    #[must_use]
    pub fn documents_prefix() -> String {
        "document\0".to_owned()
    }

    /// Start of the keys of all sessions of a node.
    #[must_use]
    pub fn sessions_prefix(node: &Folded) -> String {
        format!("session\0{node}\0")
    }

    /// Start of the keys that say what a session holds.
    #[must_use]
    pub fn locks_prefix(session: &SessionId) -> String {
        format!("lock\0{session}\0")
    }

    /// Reads a key of the store; `None` for a kind that this version does not know.
    #[must_use]
    pub fn decode(key: &str) -> Option<Self> {
        match key.split_once('\0')? {
            ("kv", key) => return Some(ObjectKey::Kv(key.into())),
            ("lock-delay", key) => return Some(ObjectKey::LockDelay(key.into())),
            ("lock", rest) => {
                let (session, key) = rest.split_once('\0')?;
                return Some(ObjectKey::Lock(session.into(), key.into()));
            }
            ("record", rest) => {
                let (table, name) = rest.split_once('\0')?;
                return Some(ObjectKey::Record(RecordKey::new(Table::parse(table)?, name)));
            }
            _ => {}
        }
        let parts: Vec<&str> = key.split('\0').collect();
        match parts.as_slice() {
            ["node", name] => Some(ObjectKey::Node(Folded::new(name))),
            ["instance", node, id] => Some(ObjectKey::Instance(Folded::new(node), (*id).into())),
            ["check", node, id] => Some(ObjectKey::Check(Folded::new(node), (*id).into())),
            ["session", node, id] => Some(ObjectKey::Session(Folded::new(node), (*id).into())),
            ["document", group, kind, namespace, name] => Some(ObjectKey::Document(DocumentKey {
                group: (*group).into(),
                kind: (*kind).into(),
                namespace: (*namespace).into(),
                name: (*name).into(),
            })),
            _ => None,
        }
    }
}

/// An object of the catalog.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)] // The variants are the nouns themselves.
pub enum Object {
    Node(Node),
    Instance(Instance),
    Check(Check),
    Document(Document),
    Kv(KvEntry),
    Session(Session),
    Lock(SessionId, KvKey),
    LockDelay(KvKey, Timestamp),
    Record(Record),
}

impl Object {
    /// The object's identity.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        match self {
            Object::Node(node) => ObjectKey::Node(node.name.folded()),
            Object::Instance(it) => ObjectKey::Instance(it.node.folded(), it.id.clone()),
            Object::Check(check) => ObjectKey::Check(check.node.folded(), check.id.clone()),
            Object::Document(document) => ObjectKey::Document(document.key.clone()),
            Object::Kv(entry) => ObjectKey::Kv(entry.key.clone()),
            Object::Session(it) => ObjectKey::Session(it.node.folded(), it.id.clone()),
            Object::Lock(session, key) => ObjectKey::Lock(session.clone(), key.clone()),
            Object::LockDelay(key, _) => ObjectKey::LockDelay(key.clone()),
            Object::Record(record) => ObjectKey::Record(record.key()),
        }
    }

    /// The write that stores it.
    #[must_use]
    pub fn put(&self) -> Operation {
        let value = match self {
            Object::Node(node) => serde_json::to_vec(node),
            Object::Instance(instance) => serde_json::to_vec(instance),
            Object::Check(check) => serde_json::to_vec(check),
            Object::Document(document) => serde_json::to_vec(document),
            Object::Kv(entry) => Ok(entry.encode()),
            Object::Session(session) => serde_json::to_vec(session),
            Object::Lock(..) => Ok(Vec::new()),
            Object::LockDelay(_, until) => serde_json::to_vec(until),
            Object::Record(record) => record.encode(),
        };
        let value = value.expect("the nouns have string keys only, so they always serialize");
        Operation::Put { key: self.key().encode(), value: value.into(), lease: None }
    }

    /// Reads a stored object.
    ///
    /// # Errors
    /// When the key is of an unknown kind or the value is not such an object.
    pub fn decode(key: &str, value: &[u8]) -> Result<Self, DecodeError> {
        let failed = |source| DecodeError::Value { key: key.replace('\0', "/"), source };
        match ObjectKey::decode(key) {
            Some(ObjectKey::Node(_)) => {
                serde_json::from_slice(value).map(Object::Node).map_err(failed)
            }
            Some(ObjectKey::Instance(..)) => {
                serde_json::from_slice(value).map(Object::Instance).map_err(failed)
            }
            Some(ObjectKey::Check(..)) => {
                serde_json::from_slice(value).map(Object::Check).map_err(failed)
            }
            Some(ObjectKey::Document(_)) => {
                serde_json::from_slice(value).map(Object::Document).map_err(failed)
            }
            Some(ObjectKey::Kv(key)) => KvEntry::decode(key, value).map(Object::Kv).map_err(failed),
            Some(ObjectKey::Session(..)) => {
                serde_json::from_slice(value).map(Object::Session).map_err(failed)
            }
            Some(ObjectKey::Lock(session, key)) => Ok(Object::Lock(session, key)),
            Some(ObjectKey::LockDelay(key)) => serde_json::from_slice(value)
                .map(|until| Object::LockDelay(key, until))
                .map_err(failed),
            Some(ObjectKey::Record(key)) => {
                Record::decode(key.table, value).map(Object::Record).map_err(failed)
            }
            None => Err(DecodeError::Key { key: key.replace('\0', "/") }),
        }
    }
}

/// A stored object that this version cannot read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Key of a kind that this version does not know.
    #[error("key {key} is of a kind that this version does not know")]
    Key {
        /// The key, parts joined by `/`.
        key: String,
    },
    /// Value that is not such an object.
    #[error("value of key {key} cannot be read")]
    Value {
        /// The key, parts joined by `/`.
        key: String,
        /// Why.
        source: serde_json::Error,
    },
}
