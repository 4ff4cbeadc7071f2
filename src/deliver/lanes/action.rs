//! Answers of the scheduler.

use std::time::Duration;

use super::endpoint::Wait;
use crate::domain::health::ParkReason;
use crate::domain::id::WebhookId;

/// Treatment of a delivery.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LaneAction<J> {
    /// Its request begins now. `Scheduler::ended` must be told when it has ended.
    Start {
        endpoint: WebhookId,
        job: J,
        is_probe: bool,
        waited: Duration,
        /// Cause of the wait, if it had to.
        cause: Option<Wait>,
    },
    /// It goes to `parked`, to be looked at again at `due_ms`.
    Park {
        endpoint: WebhookId,
        job: J,
        reason: ParkReason,
        due_ms: i64,
    },
    /// Its endpoint was disabled while it waited.
    Refuse { endpoint: WebhookId, job: J },
}
