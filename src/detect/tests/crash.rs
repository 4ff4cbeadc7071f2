//! A crash at any point changes nothing: whatever was acknowledged before it, what is published in
//! the end is what an engine that never stopped publishes, under the same ids.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;

use crate::detect::completeness::CompleteFrom;
use crate::detect::engine::Engine;
use crate::detect::engine::record::RecordFacts;
use crate::detect::engine::recovery::Checkpoint;
use crate::detect::notification::Decision;
use crate::detect::site::state_record::StateRecord;
use crate::detect::tests::fixtures::{
    RECORD_MS, config, custom, drop, event, goals, paced, registry, site, spike,
};
use crate::domain::event::{Event, EventKind, SourceClock};
use crate::domain::registry::Site;
use crate::domain::trigger::{NameFilter, NoticePace};

/// One record of the source.
#[derive(Debug, Clone)]
struct Logged {
    site: &'static str,
    kind: EventKind,
    /// `None` for an event without a visitor.
    visitor: Option<String>,
    ms: i64,
}

impl Logged {
    fn event(&self) -> Event<'_> {
        let named = matches!(self.kind, EventKind::Goal | EventKind::Custom);
        let (page, source) = match self.ms / 1_000 % 3 {
            0 => ("/a", "Search"),
            1 => ("/b", "News"),
            _ => ("/c", "Mail"),
        };
        Event {
            name: named.then_some("Signup".into()),
            visitor_id: self.visitor.as_deref().map(Into::into),
            path: Some(page.into()),
            source: Some(source.into()),
            ..event(self.site, self.kind, self.ms)
        }
    }
}

fn sites() -> [Site; 2] {
    [
        site(
            "a",
            [
                spike(3, 300),
                spike(4, 60),
                spike(6, 300),
                goals(NameFilter::All),
                custom(NameFilter::All),
                drop(2, 400),
            ],
        ),
        site(
            "b",
            [
                spike(2, 60),
                spike(3, 600),
                goals(NameFilter::All),
                drop(3, 4_000),
                paced(NoticePace::Every(3)),
                paced(NoticePace::AtLeast {
                    at_least: 3,
                    within_seconds: 300,
                }),
            ],
        ),
    ]
}

/// The contents of Kafka, which outlive a crash.
#[derive(Debug, Default)]
struct Kafka {
    states: Vec<(String, Option<Vec<u8>>)>,
    published: BTreeMap<String, String>,
    commit: Option<Checkpoint>,
}

impl Kafka {
    fn publish(&mut self, decision: &Decision) {
        let body = String::from_utf8(decision.body.to_vec()).expect("text");
        let id = decision.id.to_string();
        let before = self.published.insert(id.clone(), body.clone());
        assert!(
            before.is_none_or(|before| before == body),
            "{id} has another body than before"
        );
    }

    fn store(&mut self, state: &StateRecord) {
        self.states.push((state.site_id.to_string(), state.bytes.clone()));
    }
}

/// An engine run by its owner up to a crash.
struct Run<'a> {
    log: &'a [Logged],
    engine: Engine,
    committed: i64,
    next: i64,
}

impl<'a> Run<'a> {
    fn start(log: &'a [Logged], kafka: &mut Kafka) -> Self {
        let mut engine = Engine::new(config(SourceClock::Log), registry(sites()));
        for (site_id, bytes) in &kafka.states {
            engine.load_state(site_id, bytes.as_deref()).expect("readable");
        }
        let (mut committed, mut next) = (0, 0);
        if let Some(commit) = &kafka.commit {
            engine.resume(commit.clock_ms);
            committed = commit.next[0].expect("a record was read");
            next = commit.replay_from[0].expect("a record was read");
            assert!(next <= committed);
        }
        let completeness = engine.completeness_mut();
        completeness.begin(0, committed, next, CompleteFrom::Ever);
        for decision in engine.unconfirmed() {
            kafka.publish(&decision);
            engine.confirm(decision.site_id.as_str(), decision.id);
        }
        Self {
            log,
            engine,
            committed,
            next,
        }
    }

    fn is_done(&self) -> bool {
        self.next as usize == self.log.len()
    }

    /// Handles up to `size` records.
    fn batch(&mut self, size: usize, tick: bool) -> (Vec<Decision>, Vec<StateRecord>, Checkpoint) {
        let mut out = Vec::new();
        for _ in 0..size {
            let Some(logged) = self.log.get(self.next as usize) else {
                break;
            };
            let record = RecordFacts {
                source: 0,
                offset: self.next,
                record_ms: RECORD_MS + self.next,
                replaying: self.next < self.committed,
            };
            let before = out.len();
            self.engine.handle(&logged.event(), &record, 0, &mut out);
            assert!(
                !record.replaying || out.len() == before,
                "a replayed record gives no output"
            );
            self.next += 1;
            out.extend(self.engine.take_ready());
        }
        if tick {
            // Minor changes are written once a minute of the wall clock.
            self.engine.tick(self.next * 7_000, false);
            out.extend(self.engine.take_ready());
        }
        (out, self.engine.take_dirty_states(), self.engine.checkpoint())
    }
}

