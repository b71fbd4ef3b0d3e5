use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use model::{
    Check, CheckDefinition, CheckType, Folded, Instance, Object, ObjectKey, Origin, ServiceId,
};

use super::draft::Draft;
use super::names::{check_instance, check_name};
use crate::{Rejection, ServiceRegistration, SidecarPorts, SidecarRegistration};

/// How often it is looked whether something listens at a sidecar's port: Consul's.
const LISTENING_INTERVAL: Duration = Duration::from_secs(10);

impl Draft<'_> {
    pub(super) fn register_sidecar(
        &mut self,
        node: &Folded,
        it: &SidecarRegistration,
        with: &ServiceRegistration,
    ) -> Result<(), Rejection> {
        let instance = check_instance(it.instance.clone())?;
        let instance = self.with_port(node, instance, with.sidecar_ports)?;
        let checks = if it.checks.is_empty() { usual_checks(&instance) } else { it.checks.clone() };
        if with.replace_existing_checks {
            self.drop_other_checks(node, &instance.id, &checks);
        }
        let id = instance.id.clone();
        self.put(Object::Instance(instance));
        for check in checks {
            check_name("check ID", check.id.as_str())?;
            self.put_agent_check(Check { service_id: id.clone(), ..check });
        }
        Ok(())
    }

    /// The proxy that was registered with an instance goes with it.
    pub(super) fn delete_sidecar(&mut self, node: &Folded, of: &ServiceId) {
        let id = ServiceId::from(format!("{of}-sidecar-proxy"));
        self.depend_on(&ObjectKey::Instance(node.clone(), id.clone()));
        if self.catalog.instance(node, &id).is_some_and(|it| it.sidecar_of == *of) {
            self.delete_instance(node, &id);
        }
    }

    /// A proxy that says neither port nor socket gets a port: the one that it has, or the lowest that no instance of the
    /// agent has.
    pub(super) fn with_port(
        &mut self,
        node: &Folded,
        mut instance: Instance,
        ports: SidecarPorts,
    ) -> Result<Instance, Rejection> {
        let needs = instance.kind == "connect-proxy"
            && instance.port == 0
            && instance.socket_path.is_empty();
        if !needs {
            return Ok(instance);
        }
        let SidecarPorts { first, last } = ports;
        let ports = first..=last;
        if ports.is_empty() {
            return Err(Rejection::SidecarPortsOff);
        }
        // Who adds another instance at the same time may choose the same; one that is there keeps its port.
        self.depend_on_all(ObjectKey::instances_prefix(node));
        let catalog = self.catalog;
        let before = catalog.instance(node, &instance.id).map(|it| it.port);
        let mut taken = BTreeSet::new();
        for other in catalog.instances_of_node(node).filter(|it| ports.contains(&it.port)) {
            if other.id != instance.id && other.origin == Origin::Agent {
                taken.insert(other.port);
            }
        }
        let kept = before.filter(|it| ports.contains(it));
        let free = || ports.clone().find(|it| !taken.contains(it));
        let port = kept.or_else(free).ok_or(Rejection::SidecarPortsTaken { first, last })?;
        instance.port = port;
        // Those that its own address made have its port.
        let addresses = instance.tagged_addresses.iter().map(|(role, address)| {
            let mut address = address.clone();
            if address.port == 0 && address.address == instance.address {
                address.port = port;
            }
            (role, address)
        });
        instance.tagged_addresses = addresses.collect();
        Ok(instance)
    }
}

/// That something listens at the port of a sidecar, and that what it is in front of is well.
fn usual_checks(sidecar: &Instance) -> Vec<Check> {
    let local = sidecar.proxy.as_ref().and_then(|it| it.get("LocalServiceAddress")?.as_str());
    let address = match sidecar.address.as_str() {
        "" => local.unwrap_or("127.0.0.1"),
        address => address,
    };
    let tcp = match address.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]:{}", sidecar.port),
        Err(_) => format!("{address}:{}", sidecar.port),
    };
    let of = &sidecar.sidecar_of;
    let check = |number: u8, name: String, kind: CheckType, definition: CheckDefinition| Check {
        node: sidecar.node.clone(),
        id: format!("service:{}:{number}", sidecar.id).into(),
        name,
        service_id: sidecar.id.clone(),
        kind: kind.as_str().to_owned(),
        definition: Some(Arc::new(definition)),
        origin: Origin::Agent,
        ..Check::default()
    };
    let listening =
        CheckDefinition { tcp, interval: LISTENING_INTERVAL, ..CheckDefinition::default() };
    let alias = CheckDefinition { alias_service: of.to_string(), ..CheckDefinition::default() };
    vec![
        check(1, "Connect Sidecar Listening".to_owned(), CheckType::Tcp, listening),
        check(2, format!("Connect Sidecar Aliasing {of}"), CheckType::Alias, alias),
    ]
}
