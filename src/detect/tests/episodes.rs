//! Episodes, through the engine: what webhooks are told of their beginning, of their lasting and of
//! their end, by timers and with no event at all.

use std::sync::Arc;

use serde_json::Value;

use crate::detect::engine::Engine;
use crate::detect::engine::record::RecordFacts;
use crate::detect::notification::Decision;
use crate::detect::tests::fixtures::*;
use crate::domain::event::{Event, EventKind, EventType, SourceClock};
use crate::domain::goal::GoalRule;
use crate::domain::registry::Site;
use crate::domain::reject::RejectedOriginal;
use crate::domain::trigger::{
    EpisodeTrigger, ErrorSettings, ErrorTrigger, NameFilter, NoticeOptions, NoticePace, Triggers,
};
use crate::telemetry::words::SuppressReason;

const START: i64 = RECORD_MS / 1_000;

fn at(second: i64) -> i64 {
    second * 1_000
}

fn seconds(decision: &Decision) -> i64 {
    let body = json(decision);
    let at = body["timestamp"].as_str().expect("a time");
    chrono::DateTime::parse_from_rfc3339(at)
        .expect("a time")
        .timestamp()
        - START
}

/// A site with a drop below one visitor in 300 s, whose history is long enough, and one visitor, at
/// `START` for the last time.
fn dropping(options: NoticeOptions) -> Fed {
    let mut fed = Fed::new(SourceClock::Live, [site("a", [drop_with(1, 300, options)])]);
    for second in [START - 600, START - 400, START - 200, START] {
        fed.record_ms = at(second);
        fed.now_ms = at(second);
        assert_eq!(fed.feed(&view("a", "1", second)), []);
    }
    fed
}

/// Ticks once a second of the wall clock up to a second after `START`, and returns what was
/// decided.
fn wait(fed: &mut Fed, until: i64) -> Vec<Decision> {
    let from = fed.now_ms / 1_000;
    (from + 1..=START + until)
        .flat_map(|second| fed.tick(at(second)))
        .collect()
}

#[test]
fn a_drop_fires_by_a_timer_at_the_exact_instant() {
    let mut fed = dropping(NoticeOptions::default());
    assert_eq!(wait(&mut fed, 310), []);
    let decided = wait(&mut fed, 311);
    assert_eq!(decided.len(), 1);
    let body = json(&decided[0]);
    assert_eq!(decided[0].event, EventType::VisitorDrop);
    assert_eq!(seconds(&decided[0]), 301);
    assert_eq!(decided[0].created_at_ms, at(START + 301));
    assert_eq!(body["data"]["current_visitors"], 0);
    assert_eq!(body["data"]["threshold"], 1);
    assert_eq!(body["data"]["window_seconds"], 300);
    assert_eq!(body["data"]["baseline"], Value::Null);
    assert_eq!(body["data"]["reminder"], Value::Null);
    assert_eq!(wait(&mut fed, 5_000), [], "once an episode");
}

#[test]
fn two_owners_decide_the_same_drop() {
    let decide = |step: usize| {
        let mut fed = dropping(NoticeOptions::default());
        let ticks = (START..START + 600).step_by(step);
        let decided: Vec<_> = ticks.flat_map(|second| fed.tick(at(second))).collect();
        (decided[0].id, decided[0].body.clone())
    };
    assert_eq!(decide(1), decide(37));
}

#[test]
fn nothing_is_decided_while_the_partition_is_behind() {
    let mut fed = dropping(NoticeOptions::default());
    fed.engine.tick(at(START + 900), false);
    assert_eq!(fed.states(), []);
}

#[test]
fn a_lower_bound_fires_no_drop_and_arms_no_spike() {
    let mut fed = dropping(NoticeOptions::default());
    fed.begin_at(START + 400);
    assert_eq!(wait(&mut fed, 700), []);
    let decided = wait(&mut fed, 711);
    assert_eq!(decided.len(), 1, "complete for a whole window");
    assert_eq!(seconds(&decided[0]), 700);

    let mut fed = Fed::new(SourceClock::Live, [site("a", [spike(1, 300)])]);
    fed.begin_at(START + 400);
    assert!(fed.fires("a", "1", START), "a lower bound may fire");
    wait(&mut fed, 769);
    assert_eq!(fed.engine.spikes(), 1);
    wait(&mut fed, 770);
    assert_eq!(fed.engine.spikes(), 0, "complete at 700, calm for a minute");
}

