//! Records at work, for tests of this room.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::intake::completions::{Completed, Completions};
use super::intake::work::{Assignment, OffsetToken, Work, WorkOrigin};
use crate::clock;
use crate::dispatch::offsets::Epoch;
use crate::dispatch::record::{Coordinates, DeliveryRecord};
use crate::domain::delivery::Origin;
use crate::domain::event::EventType;
use crate::domain::health::ParkReason;
use crate::domain::id::{DeliveryId, NotificationId, WebhookId};
use crate::domain::time::from_ms;
use crate::kafka::topic_partition::TopicPartition;

/// Time at which the records of [`Source`] were published and are due, in milliseconds since the
/// Unix epoch.
pub(crate) const PUBLISHED_MS: i64 = 1_771_970_400_000;

/// One partition under one assignment, with the offsets that were completed.
pub(crate) struct Source {
    pub(crate) assignment: Arc<Assignment>,
    completions: Completions,
    completed: Receiver<Completed>,
    next_offset: i64,
}

impl Source {
    pub(crate) fn new() -> Self {
        let (sender, completed) = channel();
        Self {
            assignment: Arc::new(Assignment::new(
                "owner".into(),
                Duration::from_secs(3),
                clock::monotonic(),
                PUBLISHED_MS,
            )),
            completions: Completions::new(sender),
            completed,
            next_offset: 0,
        }
    }

    /// Reads the next offset: a record for attempt `attempt` of the delivery with this number.
    pub(crate) fn read(&mut self, delivery: u128, attempt: u32) -> Work {
        let offset = self.next_offset;
        self.next_offset += 1;
        let at = TopicPartition {
            topic: 0,
            partition: 0,
        };
        let read_from = Coordinates {
            topic: "bellwether.deliveries".to_owned(),
            partition: 0,
            offset,
        };
        let token = OffsetToken::new(
            at,
            Epoch(1),
            offset,
            Arc::clone(&self.assignment),
            self.completions.clone(),
        );
        let origin = WorkOrigin::Record {
            token,
            read_from,
            tier: None,
            is_far_due: false,
        };
        self.work(origin, delivery, attempt)
    }

    /// Claims a row of `parked`: for attempt `attempt` of the delivery with this number.
    pub(crate) fn claim(&self, delivery: u128, attempt: u32) -> Work {
        let origin = WorkOrigin::Row {
            assignment: Arc::clone(&self.assignment),
            reason: ParkReason::Circuit,
            claimed_until: claim_of(delivery),
            job: None,
        };
        self.work(origin, delivery, attempt)
    }

    fn work(&self, origin: WorkOrigin, delivery: u128, attempt: u32) -> Work {
        Work {
            record: record(delivery, attempt),
            origin,
            partition: 0,
            record_ms: PUBLISHED_MS,
            due_at_ms: PUBLISHED_MS,
            suspect: false,
            is_suspect_if_noted: false,
            needs_look_up: false,
            must_be_noted: false,
            read_at: clock::monotonic(),
            paused_ms: 0,
            request: None,
        }
    }

    /// Returns the offsets that were completed since the last call, in order of completion.
    pub(crate) fn take_completed(&self) -> Vec<i64> {
        self.completed.try_iter().map(|one| one.offset).collect()
    }
}

/// End of the claim of this delivery's row, as [`Source::claim`] makes it.
pub(crate) fn claim_of(delivery: u128) -> DateTime<Utc> {
    let number = i64::try_from(delivery).expect("a small number");
    from_ms(PUBLISHED_MS + 90_000 + number)
}

/// Makes a record for attempt `attempt` of the delivery with this number.
pub(crate) fn record(delivery: u128, attempt: u32) -> DeliveryRecord {
    DeliveryRecord {
        delivery_id: DeliveryId::from_uuid(Uuid::from_u128(delivery)),
        notification_id: NotificationId::from_uuid(Uuid::from_u128(2)),
        webhook_id: WebhookId::from_uuid(Uuid::from_u128(3)),
        site_id: "example.com".parse().expect("a site id"),
        event_type: EventType::GoalCompletion,
        created_at_ms: PUBLISHED_MS - 1,
        origin: Origin::Event,
        resend_of: None,
        attempt,
        step: attempt - 1,
        due_at_ms: None,
        first_attempt_at_ms: None,
        reason: None,
        last_status: None,
        body: Bytes::from_static(b"{}"),
    }
}

/// Offset that a work was read from.
pub(crate) fn offset_of(work: &Work) -> i64 {
    work.read_from().expect("a record").offset
}
