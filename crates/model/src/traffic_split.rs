use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{DocumentKey, Instance, RecordKey, ServiceName, Table};

/// How the requests to a service are divided between the versions of its instances. Instances of a version that is not named
/// get none.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TrafficSplit {
    /// The service.
    pub service: ServiceName,
    /// The document that it is for.
    pub rollout: DocumentKey,
    /// Label that says an instance's version; see [`Instance::version`].
    pub version_label: String,
    /// Percent by version, 100 in all. The empty version is that of instances without one; one with 0 percent is named so
    /// that a bare tag of it is known as a version.
    pub shares: BTreeMap<String, u32>,
}

impl TrafficSplit {
    /// The split of a service.
    #[must_use]
    pub fn key_of(service: &ServiceName) -> RecordKey {
        RecordKey::new(Table::TrafficSplit, service.folded().as_str())
    }

    /// The version of an instance, as this split tells them apart.
    #[must_use]
    pub fn version_of<'a>(&self, instance: &'a Instance) -> &'a str {
        instance.version(&self.version_label, |it| self.shares.contains_key(it))
    }

    /// Percent of a version; `None` when it gets nothing.
    #[must_use]
    pub fn share_of(&self, version: &str) -> Option<u32> {
        self.shares.get(version).copied().filter(|it| *it > 0)
    }

    pub(crate) fn name_in_table(&self) -> String {
        self.service.folded().to_string()
    }
}