#[test]
fn a_site_without_a_history_is_not_judged() {
    let mut fed = Fed::new(SourceClock::Live, [site("a", [drop(5, 300)])]);
    fed.feed(&view("a", "1", START));
    assert_eq!(wait(&mut fed, 310), []);
    let decided = wait(&mut fed, 311);
    assert_eq!(decided.len(), 1, "the first event is older than the window");
    assert_eq!(seconds(&decided[0]), 301);
}

#[test]
fn a_silent_site_without_required_history_drops_once_made() {
    let mut triggers = drop(5, 300);
    if let Some(drop) = &mut triggers.visitor_drop {
        drop.condition.require_history = false;
    }
    let mut with = site("a", [triggers]);
    let mut webhook = (*with.webhooks[0]).clone();
    webhook.active_since_ms = at(START);
    with.webhooks = vec![Arc::new(webhook)];
    let mut engine_config = config(SourceClock::Live);
    engine_config.partition_count = 1;
    engine_config.partition = 0;
    let mut fed = Fed::new(SourceClock::Live, []);
    fed.engine = Engine::new(engine_config, registry([with]));
    assert_eq!(fed.engine.stats().sites, 1);
    assert_eq!(wait(&mut fed, 309), []);
    let decided = wait(&mut fed, 311);
    assert_eq!(decided.len(), 1);
    assert_eq!(seconds(&decided[0]), 300);
    assert_eq!(json(&decided[0])["data"]["current_visitors"], 0);
}

#[test]
fn a_new_long_drop_waits_until_its_list_covers_the_window() {
    let mut fed = Fed::new(SourceClock::Live, [site("a", [spike(1_000, 300)])]);
    fed.record_ms = at(START - 9_000);
    fed.now_ms = fed.record_ms;
    fed.feed(&view("a", "0", START - 9_000));
    fed.record_ms = at(START);
    fed.now_ms = at(START);
    fed.feed(&view("a", "1", START));
    let edited = changed(&site("a", [spike(1_000, 300), drop(5, 4_000)]), |_| {});
    fed.configure([edited]);
    assert_eq!(wait(&mut fed, 4_009), []);
    let decided = wait(&mut fed, 4_011);
    assert_eq!(decided.len(), 1);
    assert_eq!(seconds(&decided[0]), 4_000);
}

#[test]
fn reminders_are_numbered_and_the_end_is_told() {
    let options = NoticeOptions {
        repeat_after_seconds: Some(60),
        notify_resolved: true,
        ..NoticeOptions::default()
    };
    let mut fed = dropping(options);
    let decided = wait(&mut fed, 440);
    let told: Vec<_> = decided
        .iter()
        .map(|one| (seconds(one), json(one)["data"]["reminder"].as_u64()))
        .collect();
    assert_eq!(told, [(301, None), (361, Some(1)), (421, Some(2))]);
    assert!(decided.iter().all(|one| one.event == EventType::VisitorDrop));
    fed.record_ms = at(START + 450);
    fed.now_ms = at(START + 450);
    fed.feed(&view("a", "1", START + 450));
    let ended = fed.feed(&view("a", "2", START + 450));
    assert_eq!(ended.len(), 1);
    let body = json(&ended[0]);
    assert_eq!(ended[0].event, EventType::VisitorDropResolved);
    assert_eq!(body["data"]["peak"], 0);
    assert_eq!(body["data"]["current_visitors"], 2);
    assert_eq!(body["data"]["ended_at"], body["timestamp"]);
    assert_eq!(
        body["data"]["started_at"],
        json(&decided[0])["data"]["started_at"]
    );
    assert_eq!(wait(&mut fed, 700), [], "no reminder after the end");
}

