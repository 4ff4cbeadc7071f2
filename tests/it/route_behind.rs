//! Detectors beside a role `route` that is away: what it has not passed on is not taken for
//! silence.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rdkafka::producer::FutureRecord;
use serde_json::json;

use crate::support::app::{Deployment, Process};
use crate::support::eventually;
use crate::support::kafka;
use crate::support::receiver::Receiver;

const TIMEOUT: Duration = Duration::from_secs(90);
/// Visitors go on coming to it, and to the other one none.
const BUSY: &str = "busy.example";
const QUIET: &str = "quiet.example";

async fn visit(deployment: &Deployment, site: &str, visitors: std::ops::Range<u8>, at: DateTime<Utc>) {
    for visitor in visitors {
        let view = json!({
            "website_id": site, "session_id": format!("visitor {visitor}"), "url_path": "/", "event_type": 1,
            "created_at": at.format("%Y-%m-%d %H:%M:%S").to_string(),
        });
        let view = view.to_string();
        let record = FutureRecord::<[u8], str>::to(&deployment.source)
            .payload(&view)
            .timestamp(at.timestamp_millis());
        let sent = deployment.producer.send(record, Duration::from_secs(10)).await;
        sent.unwrap();
    }
}

/// Gives each site a webhook for drops that has been there for hours.
async fn drop_webhooks(deployment: &Deployment, process: &Process, receiver: &Receiver) {
    for site in [BUSY, QUIET] {
        let hook = json!({"name": "drop", "url": receiver.url(site), "events": ["visitor_drop"],
            "triggers": {"visitor_drop": {"threshold": 3, "window_seconds": 300}}});
        deployment.create_webhook(process, site, hook).await;
    }
    sqlx::query("update webhooks set active_since = now() - interval '3 hours'")
        .execute(&deployment.database.pool)
        .await
        .unwrap();
}

/// A process with the role `route` and one with all others, and four visitors on each site whom a
/// window of five minutes holds for 15 seconds more.
struct Stage {
    deployment: Deployment,
    receiver: Receiver,
    rest: Process,
    route: Process,
    begun: DateTime<Utc>,
    /// The series of the events that were counted.
    counted: String,
}

async fn stage() -> Stage {
    let deployment = Deployment::create(&[("sources", "[{topic=\"{source}\", format=\"umami\"}]")]).await;
    let receiver = Receiver::start().await;
    let api = deployment.serve(&["--roles", "api"]).await;
    drop_webhooks(&deployment, &api, &receiver).await;
    api.kill();
    let rest = deployment.serve(&["--roles", "detect,deliver,api"]).await;
    let route = deployment.serve(&["--roles", "route"]).await;
    let begun = Utc::now();
    for site in [BUSY, QUIET] {
        visit(&deployment, site, 0..4, begun - TimeDelta::seconds(285)).await;
    }
    let counted = format!(
        "bellwether_events_total{{result=\"counted\",source=\"{}\"}}",
        deployment.topic("events")
    );
    rest.metric_is(&counted, 8.0).await;
    Stage {
        deployment,
        receiver,
        rest,
        route,
        begun,
        counted,
    }
}

#[tokio::test]
async fn what_was_removed_before_it_was_routed_holds_up_no_drop() {
    let mut stage = stage().await;
    stage.route.terminate();
    assert!(stage.route.ended(TIMEOUT).await.success());
    visit(&stage.deployment, BUSY, 4..20, Utc::now()).await;
    let source = &stage.deployment.source;
    for partition in 0..4 {
        kafka::delete_all(source, partition).await;
    }
    let route = stage.deployment.serve(&["--roles", "route"]).await;
    let drop = stage.receiver.wait_for(QUIET, 1).await.remove(0).json();
    assert_eq!(drop["event"], "visitor_drop", "{drop}");
    let missed = format!("bellwether_records_missed_total{{topic=\"{source}\"}}");
    assert_eq!(route.metric(&missed).await, 16.0);
}

#[tokio::test]
async fn a_drop_waits_for_what_is_not_routed_yet() {
    let Stage {
        deployment,
        receiver,
        rest,
        route,
        begun,
        counted,
    } = stage().await;
    route.kill();
    visit(&deployment, BUSY, 0..6, Utc::now()).await;

    // By the time of the notice the visitors of the beginning have left the window of both.
    let notice = eventually("the notice is there", TIMEOUT, || async {
        let (_, answer) = rest.readyz().await?;
        let notices = answer["notices"].as_array()?.iter();
        let mut texts = notices.filter_map(|one| one.as_str());
        let notice = texts.find(|one| one.contains("is a process with the role `route` running?"))?;
        (Utc::now() > begun + TimeDelta::seconds(20)).then(|| notice.to_owned())
    })
    .await;
    assert!(notice.contains(&deployment.source), "{notice}");
    assert!(rest.metric("bellwether_proven_end_age_seconds").await > 5.0);
    for site in [BUSY, QUIET] {
        let early: Vec<_> = receiver
            .received(site)
            .into_iter()
            .map(|one| one.json())
            .collect();
        assert!(early.is_empty(), "nothing proves that nobody came: {early:?}");
    }

    let _route = deployment.serve(&["--roles", "route"]).await;
    let drop = receiver.wait_for(QUIET, 1).await.remove(0).json();
    assert_eq!(drop["event"], "visitor_drop", "{drop}");
    eventually("every event is counted", TIMEOUT, || async {
        // What was not committed when it was killed is routed again.
        (rest.metric(&counted).await >= 14.0).then_some(())
    })
    .await;
    assert!(receiver.received(BUSY).is_empty(), "six visitors are there");
}
