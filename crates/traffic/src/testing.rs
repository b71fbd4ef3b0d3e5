//! Clusters for the tests of this room.

use std::sync::Arc;

use proxy_config::{Balancing, Cluster, Endpoint, EndpointHealth, Endpoints};

use crate::{ClusterState, Surroundings};

pub(crate) fn cluster(balancing: Balancing) -> Arc<Cluster> {
    Arc::new(Cluster { balancing, ..Cluster::named("web") })
}

pub(crate) fn endpoint(idx: usize, weight: u16, health: EndpointHealth) -> Endpoint {
    Endpoint {
        id: format!("n/web-{idx}"),
        host: "10.0.0.1".to_owned(),
        port: 8000 + idx as u16,
        weight,
        health,
        ..Endpoint::default()
    }
}

pub(crate) fn endpoints(endpoints: Vec<Endpoint>) -> Arc<Endpoints> {
    Arc::new(Endpoints { cluster: "web".to_owned(), endpoints, ..Endpoints::default() })
}

/// Healthy endpoints `n/web-0`, `n/web-1`, … with these weights.
pub(crate) fn state(balancing: Balancing, weights: &[u16]) -> ClusterState {
    let list = weights
        .iter()
        .enumerate()
        .map(|(idx, weight)| endpoint(idx, *weight, EndpointHealth::Healthy))
        .collect();
    ClusterState::new(cluster(balancing), endpoints(list), Surroundings::default())
}
