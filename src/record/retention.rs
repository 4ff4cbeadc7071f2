//! The end of old history: whole days of deliveries and their attempts are dropped.
//!
//! Taking a day out of its table needs a lock on the table for a moment, behind which new rows
//! queue. It is given up after a tenth of a second and tried again later, so history may stay a
//! little longer but no delivery waits for it. The files are deleted afterwards, without that lock.

use std::collections::BTreeSet;

use sqlx::{Connection as _, Executor as _, PgConnection};

use super::partitions::{self, DAY_MS, TABLES};
use super::pg_monitor;
use crate::domain::id::uuid_floor;

/// Advisory lock of dropping: `bell` in ASCII, and a number of its own.
const LOCK: (i32, i32) = (0x6265_6c6c, 4);
/// Rows deleted at once from the partitions for days without one of their own.
const BATCH: i64 = 5_000;

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetentionStep {
    /// Nothing is old enough.
    Done,
    /// A day, or a batch of rows, is gone; there may be more.
    Dropped,
    /// A table was in use, or another process is at it. Try again later.
    Busy,
}

/// Drops the oldest day that ended before `before_ms` (milliseconds since the Unix epoch), or a
/// batch of rows as old. Safe to repeat, and to call from several processes at once.
pub async fn drop_expired(conn: &mut PgConnection, before_ms: i64) -> Result<RetentionStep, sqlx::Error> {
    let last_day = before_ms.div_euclid(DAY_MS) - 1;
    let attached = expired(partitions::existing_partitions(conn).await?, last_day);
    for day in attached {
        if has_paused(conn, day).await? {
            continue;
        }
        match detach_day(conn, day).await {
            Ok(RetentionStep::Dropped) => break,
            Ok(step) => return Ok(step),
            Err(error) if pg_monitor::is_lock_timeout(&error) => return Ok(RetentionStep::Busy),
            Err(error) => return Err(error),
        }
    }
    // Also those of a process that ended between the two steps.
    let detached = expired(detached_partitions(conn).await?, last_day);
    for day in &detached {
        for (table, _) in TABLES {
            let statement = format!("drop table if exists {}", partitions::partition_name(table, *day));
            // No part comes from outside: a table name and a date.
            conn.execute(statement.as_str()).await?;
        }
    }
    if !detached.is_empty() {
        return Ok(RetentionStep::Dropped);
    }
    delete_stray_rows(conn, before_ms).await
}

/// True if deliveries of a day wait for the end of a pause, or have waited for it. A pause lasts 30
/// days at most, and what waits is delivered after it: the day stays until then, and not longer.
async fn has_paused(conn: &mut PgConnection, day: i64) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (
             select from parked where delivery_id >= $1 and delivery_id < $2
                 and (reason = 'paused' or paused_ms > 0) and parked_at > now() - interval '31 days'
           ) as "has_paused!""#,
        uuid_floor(day * DAY_MS),
        uuid_floor((day + 1) * DAY_MS)
    )
    .fetch_one(conn)
    .await
}

/// Seconds since the oldest day should have been dropped; 0 if none is due.
pub async fn lag_seconds(
    conn: &mut PgConnection,
    table: &'static str,
    before_ms: i64,
) -> Result<i64, sqlx::Error> {
    let existing = partitions::existing_partitions(conn).await?;
    let days = existing
        .iter()
        .filter_map(|name| partitions::day_of_partition(table, name));
    let due = days.min().map(|day| before_ms - (day + 1) * DAY_MS);
    Ok(due.unwrap_or(0).max(0) / 1_000)
}

/// Takes both tables' partitions of a day out, together: a delivery is never shown without its
/// attempts.
async fn detach_day(conn: &mut PgConnection, day: i64) -> Result<RetentionStep, sqlx::Error> {
    let mut tx = conn.begin().await?;
    let is_ours = sqlx::query_scalar!(
        r#"select pg_try_advisory_xact_lock($1, $2) as "is_ours!""#,
        LOCK.0,
        LOCK.1
    )
    .fetch_one(&mut *tx)
    .await?;
    if !is_ours {
        return Ok(RetentionStep::Busy);
    }
    tx.execute("set local lock_timeout = '100ms'").await?;
    let attached = partitions::existing_partitions(&mut tx).await?;
    for (table, _) in TABLES {
        let name = partitions::partition_name(table, day);
        if attached.contains(&name) {
            // No part comes from outside: two table names and a date.
            let statement = format!("alter table {table} detach partition {name}");
            tx.execute(statement.as_str()).await?;
        }
    }
    tx.commit().await?;
    Ok(RetentionStep::Dropped)
}

/// Days up to `last_day` among the partitions of these names.
fn expired(names: impl IntoIterator<Item = String>, last_day: i64) -> BTreeSet<i64> {
    let day = |name: &String| {
        TABLES
            .iter()
            .find_map(|(table, _)| partitions::day_of_partition(table, name))
    };
    names
        .into_iter()
        .filter_map(|name| day(&name))
        .filter(|day| *day <= last_day)
        .collect()
}

/// Tables that were partitions and are none any more.
async fn detached_partitions(conn: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select c.relname::text as "name!" from pg_class c
           where c.relkind = 'r' and not c.relispartition
             and c.relname ~ '^(deliveries|delivery_attempts)_p[0-9]{8}$'
             and c.relnamespace = (select relnamespace from pg_class where oid = 'deliveries'::regclass)"#
    )
    .fetch_all(conn)
    .await
}

/// Deletes a batch of rows of days that had no partition of their own.
async fn delete_stray_rows(conn: &mut PgConnection, before_ms: i64) -> Result<RetentionStep, sqlx::Error> {
    let before = uuid_floor(before_ms);
    let attempts = sqlx::query!(
        "delete from delivery_attempts_default where (delivery_id, attempt) in
             (select delivery_id, attempt from delivery_attempts_default where delivery_id < $1 limit $2)",
        before,
        BATCH
    )
    .execute(&mut *conn)
    .await?;
    let deliveries = sqlx::query!(
        "delete from deliveries_default where id in (select id from deliveries_default where id < $1 limit $2)",
        before,
        BATCH
    )
    .execute(conn)
    .await?;
    Ok(match attempts.rows_affected() + deliveries.rows_affected() {
        0 => RetentionStep::Done,
        _ => RetentionStep::Dropped,
    })
}

#[cfg(test)]
mod tests {
    use super::TABLES;
    use crate::telemetry::words::HistoryTable;

    #[test]
    fn the_metrics_name_every_table_that_is_dropped_by_days() {
        assert_eq!(TABLES.map(|(table, _)| table), *HistoryTable::WORDS);
    }
}
