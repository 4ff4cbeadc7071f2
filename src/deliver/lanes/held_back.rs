//! Endpoints that are not sent to at all for now.

use super::action::LaneAction;
use super::endpoint::{Endpoint, Now, QueueKind};
use crate::domain::health::{HealthState, ParkReason};
use crate::domain::id::WebhookId;

/// Time after which what is parked beside a probe in flight is looked at again, in milliseconds.
const LOOK_AGAIN_MS: i64 = 1_000;

/// State in which an endpoint is not sent to at all.
#[derive(Debug, Clone, Copy)]
pub(super) enum HeldBack {
    Parked { reason: ParkReason, due_ms: i64 },
    Disabled,
}

impl HeldBack {
    /// Finds what holds back a delivery of this kind; none: it may wait for its turn.
    pub(super) fn find<J>(endpoint: &Endpoint<J>, kind: QueueKind, now: Now) -> Option<Self> {
        if endpoint.health.state == HealthState::Disabled {
            return Some(Self::Disabled);
        }
        if let Some(due_ms) = endpoint
            .settings
            .limits
            .paused_until_ms
            .filter(|until| now.wall_ms < *until)
        {
            let reason = ParkReason::Paused;
            return Some(Self::Parked { reason, due_ms });
        }
        if endpoint.health.state != HealthState::Open {
            return None;
        }
        let health = &endpoint.health;
        // The probe is the oldest that waits: what is new is one only if nothing is parked.
        let is_oldest = kind == QueueKind::Parked || !endpoint.has_parked;
        let is_free = !endpoint.is_probing && endpoint.queued() == 0;
        if health.is_probe_due(now.wall_ms) && is_free && is_oldest {
            return None;
        }
        // While a probe is in flight nobody knows yet when the next one will be.
        let due_ms = health.probe_at_ms.max(now.wall_ms + LOOK_AGAIN_MS);
        let reason = ParkReason::Circuit;
        Some(Self::Parked { reason, due_ms })
    }

    pub(super) fn action<J>(self, endpoint: WebhookId, job: J) -> LaneAction<J> {
        match self {
            Self::Parked { reason, due_ms } => LaneAction::Park {
                endpoint,
                job,
                reason,
                due_ms,
            },
            Self::Disabled => LaneAction::Refuse { endpoint, job },
        }
    }
}
