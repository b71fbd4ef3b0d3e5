use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::CommandLine;
use crate::duration_ns;

/// A check that a copy must pass to be healthy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// Time between the beginnings of two probes, 100 ms to 1 h.
    #[serde(with = "duration_ns")]
    pub interval: Duration,
    /// A probe that takes longer has failed. 1 ms to 1 h.
    #[serde(with = "duration_ns")]
    pub timeout: Duration,
    /// Failed probes in a row that make it critical, 1 to 1000.
    pub failure_threshold: u32,
    /// Passed probes in a row that make it passing, 1 to 1000.
    pub success_threshold: u32,
}

impl Default for HealthCheck {
    /// A TCP connection each second. One answer decides: a copy on the same machine has no network to lose a probe on, and a
    /// request that goes elsewhere for a second costs nothing.
    fn default() -> Self {
        Self {
            probe: Probe::default(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            failure_threshold: 1,
            success_threshold: 1,
        }
    }
}

/// What a check asks. All but a command go to the address and port of the copy.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// GET of this path, which begins with `/`; a status from 200 to 299 passes.
    Http(String),
    /// A connection that is accepted passes.
    #[default]
    Tcp,
    /// `grpc.health.v1.Health/Check` of this service; empty means the whole server.
    Grpc(String),
    /// A command with the environment, folder and user of the copy; code 0 passes.
    Command(CommandLine),
}
