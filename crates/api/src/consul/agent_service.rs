//! `/v1/agent/services` and `/v1/agent/service`: the instances that are registered with this agent.

use acl::{Access as Right, Resource};
use http::{HeaderName, StatusCode};
use model::{Folded, Instance, Origin, ServiceId, Stored, WatchKey};
use registry::Command;

use super::agent::set_maintenance;
use super::content_hash::content_hash;
use super::params::parse_wait;
use super::response::Reply;
use super::write::Door;
use super::{Answer, Call, Outcome, decode, shapes};
use filter::{AGENT_SERVICE, NodeServiceRow};

const CONTENT_HASH: HeaderName = HeaderName::from_static("x-consul-contenthash");

/// The agent's instances, by id.
pub(super) fn of_agent<'a>(
    call: &Call<'a>,
) -> impl Iterator<Item = &'a Stored<Instance>> + use<'a> {
    let node = call.agent().node_name.folded();
    let instances = call.catalog().instances_of_node(&node);
    instances.map(|it| &**it).filter(|it| it.origin == Origin::Agent)
}

/// One of the agent's instances.
pub(super) fn find<'a>(call: &Call<'a>, id: &ServiceId) -> Option<&'a Stored<Instance>> {
    let node = call.agent().node_name.folded();
    let instance = call.catalog().instance(&node, id).map(|it| &**it);
    instance.filter(|it| it.origin == Origin::Agent)
}

/// `GET /v1/agent/services`
pub(super) fn list(call: &Call<'_>) -> Outcome {
    call.refuse_tenancy()?;
    let filter = call.filter(&AGENT_SERVICE)?;
    Ok(Answer::Reply(call.json(|w| {
        w.object(|w| {
            for instance in of_agent(call) {
                let sees = call.access().sees_service(instance.service.as_str());
                if sees && filter.matches(&NodeServiceRow { instance }) {
                    w.map_key(instance.id.as_str());
                    shapes::agent_service(w, instance, &call.agent().datacenter, None);
                }
            }
        });
    })))
}

/// `GET /v1/agent/service/:id`: blocks on the hash of the definition rather than on an index.
pub(super) fn one(call: &Call<'_>) -> Outcome {
    call.refuse_tenancy()?;
    let wait = parse_wait(call.query, &call.agent().settings)?;
    let id = ServiceId::from(call.name);
    let Some(instance) = find(call, &id) else {
        let text = format!("unknown service ID: {id}");
        return Err(Reply::text(StatusCode::NOT_FOUND, text));
    };
    let service = instance.service.as_str();
    call.access().require(Resource::Service, Right::Read, service)?;
    let hash = content_hash(instance);
    if call.query.text("hash") == hash && !call.timed_out {
        let node: Folded = call.agent().node_name.folded();
        return Ok(Answer::Wait(vec![WatchKey::Instance(node, id)], wait));
    }
    let datacenter = &call.agent().datacenter;
    let reply = call.json(|w| shapes::agent_service(w, instance, datacenter, Some(&hash)));
    Ok(Answer::Reply(reply.with(CONTENT_HASH, &hash)))
}

/// `PUT /v1/agent/service/register`
pub(super) fn register(call: &Call<'_>) -> Outcome {
    call.refuse_tenancy()?;
    let mut registration = decode::service_registration(call.request.body(), call.agent())?;
    registration.replace_existing_checks =
        matches!(call.query.first("replace-existing-checks"), Some("" | "true"));
    Ok(Answer::Write(Command::RegisterService(registration), Door::Agent))
}

/// `PUT /v1/agent/service/deregister/:id`
pub(super) fn deregister(call: &Call<'_>) -> Outcome {
    call.refuse_tenancy()?;
    let command = Command::DeregisterService {
        node: call.agent().node_name.clone(),
        id: ServiceId::from(call.name),
    };
    Ok(Answer::Write(command, Door::Agent))
}

/// `PUT /v1/agent/service/maintenance/:id`
pub(super) fn maintenance(call: &Call<'_>) -> Outcome {
    call.refuse_tenancy()?;
    if call.name.is_empty() {
        return Err(Reply::text(StatusCode::BAD_REQUEST, "Missing service ID"));
    }
    set_maintenance(call, Some(ServiceId::from(call.name)))
}
