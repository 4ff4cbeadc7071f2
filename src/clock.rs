//! The one place that reads clocks. Everything else takes the time as an argument, so that tests
//! can step it.

use std::time::Instant;

use chrono::{DateTime, Utc};

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
