//! The clock of each site: live sites beside those of logs, before and after a restart.

use std::sync::Arc;

use super::fixtures::*;
use crate::detect::completeness::CompleteFrom;
use crate::detect::engine::Engine;
use crate::detect::engine::config::EngineConfig;
use crate::detect::engine::record::RecordFacts;
use crate::detect::notification::Decision;
use crate::domain::event::{Event, RoutedFacts, SourceClock};
use crate::domain::registry::Site;
use crate::domain::trigger::{ErrorSettings, ErrorTrigger, NoticeOptions, Triggers};

const START: i64 = RECORD_MS / 1_000;
/// Index of the live source, and of the log beside it.
const LIVE: usize = 0;
const LOG: usize = 1;

/// Settings of a partition with a live source and a log.
fn beside_a_log() -> EngineConfig {
    let mut config = config(SourceClock::Live);
    (config.partition_count, config.partition) = (1, 0);
    let mut log = config.sources[0].clone();
    (log.topic, log.clock) = ("log".to_owned(), SourceClock::Log);
    config.sources.push(log);
    config
}

/// A site whose drop waits for no history.
fn waiting(threshold: u32) -> Site {
    let mut site = site("a", [drop(threshold, 300)]);
    let mut own = (*site.webhooks[0]).clone();
    own.active_since_ms = START * 1_000;
    if let Some(drop) = &mut own.triggers.visitor_drop {
        drop.condition.require_history = false;
        drop.options.repeat_after_seconds = Some(600);
    }
    site.webhooks[0] = Arc::new(own);
    site
}

/// The engine of a process that starts, with what an earlier one has stored.
fn started(config: EngineConfig, site: &Site, states: &[Vec<u8>]) -> Fed {
    let mut fed = Fed::new(SourceClock::Live, []);
    fed.engine = Engine::new(config, registry([site.clone()]));
    for state in states {
        fed.engine.load_state("a", Some(state)).expect("readable");
    }
    fed
}

/// Seconds after the start at which something is decided, with one tick a second.
fn wait(fed: &mut Fed, seconds: std::ops::Range<i64>, states: &mut Vec<Vec<u8>>) -> Vec<i64> {
    let mut decided = Vec::new();
    for second in seconds {
        fed.engine.tick((START + second) * 1_000, true);
        for state in fed.states() {
            decided.extend(state.decisions.iter().map(|decision| {
                fed.engine.confirm("a", decision.id);
                second
            }));
            states.extend(state.bytes);
        }
        states.extend(fed.states().into_iter().filter_map(|state| state.bytes));
    }
    decided
}

fn feed(fed: &mut Fed, source: usize, offset: i64, event: &Event<'_>) -> Vec<Decision> {
    let facts = RecordFacts {
        source,
        offset,
        record_ms: RECORD_MS,
        replaying: false,
    };
    let mut out = Vec::new();
    fed.engine.handle(event, &facts, RECORD_MS, &mut out);
    out
}

