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
/// Most ids remembered in each of two spans; with more, questions are asked.
const MOST: usize = 150_000;

/// Ids of the first attempts that were read a short time ago.
#[derive(Debug, Default)]
pub(crate) struct RecentFirsts {
    current: HashSet<DeliveryId>,
    before: HashSet<DeliveryId>,
    /// When the current span began, in milliseconds since the Unix epoch.
    since_ms: i64,
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
        let is_fresh = (-CLOCK_SLACK_MS..=FRESH_MS).contains(&age_ms);
        let is_since_owned = created_at_ms >= owned_since_ms.saturating_add(CLOCK_SLACK_MS);
        if !is_fresh || !is_since_owned {
            return false;
        }
        // An id is remembered for a span at least, and a copy that comes later is not fresh.
        let span_ms = FRESH_MS + CLOCK_SLACK_MS;
        if now_ms.saturating_sub(self.since_ms) > span_ms {
            let is_old = now_ms.saturating_sub(self.since_ms) > 2 * span_ms;
            let last = std::mem::take(&mut self.current);
            self.before = if is_old { HashSet::new() } else { last };
            self.since_ms = now_ms;
        }
        self.current.len() < MOST && !self.before.contains(&delivery) && self.current.insert(delivery)
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
                    let mut later = RecentFirsts {
                        current: recent.current.clone(),
                        before: recent.before.clone(),
                        since_ms: recent.since_ms,
                    };
                    later.is_first(id(1_000), now_ms + late_ms, OWNED, now_ms + late_ms);
                    assert!(!later.is_first(id(number), now_ms, OWNED, now_ms + late_ms));
                }
                now_ms += step;
            }
        }
    }
}
