use model::{Diagnostic, DocumentKey, RecordKey};

/// An object of the catalog, as errors name it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ObjectName {
    /// A node.
    #[error("node \"{0}\"")]
    Node(String),
    /// An instance.
    #[error("service \"{id}\" on node \"{node}\"")]
    Instance {
        /// Its node.
        node: String,
        /// Its id.
        id: String,
    },
    /// A check.
    #[error("check \"{id}\" on node \"{node}\"")]
    Check {
        /// Its node.
        node: String,
        /// Its id.
        id: String,
    },
}

/// Why a command was refused. The texts are Consul's where a client can see them.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rejection {
    /// A registration without a node name.
    #[error("Must provide node")]
    NodeMissing,
    /// A registration of a node without an address.
    #[error("Must provide address if SkipNodeUpdate is not set")]
    AddressMissing,
    /// A node id that is not a UUID.
    #[error("Bad node ID: {0}")]
    BadNodeId(String),
    /// A node would take another's name or id.
    #[error("failed inserting node: {0}")]
    NodeConflict(String),
    /// An instance without a service name.
    #[error("Must provide service name (Service.Service)")]
    ServiceNameMissing,
    /// An instance with an id but without a service name.
    #[error("Must provide service name (Service.Service) when service ID is provided")]
    ServiceNameMissingWithId,
    /// An instance address that means "any".
    #[error("Invalid service address")]
    AnyAddress,
    /// A check that names another node than the registration.
    #[error("Node '{check_node}' for check '{check}' doesn't match register request node '{node}'")]
    CheckOfOtherNode {
        /// Node that the check names.
        check_node: String,
        /// The check.
        check: String,
        /// Node of the registration.
        node: String,
    },
    /// A check in a catalog registration that names an unknown instance.
    #[error("Unknown service ID '{service}' for check ID '{check}'")]
    CheckOfUnknownService {
        /// The instance that it names.
        service: String,
        /// The check.
        check: String,
    },
    /// An agent's check that names an unknown instance.
    #[error("ServiceID \"{0}\" does not exist")]
    ServiceDoesNotExist(String),
    /// A proxy without a port, and none is left for it.
    #[error(
        "no port provided for sidecar_service and none left in the configured range [{first}, {last}]"
    )]
    SidecarPortsTaken {
        /// The first that there are.
        first: u16,
        /// The last that there are.
        last: u16,
    },
    /// A proxy without a port, where none are given out.
    #[error("no port provided for sidecar_service and auto-assignment disabled in config")]
    SidecarPortsOff,
    /// No such instance of the agent.
    #[error(
        "Unknown service ID \"{0}\". Ensure that the service ID is passed, not the service name."
    )]
    UnknownService(String),
    /// No such check of the agent.
    #[error("Unknown check ID \"{0}\". Ensure that the check ID is passed, not the check name.")]
    UnknownCheck(String),
    /// An entry of the key-value store was changed since the client read it.
    #[error("failed to {act} key \"{key}\", index is stale")]
    KvIndexStale {
        /// `set` or `delete`.
        act: &'static str,
        /// The key.
        key: String,
    },
    /// An entry is held by another session.
    #[error("failed to lock key \"{0}\", lock is already held")]
    KvLockHeld(String),
    /// The session that held an entry ended a short while ago.
    #[error("failed to lock key \"{0}\" due to lock delay")]
    KvLockDelayed(String),
    /// An entry is not held by the session that would release it.
    #[error("failed to unlock key \"{0}\", lock isn't held, or is held by another session")]
    KvLockNotHeld(String),
    /// A lock without a session.
    #[error("missing session")]
    SessionMissing,
    /// A lock with a session that does not exist.
    #[error("invalid session \"{0}\"")]
    InvalidSession(String),
    /// No such session.
    #[error("Session id '{0}' not found")]
    UnknownSession(String),
    /// A session of a node that does not exist.
    #[error("Missing node registration")]
    SessionNodeMissing,
    /// A session that depends on a check that does not exist.
    #[error("Missing check '{0}' registration")]
    SessionCheckMissing(String),
    /// A session that depends on a check that fails.
    #[error("Check '{0}' is in critical state")]
    SessionCheckCritical(String),
    /// An entry that must exist does not.
    #[error("key \"{0}\" doesn't exist")]
    KvMissing(String),
    /// An object of the catalog that must exist does not.
    #[error("{0} doesn't exist")]
    ObjectMissing(ObjectName),
    /// An object of the catalog was changed since the client read it.
    #[error("failed to {act} {object}, index is stale")]
    ObjectIndexStale {
        /// `set` or `delete`.
        act: &'static str,
        /// Which.
        object: ObjectName,
    },
    /// A check of an instance that does not exist.
    #[error("Missing service registration")]
    ServiceNotRegistered,
    /// An entry that must not exist does.
    #[error("key \"{0}\" exists")]
    KvExists(String),
    /// A check of an entry that does not exist.
    #[error("failed to check {what}, key \"{key}\" doesn't exist")]
    KvNothingToCheck {
        /// `index` or `session`.
        what: &'static str,
        /// The key.
        key: String,
    },
    /// An entry was changed at another revision.
    #[error("failed index check for key \"{key}\", current modify index {is} != {expected}")]
    KvOtherIndex {
        /// The key.
        key: String,
        /// When it was changed.
        is: u64,
        /// When it should have been.
        expected: u64,
    },
    /// An entry is held by another session, or by none.
    #[error("failed session check for key \"{key}\", current session \"{is}\" != \"{expected}\"")]
    KvOtherSession {
        /// The key.
        key: String,
        /// Who holds it.
        is: String,
        /// Who should.
        expected: String,
    },
    /// A record that must exist does not.
    #[error("{0} does not exist")]
    RecordMissing(RecordKey),
    /// A record was changed since the client read it.
    #[error("{0} was changed meanwhile: its index is stale")]
    RecordIndexStale(RecordKey),
    /// A document was changed since the change of it was decided.
    #[error("{0} was changed meanwhile")]
    DocumentChanged(DocumentKey),
    /// Documents that cannot be beside each other.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Rivals(Vec<Diagnostic>),
    /// A configuration entry that is wrong, or makes others wrong.
    #[error("{0}")]
    ConfigEntry(String),
    /// Nothing makes this service one that is called through the mesh, so no address may stand for it.
    #[error("service \"{0}\" is not called through the mesh")]
    NoVirtualAddress(String),
    /// A prepared query with the name of another.
    #[error("name '{0}' aliases an existing query name")]
    QueryNameTaken(String),
    /// A prepared query with the id of a query as its name.
    #[error("name '{0}' aliases an existing query ID")]
    QueryNameIsId(String),
    /// A second template for all names.
    #[error("a query template with an empty name already exists")]
    QueryCatchAllTaken,
    /// What access control does not let be.
    #[error(transparent)]
    Acl(#[from] AclRejection),
    /// Operations of a transaction that cannot be done, by their positions; none was done.
    #[error("{} operations of the transaction cannot be done", .0.len())]
    Transaction(Vec<(usize, Rejection)>),
    /// A name with control characters, which no key, DNS name or log line can carry.
    #[error("{what} {name:?} contains control characters")]
    ControlCharacters {
        /// What the name names.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A name that is too long.
    #[error("{what} is {bytes} bytes long, more than the {bytes_max} allowed")]
    NameTooLong {
        /// What the name names.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The most.
        bytes_max: usize,
    },
}

/// Why tokens, policies, roles, auth methods and binding rules stay as they are.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AclRejection {
    /// There was a first token of management.
    #[error("Permission denied: ACL bootstrap no longer allowed (reset index: {0})")]
    Bootstrapped(u64),
    /// Another token has this accessor id.
    #[error("Invalid Token: AccessorID is already in use")]
    AccessorTaken,
    /// Another token has this secret.
    #[error("Invalid Token: SecretID is already in use")]
    SecretTaken,
    /// Something about a token that stays as it was made.
    #[error("Changing a token's {0} is not permitted")]
    TokenFixed(&'static str),
    /// Requests without a token need it.
    #[error("Delete operation not permitted on the anonymous token")]
    AnonymousToken,
    /// A policy with the name of another.
    #[error("Invalid Policy: A Policy with Name {0:?} already exists")]
    PolicyNameTaken(String),
    /// A role with the name of another.
    #[error("Invalid Role: A Role with Name {0:?} already exists")]
    RoleNameTaken(String),
    /// Every cluster has it as it is.
    #[error("Changing the {what} of the builtin {name} policy is not permitted")]
    PolicyBuiltin {
        /// What of it.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Every cluster has it.
    #[error("Delete operation not permitted on the builtin {0} policy")]
    PolicyNeeded(String),
    /// A policy that something is bound to does not exist.
    #[error("cannot find policy {0}")]
    PolicyMissing(String),
    /// A role that something is bound to does not exist.
    #[error("cannot find role {0}")]
    RoleMissing(String),
    /// The auth method of a binding rule or of a login does not exist.
    #[error("cannot find auth method with name {0:?}")]
    AuthMethodMissing(String),
    /// An auth method of another type than before.
    #[error("Changing an auth method's type is not permitted")]
    AuthMethodType,
    /// A binding rule of another auth method than before.
    #[error("the AuthMethod field of an Binding Rule is immutable")]
    RuleAuthMethod,
}
