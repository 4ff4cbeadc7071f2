//! Records that were read, and rows that were claimed, on their way to the scheduler.

use super::{Deliverer, now_of};
use crate::clock;
use crate::deliver::decide::Action;
use crate::deliver::in_flight::NotAdmitted;
use crate::deliver::intake::work::{Work, WorkOrigin};
use crate::deliver::lanes::QueueKind;
use crate::domain::webhook::Webhook;

impl Deliverer {
    /// Lets a record wait for its turn, or does what its webhook demands.
    pub(super) fn arrive(&mut self, mut work: Work) {
        // Kept with the work from now on, wherever it waits. The note stays until the delivery is
        // sent: besides this record, it may have a row of `parked`.
        if std::mem::take(&mut work.is_suspect_if_noted) {
            work.suspect = self.maybe_sent.contains(&work.record.delivery_id);
        }
        let Some(work) = self.admit(work) else { return };
        match self.decide(&work) {
            Action::Queue { webhook } => self.queue(work, &webhook),
            Action::RequeueAfter(pause) => self.requeue_after(work, pause),
            Action::Settle(settlement) => self.settle(work, settlement),
        }
    }

    /// Reserves a record's delivery for it. `None`: the record waits, or is not this process's any
    /// more.
    pub(super) fn admit(&self, work: Work) -> Option<Box<Work>> {
        let row = work.given_back();
        match self.links.in_flight.admit(Box::new(work)) {
            Ok(work) => Some(work),
            Err(NotAdmitted::Waits | NotAdmitted::Revoked) => None,
            Err(NotAdmitted::ClaimedInVain) => {
                self.clean_up(row.into_iter().collect(), Vec::new());
                None
            }
        }
    }

    fn queue(&mut self, work: Box<Work>, webhook: &Webhook) {
        let now = now_of(clock::monotonic());
        self.set_up(webhook, now);
        let kind = match &work.origin {
            WorkOrigin::Row { .. } => QueueKind::Parked,
            WorkOrigin::Record { .. } if work.record.attempt == 1 => QueueKind::First,
            WorkOrigin::Record { .. } => QueueKind::Retry,
        };
        self.scheduler.arrive(webhook.id, kind, work, now);
    }
}
