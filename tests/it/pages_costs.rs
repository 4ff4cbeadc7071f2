//! What pages cost: queries, bytes, and a history that grows while it is read.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::sync::Once;

use bellwether::domain::id::DeliveryId;
use bellwether::record::tokens::Role;
use chrono::{TimeDelta, Utc};
use reqwest::header::{ACCEPT_ENCODING, COOKIE};
use serde_json::json;
use sqlx::PgPool;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};
use uuid::Uuid;

use crate::pages_states::{Written, set_health, set_now};
use crate::pages_support::{Pages, Visitor};

const SITE: &str = "shop.example";
/// Deliveries that have arrived.
const DELIVERED: i64 = 10_000;
/// Deliveries that wait.
const WAITING: i64 = 100_000;
/// Most statements of a page.
const FEW: usize = 4;

thread_local! {
    /// The statements that this thread has made while somebody listens.
    static HEARD: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Collects the statements that sqlx reports, of every thread for itself.
///
/// It is the subscriber of the whole program, because callsites remember whether anybody listens:
/// what one thread hears must not depend on what others have asked for.
struct Statements;

impl Statements {
    /// Runs something on this thread and returns its statements.
    async fn of<T>(work: impl Future<Output = T>) -> (T, Vec<String>) {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| tracing::subscriber::set_global_default(Self).expect("the only subscriber"));
        HEARD.set(Some(Vec::new()));
        let done = work.await;
        (done, HEARD.take().expect("a list"))
    }
}

impl Subscriber for Statements {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Summary);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Summary;

impl Visit for Summary {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "summary" {
            self.record_str(field, &format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let words = ["BEGIN", "begin", "COMMIT", "ROLLBACK", "set local"];
        if field.name() == "summary" && !words.iter().any(|word| value.starts_with(word)) {
            HEARD.with_borrow_mut(|heard| heard.iter_mut().for_each(|all| all.push(value.to_owned())));
        }
    }
}

/// Writes deliveries of a webhook, two seconds apart: the newest have arrived, the rest waits.
async fn fill(pool: &PgPool, webhook: Uuid, delivered: i64, waiting: i64) {
    sqlx::query(
        "insert into deliveries (id, notification_id, webhook_id, site_id, event_type, origin, status, attempts,
             response_code, parked_until, parked_reason, payload, created_at, inserted_at, updated_at)
         select id, id, $1, $2, 'visitor_spike', 'event', case when n > $3::bigint then 'pending' else 'delivered' end,
             case when n > $3 then 0 else 1 end, case when n > $3 then null else 200 end,
             case when n > $3 then at end, case when n > $3 then 'circuit' end,
             '{\"data\":{\"current_visitors\":512,\"threshold\":300}}', at, at, at
         from (select n, now() - n * interval '2 seconds' as at,
                   (lpad(to_hex((extract(epoch from now() - n * interval '2 seconds') * 1000)::bigint), 12, '0')
                    || '8000' || '8' || lpad(to_hex(n), 15, '0'))::uuid id
               from generate_series(1, $3::bigint + $4::bigint) n) made",
    )
    .bind(webhook)
    .bind(SITE)
    .bind(delivered)
    .bind(waiting)
    .execute(pool)
    .await
    .expect("deliveries");
    sqlx::query("analyze deliveries")
        .execute(pool)
        .await
        .expect("counted");
}

/// A webhook of the site that has all of its options.
async fn webhook(pages: &Pages) -> (String, Uuid) {
    let body = json!({"name": "Production", "url": "https://hooks.example.com/in/abcd9f2c",
        "events": ["goal_completion", "visitor_spike"], "triggers": {"visitor_spike": {"threshold": 300}}});
    pages.add_webhook(SITE, body).await
}

/// The newest of the webhook's deliveries, which has arrived with one try.
async fn newest(pages: &Pages, webhook: Uuid) -> String {
    let written = Written {
        webhook,
        site: SITE,
        event: "visitor_spike",
        data: json!({"current_visitors": 512, "threshold": 300}),
        status: "delivered",
        result: Some("2xx"),
        code: Some(200),
        parked: None,
        attempts: 1,
        response: "ok",
        at: Utc::now(),
    };
    written.write(&pages.pool, 1).await
}

