//! Points in time as producers write them, as milliseconds since the Unix epoch.

use chrono::{DateTime, NaiveDate};

/// Reads an RFC 3339 time. Anything finer than a millisecond is cut off.
///
/// The form that nearly every producer writes, in UTC, is read by position; all others are left to
/// chrono, which reads every form and takes four times as long.
pub(super) fn rfc3339_ms(text: &str) -> Option<i64> {
    plain_utc_ms(text.as_bytes()).or_else(|| {
        DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|at| at.timestamp_millis())
    })
}

/// Reads `2026-02-25T12:00:00Z`, also with one to nine digits of a second's fraction.
fn plain_utc_ms(text: &[u8]) -> Option<i64> {
    let (fixed, rest) = text.split_at_checked(19)?;
    if [fixed[4], fixed[7], fixed[10], fixed[13], fixed[16]] != *b"--T::" {
        return None;
    }
    let year = number(&fixed[..4])?;
    let [month, day, hour, minute, second] = [5, 8, 11, 14, 17].map(|at| number(&fixed[at..at + 2]));
    let (hour, minute, second) = (hour?, minute?, second?);
    // A leap second, `:60`, is left to chrono.
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
mod tests;
