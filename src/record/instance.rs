//! A lock by which a process of one name knows that it is the only one. It belongs to a connection,
//! and so ends with the process, however that ends.

use sqlx::PgConnection;

/// Takes the lock of a name for as long as the connection lives; false if another one has it.
pub(crate) async fn try_lock(connection: &mut PgConnection, name: &str) -> sqlx::Result<bool> {
    // `bell` in ASCII sets these locks apart from others.
    sqlx::query_scalar!(
        r#"select pg_try_advisory_lock(1650814060, hashtext($1)) as "taken!""#,
        name
    )
    .fetch_one(connection)
    .await
}
