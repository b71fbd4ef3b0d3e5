use std::net::Ipv4Addr;

use config_entries::gateways;
use model::{
    ConfigEntry, Folded, Object, ObjectKey, Record, RecordKey, Table, Tabled, VirtualAddress,
};

use super::draft::Draft;
use super::{TxnObject, TxnRead};
use crate::Rejection;

/// Kinds of entries that make a service one that is called through the mesh, whether it has instances or not.
const ROUTED: [&str; 3] = ["service-resolver", "service-splitter", "service-router"];

impl Draft<'_> {
    /// The addresses stand for this service and no other, and it has no others. Returns those that stood for another.
    pub(super) fn assign_virtual_addresses(
        &mut self,
        service: &str,
        addresses: &[Ipv4Addr],
    ) -> Result<Vec<TxnRead>, Rejection> {
        let catalog = self.catalog;
        if !self.is_called_through_mesh(service) {
            return Err(Rejection::NoVirtualAddress(service.to_owned()));
        }
        // Somebody may assign it others at the same time.
        self.depend_on_table(VirtualAddress::TABLE);
        let is_of_service = |it: &str| it.eq_ignore_ascii_case(service);
        for old in catalog.records::<VirtualAddress>() {
            if is_of_service(&old.service) && !addresses.contains(&old.address) {
                let name = old.address.to_string();
                self.delete(&ObjectKey::Record(RecordKey::new(Table::VirtualAddress, &name)));
            }
        }
        let mut moved = Vec::new();
        for address in addresses {
            let before = catalog.record::<VirtualAddress>(&address.to_string());
            if let Some(before) = before.filter(|it| !is_of_service(&it.service)) {
                moved.push(TxnRead {
                    object: TxnObject::VirtualAddress(before.value.clone()),
                    created: Some(before.created),
                    modified: Some(before.modified),
                });
            }
            let assigned = VirtualAddress { address: *address, service: service.to_owned() };
            self.put(Object::Record(Record::VirtualAddress(assigned)));
        }
        Ok(moved)
    }

    /// Notes what makes it so.
    fn is_called_through_mesh(&mut self, service: &str) -> bool {
        let catalog = self.catalog;
        let entry = |kind: &str| {
            let found = catalog.record::<ConfigEntry>(&ConfigEntry::key_of(kind, service))?;
            // One outside of the mesh has no instances, and is called through a gateway.
            let is_enough = kind != "service-defaults" || found.body.get("Destination").is_some();
            is_enough.then_some(found.value)
        };
        let kinds = ROUTED.iter().chain(&["service-defaults"]);
        let found = kinds.copied().find_map(entry);
        let found = found.or_else(|| {
            let gateways = gateways::in_front_of(catalog, "terminating-gateway", service, false);
            gateways.into_iter().next()
        });
        if let Some(entry) = found {
            let name = ConfigEntry::key_of(&entry.kind, &entry.name);
            self.depend_on(&ObjectKey::Record(RecordKey::new(Table::ConfigEntry, &name)));
            return true;
        }
        match catalog.mesh_instances(&Folded::new(service)).next() {
            Some(it) => {
                self.depend_on(&ObjectKey::Instance(it.node.folded(), it.id.clone()));
                true
            }
            None => false,
        }
    }
}
