//! The hash ring (ketama), placed as Envoy does (reference/load-balancing.md 2.5).

use proxy_config::{HashFunction, RingHash};
use xxhash_rust::xxh64::xxh64;

use crate::hash::murmur;

/// Largest ring, whatever the configuration says; Envoy's limit. 12 bytes an entry and 4 to 8 for
/// the index: at most 168 MB.
const SIZE_MAX: u32 = 8 * 1024 * 1024;

/// Points on a circle, each owned by an endpoint; a hash belongs to the next point.
#[derive(Debug)]
pub(crate) struct Ring {
    /// Points, ascending.
    hashes: Box<[u64]>,
    /// Whose point it is.
    owners: Box<[u32]>,
    /// For each value of the upper bits of a hash the first point that is not before it, so that
    /// one or two points are looked at instead of log2(size).
    index: Box<[u32]>,
    shift: u32,
}

impl Ring {
    /// A ring for endpoints known by `keys`, with `weights` that sum up to 1, in the order in which
    /// Envoy has its hosts. There must be at least one, and no weight is 0.
    pub(crate) fn new(keys: &[&str], weights: &[f64], ring: &RingHash) -> Self {
        let size_max = f64::from(ring.size_max.clamp(1, SIZE_MAX));
        let size_min = f64::from(ring.size_min.max(1)).min(size_max);
        let least = weights.iter().copied().fold(1.0, f64::min);
        // The lightest endpoint gets a whole number of points.
        let scale = ((least * size_min).ceil() / least).min(size_max);

        let mut points: Vec<(u64, u32)> = Vec::with_capacity(scale.ceil() as usize);
        let mut point = Vec::new();
        // Sums over the endpoints before, so that fractions of a point are not lost.
        let (mut placed, mut target) = (0.0, 0.0);
        for ((owner, key), weight) in (0u32..).zip(keys).zip(weights) {
            target += scale * weight;
            let mut nth = 0u32;
            while placed < target {
                point.clear();
                point.extend_from_slice(key.as_bytes());
                point.push(b'_');
                push_decimal(&mut point, nth);
                points.push((hash(ring.function, &point), owner));
                nth += 1;
                placed += 1.0;
            }
        }
        points.sort_by_key(|point| point.0);
        Self::from_points(&points)
    }

    fn from_points(points: &[(u64, u32)]) -> Self {
        let bits = points.len().next_power_of_two().trailing_zeros().max(1);
        let shift = 64 - bits;
        let mut index = Vec::with_capacity(1 << bits);
        let mut first = 0usize;
        for upper in 0u64..1 << bits {
            while points.get(first).is_some_and(|point| point.0 >> shift < upper) {
                first += 1;
            }
            index.push(u32::try_from(first).expect("a ring has at most 2^23 points"));
        }
        Self {
            hashes: points.iter().map(|point| point.0).collect(),
            owners: points.iter().map(|point| point.1).collect(),
            index: index.into(),
            shift,
        }
    }

    /// Number of points.
    pub(crate) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whose a hash is: the owner of the first point that is not before it, or of the first of all.
    /// `attempt`: so many points further, for a request that was already sent to those before.
    #[inline]
    pub(crate) fn owner(&self, hash: u64, attempt: u32) -> u32 {
        let mut position = self.index[(hash >> self.shift) as usize] as usize;
        while position < self.hashes.len() && self.hashes[position] < hash {
            position += 1;
        }
        if position == self.hashes.len() {
            position = 0;
        }
        if attempt > 0 {
            position = (position + attempt as usize) % self.hashes.len();
        }
        self.owners[position]
    }
}

fn hash(function: HashFunction, point: &[u8]) -> u64 {
    match function {
        HashFunction::XxHash => xxh64(point, 0),
        HashFunction::MurmurHash2 => murmur::hash(point, murmur::STD_SEED),
    }
}

fn push_decimal(text: &mut Vec<u8>, number: u32) {
    let start = text.len();
    let mut left = number;
    loop {
        text.push(b'0' + (left % 10) as u8);
        left /= 10;
        if left == 0 {
            break;
        }
    }
    text[start..].reverse();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proxy_config::RingHash;

    use super::{Ring, push_decimal};

    fn keys(count: usize) -> Vec<String> {
        (0..count).map(|it| format!("10.0.{}.{}:8000", it / 256, it % 256)).collect()
    }

    fn ring(count: usize) -> Ring {
        let keys = keys(count);
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        Ring::new(&keys, &vec![1.0 / count as f64; count], &RingHash::default())
    }

    #[test]
    fn the_lightest_endpoint_gets_a_whole_number_of_points() {
        assert_eq!(ring(3).len(), 1026);
        assert_eq!(ring(100).len(), 1100);
        assert_eq!(ring(2000).len(), 2000);
        let small = RingHash { size_min: 1, size_max: 6, ..RingHash::default() };
        let keys = keys(4);
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        assert_eq!(Ring::new(&keys, &[0.25; 4], &small).len(), 4);
    }

    #[test]
    fn a_ring_never_grows_beyond_its_greatest_size() {
        let greatest = RingHash { size_min: 1 << 20, size_max: 10, ..RingHash::default() };
        let ring = Ring::new(&["a", "b", "c"], &[0.5, 0.25, 0.25], &greatest);
        assert_eq!(ring.len(), 10);
    }

    #[test]
    fn numbers_are_written_in_decimal() {
        let mut text = b"key_".to_vec();
        push_decimal(&mut text, 0);
        push_decimal(&mut text, 1_203);
        assert_eq!(text, b"key_01203");
    }

    proptest! {
        #[test]
        fn the_index_finds_what_a_search_finds(
            count in 1usize..60, hash in any::<u64>(), attempt in 0u32..5
        ) {
            let ring = ring(count);
            let first = ring.hashes.partition_point(|it| *it < hash) % ring.len();
            let expected = ring.owners[(first + attempt as usize) % ring.len()];
            prop_assert_eq!(ring.owner(hash, attempt), expected);
            let edge = ring.hashes[first];
            prop_assert_eq!(ring.owner(edge, 0), ring.owners[ring.hashes.partition_point(|it| *it < edge)]);
            prop_assert_eq!(ring.owner(u64::MAX, 0), ring.owners[ring.hashes.partition_point(|it| *it < u64::MAX) % ring.len()]);
        }
    }
}
