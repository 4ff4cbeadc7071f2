//! Two live sources of one partition, and restarts at any point: an episode that lasts is notified
//! once, however the records of the two are mixed when they are read again.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::detect::completeness::CompleteFrom;
use crate::detect::engine::Engine;
use crate::detect::engine::record::RecordFacts;
use crate::detect::engine::recovery::Checkpoint;
use crate::detect::notification::Decision;
use crate::detect::tests::fixtures::{RECORD_MS, config, drop, paced, registry, site, spike, view};
use crate::domain::event::{Event, EventKind, EventType, SourceClock};
use crate::domain::registry::Site;
use crate::domain::trigger::{ErrorSettings, ErrorTrigger, NoticeOptions, NoticePace, Triggers};

/// Each so many events of a name are notified.
const EVERY: u32 = 5;

/// A site with triggers of every kind whose state outlives the windows.
fn watched() -> Site {
    let mut every = paced(NoticePace::Every(EVERY));
    every.goal_completion = None;
    let errors = ErrorTrigger {
        conditions: vec![ErrorSettings::ErrorEvents {
            count: 2,
            event: Some("404".to_owned()),
            window_seconds: 3_600,
        }],
        options: NoticeOptions::default(),
    };
    let errors = Triggers {
        error_condition: Some(errors),
        ..Triggers::default()
    };
    site("a", [spike(2, 300), drop(4, 300), drop(4, 4_000), every, errors])
}

/// Records of each source: whole seconds after the first, and visitors. What visitor 0 does is a
/// custom event.
type Logs = [Vec<(i64, u8)>; 2];

/// The contents of Kafka, which outlive a restart.
#[derive(Default)]
struct Kafka {
    states: BTreeMap<String, Option<Vec<u8>>>,
    published: BTreeSet<(EventType, String)>,
    commits: Vec<Checkpoint>,
}

struct Run<'a> {
    logs: &'a Logs,
    engine: Engine,
    committed: [i64; 2],
    next: [i64; 2],
    now_ms: i64,
}

impl<'a> Run<'a> {
    /// Starts from one of the last commits: the later ones were never acknowledged.
    fn start(logs: &'a Logs, kafka: &mut Kafka, commits_lost: usize, now_ms: i64) -> Self {
        let kept = kafka.commits.len().saturating_sub(commits_lost);
        kafka.commits.truncate(kept);
        let mut config = config(SourceClock::Live);
        // One source may be read half an hour ahead of the other.
        config.stale_after_ms = 86_400_000;
        let mut second = config.sources[0].clone();
        second.topic = "more events".to_owned();
        config.sources.push(second);
        let mut engine = Engine::new(config, registry([watched()]));
        let (mut committed, mut next) = ([0, 0], [0, 0]);
        if let Some(commit) = kafka.commits.last() {
            committed = [0, 1].map(|source| commit.next[source].unwrap_or(0));
            next = [0, 1].map(|source| commit.replay_from[source].unwrap_or(committed[source]));
        }
        for source in [0, 1] {
            let completeness = engine.completeness_mut();
            completeness.begin(source, committed[source], next[source], CompleteFrom::Ever);
        }
        for (key, bytes) in &kafka.states {
            engine.load_state(key, bytes.as_deref()).expect("readable");
        }
        let unconfirmed = engine.unconfirmed();
        unconfirmed.iter().for_each(|decision| kafka.publish(decision));
        Self {
            logs,
            engine,
            committed,
            next,
            now_ms,
        }
    }

    /// Handles a record of a source, or of the other if that has none that may be handled.
    fn step(&mut self, wanted: usize, kafka: &mut Kafka) {
        let can = |source: &usize| {
            let next = self.next[*source];
            (next as usize) < self.logs[*source].len() && self.engine.completeness().admits(*source, next)
        };
        let Some(source) = [wanted, 1 - wanted].into_iter().find(can) else {
            return;
        };
        let offset = self.next[source];
        let (second, visitor) = self.logs[source][offset as usize];
        self.next[source] += 1;
        let record = RecordFacts {
            source,
            offset,
            record_ms: RECORD_MS + second * 1_000,
            replaying: offset < self.committed[source],
        };
        self.now_ms = self.now_ms.max(record.record_ms);
        let visitor = visitor.to_string();
        let view = view("a", &visitor, RECORD_MS / 1_000 + second);
        let event = match visitor.as_str() {
            "0" => Event {
                kind: EventKind::Custom,
                name: Some("404".into()),
                ..view
            },
            _ => view,
        };
        let mut ready = Vec::new();
        self.engine.handle(&event, &record, self.now_ms, &mut ready);
        ready.extend(self.engine.take_ready());
        ready.iter().for_each(|decision| kafka.publish(decision));
        for state in self.engine.take_dirty_states() {
            kafka.states.insert(state.key(), state.bytes.clone());
            for decision in &state.decisions {
                kafka.publish(decision);
                self.engine.confirm("a", decision.id);
            }
        }
        if !self.engine.completeness().is_rebuilding() {
            kafka.commits.push(self.engine.checkpoint());
        }
    }
}

impl Kafka {
    fn publish(&mut self, decision: &Decision) {
        self.published.insert((decision.event, decision.id.to_string()));
    }
}

fn logs() -> impl Strategy<Value = Logs> {
    // Two visitors or three at any time, on either source: a spike and two drops that never end.
    let log = || {
        let record = (1_i64..40, 0_u8..3);
        proptest::collection::vec(record, 150..200).prop_map(|records| {
            let mut now = 0;
            let at = |(gap, visitor)| {
                now += gap;
                (now, visitor)
            };
            records.into_iter().map(at).collect::<Vec<_>>()
        })
    };
    [log(), log()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn restarts_between_two_sources_notify_an_episode_once(
        logs in logs(),
        runs in proptest::collection::vec((proptest::collection::vec(0_usize..2, 1..120), 0_usize..30), 1..6),
    ) {
        let mut kafka = Kafka::default();
        let mut now_ms = RECORD_MS;
        let all: Vec<usize> = (0..400).map(|step| step % 2).collect();
        for (picks, lost) in runs.iter().chain([&(all, 0)]) {
            let mut run = Run::start(&logs, &mut kafka, *lost, now_ms);
            picks.iter().for_each(|wanted| run.step(*wanted, &mut kafka));
            now_ms = run.now_ms;
        }
        let count = |event| kafka.published.iter().filter(|(one, _)| *one == event).count();
        prop_assert_eq!(count(EventType::VisitorSpike), 1);
        prop_assert_eq!(count(EventType::ErrorCondition), 1);
        let named = logs.iter().flatten().filter(|(_, visitor)| *visitor == 0).count();
        prop_assert_eq!(count(EventType::CustomEvent), named / EVERY as usize);
        prop_assert!(count(EventType::VisitorDrop) <= 2, "{:?}", kafka.published);
    }
}
