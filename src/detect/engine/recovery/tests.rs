//! The handover between engines, rule by rule.

use super::*;
use crate::detect::completeness::CompleteFrom;
use crate::detect::engine::config::EngineConfig;
use crate::detect::engine::record::RecordFacts;
use crate::detect::tests::fixtures::*;
use crate::domain::episode::SavedEpisode;
use crate::domain::event::SourceClock;
use crate::domain::registry::Site;

fn spiking(threshold: u32) -> Site {
    site("a", [spike(threshold, 300)])
}

fn fired(threshold: u32) -> (Fed, StateRecord) {
    let mut fed = Fed::log([spiking(threshold)]);
    for visitor in 0..threshold {
        let visitor = visitor.to_string();
        let record = facts(fed.offset, false);
        fed.offset += 1;
        fed.engine
            .handle(&view("a", &visitor, 1_000), &record, 0, &mut Vec::new());
    }
    let mut states = fed.states();
    assert_eq!(states.len(), 1);
    (fed, states.remove(0))
}

fn facts(offset: i64, replaying: bool) -> RecordFacts {
    RecordFacts {
        source: 0,
        offset,
        record_ms: RECORD_MS,
        replaying,
    }
}

fn loaded(state: &StateRecord, sites: impl IntoIterator<Item = Site>) -> Engine {
    let mut engine = Engine::new(log_config(), registry(sites));
    engine
        .load_state(state.site_id.as_str(), state.bytes.as_deref())
        .expect("readable");
    engine
}

fn log_config() -> EngineConfig {
    config(SourceClock::Log)
}

#[test]
fn an_episodes_notification_comes_with_the_state_that_holds_it() {
    let (mut fed, state) = fired(2);
    assert_eq!(state.decisions.len(), 1);
    let again = loaded(&state, [spiking(2)]).unconfirmed();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].record, None);
    let mut same = again[0].clone();
    same.record = state.decisions[0].record;
    assert_eq!(same, state.decisions[0]);
    // Confirmed, it is not published again.
    assert!(same.episode.is_some());
    fed.engine.confirm("a", same.id);
    let states = fed.states();
    assert_eq!((states.len(), states[0].decisions.len()), (1, 0));
    assert_eq!(loaded(&states[0], [spiking(2)]).unconfirmed(), []);
    fed.engine.confirm("a", same.id);
    fed.engine.confirm("nobody", same.id);
    assert_eq!(fed.states(), []);
}

#[test]
fn every_change_of_a_trigger_is_written_once_a_batch() {
    let (mut fed, _) = fired(2);
    let mut step = |second| {
        let record = facts(fed.offset, false);
        fed.offset += 1;
        fed.engine
            .handle(&view("b", "1", second), &record, 0, &mut Vec::new());
        fed.engine.tick(0, false);
        fed.states().len()
    };
    assert_eq!(step(1_300), 0);
    assert_eq!(step(1_311), 1, "calm");
    assert_eq!(step(1_370), 0);
    assert_eq!(step(1_371), 1, "armed");
    assert_eq!(step(9_000), 0);
}

#[test]
fn an_episode_under_way_is_not_decided_again_after_a_restart() {
    let (_, state) = fired(2);
    let mut engine = loaded(&state, [spiking(2)]);
    let mut out = Vec::new();
    for offset in 0..2 {
        let visitor = offset.to_string();
        engine.handle(&view("a", &visitor, 1_000), &facts(offset, true), 0, &mut out);
    }
    engine.handle(&view("a", "9", 1_001), &facts(2, false), 0, &mut out);
    assert_eq!(out, []);
    assert_eq!(engine.take_dirty_states(), []);
    assert_eq!(engine.spikes(), 1);
}

#[test]
fn the_row_of_an_episode_under_way_is_written_after_a_restart() {
    let (mut fed, mut state) = fired(2);
    let [before] = &fed.engine.hand_over(false).episodes[..] else {
        panic!("one episode")
    };
    // As an earlier build wrote it.
    let mut fields: serde_json::Value =
        serde_json::from_slice(state.bytes.as_deref().expect("bytes")).expect("JSON");
    let removed = fields.as_object_mut().expect("an object").remove("rows");
    assert!(removed.is_some());
    state.bytes = Some(fields.to_string().into_bytes());
    let mut engine = loaded(&state, [spiking(2)]);
    replay(&mut engine);
    assert_eq!(engine.hand_over(false).episodes, [], "windows are not rebuilt");
    engine.handle(&view("a", "9", 1_001), &facts(2, false), 0, &mut Vec::new());
    let [after] = &engine.hand_over(false).episodes[..] else {
        panic!("one episode")
    };
    assert!(before.notification.is_some());
    assert_eq!(after, before);
    assert_eq!(engine.hand_over(false).episodes, []);
}

