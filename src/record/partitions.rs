//! Daily partitions of deliveries and their attempts, made ahead of time.
//!
//! A day without a partition stops nothing: its rows go to the default partition, and move to the
//! day's own partition when that is made.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{NaiveDate, NaiveTime};
use sqlx::{Connection as _, Executor as _, PgConnection};

use super::pg_monitor::is_lock_timeout;
use crate::domain::id::uuid_floor;
use crate::domain::time;

pub(super) const DAY_MS: i64 = 86_400_000;

/// Partitioned tables with the column of the delivery's UUID.
pub(super) const TABLES: [(&str, &str); 2] = [("deliveries", "id"), ("delivery_attempts", "delivery_id")];

/// Advisory lock of making partitions: `bell` in ASCII, and a number of its own.
const LOCK: (i32, i32) = (0x6265_6c6c, 1);
/// Tries to lock a default partition, each of a tenth of a second.
const TRIES: u32 = 10;
/// Pause between two tries, in which whoever has queued gets on.
const PAUSE: Duration = Duration::from_millis(100);

/// Makes the missing partitions of the days between two times (milliseconds since the Unix epoch,
/// both included). Returns the number of new days. Safe to repeat, and to call from several
/// processes at once.
///
/// To attach a day locks the default partition for a moment, and whoever comes queues behind the
/// wish for this lock. It is given up after a tenth of a second and tried again after as long a
/// pause. A call that never gets it in 2 s fails, and is repeated later.
pub async fn ensure_partitions(
    conn: &mut PgConnection,
    from_ms: i64,
    to_ms: i64,
) -> Result<u32, sqlx::Error> {
    let mut made = 0;
    let existing = existing_partitions(conn).await?;
    for day in day_of(from_ms)..=day_of(to_ms) {
        if TABLES
            .iter()
            .any(|(table, _)| !existing.contains(&partition_name(table, day)))
        {
            made += u32::from(make_day(conn, day).await?);
        }
    }
    Ok(made)
}

/// Counts the seconds from `now_ms` on that have a partition of their own, without a gap; 0 if
/// today has none.
pub async fn partition_horizon_seconds(conn: &mut PgConnection, now_ms: i64) -> Result<i64, sqlx::Error> {
    let existing = existing_partitions(conn).await?;
    let has_all = |day: &i64| {
        TABLES
            .iter()
            .all(|(table, _)| existing.contains(&partition_name(table, *day)))
    };
    let today = day_of(now_ms);
    let days = (today..).take_while(has_all).count();
    let end_ms = (today + i64::try_from(days).unwrap_or(i64::MAX)).saturating_mul(DAY_MS);
    Ok(if days == 0 { 0 } else { (end_ms - now_ms) / 1_000 })
}

/// Makes the missing partitions of a day; false if another process has made the last one.
async fn make_day(conn: &mut PgConnection, day: i64) -> Result<bool, sqlx::Error> {
    let mut is_ours = false;
    for table in TABLES {
        is_ours = make_partition(conn, table, day).await?;
    }
    Ok(is_ours)
}

/// Makes the partition of a day of one table; false if it is there.
async fn make_partition(
    conn: &mut PgConnection,
    (table, column): (&str, &str),
    day: i64,
) -> Result<bool, sqlx::Error> {
    let mut tx = conn.begin().await?;
    // Held between the tries too, so that two processes never try in turn, without a pause.
    sqlx::query!("select pg_advisory_xact_lock($1, $2)", LOCK.0, LOCK.1)
        .execute(&mut *tx)
        .await?;
    tx.execute("set local lock_timeout = '100ms'").await?;
    let name = partition_name(table, day);
    if existing_partitions(&mut tx).await?.contains(&name) {
        return Ok(false);
    }
    let (low, high) = (uuid_floor(day * DAY_MS), uuid_floor((day + 1) * DAY_MS));
    // No part comes from outside: two table names, a date and two UUIDs.
    let statements = format!(
        "create table {name} (like {table} including all);
         lock table {table}_default in access exclusive mode;
         with moved as (delete from {table}_default where {column} >= '{low}' and {column} < '{high}' returning *)
             insert into {name} select * from moved;
         alter table {table} attach partition {name} for values from ('{low}') to ('{high}');"
    );
    for tries_left in (0..TRIES).rev() {
        // A try that fails gives back whatever it has locked.
        let mut attempt = tx.begin().await?;
        match attempt.execute(statements.as_str()).await {
            Ok(_) => {
                attempt.commit().await?;
                break;
            }
            Err(error) if is_lock_timeout(&error) && tries_left > 0 => {
                attempt.rollback().await?;
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
    tx.commit().await?;
    Ok(true)
}

pub(super) async fn existing_partitions(conn: &mut PgConnection) -> Result<HashSet<String>, sqlx::Error> {
    let names = sqlx::query_scalar!(
        r#"select c.relname::text as "name!"
           from pg_inherits i join pg_class c on c.oid = i.inhrelid
           where i.inhparent in ('deliveries'::regclass, 'delivery_attempts'::regclass)"#
    )
    .fetch_all(conn)
    .await?;
    Ok(names.into_iter().collect())
}

fn day_of(ms: i64) -> i64 {
    ms.div_euclid(DAY_MS)
}

/// `<table>_pYYYYMMDD`, the day in UTC.
pub(super) fn partition_name(table: &str, day: i64) -> String {
    format!(
        "{table}_p{}",
        time::from_ms(day.saturating_mul(DAY_MS)).format("%Y%m%d")
    )
}

/// The day of a partition of `table` by its name.
pub(super) fn day_of_partition(table: &str, name: &str) -> Option<i64> {
    let digits = name.strip_prefix(table)?.strip_prefix("_p")?;
    let date = NaiveDate::parse_from_str(digits, "%Y%m%d").ok()?;
    let start = date.and_time(NaiveTime::MIN).and_utc().timestamp_millis();
    let day = day_of(start);
    // Only a name that is written here: a parser takes others for it.
    (partition_name(table, day) == name).then_some(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_named_by_its_day_in_utc() {
        assert_eq!(
            partition_name("deliveries", day_of(1_771_970_400_123)),
            "deliveries_p20260224"
        );
        assert_eq!(
            partition_name("deliveries", day_of(86_399_999)),
            "deliveries_p19700101"
        );
        assert_eq!(
            partition_name("deliveries", day_of(86_400_000)),
            "deliveries_p19700102"
        );
    }

    #[test]
    fn the_day_of_a_partition_is_read_from_its_name() {
        let name = partition_name("delivery_attempts", 20_508);
        assert_eq!(day_of_partition("delivery_attempts", &name), Some(20_508));
        for other in [
            "deliveries_p20260224",
            "delivery_attempts_default",
            "delivery_attempts_p2026022",
            "delivery_attempts_p20260231",
            "delivery_attempts_p20260224_old",
        ] {
            assert_eq!(day_of_partition("delivery_attempts", other), None, "{other}");
        }
    }
}
