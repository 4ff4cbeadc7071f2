//! A webhook's history: pages, filters, one delivery with its attempts.

use std::collections::BTreeSet;
use std::time::Duration;

use bellwether::domain::id::{DeliveryId, NotificationId, NotificationKind, WebhookId};
use bellwether::record::migrate;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::api_support::{Api, text};
use crate::record_support::{DAY_MS, NOON_MS, add_webhook, keyring};
use crate::support::eventually;

/// A delivery to insert: its time, and a number that makes its id unique.
struct NewDelivery<'a> {
    at_ms: i64,
    key: u32,
    status: &'a str,
    event: &'a str,
}

async fn insert(pool: &PgPool, webhook: WebhookId, new: NewDelivery<'_>) -> DeliveryId {
    let notification = NotificationId::derive(
        new.at_ms,
        "example.com",
        new.event,
        NotificationKind::Each,
        &[&new.key.to_be_bytes()],
    );
    let id = DeliveryId::derive(notification, webhook);
    sqlx::query(
        "insert into deliveries (id, notification_id, webhook_id, site_id, event_type, origin, status, payload,
             created_at, inserted_at, updated_at)
         values ($1, $2, $3, 'example.com', $4, 'event', $5, $6, $7, $7, $7)",
    )
    .bind(id.uuid())
    .bind(notification.uuid())
    .bind(webhook.uuid())
    .bind(new.event)
    .bind(new.status)
    .bind(br#"{"id":"evt_1",  "event":"visitor_spike","data":{"n":1.50}}"#.as_slice())
    .bind(DateTime::<Utc>::from_timestamp_millis(new.at_ms).expect("a time"))
    .execute(pool)
    .await
    .expect("inserted");
    id
}

/// Inserts a delivery of a spike at noon.
pub(crate) async fn insert_delivery(pool: &PgPool, webhook: WebhookId, key: u32, status: &str) -> DeliveryId {
    let new = NewDelivery {
        at_ms: NOON_MS,
        key,
        status,
        event: "visitor_spike",
    };
    insert(pool, webhook, new).await
}

/// Gives the one delivery two attempts that failed, and the time of its next one.
pub(crate) async fn insert_attempts(pool: &PgPool, id: DeliveryId) {
    sqlx::query(
        "update deliveries set attempts = 2, response_code = 500, next_retry_at = to_timestamp(1771934403.5)",
    )
    .execute(pool)
    .await
    .expect("updated");
    for attempt in [2, 1] {
        sqlx::query(
            "insert into delivery_attempts (delivery_id, attempt, due_at, started_at, headers_at, ended_at, status_code,
                 result, fault, error, response, remote_address, possible_repeat, dns_ms, total_ms, url_masked)
             values ($1, $2, to_timestamp(1771934400), to_timestamp(1771934400.005), to_timestamp(1771934400.080),
                 to_timestamp(1771934400.101), 500, '5xx', 'endpoint', 'HTTP 500', $3, '192.0.2.1:443', $2 = 2, 3, 96,
                 'https://hooks.example.com/…9f2c')",
        )
        .bind(id.uuid())
        .bind(attempt)
        .bind(b"oh \xff no\0".as_slice())
        .execute(pool)
        .await
        .expect("inserted");
    }
}

pub(crate) async fn api_with_webhook(pool: &PgPool) -> (Api, WebhookId, String) {
    let mut conn = pool.acquire().await.expect("connection");
    migrate::ensure_partitions_around(&mut conn, NOON_MS)
        .await
        .expect("made");
    let webhook = add_webhook(&mut conn, &keyring(&[("a", 1)]), "example.com", "one").await;
    let api = Api::start(pool.clone()).await;
    (
        api,
        webhook,
        format!("/api/sites/example.com/webhooks/{webhook}/deliveries"),
    )
}

