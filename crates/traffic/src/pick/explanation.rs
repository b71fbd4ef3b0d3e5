use std::fmt;

use proxy_config::{Balancing, EndpointHealth, Source};
use serde::Serialize;

use super::PickError;
use crate::router::source;

/// How an endpoint came to be picked.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PickExplanation {
    /// Name of the cluster.
    pub cluster: String,
    /// The object behind the cluster.
    pub source: Source,
    /// Policy.
    pub balancing: Balancing,
    /// Every endpoint, in the order of the configuration.
    pub candidates: Vec<CandidateExplanation>,
    /// Every stage, in order, as a sentence.
    pub stages: Vec<String>,
    /// Id of the endpoint.
    pub picked: Option<String>,
    /// Why there is none.
    pub error: Option<PickError>,
}

/// What a pick saw of one endpoint.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct CandidateExplanation {
    /// Id of the endpoint.
    pub id: String,
    /// `host:port`.
    pub address: String,
    /// Weight.
    pub weight: u16,
    /// Health by its configuration.
    pub health: EndpointHealth,
    /// Active requests on all workers.
    pub active: u32,
    /// Whether it could be picked, and if not why.
    pub verdict: Verdict,
}

/// Whether an endpoint could be picked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Yes.
    Usable,
    /// The configuration says that it is not healthy.
    Unhealthy,
    /// The configuration says that it ends what it has and gets nothing new.
    Draining,
    /// Ejected after failures; used only if all healthy ones are.
    Ejected {
        /// Until then, in milliseconds from the time of the pick.
        for_ms: u64,
    },
    /// Tried before by the same request; used only if no other is left.
    TriedBefore,
}

impl fmt::Display for PickExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = source(&self.source);
        writeln!(f, "cluster {} ({}) from {origin}", self.cluster, self.balancing.as_str())?;
        for candidate in &self.candidates {
            let CandidateExplanation { id, address, weight, active, verdict, .. } = candidate;
            writeln!(f, "  {id} {address} weight {weight} active {active}: {verdict}")?;
        }
        for stage in &self.stages {
            writeln!(f, "  {stage}")?;
        }
        match (&self.picked, &self.error) {
            (Some(id), _) => writeln!(f, "  => {id}"),
            (None, Some(PickError::NoEndpoints)) => {
                writeln!(f, "  => none: {}; {origin} declared it", PickError::NoEndpoints)
            }
            (None, Some(error)) => writeln!(f, "  => none: {error}"),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Usable => f.write_str("usable"),
            Verdict::Unhealthy => f.write_str("unhealthy, gets no requests"),
            Verdict::Draining => f.write_str("draining, gets no new requests"),
            Verdict::Ejected { for_ms } => write!(f, "ejected for another {for_ms} ms"),
            Verdict::TriedBefore => f.write_str("tried before"),
        }
    }
}
