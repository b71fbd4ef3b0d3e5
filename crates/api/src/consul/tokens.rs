//! `/v1/acl/token`, `bootstrap` and `authorize`, and the agent's own tokens.

use std::time::Duration;

use acl::{GLOBAL_MANAGEMENT, is_reserved_id};
use http::{Method, StatusCode};
use model::{
    AclPolicy, AclRole, AclToken, Found, Grants, Record, RecordKey, Revision, Secret, Table,
    Tabled, Timestamp, WatchKey,
};
use registry::{Command, RecordCondition};

use super::acl_shapes as shapes;
use super::grants::{self, failed, require_uuid, writable};
use super::read::Read;
use super::response::Reply;
use super::write::{Door, Stored, word};
use super::{Answer, Call, Outcome, decode};
use crate::json::JsonWriter;
use crate::{AgentToken, BootstrapReset};

/// Shortest and longest time that a token may be made for.
const TTL_MIN: Duration = Duration::from_mins(1);
const TTL_MAX: Duration = Duration::from_hours(24);
/// Most questions that are answered at once.
const QUESTIONS_MAX: usize = 64;

pub(super) fn missing() -> Reply {
    grants::missing("token")
}

fn bad(text: &str) -> Reply {
    Reply::text(StatusCode::BAD_REQUEST, text)
}

fn watched() -> Vec<WatchKey> {
    [Table::AclToken, Table::AclPolicy, Table::AclRole].map(WatchKey::Table).into()
}

/// `PUT /v1/acl/bootstrap`: anybody may, once.
pub(super) fn bootstrap(call: &Call<'_>) -> Outcome {
    writable(call)?;
    let secret = decode::acl_bootstrap(call.request.body())?;
    let token = AclToken {
        accessor: (call.context.fresh_id)(),
        secret: new_secret(call, secret)?,
        description: "Bootstrap Token (Global Management)".to_owned(),
        grants: Grants { policies: vec![GLOBAL_MANAGEMENT.id.to_owned()], ..Grants::default() },
        created: call.context.now,
        ..AclToken::default()
    };
    let reset = call.request.extensions().get::<BootstrapReset>().map(|it| Revision(it.0));
    let key = RecordKey::new(Table::AclToken, &token.accessor);
    let door = Stored { with_id: true, ..Stored::new(call, key) };
    Ok(Answer::Write(Command::BootstrapAcl { token, reset }, Door::Stored(door)))
}

fn new_secret(call: &Call<'_>, given: Secret) -> Result<Secret, Reply> {
    if given.is_empty() {
        return Ok((call.context.fresh_id)().into());
    }
    require_uuid("Invalid Token: SecretID", given.reveal())?;
    Ok(given)
}

/// `PUT /v1/acl/token`
pub(super) fn create(call: &Call<'_>) -> Outcome {
    writable(call)?;
    let body = decode::acl_token(call.request.body())?;
    if !body.auth_method.is_empty() {
        return Err(failed("AuthMethod field is disallowed outside of login"));
    }
    let accessor = if body.accessor.is_empty() {
        (call.context.fresh_id)()
    } else {
        require_uuid("Invalid Token: AccessorID", &body.accessor)?;
        if is_reserved_id(&body.accessor) {
            let text = "Invalid Token: UUIDs with the prefix \"00000000-0000-0000-0000-0000000000\" are reserved";
            return Err(failed(text));
        }
        body.accessor.to_lowercase()
    };
    let token = AclToken {
        accessor,
        secret: new_secret(call, body.secret)?,
        description: body.description,
        grants: grants::resolved(call, body.grants, "token", body.local)?,
        roles: grants::roles(call, body.roles)?,
        local: body.local,
        auth_method: String::new(),
        expires: end_of(body.expires, body.ttl, call.context.now)?,
        created: call.context.now,
    };
    write(call, token, RecordCondition::ModifiedAt(Revision(0)))
}

