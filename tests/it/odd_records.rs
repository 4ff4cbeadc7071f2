//! Records on Bellwether's own topics that are not as they should be: none of them stops the
//! stream.

use std::ffi::CString;
use std::time::Duration;

use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::{ClientConfig, Message as _};
use rdkafka_sys as sys;
use serde_json::json;

use crate::support::eventually;
use crate::support::goal_stage::{GoalStage, SITE};
use crate::support::kafka::{self, Raw};

const TIMEOUT: Duration = Duration::from_secs(60);

impl GoalStage {
    /// A good record on `deliveries`, decided now.
    fn record(&self) -> Raw {
        let topic = self.deployment.topic("deliveries");
        Raw::delivery(&topic, &self.webhook, SITE, now_ms())
    }

    async fn publish(&self, record: Raw) {
        record.publish(&self.deployment.producer).await;
    }

    async fn dead_letters(&self, count: usize) -> Vec<rdkafka::message::OwnedMessage> {
        let topic = self.deployment.topic("dead-letter");
        eventually(&format!("{count} dead letters"), TIMEOUT, || async {
            let all = kafka::read_all(&topic);
            (all.len() == count).then_some(all)
        })
        .await
    }

    /// Waits until everything on `deliveries` but `open` records is complete and committed.
    async fn lag_is(&self, open: f64) {
        let topic = self.deployment.topic("deliveries");
        let series = format!("bellwether_consumer_lag_records{{group=\"deliver\",topic=\"{topic}\"}}");
        self.process.metric_is(&series, open).await;
    }

    /// Waits until nothing of `deliveries` is left for a next owner. The lag may be an older one.
    async fn all_is_committed(&self) {
        let (group, topic) = (
            self.deployment.topic("deliver"),
            self.deployment.topic("deliveries"),
        );
        eventually("all is committed", TIMEOUT, || async {
            (kafka::uncommitted(&group, &topic) == 0).then_some(())
        })
        .await;
    }
}

fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

#[tokio::test]
async fn an_unreadable_record_is_a_dead_letter_and_stops_nothing() {
    let stage = GoalStage::start(&[], json!({})).await;
    let good = || stage.record();
    let without = |name: &str| {
        let mut record = good();
        record.headers.retain(|(one, _)| one != name);
        record
    };
    let bad = [
        (without("bw-version"), "missing_header"),
        (without("bw-attempt"), "missing_header"),
        (good().with("bw-version", "zero"), "bad_header"),
        (good().with("bw-attempt", "0"), "bad_header"),
        (good().with("bw-event-type", "no word"), "bad_header"),
        (good().with("bw-created-at-ms", "-9000000000000000"), "bad_header"),
        (Raw { key: None, ..good() }, "bad_key"),
        (
            Raw {
                key: Some(b"\xff".to_vec()),
                ..good()
            },
            "bad_key",
        ),
        (Raw { body: None, ..good() }, "no_body"),
    ];
    let (count, mut reasons) = (bad.len(), Vec::new());
    for (record, reason) in bad {
        stage.publish(record).await;
        reasons.push(reason);
    }
    publish_with_odd_header(good());
    stage.receiver.wait_for("hook", 1).await;
    stage.publish(good()).await;
    stage.receiver.wait_for("hook", 2).await;
    let mut letters = stage.dead_letters(count).await;
    letters.sort_by_key(|letter| {
        kafka::header(letter, "bw-original-offset")
            .unwrap()
            .parse::<i64>()
            .unwrap()
    });
    let topic = stage.deployment.topic("deliveries");
    for (letter, reason) in letters.iter().zip(&reasons) {
        assert_eq!(kafka::header(letter, "bw-reason"), Some(*reason));
        assert_eq!(kafka::header(letter, "bw-original-topic"), Some(topic.as_str()));
        assert_eq!(kafka::header(letter, "bw-original-partition"), Some("0"));
        // What it said of itself is still there.
        assert_eq!(kafka::header(letter, "bw-site-id"), Some(SITE));
    }
    assert_eq!(kafka::header(&letters[2], "bw-version"), Some("zero"));
    assert_eq!(letters[7].key(), Some(b"\xff".as_slice()));
    assert_eq!((letters[6].key(), letters[8].payload()), (None, None));
    let series = format!("bellwether_unreadable_records_total{{topic=\"{topic}\"}}");
    assert_eq!(stage.process.metric(&series).await, count as f64);
    stage.lag_is(0.0).await;
}

