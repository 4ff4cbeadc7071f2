//! The history that a running detector keeps, and the comparison with it in its notifications.

use std::time::Duration;

use bellwether::domain::activity::SiteHour;
use bellwether::domain::time::from_ms;
use bellwether::record::activity;
use serde_json::{Value, json};

use crate::record_support::site;
use crate::support::app::{Deployment, Process};
use crate::support::eventually;
use crate::support::faults::Wire;
use crate::support::receiver::Receiver;

const TIMEOUT: Duration = Duration::from_secs(60);

/// A full hour of a Tuesday, in seconds since the Unix epoch.
const HOUR: i64 = 1_771_934_400;
const WEEK: i64 = 7 * 86_400;

/// A deployment whose source is a log: its events alone tell the time.
async fn log_deployment() -> Deployment {
    Deployment::create(&[("sources", "[{topic=\"{source}\", clock=\"log\"}]")]).await
}

async fn spike_webhook(deployment: &Deployment, process: &Process, receiver: &Receiver, threshold: u32) {
    let body = json!({
        "name": "spikes", "url": receiver.url("hook"), "events": ["visitor_spike"],
        "triggers": {"visitor_spike": {"threshold": threshold}},
    });
    deployment.create_webhook(process, "example.com", body).await;
    deployment.registry_is_read(process).await;
}

async fn visit(deployment: &Deployment, visitor: &str, second: i64) {
    let event = json!({
        "site_id": "example.com", "type": "pageview", "visitor_id": visitor, "path": "/",
        "timestamp": second * 1_000,
    });
    deployment.publish(event).await;
}

/// Ten visitors from a second on, for an hour.
async fn ordinary_hour(deployment: &Deployment, from: i64) {
    for round in 0..15 {
        for visitor in 0..10 {
            visit(deployment, &format!("v{visitor}"), from + round * 240 + visitor).await;
        }
    }
}