#[test]
fn a_spikes_end_is_told_with_its_peak() {
    let options = NoticeOptions {
        notify_resolved: true,
        ..NoticeOptions::default()
    };
    let condition = spike_settings(2, 300);
    let triggers = Triggers {
        visitor_spike: Some(EpisodeTrigger { condition, options }),
        ..Triggers::default()
    };
    let mut fed = Fed::new(SourceClock::Live, [site("a", [triggers])]);
    for visitor in ["1", "2", "3"] {
        fed.feed(&view("a", visitor, START));
    }
    let decided = wait(&mut fed, 371);
    assert_eq!(decided.len(), 1);
    assert_eq!(decided[0].event, EventType::VisitorSpikeResolved);
    assert_eq!(seconds(&decided[0]), 361);
    assert_eq!(json(&decided[0])["data"]["peak"], 3);
}

#[test]
fn an_episode_too_soon_after_the_last_is_suppressed() {
    let options = NoticeOptions {
        min_interval_seconds: 1_000,
        notify_resolved: true,
        ..NoticeOptions::default()
    };
    let condition = spike_settings(1, 60);
    let triggers = Triggers {
        visitor_spike: Some(EpisodeTrigger { condition, options }),
        ..Triggers::default()
    };
    let mut fed = Fed::log([site("a", [triggers, spike(1, 60)])]);
    let mut webhooks = Vec::new();
    for second in [1_000, 1_200, 1_999, 2_200] {
        let decided = fed.feed(&view("a", "1", second));
        let spikes = decided.iter().filter(|one| one.event == EventType::VisitorSpike);
        webhooks.push(spikes.flat_map(|one| one.webhooks.clone()).collect::<Vec<_>>());
    }
    let (both, other) = (vec![hook_id(1), hook_id(2)], vec![hook_id(2)]);
    assert_eq!(
        webhooks,
        [both.clone(), other.clone(), other, both],
        "from start to start"
    );
    let withheld = fed.engine.take_withheld();
    let reasons: Vec<_> = withheld.iter().map(|one| one.reason).collect();
    assert_eq!(reasons, [SuppressReason::MinInterval; 2]);
}

fn custom_event<'a>(name: &'a str, visitor: &'a str, second: i64, id: &'a str) -> Event<'a> {
    Event {
        name: Some(name.into()),
        visitor_id: Some(visitor.into()),
        event_id: Some(id.into()),
        ..event("a", EventKind::Custom, second * 1_000)
    }
}

fn customs(pace: NoticePace) -> Site {
    let mut triggers = paced(pace);
    triggers.goal_completion = None;
    site("a", [triggers])
}

#[test]
fn at_least_fires_on_the_nth_and_arms_below_half() {
    let mut fed = Fed::log([customs(NoticePace::AtLeast {
        at_least: 4,
        within_seconds: 60,
    })]);
    let mut fired = Vec::new();
    // Two names are counted apart; the third event is a copy of the second.
    for (number, (name, visitor, second, id)) in [
        ("x", "1", 1_000, "a"),
        ("x", "1", 1_010, "b"),
        ("x", "1", 1_010, "b"),
        ("y", "9", 1_010, "c"),
        ("x", "2", 1_020, "d"),
        ("x", "2", 1_030, "e"),
        ("x", "3", 1_031, "f"),
        // Of 1,000 to 1,031 two are left at 1,081: not below half.
        ("x", "3", 1_081, "g"),
        ("x", "3", 1_082, "h"),
        // None are left.
        ("x", "1", 1_200, "i"),
        ("x", "1", 1_200, "j"),
        ("x", "1", 1_200, "k"),
        ("x", "1", 1_200, "l"),
    ]
    .into_iter()
    .enumerate()
    {
        for decision in fed.feed(&custom_event(name, visitor, second, id)) {
            let data = json(&decision)["data"].clone();
            fired.push((number, data["name"].to_string(), data["visitor_count"].as_u64()));
        }
    }
    let x = "\"x\"".to_owned();
    assert_eq!(fired, [(5, x.clone(), Some(2)), (12, x, Some(1))]);
}

