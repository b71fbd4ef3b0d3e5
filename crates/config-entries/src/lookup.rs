use std::cell::RefCell;
use std::collections::BTreeSet;

use model::{Catalog, ConfigEntry};

/// Where entries are looked up.
pub trait Lookup {
    /// The entry of a kind with a name, in any letter case.
    fn entry(&self, kind: &str, name: &str) -> Option<&ConfigEntry>;

    /// All entries of a kind.
    fn entries(&self, kind: &str) -> Vec<&ConfigEntry>;
}

impl Lookup for Catalog {
    fn entry(&self, kind: &str, name: &str) -> Option<&ConfigEntry> {
        self.record::<ConfigEntry>(&ConfigEntry::key_of(kind, name)).map(|it| it.value)
    }

    fn entries(&self, kind: &str) -> Vec<&ConfigEntry> {
        let prefix = ConfigEntry::key_of(kind, "");
        self.records_under::<ConfigEntry>(&prefix).map(|it| it.value).collect()
    }
}

/// The entries of a catalog with one of them changed, and a note of all that were asked for.
#[derive(Debug)]
pub struct Overlay<'a> {
    catalog: &'a Catalog,
    /// Kind and folded name of the one that is changed.
    key: String,
    /// As it is to be; `None` when it goes.
    changed: Option<&'a ConfigEntry>,
    asked: RefCell<BTreeSet<String>>,
}

impl<'a> Overlay<'a> {
    /// A catalog in which the entry of this kind and name is `changed`, or gone.
    #[must_use]
    pub fn new(
        catalog: &'a Catalog,
        kind: &str,
        name: &str,
        changed: Option<&'a ConfigEntry>,
    ) -> Self {
        let key = ConfigEntry::key_of(kind, name);
        Self { catalog, key, changed, asked: RefCell::default() }
    }

    /// The names in the table of all entries that were asked for, whether they are there or not.
    #[must_use]
    pub fn asked(&self) -> BTreeSet<String> {
        self.asked.borrow().clone()
    }
}

impl Lookup for Overlay<'_> {
    fn entry(&self, kind: &str, name: &str) -> Option<&ConfigEntry> {
        let key = ConfigEntry::key_of(kind, name);
        if key == self.key {
            return self.changed;
        }
        let found = self.catalog.record::<ConfigEntry>(&key).map(|it| it.value);
        self.asked.borrow_mut().insert(key);
        found
    }

    fn entries(&self, kind: &str) -> Vec<&ConfigEntry> {
        let mut all: Vec<&ConfigEntry> = Vec::new();
        for entry in self.catalog.entries(kind) {
            let key = ConfigEntry::key_of(&entry.kind, &entry.name);
            if key != self.key {
                all.push(entry);
                self.asked.borrow_mut().insert(key);
            }
        }
        all.extend(self.changed.filter(|it| it.kind == kind));
        all
    }
}
