//! Sites that are registered while their events flow: what came before counts for nobody, whether
//! the records are read again or not.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;

use super::fixtures::*;
use crate::detect::completeness::CompleteFrom;
use crate::detect::engine::Engine;
use crate::detect::engine::config::EngineConfig;
use crate::detect::engine::record::RecordFacts;
use crate::detect::engine::recovery::Checkpoint;
use crate::domain::event::SourceClock;
use crate::domain::registry::{Registry, Site};
use crate::domain::trigger::{NoticeOptions, NoticePace, Triggers};

/// The second before the first event.
const START: i64 = RECORD_MS / 1_000;

/// A step of a log and of what happens beside it.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A visit, so many seconds after the one before.
    Visit(&'static str, u8, i64),
    /// The site is registered, or deleted if it was.
    Register(&'static str),
    Restart,
}

/// A partition with its log, its states and its commit.
struct Life {
    clock: SourceClock,
    engine: Engine,
    log: Vec<(&'static str, u8, i64)>,
    states: BTreeMap<String, Vec<u8>>,
    /// The latest commit, and number of records since.
    commit: Checkpoint,
    registered: BTreeMap<&'static str, Site>,
    told: BTreeMap<String, String>,
}

impl Life {
    fn begin(clock: SourceClock) -> Self {
        let engine = Engine::new(here(clock), registry([]));
        let mut life = Self {
            clock,
            commit: engine.checkpoint(),
            engine,
            log: Vec::new(),
            states: BTreeMap::new(),
            registered: BTreeMap::new(),
            told: BTreeMap::new(),
        };
        let completeness = life.engine.completeness_mut();
        completeness.begin(0, 0, 0, CompleteFrom::Ever);
        life
    }

    fn registry(&self) -> Arc<Registry> {
        registry(self.registered.values().cloned())
    }

    fn now(&self) -> i64 {
        self.log.last().map_or(START, |(_, _, second)| *second)
    }

    fn visit(&mut self, site: &'static str, visitor: u8, gap: i64) {
        self.log.push((site, visitor, self.now() + gap));
        self.read(self.log.len() - 1, false);
        self.commit = self.engine.checkpoint();
    }

    fn read(&mut self, offset: usize, replaying: bool) {
        let (site_id, visitor, second) = self.log[offset];
        let record = RecordFacts {
            source: 0,
            offset: offset as i64,
            record_ms: second * 1_000,
            replaying,
        };
        let visitor = format!("visitor {visitor}");
        let mut out = Vec::new();
        let event = view(site_id, &visitor, second);
        self.engine.handle(&event, &record, second * 1_000, &mut out);
        let before = self.told.len();
        self.publish(out);
        self.tick();
        assert!(
            !replaying || self.told.len() == before,
            "a replayed record gives no output"
        );
    }

    fn tick(&mut self) {
        self.engine.tick(self.now() * 1_000, true);
        let ready = self.engine.take_ready();
        self.publish(ready);
    }

    fn publish(&mut self, plain: Vec<crate::detect::notification::Decision>) {
        let mut decisions = plain;
        for state in self.engine.take_dirty_states() {
            match &state.bytes {
                Some(bytes) => self.states.insert(state.key(), bytes.clone()),
                None => self.states.remove(&state.key()),
            };
            decisions.extend(state.decisions);
        }
        for decision in decisions {
            self.engine.confirm(decision.site_id.as_str(), decision.id);
            let mut body = json(&decision);
            // A peak is written once a minute, and not found again in records that are read again.
            body["data"].as_object_mut().expect("data").remove("peak");
            self.told.insert(decision.id.to_string(), body.to_string());
        }
    }

    fn register(&mut self, id: &'static str) {
        if self.registered.remove(id).is_none() {
            self.registered.insert(id, watched(id, self.now()));
        }
        self.engine.set_registry(self.registry());
        self.publish(Vec::new());
    }

    fn restart(&mut self) {
        let (engine, again) = resumed(here(self.clock), self.registry(), &self.states, &self.commit);
        self.engine = engine;
        for offset in again {
            self.read(offset as usize, true);
        }
        self.tick();
    }

    fn run(clock: SourceClock, steps: &[Step], restarts: bool) -> BTreeMap<String, String> {
        let mut life = Self::begin(clock);
        for step in steps {
            match *step {
                Step::Visit(site, visitor, gap) => life.visit(site, visitor, gap),
                Step::Register(site) => life.register(site),
                Step::Restart if restarts => life.restart(),
                Step::Restart => {}
            }
        }
        life.told
    }
}

/// Settings of an engine that every site's records belong to.
fn here(clock: SourceClock) -> EngineConfig {
    EngineConfig {
        partition: 0,
        partition_count: 1,
        ..config(clock)
    }
}

/// A site that is registered at a second, with triggers that look back.
fn watched(id: &str, second: i64) -> Site {
    let without_history = |threshold: u32, window_seconds: u32| {
        let options = NoticeOptions {
            notify_resolved: true,
            ..NoticeOptions::default()
        };
        let mut triggers: Triggers = drop_with(threshold, window_seconds, options);
        if let Some(drop) = &mut triggers.visitor_drop {
            drop.condition.require_history = false;
        }
        triggers
    };
    let mut site = site(
        id,
        [
            spike(4, 300),
            spike(6, 900),
            drop(2, 300),
            without_history(2, 300),
            without_history(3, 900),
            without_history(2, 4_000),
            paced(NoticePace::Every(3)),
        ],
    );
    for webhook in &mut site.webhooks {
        Arc::make_mut(webhook).active_since_ms = second * 1_000;
    }
    site
}

#[test]
fn who_came_before_a_registration_counts_for_nobody() {
    use Step::{Register, Restart, Visit};
    for clock in [SourceClock::Live, SourceClock::Log] {
        let mut steps: Vec<Step> = (0..10).map(|visitor| Visit("a", visitor, 1)).collect();
        steps.extend([Register("a"), Restart]);
        // Two of the ten.
        steps.extend([Visit("a", 0, 5), Visit("a", 1, 1)]);
        let told = |steps: &[Step], restarts: bool| Life::run(clock, steps, restarts);
        assert_eq!(
            told(&steps, false),
            BTreeMap::new(),
            "{clock:?}: neither drop nor spike"
        );
        assert_eq!(told(&steps, true), BTreeMap::new(), "{clock:?}: after a restart");
        steps.extend([Restart, Visit("a", 2, 1), Restart, Visit("a", 3, 1)]);
        for restarts in [false, true] {
            let told = told(&steps, restarts);
            assert_eq!(told.len(), 1, "{clock:?}: {told:?}");
            let spike = told.values().next().expect("one");
            assert!(spike.contains("\"current_visitors\":4"), "{clock:?}: {spike}");
        }
        // Made again, it begins again.
        steps.extend([Register("a"), Visit("a", 4, 1), Register("a"), Restart]);
        steps.extend([Visit("a", 5, 1), Visit("a", 6, 1)]);
        for restarts in [false, true] {
            assert_eq!(told(&steps, restarts).len(), 1, "{clock:?}");
        }
    }
}

#[test]
fn a_beginning_goes_with_its_site_and_with_its_topic() {
    let mut life = Life::begin(SourceClock::Log);
    for visitor in 0..5 {
        life.visit("a", visitor, 1);
    }
    life.register("a");
    assert!(
        life.states["a"].starts_with(b"{\"beginning\":{"),
        "written at once"
    );
    life.engine.rewrite_states();
    let [state] = &life.engine.take_dirty_states()[..] else {
        panic!("one state");
    };
    assert_eq!(state.bytes.as_ref(), Some(&life.states["a"]));
    // The topic is made anew: its offsets begin again.
    life.restart();
    life.engine.forget_covered_beyond(0, 4);
    life.publish(Vec::new());
    life.log.clear();
    for visitor in 0..4 {
        life.visit("a", visitor, 10);
    }
    assert_eq!(life.told.len(), 1, "a spike of four");
    life.register("a");
    assert!(life.states.is_empty(), "buried");
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let gap = prop_oneof![6 => 0_i64..9, 3 => 15_i64..70, 1 => 100_i64..1_000];
    let site = prop_oneof![Just("a"), Just("b")];
    let visit = (site, 0_u8..8, gap);
    let step = visit.prop_map(|(site, visitor, gap)| Step::Visit(site, visitor, gap));
    let others = proptest::collection::vec((any::<Index>(), 0_u8..5), 1..8);
    (proptest::collection::vec(step, 1..150), others).prop_map(|(mut steps, others)| {
        for (place, kind) in others {
            let step = match kind {
                0 => Step::Register("a"),
                1 => Step::Register("b"),
                _ => Step::Restart,
            };
            steps.insert(place.index(steps.len() + 1), step);
        }
        steps
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_registration_counts_the_same_with_and_without_restarts(
        steps in steps(),
        is_live in any::<bool>(),
    ) {
        let clock = if is_live { SourceClock::Live } else { SourceClock::Log };
        prop_assert_eq!(Life::run(clock, &steps, true), Life::run(clock, &steps, false));
    }
}