#[sqlx::test]
async fn a_page_asks_few_queries_of_a_long_history(pool: PgPool) {
    let pages = Pages::start(pool).await;
    let (id, uuid) = webhook(&pages).await;
    let goal = json!({"name": "Signup", "kind": "event", "event": "signup"});
    pages.api("POST", &format!("/api/sites/{SITE}/goals"), goal).await;
    fill(&pages.pool, uuid, DELIVERED, WAITING).await;
    let delivery = newest(&pages, uuid).await;
    set_now(&pages.pool, SITE, &id).await;
    set_health(&pages.pool, uuid, "open", 3, WAITING, TimeDelta::minutes(15)).await;
    let visitor = pages.visitor(&[SITE], Role::Editor).await;
    let webhook = format!("/sites/{SITE}/webhooks/{id}");
    // The session notes its use once a minute.
    visitor.get("/sites").await;
    let waiting = format!("{webhook}/deliveries?show=waiting&since=30d");
    for (path, shows) in [
        (format!("/sites/{SITE}/webhooks"), "100,000 notifications wait"),
        (format!("{webhook}/deliveries"), "HTTP 200"),
        (waiting, "your server is failing; we try now and then"),
        (format!("{webhook}/deliveries/{delivery}"), "Arrived: HTTP 200."),
        (format!("{webhook}/edit"), "Now: 512."),
        (webhook.clone(), "100,000 notifications wait"),
        (format!("{webhook}/recover"), "Nothing was missed"),
        (format!("{webhook}/rotate"), "Production"),
        (format!("{webhook}/delete"), "Production"),
        (format!("/sites/{SITE}/webhooks/new"), "Add a webhook"),
        (format!("/sites/{SITE}"), "512"),
        (format!("/sites/{SITE}/alerts"), "told Production"),
        (format!("/sites/{SITE}/goals"), "Signup"),
        (format!("/sites/{SITE}/settings"), SITE),
    ] {
        let (page, asked) = Statements::of(visitor.get(&path)).await;
        page.has(shows);
        // The first one finds the session and the site, and no other asks for them again.
        let about = |word: &str| asked.iter().filter(|one| one.contains(word)).count();
        assert_eq!(about("select own.id"), 1, "{path}: {asked:#?}");
        assert_eq!(about("select s."), 0, "{path}: {asked:#?}");
        assert!(asked.len() <= FEW, "{path}: {asked:#?}");
        weigh(&visitor, &pages, &path).await;
    }
}

/// Checks that a page is at most 12 KB compressed.
async fn weigh(visitor: &Visitor<'_>, pages: &Pages, path: &str) {
    let request = pages
        .client
        .get(format!("{}{path}", pages.base))
        .header(COOKIE, &visitor.cookie)
        .header(ACCEPT_ENCODING, "gzip");
    let response = request.send().await.expect("an answer");
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let bytes = response.bytes().await.expect("a body").len();
    assert!(bytes <= 12 * 1024, "{path}: {bytes} bytes");
}

#[sqlx::test]
async fn paging_shows_each_delivery_once_while_new_ones_come(pool: PgPool) {
    let pages = Pages::start(pool).await;
    let (id, uuid) = webhook(&pages).await;
    fill(&pages.pool, uuid, DELIVERED, 0).await;
    let visitor = pages.visitor(&[SITE], Role::Viewer).await;
    let list = format!("/sites/{SITE}/webhooks/{id}/deliveries");
    let mut path = format!("{list}?since=7d");
    let mut seen = HashSet::new();
    loop {
        let page = visitor.get(&path).await;
        let rows: Vec<&str> = page
            .text
            .split("<tr id=\"")
            .skip(1)
            .filter_map(|row| row.split('"').next())
            .collect();
        assert!(rows.len() <= 50, "{}", rows.len());
        for row in rows {
            assert!(seen.insert(row.to_owned()), "{row} is shown twice");
        }
        if seen.len() % 1_000 == 0 {
            newest(&pages, uuid).await;
        }
        let Some((before, _)) = page.text.split_once("\">Older</a>") else {
            break;
        };
        let (_, older) = before.rsplit_once("href=\"").expect("an address");
        path = older.replace("&amp;", "&");
    }
    assert_eq!(
        seen.len() as i64,
        DELIVERED,
        "what came later is on no older page"
    );
}

