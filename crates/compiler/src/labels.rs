//! Which services have an instance with a given label. A selector looks only at the services under one of its labels,
//! so that a thousand Service documents over a hundred thousand instances are not a hundred million comparisons.

use std::collections::{BTreeMap, BTreeSet};

use model::{Catalog, Folded, ServiceSpec};

/// A key with its value.
pub(crate) type Label = (String, String);

/// The label of a selector that it is found by: `app`, which nearly every selector has and which tells most, or else
/// its first. `None` for an empty selector, which selects nothing.
pub(crate) fn anchor(service: &ServiceSpec) -> Option<Label> {
    let app = service.selector.get_key_value("app");
    let (key, value) = app.or_else(|| service.selector.first_key_value())?;
    Some((key.clone(), value.clone()))
}

/// Services by the labels of their instances, for the keys that selectors are found by.
#[derive(Clone, Debug, Default)]
pub(crate) struct LabelIndex {
    keys: BTreeSet<String>,
    services: BTreeMap<Label, BTreeSet<Folded>>,
    /// What each service is filed under.
    filed: BTreeMap<Folded, BTreeSet<Label>>,
}

impl LabelIndex {
    /// Indexes other keys from now on. True when they are other ones: then the index is empty, and all services must be
    /// filed anew.
    pub(crate) fn set_keys(&mut self, keys: BTreeSet<String>) -> bool {
        if self.keys == keys {
            return false;
        }
        *self = Self { keys, ..Self::default() };
        true
    }

    /// The services that may have instances with this label.
    pub(crate) fn services(&self, label: &Label) -> impl Iterator<Item = &Folded> {
        self.services.get(label).into_iter().flatten()
    }

    /// Files a service under the labels that its instances have now. Returns all that it had or has.
    pub(crate) fn file(&mut self, catalog: &Catalog, name: &Folded) -> BTreeSet<Label> {
        if self.keys.is_empty() {
            return BTreeSet::new();
        }
        let mut now: BTreeSet<Label> = BTreeSet::new();
        for instance in catalog.instances_of_service(name) {
            for key in &self.keys {
                if let Some(value) = instance.label(key) {
                    now.insert((key.clone(), value.to_owned()));
                }
            }
        }
        let mut touched = self.filed.remove(name).unwrap_or_default();
        for label in touched.difference(&now) {
            let services = self.services.get_mut(label).expect("a filed label is in the index");
            services.remove(name);
            if services.is_empty() {
                self.services.remove(label);
            }
        }
        for label in now.difference(&touched) {
            self.services.entry(label.clone()).or_default().insert(name.clone());
        }
        touched.extend(now.iter().cloned());
        if !now.is_empty() {
            self.filed.insert(name.clone(), now);
        }
        touched
    }
}
