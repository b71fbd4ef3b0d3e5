//! `/v1/agent/health/service`: the state of the agent's instances as a status code, for load balancers.

use acl::{Access as Right, Resource};
use http::header::ACCEPT;
use http::{HeaderName, HeaderValue, StatusCode};
use model::{Check, Instance, Origin, ServiceId, Stored};
use registry::VerdictState;

use super::agent_check::freshest;
use super::agent_service::{find, of_agent};
use super::response::Reply;
use super::shapes::{self, CheckView};
use super::{Answer, Call, Outcome};
use crate::json::JsonWriter;

const REASON: HeaderName = HeaderName::from_static("x-consul-reason");

/// An instance with its checks and what they amount to.
struct Health<'a> {
    instance: &'a Instance,
    checks: Vec<Check>,
    state: VerdictState,
}

impl<'a> Health<'a> {
    /// Counts what the agent itself checks: the node's checks and the instance's, and what its proxies see.
    fn of(call: &Call<'a>, instance: &'a Stored<Instance>) -> Self {
        let node = call.agent().node_name.folded();
        let of_node = call.catalog().checks_of_instance(&node, &ServiceId::default());
        let own = call.catalog().checks_of_instance(&node, &instance.id);
        let checks: Vec<Check> = of_node
            .chain(own)
            .filter(|check| check.origin == Origin::Agent || check.is_sightings())
            .map(|check| freshest(call.context, check).into_owned())
            .collect();
        let state = registry::aggregate(&checks);
        Self { instance: &instance.value, checks, state }
    }

    fn status(&self) -> StatusCode {
        match self.state {
            VerdictState::Passing => StatusCode::OK,
            VerdictState::Warning => StatusCode::TOO_MANY_REQUESTS,
            VerdictState::Critical | VerdictState::Maintenance => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn write(&self, w: &mut JsonWriter, datacenter: &str) {
        w.object(|w| {
            w.string_field("AggregatedStatus", self.state.as_str());
            w.key("Service");
            shapes::agent_service(w, self.instance, datacenter, None);
            w.key("Checks");
            w.array(|w| {
                for check in &self.checks {
                    let is_own = check.service_id == self.instance.id;
                    let view = CheckView::local(check, is_own.then_some(self.instance));
                    shapes::agent_health_check(w, &view);
                }
            });
        });
    }
}

/// `GET /v1/agent/health/service/id/:id`
pub(super) fn by_id(call: &Call<'_>) -> Outcome {
    call.refuse_tenancy()?;
    if call.name.is_empty() {
        return Err(Reply::text(StatusCode::INTERNAL_SERVER_ERROR, "Missing serviceID"));
    }
    let instance = find(call, &call.name.into());
    if let Some(instance) = instance {
        let service = instance.service.as_str();
        call.access().require(Resource::Service, Right::Read, service)?;
    }
    let health = instance.map(|instance| Health::of(call, instance));
    let reply = match health {
        Some(health) => reply(call, health.status(), health.state.as_str(), |w| {
            health.write(w, &call.agent().datacenter);
        }),
        None => {
            let reason = format!("ServiceId {} not found", call.name);
            reply(call, StatusCode::NOT_FOUND, &reason, |w| {
                w.object(|w| {
                    w.string_field("AggregatedStatus", "critical");
                    w.key("Service");
                    w.null();
                    w.key("Checks");
                    w.null();
                });
            })
        }
    };
    Ok(Answer::Reply(reply))
}

/// `GET /v1/agent/health/service/name/:name`: the worst instance gives the status.
pub(super) fn by_name(call: &Call<'_>) -> Outcome {
    call.refuse_tenancy()?;
    if call.name.is_empty() {
        return Err(Reply::text(StatusCode::INTERNAL_SERVER_ERROR, "Missing service Name"));
    }
    call.access().require(Resource::Service, Right::Read, call.name)?;
    let named = of_agent(call).filter(|it| it.service.as_str() == call.name);
    let healths: Vec<Health<'_>> = named.map(|instance| Health::of(call, instance)).collect();
    // Critical and maintenance have one status code; the first instance that has it gives the word.
    let worst = healths.iter().rev().max_by_key(|health| health.status());
    let (status, reason) = match worst {
        Some(worst) => (worst.status(), worst.state.as_str().to_owned()),
        None => (StatusCode::NOT_FOUND, format!("ServiceName {} Not Found", call.name)),
    };
    let datacenter = &call.agent().datacenter;
    Ok(Answer::Reply(reply(call, status, &reason, |w| {
        w.array(|w| healths.iter().for_each(|health| health.write(w, datacenter)));
    })))
}

fn reply(
    call: &Call<'_>,
    status: StatusCode,
    reason: &str,
    fill: impl FnOnce(&mut JsonWriter),
) -> Reply {
    let reply = if wants_text(call) {
        Reply::text(status, reason).with(http::header::CONTENT_TYPE, "text/plain")
    } else {
        call.json(fill).with_status(status)
    };
    reply.with(REASON, reason)
}

fn wants_text(call: &Call<'_>) -> bool {
    let accept = call.request.headers().get(ACCEPT).map(HeaderValue::as_bytes);
    accept.is_some_and(|it| it.starts_with(b"text/plain")) || call.query.text("format") == "text"
}
