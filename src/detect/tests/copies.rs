//! Second copies of events, as a producer writes that sends again what it got no answer for.

use super::fixtures::*;
use crate::detect::usual::baseline::Usual;
use crate::detect::usual::past::{HistoryAnswer, LearnedPast};
use crate::domain::activity::SiteHour;
use crate::domain::event::{Event, EventKind, SourceClock};
use crate::domain::trigger::{ErrorSettings, ErrorTrigger, NoticeOptions, Triggers};

/// A full hour, in seconds since the Unix epoch.
const HOUR: i64 = 472_222 * 3_600;

fn silence(goal: Option<&str>) -> Triggers {
    Triggers {
        error_condition: Some(ErrorTrigger {
            conditions: vec![ErrorSettings::Silence {
                goal: goal.map(str::to_owned),
            }],
            options: NoticeOptions::default(),
        }),
        ..Triggers::default()
    }
}

/// A signup, at a second or with no time of its own.
fn signup(id: &str, second: Option<i64>) -> Event<'_> {
    Event {
        timestamp_ms: second.map(|second| second * 1_000),
        event_id: Some(id.into()),
        ..Event {
            name: Some("Signup".into()),
            visitor_id: Some("1".into()),
            ..Event::new("a", EventKind::Goal)
        }
    }
}

/// The hour as it is kept.
fn hour(fed: &mut Fed) -> SiteHour {
    for (site, hour, _) in fed.engine.take_unknown_sites() {
        fed.engine.adopt_history(HistoryAnswer {
            partition: 7,
            site: site.id.clone(),
            past: LearnedPast {
                usual: Usual::new(site.time_zone),
                hour,
                earlier: None,
                counted: Vec::new(),
            },
        });
    }
    let hours = fed.engine.hand_over(true).hours;
    let mut whole = SiteHour::default();
    for (_, row) in &hours {
        whole.merge(row);
    }
    whole
}

#[test]
fn a_second_copy_counts_in_no_hour() {
    for goal in [None, Some("Signup")] {
        let mut fed = Fed::new(SourceClock::Live, [site("a", [silence(goal)])]);
        for (minute, id) in [(0, "e-1"), (1, "e-1"), (2, "e-2"), (3, "e-1"), (4, "e-2")] {
            let at = (HOUR + minute * 60) * 1_000;
            (fed.now_ms, fed.record_ms) = (at, at);
            fed.feed(&signup(id, None));
        }
        let kept = hour(&mut fed);
        assert_eq!(kept.events, 2);
        // Goals are looked for where somebody asks for one.
        assert_eq!(kept.goals.get("Signup"), goal.map(|_| &2));
    }
}

#[test]
fn a_second_copy_of_a_goal_counts_once_where_ids_are_remembered() {
    // The record's time would be part of its id, so that its copies are known by it anyway.
    let mut fed = Fed::new(SourceClock::Live, [site("a", [goals(only("Signup"))])]);
    for (minute, id) in [(0, "e-1"), (1, "e-1"), (2, "e-2")] {
        let at = (HOUR + minute * 60) * 1_000;
        (fed.now_ms, fed.record_ms) = (at, at);
        let decided = fed.feed(&signup(id, Some(HOUR - 86_401)));
        assert_eq!(decided.len(), usize::from(minute != 1));
    }
    assert_eq!(hour(&mut fed).goals["Signup"], 2);
}
