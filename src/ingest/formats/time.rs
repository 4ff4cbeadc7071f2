//! Points in time as producers write them, as milliseconds since the Unix epoch.

use chrono::{DateTime, NaiveDate};

/// Reads an RFC 3339 time. What is finer than a millisecond is cut off.
///
/// The form nearly every producer writes, in UTC, is read by position; every other one is left to chrono, which is
/// right about all of them and four times slower.
pub(super) fn rfc3339_ms(text: &str) -> Option<i64> {
    plain_utc_ms(text.as_bytes()).or_else(|| {
        DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|at| at.timestamp_millis())
    })
}

/// `2026-02-25T12:00:00Z`, or with one to nine digits of a second's fraction.
fn plain_utc_ms(text: &[u8]) -> Option<i64> {
    let (fixed, rest) = text.split_at_checked(19)?;
    if [fixed[4], fixed[7], fixed[10], fixed[13], fixed[16]] != *b"--T::" {
        return None;
    }
    let year = number(&fixed[..4])?;
    let [month, day, hour, minute, second] = [5, 8, 11, 14, 17].map(|at| number(&fixed[at..at + 2]));
    let (hour, minute, second) = (hour?, minute?, second?);
    // A leap second, `:60`, is chrono's to judge.
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let millis = match rest {
        [b'Z'] => 0,
        [b'.', digits @ .., b'Z'] if (1..=9).contains(&digits.len()) => {
            let mut millis = 0;
            for place in 0..3 {
                millis = millis * 10 + digits.get(place).map_or(Some(0), |d| digit(*d))?;
            }
            digits.iter().all(u8::is_ascii_digit).then_some(millis)?
        }
        _ => return None,
    };
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month?, day?)?;
    let days = i64::from(date.to_epoch_days());
    let seconds = days * 86_400 + i64::from(hour * 3_600 + minute * 60 + second);
    Some(seconds * 1_000 + i64::from(millis))
}

fn number(digits: &[u8]) -> Option<u32> {
    digits
        .iter()
        .try_fold(0, |sum, byte| Some(sum * 10 + digit(*byte)?))
}

fn digit(byte: u8) -> Option<u32> {
    byte.is_ascii_digit().then(|| u32::from(byte - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::LAST_MS;
    use proptest::prelude::*;

    #[test]
    fn times_in_the_forms_of_rfc_3339() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-02-25T12:00:00Z", Some(1_772_020_800_000)),
            ("2026-02-25T12:00:00.5Z", Some(1_772_020_800_500)),
            ("2026-02-25T12:00:00.123456789Z", Some(1_772_020_800_123)),
            ("2026-02-25T13:00:00+01:00", Some(1_772_020_800_000)),
            ("2026-02-25t12:00:00z", Some(1_772_020_800_000)),
            ("2024-02-29T00:00:00Z", Some(1_709_164_800_000)),
            ("2023-02-29T00:00:00Z", None),
            ("2026-02-25T24:00:00Z", None),
            ("2026-02-25T12:00:00", None),
            ("2026-02-25", None),
            ("2026-02-25T12:00:00.Z", None),
            ("2026-02-25T12:00:00.12x4Z", None),
            ("1772020800000", None),
            ("", None),
        ] {
            assert_eq!(rfc3339_ms(text), ms, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_short_way_says_what_chrono_says(ms in 0..=LAST_MS, digits in 0_usize..=9) {
            let at = DateTime::from_timestamp_millis(ms).expect("in range");
            let text = match digits {
                0 => at.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
                n => format!("{}.{:.n$}Z", at.format("%Y-%m-%dT%H:%M:%S"), &format!("{:03}000000", ms % 1_000)),
            };
            prop_assert_eq!(
                plain_utc_ms(text.as_bytes()),
                DateTime::parse_from_rfc3339(&text).ok().map(|at| at.timestamp_millis()),
                "{}", text
            );
        }

        #[test]
        fn no_text_panics_and_both_ways_agree(text in "[0-9TZtz:.+ -]{0,30}|\\PC{0,30}") {
            if let Some(ms) = plain_utc_ms(text.as_bytes()) {
                let chrono = DateTime::parse_from_rfc3339(&text).map(|at| at.timestamp_millis());
                prop_assert_eq!(Ok(ms), chrono);
            }
            let _ = rfc3339_ms(&text);
        }
    }
}