/// Reads the records again that a state of [`fired`] with two visitors covers.
fn replay(engine: &mut Engine) {
    engine.completeness_mut().begin(0, 2, 0, CompleteFrom::Ever);
    for offset in 0..2 {
        let visitor = offset.to_string();
        engine.handle(
            &view("a", &visitor, 1_000),
            &facts(offset, true),
            0,
            &mut Vec::new(),
        );
    }
}

#[test]
fn a_row_stays_in_the_state_until_it_is_written() {
    let (mut fed, firing) = fired(2);
    let begun = fed.engine.hand_over(false).episodes;
    assert_eq!(loaded(&firing, [spiking(2)]).hand_over(false).episodes, begun);
    fed.feed(&view("a", "1", 2_000));
    let armed = stored(&mut fed);
    let ended = fed.engine.hand_over(false).episodes;
    assert!(ended[0].ended_at.is_some());
    let mut again = loaded(&armed, [spiking(2)]);
    assert_eq!(again.hand_over(false).episodes, ended, "its owner was killed");
    // Its beginning is written, and then its end.
    fed.engine.note_saved(&SavedEpisode::of(&begun[0]));
    assert_eq!(
        loaded(&stored(&mut fed), [spiking(2)]).hand_over(false).episodes,
        ended
    );
    fed.engine.note_saved(&SavedEpisode::of(&ended[0]));
    fed.engine.tick(RECORD_MS, false);
    fed.engine.tick(RECORD_MS + 60_000, false);
    let [saved] = &fed.engine.take_dirty_states()[..] else {
        panic!("written again, within a minute")
    };
    assert_eq!(loaded(saved, [spiking(2)]).hand_over(false).episodes, []);
    fed.engine.tick(RECORD_MS + 180_000, false);
    assert_eq!(fed.engine.take_dirty_states(), []);
}

/// The state of the site as it is now.
fn stored(fed: &mut Fed) -> StateRecord {
    fed.engine.take_dirty_states();
    fed.engine.rewrite_states();
    fed.engine.take_dirty_states().remove(0)
}

#[test]
fn the_episodes_of_a_site_are_known_once_it_is_rebuilt() {
    let (_, state) = fired(2);
    for (partition, is_ours) in [(0, true), (1, false)] {
        let config = EngineConfig {
            partition,
            partition_count: 1,
            ..log_config()
        };
        let mut engine = Engine::new(config, registry([spiking(2)]));
        engine.load_state("a", state.bytes.as_deref()).expect("readable");
        engine.completeness_mut().begin(0, 2, 0, CompleteFrom::Ever);
        assert_eq!(engine.hand_over(false).settled, []);
        replay(&mut engine);
        engine.handle(&view("a", "9", 1_050), &facts(2, false), 0, &mut Vec::new());
        let settled = engine.hand_over(false).settled;
        let told: Vec<_> = settled
            .iter()
            .map(|one| {
                let seconds = (one.ended_by.timestamp(), one.known_from.timestamp());
                (seconds, one.known.is_empty())
            })
            .collect();
        // By then it was stored, and an episode goes on.
        assert_eq!(told, vec![((1_000, 1_050), false); usize::from(is_ours)]);
        assert_eq!(engine.hand_over(false).settled, [], "once");
        engine.settle_again(&"a".parse().expect("a site id"));
        assert_eq!(engine.hand_over(false).settled.len(), usize::from(is_ours));
    }
}

