use std::net::Ipv4Addr;

use config_entries::intentions;
use model::{
    AclToken, Check, CheckId, CheckStatus, Document, DocumentChange, DocumentKey, Event, Instance,
    KvEntry, KvKey, Node, NodeName, Record, RecordKey, Revision, ServiceId, Session, SessionId,
    Timestamp,
};

/// What somebody wants to be true. Doors make commands; [`crate::transact`] turns them into transactions.
#[derive(Clone, PartialEq, Debug)]
pub enum Command {
    /// Consul's `catalog/register`: a node, and with it an instance and checks.
    RegisterInCatalog(CatalogRegistration),
    /// Consul's `catalog/deregister`.
    DeregisterFromCatalog {
        /// The node.
        node: NodeName,
        /// What of it.
        target: CatalogTarget,
    },
    /// Consul's `agent/service/register`: an instance with its checks on the agent's node.
    RegisterService(ServiceRegistration),
    /// Consul's `agent/service/deregister/:id`. Rejected when there is no such instance of the agent.
    DeregisterService {
        /// The agent's node.
        node: NodeName,
        /// The instance.
        id: ServiceId,
    },
    /// Consul's `agent/check/register`: a check on the agent's node, of the node or of one of its instances.
    RegisterCheck(Check),
    /// Consul's `agent/check/deregister/:id`. Rejected when there is no such check of the agent.
    DeregisterCheck {
        /// The agent's node.
        node: NodeName,
        /// The check.
        id: CheckId,
    },
    /// A verdict of a check: from its prober, from a heartbeat, or from the lapse of its TTL.
    SetCheckStatus {
        /// The node.
        node: NodeName,
        /// The check.
        id: CheckId,
        /// The verdict.
        status: CheckStatus,
        /// Output of the run, at most 4 KiB. Written only together with a changed verdict or where there was none, unless
        /// `output_matters`.
        output: String,
        /// Write a changed output even if the verdict is the same (heartbeats with a note).
        output_matters: bool,
    },
    /// Puts a node (`service` is `None`) or one of its instances into maintenance or takes it out.
    SetMaintenance {
        /// The node.
        node: NodeName,
        /// The instance, or `None` for the whole node.
        service: Option<ServiceId>,
        /// `Some(reason)` puts it in (an empty reason takes the standard text), `None` takes it out.
        reason: Option<String>,
    },
    /// Takes an instance out of use because of what proxies see of it, or no more. For the agent's own judge only.
    SetSightings {
        /// The node.
        node: NodeName,
        /// The instance.
        id: ServiceId,
        /// What they see, `None` when it speaks against the instance no more. What is said first stays.
        seen: Option<String>,
    },
    /// Stores and removes documents, all or none.
    ChangeDocuments(DocumentsChange),
    /// Takes changes of documents back: of each document that still says what the change made it say, unless what it said
    /// before cannot be beside another one that is there now.
    RestoreDocuments(Vec<DocumentChange>),
    /// Sets a value of the key-value store; true already when it and its flags are the same.
    SetKv {
        /// Key, value and flags.
        entry: KvEntry,
        /// What must be true of the entry that there is.
        when: KvCondition,
    },
    /// Removes an entry of the key-value store; one that does not exist is no error.
    DeleteKv {
        /// The key.
        key: KvKey,
        /// What must be true of it, if it exists.
        when: KvCondition,
    },
    /// Removes all entries of the key-value store whose keys start with this; with nothing, all.
    DeleteKvUnder(KvKey),
    /// Reads and writes, all or none, in their order: each sees what those before it did. What they read is in
    /// [`crate::Decision::read`].
    Transact(Vec<TxnOperation>),
    /// Begins a session. Its id must be new, as a random UUID is. Its node and its checks must be there, and no check of them critical.
    CreateSession(Session),
    /// Ends a session, if it is there: its locks are released or their keys deleted.
    EndSession(SessionId),
    /// Says that the client of a session lives. Writes nothing; rejected when there is no such session.
    RenewSession(SessionId),
    /// Writes a record of a table, by the rules of that table.
    PutRecord {
        /// The record as it is to be.
        record: Record,
        /// What must be true of the one that there is.
        when: RecordCondition,
    },
    /// Removes a record of a table, by the rules of that table; one that does not exist is no error.
    DeleteRecord {
        /// Which.
        key: RecordKey,
        /// What must be true of it.
        when: RecordCondition,
    },
    /// Changes one intention, and with it the `service-intentions` entry that it is a part of.
    ChangeIntention(intentions::Change),
    /// These addresses, and no others, stand for a service that is called through the mesh; they do no more for others,
    /// which are in [`crate::Decision::read`]. Rejected when nothing is known of the service.
    AssignVirtualAddresses {
        /// The service.
        service: String,
        /// Its addresses.
        addresses: Vec<Ipv4Addr>,
    },
    /// Tells all agents of an event. Its place in the order of all is given to it; the last 256 are kept.
    FireEvent(Event),
    /// Access control is on: there are the builtin policies, the anonymous token and, unless there was a first token of
    /// management before or this is `None`, this one.
    PrepareAcl(Option<AclToken>),
    /// Makes the first token of management. Rejected when there was one before, unless `reset` is the revision at which it
    /// was made.
    BootstrapAcl {
        /// The token.
        token: AclToken,
        /// What whoever runs the agent says.
        reset: Option<Revision>,
    },
    /// Removes a token that ends at this time or before.
    ExpireToken {
        /// Its accessor id.
        accessor: String,
        /// The time.
        at: Timestamp,
    },
}

