//! Silences of sites and goals, through the engine.

use std::sync::Arc;

use super::fixtures::*;
use crate::detect::engine::Engine;
use crate::detect::notification::Decision;
use crate::detect::usual::baseline::Usual;
use crate::detect::usual::past::{HistoryAnswer, LearnedPast};
use crate::domain::activity::HourSummary;
use crate::domain::event::{Event, EventKind, EventType, SourceClock};
use crate::domain::registry::Site;
use crate::domain::site_now::TriggerPhase;
use crate::domain::trigger::{ErrorSettings, ErrorTrigger, NoticeOptions, Triggers};

const START: i64 = RECORD_MS / 1_000;

pub(super) fn silent(goal: Option<&str>) -> Site {
    silent_with(goal, NoticeOptions::default())
}

fn silent_with(goal: Option<&str>, options: NoticeOptions) -> Site {
    let triggers = Triggers {
        error_condition: Some(ErrorTrigger {
            conditions: vec![ErrorSettings::Silence {
                goal: goal.map(str::to_owned),
            }],
            options,
        }),
        ..Triggers::default()
    };
    site("a", [triggers])
}

/// Answers that every hour of the last three weeks had so many events, and completions of a goal.
pub(super) fn answer(engine: &mut Engine, events: u64, signups: u64) -> bool {
    answer_with(engine, 504, |_| Some((events, signups)))
}

/// Answers what each of the last hours had; `None` stands for one that was not counted.
fn answer_with(engine: &mut Engine, hours: u32, had: impl Fn(u32) -> Option<(u64, u64)>) -> bool {
    let mut wants_rates = false;
    for (site, hour, wants) in engine.take_unknown_sites() {
        wants_rates |= wants;
        let counted = (1..=hours).filter_map(|ago| {
            let (events, signups) = had(hour - ago)?;
            let summary = HourSummary {
                events,
                goals: [("Signup".into(), signups)].into(),
                ..HourSummary::default()
            };
            Some((hour - ago, summary))
        });
        engine.adopt_history(HistoryAnswer {
            partition: 7,
            site: site.id.clone(),
            past: LearnedPast {
                usual: Usual::new(site.time_zone),
                hour,
                earlier: None,
                counted: counted.collect(),
            },
        });
    }
    wants_rates
}

fn feed(fed: &mut Fed, event: &Event<'_>) -> Vec<Decision> {
    let ms = event.timestamp_ms.expect("a time");
    (fed.now_ms, fed.record_ms) = (ms, ms);
    fed.feed(event)
}

/// Ticks once a second up to a second after the start.
fn wait(fed: &mut Fed, until: i64) -> Vec<(i64, Decision)> {
    let from = fed.now_ms / 1_000 - START;
    let ticks = (from + 1..=until).flat_map(|second| {
        let decided = fed.tick((START + second) * 1_000);
        decided.into_iter().map(move |decision| (second, decision))
    });
    ticks.collect()
}

#[test]
fn a_site_that_falls_silent_is_told_at_the_exact_instant() {
    let mut fed = Fed::new(SourceClock::Live, [silent(None)]);
    feed(&mut fed, &view("a", "1", START));
    // 13.8 events at 36 an hour take 1,380 s.
    assert!(answer(&mut fed.engine, 36, 0));
    assert_eq!(wait(&mut fed, 1_389), []);
    let decided = wait(&mut fed, 1_390);
    assert_eq!(decided.len(), 1);
    let (_, decision) = &decided[0];
    assert_eq!(decision.event, EventType::ErrorCondition);
    assert_eq!(
        json(decision)["data"],
        serde_json::json!({"kind": "silence", "count": 0, "window_seconds": 1_380, "expected": 13.8,
                           "detail": "no event for 1380 s, in which 13.8 were expected",
                           "started_at": "2026-02-25T12:23:00Z", "last_event_at": "2026-02-25T12:00:00Z"})
    );
    assert_eq!(json(decision)["timestamp"], "2026-02-25T12:23:00Z");
    assert_eq!(wait(&mut fed, 9_000), [], "once an episode");
    assert_eq!(fed.engine.stats().episodes[&EventType::ErrorCondition], 1);
    // Five minutes after the first event it is armed again.
    feed(&mut fed, &view("a", "1", START + 9_001));
    wait(&mut fed, 9_310);
    assert_eq!(fed.engine.stats().episodes[&EventType::ErrorCondition], 1);
    wait(&mut fed, 9_311);
    assert_eq!(fed.engine.stats().episodes.get(&EventType::ErrorCondition), None);
    let again = wait(&mut fed, 9_001 + 1_390);
    assert_eq!(again.len(), 1);
}

