//! Parking what may not be sent for now, or has waited too long.

use super::Scheduler;
use crate::deliver::lanes::action::LaneAction;
use crate::deliver::lanes::endpoint::{Now, QueueKind, Wait};
use crate::deliver::lanes::held_back::HeldBack;
use crate::domain::health::ParkReason;
use crate::domain::id::WebhookId;

impl<J> Scheduler<J> {
    /// Parks everything in the queue of an endpoint that may not be sent to.
    pub(super) fn hold_back(&mut self, id: WebhookId, now: Now) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            return;
        };
        if endpoint.queued() > 0
            && let Some(held) = HeldBack::find(endpoint, QueueKind::First, now)
        {
            let all = endpoint.take_all();
            endpoint.has_parked |= matches!(held, HeldBack::Parked { .. });
            self.queued -= all.len();
            self.actions
                .extend(all.into_iter().map(|queued| held.action(id, queued.job)));
        }
    }

    /// Parks what has waited too long.
    pub(super) fn park_overdue(&mut self, now: Now) {
        while let Some((came, id)) = self.arrivals.front().copied() {
            let is_overdue = now.instant.saturating_duration_since(came) >= self.limits.longest_wait;
            let Some(endpoint) = self.endpoints.get_mut(&id) else {
                self.arrivals.pop_front();
                continue;
            };
            let still_waits = endpoint.oldest().is_some_and(|oldest| oldest <= came);
            if still_waits && !is_overdue {
                break;
            }
            self.arrivals.pop_front();
            if !still_waits {
                continue;
            }
            let reason = match endpoint.waits_for {
                Some(Wait::Rate) => ParkReason::Rate,
                _ => ParkReason::Queue,
            };
            let overdue = endpoint.take_until(came);
            endpoint.has_parked = true;
            let is_empty = endpoint.queued() == 0;
            self.queued -= overdue.len();
            self.actions
                .extend(overdue.into_iter().map(|queued| LaneAction::Park {
                    endpoint: id,
                    job: queued.job,
                    reason,
                    due_ms: now.wall_ms,
                }));
            if is_empty {
                self.stop_waiting(id);
            }
        }
    }
}
