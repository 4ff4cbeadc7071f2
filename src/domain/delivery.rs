//! The words of a delivery: one notification for one webhook.

use chrono::TimeDelta;

use super::words::words;

/// Time after its due time from which a delivery that waits nowhere in Postgres may be sent again:
/// Kafka may have lost its record.
pub(crate) const OVERDUE_AFTER: TimeDelta = TimeDelta::hours(1);
/// Time after its due time from which a record is not sent any more, but waits in Postgres first,
/// so that nobody takes it for overdue meanwhile. The rest of [`OVERDUE_AFTER`] is for what was
/// begun before, and for clocks that differ.
pub(crate) const LATE_AFTER: TimeDelta = TimeDelta::minutes(30);

words! {
    /// State of a delivery.
    pub(crate) enum DeliveryStatus {
        Pending = "pending",
        Retrying = "retrying",
        Delivered = "delivered",
        Failed = "failed",
        Cancelled = "cancelled",
    }
}

impl DeliveryStatus {
    /// True if nothing further happens to the delivery.
    pub(crate) const fn is_finished(self) -> bool {
        matches!(self, Self::Delivered | Self::Failed | Self::Cancelled)
    }
}

words! {
    /// Reason why a delivery failed or was cancelled for good.
    pub(crate) enum FailureReason {
        /// The retry schedule is used up.
        Exhausted = "exhausted",
        /// The endpoint answered 410 Gone.
        Gone = "gone",
        /// The notification is older than the webhook's `max_age_seconds` for its type.
        Expired = "expired",
        /// Too many deliveries waited for this webhook.
        Overflow = "overflow",
        /// The webhook is disabled.
        Disabled = "disabled",
        /// The webhook is deleted.
        Deleted = "deleted",
        /// The recovery that asked for it was cancelled.
        Withdrawn = "withdrawn",
        /// It did not come from Kafka within an hour of its due time, and was asked for again.
        Overdue = "overdue",
        /// Postgres refused what became of it.
        Unrecordable = "unrecordable",
    }
}

words! {
    /// Origin of a delivery record.
    pub enum Origin {
        Event = "event",
        Resend = "resend",
        Recover = "recover",
        Replay = "replay",
    }
}
