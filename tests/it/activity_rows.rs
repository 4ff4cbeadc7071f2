//! The rows of activity, episodes and the present of sites, in a real Postgres.

use std::collections::BTreeMap;

use bellwether::clock;
use bellwether::domain::activity::{HourKey, SiteHour};
use bellwether::domain::episode::{EpisodeEntry, SettledSite};
use bellwether::domain::event::EventType;
use bellwether::domain::id::{NotificationId, NotificationKind, WebhookId, uuid_floor};
use bellwether::domain::site_now::{Baseline, BaselineStatus, SiteNow, TriggerNow, TriggerPhase};
use bellwether::domain::time::from_ms;
use bellwether::record::{activity, episodes, site_now, sites};
use serde_json::json;
use sqlx::{PgConnection, PgPool};

use crate::record_support::{NOON_MS, site};

/// The hour of noon, since the Unix epoch.
const NOON: u32 = (NOON_MS / 3_600_000) as u32;

async fn register(conn: &mut PgConnection, id: &str) {
    sites::register(conn, &site(id), clock::now())
        .await
        .expect("registered");
}

/// An hour whose minutes from `first` on have these visitors.
fn hour(first: usize, visitors: &[u32]) -> SiteHour {
    let mut hour = SiteHour::default();
    for (minute, visitors) in (first..).zip(visitors) {
        hour.set(minute, *visitors);
    }
    hour
}

fn one(id: &str, hour: SiteHour) -> BTreeMap<HourKey, SiteHour> {
    BTreeMap::from([((site(id), NOON), hour)])
}

async fn merge(conn: &mut PgConnection, hours: &BTreeMap<HourKey, SiteHour>) {
    activity::merge(conn, hours, clock::now()).await.expect("merged");
}

async fn read(conn: &mut PgConnection, id: &str) -> Vec<SiteHour> {
    let until = from_ms(NOON_MS + 3_600_000);
    let hours = activity::read_span(conn, &site(id), from_ms(0), until).await;
    hours.expect("read").into_iter().map(|(_, hour)| hour).collect()
}

#[sqlx::test]
async fn two_owners_of_an_hour_leave_one_merged_row(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    register(&mut conn, "s").await;
    let mut first = hour(0, &[5, 300, 70_000]);
    first.events = 9;
    first.peak_z = Some(1.5);
    assert!(first.add_goal("Signup"));
    let mut second = hour(2, &[4, 6]);
    second.events = 7;
    assert!(second.add_goal("Order"));
    for hour in [&first, &second, &first] {
        merge(&mut conn, &one("s", hour.clone())).await;
    }
    let mut wanted = hour(0, &[5, 300, 70_000, 6]);
    (wanted.events, wanted.peak_z) = (9, Some(1.5));
    assert!(wanted.add_goal("Signup") && wanted.add_goal("Order"));
    assert_eq!(read(&mut conn, "s").await, [wanted]);
    let median: f32 = sqlx::query_scalar("select median from site_activity")
        .fetch_one(&mut *conn)
        .await
        .expect("a row");
    assert_eq!(median, 153.0);
}

#[sqlx::test]
async fn writers_at_once_lose_no_minute_and_never_deadlock(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    for id in ["a", "b", "c", "d"] {
        register(&mut conn, id).await;
    }
    let write = |minute: usize| {
        let pool = pool.clone();
        async move {
            let mut conn = pool.acquire().await.expect("connection");
            for id_count in [4, 3, 4, 2] {
                let ids = ["a", "b", "c", "d"];
                let hours = ids[4 - id_count..].iter();
                let hours = hours.map(|id| ((site(id), NOON), hour(minute, &[7])));
                activity::merge(&mut conn, &hours.collect(), clock::now())
                    .await
                    .expect("merged");
            }
        }
    };
    tokio::join!(write(0), write(1), write(2), write(3), write(4));
    for id in ["a", "b", "c", "d"] {
        assert_eq!(read(&mut conn, id).await, [hour(0, &[7; 5])], "{id}");
    }
}