/// What must be true of a record for a write to be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RecordCondition {
    /// Nothing.
    #[default]
    Always,
    /// It exists. Else [`crate::Rejection::RecordMissing`].
    Exists,
    /// It was last changed at this revision; 0: it does not exist. Else [`crate::Rejection::RecordIndexStale`].
    ModifiedAt(Revision),
}

/// What must be true of an entry for a write to be made, and what becomes of its lock.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum KvCondition {
    /// Nothing.
    #[default]
    Always,
    /// It was last changed at this revision; 0: it does not exist. Else [`crate::Rejection::KvIndexStale`].
    ModifiedAt(Revision),
    /// Nobody holds it, or this session does, which holds it from then on. Else [`crate::Rejection::KvLockHeld`], or
    /// [`crate::Rejection::KvLockDelayed`]. For setting only.
    Acquire(SessionId),
    /// This session holds it; from then on nobody does. Else [`crate::Rejection::KvLockNotHeld`]. For setting only.
    Release(SessionId),
}

/// One operation of [`Command::Transact`].
#[derive(Clone, PartialEq, Debug)]
pub enum TxnOperation {
    /// One of the key-value store.
    Kv(KvOperation),
    /// One of a node, found by its id if that is given, else by its name.
    Node(TxnVerb, Node),
    /// One of an instance, found by its node and id.
    Instance(TxnVerb, Instance),
    /// One of a check, found by its node and id.
    Check(TxnVerb, Check),
}

/// What an operation does with an object of the catalog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TxnVerb {
    /// Reads it; it must exist.
    Get,
    /// Writes it.
    Set,
    /// Writes it if it was last changed at this revision; 0: if it does not exist.
    SetAt(Revision),
    /// Removes it; one that does not exist is no error.
    Delete,
    /// Removes it if it was last changed at this revision.
    DeleteAt(Revision),
}

/// An operation of the key-value store in [`Command::Transact`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KvOperation {
    /// As [`Command::SetKv`].
    Set {
        /// Key, value and flags.
        entry: KvEntry,
        /// What must be true of the entry that there is.
        when: KvCondition,
    },
    /// As [`Command::DeleteKv`].
    Delete {
        /// The key.
        key: KvKey,
        /// What must be true of it, if it exists.
        when: KvCondition,
    },
    /// As [`Command::DeleteKvUnder`].
    DeleteUnder(KvKey),
    /// Reads an entry, which must exist.
    Get(KvKey),
    /// Reads an entry; one that does not exist is read as an empty one.
    GetOrEmpty(KvKey),
    /// Reads all entries whose keys start with this.
    GetUnder(KvKey),
    /// An entry must have been changed last at this revision.
    CheckIndex(KvKey, Revision),
    /// An entry must be held by this session.
    CheckSession(KvKey, SessionId),
    /// An entry must not exist.
    CheckNotExists(KvKey),
}

/// A registration in the catalog.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct CatalogRegistration {
    /// The node; its address may be empty only with `skip_node_update`.
    pub node: Node,
    /// Leave an existing node record as it is.
    pub skip_node_update: bool,
    /// An instance on it.
    pub instance: Option<Instance>,
    /// Checks of the node or of instances on it.
    pub checks: Vec<Check>,
}

/// A registration with the agent.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ServiceRegistration {
    /// The instance; its node is the agent's.
    pub instance: Instance,
    /// Its checks. One that exists keeps its status and output.
    pub checks: Vec<Check>,
    /// A proxy that is registered with it.
    pub sidecar: Option<Box<SidecarRegistration>>,
    /// Ports for proxies that do not say theirs.
    pub sidecar_ports: SidecarPorts,
    /// Remove checks of the instance that are not listed here.
    pub replace_existing_checks: bool,
}

/// Ports that proxies get that do not say theirs; none when the last is below the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SidecarPorts {
    /// The first of them.
    pub first: u16,
    /// The last of them.
    pub last: u16,
}

impl SidecarPorts {
    /// None are given out.
    pub const NONE: Self = Self { first: 1, last: 0 };
}

impl Default for SidecarPorts {
    /// Consul's.
    fn default() -> Self {
        Self { first: 21000, last: 21255 }
    }
}

/// A proxy that is registered with the instance that it is in front of, and goes with it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SidecarRegistration {
    /// The proxy, with all that it has from its instance; its port may be 0, and then one is chosen.
    pub instance: Instance,
    /// Its checks. None: that something listens at its port, and that its instance is well.
    pub checks: Vec<Check>,
}

/// What `catalog/deregister` removes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CatalogTarget {
    /// The node with everything on it.
    Node,
    /// One instance with its checks.
    Service(ServiceId),
    /// One check.
    Check(CheckId),
}

/// What becomes of documents.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct DocumentsChange {
    /// Those that are stored. None may be about what another one rules already.
    pub put: Vec<Document>,
    /// Those that are removed; one that does not exist is no error.
    pub delete: Vec<DocumentKey>,
    /// Documents on which it was decided, with the revisions of their last changes then; 0 for one that was not there. The
    /// change is refused when one has been changed since.
    pub read_at: Vec<(DocumentKey, Revision)>,
}
