//! Services: the body of `agent/service/register`, and what it shares with `catalog/register`.

use std::net::IpAddr;

use model::go::quote;
use model::{Check, FlatMap, Instance, Locality, Origin, ServiceAddress, Weights};
use registry::ServiceRegistration;
use serde_json::Value;

use super::check::DeclaredCheck;
use super::fields::Fields;
use super::{BadRequest, json};
use crate::AgentInfo;

const META_PAIRS_MAX: usize = 64;
const META_KEY_BYTES_MAX: usize = 128;
const META_VALUE_BYTES_MAX: usize = 512;
const META_RESERVED_PREFIX: &str = "consul-";

/// Reads the body of `agent/service/register`. `replace_existing_checks` comes by the query, so it is false here.
pub(in super::super) fn service_registration(
    body: &[u8],
    agent: &AgentInfo,
) -> Result<ServiceRegistration, BadRequest> {
    let value = json::read(body)?;
    let declared = DeclaredService::read(Fields::root(&value, "ServiceDefinition")?)?;
    declared.validate()?;
    for check in &declared.checks {
        check.validate()?;
    }
    if !declared.checks.iter().all(DeclaredCheck::has_valid_status) {
        return Err(BadRequest::new("Status for checks must 'passing', 'warning', 'critical'"));
    }
    validate_tagged_addresses(&declared.instance.tagged_addresses)?;
    for check in &declared.checks {
        check.require_runnable(agent)?;
    }
    Ok(declared.into_registration(agent))
}

/// A service as a client declares it to the agent, not yet judged.
struct DeclaredService {
    instance: Instance,
    weights: Option<DeclaredWeights>,
    checks: Vec<DeclaredCheck>,
    unsupported: Unsupported,
}

impl DeclaredService {
    fn read(mut fields: Fields<'_>) -> Result<Self, BadRequest> {
        let (mut instance, unsupported) = read_common(&mut fields)?;
        instance.service = fields.text("Name")?.into();
        instance.enable_tag_override |= fields.flag("enable_tag_override")?;
        let tagged_addresses = read_tagged_addresses(&mut fields, "tagged_addresses")?;
        if instance.tagged_addresses.is_empty() {
            instance.tagged_addresses = tagged_addresses;
        }
        let weights = DeclaredWeights::read(&mut fields)?;
        fields.text("Token")?; // There are no ACLs that it could be for.
        let mut checks = Vec::new();
        // Like Go's own decoders of checks, which know nothing of the service around them.
        if let Some(check) = fields.fields("Check", "CheckType")? {
            checks.push(DeclaredCheck::read_embedded(check.restarted())?);
            checks.retain(|check| !check.is_empty());
        }
        for check in fields.list("Checks", "CheckType")? {
            checks.push(DeclaredCheck::read_embedded(check.restarted())?);
        }
        fields.finish()?;
        Ok(Self { instance, weights, checks, unsupported })
    }

    fn validate(&self) -> Result<(), BadRequest> {
        if self.instance.service.is_empty() {
            return Err(BadRequest::new("Missing service name"));
        }
        if matches!(&*self.instance.address, "0.0.0.0" | "::" | "[::]") {
            return Err(BadRequest::new("Invalid service address"));
        }
        if let Some(Err(reason)) = self.weights.map(DeclaredWeights::validated) {
            return Err(BadRequest::new(format!("Invalid Weights: {reason}")));
        }
        if let Some(meta) = &self.instance.meta {
            validate_meta(meta)
                .map_err(|text| BadRequest::new(format!("Invalid Service Meta: {text}")))?;
        }
        self.unsupported.refuse()
    }

    /// What was declared, with Consul's defaults filled in. Everything must be valid.
    fn into_registration(self, agent: &AgentInfo) -> ServiceRegistration {
        let mut instance = self.instance;
        instance.node = agent.node_name.clone();
        instance.origin = Origin::Agent;
        if instance.id.is_empty() {
            instance.id = instance.service.as_str().into();
        }
        instance.weights = self.weights.and_then(|it| it.validated().ok()).unwrap_or_default();
        instance.tagged_addresses = with_default_addresses(&instance);
        let count = self.checks.len();
        let checks = self.checks.into_iter().enumerate().map(|(idx, check)| {
            let number = (count > 1).then_some(idx + 1);
            embedded_check(check, number, &instance, agent)
        });
        let checks = checks.collect();
        ServiceRegistration { instance, checks, replace_existing_checks: false }
    }
}