#[test]
fn every_counts_each_name_and_each_id_once() {
    let mut fed = Fed::log([customs(NoticePace::Every(3))]);
    let mut fired = Vec::new();
    for (name, id) in [
        ("x", "1"),
        ("x", "1"),
        ("y", "2"),
        ("x", "3"),
        ("y", "4"),
        ("x", "5"),
        ("x", "6"),
        ("y", "7"),
    ] {
        let decided = fed.feed(&custom_event(name, "v", 1_000, id));
        fired.extend(decided.iter().map(|_| id));
    }
    assert_eq!(fired, ["5", "7"]);
}

#[test]
fn what_lies_beyond_a_bound_is_told_before_a_partition_goes() {
    let mut fed = Fed::log([customs(NoticePace::Each)]);
    let mut single = 0;
    for number in 0..650 {
        let id = number.to_string();
        single += fed.feed(&custom_event("x", &id, 1_000, &id)).len();
    }
    assert_eq!(single, 600);
    fed.engine.end_minutes(0);
    let told = fed.engine.take_ready();
    assert_eq!(told.len(), 1);
    assert_eq!(json(&told[0])["data"]["count"], 50);
    fed.engine.end_minutes(0);
    assert!(fed.engine.take_ready().is_empty(), "once");
}

#[test]
fn a_count_to_every_kth_outlives_switching_off_and_a_restart() {
    let site = customs(NoticePace::Every(3));
    let mut fed = Fed::log([site.clone()]);
    for id in ["1", "2"] {
        assert!(fed.feed(&custom_event("x", "v", 1_000, id)).is_empty());
    }
    // Off and on again: what came before is not counted when it is read again.
    let again = changed(&site, |site| {
        let mut own = (*site.webhooks[0]).clone();
        own.active_since_ms = RECORD_MS + 1;
        site.webhooks[0] = Arc::new(own);
    });
    fed.configure([again.clone()]);
    let states = fed.states();
    let mut restarted = Fed::log([again]);
    restarted.load(&states);
    (restarted.offset, restarted.record_ms) = (2, RECORD_MS + 2);
    assert_eq!(restarted.feed(&custom_event("x", "v", 1_000, "3")).len(), 1);
}

#[test]
fn a_count_to_every_kth_goes_on_when_its_goal_is_renamed() {
    let goal_event = |id: &str| Event {
        event_id: Some(id.to_owned().into()),
        name: Some("signup".into()),
        ..event("a", EventKind::Custom, 1_000_000)
    };
    let named = |name: &str| {
        let mut triggers = paced(NoticePace::Every(3));
        triggers.custom_event = None;
        let mut site = site("a", [triggers]);
        let rule = GoalRule::Event {
            event: "signup".to_owned(),
        };
        site.goals = vec![Arc::new(goal(1, name, rule))];
        site
    };
    let mut fed = Fed::log([named("Signup")]);
    assert!(fed.feed(&goal_event("1")).is_empty());
    assert!(fed.feed(&goal_event("2")).is_empty());
    fed.configure([changed(&named("Registered"), |_| {})]);
    let decided = fed.feed(&goal_event("3"));
    assert_eq!(decided.len(), 1);
    assert_eq!(json(&decided[0])["data"]["goal_name"], "Registered");
}

fn errors(conditions: Vec<ErrorSettings>) -> Site {
    let triggers = Triggers {
        error_condition: Some(ErrorTrigger {
            conditions,
            options: NoticeOptions::default(),
        }),
        ..Triggers::default()
    };
    site("a", [triggers])
}

#[test]
fn errors_before_an_enabling_count_no_more_when_read_again() {
    let site = errors(vec![ErrorSettings::ErrorEvents {
        count: 5,
        event: None,
        window_seconds: 3_600,
    }]);
    let later = changed(&site, |site| {
        let mut own = (*site.webhooks[0]).clone();
        own.active_since_ms = RECORD_MS + 5;
        site.webhooks[0] = Arc::new(own);
    });
    let mut again = Fed::log([later]);
    let mut error = |record_ms: i64| {
        again.record_ms = record_ms;
        again.feed(&event("a", EventKind::Error, 1_000_000)).len()
    };
    let before: usize = (0..5).map(|ago| error(RECORD_MS + ago)).sum();
    let since: usize = (5..9).map(|ago| error(RECORD_MS + ago)).sum();
    assert_eq!((before, since, error(RECORD_MS + 9)), (0, 0, 1));
}

