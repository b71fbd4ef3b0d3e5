//! `/v1/acl/policy`, `role` and `templated-policy`.

use acl::{Rules, Template, is_valid_policy_name, is_valid_role_name, templates as all_templates};
use http::{Method, StatusCode};
use model::{AclPolicy, AclRole, Found, Revision, Table, Tabled, WatchKey};
use registry::{Command, RecordCondition};

use super::acl_shapes as shapes;
use super::grants::{self, failed, missing, writable};
use super::read::{Read, with_contact};
use super::response::Reply;
use super::write::{Door, Stored};
use super::{Answer, Call, Outcome, decode};
use crate::json::JsonWriter;

/// Go's time before all others.
const NEVER: &str = "0001-01-01T00:00:00Z";

fn bad(text: impl Into<String>) -> Reply {
    Reply::text(StatusCode::BAD_REQUEST, text)
}

/// Writes a record, and answers with it.
pub(super) fn write(call: &Call<'_>, record: impl Tabled, is_new: bool) -> Outcome {
    let when = match is_new {
        true => RecordCondition::ModifiedAt(Revision(0)),
        false => RecordCondition::Exists,
    };
    let record = record.into_record();
    let door = Door::Stored(Stored::new(call, record.key()));
    Ok(Answer::Write(Command::PutRecord { record, when }, door))
}

/// `PUT /v1/acl/policy`
pub(super) fn create_policy(call: &Call<'_>) -> Outcome {
    writable(call)?;
    let policy = decode::acl_policy(call.request.body())?;
    if !policy.id.is_empty() {
        return Err(bad("Cannot specify the ID when creating a new policy"));
    }
    check_policy(&policy)?;
    write(call, AclPolicy { id: (call.context.fresh_id)(), ..policy }, true)
}

fn check_policy(policy: &AclPolicy) -> Result<(), Reply> {
    if policy.name.is_empty() {
        return Err(failed("Invalid Policy: no Name is set"));
    }
    let is_builtin = acl::builtin_policies().iter().any(|it| it.id == policy.id);
    if !is_builtin && !is_valid_policy_name(&policy.name) {
        return Err(failed(
            "Invalid Policy: invalid Name. Only alphanumeric characters, a single '/', '-' and '_' are allowed",
        ));
    }
    Rules::parse(&policy.rules).map(|_| ()).map_err(|error| failed(error.to_string()))
}

/// `/v1/acl/policy/:id`
pub(super) fn policy(call: &Call<'_>) -> Outcome {
    if call.name.is_empty() {
        return Err(bad("Missing policy ID"));
    }
    let found = || call.catalog().record::<AclPolicy>(&call.name.to_lowercase());
    match *call.request.method() {
        Method::PUT => {
            writable(call)?;
            let policy = decode::acl_policy(call.request.body())?;
            if !policy.id.is_empty() && !policy.id.eq_ignore_ascii_case(call.name) {
                return Err(bad("Policy ID in URL and payload do not match"));
            }
            let Some(before) = found() else {
                return Err(failed(format!("cannot find policy {}", call.name)));
            };
            let policy = AclPolicy { id: before.id.clone(), ..policy };
            check_policy(&policy)?;
            write(call, policy, false)
        }
        Method::DELETE => {
            writable(call)?;
            match found() {
                Some(policy) => grants::delete(call, Table::AclPolicy, &policy.id),
                None => Err(Reply::text(StatusCode::NOT_FOUND, "Cannot find policy to delete")),
            }
        }
        _ => read(call, "policy", found(), |w, it| shapes::policy(w, it, true)),
    }
}

/// `GET /v1/acl/policy/name/:name`
pub(super) fn policy_by_name(call: &Call<'_>) -> Outcome {
    if call.name.is_empty() {
        return Err(bad("Missing policy Name"));
    }
    let found = call.catalog().records::<AclPolicy>().find(|it| it.name == call.name);
    read(call, "policy", found, |w, it| shapes::policy(w, it, true))
}

/// `GET /v1/acl/policies`
pub(super) fn policies(call: &Call<'_>) -> Outcome {
    list(call, |_: &AclPolicy| true, |w, it| shapes::policy(w, it, false))
}

