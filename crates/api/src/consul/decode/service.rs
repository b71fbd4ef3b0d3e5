//! Services: the body of `agent/service/register`, and what it shares with `catalog/register`.

use std::net::IpAddr;

use model::{Check, FlatMap, Instance, Locality, Origin, ServiceAddress, Weights};
use registry::{ServiceRegistration, SidecarRegistration};

use super::check::DeclaredCheck;
use super::fields::Fields;
use super::proxy::{CONNECT_PROXY, listed, mesh_faults, read_kind, read_proxy};
use super::{BadRequest, json, sidecar};
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
    if let Some(sidecar) = &declared.sidecar {
        sidecar.validate_as_sidecar()?;
    }
    validate_tagged_addresses(&declared.instance.tagged_addresses)?;
    let of_sidecar = declared.sidecar.iter().flat_map(|it| &it.checks);
    for check in declared.checks.iter().chain(of_sidecar) {
        check.require_runnable(agent)?;
    }
    declared.into_registration(agent)
}

/// A service as a client declares it to the agent, not yet judged.
struct DeclaredService {
    instance: Instance,
    weights: Option<DeclaredWeights>,
    checks: Vec<DeclaredCheck>,
    /// The proxy that is to be registered with it.
    sidecar: Option<Box<DeclaredService>>,
}

impl DeclaredService {
    fn read(mut fields: Fields<'_>) -> Result<Self, BadRequest> {
        let declared = Self::read_open(&mut fields)?;
        fields.finish()?;
        Ok(declared)
    }

    /// Leaves fields that there are not to who called.
    fn read_open(fields: &mut Fields<'_>) -> Result<Self, BadRequest> {
        let (mut instance, sidecar) = read_common(fields)?;
        instance.service = fields.text("Name")?.into();
        instance.enable_tag_override |= fields.flag("enable_tag_override")?;
        let tagged_addresses = read_tagged_addresses(fields, "tagged_addresses")?;
        if instance.tagged_addresses.is_empty() {
            instance.tagged_addresses = tagged_addresses;
        }
        let weights = DeclaredWeights::read(fields)?;
        fields.text("Token")?; // It is for syncing with a server, and there is none.
        let mut checks = Vec::new();
        // Like Go's own decoders of checks, which know nothing of the service around them.
        if let Some(check) = fields.fields("Check", "CheckType")? {
            checks.push(DeclaredCheck::read_embedded(check.restarted())?);
            checks.retain(|check| !check.is_empty());
        }
        for check in fields.list("Checks", "CheckType")? {
            checks.push(DeclaredCheck::read_embedded(check.restarted())?);
        }
        let sidecar = match sidecar {
            // Like Go's own decoder of `Connect`, which ignores what it does not know.
            Some(mut sidecar) => Some(Box::new(Self::read_open(&mut sidecar)?)),
            None => None,
        };
        Ok(Self { instance, weights, checks, sidecar })
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
        let mut faults = mesh_faults(&self.instance);
        if let Some(sidecar) = &self.sidecar {
            if !self.instance.is_typical() && self.instance.kind != CONNECT_PROXY {
                let kind = &self.instance.kind;
                faults.push(format!("A {kind} cannot have a sidecar service defined"));
            }
            if !sidecar.instance.id.is_empty() {
                let text = "A SidecarService cannot specify an ID as this is managed by the agent";
                faults.push(text.to_owned());
            }
            if sidecar.sidecar.is_some() {
                faults.push("A SidecarService cannot have a nested SidecarService".to_owned());
            }
        }
        match listed(&faults) {
            Some(text) => Err(BadRequest::new(format!("Validation failed: {text}"))),
            None => Ok(()),
        }
    }

    /// What of a sidecar can be judged without its service.
    fn validate_as_sidecar(&self) -> Result<(), BadRequest> {
        for check in &self.checks {
            check.validate().map_err(|bad| {
                let reason = bad.text.trim_start_matches("Invalid check: ").to_owned();
                BadRequest::new(format!("Invalid check in sidecar_service: {reason}"))
            })?;
        }
        if !self.checks.iter().all(DeclaredCheck::has_valid_status) {
            return Err(BadRequest::new("Status for checks must 'passing', 'warning', 'critical'"));
        }
        let meta = self.instance.meta.as_ref().map_or(Ok(()), validate_meta);
        meta.map_err(|text| BadRequest::new(format!("Invalid SidecarService: {text}")))?;
        if let Some(Err(reason)) = self.weights.map(DeclaredWeights::validated) {
            return Err(BadRequest::new(format!("Invalid SidecarService: {reason}")));
        }
        validate_tagged_addresses(&self.instance.tagged_addresses)
    }

