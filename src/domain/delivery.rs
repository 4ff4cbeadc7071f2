//! The words of a delivery: one notification for one webhook.

use super::words::words;

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