fn write(call: &Call<'_>, token: AclToken, when: RecordCondition) -> Outcome {
    let record = token.into_record();
    let door = Door::Stored(Stored::new(call, record.key()));
    Ok(Answer::Write(Command::PutRecord { record, when }, door))
}

fn end_of(
    at: Option<Timestamp>,
    ttl: Option<Duration>,
    now: Timestamp,
) -> Result<Option<Timestamp>, Reply> {
    let end = match (at, ttl.filter(|it| !it.is_zero())) {
        (Some(_), Some(_)) => {
            return Err(failed("Expiration TTL and Expiration Time cannot both be set"));
        }
        (Some(at), None) => at,
        (None, Some(ttl)) => now.plus(ttl),
        (None, None) => return Ok(None),
    };
    if end <= now {
        return Err(failed("ExpirationTime cannot be before CreateTime"));
    }
    let left = end.since(now);
    if left < TTL_MIN {
        return Err(failed("ExpirationTime cannot be less than 1m0s in the future"));
    }
    if left > TTL_MAX {
        return Err(failed("ExpirationTime cannot be more than 24h0m0s in the future"));
    }
    Ok(Some(end))
}

/// `/v1/acl/token/:accessor`, and its clone.
pub(super) fn one(call: &Call<'_>) -> Outcome {
    if let Some(accessor) = call.name.strip_suffix("/clone") {
        if call.request.method() == Method::PUT {
            return clone(call, accessor);
        }
        let text = format!("method {} not allowed", call.request.method());
        let reply = Reply::text(StatusCode::METHOD_NOT_ALLOWED, text);
        return Err(reply.with(http::header::ALLOW, "OPTIONS,PUT"));
    }
    if call.name.is_empty() {
        return Err(bad("Missing token AccessorID"));
    }
    match *call.request.method() {
        Method::PUT => update(call),
        Method::DELETE => delete(call),
        _ => read(call, call.name),
    }
}

fn found<'a>(call: &Call<'a>, accessor: &str) -> Option<Found<'a, AclToken>> {
    let found = call.catalog().record::<AclToken>(&accessor.to_lowercase());
    found.filter(|it| !it.is_expired(call.context.now))
}

fn update(call: &Call<'_>) -> Outcome {
    writable(call)?;
    let body = decode::acl_token(call.request.body())?;
    if !body.accessor.is_empty() && !body.accessor.eq_ignore_ascii_case(call.name) {
        return Err(bad("Token Accessor ID in URL and payload do not match"));
    }
    let Some(before) = found(call, call.name) else {
        return Err(failed(format!("Cannot find token \"{}\"", call.name)));
    };
    let token = AclToken {
        secret: if body.secret.is_empty() { before.secret.clone() } else { body.secret },
        description: body.description,
        grants: grants::resolved(call, body.grants, "token", body.local)?,
        roles: grants::roles(call, body.roles)?,
        local: body.local,
        auth_method: match body.auth_method.as_str() {
            "" => before.auth_method.clone(),
            _ => body.auth_method,
        },
        expires: match body.ttl.filter(|it| !it.is_zero()) {
            Some(ttl) => Some(before.value.created.plus(ttl)),
            None => body.expires.or(before.expires),
        },
        ..before.value.clone()
    };
    write(call, token, RecordCondition::Exists)
}

fn delete(call: &Call<'_>) -> Outcome {
    writable(call)?;
    let Some(token) = found(call, call.name) else {
        return Err(Reply::text(StatusCode::NOT_FOUND, "Cannot find token to delete"));
    };
    if call.access().identity().is_some_and(|it| it.accessor() == token.accessor) {
        return Err(failed("Deletion of the request's authorization token is not permitted"));
    }
    grants::delete(call, Table::AclToken, &token.accessor)
}

