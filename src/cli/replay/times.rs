//! The times that published events carry. Pure.

use std::time::Duration;

use chrono::SecondsFormat;

use crate::domain::time::from_ms;

/// Decides the time of each event.
#[derive(Debug)]
pub(super) struct Times {
    is_moved: bool,
    speed: f64,
    /// Distance from the present from which on a live source counts an event at the wrong time or
    /// notifies nobody.
    stale_after_ms: Option<i64>,
    /// The first event's own time and the present then.
    first: Option<(i64, i64)>,
}

/// An event of another time for a source that reads the present.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an event of {at} would be counted as of now, or nobody would be notified of it: set clock = \"log\" on the source, \
     or publish the events as if they happened now with --now"
)]
pub(super) struct NotPresent {
    at: String,
}

impl Times {
    /// Times as they are written, or moved to the present if `is_moved`. A source with a live clock
    /// has a `stale_after`.
    pub(super) fn new(is_moved: bool, speed: f64, stale_after: Option<Duration>) -> Self {
        let stale_after_ms = stale_after.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        Self {
            is_moved,
            speed,
            stale_after_ms,
            first: None,
        }
    }

    /// The time for an event that happened at `at_ms` and is published at `now_ms`, both in
    /// milliseconds since the Unix epoch.
    pub(super) fn at(&mut self, at_ms: i64, now_ms: i64) -> Result<i64, NotPresent> {
        let (first_ms, started_ms) = *self.first.get_or_insert((at_ms, now_ms));
        if self.is_moved {
            // At full speed all happen when they are published.
            if self.speed == 0.0 {
                return Ok(now_ms);
            }
            let ahead_ms = at_ms.saturating_sub(first_ms).max(0) as f64 / self.speed;
            return Ok(started_ms.saturating_add(ahead_ms as i64));
        }
        match self.stale_after_ms {
            Some(stale_after_ms) if now_ms.abs_diff(at_ms) > stale_after_ms.unsigned_abs() => {
                Err(NotPresent {
                    at: from_ms(at_ms).to_rfc3339_opts(SecondsFormat::Secs, true),
                })
            }
            _ => Ok(at_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;
    /// 2015-05-17T10:05:03Z
    const LONG_AGO: i64 = 1_431_857_103_000;
    const NOW: i64 = 1_771_970_400_000;

    #[test]
    fn a_live_source_refuses_events_of_another_time() {
        let stale_after = Some(Duration::from_secs(15 * 60));
        let mut times = Times::new(false, 1.0, stale_after);
        assert_eq!(times.at(NOW - 15 * MINUTE, NOW), Ok(NOW - 15 * MINUTE));
        assert_eq!(times.at(NOW + MINUTE, NOW), Ok(NOW + MINUTE));
        let refused = times.at(LONG_AGO, NOW).expect_err("old").to_string();
        assert!(
            refused.contains("2015-05-17T10:05:03Z") && refused.contains("--now"),
            "{refused}"
        );
        assert!(times.at(NOW - 15 * MINUTE - 1, NOW).is_err());
        // A live source would count it as of now.
        assert!(times.at(NOW + 15 * MINUTE + 1, NOW).is_err());
    }

    #[test]
    fn a_log_source_takes_every_time() {
        assert_eq!(Times::new(false, 1.0, None).at(LONG_AGO, NOW), Ok(LONG_AGO));
    }

    #[test]
    fn now_moves_the_first_event_to_the_present_and_keeps_the_pace() {
        let mut times = Times::new(true, 10.0, Some(Duration::from_secs(60)));
        assert_eq!(times.at(LONG_AGO, NOW), Ok(NOW));
        assert_eq!(times.at(LONG_AGO + 50_000, NOW + 5_001), Ok(NOW + 5_000));
        // One out of order is not older than the first.
        assert_eq!(times.at(LONG_AGO - MINUTE, NOW + 6_000), Ok(NOW));
        let mut times = Times::new(true, 0.0, None);
        assert_eq!(times.at(LONG_AGO, NOW), Ok(NOW));
        assert_eq!(times.at(LONG_AGO + MINUTE, NOW + 3), Ok(NOW + 3));
    }
}
