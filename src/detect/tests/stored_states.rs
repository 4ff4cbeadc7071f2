//! Stored states as the next owner of a partition learns them: of those that are larger than a
//! record, and of notifications that are not known to be published.

use std::collections::{BTreeMap, BTreeSet};

use super::fixtures::*;
use crate::detect::completeness::CompleteFrom;
use crate::detect::engine::Engine;
use crate::detect::engine::record::RecordFacts;
use crate::detect::notification::Decision;
use crate::detect::site::state_record::StateRecord;
use crate::domain::episode::SavedEpisode;
use crate::domain::event::{EventType, SourceClock};
use crate::domain::id::NotificationId;
use crate::domain::registry::Site;
use crate::domain::trigger::NoticeOptions;

const START: i64 = RECORD_MS / 1_000;
const WEBHOOKS: u32 = 1_000;
/// Largest record, in bytes.
const LIMIT: usize = 900_000;

/// The latest record of each key of the state topic.
#[derive(Default)]
struct Topic(BTreeMap<String, Vec<u8>>);

impl Topic {
    fn write(&mut self, states: &[StateRecord]) {
        for state in states {
            match &state.bytes {
                Some(bytes) => self.0.insert(state.key(), bytes.clone()),
                None => self.0.remove(&state.key()),
            };
        }
    }

    /// A new owner, which reads the first `committed` records again.
    fn loaded(&self, site: &Site, committed: i64) -> Engine {
        let mut engine = Engine::new(config(SourceClock::Live), registry([site.clone()]));
        let completeness = engine.completeness_mut();
        completeness.begin(0, committed, 0, CompleteFrom::Ever);
        for (key, bytes) in &self.0 {
            engine.load_state(key, Some(bytes)).expect("readable");
        }
        engine
    }
}

fn visit(engine: &mut Engine, offset: i64, committed: i64, second: i64) {
    let record = RecordFacts {
        source: 0,
        offset,
        record_ms: second * 1_000,
        replaying: offset < committed,
    };
    let event = view("a", "1", second);
    let mut out = Vec::new();
    engine.handle(&event, &record, second * 1_000, &mut out);
    assert_eq!(out, [], "episodes come with their states");
}

fn decisions(states: &[StateRecord]) -> Vec<Decision> {
    states
        .iter()
        .flat_map(|state| state.decisions.iter().cloned())
        .collect()
}

fn ids(decisions: &[Decision]) -> BTreeSet<NotificationId> {
    decisions.iter().map(|decision| decision.id).collect()
}

/// Writes the rows of all episodes that are not written.
fn save_rows(engine: &mut Engine) {
    for row in engine.hand_over(false).episodes {
        engine.note_saved(&SavedEpisode::of(&row));
    }
}

/// Confirms notifications, and returns the states that are written then.
fn confirm<'a>(engine: &mut Engine, published: impl IntoIterator<Item = &'a Decision>) -> Vec<StateRecord> {
    for decision in published {
        engine.confirm("a", decision.id);
    }
    engine.take_dirty_states()
}

#[test]
fn a_state_of_over_900_kb_is_split_and_joined_again() {
    // Each has a window of its own, and so an episode of its own.
    let mut crowded = site("a", (0..WEBHOOKS).map(|number| spike(1, 60 + number)));
    crowded.name = Some("ü".repeat(120));
    let mut topic = Topic::default();
    let mut first = topic.loaded(&crowded, 0);
    visit(&mut first, 0, 0, START);
    let written = first.take_dirty_states();
    let bytes: Vec<usize> = written
        .iter()
        .map(|state| state.bytes.as_ref().map_or(0, Vec::len))
        .collect();
    assert!(
        bytes.iter().sum::<usize>() > LIMIT && bytes.len() > 1,
        "{bytes:?}"
    );
    assert!(bytes.iter().all(|bytes| *bytes <= LIMIT), "{bytes:?}");
    let decided = decisions(&written);
    assert_eq!(ids(&decided).len(), WEBHOOKS as usize);
    let last = written.last().map_or(0, |state| state.decisions.len());
    assert_eq!(last, decided.len(), "published once all parts are acknowledged");
    topic.write(&written);

    // Killed before any was published, and again when half of them were.
    let mut second = topic.loaded(&crowded, 0);
    assert_eq!(ids(&second.unconfirmed()), ids(&decided));
    let (published, left) = decided.split_at(decided.len() / 2);
    topic.write(&confirm(&mut second, published));
    let mut third = topic.loaded(&crowded, 1);
    assert_eq!(ids(&third.unconfirmed()), ids(left));
    assert_eq!(third.spikes(), u64::from(WEBHOOKS));
    visit(&mut third, 0, 1, START);
    visit(&mut third, 1, 1, START + 1);
    assert_eq!(decisions(&third.take_dirty_states()), [], "every episode goes on");

    // The longest window ends, and a calm minute after it.
    save_rows(&mut third);
    topic.write(&confirm(&mut third, left));
    third.tick((START + 1 + 1_060 + 61 + 10) * 1_000, true);
    save_rows(&mut third);
    third.rewrite_states();
    let small = third.take_dirty_states();
    topic.write(&small);
    assert_eq!(third.spikes(), 0);
    let keys: Vec<&str> = topic.0.keys().map(String::as_str).collect();
    assert_eq!(keys, ["a"], "the other parts are buried");
    let mut fourth = topic.loaded(&crowded, 2);
    assert_eq!((fourth.spikes(), fourth.unconfirmed().len()), (0, 0));
    assert_eq!(fourth.take_dirty_states(), []);
}

#[test]
fn of_an_episodes_notifications_the_unconfirmed_are_published() {
    let options = NoticeOptions {
        repeat_after_seconds: Some(60),
        notify_resolved: true,
        ..NoticeOptions::default()
    };
    let told = [
        EventType::VisitorDrop,
        EventType::VisitorDrop,
        EventType::VisitorDropResolved,
    ];
    for confirmed in 0..told.len() {
        let watched = site("a", [drop_with(1, 300, options)]);
        let mut topic = Topic::default();
        let mut engine = topic.loaded(&watched, 0);
        for (offset, second) in [(0, START - 600), (1, START - 300), (2, START)] {
            visit(&mut engine, offset, 0, second);
        }
        engine.tick((START + 361 + 10) * 1_000, true);
        visit(&mut engine, 3, 0, START + 372);
        let record = RecordFacts {
            source: 0,
            offset: 4,
            record_ms: (START + 372) * 1_000,
            replaying: false,
        };
        let event = view("a", "2", START + 372);
        engine.handle(&event, &record, (START + 372) * 1_000, &mut Vec::new());
        let states = engine.take_dirty_states();
        topic.write(&states);
        let decided = decisions(&states);
        let events: Vec<EventType> = decided.iter().map(|one| one.event).collect();
        assert_eq!(events, told, "its beginning, a reminder, its end");
        topic.write(&confirm(&mut engine, [&decided[confirmed]]));

        let again = topic.loaded(&watched, 5).unconfirmed();
        let facts = |one: &Decision| (one.id, one.event, one.body.clone(), one.webhooks.clone());
        let others = decided
            .iter()
            .enumerate()
            .filter(|(place, _)| *place != confirmed);
        let others: Vec<_> = others.map(|(_, one)| facts(one)).collect();
        assert_eq!(again.iter().map(facts).collect::<Vec<_>>(), others, "{confirmed}");
    }
}