#[test]
fn a_rate_that_is_learned_late_is_taken_up() {
    let mut fed = Fed::new(SourceClock::Live, [silent(None)]);
    feed(&mut fed, &view("a", "1", START));
    assert_eq!(wait(&mut fed, 2_000), [], "no rate is known");
    assert!(answer(&mut fed.engine, 36, 0));
    let decided = wait(&mut fed, 2_001);
    assert_eq!(decided.len(), 1, "overdue by now");
}

#[test]
fn a_goals_silence_goes_on_when_it_is_renamed() {
    let named = |name: &str| {
        let mut site = silent(Some(name));
        let rule = crate::domain::goal::GoalRule::Event {
            event: "signed up".to_owned(),
        };
        site.goals = vec![Arc::new(goal(1, name, rule))];
        site
    };
    let mut fed = Fed::new(SourceClock::Live, [named("Signup")]);
    let signup = Event {
        name: Some("signed up".into()),
        ..event("a", EventKind::Custom, RECORD_MS)
    };
    feed(&mut fed, &signup);
    assert!(answer(&mut fed.engine, 0, 36));
    assert_eq!(wait(&mut fed, 600), []);
    fed.configure([changed(&named("Registered"), |_| {})]);
    assert_eq!(wait(&mut fed, 1_389), []);
    let decided = wait(&mut fed, 1_390);
    assert_eq!(decided.len(), 1);
    assert_eq!(json(&decided[0].1)["data"]["goal"], "Registered");
}

#[test]
fn a_goals_silence_is_its_own() {
    let mut with = silent(Some("Signup"));
    let rule = crate::domain::goal::GoalRule::Event {
        event: "signed up".to_owned(),
    };
    with.goals = vec![Arc::new(goal(1, "Signup", rule))];
    let mut fed = Fed::new(SourceClock::Live, [with]);
    let signup = Event {
        name: Some("signed up".into()),
        ..event("a", EventKind::Custom, RECORD_MS)
    };
    feed(&mut fed, &signup);
    assert!(answer(&mut fed.engine, 3_600, 36));
    let mut decided = Vec::new();
    for minute in 1..30 {
        decided.extend(feed(&mut fed, &view("a", "1", START + minute * 60)));
        decided.extend(wait(&mut fed, minute * 60 + 59).into_iter().map(|(_, one)| one));
    }
    assert_eq!(decided.len(), 1, "the site is busy, the goal is not");
    let data = json(&decided[0])["data"].clone();
    assert_eq!(
        (&data["goal"], &data["expected"]),
        (&"Signup".into(), &13.8.into())
    );
    assert_eq!(
        data["detail"],
        "no completion of `Signup` for 1380 s, in which 13.8 were expected"
    );
}

#[test]
fn a_silence_waits_while_no_rate_is_known() {
    let mut fed = Fed::new(SourceClock::Live, [silent(None)]);
    feed(&mut fed, &view("a", "1", START));
    let phase = |fed: &mut Fed| fed.engine.hand_over(true).presents[0].triggers[0].state;
    assert_eq!(phase(&mut fed), TriggerPhase::Waiting);
    answer(&mut fed.engine, 36, 0);
    assert_eq!(phase(&mut fed), TriggerPhase::Armed);
}

/// An engine that knows its partition's sites before their first event.
fn watching(site: Site) -> Fed {
    let mut engine_config = config(SourceClock::Live);
    (engine_config.partition_count, engine_config.partition) = (1, 0);
    let mut fed = Fed::new(SourceClock::Live, []);
    fed.engine = Engine::new(engine_config, registry([site]));
    fed
}

