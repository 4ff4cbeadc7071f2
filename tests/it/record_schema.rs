//! Migrations, partitions and keys against a real Postgres.

use std::time::Duration;

use bellwether::clock;
use bellwether::domain::id::uuid_floor;
use bellwether::domain::time::from_ms;
use bellwether::record::closed_words;
use bellwether::record::keys::{self, KeyError};
use bellwether::record::migrate::{self, Schema};
use bellwether::record::partitions::{ensure_partitions, partition_horizon_seconds};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::record_support::{DAY_MS, NOON_MS, keyring};
use crate::support::database::Database;
use crate::support::eventually;

pub(crate) async fn insert_delivery(conn: &mut PgConnection, id: Uuid) {
    sqlx::query(
        "insert into deliveries (id, notification_id, webhook_id, site_id, event_type, origin, status, created_at,
         inserted_at, updated_at) values ($1, $1, $1, 's', 'visitor_spike', 'event', 'pending', now(), now(), now())",
    )
    .bind(id)
    .execute(&mut *conn)
    .await
    .expect("inserted");
    sqlx::query(
        "insert into delivery_attempts (delivery_id, attempt, due_at, started_at, ended_at, result, fault)
         values ($1, 1, now(), now(), now(), '2xx', 'none')",
    )
    .bind(id)
    .execute(conn)
    .await
    .expect("inserted");
}

async fn partitions_of(conn: &mut PgConnection, id: Uuid) -> (String, String) {
    let one = sqlx::query_scalar("select tableoid::regclass::text from deliveries where id = $1")
        .bind(id)
        .fetch_one(&mut *conn)
        .await
        .expect("there");
    let other =
        sqlx::query_scalar("select tableoid::regclass::text from delivery_attempts where delivery_id = $1")
            .bind(id)
            .fetch_one(conn)
            .await
            .expect("there");
    (one, other)
}

#[tokio::test]
async fn migrating_twice_changes_nothing() {
    let pool = Database::empty().await.pool;
    let mut conn = pool.acquire().await.expect("connection");
    assert!(
        matches!(migrate::schema(&mut conn).await.expect("read"), Schema::Behind { missing } if missing.len() > 3)
    );
    let (one, other) = tokio::join!(migrate::migrate(&pool, NOON_MS), migrate::migrate(&pool, NOON_MS));
    let (one, other) = (one.expect("migrated"), other.expect("migrated"));
    assert!(
        one.is_empty() != other.is_empty(),
        "one of two at once does the work: {one:?} {other:?}"
    );
    assert_eq!(migrate::schema(&mut conn).await.expect("read"), Schema::Current);
    assert_eq!(
        migrate::migrate(&pool, NOON_MS).await.expect("migrated"),
        Vec::<i64>::new()
    );
    // 8 whole days and the rest of today.
    let horizon = partition_horizon_seconds(&mut conn, NOON_MS).await.expect("read");
    assert_eq!(horizon, 8 * 86_400 + 43_200);
}

#[sqlx::test]
async fn a_newer_schema_is_current_and_migrating_leaves_it_alone(pool: PgPool) {
    sqlx::query(
        "insert into _sqlx_migrations values (99991231235959, 'from the future', now(), true, '', 0)",
    )
    .execute(&pool)
    .await
    .expect("inserted");
    let mut conn = pool.acquire().await.expect("connection");
    assert_eq!(migrate::schema(&mut conn).await.expect("read"), Schema::Current);
    migrate::migrate(&pool, NOON_MS)
        .await
        .expect("an older process still runs");
}

#[sqlx::test]
async fn a_delivery_and_its_attempts_go_to_the_day_of_its_id(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    ensure_partitions(&mut conn, NOON_MS - DAY_MS, NOON_MS + DAY_MS)
        .await
        .expect("made");
    let midnight = NOON_MS - DAY_MS / 2;
    for (ms, day) in [
        (midnight - 1, "20260223"),
        (midnight, "20260224"),
        (NOON_MS, "20260224"),
        (midnight + DAY_MS, "20260225"),
    ] {
        let id = uuid_floor(ms);
        insert_delivery(&mut conn, id).await;
        let wanted = (format!("deliveries_p{day}"), format!("delivery_attempts_p{day}"));
        assert_eq!(partitions_of(&mut conn, id).await, wanted, "{}", from_ms(ms));
    }
}

#[sqlx::test]
async fn a_wild_time_moves_from_the_default_partition_to_its_day(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    ensure_partitions(&mut conn, NOON_MS, NOON_MS)
        .await
        .expect("made");
    let wild = uuid_floor(NOON_MS + 400 * DAY_MS);
    let absurd = uuid_floor(i64::MAX);
    for id in [wild, absurd] {
        insert_delivery(&mut conn, id).await;
        assert_eq!(partitions_of(&mut conn, id).await.0, "deliveries_default");
    }
    ensure_partitions(&mut conn, NOON_MS + 400 * DAY_MS, NOON_MS + 400 * DAY_MS)
        .await
        .expect("made");
    assert_eq!(
        partitions_of(&mut conn, wild).await.1,
        "delivery_attempts_p20270331"
    );
    assert_eq!(partitions_of(&mut conn, absurd).await.0, "deliveries_default");
}

