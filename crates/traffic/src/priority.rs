//! How a request's priority is chosen (reference/load-balancing.md 2.9 and 2.10). The integer
//! arithmetic is Envoy's, so that the shares are the same to the percent.

use proxy_config::Narrowing;

/// Endpoints of one priority.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Census {
    /// All.
    pub all: usize,
    /// Of `all`: those that count neither as usable nor as unusable.
    pub excluded: usize,
    /// Of `all`: healthy.
    pub healthy: usize,
    /// Of `all`: degraded.
    pub degraded: usize,
}

/// Which share of the requests each priority gets, in percent, and from which of its endpoints.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Loads {
    /// For the healthy endpoints of each priority, or for all of them in panic.
    pub healthy: Vec<u32>,
    /// For the degraded endpoints of each priority.
    pub degraded: Vec<u32>,
    /// Priorities of which all endpoints are used, well or not.
    pub panic: Vec<bool>,
    /// The priority whose healthy endpoints (or all, in panic) get everything.
    pub only: Option<usize>,
}

/// A priority, and which of its endpoints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Share {
    /// Rank of the priority.
    pub priority: usize,
    /// Its degraded endpoints rather than its healthy ones.
    pub degraded: bool,
}

impl Loads {
    /// Shares for priorities in their order.
    pub(crate) fn new(
        priorities: &[Census],
        overprovisioning_percent: u32,
        narrowing: &Narrowing,
    ) -> Self {
        let factor = u64::from(overprovisioning_percent.max(100));
        let availability = |part: fn(&Census) -> usize| -> Vec<u32> {
            let of = |it: &Census| match (it.all - it.excluded) as u64 {
                0 => 0,
                counted => (factor * part(it) as u64 / counted).min(100) as u32,
            };
            priorities.iter().map(of).collect()
        };
        let (healthy, degraded) = (availability(|it| it.healthy), availability(|it| it.degraded));
        let sum = healthy.iter().chain(&degraded).sum::<u32>().min(100);
        let mut loads = Self {
            healthy: vec![0; priorities.len()],
            degraded: vec![0; priorities.len()],
            panic: vec![false; priorities.len()],
            only: None,
        };
        if sum > 0 {
            let left = distribute(&mut loads.healthy, &healthy, 100, sum);
            let left = distribute(&mut loads.degraded, &degraded, left, sum);
            // What is left is lost to rounding: the first that can takes it.
            if let Some(first) = healthy.iter().position(|it| *it > 0) {
                loads.healthy[first] += left;
            } else if let Some(first) = degraded.iter().position(|it| *it > 0) {
                loads.degraded[first] += left;
            }
        }
        loads.fall_into_panic(
            priorities,
            sum,
            u64::from(narrowing.panic_threshold_percent.min(100)),
        );
        loads.only = loads.healthy.iter().position(|it| *it == 100);
        loads
    }

    fn fall_into_panic(&mut self, priorities: &[Census], sum: u32, threshold: u64) {
        if sum >= 100 || threshold == 0 {
            return;
        }
        for (panic, it) in self.panic.iter_mut().zip(priorities) {
            let counted = (it.all - it.excluded) as u64;
            let well = (it.healthy + it.degraded) as u64;
            *panic = 100 * well < threshold * counted.max(1);
        }
        let all: usize = priorities.iter().map(|it| it.all).sum();
        if all == 0 || !self.panic.iter().all(|it| *it) {
            return;
        }
        // All in panic: shares by the number of endpoints.
        let mut left = 100;
        for (load, it) in self.healthy.iter_mut().zip(priorities) {
            *load = (100 * it.all / all) as u32;
            left -= *load;
        }
        self.degraded.fill(0);
        if let Some(first) = priorities.iter().position(|it| it.all > 0) {
            self.healthy[first] += left;
        }
    }

    /// The share that a number (a hash or a random one) falls into; `None` when there are none.
    #[inline]
    pub(crate) fn at(&self, number: u64) -> Option<Share> {
        if let Some(priority) = self.only {
            return Some(Share { priority, degraded: false });
        }
        let wanted = (number % 100) as u32 + 1;
        let mut reached = 0;
        for (loads, degraded) in [(&self.healthy, false), (&self.degraded, true)] {
            for (priority, load) in loads.iter().enumerate() {
                reached += load;
                if wanted <= reached {
                    return Some(Share { priority, degraded });
                }
            }
        }
        None
    }
}

