//! `kill -9` while a store has done what it was asked for and its answer is under way: what is
//! recorded is not sent again, and what is published again makes no second chain.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use serde_json::json;

use crate::support::app::{Deployment, Process};
use crate::support::eventually;
use crate::support::faults::Wire;
use crate::support::kafka;
use crate::support::receiver::{Answer, Receiver};

const TIMEOUT: Duration = Duration::from_secs(60);

/// A deployment whose path to a store can hold answers back, a receiver, and a running process.
struct Stage {
    deployment: Deployment,
    wire: Wire,
    direct: (&'static str, String),
    receiver: Receiver,
}

impl Stage {
    /// `store` is the setting that names it. The first `failures` attempts of a delivery fail.
    async fn begin(store: &'static str, failures: u32) -> (Self, Process) {
        let mut deployment = Deployment::create(&[
            // Short, because the next process waits so long for the one that was killed.
            ("kafka.properties.session.timeout.ms", "1500"),
            ("kafka.properties.heartbeat.interval.ms", "300"),
        ])
        .await;
        let (wire, direct) = if store == "postgres.url" {
            let url = deployment.database.url.clone();
            let wire = Wire::to_postgres().await;
            deployment.set(store, &wire.url(&url));
            (wire, url)
        } else {
            let wire = Wire::to_kafka().await;
            deployment.set(store, &wire.address());
            (wire, kafka::brokers())
        };
        let process = deployment.serve(&[]).await;
        let receiver = Receiver::start().await;
        receiver.answer("hook", move |attempt| {
            Answer::status(if attempt <= failures { 503 } else { 200 })
        });
        deployment
            .goal_webhook(&process, "hook.example", &receiver.url("hook"))
            .await;
        deployment.registry_is_read(&process).await;
        let stage = Self {
            deployment,
            wire,
            direct: (store, direct),
            receiver,
        };
        (stage, process)
    }

    async fn goal(&self) {
        self.deployment
            .publish(json!({"site_id": "hook.example", "type": "goal", "name": "held goal"}))
            .await;
    }

    async fn attempts_are_recorded(&self, count: i64) {
        eventually("the attempts are recorded", TIMEOUT, || async {
            let found: i64 = sqlx::query_scalar("select count(*) from delivery_attempts")
                .fetch_one(&self.deployment.database.pool)
                .await
                .unwrap();
            (found == count).then_some(())
        })
        .await;
    }

    /// Waits until a topic has so many records.
    async fn is_published(&self, topic: &str, count: usize) {
        let topic = self.deployment.topic(topic);
        eventually("it is published", TIMEOUT, || async {
            (kafka::read_all(&topic).len() == count).then_some(())
        })
        .await;
    }

    /// Kills the process, starts another one that reaches its stores, and waits for the end.
    async fn kill_and_go_on(&mut self, process: Process, status: &str, attempts: u32) {
        process.kill();
        let (store, direct) = &self.direct;
        self.deployment.set(store, direct);
        let _next = self.deployment.serve(&[]).await;
        eventually("the delivery has ended", TIMEOUT, || async {
            let ended: Vec<String> = sqlx::query_scalar("select status from deliveries")
                .fetch_all(&self.deployment.database.pool)
                .await
                .unwrap();
            (ended == [status]).then_some(())
        })
        .await;
        self.attempts_are_recorded(attempts.into()).await;
        let made: Vec<u32> = self
            .receiver
            .received("hook")
            .iter()
            .map(|one| one.attempt())
            .collect();
        assert_eq!(
            made,
            (1..=attempts).collect::<Vec<_>>(),
            "each attempt is made once"
        );
        let flagged: i64 = sqlx::query_scalar("select count(*) from delivery_attempts where possible_repeat")
            .fetch_one(&self.deployment.database.pool)
            .await
            .unwrap();
        // A retry that was due before its tier changed hands may have been made, as far as is known.
        assert!(flagged < i64::from(attempts), "{flagged}");
        // Published again or not: one due time for each attempt.
        let mut due: BTreeMap<String, HashSet<String>> = BTreeMap::new();
        for tier in ["retry.1s", "retry.2s", "retry.4s"] {
            for record in kafka::read_all(&self.deployment.topic(tier)) {
                let header = |name| kafka::header(&record, name).unwrap().to_owned();
                due.entry(header("bw-attempt"))
                    .or_default()
                    .insert(header("bw-due-at-ms"));
            }
        }
        let forked: HashMap<_, _> = due.iter().filter(|(_, times)| times.len() > 1).collect();
        assert!(forked.is_empty(), "{forked:?}");
    }
}

#[tokio::test]
async fn a_success_committed_and_not_answered_is_not_sent_again() {
    let (mut stage, process) = Stage::begin("postgres.url", 0).await;
    stage.wire.hold_answers_to("held goal");
    stage.goal().await;
    stage.attempts_are_recorded(1).await;
    stage.kill_and_go_on(process, "delivered", 1).await;
}

#[tokio::test]
async fn a_failure_committed_and_not_answered_goes_on_as_it_stands() {
    let (mut stage, process) = Stage::begin("postgres.url", 2).await;
    stage.wire.hold_answers_to("held goal");
    stage.goal().await;
    stage.attempts_are_recorded(1).await;
    stage.kill_and_go_on(process, "delivered", 3).await;
}

#[tokio::test]
async fn a_retry_published_and_not_acknowledged_makes_one_chain() {
    let (mut stage, process) = Stage::begin("kafka.brokers", 2).await;
    // Only retries and dead letters have it.
    stage.wire.hold_answers_to("bw-first-attempt-at-ms");
    stage.goal().await;
    stage.is_published("retry.1s", 1).await;
    stage.kill_and_go_on(process, "delivered", 3).await;
    // It is published again, unless the retry was read before the record it follows.
    let retries = kafka::read_all(&stage.deployment.topic("retry.1s"));
    let due_times: HashSet<_> = retries
        .iter()
        .map(|retry| kafka::header(retry, "bw-due-at-ms").unwrap())
        .collect();
    assert_eq!(due_times.len(), 1, "{due_times:?}");
}

#[tokio::test]
async fn a_dead_letter_published_and_not_acknowledged_ends_one_chain() {
    let (mut stage, process) = Stage::begin("kafka.brokers", u32::MAX).await;
    stage.wire.hold_answers_to("exhausted");
    stage.goal().await;
    stage.is_published("dead-letter", 1).await;
    stage.kill_and_go_on(process, "failed", 4).await;
}

#[tokio::test]
async fn what_no_broker_acknowledges_is_told() {
    let (stage, process) = Stage::begin("kafka.brokers", 0).await;
    // Of the record's texts, one that compression leaves as it is.
    stage.wire.hold_answers_to("held ");
    stage.goal().await;
    let reason = eventually("readyz says it", Duration::from_secs(30), || async {
        let (status, answer) = process.readyz().await?;
        let reason = answer["checks"]["kafka"].as_str()?.to_owned();
        (status == 503 && reason.contains("acknowledged")).then_some(reason)
    })
    .await;
    assert!(reason.contains("(topic deliveries)"), "{reason}");
    let oldest = process.metric("bellwether_produce_oldest_seconds").await;
    assert!(oldest >= 5.0, "{oldest}");
}

#[tokio::test]
async fn a_delivery_published_and_not_acknowledged_is_sent_once() {
    let (mut stage, process) = Stage::begin("kafka.brokers", 0).await;
    stage.wire.hold_answers_to("held ");
    stage.goal().await;
    stage.is_published("deliveries", 1).await;
    stage.attempts_are_recorded(1).await;
    stage.kill_and_go_on(process, "delivered", 1).await;
}
