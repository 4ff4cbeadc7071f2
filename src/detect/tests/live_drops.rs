//! Drops of live sites against the model that lists every visitor: two sources, events that come
//! late, twice or with a wrong clock, and restarts at any point.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;

use super::drops::{Model, TRIGGERS, Told, told};
use super::fixtures::{RECORD_MS, config, drop_with, registry, site, view};
use crate::detect::completeness::CompleteFrom;
use crate::detect::engine::Engine;
use crate::detect::engine::config::EngineConfig;
use crate::detect::engine::record::RecordFacts;
use crate::detect::engine::recovery::Checkpoint;
use crate::detect::notification::Decision;
use crate::domain::event::{Event, EventType, SourceClock};
use crate::domain::registry::Site;
use crate::domain::trigger::NoticeOptions;

const FIRST: i64 = RECORD_MS / 1_000;
const DAY: i64 = 86_400;
const OUT_OF_ORDER: i64 = 10;

/// The own time of an event, in view of the second at which its record is written.
#[derive(Debug, Clone)]
enum OwnTime {
    None,
    /// So many seconds before.
    Before(i64),
    /// By a clock that is wrong.
    Ahead,
    /// By a clock that is wrong, or kept for over a day.
    OverADayAgo,
    /// A second copy of an earlier event, its id and its time with it.
    CopyOf(Index),
}

#[derive(Debug, Clone)]
struct Step {
    /// Seconds since the step before.
    gap: i64,
    /// True if the wall clock moves silent sites before it.
    ticks: bool,
    source: usize,
    is_own: bool,
    visitor: u64,
    own_time: OwnTime,
    /// Commits that are lost with a restart after it.
    restart: Option<usize>,
}

/// A record of a source, in the order in which all were written.
#[derive(Debug, Clone)]
struct Written {
    source: usize,
    offset: i64,
    is_own: bool,
    visitor: String,
    id: String,
    own: Option<i64>,
    at: i64,
}

impl Written {
    fn event(&self) -> Event<'_> {
        let site_id = if self.is_own { "a" } else { "nobody" };
        Event {
            timestamp_ms: self.own.map(|second| second * 1_000),
            event_id: Some(self.id.as_str().into()),
            ..view(site_id, &self.visitor, 0)
        }
    }

    /// The second at which it counts.
    fn counts_at(&self) -> i64 {
        match self.own {
            Some(own) if own >= self.at - DAY => own.min(self.at),
            _ => self.at,
        }
    }
}

fn watched() -> Site {
    let options = NoticeOptions {
        notify_resolved: true,
        ..NoticeOptions::default()
    };
    let triggers = TRIGGERS.map(|(threshold, window)| drop_with(threshold, window as u32, options));
    site("a", triggers)
}

fn two_sources() -> EngineConfig {
    let mut config = config(SourceClock::Live);
    config.stale_after_ms = 1_000 * DAY * 1_000;
    let mut second = config.sources[0].clone();
    second.topic = "more events".to_owned();
    config.sources.push(second);
    config
}

/// The log, which outlives a restart, and the engine of now.
struct Life {
    log: Vec<Written>,
    ends: [i64; 2],
    states: BTreeMap<String, Option<Vec<u8>>>,
    commits: Vec<Checkpoint>,
    /// Number of commits that no restart loses.
    kept: usize,
    told: BTreeMap<String, Told>,
    engine: Engine,
    committed: [i64; 2],
}

impl Life {
    fn begin() -> Self {
        let mut life = Self {
            log: Vec::new(),
            ends: [0, 0],
            states: BTreeMap::new(),
            commits: Vec::new(),
            kept: 0,
            told: BTreeMap::new(),
            engine: Engine::new(two_sources(), registry([watched()])),
            committed: [0, 0],
        };
        life.restart(0, FIRST);
        life
    }

