//! First attempts that nobody has to be asked about.
//!
//! A record on `deliveries` may be a copy: a detector that was killed decides again what it had
//! published, with the same ids. So it is not enough that the record itself is new. Its
//! notification must have been made since this process owns the partition, so that no other owner
//! had a copy, and this process must not have had one either.

use std::collections::HashSet;

use crate::domain::id::DeliveryId;

/// Longest time from a notification to its first attempt without a question, in milliseconds.
const FRESH_MS: i64 = 20_000;
/// Difference that is allowed between the clocks of producers and of this process.
const CLOCK_SLACK_MS: i64 = 2_000;
/// Most ids remembered in each of two spans; with more, questions are asked for a span.
const MOST: usize = 150_000;

/// Ids of the first attempts that were read a short time ago.
#[derive(Debug, Clone, Default)]
pub(crate) struct RecentFirsts {
    current: HashSet<DeliveryId>,
    before: HashSet<DeliveryId>,
    /// When the current span began, in milliseconds since the Unix epoch.
    since_ms: i64,
    /// Until then a copy may come of an id that found no room.
    unsure_until_ms: i64,
}

impl RecentFirsts {
    /// True if the first attempt of a delivery, whose notification was made at `created_at_ms`, is
    /// surely nobody else's, and no copy of it was read here. `owned_since_ms` is when the
    /// assignment began. Times are milliseconds since the Unix epoch.
    pub(crate) fn is_first(
        &mut self,
        delivery: DeliveryId,
        created_at_ms: i64,
        owned_since_ms: i64,
        now_ms: i64,
    ) -> bool {
        let age_ms = now_ms.saturating_sub(created_at_ms);
        let is_since_owned = created_at_ms >= owned_since_ms.saturating_add(CLOCK_SLACK_MS);
        if age_ms > FRESH_MS || !is_since_owned {
            return false;
        }
        // An id is remembered for a span at least, and a copy that comes later is not fresh. So is
        // one from a clock that is ahead: its copy may come when the time is right.
        let is_new = self.remember(delivery, now_ms);
        is_new && age_ms >= -CLOCK_SLACK_MS && now_ms >= self.unsure_until_ms
    }

    /// Remembers an id. Returns false if it was known.
    fn remember(&mut self, delivery: DeliveryId, now_ms: i64) -> bool {
        let span_ms = FRESH_MS + CLOCK_SLACK_MS;
        if now_ms.saturating_sub(self.since_ms) > span_ms {
            let is_old = now_ms.saturating_sub(self.since_ms) > 2 * span_ms;
            let last = std::mem::take(&mut self.current);
            self.before = if is_old { HashSet::new() } else { last };
            self.since_ms = now_ms;
        }
        if self.current.len() >= MOST {
            // A copy of it would not be known.
            self.unsure_until_ms = now_ms.saturating_add(span_ms);
            return false;
        }
        !self.before.contains(&delivery) && self.current.insert(delivery)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const OWNED: i64 = 1_771_970_400_000;

    fn id(number: u128) -> DeliveryId {
        DeliveryId::from_uuid(Uuid::from_u128(number))
    }

    #[test]
    fn only_what_is_new_in_every_way_needs_no_question() {
        let mut recent = RecentFirsts::default();
        let created = OWNED + 10_000;
        for (number, created_at_ms, now_ms, expected) in [
            (1, created, created + 5, true),
            // A copy, here and after a while.
            (1, created, created + 6, false),
            (1, created, created + 19_000, false),
            (2, created, created + 20_000, true),
            (3, created, created + 20_001, false),
            // Decided before the partition was owned, as a killed detector's notifications are.
            (4, OWNED + 1_999, OWNED + 2_100, false),
            (5, OWNED - 60_000, OWNED + 2_100, false),
            // By a clock that is far ahead.
            (6, created + 30_000, created, false),
        ] {
            let is_first = recent.is_first(id(number), created_at_ms, OWNED, now_ms);
            assert_eq!(is_first, expected, "{number} {now_ms}");
        }
    }

    #[test]
    fn a_copy_is_known_for_as_long_as_it_is_fresh() {
        for step in [1_000, 7_000, 21_000, 30_000] {
            let mut recent = RecentFirsts::default();
            let mut now_ms = OWNED + 10_000;
            for number in 0..40 {
                assert!(recent.is_first(id(number), now_ms, OWNED, now_ms));
                for late_ms in [1, FRESH_MS / 2, FRESH_MS] {
                    // Other records move the spans on meanwhile.
                    let mut later = recent.clone();
                    later.is_first(id(1_000), now_ms + late_ms, OWNED, now_ms + late_ms);
                    assert!(!later.is_first(id(number), now_ms, OWNED, now_ms + late_ms));
                }
                now_ms += step;
            }
        }
    }

    #[test]
    fn an_id_from_a_clock_ahead_is_known_when_its_copy_comes() {
        let mut recent = RecentFirsts::default();
        let created = OWNED + 10_000;
        assert!(!recent.is_first(id(1), created, OWNED, created - 5_000));
        assert!(!recent.is_first(id(1), created, OWNED, created + 5));
    }

    #[test]
    fn without_room_for_an_id_questions_are_asked_for_a_span() {
        let mut recent = RecentFirsts::default();
        let now = OWNED + 10_000;
        for number in 0..MOST as u128 {
            assert!(recent.is_first(id(number), now, OWNED, now));
        }
        let forgotten = u128::MAX;
        assert!(!recent.is_first(id(forgotten), now, OWNED, now));
        for later_ms in [1, FRESH_MS] {
            let at = now + later_ms;
            assert!(!recent.is_first(id(forgotten), now, OWNED, at));
            assert!(!recent.is_first(id(forgotten - at as u128), at, OWNED, at));
        }
        let at = now + 3 * (FRESH_MS + CLOCK_SLACK_MS);
        assert!(recent.is_first(id(7), at, OWNED, at));
    }
}