#[test]
fn a_silence_is_told_of_a_watched_site_without_any_event() {
    let mut fed = watching(silent(None));
    assert_eq!(wait(&mut fed, 1), [], "its clock begins");
    assert!(answer(&mut fed.engine, 36, 0));
    // 13.8 events at 36 an hour take 1,380 s; the watch begins with the first tick.
    assert_eq!(wait(&mut fed, 1_380), []);
    let decided = wait(&mut fed, 1_381);
    assert_eq!(decided.len(), 1);
    let data = json(&decided[0].1)["data"].clone();
    assert_eq!(
        (&data["kind"], &data["window_seconds"]),
        (&"silence".into(), &1_380.into())
    );
}

#[test]
fn a_silence_without_any_event_goes_on_after_a_restart() {
    let mut fed = watching(silent(Some("Signup")));
    let mut states = Vec::new();
    for second in 1..100 {
        answer(&mut fed.engine, 3_600, 36);
        fed.engine.tick((START + second) * 1_000, true);
        states.extend(fed.engine.take_dirty_states());
    }
    let mut again = watching(silent(Some("Signup")));
    let state = states.last().expect("it is written when the watch begins");
    again
        .engine
        .load_state("a", state.bytes.as_deref())
        .expect("readable");
    again.now_ms = (START + 100) * 1_000;
    wait(&mut again, 101);
    answer(&mut again.engine, 3_600, 36);
    let decided = wait(&mut again, 1_500);
    assert_eq!(decided.len(), 1);
    assert_eq!(decided[0].0, 1_381, "as without the restart");
}

#[test]
fn a_trigger_that_is_added_late_counts_no_time_before_it() {
    let mut fed = Fed::new(SourceClock::Live, [site("a", [spike(1_000, 300)])]);
    feed(&mut fed, &view("a", "1", START));
    wait(&mut fed, 5_000);
    // The webhook is as old as the site; its silence is new.
    let with_silence = changed(&silent(None), |site| site.version = 2);
    fed.configure([with_silence]);
    answer(&mut fed.engine, 36, 0);
    assert_eq!(wait(&mut fed, 5_000 + 1_380), []);
    assert_eq!(wait(&mut fed, 5_000 + 1_382).len(), 1);
}

#[test]
fn the_silence_of_another_goal_is_another_episode() {
    let mut fed = Fed::new(SourceClock::Live, [silent(Some("Signup"))]);
    let signup = |second| Event {
        name: Some("Signup".into()),
        ..event("a", EventKind::Goal, second * 1_000)
    };
    feed(&mut fed, &signup(START));
    answer(&mut fed.engine, 0, 100);
    let told = (1..3_600).find(|second| !fed.tick((START + second) * 1_000).is_empty());
    assert!(told.is_some(), "a hundred an hour were expected");
    let other = changed(&silent(Some("Purchase")), |site| site.version = 2);
    fed.configure([other]);
    let states = fed.states();
    let bytes = states[0].bytes.as_deref().expect("a state");
    let stored: serde_json::Value = serde_json::from_slice(bytes).expect("JSON");
    assert_eq!(stored["triggers"], serde_json::json!([]));
    assert_eq!(fed.engine.stats().episodes.values().sum::<u64>(), 0);
}

#[test]
fn a_second_copy_is_no_event_that_ends_a_silence() {
    for goal in [None, Some("Signup")] {
        let mut fed = Fed::new(SourceClock::Live, [silent(goal)]);
        let copy = Event {
            name: Some("Signup".into()),
            event_id: Some("e-1".into()),
            ..Event::new("a", EventKind::Goal)
        };
        assert_eq!(fed.feed(&copy), []);
        assert!(answer(&mut fed.engine, 36, 36));
        assert_eq!(wait(&mut fed, 500), []);
        fed.record_ms = fed.now_ms;
        assert_eq!(fed.feed(&copy), []);
        let decided = wait(&mut fed, 1_400);
        assert_eq!(decided.len(), 1, "{goal:?}");
        assert_eq!(decided[0].0, 1_390, "13.8 events at 36 an hour take 1,380 s");
    }
}