/// Gives each what its availability allows; returns what is left.
fn distribute(loads: &mut [u32], availability: &[u32], mut left: u32, sum: u32) -> u32 {
    for (load, available) in loads.iter_mut().zip(availability) {
        *load = left.min(available * 100 / sum);
        left -= *load;
    }
    left
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proxy_config::Narrowing;

    use super::{Census, Loads, Share};

    fn census(healthy: usize, degraded: usize, all: usize) -> Census {
        Census { all, excluded: 0, healthy, degraded }
    }

    fn loads(priorities: &[Census], panic_threshold_percent: u8) -> Loads {
        Loads::new(priorities, 140, &Narrowing { panic_threshold_percent, ..Narrowing::default() })
    }

    /// Envoy's documentation, "Priority levels".
    #[test]
    fn the_first_priority_keeps_all_until_less_than_72_percent_are_healthy() {
        for (healthy, first, second) in
            [(100, 100, 0), (72, 100, 0), (71, 99, 1), (50, 70, 30), (25, 35, 65), (0, 0, 100)]
        {
            let it = loads(&[census(healthy, 0, 100), census(100, 0, 100)], 0);
            assert_eq!(it.healthy, [first, second], "{healthy} % healthy");
        }
    }

    #[test]
    fn three_priorities_share_what_is_there() {
        let shares = |percents: [usize; 3]| {
            loads(&percents.map(|healthy| census(healthy, 0, 100)), 0).healthy
        };
        assert_eq!(shares([25, 25, 100]), [35, 35, 30]);
        assert_eq!(shares([25, 25, 25]), [35, 35, 30]);
        assert_eq!(shares([20, 20, 10]), [40, 40, 20]);
    }

    #[test]
    fn degraded_endpoints_get_what_the_healthy_of_all_priorities_leave() {
        let it = loads(&[census(25, 25, 100), census(20, 0, 100)], 0);
        // 35 + 28 healthy and 35 degraded make 98: each is scaled, and the first gets the rest.
        assert_eq!((it.healthy, it.degraded), (vec![37, 28], vec![35, 0]));
    }

    #[test]
    fn below_the_threshold_a_priority_is_in_panic_unless_the_others_suffice() {
        let it = loads(&[census(2, 0, 10), census(10, 0, 10)], 50);
        assert_eq!(it.panic, [false, false]);
        let it = loads(&[census(2, 0, 10), census(5, 0, 10)], 50);
        assert_eq!(it.panic, [true, false]);
        let it = loads(&[census(1, 0, 10), census(1, 0, 30)], 50);
        assert_eq!(
            (it.panic.as_slice(), it.healthy.as_slice()),
            ([true; 2].as_slice(), [25, 75].as_slice())
        );
        assert!(loads(&[census(0, 0, 10)], 0).at(7).is_none());
        assert!(loads(&[census(0, 0, 10)], 1).panic[0]);
    }

    #[test]
    fn excluded_endpoints_are_not_in_the_denominator() {
        let all = Census { all: 10, excluded: 8, healthy: 2, degraded: 0 };
        assert_eq!(loads(&[all, census(1, 0, 1)], 0).healthy, [100, 0]);
    }

    proptest! {
        #[test]
        fn shares_make_a_hundred_and_each_number_has_one(
            list in proptest::collection::vec((0usize..5, 0usize..5, 0usize..5), 1..5),
            threshold in 0u8..101,
        ) {
            let list: Vec<_> = list.iter().map(|it| census(it.0, it.1, it.0 + it.1 + it.2)).collect();
            let it = loads(&list, threshold);
            let sum: u32 = it.healthy.iter().chain(&it.degraded).sum();
            prop_assert!(sum == 100 || sum == 0);
            let usable: usize = list.iter().map(|it| it.healthy + it.degraded).sum();
            prop_assert!(sum == 100 || usable == 0);
            for number in 0..100 {
                match it.at(number) {
                    None => prop_assert_eq!(sum, 0),
                    Some(Share { priority, degraded }) => {
                        let load = if degraded { it.degraded[priority] } else { it.healthy[priority] };
                        prop_assert!(load > 0);
                    }
                }
            }
        }
    }
}
