//! What several policies together allow.

use crate::denied::Denied;
use crate::resource::{Access, Level, Resource};
use crate::rules::{NamedRules, Rules};

/// What holds where no rule says anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DefaultPolicy {
    /// Everything is allowed, but nothing about tokens and policies.
    Allow,
    /// Nothing is allowed.
    Deny,
}

/// Answers what a token may do. Cheap to ask: each question looks up a few rules.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authorizer {
    rules: Rules,
    default: DefaultPolicy,
    is_management: bool,
}

/// A question that there is not.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AskError {
    /// No such resource.
    #[error("Invalid ACL resource requested: {0:?}")]
    Resource(String),
    /// The resource has no such access.
    #[error("Invalid access level for {0} resource: {1}")]
    Access(Resource, String),
}

impl Authorizer {
    /// What these policies together allow, in any order.
    #[must_use]
    pub fn new<'a>(policies: impl IntoIterator<Item = &'a Rules>, default: DefaultPolicy) -> Self {
        let mut rules = Rules::default();
        for policy in policies {
            rules.merge(policy);
        }
        derive_intentions(&mut rules);
        Self { rules, default, is_management: false }
    }

    /// Allows everything.
    #[must_use]
    pub fn management() -> Self {
        Self { rules: Rules::default(), default: DefaultPolicy::Allow, is_management: true }
    }

    /// True if it allows everything whatever the rules are.
    #[must_use]
    pub fn is_management(&self) -> bool {
        self.is_management
    }

    /// What holds where no rule says anything.
    #[must_use]
    pub fn default_policy(&self) -> DefaultPolicy {
        self.default
    }

    /// Answers a question whose words come from outside. `segment` is not looked at for resources without segments.
    pub fn ask(&self, resource: &str, access: &str, segment: &str) -> Result<bool, AskError> {
        let Some(resource) = Resource::from_name(resource) else {
            return Err(AskError::Resource(resource.to_owned()));
        };
        match Access::from_name(access) {
            Some(Access::List | Access::WritePrefix) if resource != Resource::Key => {
                Err(AskError::Access(resource, access.to_owned()))
            }
            Some(access) => Ok(self.allows(resource, access, segment)),
            None => Err(AskError::Access(resource, access.to_owned())),
        }
    }

    /// As [`Authorizer::allows`], with the error to answer for the token with this accessor id.
    pub fn check(
        &self,
        accessor: &str,
        resource: Resource,
        access: Access,
        segment: &str,
    ) -> Result<(), Denied> {
        if self.allows(resource, access, segment) {
            return Ok(());
        }
        let segment = resource.has_segment().then(|| segment.to_owned());
        Err(Denied { accessor: accessor.to_owned(), resource, access, segment })
    }

    /// True if `access` is allowed. `segment` is not looked at for resources without segments; [`Access::List`] and
    /// [`Access::WritePrefix`] are of keys, and stand for reading and writing elsewhere.
    #[must_use]
    pub fn allows(&self, resource: Resource, access: Access, segment: &str) -> bool {
        let access = match access {
            Access::List if resource != Resource::Key => Access::Read,
            Access::WritePrefix if resource != Resource::Key => Access::Write,
            other => other,
        };
        let decision = match resource {
            Resource::Acl => {
                return self.is_management || self.plain(resource, access) == Some(true);
            }
            Resource::Keyring | Resource::Operator => self.plain(resource, access),
            Resource::Mesh | Resource::Peering => {
                self.plain(resource, access).or_else(|| self.plain(Resource::Operator, access))
            }
            Resource::Intention if segment == "*" && access == Access::Read => {
                self.any(resource, access)
            }
            Resource::Intention if segment == "*" => self.all(resource, access),
            Resource::Key if access == Access::WritePrefix => self.writes_under(segment),
            Resource::Agent
            | Resource::Event
            | Resource::Intention
            | Resource::Key
            | Resource::Node
            | Resource::Query
            | Resource::Service
            | Resource::Session => self
                .named(resource)
                .and_then(|it| it.nearest(segment))
                .map(|level| level.allows(access)),
        };
        self.decide(decision)
    }

    fn decide(&self, decision: Option<bool>) -> bool {
        self.is_management || decision.unwrap_or(self.default == DefaultPolicy::Allow)
    }

    fn named(&self, resource: Resource) -> Option<&NamedRules> {
        self.rules.named.get(&resource)
    }

    fn plain(&self, resource: Resource, access: Access) -> Option<bool> {
        self.rules.plain.get(&resource).map(|level| level.allows(access))
    }

    /// True if some rule allows it; false if none does and the one for the empty prefix does not.
    fn any(&self, resource: Resource, access: Access) -> Option<bool> {
        let rules = self.named(resource)?;
        if rules.levels().any(|level| level.allows(access)) {
            return Some(true);
        }
        rules.prefix.contains_key("").then_some(false)
    }

    /// True if the rule for the empty prefix allows it and no other does not; false if some rule does not.
    fn all(&self, resource: Resource, access: Access) -> Option<bool> {
        let rules = self.named(resource)?;
        if rules.levels().any(|level| !level.allows(access)) {
            return Some(false);
        }
        rules.prefix.contains_key("").then_some(true)
    }

    /// True if the nearest rule for all of a prefix allows writing and none within it does not.
    fn writes_under(&self, prefix: &str) -> Option<bool> {
        let rules = self.named(Resource::Key)?;
        let whole = rules.nearest_prefix(prefix).map(|it| it.allows(Access::Write));
        if rules.levels_under(prefix).any(|level| !level.allows(Access::Write)) {
            return Some(false);
        }
        whole
    }
}

