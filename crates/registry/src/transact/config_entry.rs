use config_entries::{Overlay, check_graph, intentions, validate};
use model::{ConfigEntry, Object, ObjectKey, Record, RecordKey, Tabled};

use super::draft::Draft;
use crate::Rejection;

impl Draft<'_> {
    /// It is right by itself, and among the others.
    pub(super) fn check_config_entry(&mut self, entry: &ConfigEntry) -> Result<(), Rejection> {
        validate(entry).map_err(Rejection::ConfigEntry)?;
        self.check_others(entry, Some(entry))
    }

    /// The others are right without it.
    pub(super) fn check_without_config_entry(
        &mut self,
        entry: &ConfigEntry,
    ) -> Result<(), Rejection> {
        self.check_others(entry, None)
    }

    /// What was decided on are the entries that were asked for, and that there are no others.
    fn check_others(
        &mut self,
        entry: &ConfigEntry,
        changed: Option<&ConfigEntry>,
    ) -> Result<(), Rejection> {
        let overlay = Overlay::new(self.catalog, &entry.kind, &entry.name, changed);
        let checked = check_graph(&overlay, &entry.kind, &entry.name);
        self.depend_on_asked(&overlay);
        checked.map_err(Rejection::ConfigEntry)
    }

    fn depend_on_asked(&mut self, overlay: &Overlay<'_>) {
        let asked = overlay.asked();
        if asked.is_empty() {
            return;
        }
        self.depend_on_table(ConfigEntry::TABLE);
        for name in asked {
            self.depend_on(&ObjectKey::Record(RecordKey::new(ConfigEntry::TABLE, &name)));
        }
    }

    /// An intention is a part of the entry of the service that is called: it is that entry that changes, comes or goes.
    pub(super) fn change_intention(
        &mut self,
        change: &intentions::Change,
    ) -> Result<(), Rejection> {
        let catalog = self.catalog;
        // Nothing is laid over it: it only notes what is asked for.
        let overlay = Overlay::new(catalog, "", "", None);
        let applied = intentions::apply(&overlay, change, &self.now.to_rfc3339());
        self.depend_on_asked(&overlay);
        let (name, entry) = applied.map_err(Rejection::ConfigEntry)?;
        let key = ConfigEntry::key_of(intentions::KIND, &name);
        match (entry, catalog.record::<ConfigEntry>(&key)) {
            (Some(entry), _) => {
                self.check_config_entry(&entry)?;
                self.put(Object::Record(Record::ConfigEntry(entry)));
            }
            (None, Some(before)) => {
                self.check_without_config_entry(before.value)?;
                self.delete(&ObjectKey::Record(RecordKey::new(ConfigEntry::TABLE, &key)));
            }
            (None, None) => {}
        }
        Ok(())
    }
}
