//! Who asks, and what he may do: from a request's token to an authorizer.

mod identity;
mod tokens;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use acl::{ANONYMOUS_TOKEN_SECRET, Authorizer, DefaultPolicy, Rules};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use bytes::Bytes;
use http::Request;
use http::header::AUTHORIZATION;
use model::{Catalog, Secret, Setting, Timestamp};
use registry::ACL_BOOTSTRAP;

use self::identity::Kept;
pub use self::identity::{Identity, ResolveError};
pub use self::tokens::{AgentToken, AgentTokens};
use crate::AgentInfo;
use crate::consul::Query;

const TOKEN: &str = "x-consul-token";

/// Rules of access control, as the agent was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AclSettings {
    /// It is on.
    pub enabled: bool,
    /// What holds where no rule says anything.
    pub default_policy: DefaultPolicy,
    /// Listing keys needs `list`.
    pub key_list: bool,
}

impl Default for AclSettings {
    fn default() -> Self {
        Self { enabled: false, default_policy: DefaultPolicy::Allow, key_list: false }
    }
}

/// Access control at this agent: its rules, the agent's own tokens, and authorizers that were made before. What it answers
/// depends on its arguments, the settings and the agent's tokens alone; that it keeps what it has made cannot be seen.
#[derive(Debug)]
pub struct Acl {
    settings: AclSettings,
    tokens: RwLock<AgentTokens>,
    kept: Mutex<Kept>,
}

impl Acl {
    /// Access control with these rules.
    #[must_use]
    pub fn new(settings: AclSettings, tokens: AgentTokens) -> Self {
        Self { settings, tokens: RwLock::new(tokens), kept: Mutex::default() }
    }

    /// The rules.
    #[must_use]
    pub fn settings(&self) -> AclSettings {
        self.settings
    }

    /// The agent's own tokens.
    #[must_use]
    pub fn tokens(&self) -> AgentTokens {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives the agent another token of its own; an empty one takes it away.
    pub fn set_token(&self, which: AgentToken, secret: Secret) {
        self.tokens.write().unwrap_or_else(PoisonError::into_inner).set(which, secret);
    }

    /// The secret that a request is made with: its own, or the agent's default one, or none.
    #[must_use]
    pub fn secret_of(&self, request: &Request<Bytes>) -> Secret {
        let query = Query::parse(request.uri().query().unwrap_or_default());
        self.secret_given(request, query.as_ref())
    }

    pub(crate) fn secret_given(&self, request: &Request<Bytes>, query: Option<&Query>) -> Secret {
        let given = self.secret_in(request, query);
        given.unwrap_or_else(|| self.agent_secret(&[AgentToken::Default]))
    }

    /// The secret that a request itself has.
    pub(crate) fn secret_in(
        &self,
        request: &Request<Bytes>,
        query: Option<&Query>,
    ) -> Option<Secret> {
        let given = query.map(|it| it.text("token")).filter(|it| !it.is_empty());
        // What is no text is no secret of ours, but it was given.
        let header = |name: &str| {
            let value = request.headers().get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes())).filter(|it| !it.is_empty())
        };
        let given = given.map(Cow::Borrowed).or_else(|| header(TOKEN));
        let given = given.or_else(|| {
            let header = header(AUTHORIZATION.as_str())?;
            let (scheme, token) = header.split_once(' ')?;
            let is_bearer = scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty();
            is_bearer.then(|| token.trim().to_owned().into())
        });
        given.map(|it| Secret::from(&*it))
    }

    /// The secret that answers over DNS are made with.
    #[must_use]
    pub fn dns_secret(&self) -> Secret {
        self.agent_secret(&[AgentToken::Dns, AgentToken::Default])
    }

    fn agent_secret(&self, order: &[AgentToken]) -> Secret {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        order.iter().map(|it| tokens.get(*it)).find(|it| !it.is_empty()).unwrap_or_default()
    }

    /// Who has this secret, and what he may do; with an empty one the anonymous token.
    ///
    /// # Errors
    /// When there is no such token, or its time is over.
    pub fn resolve(
        &self,
        catalog: &Catalog,
        agent: &AgentInfo,
        secret: &Secret,
        now: Timestamp,
    ) -> Result<Arc<Identity>, ResolveError> {
        let recovery = self.agent_secret(&[AgentToken::AgentRecovery]);
        // Compared in constant time: it is the one secret that is not looked up.
        let (given, ours) = (secret.reveal().as_bytes(), recovery.reveal().as_bytes());
        if !recovery.is_empty() && verify_slices_are_equal(given, ours).is_ok() {
            return Ok(Arc::new(Identity::recovery(agent)));
        }
        let anonymous = Secret::from(ANONYMOUS_TOKEN_SECRET);
        let secret = if secret.is_empty() { &anonymous } else { secret };
        let identity = self.kept.lock().unwrap_or_else(PoisonError::into_inner).identity(
            catalog,
            agent,
            secret,
            self.settings.default_policy,
        );
        match identity {
            Some(identity) if !identity.is_over(now) => Ok(identity),
            _ if catalog.record::<Setting>(ACL_BOOTSTRAP).is_none() => {
                Err(ResolveError::NotBootstrapped)
            }
            Some(_) | None => Err(ResolveError::NotFound),
        }
    }

    /// What may be found over DNS with a secret, with an empty one by everybody. Everything where access control is off, and
    /// with a secret that nobody has nothing.
    #[must_use]
    pub fn dns_authorizer(
        &self,
        catalog: &Catalog,
        agent: &AgentInfo,
        secret: &str,
        now: Timestamp,
    ) -> Arc<Authorizer> {
        if !self.settings.enabled {
            return Arc::new(Authorizer::management());
        }
        let secret = if secret.is_empty() { self.dns_secret() } else { secret.into() };
        match self.resolve(catalog, agent, &secret, now) {
            Ok(identity) => identity.authorizer(),
            Err(_) => {
                let none: [&Rules; 0] = [];
                Arc::new(Authorizer::new(none, DefaultPolicy::Deny))
            }
        }
    }
}

impl Default for Acl {
    /// Off.
    fn default() -> Self {
        Self::new(AclSettings::default(), AgentTokens::default())
    }
}