    /// What was declared, with Consul's defaults filled in. Everything must be valid but what a sidecar has from its
    /// service.
    fn into_registration(self, agent: &AgentInfo) -> Result<ServiceRegistration, BadRequest> {
        let mut instance = self.instance;
        instance.node = agent.node_name.clone();
        instance.origin = Origin::Agent;
        if instance.id.is_empty() {
            instance.id = instance.service.as_str().into();
        }
        instance.weights = self.weights.and_then(|it| it.validated().ok()).unwrap_or_default();
        instance.tagged_addresses = with_default_addresses(&instance);
        let checks = embedded_checks(self.checks, &instance, agent);
        let sidecar = match self.sidecar {
            Some(it) => Some(Box::new(it.into_sidecar(&instance, agent)?)),
            None => None,
        };
        Ok(ServiceRegistration {
            instance,
            checks,
            sidecar,
            sidecar_ports: agent.settings.sidecar_ports,
            replace_existing_checks: false,
        })
    }

    fn into_sidecar(
        self,
        of: &Instance,
        agent: &AgentInfo,
    ) -> Result<SidecarRegistration, BadRequest> {
        let mut instance = sidecar::completed(self.instance, of);
        instance.weights = self.weights.and_then(|it| it.validated().ok()).unwrap_or_default();
        instance.tagged_addresses = with_default_addresses(&instance);
        if let Some(text) = listed(&mesh_faults(&instance)) {
            return Err(BadRequest::new(format!("Failed Validation: {text}")));
        }
        let checks = embedded_checks(self.checks, &instance, agent);
        Ok(SidecarRegistration { instance, checks })
    }
}

/// Checks of `instance`, each with its place when there are several.
fn embedded_checks(
    checks: Vec<DeclaredCheck>,
    instance: &Instance,
    agent: &AgentInfo,
) -> Vec<Check> {
    let count = checks.len();
    let checks = checks.into_iter().enumerate().map(|(idx, check)| {
        let number = (count > 1).then_some(idx + 1);
        embedded_check(check, number, instance, agent)
    });
    checks.collect()
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

/// Reads the fields that a service has under the same name in both doors, weights aside, and gives those of the sidecar
/// that is to be registered with it.
pub(super) fn read_common<'a>(
    fields: &mut Fields<'a>,
) -> Result<(Instance, Option<Fields<'a>>), BadRequest> {
    let (connect_native, sidecar) = read_connect(fields)?;
    let kind = read_kind(fields)?;
    let proxy = read_proxy(fields, &kind)?;
    let instance = Instance {
        id: fields.text("ID")?.into(),
        kind,
        tags: fields.texts("Tags")?,
        address: fields.text("Address")?,
        tagged_addresses: read_tagged_addresses(fields, "TaggedAddresses")?,
        meta: fields.text_map("Meta")?,
        port: fields.port("Port")?,
        socket_path: fields.text("SocketPath")?,
        enable_tag_override: fields.flag("EnableTagOverride")?,
        connect_native,
        proxy,
        locality: read_locality(fields)?,
        ..Instance::default()
    };
    Ok((instance, sidecar))
}

/// Reads `Connect`, in which Consul ignores what it does not know: whether the service is native, and the sidecar that it
/// asks for (an empty object does).
fn read_connect<'a>(fields: &mut Fields<'a>) -> Result<(bool, Option<Fields<'a>>), BadRequest> {
    let Some(connect) = fields.fields("Connect", "ServiceConnect")? else {
        return Ok((false, None));
    };
    let mut connect = connect.restarted();
    let mut sidecar = connect.fields("SidecarService", "ServiceDefinition")?;
    let alias = connect.fields("sidecar_service", "ServiceDefinition")?;
    if sidecar.is_none() {
        sidecar = alias;
    }
    Ok((connect.flag("Native")?, sidecar.map(Fields::restarted)))
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
