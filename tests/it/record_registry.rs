//! The registry follows what is committed, whatever the order.

use std::sync::Arc;
use std::time::Duration;

use bellwether::domain::goal::{GoalRule, GoalSettings};
use bellwether::domain::id::{DeliveryId, GoalId, uuid_floor};
use bellwether::domain::registry::Registry;
use bellwether::record::registry::{self, FULL_READ_EVERY_MS, RegistryReader};
use bellwether::record::{follow, goals, health, sites, webhooks};
use bellwether::{chance, clock};
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::record_support::{NOON_MS, add_webhook, keyring, settings, site};

fn reader() -> RegistryReader {
    RegistryReader::new(Arc::new(keyring(&[("a", 1)])))
}

async fn add_goal(conn: &mut PgConnection, site_id: &str, name: &str) -> GoalId {
    let id = GoalId::new_v7(clock::now_ms(), chance::bytes());
    let goal = GoalSettings {
        name: name.to_owned(),
        rule: GoalRule::Page {
            path: "/thanks*".to_owned(),
        },
        props: vec![("plan".to_owned(), "pro".to_owned())],
    };
    goals::create(conn, &site(site_id), id, &goal, clock::now())
        .await
        .expect("created");
    id
}

#[sqlx::test]
async fn a_change_that_commits_after_a_later_one_is_not_missed(pool: PgPool) {
    let mut first = pool.acquire().await.expect("connection");
    let mut second = pool.acquire().await.expect("connection");
    let mut third = pool.acquire().await.expect("connection");
    let mut reader = reader();
    reader.look(&mut third, NOON_MS).await.expect("looked");

    // `early` draws the lower transaction id and commits last.
    let mut early = first.begin().await.expect("begun");
    sites::register(&mut early, &site("early"), clock::now())
        .await
        .expect("registered");
    let mut late = second.begin().await.expect("begun");
    sqlx::query("insert into sites (site_id, inserted_at, updated_at) values ('late', now(), now())")
        .execute(&mut *late)
        .await
        .expect("inserted");
    late.commit().await.expect("committed");
    let seen = reader
        .look(&mut third, NOON_MS)
        .await
        .expect("looked")
        .expect("changed");
    assert!(seen.sites.contains_key("late") && !seen.sites.contains_key("early"));

    early.commit().await.expect("committed");
    let seen = reader
        .look(&mut third, NOON_MS)
        .await
        .expect("looked")
        .expect("changed");
    assert!(seen.sites.contains_key("late") && seen.sites.contains_key("early"));
    assert!(reader.look(&mut third, NOON_MS).await.expect("looked").is_none());
}

#[sqlx::test]
async fn what_did_not_change_is_shared_and_keeps_its_version(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    let keys = keyring(&[("a", 1)]);
    let one = add_webhook(&mut conn, &keys, "a.example", "one").await;
    let two = add_webhook(&mut conn, &keys, "a.example", "two").await;
    add_webhook(&mut conn, &keys, "b.example", "three").await;
    let mut reader = reader();
    let before = reader
        .look(&mut conn, NOON_MS)
        .await
        .expect("looked")
        .expect("first");
    assert_eq!((before.sites.size(), before.webhooks.size()), (2, 3));

    webhooks::update(&mut conn, &keys, two, &settings("renamed"), false, clock::now())
        .await
        .expect("updated");
    let after = reader
        .look(&mut conn, NOON_MS)
        .await
        .expect("looked")
        .expect("changed");
    assert!(Arc::ptr_eq(&before.webhooks[&one], &after.webhooks[&one]));
    assert!(!Arc::ptr_eq(&before.webhooks[&two], &after.webhooks[&two]));
    assert!(Arc::ptr_eq(&before.sites["b.example"], &after.sites["b.example"]));
    assert!(after.sites["a.example"].version > before.sites["a.example"].version);

    // A full read finds nothing new, and says so.
    assert!(
        reader
            .look(&mut conn, NOON_MS + FULL_READ_EVERY_MS)
            .await
            .expect("looked")
            .is_none()
    );
    assert!(Arc::ptr_eq(&reader.current(), &after));
}

#[sqlx::test]
async fn every_setting_of_a_site_reaches_its_readers(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    let webhook = add_webhook(&mut conn, &keyring(&[("a", 1)]), "a.example", "one").await;
    let mut reader = reader();
    reader.look(&mut conn, NOON_MS).await.expect("looked");
    assert!(reader.current().webhooks[&webhook].include_paths);
    for change in [
        "include_paths = false",
        "name = 'A'",
        "time_zone = 'Europe/Berlin'",
        "aliases = array['b.example']",
    ] {
        let statement = format!("update sites set {change}");
        sqlx::query(&statement)
            .execute(&mut *conn)
            .await
            .expect("updated");
        let seen = reader.look(&mut conn, NOON_MS).await.expect("looked");
        assert!(seen.is_some(), "{change}");
    }
    let current = reader.current();
    let site = &current.sites["a.example"];
    assert_eq!((site.include_paths, site.name.as_deref()), (false, Some("A")));
    // What is queued for a webhook is sent by its own settings.
    assert!(!current.webhooks[&webhook].include_paths);
}

