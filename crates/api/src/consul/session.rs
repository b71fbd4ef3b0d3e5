//! `/v1/session`: lives of clients, by which they hold locks.

use acl::Resource;
use http::StatusCode;
use model::{Folded, Session, SessionId, Stored, WatchKey};
use registry::Command;

use super::read::Read;
use super::response::Reply;
use super::write::{Door, word};
use super::{Answer, Call, Outcome, decode};
use crate::json::JsonWriter;

/// `PUT /v1/session/create`
pub(super) fn create(call: &Call<'_>) -> Outcome {
    call.refuse_tenancy()?;
    call.require_our_datacenter()?;
    let mut session = decode::session(call.request.body(), call.agent())?;
    session.id = (call.context.fresh_id)().into();
    let done = call.json(|w| w.object(|w| w.string_field("ID", session.id.as_str())));
    Ok(Answer::Write(Command::CreateSession(session), Door::Session { done }))
}

/// `PUT /v1/session/destroy/:id`; one that does not exist is no error.
pub(super) fn destroy(call: &Call<'_>) -> Outcome {
    call.refuse_tenancy()?;
    call.require_our_datacenter()?;
    let id = id(call)?;
    let done = word("true", call.query.has("pretty"));
    Ok(Answer::Write(Command::EndSession(id), Door::Session { done }))
}

/// `PUT /v1/session/renew/:id`
pub(super) fn renew(call: &Call<'_>) -> Outcome {
    call.refuse_tenancy()?;
    call.require_our_datacenter()?;
    let id = id(call)?;
    // Said only when there is one.
    let found = call.catalog().session(&id);
    let done = call.json(|w| w.array(|w| found.into_iter().for_each(|it| shape(w, it))));
    Ok(Answer::Write(Command::RenewSession(id), Door::Session { done }))
}

/// `GET /v1/session/info/:id`
pub(super) fn info(call: &Call<'_>) -> Outcome {
    let read = Read::of(call)?;
    let id = id(call)?;
    let found = call.catalog().session(&id);
    sessions(call, read, || found.into_iter().map(|it| &**it).collect())
}

/// `GET /v1/session/node/:node`
pub(super) fn of_node(call: &Call<'_>) -> Outcome {
    let read = Read::of(call)?;
    let node = Folded::new(read.name("node name")?);
    sessions(call, read, || call.catalog().sessions_of_node(&node).map(|it| &**it).collect())
}

/// `GET /v1/session/list`
pub(super) fn list(call: &Call<'_>) -> Outcome {
    let read = Read::of(call)?;
    sessions(call, read, || call.catalog().sessions().map(|it| &**it).collect())
}

fn sessions<'a>(
    call: &Call<'_>,
    read: Read<'_>,
    found: impl FnOnce() -> Vec<&'a Stored<Session>>,
) -> Outcome {
    let index = call.catalog().sessions_index();
    Ok(read.reply(
        index,
        || vec![WatchKey::Sessions],
        || {
            let mut found = found();
            found.retain(|it| call.access().sees(Resource::Session, it.node.as_str()));
            found.sort_by(|a, b| a.id.cmp(&b.id));
            call.json(|w| w.array(|w| found.into_iter().for_each(|it| shape(w, it))))
        },
    ))
}

/// # Errors
/// 400 when the path has none.
fn id(call: &Call<'_>) -> Result<SessionId, Reply> {
    match call.name {
        "" => Err(Reply::text(StatusCode::BAD_REQUEST, "Missing session")),
        name => Ok(name.into()),
    }
}

fn shape(w: &mut JsonWriter, session: &Stored<Session>) {
    w.object(|w| {
        w.string_field("ID", session.id.as_str());
        w.string_field("Name", &session.name);
        w.string_field("Node", session.node.as_str());
        let lock_delay_ns = u64::try_from(session.lock_delay.as_nanos()).unwrap_or(u64::MAX);
        w.number_field("LockDelay", lock_delay_ns);
        w.string_field("Behavior", session.behavior.as_str());
        w.string_field("TTL", &session.ttl_text);
        if !session.any_checks.is_empty() {
            w.strings_field("Checks", session.any_checks.iter().map(|it| it.as_str()));
        }
        w.strings_field("NodeChecks", session.node_checks.iter().map(|it| it.as_str()));
        w.key("ServiceChecks");
        if session.service_checks.is_empty() {
            w.null();
        } else {
            w.array(|w| {
                for check in &session.service_checks {
                    w.object(|w| {
                        w.string_field("ID", check.id.as_str());
                        w.string_field("Namespace", &check.namespace);
                    });
                }
            });
        }
        w.number_field("CreateIndex", session.created.0);
        w.number_field("ModifyIndex", session.modified.0);
    });
}
