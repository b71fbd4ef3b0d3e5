//! What commands ask for: whoever makes one through an endpoint that does not ask for a permission of its own must be
//! allowed to change each thing that it changes.

use acl::{Access as Right, Denied, Resource};
use config_entries::intentions::{self, Change};
use model::{
    Catalog, Check, CheckId, Folded, Instance, KvKey, Node, NodeName, PreparedQuery, Record,
    RecordKey, ServiceId, SessionId, Table,
};
use registry::{CatalogRegistration, CatalogTarget, Command, KvOperation, TxnOperation, TxnVerb};

use serde_json::{Map, Value};

use super::access::Access;

/// Looks at one thing after the other that a command changes.
pub(super) struct Vet<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) access: &'a Access,
}

type Vetted = Result<(), Denied>;

impl Vet<'_> {
    /// # Errors
    /// The first thing that may not be changed. A transaction is not looked into: [`Vet::transaction`] does that.
    pub(super) fn command(&self, command: &Command) -> Vetted {
        match command {
            Command::RegisterInCatalog(registration) => self.registration(registration),
            Command::DeregisterFromCatalog { node, target } => self.deregistration(node, target),
            Command::RegisterService(it) => {
                self.instance(&it.instance)?;
                it.sidecar.as_ref().map_or(Ok(()), |it| self.instance(&it.instance))
            }
            Command::DeregisterService { node, id } => self.stored_instance(&node.folded(), id),
            Command::RegisterCheck(check) => self.check(check),
            Command::DeregisterCheck { node, id } | Command::SetCheckStatus { node, id, .. } => {
                self.stored_check(&node.folded(), id)
            }
            Command::SetMaintenance { node, service: None, .. } => self.node(node),
            Command::SetMaintenance { node, service: Some(id), .. } => {
                self.stored_instance(&node.folded(), id)
            }
            Command::SetSightings { node, id, .. } => self.stored_instance(&node.folded(), id),
            Command::SetKv { entry, .. } => self.key(&entry.key),
            Command::DeleteKv { key, .. } => self.key(key),
            Command::DeleteKvUnder(prefix) => {
                self.access.permit(Resource::Key, Right::WritePrefix, prefix.as_str())
            }
            Command::CreateSession(session) => self.session_of(&session.node),
            Command::EndSession(id) | Command::RenewSession(id) => self.session(id),
            Command::PutRecord { record, .. } => self.record(record),
            Command::DeleteRecord { key, .. } => self.stored_record(key),
            Command::AssignVirtualAddresses { .. } => {
                self.access.permit(Resource::Mesh, Right::Write, "")
            }
            Command::ChangeIntention(change) => self.intention(change),
            Command::FireEvent(event) => {
                self.access.permit(Resource::Event, Right::Write, &event.name)
            }
            Command::Transact(_) => Ok(()),
            Command::ChangeDocuments(_) | Command::RestoreDocuments(_) => {
                self.access.permit(Resource::Operator, Right::Write, "")
            }
            // Those that make them ask for it themselves.
            Command::PrepareAcl(_) | Command::BootstrapAcl { .. } | Command::ExpireToken { .. } => {
                self.management()
            }
        }
    }

    /// The operations of a transaction that may not be done, by their positions.
    pub(super) fn transaction(&self, operations: &[TxnOperation]) -> Vec<(usize, Denied)> {
        let vetted = operations.iter().map(|it| self.operation(it)).enumerate();
        vetted.filter_map(|(at, it)| it.err().map(|denied| (at, denied))).collect()
    }

    /// What only reads is left out of the results; checks tell by their outcome what they see.
    fn operation(&self, operation: &TxnOperation) -> Vetted {
        match operation {
            TxnOperation::Node(TxnVerb::Get, _)
            | TxnOperation::Instance(TxnVerb::Get, _)
            | TxnOperation::Check(TxnVerb::Get, _) => Ok(()),
            TxnOperation::Node(_, node) => {
                let by_id = self.catalog.node_by_id(&node.id);
                by_id.map_or(Ok(()), |it| self.node(&it.name))?;
                if node.name.is_empty() { Ok(()) } else { self.node(&node.name) }
            }
            TxnOperation::Instance(TxnVerb::Set | TxnVerb::SetAt(_), it) => self.instance(it),
            TxnOperation::Instance(TxnVerb::Delete | TxnVerb::DeleteAt(_), it) => {
                self.stored_instance(&it.node.folded(), &it.id)
            }
            TxnOperation::Check(TxnVerb::Set | TxnVerb::SetAt(_), check) => self.check(check),
            TxnOperation::Check(TxnVerb::Delete | TxnVerb::DeleteAt(_), check) => {
                self.stored_check(&check.node.folded(), &check.id)
            }
            TxnOperation::Kv(operation) => match operation {
                KvOperation::Set { entry, .. } => self.key(&entry.key),
                KvOperation::Delete { key, .. } => self.key(key),
                KvOperation::DeleteUnder(prefix) => {
                    self.access.permit(Resource::Key, Right::WritePrefix, prefix.as_str())
                }
                KvOperation::Get(_) | KvOperation::GetOrEmpty(_) | KvOperation::GetUnder(_) => {
                    Ok(())
                }
                KvOperation::CheckIndex(key, _)
                | KvOperation::CheckSession(key, _)
                | KvOperation::CheckNotExists(key) => {
                    self.access.permit(Resource::Key, Right::Read, key.as_str())
                }
            },
        }
    }

    fn key(&self, key: &KvKey) -> Vetted {
        self.access.permit(Resource::Key, Right::Write, key.as_str())
    }

    /// By the name that is given, and by the one of the node that is there: they may differ in the case of letters.
    fn node(&self, name: &NodeName) -> Vetted {
        self.access.permit(Resource::Node, Right::Write, name.as_str())?;
        match self.catalog.node(&name.folded()) {
            Some(node) if node.name.as_str() != name.as_str() => {
                self.access.permit(Resource::Node, Right::Write, node.name.as_str())
            }
            Some(_) | None => Ok(()),
        }
    }

    fn service(&self, name: &str) -> Vetted {
        self.access.permit(Resource::Service, Right::Write, name)
    }

    /// An instance that is written, the service that it stands in front of, and the one in whose place it comes.
    fn instance(&self, instance: &Instance) -> Vetted {
        self.service(instance.service.as_str())?;
        if let Some(destination) = instance.mesh_service() {
            self.service(destination)?;
        }
        let id = match instance.id.as_str() {
            "" => ServiceId::from(instance.service.as_str()),
            _ => instance.id.clone(),
        };
        self.stored_instance(&instance.node.folded(), &id)
    }

    fn stored_instance(&self, node: &Folded, id: &ServiceId) -> Vetted {
        let stored = self.catalog.instance(node, id);
        stored.map_or(Ok(()), |it| self.service(it.service.as_str()))
    }

    /// A check that is written, and the one in whose place it comes.
    fn check(&self, check: &Check) -> Vetted {
        let node = check.node.folded();
        self.owner(&check.node, &check.service_id)?;
        self.stored_check(&node, &check.id)
    }

    fn stored_check(&self, node: &Folded, id: &CheckId) -> Vetted {
        let stored = self.catalog.check(node, id);
        stored.map_or(Ok(()), |it| self.owner(&it.node, &it.service_id))
    }

    /// The instance that a check is of, or the node. An instance that is not there is the registry's to refuse.
    fn owner(&self, node: &NodeName, service: &ServiceId) -> Vetted {
        if service.is_empty() {
            self.node(node)
        } else {
            self.stored_instance(&node.folded(), service)
        }
    }

    fn registration(&self, it: &CatalogRegistration) -> Vetted {
        if self.changes_node(&it.node, it.skip_node_update) {
            self.node(&it.node.name)?;
        }
        if let Some(instance) = &it.instance {
            let instance = Instance { node: it.node.name.clone(), ..instance.clone() };
            self.instance(&instance)?;
        }
        for check in &it.checks {
            let own = it.instance.as_ref().filter(|own| own.id == check.service_id);
            match own.filter(|_| !check.service_id.is_empty()) {
                Some(own) => self.service(own.service.as_str())?,
                None => self.owner(&it.node.name, &check.service_id)?,
            }
            let id =
                if check.id.is_empty() { check.name.as_str().into() } else { check.id.clone() };
            self.stored_check(&it.node.name.folded(), &id)?;
        }
        Ok(())
    }

    fn changes_node(&self, node: &Node, keeps_existing: bool) -> bool {
        let Some(stored) = self.catalog.node(&node.name.folded()) else {
            return true;
        };
        let id = if node.id.is_empty() { stored.id.clone() } else { node.id.clone() };
        !keeps_existing && stored.value != Node { id, ..node.clone() }
    }

    /// Whose node it is may remove anything from it.
    fn deregistration(&self, node: &NodeName, target: &CatalogTarget) -> Vetted {
        let Err(denied) = self.node(node) else { return Ok(()) };
        let name = node.folded();
        match target {
            CatalogTarget::Node => Err(denied),
            CatalogTarget::Service(id) if self.catalog.instance(&name, id).is_some() => {
                self.stored_instance(&name, id)
            }
            CatalogTarget::Check(id)
                if self.catalog.check(&name, id).is_some_and(|it| !it.service_id.is_empty()) =>
            {
                self.stored_check(&name, id)
            }
            CatalogTarget::Service(_) | CatalogTarget::Check(_) => Err(denied),
        }
    }

    fn session(&self, id: &SessionId) -> Vetted {
        self.catalog.session(id).map_or(Ok(()), |it| self.session_of(&it.node))
    }

    fn session_of(&self, node: &NodeName) -> Vetted {
        self.access.permit(Resource::Session, Right::Write, node.as_str())?;
        match self.catalog.node(&node.folded()) {
            Some(stored) if stored.name.as_str() != node.as_str() => {
                self.access.permit(Resource::Session, Right::Write, stored.name.as_str())
            }
            Some(_) | None => Ok(()),
        }
    }

    fn record(&self, record: &Record) -> Vetted {
        match record {
            Record::PreparedQuery(query) => {
                self.query(query)?;
                self.stored_record(&record.key())
            }
            Record::Coordinate(coordinate) => self.node(&coordinate.node),
            Record::Event(event) => self.access.permit(Resource::Event, Right::Write, &event.name),
            Record::ConfigEntry(entry) => self.entry(&entry.kind, &entry.name),
            Record::Setting(_)
            | Record::TrafficSplit(_)
            | Record::AclAuthMethod(_)
            | Record::AclBindingRule(_)
            | Record::AclPolicy(_)
            | Record::AclRole(_)
            | Record::AclToken(_) => self.management(),
            Record::VirtualAddress(_) => self.access.permit(Resource::Mesh, Right::Write, ""),
        }
    }

    fn stored_record(&self, key: &RecordKey) -> Vetted {
        match key.table {
            Table::PreparedQuery => {
                let stored = self.catalog.record::<PreparedQuery>(&key.name);
                stored.map_or(Ok(()), |it| self.query(it.value))
            }
            Table::ConfigEntry => match key.name.split_once('\0') {
                Some((kind, name)) => self.entry(kind, name),
                None => self.management(),
            },
            Table::AclAuthMethod
            | Table::AclBindingRule
            | Table::AclPolicy
            | Table::AclRole
            | Table::AclToken
            | Table::Coordinate
            | Table::Event
            | Table::Setting
            | Table::TrafficSplit => self.management(),
            Table::VirtualAddress => self.access.permit(Resource::Mesh, Right::Write, ""),
        }
    }

    /// One without a name is found by its id, which is a secret of sorts: whoever knows it may change it.
    fn query(&self, query: &PreparedQuery) -> Vetted {
        if has_name(query) {
            self.access.permit(Resource::Query, Right::Write, &query.name)
        } else {
            Ok(())
        }
    }

    fn entry(&self, kind: &str, name: &str) -> Vetted {
        match entry_permission(kind, name, Right::Write) {
            Some((resource, name)) => self.access.permit(resource, Right::Write, name),
            None => Ok(()),
        }
    }

    /// By the destination that it is to have, and the one of the intention that is there.
    fn intention(&self, change: &Change) -> Vetted {
        let write = |name: &str| self.access.permit(Resource::Intention, Right::Write, name);
        let given = |intention: &Map<String, Value>| {
            let found = intention.iter().find(|it| it.0.eq_ignore_ascii_case("DestinationName"));
            write(found.and_then(|it| it.1.as_str()).unwrap_or_default())
        };
        let stored = |id: &str| {
            let all = intentions::all(self.catalog);
            let found = all.iter().find(|it| it.legacy_id() == id);
            found.map_or(Ok(()), |it| write(it.destination_name()))
        };
        match change {
            Change::Create { intention, .. } | Change::Upsert { intention } => given(intention),
            Change::Update { intention, id } => {
                stored(id)?;
                given(intention)
            }
            Change::Delete { id } => stored(id),
            Change::DeleteExact { destination, .. } => write(destination),
        }
    }

    fn management(&self) -> Vetted {
        self.access.permit(Resource::Acl, Right::Write, "")
    }
}

/// What a configuration entry is a matter of; `None` for one that everybody may see.
pub(super) fn entry_permission<'n>(
    kind: &str,
    name: &'n str,
    right: Right,
) -> Option<(Resource, &'n str)> {
    let reads = right == Right::Read;
    match kind {
        "service-defaults" | "service-resolver" | "service-router" | "service-splitter" => {
            Some((Resource::Service, name))
        }
        "service-intentions" => Some((Resource::Intention, name)),
        "mesh" | "proxy-defaults" if reads => None,
        "api-gateway" | "bound-api-gateway" | "ingress-gateway" | "terminating-gateway"
            if reads =>
        {
            Some((Resource::Service, name))
        }
        "control-plane-request-limit" => Some((Resource::Operator, "")),
        _ => Some((Resource::Mesh, "")),
    }
}

/// True for queries that are found by a name, for which rules can be; a template may be for the empty one.
pub(super) fn has_name(query: &PreparedQuery) -> bool {
    !query.name.is_empty() || !query.template.kind.is_empty()
}
