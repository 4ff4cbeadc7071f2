use proptest::prelude::*;

use super::*;

const LIVE: SourceClock = SourceClock::Live;

fn assigned(commits: &[(i64, i64)]) -> Completeness {
    let mut completeness = Completeness::new(vec![LIVE; commits.len()]);
    for (source, (committed, start)) in commits.iter().enumerate() {
        completeness.begin(source, *committed, *start, CompleteFrom::Ever);
    }
    completeness
}

#[test]
fn windows_are_rebuilt_when_every_source_passed_its_commit() {
    let mut completeness = assigned(&[(10, 8), (5, 4)]);
    assert!(completeness.is_rebuilding() && completeness.is_replayed(0, 9));
    assert_eq!(completeness.replay_remaining(), 3);
    completeness.pass(0, 8);
    completeness.pass(0, 9);
    assert!(
        !completeness.admits(0, 10) && completeness.admits(1, 4),
        "one source waits for the other"
    );
    assert_eq!(completeness.complete_from(LIVE), u32::MAX);
    completeness.pass(1, 4);
    assert!(!completeness.is_rebuilding() && completeness.admits(0, 10));
    assert_eq!(completeness.complete_from(LIVE), 0);
}

#[test]
fn what_is_held_back_is_handled_once_when_it_is_let_go() {
    let mut completeness = assigned(&[(10, 10), (5, 4)]);
    let before = completeness.next(0);
    assert!(!completeness.admits(0, 10), "the other source is to be rebuilt");
    assert!(completeness.handled_since(0, before).is_empty());
    completeness.pass(1, 4);
    let before = completeness.next(0);
    completeness.pass(0, 10);
    completeness.pass(0, 11);
    assert_eq!(completeness.handled_since(0, before), 10..12);
    assert!(completeness.handled_since(0, completeness.next(0)).is_empty());
}

#[test]
fn an_end_reached_counts_like_the_records_before_it() {
    let mut completeness = assigned(&[(10, 8)]);
    completeness.reach_end(0, 10, 99_000);
    assert!(!completeness.is_rebuilding());
    assert_eq!(
        (completeness.next(0), completeness.complete_from(LIVE)),
        (Some(10), 0)
    );
}

#[test]
fn only_an_end_asked_for_and_reached_proves_an_instant() {
    let mut completeness = assigned(&[(0, 0), (0, 0)]);
    completeness.prove_end(0, 0, 1_000);
    assert_eq!(
        completeness.proven_until_ms(),
        None,
        "nothing is known of the other"
    );
    completeness.prove_end(1, 2, 1_100);
    completeness.prove_end(1, 3, 2_100);
    completeness.pass(1, 0);
    assert_eq!(completeness.proven_until_ms(), None);
    completeness.pass(1, 1);
    assert_eq!(completeness.proven_until_ms(), Some(1_000));
    assert!(!completeness.is_caught_up());
    completeness.prove_end(0, 0, 3_000);
    assert_eq!(completeness.proven_until_ms(), Some(1_100));
    completeness.pass(1, 2);
    assert_eq!(completeness.proven_until_ms(), Some(2_100));
    assert!(completeness.is_caught_up());
}

#[test]
fn a_reader_that_is_always_behind_still_proves_instants() {
    let mut completeness = assigned(&[(0, 0)]);
    for second in 1..100 {
        completeness.prove_end(0, second * 10 + 15, second * 1_000);
        completeness.pass(0, second * 10 + 9);
    }
    let proven = completeness.proven_until_ms();
    assert!(proven >= Some(96_000), "{proven:?}");
}

#[test]
fn a_gap_makes_counts_lower_bounds_for_a_window() {
    let mut completeness = assigned(&[(0, 0)]);
    assert!(completeness.is_exact(LIVE, 100, 300));
    completeness.open_gap(0);
    assert_eq!(completeness.to_commit(0).own, CompleteFrom::Unknown);
    assert!(!completeness.is_exact(LIVE, 10_000, 300));
    completeness.close_gap(0, 10_000_001);
    assert_eq!(completeness.to_commit(0).own, CompleteFrom::At(10_000_001));
    assert!(!completeness.is_exact(LIVE, 10_300, 300) && completeness.is_exact(LIVE, 10_301, 300));
    completeness.close_gap(0, 20_000_000);
    assert!(completeness.is_exact(LIVE, 10_301, 300), "only a gap is closed");
}

#[test]
fn a_gap_in_a_live_source_says_nothing_of_a_log() {
    let mut completeness = Completeness::new([LIVE, SourceClock::Log]);
    completeness.begin(0, 0, 0, CompleteFrom::At(1_790_000_000_000));
    completeness.begin(1, 0, 0, CompleteFrom::Ever);
    assert!(!completeness.is_exact(LIVE, 1_790_000_000, 300));
    assert!(completeness.is_exact(SourceClock::Log, 1_767_225_600, 300));
    assert_eq!(completeness.to_commit(1).own, CompleteFrom::Ever);
    completeness.open_gap(1);
    assert_eq!(completeness.complete_from(SourceClock::Log), u32::MAX);
}

