//! Deliveries that were under way when the schema and the records knew no steps yet.

use std::borrow::Cow;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::migrate::Migrator;
use uuid::Uuid;

use crate::support::app::Deployment;
use crate::support::database::Database;
use crate::support::eventually;
use crate::support::goal_stage::SITE;
use crate::support::kafka::Raw;
use crate::support::receiver::{Answer, Receiver};

const TIMEOUT: Duration = Duration::from_secs(60);
/// The migration that made steps.
const STEPS: i64 = 20_261_128_130_000;
/// Seconds after each attempt until the next.
const DELAYS: [i64; 3] = [1, 2, 4];

/// A delivery of which some attempts were made.
struct UnderWay {
    attempts: i32,
    record: Raw,
}

impl UnderWay {
    fn id(&self) -> Uuid {
        let id: bellwether::domain::id::DeliveryId = self.record.header("bw-delivery-id").parse().unwrap();
        id.uuid()
    }

    /// Writes it as the first schema has it.
    async fn insert(&self, pool: &PgPool) {
        sqlx::query(
            "insert into deliveries (id, notification_id, webhook_id, site_id, event_type, origin, status, attempts,
                 response_code, next_retry_at, payload, created_at, first_attempt_at, inserted_at, updated_at)
             values ($1, $1, $1, $2, 'goal_completion', 'event', 'retrying', $3, 500, now(), $4, now(), now(), now(),
                 now())",
        )
        .bind(self.id())
        .bind(SITE)
        .bind(self.attempts)
        .bind(self.record.body.clone().unwrap())
        .execute(pool)
        .await
        .unwrap();
        for attempt in 1..=self.attempts {
            sqlx::query(
                "insert into delivery_attempts (delivery_id, attempt, due_at, started_at, ended_at, status_code, result,
                     fault, retry_at)
                 values ($1, $2, now(), now(), now(), 500, '5xx', 'endpoint', now())",
            )
            .bind(self.id())
            .bind(attempt)
            .execute(pool)
            .await
            .unwrap();
        }
    }
}

/// A database with the schema from before there were steps.
async fn first_database() -> Database {
    let database = Database::empty().await;
    let all = sqlx::migrate!("./migrations");
    let before: Vec<_> = all.iter().filter(|one| one.version < STEPS).cloned().collect();
    assert!(!before.is_empty() && before.len() < all.iter().count());
    let first = Migrator {
        migrations: Cow::Owned(before),
        ..Migrator::DEFAULT
    };
    first.run(&database.pool).await.unwrap();
    database
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_under_way_keep_their_step_and_attempt() {
    let database = first_database().await;
    let now_ms = chrono::Utc::now().timestamp_millis();
    // For each number of attempts: the next one's record waits on a tier; or it was never
    // published, and the record of the last one is read again.
    let under_way: Vec<UnderWay> = [1, 2, 3, 1, 2, 3]
        .into_iter()
        .enumerate()
        .map(|(index, attempts)| {
            let attempt = if index < 3 { attempts + 1 } else { attempts };
            let record = Raw::delivery("", "", SITE, now_ms)
                .with("bw-attempt", &attempt.to_string())
                .with("bw-due-at-ms", &now_ms.to_string());
            UnderWay { attempts, record }
        })
        .collect();
    for one in &under_way {
        one.insert(&database.pool).await;
    }
    let deployment = Deployment::create_in(database, &[]).await;
    let pool = &deployment.database.pool;
    let steps: Vec<(i32, i32)> = sqlx::query_as("select attempts, step from deliveries")
        .fetch_all(pool)
        .await
        .unwrap();
    assert!(
        steps.len() == 6 && steps.iter().all(|(attempts, step)| attempts == step),
        "{steps:?}"
    );
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    receiver.answer("hook", |_| Answer::status(500));
    // As many failures open no circuit.
    let body = serde_json::json!({"name": "goals", "url": receiver.url("hook"), "events": ["goal_completion"],
                                  "failure_threshold": 100});
    let webhook = deployment.create_webhook(&process, SITE, body).await;
    let webhook = webhook["id"].as_str().unwrap();
    let id: bellwether::domain::id::WebhookId = webhook.parse().unwrap();
    // As if the webhook had been there before its deliveries.
    for sql in [
        "update deliveries set webhook_id = $1",
        "update webhooks set active_since = now() - interval '1 hour', updated_at = now() where id = $1",
    ] {
        sqlx::query(sql).bind(id.uuid()).execute(pool).await.unwrap();
    }
    deployment.registry_is_read(&process).await;
    for one in under_way.iter() {
        let tier = ["1s", "2s", "4s"][usize::try_from(one.attempts).unwrap() - 1];
        let record = Raw {
            topic: deployment.topic(&format!("retry.{tier}")),
            key: Some(webhook.into()),
            ..one.record.clone()
        };
        record.publish(&deployment.producer).await;
    }
    eventually("all have failed", TIMEOUT, || async {
        let failed = sqlx::query_scalar::<_, i64>("select count(*) from deliveries where status = 'failed'");
        (failed.fetch_one(pool).await.unwrap() == 6).then_some(())
    })
    .await;
    for one in &under_way {
        went_on(pool, one).await;
    }
    // Nothing that was recorded before was sent.
    let expected: i32 = under_way.iter().map(|one| 4 - one.attempts).sum();
    assert_eq!(receiver.all().len(), usize::try_from(expected).unwrap());
}

/// Checks that a delivery had four attempts, the later ones after the delays of their steps.
async fn went_on(pool: &PgPool, one: &UnderWay) {
    let query =
        "select attempt, (extract(epoch from retry_at - ended_at) * 1000)::bigint from delivery_attempts
         where delivery_id = $1 order by attempt";
    let made: Vec<(i32, Option<i64>)> = sqlx::query_as(query)
        .bind(one.id())
        .fetch_all(pool)
        .await
        .unwrap();
    let numbers: Vec<i32> = made.iter().map(|(attempt, _)| *attempt).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    for (attempt, delay_ms) in &made[usize::try_from(one.attempts).unwrap()..] {
        let delay = DELAYS.get(usize::try_from(*attempt).unwrap() - 1);
        let seconds = delay_ms.map(|ms| (ms + 500) / 1_000);
        assert_eq!(seconds, delay.copied(), "attempt {attempt} of {made:?}");
    }
}
