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
use tokio_util::sync::CancellationToken;

use super::intake::work::{Assignment, Work};
use super::rows;
use crate::clock;
use crate::dispatch::record::DeliveryRecord;
use crate::domain::id::DeliveryId;
use crate::domain::time::from_ms;
use crate::record::outcomes::{self, Claim};
use crate::record::parked::{self, GivenBackRow};

/// Longest wait for one answer of Postgres during a hand-over.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause before Postgres is told again.
const CLAIM_PAUSE: Duration = Duration::from_millis(200);
/// Time within which an outcome that is not yet written will be, however slow Postgres is.
const UNWRITTEN_CLAIM_MS: i64 = 5 * 60 * 1_000;

/// The deliveries that this process works on.
#[derive(Debug)]
pub(crate) struct InFlight {
    pool: PgPool,
    /// The way back to the deliverer, for records that are to be looked at again.
    requeued: mpsc::UnboundedSender<Work>,
    deliveries: Mutex<Deliveries>,
}

#[derive(Debug, Default)]
struct Deliveries {
    at_work: HashMap<DeliveryId, InFlightDelivery>,
    /// Rows of `parked` that are on their way back to the deliverer: claimed, and not at work.
    returning: HashMap<DeliveryId, ReturningRow>,
}

#[derive(Debug)]
struct ReturningRow {
    assignment: Arc<Assignment>,
    row: GivenBackRow,
}

#[derive(Debug)]
struct InFlightDelivery {
    attempt: u32,
    assignment: Arc<Assignment>,
    /// Set when the request begins.
    claim: Option<Claim>,
    /// The request has ended, and its outcome is on its way to Postgres.
    has_ended: bool,
    /// Its row of `parked`, if it is one, claimed by this process.
    row: Option<GivenBackRow>,
    /// Other records of the delivery.
    waiting: Vec<Work>,
}

/// Deliveries that are sent, or were, and of which something remains to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unfinished {
    /// Requests under way.
    pub(crate) requests: usize,
    /// Outcomes of requests that are not recorded, or of which what follows is not published.
    pub(crate) outcomes: usize,
}