#[test]
fn a_gap_among_routed_logs_lasts_until_the_next_log_event() {
    let log = SourceClock::Log;
    let routed = || Completeness::new([LIVE, LIVE]).with_routed(Some(1));
    let mut completeness = routed();
    completeness.begin(0, 0, 0, CompleteFrom::Ever);
    completeness.begin(1, 0, 0, CompleteFrom::Ever);
    assert!(completeness.is_exact(log, 100, 300), "nothing was missed");
    completeness.open_gap(0);
    assert!(completeness.is_exact(log, 100, 300), "no log is routed there");
    completeness.open_gap(1);
    assert_eq!(completeness.complete_from(log), u32::MAX);
    // A live event, or the end, says nothing of the time of logs.
    completeness.reach_end(1, 9, 1_790_000_000_000);
    assert_eq!(completeness.complete_from(log), u32::MAX);
    assert_eq!(completeness.to_commit(1).of_logs, CompleteFrom::Unknown);
    completeness.close_gap_of_logs(1, 10_000_000);
    assert!(!completeness.is_exact(log, 10_299, 300) && completeness.is_exact(log, 10_300, 300));

    let committed = completeness.to_commit(1);
    let mut again = routed();
    again.begin(1, 9, 9, committed);
    assert_eq!(again.to_commit(1), committed);
    assert_eq!(again.complete_from(log), 10_000);
}

#[test]
fn completeness_survives_in_a_commit() {
    for before in [CompleteFrom::Ever, CompleteFrom::At(7_000), CompleteFrom::Unknown] {
        let mut completeness = Completeness::new([LIVE]);
        completeness.begin(0, 5, 5, before);
        assert_eq!(completeness.to_commit(0), before.into());
    }
}

#[test]
fn what_follows_the_states_waits_until_all_sources_reach_them() {
    let mut completeness = assigned(&[(5, 5), (3, 3)]);
    completeness.cover(0, 7);
    completeness.cover(1, 3);
    assert!(completeness.admits(0, 5) && completeness.admits(1, 3));
    assert!(!completeness.admits(0, 8) && !completeness.admits(1, 4));
    completeness.pass(1, 3);
    assert!(!completeness.admits(1, 4), "the other source is behind");
    completeness.pass(0, 7);
    assert!(completeness.admits(0, 8) && completeness.admits(1, 4));
}

/// A step of a reader of one source, whose broker is asked now and then.
#[derive(Debug, Clone)]
enum Step {
    Append,
    Read,
    Ask,
    /// The oldest answer that is under way arrives.
    Answer,
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let step = prop_oneof![
        3 => Just(Step::Append),
        3 => Just(Step::Read),
        1 => Just(Step::Ask),
        1 => Just(Step::Answer),
    ];
    proptest::collection::vec((0..2_usize, step), 0..300)
}

proptest! {
    #[test]
    fn nothing_stored_before_a_proven_instant_is_unread(steps in steps()) {
        let mut completeness = assigned(&[(0, 0), (0, 0)]);
        let mut stored: [Vec<i64>; 2] = Default::default();
        let mut read = [0_usize; 2];
        let mut asked = std::collections::VecDeque::new();
        for (now_ms, (source, step)) in (1..).zip(steps) {
            match step {
                Step::Append => stored[source].push(now_ms),
                Step::Read if read[source] < stored[source].len() => {
                    completeness.pass(source, read[source] as i64);
                    read[source] += 1;
                }
                Step::Read => {}
                // The broker may answer with any later end than that of the instant of asking.
                Step::Ask => asked.push_back((source, now_ms)),
                Step::Answer => {
                    if let Some((source, asked_ms)) = asked.pop_front() {
                        completeness.prove_end(source, stored[source].len() as i64, asked_ms);
                    }
                }
            }
            if let Some(until_ms) = completeness.proven_until_ms() {
                for (stored, read) in stored.iter().zip(read) {
                    prop_assert!(stored[read..].iter().all(|at_ms| *at_ms >= until_ms));
                }
            }
        }
    }
}

#[test]
fn a_missing_source_proves_no_end_and_no_window() {
    let mut completeness = Completeness::new([SourceClock::Live, SourceClock::Live, SourceClock::Log]);
    // The first one is not assigned.
    completeness.begin(1, 0, 0, CompleteFrom::Ever);
    completeness.prove_end(1, 0, 5_000);
    let read = |completeness: &Completeness| {
        let from = [SourceClock::Live, SourceClock::Log].map(|clock| completeness.complete_from(clock));
        (completeness.proven_until_ms(), from)
    };
    assert_eq!(read(&completeness), (Some(5_000), [0, 0]));
    completeness.set_missing(&[true, false, false]);
    assert_eq!(read(&completeness), (None, [u32::MAX, 0]));
    completeness.set_missing(&[false, false, true]);
    assert_eq!(read(&completeness), (None, [0, u32::MAX]));
}
