//! Plans of statements, where those that Postgres keeps would not do.

use sqlx::{Executor as _, PgConnection};

/// Plans each statement of this transaction for its values. A plan for any values would be kept,
/// and does not know the size of the newest partition: made while that is empty, it reads the whole
/// of it, also when it has millions of rows.
pub(crate) async fn plan_for_values(tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    tx.execute("set local plan_cache_mode = force_custom_plan")
        .await?;
    Ok(())
}
