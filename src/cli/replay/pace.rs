//! The pace of a replay.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::clock;

/// Longest sleep before the progress is shown again.
const TICK: Duration = Duration::from_millis(100);

/// Keeps the file's pace, `speed` times faster. Lines out of order are published at once: time does
/// not go back.
pub(super) struct Pace {
    speed: f64,
    start: Option<(i64, Instant)>,
}

impl Pace {
    pub(super) fn new(speed: f64) -> Self {
        Self { speed, start: None }
    }

    /// Waits until an event that happened at `at_ms` is due, or until `stop` is cancelled, and
    /// calls `meanwhile` ten times a second.
    pub(super) fn wait_for(&mut self, at_ms: i64, stop: &CancellationToken, mut meanwhile: impl FnMut()) {
        if self.speed == 0.0 {
            return;
        }
        let mut now = clock::monotonic();
        let (first_ms, started) = *self.start.get_or_insert((at_ms, now));
        let ahead_ms = at_ms.saturating_sub(first_ms).max(0);
        let due = started + Duration::from_secs_f64((ahead_ms as f64 / 1_000.0 / self.speed).min(1e9));
        while now < due && !stop.is_cancelled() {
            meanwhile();
            std::thread::sleep((due - now).min(TICK));
            now = clock::monotonic();
        }
    }
}
