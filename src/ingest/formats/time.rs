//! Times as producers write them.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDateTime};

use crate::domain::event::WrongTimeUnit;

/// Longest text that is read as a time, in bytes.
const MAX_BYTES: usize = 64;
/// Position of the separator between date and time.
const SEPARATOR: usize = "2026-02-25".len();

/// Least number that is taken for milliseconds: as such it is a day of 1973.
const LEAST_MS: i64 = 100_000_000_000;
/// Greatest number that is taken for milliseconds, and the numbers that are taken for microseconds.
const MOST_MS: i64 = 100_000_000_000_000;
const LEAST_US: i64 = MOST_MS + 1;
const MOST_US: i64 = MOST_MS * 1_000;

/// A time by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberTime {
    /// Milliseconds since the Unix epoch.
    Ms(i64),
    Wrong(WrongTimeUnit),
}

/// Meaning of a time without an offset from UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoOffset {
    IsUtc,
    IsRefused,
}

/// Judges the unit of a number by its size.
pub(super) fn judge(number: i64) -> NumberTime {
    match number {
        ..LEAST_MS => NumberTime::Wrong(WrongTimeUnit::Seconds),
        LEAST_MS..=MOST_MS => NumberTime::Ms(number),
        LEAST_US..=MOST_US => NumberTime::Wrong(WrongTimeUnit::Microseconds),
        _ => NumberTime::Wrong(WrongTimeUnit::Nanoseconds),
    }
}

/// [`judge`] for a number with a fraction, which is cut off.
pub(super) fn judge_float(number: f64) -> NumberTime {
    // The conversion holds what is beyond 64 bits at their ends.
    judge(number.floor() as i64)
}

/// Reads milliseconds since the Unix epoch from a time in the form of RFC 3339, or in one of those
/// near it: a blank or a small `t` as separator, a small `z`, a comma before the fraction, an
/// offset without colon or minutes. Anything finer than a millisecond is cut off.
pub(super) fn parse(text: &str, no_offset: NoOffset) -> Option<i64> {
    let text = text.trim_ascii();
    if text.len() > MAX_BYTES {
        return None;
    }
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.timestamp_millis());
    }
    let text = in_one_form(text)?;
    if let Ok(at) = DateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f%#z") {
        return Some(at.timestamp_millis());
    }
    let at = NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f").ok()?;
    (no_offset == NoOffset::IsUtc).then(|| at.and_utc().timestamp_millis())
}

/// Writes separator, fraction and `Z` in one form.
fn in_one_form(text: &str) -> Option<Cow<'_, str>> {
    if !text.is_ascii() || !matches!(text.as_bytes().get(SEPARATOR), Some(b'T' | b't' | b' ')) {
        return None;
    }
    let (date, time) = text.split_at(SEPARATOR);
    let time = time[1..].replace(',', ".").replace('z', "Z");
    Some(format!("{date}T{time}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_772_020_800_000;

    #[test]
    fn the_size_of_a_number_tells_its_unit() {
        use WrongTimeUnit::{Microseconds, Nanoseconds, Seconds};
        for (number, judged) in [
            (-1, NumberTime::Wrong(Seconds)),
            (0, NumberTime::Wrong(Seconds)),
            (1_772_020_800, NumberTime::Wrong(Seconds)),
            (99_999_999_999, NumberTime::Wrong(Seconds)),
            (100_000_000_000, NumberTime::Ms(100_000_000_000)),
            (NOON, NumberTime::Ms(NOON)),
            (100_000_000_000_000, NumberTime::Ms(100_000_000_000_000)),
            (100_000_000_000_001, NumberTime::Wrong(Microseconds)),
            (NOON * 1_000, NumberTime::Wrong(Microseconds)),
            (NOON * 1_000_000, NumberTime::Wrong(Nanoseconds)),
            (i64::MAX, NumberTime::Wrong(Nanoseconds)),
        ] {
            assert_eq!(judge(number), judged, "{number}");
        }
        assert_eq!(
            judge_float(1_764_300_000_123.45),
            NumberTime::Ms(1_764_300_000_123)
        );
        assert_eq!(judge_float(1_772_020_800.5), NumberTime::Wrong(Seconds));
        assert_eq!(judge_float(f64::MAX), NumberTime::Wrong(Nanoseconds));
        assert_eq!(judge_float(f64::MIN), NumberTime::Wrong(Seconds));
    }

    #[test]
    fn forms_near_rfc_3339_are_read() {
        for text in [
            "2026-02-25T12:00:00Z",
            "2026-02-25t12:00:00z",
            "2026-02-25 12:00:00z",
            "2026-02-25T12:00:00,000Z",
            "2026-02-25T13:00:00,000+0100",
            "2026-02-25T13:00:00+01",
            "2026-02-25T13:30:00+01:30",
            "2026-02-25T10:30:00.000-0130",
            "2026-02-25T12:00:00-00:00",
        ] {
            assert_eq!(parse(text, NoOffset::IsRefused), Some(NOON), "{text}");
        }
        assert_eq!(
            parse("2026-02-25T12:00:00,25z", NoOffset::IsRefused),
            Some(NOON + 250)
        );
        for text in [
            "2026-02-25",
            "12:00:00Z",
            "",
            "2026-02-25T12:00:00+01x",
            "2026-02-2512:00:00ZZZ",
        ] {
            assert_eq!(parse(text, NoOffset::IsUtc), None, "{text}");
        }
    }

    #[test]
    fn a_time_without_offset_is_utc_only_where_the_format_says_so() {
        for text in [
            "2026-02-25 12:00:00",
            "2026-02-25T12:00:00",
            "2026-02-25 12:00:00.000000",
        ] {
            assert_eq!(parse(text, NoOffset::IsUtc), Some(NOON), "{text}");
            assert_eq!(parse(text, NoOffset::IsRefused), None, "{text}");
        }
        assert_eq!(
            parse("2026-02-25 12:00:00.123456", NoOffset::IsUtc),
            Some(NOON + 123)
        );
    }
}