#[sqlx::test]
async fn what_scripts_ask_for_takes_four_statements_at_most(pool: PgPool) {
    let pages = Pages::start(pool).await;
    let (id, uuid) = webhook(&pages).await;
    fill(&pages.pool, uuid, 100, 0).await;
    set_now(&pages.pool, SITE, &id).await;
    let visitor = pages.visitor(&[SITE], Role::Editor).await;
    // The session notes its use once a minute.
    visitor.get("/sites").await;
    for path in [
        format!("/sites/{SITE}/now"),
        format!("/sites/{SITE}/webhooks/{id}/deliveries?newer_than=&since=24h"),
    ] {
        let request = pages
            .client
            .get(format!("{}{path}", pages.base))
            .header(COOKIE, &visitor.cookie)
            .header("accept", "application/json");
        let (answer, asked) = Statements::of(request.send()).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/json", "{path}");
        assert!((1..=FEW).contains(&asked.len()), "{path}: {asked:#?}");
    }
}

#[sqlx::test]
async fn deliveries_are_counted_by_one_statement(pool: PgPool) {
    let pages = Pages::start(pool).await;
    let (id, uuid) = webhook(&pages).await;
    fill(&pages.pool, uuid, 1_500, 0).await;
    let off = "update webhooks set disabled_at = now(), disabled_reason = 'gone'";
    let visitor = pages.visitor(&[SITE], Role::Editor).await;
    visitor.get("/sites").await;
    for (cancelled, words) in [
        (1_500, "More than 1,000"),
        (1_000, "1,000 were not delivered since"),
        (0, "410 Gone"),
    ] {
        let some = "update deliveries set status = case when id in
            (select id from deliveries order by id limit $1) then 'cancelled' else 'delivered' end";
        sqlx::query(some)
            .bind(i64::from(cancelled))
            .execute(&pages.pool)
            .await
            .expect("changed");
        sqlx::query(off).execute(&pages.pool).await.expect("off");
        let path = format!("/sites/{SITE}/webhooks/{id}");
        let (page, asked) = Statements::of(visitor.get(&path)).await;
        page.has(words);
        // One more than for any other: the number is said of a webhook that we have switched off.
        assert!(asked.len() <= FEW + 1, "{asked:#?}");
    }
}

#[sqlx::test]
async fn tests_of_a_webhook_are_no_burden_to_the_list(pool: PgPool) {
    let pages = Pages::start(pool).await;
    let (id, uuid) = webhook(&pages).await;
    fill(&pages.pool, uuid, 20_000, 0).await;
    // All are tests but the oldest five.
    sqlx::query(
        "update deliveries set event_type = 'test'
         where id not in (select id from deliveries order by id limit 5)",
    )
    .execute(&pages.pool)
    .await
    .expect("tests");
    sqlx::query("vacuum analyze deliveries")
        .execute(&pages.pool)
        .await
        .expect("counted");
    let listed = async || {
        let path = format!("/api/sites/{SITE}/webhooks?include=recent");
        pages.api("GET", &path, json!(null)).await
    };
    let before = rows_read(&pages.pool).await;
    let found = listed().await;
    assert_eq!(
        found["data"][0]["recent"].as_array().map(Vec::len),
        Some(5),
        "{found} {id}"
    );
    let read = rows_read(&pages.pool).await - before;
    assert!((1..2_000).contains(&read), "{read} rows were read");
}

