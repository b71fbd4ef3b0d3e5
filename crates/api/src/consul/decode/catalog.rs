//! The bodies of `catalog/register` and `catalog/deregister`.

use std::sync::Arc;

use model::{Check, CheckStatus, CheckType, Instance, Node, NodeName, Origin, Revision};
use registry::{CatalogRegistration, CatalogTarget};
use serde_json::Value;

use super::fields::Fields;
use super::proxy::{CONNECT_PROXY, listed, mesh_faults};
use super::service::{DeclaredWeights, read_common, read_locality};
use super::{BadRequest, check, json};
use crate::AgentInfo;

/// Reads the body of `catalog/register`. Only its form is judged; the rest is the registry's.
pub(in super::super) fn catalog_registration(
    body: &[u8],
    agent: &AgentInfo,
) -> Result<CatalogRegistration, BadRequest> {
    let value = json::read(body)?;
    let (registration, place) = read_registration(&value).map_err(reworded)?;
    place.require_ours(agent)?;
    if !place.peer.is_empty() {
        return Err(BadRequest::internal("cannot register requests with PeerName in them"));
    }
    Ok(registration)
}

/// Reads the body of `catalog/deregister`: a service if one is named, else a check, else the whole node.
pub(in super::super) fn catalog_deregistration(
    body: &[u8],
    agent: &AgentInfo,
) -> Result<(NodeName, CatalogTarget), BadRequest> {
    let value = json::read(body)?;
    let (node, target, place) = read_deregistration(&value).map_err(reworded)?;
    place.require_ours(agent)?;
    if !place.peer.is_empty() {
        return Err(BadRequest::unsupported("PeerName"));
    }
    Ok((node, target))
}

/// Where a request wants to act.
struct RequestPlace {
    datacenter: String,
    peer: String,
}

impl RequestPlace {
    fn read(fields: &mut Fields<'_>) -> Result<Self, BadRequest> {
        fields.text("Token")?; // It is for syncing with a server, and there is none.
        Ok(Self { datacenter: fields.text("Datacenter")?, peer: fields.text("PeerName")? })
    }

    /// A service or check may name the peer, too.
    fn read_inner_peer(&mut self, fields: &mut Fields<'_>) -> Result<(), BadRequest> {
        let peer = fields.text("PeerName")?;
        if self.peer.is_empty() {
            self.peer = peer;
        }
        Ok(())
    }

    fn require_ours(&self, agent: &AgentInfo) -> Result<(), BadRequest> {
        if self.datacenter.is_empty() || self.datacenter.eq_ignore_ascii_case(&agent.datacenter) {
            return Ok(());
        }
        Err(BadRequest::internal("No path to datacenter"))
    }
}

/// Adds what Consul's community edition says of fields that only the other one has.
fn reworded(mut error: BadRequest) -> BadRequest {
    if error.text.ends_with("json: unknown field \"Namespace\"") {
        error.text.push_str(" - Namespaces are a Consul Enterprise feature");
    }
    error
}

fn read_registration(value: &Value) -> Result<(CatalogRegistration, RequestPlace), BadRequest> {
    let mut fields = Fields::root(value, "RegisterRequest")?;
    let mut place = RequestPlace::read(&mut fields)?;
    let node = Node {
        id: fields.text("ID")?,
        name: fields.text("Node")?.into(),
        address: fields.text("Address")?,
        tagged_addresses: fields.text_map("TaggedAddresses")?,
        meta: fields.text_map("NodeMeta")?,
        locality: read_locality(&mut fields)?,
    };
    let skip_node_update = fields.flag("SkipNodeUpdate")?;
    let instance = match fields.fields("Service", "NodeService")? {
        Some(service) => Some(read_service(service, &node.name, &mut place)?),
        None => None,
    };
    let mut checks = Vec::new();
    for check in fields.list("Checks", "HealthCheck")? {
        checks.push(read_check(check, &mut place)?);
    }
    if let Some(check) = fields.fields("Check", "HealthCheck")? {
        checks.push(read_check(check, &mut place)?);
    }
    fields.finish()?;
    Ok((CatalogRegistration { node, skip_node_update, instance, checks }, place))
}

/// A node in an operation of a transaction, with the revision that it names.
pub(super) fn txn_node(mut fields: Fields<'_>) -> Result<(Node, Revision), BadRequest> {
    let node = Node {
        id: fields.text("ID")?,
        name: fields.text("Node")?.into(),
        address: fields.text("Address")?,
        tagged_addresses: fields.text_map("TaggedAddresses")?,
        meta: fields.text_map("Meta")?,
        locality: read_locality(&mut fields)?,
    };
    let modified = revision(&mut fields)?;
    fields.skip(&["CreateIndex", "Datacenter", "Partition", "PeerName"]);
    fields.finish()?;
    Ok((node, modified))
}

