//! What needs doing now and then: partitions ahead of time, and gauges nobody else sets.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::context::AppContext;
use super::roles::Roles;
use crate::clock;
use crate::config::Config;
use crate::kafka::client::ClientEvents;
use crate::kafka::topics::Topics;
use crate::record::pg_monitor::PgMonitor;
use crate::record::{idempotency, migrate, partitions, registry};
use crate::tasks::Tasks;
use crate::telemetry::{Health, Metrics};

const EVERY: Duration = Duration::from_secs(5);
/// Rounds between two looks at the partitions.
const PARTITIONS_ROUNDS: u64 = 120;

struct Upkeep {
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    client_events: ClientEvents,
    pool: PgPool,
    probe: PgMonitor,
    reads_kafka: bool,
}

impl Upkeep {
    fn new(app: &AppContext, roles: &Roles) -> Self {
        Self {
            config: Arc::clone(&app.config),
            metrics: Arc::clone(&app.metrics),
            health: Arc::clone(&app.health),
            client_events: app.client_events.clone(),
            pool: app.pool.clone(),
            probe: app.pg_monitor.clone(),
            reads_kafka: roles.reads_kafka(),
        }
    }
}

/// Starts the upkeep of a process with these roles.
pub(super) fn start(app: &AppContext, roles: &Roles, tasks: &mut Tasks) {
    let (upkeep, finished) = (Upkeep::new(app, roles), app.lifecycle.finished.clone());
    tasks.spawn_background("upkeep", run(upkeep, finished));
}

/// Goes round until the process ends. A failure is logged and tried again; none of it stops the process.
async fn run(upkeep: Upkeep, finished: CancellationToken) -> anyhow::Result<()> {
    upkeep.metrics.memory_limit.set(memory_limit());
    let topics = if upkeep.reads_kafka {
        Some(Arc::new(Topics::new(
            &upkeep.config,
            upkeep.client_events.clone(),
        )?))
    } else {
        None
    };
    let rounds = async {
        for round in 0_u64.. {
            upkeep.local_gauges();
            // Side by side: the one that is away must not keep the other's state from being seen.
            tokio::join!(upkeep.ask_postgres(round), async {
                if let Some(topics) = &topics {
                    upkeep.ask_kafka(Arc::clone(topics)).await;
                }
            });
            tokio::time::sleep(EVERY).await;
        }
    };
    tokio::select! {
        () = rounds => {}
        () = finished.cancelled() => {}
    }
    Ok(())
}

impl Upkeep {
    fn local_gauges(&self) {
        let (size, idle) = (
            i64::from(self.pool.size()),
            i64::try_from(self.pool.num_idle()).unwrap_or(0),
        );
        self.metrics
            .postgres_connections
            .with_label_values(&["idle"])
            .set(idle);
        self.metrics
            .postgres_connections
            .with_label_values(&["used"])
            .set((size - idle).max(0));
    }

    async fn ask_postgres(&self, round: u64) {
        let now_ms = clock::now_ms();
        let asked = self.probe.once("config", async {
            let mut connection = self.pool.acquire().await?;
            if round.is_multiple_of(PARTITIONS_ROUNDS) {
                // Where the process may not make tables, `bellwether migrate` does; the horizon shows when that is due.
                if let Err(error) = migrate::ensure_partitions_around(&mut connection, now_ms).await {
                    tracing::warn!(error = %error, "partitions could not be made ahead of time; `bellwether migrate` makes them");
                }
                registry::purge_changes(&mut connection).await?;
                idempotency::purge(&mut connection, clock::now()).await?;
            }
            let horizon = partitions::partition_horizon_seconds(&mut connection, now_ms).await?;
            let theirs_ms: i64 = sqlx::query_scalar!("select (extract(epoch from clock_timestamp()) * 1000)::bigint as \"now_ms!\"")
                .fetch_one(&mut *connection)
                .await?;
            Ok((horizon, theirs_ms))
        });
        let begun = clock::monotonic();
        if let Ok((horizon, theirs_ms)) = asked.await {
            self.metrics.postgres_partition_horizon.set(horizon as f64);
            // Half of the way there and back is nobody's offset.
            let half_way_ms = clock::monotonic().duration_since(begun).as_millis() as i64 / 2;
            self.metrics
                .clock_offset
                .set((clock::now_ms() - half_way_ms - theirs_ms) as f64 / 1_000.0);
        }
    }

    async fn ask_kafka(&self, topics: Arc<Topics>) {
        let asked = tokio::task::spawn_blocking(move || topics.existing().map(|_| ())).await;
        let state = match asked {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        self.health.set("kafka", state);
    }
}

/// What the control group allows, in bytes; 0 is no limit (cgroup v2, then v1).
fn memory_limit() -> i64 {
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok()?.trim().parse::<i64>().ok())
        // v1 says "no limit" by a number near the largest.
        .filter(|limit| *limit < 1 << 60)
        .unwrap_or(0)
}
