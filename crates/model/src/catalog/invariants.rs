//! What always holds between the tables and indexes of a catalog.

use super::{Catalog, ensure};

impl Catalog {
    /// Nothing is without its node or instance. The registry sees to it; a store that another program wrote to may hold
    /// anything, and then such orphans are kept and shown as they are.
    pub(super) fn check_references(&self) -> Result<(), String> {
        for (node, id) in self.instances.keys() {
            ensure(self.nodes.contains_key(node), || {
                format!("{node}/{id}: its node does not exist")
            })?;
        }
        for (node, owner, id) in self.checks.keys() {
            ensure(self.nodes.contains_key(node), || format!("check {node}/{id} has no node"))?;
            let owned = owner.is_empty() || self.instance(node, owner).is_some();
            ensure(owned, || format!("check {node}/{id}: its instance {owner} does not exist"))?;
        }
        self.check_locks()
    }

    /// What the indexes say is what the tables hold.
    pub(super) fn check_indexes(&self) -> Result<(), String> {
        for ((node, id), it) in &self.instances {
            let entry = self.services.get(&it.service.folded());
            let listed = entry.is_some_and(|e| e.instances.contains(&(node.clone(), id.clone())));
            ensure(listed, || format!("{node}/{id}: its service does not list it"))?;
            ensure(it.modified >= it.created, || {
                format!("{node}/{id}: changed before it was made")
            })?;
            ensure(it.modified <= self.revision, || format!("{node}/{id}: is of the future"))?;
        }
        for (name, entry) in &self.services {
            ensure(!entry.is_empty(), || format!("service {name} has no instances"))?;
            for key in &entry.instances {
                let belongs =
                    self.instances.get(key).is_some_and(|it| it.service.folded() == *name);
                ensure(belongs, || format!("service {name} lists {}/{}", key.0, key.1))?;
            }
        }
        for ((node, owner, id), check) in &self.checks {
            ensure(check.service_id == *owner, || format!("check {node}/{id} is filed wrongly"))?;
            let found = self.check_owners.get(&(node.clone(), id.clone())) == Some(owner);
            ensure(found, || format!("check {node}/{id} is not found by its id"))?;
        }
        self.check_mesh()?;
        self.check_session_ids()?;
        self.check_tokens()?;
        ensure(self.check_owners.size() == self.checks.size(), || "stray check owners".into())?;
        ensure(self.node_indexes.size() == self.nodes.size(), || "stray node indexes".into())
    }
}
