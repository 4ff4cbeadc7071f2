//! Edits of webhooks while something is counted or goes on, and events that must not count.

use std::sync::Arc;

use super::fixtures::*;
use crate::detect::engine::Engine;
use crate::detect::engine::record::RecordFacts;
use crate::domain::episode::EpisodeEntry;
use crate::domain::event::{Event, EventKind, EventType, RoutedFacts, SourceClock};
use crate::domain::id::WebhookId;
use crate::domain::registry::Site;
use crate::domain::trigger::{ErrorSettings, ErrorTrigger, NoticeOptions, NoticePace, Triggers};

const START: i64 = RECORD_MS / 1_000;

/// A site whose webhook asks for so many errors within 300 s.
fn erring(count: u32) -> Site {
    site("a", [failing(count)])
}

fn failing(count: u32) -> Triggers {
    let condition = ErrorSettings::ErrorEvents {
        event: None,
        count,
        window_seconds: 300,
    };
    Triggers {
        error_condition: Some(ErrorTrigger {
            conditions: vec![condition],
            options: NoticeOptions::default(),
        }),
        ..Triggers::default()
    }
}

/// Feeds an error of a second; returns the number of notifications.
fn fail(fed: &mut Fed, second: i64) -> usize {
    fed.feed(&event("a", EventKind::Error, (START + second) * 1_000))
        .len()
}

fn edit(fed: &mut Fed, site: Site) {
    fed.configure([changed(&site, |site| site.version = fed_version(site))]);
}

fn fed_version(site: &Site) -> u64 {
    site.version + 1
}

fn history(fed: &mut Fed) -> Vec<EpisodeEntry> {
    fed.engine.hand_over(false).episodes
}

#[test]
fn an_edit_of_a_number_of_errors_keeps_what_was_counted() {
    let mut fed = Fed::log([erring(3)]);
    assert_eq!((0..3).map(|second| fail(&mut fed, second)).sum::<usize>(), 1);
    edit(&mut fed, erring(4));
    assert_eq!((3..8).map(|second| fail(&mut fed, second)).sum::<usize>(), 0);

    let mut fed = Fed::log([erring(50)]);
    assert_eq!((0..39).map(|second| fail(&mut fed, second)).sum::<usize>(), 0);
    edit(&mut fed, erring(40));
    assert_eq!(fail(&mut fed, 39), 1, "the fortieth");
}

#[test]
fn an_edit_of_a_number_of_goals_does_not_fire_again() {
    let at_least = |at_least| {
        let pace = NoticePace::AtLeast {
            at_least,
            within_seconds: 300,
        };
        let mut counted = site("a", [paced(pace)]);
        counted.goals.clear();
        counted
    };
    let mut signup = event("a", EventKind::Goal, START * 1_000);
    signup.name = Some("Signup".into());
    let mut fed = Fed::log([at_least(3)]);
    let fired: usize = (0..3).map(|_| fed.feed(&signup).len()).sum();
    assert_eq!(fired, 1);
    edit(&mut fed, at_least(2));
    let again: usize = (0..4).map(|_| fed.feed(&signup).len()).sum();
    assert_eq!(again, 0);
    assert!(history(&mut fed).iter().all(|entry| entry.ended_at.is_none()));
}

#[test]
fn an_event_older_than_the_window_counts_for_no_number() {
    let mut fed = Fed::log([erring(2)]);
    assert_eq!(fail(&mut fed, 0), 0);
    fed.feed(&view("a", "1", START + 250));
    assert_eq!(fail(&mut fed, -60), 0, "310 s before the site's present");
    assert_eq!(fail(&mut fed, -50), 1, "300 s before");
}

#[test]
fn the_peak_goes_beyond_the_number() {
    let mut fed = Fed::log([erring(5)]);
    for second in 0..40 {
        fail(&mut fed, second);
    }
    fed.feed(&view("a", "1", START + 4_000));
    let last = history(&mut fed).pop().expect("an episode");
    assert_eq!((last.peak, last.ended_at.is_some()), (40, true));
}

#[test]
fn an_episode_whose_webhook_goes_away_ends_in_the_history() {
    for without in [
        |site: &mut Site| site.webhooks.clear(),
        |site: &mut Site| {
            let mut off = (*site.webhooks[0]).clone();
            off.enabled = false;
            site.webhooks[0] = Arc::new(off);
        },
    ] {
        let mut fed = Fed::log([site("a", [spike(1, 300)])]);
        assert!(fed.fires("a", "1", START));
        assert_eq!(history(&mut fed).len(), 1);
        fed.configure([changed(&site("a", [spike(1, 300)]), without)]);
        let ended = history(&mut fed);
        assert_eq!(ended.len(), 1);
        assert_eq!(ended[0].ended_at.map(|at| at.timestamp()), Some(START));
        assert_eq!(fed.engine.spikes(), 0);
    }
}

