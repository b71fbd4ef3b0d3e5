//! `/v1/agent`: what is about the agent as a whole. Its services, checks and health have modules of their own.

use std::net::IpAddr;

use http::StatusCode;
use model::{CheckId, NodeName, ServiceId};
use registry::{CatalogTarget, Command, MEMBER_CHECK};

use super::certificates::require_connect;
use super::params::parse_bool;
use super::read::Read;
use super::response::Reply;
use super::write::Door;
use super::{Answer, Call, Outcome};
use model::go::quote;

/// `PUT /v1/agent/reload`: the shell reads the configuration; this answers where there is none.
pub(super) fn reload(_: &Call<'_>) -> Outcome {
    Ok(Answer::Reply(Reply::empty()))
}

/// `PUT /v1/agent/join/:address`: an agent has joined itself. There is no other that it could join, and nobody is told
/// that two are one registry when they are not.
pub(super) fn join(call: &Call<'_>) -> Outcome {
    if call.name.is_empty() {
        return Err(Reply::text(StatusCode::BAD_REQUEST, "Missing address to join"));
    }
    if is_own_address(call, call.name) {
        return Ok(Answer::Reply(Reply::empty()));
    }
    let text = format!(
        "Error joining {}: agents do not join each other; this one is a registry of its own",
        call.name
    );
    Err(Reply::text(StatusCode::INTERNAL_SERVER_ERROR, text))
}

/// True for this agent's address, name or loopback, with or without a port.
fn is_own_address(call: &Call<'_>, text: &str) -> bool {
    let agent = call.agent();
    let is_own = |host: &str| {
        let is_loopback = host.parse::<IpAddr>().is_ok_and(|it| it.is_loopback());
        let names = [agent.address.as_str(), agent.node_name.as_str(), "localhost"];
        is_loopback || names.iter().any(|it| it.eq_ignore_ascii_case(host))
    };
    let host = text.rsplit_once(':').map_or(text, |it| it.0);
    is_own(text) || is_own(host.trim_matches(['[', ']']))
}

/// `PUT /v1/agent/force-leave/:node`: a node that is gone for good is deregistered, with all that is on it. This agent
/// itself is alive, and stays.
pub(super) fn force_leave(call: &Call<'_>) -> Outcome {
    let node = NodeName::from(call.name);
    let own = &call.agent().node_name;
    let name = call.name.strip_suffix(&format!(".{}", call.agent().datacenter));
    let is_own = |name: &str| name.eq_ignore_ascii_case(own.as_str());
    if is_own(call.name) || (call.query.has("wan") && name.is_some_and(is_own)) {
        return Ok(Answer::Reply(Reply::empty()));
    }
    let member = CheckId::from(MEMBER_CHECK);
    let folded = node.folded();
    if call.catalog().node(&folded).is_none() || call.catalog().check(&folded, &member).is_none() {
        let text = format!("agent: No node found with name '{}'", call.name);
        return Err(Reply::text(StatusCode::INTERNAL_SERVER_ERROR, text));
    }
    let command = Command::DeregisterFromCatalog { node, target: CatalogTarget::Node };
    Ok(Answer::Write(command, Door::Agent))
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

/// `GET` and `PUT /v1/snapshot`: 204 when the shell may go on.
pub(super) fn snapshot(call: &Call<'_>) -> Outcome {
    Read::of(call)?;
    Ok(Answer::Reply(Reply::empty().with_status(StatusCode::NO_CONTENT)))
}

/// What the shell answers: 204 when it may go on.
pub(super) fn shell(_: &Call<'_>) -> Outcome {
    Ok(Answer::Reply(Reply::empty().with_status(StatusCode::NO_CONTENT)))
}

/// Levels of the log, by Consul's names.
const LEVELS: [&str; 7] = ["", "TRACE", "DEBUG", "INFO", "WARN", "ERR", "ERROR"];

/// `GET /v1/agent/monitor`: 204 when the shell may go on.
pub(super) fn monitor(call: &Call<'_>) -> Outcome {
    let level = call.query.text("loglevel");
    if !LEVELS.contains(&level.to_uppercase().as_str()) {
        return Err(Reply::text(StatusCode::BAD_REQUEST, format!("Unknown log level: {level}")));
    }
    shell(call)
}
