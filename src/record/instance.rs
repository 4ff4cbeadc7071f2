//! A lock by which a process of one name knows that it is the only one. It belongs to a session of
//! Postgres, and so ends with the process. Where Postgres does not learn that the process is gone,
//! as when its machine died, the session can be ended by another one.

use std::time::Duration;

use sqlx::PgConnection;

/// The session that holds the lock of a name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holder {
    pub(crate) pid: i32,
    /// Time since it last did anything; none if that cannot be seen.
    pub(crate) silent: Option<Duration>,
}

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

/// Finds the session that holds the lock of a name.
pub(crate) async fn holder(connection: &mut PgConnection, name: &str) -> sqlx::Result<Option<Holder>> {
    let row = sqlx::query!(
        r#"select lock.pid as "pid!",
                  extract(epoch from clock_timestamp() - session.state_change)::float8 as silent_seconds
           from pg_locks lock
           join pg_database here on here.oid = lock.database and here.datname = current_database()
           left join pg_stat_activity session on session.pid = lock.pid
           where lock.locktype = 'advisory' and lock.granted and lock.objsubid = 2
             and lock.classid = 1650814060::int4::oid and lock.objid = hashtext($1)::oid"#,
        name
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| Holder {
        pid: row.pid,
        silent: row
            .silent_seconds
            .map(|seconds| Duration::from_secs_f64(seconds.max(0.0))),
    }))
}

/// Ends another session of this role.
pub(crate) async fn end_session(connection: &mut PgConnection, pid: i32) -> sqlx::Result<()> {
    sqlx::query_scalar!(r#"select pg_terminate_backend($1) as "ended!""#, pid)
        .fetch_one(connection)
        .await
        .map(drop)
}

/// Returns the number of the connection's session.
pub(crate) async fn session_of(connection: &mut PgConnection) -> sqlx::Result<i32> {
    sqlx::query_scalar!(r#"select pg_backend_pid() as "pid!""#)
        .fetch_one(connection)
        .await
}
