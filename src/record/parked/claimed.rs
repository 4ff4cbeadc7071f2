//! Claimed rows of `parked`, with their deliveries.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::delivery::{DeliveryStatus, FailureReason, Origin};
use crate::domain::event::EventType;
use crate::domain::health::ParkReason;
use crate::domain::id::{DeliveryId, JobId, WebhookId};

/// A claimed row, with the delivery's own row.
#[derive(Debug, Clone)]
pub(crate) struct ClaimedRow {
    pub(crate) delivery_id: DeliveryId,
    pub(crate) webhook_id: WebhookId,
    pub(crate) partition: i32,
    pub(crate) due_at: DateTime<Utc>,
    pub(crate) reason: ParkReason,
    pub(crate) attempt: i32,
    pub(crate) step: i32,
    pub(crate) paused_ms: i64,
    pub(crate) parked_at: DateTime<Utc>,
    /// End of this owner's claim, which also names it: two claims never end at the same instant.
    pub(crate) claimed_until: DateTime<Utc>,
    /// The recovery that queued it.
    pub(crate) job: Option<JobId>,
    /// An earlier claim was never resolved: the attempt may have been made.
    pub(crate) was_claimed: bool,
    /// Absent if the history of that day is gone.
    pub(crate) delivery: Option<ParkedDelivery>,
}

/// The delivery of a parked row.
#[derive(Debug, Clone)]
pub(crate) struct ParkedDelivery {
    pub(crate) notification_id: Uuid,
    pub(crate) site_id: String,
    pub(crate) event_type: EventType,
    pub(crate) origin: Origin,
    pub(crate) resend_of: Option<Uuid>,
    pub(crate) status: DeliveryStatus,
    pub(crate) attempts: i32,
    pub(crate) response_code: Option<i32>,
    pub(crate) failure_reason: Option<FailureReason>,
    pub(crate) payload: Vec<u8>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) first_attempt_at: Option<DateTime<Utc>>,
    /// Number and deadline of an attempt that another owner may still be making.
    pub(crate) claim: Option<(i32, DateTime<Utc>)>,
    /// False once it has failed: its row is there for its dead letter.
    pub(crate) waits: bool,
}

/// Rows that were claimed.
#[derive(Debug, Default)]
pub(crate) struct TakenRows {
    pub(crate) readable: Vec<ClaimedRow>,
    /// Deliveries with words of a newer version. They stay claimed, so that they are in nobody's
    /// way; once the claim ends they are looked at again.
    pub(crate) newer: Vec<NewerRow>,
}

/// A claimed row that only a newer version can read.
#[derive(Debug)]
pub(crate) struct NewerRow {
    pub(crate) delivery_id: DeliveryId,
    pub(crate) webhook_id: WebhookId,
    claimed_until: DateTime<Utc>,
}

impl TakenRows {
    /// All rows, to be given back.
    pub(crate) fn given_back(&self) -> Vec<GivenBackRow> {
        let newer = self
            .newer
            .iter()
            .map(|row| GivenBackRow::new(row.delivery_id, row.claimed_until, true));
        self.readable
            .iter()
            .map(ClaimedRow::given_back)
            .chain(newer)
            .collect()
    }
}

/// A claimed row that is given back without an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GivenBackRow {
    pub(crate) id: DeliveryId,
    /// End of the claim that is given back; a claim that somebody else has made since stays.
    pub(crate) claimed_until: DateTime<Utc>,
    /// An earlier owner may have made its attempt.
    pub(crate) suspect: bool,
}

impl GivenBackRow {
    pub(crate) fn new(id: DeliveryId, claimed_until: DateTime<Utc>, suspect: bool) -> Self {
        Self {
            id,
            claimed_until,
            suspect,
        }
    }
}

impl ClaimedRow {
    pub(crate) fn given_back(&self) -> GivenBackRow {
        GivenBackRow::new(self.delivery_id, self.claimed_until, self.was_claimed)
    }
}

