use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Timestamp, duration_ns};

/// What a client shows to be let in. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(Arc<str>);

impl Secret {
    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// True for the empty text, which stands for "none".
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "none" } else { "hidden" })
    }
}

/// A token: who has its secret may do what it is bound to.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AclToken {
    /// A UUID by which others speak of it.
    pub accessor: String,
    /// What its holder shows; unique, never changed.
    pub secret: Secret,
    /// For people.
    pub description: String,
    /// What it is bound to.
    #[serde(flatten)]
    pub grants: Grants,
    /// Ids of roles. One that is gone counts for nothing.
    pub roles: Vec<String>,
    /// It is not told to other datacenters.
    pub local: bool,
    /// The auth method through which it was made, by a login; empty for none.
    pub auth_method: String,
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// When it was made.
    pub created: Timestamp,
}

/// What a token or a role is bound to, roles aside.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Grants {
    /// Ids of policies. One that is gone counts for nothing.
    pub policies: Vec<String>,
    /// Services that it stands for.
    pub services: Vec<AclService>,
    /// Nodes that it stands for.
    pub nodes: Vec<AclNode>,
    /// Templates with what is put into them.
    pub templates: Vec<AclTemplate>,
}

/// A service identity.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AclService {
    /// The service.
    pub service: String,
    /// Where it counts; empty: everywhere.
    pub datacenters: Vec<String>,
}

/// A node identity.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AclNode {
    /// The node.
    pub node: String,
    /// Where it counts.
    pub datacenter: String,
}

/// A templated policy.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AclTemplate {
    /// Name of the template.
    pub template: String,
    /// What is put for the name in it, if it takes one.
    pub name: Option<String>,
    /// Where it counts; empty: everywhere.
    pub datacenters: Vec<String>,
}

/// A policy: rules under a name.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AclPolicy {
    /// A UUID.
    pub id: String,
    /// Unique among policies.
    pub name: String,
    /// For people.
    pub description: String,
    /// In Consul's rule language.
    pub rules: String,
    /// Where it counts; empty: everywhere.
    pub datacenters: Vec<String>,
}

/// A role: what several tokens are bound to, under a name.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AclRole {
    /// A UUID.
    pub id: String,
    /// Unique among roles.
    pub name: String,
    /// For people.
    pub description: String,
    /// What it is bound to.
    #[serde(flatten)]
    pub grants: Grants,
}

/// What a login through an auth method is bound to.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AclBindingRule {
    /// A UUID.
    pub id: String,
    /// For people.
    pub description: String,
    /// The auth method.
    pub auth_method: String,
    /// Which logins, in the language of filters; empty: all.
    pub selector: String,
    /// To what: `service`, `node`, `role`, `policy` or `templated-policy`.
    pub bind_type: String,
    /// The name of that, with variables of the login in it.
    pub bind_name: String,
    /// For templated policies: what is put for the name in them, with variables of the login in it.
    pub bind_variable: Option<String>,
}

/// A way to get a token for a credential of somebody else. `Debug` does not show its configuration, which has secrets.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AclAuthMethod {
    /// Unique.
    pub name: String,
    /// `jwt`, `kubernetes`, …
    pub kind: String,
    /// Name for people.
    pub display_name: String,
    /// For people.
    pub description: String,
    /// How long tokens of it live; zero: until they are deleted.
    #[serde(with = "duration_ns")]
    pub max_token_ttl: Duration,
    /// `local`, `global`, or empty, which is `local`.
    pub token_locality: String,
    /// As it was given, an object.
    pub config: Value,
}

impl fmt::Debug for AclAuthMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AclAuthMethod")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl AclToken {
    /// True if its time is over.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|it| it <= now)
    }

    pub(crate) fn name_in_table(&self) -> String {
        self.accessor.clone()
    }
}

impl AclPolicy {
    pub(crate) fn name_in_table(&self) -> String {
        self.id.clone()
    }
}

impl AclRole {
    pub(crate) fn name_in_table(&self) -> String {
        self.id.clone()
    }
}

impl AclBindingRule {
    pub(crate) fn name_in_table(&self) -> String {
        self.id.clone()
    }
}

impl AclAuthMethod {
    pub(crate) fn name_in_table(&self) -> String {
        self.name.clone()
    }
}
