//! The regular work. Every 5 s: dropping old history, switching off webhooks whose circuit stayed
//! open for too long, and gauges that nobody else sets. Every 10 minutes: partitions ahead of time,
//! and purging.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use sqlx::PgPool;

use super::context::AppContext;
use crate::clock;
use crate::domain::health::OPEN_TOO_LONG_MS;
use crate::domain::webhook::DisableReason;
use crate::record::keyring::Keyring;
use crate::record::pg_monitor::{PgMonitor, in_words};
use crate::record::retention::{self, RetentionStep};
use crate::record::{
    activity, audit, health, idempotency, jobs, keys, migrate, partitions, registry, sessions,
};
use crate::tasks::Tasks;
use crate::telemetry::Metrics;
use crate::telemetry::words::{ConnectionState, HistoryTable, PostgresOp};

/// Time between two rounds.
const PAUSE: Duration = Duration::from_secs(5);
/// Rounds between two looks at the partitions.
const PARTITIONS_ROUNDS: u64 = 120;

/// Kinds of rows that are kept for a while only.
#[derive(Clone, Copy)]
enum Purged {
    Changes,
    Keys,
    Jobs,
    Activity,
    Sessions,
    Audit,
}

impl Purged {
    const ALL: [Self; 6] = [
        Self::Changes,
        Self::Keys,
        Self::Jobs,
        Self::Activity,
        Self::Sessions,
        Self::Audit,
    ];
}

struct Upkeep {
    metrics: Arc<Metrics>,
    pool: PgPool,
    api_pool: PgPool,
    outcome_pool: PgPool,
    monitor: PgMonitor,
    keyring: Arc<Keyring>,
    retention_ms: i64,
    audit_retention: TimeDelta,
}

/// Starts the upkeep. A failure is logged and tried again; none of it stops the process.
pub(super) fn start(app: &AppContext, tasks: &mut Tasks) {
    let upkeep = Upkeep {
        metrics: Arc::clone(&app.metrics),
        pool: app.pool.clone(),
        api_pool: app.api_pool.clone(),
        outcome_pool: app.outcome_pool.clone(),
        monitor: app.pg_monitor.clone(),
        keyring: Arc::clone(&app.keyring),
        retention_ms: i64::try_from(app.config.postgres.retention.as_millis()).unwrap_or(i64::MAX),
        audit_retention: TimeDelta::from_std(app.config.postgres.audit_retention).unwrap_or(TimeDelta::MAX),
    };
    let finished = app.lifecycle.finished.clone();
    tasks.spawn_background("upkeep", async move {
        Box::pin(finished.run_until_cancelled(upkeep.run())).await;
        Ok(())
    });
}