#[sqlx::test]
async fn rows_of_unregistered_sites_are_left_out(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    register(&mut conn, "s").await;
    let mut hours = one("s", hour(0, &[1]));
    hours.extend(one("gone", hour(0, &[1])));
    merge(&mut conn, &hours).await;
    assert!(read(&mut conn, "gone").await.is_empty());
    assert_eq!(read(&mut conn, "s").await.len(), 1);
    let gone = episode("gone", 1);
    episodes::write(&mut conn, &[gone], clock::now())
        .await
        .expect("written");
    assert!(list(&mut conn, "gone").await.is_empty());
}

#[sqlx::test]
async fn activity_is_kept_for_400_days(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    register(&mut conn, "s").await;
    let days = |days: u32| ((site("s"), NOON - days * 24), hour(0, &[days]));
    merge(
        &mut conn,
        &BTreeMap::from([days(0), days(399), days(400), days(401), days(500)]),
    )
    .await;
    let purged = activity::purge(&mut conn, from_ms(NOON_MS))
        .await
        .expect("purged");
    assert_eq!(purged, 2);
    let mut kept: Vec<_> = read(&mut conn, "s")
        .await
        .iter()
        .map(|hour| hour.minute(0))
        .collect();
    kept.sort_unstable();
    assert_eq!(kept, [Some(0), Some(399), Some(400)]);
}

#[sqlx::test]
async fn a_span_has_its_first_hour_and_not_its_end(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    register(&mut conn, "s").await;
    let hours = (0..5).map(|n| ((site("s"), NOON + n), hour(0, &[n])));
    merge(&mut conn, &hours.collect()).await;
    let at = |n: i64| from_ms(NOON_MS + n * 3_600_000);
    let span = activity::read_span(&mut conn, &site("s"), at(1), at(3))
        .await
        .expect("read");
    assert_eq!(span, [(at(1), hour(0, &[1])), (at(2), hour(0, &[2]))]);
}

/// The episode of a spike that began `minute` minutes after noon and was notified.
fn episode(site_id: &str, minute: i64) -> EpisodeEntry {
    let at_ms = NOON_MS + minute * 60_000;
    let kind = NotificationKind::Start;
    EpisodeEntry {
        id: uuid_floor(at_ms),
        site_id: site(site_id),
        event: EventType::VisitorSpike,
        trigger: json!({"threshold": 500, "window_seconds": 300}),
        webhooks: vec![WebhookId::new_v7(NOON_MS, [7; 10])],
        started_at: from_ms(at_ms),
        ended_at: None,
        peak: 500,
        threshold: Some(500.0),
        expected: Some(41.3),
        score: None,
        notification: Some(NotificationId::derive(at_ms, site_id, "visitor_spike", kind, &[])),
    }
}

async fn list(conn: &mut PgConnection, id: &str) -> Vec<EpisodeEntry> {
    episodes::list(conn, &site(id), &[], None, None, 50)
        .await
        .expect("listed")
}

#[sqlx::test]
async fn an_episode_is_one_row_however_often_it_is_written(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    register(&mut conn, "s").await;
    let begun = episode("s", 0);
    let suppressed = EpisodeEntry {
        notification: None,
        ..begun.clone()
    };
    let ended = EpisodeEntry {
        ended_at: Some(from_ms(NOON_MS + 90_000)),
        peak: 812,
        ..begun.clone()
    };
    for (entry, wanted) in [
        (&suppressed, &suppressed),
        (&begun, &begun),
        (&suppressed, &begun),
        (&ended, &ended),
        (&begun, &ended),
    ] {
        episodes::write(&mut conn, std::slice::from_ref(entry), clock::now())
            .await
            .expect("written");
        assert_eq!(list(&mut conn, "s").await, std::slice::from_ref(wanted));
        let suppressed: bool = sqlx::query_scalar("select suppressed from episodes")
            .fetch_one(&mut *conn)
            .await
            .expect("a row");
        assert_eq!(suppressed, wanted.notification.is_none());
    }
    assert_eq!(count_open(&mut conn).await, 0);
}

