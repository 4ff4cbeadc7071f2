//! Shares of a pool's connections: neither one caller nor all strangers together hold the pool.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

/// Most callers that are remembered.
const MAX_CALLERS: usize = 10_000;

/// The shares of a pool. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PoolShares(Arc<ShareTable>);

#[derive(Debug)]
struct ShareTable {
    /// Connections that one caller may hold: half of them.
    of_caller: usize,
    /// Longest wait for a share.
    timeout: Duration,
    /// The connection by which secrets that were never valid here are looked up.
    strangers: Arc<Semaphore>,
    callers: Mutex<Callers>,
}

#[derive(Debug, Default)]
struct Callers {
    /// Ids by the hash of a secret that was valid when it was looked up last.
    known: HashMap<[u8; 32], Uuid>,
    shares: HashMap<Uuid, CallerShare>,
}

/// The connections that one caller may hold at a time. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct CallerShare {
    permits: Arc<Semaphore>,
    timeout: Duration,
}

/// The right to hold one connection.
#[derive(Debug)]
pub(crate) struct SharePermit {
    _permit: OwnedSemaphorePermit,
}

/// A connection with the permit for it.
#[derive(Debug)]
pub(crate) struct WithinShare<C> {
    inner: C,
    /// Given back after the connection.
    _permit: SharePermit,
}

impl SharePermit {
    /// Keeps the permit as long as `inner` is in use.
    pub(crate) fn hold<C>(self, inner: C) -> WithinShare<C> {
        WithinShare { inner, _permit: self }
    }
}

impl<C> Deref for WithinShare<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.inner
    }
}

impl<C> DerefMut for WithinShare<C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self.inner
    }
}

impl CallerShare {
    /// Waits for one connection of the share. `None` if none is given back in time.
    pub(crate) async fn take(&self) -> Option<SharePermit> {
        take(&self.permits, self.timeout).await
    }
}

impl PoolShares {
    /// The shares of `pool`. Whoever uses the same pool needs the same shares.
    pub fn of(pool: &PgPool) -> Self {
        let size = usize::try_from(pool.options().get_max_connections()).unwrap_or(usize::MAX);
        Self(Arc::new(ShareTable {
            of_caller: (size / 2).clamp(1, Semaphore::MAX_PERMITS),
            timeout: pool.options().get_acquire_timeout(),
            strangers: Arc::new(Semaphore::new(1)),
            callers: Mutex::default(),
        }))
    }

    /// The share of the caller with this id.
    pub(crate) fn of_caller(&self, id: Uuid) -> CallerShare {
        let mut callers = self.lock();
        if callers.shares.len() >= MAX_CALLERS && !callers.shares.contains_key(&id) {
            // One that is in use is never made twice.
            callers
                .shares
                .retain(|_, share| Arc::strong_count(&share.permits) > 1);
        }
        let share = callers.shares.entry(id).or_insert_with(|| CallerShare {
            permits: Arc::new(Semaphore::new(self.0.of_caller)),
            timeout: self.0.timeout,
        });
        share.clone()
    }

    /// Waits for a connection by which the secret with this hash is looked up: its caller's, or
    /// the one of all strangers. `None` if none is free in time.
    ///
    /// `is_suspect` if too many look-ups for the same address have failed: then a stranger does not
    /// wait.
    pub(crate) async fn for_look_up(&self, hash: &[u8; 32], is_suspect: bool) -> Option<SharePermit> {
        let known = self.lock().known.get(hash).copied();
        match known {
            Some(id) => self.of_caller(id).take().await,
            None if is_suspect => {
                let permit = Arc::clone(&self.0.strangers).try_acquire_owned().ok()?;
                Some(SharePermit { _permit: permit })
            }
            None => self.for_stranger().await,
        }
    }

    /// Waits for the connection of all strangers. `None` if it is not free in time.
    pub(crate) async fn for_stranger(&self) -> Option<SharePermit> {
        take(&self.0.strangers, self.0.timeout).await
    }

    /// Notes the result of a look-up: the caller's id if the secret is valid.
    pub(crate) fn looked_up(&self, hash: [u8; 32], caller: Option<Uuid>) {
        let known = &mut self.lock().known;
        let Some(id) = caller else {
            known.remove(&hash);
            return;
        };
        if known.len() >= MAX_CALLERS && !known.contains_key(&hash) {
            // Forgotten callers are looked up as strangers once.
            known.clear();
        }
        known.insert(hash, id);
    }

    fn lock(&self) -> MutexGuard<'_, Callers> {
        self.0.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn take(permits: &Arc<Semaphore>, timeout: Duration) -> Option<SharePermit> {
    let permit = tokio::time::timeout(timeout, Arc::clone(permits).acquire_owned()).await;
    let permit = permit.ok()?.ok()?;
    Some(SharePermit { _permit: permit })
}

#[cfg(test)]
mod tests {
    use sqlx::postgres::PgPoolOptions;

    use super::*;

    fn shares(size: u32) -> PoolShares {
        let options = PgPoolOptions::new().max_connections(size);
        let options = options.acquire_timeout(Duration::from_millis(10));
        PoolShares::of(&options.connect_lazy("postgres://nowhere").expect("a pool"))
    }

    #[tokio::test]
    async fn a_caller_holds_at_most_half_of_the_pool() {
        let shares = shares(4);
        let (one, other) = (shares.of_caller(Uuid::nil()), shares.of_caller(Uuid::max()));
        let held = [one.take().await, one.take().await];
        assert!(held.iter().all(Option::is_some));
        assert!(one.take().await.is_none());
        assert!(shares.of_caller(Uuid::nil()).take().await.is_none());
        assert!(other.take().await.is_some());
        drop(held);
        assert!(one.take().await.is_some());
    }

    #[tokio::test]
    async fn a_pool_of_one_connection_is_still_of_use() {
        assert!(shares(1).of_caller(Uuid::nil()).take().await.is_some());
    }

    #[tokio::test]
    async fn strangers_take_turns_and_the_known_do_not_wait() {
        let shares = shares(4);
        let (stranger, known) = ([1; 32], [2; 32]);
        shares.looked_up(known, Some(Uuid::nil()));
        let held = shares.for_look_up(&stranger, true).await.expect("nobody else");
        assert!(shares.for_look_up(&stranger, true).await.is_none());
        assert!(shares.for_look_up(&stranger, false).await.is_none());
        assert!(shares.for_look_up(&known, true).await.is_some());
        shares.looked_up(known, None);
        assert!(shares.for_look_up(&known, true).await.is_none());
        drop(held);
        assert!(shares.for_look_up(&known, true).await.is_some());
    }

    #[tokio::test]
    async fn the_number_of_remembered_callers_is_bounded() {
        let shares = shares(4);
        let held = shares.of_caller(Uuid::from_u128(0)).take().await;
        for n in 0..25_000_u128 {
            let mut hash = [0; 32];
            hash[..16].copy_from_slice(&n.to_be_bytes());
            shares.looked_up(hash, Some(Uuid::from_u128(n)));
            shares.of_caller(Uuid::from_u128(n));
        }
        let callers = shares.lock();
        assert!(callers.known.len() <= MAX_CALLERS);
        assert!(callers.shares.len() <= MAX_CALLERS);
        let first = callers.shares.get(&Uuid::from_u128(0)).expect("in use");
        assert_eq!(first.permits.available_permits(), 1);
        drop(held);
    }
}
