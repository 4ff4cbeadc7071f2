use serde_json::json;

use super::*;
use crate::detect::tests::fixtures::hook_id;
use crate::domain::event::EventType;
use crate::domain::id::NotificationId;

fn row(number: u128, ended_at: Option<u32>, webhooks: usize) -> EpisodeEntry {
    EpisodeEntry {
        id: Uuid::from_u128(number),
        site_id: "a".parse().expect("a site id"),
        event: EventType::VisitorSpike,
        trigger: json!({"threshold": 2, "window_seconds": 300}),
        webhooks: (1..=webhooks as u128).map(hook_id).collect(),
        started_at: from_second(1_000),
        ended_at: ended_at.map(from_second),
        peak: 7,
        threshold: Some(2.0),
        expected: Some(0.5),
        score: None,
        notification: Some(NotificationId::from_uuid(Uuid::from_u128(9))),
    }
}

#[test]
fn rows_are_stored_and_read_as_they_are() {
    let mut rows = EpisodeRows::default();
    rows.put(&row(1, None, 2));
    rows.put(&row(2, Some(1_100), 1));
    let newer = RawValue::from_string(r#"{"id":7,"mood":"new"}"#.to_owned()).expect("JSON");
    let mut stored = rows.store();
    stored.push(newer);
    let site_id = "a".parse().expect("a site id");
    let mut again = EpisodeRows::restore(stored.clone(), &site_id, 5);
    let all: Vec<EpisodeEntry> = again.iter().cloned().collect();
    assert_eq!(all, [row(1, None, 2), row(2, Some(1_100), 1)]);
    let texts = |rows: &[Box<RawValue>]| rows.iter().map(|raw| raw.get().to_owned()).collect::<Vec<_>>();
    assert_eq!(
        texts(&again.store()),
        texts(&stored),
        "one of a newer version too"
    );
}

#[test]
fn a_row_stays_until_its_end_is_saved() {
    let mut rows = EpisodeRows::default();
    rows.put(&row(1, None, 1));
    let saved_open = SavedEpisode::of(&row(1, None, 1));
    rows.put(&row(1, Some(1_200), 1));
    rows.confirm(&saved_open);
    assert_eq!((rows.iter().count(), rows.is_outdated()), (1, false));
    rows.confirm(&SavedEpisode::of(&row(1, Some(1_200), 1)));
    assert_eq!((rows.iter().count(), rows.is_outdated()), (0, true));
    rows.store();
    assert!(!rows.is_outdated());
}

#[test]
fn beyond_the_bound_the_oldest_rows_go_and_are_counted() {
    let mut rows = EpisodeRows::default();
    let removed: u64 = (0..70).map(|number| rows.put(&row(number, None, 1))).sum();
    assert_eq!((removed, rows.iter().count()), (6, MAX_ROWS));
    assert_eq!(rows.iter().next().map(|row| row.id), Some(Uuid::from_u128(6)));
    let removed = rows.put(&row(99, None, 1_990));
    assert_eq!((removed, rows.iter().count()), (54, 11), "by their webhooks");
    assert_eq!(rows.put(&row(100, None, 5_000)), 11);
    assert_eq!(rows.iter().count(), 1, "one always finds room");
}
