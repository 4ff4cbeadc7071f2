//! Visitors who are not known from some second on: of a window that was made longer while nobody
//! owned the partition, of a site that the registry did not know, of a site that is new.

use std::collections::BTreeMap;

use super::fixtures::*;
use crate::detect::engine::Engine;
use crate::detect::engine::record::RecordFacts;
use crate::detect::engine::recovery::Checkpoint;
use crate::detect::notification::Decision;
use crate::domain::event::{EventType, SourceClock};
use crate::domain::registry::Site;
use crate::domain::trigger::Triggers;

const FIRST: i64 = 1_000_000;

/// A log of one site, and what lies on the state topic.
struct Life {
    engine: Engine,
    log: Vec<(String, i64)>,
    states: BTreeMap<String, Vec<u8>>,
    commit: Checkpoint,
}

impl Life {
    fn begin(site: Site) -> Self {
        let engine = Engine::new(config(SourceClock::Log), registry([site]));
        let commit = engine.checkpoint();
        Self {
            engine,
            log: Vec::new(),
            states: BTreeMap::new(),
            commit,
        }
    }

    /// Handles a visit and returns the drops that begin, as their windows.
    fn visit(&mut self, visitor: &str, second: i64) -> Vec<i64> {
        self.log.push((visitor.to_owned(), second));
        let told = self.read(self.log.len() - 1, false);
        self.commit = self.engine.checkpoint();
        told
    }

    fn read(&mut self, offset: usize, replaying: bool) -> Vec<i64> {
        let (visitor, second) = &self.log[offset];
        let record = RecordFacts {
            source: 0,
            offset: offset as i64,
            record_ms: RECORD_MS,
            replaying,
        };
        let event = view("a", visitor, *second);
        let mut out = Vec::new();
        self.engine.handle(&event, &record, RECORD_MS, &mut out);
        // As a minute later.
        self.engine.tick(0, false);
        self.engine.tick(RECORD_MS, false);
        out.extend(self.store());
        let drops = out.iter().filter(|one| one.event == EventType::VisitorDrop);
        drops
            .map(|one| json(one)["data"]["window_seconds"].as_i64().expect("a number"))
            .collect()
    }

    fn store(&mut self) -> Vec<Decision> {
        let mut decisions = Vec::new();
        for state in self.engine.take_dirty_states() {
            match &state.bytes {
                Some(bytes) => self.states.insert(state.key(), bytes.clone()),
                None => self.states.remove(&state.key()),
            };
            decisions.extend(state.decisions);
        }
        decisions
    }

    /// Goes on with a new engine, for which the site has other settings.
    fn restart(&mut self, site: Site) {
        let config = config(SourceClock::Log);
        let (engine, again) = resumed(config, registry([site]), &self.states, &self.commit);
        self.engine = engine;
        for offset in again {
            assert_eq!(self.read(offset as usize, true), [0; 0]);
        }
    }

    /// Handles a visit of one visitor every minute; returns the first drop with its second.
    fn first_drop(&mut self, seconds: std::ops::Range<i64>) -> Option<(i64, i64)> {
        seconds.step_by(60).find_map(|second| {
            let told = self.visit("1", second);
            told.first().map(|window| (*window, second))
        })
    }
}

fn both(windows: &[u32]) -> Site {
    site("a", windows.iter().map(|window| drop(3, *window)))
}

/// A site with a long history, and with five visitors who left 500 seconds ago; one is there.
fn five_left(windows: &[u32]) -> (Life, i64) {
    let mut life = Life::begin(both(windows));
    for visitor in ["1", "2", "3", "4", "5"] {
        for second in [0, 200_000] {
            life.visit(visitor, FIRST + second);
        }
    }
    life.visit("1", FIRST + 200_500);
    (life, FIRST + 200_501)
}

#[test]
fn a_window_made_longer_while_nobody_looked_is_not_complete() {
    let (mut life, now) = five_left(&[300]);
    life.restart(both(&[300, 3_600]));
    let (window, at) = life.first_drop(now..now + 9_000).expect("one visitor is left");
    assert_eq!(window, 3_600);
    // The five were seen 500 seconds before: without them none knew of them, until an hour has
    // passed since the restart.
    assert!((now + 3_600..now + 3_700).contains(&at), "{}", at - now);
}

