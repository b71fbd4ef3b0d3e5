use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use acl::{
    ANONYMOUS_TOKEN_ACCESSOR, Authorizer, DefaultPolicy, Rules, RulesError, node_identity_rules,
    service_identity_rules, template,
};
use model::{AclPolicy, AclRole, AclToken, Catalog, Grants, Revision, Secret, Timestamp};

use crate::AgentInfo;

/// Most authorizers that are kept: some KiB each.
const IDENTITIES_MAX: usize = 4096;
/// Most policies that are kept as rules.
const POLICIES_MAX: usize = 4096;

/// Why nobody has a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ResolveError {
    /// There is no such token.
    #[error("ACL not found")]
    NotFound,
    /// There is none, and there can be none yet.
    #[error(
        "ACL system must be bootstrapped before making any requests that require authorization: ACL not found"
    )]
    NotBootstrapped,
}

/// Who has a token, and what he may do.
#[derive(Debug)]
pub struct Identity {
    accessor: String,
    authorizer: Arc<Authorizer>,
    expires: Option<Timestamp>,
}

impl Identity {
    /// The accessor id of the token.
    #[must_use]
    pub fn accessor(&self) -> &str {
        &self.accessor
    }

    /// What he may do.
    #[must_use]
    pub fn authorizer(&self) -> Arc<Authorizer> {
        Arc::clone(&self.authorizer)
    }

    /// True if time alone can make it nobody's.
    #[must_use]
    pub fn ends(&self) -> bool {
        self.expires.is_some()
    }

    /// True if its time is over.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|it| it <= now)
    }

    /// True for requests without a token.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.accessor == ANONYMOUS_TOKEN_ACCESSOR
    }

    /// Who has the agent's recovery token may command this agent and find every node, whatever else there is.
    pub(super) fn recovery(agent: &AgentInfo) -> Self {
        let node = agent.node_name.as_str();
        let text = serde_json::json!({
            "agent": { node: { "policy": "write" } },
            "node_prefix": { "": { "policy": "read" } },
        });
        let rules = Rules::parse(&text.to_string()).expect("it is written as rules are");
        let authorizer = Arc::new(Authorizer::new([&rules], DefaultPolicy::Deny));
        Self { accessor: format!("agent-recovery:{node}"), authorizer, expires: None }
    }
}

/// What was made of tokens and policies of one revision of them.
#[derive(Debug, Default)]
pub(super) struct Kept {
    index: Revision,
    identities: HashMap<Secret, Arc<Identity>>,
    /// By id, with the revision of the policy.
    policies: BTreeMap<String, (Revision, Arc<Rules>)>,
}

impl Kept {
    pub(super) fn identity(
        &mut self,
        catalog: &Catalog,
        agent: &AgentInfo,
        secret: &Secret,
        default: DefaultPolicy,
    ) -> Option<Arc<Identity>> {
        let index = catalog.acl_index();
        if self.index < index {
            self.index = index;
            self.identities.clear();
        }
        // Somebody else may look at a newer catalog already.
        let is_current = self.index == index;
        if let Some(identity) = self.identities.get(secret).filter(|_| is_current) {
            return Some(Arc::clone(identity));
        }
        let token = catalog.token_by_secret(secret.reveal())?;
        let identity = Arc::new(Identity {
            accessor: token.accessor.clone(),
            authorizer: Arc::new(self.authorizer(catalog, agent, token.value, default)),
            expires: token.expires,
        });
        if is_current {
            if self.identities.len() >= IDENTITIES_MAX {
                self.identities.clear();
            }
            self.identities.insert(secret.clone(), Arc::clone(&identity));
        }
        Some(identity)
    }

    /// If any rule cannot be read, nothing is allowed: it may be one that denies.
    fn authorizer(
        &mut self,
        catalog: &Catalog,
        agent: &AgentInfo,
        token: &AclToken,
        default: DefaultPolicy,
    ) -> Authorizer {
        let roles = token.roles.iter().filter_map(|id| catalog.record::<AclRole>(id));
        let grants = std::iter::once(&token.grants).chain(roles.map(|it| &it.value.grants));
        let mut all = Vec::new();
        for grants in grants {
            match self.rules_of(catalog, grants, &agent.datacenter) {
                Ok(rules) => all.extend(rules),
                Err(_) => {
                    let none: [&Rules; 0] = [];
                    return Authorizer::new(none, DefaultPolicy::Deny);
                }
            }
        }
        Authorizer::new(all.iter().map(|it| &**it), default)
    }

    fn rules_of(
        &mut self,
        catalog: &Catalog,
        grants: &Grants,
        datacenter: &str,
    ) -> Result<Vec<Arc<Rules>>, RulesError> {
        let mut all = Vec::new();
        let ids: BTreeSet<&String> = grants.policies.iter().collect();
        for id in ids {
            let Some(policy) = catalog.record::<AclPolicy>(id) else { continue };
            if counts_in(&policy.datacenters, datacenter) {
                all.push(self.parsed(policy.value, policy.modified)?);
            }
        }
        let services = grants.services.iter().filter(|it| counts_in(&it.datacenters, datacenter));
        let services = services.filter_map(|it| service_identity_rules(&it.service).ok());
        let nodes = grants.nodes.iter().filter(|it| is_same(&it.datacenter, datacenter));
        let nodes = nodes.filter_map(|it| node_identity_rules(&it.node).ok());
        let templates = grants.templates.iter().filter(|it| counts_in(&it.datacenters, datacenter));
        let templates =
            templates.filter_map(|it| template(&it.template).ok()?.render(it.name.as_deref()).ok());
        for text in services.chain(nodes).chain(templates) {
            all.push(Arc::new(Rules::parse(&text)?));
        }
        Ok(all)
    }

    fn parsed(&mut self, policy: &AclPolicy, at: Revision) -> Result<Arc<Rules>, RulesError> {
        if let Some((_, rules)) = self.policies.get(&policy.id).filter(|it| it.0 == at) {
            return Ok(Arc::clone(rules));
        }
        let rules = Arc::new(Rules::parse(&policy.rules)?);
        if self.policies.len() >= POLICIES_MAX {
            self.policies.clear();
        }
        self.policies.insert(policy.id.clone(), (at, Arc::clone(&rules)));
        Ok(rules)
    }
}

/// True for what counts everywhere, or in this datacenter.
fn counts_in(datacenters: &[String], ours: &str) -> bool {
    datacenters.is_empty() || datacenters.iter().any(|it| is_same(it, ours))
}

fn is_same(datacenter: &str, ours: &str) -> bool {
    datacenter.eq_ignore_ascii_case(ours)
}
