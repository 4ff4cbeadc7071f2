//! A retry that nobody reads for an hour is taken for lost, and sent in another delivery.

use super::{DeliveryStatus, FailureReason, ModelStep, World};
use crate::domain::delivery::OVERDUE_AFTER;

/// Long wait: three are somewhat less than what makes a delivery overdue.
const WAIT_MS: i64 = 20 * 60_000 - 20_000;

impl World {
    /// True if somebody may be about to take the delivery for overdue.
    pub(super) fn is_late(&self) -> bool {
        self.postgres.is_some_and(|known| known.is_late(self.now_ms))
    }

    /// Lets much time pass. No request takes that long, and no outcome waits for it.
    pub(in crate::deliver::resume::protocol) fn wait_long(&mut self) {
        let is_under_way = |step| matches!(step, ModelStep::Send | ModelStep::Write { .. });
        if !self.work.iter().any(|work| is_under_way(work.step)) {
            self.now_ms += WAIT_MS;
        }
    }

    /// Ends the delivery if it is overdue, as `record::resends::end_overdue` does for who asks for
    /// it again.
    pub(in crate::deliver::resume::protocol) fn end_overdue(&mut self) {
        let Some(known) = &mut self.postgres else { return };
        let claimed_ms = known.claim.map(|claim| claim.until_ms);
        let due_ms = known.next_retry_at_ms.max(claimed_ms).max(Some(self.updated_ms));
        let is_due_for_long = due_ms < Some(self.now_ms - OVERDUE_AFTER.num_milliseconds());
        if known.status.is_finished() || known.is_parked || self.row.is_some() || !is_due_for_long {
            return;
        }
        known.status = DeliveryStatus::Cancelled;
        known.failure_reason = Some(FailureReason::Overdue);
        self.is_overdue = true;
        let is_under_way = |step| matches!(step, ModelStep::Send | ModelStep::Write { .. });
        let others = self.work.iter().filter(|work| is_under_way(work.step));
        assert_eq!(others.count(), 0, "it is being sent: {self:?}");
    }
}