#[sqlx::test]
async fn a_day_that_waits_for_a_reader_holds_no_other_up(pool: PgPool) {
    let mut reader = pool.begin().await.expect("begun");
    let count = "select count(*) from deliveries";
    sqlx::query(count).execute(&mut *reader).await.expect("read");
    let make = async {
        let mut conn = pool.acquire().await.expect("connection");
        ensure_partitions(&mut conn, NOON_MS, NOON_MS).await
    };
    let read = async {
        eventually("the day waits", Duration::from_secs(10), || async {
            sqlx::query_scalar::<_, bool>(
                "select true from pg_locks where mode = 'AccessExclusiveLock' and not granted
                     and database = (select oid from pg_database where datname = current_database())",
            )
            .fetch_optional(&pool)
            .await
            .expect("read")
        })
        .await;
        // Answered beside the reader, while the day is tried again.
        sqlx::query(count).execute(&pool).await.expect("read");
        reader.commit().await.expect("ended");
    };
    let (made, ()) = tokio::join!(make, read);
    assert_eq!(made.expect("made once the reader has ended"), 1);
}

#[sqlx::test]
async fn partitions_are_made_once_however_many_ask_at_once(pool: PgPool) {
    let ask = || async {
        let mut conn = pool.acquire().await.expect("connection");
        ensure_partitions(&mut conn, NOON_MS, NOON_MS + 2 * DAY_MS)
            .await
            .expect("made")
    };
    let (a, b, c, d) = tokio::join!(ask(), ask(), ask(), ask());
    assert_eq!(a + b + c + d, 3);
    let mut conn = pool.acquire().await.expect("connection");
    assert_eq!(
        partition_horizon_seconds(&mut conn, NOON_MS).await.expect("read"),
        2 * 86_400 + 43_200
    );
    assert_eq!(
        partition_horizon_seconds(&mut conn, NOON_MS - DAY_MS)
            .await
            .expect("read"),
        0
    );
}

#[sqlx::test]
async fn a_missing_or_wrong_key_is_refused_by_name(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    let mut check =
        async |keys: &[(&str, u8)]| keys::check_keys(&mut conn, &keyring(keys), clock::now()).await;
    check(&[("old", 1)]).await.expect("the first key leaves a canary");
    check(&[("new", 2), ("old", 1)])
        .await
        .expect("a new writer beside the old key");
    check(&[("old", 1), ("new", 2)]).await.expect("in any order");
    assert!(matches!(check(&[("new", 2)]).await, Err(KeyError::Missing(id)) if id == "old"));
    assert!(matches!(check(&[("new", 2), ("old", 3)]).await, Err(KeyError::Wrong(id)) if id == "old"));
}

#[sqlx::test]
async fn every_replica_gets_the_same_visitor_hash_key(pool: PgPool) {
    let keys = keyring(&[("a", 1)]);
    let ask = || async {
        let mut conn = pool.acquire().await.expect("connection");
        keys::visitor_hash_key(&mut conn, &keys, clock::now())
            .await
            .expect("a key")
    };
    let (a, b) = tokio::join!(ask(), ask());
    assert_eq!(a, b);
    assert_eq!(a, ask().await);
    assert_ne!(a, [0; 16]);
    let mut conn = pool.acquire().await.expect("connection");
    let wrong = keys::visitor_hash_key(&mut conn, &keyring(&[("a", 2)]), clock::now()).await;
    assert!(matches!(wrong, Err(KeyError::VisitorHashKey(_))));
}

/// The words in a check constraint of a table, in the order they stand there.
async fn words_of(conn: &mut PgConnection, constraint: &str) -> Vec<String> {
    let definition: String = sqlx::query_scalar(
        "select pg_get_constraintdef(oid) from pg_constraint where conname = $1 and coninhcount = 0",
    )
    .bind(constraint)
    .fetch_one(conn)
    .await
    .unwrap_or_else(|error| panic!("{constraint}: {error}"));
    definition
        .split('\'')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[sqlx::test]
async fn check_constraints_have_the_words_of_the_code(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    for (constraint, words) in closed_words() {
        assert_eq!(words_of(&mut conn, constraint).await, words, "{constraint}");
    }
}

#[sqlx::test]
async fn every_check_constraint_of_words_is_compared(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    // A list of words becomes `= ANY (ARRAY[...])`, a case of them `WHEN '...'`.
    let constraints: Vec<String> = sqlx::query_scalar(
        "select conname::text from pg_constraint
         where contype = 'c' and coninhcount = 0 and connamespace = 'public'::regnamespace
           and (strpos(pg_get_constraintdef(oid), 'ANY (ARRAY[') > 0
                or strpos(pg_get_constraintdef(oid), 'WHEN ''') > 0)
         order by conname",
    )
    .fetch_all(&mut *conn)
    .await
    .expect("read");
    let mut compared: Vec<&str> = closed_words().into_iter().map(|(name, _)| name).collect();
    compared.sort_unstable();
    assert_eq!(constraints, compared);
}
