//! Waiting for what is due.
//!
//! Due times are of the wall clock, which may be stepped at any time, back as well as forward. So
//! no wait is computed once and then slept for: a thread parks briefly, and compares anew.

use std::time::Duration;

use crate::dispatch::tier::Tier;

/// Longest time parked, and so the latest that a rebalance or a missed wake-up is noticed.
const PARK_TIMEOUT: Duration = Duration::from_millis(10);
/// Shortest time parked before a record is due: due times are whole milliseconds.
const SHORTEST_PARK_TIMEOUT: Duration = Duration::from_micros(200);

/// Returns the time to park if the next record is due at `next_due_ms`, of the wall clock.
pub(super) fn park_timeout(next_due_ms: Option<i64>, now_ms: i64) -> Duration {
    next_due_ms.map_or(PARK_TIMEOUT, |due_at_ms| {
        let left_ms = u64::try_from(due_at_ms.saturating_sub(now_ms)).unwrap_or(0);
        Duration::from_millis(left_ms).clamp(SHORTEST_PARK_TIMEOUT, PARK_TIMEOUT)
    })
}

/// True if a record that was read from a tier is due later than the tier holds records for.
pub(super) fn is_far_due(tier: Option<Tier>, due_at_ms: i64, now_ms: i64) -> bool {
    tier.is_some_and(|tier| !tier.may_hold(due_at_ms - now_ms))
}

#[cfg(test)]
mod tests;
