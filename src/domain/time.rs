//! Times as milliseconds since the Unix epoch, and as `chrono` has them.

use chrono::{DateTime, SecondsFormat, TimeZone, Utc};

/// Last millisecond of the year 9999: the last time that RFC 3339 can write and that Bellwether
/// stores.
pub(crate) const LAST_MS: i64 = 253_402_300_799_999;

/// Converts milliseconds since the Unix epoch, held within what `chrono` can represent.
pub fn from_ms(ms: i64) -> DateTime<Utc> {
    Utc.timestamp_millis_opt(ms).single().unwrap_or(if ms < 0 {
        DateTime::<Utc>::MIN_UTC
    } else {
        DateTime::<Utc>::MAX_UTC
    })
}

/// The instant of a whole second since the Unix epoch.
pub(crate) fn from_second(second: u32) -> DateTime<Utc> {
    from_ms(i64::from(second) * 1_000)
}

/// RFC 3339 in UTC with milliseconds: the form of times in every answer.
pub(crate) fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