/// An event of a log that came through a topic that counts as live.
fn routed_log(visitor: &'static str, second: i64) -> Event<'static> {
    Event {
        routed: Some(RoutedFacts {
            clock: SourceClock::Log,
            record_ms: Some(RECORD_MS),
            visitor_hash: None,
        }),
        ..view("a", visitor, second)
    }
}

#[test]
fn a_site_without_events_moves_beside_a_log_after_a_restart() {
    let site = waiting(1);
    let mut fed = started(beside_a_log(), &site, &[]);
    let mut states = Vec::new();
    assert_eq!(wait(&mut fed, 1..400, &mut states), [310]);
    let mut again = started(beside_a_log(), &site, &states);
    let reminded = wait(&mut again, 400..1_600, &mut states);
    assert_eq!(reminded, [910, 1_510], "the episode goes on, with its reminders");
    // No source has told by which clock it goes: its first event does.
    let mut again = started(beside_a_log(), &site, &states);
    feed(&mut again, LOG, 0, &view("a", "1", START - 86_400));
    assert_eq!(again.engine.stats().visitors, 1);
    assert_eq!(
        wait(&mut again, 1_600..3_000, &mut states),
        [0; 0],
        "the log tells the time"
    );
}

#[test]
fn a_live_site_beside_a_log_moves_without_its_events_read_again() {
    let site = site("a", [drop(1, 7_200)]);
    let mut fed = started(beside_a_log(), &site, &[]);
    let mut states = Vec::new();
    for (offset, second) in (0..).zip((START - 10_000..=START).step_by(1_000)) {
        feed(&mut fed, LIVE, offset, &view("a", "1", second));
    }
    // A log's events of the site change nothing.
    feed(&mut fed, LOG, 0, &view("a", "1", START - 86_400));
    assert_eq!(wait(&mut fed, 1..100, &mut states), [0; 0]);
    let mut again = started(beside_a_log(), &site, &states);
    // 7,201 s after the latest, and ten in which events may still come.
    assert_eq!(wait(&mut again, 100..7_300, &mut states), [7_211]);
}

#[test]
fn a_restart_ends_no_wait_for_events_before_a_webhook() {
    let mut site = waiting(2);
    let mut own = (*site.webhooks[0]).clone();
    if let Some(drop) = &mut own.triggers.visitor_drop {
        drop.options.repeat_after_seconds = None;
    }
    site.webhooks[0] = Arc::new(own);
    // Of the time before the webhook was made, the site's events were not looked at, but for these.
    let read = |fed: &mut Fed, replaying: bool| {
        for (offset, second) in [(0, -290), (1, -280), (2, -270)] {
            let facts = RecordFacts {
                source: LIVE,
                offset,
                record_ms: RECORD_MS,
                replaying,
            };
            let visitor = offset.to_string();
            let event = view("a", &visitor, START + second);
            fed.engine.handle(&event, &facts, RECORD_MS, &mut Vec::new());
        }
    };
    let begun = |committed: i64| {
        let mut fed = started(config(SourceClock::Live), &site, &[]);
        let completeness = fed.engine.completeness_mut();
        completeness.begin(LIVE, committed, 0, CompleteFrom::Ever);
        fed
    };
    let mut states = Vec::new();
    let mut fed = begun(0);
    read(&mut fed, false);
    let undisturbed = wait(&mut fed, 1..400, &mut states);
    let mut again = begun(3);
    read(&mut again, true);
    let restarted = wait(&mut again, 1..400, &mut states);
    assert_eq!(restarted, undisturbed);
    assert_eq!(undisturbed, [310], "once nothing before the webhook counts");
}

#[test]
fn records_lost_from_a_routed_log_make_no_drop() {
    let mut config = config(SourceClock::Live);
    config.sources[0].is_routed = true;
    let mut fed = started(config, &waiting(1), &[]);
    let completeness = fed.engine.completeness_mut();
    completeness.begin(LIVE, 0, 0, CompleteFrom::Ever);
    let drops_after = |fed: &mut Fed, offset: i64, second: i64| {
        feed(fed, LIVE, offset, &routed_log("1", START - 86_400 + second));
        let states = fed.states().into_iter();
        states.map(|state| state.decisions.len()).sum::<usize>()
    };
    for (offset, second) in (0..).zip((0..=1_000).step_by(100)) {
        assert_eq!(drops_after(&mut fed, offset, second), 0);
    }
    // Retention has removed the records in between, perhaps of visitors.
    fed.engine.completeness_mut().open_gap(LIVE);
    assert_eq!(drops_after(&mut fed, 50, 5_000), 0);
    // Nothing is lost of the window that ends then.
    assert_eq!(drops_after(&mut fed, 51, 5_500), 1);
}

#[test]
fn the_wall_clock_moves_no_site_of_a_routed_log() {
    let site = site("a", [spike(1, 300), drop(1, 7_200)]);
    let mut fed = started(config(SourceClock::Live), &site, &[]);
    let mut states = Vec::new();
    for (offset, second) in (0..).zip((0..=10_000).step_by(1_000)) {
        feed(&mut fed, LIVE, offset, &routed_log("1", START - 86_400 + second));
        states.extend(fed.states().into_iter().filter_map(|state| state.bytes));
    }
    assert_eq!(wait(&mut fed, 1..100, &mut states), [0; 0]);
    assert_eq!(fed.engine.stats().visitors, 1, "the windows do not slide");
    let mut again = started(config(SourceClock::Live), &site, &states);
    assert_eq!(wait(&mut again, 100..200, &mut states), [0; 0]);
    assert_eq!(again.engine.spikes(), 1, "nor does the spike end");
}

#[test]
fn a_rejected_record_of_a_live_source_moves_no_site_of_a_log() {
    let rejects = Triggers {
        error_condition: Some(ErrorTrigger {
            conditions: vec![ErrorSettings::RejectedEvents {
                count: 2,
                window_seconds: 60,
            }],
            options: NoticeOptions::default(),
        }),
        ..spike(9, 300)
    };
    let mut fed = started(beside_a_log(), &site("a", [rejects]), &[]);
    feed(&mut fed, LOG, 0, &view("a", "1", START - 86_400));
    let reject = |fed: &mut Fed, offset: i64, record_ms: i64| {
        let facts = RecordFacts {
            source: LIVE,
            offset,
            record_ms,
            replaying: false,
        };
        fed.engine.handle_reject(Some("a"), &facts, None, record_ms);
        fed.states()
            .iter()
            .map(|state| state.decisions.len())
            .sum::<usize>()
    };
    assert_eq!(reject(&mut fed, 0, RECORD_MS), 0);
    assert_eq!(
        reject(&mut fed, 1, RECORD_MS + 61_000),
        0,
        "too long after the first"
    );
    assert_eq!(reject(&mut fed, 2, RECORD_MS + 62_000), 1);
    fed.tick(RECORD_MS + 100_000);
    assert_eq!(fed.engine.stats().visitors, 1, "the log tells the time");
}