    /// Starts a new engine at a second, from a commit before the last ones.
    fn restart(&mut self, commits_lost: usize, now: i64) {
        let left = self.commits.len().saturating_sub(commits_lost);
        self.commits.truncate(left.max(self.kept));
        let last = self.commits.last();
        let committed = |source: usize| last.and_then(|commit| commit.next[source]).unwrap_or(0);
        self.committed = [committed(0), committed(1)];
        let from = |source: usize| {
            let replayed = last.and_then(|commit| commit.replay_from[source]);
            replayed.unwrap_or(self.committed[source])
        };
        let from = [from(0), from(1)];
        self.engine = Engine::new(two_sources(), registry([watched()]));
        self.engine
            .resume_floor(last.and_then(|commit| commit.live_floor));
        for source in [0, 1] {
            let completeness = self.engine.completeness_mut();
            completeness.begin(source, self.committed[source], from[source], CompleteFrom::Ever);
        }
        for (key, bytes) in &self.states {
            self.engine.load_state(key, bytes.as_deref()).expect("readable");
        }
        let unconfirmed = self.engine.unconfirmed();
        self.publish(&unconfirmed);
        self.read_again(from, now);
        self.tick(now);
    }

    /// Handles the records from these offsets on, in the order in which they were written, as far
    /// as a source does not wait for the other.
    fn read_again(&mut self, from: [i64; 2], now: i64) {
        let again = self.log.iter().filter(|one| one.offset >= from[one.source]);
        let mut left: Vec<Written> = again.cloned().collect();
        while !left.is_empty() {
            let completeness = self.engine.completeness();
            let next = [0, 1].map(|source| left.iter().position(|one| one.source == source));
            let due = next
                .into_iter()
                .flatten()
                .filter(|place| completeness.admits(left[*place].source, left[*place].offset));
            let place = due.min().expect("one source waits, not both");
            let written = left.remove(place);
            self.handle(&written, now);
        }
    }

    fn write(&mut self, step: &Step, now: i64) -> Written {
        let copied = match &step.own_time {
            OwnTime::CopyOf(index) if !self.log.is_empty() => Some(index.get(&self.log).clone()),
            _ => None,
        };
        let own = match step.own_time {
            OwnTime::None | OwnTime::CopyOf(_) => None,
            OwnTime::Before(seconds) => Some((now - seconds).max(FIRST)),
            OwnTime::Ahead => Some(now + 3_600),
            OwnTime::OverADayAgo => Some(now - DAY - 1),
        };
        let first = Written {
            source: step.source,
            offset: 0,
            is_own: step.is_own,
            visitor: step.visitor.to_string(),
            id: format!("e-{}", self.log.len()),
            own,
            at: now,
        };
        let written = Written {
            source: step.source,
            offset: self.ends[step.source],
            at: now,
            ..copied.unwrap_or(first)
        };
        self.ends[step.source] += 1;
        self.log.push(written.clone());
        written
    }

    fn handle(&mut self, written: &Written, now: i64) {
        let record = RecordFacts {
            source: written.source,
            offset: written.offset,
            record_ms: written.at * 1_000,
            replaying: written.offset < self.committed[written.source],
        };
        assert!(self.engine.completeness().admits(record.source, record.offset));
        let mut out = Vec::new();
        self.engine
            .handle(&written.event(), &record, now * 1_000, &mut out);
        assert_eq!(out, [], "episodes come with their states");
        self.store();
        if !self.engine.completeness().is_rebuilding() {
            self.commits.push(self.engine.checkpoint());
        }
    }

    /// Keeps what an event depends on that came so late that the wall clock had moved its site
    /// beyond it: how far it had is known to later owners from the next commit on.
    fn keep_floor(&mut self) {
        let floor = self.commits.last().and_then(|commit| commit.live_floor);
        let first = self.commits.iter().position(|commit| commit.live_floor == floor);
        self.kept = self.kept.max(first.map_or(0, |place| place + 1));
    }

    fn tick(&mut self, now: i64) {
        self.engine.tick(now * 1_000, true);
        self.store();
    }

    fn store(&mut self) {
        let ready = self.engine.take_ready();
        self.publish(&ready);
        for state in self.engine.take_dirty_states() {
            self.states.insert(state.key(), state.bytes.clone());
            self.publish(&state.decisions);
            for decision in &state.decisions {
                self.engine.confirm("a", decision.id);
            }
        }
    }

    fn publish(&mut self, decisions: &[Decision]) {
        for (decision, told) in decisions.iter().zip(told(decisions)) {
            self.told.insert(decision.id.to_string(), told);
        }
    }
}

