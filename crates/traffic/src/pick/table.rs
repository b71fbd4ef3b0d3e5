use proxy_config::{Balancing, Endpoint, HashKey};

use crate::endpoint::EndpointState;
use crate::maglev::Maglev;
use crate::ring::Ring;

/// The metadata key whose value an endpoint is known by on a ring, before all else.
const HASH_KEY: &str = "hash_key";

/// A consistent policy's placement of some endpoints. Made where the configuration is made, shared
/// by all workers.
#[derive(Debug)]
pub(crate) struct Table {
    members: Box<[u32]>,
    /// Share of each member; the sum is 1.
    weights: Box<[f64]>,
    points: Points,
}

#[derive(Debug)]
enum Points {
    Ring(Ring),
    Maglev(Maglev),
}

impl Table {
    /// A table for some endpoints (indices into `endpoints`) with their shares. `None` when there
    /// are none, or when the policy has no table.
    pub(crate) fn new<'a>(
        balancing: Balancing,
        members: &[u32],
        weights: &[f64],
        endpoint: impl Fn(u32) -> (&'a Endpoint, &'a EndpointState),
    ) -> Option<Self> {
        let key = match balancing {
            Balancing::RingHash(ring) => ring.key,
            Balancing::Maglev(maglev) => maglev.key,
            Balancing::Random
            | Balancing::RoundRobin
            | Balancing::Weighted
            | Balancing::LeastRequest(_)
            | Balancing::PeakEwma(_) => return None,
        };
        if members.is_empty() {
            return None;
        }
        let keys: Vec<String> = members
            .iter()
            .map(|member| {
                let (endpoint, state) = endpoint(*member);
                key_of(endpoint, state, key)
            })
            .collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let points = match balancing {
            Balancing::RingHash(ring) => Points::Ring(Ring::new(&keys, weights, &ring)),
            Balancing::Maglev(maglev) => {
                Points::Maglev(Maglev::new(&keys, weights, maglev.table_size))
            }
            Balancing::Random
            | Balancing::RoundRobin
            | Balancing::Weighted
            | Balancing::LeastRequest(_)
            | Balancing::PeakEwma(_) => return None,
        };
        Some(Self { members: members.into(), weights: weights.into(), points })
    }

    /// Endpoints that have a place, in the order in which they were given one.
    pub(crate) fn members(&self) -> &[u32] {
        &self.members
    }

    /// Shares in the order of the members.
    pub(crate) fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// Position among the members of the one that a hash belongs to.
    #[inline]
    pub(crate) fn owner(&self, hash: u64, attempt: u32) -> u32 {
        match &self.points {
            Points::Ring(ring) => ring.owner(hash, attempt),
            Points::Maglev(maglev) => maglev.owner(hash, attempt),
        }
    }

    pub(crate) fn describe(&self) -> String {
        match &self.points {
            Points::Ring(ring) => format!("a ring of {} points", ring.len()),
            Points::Maglev(maglev) => format!("a table of {} entries", maglev.len()),
        }
    }
}

fn key_of(endpoint: &Endpoint, state: &EndpointState, key: HashKey) -> String {
    match (endpoint.metadata.get(HASH_KEY), key) {
        (Some(key), _) if !key.is_empty() => key.clone(),
        (_, HashKey::Hostname) if !endpoint.hostname.is_empty() => endpoint.hostname.clone(),
        (_, HashKey::Hostname) => endpoint.host.clone(),
        (_, HashKey::Address) => state.address(),
    }
}
