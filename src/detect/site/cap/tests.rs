use super::*;
use crate::detect::tests::fixtures::{hook_id, json, site};

fn key(name: &str) -> SummaryKey {
    SummaryKey {
        event: EventType::GoalCompletion,
        name: name.to_owned(),
        goal: None,
    }
}

/// Admits a notification that none was before.
fn admit(
    caps: &mut MinuteCaps,
    hook: u128,
    now: u32,
    key: impl FnOnce() -> SummaryKey,
    visitor: Option<u64>,
) -> bool {
    let new = NotificationId::from_uuid(uuid::Uuid::from_bytes(crate::chance::bytes()));
    caps.admit(hook_id(hook), new, now, key, visitor)
}

#[test]
fn a_second_copy_of_an_event_counts_once() {
    let mut caps = MinuteCaps::default();
    for number in 0..1_200_u128 {
        let id = NotificationId::from_uuid(uuid::Uuid::from_u128(number % 600));
        assert!(caps.admit(hook_id(1), id, 60, || key("Signup"), None));
    }
    assert_eq!(caps.due(), None);
}

#[test]
fn beyond_six_hundred_a_minute_ends_with_a_summary() {
    let mut caps = MinuteCaps::default();
    let site = site("a", []);
    for visitor in 0..1_000 {
        let admitted = admit(&mut caps, 1, 119, || key("Signup"), Some(visitor % 7));
        assert_eq!(admitted, visitor < 600);
    }
    assert!(
        admit(&mut caps, 2, 119, || key("Signup"), None),
        "another webhook"
    );
    assert_eq!(caps.due(), Some(120));
    assert_eq!(caps.pass(119, &site, 5), []);
    let summaries = caps.pass(120, &site, 5);
    assert_eq!(summaries.len(), 1);
    assert_eq!(summaries[0].webhooks, [hook_id(1)]);
    let body = json(&summaries[0]);
    assert_eq!(body["timestamp"], "1970-01-01T00:02:00Z");
    assert_eq!(
        body["data"],
        serde_json::json!({"goal_name": "Signup", "visitor_count": 7, "count": 400})
    );
    assert_eq!(caps.due(), None);
    assert!(admit(&mut caps, 1, 120, || key("Signup"), None), "a new minute");
}

#[test]
fn each_goal_beyond_the_bound_has_a_summary_of_its_own() {
    let mut caps = MinuteCaps::default();
    for _ in 0..600 {
        admit(&mut caps, 1, 60, || key("Signup"), None);
    }
    for name in ["Order", "Signup", "Order"] {
        assert!(!admit(&mut caps, 1, 61, || key(name), None));
    }
    let summaries = caps.pass(500, &site("a", []), 5);
    let mut counts: Vec<_> = summaries
        .iter()
        .map(|one| json(one)["data"].clone())
        .map(|data| (data["goal_name"].to_string(), data["count"].as_u64()))
        .collect();
    counts.sort();
    assert_eq!(
        counts,
        [
            ("\"Order\"".to_owned(), Some(2)),
            ("\"Signup\"".to_owned(), Some(1))
        ]
    );
}

#[test]
fn a_summarys_id_is_that_of_webhook_goal_and_minute() {
    let ids = |second: u32| {
        let mut caps = MinuteCaps::default();
        for _ in 0..601 {
            admit(&mut caps, 1, second, || key("Signup"), None);
        }
        caps.pass(second + 60, &site("a", []), 5)[0].id
    };
    assert_eq!(ids(60), ids(100));
    assert_ne!(ids(60), ids(120));
}
