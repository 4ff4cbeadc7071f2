//! At most one log line a second for one cause, with the number of those left out.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;

/// Decides whether a line is written now.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    last: Option<Instant>,
    suppressed: u64,
}

impl Throttle {
    pub(crate) const fn new() -> Self {
        Self {
            last: None,
            suppressed: 0,
        }
    }

    /// `Some(n)`: write it, and say that `n` were left out before; `None`: leave it out.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<u64> {
        if self
            .last
            .is_some_and(|last| now.duration_since(last) < Duration::from_secs(1))
        {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}

/// Decision for lines that every request may cause, whichever thread serves it.
#[derive(Debug)]
pub(crate) struct SharedThrottle(Mutex<Throttle>);

impl SharedThrottle {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Throttle::new()))
    }

    /// Like [`Throttle::admit`], at the present time.
    pub(crate) fn admit(&self) -> Option<u64> {
        let mut throttle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        throttle.admit(clock::monotonic())
    }
}

/// Decisions for lines that any thread may cause, by key: a line about one suppresses none about
/// another. Only for keys that are few, such as the topics of the configuration.
#[derive(Debug)]
pub(crate) struct KeyedThrottles<K>(Mutex<BTreeMap<K, Throttle>>);

impl<K: Ord> KeyedThrottles<K> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// Like [`Throttle::admit`], at the present time, for the caller's line and so many that it has
    /// left out before.
    pub(crate) fn admit(&self, key: K, left_out: u64) -> Option<u64> {
        let mut throttles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let throttle = throttles.entry(key).or_default();
        throttle.suppressed += left_out;
        throttle.admit(clock::monotonic())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_about_a_key_suppresses_none_about_another() {
        let throttles = KeyedThrottles::new();
        let admitted =
            [("one", 0), ("two", 7), ("one", 3)].map(|(key, left_out)| throttles.admit(key, left_out));
        assert_eq!(admitted, [Some(0), Some(7), None]);
    }

    #[test]
    fn a_second_line_within_a_second_is_counted_instead() {
        let start = clock::monotonic();
        let mut throttle = Throttle::default();
        assert_eq!(throttle.admit(start), Some(0));
        assert_eq!(throttle.admit(start + Duration::from_millis(400)), None);
        assert_eq!(throttle.admit(start + Duration::from_millis(999)), None);
        assert_eq!(throttle.admit(start + Duration::from_millis(1_000)), Some(2));
        assert_eq!(throttle.admit(start + Duration::from_millis(2_000)), Some(0));
    }
}
