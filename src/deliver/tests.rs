//! Records at work, for tests of this room.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use bytes::Bytes;
use uuid::Uuid;

use super::intake::work::{Assignment, Completed, Completions, OffsetToken, Work};
use crate::dispatch::offsets::Epoch;
use crate::dispatch::record::{Coordinates, DeliveryRecord};
use crate::domain::delivery::Origin;
use crate::domain::event::EventType;
use crate::domain::id::{DeliveryId, NotificationId, WebhookId};
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
            assignment: Arc::default(),
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
        Work {
            record: record(delivery, attempt),
            token: OffsetToken::new(
                at,
                Epoch(1),
                offset,
                Arc::clone(&self.assignment),
                self.completions.clone(),
            ),
            read_from: Coordinates {
                topic: "bellwether.deliveries".to_owned(),
                partition: 0,
                offset,
            },
            record_ms: PUBLISHED_MS,
            due_at_ms: PUBLISHED_MS,
            tier: None,
            suspect: false,
        }
    }

    /// Returns the offsets that were completed since the last call, in order of completion.
    pub(crate) fn take_completed(&self) -> Vec<i64> {
        self.completed.try_iter().map(|one| one.offset).collect()
    }
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
        attempt,
        due_at_ms: None,
        first_attempt_at_ms: None,
        reason: None,
        last_status: None,
        body: Bytes::from_static(b"{}"),
    }
}
