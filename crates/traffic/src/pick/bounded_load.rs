use super::table::Table;
use crate::hash::mersenne::MersenneTwister;

/// Consistent hashing with bounded loads: V. Mirrokni et al., arXiv 1608.01350, with the random
/// jumps of arXiv 1908.08762, as Envoy does it (reference/load-balancing.md 2.7).
pub(crate) struct Bound<'a> {
    pub table: &'a Table,
    /// Members that are not to be used.
    pub gone: Option<&'a [bool]>,
    /// How many percent of the mean an endpoint may have, at least 100.
    pub percent: u32,
    /// Active requests of the cluster.
    pub cluster_active: u64,
}

impl Bound<'_> {
    /// The owner of the hash while it has not too many requests; else the first of the others that
    /// has not, in an order that the hash alone decides; else the one that has least beyond its
    /// share. Looks at other endpoints, and allocates, only when the owner has too many.
    pub(crate) fn choose(&self, owner: u32, hash: u64, active: impl Fn(u32) -> u32) -> u32 {
        let overload = |position: u32| {
            let at = position as usize;
            f64::from(active(self.table.members()[at])) / self.slots(self.table.weights()[at])
        };
        let mut least = (owner, overload(owner));
        if least.1 <= 1.0 {
            return owner;
        }
        let count = self.table.members().len() as u32;
        let mut order: Vec<u32> = (0..count).collect();
        // C++ takes the seed modulo 2^32.
        let mut random = MersenneTwister::new(hash as u32);
        for idx in 0..count {
            let other = idx + random.below(count - idx);
            order.swap(idx as usize, other as usize);
            let position = order[idx as usize];
            if position == owner || self.gone.is_some_and(|gone| gone[position as usize]) {
                continue;
            }
            let overload = overload(position);
            if overload <= 1.0 {
                return position;
            }
            if overload < least.1 {
                least = (position, overload);
            }
        }
        least.0
    }

    /// Requests that an endpoint with this share may have.
    fn slots(&self, weight: f64) -> f64 {
        let percent = u64::from(self.percent.max(100));
        let total = ((self.cluster_active + 1) * percent).div_ceil(100);
        (total as f64 * weight).ceil().max(1.0)
    }
}