/// Everything that is published without a crash.
fn undisturbed(log: &[Logged]) -> BTreeMap<String, String> {
    let mut kafka = Kafka::default();
    let mut run = Run::start(log, &mut kafka);
    while !run.is_done() {
        let (plain, states, _) = run.batch(1, false);
        plain.iter().for_each(|decision| kafka.publish(decision));
        for state in states {
            state
                .decisions
                .iter()
                .for_each(|decision| kafka.publish(decision));
        }
    }
    kafka.published
}

/// The course of one engine up to its crash.
#[derive(Debug, Clone)]
struct Course {
    /// Batches that it finishes.
    finished: usize,
    /// Batches that it handles beyond those.
    unfinished: usize,
    /// Records of a batch.
    size: usize,
    /// True if it moves silent sites after each batch.
    tick: bool,
    /// True if it confirms episodes that are published.
    confirm: bool,
    states_acknowledged: Index,
    decisions_published: Index,
}

fn course() -> impl Strategy<Value = Course> {
    (
        0_usize..6,
        0_usize..5,
        1_usize..30,
        any::<bool>(),
        any::<bool>(),
        any::<Index>(),
        any::<Index>(),
    )
        .prop_map(
            |(finished, unfinished, size, tick, confirm, states, decisions)| Course {
                finished,
                unfinished,
                size,
                tick,
                confirm,
                states_acknowledged: states,
                decisions_published: decisions,
            },
        )
}

fn log() -> impl Strategy<Value = Vec<Logged>> {
    let gap = prop_oneof![6 => 0_i64..9_000, 3 => 15_000_i64..70_000, 1 => 100_000_i64..900_000];
    let late = prop_oneof![5 => Just(0_i64), 3 => 0_i64..30_000, 1 => 30_000_i64..320_000];
    let kind = prop_oneof![
        8 => Just(EventKind::Pageview),
        1 => Just(EventKind::Goal),
        1 => Just(EventKind::Custom),
    ];
    let visitor = proptest::option::weighted(0.8, 0_u8..8);
    // The last site is not registered, and still moves the partition's clock.
    let site = prop_oneof![4 => Just("a"), 4 => Just("b"), 1 => Just("c")];
    let record = (site, kind, visitor, gap, late);
    proptest::collection::vec(record, 1..250).prop_map(|records| {
        let mut now = 1_000_000;
        records
            .into_iter()
            .map(|(site, kind, visitor, gap, late)| {
                now += gap;
                Logged {
                    site,
                    kind,
                    visitor: visitor.map(|visitor| format!("visitor {visitor}")),
                    ms: now - late,
                }
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_crash_at_any_point_changes_nothing(
        log in log(),
        courses in proptest::collection::vec(course(), 1..6),
    ) {
        let expected = undisturbed(&log);
        let mut kafka = Kafka::default();
        for course in courses {
            let mut run = Run::start(&log, &mut kafka);
            for _ in 0..course.finished {
                let (plain, states, checkpoint) = run.batch(course.size, course.tick);
                states.iter().for_each(|state| kafka.store(state));
                for decision in plain.iter().chain(states.iter().flat_map(|state| &state.decisions)) {
                    kafka.publish(decision);
                    if course.confirm && decision.episode.is_some() {
                        run.engine.confirm(decision.site_id.as_str(), decision.id);
                    }
                }
                // While windows are rebuilt there is nothing newer to commit.
                if checkpoint.next[0].is_some_and(|next| next >= run.committed) {
                    kafka.commit = Some(checkpoint);
                }
            }
            // Acknowledgements come in the order of the records; deliveries of an episode only
            // after its state.
            let mut states = Vec::new();
            let mut plain = Vec::new();
            for _ in 0..course.unfinished {
                let (more_plain, more_states, _) = run.batch(course.size, course.tick);
                plain.extend(more_plain);
                states.extend(more_states);
            }
            states.truncate(course.states_acknowledged.index(states.len() + 1));
            states.iter().for_each(|state| kafka.store(state));
            plain.extend(states.into_iter().flat_map(|state| state.decisions));
            plain.truncate(course.decisions_published.index(plain.len() + 1));
            plain.iter().for_each(|decision| kafka.publish(decision));
        }
        let mut run = Run::start(&log, &mut kafka);
        while !run.is_done() {
            let (plain, states, _) = run.batch(7, true);
            plain.iter().for_each(|decision| kafka.publish(decision));
            states.iter().flat_map(|state| &state.decisions).for_each(|decision| kafka.publish(decision));
        }
        prop_assert_eq!(kafka.published, expected);
    }
}
