//! Times and states of looking at `parked`.

use std::collections::HashMap;
use std::time::Instant;

use crate::domain::id::WebhookId;

/// Times and states of looking at `parked`.
#[derive(Debug)]
pub(super) struct Looks {
    pub(super) look_at: Instant,
    pub(super) refill_at: Instant,
    pub(super) wants_refill: bool,
    /// When the look that is under way began.
    pub(super) looking_since: Option<Instant>,
    pub(super) is_taking: bool,
    pub(super) is_cancelling: bool,
    pub(super) is_marking: bool,
    /// Ends of the pauses whose waiting rows are marked, in milliseconds since the Unix epoch.
    pub(super) marked: HashMap<WebhookId, i64>,
}

impl Looks {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            look_at: now,
            refill_at: now,
            wants_refill: false,
            looking_since: None,
            is_taking: false,
            is_cancelling: false,
            is_marking: false,
            marked: HashMap::new(),
        }
    }

    /// Asks for a refill: an endpoint may have room.
    pub(super) fn want_refill(&mut self) {
        self.wants_refill = true;
    }

    /// Asks for a look now: the partitions have changed.
    pub(super) fn look_now(&mut self, now: Instant) {
        self.look_at = now;
    }

    /// Notes the pauses whose rows are marked.
    pub(super) fn paused(&mut self, marked: Vec<(WebhookId, i64)>) {
        self.is_marking = false;
        self.marked.extend(marked);
    }
}
