//! The deliveries this process is busy with: each one once, whatever number of records ask for it.
//!
//! Records may be read twice: after a rebalance, or because a recorded attempt published its tier record again. Of two
//! records for one attempt the second waits here for the first; what Postgres knows cannot tell it of a request that is
//! still under way.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::PgPool;
use tokio::runtime::Handle;

use super::intake::work::{Assignment, Work};
use crate::dispatch::record::DeliveryRecord;
use crate::domain::id::DeliveryId;
use crate::domain::time::from_ms;
use crate::record::outcomes::{self, Claim, DeliveryFacts};

/// How long a hand-over may wait for Postgres: the whole group waits meanwhile.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(2);

/// What to do with a record.
#[derive(Debug)]
pub(crate) enum Begin {
    /// It is the only one for its delivery: go on with it.
    Alone(Box<Work>),
    /// It waits for another record of the delivery.
    Waits,
    /// Its partition was given back: forget it.
    Revoked,
}

/// The deliveries this process is busy with.
#[derive(Debug)]
pub(crate) struct InFlight {
    pool: PgPool,
    busy: Mutex<HashMap<DeliveryId, Busy>>,
}

#[derive(Debug)]
struct Busy {
    attempt: u32,
    assignment: Arc<Assignment>,
    /// Set when the request begins: when it has surely ended, in milliseconds since the Unix epoch.
    sending: Option<(DeliveryFacts, i64)>,
    waiting: Vec<Work>,
}

impl InFlight {
    /// Busy with nothing. Claims are written through `pool`.
    pub(crate) fn new(pool: PgPool) -> Self {
        Self {
            pool,
            busy: Mutex::default(),
        }
    }

    /// Takes a record's delivery, before anybody asks what is known of it.
    pub(crate) fn begin(&self, work: Box<Work>) -> Begin {
        let mut busy = self.lock();
        if work.token.assignment().is_revoked() {
            return Begin::Revoked;
        }
        match busy.entry(work.record.delivery_id) {
            Entry::Vacant(slot) => {
                let assignment = Arc::clone(work.token.assignment());
                slot.insert(Busy {
                    attempt: work.record.attempt,
                    assignment,
                    sending: None,
                    waiting: Vec::new(),
                });
                Begin::Alone(work)
            }
            Entry::Occupied(mut slot) => {
                slot.get_mut().waiting.push(*work);
                Begin::Waits
            }
        }
    }

    /// Notes that the request of a delivery begins and has surely ended at `deadline_ms`. `false`: its partition was given
    /// back, it must not begin.
    pub(crate) fn sending(&self, record: &DeliveryRecord, deadline_ms: i64) -> bool {
        let mut busy = self.lock();
        match busy.get_mut(&record.delivery_id) {
            Some(one) if !one.assignment.is_revoked() => {
                one.sending = Some((facts_of(record), deadline_ms));
                true
            }
            _ => false,
        }
    }

    /// Lets a delivery go. Records of the same attempt that waited are complete when it is `settled`; the others are
    /// returned, to be looked at again.
    pub(crate) fn finish(&self, id: DeliveryId, settled: bool) -> Vec<Work> {
        let Some(one) = self.lock().remove(&id) else {
            return Vec::new();
        };
        let mut again = Vec::new();
        for work in one.waiting {
            if settled && work.record.attempt == one.attempt {
                work.token.complete();
            } else {
                again.push(work);
            }
        }
        again
    }

    /// Before the partitions of a revoked assignment are handed over: writes the deadline of each of its requests, in one
    /// statement, and of those that are left from assignments before it. Called from a thread; waits for Postgres, but not
    /// for long. `false`: it failed, and the next owner must take what it cannot know for possible repeats.
    pub(crate) fn claim(&self, runtime: &Handle) -> bool {
        let claims: Vec<Claim> = self
            .lock()
            .values()
            .filter(|one| one.assignment.is_revoked())
            .filter_map(|one| {
                let (facts, deadline_ms) = one.sending.clone()?;
                Some(Claim {
                    facts,
                    attempt: i32::try_from(one.attempt).unwrap_or(i32::MAX),
                    until: from_ms(deadline_ms),
                })
            })
            .collect();
        if claims.is_empty() {
            return true;
        }
        let write = async {
            let mut connection = self.pool.acquire().await?;
            outcomes::claim(&mut connection, &claims).await
        };
        // The timeout is made inside: it needs the runtime that this thread is not of.
        let written = runtime.block_on(async { tokio::time::timeout(CLAIM_TIMEOUT, write).await });
        let error = match written {
            Ok(Ok(())) => {
                tracing::info!(
                    attempts = claims.len(),
                    "attempts under way were claimed before the hand-over"
                );
                return true;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {CLAIM_TIMEOUT:?}"),
        };
        tracing::error!(
            attempts = claims.len(),
            error,
            "claiming the attempts under way failed; the next owner may repeat them"
        );
        false
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<DeliveryId, Busy>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What Postgres keeps of a delivery whatever its outcome.
pub(crate) fn facts_of(record: &DeliveryRecord) -> DeliveryFacts {
    DeliveryFacts {
        id: record.delivery_id,
        notification_id: record.notification_id.uuid(),
        webhook_id: record.webhook_id,
        site_id: record.site_id.to_string(),
        event_type: record.event_type.as_str(),
        origin: record.origin.as_str(),
        payload: record.body.to_vec(),
        created_at: from_ms(record.created_at_ms),
    }
}
