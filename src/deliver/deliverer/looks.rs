//! Times and states of looking at `parked`.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use crate::deliver::events::PauseChange;
use crate::domain::health::ParkReason;
use crate::domain::id::WebhookId;
use crate::domain::webhook::Webhook;

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
    /// Pauses that are over, and of which no row is marked any more, by their ends.
    pub(super) ended: HashMap<WebhookId, i64>,
    /// Webhooks some of whose rows are marked.
    paused: HashSet<WebhookId>,
    /// Webhooks that got rows that are marked while rows are being changed.
    late: HashSet<WebhookId>,
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
            ended: HashMap::new(),
            paused: HashSet::new(),
            late: HashSet::new(),
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

    /// Begins an assignment. Earlier owners have marked rows of the webhooks `paused`.
    pub(super) fn assigned(&mut self, paused: impl IntoIterator<Item = WebhookId>, now: Instant) {
        self.marked.clear();
        self.paused.extend(paused);
        self.look_now(now);
    }

    /// Finds what is to be changed of a webhook's rows at `now_ms`.
    pub(super) fn pause_change(&self, webhook: &Webhook, now_ms: i64) -> Option<PauseChange> {
        let (id, until_ms) = (webhook.id, webhook.limits.paused_until_ms);
        if let Some(until_ms) = until_ms.filter(|until_ms| *until_ms > now_ms) {
            let is_new = self.marked.get(&id) != Some(&until_ms);
            return is_new.then_some(PauseChange::Mark { until_ms });
        }
        // Another owner may have marked them.
        let is_unknown = until_ms.is_some() && self.ended.get(&id) != until_ms.as_ref();
        let ended_ms = webhook.paused_to_ms(now_ms);
        (is_unknown || self.paused.contains(&id)).then_some(PauseChange::End { until_ms, ended_ms })
    }

    /// Notes that rows are being changed.
    pub(super) fn begin_marking(&mut self, changes: &[(WebhookId, PauseChange)]) {
        self.is_marking = true;
        self.unmarked.clear();
        self.late.clear();
        let marks = |change: &PauseChange| matches!(change, PauseChange::Mark { .. });
        let marked = changes.iter().filter(|(_, change)| marks(change));
        self.paused.extend(marked.map(|(id, _)| *id));
    }

    /// Notes the changes that are done.
    pub(super) fn pauses_changed(&mut self, done: Vec<(WebhookId, PauseChange)>) {
        self.is_marking = false;
        let unmarked = std::mem::take(&mut self.unmarked);
        let late = std::mem::take(&mut self.late);
        for (id, change) in done {
            match change {
                PauseChange::Mark { until_ms } => {
                    if !unmarked.contains(&id) {
                        self.marked.insert(id, until_ms);
                    }
                }
                PauseChange::End { until_ms, .. } => {
                    self.marked.remove(&id);
                    self.ended.extend(until_ms.map(|until_ms| (id, until_ms)));
                    if !late.contains(&id) {
                        self.paused.remove(&id);
                    }
                }
            }
        }
    }

    /// Notes that a row was written: marked as paused, or not although the webhook's others are.
    pub(super) fn parked(&mut self, webhook: WebhookId, reason: ParkReason) {
        if reason == ParkReason::Paused {
            self.paused.insert(webhook);
            if self.is_marking {
                self.late.insert(webhook);
            }
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
    use crate::deliver::request;
    use crate::domain::time::from_ms;

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

    /// A webhook that is paused until then, or whose pause was lifted at `lifted_ms`.
    fn webhook(until_ms: Option<i64>, lifted_ms: i64) -> Webhook {
        let mut webhook = request::tests::webhook("https://receiver.test/hook");
        webhook.id = id(1);
        webhook.limits.paused_until_ms = until_ms;
        webhook.pause_lifted_at = from_ms(lifted_ms);
        webhook
    }

    const MARK: PauseChange = PauseChange::Mark { until_ms: UNTIL_MS };

    #[test]
    fn a_row_that_is_parked_unmarked_has_its_pause_marked_again() {
        let mut looks = Looks::new(clock::monotonic());
        looks.begin_marking(&[]);
        looks.parked(id(1), ParkReason::Paused);
        looks.parked(id(2), ParkReason::FarDue);
        looks.pauses_changed(vec![(id(1), MARK), (id(2), MARK), (id(3), MARK)]);
        assert!(!looks.marked.contains_key(&id(2)), "it came meanwhile");
        looks.parked(id(3), ParkReason::Circuit);
        assert_eq!(looks.marked, HashMap::from([(id(1), UNTIL_MS)]));
        looks.begin_marking(&[]);
        looks.pauses_changed(vec![(id(2), MARK), (id(3), MARK)]);
        assert_eq!(looks.marked.len(), 3);
    }

    #[test]
    fn a_pause_that_was_lifted_or_is_over_is_ended_once() {
        let lifted_ms = UNTIL_MS - 1_000;
        for (until_ms, ended_ms) in [(None, lifted_ms), (Some(UNTIL_MS), UNTIL_MS)] {
            let mut looks = Looks::new(clock::monotonic());
            let (paused, over) = (webhook(Some(UNTIL_MS), 0), webhook(until_ms, lifted_ms));
            let (before_ms, now_ms) = (lifted_ms - 1_000, ended_ms + 5_000);
            assert_eq!(looks.pause_change(&paused, before_ms), Some(MARK));
            looks.begin_marking(&[(id(1), MARK)]);
            looks.pauses_changed(vec![(id(1), MARK)]);
            assert_eq!(looks.pause_change(&paused, before_ms), None);
            let end = PauseChange::End { until_ms, ended_ms };
            assert_eq!(looks.pause_change(&over, now_ms), Some(end));
            looks.begin_marking(&[(id(1), end)]);
            // Decided while the pause lasted.
            looks.parked(id(1), ParkReason::Paused);
            looks.pauses_changed(vec![(id(1), end)]);
            assert_eq!(looks.pause_change(&over, now_ms), Some(end));
            looks.begin_marking(&[(id(1), end)]);
            looks.pauses_changed(vec![(id(1), end)]);
            assert_eq!(looks.pause_change(&over, now_ms), None);
            assert_eq!(looks.pause_change(&paused, before_ms), Some(MARK));
        }
    }

    #[test]
    fn rows_that_an_earlier_owner_has_marked_are_ended_too() {
        let mut looks = Looks::new(clock::monotonic());
        let (lifted, over) = (webhook(None, UNTIL_MS - 1_000), webhook(Some(UNTIL_MS), 0));
        let now_ms = UNTIL_MS + 5_000;
        let end = |until_ms, ended_ms| Some(PauseChange::End { until_ms, ended_ms });
        assert_eq!(looks.pause_change(&over, now_ms), end(Some(UNTIL_MS), UNTIL_MS));
        assert_eq!(looks.pause_change(&lifted, now_ms), None);
        looks.assigned([id(1)], clock::monotonic());
        assert_eq!(looks.pause_change(&lifted, now_ms), end(None, UNTIL_MS - 1_000));
    }
}
