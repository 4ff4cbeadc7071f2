//! A webhook that asks for a trigger, and its share in the episodes: when it is notified of a
//! beginning, and of the reminders after it, one each `repeat_after_seconds` while it lasts.

use crate::domain::id::WebhookId;
use crate::domain::trigger::NoticeOptions;

/// A webhook that asks for a trigger, and what it was notified of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subscriber {
    pub(crate) webhook: WebhookId,
    /// The beginning of what it is notified of; milliseconds since the Unix epoch.
    pub(crate) since_ms: i64,
    pub(crate) options: NoticeOptions,
    /// True if it was notified of the beginning of the episode going on.
    pub(crate) is_notified: bool,
    /// Number of the latest reminder of that episode, from 1; 0 before the first.
    pub(crate) reminders: u32,
    /// Beginning of the latest episode of which it was notified.
    pub(crate) notified_at: Option<u32>,
}

impl Subscriber {
    /// True if an episode that begins at `second` comes too soon after the latest one.
    pub(super) fn is_too_soon(&self, second: u32) -> bool {
        let interval = self.options.min_interval_seconds;
        self.notified_at
            .is_some_and(|notified| second < notified.saturating_add(interval))
    }

    /// True if the beginning of its latest episode still matters at `second`.
    pub(super) fn is_interval_running(&self, second: u32) -> bool {
        self.is_too_soon(second)
    }

    /// The instant of the next reminder of an episode that was notified at `at`.
    pub(super) fn next_reminder(&self, at: u32) -> Option<u32> {
        let after = self.options.repeat_after_seconds.filter(|_| self.is_notified)?;
        Some(at.saturating_add(after.saturating_mul(self.reminders + 1)))
    }

    /// Counts the reminders up to `now` of an episode notified at `at` as given.
    pub(super) fn skip_reminders(&mut self, at: u32, now: u32) {
        if let Some(after) = self.options.repeat_after_seconds {
            self.reminders = self.reminders.max(now.saturating_sub(at) / after.max(1));
        }
    }
}

/// The second at which the first of these webhooks was made or switched on.
pub(super) fn active_since(subscribers: &[Subscriber]) -> u32 {
    let since_ms = subscribers.iter().map(|one| one.since_ms).min();
    u32::try_from(since_ms.unwrap_or(0).div_euclid(1_000)).unwrap_or(0)
}
