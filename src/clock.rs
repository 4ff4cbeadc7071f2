//! The process's clocks. No other module calls those of the standard library, Tokio or chrono: a
//! lint (`clippy.toml`) sees to it.
//!
//! Modules that decide take the time as an argument, so that tests step it, and may not name this
//! one (`src/tests.rs` lists them). Modules that wait or talk to a server read the time here and
//! hand it on.
//!
//! Other libraries have clocks of their own, and no rule of ours depends on them: Tokio's timers
//! bound waits, PostgreSQL's `now()` dates rows and removes old ones, brokers and librdkafka date
//! records, rustls compares certificates with the system's time.

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
