//! The bodies of Consul's write endpoints, read as Go reads them.
//!
//! Field names match whatever their letter case, a few have a second name in snake case, `null` means "not given",
//! an unknown field or a wrong type is an error with Go's text, and what follows the first JSON value is not looked
//! at. Those rules live in [`fields::Fields`]; the functions here say which fields there are and what they mean.
//!
//! Whoever calls bounds the size of the body. What can only be judged against the catalog is left to the registry.

mod acl;
mod authority;
mod catalog;
mod check;
mod config;
mod coordinate;
mod fields;
mod json;
mod proxy;
mod query;
mod service;
mod session;
mod sidecar;
#[cfg(test)]
mod tests;
mod txn;

use model::{Check, CheckStatus};

pub(super) use self::acl::{
    GrantsBody, Link, RoleBody, acl_auth_method, acl_binding_rule, acl_bootstrap, acl_clone,
    acl_login, acl_policy, acl_questions, acl_role, acl_token, acl_variables, agent_token,
};
pub(super) use self::authority::{autopilot, ca_configuration};
pub(super) use self::catalog::{catalog_deregistration, catalog_registration};
pub(super) use self::config::{
    config_entry, connect_authorization, intention, overrides, virtual_addresses,
};
pub(super) use self::coordinate::coordinate;
use self::fields::Fields;
pub(super) use self::query::query;
pub(super) use self::service::service_registration;
pub(super) use self::session::session;
pub(super) use self::txn::{BadTransaction, transaction};
use crate::AgentInfo;

/// A body that is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct BadRequest {
    /// HTTP status; 400 but for a few that Consul answers with 500.
    pub(super) status: u16,
    /// The whole body of the response, plain text.
    pub(super) text: String,
}

impl BadRequest {
    /// The body cannot be read; `reason` is what Go's decoder would say.
    fn undecodable(reason: impl AsRef<str>) -> Self {
        Self::new(format!("Request decode failed: {}", reason.as_ref()))
    }

    fn new(text: impl Into<String>) -> Self {
        Self { status: 400, text: text.into() }
    }

    /// One of the errors that Consul does not tell from its own.
    fn internal(text: impl Into<String>) -> Self {
        Self { status: 500, text: text.into() }
    }

    /// Something of Consul that a later version will have. Refused, lest it be dropped silently.
    fn unsupported(what: &str) -> Self {
        Self::new(format!("{what} is not supported by this version of Leno"))
    }
}

/// A verdict that a client reports for its TTL check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct CheckUpdate {
    /// The verdict.
    pub(super) status: CheckStatus,
    /// Its reason, of any length.
    pub(super) output: String,
}

/// Reads the body of `agent/check/update/:id`.
pub(super) fn check_update(body: &[u8]) -> Result<CheckUpdate, BadRequest> {
    let value = json::read(body)?;
    let mut fields = Fields::root(&value, "checkUpdate")?;
    let status = fields.text("Status")?;
    let output = fields.text("Output")?;
    fields.finish()?;
    match CheckStatus::parse(&status) {
        Some(status) => Ok(CheckUpdate { status, output }),
        None => Err(BadRequest::new(format!("Invalid check status: '{status}'"))),
    }
}

/// Reads the body of `agent/check/register`: a check on the agent's node.
pub(super) fn check_registration(body: &[u8], agent: &AgentInfo) -> Result<Check, BadRequest> {
    let value = json::read(body)?;
    let mut fields = Fields::root(&value, "CheckDefinition")?;
    let declared = check::DeclaredCheck::read_alone(&mut fields)?;
    fields.finish()?;
    if declared.name.is_empty() {
        return Err(BadRequest::new("Missing check name"));
    }
    if !declared.has_valid_status() {
        return Err(BadRequest::new("Bad check status"));
    }
    declared.validate()?;
    declared.require_runnable(agent)?;
    let id = if declared.id.is_empty() { declared.name.clone() } else { declared.id.clone() };
    Ok(declared.into_check(id, agent))
}
