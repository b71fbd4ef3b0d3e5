//! The index of the instances that services are reached through in the mesh: proxies in front of them, and those of their
//! own that speak mutual TLS themselves.

use std::collections::BTreeSet;
use std::sync::Arc;

use rpds::RedBlackTreeSetSync;

use super::{Catalog, InstanceKey, Stored, WatchKey, ensure};
use crate::{Folded, Instance, Revision};

/// The instances that a service is reached through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct MeshEntry {
    /// Revision at which one of them came or went.
    index: Revision,
    instances: RedBlackTreeSetSync<InstanceKey>,
}

impl Catalog {
    /// The instances that a service is reached through in the mesh, by node and then by id.
    pub fn mesh_instances<'a>(
        &'a self,
        service: &Folded,
    ) -> impl Iterator<Item = &'a Arc<Stored<Instance>>> + use<'a> {
        let keys = self.mesh.get(service).into_iter().flat_map(|entry| entry.instances.iter());
        keys.map(|key| self.instances.get(key).expect("the mesh lists only instances that exist"))
    }

    /// Revision at which an instance that a service is reached through last came or went; for a service that is reached
    /// through none the last time that any service lost one.
    #[must_use]
    pub fn mesh_index(&self, service: &Folded) -> Revision {
        self.mesh.get(service).map_or(self.indexes.mesh_extinction, |entry| entry.index)
    }

    /// Files an instance as it is to be, or out of the index when it goes. What it was before must still be there.
    pub(super) fn refile_in_mesh(
        &mut self,
        key: &InstanceKey,
        now: Option<&Instance>,
        revision: Revision,
        touched: &mut BTreeSet<WatchKey>,
    ) {
        let before = self.instances.get(key).and_then(|it| it.mesh_service().map(Folded::new));
        let now = now.and_then(|it| it.mesh_service().map(Folded::new));
        if before == now {
            return;
        }
        if let Some(service) = before {
            let mut entry = self.mesh.get(&service).map(|it| (**it).clone());
            if let Some(entry) = &mut entry {
                entry.instances.remove_mut(key);
                entry.index = revision;
            }
            match entry.filter(|it| !it.instances.is_empty()) {
                Some(entry) => self.mesh.insert_mut(service.clone(), Arc::new(entry)),
                None => {
                    self.mesh.remove_mut(&service);
                    self.indexes.mesh_extinction = revision;
                }
            }
            touched.insert(WatchKey::Mesh(service));
        }
        if let Some(service) = now {
            let mut entry = self.mesh.get(&service).map_or_else(
                || MeshEntry { index: revision, instances: RedBlackTreeSetSync::new_sync() },
                |entry| (**entry).clone(),
            );
            entry.instances.insert_mut(key.clone());
            entry.index = revision.max(entry.index);
            self.mesh.insert_mut(service.clone(), Arc::new(entry));
            touched.insert(WatchKey::Mesh(service));
        }
    }

    /// Exactly the instances that reach a service are filed under it.
    pub(super) fn check_mesh(&self) -> Result<(), String> {
        let mut filed = 0;
        for (service, entry) in &self.mesh {
            ensure(!entry.instances.is_empty(), || {
                format!("{service} is reached through nothing")
            })?;
            for key in &entry.instances {
                let instance = self.instances.get(key);
                let of = instance.and_then(|it| it.mesh_service().map(Folded::new));
                let (node, id) = key;
                ensure(of.as_ref() == Some(service), || {
                    format!("{node}/{id} is filed as a way to {service}")
                })?;
                filed += 1;
            }
        }
        let reaching = self.instances.values().filter(|it| it.mesh_service().is_some()).count();
        ensure(filed == reaching, || format!("{filed} of {reaching} ways into the mesh are filed"))
    }
}