/// The reason for which a record is not worked on now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    /// It waits for another record of its delivery.
    Waits,
    /// It is forgotten: its partition was given back.
    Revoked,
    /// The same, of a row of `parked` that is still claimed by this process.
    ClaimedInVain,
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

    /// Reserves a record's delivery for it, before Postgres is asked about it.
    pub(crate) fn admit(&self, work: Box<Work>) -> Result<Box<Work>, NotAdmitted> {
        let mut deliveries = self.lock();
        let id = work.record.delivery_id;
        if work.assignment().is_revoked() {
            // The hand-over gives back the rows that were here.
            return Err(match work.parked().is_some() && !work.needs_look_up {
                true => NotAdmitted::ClaimedInVain,
                false => NotAdmitted::Revoked,
            });
        }
        deliveries.returning.remove(&id);
        match deliveries.at_work.entry(id) {
            Entry::Vacant(slot) => {
                slot.insert(InFlightDelivery {
                    attempt: work.record.attempt,
                    assignment: Arc::clone(work.assignment()),
                    claim: None,
                    has_ended: false,
                    row: work.given_back(),
                    waiting: Vec::new(),
                });
                Ok(work)
            }
            Entry::Occupied(mut slot) => {
                slot.get_mut().waiting.push(*work);
                Err(NotAdmitted::Waits)
            }
        }
    }

    /// Notes that the request of a delivery begins and has surely ended at `deadline_ms`
    /// (milliseconds since the Unix epoch). `false`: its partition was given back, so it must not
    /// begin.
    pub(crate) fn begin_sending(&self, record: &DeliveryRecord, deadline_ms: i64) -> bool {
        let mut deliveries = self.lock();
        match deliveries.at_work.get_mut(&record.delivery_id) {
            Some(one) if !one.assignment.is_revoked() => {
                one.claim = Some(rows::claim(record, one.attempt, deadline_ms));
                true
            }
            _ => false,
        }
    }

    /// Notes that the request of a delivery has ended: its outcome is not yet written.
    pub(crate) fn end_sending(&self, id: DeliveryId) {
        if let Some(one) = self.lock().at_work.get_mut(&id) {
            one.has_ended = true;
        }
    }

    /// Counts what was begun and is not complete.
    pub(crate) fn unfinished(&self) -> Unfinished {
        let deliveries = self.lock();
        let begun = || deliveries.at_work.values().filter(|one| one.claim.is_some());
        let outcomes = begun().filter(|one| one.has_ended).count();
        Unfinished {
            requests: begun().count() - outcomes,
            outcomes,
        }
    }

    /// Completes a record, for which nothing remains to be done, and the waiting records of the
    /// same attempt; those of other attempts are looked at again.
    pub(crate) fn complete(&self, work: Work) {
        let mut deliveries = self.lock();
        let mut copies = Vec::new();
        if let Some(one) = deliveries.at_work.remove(&work.record.delivery_id) {
            // A row is on its own: a record that was complete says nothing of it.
            let is_copy = |other: &Work| other.record.attempt == one.attempt && other.parked().is_none();
            let others;
            (copies, others) = one.waiting.into_iter().partition(is_copy);
            self.send_back(&mut deliveries, others);
        }
        drop(deliveries);
        copies.into_iter().chain([work]).for_each(Work::complete);
    }

    /// Hands a record back to the deliverer, behind the records that waited for it.
    pub(crate) fn requeue(&self, work: Work) {
        let mut deliveries = self.lock();
        let one = deliveries.at_work.remove(&work.record.delivery_id);
        let waiting = one.map_or_else(Vec::new, |one| one.waiting);
        self.send_back(&mut deliveries, waiting.into_iter().chain([work]).collect());
    }

    /// Sends records to the deliverer, in the same breath in which they leave what is at work: a
    /// hand-over finds a row here or there.
    fn send_back(&self, deliveries: &mut Deliveries, works: Vec<Work>) {
        for mut work in works {
            // What became of the other record is not known here.
            work.needs_look_up = true;
            if let Some(row) = work.given_back() {
                let assignment = Arc::clone(work.assignment());
                let returning = ReturningRow { assignment, row };
                deliveries.returning.insert(work.record.delivery_id, returning);
            }
            // The deliverer is gone once the process is stopping; the next owner reads the record
            // again.
            drop(self.requeued.send(work));
        }
    }

    /// Writes the deadlines of the requests of revoked assignments in one statement, before their
    /// partitions are handed over, and gives back the rows of `parked` that were not begun.
    ///
    /// Called from a thread. Waits for Postgres for at most `timeout`, until `end`: what was sent
    /// could else not be told from what was not. `false`: it failed, and the next owner must take
    /// what it cannot know for possible repeats.
    pub(crate) fn claim(&self, runtime: &Handle, timeout: Duration, end: &CancellationToken) -> bool {
        let began = clock::monotonic();
        let is_over = || end.is_cancelled() || clock::monotonic().saturating_duration_since(began) > timeout;
        let (mut claims, rows) = self.claims(clock::now_ms());
        let written = loop {
            let written = self.write_claims(runtime, &claims, &rows);
            if written.is_ok() || claims.is_empty() || is_over() {
                break written;
            }
            runtime.block_on(async {
                let pause = tokio::time::timeout(CLAIM_PAUSE, end.cancelled());
                pause.await.unwrap_or_default();
            });
            // By now some may be recorded.
            claims = self.claims(clock::now_ms()).0;
        };
        match written {
            Ok(()) if claims.is_empty() && rows.is_empty() => {}
            Ok(()) => tracing::info!(
                attempts = claims.len(),
                rows = rows.len(),
                "running attempts were claimed before the hand-over"
            ),
            Err(error) if claims.is_empty() => tracing::warn!(
                rows = rows.len(),
                error,
                "giving back rows before the hand-over failed; their claims end by themselves"
            ),
            Err(error) => {
                tracing::error!(
                    attempts = claims.len(),
                    error,
                    "claiming the running attempts failed; the next owner may repeat them"
                );
                return false;
            }
        }
        true
    }

    fn write_claims(&self, runtime: &Handle, claims: &[Claim], rows: &[GivenBackRow]) -> Result<(), String> {
        if claims.is_empty() && rows.is_empty() {
            return Ok(());
        }
        let write = async {
            let mut connection = self.pool.acquire().await?;
            if !claims.is_empty() {
                outcomes::claim(&mut connection, claims).await?;
            }
            if !rows.is_empty() {
                parked::release(&mut connection, rows).await?;
            }
            Ok(())
        };
        // The timeout is made inside: it needs the runtime, which this thread is not part of.
        let written: Result<sqlx::Result<()>, _> =
            runtime.block_on(async { tokio::time::timeout(STATEMENT_TIMEOUT, write).await });
        match written {
            Ok(written) => written.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {STATEMENT_TIMEOUT:?}")),
        }
    }

    /// Gives back the rows of `parked` that were not begun, of assignments that were lost: their
    /// owner may be this process once more. Does not wait for Postgres; a row that the next owner
    /// has claimed meanwhile is left to it.
    pub(crate) fn give_back_lost(&self, runtime: &Handle) {
        let (_, rows) = self.claims(clock::now_ms());
        if rows.is_empty() {
            return;
        }
        let pool = self.pool.clone();
        runtime.spawn(async move {
            let released = async { parked::release(&mut *pool.acquire().await?, &rows).await };
            match released.await {
                Ok(()) => tracing::info!(rows = rows.len(), "rows of lost partitions were given back"),
                Err(error) => tracing::warn!(
                    rows = rows.len(),
                    %error,
                    "giving back rows of lost partitions failed; their claims end by themselves"
                ),
            }
        });
    }

    /// Forgets the rows on their way back of revoked assignments: others may own them by now.
    pub(crate) fn forget_returning(&self) {
        let returning = &mut self.lock().returning;
        returning.retain(|_, row| !row.assignment.is_revoked());
    }

    /// Lists the claims of requests under way, and the rows that wait, of revoked assignments. Each
    /// row is listed at one hand-over.
    fn claims(&self, now_ms: i64) -> (Vec<Claim>, Vec<GivenBackRow>) {
        let mut deliveries = self.lock();
        let Deliveries { at_work, returning } = &mut *deliveries;
        let at_work = &*at_work;
        let revoked = || at_work.iter().filter(|(_, one)| one.assignment.is_revoked());
        let claims = revoked().filter_map(|(_, one)| {
            let mut claim = one.claim.clone()?;
            if one.has_ended {
                claim.until = claim.until.max(from_ms(now_ms + UNWRITTEN_CLAIM_MS));
            }
            Some(claim)
        });
        // A row may also wait behind a record of its delivery.
        let rows = revoked().filter_map(|(_, one)| {
            let waiting = || one.waiting.iter().find_map(Work::given_back);
            one.row.filter(|_| one.claim.is_none()).or_else(waiting)
        });
        let returned = returning.extract_if(|_, row| row.assignment.is_revoked());
        let returned = returned.map(|(_, returning)| returning.row);
        (claims.collect(), rows.chain(returned).collect())
    }

    fn lock(&self) -> MutexGuard<'_, Deliveries> {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
