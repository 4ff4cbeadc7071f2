//! Decides what is to be done with one record.
//!
//! The decision follows from the state of the delivery in Postgres, its webhook as the registry has
//! it, and the time. An attempt that Postgres has recorded is never judged anew (`resume`); only a
//! record that may be sent is held against the webhook (`gate`).

use std::sync::Arc;
use std::time::Duration;

use super::gate::{Gate, gate};
use super::intake::work::Work;
use super::resume::{DeliveryProgress, NextRecord, Resume, resume};
use crate::domain::delivery::{DeliveryStatus, FailureReason};
use crate::domain::webhook::Webhook;

/// Pause before a record whose webhook seems deleted or disabled is looked at again, while the
/// registry may be older than the record.
const REGISTRY_POLL: Duration = Duration::from_millis(100);
/// Difference that is allowed between the clocks of two replicas.
const CLOCK_SLACK_MS: i64 = 500;

/// A webhook as the registry had it at a time.
#[derive(Debug, Clone)]
pub(crate) struct WebhookSnapshot {
    /// `None`: deleted, or not read yet.
    pub(crate) webhook: Option<Arc<Webhook>>,
    /// Milliseconds since the Unix epoch; every change published before then is in the snapshot.
    pub(crate) read_at_ms: i64,
}

/// Treatment of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Complete its offset: nothing remains to be done.
    Complete,
    /// Publish the next record once more, then complete the offset: the attempt is recorded.
    Republish(NextRecord),
    /// Look at it again until then: a former owner's request may still be running.
    HoldUntil { until_ms: i64 },
    /// Look at it again after a while: the registry may be older than the record.
    RequeueAfter(Duration),
    /// End the delivery without a request.
    EndUnsent {
        status: DeliveryStatus,
        reason: FailureReason,
    },
    /// Make the attempt. `possible_repeat`: a former owner may have made it, too.
    Send {
        webhook: Arc<Webhook>,
        possible_repeat: bool,
    },
}

impl Action {
    /// True if the action depends on the webhook, which may change while the record waits for a
    /// permit.
    pub(crate) const fn needs_permit(&self) -> bool {
        matches!(
            self,
            Self::RequeueAfter(_) | Self::EndUnsent { .. } | Self::Send { .. }
        )
    }
}

/// Decides what is to be done with `work`; `progress` is `None` when Postgres does not know its
/// delivery.
pub(crate) fn decide(
    work: &Work,
    progress: Option<&DeliveryProgress>,
    snapshot: &WebhookSnapshot,
    now_ms: i64,
) -> Action {
    match resume(work.record.attempt, progress, now_ms) {
        Resume::Complete => Action::Complete,
        Resume::Republish(next) => Action::Republish(next),
        Resume::Hold { until_ms } => Action::HoldUntil { until_ms },
        Resume::Send { possible_repeat } => {
            judge_by_webhook(work, snapshot, possible_repeat || work.suspect, now_ms)
        }
    }
}

/// Decides by the webhook about a record whose attempt is not recorded.
fn judge_by_webhook(work: &Work, snapshot: &WebhookSnapshot, possible_repeat: bool, now_ms: i64) -> Action {
    // The record was published for a webhook that was there and enabled, which this process may not
    // have read yet. The due time bounds the wait by our own clock, should the record's time lie in
    // the future.
    let published_ms = work.record_ms.min(work.due_at_ms);
    let cancel = |reason| {
        if snapshot.read_at_ms <= published_ms + CLOCK_SLACK_MS {
            return Action::RequeueAfter(REGISTRY_POLL);
        }
        let status = DeliveryStatus::Cancelled;
        Action::EndUnsent { status, reason }
    };
    let Some(webhook) = &snapshot.webhook else {
        return cancel(FailureReason::Deleted);
    };
    let record = &work.record;
    match gate(
        webhook,
        record.event_type,
        record.origin,
        record.created_at_ms,
        now_ms,
    ) {
        Gate::Open => Action::Send {
            webhook: Arc::clone(webhook),
            possible_repeat,
        },
        Gate::Cancel(reason) => cancel(reason),
        Gate::Fail(reason) => Action::EndUnsent {
            status: DeliveryStatus::Failed,
            reason,
        },
    }
}

#[cfg(test)]
mod tests;