#[sqlx::test]
async fn deletions_are_seen(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    let keys = keyring(&[("a", 1)]);
    let webhook = add_webhook(&mut conn, &keys, "a.example", "one").await;
    let goal = add_goal(&mut conn, "a.example", "Signup").await;
    let mut reader = reader();
    let seen = reader
        .look(&mut conn, NOON_MS)
        .await
        .expect("looked")
        .expect("first");
    assert_eq!(seen.sites["a.example"].goals[0].id, goal);

    let mut gone = async |reader: &mut RegistryReader| {
        reader
            .look(&mut conn, NOON_MS)
            .await
            .expect("looked")
            .expect("changed")
    };
    goals::delete(
        &mut pool.acquire().await.expect("connection"),
        &site("a.example"),
        goal,
    )
    .await
    .expect("deleted");
    assert!(gone(&mut reader).await.sites["a.example"].goals.is_empty());
    let mut tx = pool.begin().await.expect("begun");
    webhooks::delete(&mut tx, &site("a.example"), webhook, clock::now())
        .await
        .expect("deleted");
    tx.commit().await.expect("committed");
    let seen = gone(&mut reader).await;
    assert!(seen.webhooks.is_empty() && seen.sites["a.example"].webhooks.is_empty());
    // By hand, as an operator may: the feed is the database's own doing.
    sqlx::query("delete from sites")
        .execute(&pool)
        .await
        .expect("deleted");
    assert!(gone(&mut reader).await.sites.is_empty());
}

#[sqlx::test]
async fn one_webhook_that_cannot_be_read_stops_no_other(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    let keys = keyring(&[("a", 1)]);
    let good = add_webhook(&mut conn, &keys, "a.example", "good").await;
    let foreign = add_webhook(&mut conn, &keyring(&[("lost", 9)]), "a.example", "another key").await;
    let moved = add_webhook(&mut conn, &keys, "a.example", "moved").await;
    sqlx::query("update webhooks set url = (select url from webhooks where id = $2) where id = $1")
        .bind(moved.uuid())
        .bind(good.uuid())
        .execute(&mut *conn)
        .await
        .expect("updated");
    let stolen = add_webhook(&mut conn, &keys, "b.example", "secret of another").await;
    sqlx::query("update webhook_secrets set secret = (select secret from webhook_secrets where webhook_id = $2) where webhook_id = $1")
        .bind(stolen.uuid())
        .bind(good.uuid())
        .execute(&mut *conn)
        .await
        .expect("updated");
    let seen = reader()
        .look(&mut conn, NOON_MS)
        .await
        .expect("looked")
        .expect("first");
    assert_eq!(
        seen.webhooks.keys().collect::<Vec<_>>(),
        [&good],
        "not {foreign} {moved} {stolen}"
    );
    // Nothing of what is decided for them is encrypted.
    let mut decided: Vec<_> = seen.sites.values().flat_map(|site| &site.webhooks).collect();
    decided.sort_unstable_by_key(|webhook| webhook.id);
    let mut all = [good, foreign, moved, stolen];
    all.sort_unstable();
    assert_eq!(decided.iter().map(|webhook| webhook.id).collect::<Vec<_>>(), all);
    assert_eq!(seen.unreadable.size(), 3);
    assert_eq!(seen.webhooks[&good].secret.reveal(), "a-secret-nobody-may-read");
    assert_eq!(seen.webhooks[&good].headers[0].1.reveal(), "secret-header");
}

#[sqlx::test]
async fn nothing_secret_is_stored_in_the_clear(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    add_webhook(&mut conn, &keyring(&[("a", 1)]), "a.example", "one").await;
    let rows: Vec<String> = sqlx::query_scalar(
        "select encode(url, 'escape') || encode(headers, 'escape') || webhooks::text from webhooks
         union all select encode(secret, 'escape') || webhook_secrets::text from webhook_secrets",
    )
    .fetch_all(&mut *conn)
    .await
    .expect("read");
    assert_eq!(rows.len(), 2);
    for secret in [
        "secret-path",
        "hooks.example.com",
        "secret-header",
        "X-Api-Key",
        "a-secret-nobody-may-read",
    ] {
        assert!(rows.iter().all(|row| !row.contains(secret)), "{secret}");
    }
}

