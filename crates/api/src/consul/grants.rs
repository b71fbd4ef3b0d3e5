//! What tokens and roles are bound to, from the words of clients; and what all writes of `/v1/acl` have in common.

use acl::{is_valid_identity_name, template};
use http::StatusCode;
use model::{AclNode, AclPolicy, AclRole, AclService, AclTemplate, Grants, RecordKey, Table};
use registry::{Command, RecordCondition};

use super::decode::{GrantsBody, Link};
use super::response::Reply;
use super::tokens::said_true;
use super::write::Door;
use super::{Answer, Call, Outcome};

/// 500: Consul does not tell its clients' mistakes from its own here.
pub(super) fn failed(text: impl Into<String>) -> Reply {
    Reply::text(StatusCode::INTERNAL_SERVER_ERROR, text)
}

/// What is said of something that is not there.
pub(super) fn missing(what: &str) -> Reply {
    let text = format!("Requested {what} does not exist: ACL not found");
    Reply::text(StatusCode::NOT_FOUND, text)
}

/// # Errors
/// As every write has them.
pub(super) fn writable(call: &Call<'_>) -> Result<(), Reply> {
    call.refuse_tenancy()?;
    call.require_our_datacenter()
}

/// # Errors
/// 500 when it is not a UUID.
pub(super) fn require_uuid(what: &str, text: &str) -> Result<(), Reply> {
    let is_uuid = text.len() == 36
        && text.char_indices().all(|(at, c)| match at {
            8 | 13 | 18 | 23 => c == '-',
            _ => c.is_ascii_hexdigit(),
        });
    if is_uuid { Ok(()) } else { Err(failed(format!("{what} is not a valid UUID"))) }
}

/// Deletes a record that is there, and says `true`.
pub(super) fn delete(call: &Call<'_>, table: Table, name: &str) -> Outcome {
    let key = RecordKey::new(table, name);
    let command = Command::DeleteRecord { key, when: RecordCondition::Always };
    Ok(Answer::Write(command, Door::Said { done: said_true(call) }))
}

/// What a token or role (`of`) is bound to, each thing once.
///
/// # Errors
/// 500 for what does not exist or cannot be.
pub(super) fn resolved(
    call: &Call<'_>,
    body: GrantsBody,
    of: &str,
    is_local: bool,
) -> Result<Grants, Reply> {
    let mut grants = Grants::default();
    for link in body.policies {
        let id = policy(call, &link)?;
        if !grants.policies.contains(&id) {
            grants.policies.push(id);
        }
    }
    for service in body.services {
        check_service(&service, of, is_local)?;
        add_service(&mut grants.services, service);
    }
    for node in body.nodes {
        check_node(&node, of)?;
        if !grants.nodes.contains(&node) {
            grants.nodes.push(node);
        }
    }
    for given in body.templates {
        check_template(&given, is_local)?;
        if !grants.templates.contains(&given) {
            grants.templates.push(given);
        }
    }
    Ok(grants)
}

fn policy(call: &Call<'_>, link: &Link) -> Result<String, Reply> {
    if !link.id.is_empty() {
        let id = link.id.to_lowercase();
        let found = call.catalog().record::<AclPolicy>(&id);
        return found.map(|_| id).ok_or_else(|| failed(format!("cannot find policy {}", link.id)));
    }
    let mut all = call.catalog().records::<AclPolicy>();
    let found = all.find(|it| it.name == link.name).map(|it| it.id.clone());
    found.ok_or_else(|| failed(format!("No such ACL policy with name {:?}", link.name)))
}

/// The ids of roles, each once.
///
/// # Errors
/// 500 for one that does not exist.
pub(super) fn roles(call: &Call<'_>, links: Vec<Link>) -> Result<Vec<String>, Reply> {
    let mut ids = Vec::new();
    for link in links {
        let mut all = call.catalog().records::<AclRole>();
        let found = if link.id.is_empty() {
            all.find(|it| it.name == link.name)
        } else {
            call.catalog().record::<AclRole>(&link.id.to_lowercase())
        };
        let Some(role) = found else {
            return Err(failed(if link.id.is_empty() {
                format!("No such ACL role with name {:?}", link.name)
            } else {
                format!("cannot find role {}", link.id)
            }));
        };
        if !ids.contains(&role.id) {
            ids.push(role.id.clone());
        }
    }
    Ok(ids)
}

const NAME_RULE: &str = "Only lowercase alphanumeric characters, '-' and '_' are allowed";

fn check_service(it: &AclService, of: &str, is_local: bool) -> Result<(), Reply> {
    if it.service.is_empty() {
        let text = format!("Service identity is missing the service name field on this {of}");
        return Err(failed(text));
    }
    if is_local && !it.datacenters.is_empty() {
        return Err(failed(format!(
            "Service identity {:?} cannot specify a list of datacenters on a local token",
            it.service
        )));
    }
    if !is_valid_identity_name(&it.service) {
        return Err(failed(format!(
            "Service identity {:?} has an invalid name. {NAME_RULE}",
            it.service
        )));
    }
    Ok(())
}

/// Two identities of one service are one; if either counts everywhere, it does.
fn add_service(services: &mut Vec<AclService>, new: AclService) {
    let Some(known) = services.iter_mut().find(|it| it.service == new.service) else {
        return services.push(new);
    };
    if known.datacenters.is_empty() || new.datacenters.is_empty() {
        known.datacenters.clear();
    } else {
        known.datacenters.extend(new.datacenters);
        known.datacenters.sort();
        known.datacenters.dedup();
    }
}

fn check_node(it: &AclNode, of: &str) -> Result<(), Reply> {
    if it.node.is_empty() {
        return Err(failed(format!("Node identity is missing the node name field on this {of}")));
    }
    if it.datacenter.is_empty() {
        return Err(failed(format!("Node identity is missing the datacenter field on this {of}")));
    }
    if !is_valid_identity_name(&it.node) {
        return Err(failed(format!("Node identity has an invalid name. {NAME_RULE}")));
    }
    Ok(())
}

fn check_template(it: &AclTemplate, is_local: bool) -> Result<(), Reply> {
    if it.template.is_empty() {
        return Err(failed("templated policy is missing the template name field"));
    }
    if is_local && !it.datacenters.is_empty() {
        return Err(failed(format!(
            "templated policy {:?} cannot specify a list of datacenters on a local token",
            it.template
        )));
    }
    let rendered = template(&it.template).and_then(|found| found.render(it.name.as_deref()));
    rendered.map(|_| ()).map_err(|error| failed(error.to_string()))
}
