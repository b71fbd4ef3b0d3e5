use std::cmp::Reverse;
use std::collections::BinaryHeap;

pub(crate) use self::alias::Alias;

mod alias;

/// Most entries of a precomputed sequence: 16 KiB a set, and about 0.2 ms to compute, which the
/// first pick after an ejection does.
const SEQUENCE_MAX: u64 = 4096;

/// Whose turn it is, as a pure function of the number of the turn: workers share one counter and no
/// lock, and each number is taken by one of them, so shares are exact across workers.
#[derive(Debug)]
pub(crate) enum Schedule {
    /// Positions `0..count` in order.
    Equal { count: u64 },
    /// Positions in the order in which they come, one whole cycle.
    Sequence(Box<[u32]>),
    /// For cycles too long to write down: positions in order, each of which gives its turn away now
    /// and then to one that has too few.
    ///
    /// gRPC's static stride (reference/load-balancing.md 2.1) leaves such a turn to nobody, so that
    /// a pick takes up to as many turns as there are positions; here one turn is always enough.
    Stride(Alias),
}

impl Schedule {
    /// Each of `count` positions in turn.
    pub(crate) fn equal(count: usize) -> Self {
        Schedule::Equal { count: count as u64 }
    }

    /// Positions in proportion to their weights, smoothly. A weight of 0 counts as 1.
    pub(crate) fn weighted(weights: impl IntoIterator<Item = u32>) -> Self {
        let weights: Vec<u64> =
            weights.into_iter().map(|weight| u64::from(weight).max(1)).collect();
        let divisor = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
        let reduced: Vec<u64> = weights.iter().map(|weight| weight / divisor).collect();
        if reduced.iter().all(|weight| *weight == 1) {
            Schedule::equal(weights.len())
        } else if reduced.iter().sum::<u64>() <= SEQUENCE_MAX {
            Schedule::Sequence(smooth_sequence(&reduced))
        } else {
            Schedule::Stride(Alias::new(&weights))
        }
    }

    /// The position that has this turn. There must be one at all.
    #[inline]
    pub(crate) fn at(&self, turn: u64) -> usize {
        match self {
            Schedule::Equal { count } => (turn % count) as usize,
            Schedule::Sequence(sequence) => {
                sequence[(turn % sequence.len() as u64) as usize] as usize
            }
            Schedule::Stride(alias) => {
                let count = alias.len() as u64;
                alias.at((turn % count) as usize, (turn / count) as u32)
            }
        }
    }

    /// A turn in words, counted from 1 within its cycle, for explain.
    pub(crate) fn describe(&self, turn: u64) -> String {
        let (cycle, length) = match self {
            Schedule::Equal { count } => ("cycle of", *count),
            Schedule::Sequence(sequence) => ("smooth cycle of", sequence.len() as u64),
            Schedule::Stride(alias) => ("stride over", alias.len() as u64),
        };
        format!("turn {} of a {cycle} {length}", turn % length.max(1) + 1)
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// One cycle, as long as the sum of the weights, in which each position comes as often as its
/// weight says and after `k` turns has come `k * weight / sum` times, give or take less than one;
/// so in any window of `l` turns it comes at most `ceil(l * weight / sum) + 1` times.
///
/// R. Tijdeman, "The chairman assignment problem", Discrete Mathematics 32 (1980): of those that
/// may come again, the one that must come soonest. nginx's smooth round robin (the greatest deficit
/// comes next) looks alike but its deficits grow with the number of positions, and it costs O(n)
/// instead of O(log n) per turn.
fn smooth_sequence(weights: &[u64]) -> Box<[u32]> {
    let sum: u64 = weights.iter().sum();
    if weights.len() < 2 {
        return vec![0; weights.len()].into();
    }
    // With d = 1 / scale the x-th coming (from 0) of a share s = weight / sum may be at the first
    // turn k (from 1) with s*k >= x + d, and must be at the latest at the first with s*k > x + 1 -
    // d.
    let scale = 2 * weights.len() as u64 - 2;
    let may = |weight: u64, nth: u64| (sum * (1 + nth * scale)).div_ceil(scale * weight);
    let must = |weight: u64, nth: u64| sum * ((nth + 1) * scale - 1) / (scale * weight) + 1;

    let mut waiting: BinaryHeap<Reverse<(u64, u32, u64)>> = (0u32..)
        .zip(weights)
        .map(|(position, weight)| Reverse((may(*weight, 0), position, 0)))
        .collect();
    let mut ready: BinaryHeap<Reverse<(u64, u32, u64)>> = BinaryHeap::new();
    let mut sequence = Vec::with_capacity(sum as usize);
    for turn in 1..=sum {
        while let Some(Reverse((at, position, nth))) = waiting.peek().copied()
            && at <= turn
        {
            waiting.pop();
            ready.push(Reverse((must(weights[position as usize], nth), position, nth)));
        }
        let Reverse((_, position, nth)) =
            ready.pop().expect("by Tijdeman's theorem every turn has somebody who may come");
        sequence.push(position);
        let weight = weights[position as usize];
        if nth + 1 < weight {
            waiting.push(Reverse((may(weight, nth + 1), position, nth + 1)));
        }
    }
    sequence.into()
}

#[cfg(test)]
mod tests;
