use std::collections::BTreeMap;

use model::Secret;

/// What the agent has a token of its own for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AgentToken {
    /// Requests without a token.
    Default,
    /// What the agent does itself.
    Agent,
    /// An operator at this agent when nobody else can say who he is.
    AgentRecovery,
    /// Copying from another datacenter.
    Replication,
    /// Services and checks in configuration files.
    ConfigFileRegistration,
    /// Answers over DNS.
    Dns,
}

impl AgentToken {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Default,
        Self::Agent,
        Self::AgentRecovery,
        Self::Replication,
        Self::ConfigFileRegistration,
        Self::Dns,
    ];

    /// As configurations name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Agent => "agent",
            Self::AgentRecovery => "agent_recovery",
            Self::Replication => "replication",
            Self::ConfigFileRegistration => "config_file_service_registration",
            Self::Dns => "dns",
        }
    }

    /// Reads a name of today or of old.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "acl_token" => Some(Self::Default),
            "acl_agent_token" => Some(Self::Agent),
            "agent_master" | "acl_agent_master_token" => Some(Self::AgentRecovery),
            "acl_replication_token" => Some(Self::Replication),
            "dns_token" => Some(Self::Dns),
            name => Self::ALL.into_iter().find(|it| it.name() == name),
        }
    }
}

/// The agent's own tokens.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AgentTokens(BTreeMap<AgentToken, Secret>);

impl AgentTokens {
    /// One of them; empty for none.
    #[must_use]
    pub fn get(&self, which: AgentToken) -> Secret {
        self.0.get(&which).cloned().unwrap_or_default()
    }

    /// Gives another one; an empty one takes it away.
    pub fn set(&mut self, which: AgentToken, secret: Secret) {
        if secret.is_empty() {
            self.0.remove(&which);
        } else {
            self.0.insert(which, secret);
        }
    }

    /// All that there are.
    pub fn iter(&self) -> impl Iterator<Item = (AgentToken, &Secret)> {
        self.0.iter().map(|(which, secret)| (*which, secret))
    }
}

impl FromIterator<(AgentToken, Secret)> for AgentTokens {
    fn from_iter<I: IntoIterator<Item = (AgentToken, Secret)>>(pairs: I) -> Self {
        let mut tokens = Self::default();
        for (which, secret) in pairs {
            tokens.set(which, secret);
        }
        tokens
    }
}
