//! The history of alerts after crashes, and after stops beside a Postgres that is away: no row is
//! lost, and none stays open whose episode has ended.

use std::time::Duration;

use bellwether::domain::time::from_ms;
use chrono::{DateTime, Utc};
use rdkafka::Message as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Deployment, Process};
use crate::support::faults::Wire;
use crate::support::receiver::Receiver;
use crate::support::{eventually, kafka};

const TIMEOUT: Duration = Duration::from_secs(60);
const SITES: [&str; 2] = ["ended.example", "running.example"];
/// Time of the log's first event in seconds: a Tuesday of 2026.
const BEGIN: i64 = 1_771_934_400;
/// A minute of window and a calm minute after [`BEGIN`].
const END: i64 = BEGIN + 121;

/// A process that reads a log, and reaches Postgres by a wire.
struct Stage {
    wire: Wire,
    deployment: Deployment,
    process: Process,
    receiver: Receiver,
}

impl Stage {
    async fn start() -> Self {
        let wire = Wire::to_postgres().await;
        let mut deployment = Deployment::create(&[
            ("sources", "[{topic=\"{source}\", clock=\"log\"}]"),
            // Short, because the group waits so long for a member that was killed.
            ("kafka.properties.session.timeout.ms", "1500"),
            ("kafka.properties.heartbeat.interval.ms", "300"),
            // Short, because a stop waits so long for what Postgres does not take.
            ("webhooks.timeout", "2s"),
            ("shutdown.grace", "12s"),
        ])
        .await;
        deployment.set("postgres.url", &wire.url(&deployment.database.url));
        let process = deployment.serve(&[]).await;
        let receiver = Receiver::start().await;
        for site in SITES {
            let spike = json!({"name": "spike", "url": receiver.url(site), "events": ["visitor_spike"],
                               "triggers": {"visitor_spike": {"threshold": 2, "window_seconds": 60}}});
            deployment.create_webhook(&process, site, spike).await;
        }
        deployment.registry_is_read(&process).await;
        Self {
            wire,
            deployment,
            process,
            receiver,
        }
    }

    async fn visit(&self, site: &str, visitor: &str, second: i64) {
        let event = json!({"site_id": site, "type": "pageview", "visitor_id": visitor, "path": "/",
                           "timestamp": second * 1_000});
        self.deployment.publish(event).await;
    }

    /// Two visitors: a spike.
    async fn spike(&self, site: &str) {
        self.visit(site, "v1", BEGIN).await;
        self.visit(site, "v2", BEGIN).await;
        self.is_stored(site, true).await;
    }

    /// One visitor, minutes later: the spike has ended at [`END`].
    async fn calm(&self, site: &str) {
        self.visit(site, "v1", BEGIN + 400).await;
        self.is_stored(site, false).await;
    }

    /// Waits until the site's stored state says if there is an episode.
    async fn is_stored(&self, site: &str, has_episode: bool) {
        let topic = self.deployment.topic("detector-state");
        eventually("the state is stored", TIMEOUT, || async {
            let records = kafka::read_all(&topic).into_iter().rev();
            let mut of_site = records.filter(|record| record.key() == Some(site.as_bytes()));
            let state: Value = serde_json::from_slice(of_site.next()?.payload()?).unwrap();
            (state["triggers"][0]["episode"].is_object() == has_episode).then_some(())
        })
        .await;
    }

    /// Mends the wire and starts another process.
    async fn start_again(&mut self) {
        self.wire.mend();
        self.process = self.deployment.serve(&[]).await;
    }

    async fn stop(&mut self) {
        self.process.terminate();
        self.process.ended(TIMEOUT).await;
    }

    /// Waits until the site has one alert of two visitors, whose end is as it should be, with its
    /// notification.
    async fn one_alert(&self, site: &str, ended_at: Option<i64>) {
        self.one_alert_of(site, ended_at, 2).await;
    }

    async fn one_alert_of(&self, site: &str, ended_at: Option<i64>, peak: u32) {
        let path = format!("/api/sites/{site}/alerts");
        let time = |value: &Value| value.as_str().map(|text| text.parse::<DateTime<Utc>>().unwrap());
        let second = |second: i64| from_ms(second * 1_000);
        eventually(&format!("the alert of {site}"), TIMEOUT, || async {
            let (_, answer) = self
                .deployment
                .call(&self.process, Method::GET, &path, None)
                .await;
            let alerts = answer["data"].as_array()?;
            let [alert] = &alerts[..] else { return None };
            let is_right = time(&alert["started_at"]) == Some(second(BEGIN))
                && time(&alert["ended_at"]) == ended_at.map(second)
                && alert["peak"] == peak
                && alert["notification_id"].is_string();
            is_right.then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_kill_right_after_an_episodes_end_leaves_no_open_alert() {
    let mut stage = Stage::start().await;
    stage.spike(SITES[0]).await;
    stage.receiver.wait_for(SITES[0], 1).await;
    stage.one_alert(SITES[0], None).await;
    // Nothing more is written before the kill.
    stage.wire.cut();
    stage.calm(SITES[0]).await;
    stage.process.signal("KILL");
    stage.start_again().await;
    stage.one_alert(SITES[0], Some(END)).await;
}

#[tokio::test]
async fn the_peak_of_an_alert_that_goes_on_is_shown() {
    let stage = Stage::start().await;
    stage.spike(SITES[0]).await;
    stage.one_alert(SITES[0], None).await;
    for visitor in ["v3", "v4", "v5"] {
        stage.visit(SITES[0], visitor, BEGIN + 1).await;
    }
    stage.one_alert_of(SITES[0], None, 5).await;
}

#[tokio::test]
async fn a_stop_beside_an_absent_postgres_loses_no_alert() {
    let mut stage = Stage::start().await;
    stage.wire.cut();
    stage.spike(SITES[0]).await;
    stage.calm(SITES[0]).await;
    stage.spike(SITES[1]).await;
    stage.stop().await;
    stage.start_again().await;
    stage.one_alert(SITES[0], Some(END)).await;
    stage.one_alert(SITES[1], None).await;
    for site in SITES {
        stage.receiver.wait_for(site, 1).await;
    }
}

#[tokio::test]
async fn an_open_alert_of_an_armed_trigger_is_ended() {
    let mut stage = Stage::start().await;
    for site in SITES {
        stage.spike(site).await;
    }
    stage.calm(SITES[0]).await;
    stage.one_alert(SITES[0], Some(END)).await;
    stage.one_alert(SITES[1], None).await;
    stage.stop().await;
    // As if the end had been lost.
    sqlx::query("update episodes set ended_at = null")
        .execute(&stage.deployment.database.pool)
        .await
        .unwrap();
    stage.start_again().await;
    // By then the trigger was armed, as its state says.
    eventually("the alert is ended", TIMEOUT, || async {
        let query = "select ended_at from episodes where site_id = 'ended.example'";
        let ended: Option<DateTime<Utc>> = sqlx::query_scalar(query)
            .fetch_one(&stage.deployment.database.pool)
            .await
            .unwrap();
        ended.filter(|ended| (from_ms(END * 1_000)..=from_ms((BEGIN + 400) * 1_000)).contains(ended))
    })
    .await;
    stage.one_alert(SITES[1], None).await;
}
