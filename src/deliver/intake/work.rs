//! A delivery record or a parked row on its way through the deliverer, and the report that it is
//! complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::completions::{Completed, Completions};
use crate::deliver::lanes::flow::RequestNumber;
use crate::dispatch::offsets::Epoch;
use crate::dispatch::record::{Coordinates, DeliveryRecord};
use crate::dispatch::tier::Tier;
use crate::domain::delivery::LATE_AFTER;
use crate::domain::health::ParkReason;
use crate::domain::id::JobId;
use crate::kafka::topic_partition::TopicPartition;
use crate::record::parked::GivenBackRow;

/// An attempt that is to be brought to an outcome.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) record: DeliveryRecord,
    pub(crate) origin: WorkOrigin,
    /// Number of the partition that the webhook's records lie in.
    pub(crate) partition: i32,
    /// Kafka's time of the record, or when the row was parked, in milliseconds since the Unix
    /// epoch.
    pub(crate) record_ms: i64,
    /// Time at which the attempt is due, after clamping; the record's own time when it has no due
    /// time.
    pub(crate) due_at_ms: i64,
    /// True if a predecessor that did not hand over may have sent it.
    pub(crate) suspect: bool,
    /// True if it may have for the case that it has noted so in Postgres.
    pub(crate) is_suspect_if_noted: bool,
    /// True if somebody else may have worked on it, so that Postgres has to be asked.
    pub(crate) needs_look_up: bool,
    /// True if its send is to be noted in Postgres before, for the case that this owner dies.
    pub(crate) must_be_noted: bool,
    /// When it was read, or became due.
    pub(crate) read_at: Instant,
    /// Milliseconds for which it has been paused while it was parked.
    pub(crate) paused_ms: i64,
    /// Number of its request, since its turn came.
    pub(crate) request: Option<RequestNumber>,
}

/// Origin of an attempt that is to be made.
#[derive(Debug)]
pub(crate) enum WorkOrigin {
    /// A record in Kafka.
    Record {
        token: OffsetToken,
        read_from: Coordinates,
        /// Tier that the record was read from.
        tier: Option<Tier>,
        /// The record is due later than its tier holds records for.
        is_far_due: bool,
    },
    /// A claimed row of `parked`.
    Row {
        assignment: Arc<Assignment>,
        reason: ParkReason,
        /// End of this process' claim, which names it.
        claimed_until: DateTime<Utc>,
        /// The recovery that queued it.
        job: Option<JobId>,
    },
}

impl Work {
    /// Assignment under which it was read.
    pub(crate) fn assignment(&self) -> &Arc<Assignment> {
        match &self.origin {
            WorkOrigin::Record { token, .. } => token.assignment(),
            WorkOrigin::Row { assignment, .. } => assignment,
        }
    }

    /// Reports that nothing remains to be done for the record. Nothing is reported of a row, which
    /// the outcome has removed.
    pub(crate) fn complete(self) {
        if let WorkOrigin::Record { token, .. } = self.origin {
            token.complete();
        }
    }

    /// Place that the record was read from; none for a row.
    pub(crate) fn read_from(&self) -> Option<&Coordinates> {
        match &self.origin {
            WorkOrigin::Record { read_from, .. } => Some(read_from),
            WorkOrigin::Row { .. } => None,
        }
    }

    /// Reason of its row in `parked`; none for a record.
    pub(crate) fn parked(&self) -> Option<ParkReason> {
        match &self.origin {
            WorkOrigin::Record { .. } => None,
            WorkOrigin::Row { reason, .. } => Some(*reason),
        }
    }

    /// Recovery that queued its row in `parked`, if one did.
    pub(crate) fn recovery(&self) -> Option<JobId> {
        match &self.origin {
            WorkOrigin::Record { .. } => None,
            WorkOrigin::Row { job, .. } => *job,
        }
    }

    /// End of the claim of its row in `parked`; none for a record.
    pub(crate) fn claimed_until(&self) -> Option<DateTime<Utc>> {
        match &self.origin {
            WorkOrigin::Record { .. } => None,
            WorkOrigin::Row { claimed_until, .. } => Some(*claimed_until),
        }
    }

    /// Its row of `parked`, to be given back without an attempt; none for a record.
    pub(crate) fn given_back(&self) -> Option<GivenBackRow> {
        let claimed_until = self.claimed_until()?;
        Some(GivenBackRow::new(
            self.record.delivery_id,
            claimed_until,
            self.suspect,
        ))
    }

    /// True if it is a record that is due for so long that another delivery may have taken its
    /// place.
    fn is_late(&self, now_ms: i64) -> bool {
        let late_ms = now_ms.saturating_sub(self.due_at_ms);
        self.parked().is_none() && late_ms > LATE_AFTER.num_milliseconds()
    }

