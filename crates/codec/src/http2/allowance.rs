//! What a peer may do that costs more than it is worth: so much at once, more for honest work, and more with time.

const NS_PER_SECOND: u64 = 1_000_000_000;

/// A number of acts that are still allowed.
#[derive(Debug)]
pub(super) struct Allowance {
    left: u32,
    most: u32,
    per_second: u32,
    refilled_ns: u64,
}

impl Allowance {
    /// `most` at once, and `per_second` more with each second, as far as there is room.
    pub(super) fn new(most: u32, per_second: u32) -> Self {
        Self { left: most, most, per_second, refilled_ns: 0 }
    }

    /// False when it is used up.
    #[must_use]
    pub(super) fn take(&mut self, count: u32, now_ns: u64) -> bool {
        if self.left < count {
            self.refill(now_ns);
        }
        match self.left.checked_sub(count) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// Earned by honest work.
    pub(super) fn give(&mut self, count: u32) {
        self.left = (self.left + count).min(self.most);
    }

    fn refill(&mut self, now_ns: u64) {
        let elapsed_ns = now_ns.saturating_sub(self.refilled_ns);
        let earned = u128::from(elapsed_ns) * u128::from(self.per_second);
        let earned = u32::try_from(earned / u128::from(NS_PER_SECOND)).unwrap_or(u32::MAX);
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(self.most);
            self.refilled_ns = now_ns;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_comes_back_with_time_and_work_but_never_above_its_most() {
        let mut allowance = Allowance::new(10, 2);
        assert!(allowance.take(10, 0) && !allowance.take(1, 0));
        assert!(allowance.take(1, NS_PER_SECOND) && allowance.take(1, NS_PER_SECOND));
        assert!(!allowance.take(1, NS_PER_SECOND));
        allowance.give(3);
        assert!(allowance.take(3, NS_PER_SECOND) && !allowance.take(1, NS_PER_SECOND));
        assert!(allowance.take(10, 1000 * NS_PER_SECOND));
        assert!(!allowance.take(1, 1000 * NS_PER_SECOND));
    }
}