#[test]
fn error_events_fire_at_their_number() {
    let of = |event: Option<&str>| ErrorSettings::ErrorEvents {
        count: 3,
        event: event.map(str::to_owned),
        window_seconds: 60,
    };
    let mut fed = Fed::log([errors(vec![of(None)])]);
    let mut fired = Vec::new();
    for second in [1_000, 1_030, 1_061, 1_062, 1_063] {
        let decided = fed.feed(&event("a", EventKind::Error, second * 1_000));
        fired.extend(decided.iter().map(|one| (second, json(one)["data"].clone())));
    }
    assert_eq!(fired.len(), 1);
    let (second, data) = &fired[0];
    assert_eq!(*second, 1_062);
    assert_eq!(
        *data,
        serde_json::json!({"kind": "error_events", "count": 3, "threshold": 3, "window_seconds": 60,
                           "detail": "3 error events within 60 s", "started_at": "1970-01-01T00:17:42Z"})
    );
    let mut fed = Fed::log([errors(vec![of(Some("404"))])]);
    let decided = |fed: &mut Fed, name: &'static str, id: &'static str| {
        fed.feed(&custom_event(name, "v", 1_000, id)).len()
    };
    for (name, id, count) in [("404", "1", 0), ("x", "2", 0), ("404", "3", 0), ("404", "4", 1)] {
        assert_eq!(decided(&mut fed, name, id), count);
    }
}

#[test]
fn goals_and_custom_events_of_a_minute_are_capped() {
    let mut fed = Fed::log([site("a", [custom(NameFilter::All)])]);
    let mut count = 0;
    for _ in 0..700 {
        let mut event = custom_event("x", "v", 1_000, "");
        event.event_id = None;
        count += fed.feed(&event).len();
    }
    assert_eq!(count, 600);
    let summary = fed.feed(&view("nobody", "1", 1_030));
    assert_eq!(summary.len(), 1, "the minute ended at 1,020");
    assert_eq!(json(&summary[0])["data"]["count"], 100);
    assert_eq!(summary[0].webhooks, [hook_id(1)]);
}

#[test]
fn a_summary_counts_from_its_webhooks_last_enabling_on() {
    let two = site("a", [custom(NameFilter::All), custom(NameFilter::All)]);
    let mut fed = Fed::log([two.clone()]);
    let feed = |fed: &mut Fed, count: usize| {
        let event = Event {
            event_id: None,
            ..custom_event("x", "v", 1_000, "")
        };
        let decided = (0..count).flat_map(|_| fed.feed(&event));
        decided.count()
    };
    assert_eq!(feed(&mut fed, 650), 600);
    let switch = |site: &Site, enabled: bool, at_ms: i64| {
        changed(site, |site| {
            let webhook = Arc::make_mut(&mut site.webhooks[0]);
            (webhook.enabled, webhook.active_since_ms) = (enabled, at_ms);
        })
    };
    let off = switch(&two, false, 0);
    fed.configure([off.clone()]);
    feed(&mut fed, 10);
    fed.record_ms += 1_000;
    let on = switch(&off, true, fed.record_ms);
    fed.configure([on.clone()]);
    // Another edit in between changes nothing.
    feed(&mut fed, 10);
    fed.configure([changed(&on, |site| site.name = Some("A".to_owned()))]);
    feed(&mut fed, 20);
    let summaries = fed.feed(&view("nobody", "1", 1_030));
    let mut counts: Vec<_> = summaries
        .iter()
        .map(|one| (one.webhooks[0], json(one)["data"]["count"].as_u64()))
        .collect();
    counts.sort_unstable();
    assert_eq!(counts, [(hook_id(1), Some(30)), (hook_id(2), Some(90))]);
}