/// Waits until the row of the hour from `second` on is as it should be.
async fn kept_hour(deployment: &Deployment, second: i64, wanted: impl Fn(&SiteHour) -> bool) -> SiteHour {
    let (from, until) = (from_ms(second * 1_000), from_ms((second + 3_600) * 1_000));
    let mut last = None;
    let deadline = std::time::Instant::now() + TIMEOUT;
    while std::time::Instant::now() < deadline {
        let mut connection = deployment.database.pool.acquire().await.unwrap();
        let span = activity::read_span(&mut connection, &site("example.com"), from, until).await;
        last = span.unwrap().pop().map(|(_, hour)| hour);
        if let Some(hour) = last.take_if(|hour| wanted(hour)) {
            return hour;
        }
        drop(connection);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the hour is {last:?}");
}

#[tokio::test]
async fn what_was_learned_before_a_restart_is_in_the_payload() {
    let deployment = log_deployment().await;
    let mut process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    spike_webhook(&deployment, &process, &receiver, 50).await;
    for week in 0..4 {
        ordinary_hour(&deployment, HOUR + week * WEEK).await;
    }
    let present = HOUR + 4 * WEEK;
    visit(&deployment, "v0", present + 60).await;
    visit(&deployment, "v0", present + 200).await;
    kept_hour(&deployment, HOUR + 3 * WEEK, |hour| {
        hour.is_learned() && hour.median() == Some(10.0)
    })
    .await;
    kept_hour(&deployment, present, |hour| hour.events == 1).await;
    process.terminate();
    process.ended(TIMEOUT).await;

    let process = deployment.serve(&[]).await;
    visit(&deployment, "v0", present + 1_000).await;
    visit(&deployment, "v0", present + 1_100).await;
    // The hour is written again only when it is known what was learned before.
    kept_hour(&deployment, present, |hour| hour.minute(17).is_some()).await;
    for visitor in 0..50 {
        visit(&deployment, &format!("new {visitor}"), present + 1_400 + visitor).await;
    }
    let body = receiver.wait_for("hook", 1).await[0].json();
    assert_eq!(
        body["data"]["baseline"],
        json!({"status": "ready", "current": 50, "expected": 10.0, "change_percent": 400, "score": null,
               "samples": 4})
    );
    drop(process);
}

#[tokio::test]
async fn an_owner_that_ends_leaves_the_hour_it_is_in() {
    let deployment = log_deployment().await;
    let receiver = Receiver::start().await;
    let mut process = deployment.serve(&[]).await;
    spike_webhook(&deployment, &process, &receiver, 500).await;
    for minute in 0..20 {
        visit(&deployment, "a", HOUR + minute * 60).await;
    }
    let events = format!(
        "bellwether_events_total{{result=\"counted\",source=\"{}\"}}",
        deployment.source
    );
    process.metric_is(&events, 20.0).await;
    process.terminate();
    process.ended(TIMEOUT).await;
    let first = kept_hour(&deployment, HOUR, |hour| hour.covered().count_ones() == 19).await;
    assert_eq!(first.events, 20);

    let mut process = deployment.serve(&[]).await;
    for minute in 20..40 {
        visit(&deployment, "b", HOUR + minute * 60).await;
    }
    kept_hour(&deployment, HOUR, |hour| hour.minute(38).is_some()).await;
    process.metric_is(&events, 20.0).await;
    process.terminate();
    process.ended(TIMEOUT).await;
    // Both owners' minutes are there, and the second one's events beside the first one's.
    let both = kept_hour(&deployment, HOUR, |hour| hour.events == 40).await;
    assert_eq!(both.minute(10), Some(1));
    assert_eq!(both.covered().count_ones(), 39);
}

#[tokio::test]
async fn a_stop_beside_an_absent_postgres_loses_no_count() {
    let wire = Wire::to_postgres().await;
    let mut deployment = Deployment::create(&[
        ("sources", "[{topic=\"{source}\", clock=\"log\"}]"),
        // Short, because a stop waits so long for what Postgres does not take.
        ("webhooks.timeout", "2s"),
        ("shutdown.grace", "12s"),
    ])
    .await;
    let (direct, cut) = (
        deployment.database.url.clone(),
        wire.url(&deployment.database.url),
    );
    deployment.set("postgres.url", &cut);
    let receiver = Receiver::start().await;
    let mut process = deployment.serve(&[]).await;
    spike_webhook(&deployment, &process, &receiver, 500).await;
    let events = format!(
        "bellwether_events_total{{result=\"counted\",source=\"{}\"}}",
        deployment.source
    );
    for second in 0..7 {
        visit(&deployment, "a", HOUR + second).await;
    }
    process.metric_is(&events, 7.0).await;
    wire.cut();
    process.terminate();
    process.ended(TIMEOUT).await;

    deployment.set("postgres.url", &direct);
    let mut process = deployment.serve(&[]).await;
    for second in 0..5 {
        visit(&deployment, "b", HOUR + 100 + second).await;
    }
    process.metric_is(&events, 5.0).await;
    process.terminate();
    process.ended(TIMEOUT).await;
    kept_hour(&deployment, HOUR, |hour| hour.events == 12).await;
}

#[tokio::test]
async fn a_dead_postgres_stops_no_detection_and_its_hours_come_later() {
    let wire = Wire::to_postgres().await;
    let mut deployment = log_deployment().await;
    let receiver = Receiver::start().await;
    let url = wire.url(&deployment.database.url);
    deployment.set("postgres.url", &url);
    let process = deployment.serve(&[]).await;
    spike_webhook(&deployment, &process, &receiver, 5).await;
    wire.cut();
    for round in 0..70 {
        visit(&deployment, &format!("v{}", round % 3), HOUR + round * 60).await;
    }
    for visitor in 0..5 {
        visit(&deployment, &format!("w{visitor}"), HOUR + 70 * 60).await;
    }
    // It is decided all the same, and lies on the topic until it can be recorded.
    process
        .metric_is("bellwether_notifications_total{event=\"visitor_spike\"}", 1.0)
        .await;
    assert!(receiver.all().is_empty());
    wire.mend();
    receiver.wait_for("hook", 1).await;
    let hour = kept_hour(&deployment, HOUR, |hour| hour.covered().count_ones() == 60).await;
    assert_eq!((hour.events, hour.minute(30)), (60, Some(3)));
}

#[tokio::test]
async fn the_present_of_a_site_is_written_within_seconds() {
    let deployment = log_deployment().await;
    let receiver = Receiver::start().await;
    let process = deployment.serve(&[]).await;
    spike_webhook(&deployment, &process, &receiver, 3).await;
    for visitor in 0..4 {
        visit(&deployment, &format!("v{visitor}"), HOUR + visitor).await;
    }
    let present = eventually("the present is written", TIMEOUT, || async {
        let row: Option<(i64, String, Value)> = sqlx::query_as(
            "select current_visitors, to_char(as_of at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS'), triggers from site_now",
        )
        .fetch_optional(&deployment.database.pool)
        .await
        .unwrap();
        row.filter(|(visitors, ..)| *visitors == 4)
    })
    .await;
    assert_eq!(present.1, "2026-02-24 12:00:03");
    let trigger = &present.2[0];
    assert_eq!(
        (&trigger["event"], &trigger["state"]),
        (&json!("visitor_spike"), &json!("firing"))
    );
    assert_eq!(trigger["threshold"], 3);
    assert_eq!(trigger["since"], "2026-02-24T12:00:02Z");
    assert!(trigger["webhook_id"].as_str().unwrap().starts_with("wh_"));
}