/// `GET /v1/acl/token/self`
pub(super) fn own(call: &Call<'_>) -> Outcome {
    let accessor = call.access().identity().map_or("", |it| it.accessor());
    read(call, accessor)
}

fn read(call: &Call<'_>, accessor: &str) -> Outcome {
    let read = Read::of(call)?;
    let catalog = call.catalog();
    let token = found(call, accessor);
    let own = call.access().identity().is_some_and(|it| it.accessor() == accessor);
    let shows_secret = own || call.access().writes_acl();
    Ok(read.reply(catalog.acl_index(), watched, || match token {
        None => missing(),
        Some(token) => call.json(|w| {
            w.object(|w| {
                if call.query.has("expanded") {
                    expanded(w, call, token);
                }
                shapes::token_fields(w, catalog, token, shows_secret);
            });
        }),
    }))
}

/// What a token comes to, with all that it is bound to.
fn expanded(w: &mut JsonWriter, call: &Call<'_>, token: Found<'_, AclToken>) {
    let catalog = call.catalog();
    let roles: Vec<Found<'_, AclRole>> =
        token.value.roles.iter().filter_map(|id| catalog.record::<AclRole>(id)).collect();
    let all =
        || std::iter::once(&token.value.grants).chain(roles.iter().map(|it| &it.value.grants));
    let mut policies: Vec<Found<'_, AclPolicy>> =
        all().flat_map(|it| &it.policies).filter_map(|id| catalog.record(id)).collect();
    policies.sort_by(|a, b| a.value.id.cmp(&b.value.id));
    policies.dedup_by(|a, b| a.value.id == b.value.id);
    w.key("ExpandedPolicies");
    w.array(|w| {
        policies.into_iter().for_each(|it| shapes::policy(w, it, true));
        for it in all().flat_map(shapes::synthetic_policies) {
            shapes::synthetic(w, &it);
        }
    });
    w.key("ExpandedRoles");
    w.array(|w| roles.iter().for_each(|it| shapes::role(w, catalog, *it)));
    for field in ["NamespaceDefaultPolicyIDs", "NamespaceDefaultRoleIDs"] {
        w.key(field);
        w.null();
    }
    let default = match call.context.acl.settings().default_policy {
        acl::DefaultPolicy::Allow => "allow",
        acl::DefaultPolicy::Deny => "deny",
    };
    w.string_field("AgentACLDefaultPolicy", default);
    w.string_field("AgentACLDownPolicy", "extend-cache");
    w.string_field("ResolvedByAgent", call.agent().node_name.as_str());
}

fn clone(call: &Call<'_>, accessor: &str) -> Outcome {
    writable(call)?;
    if accessor.is_empty() {
        return Err(bad("Missing token AccessorID"));
    }
    let description = decode::acl_clone(call.request.body())?;
    let Some(before) = found(call, accessor) else {
        return Err(Reply::text(StatusCode::FORBIDDEN, "ACL not found"));
    };
    if !before.auth_method.is_empty() {
        return Err(failed("Cannot clone a token created from an auth method"));
    }
    let token = AclToken {
        accessor: (call.context.fresh_id)(),
        secret: (call.context.fresh_id)().into(),
        description: match description.as_str() {
            "" => before.description.clone(),
            _ => description,
        },
        created: call.context.now,
        ..before.value.clone()
    };
    write(call, token, RecordCondition::ModifiedAt(Revision(0)))
}

