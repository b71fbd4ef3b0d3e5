use std::time::Duration;

use model::{CheckId, ServiceCheckRef, Session, SessionBehavior, SessionId};
use registry::MEMBER_CHECK;
use serde_json::Value;

use super::fields::Fields;
use super::{BadRequest, json};
use crate::AgentInfo;
use model::go;

const LOCK_DELAY_DEFAULT: Duration = Duration::from_secs(15);
const LOCK_DELAY_MAX: Duration = Duration::from_secs(60);
/// Longest time to live.
const TTL_MAX: Duration = Duration::from_hours(24);
/// Numbers below this are seconds, others nanoseconds.
const SECONDS_BELOW: i64 = 1000;

/// Reads the body of `session/create`, which may be missing; the id is the caller's to add. Unknown fields are not looked
/// at: Go's type has a decoder of its own.
pub(in super::super) fn session(body: &[u8], agent: &AgentInfo) -> Result<Session, BadRequest> {
    let value = if body.is_empty() { Value::Null } else { json::read(body)? };
    let mut fields = Fields::root(&value, "Session")?;
    let lock_delay = lock_delay(&mut fields)?.unwrap_or(LOCK_DELAY_DEFAULT).min(LOCK_DELAY_MAX);
    let node = match fields.take("Node") {
        None => agent.node_name.clone(),
        Some(_) => fields.text("Node")?.into(),
    };
    let behavior = match fields.text("Behavior")?.as_str() {
        "" | "release" => SessionBehavior::Release,
        "delete" => SessionBehavior::Delete,
        other => {
            return Err(BadRequest::internal(format!("Invalid Behavior setting '{other}'")));
        }
    };
    let ttl_text = fields.text("TTL")?;
    let ttl = ttl(&ttl_text, agent.settings.session_ttl_min)?;
    let (node_checks, any_checks) = node_checks(&mut fields)?;
    let mut service_checks = Vec::new();
    for mut check in fields.list("ServiceChecks", "ServiceCheck")? {
        let (id, namespace) = (check.text("ID")?.into(), check.text("Namespace")?);
        service_checks.push(ServiceCheckRef { id, namespace });
    }
    Ok(Session {
        id: SessionId::default(),
        name: fields.text("Name")?,
        node,
        lock_delay,
        behavior,
        ttl,
        ttl_text,
        node_checks,
        any_checks,
        service_checks,
    })
}

/// A text is a duration; of numbers, small ones are seconds.
fn lock_delay(fields: &mut Fields<'_>) -> Result<Option<Duration>, BadRequest> {
    let seconds = fields.take("LockDelay").and_then(Value::as_i64);
    match seconds.filter(|it| (1..SECONDS_BELOW).contains(it)) {
        Some(seconds) => Ok(Some(Duration::from_secs(seconds.unsigned_abs()))),
        None => fields.duration_if_given("LockDelay"),
    }
}

fn ttl(text: &str, ttl_min: Duration) -> Result<Duration, BadRequest> {
    if text.is_empty() {
        return Ok(Duration::ZERO);
    }
    let ttl = go::parse_duration(text)
        .map_err(|error| BadRequest::internal(format!("Session TTL '{text}' invalid: {error}")))?;
    if !ttl.is_zero() && !(ttl_min..=TTL_MAX).contains(&ttl) {
        return Err(BadRequest::internal(format!(
            "Invalid Session TTL '{}', must be between [{}={}]",
            ttl.as_nanos(),
            go::format_duration(ttl_min),
            go::format_duration(TTL_MAX)
        )));
    }
    Ok(ttl)
}

/// Checks of the node, and those under the name that clients of old use. An empty list of either means none at all of its
/// own, an empty list under the old name none of the node either.
fn node_checks(fields: &mut Fields<'_>) -> Result<(Vec<CheckId>, Vec<CheckId>), BadRequest> {
    let mut given = |name: &str| -> Result<Option<Vec<CheckId>>, BadRequest> {
        if fields.take(name).is_none() {
            return Ok(None);
        }
        Ok(Some(fields.texts(name)?.into_iter().map(CheckId::from).collect()))
    };
    let (node, any) = (given("NodeChecks")?, given("Checks")?);
    let default = || vec![CheckId::from(MEMBER_CHECK)];
    Ok(match (node, any) {
        (_, Some(any)) if any.is_empty() => (Vec::new(), Vec::new()),
        (Some(node), _) if node.is_empty() => (Vec::new(), Vec::new()),
        (node, any) => (node.unwrap_or_else(default), any.unwrap_or_default()),
    })
}
