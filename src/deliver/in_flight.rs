//! The deliveries that this process works on: each one once, whatever number of records ask for it.
//!
//! Records may be read twice: after a rebalance, or because a recorded attempt published its tier
//! record again. Of two records for one attempt the second waits here for the first; what Postgres
//! knows does not show a request that is still running.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::PgPool;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::intake::work::{Assignment, Work};
use super::rows;
use crate::dispatch::record::DeliveryRecord;
use crate::domain::id::DeliveryId;
use crate::record::outcomes::{self, Claim};

/// Longest wait for Postgres during a hand-over: the whole group waits meanwhile.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(2);

/// The deliveries that this process works on.
#[derive(Debug)]
pub(crate) struct InFlight {
    pool: PgPool,
    /// The way back to the deliverer, for records that are to be looked at again.
    requeued: mpsc::UnboundedSender<Work>,
    deliveries: Mutex<HashMap<DeliveryId, InFlightDelivery>>,
}

#[derive(Debug)]
struct InFlightDelivery {
    attempt: u32,
    assignment: Arc<Assignment>,
    /// Set when the request begins.
    claim: Option<Claim>,
    /// Other records of the delivery.
    waiting: Vec<Work>,
}

impl InFlight {
    /// Holds nothing yet. Claims are written through `pool`; records that are to be looked at again
    /// go to `requeued`.
    pub(crate) fn new(pool: PgPool, requeued: mpsc::UnboundedSender<Work>) -> Self {
        Self {
            pool,
            requeued,
            deliveries: Mutex::default(),
        }
    }

    /// Reserves a record's delivery for it, before Postgres is asked about it. `None`: the record
    /// waits for another one of its delivery, or is forgotten because its partition was given back.
    pub(crate) fn admit(&self, work: Box<Work>) -> Option<Box<Work>> {
        let mut deliveries = self.lock();
        if work.token.assignment().is_revoked() {
            return None;
        }
        match deliveries.entry(work.record.delivery_id) {
            Entry::Vacant(slot) => {
                slot.insert(InFlightDelivery {
                    attempt: work.record.attempt,
                    assignment: Arc::clone(work.token.assignment()),
                    claim: None,
                    waiting: Vec::new(),
                });
                Some(work)
            }
            Entry::Occupied(mut slot) => {
                slot.get_mut().waiting.push(*work);
                None
            }
        }
    }

    /// Notes that the request of a delivery begins and has surely ended at `deadline_ms`
    /// (milliseconds since the Unix epoch). `false`: its partition was given back, so it must not
    /// begin.
    pub(crate) fn begin_sending(&self, record: &DeliveryRecord, deadline_ms: i64) -> bool {
        let mut deliveries = self.lock();
        match deliveries.get_mut(&record.delivery_id) {
            Some(one) if !one.assignment.is_revoked() => {
                one.claim = Some(rows::claim(record, one.attempt, deadline_ms));
                true
            }
            _ => false,
        }
    }

    /// Completes a record, for which nothing remains to be done, and the waiting records of the
    /// same attempt; those of other attempts are looked at again.
    pub(crate) fn complete(&self, work: Work) {
        let mut others = Vec::new();
        if let Some(one) = self.remove(work.record.delivery_id) {
            for waiting in one.waiting {
                if waiting.record.attempt == one.attempt {
                    waiting.token.complete();
                } else {
                    others.push(waiting);
                }
            }
        }
        work.token.complete();
        self.send_back(others);
    }

    /// Hands a record back to the deliverer, behind the records that waited for it.
    pub(crate) fn requeue(&self, work: Work) {
        let waiting = self
            .remove(work.record.delivery_id)
            .map_or_else(Vec::new, |one| one.waiting);
        self.send_back(waiting.into_iter().chain([work]));
    }

    fn send_back(&self, works: impl IntoIterator<Item = Work>) {
        for work in works {
            // The deliverer is gone once the process is stopping; the next owner reads the record
            // again.
            drop(self.requeued.send(work));
        }
    }

    /// Writes the deadlines of the requests of revoked assignments in one statement, before their
    /// partitions are handed over.
    ///
    /// Called from a thread; waits for Postgres, but not for long. `false`: it failed, and the next
    /// owner must take what it cannot know for possible repeats.
    pub(crate) fn claim(&self, runtime: &Handle) -> bool {
        let claims: Vec<Claim> = self
            .lock()
            .values()
            .filter(|one| one.assignment.is_revoked())
            .filter_map(|one| one.claim.clone())
            .collect();
        if claims.is_empty() {
            return true;
        }
        let write = async {
            let mut connection = self.pool.acquire().await?;
            outcomes::claim(&mut connection, &claims).await
        };
        // The timeout is made inside: it needs the runtime, which this thread is not part of.
        let written = runtime.block_on(async { tokio::time::timeout(CLAIM_TIMEOUT, write).await });
        let error = match written {
            Ok(Ok(())) => {
                tracing::info!(
                    attempts = claims.len(),
                    "running attempts were claimed before the hand-over"
                );
                return true;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {CLAIM_TIMEOUT:?}"),
        };
        tracing::error!(
            attempts = claims.len(),
            error,
            "claiming the running attempts failed; the next owner may repeat them"
        );
        false
    }

    fn remove(&self, id: DeliveryId) -> Option<InFlightDelivery> {
        self.lock().remove(&id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeliveryId, InFlightDelivery>> {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