#[test]
fn the_incompleteness_of_a_window_outlives_a_second_restart() {
    let (mut life, now) = five_left(&[300]);
    life.restart(both(&[300, 3_600]));
    assert_eq!(life.first_drop(now..now + 1_000), None);
    life.restart(both(&[300, 3_600]));
    let (_, at) = life
        .first_drop(now + 1_000..now + 9_000)
        .expect("one visitor is left");
    assert!((now + 3_600..now + 3_700).contains(&at), "{}", at - now);
}

#[test]
fn a_long_drop_that_is_new_at_a_restart_waits_for_its_window() {
    let (mut life, now) = five_left(&[300]);
    // Nothing changes for two hours, so the state on the topic stays as old.
    for second in (now..now + 7_000).step_by(60) {
        for visitor in ["1", "2", "3", "4"] {
            life.visit(visitor, second);
        }
    }
    let restart = now + 7_600;
    for second in now + 7_000..restart {
        life.visit("1", second);
    }
    life.restart(both(&[300, 7_200]));
    let (window, at) = life
        .first_drop(restart..now + 30_000)
        .expect("one visitor is left");
    assert_eq!(window, 7_200);
    assert!(
        (restart + 7_200..restart + 7_300).contains(&at),
        "{}",
        at - restart
    );
}

#[test]
fn a_window_that_was_there_before_is_complete_after_a_restart() {
    let (mut life, now) = five_left(&[300, 3_600]);
    life.restart(both(&[300, 3_600]));
    let (_, at) = life.first_drop(now..now + 9_000).expect("the five leave");
    let leave = FIRST + 200_000 + 3_601;
    assert!((leave..leave + 90).contains(&at), "{}", at - leave);
}

#[test]
fn a_state_claimed_late_lacks_what_came_meanwhile() {
    let (mut life, now) = five_left(&[300, 7_200]);
    // The registry does not know the site, and 3 visitors who come meanwhile are not counted.
    let states = std::mem::take(&mut life.states);
    life.engine = Engine::new(config(SourceClock::Log), registry([]));
    for (key, bytes) in &states {
        life.engine.load_state(key, Some(bytes)).expect("readable");
    }
    for visitor in ["6", "7", "8"] {
        life.visit(visitor, now + 6_000);
    }
    life.engine.set_registry(registry([both(&[300, 7_200])]));
    life.states = states;
    // All are in the window until then; without the three the count would be one.
    let (window, at) = life
        .first_drop(now + 6_001..now + 30_000)
        .expect("one visitor is left");
    assert_eq!(window, 7_200);
    assert!(at >= now + 6_000 + 7_200, "{}", at - now);
}

#[test]
fn the_notifications_of_a_state_claimed_late_are_published() {
    let (life, _) = five_left(&[300]);
    let unconfirmed: Vec<_> = life.engine.unconfirmed().iter().map(|one| one.id).collect();
    assert!(!unconfirmed.is_empty());
    let mut engine = Engine::new(config(SourceClock::Log), registry([]));
    for (key, bytes) in &life.states {
        engine.load_state(key, Some(bytes)).expect("readable");
    }
    assert_eq!(engine.unconfirmed(), []);
    engine.set_registry(registry([both(&[300])]));
    let claimed: Vec<_> = engine.take_claimed().iter().map(|one| one.id).collect();
    assert_eq!(claimed, unconfirmed);
    assert_eq!(engine.take_claimed(), [], "once");
}

/// A long drop of a site that needs no history.
fn without_history(clock: SourceClock) -> Fed {
    let mut triggers: Triggers = drop(3, 7_200);
    if let Some(drop) = &mut triggers.visitor_drop {
        drop.condition.require_history = false;
    }
    let mut young = site("a", [triggers]);
    for webhook in &mut young.webhooks {
        let mut active = (**webhook).clone();
        active.active_since_ms = RECORD_MS;
        *webhook = active.into();
    }
    Fed::new(clock, [young])
}