    /// True if Postgres has to be asked about it before anything is done.
    pub(crate) fn must_be_looked_up(&self, now: Instant, now_ms: i64) -> bool {
        let assignment = self.assignment();
        self.needs_look_up
            || self.is_late(now_ms)
            || !assignment.is_unbroken(now, now_ms)
            || now.saturating_duration_since(self.read_at) > assignment.max_gap
    }
}

/// Assignment under which records were read. Once it is revoked, no delivery of its records may
/// begin.
#[derive(Debug)]
pub(crate) struct Assignment {
    /// Name under which the sends of the thread are noted.
    nonce: Arc<str>,
    revoked: AtomicBool,
    /// Longest time between two polls in which no other owner can have come in between.
    max_gap: Duration,
    begun: Instant,
    /// The same in milliseconds since the Unix epoch.
    begun_ms: i64,
    /// Time of the thread's last poll: milliseconds since `begun`, and since the Unix epoch. Both
    /// clocks are watched, because either may stand still while a machine is suspended.
    polled_after_ms: AtomicU64,
    polled_at_ms: AtomicI64,
    is_broken: AtomicBool,
}

impl Assignment {
    pub(crate) fn new(nonce: Arc<str>, max_gap: Duration, now: Instant, now_ms: i64) -> Self {
        Self {
            nonce,
            revoked: AtomicBool::new(false),
            max_gap,
            begun: now,
            begun_ms: now_ms,
            polled_after_ms: AtomicU64::new(0),
            polled_at_ms: AtomicI64::new(now_ms),
            is_broken: AtomicBool::new(false),
        }
    }

    /// Name under which the sends of its thread are noted.
    pub(crate) fn nonce(&self) -> &Arc<str> {
        &self.nonce
    }

    /// When it began, in milliseconds since the Unix epoch.
    pub(crate) fn begun_ms(&self) -> i64 {
        self.begun_ms
    }

    /// Ends the assignment: no delivery of its records begins any more.
    pub(crate) fn revoke(&self) {
        self.revoked.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::SeqCst)
    }

    /// Notes a poll of the thread. After one that came too late, somebody else may have owned the
    /// partitions meanwhile.
    pub(crate) fn note_poll(&self, now: Instant, now_ms: i64) {
        if !self.is_unbroken(now, now_ms) {
            self.is_broken.store(true, Ordering::SeqCst);
        }
        let after_ms = now.saturating_duration_since(self.begun).as_millis() as u64;
        self.polled_after_ms.store(after_ms, Ordering::SeqCst);
        self.polled_at_ms.store(now_ms, Ordering::SeqCst);
    }

    /// True if a poll came too late, and nothing has shown since that nobody else came in between.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::SeqCst)
    }

    /// Notes that a commit was accepted, and so that nobody else has owned the partitions.
    pub(crate) fn confirm(&self) {
        self.is_broken.store(false, Ordering::SeqCst);
    }

    /// True if nobody else can have owned the partitions since the assignment began.
    pub(crate) fn is_unbroken(&self, now: Instant, now_ms: i64) -> bool {
        let gap_ms = self.max_gap.as_millis() as u64;
        let after_ms = now.saturating_duration_since(self.begun).as_millis() as u64;
        let polled_after_ms = self.polled_after_ms.load(Ordering::SeqCst);
        let polled_at_ms = self.polled_at_ms.load(Ordering::SeqCst);
        !self.is_broken.load(Ordering::SeqCst)
            && after_ms.saturating_sub(polled_after_ms) <= gap_ms
            && now_ms.abs_diff(polled_at_ms) <= gap_ms
    }
}

/// Right to complete one offset, once.
#[derive(Debug)]
pub(crate) struct OffsetToken {
    at: TopicPartition,
    epoch: Epoch,
    offset: i64,
    assignment: Arc<Assignment>,
    completions: Completions,
}

impl OffsetToken {
    pub(crate) fn new(
        at: TopicPartition,
        epoch: Epoch,
        offset: i64,
        assignment: Arc<Assignment>,
        completions: Completions,
    ) -> Self {
        Self {
            at,
            epoch,
            offset,
            assignment,
            completions,
        }
    }

    /// Partition that the record was read from.
    pub(crate) fn at(&self) -> TopicPartition {
        self.at
    }

    /// Assignment under which the record was read.
    pub(crate) fn assignment(&self) -> &Arc<Assignment> {
        &self.assignment
    }

    /// Reports that nothing remains to be done for the record. A token that is dropped instead
    /// leaves its offset open, and the next owner of the partition reads the record again.
    pub(crate) fn complete(self) {
        self.completions.report(Completed {
            at: self.at,
            epoch: self.epoch,
            offset: self.offset,
        });
    }
}
