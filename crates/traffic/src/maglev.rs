//! Maglev's table, filled as Envoy does (reference/load-balancing.md 2.6). D. Eisenbud et al.,
//! "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4.

use xxhash_rust::xxh64::xxh64;

/// Largest table; Envoy's limit. 4 bytes an entry: 20 MB.
const SIZE_MAX: u32 = 5_000_011;

/// A table of endpoints; a hash belongs to the one at `hash % size`.
#[derive(Debug)]
pub(crate) struct Maglev {
    owners: Box<[u32]>,
}

const FREE: u32 = u32::MAX;

struct Filler {
    owner: u32,
    weight: f64,
    /// Grows with each entry; an endpoint waits while its weight times the rounds is below it.
    target: f64,
    /// Where it wants its next entry, and how far to go on when that is taken.
    next: u64,
    skip: u64,
}

impl Maglev {
    /// A table for endpoints known by `keys`, with `weights` that sum up to 1. There must be at
    /// least one, and no weight is 0. `size` is made a prime of at most 5,000,011: only with one do
    /// the steps of an endpoint come to every entry.
    pub(crate) fn new(keys: &[&str], weights: &[f64], size: u32) -> Self {
        let size = u64::from(prime_from(size));
        let mut order: Vec<u32> = (0u32..).take(keys.len()).collect();
        order.sort_by_key(|owner| keys[*owner as usize]);
        let mut fillers: Vec<Filler> = order
            .into_iter()
            .map(|owner| {
                let key = keys[owner as usize].as_bytes();
                Filler {
                    owner,
                    weight: weights[owner as usize],
                    target: 0.0,
                    next: xxh64(key, 0) % size,
                    skip: xxh64(key, 1) % (size - 1) + 1,
                }
            })
            .collect();
        let greatest = weights.iter().copied().fold(0.0, f64::max);

        let mut owners = vec![FREE; size as usize];
        let mut free = size;
        let mut round = 0.0;
        while free > 0 {
            round += 1.0;
            for filler in &mut fillers {
                // The heaviest comes in every round, one with a third of its weight in every third.
                if round * filler.weight < filler.target {
                    continue;
                }
                filler.target += greatest;
                while owners[filler.next as usize] != FREE {
                    filler.step(size);
                }
                owners[filler.next as usize] = filler.owner;
                filler.step(size);
                free -= 1;
                if free == 0 {
                    break;
                }
            }
        }
        Self { owners: owners.into() }
    }

    /// Whose a hash is. `attempt`: of a request that was already sent to so many; most bits of the
    /// hash change with it.
    #[inline]
    pub(crate) fn owner(&self, hash: u64, attempt: u32) -> u32 {
        let hash = if attempt > 0 { hash ^ u64::from(attempt).wrapping_neg() } else { hash };
        self.owners[(hash % self.owners.len() as u64) as usize]
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> usize {
        self.owners.len()
    }
}

impl Filler {
    fn step(&mut self, size: u64) {
        self.next += self.skip;
        if self.next >= size {
            self.next -= size;
        }
    }
}

/// The least prime that is at least `size`, or the greatest that is allowed.
fn prime_from(size: u32) -> u32 {
    let is_prime = |number: &u32| {
        let divisors = (2..).take_while(|divisor| u64::from(*divisor).pow(2) <= u64::from(*number));
        divisors.into_iter().all(|divisor: u32| !number.is_multiple_of(divisor))
    };
    // 3 at least: with 2 there is no step to choose.
    (size.clamp(3, SIZE_MAX)..=SIZE_MAX).find(is_prime).unwrap_or(SIZE_MAX)
}

#[cfg(test)]
mod tests {
    use super::{Maglev, SIZE_MAX, prime_from};

    fn counts(table: &Maglev, owners: usize) -> Vec<usize> {
        let mut counts = vec![0; owners];
        for owner in &table.owners {
            counts[*owner as usize] += 1;
        }
        counts
    }

    #[test]
    fn sizes_become_primes() {
        for (size, prime) in
            [(0, 3), (3, 3), (65_536, 65_537), (65_537, 65_537), (u32::MAX, SIZE_MAX)]
        {
            assert_eq!(prime_from(size), prime);
        }
    }

    #[test]
    fn equal_weights_get_equal_shares_to_one_entry() {
        let keys: Vec<String> = (0..7).map(|it| format!("10.0.0.{it}:80")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let counts = counts(&Maglev::new(&keys, &[1.0 / 7.0; 7], 65_537), 7);
        assert!(counts.iter().all(|count| (9362..=9363).contains(count)), "{counts:?}");
    }

    #[test]
    fn entries_are_in_proportion_to_weights() {
        let table = Maglev::new(&["a", "b", "c"], &[0.5, 0.3, 0.2], 65_537);
        for (count, weight) in counts(&table, 3).into_iter().zip([0.5, 0.3, 0.2]) {
            assert!((count as f64 / 65_537.0 - weight).abs() < 0.001, "{count}");
        }
    }

    #[test]
    fn more_endpoints_than_entries_fill_the_table() {
        let keys: Vec<String> = (0..20).map(|it| it.to_string()).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        assert_eq!(Maglev::new(&keys, &[0.05; 20], 5).len(), 5);
    }
}