/// An instance in an operation of a transaction, with the revision that it names.
pub(super) fn txn_service(
    mut fields: Fields<'_>,
    node: &NodeName,
) -> Result<(Instance, Revision), BadRequest> {
    let modified = revision(&mut fields)?;
    // Go's client sends what an agent shows of a service.
    fields.skip(&["ContentHash", "Namespace", "Partition", "Datacenter"]);
    let mut place = RequestPlace { datacenter: String::new(), peer: String::new() };
    let mut instance = read_service(fields, node, &mut place)?;
    if instance.id.is_empty() {
        instance.id = instance.service.as_str().into();
    }
    Ok((instance, modified))
}

/// A check in an operation of a transaction, with the revision that it names.
pub(super) fn txn_check(mut fields: Fields<'_>) -> Result<(Check, Revision), BadRequest> {
    let modified = revision(&mut fields)?;
    fields.skip(&["Namespace", "Partition"]);
    let mut place = RequestPlace { datacenter: String::new(), peer: String::new() };
    let mut check = read_check(fields, &mut place)?;
    if check.id.is_empty() {
        check.id = check.name.as_str().into();
    }
    Ok((check, modified))
}

fn revision(fields: &mut Fields<'_>) -> Result<Revision, BadRequest> {
    Ok(Revision(u64::try_from(fields.integer("ModifyIndex")?).unwrap_or_default()))
}

fn read_service(
    mut fields: Fields<'_>,
    node: &NodeName,
    place: &mut RequestPlace,
) -> Result<Instance, BadRequest> {
    // A sidecar is an agent's affair; here it is read and left.
    let (mut instance, _) = read_common(&mut fields)?;
    instance.node = node.clone();
    instance.origin = Origin::Catalog;
    instance.service = fields.text("Service")?.into();
    // Unlike the agent, the catalog takes the default for weights that make no sense.
    let weights = DeclaredWeights::read(&mut fields)?;
    instance.weights = weights.and_then(|it| it.validated().ok()).unwrap_or_default();
    place.read_inner_peer(&mut fields)?;
    fields.skip(&["CreateIndex", "ModifyIndex"]);
    fields.finish()?;
    let mut faults = mesh_faults(&instance);
    if instance.kind == CONNECT_PROXY && instance.port == 0 && instance.socket_path.is_empty() {
        let text = format!("Port or SocketPath must be set for a {CONNECT_PROXY}");
        faults.insert(0, text);
    }
    match listed(&faults) {
        Some(text) => Err(BadRequest::internal(text)),
        None => Ok(instance),
    }
}

fn read_check(mut fields: Fields<'_>, place: &mut RequestPlace) -> Result<Check, BadRequest> {
    let definition = match fields.fields("Definition", "HealthCheckDefinition")? {
        Some(definition) => check::read_catalog_definition(definition.restarted())?,
        None => None,
    };
    let mut kind = fields.text("Type")?;
    if kind.is_empty() {
        let defined = definition.as_ref().and_then(|it| it.check_type());
        kind = defined.map_or("", CheckType::as_str).to_owned();
    }
    let status = fields.text("Status")?;
    let check = Check {
        node: fields.text("Node")?.into(),
        id: fields.text("CheckID")?.into(),
        name: fields.text("Name")?,
        notes: fields.text("Notes")?,
        output: fields.text("Output")?,
        service_id: fields.text("ServiceID")?.into(),
        kind,
        definition: definition.map(Arc::new),
        origin: Origin::Catalog,
        ..Check::default()
    };
    place.read_inner_peer(&mut fields)?;
    // The service says its name and tags itself; the other ones only tell what an agent does.
    fields.skip(&["ServiceName", "ServiceTags", "Interval", "Timeout", "ExposedPort"]);
    fields.skip(&["CreateIndex", "ModifyIndex"]);
    fields.finish()?;
    let status = match status.as_str() {
        "" => CheckStatus::Critical,
        text => CheckStatus::parse(text).ok_or_else(|| BadRequest::new("Bad check status"))?,
    };
    Ok(Check { status, ..check })
}

fn read_deregistration(
    value: &Value,
) -> Result<(NodeName, CatalogTarget, RequestPlace), BadRequest> {
    let mut fields = Fields::root(value, "DeregisterRequest")?;
    let place = RequestPlace::read(&mut fields)?;
    let node = fields.text("Node")?;
    let service = fields.text("ServiceID")?;
    let check = fields.text("CheckID")?;
    fields.text("Address")?; // Consul reads it, and does nothing with it.
    fields.finish()?;
    let target = if !service.is_empty() {
        CatalogTarget::Service(service.into())
    } else if !check.is_empty() {
        CatalogTarget::Check(check.into())
    } else {
        CatalogTarget::Node
    };
    Ok((node.into(), target, place))
}
