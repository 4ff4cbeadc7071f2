//! The one place that reads clocks. Everything else takes the time as an argument, so that tests can step it.

use std::time::Instant;

use chrono::{DateTime, TimeZone, Utc};

/// The last millisecond of the year 9999: the last time that RFC 3339 can write and that Bellwether stores.
pub(crate) const LAST_MS: i64 = 253_402_300_799_999;

/// The wall clock, in UTC.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the wall clock"
)]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// The wall clock in milliseconds since the Unix epoch.
pub fn now_ms() -> i64 {
    now().timestamp_millis()
}

/// The monotonic clock, for durations.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the monotonic clock"
)]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// `ms` milliseconds since the Unix epoch as a time, held within what chrono can represent.
pub fn from_ms(ms: i64) -> DateTime<Utc> {
    Utc.timestamp_millis_opt(ms).single().unwrap_or(if ms < 0 {
        DateTime::<Utc>::MIN_UTC
    } else {
        DateTime::<Utc>::MAX_UTC
    })
}