#[test]
fn hours_of_a_silence_do_not_put_it_off() {
    // On a site of six days; 13.8 events at 6 an hour take 8,280 s, over two ends of hours.
    let mut fed = watching(silent(None));
    feed(&mut fed, &view("a", "1", START + 1_800));
    assert!(answer_with(&mut fed.engine, 144, |_| Some((6, 0))));
    assert_eq!(wait(&mut fed, 1_800 + 8_280), []);
    let decided = wait(&mut fed, 1_800 + 8_290);
    assert_eq!(decided.len(), 1);
    assert_eq!(decided[0].0, 1_800 + 8_290);
    let data = json(&decided[0].1)["data"].clone();
    assert_eq!(
        (&data["window_seconds"], &data["expected"]),
        (&8_280.into(), &13.8.into())
    );
}

#[test]
fn a_silence_is_told_at_the_same_instant_after_a_restart() {
    let mut fed = watching(silent(None));
    feed(&mut fed, &view("a", "1", START + 1_800));
    answer_with(&mut fed.engine, 144, |_| Some((6, 0)));
    let mut states = fed.states();
    for second in 1_801..7_300 {
        fed.engine.tick((START + second) * 1_000, true);
        states.extend(fed.engine.take_dirty_states());
    }
    let mut again = watching(silent(None));
    let bytes = states.last().expect("written once a minute").bytes.as_deref();
    again.engine.load_state("a", bytes).expect("readable");
    again.now_ms = (START + 7_300) * 1_000;
    wait(&mut again, 7_301);
    // The hour of the last event and the silent one after it are among those that were kept.
    let first = START as u32 / 3_600;
    let had = |hour| Some(if hour < first { (6, 0) } else { (0, 0) });
    answer_with(&mut again.engine, 146, had);
    let decided = wait(&mut again, 12_000);
    assert_eq!(decided.len(), 1);
    assert_eq!(decided[0].0, 1_800 + 8_290);
}

#[test]
fn what_was_expected_is_told_where_later_rates_are_unknown() {
    let mut fed = watching(silent(None));
    feed(&mut fed, &view("a", "1", START));
    assert_eq!(wait(&mut fed, 7_300), []);
    // Two hours later it is learned that 36 an hour come at noon. Of other hours nothing is known.
    let noon = START as u32 / 3_600;
    let had = |hour: u32| (hour % 24 == noon % 24).then_some((36, 0));
    assert!(answer_with(&mut fed.engine, 504, had));
    let decided = wait(&mut fed, 7_301);
    assert_eq!(decided.len(), 1);
    let data = json(&decided[0].1)["data"].clone();
    assert_eq!(data["expected"], 36.0);
    assert_eq!(data["detail"], "no event for 7260 s, in which 36.0 were expected");
}

#[test]
fn a_reminder_tells_what_was_expected_also_after_a_restart() {
    let options = NoticeOptions {
        repeat_after_seconds: Some(600),
        ..NoticeOptions::default()
    };
    let mut fed = watching(silent_with(None, options));
    feed(&mut fed, &view("a", "1", START));
    answer(&mut fed.engine, 36, 0);
    let mut states = Vec::new();
    for second in 1..1_400 {
        fed.engine.tick((START + second) * 1_000, true);
        states.extend(fed.engine.take_dirty_states());
    }
    let told: Vec<_> = states.iter().flat_map(|state| &state.decisions).collect();
    assert_eq!(told.len(), 1);
    let mut again = watching(silent_with(None, options));
    let bytes = states.last().expect("it fired").bytes.as_deref();
    again.engine.load_state("a", bytes).expect("readable");
    again.now_ms = (START + 1_400) * 1_000;
    // No rate is known yet.
    let decided = wait(&mut again, 2_000);
    let reminder = decided.last().expect("a reminder");
    let data = json(&reminder.1)["data"].clone();
    assert_eq!((&data["reminder"], &data["expected"]), (&1.into(), &13.8.into()));
    assert_eq!(
        data["detail"],
        "no event for 1980 s; the alert began when 13.8 had been expected"
    );
}