fn ids(page: &Value) -> Vec<String> {
    page["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|delivery| text(&delivery["id"]).to_owned())
        .collect()
}

#[sqlx::test]
async fn pages_hold_every_delivery_once_while_others_arrive(pool: PgPool) {
    let (api, webhook, path) = api_with_webhook(&pool).await;
    let mut key = 0;
    // Deliveries of seven days in no order, several in one millisecond, and one outside every day's
    // partition.
    let mut there = BTreeSet::new();
    for n in 0..120_i64 {
        key += 1;
        let at_ms = NOON_MS - (n * 7_919) % 7 * DAY_MS + n % 3;
        there.insert(
            insert(
                &pool,
                webhook,
                NewDelivery {
                    at_ms,
                    key,
                    status: "delivered",
                    event: "visitor_spike",
                },
            )
            .await,
        );
    }
    let wild = NewDelivery {
        at_ms: NOON_MS + 400 * DAY_MS,
        key: 0,
        status: "failed",
        event: "visitor_spike",
    };
    there.insert(insert(&pool, webhook, wild).await);

    for limit in [1, 7, 50, 120, 250] {
        let before = there.clone();
        let mut seen: Vec<String> = Vec::new();
        let mut after = String::new();
        loop {
            let page = api.get(&format!("{path}?limit={limit}&after={after}")).await;
            assert_eq!(page.status, 200, "{}", page.body);
            let page_ids = ids(&page.body);
            assert!(page_ids.len() <= limit);
            seen.extend(page_ids);
            for at_ms in [NOON_MS + i64::from(key), NOON_MS - 3 * DAY_MS + i64::from(key)] {
                key += 1;
                if key % 10 == 0 {
                    let new = NewDelivery {
                        at_ms,
                        key,
                        status: "pending",
                        event: "goal_completion",
                    };
                    there.insert(insert(&pool, webhook, new).await);
                }
            }
            match page.body["next"].as_str() {
                Some(next) => after = next.to_owned(),
                None => break,
            }
        }
        let once: BTreeSet<String> = seen.iter().cloned().collect();
        assert_eq!(once.len(), seen.len(), "none comes twice, {limit} a page");
        assert!(seen.is_sorted_by(|newer, older| newer > older), "newest first");
        assert!(
            before.iter().all(|id| once.contains(&id.to_string())),
            "none is missing, {limit} a page"
        );
    }
}

#[sqlx::test]
async fn a_page_has_fifty_deliveries_and_the_last_no_next(pool: PgPool) {
    let (api, webhook, path) = api_with_webhook(&pool).await;
    assert_eq!(api.get(&path).await.body, json!({"data": [], "next": null}));
    for key in 0..60 {
        insert_delivery(&pool, webhook, key, "delivered").await;
    }
    let first = api.get(&path).await.body;
    assert_eq!(ids(&first).len(), 50);
    let second = api
        .get(&format!("{path}?after={}", text(&first["next"])))
        .await
        .body;
    assert_eq!((ids(&second).len(), &second["next"]), (10, &Value::Null));
    let exact = api.get(&format!("{path}?limit=60")).await.body;
    assert_eq!(
        (ids(&exact).len(), &exact["next"]),
        (60, &Value::Null),
        "no page follows that would be empty"
    );
}

#[sqlx::test]
async fn history_is_filtered_by_status_event_and_time(pool: PgPool) {
    let (api, webhook, path) = api_with_webhook(&pool).await;
    let rows = [
        (0, "delivered", "visitor_spike"),
        (0, "failed", "goal_completion"),
        (1, "cancelled", "goal_completion"),
        (2, "pending", "custom_event"),
        (3, "retrying", "visitor_spike"),
    ];
    for (key, (day, status, event)) in (0..).zip(rows) {
        insert(
            &pool,
            webhook,
            NewDelivery {
                at_ms: NOON_MS - day * DAY_MS,
                key,
                status,
                event,
            },
        )
        .await;
    }
    for (query, wanted) in [
        ("", 5),
        ("?status=&event=&since=&limit=&after=", 5),
        ("?status=failed", 1),
        ("?status=failed,cancelled", 2),
        ("?event=visitor_spike", 2),
        ("?event=visitor_spike&status=retrying", 1),
        ("?event=test", 0),
        ("?since=2026-02-24T12:00:00Z", 2),
        ("?since=2026-02-24T12:00:00.001Z", 0),
        ("?since=2026-02-23T13:00:00%2B01:00", 3),
        ("?since=2026-02-23T13:00:00+01:00", 3),
        (
            "?since=2026-02-22T12:00:00Z&event=goal_completion&status=failed",
            1,
        ),
    ] {
        let page = api.get(&format!("{path}{query}")).await;
        assert_eq!(page.status, 200, "{query}: {}", page.body);
        assert_eq!(ids(&page.body).len(), wanted, "{query}");
    }
    let bad = api
        .get(&format!(
            "{path}?status=lost&event=nope&since=yesterday&limit=251&after=dlv_1&page=2&page=3"
        ))
        .await;
    let wanted = [
        ("/page", "unknown_field"),
        ("/page", "unknown_field"),
        ("/since", "invalid"),
        ("/status", "unknown"),
        ("/event", "unknown"),
        ("/after", "invalid"),
        ("/limit", "out_of_range"),
    ];
    assert_eq!(bad.errors(), wanted);
}

#[sqlx::test]
async fn one_delivery_is_shown_with_its_payload_and_every_attempt(pool: PgPool) {
    let (api, webhook, path) = api_with_webhook(&pool).await;
    let id = insert_delivery(&pool, webhook, 1, "retrying").await;
    insert_attempts(&pool, id).await;
    let listed = api.get(&path).await.body["data"][0].clone();
    let one = api.get(&format!("{path}/{id}")).await;
    assert_eq!(one.status, 200, "{}", one.body);
    let mut body = one.body;
    let fields = body.as_object_mut().expect("an object");
    let log = fields.remove("attempt_log").expect("a log");
    assert_eq!(fields.remove("resends"), Some(json!([])));
    assert_eq!(body, listed, "nothing else differs");
    assert_eq!(body["id"], id.to_string());
    assert!(text(&body["notification_id"]).starts_with("evt_"));
    assert_eq!(body["webhook_id"], webhook.to_string());
    assert_eq!(
        (&body["status"], &body["attempts"], &body["response_code"]),
        (&json!("retrying"), &json!(2), &json!(500))
    );
    assert_eq!(body["next_retry_at"], "2026-02-24T12:00:03.500Z");
    assert_eq!(
        (&body["parked_reason"], &body["resend_of"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(body["payload"]["data"]["n"], 1.5);
    assert_eq!(log.as_array().expect("a list").len(), 2);
    assert_eq!(
        log[0],
        json!({
            "attempt": 1, "response_code": 500, "result": "5xx", "fault": "endpoint", "error": "HTTP 500",
            "url": "https://hooks.example.com/…9f2c", "remote_address": "192.0.2.1:443",
            "due_at": "2026-02-24T12:00:00.000Z", "started_at": "2026-02-24T12:00:00.005Z",
            "headers_at": "2026-02-24T12:00:00.080Z", "ended_at": "2026-02-24T12:00:00.101Z", "retry_at": null,
            "possible_repeat": false, "dns_ms": 3, "connect_ms": null, "tls_ms": null, "response_ms": null,
            "total_ms": 96, "response": "oh \u{fffd} no\0",
        })
    );
    assert_eq!(log[1]["possible_repeat"], true);

    // The payload is the signed body, byte for byte.
    let raw = api
        .request("GET", &format!("{path}/{id}"))
        .bearer_auth(&api.token)
        .send()
        .await
        .expect("an answer");
    let raw = raw.text().await.expect("text");
    assert!(
        raw.contains(r#""payload":{"id":"evt_1",  "event":"visitor_spike","data":{"n":1.50}}"#),
        "{raw}"
    );
}

#[sqlx::test]
async fn a_delivery_is_found_under_its_own_webhook_only(pool: PgPool) {
    let (api, webhook, path) = api_with_webhook(&pool).await;
    let mut conn = pool.acquire().await.expect("connection");
    let other = add_webhook(&mut conn, &keyring(&[("a", 1)]), "example.com", "two").await;
    let id = insert_delivery(&pool, webhook, 1, "delivered").await;
    let elsewhere = path.replace(&webhook.to_string(), &other.to_string());
    for wrong in [
        format!("{elsewhere}/{id}"),
        format!("{path}/dlv_01h455vb4pex5vsknk084sn02q"),
        format!("{path}/{}", text(&json!(id)).replace("dlv_", "evt_")),
        format!("{path}/1"),
        format!("{}/{id}", path.replace("example.com", "example.org")),
        path.replace("example.com", "example.org"),
    ] {
        assert_eq!(api.get(&wrong).await.status, 404, "{wrong}");
    }
    assert_eq!(api.get(&elsewhere).await.body["data"], json!([]));
}

#[sqlx::test]
async fn a_rare_kind_is_found_without_reading_the_history(pool: PgPool) {
    let (api, webhook, path) = api_with_webhook(&pool).await;
    sqlx::query(
        "insert into deliveries (id, notification_id, webhook_id, site_id, event_type, origin, status, payload, created_at,
             inserted_at, updated_at)
         select gen_random_uuid(), gen_random_uuid(), $1, 'example.com', 'visitor_spike', 'event', 'delivered', '', now(),
             now(), now()
         from generate_series(1, 20000)",
    )
    .bind(webhook.uuid())
    .execute(&pool)
    .await
    .expect("inserted");
    let rare = NewDelivery {
        at_ms: NOON_MS,
        key: 1,
        status: "failed",
        event: "custom_event",
    };
    let rare = insert(&pool, webhook, rare).await.to_string();
    sqlx::query("analyze deliveries")
        .execute(&pool)
        .await
        .expect("analyzed");
    let before = rows_read(&pool).await;
    for (filter, is_found) in [
        ("event=custom_event", true),
        ("status=failed", true),
        ("status=failed&event=custom_event", true),
        ("status=undelivered", true),
        ("status=failed,pending", true),
        ("status=pending,retrying", false),
        ("status=delivered&event=goal_completion", false),
        ("event=test", false),
    ] {
        let page = api.get(&format!("{path}?{filter}")).await;
        assert_eq!(page.status, 200, "{filter}: {}", page.body);
        let wanted = std::slice::from_ref(&rare);
        assert_eq!(ids(&page.body), &wanted[..usize::from(is_found)], "{filter}");
    }
    let newest = api.get(&format!("{path}?limit=1")).await;
    assert_eq!(ids(&newest.body).len(), 1);
    // Statistics of another connection show up within a second or so.
    eventually("the reads are counted", Duration::from_secs(20), || async {
        (rows_read(&pool).await > before).then_some(())
    })
    .await;
    let read = rows_read(&pool).await - before;
    assert!(read < 1_000, "{read} rows were read");
}

/// Every pair of a kind that is common and a status that is common, but of three pairs alone; a
/// delivery each tenth of a second, the newest at noon.
async fn insert_mixed(pool: &PgPool, webhook: WebhookId) {
    sqlx::query(
        "insert into deliveries (id, notification_id, webhook_id, site_id, event_type, origin, status, payload, created_at,
             inserted_at, updated_at)
         select (lpad(to_hex($2::bigint - n * 100), 12, '0') || '80008' || lpad(to_hex(n), 15, '0'))::uuid,
             gen_random_uuid(), $1, 'example.com', (array['visitor_spike', 'goal_completion', 'custom_event'])[1 + n % 3],
             'event', (array['delivered', 'cancelled', 'failed'])[1 + n % 3], '{}', now(), now(), now()
         from generate_series(0, $3::bigint - 1) n",
    )
    .bind(webhook.uuid())
    .bind(NOON_MS)
    .bind(MIXED)
    .execute(pool)
    .await
    .expect("inserted");
    sqlx::query("analyze deliveries")
        .execute(pool)
        .await
        .expect("analyzed");
}

const MIXED: i64 = 240_000;

#[sqlx::test]
async fn a_page_of_a_kind_is_read_from_its_first_row_to_its_last(pool: PgPool) {
    let (api, webhook, path) = api_with_webhook(&pool).await;
    // Nobody else reads the indexes.
    sqlx::raw_sql(
        "do $$ declare part regclass; begin
             for part in select inhrelid::regclass from pg_inherits where inhparent = 'deliveries'::regclass loop
                 execute format('alter table %s set (autovacuum_enabled = off)', part);
             end loop;
         end $$",
    )
    .execute(&pool)
    .await
    .expect("switched off");
    insert_mixed(&pool, webhook).await;
    // A second after the oldest row.
    let ms = NOON_MS - (MIXED - 1) * 100 + 1_000;
    let cursor = u128::from(ms.unsigned_abs()) << 80 | 0x8000_8000_0000_0000_0000;
    let before_oldest = DeliveryId::from_uuid(uuid::Uuid::from_u128(cursor));
    let since = DateTime::<Utc>::from_timestamp_millis(NOON_MS + 1).expect("a time");
    let since = since.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let read_before = index_blocks_read(&pool).await;
    for (filter, wanted) in [
        ("status=cancelled&event=visitor_spike".to_owned(), 0),
        ("status=failed&event=goal_completion,visitor_spike".to_owned(), 0),
        ("status=retrying&event=custom_event".to_owned(), 0),
        (format!("status=delivered&event=visitor_spike&since={since}"), 0),
        (format!("status=cancelled&event=goal_completion&since={since}"), 0),
        (
            format!("status=delivered&event=visitor_spike&after={before_oldest}"),
            3,
        ),
    ] {
        let page = api.get(&format!("{path}?{filter}")).await;
        assert_eq!(ids(&page.body).len(), wanted, "{filter}: {}", page.body);
    }
    eventually("the reads are counted", Duration::from_secs(20), || async {
        (index_blocks_read(&pool).await > read_before).then_some(())
    })
    .await;
    let read = index_blocks_read(&pool).await - read_before;
    assert!(read < MOST_BLOCKS, "{read} blocks of indexes were read");
}

/// A way down to each of seven runs in every partition, by the planner, too; one run has over 800
/// blocks.
const MOST_BLOCKS: i64 = 750;

#[sqlx::test]
async fn pages_of_several_kinds_are_one_order_without_gaps(pool: PgPool) {
    let (api, webhook, path) = api_with_webhook(&pool).await;
    let statuses = ["delivered", "failed", "cancelled", "retrying", "pending"];
    let events = ["visitor_spike", "custom_event", "goal_completion"];
    let mut all = Vec::new();
    for key in 0..120_u32 {
        // Three days, several in one millisecond, kinds in no regular order.
        let at_ms = NOON_MS - i64::from(key / 3) * 5_000_000;
        let mixed = usize::try_from(key.wrapping_mul(2_654_435_761) >> 8).expect("an index");
        let (status, event) = (statuses[mixed % 5], events[mixed / 5 % 3]);
        let new = NewDelivery {
            at_ms,
            key,
            status,
            event,
        };
        all.push((insert(&pool, webhook, new).await, at_ms, status, event));
    }
    all.sort_by_key(|one| std::cmp::Reverse(one.0));
    let since_ms = NOON_MS - 100_000_000;
    let since = DateTime::<Utc>::from_timestamp_millis(since_ms)
        .expect("a time")
        .to_rfc3339()
        .replace('+', "%2B");
    for (wanted_statuses, wanted_events) in [
        (&statuses[1..2], &events[..]),
        (&statuses[..], &events[1..2]),
        (&statuses[1..4], &events[..2]),
        (&statuses[3..5], &events[1..]),
    ] {
        let filter = format!(
            "status={}&event={}&since={since}",
            wanted_statuses.join(","),
            wanted_events.join(",")
        );
        let wanted: Vec<String> = all
            .iter()
            .filter(|(_, at_ms, status, event)| {
                *at_ms >= since_ms && wanted_statuses.contains(status) && wanted_events.contains(event)
            })
            .map(|one| one.0.to_string())
            .collect();
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            let page = api.get(&format!("{path}?{filter}&limit=2&after={after}")).await;
            found.extend(ids(&page.body));
            match page.body["next"].as_str() {
                Some(next) => next.clone_into(&mut after),
                None => break,
            }
        }
        assert!(
            !wanted.is_empty() && found == wanted,
            "{filter}: {found:#?} and not {wanted:#?}"
        );
    }
}

/// Rows and entries of indexes of deliveries that were read so far.
async fn rows_read(pool: &PgPool) -> i64 {
    sqlx::query_scalar(
        "select coalesce(sum(read), 0)::bigint from (
             select seq_tup_read as read from pg_stat_user_tables where relname like 'deliveries%'
             union all select idx_tup_fetch from pg_stat_user_tables where relname like 'deliveries%'
             union all select idx_tup_read from pg_stat_user_indexes where relname like 'deliveries%'
         ) reads",
    )
    .fetch_one(pool)
    .await
    .expect("statistics")
}

/// Blocks of indexes of deliveries that were read so far, from the cache or not.
async fn index_blocks_read(pool: &PgPool) -> i64 {
    sqlx::query_scalar(
        "select coalesce(sum(idx_blks_hit + idx_blks_read), 0)::bigint from pg_statio_user_indexes
         where relname like 'deliveries%'",
    )
    .fetch_one(pool)
    .await
    .expect("statistics")
}