#[test]
fn an_edit_of_one_of_two_webhooks_ends_no_episode_of_the_other() {
    let mut fed = Fed::log([site("a", [spike(100, 300), spike(100, 300)])]);
    for visitor in 0..150 {
        fed.fires("a", &visitor.to_string(), START);
    }
    assert_eq!(history(&mut fed).len(), 1);
    let edited = changed(&site("a", [spike(200, 300), spike(100, 300)]), |_| {});
    fed.configure([edited]);
    for second in 1..200 {
        fed.fires("a", "0", START + second);
    }
    assert_eq!(fed.engine.spikes(), 1, "that of 200 is over");
    assert!(history(&mut fed).is_empty(), "its row is the other's");
    fed.fires("a", "0", START + 400);
    fed.fires("a", "0", START + 500);
    let ended = history(&mut fed);
    assert_eq!(ended.iter().filter(|entry| entry.ended_at.is_some()).count(), 1);
}

/// Seconds at which rows of the history end, as the site's clock moves on with one visitor.
fn ends(fed: &mut Fed, seconds: std::ops::Range<i64>) -> Vec<i64> {
    let mut ended = Vec::new();
    for second in seconds {
        fed.fires("a", "0", START + second);
        let rows = history(fed).into_iter().filter_map(|row| row.ended_at);
        ended.extend(rows.map(|at| at.timestamp() - START));
    }
    ended
}

/// A log with 150 visitors of one second, beyond the spike of each of two webhooks.
fn breached(first: u32, second: u32) -> Fed {
    let mut fed = Fed::log([site("a", [spike(first, 300), spike(second, 300)])]);
    for visitor in 0..150 {
        fed.fires("a", &visitor.to_string(), START);
    }
    history(&mut fed);
    fed
}

#[test]
fn who_takes_up_a_condition_that_another_leaves_has_a_row() {
    let mut fed = breached(100, 120);
    // Between two looks at the configuration the first one is edited away from its condition, and
    // the second takes that up.
    fed.configure([changed(&site("a", [spike(140, 300), spike(100, 300)]), |_| {})]);
    assert_eq!(fed.engine.spikes(), 2);
    assert_eq!(ends(&mut fed, 1..700).len(), 2, "each has its row");
}

#[test]
fn a_row_ends_though_the_webhook_in_which_it_began_is_gone() {
    let mut fed = breached(100, 100);
    fed.configure([changed(&site("a", [spike(100, 300), spike(140, 300)]), |_| {})]);
    let gone = changed(&site("a", [spike(100, 300), spike(140, 300)]), |site| {
        site.webhooks.remove(0);
        site.version += 1;
    });
    fed.configure([gone]);
    assert!(history(&mut fed).is_empty(), "the episode goes on");
    assert_eq!(ends(&mut fed, 1..700).len(), 1);
}

#[test]
fn an_episode_that_goes_on_under_two_numbers_has_one_row() {
    let counting = |at_least: u32| {
        let mut triggers = paced(NoticePace::AtLeast {
            at_least,
            within_seconds: 300,
        });
        triggers.goal_completion = None;
        triggers
    };
    let custom = |second: i64| Event {
        name: Some("x".into()),
        ..event("a", EventKind::Custom, (START + second) * 1_000)
    };
    let mut fed = Fed::log([site("a", [counting(2), counting(2)])]);
    for second in 0..9 {
        fed.feed(&custom(second));
    }
    history(&mut fed);
    fed.configure([changed(&site("a", [counting(3), counting(4)]), |_| {})]);
    assert_eq!(fed.engine.stats().episodes.values().sum::<u64>(), 2);
    assert_eq!(ends(&mut fed, 10..900).len(), 1);
}

#[test]
fn an_old_import_counts_no_visitor_of_now() {
    let mut fed = Fed::new(SourceClock::Live, [site("a", [spike(50, 300)])]);
    let visitors: Vec<String> = (0..60).map(|number| number.to_string()).collect();
    for visitor in &visitors {
        let mut old = view("a", visitor, START - 3 * 86_400);
        old.historical = true;
        assert_eq!(fed.feed(&old), []);
    }
    assert!(!fed.fires("a", "now", START));
    assert_eq!(fed.engine.take_counters().clock_skew, [0]);
}

