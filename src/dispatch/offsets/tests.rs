use proptest::prelude::*;

use super::*;

const EPOCH: Epoch = Epoch(1);

#[test]
fn the_mark_waits_for_the_oldest_and_then_passes_all_done() {
    let mut offsets = OffsetTracker::new(EPOCH, Some(10));
    assert_eq!((offsets.low_water(), offsets.to_commit()), (None, None));
    for offset in 10..15 {
        assert!(offsets.open(offset));
    }
    for offset in [14, 12, 11] {
        assert_eq!(offsets.complete(EPOCH, offset), Completion::Done);
        assert_eq!((offsets.low_water(), offsets.to_commit()), (Some(10), None));
    }
    offsets.complete(EPOCH, 10);
    assert_eq!(offsets.to_commit(), Some(13));
    offsets.committed(13);
    assert_eq!((offsets.to_commit(), offsets.open_count()), (None, 1));
    offsets.complete(EPOCH, 13);
    assert_eq!(offsets.to_commit(), Some(15));
}

#[test]
fn gaps_are_not_waited_for() {
    let mut offsets = OffsetTracker::new(EPOCH, None);
    for offset in [3, 4, 9] {
        offsets.open(offset);
    }
    offsets.complete(EPOCH, 3);
    offsets.complete(EPOCH, 4);
    assert_eq!(offsets.low_water(), Some(9));
    offsets.complete(EPOCH, 9);
    assert_eq!(offsets.low_water(), Some(10));
}

#[test]
fn another_assignments_completion_changes_nothing() {
    let mut offsets = OffsetTracker::new(Epoch(2), None);
    offsets.open(5);
    assert_eq!(offsets.complete(EPOCH, 5), Completion::OtherEpoch);
    assert_eq!(offsets.low_water(), Some(5));
    assert_eq!(offsets.complete(Epoch(2), 5), Completion::Done);
    assert_eq!(offsets.complete(Epoch(2), 5), Completion::NotOpen);
}

#[test]
fn what_was_handed_out_is_not_handed_out_again() {
    let mut offsets = OffsetTracker::new(EPOCH, None);
    assert!(offsets.open(5));
    assert!(!offsets.open(5) && !offsets.open(4));
    assert_eq!(offsets.open_count(), 1);
}

#[test]
fn reading_stops_at_the_bound() {
    let mut offsets = OffsetTracker::new(EPOCH, None);
    for offset in 0..100_000 {
        assert!(!offsets.is_full());
        offsets.open(offset);
    }
    assert!(offsets.is_full());
    offsets.complete(EPOCH, 50_000);
    assert!(!offsets.is_full());
}

proptest! {
    #[test]
    fn no_open_record_is_ever_passed_and_no_done_one_waited_for(gaps in proptest::collection::vec(1_i64..4, 1..60), order in any::<proptest::sample::Index>(), picks in proptest::collection::vec(any::<proptest::sample::Index>(), 0..80)) {
        let mut offsets = OffsetTracker::new(EPOCH, None);
        let mut model: Vec<(i64, bool)> = vec![];
        let mut next = i64::try_from(order.index(1_000)).expect("small");
        let mut gaps = gaps.into_iter();
        for pick in picks {
            // Now a record is read, now one of those read completes.
            if let (0, Some(gap)) = (pick.index(2), gaps.next()) {
                next += gap;
                prop_assert!(offsets.open(next));
                model.push((next, false));
            } else if !model.is_empty() {
                let index = pick.index(model.len());
                let (offset, done) = model[index];
                let expected = if done { Completion::NotOpen } else { Completion::Done };
                prop_assert_eq!(offsets.complete(EPOCH, offset), expected);
                model[index].1 = true;
            }
            let naive = model.iter().find(|(_, done)| !done).map(|(offset, _)| *offset).or(model.last().map(|(offset, _)| offset + 1));
            prop_assert_eq!(offsets.low_water(), naive);
            prop_assert_eq!(offsets.open_count(), model.iter().filter(|(_, done)| !done).count());
        }
    }
}

#[test]
fn offsets_of_a_topic_made_anew_are_open_again() {
    let mut tracker = OffsetTracker::new(Epoch(1), Some(500));
    assert!(tracker.open(500) && tracker.open(501));
    tracker.complete(Epoch(1), 501);
    let old = tracker.epoch();
    tracker.restart();
    assert_ne!(tracker.epoch(), old);
    assert!(!tracker.is_complete(0) && tracker.open(0) && tracker.open(1));
    assert_eq!(tracker.complete(old, 0), Completion::OtherEpoch);
    assert_eq!(tracker.to_commit(), Some(0), "less than before");
    tracker.complete(tracker.epoch(), 0);
    assert_eq!(tracker.to_commit(), Some(1));
}
