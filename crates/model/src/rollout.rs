use serde::{Deserialize, Serialize};

use crate::ServiceName;
use crate::workload::Rollout;

/// Which version of a service gets its requests, whose instances somebody else runs and registers: what the document kind
/// `Rollout` asks for. Everything here was checked when the document was read.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RolloutSpec {
    /// The service.
    pub service: ServiceName,
    /// The version that is to get all requests in the end; 1 to 128 characters. Another one is a rollout.
    pub version: String,
    /// Label that says an instance's version; see [`Instance::version`](crate::Instance::version).
    pub version_label: String,
    /// How requests move. Never [`Strategy::Rolling`](crate::workload::Strategy::Rolling), and the counts of copies mean
    /// nothing.
    pub plan: Rollout,
}