#[sqlx::test]
async fn one_delivery_reads_few_rows_of_a_long_history(pool: PgPool) {
    let pages = Pages::start(pool).await;
    let (id, uuid) = webhook(&pages).await;
    fill(&pages.pool, uuid, 10_000, 10_000).await;
    let oldest: Uuid = sqlx::query_scalar("select id from deliveries order by id limit 1")
        .fetch_one(&pages.pool)
        .await
        .expect("a delivery");
    let sent_again: Vec<Uuid> = sqlx::query_scalar(
        "update deliveries set resend_of = $1, notification_id = $1
         where id in (select id from deliveries order by id desc limit 2) returning id",
    )
    .bind(oldest)
    .fetch_all(&pages.pool)
    .await
    .expect("sent again");
    sqlx::query("vacuum analyze deliveries")
        .execute(&pages.pool)
        .await
        .expect("counted");
    let delivery = DeliveryId::from_uuid(oldest);
    let path = format!("/api/sites/{SITE}/webhooks/{id}/deliveries/{delivery}");
    let before = rows_read(&pages.pool).await;
    let answered = pages.api("GET", &path, json!(null)).await;
    let read = rows_read(&pages.pool).await - before;
    let mut sent_again: Vec<String> = sent_again
        .into_iter()
        .map(|id| DeliveryId::from_uuid(id).to_string())
        .collect();
    sent_again.sort_unstable();
    assert_eq!(answered["resends"], json!(sent_again));
    assert!((1..50).contains(&read), "{read} rows were read");
}

#[sqlx::test]
async fn a_quiet_webhook_reads_nothing_of_a_busy_one(pool: PgPool) {
    let pages = Pages::start(pool).await;
    let (_, busy) = webhook(&pages).await;
    let (quiet, _) = webhook(&pages).await;
    fill(&pages.pool, busy, 10_000, 10_000).await;
    let path = format!("/api/sites/{SITE}/webhooks");
    let since = "since=2020-01-01T00:00:00Z";
    for asked in [
        format!("{path}?include=recent"),
        format!("{path}/{quiet}/deliveries"),
        format!("{path}/{quiet}/deliveries?status=pending,retrying"),
        format!("{path}/{quiet}/deliveries?status=failed,cancelled"),
        format!("{path}/{quiet}/deliveries?event=visitor_spike&{since}"),
    ] {
        let before = rows_read(&pages.pool).await;
        pages.api("GET", &asked, json!(null)).await;
        let read = rows_read(&pages.pool).await - before;
        assert!(read < 500, "{asked}: {read} rows were read");
    }
    // Some rows of its own, as a recovery, a switch and an erasure look for them.
    let before = rows_read(&pages.pool).await;
    let body = json!({"since": "2020-01-01T00:00:00Z"});
    pages.api("POST", &format!("{path}/{quiet}/recover"), body).await;
    pages
        .api("PATCH", &format!("{path}/{quiet}"), json!({"enabled": false}))
        .await;
    pages.api("DELETE", &format!("{path}/{quiet}"), json!(null)).await;
    let read = rows_read(&pages.pool).await - before;
    assert!(read < 500, "recovery and end: {read} rows were read");
}

/// Rows of deliveries that were read so far, by whatever connection of this pool.
async fn rows_read(pool: &PgPool) -> i64 {
    // All of them: one that has just answered, or was just made, may be on its way back.
    let mut connections = Vec::new();
    while connections.len() < pool.size() as usize {
        connections.push(pool.acquire().await.expect("a connection"));
    }
    for connection in &mut connections {
        sqlx::query("select pg_stat_force_next_flush()")
            .execute(&mut **connection)
            .await
            .expect("flushed");
    }
    let read = "select sum(coalesce(idx_tup_fetch, 0) + coalesce(seq_tup_read, 0))::bigint
        from pg_stat_user_tables where relname like 'deliveries%'";
    sqlx::query_scalar(read)
        .fetch_one(&mut *connections[0])
        .await
        .expect("a number")
}
