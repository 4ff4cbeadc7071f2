//! The counts of a site's hour when its partition is handed over as planned: each event once,
//! whatever the next owner finds in Postgres.

use std::sync::Arc;

use super::fixtures::*;
use crate::detect::completeness::CompleteFrom;
use crate::detect::engine::Engine;
use crate::detect::site::state_record::StateRecord;
use crate::detect::usual::baseline::Usual;
use crate::detect::usual::past::{HistoryAnswer, LearnedPast};
use crate::domain::activity::HourSummary;
use crate::domain::event::{Event, EventKind, SourceClock};
use crate::domain::goal::GoalRule;
use crate::domain::registry::Site;

/// The hour of the tests.
const HOUR: u32 = 472_222;

/// A site with a goal that is reached by the event `signup`.
fn signing_up() -> Site {
    let mut site = site("a", [goals(only("Signup"))]);
    let rule = GoalRule::Event {
        event: "signup".to_owned(),
    };
    site.goals = vec![Arc::new(goal(1, "Signup", rule))];
    site
}

/// A sign-up at a second of the hour.
fn sign_up(fed: &mut Fed, second: i64) {
    let event = Event {
        name: Some("signup".into()),
        ..event("a", EventKind::Custom, (i64::from(HOUR) * 3_600 + second) * 1_000)
    };
    fed.feed(&event);
}

/// Answers what the engine asks with a row of so many sign-ups.
fn answer(fed: &mut Fed, events: Option<u64>) {
    for (site, hour, _) in fed.engine.take_unknown_sites() {
        adopt(fed, &site, hour, events);
    }
}

fn adopt(fed: &mut Fed, site: &Site, hour: u32, events: Option<u64>) {
    let earlier = events.map(|events| HourSummary {
        events,
        goals: [("Signup".into(), events)].into(),
        ..HourSummary::default()
    });
    let past = LearnedPast {
        usual: Usual::new(site.time_zone),
        hour,
        earlier,
        counted: Vec::new(),
    };
    fed.engine.adopt_history(HistoryAnswer {
        partition: 7,
        site: site.id.clone(),
        past,
    });
}

/// The states that an owner writes before it gives its partition back.
fn give_back(fed: &mut Fed) -> Vec<StateRecord> {
    fed.engine.keep_counts();
    fed.states()
}

/// An owner that goes on after these states, with all records before it committed.
fn taken(states: &[StateRecord], offset: i64) -> Fed {
    let mut fed = Fed {
        engine: Engine::new(config(SourceClock::Log), registry([signing_up()])),
        offset,
        ..Fed::log([])
    };
    for state in states {
        let loaded = fed.engine.load_state(&state.key(), state.bytes.as_deref());
        loaded.expect("readable");
    }
    let completeness = fed.engine.completeness_mut();
    completeness.begin(0, offset, offset, CompleteFrom::Ever);
    fed
}

/// Events and sign-ups of the hour in the row that an owner leaves at its end.
fn left(fed: &mut Fed) -> (u64, u64) {
    let hours = fed.engine.hand_over(true).hours;
    let row = hours.iter().find(|((_, hour), _)| *hour == HOUR);
    let row = &row.expect("a row of the hour").1;
    (row.events, row.goals["Signup"])
}

/// An owner that has counted seven, two of them since the last sample.
fn first_owner() -> Fed {
    let mut fed = Fed::log([signing_up()]);
    for second in [0, 1, 2, 3, 4, 70, 71] {
        sign_up(&mut fed, second);
    }
    fed
}

#[test]
fn a_handover_counts_every_event_once() {
    // The row is not written yet, or as it was a minute ago, or as the first owner left it.
    for row in [None, Some(5), Some(7)] {
        let mut first = first_owner();
        answer(&mut first, None);
        let states = give_back(&mut first);
        assert_eq!(left(&mut first), (7, 7));
        let mut second = taken(&states, 7);
        sign_up(&mut second, 80);
        answer(&mut second, row);
        sign_up(&mut second, 81);
        assert_eq!(left(&mut second), (9, 9), "{row:?}");
    }
}

#[test]
fn handovers_before_any_answer_count_every_event_once() {
    let mut owner = first_owner();
    for n in 0..3 {
        let states = give_back(&mut owner);
        assert_eq!(left(&mut owner), (7 + n, 7 + n));
        owner = taken(&states, owner.offset);
        sign_up(&mut owner, 80 + n as i64);
    }
    answer(&mut owner, Some(9));
    assert_eq!(left(&mut owner), (10, 10));
}

#[test]
fn an_owner_that_has_its_partition_back_counts_nothing_twice() {
    let mut first = first_owner();
    let states = give_back(&mut first);
    let mut owner = taken(&states, 7);
    sign_up(&mut owner, 80);
    let asked = owner.engine.take_unknown_sites();
    give_back(&mut owner);
    assert_eq!(left(&mut owner), (8, 8));
    // The answer has what was left: it came after the partition was given back.
    for (site, hour, _) in asked {
        adopt(&mut owner, &site, hour, Some(8));
    }
    sign_up(&mut owner, 81);
    assert_eq!(left(&mut owner), (9, 9));
}

#[test]
fn a_state_is_written_only_where_something_was_counted() {
    let mut first = first_owner();
    let states = give_back(&mut first);
    assert_eq!(states.len(), 1);
    assert_eq!(give_back(&mut first), []);
    let mut second = taken(&states, 7);
    assert_eq!(give_back(&mut second), [], "nothing since");
    sign_up(&mut second, 3_700);
    let next = give_back(&mut second);
    assert_eq!(next.len(), 1);
    let text = String::from_utf8(next[0].bytes.clone().expect("bytes")).expect("text");
    let hour = format!(
        "\"hour\":{{\"at\":{},\"events\":1,\"goals\":{{\"Signup\":1}}}}",
        HOUR + 1
    );
    assert!(text.contains(&hour), "{text}");
}

#[test]
fn records_that_the_state_accounts_for_are_not_counted_again() {
    let mut first = first_owner();
    let states = give_back(&mut first);
    // The commit was not acknowledged: three of the records are read again.
    let mut second = taken(&states, 4);
    for second_of_hour in [4, 70, 71, 80] {
        sign_up(&mut second, second_of_hour);
    }
    answer(&mut second, None);
    assert_eq!(left(&mut second), (8, 8));
}

#[test]
fn a_state_says_from_when_on_visitors_are_known() {
    // Registered a while ago: whoever came before was passed over.
    let mut webhook = webhook(1, goals(only("Signup")));
    webhook.active_since_ms = RECORD_MS - 5_000;
    let site = Site {
        webhooks: vec![Arc::new(webhook)],
        ..signing_up()
    };
    let mut fed = Fed::new(SourceClock::Live, [site.clone()]);
    fed.feed(&view("a", "1", RECORD_MS / 1_000));
    let states = give_back(&mut fed);
    let text = String::from_utf8(states[0].bytes.clone().expect("bytes")).expect("text");
    let kept_from = format!("\"kept_from\":{}", RECORD_MS / 1_000 - 5);
    assert!(text.contains(&kept_from), "{text}");
}
