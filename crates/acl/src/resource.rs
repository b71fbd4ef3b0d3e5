//! The words of the rule language: what there is, what may be done with it, what a rule says.

use std::fmt;

/// Something that rules are about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Resource {
    /// Tokens, policies, roles, auth methods; also snapshots.
    Acl,
    /// An agent, by the name of its node.
    Agent,
    /// A user event, by its name.
    Event,
    /// The intentions of a destination, by its service's name; rules say so within `service`.
    Intention,
    /// A key of the key-value store.
    Key,
    /// The keys of gossip.
    Keyring,
    /// Config entries of the mesh as a whole.
    Mesh,
    /// A node, by its name.
    Node,
    /// What operators do with servers.
    Operator,
    /// Connections to other clusters.
    Peering,
    /// A prepared query, by its name.
    Query,
    /// A service, by its name.
    Service,
    /// Sessions, by the name of their node.
    Session,
}

impl Resource {
    /// All of them, in the order of their names.
    pub const ALL: [Self; 13] = [
        Self::Acl,
        Self::Agent,
        Self::Event,
        Self::Intention,
        Self::Key,
        Self::Keyring,
        Self::Mesh,
        Self::Node,
        Self::Operator,
        Self::Peering,
        Self::Query,
        Self::Service,
        Self::Session,
    ];

    /// As rules, questions and errors write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Acl => "acl",
            Self::Agent => "agent",
            Self::Event => "event",
            Self::Intention => "intention",
            Self::Key => "key",
            Self::Keyring => "keyring",
            Self::Mesh => "mesh",
            Self::Node => "node",
            Self::Operator => "operator",
            Self::Peering => "peering",
            Self::Query => "query",
            Self::Service => "service",
            Self::Session => "session",
        }
    }

    /// The resource of a name; case matters.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    /// True if there are many of it, told apart by a segment.
    #[must_use]
    pub fn has_segment(self) -> bool {
        match self {
            Self::Acl | Self::Keyring | Self::Mesh | Self::Operator | Self::Peering => false,
            Self::Agent
            | Self::Event
            | Self::Intention
            | Self::Key
            | Self::Node
            | Self::Query
            | Self::Service
            | Self::Session => true,
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What somebody wants to do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// See it.
    Read,
    /// See all keys under a prefix; of keys only.
    List,
    /// Make, change or delete it.
    Write,
    /// Delete all keys under a prefix; of keys only. Errors call it `write`.
    WritePrefix,
}

impl Access {
    /// Reads a name; case does not matter.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [
            ("read", Self::Read),
            ("list", Self::List),
            ("write", Self::Write),
            ("write-prefix", Self::WritePrefix),
        ]
        .into_iter()
        .find_map(|(it, access)| it.eq_ignore_ascii_case(name).then_some(access))
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::List => "list",
            Self::Write | Self::WritePrefix => "write",
        })
    }
}

/// What a rule says. Of two that are equally near, the greater one is in force.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    /// Seeing is allowed.
    Read,
    /// Seeing is allowed, also of all keys under a prefix; of keys only.
    List,
    /// Everything is allowed.
    Write,
    /// Nothing is allowed.
    Deny,
}

impl Level {
    /// Reads a name; case matters.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "read" => Some(Self::Read),
            "list" => Some(Self::List),
            "write" => Some(Self::Write),
            "deny" => Some(Self::Deny),
            _ => None,
        }
    }

    /// True if a rule that says this allows `access`.
    #[must_use]
    pub fn allows(self, access: Access) -> bool {
        match self {
            Self::Deny => false,
            Self::Read => access == Access::Read,
            Self::List => matches!(access, Access::Read | Access::List),
            Self::Write => true,
        }
    }
}