impl Upkeep {
    async fn run(&self) {
        self.metrics.memory_limit.set(memory_limit());
        for round in 0_u64.. {
            self.local_gauges();
            // The monitor has told of what failed.
            if round.is_multiple_of(PARTITIONS_ROUNDS) {
                _ = self.make_partitions().await;
                _ = self.purge().await;
            }
            _ = self.disable_failing().await;
            self.ask_postgres().await;
            self.drop_old_history().await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn local_gauges(&self) {
        let pools = [&self.pool, &self.api_pool, &self.outcome_pool];
        let size: i64 = pools.iter().map(|pool| i64::from(pool.size())).sum();
        let idle: usize = pools.iter().map(|pool| pool.num_idle()).sum();
        let idle = i64::try_from(idle).unwrap_or(0);
        self.metrics
            .postgres_connections
            .with_label_values(&[ConnectionState::Idle.as_str()])
            .set(idle);
        self.metrics
            .postgres_connections
            .with_label_values(&[ConnectionState::Used.as_str()])
            .set((size - idle).max(0));
    }

    async fn ask_postgres(&self) {
        let now_ms = clock::now_ms();
        let asked = self.monitor.once(PostgresOp::Config, async {
            let mut connection = self.pool.acquire().await?;
            keys::store_canary(&mut connection, &self.keyring, clock::now()).await?;
            let horizon = partitions::partition_horizon_seconds(&mut connection, now_ms).await?;
            let theirs_ms: i64 = sqlx::query_scalar!(
                "select (extract(epoch from clock_timestamp()) * 1000)::bigint as \"now_ms!\""
            )
            .fetch_one(&mut *connection)
            .await?;
            Ok((horizon, theirs_ms))
        });
        let begun = clock::monotonic();
        if let Ok((horizon, theirs_ms)) = asked.await {
            self.metrics.postgres_partition_horizon.set(horizon as f64);
            // The server read its clock half a round trip ago.
            let half_way_ms = clock::monotonic().duration_since(begun).as_millis() as i64 / 2;
            self.metrics
                .clock_offset
                .set((clock::now_ms() - half_way_ms - theirs_ms) as f64 / 1_000.0);
        }
    }
}

impl Upkeep {
    async fn make_partitions(&self) -> sqlx::Result<()> {
        let made = self.monitor.once(PostgresOp::Config, async {
            let mut connection = self.pool.acquire().await?;
            Ok(migrate::ensure_partitions_around(&mut connection, clock::now_ms()).await)
        });
        // Without the right to make tables this is left to `bellwether migrate`; the horizon shows
        // when it is due.
        if let Err(error) = made.await? {
            let error = in_words(&error);
            tracing::warn!(
                error,
                "partitions could not be made ahead of time; `bellwether migrate` makes them"
            );
        }
        Ok(())
    }

    /// Deletes what is kept for a while only, in batches that are short each.
    async fn purge(&self) -> sqlx::Result<()> {
        for kind in Purged::ALL {
            while self.purge_batch(kind).await? > 0 {}
        }
        Ok(())
    }

    async fn purge_batch(&self, kind: Purged) -> sqlx::Result<u64> {
        let purged = self.monitor.once(PostgresOp::Config, async {
            let mut connection = self.pool.acquire().await?;
            let (connection, now) = (&mut *connection, clock::now());
            match kind {
                Purged::Changes => registry::purge_changes(connection).await,
                Purged::Keys => idempotency::purge(connection, now).await,
                Purged::Jobs => jobs::purge(connection, now - TimeDelta::days(30)).await,
                Purged::Activity => activity::purge(connection, now).await,
                Purged::Sessions => sessions::purge(connection, now).await,
                Purged::Audit => audit::purge(connection, now - self.audit_retention).await,
            }
        });
        purged.await
    }

    /// Disables webhooks whose circuit has been open for too long.
    async fn disable_failing(&self) -> sqlx::Result<()> {
        let before = clock::now() - TimeDelta::milliseconds(OPEN_TOO_LONG_MS);
        let reason = DisableReason::OpenTooLong.as_str();
        let mut after = None;
        loop {
            let disabled = self.monitor.once(PostgresOp::Config, async {
                let mut connection = self.pool.acquire().await?;
                health::disable_open_too_long(&mut connection, before, after).await
            });
            let disabled = disabled.await?;
            for webhook in &disabled {
                self.metrics.webhooks_disabled.with_label_values(&[reason]).inc();
                tracing::warn!(webhook.id = %webhook, reason, "the webhook was disabled");
            }
            if disabled.len() < health::OPEN_TOO_LONG_BATCH {
                return Ok(());
            }
            after = disabled.last().copied();
        }
    }

    /// Drops one day of old history at most: a round is short, however much there is to drop.
    async fn drop_old_history(&self) {
        let before_ms = clock::now_ms().saturating_sub(self.retention_ms);
        let dropped = self.monitor.once(PostgresOp::Retention, async {
            let mut connection = self.pool.acquire().await?;
            let step = retention::drop_expired(&mut connection, before_ms).await;
            for table in HistoryTable::WORDS {
                let lag = retention::lag_seconds(&mut connection, table, before_ms).await?;
                let gauge = self.metrics.postgres_retention_lag.with_label_values(&[table]);
                gauge.set(lag as f64);
            }
            Ok(step)
        });
        match dropped.await {
            Ok(Ok(RetentionStep::Dropped)) => tracing::info!("a day of old deliveries was dropped"),
            // A table in use shows in the gauge, if it lasts.
            Ok(Ok(RetentionStep::Done | RetentionStep::Busy)) | Err(_) => {}
            Ok(Err(error)) => tracing::warn!(error = in_words(&error), "old deliveries could not be dropped"),
        }
    }
}

/// Memory that the control group allows, in bytes; 0 is no limit (cgroup v2, then v1).
fn memory_limit() -> i64 {
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok()?.trim().parse::<i64>().ok())
        // v1 says "no limit" by a number near the largest.
        .filter(|limit| *limit < 1 << 60)
        .unwrap_or(0)
}
