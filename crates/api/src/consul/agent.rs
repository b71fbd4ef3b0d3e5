//! `/v1/agent`: what is about the agent as a whole. Its services, checks and health have modules of their own.

use http::StatusCode;
use model::ServiceId;
use registry::Command;

use super::certificates::require_connect;
use super::params::parse_bool;
use super::read::Read;
use super::response::Reply;
use super::write::Door;
use super::{Answer, Call, Outcome};
use model::go::quote;

/// `PUT /v1/agent/reload`: configuration is not read again while the agent runs, so there is nothing to do.
pub(super) fn reload(_: &Call<'_>) -> Outcome {
    Ok(Answer::Reply(Reply::empty()))
}

/// `PUT /v1/agent/maintenance`
pub(super) fn maintenance(call: &Call<'_>) -> Outcome {
    set_maintenance(call, None)
}

/// Reads `enable` and `reason`, for the node or one of its instances.
///
/// # Errors
/// 400 when `enable` is absent or no boolean.
pub(super) fn set_maintenance(call: &Call<'_>, service: Option<ServiceId>) -> Outcome {
    let bad = |text: String| Reply::text(StatusCode::BAD_REQUEST, text);
    let enable =
        call.query.first("enable").ok_or_else(|| bad("Missing value for enable".into()))?;
    let enable = parse_bool(enable)
        .ok_or_else(|| bad(format!("Invalid value for enable: {}", quote(enable))))?;
    let reason = enable.then(|| call.query.text("reason").to_owned());
    let node = call.agent().node_name.clone();
    Ok(Answer::Write(Command::SetMaintenance { node, service, reason }, Door::Agent))
}

/// `GET /v1/agent/connect/ca/leaf/:service`: what can be said without keys; the rest is [`crate::Step::Leaf`].
pub(super) fn leaf(call: &Call<'_>) -> Outcome {
    require_connect(call)?;
    let read = Read::of(call)?;
    let service = read.name("service name")?;
    Ok(read.leaf(service))
}
