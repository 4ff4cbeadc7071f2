use super::super::fixtures::{Fed, RECORD_MS, config, registry, site, spike, view};
use super::super::time::SourceClock;
use super::*;

/// Of partition 7, read from offset 10 on.
fn owned(engine: Engine) -> Owned {
    let position = Position {
        committed: 10,
        start: 10,
        note: Note::default(),
        is_first: false,
    };
    Owned::new(7, engine, vec![Some(position)], 48)
}

/// An engine with the state of a site whose episode goes on, as it was written after the record at offset 19.
fn engine_ahead() -> Engine {
    let mut fed = Fed::new(SourceClock::Live, [site("a", [spike(1, 300)])]);
    let second = RECORD_MS / 1_000;
    let mut engine = Engine::new(config(SourceClock::Live), registry([site("a", [spike(1, 300)])]));
    fed.engine.on_record(
        &view("a", "1", second),
        &RecordFacts {
            source: 0,
            offset: 19,
            record_ms: RECORD_MS,
            replaying: false,
        },
        RECORD_MS,
        &mut Vec::new(),
    );
    for state in fed.states() {
        engine
            .load_state(state.site_id.as_str(), state.bytes.as_deref())
            .expect("readable");
    }
    engine
}

#[test]
fn the_end_that_an_earlier_assignment_saw_does_not_mean_caught_up() {
    let mut owned = owned(engine_ahead());
    // Since then it has grown, which nobody has told yet.
    let stale_end = |_| Some(10);
    let hours_later_ms = RECORD_MS + 7_200_000;
    owned.tick(hours_later_ms, stale_end);
    assert!(!owned.caught_up);
    assert_eq!(
        owned.engine.stats().spike_episodes,
        1,
        "an episode is not over because its records are yet to come"
    );
    owned.end_reached(0, 20);
    owned.tick(hours_later_ms, |_| Some(20));
    assert!(owned.caught_up);
    // Given back, and taken again: the same holds.
    owned.comes_back();
    owned.tick(hours_later_ms, |_| Some(20));
    assert!(!owned.caught_up);
}