#[test]
fn of_several_states_the_one_that_covers_most_stays() {
    let (mut fed, early) = fired(2);
    fed.feed(&view("a", "1", 2_000));
    let mut states = fed.states();
    assert_eq!(states.len(), 0, "taken by the feed");
    fed.engine.confirm("a", early.decisions[0].id);
    states = fed.states();
    let late = states.remove(0);
    for order in [[&early, &late], [&late, &early]] {
        let mut engine = loaded(order[0], [spiking(2)]);
        engine
            .load_state("a", order[1].bytes.as_deref())
            .expect("readable");
        assert_eq!(engine.unconfirmed(), []);
        assert_eq!(engine.spikes(), 0);
    }
    let mut engine = loaded(&late, [spiking(2)]);
    engine.load_state("a", None).expect("a tombstone");
    assert_eq!(engine.stats().sites, 0);
    assert_eq!(engine.take_dirty_states(), []);
}

#[test]
fn a_registry_that_is_behind_deletes_no_state() {
    let (_, state) = fired(2);
    let mut engine = loaded(&state, []);
    assert_eq!(engine.take_dirty_states(), []);
    engine.set_registry(registry([spiking(2)]));
    assert_eq!(engine.spikes(), 1, "the state waited for its site");
    // A site that was known and is no more was deleted.
    engine.set_registry(registry([]));
    let buried = engine.take_dirty_states();
    assert_eq!(buried.len(), 1);
    assert_eq!(buried[0].bytes, None);
}

#[test]
fn a_site_deleted_before_it_was_known_is_buried() {
    let (_, state) = fired(2);
    let mut engine = loaded(&state, []);
    let mut behind = (*registry([])).clone();
    behind.note_change("b".parse().expect("a site id"));
    engine.set_registry(std::sync::Arc::new(behind.clone()));
    assert_eq!(engine.take_dirty_states(), []);
    behind.note_change("a".parse().expect("a site id"));
    engine.set_registry(std::sync::Arc::new(behind));
    let buried = engine.take_dirty_states();
    assert_eq!(buried.len(), 1);
    assert_eq!((buried[0].key().as_str(), &buried[0].bytes), ("a", &None));
}

#[test]
fn a_threshold_edited_before_a_restart_does_not_fire_again() {
    let (_, state) = fired(3);
    let mut engine = loaded(&state, [spiking(2)]);
    assert_eq!(engine.spikes(), 1);
    for offset in 0..3 {
        let visitor = offset.to_string();
        engine.handle(
            &view("a", &visitor, 1_000),
            &facts(offset, true),
            0,
            &mut Vec::new(),
        );
    }
    engine.handle(&view("a", "9", 1_001), &facts(3, false), 0, &mut Vec::new());
    let decided: Vec<_> = engine
        .take_dirty_states()
        .into_iter()
        .flat_map(|state| state.decisions)
        .collect();
    assert_eq!(decided, []);
    // Of a trigger that nobody asks for any more nothing is left.
    assert_eq!(loaded(&state, [site("a", [])]).spikes(), 0);
}

#[test]
fn a_state_of_the_first_build_is_loaded() {
    let stored = br#"{"v":1,"site":"a","clock":1001,"covered":{"events":1},
        "firing":[{"event":"visitor_spike","threshold":2,"window_seconds":300,"webhooks":[],"calm_since":null,
                   "episode":{"id":"01890a5d-ac96-774b-bcce-b302099a8057","started_at":1000,"decided_at_ms":1000240}}],
        "unconfirmed":[]}"#;
    let mut engine = Engine::new(log_config(), registry([spiking(2)]));
    engine.load_state("a", Some(stored)).expect("readable");
    assert_eq!(engine.spikes(), 1);
    for (offset, visitor) in [(0, "1"), (1, "2"), (2, "3")] {
        let record = facts(offset, false);
        engine.handle(&view("a", visitor, 1_000), &record, 0, &mut Vec::new());
    }
    let states = engine.take_dirty_states();
    assert!(
        states.iter().all(|state| state.decisions.is_empty()),
        "not notified again"
    );
}

