use proptest::prelude::*;

use super::{SEQUENCE_MAX, Schedule, smooth_sequence};

fn count(sequence: &[u32], position: usize) -> u64 {
    sequence.iter().filter(|it| **it as usize == position).count() as u64
}

#[test]
fn the_textbook_weights_are_interleaved() {
    let letters = |weights: &[u64]| -> String {
        smooth_sequence(weights).iter().map(|it| char::from(b'a' + *it as u8)).collect()
    };
    assert_eq!(letters(&[5, 1, 1]), "aabaaca");
    assert_eq!(letters(&[2, 1]), "aba");
    assert_eq!(letters(&[3, 1]), "aaba");
}

#[test]
fn the_longest_sequence_is_computed() {
    let Schedule::Sequence(sequence) = Schedule::weighted([4095, 1]) else {
        panic!("{SEQUENCE_MAX} entries are allowed")
    };
    assert_eq!(sequence.len() as u64, SEQUENCE_MAX);
    assert_eq!(count(&sequence, 1), 1);
}

#[test]
fn equal_weights_take_plain_turns() {
    assert!(matches!(Schedule::weighted([7, 7, 7]), Schedule::Equal { count: 3 }));
    assert!(matches!(Schedule::weighted([]), Schedule::Equal { count: 0 }));
}

#[test]
fn a_stride_gives_each_its_share_and_needs_one_turn_each() {
    let weights = [65_535, 30_000, 100, 1];
    let schedule = Schedule::weighted(weights);
    assert!(matches!(schedule, Schedule::Stride(_)));
    let sum: u32 = weights.iter().sum();
    let mut counts = [0u32; 4];
    for turn in 0..u64::from(sum) {
        counts[schedule.at(turn)] += 1;
    }
    for (count, weight) in counts.iter().zip(weights) {
        assert!(count.abs_diff(weight) <= 20, "{counts:?}");
    }
}

proptest! {
    #[test]
    fn a_cycle_is_exact_and_never_strays_by_one(
        weights in proptest::collection::vec(1u64..40, 2..12)
    ) {
        let sum: u64 = weights.iter().sum();
        let sequence = smooth_sequence(&weights);
        prop_assert_eq!(sequence.len() as u64, sum);
        for (position, weight) in weights.iter().enumerate() {
            let mut come = 0u64;
            for (turn, it) in (1u64..).zip(&*sequence) {
                come += u64::from(*it as usize == position);
                prop_assert!((come * sum).abs_diff(turn * weight) < sum);
            }
            prop_assert_eq!(come, *weight);
        }
    }

    /// Low discrepancy: far closer than chance, which would stray by the square root of the turns.
    #[test]
    fn a_stride_strays_little_in_any_window(
        weights in proptest::collection::vec(1u32..65_536, 2..40), start in any::<u32>()
    ) {
        let schedule = Schedule::weighted(weights.iter().copied().chain([65_521, 65_519]));
        prop_assert!(matches!(schedule, Schedule::Stride(_)));
        let all: Vec<u32> = weights.iter().copied().chain([65_521, 65_519]).collect();
        let sum: f64 = all.iter().map(|it| f64::from(*it)).sum();
        let turns = 10_000 * all.len() as u64;
        let mut counts = vec![0u64; all.len()];
        for turn in 0..turns {
            counts[schedule.at(u64::from(start) + turn)] += 1;
        }
        for (count, weight) in counts.iter().zip(&all) {
            let expected = turns as f64 * f64::from(*weight) / sum;
            prop_assert!((*count as f64 - expected).abs() < 12.0 * all.len() as f64);
        }
    }

    #[test]
    fn no_window_has_more_than_its_share_and_one(
        weights in proptest::collection::vec(1u64..20, 2..8), window in 1usize..60
    ) {
        let sum: u64 = weights.iter().sum();
        let cycle = smooth_sequence(&weights);
        let endless = cycle.iter().copied().cycle();
        let endless: Vec<u32> = endless.take(cycle.len() * 2 + window).collect();
        for slice in endless.windows(window) {
            for (position, weight) in weights.iter().enumerate() {
                let most = (window as u64 * weight).div_ceil(sum) + 1;
                prop_assert!(count(slice, position) <= most);
            }
        }
    }
}