#[test]
fn a_drop_made_long_from_short_waits_for_its_window() {
    let mut fed = Fed::log([site("a", [drop(3, 3_600)])]);
    fed.fires("a", "1", START - 20_000);
    for visitor in ["1", "2", "3", "4", "5"] {
        fed.fires("a", visitor, START);
    }
    fed.fires("a", "1", START + 3_000);
    edit(&mut fed, site("a", [drop(3, 7_200)]));
    for second in (3_001..6_000).step_by(60) {
        let fires = fed.fires("a", "1", START + second) || !fed.tick(RECORD_MS).is_empty();
        assert!(!fires, "{second}");
    }
}

#[test]
fn rejects_of_a_log_go_by_the_times_of_their_records() {
    let condition = ErrorSettings::RejectedEvents {
        count: 3,
        window_seconds: 60,
    };
    let triggers = Triggers {
        error_condition: Some(ErrorTrigger {
            conditions: vec![condition],
            options: NoticeOptions::default(),
        }),
        ..Triggers::default()
    };
    // Without any event, and with events that lie far ahead of the records.
    for ahead in [None, Some(START + 1_000_000)] {
        let mut fed = Fed::log([site("a", [triggers.clone()])]);
        let mut decided = Vec::new();
        for second in 0..3 {
            if let Some(ahead) = ahead {
                fed.feed(&view("a", "1", ahead + second));
            }
            let facts = RecordFacts {
                source: 0,
                offset: fed.offset,
                record_ms: (START + second) * 1_000,
                replaying: false,
            };
            fed.offset += 1;
            fed.engine.handle_reject(Some("a"), &facts, None, RECORD_MS);
            decided.extend(fed.states().into_iter().flat_map(|state| state.decisions));
        }
        assert_eq!(decided.len(), 1, "{ahead:?}");
        assert_eq!(decided[0].event, EventType::ErrorCondition);
        assert_eq!(json(&decided[0])["timestamp"], "2026-02-25T12:00:02Z");
        // The segments are not held for ever.
        fed.record_ms = (START + 3_600) * 1_000;
        let later = ahead.unwrap_or(START) + 3_600;
        fed.feed(&view("b", "1", later));
        fed.engine.tick(RECORD_MS, false);
        fed.states();
        let checkpoint = fed.engine.checkpoint();
        let held = fed.offset - checkpoint.replay_from[0].expect("read");
        assert!(held <= 8, "{held}");
    }
}

#[test]
fn a_second_copy_of_an_old_event_is_not_notified_again() {
    let mut fed = Fed::log([site("a", [goals(crate::domain::trigger::NameFilter::All)])]);
    let mut signup = event("a", EventKind::Goal, (START - 90 * 86_400) * 1_000);
    signup.name = Some("Signup".into());
    signup.event_id = Some("one".into());
    assert_eq!(fed.feed(&signup).len(), 1);
    fed.record_ms += 5;
    assert_eq!(fed.feed(&signup).len(), 0);
    signup.event_id = Some("two".into());
    assert_eq!(fed.feed(&signup).len(), 1);
}

#[test]
fn a_site_registered_in_the_middle_waits_for_its_window() {
    let mut young = site("a", [drop(50, 300)]);
    for webhook in &mut young.webhooks {
        let mut own = (**webhook).clone();
        own.active_since_ms = START * 1_000;
        if let Some(drop) = &mut own.triggers.visitor_drop {
            drop.condition.require_history = false;
        }
        *webhook = Arc::new(own);
    }
    let mut fed = Fed::new(SourceClock::Live, []);
    // Five hundred visitors whom nobody counted.
    for visitor in 0..500 {
        fed.feed(&view("a", &visitor.to_string(), START));
    }
    fed.configure([young]);
    let mut first = None;
    for second in 1..400 {
        (fed.now_ms, fed.record_ms) = ((START + second) * 1_000, (START + second) * 1_000);
        let fires = fed.fires("a", "1", START + second) || !fed.tick((START + second) * 1_000).is_empty();
        first = first.or(fires.then_some(second));
    }
    let first = first.expect("one visitor is fewer than fifty");
    assert!((300..=311).contains(&first), "{first}");
}

#[test]
fn a_silent_site_is_judged_beside_a_source_of_logs() {
    let mut waiting = site("a", [drop(1, 300)]);
    let mut own = (*waiting.webhooks[0]).clone();
    own.active_since_ms = START * 1_000;
    if let Some(drop) = &mut own.triggers.visitor_drop {
        drop.condition.require_history = false;
    }
    waiting.webhooks[0] = Arc::new(own);
    let mut config = config(SourceClock::Live);
    config.partition_count = 1;
    config.partition = 0;
    let mut log = config.sources[0].clone();
    (log.topic, log.clock) = ("log".to_owned(), SourceClock::Log);
    config.sources.push(log);
    let mut fed = Fed::new(SourceClock::Live, []);
    fed.engine = Engine::new(config, registry([waiting]));
    let fired = (1..400).find(|second| !fed.tick((START + second) * 1_000).is_empty());
    assert_eq!(fired, Some(310), "300 s, and ten in which events may still come");
    // Its first event comes from the log: from then on that tells the time.
    let facts = RecordFacts {
        source: 1,
        offset: 0,
        record_ms: RECORD_MS,
        replaying: false,
    };
    let mut out = Vec::new();
    fed.engine
        .handle(&view("a", "1", START - 86_400), &facts, fed.now_ms, &mut out);
    assert_eq!(fed.engine.stats().visitors, 1);
}