#[sqlx::test]
async fn health_alone_is_not_a_change_and_every_other_column_is(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    let id = add_webhook(&mut conn, &keyring(&[("a", 1)]), "a.example", "one").await;
    let health = [
        "circuit",
        "circuit_reason",
        "last_success_at",
        "consecutive_failures",
        // They change with `enabled` and `paused_until`, which are changes.
        "switched_off_at",
        "paused_at",
        "pause_lifted_at",
        // It changes with `url`.
        "url_changed_at",
        // Only the API reads it.
        "rate_limit_is_set",
    ];
    let columns: Vec<String> = sqlx::query_scalar(
        "select column_name::text from information_schema.columns where table_name = 'webhooks' and column_name <> 'id'",
    )
    .fetch_all(&mut *conn)
    .await
    .expect("read");
    let trigger: String =
        sqlx::query_scalar("select pg_get_triggerdef(oid) from pg_trigger where tgname = 'webhooks_changed'")
            .fetch_one(&mut *conn)
            .await
            .expect("read");
    for column in &columns {
        let watched = trigger.contains(&format!("old.{column} IS DISTINCT FROM new.{column}"));
        assert_eq!(watched, !health.contains(&column.as_str()), "{column}");
    }

    let mut reader = reader();
    reader.look(&mut conn, NOON_MS).await.expect("looked");
    sqlx::query(
        "update webhooks set circuit = 'open', circuit_reason = 'timeout', last_success_at = now(),
         consecutive_failures = 4 where id = $1",
    )
    .bind(id.uuid())
    .execute(&mut *conn)
    .await
    .expect("updated");
    sites::note_events(&mut conn, &[(site("a.example"), clock::now())])
        .await
        .expect("noted");
    sqlx::query("delete from config_changes")
        .execute(&mut *conn)
        .await
        .expect("deleted");
    sites::note_events(
        &mut conn,
        &[(site("a.example"), clock::now()), (site("unknown"), clock::now())],
    )
    .await
    .expect("noted");
    let changes: i64 = sqlx::query_scalar("select count(*) from config_changes")
        .fetch_one(&mut *conn)
        .await
        .expect("read");
    assert_eq!(changes, 0);
}

/// An attempt of a delivery that ended a second from now.
async fn an_attempt(conn: &mut PgConnection) -> DeliveryId {
    let id = DeliveryId::from_uuid(uuid_floor(clock::now_ms()));
    sqlx::query(
        "insert into delivery_attempts (delivery_id, attempt, due_at, started_at, ended_at, result, fault)
         values ($1, 1, now(), now(), now() + interval '1 second', '410', 'endpoint')",
    )
    .bind(id.uuid())
    .execute(conn)
    .await
    .expect("inserted");
    id
}

#[sqlx::test]
async fn a_gone_webhook_is_disabled_once_and_keeps_its_owners_switch(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    let keys = keyring(&[("a", 1)]);
    let id = add_webhook(&mut conn, &keys, "a.example", "one").await;
    sqlx::query("update webhooks set active_since = now()")
        .execute(&mut *conn)
        .await
        .expect("updated");
    let mut reader = reader();
    reader.look(&mut conn, NOON_MS).await.expect("looked");
    let delivery = an_attempt(&mut conn).await;
    for wanted in [true, false] {
        let done = health::disable_gone(&mut conn, id, delivery).await;
        assert_eq!(done.expect("disabled"), wanted);
    }
    let seen = reader
        .look(&mut conn, NOON_MS)
        .await
        .expect("looked")
        .expect("changed");
    let webhook = &seen.webhooks[&id];
    assert!(webhook.enabled && webhook.disabled);
    let record = webhooks::get(&mut conn, &keys, &site("a.example"), id)
        .await
        .expect("read");
    let record = record.expect("there").expect("readable");
    assert_eq!(record.disabled.expect("disabled").1, "gone");
}

#[sqlx::test]
async fn a_webhook_switched_off_is_not_disabled_for_being_gone(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    let id = add_webhook(&mut conn, &keyring(&[("a", 1)]), "a.example", "one").await;
    sqlx::query("update webhooks set enabled = false, active_since = now()")
        .execute(&mut *conn)
        .await
        .expect("updated");
    let delivery = an_attempt(&mut conn).await;
    let done = health::disable_gone(&mut conn, id, delivery).await;
    assert!(!done.expect("asked"));
}

#[sqlx::test]
async fn old_changes_are_purged(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    for age in ["1 minute", "29 minutes", "31 minutes", "1 day"] {
        sqlx::query(
            "insert into config_changes (site_id, changed_at) values ('s', now() - $1::text::interval)",
        )
        .bind(age)
        .execute(&mut *conn)
        .await
        .expect("inserted");
    }
    assert_eq!(registry::purge_changes(&mut conn).await.expect("purged"), 2);
}

#[sqlx::test]
async fn a_change_reaches_who_follows_within_a_second(pool: PgPool) {
    let (publish, mut registry) = watch::channel(Arc::new(Registry::default()));
    let stop = CancellationToken::new();
    let keys = keyring(&[("a", 1)]);
    let change = async {
        registry.changed().await.expect("the first look");
        for round in 0..5 {
            let mut conn = pool.acquire().await.expect("connection");
            let since = clock::monotonic();
            let id = add_webhook(&mut conn, &keys, &format!("{round}.example"), "one").await;
            while !registry.borrow_and_update().webhooks.contains_key(&id) {
                tokio::time::timeout(Duration::from_secs(5), registry.changed())
                    .await
                    .expect("in time")
                    .expect("open");
            }
            assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
        }
        stop.cancel();
    };
    let follow = follow::follow(pool.clone(), reader(), publish, |_| {}, stop.clone());
    tokio::join!(follow, change);
}