/// A check of `instance`; `number` is its place when there are several.
fn embedded_check(
    mut check: DeclaredCheck,
    number: Option<usize>,
    instance: &Instance,
    agent: &AgentInfo,
) -> Check {
    let id = match (check.id.is_empty(), number) {
        (false, _) => check.id.clone(),
        (true, None) => format!("service:{}", instance.id),
        (true, Some(number)) => format!("service:{}:{number}", instance.id),
    };
    if check.name.is_empty() {
        check.name = format!("Service '{}' check", instance.service);
    }
    check.service_id = instance.id.to_string();
    check.into_check(id, agent)
}

/// Reads the fields that a service has under the same name in both doors, weights aside.
pub(super) fn read_common(fields: &mut Fields<'_>) -> Result<(Instance, Unsupported), BadRequest> {
    let (connect_native, has_sidecar) = read_connect(fields)?;
    let has_proxy = fields.take("Proxy").is_some_and(|proxy| !is_hollow(proxy));
    let kind = fields.text("Kind")?;
    let instance = Instance {
        id: fields.text("ID")?.into(),
        kind: kind.clone(),
        tags: fields.texts("Tags")?,
        address: fields.text("Address")?,
        tagged_addresses: read_tagged_addresses(fields, "TaggedAddresses")?,
        meta: fields.text_map("Meta")?,
        port: fields.port("Port")?,
        socket_path: fields.text("SocketPath")?,
        enable_tag_override: fields.flag("EnableTagOverride")?,
        connect_native,
        locality: read_locality(fields)?,
        ..Instance::default()
    };
    let kind = Some(kind).filter(|it| !matches!(it.as_str(), "" | "typical"));
    Ok((instance, Unsupported { kind, has_proxy, has_sidecar }))
}

/// What of Consul's services a later version will have.
pub(super) struct Unsupported {
    /// Sidecars and gateways: instances that need a proxy to be what they say.
    kind: Option<String>,
    has_proxy: bool,
    has_sidecar: bool,
}

impl Unsupported {
    /// Refuses it.
    pub(super) fn refuse(&self) -> Result<(), BadRequest> {
        if let Some(kind) = &self.kind {
            return Err(BadRequest::unsupported(&format!("Kind {} of a service", quote(kind))));
        }
        if self.has_proxy {
            return Err(BadRequest::unsupported("Proxy of a service"));
        }
        if self.has_sidecar {
            return Err(BadRequest::unsupported("Connect.SidecarService of a service"));
        }
        Ok(())
    }
}

/// Reads `Connect`, in which Consul ignores what it does not know: whether the service is native, and whether it
/// asks for a sidecar (an empty object does).
fn read_connect(fields: &mut Fields<'_>) -> Result<(bool, bool), BadRequest> {
    let Some(connect) = fields.fields("Connect", "ServiceConnect")? else {
        return Ok((false, false));
    };
    let mut connect = connect.restarted();
    let sidecar = connect.take("SidecarService").or(connect.take("sidecar_service"));
    Ok((connect.flag("Native")?, sidecar.is_some()))
}

pub(super) fn read_locality(fields: &mut Fields<'_>) -> Result<Option<Locality>, BadRequest> {
    let Some(mut fields) = fields.fields("Locality", "Locality")? else { return Ok(None) };
    let locality = Locality { region: fields.text("Region")?, zone: fields.text("Zone")? };
    fields.finish()?;
    Ok(Some(locality))
}

fn read_tagged_addresses(
    fields: &mut Fields<'_>,
    name: &str,
) -> Result<FlatMap<ServiceAddress>, BadRequest> {
    let mut addresses = Vec::new();
    for (tag, mut fields) in fields.map(name, "ServiceAddress")? {
        let address = fields.text("Address")?;
        addresses.push((tag, ServiceAddress { address, port: fields.port("Port")? }));
        fields.finish()?;
    }
    Ok(addresses.into_iter().collect())
}

