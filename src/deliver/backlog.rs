//! Deliveries that wait in `parked` for webhooks of the partitions that this process owns: their
//! number, and the webhooks to look at next.

use std::collections::HashMap;

use crate::domain::health::{MAX_WAITING, WaitingWebhook};
use crate::domain::id::WebhookId;

/// Rows that wait, by webhook. A webhook is here for as long as rows wait for it.
#[derive(Debug, Default)]
pub(crate) struct ParkedBacklog {
    webhooks: HashMap<WebhookId, WaitingRows>,
}

/// Rows that wait for one webhook.
#[derive(Debug, Clone, Copy, Default)]
struct WaitingRows {
    /// As Postgres has them, as far as is known here.
    written: i64,
    /// Parked here, and not yet written.
    unwritten: i64,
    /// Rows were added or removed here since the last look began.
    has_changed: bool,
    /// Due time of the next row that nobody works on, in milliseconds since the Unix epoch; none:
    /// all that was due is taken.
    due_ms: Option<i64>,
}

impl ParkedBacklog {
    /// True if the webhook has as many rows as it may have, [`MAX_WAITING`].
    pub(crate) fn is_full(&self, webhook: WebhookId) -> bool {
        self.webhooks
            .get(&webhook)
            .is_some_and(|rows| rows.written + rows.unwritten >= MAX_WAITING)
    }

    /// Notes that a delivery is about to be parked, due at `due_ms`.
    pub(crate) fn parking(&mut self, webhook: WebhookId, due_ms: i64) {
        let rows = self.webhooks.entry(webhook).or_default();
        rows.unwritten += 1;
        rows.due_ms = Some(rows.due_ms.map_or(due_ms, |known| known.min(due_ms)));
    }

    /// Notes that a row was written.
    pub(crate) fn parked(&mut self, webhook: WebhookId) {
        let rows = self.webhooks.entry(webhook).or_default();
        rows.unwritten = (rows.unwritten - 1).max(0);
        rows.written += 1;
        rows.has_changed = true;
    }

    /// Notes that a row was not written after all.
    pub(crate) fn not_parked(&mut self, webhook: WebhookId) {
        if let Some(rows) = self.webhooks.get_mut(&webhook) {
            rows.unwritten = (rows.unwritten - 1).max(0);
        }
    }

    /// Notes that a row was removed.
    pub(crate) fn unparked(&mut self, webhook: WebhookId) {
        if let Some(rows) = self.webhooks.get_mut(&webhook) {
            rows.written = (rows.written - 1).max(0);
            rows.has_changed = true;
        }
    }

    /// Notes that a look begins.
    pub(crate) fn begin_look(&mut self) {
        for rows in self.webhooks.values_mut() {
            rows.has_changed = false;
        }
    }

    /// Merges what a look has found. Returns the webhooks for which nothing waits any more.
    pub(crate) fn looked(&mut self, found: &[WaitingWebhook]) -> Vec<WebhookId> {
        let mut before = std::mem::take(&mut self.webhooks);
        for one in found {
            let known = before.remove(&one.webhook_id).unwrap_or_default();
            // What was written meanwhile may not be in the count.
            let written = match known.has_changed {
                true => known.written.max(one.waiting),
                false => one.waiting,
            };
            let rows = WaitingRows {
                written,
                due_ms: Some(one.due_at.timestamp_millis()),
                ..known
            };
            self.webhooks.insert(one.webhook_id, rows);
        }
        // Not found because it was not yet written.
        let (kept, gone): (HashMap<_, _>, HashMap<_, _>) = before
            .into_iter()
            .partition(|(_, rows)| rows.unwritten > 0 || rows.has_changed);
        self.webhooks.extend(kept);
        gone.into_keys().collect()
    }

    /// Lists the webhooks with rows that are due at `now_ms`.
    pub(crate) fn due(&self, now_ms: i64) -> impl Iterator<Item = WebhookId> + '_ {
        self.webhooks
            .iter()
            .filter(move |(_, rows)| rows.due_ms.is_some_and(|due_ms| due_ms <= now_ms))
            .map(|(webhook, _)| *webhook)
    }

    /// Notes that all rows of the webhook that are due were taken. The next look finds the others.
    pub(crate) fn taken_all(&mut self, webhook: WebhookId) {
        if let Some(rows) = self.webhooks.get_mut(&webhook) {
            rows.due_ms = None;
        }
    }

    /// Due time of the next row after `now_ms`, in milliseconds since the Unix epoch.
    pub(crate) fn next_due_ms(&self, now_ms: i64) -> Option<i64> {
        let due = self.webhooks.values().filter_map(|rows| rows.due_ms);
        due.filter(|due_ms| *due_ms > now_ms).min()
    }

    /// Forgets everything: the partitions have changed.
    pub(crate) fn clear(&mut self) {
        self.webhooks.clear();
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::time::from_ms;

    fn id(number: u128) -> WebhookId {
        WebhookId::from_uuid(Uuid::from_u128(number))
    }

    fn found(number: u128, waiting: i64, due_ms: i64) -> WaitingWebhook {
        WaitingWebhook {
            webhook_id: id(number),
            due_at: from_ms(due_ms),
            waiting,
        }
    }

    #[test]
    fn the_hundred_thousandth_row_is_the_last() {
        let mut backlog = ParkedBacklog::default();
        assert!(backlog.looked(&[found(1, MAX_WAITING - 2, 5)]).is_empty());
        for _ in 0..2 {
            assert!(!backlog.is_full(id(1)));
            backlog.parking(id(1), 7);
        }
        assert!(backlog.is_full(id(1)), "also before it is written");
        backlog.begin_look();
        backlog.parked(id(1));
        // The look did not see it yet.
        backlog.looked(&[found(1, MAX_WAITING - 2, 5)]);
        assert!(backlog.is_full(id(1)));
        backlog.unparked(id(1));
        assert!(!backlog.is_full(id(1)) && !backlog.is_full(id(2)));
    }

    #[test]
    fn what_is_due_is_listed_until_it_is_taken() {
        let mut backlog = ParkedBacklog::default();
        backlog.looked(&[found(1, 1, 5), found(2, 9, 100)]);
        assert_eq!(backlog.due(50).collect::<Vec<_>>(), [id(1)]);
        assert_eq!(backlog.next_due_ms(50), Some(100));
        backlog.taken_all(id(1));
        assert_eq!(backlog.due(50).count(), 0);
        backlog.parking(id(1), 60);
        assert_eq!(backlog.next_due_ms(50), Some(60));
        backlog.begin_look();
        assert_eq!(backlog.looked(&[]), [id(2)], "the other is not written yet");
    }
}
