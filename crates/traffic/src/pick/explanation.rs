use std::fmt;
use std::sync::Arc;

use proxy_config::{Balancing, Endpoint, EndpointHealth, Locality, Source};
use serde::Serialize;

use super::plan::Plan;
use super::standing::{Health, Standing};
use super::{PickError, PickRequest};
use crate::router::source;
use crate::{CheckedHealth, ClusterState, EndpointState};

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
    /// `region/zone/sub_zone` without what is empty, where the cluster has localities.
    pub place: Option<String>,
    /// Its priority by the configuration.
    pub priority: u32,
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
    /// Yes, when those that are well do not suffice.
    Degraded,
    /// The configuration says that it is not healthy.
    Unhealthy,
    /// The proxy's own check says so.
    CheckFailed,
    /// The proxy has not checked it yet.
    Unchecked,
    /// The configuration says that it ends what it has and gets nothing new.
    Draining,
    /// Ejected after failures; used only if all healthy ones are.
    Ejected {
        /// Until then, in milliseconds from the time of the pick.
        for_ms: u64,
    },
    /// It lacks the metadata that the request asks for.
    OtherSubset,
    /// Tried before by the same request; used only if no other is left.
    TriedBefore,
}

impl ClusterState {
    pub(super) fn explain(
        &self,
        plan: &Plan,
        request: &PickRequest<'_>,
        choice: Result<u32, PickError>,
        stages: Vec<String>,
    ) -> PickExplanation {
        let roster = self.roster();
        let part = roster.parts.find(request.subset).part.unwrap_or(0);
        let members = &roster.parts.members()[part];
        let candidates: Vec<_> = (0u32..)
            .zip(self.endpoints())
            .map(|(idx, (endpoint, state))| {
                let locality = roster.locality(roster.spot(idx).locality);
                let is_member = members.binary_search(&idx).is_ok();
                let standing = plan.standings[idx as usize];
                CandidateExplanation {
                    id: endpoint.id.clone(),
                    address: state.address(),
                    weight: endpoint.weight,
                    health: endpoint.health,
                    place: locality.map(|it| place(Some(it))),
                    priority: locality.map_or(0, |it| it.priority),
                    active: state.active(),
                    verdict: verdict(endpoint, state, standing, is_member, request),
                }
            })
            .collect();
        let mut all_stages = vec![summary(&candidates)];
        all_stages.extend(stages);
        let picked = choice.map(|idx| roster.endpoint(idx).id.clone());
        PickExplanation {
            cluster: self.name().to_owned(),
            source: self.cluster().source.clone(),
            balancing: self.cluster().balancing,
            candidates,
            stages: all_stages,
            error: picked.as_ref().err().copied(),
            picked: picked.ok(),
        }
    }
}

fn verdict(
    endpoint: &Endpoint,
    state: &Arc<EndpointState>,
    standing: Standing,
    is_member: bool,
    request: &PickRequest<'_>,
) -> Verdict {
    match standing.health {
        Health::Draining => return Verdict::Draining,
        Health::Unhealthy | Health::Excluded => {
            return match state.check().health() {
                _ if endpoint.health == EndpointHealth::Unhealthy => Verdict::Unhealthy,
                CheckedHealth::Pending => Verdict::Unchecked,
                CheckedHealth::Healthy | CheckedHealth::Degraded | CheckedHealth::Unhealthy => {
                    Verdict::CheckFailed
                }
            };
        }
        Health::Healthy | Health::Degraded => {}
    }
    let ejected_ns = state.ejected_until_ns().saturating_sub(request.now_ns);
    if standing.ejected && ejected_ns > 0 {
        Verdict::Ejected { for_ms: ejected_ns.div_ceil(1_000_000) }
    } else if !is_member {
        Verdict::OtherSubset
    } else if request.exclude.iter().any(|it| Arc::ptr_eq(it, state)) {
        Verdict::TriedBefore
    } else if standing.health == Health::Degraded {
        Verdict::Degraded
    } else {
        Verdict::Usable
    }
}

fn summary(candidates: &[CandidateExplanation]) -> String {
    let count =
        |wanted: fn(&Verdict) -> bool| candidates.iter().filter(|it| wanted(&it.verdict)).count();
    let mut text = format!(
        "{} endpoints: {} usable, {} unhealthy, {} draining, {} ejected, {} tried before",
        candidates.len(),
        count(|it| matches!(it, Verdict::Usable)),
        count(|it| {
            matches!(it, Verdict::Unhealthy | Verdict::CheckFailed | Verdict::Unchecked)
        }),
        count(|it| matches!(it, Verdict::Draining)),
        count(|it| matches!(it, Verdict::Ejected { .. })),
        count(|it| matches!(it, Verdict::TriedBefore)),
    );
    for (count, what) in [
        (count(|it| matches!(it, Verdict::Degraded)), "degraded"),
        (count(|it| matches!(it, Verdict::OtherSubset)), "in other subsets"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    text
}

/// `region/zone/sub_zone` without what is empty, and what gives it its weight.
pub(super) fn place(locality: Option<&Locality>) -> String {
    let parts = locality.map(|it| [&it.place.region, &it.place.zone, &it.place.sub_zone]);
    let named: Vec<&str> =
        parts.iter().flatten().map(|it| it.as_str()).filter(|it| !it.is_empty()).collect();
    let named = if named.is_empty() { "(nowhere)".to_owned() } else { named.join("/") };
    match locality.and_then(|it| Some((it.weight.unwrap_or(0), it.source.as_ref()?))) {
        Some((weight, cause)) => format!("{named} (share {weight} by {})", source(cause)),
        None => named,
    }
}

impl fmt::Display for PickExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = source(&self.source);
        writeln!(f, "cluster {} ({}) from {origin}", self.cluster, self.balancing.as_str())?;
        for candidate in &self.candidates {
            let CandidateExplanation { id, address, weight, active, verdict, .. } = candidate;
            write!(f, "  {id} {address}")?;
            if let Some(place) = &candidate.place {
                write!(f, " in {place} priority {}", candidate.priority)?;
            }
            writeln!(f, " weight {weight} active {active}: {verdict}")?;
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
            Verdict::Degraded => f.write_str("degraded, usable when others do not suffice"),
            Verdict::Unhealthy => f.write_str("unhealthy, gets no requests"),
            Verdict::CheckFailed => f.write_str("fails its check, gets no requests"),
            Verdict::Unchecked => f.write_str("not checked yet, gets no requests"),
            Verdict::Draining => f.write_str("draining, gets no new requests"),
            Verdict::Ejected { for_ms } => write!(f, "ejected for another {for_ms} ms"),
            Verdict::OtherSubset => f.write_str("not in the subset"),
            Verdict::TriedBefore => f.write_str("tried before"),
        }
    }
}