#[test]
fn a_long_drop_of_a_new_site_waits_for_its_window() {
    for clock in [SourceClock::Live, SourceClock::Log] {
        let mut fed = without_history(clock);
        let start = RECORD_MS / 1_000;
        let mut first = None;
        for second in (start + 60..start + 20_000).step_by(60) {
            (fed.now_ms, fed.record_ms) = (second * 1_000, second * 1_000);
            let told = fed.fires("a", "1", second) || !fed.tick(second * 1_000).is_empty();
            first = first.or(told.then_some(second));
        }
        let at = first.expect("one visitor is fewer than three") - start;
        assert!((7_200..7_300).contains(&at), "{clock:?}: {at}");
    }
}

#[test]
fn no_state_covers_a_topic_made_anew_however_long_it_is() {
    let mut fed = Fed::log([site("a", [spike(2, 300)])]);
    assert!(!fed.fires("a", "1", FIRST));
    fed.fires("a", "2", FIRST);
    let stored = fed.engine.unconfirmed();
    fed.engine.confirm("a", stored[0].id);
    let state = fed.states().remove(0);
    let mut engine = Engine::new(config(SourceClock::Log), registry([site("a", [spike(2, 300)])]));
    engine.load_state("a", state.bytes.as_deref()).expect("readable");
    engine.forget_covered(0);
    let keys: Vec<_> = engine
        .take_dirty_states()
        .iter()
        .map(|one| one.bytes.is_none())
        .collect();
    assert_eq!(keys, [true, false], "buried, and written again");
    let mut again = Fed::log([]);
    again.engine = engine;
    // The episode of the earlier topic ends, and another begins at offsets that lay before it.
    assert!(!again.fires("a", "1", FIRST + 9_000));
    assert!(again.fires("a", "2", FIRST + 9_000));
}

const START: i64 = RECORD_MS / 1_000;

/// A live site with a drop below two whose threshold is raised to 20 at `START`. Thirty visitors
/// came a thousand seconds ago, of whom few are kept.
fn raised() -> Fed {
    let mut fed = Fed::new(SourceClock::Live, [site("a", [drop(2, 4_000)])]);
    for second in [START - 9_000, START - 6_000, START - 3_000] {
        come(&mut fed, "early", 3, second, second);
    }
    come(&mut fed, "known", 30, START - 1_000, START - 1_000);
    assert_eq!(fed.tick(START * 1_000), []);
    fed.configure([changed(&site("a", [drop(20, 4_000)]), |_| {})]);
    assert_eq!(fed.tick(START * 1_000), [], "at once");
    fed
}

/// Lets visitors come at a second, whose events say that they came at another.
fn come(fed: &mut Fed, name: &str, visitors: u32, second: i64, at: i64) {
    (fed.now_ms, fed.record_ms) = (at * 1_000, at * 1_000);
    for number in 0..visitors {
        let visitor = format!("{name} {number}");
        assert_eq!(fed.feed(&view("a", &visitor, second)), []);
    }
}

/// Seconds after `START` at which drops begin until `until`, with a tick a second.
fn drops_until(fed: &mut Fed, until: i64) -> Vec<i64> {
    let from = fed.now_ms / 1_000 - START;
    let ticks = (from + 1..=until).flat_map(|second| {
        let decided = fed.tick((START + second) * 1_000);
        decided
            .into_iter()
            .map(|one| one.created_at_ms / 1_000 - START)
            .collect::<Vec<_>>()
    });
    ticks.collect()
}

#[test]
fn a_raised_long_drop_waits_until_its_window_has_passed() {
    let mut fed = raised();
    // Who is kept has left by 3,001, and whoever was not kept might be there. The site's clock was
    // ten seconds behind when the threshold was raised.
    assert_eq!(drops_until(&mut fed, 9_000), [3_990]);
}

#[test]
fn a_raised_long_drop_is_judged_once_its_list_is_full() {
    let mut fed = raised();
    // With these the list holds all that 20 and its re-arm level need.
    come(&mut fed, "new", 30, START - 900, START + 50);
    assert_eq!(
        drops_until(&mut fed, 9_000),
        [3_101],
        "before the window has passed"
    );
}
