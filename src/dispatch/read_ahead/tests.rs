use proptest::prelude::*;

use super::*;

#[test]
fn records_come_out_by_due_time_and_never_early() {
    let mut ahead = ReadAhead::new();
    for (due, name) in [(30, "c"), (10, "a"), (20, "b1"), (20, "b2")] {
        ahead.push(0, due, 1, name);
    }
    assert_eq!(ahead.next_due(), Some(10));
    assert_eq!(ahead.pop_due(9), None);
    let due: Vec<_> = std::iter::from_fn(|| ahead.pop_due(20))
        .map(|one| one.payload)
        .collect();
    assert_eq!(due, ["a", "b1", "b2"]);
    assert_eq!(ahead.next_due(), Some(30));
}

#[test]
fn a_partition_is_full_at_its_own_bound_only() {
    let mut ahead = ReadAhead::new();
    for n in 0..MAX_RECORDS {
        assert!(!ahead.is_full(0));
        ahead.push(0, n as i64, 1, ());
    }
    assert!(ahead.is_full(0) && !ahead.is_full(1));
    assert!(ahead.pop_due(0).is_some());
    assert!(!ahead.is_full(0));
    ahead.push(1, 0, MAX_BYTES - 1, ());
    assert!(!ahead.is_full(1));
    ahead.push(1, 0, 1, ());
    assert!(ahead.is_full(1));
}

proptest! {
    #[test]
    fn the_heap_hands_out_as_a_sorted_list_does(steps in proptest::collection::vec((0..3_u8, 0..3_u8, 0..50_i64), 0..200)) {
        let mut ahead = ReadAhead::new();
        let mut model: Vec<(i64, usize, u8)> = vec![];
        for (n, (kind, partition, time)) in steps.into_iter().enumerate() {
            match kind {
                0 | 1 => {
                    ahead.push(partition, time, 1, n);
                    model.push((time, n, partition));
                    model.sort_unstable();
                }
                _ => {
                    let expected = model.first().copied().filter(|(due, _, _)| *due <= time);
                    if expected.is_some() {
                        model.remove(0);
                    }
                    prop_assert_eq!(ahead.pop_due(time).map(|one| (one.due_at_ms, one.payload, one.partition)), expected);
                }
            }
            prop_assert_eq!(ahead.next_due(), model.first().map(|one| one.0));
        }
    }
}
