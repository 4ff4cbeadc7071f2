//! Goals and custom events, through the engine.

use std::sync::Arc;

use crate::detect::completeness::CompleteFrom;
use crate::detect::engine::record::RecordFacts;
use crate::detect::tests::fixtures::*;
use crate::domain::event::{Event, EventKind, EventType, Revenue, SourceClock};
use crate::domain::goal::{Goal, GoalRule};
use crate::domain::id::{NotificationId, NotificationKind};
use crate::domain::registry::Site;
use crate::domain::texts::Texts;
use crate::domain::trigger::{NameFilter, NoticePace};

fn event_goal(number: u128, name: &str, event: &str) -> Goal {
    let event = event.to_owned();
    goal(number, name, GoalRule::Event { event })
}

fn page_goal(number: u128, name: &str, path: &str) -> Goal {
    let path = path.to_owned();
    goal(number, name, GoalRule::Page { path })
}

fn with_goals(goals: impl IntoIterator<Item = Goal>, names: impl IntoIterator<Item = NameFilter>) -> Site {
    let mut site = site("a", names.into_iter().map(crate::detect::tests::fixtures::goals));
    site.goals = goals.into_iter().map(Arc::new).collect();
    site
}

fn named(kind: EventKind, name: &str) -> Event<'_> {
    Event {
        name: Some(name.into()),
        ..event("a", kind, RECORD_MS - 500)
    }
}

#[test]
fn a_goals_body_holds_path_revenue_and_expected_properties() {
    let mut signup = event_goal(9, "Signup", "signed up");
    signup.props = vec![("plan".to_owned(), "pro".to_owned())];
    let mut fed = Fed::new(SourceClock::Live, [with_goals([signup], [NameFilter::All])]);
    let mut event = named(EventKind::Custom, "signed up");
    event.path = Some("/u/jane@example.com/done".into());
    event.props = Texts::Read(vec![("plan".into(), "pro".into()), ("coupon".into(), "x".into())]);
    event.revenue = Some(Revenue {
        amount: "12.50".into(),
        currency: "EUR".into(),
    });
    let decided = fed.feed(&event);
    assert_eq!(decided.len(), 1);
    assert_eq!(
        json(&decided[0]),
        serde_json::json!({
            "id": decided[0].id,
            "event": "goal_completion",
            "site_id": "a",
            "timestamp": "2026-02-25T11:59:59Z",
            "data": {
                "goal_name": "Signup",
                "visitor_count": 1,
                "path": "/u/:redacted/done",
                "revenue": {"amount": "12.50", "currency": "EUR"},
                "props": {"plan": "pro"},
            }
        })
    );
}

#[test]
fn ids_follow_from_record_time_event_and_goal() {
    let mut fed = Fed::log([with_goals([event_goal(9, "Signup", "x")], [NameFilter::All])]);
    let id = |at_ms: i64, event_id: &str| {
        let row = [&[0_u8; 15][..], &[9]].concat();
        let keys: [&[u8]; 2] = [event_id.as_bytes(), &row];
        NotificationId::derive(at_ms, "a", "goal_completion", NotificationKind::Each, &keys)
    };
    let mut event = named(EventKind::Custom, "x");
    assert_eq!(fed.feed(&event)[0].id, id(RECORD_MS, "events/7/0"));
    assert_eq!(fed.feed(&event)[0].id, id(RECORD_MS, "events/7/1"));
    event.event_id = Some("e-1".into());
    // A producer that writes it again later writes another record of the same event.
    let own_ms = event.timestamp_ms.expect("given");
    assert_eq!(fed.feed(&event)[0].id, id(own_ms, "e-1"));
    fed.record_ms += 60_000;
    assert_eq!(fed.feed(&event)[0].id, id(own_ms, "e-1"));
    // A row of an id that lies days back would be removed at once.
    event.timestamp_ms = Some(RECORD_MS - 25 * 3_600_000);
    assert_eq!(fed.feed(&event)[0].id, id(fed.record_ms, "e-1"));
}

#[test]
fn a_published_goal_is_notified_under_the_events_name() {
    let mut fed = Fed::log([with_goals([], [NameFilter::All, only("Signup"), only("Other")])]);
    let decided = fed.feed(&named(EventKind::Goal, "Signup"));
    assert_eq!(decided.len(), 1);
    assert_eq!(decided[0].webhooks, [hook_id(1), hook_id(2)]);
    assert_eq!(json(&decided[0])["data"]["goal_name"], "Signup");
    // A custom event is no published goal.
    assert_eq!(fed.feed(&named(EventKind::Custom, "Signup")), []);
}

#[test]
fn published_and_configured_under_one_name_it_completes_once() {
    let goals = || [event_goal(1, "Signup", "Signup"), event_goal(2, "Lead", "Signup")];
    let names = |decided: &[crate::detect::notification::Decision]| -> Vec<String> {
        decided
            .iter()
            .map(|one| json(one)["data"]["goal_name"].to_string())
            .collect()
    };
    let mut fed = Fed::log([with_goals(goals(), [NameFilter::All])]);
    let decided = fed.feed(&named(EventKind::Goal, "Signup"));
    assert_eq!(names(&decided), ["\"Signup\"", "\"Lead\""]);
    // Configured, but not completed by this event: the ingestion has decided all the same.
    let [mut signup, _] = goals();
    signup.props = vec![("plan".to_owned(), "pro".to_owned())];
    let mut fed = Fed::log([with_goals([signup], [NameFilter::All])]);
    assert_eq!(
        names(&fed.feed(&named(EventKind::Goal, "Signup"))),
        ["\"Signup\""]
    );
}