#[test]
fn a_newer_state_is_refused() {
    let mut engine = Engine::new(log_config(), registry([spiking(2)]));
    let refused = engine.load_state("a", Some(br#"{"v":9}"#));
    assert!(matches!(refused, Err(StateError::Newer { found: 9 })));
    assert!(engine.load_state("a", Some(b"x")).is_err());
}

#[test]
fn a_record_a_state_covers_makes_nothing_fire() {
    // Armed again at offset 2; the commit is older, and the stream is read again from its
    // beginning.
    let (mut fed, _) = fired(2);
    let record = facts(2, false);
    fed.engine
        .handle(&view("a", "1", 2_000), &record, 0, &mut Vec::new());
    let state = fed.states().remove(0);
    let mut engine = loaded(&state, [spiking(2)]);
    for (offset, (visitor, second)) in [("0", 1_000), ("1", 1_000), ("1", 2_000)].into_iter().enumerate() {
        let record = facts(offset as i64, false);
        engine.handle(&view("a", visitor, second), &record, 0, &mut Vec::new());
    }
    assert_eq!(engine.take_dirty_states(), []);
    engine.handle(&view("a", "2", 2_000), &facts(3, false), 0, &mut Vec::new());
    assert_eq!(engine.take_dirty_states().len(), 1);
}

#[test]
fn coverage_beyond_the_end_of_a_new_topic_is_forgotten() {
    let (mut fed, _) = fired(2);
    fed.offset = 1_000_000;
    fed.feed(&view("a", "1", 2_000));
    fed.engine
        .confirm("a", NotificationId::from_uuid(uuid::Uuid::nil()));
    let record = facts(1_000_001, false);
    fed.engine
        .handle(&view("a", "2", 2_000), &record, 0, &mut Vec::new());
    let state = fed.states().remove(0);
    let mut engine = loaded(&state, [spiking(2)]);
    engine.tick(0, true);
    engine.handle(&view("a", "1", 3_000), &facts(0, false), 0, &mut Vec::new());
    engine.handle(&view("a", "2", 3_000), &facts(1, false), 0, &mut Vec::new());
    let states = engine.take_dirty_states();
    assert_eq!(states[0].decisions.len(), 1);
}

#[test]
fn the_partitions_clock_goes_on_where_it_was() {
    let mut engine = Engine::new(log_config(), registry([spiking(2)]));
    engine.resume(Some(1_311_000));
    engine.resume(None);
    engine.handle(&view("a", "1", 1_000), &facts(7, false), 0, &mut Vec::new());
    engine.handle(&view("a", "2", 1_001), &facts(8, false), 0, &mut Vec::new());
    assert_eq!(engine.take_dirty_states(), [], "one left at 1,301");
    assert_eq!(engine.checkpoint().clock_ms, Some(1_311_000));
}

#[test]
fn silent_live_sites_go_on_where_they_were_and_not_ahead_of_now() {
    let mut engine = Engine::new(config(SourceClock::Live), registry([spiking(2)]));
    for (floor, now_ms, expected) in [
        (None, 2_000_000, None),
        (Some(1_500), 2_000_000, Some(1_500)),
        (Some(5_000), 2_000_000, Some(1_990)),
    ] {
        engine.resume_floor(floor, now_ms);
        assert_eq!(engine.checkpoint().live_floor, expected);
    }
}

#[test]
fn an_event_that_only_moved_the_clock_is_read_again() {
    let mut fed = Fed::log([spiking(2)]);
    let mut silent = view("a", "1", 1_000);
    silent.visitor_id = None;
    for _ in 0..12 {
        fed.feed(&view("nobody", "1", 10));
    }
    fed.feed(&silent);
    for _ in 0..12 {
        fed.feed(&view("nobody", "1", 10));
    }
    let from = fed.engine.checkpoint().replay_from[0].expect("read");
    assert!((8..=12).contains(&from), "{from}");
}

#[test]
fn a_checkpoint_passes_what_was_rejected() {
    let mut fed = Fed::log([spiking(2)]);
    fed.engine.skip_record(0, 41);
    let checkpoint = fed.engine.checkpoint();
    assert_eq!(checkpoint.next, [Some(42)]);
    assert_eq!(checkpoint.replay_from, [Some(42)]);
}

#[test]
fn a_site_with_every_trigger_unconfirmed_stays_under_64_kib() {
    let windows = 60..70;
    let mut big = site("a", windows.map(|seconds| spike(12, seconds)));
    big.name = Some("ü".repeat(120));
    let mut fed = Fed::log([big]);
    let mut largest = 0;
    let mut offset = 0;
    // Ten webhooks, all firing with one record, until a stop is asked for, and once more.
    let mut stops = 0;
    for round in 0..20 {
        for visitor in 0..12 {
            let visitor = visitor.to_string();
            let path = format!("/{}", "ä\"".repeat(990));
            let source = "\\ü".repeat(125);
            let mut event = view("a", &visitor, 1_000 + round * 1_000);
            event.path = Some(path.as_str().into());
            event.source = Some(source.as_str().into());
            fed.engine
                .handle(&event, &facts(offset, false), 0, &mut Vec::new());
            offset += 1;
            if fed.engine.wants_flush() {
                stops += 1;
                for state in fed.states() {
                    largest = largest.max(state.bytes.map_or(0, |bytes| bytes.len()));
                    for decision in state.decisions {
                        fed.engine.confirm("a", decision.id);
                    }
                }
                assert!(!fed.engine.wants_flush());
            }
        }
    }
    assert!(stops >= 20, "{stops}");
    assert!((2_000..=65_536).contains(&largest), "{largest}");
}

/// Loads a state and returns it as it is written again.
fn written_again(engine: &mut Engine, stored: &serde_json::Value) -> serde_json::Value {
    let bytes = serde_json::to_vec(stored).expect("JSON");
    engine.load_state("a", Some(&bytes)).expect("readable");
    engine.rewrite_state("a");
    let states = engine.take_dirty_states();
    serde_json::from_slice(states[0].bytes.as_deref().expect("a state")).expect("JSON")
}

#[test]
fn what_only_a_newer_build_knows_is_passed_on_and_not_judged() {
    let of_newer = [
        serde_json::json!({"condition": {"event": "visitor_spike", "threshold": 2, "window_seconds": 300,
                                         "shape": "steep"}}),
        serde_json::json!({"condition": {"event": "visitor_spike", "threshold": 2, "window_seconds": 300},
                           "patience": 7}),
        serde_json::json!({"condition": {"event": "page_drop", "threshold": 2}}),
    ];
    for (number, trigger) in of_newer.into_iter().enumerate() {
        let stored = serde_json::json!({"v": 2, "site": "a", "clock": 900, "covered": {}, "triggers": [trigger],
                                        "unconfirmed": [], "mood": "good"});
        let mut engine = Engine::new(log_config(), registry([spiking(2)]));
        let again = written_again(&mut engine, &stored);
        assert_eq!(
            (&again["triggers"], &again["mood"]),
            (&stored["triggers"], &stored["mood"])
        );
        assert_eq!(engine.foreign_states(), 1);
        for offset in 0..2 {
            let visitor = offset.to_string();
            let facts = facts(offset, false);
            engine.handle(&view("a", &visitor, 1_000), &facts, 0, &mut Vec::new());
        }
        let fires = usize::from(number == 2);
        let decided = engine
            .take_dirty_states()
            .iter()
            .map(|state| state.decisions.len())
            .sum::<usize>();
        assert_eq!(decided, fires, "the last one is none of ours");
    }
}

#[test]
fn a_notification_of_a_newer_build_is_kept_for_it() {
    let unknown =
        serde_json::json!({"episode": "01890a5d-ac96-774b-bcce-b302099a8057", "event": "page_drop"});
    let stored = serde_json::json!({"v": 2, "site": "a", "clock": 900, "covered": {}, "triggers": [],
                                    "unconfirmed": [unknown]});
    let mut engine = Engine::new(log_config(), registry([spiking(2)]));
    let again = written_again(&mut engine, &stored);
    assert_eq!(again["unconfirmed"], stored["unconfirmed"]);
    assert_eq!(engine.unconfirmed(), []);
}

#[test]
fn of_parts_of_two_times_the_earlier_covers() {
    let part = |parts: u32, covered: i64, key: &str| {
        let stored = serde_json::json!({"v": 2, "site": "a", "clock": 900, "covered": {"events": covered},
                                        "parts": parts, "triggers": [], "unconfirmed": []});
        (key.to_owned(), serde_json::to_vec(&stored).expect("JSON"))
    };
    let mut engine = Engine::new(log_config(), registry([spiking(2)]));
    for (key, bytes) in [part(2, 7, "a"), part(2, 3, "a\u{0}001")] {
        engine.load_state(&key, Some(&bytes)).expect("readable");
    }
    engine.rewrite_state("a\u{0}001");
    let states = engine.take_dirty_states();
    let again: serde_json::Value =
        serde_json::from_slice(states[0].bytes.as_deref().expect("a state")).expect("JSON");
    assert_eq!(again["covered"]["events"], 3);
    assert_eq!(states[1].bytes, None, "the second part is not needed any more");
}
