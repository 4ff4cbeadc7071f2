//! The time of an event, and its whole second.

use crate::detect::window::LAST_SECOND;
use crate::domain::event::SourceClock;
use crate::domain::words::words;

/// Greatest age of a live event's own time, in milliseconds before its record's: a day. An older
/// time is replaced by the record's.
const MAX_AGE_MS: i64 = 24 * 3_600 * 1_000;

/// Greatest distance of a log's event after the latest one read before it in its partition, in
/// milliseconds: 400 days. What lies further ahead is rejected, with the reason `bad_field`.
const MAX_AHEAD_MS: i64 = 400 * 24 * 3_600 * 1_000;

/// Earliest time at which a record may have been written, in milliseconds since the Unix epoch: the
/// beginning of 2011, when Kafka appeared.
const EARLIEST_RECORD_MS: i64 = 1_293_840_000_000;

/// An event's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EventTime {
    /// Milliseconds since the Unix epoch.
    pub(crate) ms: i64,
    /// True if the event's own time was replaced, because its clock is wrong or it was kept for
    /// over a day.
    pub(crate) skewed: bool,
}

/// Time of a record. One without a time takes that of its event: one that is the same whenever it
/// is read.
pub(crate) fn record_time(record_ms: Option<i64>, own_ms: Option<i64>, now_ms: i64) -> i64 {
    record_ms.unwrap_or_else(|| own_ms.unwrap_or(now_ms).min(now_ms))
}

/// Decides the time of an event whose record was written at `record_ms`, or has no time, and is
/// read at `now_ms`.
pub(crate) fn event_time(
    clock: SourceClock,
    timestamp_ms: Option<i64>,
    record_ms: i64,
    now_ms: i64,
) -> EventTime {
    let own = timestamp_ms.unwrap_or(record_ms);
    match clock {
        SourceClock::Log => EventTime {
            ms: own,
            skewed: false,
        },
        SourceClock::Live => {
            let skewed = own < record_ms.saturating_sub(MAX_AGE_MS);
            let own = if skewed { record_ms } else { own };
            EventTime {
                ms: own.min(record_ms).min(now_ms),
                skewed,
            }
        }
    }
}

/// The time of a back-dated event of a live source: its own, however old, so that it counts only
/// where it still matters.
pub(crate) fn historical_time(timestamp_ms: Option<i64>, record_ms: i64, now_ms: i64) -> EventTime {
    EventTime {
        ms: timestamp_ms.unwrap_or(record_ms).min(record_ms).min(now_ms),
        skewed: false,
    }
}

/// True if an event of `at_ms` is recent enough for a notification, as every event of a log is.
pub(crate) fn is_fresh(clock: SourceClock, at_ms: i64, now_ms: i64, stale_after_ms: i64) -> bool {
    clock == SourceClock::Log || now_ms.saturating_sub(at_ms) <= stale_after_ms
}

words! {
    /// The time that puts an event of a live source too far into the past.
    pub(crate) enum StaleCause {
        /// Its own: it was of the past when its record was written.
        OwnTime = "own_time",
        /// Its record's: it was of the present then, and is read late.
        RecordTime = "record_time",
        /// Its record's, which cannot be true: it is not in milliseconds.
        RecordUnit = "record_unit",
    }
}

/// Finds out what puts an event of a live source at `event_ms`, which is not fresh.
pub(crate) fn stale_cause(
    event_ms: i64,
    record_ms: Option<i64>,
    now_ms: i64,
    stale_after_ms: i64,
) -> StaleCause {
    let is_too_old = |ms: i64, at_ms: i64| !is_fresh(SourceClock::Live, ms, at_ms, stale_after_ms);
    match record_ms {
        Some(ms) if ms < EARLIEST_RECORD_MS => StaleCause::RecordUnit,
        Some(ms) if is_too_old(ms, now_ms) && !is_too_old(event_ms, ms) => StaleCause::RecordTime,
        _ => StaleCause::OwnTime,
    }
}

/// The time at which the webhooks of a record's event must have existed: that of the record, or the
/// wall clock if a live record's time cannot be true. What such a record withholds is counted so.
pub(crate) fn time_of_subscribers(clock: SourceClock, record_ms: i64, now_ms: i64) -> i64 {
    match clock == SourceClock::Live && record_ms < EARLIEST_RECORD_MS {
        true => now_ms,
        false => record_ms,
    }
}

