//! The API's way to Postgres, timed: what `postgres_seconds` calls `api_read` and `api_write`.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Postgres, Transaction};

use super::ApiState;
use crate::clock;

/// Hears of every connection or transaction that was given back: the operation and how long it took.
pub(super) type Stopwatch = dyn Fn(&'static str, Duration) + Send + Sync;

/// A connection or a transaction.
pub(super) struct Timed<C> {
    inner: C,
    _timer: Timer,
}

struct Timer {
    op: &'static str,
    begun: Instant,
    stopwatch: Arc<Stopwatch>,
}

impl Drop for Timer {
    fn drop(&mut self) {
        (self.stopwatch)(self.op, clock::monotonic().duration_since(self.begun));
    }
}

impl ApiState {
    /// A connection to read with.
    pub(super) async fn read(&self) -> sqlx::Result<Timed<PoolConnection<Postgres>>> {
        let timer = self.timer("api_read");
        Ok(Timed {
            inner: self.pool.acquire().await?,
            _timer: timer,
        })
    }

    /// A transaction; what is not committed is undone.
    pub(super) async fn write(&self) -> sqlx::Result<Timed<Transaction<'static, Postgres>>> {
        let timer = self.timer("api_write");
        Ok(Timed {
            inner: self.pool.begin().await?,
            _timer: timer,
        })
    }

    fn timer(&self, op: &'static str) -> Timer {
        Timer {
            op,
            begun: clock::monotonic(),
            stopwatch: Arc::clone(&self.stopwatch),
        }
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
