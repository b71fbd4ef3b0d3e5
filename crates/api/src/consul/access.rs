//! What a request may do: who made it, what its endpoint asks for, and what it may see.

use std::cell::Cell;
use std::sync::Arc;

use acl::{Access as Right, AskError, Authorizer, Denied, Resource};
use bytes::Bytes;
use http::{HeaderName, Method, Request, StatusCode};
use model::{Check as HealthCheck, Instance, Node, Secret};

use super::response::Reply;
use super::{Call, Query};
use crate::{Context, Identity};

const FILTERED: HeaderName = HeaderName::from_static("x-consul-results-filtered-by-acls");

/// Which permission an endpoint asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Check {
    /// None; no token is looked at.
    Open,
    /// None, but a token that is given must be there.
    Known,
    /// This one. Of resources with segments, the one called as our node.
    Needs(Resource, Right),
    /// To read for `GET`, to write for other methods. Segments as with `Needs`.
    ByMethod(Resource),
    /// This one, of the segment that the path names.
    Named(Resource, Right),
    /// By what it is about: the endpoint leaves out of lists what may not be seen, and asks for what the path names; what
    /// it writes is vetted as a command.
    Each,
}

/// Who asks, and what he may do.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    who: Who,
    /// Something was left out.
    has_hidden: Cell<bool>,
}

#[derive(Clone, Debug)]
enum Who {
    /// Access control is off.
    Anybody,
    /// Nobody has asked who it is.
    Unknown,
    Token {
        identity: Arc<Identity>,
        authorizer: Arc<Authorizer>,
        /// The request has a token, or the agent one for it.
        is_given: bool,
    },
}

impl Access {
    /// Who makes a request, if he may make it.
    ///
    /// # Errors
    /// 403 when there is no such token, or it may not.
    pub(crate) fn of(
        request: &Request<Bytes>,
        context: &Context<'_>,
        query: &Query,
        check: Check,
        name: &str,
    ) -> Result<Self, Reply> {
        let of = |who| Self { who, has_hidden: Cell::new(false) };
        if !context.acl.settings().enabled {
            return Ok(of(Who::Anybody));
        }
        if check == Check::Open {
            return Ok(of(Who::Unknown));
        }
        let secret = context.acl.secret_given(request, Some(query));
        let identity = context
            .acl
            .resolve(context.catalog, context.agent, &secret, context.now)
            .map_err(|error| Reply::text(StatusCode::FORBIDDEN, error.to_string()))?;
        let authorizer = identity.authorizer();
        let access = of(Who::Token { identity, authorizer, is_given: !secret.is_empty() });
        let own = context.agent.node_name.as_str();
        let by_method = match *request.method() {
            Method::GET | Method::HEAD => Right::Read,
            _ => Right::Write,
        };
        match check {
            Check::Open | Check::Known | Check::Each => {}
            Check::Needs(resource, right) => access.require(resource, right, own)?,
            Check::ByMethod(resource) => access.require(resource, by_method, own)?,
            Check::Named(resource, right) => access.require(resource, right, name)?,
        }
        Ok(access)
    }

    /// True if it is allowed.
    pub(crate) fn may(&self, resource: Resource, right: Right, segment: &str) -> bool {
        match &self.who {
            Who::Anybody => true,
            Who::Unknown => false,
            Who::Token { authorizer, .. } => authorizer.allows(resource, right, segment),
        }
    }

    /// As [`Access::may`], with Consul's words about it.
    pub(crate) fn permit(
        &self,
        resource: Resource,
        right: Right,
        segment: &str,
    ) -> Result<(), Denied> {
        if self.may(resource, right, segment) {
            return Ok(());
        }
        let segment = resource.has_segment().then(|| segment.to_owned());
        let accessor = self.identity().map_or("", |it| it.accessor()).to_owned();
        Err(Denied { accessor, resource, access: right, segment })
    }

    /// # Errors
    /// 403 when it is not allowed.
    pub(crate) fn require(
        &self,
        resource: Resource,
        right: Right,
        segment: &str,
    ) -> Result<(), Reply> {
        self.permit(resource, right, segment).map_err(|denied| refused(&denied))
    }

    /// Answers a question whose words come from outside.
    pub(crate) fn ask(&self, resource: &str, right: &str, segment: &str) -> Result<bool, AskError> {
        match &self.who {
            Who::Anybody | Who::Unknown => Ok(matches!(self.who, Who::Anybody)),
            Who::Token { authorizer, .. } => authorizer.ask(resource, right, segment),
        }
    }

    /// True if tokens may be changed, and so their secrets be seen.
    pub(crate) fn writes_acl(&self) -> bool {
        self.may(Resource::Acl, Right::Write, "")
    }

    /// The token; `None` where nobody has asked for it.
    pub(crate) fn identity(&self) -> Option<&Identity> {
        match &self.who {
            Who::Anybody | Who::Unknown => None,
            Who::Token { identity, .. } => Some(identity),
        }
    }

    /// True if something of a list may be seen; else the answer says that it is not whole.
    pub(crate) fn sees(&self, resource: Resource, segment: &str) -> bool {
        let sees = self.may(resource, Right::Read, segment);
        if !sees {
            self.has_hidden.set(true);
        }
        sees
    }

    /// [`Access::sees`] of a node.
    pub(crate) fn sees_node(&self, node: &Node) -> bool {
        self.sees(Resource::Node, node.name.as_str())
    }

    /// [`Access::sees`] of a service.
    pub(crate) fn sees_service(&self, service: &str) -> bool {
        self.sees(Resource::Service, service)
    }

    /// [`Access::sees`] of an instance with its node.
    pub(crate) fn sees_instance(&self, instance: &Instance) -> bool {
        self.sees(Resource::Node, instance.node.as_str())
            && self.sees_service(instance.service.as_str())
    }

    /// [`Access::sees`] of a check with its node and, if it is of one, its instance.
    pub(crate) fn sees_check(&self, check: &HealthCheck, owner: Option<&Instance>) -> bool {
        self.sees(Resource::Node, check.node.as_str())
            && owner.is_none_or(|it| self.sees_service(it.service.as_str()))
    }

    /// True if something was left out, and the request has a token: others are not told.
    pub(crate) fn is_filtered(&self) -> bool {
        let is_given = matches!(self.who, Who::Token { is_given: true, .. });
        is_given && self.has_hidden.get()
    }

    /// Says whether the answer is whole.
    pub(crate) fn marked(&self, reply: Reply) -> Reply {
        if self.is_filtered() { reply.with(FILTERED, "true") } else { reply }
    }
}

impl Call<'_> {
    /// Who asks, with another token than the request's: that of a prepared query.
    pub(crate) fn access_with(&self, secret: &Secret) -> Result<Access, Reply> {
        let Context { acl, catalog, agent, now, .. } = self.context;
        if secret.is_empty() || !acl.settings().enabled {
            return Ok(self.access.clone());
        }
        let identity = acl
            .resolve(catalog, agent, secret, *now)
            .map_err(|error| Reply::text(StatusCode::FORBIDDEN, error.to_string()))?;
        let authorizer = identity.authorizer();
        let who = Who::Token { identity, authorizer, is_given: true };
        Ok(Access { who, has_hidden: Cell::new(false) })
    }
}

/// 403 in Consul's words.
pub(crate) fn refused(denied: &Denied) -> Reply {
    Reply::text(StatusCode::FORBIDDEN, denied.to_string())
}
