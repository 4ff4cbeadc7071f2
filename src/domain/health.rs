//! The words of a webhook's health, and of deliveries that wait in Postgres.

use chrono::{DateTime, Utc};

use super::id::WebhookId;
use super::words::words;

words! {
    /// State of a webhook's endpoint.
    pub enum HealthState {
        /// Nothing was delivered yet.
        New = "new",
        /// Nothing is wrong.
        Ok = "ok",
        /// The endpoint did not answer, and has not succeeded since: one request at a time.
        Careful = "careful",
        /// The circuit is open: everything is parked but a probe now and then.
        Open = "open",
        /// Nothing is sent.
        Disabled = "disabled",
    }
}

words! {
    /// State of a webhook as its site counts it. One that is paused or off counts as that, and a
    /// new one as `ok`.
    pub enum CountedState {
        Ok = "ok",
        Careful = "careful",
        Open = "open",
        Disabled = "disabled",
        Paused = "paused",
    }
}

words! {
    /// Cause of a state that holds deliveries back.
    pub enum HealthReason {
        /// Deliveries in a row failed for good.
        Failures = "failures",
        /// Attempts in a row went without an answer.
        Timeouts = "timeouts",
        /// The endpoint answered 410 Gone.
        Gone = "gone",
        /// The circuit stayed open for five days.
        OpenTooLong = "open_too_long",
        /// The owner switched the webhook off.
        Owner = "owner",
    }
}

words! {
    /// Reason for which a delivery waits in Postgres.
    pub enum ParkReason {
        /// The endpoint's queue was full, or the delivery waited too long in it.
        Queue = "queue",
        /// It waited too long for the endpoint's rate.
        Rate = "rate",
        /// The circuit is open.
        Circuit = "circuit",
        /// The owner paused the webhook.
        Paused = "paused",
        /// The next attempt is not due yet: it is later than the longest delay of a tier, or its
        /// delivery waited here before.
        FarDue = "far_due",
        /// A person asked for the delivery again.
        Resend = "resend",
        /// A person asked for everything that was missed.
        Recover = "recover",
    }
}

/// Time after which an open circuit disables the webhook, in milliseconds: five days.
pub(crate) const OPEN_TOO_LONG_MS: i64 = 5 * 24 * 3_600 * 1_000;

/// Most deliveries of one webhook that wait in `parked`. One more fails as `overflow`, a resend is
/// refused, and a recovery keeps to a lower limit of its own.
pub(crate) const MAX_WAITING: i64 = 100_000;

/// A webhook for which deliveries wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WaitingWebhook {
    pub(crate) webhook_id: WebhookId,
    /// When the row that has been due longest is due.
    pub(crate) due_at: DateTime<Utc>,
    /// Rows of the webhook.
    pub(crate) waiting: i64,
}
