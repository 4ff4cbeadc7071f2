use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn keeping(kept: usize) -> LatestVisitors {
    let mut latest = LatestVisitors::default();
    latest.set_kept(kept);
    latest
}

proptest! {
    #[test]
    fn counts_are_exact_up_to_the_number_kept(
        kept in 1_usize..12,
        events in proptest::collection::vec((0_u64..40, 0_u32..500), 1..300),
    ) {
        let mut latest = keeping(kept);
        let mut all = HashMap::<u64, u32>::new();
        for (visitor, second) in events {
            let hash = visitor.wrapping_mul(0x9e37_79b9_7f4a_7c15).max(1);
            latest.visit(hash, second);
            let known = all.entry(hash).or_insert(second);
            *known = second.max(*known);
            let mut seconds: Vec<u32> = all.values().copied().collect();
            seconds.sort_unstable_by(|a, b| b.cmp(a));
            for (place, second) in seconds.iter().take(kept).enumerate() {
                prop_assert_eq!(latest.nth_latest(place as u32 + 1), Some(*second));
                let count = seconds.iter().filter(|one| *one >= second).count();
                prop_assert_eq!(latest.since(*second) as usize >= kept, count >= kept);
                if count < kept {
                    prop_assert_eq!(latest.since(*second) as usize, count);
                }
            }
            let mut again = keeping(kept);
            again.read_text(&latest.to_text());
            for place in 1..=kept as u32 {
                prop_assert_eq!(again.nth_latest(place), latest.nth_latest(place));
            }
        }
    }
}

#[test]
fn a_text_of_another_kind_holds_nobody() {
    let mut latest = keeping(3);
    for text in ["", "?", "AAAA", "not base64 at all"] {
        latest.read_text(text);
    }
    assert_eq!(latest.nth_latest(1), None);
    assert!(!latest.has(1));
}

#[test]
fn nobody_is_kept_after_zero_is_asked_for() {
    let mut latest = keeping(3);
    latest.visit(7, 100);
    latest.set_kept(0);
    assert_eq!((latest.since(0), latest.kept()), (0, 0));
}