#[test]
fn reminders_over_a_gap_of_a_log_are_bounded() {
    let options = NoticeOptions {
        repeat_after_seconds: Some(60),
        ..NoticeOptions::default()
    };
    let mut fed = Fed::log([site("a", [drop_with(1, 300, options)])]);
    fed.feed(&view("a", "1", 1_000));
    let decided = fed.feed(&view("a", "1", 30_000_000));
    assert!((100..110).contains(&decided.len()), "{}", decided.len());
    let withheld = fed.engine.take_withheld();
    assert_eq!(withheld.len(), 1_000, "counted");
    assert!(
        withheld
            .iter()
            .all(|one| one.reason == SuppressReason::Summarised)
    );
}

#[test]
fn the_history_has_suppressed_episodes_and_their_ends() {
    let options = NoticeOptions {
        min_interval_seconds: 1_000,
        ..NoticeOptions::default()
    };
    let condition = spike_settings(1, 60);
    let triggers = Triggers {
        visitor_spike: Some(EpisodeTrigger { condition, options }),
        ..Triggers::default()
    };
    let mut fed = Fed::log([site("a", [triggers])]);
    let mut decided = Vec::new();
    for second in [1_000, 1_200, 1_400] {
        decided.extend(fed.feed(&view("a", "1", second)));
    }
    let history = fed.engine.hand_over(false).episodes;
    let told: Vec<_> = history
        .iter()
        .map(|one| {
            let ended_at = one.ended_at.map(|at| at.timestamp());
            (one.started_at.timestamp(), ended_at, one.notification.is_some())
        })
        .collect();
    assert_eq!(
        told,
        [
            (1_000, None, true),
            (1_000, Some(1_121), true),
            (1_200, None, false),
            (1_200, Some(1_321), false),
            (1_400, None, false),
        ]
    );
    assert_eq!(history[0].notification, Some(decided[0].id));
    assert_eq!(
        history[1].notification,
        Some(decided[0].id),
        "also if its beginning is not known"
    );
    let trigger = serde_json::json!({"threshold": 1, "window_seconds": 60});
    assert_eq!((&history[0].trigger, history[0].threshold), (&trigger, Some(1.0)));
    assert_eq!((history[0].peak, &*history[0].webhooks), (1, &[hook_id(1)][..]));
    assert!(fed.engine.hand_over(false).episodes.is_empty());
}

#[test]
fn a_second_copy_of_an_error_is_not_counted() {
    let condition = ErrorSettings::ErrorEvents {
        event: None,
        count: 3,
        window_seconds: 60,
    };
    let mut fed = Fed::new(SourceClock::Live, [errors(vec![condition])]);
    let mut error = |second: i64, id: &str| {
        let mut error = event("a", EventKind::Error, at(START + second));
        error.event_id = Some(id.into());
        (fed.now_ms, fed.record_ms) = (at(START + second), at(START + second));
        fed.feed(&error).len()
    };
    for (second, id) in [(0, "1"), (1, "2"), (2, "2"), (3, "1")] {
        assert_eq!(error(second, id), 0, "{second}");
    }
    assert_eq!(error(4, "3"), 1);
}

#[test]
fn a_note_of_a_reject_counts_once_and_at_the_time_of_its_record() {
    let condition = ErrorSettings::RejectedEvents {
        count: 3,
        window_seconds: 60,
    };
    let mut fed = Fed::new(SourceClock::Live, [errors(vec![condition])]);
    let mut note = |second: i64, offset: i64| {
        let facts = RecordFacts {
            source: 0,
            offset: fed.offset,
            record_ms: at(START + second),
            replaying: false,
        };
        fed.offset += 1;
        let original = RejectedOriginal {
            clock: Some(SourceClock::Live),
            record_ms: Some(facts.record_ms),
            coordinates: Some(format!("views/0/{offset}")),
        };
        let now_ms = at(START + 500);
        fed.engine
            .handle_reject(Some("a"), &facts, Some(&original), now_ms);
        let decisions = fed.states().into_iter().flat_map(|state| state.decisions);
        decisions.count()
    };
    for (second, offset) in [(0, 1), (1, 2), (1, 2), (0, 1), (61, 3)] {
        assert_eq!(note(second, offset), 0, "{second} {offset}");
    }
    assert_eq!(note(61, 4), 1);
}