/// What rules about services say of intentions without saying it: who may see a service may see its intentions.
fn derive_intentions(rules: &mut Rules) {
    let Some(services) = rules.named.get(&Resource::Service).cloned() else { return };
    let intentions = rules.named.entry(Resource::Intention).or_default();
    let derived = |level| match level {
        Level::Read | Level::Write => Level::Read,
        Level::List | Level::Deny => Level::Deny,
    };
    for (segment, level) in services.exact {
        intentions.exact.entry(segment).or_insert(derived(level));
    }
    for (prefix, level) in services.prefix {
        intentions.prefix.entry(prefix).or_insert(derived(level));
    }
}

/// The questions by their names.
impl Authorizer {
    /// May see tokens, policies, roles, auth methods and binding rules.
    #[must_use]
    pub fn acl_read(&self) -> bool {
        self.allows(Resource::Acl, Access::Read, "")
    }

    /// May make, change and delete them.
    #[must_use]
    pub fn acl_write(&self) -> bool {
        self.allows(Resource::Acl, Access::Write, "")
    }

    /// May take and restore snapshots, which have all tokens in them.
    #[must_use]
    pub fn snapshot(&self) -> bool {
        self.acl_write()
    }

    /// May see what the agent of a node knows of itself.
    #[must_use]
    pub fn agent_read(&self, node: &str) -> bool {
        self.allows(Resource::Agent, Access::Read, node)
    }

    /// May make the agent of a node do something.
    #[must_use]
    pub fn agent_write(&self, node: &str) -> bool {
        self.allows(Resource::Agent, Access::Write, node)
    }

    /// May see user events of a name.
    #[must_use]
    pub fn event_read(&self, name: &str) -> bool {
        self.allows(Resource::Event, Access::Read, name)
    }

    /// May fire user events of a name.
    #[must_use]
    pub fn event_write(&self, name: &str) -> bool {
        self.allows(Resource::Event, Access::Write, name)
    }

    /// May see the intentions of a destination; of `*` if those of any.
    #[must_use]
    pub fn intention_read(&self, service: &str) -> bool {
        self.allows(Resource::Intention, Access::Read, service)
    }

    /// May change the intentions of a destination; of `*` if those of all.
    #[must_use]
    pub fn intention_write(&self, service: &str) -> bool {
        self.allows(Resource::Intention, Access::Write, service)
    }

    /// What holds for connections that no intention is about: no policy says so, the default does.
    #[must_use]
    pub fn intention_default_allow(&self) -> bool {
        self.decide(None)
    }

    /// May see a key and its value.
    #[must_use]
    pub fn key_read(&self, key: &str) -> bool {
        self.allows(Resource::Key, Access::Read, key)
    }

    /// May see all keys under a prefix, where the agent asks for this permission.
    #[must_use]
    pub fn key_list(&self, prefix: &str) -> bool {
        self.allows(Resource::Key, Access::List, prefix)
    }

    /// May write or delete a key.
    #[must_use]
    pub fn key_write(&self, key: &str) -> bool {
        self.allows(Resource::Key, Access::Write, key)
    }

