mod acl;
mod config_entry;
mod documents;
mod draft;
mod kv;
mod names;
mod record;
mod session;
mod several;
mod sidecar;
mod sightings;
mod virtual_address;

use model::{
    Catalog, Check, CheckId, CheckStatus, Folded, Instance, Node, NodeName, Object, ObjectKey,
    Origin, ServiceId, Timestamp, Txn,
};

pub use self::acl::ACL_BOOTSTRAP;
use self::draft::Draft;
use self::names::{check_instance, check_name, check_node};
pub use self::several::{TxnObject, TxnRead};
use crate::{CatalogRegistration, CatalogTarget, Command, Rejection, ServiceRegistration};

/// Most bytes of a check's output that are kept, as Consul does.
const OUTPUT_BYTES_MAX: usize = 4096;
/// Id of the check by which cluster members say that a node is alive (Consul's name). Sessions depend on it unless they
/// say otherwise.
pub const MEMBER_CHECK: &str = "serfHealth";

/// Turns a command into the transaction that makes it true, or says why it is refused. Pure: the same catalog,
/// command and time give the same answer. `now` is written where a verdict changes.
///
/// The transaction compares every key that it read, and that nothing was added to what it read whole; run `transact` again on a newer catalog when a compare fails.
/// It is empty when the command is true already.
///
/// # Errors
/// The command is malformed or refers to something that does not exist.
pub fn transact(catalog: &Catalog, command: &Command, now: Timestamp) -> Result<Txn, Rejection> {
    decide(catalog, command, now).map(|it| it.txn)
}

/// What a command comes to.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Decision {
    /// What makes it true.
    pub txn: Txn,
    /// What it reads, in order; of commands that read.
    pub read: Vec<TxnRead>,
}

/// [`transact`] for commands that read, too.
///
/// # Errors
/// As of [`transact`].
pub fn decide(catalog: &Catalog, command: &Command, now: Timestamp) -> Result<Decision, Rejection> {
    if let Command::Transact(operations) = command {
        return several::decide(catalog, operations, now);
    }
    let mut draft = Draft::new(catalog, now);
    let mut read = Vec::new();
    match command {
        Command::RegisterInCatalog(registration) => draft.register_in_catalog(registration)?,
        Command::DeregisterFromCatalog { node, target } => {
            draft.deregister_from_catalog(node, target)?;
        }
        Command::RegisterService(registration) => draft.register_service(registration)?,
        Command::DeregisterService { node, id } => draft.deregister_service(node, id)?,
        Command::RegisterCheck(check) => draft.register_check(check)?,
        Command::DeregisterCheck { node, id } => draft.deregister_check(node, id)?,
        Command::SetCheckStatus { node, id, status, output, output_matters } => {
            draft.set_check_status(node, id, *status, output, *output_matters)?;
        }
        Command::SetMaintenance { node, service, reason } => {
            draft.set_maintenance(node, service.as_ref(), reason.as_deref())?;
        }
        Command::SetSightings { node, id, seen } => {
            draft.set_sightings(node, id, seen.as_deref())?;
        }
        Command::ChangeDocuments(change) => draft.change_documents(change)?,
        Command::RestoreDocuments(changes) => draft.restore_documents(changes),
        Command::SetKv { entry, when } => draft.set_kv(entry, when)?,
        Command::DeleteKv { key, when } => draft.delete_kv(key, when)?,
        Command::DeleteKvUnder(prefix) => draft.delete_kv_under(prefix),
        Command::CreateSession(session) => draft.create_session(session)?,
        Command::EndSession(id) => draft.end_session(id),
        Command::RenewSession(id) => draft.renew_session(id)?,
        Command::PutRecord { record, when } => draft.put_record(record, *when)?,
        Command::DeleteRecord { key, when } => draft.delete_record(key, *when)?,
        Command::ChangeIntention(change) => draft.change_intention(change)?,
        Command::AssignVirtualAddresses { service, addresses } => {
            read = draft.assign_virtual_addresses(service, addresses)?;
        }
        Command::FireEvent(event) => draft.fire_event(event),
        Command::PrepareAcl(management) => draft.prepare_acl(management.as_ref()),
        Command::BootstrapAcl { token, reset } => draft.bootstrap_acl(token, *reset)?,
        Command::ExpireToken { accessor, at } => draft.expire_token(accessor, *at),
        Command::Transact(_) => unreachable!("it was decided above"),
    }
    Ok(Decision { txn: draft.into_txn(), read })
}