/// True if a time lies so far after the latest of a log that it must be wrong: it would end the
/// windows of every site of the partition.
pub(crate) fn is_too_far_ahead(at_ms: i64, latest_ms: i64) -> bool {
    at_ms.saturating_sub(latest_ms) > MAX_AHEAD_MS
}

/// Returns the whole second of a time, held between 1970 and 2106.
pub(crate) fn whole_second(ms: i64) -> u32 {
    let second = ms.div_euclid(1_000).clamp(0, i64::from(LAST_SECOND));
    u32::try_from(second).unwrap_or(LAST_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = MAX_AGE_MS;

    fn time(clock: SourceClock, timestamp_ms: Option<i64>, record_ms: i64, now_ms: i64) -> (i64, bool) {
        let time = event_time(clock, timestamp_ms, record_ms, now_ms);
        (time.ms, time.skewed)
    }

    #[test]
    fn a_live_event_is_never_later_than_record_or_wall_clock() {
        use SourceClock::Live;
        let at = 100 * DAY;
        assert_eq!(time(Live, None, at, at + 5), (at, false));
        assert_eq!(time(Live, Some(at - 3), at, at + 5), (at - 3, false));
        assert_eq!(time(Live, Some(at + 3), at, at + 5), (at, false));
        assert_eq!(time(Live, Some(at + 3), at, at - 5), (at - 5, false));
    }

    #[test]
    fn a_record_without_a_time_takes_its_events_or_the_wall_clocks() {
        use SourceClock::Live;
        let at = 100 * DAY;
        for (own, expected) in [
            (Some(at - 3), at - 3),
            (Some(at - 9 * DAY), at - 9 * DAY),
            (Some(at + 3), at),
            (None, at),
        ] {
            let record_ms = record_time(None, own, at);
            assert_eq!(record_ms, expected);
            assert_eq!(time(Live, own, record_ms, at), (expected, false));
        }
        assert_eq!(record_time(Some(7), Some(at), at), 7, "its own, where it has one");
    }

    #[test]
    fn a_live_event_over_a_day_old_takes_the_records_time() {
        use SourceClock::Live;
        let at = 100 * DAY;
        assert_eq!(time(Live, Some(at - DAY), at, at), (at - DAY, false));
        assert_eq!(time(Live, Some(at - DAY - 1), at, at), (at, true));
        assert_eq!(time(Live, Some(0), at, at), (at, true));
    }

    #[test]
    fn a_logs_event_has_its_own_time_whatever_it_is() {
        use SourceClock::Log;
        assert_eq!(time(Log, Some(7), 100 * DAY, 0), (7, false));
        assert_eq!(time(Log, Some(900 * DAY), 100 * DAY, 0), (900 * DAY, false));
        assert_eq!(time(Log, None, 100 * DAY, 0), (100 * DAY, false));
    }

    #[test]
    fn the_time_that_makes_an_event_stale_is_the_one_named() {
        let now = 20_000 * DAY;
        let minutes_ago = |minutes: i64| now - minutes * 60_000;
        for (event_ms, record_ms, cause) in [
            (minutes_ago(20), Some(now), StaleCause::OwnTime),
            (minutes_ago(20), None, StaleCause::OwnTime),
            (minutes_ago(60), Some(minutes_ago(20)), StaleCause::OwnTime),
            (minutes_ago(20), Some(minutes_ago(20)), StaleCause::RecordTime),
            (minutes_ago(30), Some(minutes_ago(20)), StaleCause::RecordTime),
            (minutes_ago(18), Some(minutes_ago(10)), StaleCause::OwnTime),
            (5_000, Some(5_000), StaleCause::RecordUnit),
            (now / 1_000, Some(now / 1_000), StaleCause::RecordUnit),
        ] {
            assert_eq!(
                stale_cause(event_ms, record_ms, now, 900_000),
                cause,
                "{event_ms}"
            );
        }
    }

    #[test]
    fn seconds_are_floored_and_held_in_range() {
        assert_eq!(whole_second(1_999), 1);
        assert_eq!(whole_second(-1), 0);
        assert_eq!(whole_second(i64::MAX), LAST_SECOND);
    }
}