    /// May delete every key under a prefix: no rule for anything there says otherwise.
    #[must_use]
    pub fn key_write_prefix(&self, prefix: &str) -> bool {
        self.allows(Resource::Key, Access::WritePrefix, prefix)
    }

    /// May see the keys of gossip.
    #[must_use]
    pub fn keyring_read(&self) -> bool {
        self.allows(Resource::Keyring, Access::Read, "")
    }

    /// May change the keys of gossip.
    #[must_use]
    pub fn keyring_write(&self) -> bool {
        self.allows(Resource::Keyring, Access::Write, "")
    }

    /// May see config entries of the mesh; without a rule for it, if the operator's may be seen.
    #[must_use]
    pub fn mesh_read(&self) -> bool {
        self.allows(Resource::Mesh, Access::Read, "")
    }

    /// May change config entries of the mesh; without a rule for it, if the operator's may be changed.
    #[must_use]
    pub fn mesh_write(&self) -> bool {
        self.allows(Resource::Mesh, Access::Write, "")
    }

    /// May find a node.
    #[must_use]
    pub fn node_read(&self, node: &str) -> bool {
        self.allows(Resource::Node, Access::Read, node)
    }

    /// May find every node.
    #[must_use]
    pub fn node_read_all(&self) -> bool {
        self.decide(self.all(Resource::Node, Access::Read))
    }

    /// May find nodes that another cluster exports: whose service may be anything here, or who may find every node.
    #[must_use]
    pub fn node_read_imported(&self) -> bool {
        self.any(Resource::Service, Access::Write) == Some(true) || self.node_read_all()
    }

    /// May register a node.
    #[must_use]
    pub fn node_write(&self, node: &str) -> bool {
        self.allows(Resource::Node, Access::Write, node)
    }

    /// May see the state of servers.
    #[must_use]
    pub fn operator_read(&self) -> bool {
        self.allows(Resource::Operator, Access::Read, "")
    }

    /// May change the state of servers.
    #[must_use]
    pub fn operator_write(&self) -> bool {
        self.allows(Resource::Operator, Access::Write, "")
    }

    /// May see peerings; without a rule for it, if the operator's may be seen.
    #[must_use]
    pub fn peering_read(&self) -> bool {
        self.allows(Resource::Peering, Access::Read, "")
    }

    /// May change peerings; without a rule for it, if the operator's may be changed.
    #[must_use]
    pub fn peering_write(&self) -> bool {
        self.allows(Resource::Peering, Access::Write, "")
    }

    /// May see how a prepared query is defined; executing needs no permission for it.
    #[must_use]
    pub fn query_read(&self, name: &str) -> bool {
        self.allows(Resource::Query, Access::Read, name)
    }

    /// May make, change or delete a prepared query.
    #[must_use]
    pub fn query_write(&self, name: &str) -> bool {
        self.allows(Resource::Query, Access::Write, name)
    }

    /// May find a service.
    #[must_use]
    pub fn service_read(&self, service: &str) -> bool {
        self.allows(Resource::Service, Access::Read, service)
    }

    /// May find every service.
    #[must_use]
    pub fn service_read_all(&self) -> bool {
        self.decide(self.all(Resource::Service, Access::Read))
    }

    /// May find some service.
    #[must_use]
    pub fn service_read_any(&self) -> bool {
        self.decide(self.any(Resource::Service, Access::Read))
    }

    /// May find services that another cluster exports: whose service may be anything here, or who may find every service.
    #[must_use]
    pub fn service_read_imported(&self) -> bool {
        self.any(Resource::Service, Access::Write) == Some(true) || self.service_read_all()
    }

    /// May register a service.
    #[must_use]
    pub fn service_write(&self, service: &str) -> bool {
        self.allows(Resource::Service, Access::Write, service)
    }

    /// May register some service.
    #[must_use]
    pub fn service_write_any(&self) -> bool {
        self.decide(self.any(Resource::Service, Access::Write))
    }

    /// May see the sessions of a node.
    #[must_use]
    pub fn session_read(&self, node: &str) -> bool {
        self.allows(Resource::Session, Access::Read, node)
    }

    /// May make and end sessions of a node.
    #[must_use]
    pub fn session_write(&self, node: &str) -> bool {
        self.allows(Resource::Session, Access::Write, node)
    }
}
