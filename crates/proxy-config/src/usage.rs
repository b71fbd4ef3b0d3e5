//! What a proxy says back: what became of the requests to its endpoints, and of those of clients to its virtual hosts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Buckets of [`EndpointUse::durations`].
pub const DURATION_BUCKETS: usize = 32;

/// Upper bound of the first bucket of durations, in microseconds.
pub const DURATION_FIRST_US: u64 = 200;

/// Upper bound of a bucket of durations in microseconds: `200 * 2^(idx / 2)`; infinity for the last one.
#[must_use]
pub fn duration_bound_us(idx: usize) -> f64 {
    if idx + 1 < DURATION_BUCKETS {
        DURATION_FIRST_US as f64 * (idx as f64 / 2.0).exp2()
    } else {
        f64::INFINITY
    }
}

/// The bucket of a duration ([`duration_bound_us`]).
///
/// It is `1 + floor(2 * log2(duration / 200 µs))`, or 0 below 200 µs, without a logarithm: the even powers of √2 are powers
/// of two, and the odd ones are told from the squares.
#[must_use]
#[inline]
pub fn duration_bucket(duration_us: u64) -> usize {
    // What is beyond the last bound needs no more than 31 bits, so that twice its square fits.
    let duration_us = duration_us.min(1 << 31);
    let times = duration_us / DURATION_FIRST_US;
    if times == 0 {
        return 0;
    }
    let octave = times.ilog2();
    let is_upper_half = duration_us.pow(2) >= 2 * (DURATION_FIRST_US << octave).pow(2);
    let idx = 1 + 2 * octave as usize + usize::from(is_upper_half);
    idx.min(DURATION_BUCKETS - 1)
}

/// What became of the requests to one endpoint, over all clusters of a proxy that it is in. All but what is under way only
/// grows, until the endpoint is gone from the configuration or the proxy begins anew.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointUse {
    /// Requests and connections passed through that are under way.
    pub active: u64,
    /// Connections open now.
    pub connections: u64,
    /// Responses with a status below 500.
    pub successes: u64,
    /// Responses with a status of 500 and above, and tries without a response.
    pub failures: u64,
    /// Requests by the time to the head of their response: a count for each bucket ([`duration_bound_us`]), not
    /// cumulative.
    pub durations: Vec<u64>,
    /// The sum of these times, in microseconds.
    pub duration_sum_us: u64,
}

/// Classes that a virtual host's requests are counted in, by the first segment of their path.
///
/// A path that breaks is a small part of a busy host's requests, and a class holds an eighth of the others. Which route a
/// request took cannot be the key: a change of routes is what is judged, and the key must be the same before and after.
pub const PATH_CLASSES: usize = 8;
/// Bytes of the first segment that its class is made of.
const SEGMENT_BYTES_MAX: usize = 16;

/// The class of a path, from 0 to [`PATH_CLASSES`] - 1: a hash (FNV-1a) of the first 16 bytes of its first segment.
#[must_use]
pub fn path_class(path: &str) -> usize {
    let segment = path.as_bytes().iter().skip(1).take(SEGMENT_BYTES_MAX);
    let hash = segment
        .take_while(|it| **it != b'/')
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    // The last bytes have not reached the upper bits yet.
    ((hash ^ hash >> 15).wrapping_mul(0x9E37_79B1) >> 29) as usize
}

/// What became of the requests of clients by [`host_key`]. Only of those that had any.
pub type HostUses = BTreeMap<String, HostUse>;

/// The key of a virtual host of a route table; with an empty name that of requests for hosts that the table does not have.
#[must_use]
pub fn host_key(table: &str, virtual_host: &str) -> String {
    format!("{table}/{virtual_host}")
}

/// What became of the requests that clients sent to one virtual host, over all workers of a proxy. All of it only grows,
/// until the virtual host is gone from the configuration or the proxy begins anew.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HostUse {
    /// By [`path_class`] of their path.
    pub classes: [ClassUse; PATH_CLASSES],
    /// Those that an endpoint answered, by the time from the request to the head of the response: a count for each bucket
    /// ([`duration_bound_us`]), not cumulative.
    pub durations: Vec<u64>,
    /// The sum of these times, in microseconds.
    pub duration_sum_us: u64,
}

