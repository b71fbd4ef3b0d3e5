//! The bodies of the endpoints of configuration entries, chains and intentions.

use std::net::Ipv4Addr;

use config_entries::{Overrides, intentions, read};
use model::ConfigEntry;
use serde_json::{Map, Value};

use super::fields::Fields;
use super::{BadRequest, json};

/// What Consul says before the reason at these endpoints; at others it is `Request decode failed`.
const DECODING: &str = "Request decoding failed: ";

/// Reads the body of `PUT /v1/config`.
pub(in super::super) fn config_entry(body: &[u8]) -> Result<ConfigEntry, BadRequest> {
    let value = json::read(body).map_err(renamed)?;
    read(&value).map_err(|error| BadRequest::new(format!("{DECODING}{error}")))
}

fn renamed(mut error: BadRequest) -> BadRequest {
    if let Some(reason) = error.text.strip_prefix("Request decode failed: ") {
        error.text = format!("{DECODING}{reason}");
    }
    error
}

/// Reads the body of `POST /v1/discovery-chain/:service`.
pub(in super::super) fn overrides(body: &[u8]) -> Result<Overrides, BadRequest> {
    let value = json::read(body).map_err(renamed)?;
    let overrides = read_overrides(&value).map_err(renamed)?;
    if !matches!(overrides.mesh_gateway.as_str(), "" | "none" | "local" | "remote") {
        return Err(BadRequest::new("Invalid OverrideMeshGateway.Mode parameter"));
    }
    Ok(overrides)
}

fn read_overrides(value: &Value) -> Result<Overrides, BadRequest> {
    let mut fields = Fields::root(value, "discoveryChainReadRequest")?;
    let timeout = fields.duration("OverrideConnectTimeout")?;
    let mesh_gateway = match fields.fields("OverrideMeshGateway", "MeshGatewayConfig")? {
        Some(mut gateway) => gateway.text("Mode")?,
        None => String::new(),
    };
    let protocol = fields.text("OverrideProtocol")?;
    fields.finish()?;
    let connect_timeout = i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX);
    Ok(Overrides { mesh_gateway, protocol, connect_timeout })
}

/// Reads the body of a write of one intention.
pub(in super::super) fn intention(body: &[u8]) -> Result<Map<String, Value>, BadRequest> {
    let value = json::read(body)?;
    intentions::read_intention(&value).map_err(BadRequest::undecodable)
}

/// Reads the body of `agent/connect/authorize`: who is called, and the URI of the caller's certificate.
pub(in super::super) fn connect_authorization(body: &[u8]) -> Result<(String, String), BadRequest> {
    let value = json::read(body)?;
    let mut fields = Fields::root(&value, "ConnectAuthorizeRequest")?;
    let target = fields.text("Target")?;
    let uri = fields.text("ClientCertURI")?;
    fields.text("ClientCertSerial")?; // Certificates are not taken back, so nothing is asked about it.
    fields.finish()?;
    Ok((target, uri))
}

/// Reads the body of `PUT /v1/internal/service-virtual-ip`: the service, and the addresses that are to stand for it.
pub(in super::super) fn virtual_addresses(
    body: &[u8],
) -> Result<(String, Vec<Ipv4Addr>), BadRequest> {
    let value = json::read(body)?;
    let mut fields = Fields::root(&value, "AssignServiceManualVIPsRequest")?;
    let service = fields.text("Service")?;
    let texts = fields.texts("ManualVIPs")?;
    fields.finish()?;
    if service.is_empty() {
        return Err(BadRequest::new("Missing Service: whose addresses they are to be"));
    }
    let mut addresses = Vec::new();
    for text in texts {
        let address = text.parse().map_err(|_| {
            BadRequest::new(format!("Invalid ManualVIPs: \"{text}\" is not an IPv4 address"))
        })?;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok((service, addresses))
}
