//! Connections to Postgres whose time of use is measured.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{Postgres, Transaction};

use crate::clock;
use crate::record::pool_shares::SharePermit;
use crate::telemetry::words::PostgresOp;

/// Receives the operation and the time of each connection or transaction that was given back.
pub(super) type Stopwatch = dyn Fn(PostgresOp, Duration) + Send + Sync;

/// A connection or a transaction, measured from before it was acquired until it is dropped.
pub(super) struct Timed<C> {
    inner: C,
    /// Given back after the connection.
    _permit: Option<SharePermit>,
    _timer: Timer,
}

/// A running measurement, which ends when it is dropped.
pub(super) struct Timer {
    op: PostgresOp,
    started: Instant,
    stopwatch: Arc<Stopwatch>,
}

impl Timer {
    /// Starts to measure the operation `op`.
    pub(super) fn start(op: PostgresOp, stopwatch: &Arc<Stopwatch>) -> Self {
        Self {
            op,
            started: clock::monotonic(),
            stopwatch: Arc::clone(stopwatch),
        }
    }

    /// Keeps measuring, and keeps the permit, as long as `inner` is in use.
    pub(super) fn hold<C>(self, inner: C, permit: Option<SharePermit>) -> Timed<C> {
        Timed {
            inner,
            _permit: permit,
            _timer: self,
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        (self.stopwatch)(self.op, clock::monotonic().duration_since(self.started));
    }
}

impl Timed<Transaction<'static, Postgres>> {
    pub(super) async fn commit(self) -> sqlx::Result<()> {
        self.inner.commit().await
    }
}

impl<C> Deref for Timed<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.inner
    }
}

impl<C> DerefMut for Timed<C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self.inner
    }
}
