use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A configuration entry of one of Consul's kinds, as it was accepted.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ConfigEntry {
    /// Kind, for example `service-resolver`.
    pub kind: String,
    /// Name, for most kinds that of a service.
    pub name: String,
    /// The whole entry in the letter case of Consul's API (`Kind` and `Name` among it), without its revisions.
    pub body: Value,
}

impl ConfigEntry {
    /// Name in the table of an entry of this kind and name, which is the same in any letter case.
    #[must_use]
    pub fn key_of(kind: &str, name: &str) -> String {
        format!("{kind}\0{}", name.to_lowercase())
    }

    pub(crate) fn name_in_table(&self) -> String {
        Self::key_of(&self.kind, &self.name)
    }
}

/// What operators set once for the whole mesh, such as `autopilot`. `Debug` shows which, not what: there are keys among them.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Setting {
    /// Which setting.
    pub name: String,
    /// What it is set to.
    pub body: Value,
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setting").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Setting {
    pub(crate) fn name_in_table(&self) -> String {
        self.name.clone()
    }
}
