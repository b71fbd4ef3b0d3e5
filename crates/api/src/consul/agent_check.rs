//! `/v1/agent/checks` and `/v1/agent/check`: the checks that are registered with this agent, and heartbeats.

use std::borrow::Cow;

use http::StatusCode;
use model::{Check, CheckId, CheckStatus, CheckType, Origin, Stored};
use registry::{Command, Rejection};

use super::response::Reply;
use super::shapes::{self, CheckView};
use super::write::Door;
use super::{Answer, Call, Outcome, decode};
use crate::{Context, WriteOutcome};
use filter::HEALTH_CHECK;
use model::go::quote;

/// Most bytes of a heartbeat's note that are kept, unless its check allows fewer.
const OUTPUT_BYTES_MAX: usize = 4096;

/// A check as the agent knows it: its freshest result, if it has one, over what the catalog has.
pub(super) fn freshest<'a>(context: &Context<'a>, check: &'a Stored<Check>) -> Cow<'a, Check> {
    match context.live_checks.get(&check.id) {
        Some(live) => Cow::Owned(Check {
            status: live.status,
            output: live.output.clone(),
            ..check.value.clone()
        }),
        None => Cow::Borrowed(&check.value),
    }
}

/// `GET /v1/agent/checks`
pub(super) fn list(call: &Call<'_>) -> Outcome {
    call.refuse_tenancy()?;
    let filter = call.filter(&HEALTH_CHECK)?;
    let node = call.agent().node_name.folded();
    let all = call.catalog().checks_of_node(&node).filter(|it| it.origin == Origin::Agent);
    let mut checks: Vec<&Stored<Check>> = all.map(|it| &**it).collect();
    checks.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(Answer::Reply(call.json(|w| {
        w.object(|w| {
            for stored in checks {
                let owner = call.catalog().instance(&node, &stored.service_id);
                let check = freshest(call.context, stored);
                let view = CheckView::local(&check, owner.map(|it| &it.value));
                let owner = owner.map(|it| &it.value);
                if call.access().sees_check(&check, owner) && filter.matches(&view.row()) {
                    w.map_key(check.id.as_str());
                    shapes::check(w, &view);
                }
            }
        });
    })))
}

/// `PUT /v1/agent/check/register`
pub(super) fn register(call: &Call<'_>) -> Outcome {
    call.refuse_tenancy()?;
    let check = decode::check_registration(call.request.body(), call.agent())?;
    Ok(Answer::Write(Command::RegisterCheck(check), Door::Agent))
}

/// `PUT /v1/agent/check/deregister/:id`
pub(super) fn deregister(call: &Call<'_>) -> Outcome {
    call.refuse_tenancy()?;
    let command = Command::DeregisterCheck {
        node: call.agent().node_name.clone(),
        id: CheckId::from(call.name),
    };
    Ok(Answer::Write(command, Door::Agent))
}

/// `PUT /v1/agent/check/pass/:id`
pub(super) fn pass(call: &Call<'_>) -> Outcome {
    heartbeat(call, CheckStatus::Passing, call.query.text("note"))
}

/// `PUT /v1/agent/check/warn/:id`
pub(super) fn warn(call: &Call<'_>) -> Outcome {
    heartbeat(call, CheckStatus::Warning, call.query.text("note"))
}

/// `PUT /v1/agent/check/fail/:id`
pub(super) fn fail(call: &Call<'_>) -> Outcome {
    heartbeat(call, CheckStatus::Critical, call.query.text("note"))
}

/// `PUT /v1/agent/check/update/:id`
pub(super) fn update(call: &Call<'_>) -> Outcome {
    let update = decode::check_update(call.request.body())?;
    heartbeat(call, update.status, &update.output)
}

/// A heartbeat of a TTL check.
///
/// # Errors
/// 404 for an unknown check, 500 for one that is found in another way.
fn heartbeat(call: &Call<'_>, status: CheckStatus, output: &str) -> Outcome {
    call.refuse_tenancy()?;
    let node = &call.agent().node_name;
    let id = CheckId::from(call.name);
    let check = call.catalog().check(&node.folded(), &id);
    let Some(check) = check.filter(|it| it.origin == Origin::Agent) else {
        let rejection = Rejection::UnknownCheck(call.name.to_owned());
        return Err(Door::Agent.reply(WriteOutcome::Rejected(rejection), call.catalog()));
    };
    let definition = check.definition.as_deref();
    let Some(definition) = definition.filter(|it| it.check_type() == Some(CheckType::Ttl)) else {
        let text = format!("CheckID {} does not have associated TTL", quote(call.name));
        return Err(Reply::text(StatusCode::INTERNAL_SERVER_ERROR, text));
    };
    let bytes_max = match definition.output_bytes_max as usize {
        0 => OUTPUT_BYTES_MAX,
        bytes => bytes.min(OUTPUT_BYTES_MAX),
    };
    let command = Command::SetCheckStatus {
        node: node.clone(),
        id,
        status,
        output: captured(output, bytes_max),
        output_matters: true,
    };
    Ok(Answer::Write(command, Door::Agent))
}

/// The head of a note that is too long, with Consul's word about the rest.
fn captured(output: &str, bytes_max: usize) -> String {
    if output.len() <= bytes_max {
        return output.to_owned();
    }
    let head = &output[..output.floor_char_boundary(bytes_max)];
    format!("{head} ... (captured {} of {} bytes)", head.len(), output.len())
}