#[test]
fn one_notification_goes_to_every_subscriber_of_the_goal() {
    let goals = [page_goal(1, "Thanks", "/thanks*"), page_goal(2, "Any", "*")];
    let mut fed = Fed::log([with_goals(
        goals,
        [NameFilter::All, only("Thanks"), only("Nothing")],
    )]);
    let mut view = view("a", "1", 1_000);
    view.path = Some("/thanks/you".into());
    let decided = fed.feed(&view);
    let webhooks: Vec<_> = decided.iter().map(|one| one.webhooks.clone()).collect();
    assert_eq!(webhooks, [vec![hook_id(1), hook_id(2)], vec![hook_id(1)]]);
}

#[test]
fn paths_are_matched_before_they_are_redacted() {
    let goals = [page_goal(1, "Jane", "/u/jane@example.com")];
    let mut fed = Fed::log([with_goals(goals, [NameFilter::All])]);
    let mut view = view("a", "1", 1_000);
    view.path = Some("/u/jane@example.com".into());
    assert_eq!(json(&fed.feed(&view)[0])["data"]["path"], "/u/:redacted");
}

#[test]
fn goals_and_webhooks_act_on_records_from_their_creation_on() {
    let mut late = event_goal(1, "Late", "x");
    late.active_since_ms = RECORD_MS + 1;
    let mut all = with_goals(
        [late, event_goal(2, "Early", "x")],
        [NameFilter::All, NameFilter::All],
    );
    let mut second = webhook(2, goals(NameFilter::All));
    second.active_since_ms = RECORD_MS + 1;
    all.webhooks[1] = Arc::new(second);
    let mut fed = Fed::log([all]);
    let decided = fed.feed(&named(EventKind::Custom, "x"));
    assert_eq!(decided.len(), 1);
    assert_eq!(decided[0].webhooks, [hook_id(1)]);
    fed.record_ms += 1;
    let decided = fed.feed(&named(EventKind::Custom, "x"));
    assert_eq!(decided.len(), 2);
    assert_eq!(decided[0].webhooks, [hook_id(1), hook_id(2)]);
}

#[test]
fn a_custom_event_is_notified_to_subscribers_of_its_name() {
    let mut fed = Fed::log([site(
        "a",
        [custom(only("404")), custom(NameFilter::All), spike(9, 300)],
    )]);
    let mut event = named(EventKind::Custom, "404");
    event.path = Some("/gone".into());
    let decided = fed.feed(&event);
    assert_eq!(decided.len(), 1);
    assert_eq!(decided[0].event, EventType::CustomEvent);
    assert_eq!(decided[0].webhooks, [hook_id(1), hook_id(2)]);
    assert_eq!(
        json(&decided[0])["data"],
        serde_json::json!({"name": "404", "path": "/gone", "visitor_count": 1})
    );
    // A goal event is none.
    assert_eq!(fed.feed(&named(EventKind::Goal, "404")), []);
}

#[test]
fn a_webhook_that_bellwether_disabled_is_still_notified() {
    let mut site = with_goals([event_goal(1, "Signup", "x")], [NameFilter::All]);
    let mut gone = webhook(1, goals(NameFilter::All));
    gone.disabled = true;
    site.webhooks = vec![Arc::new(gone)];
    let mut fed = Fed::log([site]);
    assert_ne!(fed.feed(&named(EventKind::Goal, "x")), []);
}

#[test]
fn a_webhook_that_is_switched_off_is_not_notified() {
    let mut site = with_goals([event_goal(1, "Signup", "x")], [NameFilter::All]);
    let mut off = webhook(1, goals(NameFilter::All));
    off.enabled = false;
    site.webhooks = vec![Arc::new(off)];
    let mut fed = Fed::log([site]);
    assert_eq!(fed.feed(&named(EventKind::Goal, "x")), []);
}

/// A custom event with an id of its own.
fn play(id: &'static str, second: i64) -> Event<'static> {
    Event {
        name: Some("Play".into()),
        event_id: Some(id.into()),
        ..event("a", EventKind::Custom, second * 1_000)
    }
}

#[test]
fn a_second_copy_is_known_after_a_restart_too() {
    let counting = || {
        let pace = NoticePace::AtLeast {
            at_least: 2,
            within_seconds: 60,
        };
        site("a", [paced(pace)])
    };
    let mut records = vec![play("x", 1_000)];
    // No window holds the first record any more.
    records.extend((1..30).map(|step| view("b", "1", 1_000 + step * 19)));
    let mut fed = Fed::log([counting()]);
    for record in &records {
        assert_eq!(fed.feed(record), []);
    }
    let from = fed.engine.checkpoint().replay_from[0].expect("read");
    assert_eq!(from, 0);

    let mut again = Fed::log([counting()]);
    let completeness = again.engine.completeness_mut();
    completeness.begin(0, fed.offset, from, CompleteFrom::Ever);
    for record in &records {
        let facts = RecordFacts {
            source: 0,
            offset: again.offset,
            record_ms: RECORD_MS,
            replaying: true,
        };
        again.offset += 1;
        again.engine.handle(record, &facts, 0, &mut Vec::new());
    }
    assert_eq!(again.feed(&play("x", 1_590)), [], "a second copy");
    assert_eq!(again.feed(&play("y", 1_591)), [], "the first of two");
    assert_eq!(again.feed(&play("z", 1_592)).len(), 1);

    // Nothing is held for the ids of a site that fell silent.
    fed.feed(&view("b", "1", 1_700));
    fed.engine.tick(0, false);
    let checkpoint = fed.engine.checkpoint();
    assert_eq!(checkpoint.replay_from, checkpoint.next);
}