/// How requests were answered. Those whose client went away before it was answered are in none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ClassUse {
    /// With a status below 400.
    pub successes: u64,
    /// With one from 400 to 499.
    pub refusals: u64,
    /// With one of 500 and above, with an error of gRPC that stands for such a one, by the proxy for lack of a route or an
    /// endpoint, and those whose response broke off.
    pub failures: u64,
}

impl ClassUse {
    /// All of them.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.successes.saturating_add(self.refusals).saturating_add(self.failures)
    }

    fn add(&mut self, more: &Self) {
        self.successes = self.successes.saturating_add(more.successes);
        self.refusals = self.refusals.saturating_add(more.refusals);
        self.failures = self.failures.saturating_add(more.failures);
    }

    fn since(&self, earlier: &Self) -> Self {
        Self {
            successes: self.successes.saturating_sub(earlier.successes),
            refusals: self.refusals.saturating_sub(earlier.refusals),
            failures: self.failures.saturating_sub(earlier.failures),
        }
    }
}

impl HostUse {
    /// All classes together.
    #[must_use]
    pub fn total(&self) -> ClassUse {
        let mut total = ClassUse::default();
        self.classes.iter().for_each(|class| total.add(class));
        total
    }

    /// Adds `more`, saturating.
    pub fn add(&mut self, more: &Self) {
        self.classes.iter_mut().zip(&more.classes).for_each(|(class, more)| class.add(more));
        let buckets = self.durations.len().max(more.durations.len());
        self.durations.resize(buckets, 0);
        for (count, more) in self.durations.iter_mut().zip(&more.durations) {
            *count = count.saturating_add(*more);
        }
        self.duration_sum_us = self.duration_sum_us.saturating_add(more.duration_sum_us);
    }

    /// What came since `earlier` was read. Counters that went back belong to a host, or a proxy, that began anew: all that
    /// they hold is new.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let went_back = |(now, then): (&ClassUse, &ClassUse)| {
            now.successes < then.successes
                || now.refusals < then.refusals
                || now.failures < then.failures
        };
        if self.classes.iter().zip(&earlier.classes).any(went_back) {
            return self.clone();
        }
        let classes = std::array::from_fn(|idx| self.classes[idx].since(&earlier.classes[idx]));
        let before = |idx: usize| earlier.durations.get(idx).copied().unwrap_or(0);
        let durations = self.durations.iter().enumerate();
        Self {
            classes,
            durations: durations.map(|(idx, now)| now.saturating_sub(before(idx))).collect(),
            duration_sum_us: self.duration_sum_us.saturating_sub(earlier.duration_sum_us),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_between_the_bounds_of_its_bucket() {
        let near = |us: u64| [us.saturating_sub(1), us, us.saturating_add(1)];
        let bounds = (0..DURATION_BUCKETS).map(|idx| duration_bound_us(idx) as u64);
        for us in bounds.flat_map(near).chain([0, 1 << 40]) {
            let idx = duration_bucket(us);
            assert!((us as f64) < duration_bound_us(idx), "{us} in {idx}");
            assert!(idx == 0 || us as f64 >= duration_bound_us(idx - 1), "{us} in {idx}");
        }
    }

    #[test]
    fn what_is_below_one_first_segment_is_of_one_class() {
        let class = path_class("/cart");
        assert_eq!([path_class("/cart/"), path_class("/cart/items/7")], [class; 2]);
        assert_eq!(path_class("/a-segment-of-sixteen"), path_class("/a-segment-of-sixpence/b"));
        assert_eq!([path_class(""), path_class("*")], [path_class("/"); 2]);
        let mut seen = [0; PATH_CLASSES];
        (0..800).for_each(|nth| seen[path_class(&format!("/part{nth}"))] += 1);
        assert!(seen.iter().all(|it| (60..=140).contains(it)), "{seen:?}");
    }

    #[test]
    fn what_came_since_is_all_when_counters_began_anew() {
        let used = |successes, failures| {
            let mut host = HostUse { durations: vec![0, successes], ..HostUse::default() };
            host.classes[3] = ClassUse { successes, failures, ..ClassUse::default() };
            host
        };
        assert_eq!(used(9, 2).since(&used(4, 2)), used(5, 0));
        assert_eq!(used(9, 1).since(&used(4, 2)), used(9, 1));
        let mut sum = used(9, 1);
        sum.add(&used(1, 1));
        assert_eq!((sum.total().requests(), sum), (12, used(10, 2)));
    }
}