/// Weights as they are given, of any size.
#[derive(Clone, Copy)]
pub(super) struct DeclaredWeights {
    passing: i64,
    warning: i64,
}

impl DeclaredWeights {
    /// Reads `Weights`, if they are given.
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Option<Self>, BadRequest> {
        let Some(mut fields) = fields.fields("Weights", "Weights")? else { return Ok(None) };
        let weights =
            Self { passing: fields.integer("Passing")?, warning: fields.integer("Warning")? };
        fields.finish()?;
        Ok(Some(weights))
    }

    /// The weights, or what is wrong with them in Consul's words.
    pub(super) fn validated(self) -> Result<Weights, &'static str> {
        if self.passing < 1 {
            return Err("Passing must be greater than 0");
        }
        if self.warning < 0 {
            return Err("Warning must be greater or equal than 0");
        }
        match (u16::try_from(self.passing), u16::try_from(self.warning)) {
            (Ok(passing), Ok(warning)) => Ok(Weights { passing, warning }),
            _ => Err("DNS Weight must be between 0 and 65535"),
        }
    }
}

/// True for a value that says nothing: clients write back the `"Proxy":{"Mode":"","MeshGateway":{}}` that they read.
fn is_hollow(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(is_hollow),
        Value::Object(object) => object.values().all(is_hollow),
    }
}

fn validate_meta(meta: &FlatMap<String>) -> Result<(), String> {
    if meta.len() > META_PAIRS_MAX {
        return Err(format!(
            "Node metadata cannot contain more than {META_PAIRS_MAX} key/value pairs"
        ));
    }
    for (key, value) in meta.iter() {
        validate_meta_pair(key, value).map_err(|reason| {
            format!("Couldn't load metadata pair ('{key}', '{value}'): {reason}")
        })?;
    }
    Ok(())
}

fn validate_meta_pair(key: &str, value: &str) -> Result<(), String> {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if key.is_empty() {
        return Err("Key cannot be blank".to_owned());
    }
    if !key.bytes().all(is_allowed) {
        return Err("Key contains invalid characters".to_owned());
    }
    if key.len() > META_KEY_BYTES_MAX {
        return Err(format!("Key is too long (limit: {META_KEY_BYTES_MAX} characters)"));
    }
    if key.starts_with(META_RESERVED_PREFIX) {
        return Err(format!("Key prefix '{META_RESERVED_PREFIX}' is reserved for internal use"));
    }
    if value.len() > META_VALUE_BYTES_MAX {
        return Err(format!("Value is too long (limit: {META_VALUE_BYTES_MAX} characters)"));
    }
    Ok(())
}

/// Consul finds this out only after it has accepted the request, so it is a 500.
fn validate_tagged_addresses(addresses: &FlatMap<ServiceAddress>) -> Result<(), BadRequest> {
    for (tag, address) in addresses.iter() {
        let ip: Option<IpAddr> = address.address.parse().ok();
        let (is_valid, version) = match tag {
            "lan_ipv4" | "wan_ipv4" => (ip.is_some_and(|ip| ip.is_ipv4()), "ipv4"),
            "lan_ipv6" | "wan_ipv6" => (ip.is_some_and(|ip| ip.is_ipv6()), "ipv6"),
            _ => continue,
        };
        if !is_valid {
            return Err(BadRequest::internal(format!(
                "Service tagged address {tag:?} must be a valid {version} address"
            )));
        }
    }
    Ok(())
}

/// The tagged addresses, and those that the service's own address implies when it is an IP address.
fn with_default_addresses(instance: &Instance) -> FlatMap<ServiceAddress> {
    let defaults: &[&str] = match instance.address.parse() {
        Ok(IpAddr::V4(_)) => &["lan_ipv4", "wan_ipv4"],
        Ok(IpAddr::V6(_)) => &["lan_ipv6", "wan_ipv6"],
        Err(_) => &[],
    };
    let own = ServiceAddress { address: instance.address.clone(), port: instance.port };
    let implied = defaults.iter().map(|tag| (*tag, own.clone()));
    // Of two with the same tag the later stays: the one that was given.
    let given = instance.tagged_addresses.iter().map(|(tag, address)| (tag, address.clone()));
    implied.chain(given).collect()
}
