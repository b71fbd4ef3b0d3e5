use proptest::prelude::*;

use super::{STRIDE_MAX, Schedule, smooth_sequence};

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
    let Schedule::Sequence(sequence) = Schedule::weighted(&[65_535, 1]) else {
        panic!("65,536 entries are allowed")
    };
    assert_eq!(sequence.len(), 65_536);
    assert_eq!(count(&sequence, 1), 1);
}

#[test]
fn equal_weights_take_plain_turns() {
    assert!(matches!(Schedule::weighted(&[7, 7, 7]), Schedule::Equal { count: 3 }));
    assert!(matches!(Schedule::weighted(&[]), Schedule::Equal { count: 0 }));
    assert_eq!(Schedule::weighted(&[]).at(3), None);
}

#[test]
fn a_stride_is_exact_over_its_cycle() {
    let schedule = Schedule::weighted(&[65_535, 30_000, 1]);
    assert!(matches!(schedule, Schedule::Stride(_)));
    let mut counts = [0u64; 3];
    for turn in 0..STRIDE_MAX * 3 {
        if let Some(position) = schedule.at(turn) {
            counts[position] += 1;
        }
    }
    assert_eq!(counts, [65_535, 30_000, 1]);
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