/// `GET /v1/acl/tokens`
pub(super) fn list(call: &Call<'_>) -> Outcome {
    let read = Read::of(call)?;
    let filters = ["policy", "role", "authmethod", "servicename"];
    let given: Vec<(&str, &str)> = filters
        .into_iter()
        .map(|name| (name, call.query.text(name)))
        .filter(|it| !it.1.is_empty())
        .collect();
    if given.len() > 1 {
        return Err(failed("can only filter by one of: policy, role, authmethod, servicename"));
    }
    let fits = |token: &AclToken| match given.first() {
        None => true,
        Some(("policy", id)) => token.grants.policies.iter().any(|it| it == id),
        Some(("role", id)) => token.roles.iter().any(|it| it == id),
        Some(("authmethod", name)) => token.auth_method == *name,
        Some((_, service)) => stands_for(&token.grants, service),
    };
    let catalog = call.catalog();
    let shows_secrets = call.access().writes_acl();
    Ok(read.reply(catalog.acl_index(), watched, || {
        call.json(|w| {
            w.array(|w| {
                let tokens = catalog.records::<AclToken>();
                let tokens = tokens.filter(|it| !it.is_expired(call.context.now) && fits(it.value));
                for token in tokens {
                    w.object(|w| shapes::token_fields(w, catalog, token, shows_secrets));
                }
            });
        })
    }))
}

fn stands_for(grants: &Grants, service: &str) -> bool {
    let is_template = |it: &model::AclTemplate| {
        it.template == "builtin/service" && it.name.as_deref() == Some(service)
    };
    grants.services.iter().any(|it| it.service == service)
        || grants.templates.iter().any(is_template)
}

/// `POST /v1/internal/acl/authorize`
pub(super) fn authorize(call: &Call<'_>) -> Outcome {
    let questions = decode::acl_questions(call.request.body())?;
    if questions.len() > QUESTIONS_MAX {
        let text = format!("Refusing to process more than {QUESTIONS_MAX} authorizations at once");
        return Err(bad(&text));
    }
    let mut answers = Vec::new();
    for question in questions {
        let asked = call.access().ask(&question.resource, &question.access, &question.segment);
        answers.push((question, asked.map_err(|error| bad(&error.to_string()))?));
    }
    Ok(Answer::Reply(call.json(|w| {
        w.array(|w| {
            for (question, is_allowed) in &answers {
                w.object(|w| {
                    w.string_field("Resource", &question.resource);
                    w.string_field_if_any("Segment", &question.segment);
                    w.string_field("Access", &question.access);
                    w.boolean_field("Allow", *is_allowed);
                });
            }
        });
    })))
}

/// `PUT /v1/agent/token/:which`
pub(super) fn of_agent(call: &Call<'_>) -> Outcome {
    let secret = decode::agent_token(call.request.body())?;
    let Some(which) = AgentToken::from_name(call.name) else {
        let text = format!("Token \"{}\" is unknown", call.name);
        return Err(Reply::text(StatusCode::NOT_FOUND, text));
    };
    Ok(Answer::AgentToken(which, secret))
}

/// A record as it was written: what the client is answered.
pub(super) fn written(
    w: &mut JsonWriter,
    catalog: &model::Catalog,
    record: &model::Stored<Record>,
    with_id: bool,
) {
    fn found<'a, T>(record: &model::Stored<Record>, value: &'a T) -> Found<'a, T> {
        Found { value, created: record.created, modified: record.modified }
    }
    match &record.value {
        Record::AclToken(token) => w.object(|w| {
            if with_id {
                w.string_field("ID", token.secret.reveal());
            }
            shapes::token_fields(w, catalog, found(record, token), true);
        }),
        Record::AclPolicy(policy) => shapes::policy(w, found(record, policy), true),
        Record::AclRole(role) => shapes::role(w, catalog, found(record, role)),
        Record::AclBindingRule(rule) => shapes::rule(w, found(record, rule)),
        Record::AclAuthMethod(method) => shapes::method(w, found(record, method), true),
        Record::ConfigEntry(_)
        | Record::Coordinate(_)
        | Record::Event(_)
        | Record::PreparedQuery(_)
        | Record::Setting(_)
        | Record::TrafficSplit(_)
        | Record::VirtualAddress(_) => w.null(),
    }
}

/// `true` and nothing else.
pub(super) fn said_true(call: &Call<'_>) -> Reply {
    word("true", call.query.has("pretty"))
}