/// Publishes a record with one header more, whose name is not UTF-8: `rdkafka` has no way to.
#[expect(unsafe_code, reason = "librdkafka's C functions")]
fn publish_with_odd_header(record: Raw) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka::brokers())
        .create()
        .unwrap();
    let client = producer.client().native_ptr();
    let topic = CString::new(record.topic).unwrap();
    let (key, body) = (record.key.unwrap(), record.body.unwrap());
    let odd = (b"\xff\xfe".to_vec(), b"x".to_vec());
    let headers = record
        .headers
        .into_iter()
        .map(|(name, value)| (name.into_bytes(), value));
    // SAFETY: everything pointed to outlives the calls; librdkafka copies the value (MSG_F_COPY),
    // and owns the headers once it has taken the record.
    unsafe {
        let list = sys::rd_kafka_headers_new(16);
        for (name, value) in headers.chain([odd]) {
            sys::rd_kafka_header_add(
                list,
                name.as_ptr().cast(),
                name.len().cast_signed(),
                value.as_ptr().cast(),
                value.len().cast_signed(),
            );
        }
        let error = sys::rd_kafka_producev(
            client,
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_TOPIC,
            topic.as_ptr(),
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_PARTITION,
            0_i32,
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_MSGFLAGS,
            sys::RD_KAFKA_MSG_F_COPY,
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_KEY,
            key.as_ptr(),
            key.len(),
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_VALUE,
            body.as_ptr(),
            body.len(),
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADERS,
            list,
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_END,
        );
        assert_eq!(error, sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    producer.flush(TIMEOUT).unwrap();
}

#[tokio::test]
async fn a_newer_record_is_held_back_and_what_follows_it_too() {
    let mut stage = GoalStage::start(&[], json!({})).await;
    stage.publish(stage.record()).await;
    stage.receiver.wait_for("hook", 1).await;
    stage.lag_is(0.0).await;
    stage.publish(stage.record().with("bw-version", "2")).await;
    stage.publish(stage.record()).await;
    let topic = stage.deployment.topic("deliveries");
    let held = format!("bellwether_newer_records_held{{topic=\"{topic}\"}}");
    stage.process.metric_is(&held, 1.0).await;
    // Other partitions go on.
    stage
        .publish(Raw {
            partition: 1,
            ..stage.record()
        })
        .await;
    stage.receiver.wait_for("hook", 2).await;
    stage.lag_is(2.0).await;
    assert!(stage.process.log_text().contains("finish the upgrade"));
    // After a rebalance there is still one, and after a restart of this version it is still held.
    let other = stage.deployment.serve(&["--roles", "deliver"]).await;
    other
        .metric_is("bellwether_consumer_partitions{group=\"deliver\"}", 2.0)
        .await;
    stage
        .process
        .metric_is("bellwether_consumer_partitions{group=\"deliver\"}", 2.0)
        .await;
    eventually("one of the two holds it", TIMEOUT, || async {
        let both = other.try_metric(&held).await.unwrap_or(0.0) + stage.process.metric(&held).await;
        (both == 1.0).then_some(())
    })
    .await;
    for mut process in [
        std::mem::replace(&mut stage.process, other),
        stage.deployment.serve(&[]).await,
    ] {
        process.terminate();
        assert!(process.ended(TIMEOUT).await.success());
    }
    stage.process.metric_is(&held, 1.0).await;
    assert_eq!(stage.receiver.received("hook").len(), 2);
}

#[tokio::test]
async fn an_outcome_refused_by_postgres_holds_up_no_other() {
    let stage = GoalStage::start(&[], json!({})).await;
    // A rule of tomorrow's schema, say: one webhook's rows are refused.
    let poison = stage
        .deployment
        .create_webhook(
            &stage.process,
            "poison.example",
            json!({"name": "poison", "url": stage.receiver.url("poison"), "events": ["goal_completion"]}),
        )
        .await;
    sqlx::query(
        "alter table deliveries add constraint refused check (site_id <> 'poison.example') not valid",
    )
    .execute(&stage.deployment.database.pool)
    .await
    .unwrap();
    stage.deployment.registry_is_read(&stage.process).await;
    let topic = stage.deployment.topic("deliveries");
    for n in 0..20 {
        if n % 7 == 3 {
            let id = poison["id"].as_str().unwrap();
            stage
                .publish(Raw::delivery(&topic, id, "poison.example", now_ms()))
                .await;
        } else {
            stage.publish(stage.record()).await;
        }
    }
    stage
        .process
        .metric_is(
            "bellwether_deliveries_total{event=\"goal_completion\",status=\"delivered\"}",
            17.0,
        )
        .await;
    let letters = stage.dead_letters(3).await;
    assert!(
        letters
            .iter()
            .all(|letter| kafka::header(letter, "bw-reason") == Some("unrecordable"))
    );
    assert_eq!(stage.receiver.received("poison").len(), 3);
    stage.lag_is(0.0).await;
}

#[tokio::test]
async fn what_is_too_old_is_failed_unsent_as_expired() {
    let mut stage = GoalStage::start(&[], json!({"max_age_seconds": 60})).await;
    // It was there when they were decided.
    sqlx::query("update webhooks set active_since = now() - interval '1 day'")
        .execute(&stage.deployment.database.pool)
        .await
        .unwrap();
    stage.deployment.registry_is_read(&stage.process).await;
    let topic = stage.deployment.topic("deliveries");
    stage
        .publish(Raw::delivery(&topic, &stage.webhook, SITE, now_ms() - 120_000))
        .await;
    let letters = stage.dead_letters(1).await;
    assert_eq!(kafka::header(&letters[0], "bw-reason"), Some("expired"));
    assert_eq!(kafka::header(&letters[0], "bw-attempt"), Some("0"));
    assert_eq!(kafka::header(&letters[0], "bw-first-attempt-at-ms"), None);
    let row: (String, i32, Option<String>) =
        sqlx::query_as("select status, attempts, failure_reason from deliveries")
            .fetch_one(&stage.deployment.database.pool)
            .await
            .unwrap();
    assert_eq!(row, ("failed".to_owned(), 0, Some("expired".to_owned())));
    assert!(stage.receiver.received("hook").is_empty());
    stage.lag_is(0.0).await;
    // The endpoint has done nothing. What is known of its health is written at the end at the
    // latest.
    stage.process.terminate();
    assert!(stage.process.ended(TIMEOUT).await.success());
    let failures: i32 =
        sqlx::query_scalar("select coalesce(max(consecutive_failures), 0) from webhook_health")
            .fetch_one(&stage.deployment.database.pool)
            .await
            .unwrap();
    assert_eq!(failures, 0);
}

/// A stage whose process has read one record and was stopped, and the topic with three more.
async fn stopped_before_three_records() -> (GoalStage, String) {
    let mut stage = GoalStage::start(&[], json!({})).await;
    stage.publish(stage.record()).await;
    stage.receiver.wait_for("hook", 1).await;
    stage.all_is_committed().await;
    stage.process.terminate();
    assert!(stage.process.ended(TIMEOUT).await.success());
    for _ in 0..3 {
        stage.publish(stage.record()).await;
    }
    let topic = stage.deployment.topic("deliveries");
    (stage, topic)
}

#[tokio::test]
async fn what_was_removed_before_it_was_read_is_counted() {
    let (mut stage, topic) = stopped_before_three_records().await;
    kafka::delete_before(&topic, 0, 3).await;
    stage.process = stage.deployment.serve(&[]).await;
    stage.receiver.wait_for("hook", 2).await;
    let missed = format!("bellwether_records_missed_total{{topic=\"{topic}\"}}");
    stage.process.metric_is(&missed, 2.0).await;
    stage.lag_is(0.0).await;
}

#[tokio::test]
async fn what_was_removed_is_counted_though_nothing_follows() {
    let (mut stage, topic) = stopped_before_three_records().await;
    kafka::delete_all(&topic, 0).await;
    stage.process = stage.deployment.serve(&[]).await;
    let missed = format!("bellwether_records_missed_total{{topic=\"{topic}\"}}");
    stage.process.metric_is(&missed, 3.0).await;
    stage.lag_is(0.0).await;
    assert!(
        stage
            .process
            .log_text()
            .contains("records were removed before they were read")
    );
    let (_, answer) = stage.process.readyz().await.unwrap();
    let notice = format!("3 records of {topic} were removed by Kafka before they were read");
    assert!(answer["notices"].to_string().contains(&notice), "{answer}");
    // Neither what comes behind it nor the next owner counts it once more.
    stage.publish(stage.record()).await;
    stage.receiver.wait_for("hook", 2).await;
    assert_eq!(stage.process.metric(&missed).await, 3.0);
    stage.all_is_committed().await;
    stage.process.terminate();
    assert!(stage.process.ended(TIMEOUT).await.success());
    stage.process = stage.deployment.serve(&[]).await;
    stage.publish(stage.record()).await;
    stage.receiver.wait_for("hook", 3).await;
    assert_eq!(stage.process.metric(&missed).await, 0.0);
}

#[tokio::test]
async fn an_absurd_due_time_is_clamped_and_counted() {
    let stage = GoalStage::start(&[], json!({})).await;
    let tier = stage.deployment.topic("retry.1s");
    let in_a_week = (now_ms() + 7 * 86_400_000).to_string();
    let record = Raw::delivery(&tier, &stage.webhook, SITE, now_ms())
        .with("bw-attempt", "2")
        .with("bw-due-at-ms", &in_a_week);
    stage.publish(record).await;
    stage.process.metric_is("bellwether_due_clamped_total", 1.0).await;
    // Nothing is due later than 1.2 days, and nothing so late stays on the tier.
    let hours: f64 = eventually("it is parked", TIMEOUT, || async {
        sqlx::query_scalar(
            "select (extract(epoch from due_at - now()) / 3600)::float8 from parked where reason = 'far_due'",
        )
        .fetch_optional(&stage.deployment.database.pool)
        .await
        .unwrap()
    })
    .await;
    assert!((28.0..=28.8).contains(&hours), "{hours}");
    assert!(stage.receiver.received("hook").is_empty());
}

#[tokio::test]
async fn a_record_too_large_for_a_dead_letter_is_cut_there() {
    let stage = GoalStage::start(&[], json!({})).await;
    let topic = stage.deployment.topic("deliveries");
    // The broker takes it, and not with the headers of a dead letter.
    let producer: rdkafka::producer::FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka::brokers())
        .set("message.max.bytes", "2000000")
        .create()
        .unwrap();
    let junk = vec![b'x'; 999_900];
    kafka::publish(&producer, &topic, "junk", &junk).await;
    let letter = stage.dead_letters(1).await.remove(0);
    assert_eq!(letter.payload().map(<[u8]>::len), Some(65_536));
    assert_eq!(kafka::header(&letter, "bw-truncated"), Some("999900"));
    assert_eq!(kafka::header(&letter, "bw-original-topic"), Some(topic.as_str()));
    stage.lag_is(0.0).await;
}
