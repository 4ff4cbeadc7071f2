//! A live site with two sources, events that come late, twice or with a wrong clock, and restarts
//! at any point, for properties about what is told of it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;

use super::fixtures::{RECORD_MS, config, registry, view};
use crate::detect::completeness::CompleteFrom;
use crate::detect::engine::Engine;
use crate::detect::engine::config::EngineConfig;
use crate::detect::engine::record::RecordFacts;
use crate::detect::engine::recovery::Checkpoint;
use crate::detect::notification::Decision;
use crate::domain::event::{Event, EventKind, SourceClock};
use crate::domain::registry::Site;

pub(super) const FIRST: i64 = RECORD_MS / 1_000;
const DAY: i64 = 86_400;
/// Seconds in which second copies come. A restart may remember an id for longer than its ten
/// minutes.
const KNOWN_AS_COPY: i64 = 580;
const OUT_OF_ORDER: i64 = 10;

/// The own time of an event, in view of the second at which its record is written.
#[derive(Debug, Clone)]
pub(super) enum OwnTime {
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
pub(super) struct Step {
    /// Seconds since the step before.
    pub(super) gap: i64,
    /// True if the wall clock moves silent sites before it.
    pub(super) ticks: bool,
    pub(super) source: usize,
    pub(super) is_own: bool,
    pub(super) visitor: u64,
    pub(super) kind: EventKind,
    pub(super) own_time: OwnTime,
    /// Commits that are lost with a restart after it.
    pub(super) restart: Option<usize>,
}

/// A record of a source, in the order in which all were written.
#[derive(Debug, Clone)]
pub(super) struct Written {
    source: usize,
    offset: i64,
    pub(super) is_own: bool,
    pub(super) visitor: String,
    kind: EventKind,
    id: String,
    own: Option<i64>,
    /// Second at which the first of its copies was written.
    first_at: i64,
    at: i64,
}

impl Written {
    fn event(&self) -> Event<'_> {
        let site_id = if self.is_own { "a" } else { "nobody" };
        Event {
            timestamp_ms: self.own.map(|second| second * 1_000),
            kind: self.kind,
            name: (self.kind == EventKind::Custom).then_some("Signup".into()),
            event_id: Some(self.id.as_str().into()),
            ..view(site_id, &self.visitor, 0)
        }
    }

    /// The second at which it counts.
    pub(super) fn counts_at(&self) -> i64 {
        match self.own {
            Some(own) if own >= self.at - DAY => own.min(self.at),
            _ => self.at,
        }
    }
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
pub(super) struct Life {
    watched: Site,
    pub(super) log: Vec<Written>,
    ends: [i64; 2],
    states: BTreeMap<String, Option<Vec<u8>>>,
    commits: Vec<Checkpoint>,
    /// Number of commits that no restart loses.
    kept: usize,
    /// Second to which the wall clock has moved silent sites.
    pub(super) floor: i64,
    /// Notifications by their ids.
    pub(super) told: BTreeMap<String, Decision>,
    engine: Engine,
    committed: [i64; 2],
    replay_from: [i64; 2],
}

impl Life {
    pub(super) fn begin(watched: Site) -> Self {
        let mut life = Self {
            engine: Engine::new(two_sources(), registry([watched.clone()])),
            watched,
            log: Vec::new(),
            ends: [0, 0],
            states: BTreeMap::new(),
            commits: Vec::new(),
            kept: 0,
            floor: 0,
            told: BTreeMap::new(),
            committed: [0, 0],
            replay_from: [0, 0],
        };
        life.restart(0, FIRST);
        life
    }

    /// Starts a new engine at a second, from a commit before the last ones.
    pub(super) fn restart(&mut self, commits_lost: usize, now: i64) {
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
        self.replay_from = from;
        self.engine = Engine::new(two_sources(), registry([self.watched.clone()]));
        self.engine
            .resume_floor(last.and_then(|commit| commit.live_floor), now * 1_000);
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

    /// Writes and handles the record of a step.
    pub(super) fn take(&mut self, step: &Step, now: i64) -> Written {
        let written = self.write(step, now);
        self.handle(&written, now);
        if written.is_own && written.counts_at() < self.floor {
            self.keep_floor();
        }
        written
    }

    fn write(&mut self, step: &Step, now: i64) -> Written {
        let copied = match &step.own_time {
            OwnTime::CopyOf(index) if !self.log.is_empty() => Some(index.get(&self.log).clone()),
            _ => None,
        };
        let copied = copied.filter(|one| now - one.first_at < KNOWN_AS_COPY);
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
            kind: step.kind,
            id: format!("e-{}", self.log.len()),
            own,
            first_at: now,
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
        self.publish(&out);
        self.store();
        if !self.engine.completeness().is_rebuilding() {
            let commit = self.commit();
            self.commits.push(commit);
        }
    }

    /// Returns the commit of now. A source of which nothing was read stays where it was.
    fn commit(&self) -> Checkpoint {
        let mut commit = self.engine.checkpoint();
        for source in [0, 1] {
            if commit.next[source].is_none_or(|next| next < self.committed[source]) {
                commit.next[source] = Some(self.committed[source]);
                commit.replay_from[source] = Some(self.replay_from[source]);
            }
        }
        commit
    }

    /// Keeps what an event depends on that came so late that the wall clock had moved its site
    /// beyond it: how far it had is known to later owners from the next commit on.
    fn keep_floor(&mut self) {
        let floor = self.commits.last().and_then(|commit| commit.live_floor);
        let first = self.commits.iter().position(|commit| commit.live_floor == floor);
        self.kept = self.kept.max(first.map_or(0, |place| place + 1));
    }

    pub(super) fn tick(&mut self, now: i64) {
        self.engine.tick(now * 1_000, true);
        self.floor = now - OUT_OF_ORDER;
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
        for decision in decisions {
            self.told.insert(decision.id.to_string(), decision.clone());
        }
    }
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
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
    let kind = prop_oneof![
        6 => Just(EventKind::Pageview),
        1 => Just(EventKind::Custom),
        1 => Just(EventKind::Error),
    ];
    let step = (
        gap,
        any::<bool>(),
        0_usize..2,
        is_own,
        (visitor, kind),
        own_time,
        restart,
    );
    let step = step.prop_map(
        |(gap, ticks, source, is_own, (visitor, kind), own_time, restart)| Step {
            gap,
            ticks,
            source,
            is_own,
            visitor,
            kind,
            own_time,
            restart,
        },
    );
    proptest::collection::vec(step, 1..120)
}
