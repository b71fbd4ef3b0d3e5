use model::{Check, CheckStatus, NodeName, ObjectKey, ServiceId};

use super::draft::Draft;
use crate::Rejection;

impl Draft<'_> {
    /// Puts the check that says what proxies see of an instance, or takes it away. What was said first stays, so that
    /// what is seen again and again writes nothing.
    ///
    /// It is no check of the agent's own: nobody lists, updates or deregisters it through the agent's door, so a client
    /// that keeps the checks of its service in order does not stumble over it.
    pub(super) fn set_sightings(
        &mut self,
        node: &NodeName,
        id: &ServiceId,
        seen: Option<&str>,
    ) -> Result<(), Rejection> {
        let name = node.folded();
        let check = Check::sightings_id(id);
        let exists = self.catalog.check(&name, &check).is_some();
        match seen {
            Some(seen) if !exists => {
                if self.catalog.instance(&name, id).is_none() {
                    return Err(Rejection::UnknownService(id.to_string()));
                }
                self.depend_on(&ObjectKey::Instance(name, id.clone()));
                self.put_check(Check {
                    node: node.clone(),
                    id: check,
                    name: "What proxies see".into(),
                    status: CheckStatus::Critical,
                    output: seen.to_owned(),
                    service_id: id.clone(),
                    kind: "sightings".into(),
                    ..Check::default()
                });
            }
            None if exists => self.delete(&ObjectKey::Check(name, check)),
            Some(_) | None => {}
        }
        Ok(())
    }
}