#[sqlx::test]
async fn open_rows_that_no_owner_knows_are_ended(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    register(&mut conn, "s").await;
    register(&mut conn, "other").await;
    let at = |minute: i64| from_ms(NOON_MS + minute * 60_000);
    let mut all: Vec<_> = (0..5).map(|minute| episode("s", minute)).collect();
    all[0].ended_at = Some(at(1));
    all.push(episode("other", 10));
    episodes::write(&mut conn, &all, clock::now())
        .await
        .expect("written");
    let settled = SettledSite {
        site_id: site("s"),
        ended_by: at(2),
        known_from: at(4),
        known: vec![all[1].id],
    };
    episodes::end_others(&mut conn, &[settled], clock::now())
        .await
        .expect("ended");
    let ends: Vec<_> = list(&mut conn, "s")
        .await
        .into_iter()
        .map(|one| one.ended_at)
        .collect();
    let wanted = [
        None,        // may be unknown
        Some(at(3)), // never before its beginning
        Some(at(2)),
        None, // goes on
        Some(at(1)),
    ];
    assert_eq!(ends, wanted);
    assert_eq!(list(&mut conn, "other").await[0].ended_at, None);
}

#[sqlx::test]
async fn episodes_are_listed_newest_first_by_cursor(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    register(&mut conn, "s").await;
    let all: Vec<_> = (0..5).map(|minute| episode("s", minute)).collect();
    episodes::write(&mut conn, &all, clock::now())
        .await
        .expect("written");
    let first = episodes::list(&mut conn, &site("s"), &[], None, None, 3)
        .await
        .expect("listed");
    assert_eq!(first, [all[4].clone(), all[3].clone(), all[2].clone()]);
    let after = Some((all[2].started_at, all[2].id));
    let second = episodes::list(&mut conn, &site("s"), &[], None, after, 3)
        .await
        .expect("listed");
    assert_eq!(second, [all[1].clone(), all[0].clone()]);
    let since = Some(all[3].started_at);
    let spikes = &[EventType::VisitorSpike, EventType::VisitorDrop];
    let recent = episodes::list(&mut conn, &site("s"), spikes, since, None, 9)
        .await
        .expect("listed");
    assert_eq!(recent.len(), 2);
    let goals = &[EventType::GoalCompletion];
    assert!(
        episodes::list(&mut conn, &site("s"), goals, None, None, 9)
            .await
            .expect("listed")
            .is_empty()
    );
    assert_eq!(count_open(&mut conn).await, 5);
}

async fn count_open(conn: &mut PgConnection) -> i64 {
    sqlx::query_scalar("select count(*) from episodes where ended_at is null")
        .fetch_one(conn)
        .await
        .expect("counted")
}

#[sqlx::test]
async fn the_present_of_a_site_is_the_latest_written(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    register(&mut conn, "s").await;
    let webhook_id = WebhookId::new_v7(NOON_MS, [7; 10]);
    let now = |current_visitors: u32| SiteNow {
        site_id: site("s"),
        current_visitors,
        as_of: from_ms(NOON_MS),
        baseline: Some(Baseline {
            status: BaselineStatus::Ready,
            current: current_visitors,
            expected: 41.3,
            change_percent: Some(410),
            score: None,
            samples: 4,
        }),
        triggers: vec![TriggerNow {
            webhook_id,
            event: EventType::VisitorSpike,
            state: TriggerPhase::Firing,
            since: Some(from_ms(NOON_MS)),
            threshold: Some(500),
        }],
        source_silent_since: (current_visitors > 1).then(|| from_ms(NOON_MS - 60_000)),
    };
    for (visitors, sent_ms) in [(1, NOON_MS), (211, NOON_MS + 10), (3, NOON_MS + 5)] {
        site_now::write(&mut conn, &[now(visitors)], from_ms(sent_ms))
            .await
            .expect("written");
    }
    let read = site_now::get(&mut conn, &site("s"))
        .await
        .expect("read")
        .and_then(|present| present.now)
        .expect("a row");
    assert_eq!(read.current_visitors, 211);
    assert_eq!(read.source_silent_since, Some(from_ms(NOON_MS - 60_000)));
    assert_eq!(
        read.baseline,
        Some(
            json!({"status": "ready", "current": 211, "expected": 41.3, "change_percent": 410, "score": null,
                    "samples": 4})
        )
    );
    assert_eq!(
        read.triggers,
        json!([{"webhook_id": webhook_id, "event": "visitor_spike", "state": "firing",
                "since": "2026-02-24T12:00:00Z", "threshold": 500}])
    );
}