/// Tells the rows that this version reads from the others.
pub(super) fn sorted_out(rows: Vec<TakenRow>) -> TakenRows {
    let mut taken = TakenRows::default();
    for row in rows {
        let newer = NewerRow {
            delivery_id: DeliveryId::from_uuid(row.delivery_id),
            webhook_id: WebhookId::from_uuid(row.webhook_id),
            claimed_until: row.held_until,
        };
        match row.into_claimed() {
            Some(row) => taken.readable.push(row),
            None => taken.newer.push(newer),
        }
    }
    taken
}

/// Columns of a claimed row and of its delivery.
pub(super) struct TakenRow {
    pub(super) delivery_id: Uuid,
    pub(super) webhook_id: Uuid,
    pub(super) partition: i32,
    pub(super) due_at: DateTime<Utc>,
    pub(super) reason: String,
    pub(super) attempt: i32,
    pub(super) step: i32,
    pub(super) paused_ms: i64,
    pub(super) parked_at: DateTime<Utc>,
    pub(super) held_until: DateTime<Utc>,
    pub(super) job_id: Option<Uuid>,
    pub(super) was_claimed: bool,
    pub(super) notification_id: Option<Uuid>,
    pub(super) site_id: Option<String>,
    pub(super) event_type: Option<String>,
    pub(super) origin: Option<String>,
    pub(super) resend_of: Option<Uuid>,
    pub(super) status: Option<String>,
    pub(super) attempts: Option<i32>,
    pub(super) response_code: Option<i32>,
    pub(super) failure_reason: Option<String>,
    pub(super) payload: Option<Vec<u8>>,
    pub(super) created_at: Option<DateTime<Utc>>,
    pub(super) first_attempt_at: Option<DateTime<Utc>>,
    pub(super) claimed_attempt: Option<i32>,
    pub(super) claimed_until: Option<DateTime<Utc>>,
    pub(super) waits: bool,
}

impl TakenRow {
    /// Reads the row; `None` if it has words of a newer version.
    fn into_claimed(mut self) -> Option<ClaimedRow> {
        Some(ClaimedRow {
            delivery: self.take_delivery()?,
            delivery_id: DeliveryId::from_uuid(self.delivery_id),
            webhook_id: WebhookId::from_uuid(self.webhook_id),
            partition: self.partition,
            due_at: self.due_at,
            reason: self.reason.parse().ok()?,
            attempt: self.attempt,
            step: self.step,
            paused_ms: self.paused_ms,
            parked_at: self.parked_at,
            claimed_until: self.held_until,
            job: self.job_id.map(JobId::from_uuid),
            was_claimed: self.was_claimed,
        })
    }

    /// Reads the delivery, which is absent if the history of its day is gone; `None` if it has
    /// words of a newer version.
    fn take_delivery(&mut self) -> Option<Option<ParkedDelivery>> {
        let (Some(notification_id), Some(site_id), Some(event_type), Some(created_at)) = (
            self.notification_id,
            self.site_id.take(),
            self.event_type.take(),
            self.created_at,
        ) else {
            return Some(None);
        };
        Some(Some(ParkedDelivery {
            notification_id,
            site_id,
            event_type: event_type.parse().ok()?,
            origin: self.origin.as_deref().unwrap_or_default().parse().ok()?,
            resend_of: self.resend_of,
            status: self.status.as_deref().unwrap_or_default().parse().ok()?,
            attempts: self.attempts.unwrap_or(0),
            response_code: self.response_code,
            failure_reason: match self.failure_reason.as_deref() {
                Some(reason) => Some(reason.parse().ok()?),
                None => None,
            },
            payload: self.payload.take().unwrap_or_default(),
            created_at,
            first_attempt_at: self.first_attempt_at,
            claim: self.claimed_attempt.zip(self.claimed_until),
            waits: self.waits,
        }))
    }
}
