//! Decides by its webhook what is to be done with one record.
//!
//! The decision follows from the webhook as the registry has it, and the time. Before it is acted
//! on, a record that somebody else may have worked on is held against what Postgres knows
//! (`resume`): an attempt that is recorded is never judged anew.

use std::sync::Arc;
use std::time::Duration;

use super::admission::{SendVerdict, admit};
use super::intake::work::{Work, WorkOrigin};
use crate::domain::delivery::{DeliveryStatus, FailureReason};
use crate::domain::health::ParkReason;
use crate::domain::webhook::Webhook;

/// Pause before a record whose webhook seems deleted or disabled is looked at again, while the
/// registry may be older than the record.
const REGISTRY_POLL: Duration = Duration::from_millis(100);
/// Pause before a parked delivery is looked at again whose webhook cannot be read.
const UNREADABLE_POLL_MS: i64 = 10_000;
/// Difference that is allowed between the clocks of two replicas.
const CLOCK_SLACK_MS: i64 = 500;

/// A webhook as the registry had it at a time.
#[derive(Debug, Clone)]
pub(crate) struct WebhookSnapshot {
    pub(crate) webhook: WebhookState,
    /// Milliseconds since the Unix epoch; every change published before then is in the snapshot.
    pub(crate) read_at_ms: i64,
}

/// Knowledge of a webhook.
#[derive(Debug, Clone)]
pub(crate) enum WebhookState {
    There(Arc<Webhook>),
    /// It is stored, and this process cannot read it.
    Unreadable,
    /// It is deleted, or was not there yet.
    Absent,
}

/// Treatment of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Let it wait for its turn at its endpoint.
    Queue {
        webhook: Arc<Webhook>,
    },
    /// Look at it again after a while: the registry may be older than the record.
    RequeueAfter(Duration),
    Settle(Settlement),
}

/// Something that is recorded of a delivery without a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// The delivery ends.
    End {
        status: DeliveryStatus,
        reason: FailureReason,
    },
    /// It waits in Postgres. Times are milliseconds since the Unix epoch.
    Park { reason: ParkReason, until_ms: i64 },
}

/// Decides what is to be done with `work`.
pub(crate) fn decide(work: &Work, snapshot: &WebhookSnapshot, now_ms: i64) -> Action {
    // The record was published for a webhook that was there and enabled, which this process may not
    // have read yet. The due time bounds the wait by our own clock, should the record's time lie in
    // the future.
    let published_ms = work.record_ms.min(work.due_at_ms);
    let cancel = |reason| {
        if snapshot.read_at_ms <= published_ms + CLOCK_SLACK_MS {
            return Action::RequeueAfter(REGISTRY_POLL);
        }
        let status = DeliveryStatus::Cancelled;
        Action::Settle(Settlement::End { status, reason })
    };
    let park = |reason, until_ms| Action::Settle(Settlement::Park { reason, until_ms });
    let webhook = match &snapshot.webhook {
        WebhookState::There(webhook) => webhook,
        // Unreadable is not deleted: a key may be missing here, and be there soon.
        WebhookState::Unreadable => return park(ParkReason::Queue, now_ms + UNREADABLE_POLL_MS),
        WebhookState::Absent => return cancel(FailureReason::Deleted),
    };
    let record = &work.record;
    let paused_ms = webhook.paused_ms_since(record.created_at_ms, now_ms);
    match admit(
        webhook,
        record.event_type,
        record.origin,
        record.created_at_ms,
        now_ms - work.paused_ms.max(paused_ms),
    ) {
        SendVerdict::Cancel(reason) => cancel(reason),
        SendVerdict::Fail(reason) => Action::Settle(Settlement::End {
            status: DeliveryStatus::Failed,
            reason,
        }),
        SendVerdict::Send => match &work.origin {
            WorkOrigin::Record { is_far_due: true, .. } => park(ParkReason::FarDue, work.due_at_ms),
            _ => Action::Queue {
                webhook: Arc::clone(webhook),
            },
        },
    }
}

#[cfg(test)]
mod tests;
