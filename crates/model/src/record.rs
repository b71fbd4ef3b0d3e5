use std::fmt;
use std::sync::Arc;

use crate::{
    AclAuthMethod, AclBindingRule, AclPolicy, AclRole, AclToken, ConfigEntry, Coordinate, Event,
    PreparedQuery, Setting, TrafficSplit, VirtualAddress,
};

/// An object that stands in a table by its name alone, with no index but that of its table.
pub trait Tabled: Sized {
    /// Its table.
    const TABLE: Table;

    /// Its name in the table: unique, stable for its whole life, any text.
    fn record_name(&self) -> String;

    /// Takes it out of a record; `None` for a record of another table.
    fn of(record: &Record) -> Option<&Self>;

    /// Makes a record of it.
    fn into_record(self) -> Record;
}

/// Makes of one list the tables, the records and the way between them.
macro_rules! tables {
    ($($(#[$doc:meta])* $noun:ident: $word:literal,)*) => {
        /// A table of records.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Table {
            $($(#[$doc])* $noun,)*
        }

        impl Table {
            /// All tables.
            pub const ALL: &'static [Table] = &[$(Table::$noun),*];

            /// Its word in the keys of the store.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Table::$noun => $word,)*
                }
            }
        }

        /// An object of a table.
        #[allow(clippy::large_enum_variant, reason = "records are rare, and kept behind a pointer")]
        #[derive(Clone, PartialEq, Debug)]
        pub enum Record {
            $($(#[$doc])* $noun($noun),)*
        }

        impl Record {
            /// Its identity.
            #[must_use]
            pub fn key(&self) -> RecordKey {
                match self {
                    $(Record::$noun(it) => RecordKey::new(Table::$noun, &it.record_name()),)*
                }
            }

            pub(crate) fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
                match self {
                    $(Record::$noun(it) => serde_json::to_vec(it),)*
                }
            }

            pub(crate) fn decode(table: Table, bytes: &[u8]) -> Result<Self, serde_json::Error> {
                match table {
                    $(Table::$noun => serde_json::from_slice(bytes).map(Record::$noun),)*
                }
            }
        }

        $(impl Tabled for $noun {
            const TABLE: Table = Table::$noun;

            fn record_name(&self) -> String {
                self.name_in_table()
            }

            fn of(record: &Record) -> Option<&Self> {
                match record {
                    Record::$noun(it) => Some(it),
                    #[allow(unreachable_patterns, reason = "there may be but one table")]
                    _ => None,
                }
            }

            fn into_record(self) -> Record {
                Record::$noun(self)
            }
        })*
    };
}

tables! {
    /// Ways to get a token by a login.
    AclAuthMethod: "acl-auth-method",
    /// What logins are bound to.
    AclBindingRule: "acl-binding-rule",
    /// Policies of access control.
    AclPolicy: "acl-policy",
    /// Roles of access control.
    AclRole: "acl-role",
    /// Tokens of access control.
    AclToken: "acl-token",
    /// Configuration entries of Consul's kinds.
    ConfigEntry: "config-entry",
    /// Network coordinates of nodes.
    Coordinate: "coordinate",
    /// The last events that clients fired.
    Event: "event",
    /// Prepared queries.
    PreparedQuery: "query",
    /// What operators set once for the whole mesh.
    Setting: "setting",
    /// How requests are divided between versions of services.
    TrafficSplit: "traffic-split",
    /// Addresses that stand for services.
    VirtualAddress: "virtual-address",
}

impl Table {
    /// Reads the word of a key of the store; `None` for a table that this version does not know.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Table::ALL.iter().copied().find(|it| it.as_str() == word)
    }
}

/// Identity of a record.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RecordKey {
    /// Its table.
    pub table: Table,
    /// Its name there.
    pub name: Arc<str>,
}

impl RecordKey {
    /// The record called `name` in `table`.
    #[must_use]
    pub fn new(table: Table, name: &str) -> Self {
        Self { table, name: name.into() }
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.table.as_str(), self.name)
    }
}
