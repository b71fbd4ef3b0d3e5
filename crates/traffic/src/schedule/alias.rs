/// Positions in proportion to their weights by a table with one column for each: a column keeps
/// what fits into it, and what it lacks is filled up by one other position. M. D. Vose, "A linear
/// algorithm for generating random numbers with a given distribution", IEEE TSE 17 (1991).
#[derive(Debug)]
pub(crate) struct Alias {
    columns: Box<[Column]>,
}

#[derive(Clone, Copy, Debug)]
struct Column {
    /// A coin below this (of 2^32) stays in the column.
    keep: u32,
    /// Who gets the rest.
    other: u32,
}

/// 2^32 / golden ratio: multiples of it fill the range as evenly as can be (Weyl, Knuth TAOCP 3,
/// 6.4).
const GOLDEN: u32 = 0x9e37_79b9;

impl Alias {
    /// There must be at least one weight, none is 0, and their sum times their number fits 64 bits.
    pub(crate) fn new(weights: &[u64]) -> Self {
        let count = weights.len() as u64;
        let sum: u64 = weights.iter().sum();
        // Of each position, in units of 1 / (sum * count): a column holds `sum`.
        let mut left: Vec<u64> = weights.iter().map(|weight| weight * count).collect();
        let mut columns: Vec<Column> =
            (0u32..).take(weights.len()).map(|it| Column { keep: u32::MAX, other: it }).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..weights.len()).partition(|it| left[*it] < sum);
        while let (Some(lacking), Some(giver)) = (small.pop(), large.last().copied()) {
            columns[lacking] = Column {
                keep: ((u128::from(left[lacking]) << 32) / u128::from(sum)) as u32,
                other: giver as u32,
            };
            left[giver] -= sum - left[lacking];
            if left[giver] < sum {
                large.pop();
                small.push(giver);
            }
        }
        Self { columns: columns.into() }
    }

    /// Number of positions.
    pub(crate) fn len(&self) -> usize {
        self.columns.len()
    }

    /// The position that has a column in this round: over the rounds each column stays with its own
    /// position as often as it should, spread evenly.
    #[inline]
    pub(crate) fn at(&self, column: usize, round: u32) -> usize {
        // Columns are set off against each other, so that they do not all switch at once.
        let offset = (column as u32).wrapping_mul(0x85eb_ca6b);
        self.toss(column, round.wrapping_mul(GOLDEN).wrapping_add(offset))
    }

    /// The position for a column and a random number.
    #[inline]
    pub(crate) fn toss(&self, column: usize, coin: u32) -> usize {
        let Column { keep, other } = self.columns[column];
        if coin < keep { column } else { other as usize }
    }
}
