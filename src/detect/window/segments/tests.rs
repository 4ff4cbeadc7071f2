use super::*;

#[test]
fn a_restart_reads_from_the_oldest_held_segment() {
    let mut segments = Segments::new(2);
    assert_eq!(segments.replay_from(0), None);
    let mut held = None;
    for offset in 100..122 {
        let segment = segments.begin_record(0, offset);
        if offset == 112 {
            segments.hold(segment);
            held = Some(segment);
        }
    }
    // Five records a segment: that of the held record began with offset 110.
    assert_eq!(segments.replay_from(0), Some(110));
    assert_eq!(segments.replay_from(1), None);
    // A source first read later is read again from its first record.
    segments.begin_record(1, 7);
    assert_eq!(segments.replay_from(1), Some(7));
    segments.release(held.expect("held"));
    assert_eq!(segments.replay_from(0), Some(122));
    assert_eq!(segments.replay_from(1), Some(8));
    assert_eq!(segments.held.len(), 1);
}