/// The notifications in order, without the lowest counts that ends of drops tell: those of the last
/// minute before a crash are not stored, and not counted again if an event came late.
fn without_lowest<'t>(told: impl IntoIterator<Item = &'t Told>) -> Vec<Told> {
    let mut all: Vec<Told> = told.into_iter().copied().collect();
    for one in &mut all {
        if one.0 == EventType::VisitorDropResolved {
            one.3 = 0;
        }
    }
    all.sort_unstable();
    all
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let gap = prop_oneof![6 => 0_i64..60, 3 => 60_i64..700, 1 => 1_000_i64..9_000];
    let own_time = prop_oneof![
        4 => Just(OwnTime::None),
        4 => (0_i64..30).prop_map(OwnTime::Before),
        2 => (30_i64..1_200).prop_map(OwnTime::Before),
        1 => Just(OwnTime::Ahead),
        1 => Just(OwnTime::OverADayAgo),
        2 => any::<Index>().prop_map(OwnTime::CopyOf),
    ];
    let restart = proptest::option::weighted(0.1, 0_usize..12);
    let visitor = prop_oneof![0_u64..6, 0_u64..14];
    let is_own = proptest::bool::weighted(0.8);
    let step = (gap, any::<bool>(), 0_usize..2, is_own, visitor, own_time, restart);
    let step = step.prop_map(|(gap, ticks, source, is_own, visitor, own_time, restart)| Step {
        gap,
        ticks,
        source,
        is_own,
        visitor,
        own_time,
        restart,
    });
    proptest::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn drops_of_two_sources_are_the_models_whatever_restarts(steps in steps()) {
        let first = Step {
            gap: 0,
            ticks: false,
            source: 0,
            is_own: true,
            visitor: 0,
            own_time: OwnTime::None,
            restart: None,
        };
        let mut life = Life::begin();
        let mut model = Model::new(FIRST);
        let (mut now, mut floor) = (FIRST, 0);
        for step in std::iter::once(&first).chain(&steps) {
            now += step.gap;
            if step.ticks {
                life.tick(now);
                floor = now - OUT_OF_ORDER;
                model.pass(floor);
            }
            let written = life.write(step, now);
            life.handle(&written, now);
            if written.is_own {
                model.visit(&written.visitor, written.counts_at(), floor);
                if written.counts_at() < floor {
                    life.keep_floor();
                }
            }
            if let Some(commits_lost) = step.restart {
                life.restart(commits_lost, now);
                floor = now - OUT_OF_ORDER;
                model.pass(floor);
            }
            let found = without_lowest(life.told.values());
            let expected = without_lowest(&model.told);
            prop_assert_eq!(found, expected, "record {} of {:?}", life.log.len(), &life.log);
        }
    }
}

#[test]
fn a_drop_falls_due_though_a_state_is_older_than_what_is_read_again() {
    let visit = |gap, source, visitor, own_time| Step {
        gap,
        ticks: false,
        source,
        is_own: true,
        visitor,
        own_time,
        restart: None,
    };
    let mut life = Life::begin();
    let write = |life: &mut Life, step: &Step, now: i64| {
        let written = life.write(step, now);
        life.handle(&written, now);
    };
    for visitor in [0, 5, 2] {
        write(&mut life, &visit(0, 0, visitor, OwnTime::None), FIRST);
    }
    // The state is written with the drops of 300 and of 900 s. It knows nothing of the second source.
    life.tick(FIRST + 911);
    let elsewhere = Step {
        is_own: false,
        ..visit(0, 0, 0, OwnTime::None)
    };
    write(&mut life, &elsewhere, FIRST + 911);
    write(&mut life, &visit(0, 1, 1, OwnTime::Before(275)), FIRST + 911);
    life.restart(1, FIRST + 937);
    life.tick(FIRST + 4_011);
    let at: Vec<(i64, i64)> = without_lowest(life.told.values())
        .into_iter()
        .map(|told| (told.2, told.4 - FIRST))
        .collect();
    assert_eq!(at, [(300, 301), (4_000, 4_001), (900, 901)]);
}
