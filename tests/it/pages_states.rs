//! Rows for every state of the pages, written as deliverer and detector would write them.

use bellwether::domain::id::DeliveryId;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

/// A delivery to be written.
pub(crate) struct Written<'a> {
    pub(crate) webhook: Uuid,
    pub(crate) site: &'a str,
    pub(crate) event: &'a str,
    pub(crate) data: Value,
    pub(crate) status: &'a str,
    pub(crate) result: Option<&'a str>,
    pub(crate) code: Option<i32>,
    pub(crate) parked: Option<&'a str>,
    pub(crate) attempts: i32,
    pub(crate) response: &'a str,
    pub(crate) at: DateTime<Utc>,
}

impl Written<'_> {
    /// Writes it with its attempts and returns its id.
    pub(crate) async fn write(&self, pool: &PgPool, number: u64) -> String {
        let ms = u64::try_from(self.at.timestamp_millis()).expect("after 1970");
        let rest = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let id = Uuid::new_v8((u128::from(ms) << 80 | u128::from(rest)).to_be_bytes());
        let body = json!({"id": "evt_x", "event": self.event, "site_id": self.site, "data": self.data});
        let retry = (self.status == "retrying").then(|| Utc::now() + TimeDelta::minutes(2));
        let reason = match self.status {
            "failed" => Some("exhausted"),
            "cancelled" => Some("disabled"),
            _ => None,
        };
        sqlx::query(
            "insert into deliveries (id, notification_id, webhook_id, site_id, event_type, origin, status, attempts,
                 response_code, failure_reason, next_retry_at, parked_until, parked_reason, payload, created_at,
                 first_attempt_at, inserted_at, updated_at)
             values ($1, $1, $2, $3, $4, 'event', $5, $6, $7, $8, $9, $10, $11, $12, $13, $13, $13, $13)",
        )
        .bind(id)
        .bind(self.webhook)
        .bind(self.site)
        .bind(self.event)
        .bind(self.status)
        .bind(self.attempts)
        .bind(self.code)
        .bind(reason)
        .bind(retry)
        .bind(self.parked.map(|_| Utc::now() + TimeDelta::minutes(9)))
        .bind(self.parked)
        .bind(body.to_string().into_bytes())
        .bind(self.at)
        .execute(pool)
        .await
        .expect("a delivery");
        for attempt in 1..=self.attempts {
            self.write_attempt(pool, id, attempt).await;
        }
        DeliveryId::from_uuid(id).to_string()
    }

    async fn write_attempt(&self, pool: &PgPool, id: Uuid, attempt: i32) {
        let began = self.at + TimeDelta::seconds((1 << attempt) - 2);
        let result = self.result.unwrap_or("2xx");
        let took = if result == "timeout" { 30_002 } else { 84 };
        sqlx::query(
            "insert into delivery_attempts (delivery_id, attempt, due_at, started_at, ended_at, status_code, result,
                 fault, error, response, url_masked, remote_address, dns_ms, connect_ms, tls_ms, response_ms, total_ms)
             values ($1, $2, $3, $3, $4, $5, $6, $7, $8, $9, 'https://hooks.example.com/…9f2c', '203.0.113.7',
                 1, 12, 20, 51, $10)",
        )
        .bind(id)
        .bind(attempt)
        .bind(began)
        .bind(began + TimeDelta::milliseconds(took))
        .bind(self.code)
        .bind(result)
        .bind(if result == "2xx" { "none" } else { "endpoint" })
        .bind((self.code.is_none() && result != "2xx").then_some("no answer within 30 s"))
        .bind(self.response.as_bytes())
        .bind(i32::try_from(took).expect("small"))
        .execute(pool)
        .await
        .expect("an attempt");
    }
}

/// Writes the health of a webhook; `since` ago.
pub(crate) async fn set_health(
    pool: &PgPool,
    webhook: Uuid,
    state: &str,
    failures: i32,
    waiting: i64,
    since: TimeDelta,
) {
    let now = Utc::now();
    let probe = (state == "open").then(|| now + TimeDelta::minutes(12));
    sqlx::query(
        "insert into webhook_health (webhook_id, state, reason, since, consecutive_failures, last_success_at,
             next_probe_at, waiting)
         values ($1, $2, null, $3, $4, $5, $6, $7)
         on conflict (webhook_id) do update set state = $2, reason = null, since = $3, consecutive_failures = $4,
             last_success_at = $5, next_probe_at = $6, waiting = $7",
    )
    .bind(webhook)
    .bind(state)
    .bind(now - since)
    .bind(failures)
    .bind((state != "new").then(|| now - TimeDelta::minutes(2)))
    .bind(probe)
    .bind(waiting)
    .execute(pool)
    .await
    .expect("health");
}

/// Writes the present of a site with a firing trigger of this webhook.
pub(crate) async fn set_now(pool: &PgPool, site: &str, webhook: &str) {
    let now = Utc::now();
    let triggers = json!([{"webhook_id": webhook, "event": "visitor_spike", "state": "firing",
        "since": now - TimeDelta::minutes(4), "threshold": 300}]);
    let baseline = json!({"status": "ready", "current": 512, "expected": 80.4, "change_percent": 537,
        "score": 6.1, "samples": 4});
    sqlx::query(
        "insert into site_now (site_id, current_visitors, as_of, baseline, triggers, updated_at)
         values ($1, 512, $2, $3, $4, $2)
         on conflict (site_id) do update set triggers = $4",
    )
    .bind(site)
    .bind(now)
    .bind(baseline)
    .bind(triggers)
    .execute(pool)
    .await
    .expect("now");
    sqlx::query("update sites set last_event_at = $2 where site_id = $1")
        .bind(site)
        .bind(now)
        .execute(pool)
        .await
        .expect("a site");
    let hour = |ago: i64| (now - TimeDelta::hours(ago)).timestamp() / 3_600 * 3_600;
    for ago in 0..4_i64 {
        // A wave between 60 and 100 visitors: each minute one byte.
        let minutes: Vec<u8> = (0..60_u8)
            .map(|minute| 60 + ((i64::from(minute) * 7 + ago * 13) % 40) as u8)
            .collect();
        sqlx::query(
            "insert into site_activity (site_id, hour, minutes, covered, median, events, goals, updated_at)
             values ($1, to_timestamp($2), $3, $4, 80, 1000, '{}', now()) on conflict do nothing",
        )
        .bind(site)
        .bind(hour(ago) as f64)
        .bind(minutes)
        .bind((1_i64 << 60) - 1 - (0b1111 << 20))
        .execute(pool)
        .await
        .expect("activity");
    }
    for (number, minutes, lasted) in [(1_u128, 4, None), (2, 170, Some(41)), (3, 3_000, Some(12))] {
        let started = now - TimeDelta::minutes(minutes);
        sqlx::query(
            "insert into episodes (id, site_id, event_type, trigger, webhook_ids, started_at, ended_at, peak,
                 threshold, expected, score, notification_id, updated_at)
             values ($1, $2, 'visitor_spike', '{}', $3, $4, $5, 512, 300, 80, 6.1, $1, $4) on conflict do nothing",
        )
        .bind(Uuid::from_u128(u128::from(now.timestamp_millis() as u64) << 80 | number))
        .bind(site)
        .bind(vec![webhook.parse::<bellwether::domain::id::WebhookId>().expect("an id").uuid()])
        .bind(started)
        .bind(lasted.map(|lasted| started + TimeDelta::minutes(lasted)))
        .execute(pool)
        .await
        .expect("an episode");
    }
}