impl Draft<'_> {
    fn register_in_catalog(&mut self, it: &CatalogRegistration) -> Result<(), Rejection> {
        check_node(&it.node)?;
        if it.node.address.is_empty() && !it.skip_node_update {
            return Err(Rejection::AddressMissing);
        }
        self.register_node(&it.node, it.skip_node_update)?;
        let instance = it.instance.as_ref().map(|it| check_instance(it.clone())).transpose()?;
        if let Some(instance) = instance.clone() {
            let instance = Instance { node: it.node.name.clone(), ..instance };
            self.put(Object::Instance(instance));
        }
        for check in &it.checks {
            self.register_catalog_check(check, &it.node.name, instance.as_ref())?;
        }
        Ok(())
    }

    fn set_node(&mut self, node: &Node) -> Result<(), Rejection> {
        check_node(node)?;
        self.register_node(node, false)
    }

    fn register_node(&mut self, node: &Node, keep_existing: bool) -> Result<(), Rejection> {
        let name = node.name.folded();
        let existing = self.catalog.node(&name);
        self.depend_on(&ObjectKey::Node(name.clone()));
        if keep_existing && existing.is_some() {
            return Ok(());
        }
        let mut node = node.clone();
        if let Some(existing) = existing {
            if node.id.is_empty() {
                node.id = existing.id.clone();
            } else if !existing.id.is_empty()
                && !existing.id.eq_ignore_ascii_case(&node.id)
                && !self.is_dead(&name)
            {
                return Err(Rejection::NodeConflict(format!(
                    "Error while renaming Node ID: \"{}\" ({}): Node name {} is reserved by node {} with name {} ({})",
                    node.id, node.address, node.name, existing.id, existing.name, existing.address
                )));
            }
        }
        // The same id under another name: the node was renamed, and what it had goes with the old name.
        let before = self.catalog.node_by_id(&node.id).map(|it| it.name.folded());
        if before.is_none() && !node.id.is_empty() {
            // Another node may come to have the id at the same time.
            self.depend_on_all("node\0".to_owned());
        }
        if let Some(before) = before.filter(|before| *before != name) {
            self.delete_node(&before);
        }
        self.put(Object::Node(node));
        Ok(())
    }

    fn is_dead(&mut self, node: &Folded) -> bool {
        let id = CheckId::from(MEMBER_CHECK);
        self.depend_on(&ObjectKey::Check(node.clone(), id.clone()));
        let check = self.catalog.check(node, &id);
        check.is_some_and(|check| check.status == CheckStatus::Critical)
    }

    fn register_catalog_check(
        &mut self,
        check: &Check,
        node: &NodeName,
        with: Option<&Instance>,
    ) -> Result<(), Rejection> {
        let mut check = check.clone();
        if check.node.is_empty() {
            check.node = node.clone();
        }
        if check.id.is_empty() {
            check.id = check.name.as_str().into();
        }
        check_name("check ID", check.id.as_str())?;
        if check.node.folded() != node.folded() {
            return Err(Rejection::CheckOfOtherNode {
                check_node: check.node.to_string(),
                check: check.id.to_string(),
                node: node.to_string(),
            });
        }
        let is_new = with.is_some_and(|instance| instance.id == check.service_id);
        if !check.service_id.is_empty() && !is_new {
            let key = ObjectKey::Instance(node.folded(), check.service_id.clone());
            if self.catalog.instance(&node.folded(), &check.service_id).is_none() {
                return Err(Rejection::CheckOfUnknownService {
                    service: check.service_id.to_string(),
                    check: check.id.to_string(),
                });
            }
            self.depend_on(&key);
        }
        self.put_check(check);
        Ok(())
    }

    /// Writes a check; the time of its verdict stays when the verdict does.
    fn put_check(&mut self, mut check: Check) {
        let existing = self.catalog.check(&check.node.folded(), &check.id);
        check.since = match existing {
            Some(existing) if existing.status == check.status => existing.since,
            Some(_) | None => self.now,
        };
        check.output = truncated(check.output);
        if check.status == CheckStatus::Critical {
            self.end_sessions_of_check(&check.node.folded(), &check.id);
        }
        self.put(Object::Check(check));
    }

    fn deregister_from_catalog(
        &mut self,
        node: &NodeName,
        target: &CatalogTarget,
    ) -> Result<(), Rejection> {
        if node.is_empty() {
            return Err(Rejection::NodeMissing);
        }
        let name = node.folded();
        match target {
            CatalogTarget::Node => self.delete_node(&name),
            CatalogTarget::Service(id) => {
                if self.catalog.instance(&name, id).is_some() {
                    self.delete_instance(&name, id);
                }
            }
            CatalogTarget::Check(id) => {
                if self.catalog.check(&name, id).is_some() {
                    self.delete(&ObjectKey::Check(name, id.clone()));
                }
            }
        }
        Ok(())
    }

    fn delete_node(&mut self, name: &Folded) {
        if self.catalog.node(name).is_none() {
            return;
        }
        self.depend_on_all(ObjectKey::instances_prefix(name));
        self.depend_on_all(ObjectKey::checks_prefix(name));
        self.end_sessions_of_node(name);
        self.delete_coordinates(name);
        for check in self.catalog.checks_of_node(name) {
            self.delete(&ObjectKey::Check(name.clone(), check.id.clone()));
        }
        for instance in self.catalog.instances_of_node(name) {
            self.delete(&ObjectKey::Instance(name.clone(), instance.id.clone()));
        }
        self.delete(&ObjectKey::Node(name.clone()));
    }

    pub(super) fn delete_instance(&mut self, node: &Folded, id: &ServiceId) {
        self.depend_on_all(ObjectKey::checks_prefix(node));
        for check in self.catalog.checks_of_instance(node, id) {
            self.delete(&ObjectKey::Check(node.clone(), check.id.clone()));
        }
        self.delete(&ObjectKey::Instance(node.clone(), id.clone()));
    }

    fn register_service(&mut self, it: &ServiceRegistration) -> Result<(), Rejection> {
        let instance = check_instance(it.instance.clone())?;
        let node = instance.node.folded();
        self.require_node(&node)?;
        let instance = self.with_port(&node, instance, it.sidecar_ports)?;
        if it.replace_existing_checks {
            self.drop_other_checks(&node, &instance.id, &it.checks);
        }
        let id = instance.id.clone();
        self.put(Object::Instance(instance));
        for check in &it.checks {
            check_name("check ID", check.id.as_str())?;
            let mut check = check.clone();
            check.service_id = id.clone();
            self.put_agent_check(check);
        }
        match &it.sidecar {
            Some(sidecar) => self.register_sidecar(&node, sidecar, it),
            None => Ok(()),
        }
    }

    fn require_node(&mut self, node: &Folded) -> Result<(), Rejection> {
        self.depend_on(&ObjectKey::Node(node.clone()));
        self.catalog.node(node).map(|_| ()).ok_or(Rejection::NodeMissing)
    }

    /// Removes the instance's checks that are not in `kept`; maintenance, and what proxies see, are no checks that a
    /// registration lists.
    pub(super) fn drop_other_checks(&mut self, node: &Folded, id: &ServiceId, kept: &[Check]) {
        for check in self.catalog.checks_of_instance(node, id) {
            let is_kept = kept.iter().any(|it| it.id == check.id);
            let is_foreign = check.id == maintenance_check(Some(id)) || check.is_sightings();
            if !is_kept && !is_foreign {
                self.delete(&ObjectKey::Check(node.clone(), check.id.clone()));
            }
        }
    }

    /// Writes an agent's check; one that exists keeps its verdict and output, so that a client that registers
    /// itself again and again does not flap.
    pub(super) fn put_agent_check(&mut self, mut check: Check) {
        if let Some(existing) = self.catalog.check(&check.node.folded(), &check.id) {
            check.status = existing.status;
            check.output.clone_from(&existing.output);
        }
        self.put_check(check);
    }

    fn deregister_service(&mut self, node: &NodeName, id: &ServiceId) -> Result<(), Rejection> {
        let name = node.folded();
        match self.catalog.instance(&name, id) {
            Some(it) if it.origin == Origin::Agent => {
                self.delete_instance(&name, id);
                self.delete_sidecar(&name, id);
                Ok(())
            }
            Some(_) | None => Err(Rejection::UnknownService(id.to_string())),
        }
    }

    fn register_check(&mut self, check: &Check) -> Result<(), Rejection> {
        check_name("check ID", check.id.as_str())?;
        let node = check.node.folded();
        self.require_node(&node)?;
        if !check.service_id.is_empty() {
            if self.catalog.instance(&node, &check.service_id).is_none() {
                return Err(Rejection::ServiceDoesNotExist(check.service_id.to_string()));
            }
            self.depend_on(&ObjectKey::Instance(node, check.service_id.clone()));
        }
        self.put_agent_check(check.clone());
        Ok(())
    }

    fn deregister_check(&mut self, node: &NodeName, id: &CheckId) -> Result<(), Rejection> {
        let name = node.folded();
        match self.catalog.check(&name, id) {
            Some(it) if it.origin == Origin::Agent => {
                self.delete(&ObjectKey::Check(name, id.clone()));
                Ok(())
            }
            Some(_) | None => Err(Rejection::UnknownCheck(id.to_string())),
        }
    }

    fn set_check_status(
        &mut self,
        node: &NodeName,
        id: &CheckId,
        status: CheckStatus,
        output: &str,
        output_matters: bool,
    ) -> Result<(), Rejection> {
        let Some(existing) = self.catalog.check(&node.folded(), id) else {
            return Err(Rejection::UnknownCheck(id.to_string()));
        };
        // The first result is always written: a check that has failed since it was registered says why.
        let is_first = existing.output.is_empty() && !output.is_empty();
        if existing.status == status && !output_matters && !is_first {
            return Ok(());
        }
        let check = Check { status, output: output.to_owned(), ..existing.value.clone() };
        self.put_check(check);
        Ok(())
    }

    fn set_maintenance(
        &mut self,
        node: &NodeName,
        service: Option<&ServiceId>,
        reason: Option<&str>,
    ) -> Result<(), Rejection> {
        let name = node.folded();
        self.require_node(&name)?;
        if let Some(id) = service {
            self.depend_on(&ObjectKey::Instance(name.clone(), id.clone()));
            let instance = self.catalog.instance(&name, id);
            if instance.is_none_or(|it| it.origin != Origin::Agent) {
                return Err(Rejection::UnknownService(id.to_string()));
            }
        }
        let id = maintenance_check(service);
        let exists = self.catalog.check(&name, &id).is_some();
        match reason {
            Some(reason) if !exists => {
                self.put_check(maintenance(node.clone(), id, service, reason));
            }
            None if exists => self.delete(&ObjectKey::Check(name, id)),
            Some(_) | None => {}
        }
        Ok(())
    }
}

/// Id of the check that stands for maintenance.
pub(crate) fn maintenance_check(service: Option<&ServiceId>) -> CheckId {
    match service {
        Some(id) => format!("_service_maintenance:{id}").into(),
        None => "_node_maintenance".into(),
    }
}

fn maintenance(node: NodeName, id: CheckId, service: Option<&ServiceId>, reason: &str) -> Check {
    let what = if service.is_some() { "service" } else { "node" };
    let notes = if reason.is_empty() {
        format!(
            "Maintenance mode is enabled for this {what}, but no reason was provided. This is a default message."
        )
    } else {
        reason.to_owned()
    };
    let name = if service.is_some() { "Service Maintenance Mode" } else { "Node Maintenance Mode" };
    Check {
        node,
        id,
        name: name.into(),
        status: CheckStatus::Critical,
        notes,
        service_id: service.cloned().unwrap_or_default(),
        kind: "maintenance".into(),
        origin: Origin::Agent,
        ..Check::default()
    }
}

fn truncated(mut output: String) -> String {
    if output.len() > OUTPUT_BYTES_MAX {
        let end = output.floor_char_boundary(OUTPUT_BYTES_MAX);
        output.truncate(end);
    }
    output
}
