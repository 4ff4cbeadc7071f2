//! Reads the state of deliveries from Postgres, and notes what is about to be sent.

use std::collections::{HashMap, HashSet};

use sqlx::PgPool;

use super::resume::DeliveryProgress;
use super::rows;
use crate::domain::id::DeliveryId;
use crate::record::outcomes;
use crate::record::pg_monitor::PgMonitor;
use crate::record::send_notes::{self, SendNote};
use crate::telemetry::words::PostgresOp;

/// State of deliveries as Postgres knows it.
#[derive(Debug, Default)]
pub(crate) struct KnownProgress {
    pub(crate) by_delivery: HashMap<DeliveryId, DeliveryProgress>,
    /// Deliveries of which a newer version wrote more than this one understands.
    pub(crate) newer: HashSet<DeliveryId>,
}

/// Reads the state of deliveries, and writes notes. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ProgressReader {
    pub(crate) pool: PgPool,
    pub(crate) monitor: PgMonitor,
}

impl ProgressReader {
    /// Reads the state of these deliveries; those that Postgres does not know are absent. Waits for
    /// as long as Postgres is away.
    pub(crate) async fn read(&self, ids: &[DeliveryId]) -> KnownProgress {
        let known = self.monitor.until_done(PostgresOp::Known, || async {
            let mut connection = self.pool.acquire().await?;
            outcomes::known(&mut connection, ids).await
        });
        let known = known.await;
        let rows = known.readable.iter();
        KnownProgress {
            by_delivery: rows.map(|row| (row.id, rows::progress_of(row))).collect(),
            newer: known.newer.into_iter().collect(),
        }
    }

    /// Writes notes of what is about to be sent. Waits for as long as Postgres is away.
    pub(crate) async fn note(&self, notes: &[SendNote]) {
        if notes.is_empty() {
            return;
        }
        let noted = self.monitor.until_done(PostgresOp::Known, || async {
            let mut connection = self.pool.acquire().await?;
            send_notes::write(&mut connection, notes).await
        });
        noted.await;
    }
}