/// One object, or that there is none.
pub(super) fn read<T: Tabled>(
    call: &Call<'_>,
    what: &str,
    found: Option<Found<'_, T>>,
    shape: impl FnOnce(&mut JsonWriter, Found<'_, T>),
) -> Outcome {
    let read = Read::of(call)?;
    Ok(read.reply(index::<T>(call), watched::<T>, || match found {
        Some(found) => call.json(|w| shape(w, found)),
        None => missing(what),
    }))
}

/// All objects of a table that fit.
pub(super) fn list<'a, T: Tabled + 'a>(
    call: &Call<'a>,
    fits: impl Fn(&T) -> bool,
    shape: impl Fn(&mut JsonWriter, Found<'a, T>),
) -> Outcome {
    let read = Read::of(call)?;
    Ok(read.reply(index::<T>(call), watched::<T>, || {
        call.json(|w| {
            w.array(|w| {
                let all = call.catalog().records::<T>().filter(|it| fits(it.value));
                all.for_each(|it| shape(w, it));
            });
        })
    }))
}

/// Roles show the names of policies.
fn index<T: Tabled>(call: &Call<'_>) -> Revision {
    call.catalog().table_index(T::TABLE).max(call.catalog().table_index(Table::AclPolicy))
}

fn watched<T: Tabled>() -> Vec<WatchKey> {
    vec![WatchKey::Table(T::TABLE), WatchKey::Table(Table::AclPolicy)]
}

/// `PUT /v1/acl/role`
pub(super) fn create_role(call: &Call<'_>) -> Outcome {
    writable(call)?;
    let body = decode::acl_role(call.request.body())?;
    if !body.id.is_empty() {
        return Err(bad("Cannot specify the ID when creating a new role"));
    }
    let role = role_of(call, body, (call.context.fresh_id)())?;
    write(call, role, true)
}

fn role_of(call: &Call<'_>, body: decode::RoleBody, id: String) -> Result<AclRole, Reply> {
    if body.name.is_empty() {
        return Err(failed("Invalid Role: no Name is set"));
    }
    if !is_valid_role_name(&body.name) {
        return Err(failed(
            "Invalid Role: invalid Name. Only alphanumeric characters, '-' and '_' are allowed",
        ));
    }
    let grants = grants::resolved(call, body.grants, "role", false)?;
    Ok(AclRole { id, name: body.name, description: body.description, grants })
}

/// `/v1/acl/role/:id`
pub(super) fn role(call: &Call<'_>) -> Outcome {
    if call.name.is_empty() {
        return Err(bad("Missing role ID"));
    }
    let found = || call.catalog().record::<AclRole>(&call.name.to_lowercase());
    match *call.request.method() {
        Method::PUT => {
            writable(call)?;
            let body = decode::acl_role(call.request.body())?;
            if !body.id.is_empty() && !body.id.eq_ignore_ascii_case(call.name) {
                return Err(bad("Role ID in URL and payload do not match"));
            }
            let Some(before) = found() else {
                return Err(failed(format!("cannot find role {}", call.name)));
            };
            write(call, role_of(call, body, before.id.clone())?, false)
        }
        Method::DELETE => {
            writable(call)?;
            match found() {
                Some(role) => grants::delete(call, Table::AclRole, &role.id),
                None => Err(Reply::text(StatusCode::NOT_FOUND, "Cannot find role to delete")),
            }
        }
        _ => read(call, "role", found(), |w, it| shapes::role(w, call.catalog(), it)),
    }
}

/// `GET /v1/acl/role/name/:name`
pub(super) fn role_by_name(call: &Call<'_>) -> Outcome {
    if call.name.is_empty() {
        return Err(bad("Missing role Name"));
    }
    let found = call.catalog().records::<AclRole>().find(|it| it.name == call.name);
    read(call, "role", found, |w, it| shapes::role(w, call.catalog(), it))
}

/// `GET /v1/acl/roles`
pub(super) fn roles(call: &Call<'_>) -> Outcome {
    let policy = call.query.text("policy");
    let fits = |it: &AclRole| policy.is_empty() || it.grants.policies.iter().any(|it| it == policy);
    list(call, fits, |w, it| shapes::role(w, call.catalog(), it))
}

/// `GET /v1/acl/replication`: nothing is copied from elsewhere.
pub(super) fn replication(call: &Call<'_>) -> Outcome {
    let reply = call.json(|w| {
        w.object(|w| {
            w.boolean_field("Enabled", false);
            w.boolean_field("Running", false);
            w.string_field("SourceDatacenter", "");
            w.string_field("ReplicationType", "");
            for name in ["ReplicatedIndex", "ReplicatedRoleIndex", "ReplicatedTokenIndex"] {
                w.number_field(name, 0_u32);
            }
            w.string_field("LastSuccess", NEVER);
            w.string_field("LastError", NEVER);
            w.string_field("LastErrorMessage", "");
        });
    });
    Ok(Answer::Reply(with_contact(reply)))
}

fn template_shape(w: &mut JsonWriter, it: &Template) {
    w.object(|w| {
        w.string_field("TemplateName", it.name);
        w.string_field("Schema", it.schema);
        w.string_field("Template", it.text);
        w.string_field("Description", it.description);
    });
}

/// `GET /v1/acl/templated-policies`
pub(super) fn templates(call: &Call<'_>) -> Outcome {
    Ok(Answer::Reply(with_contact(call.json(|w| {
        w.object(|w| {
            for it in all_templates() {
                w.key(it.name);
                template_shape(w, it);
            }
        });
    }))))
}

fn template_named(call: &Call<'_>) -> Result<&'static Template, Reply> {
    if call.name.is_empty() {
        return Err(bad("Missing templated policy Name"));
    }
    acl::template(call.name)
        .map_err(|_| bad(format!("Invalid templated policy Name: {}", call.name)))
}

/// `GET /v1/acl/templated-policy/name/:name`
pub(super) fn template(call: &Call<'_>) -> Outcome {
    let found = template_named(call)?;
    Ok(Answer::Reply(with_contact(call.json(|w| template_shape(w, found)))))
}

/// `POST /v1/acl/templated-policy/preview/:name`
pub(super) fn preview(call: &Call<'_>) -> Outcome {
    let found = template_named(call)?;
    let name = decode::acl_variables(call.request.body())?;
    let rules = found.render(name.as_deref()).map_err(|error| bad(error.to_string()))?;
    let source = format!("templated policy: {}", found.name);
    let policy = shapes::synthetic_policy(rules, &source, &[]);
    Ok(Answer::Reply(with_contact(call.json(|w| shapes::synthetic(w, &policy)))))
}
