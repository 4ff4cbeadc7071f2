//! Reports to the deliverer's loop, from the tasks that it has started.

use std::collections::HashSet;

use super::decide::Settlement;
use super::intake::work::Work;
use super::lanes::flow::RequestNumber;
use super::lanes::health::AttemptEnd;
use super::progress::KnownProgress;
use crate::domain::health::{ParkReason, WaitingWebhook};
use crate::domain::id::{DeliveryId, JobId, WebhookId};
use crate::record::health::HealthRow;
use crate::record::parked::TakenRows;

/// A report to the deliverer's loop.
#[derive(Debug)]
pub(crate) enum LaneEvent {
    /// A request has ended.
    Ended {
        webhook: WebhookId,
        request: Option<RequestNumber>,
        end: AttemptEnd,
    },
    /// A delivery whose turn it was is not sent after all.
    GivenUp { webhook: WebhookId, is_probe: bool },
    /// Postgres has said what it knows of these deliveries.
    LookedUp {
        asked: Vec<Question>,
        known: KnownProgress,
    },
    /// The outcome of a request is in Postgres.
    Recorded(RequestNumber),
    /// The outcome of a request waits for a row that another session holds.
    SetAside(RequestNumber),
    /// A row of `parked` was written, for this reason.
    Parked {
        webhook: WebhookId,
        reason: ParkReason,
        /// There was none before.
        is_new: bool,
    },
    /// A row of `parked` was not written, because its delivery had gone on.
    NotParked(WebhookId),
    /// A row of `parked` was removed.
    Unparked(WebhookId),
    /// Health as other owners have stored it, read for a new assignment, the sends that dead owners
    /// had noted, and the webhooks some of whose rows are marked as paused.
    HealthRead {
        generation: u64,
        rows: Vec<HealthRow>,
        noted: Vec<DeliveryId>,
        paused: Vec<WebhookId>,
    },
    /// A look is over: what it found, `None` after an error, and claimed rows of deliveries that
    /// have ended.
    Waiting { found: Option<Looked>, ended: TakenRows },
    /// Rows were claimed, of webhooks for which so many were asked for.
    Taken {
        asked: Vec<(WebhookId, i32)>,
        rows: TakenRows,
    },
    /// The rows of webhooks whose pauses have begun or ended are changed.
    PausesChanged(Vec<(WebhookId, PauseChange)>),
    /// A round of cancelling is over. The rows, now claimed, are those that could not be cancelled.
    Cancelled(TakenRows),
}

/// Result of a look at `parked`.
#[derive(Debug)]
pub(crate) struct Looked {
    /// Webhooks for which rows wait.
    pub(crate) waiting: Vec<WaitingWebhook>,
    /// Recoveries that were cancelled, and rows of which wait.
    pub(crate) withdrawn: HashSet<JobId>,
}

/// A change of the rows of a webhook whose pause has begun or ended. Times are milliseconds since
/// the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PauseChange {
    /// They are marked as paused until then.
    Mark { until_ms: i64 },
    /// They were paused until `ended_ms`. `until_ms`: the end that the pause had, unless it was
    /// lifted.
    End { until_ms: Option<i64>, ended_ms: i64 },
}

/// A delivery about which Postgres is asked, and what is to be done with it if it may be.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) work: Box<Work>,
    pub(crate) purpose: Purpose,
}

/// Treatment of a delivery, unless what Postgres knows forbids it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Send(Turn),
    Settle(Settlement),
}

/// The turn of a delivery at its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) is_probe: bool,
    /// It waited for its endpoint, and not for us.
    pub(crate) waited_for_endpoint: bool,
    /// As much waits in `parked` for the endpoint as may: no further delivery is parked.
    pub(crate) is_backlog_full: bool,
}
