//! Rows that statements read, for tests of their cost.

use sqlx::PgConnection;

/// Rows that this transaction has read of the tables whose names match, partitions too.
pub(super) async fn rows_read(conn: &mut PgConnection, tables: &str) -> i64 {
    sqlx::query_scalar(
        "select (coalesce(sum(seq_tup_read), 0) + coalesce(sum(idx_tup_fetch), 0))::bigint
         from pg_stat_xact_user_tables where relname ~ $1",
    )
    .bind(tables)
    .fetch_one(conn)
    .await
    .expect("a number")
}