#[test]
fn an_event_of_a_routed_log_leaves_a_loaded_state_as_it_is() {
    let routed = |visitor: &'static str| {
        let mut event = view("a", visitor, START - 86_400);
        event.routed = Some(RoutedFacts {
            clock: SourceClock::Log,
            record_ms: Some(RECORD_MS),
            visitor_hash: None,
        });
        event
    };
    let mut fed = Fed::new(SourceClock::Live, [site("a", [spike(2, 300)])]);
    assert_eq!(fed.feed(&routed("1")), []);
    let record = RecordFacts {
        source: 0,
        offset: fed.offset,
        record_ms: RECORD_MS,
        replaying: false,
    };
    fed.engine
        .handle(&routed("2"), &record, RECORD_MS, &mut Vec::new());
    let states = fed.states();
    assert_eq!(states[0].decisions.len(), 1);
    let mut engine = Engine::new(config(SourceClock::Live), registry([site("a", [spike(2, 300)])]));
    let bytes = states[0].bytes.as_deref();
    engine.load_state("a", bytes).expect("readable");
    fed.engine = engine;
    fed.offset += 1;
    assert_eq!(fed.feed(&routed("3")), [], "the spike goes on");
    assert_eq!(fed.engine.spikes(), 1);
}

#[test]
fn a_webhook_made_in_the_place_of_another_hears_for_itself() {
    let of = |number: u128, triggers: Triggers| Arc::new(webhook(number, triggers));
    let counting = || {
        let mut triggers = paced(NoticePace::AtLeast {
            at_least: 2,
            within_seconds: 300,
        });
        triggers.goal_completion = None;
        triggers
    };
    let mut before = site("a", []);
    before.webhooks = vec![of(1, spike(2, 300)), of(2, counting())];
    // Both were deleted, and others made, between two looks at the configuration.
    let after = changed(&before, |site| {
        site.webhooks = vec![of(3, spike(2, 300)), of(4, counting())];
    });
    let custom = |visitor: &'static str| Event {
        name: Some("x".into()),
        visitor_id: Some(visitor.into()),
        ..event("a", EventKind::Custom, 1_000_000)
    };
    let heard = |fed: &mut Fed, visitors: &[&'static str]| {
        let decided = visitors.iter().flat_map(|visitor| fed.feed(&custom(visitor)));
        let mut webhooks: Vec<WebhookId> = decided.flat_map(|decision| decision.webhooks).collect();
        webhooks.sort_unstable();
        webhooks
    };
    let mut fed = Fed::log([before]);
    assert_eq!(heard(&mut fed, &["1", "2"]), [hook_id(1), hook_id(2)]);
    fed.configure([after]);
    assert_eq!(heard(&mut fed, &["3", "4"]), [hook_id(3), hook_id(4)]);
}

#[test]
fn an_edited_drop_is_judged_by_the_count_of_now() {
    let mut fed = Fed::new(SourceClock::Live, [site("a", [drop(10, 3_601)])]);
    let visit = |fed: &mut Fed, visitors: std::ops::Range<u32>, second: i64| {
        (fed.now_ms, fed.record_ms) = ((START + second) * 1_000, (START + second) * 1_000);
        for visitor in visitors {
            fed.feed(&view("a", &visitor.to_string(), START + second));
        }
    };
    visit(&mut fed, 0..13, 0);
    visit(&mut fed, 20..21, 988);
    visit(&mut fed, 30..35, 2_000);
    let ticks = |fed: &mut Fed, seconds: std::ops::RangeInclusive<i64>| -> Vec<_> {
        let told = seconds.flat_map(|second| fed.tick((START + second) * 1_000));
        told.map(|one| one.event).collect()
    };
    assert_eq!(ticks(&mut fed, 2_001..=4_610), [EventType::VisitorDrop]);
    // In the middle of a minute five of six are left: not so many that a drop below five is over.
    edit(&mut fed, site("a", [drop(5, 3_601)]));
    let ended = history(&mut fed).into_iter().any(|one| one.ended_at.is_some());
    assert!(!ended, "the episode goes on");
    assert_eq!(ticks(&mut fed, 4_611..=5_700), [], "and is told once");
}
