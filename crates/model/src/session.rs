use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{CheckId, NodeName, SessionId, duration_ns};

/// The life of a client, by which it holds locks: it ends with its node, with one of its checks, when it is not renewed, or
/// when somebody ends it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Session {
    /// A UUID.
    pub id: SessionId,
    /// Name for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Node that it belongs to.
    pub node: NodeName,
    /// How long nobody gets a lock that it held when it ended; at most 60 s.
    #[serde(with = "duration_ns")]
    pub lock_delay: Duration,
    /// What becomes of the keys that it holds when it ends.
    pub behavior: SessionBehavior,
    /// It ends when it was not renewed for this time, at the latest after twice as long; zero: it need not be renewed.
    #[serde(with = "duration_ns")]
    pub ttl: Duration,
    /// The same, as the client has written it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ttl_text: String,
    /// Checks of the node.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub node_checks: Vec<CheckId>,
    /// Checks of the node or of instances, as clients of old name them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub any_checks: Vec<CheckId>,
    /// Checks of instances on the node.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub service_checks: Vec<ServiceCheckRef>,
}

/// A check of an instance that a session depends on.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceCheckRef {
    /// The check.
    pub id: CheckId,
    /// As the client has written it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// What becomes of the keys that a session holds when it ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionBehavior {
    /// They stay, and nobody holds them.
    #[default]
    Release,
    /// They go.
    Delete,
}

impl SessionBehavior {
    /// The word used on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            SessionBehavior::Release => "release",
            SessionBehavior::Delete => "delete",
        }
    }
}

impl Session {
    /// All checks that it depends on.
    pub fn checks(&self) -> impl Iterator<Item = &CheckId> {
        let of_services = self.service_checks.iter().map(|it| &it.id);
        self.node_checks.iter().chain(&self.any_checks).chain(of_services)
    }
}
