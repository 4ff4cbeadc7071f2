//! Times and states of looking at `parked`.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use crate::domain::health::ParkReason;
use crate::domain::id::WebhookId;

/// Outcomes that wait for the writer, from which on no rows are claimed.
const MOST_UNSENT: usize = 256;

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
    /// Webhooks that got rows for other reasons while rows are being marked.
    unmarked: HashSet<WebhookId>,
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
            unmarked: HashSet::new(),
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

    /// Notes that rows are being marked.
    pub(super) fn begin_marking(&mut self) {
        self.is_marking = true;
        self.unmarked.clear();
    }

    /// Notes the pauses whose rows are marked.
    pub(super) fn paused(&mut self, marked: Vec<(WebhookId, i64)>) {
        self.is_marking = false;
        let unmarked = std::mem::take(&mut self.unmarked);
        let marked = marked.into_iter().filter(|(id, _)| !unmarked.contains(id));
        self.marked.extend(marked);
    }

    /// Notes that a row was written: one that is not marked, of a webhook whose rows are.
    pub(super) fn parked(&mut self, webhook: WebhookId, reason: ParkReason) {
        if reason == ParkReason::Paused {
            return;
        }
        self.marked.remove(&webhook);
        if self.is_marking {
            self.unmarked.insert(webhook);
        }
    }

    /// True if rows may be claimed now: at most one claim at a time, and not while `unsent`
    /// outcomes wait for the writer, which would also have to write those of the rows.
    pub(super) fn may_refill(&self, unsent: usize, now: Instant) -> bool {
        !self.is_taking && unsent < MOST_UNSENT && now >= self.refill_at
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::clock;

    const UNTIL_MS: i64 = 1_790_000_000_000;

    fn id(number: u128) -> WebhookId {
        WebhookId::from_uuid(Uuid::from_u128(number))
    }

    #[test]
    fn no_rows_are_claimed_while_256_outcomes_wait() {
        let now = clock::monotonic();
        let mut looks = Looks::new(now);
        assert!(looks.may_refill(0, now) && looks.may_refill(255, now));
        assert!(!looks.may_refill(256, now) && !looks.may_refill(1_000, now));
        looks.is_taking = true;
        assert!(!looks.may_refill(0, now), "one claim at a time");
        looks.is_taking = false;
        looks.refill_at = now + std::time::Duration::from_millis(20);
        assert!(!looks.may_refill(0, now) && looks.may_refill(0, looks.refill_at));
    }

    #[test]
    fn a_row_that_is_parked_unmarked_has_its_pause_marked_again() {
        let mut looks = Looks::new(clock::monotonic());
        looks.begin_marking();
        looks.parked(id(1), ParkReason::Paused);
        looks.parked(id(2), ParkReason::FarDue);
        looks.paused(vec![(id(1), UNTIL_MS), (id(2), UNTIL_MS), (id(3), UNTIL_MS)]);
        assert!(!looks.marked.contains_key(&id(2)), "it came meanwhile");
        looks.parked(id(3), ParkReason::Circuit);
        assert_eq!(looks.marked, HashMap::from([(id(1), UNTIL_MS)]));
        looks.begin_marking();
        looks.paused(vec![(id(2), UNTIL_MS), (id(3), UNTIL_MS)]);
        assert_eq!(looks.marked.len(), 3);
    }
}