#[test]
fn rejected_records_of_a_site_fire_at_their_number() {
    let condition = ErrorSettings::RejectedEvents {
        count: 3,
        window_seconds: 60,
    };
    let mut fed = Fed::new(SourceClock::Live, [errors(vec![condition])]);
    let reject = |fed: &mut Fed, site_id: &str, second: i64| {
        let facts = RecordFacts {
            source: 0,
            offset: fed.offset,
            record_ms: at(START + second),
            replaying: false,
        };
        fed.offset += 1;
        fed.engine
            .handle_reject(Some(site_id), &facts, None, at(START + second));
        fed.states()
            .into_iter()
            .flat_map(|state| state.decisions)
            .collect::<Vec<_>>()
    };
    for (site_id, second) in [("a", 0), ("a", 1), ("b", 2), ("a", 61)] {
        assert_eq!(reject(&mut fed, site_id, second), [], "{site_id} {second}");
    }
    let fired = reject(&mut fed, "a", 61);
    assert_eq!(fired.len(), 1);
    assert_eq!(
        json(&fired[0])["data"],
        serde_json::json!({"kind": "rejected_events", "count": 3, "threshold": 3, "window_seconds": 60,
                           "detail": "3 records of the site could not be read within 60 s",
                           "started_at": "2026-02-25T12:01:01Z"})
    );
    assert_eq!(reject(&mut fed, "a", 100), [], "it lasts until there is none");
    wait(&mut fed, 170);
    assert_eq!(fed.engine.stats().episodes.len(), 1);
    wait(&mut fed, 171);
    assert_eq!(fed.engine.stats().episodes.len(), 0);
}

#[test]
fn back_dated_imports_notify_nobody() {
    let mut triggers = paced(NoticePace::Every(1));
    triggers.visitor_spike = spike(1, 300).visitor_spike;
    let mut fed = Fed::new(SourceClock::Live, [site("a", [triggers])]);
    let mut imported = custom_event("x", "1", START, "1");
    imported.historical = true;
    assert_eq!(fed.feed(&imported), []);
    let visitor = fed.feed(&view("a", "1", START));
    assert_eq!(visitor.len(), 1, "it was counted");
}

#[test]
fn an_event_older_than_its_webhook_notifies_it_by_its_record() {
    let mut with = site("a", [spike(1, 300)]);
    let mut webhook = (*with.webhooks[0]).clone();
    webhook.active_since_ms = RECORD_MS - 1;
    with.webhooks = vec![Arc::new(webhook)];
    let mut fed = Fed::new(SourceClock::Live, [with]);
    let mut with_id = view("a", "1", START - 3);
    with_id.event_id = Some("e-1".into());
    let decided = fed.feed(&with_id);
    assert_eq!(decided[0].id.millis(), RECORD_MS - 3_000);
    assert_eq!(decided[0].created_at_ms, RECORD_MS, "the deliverer asks by it");
}

#[test]
fn an_unreadable_webhook_keeps_its_episode() {
    let readable = site("a", [spike(2, 300)]);
    let unreadable = changed(&readable, |site| {
        site.unreadable = site.webhooks.drain(..).map(|webhook| webhook.id).collect();
    });
    let mut fed = Fed::log([readable.clone()]);
    assert!(!fed.fires("a", "v1", 0));
    assert!(fed.fires("a", "v2", 1));
    // A key is missing for a while, say; visitors come and go meanwhile, and a state is stored.
    fed.configure([unreadable.clone()]);
    assert!(fed.feed(&view("a", "v3", 2)).is_empty());
    fed.engine.rewrite_state("a");
    let stored = fed.states();
    assert_eq!(stored.len(), 1);
    fed.configure([readable.clone()]);
    assert!(
        fed.feed(&view("a", "v4", 3)).is_empty(),
        "the same episode goes on"
    );
    // The same after a restart, with what is stored.
    let mut again = Fed::log([unreadable]);
    again.load(&stored);
    assert!(again.feed(&view("a", "v1", 4)).is_empty());
    again.configure([readable]);
    assert!(again.feed(&view("a", "v2", 5)).is_empty());
    assert!(again.feed(&view("a", "v3", 6)).is_empty());
}
