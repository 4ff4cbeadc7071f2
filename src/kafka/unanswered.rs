//! Records that were handed to a producer and have no answer of a broker yet.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Age from which on a record waits for too long.
const TOO_LONG: Duration = Duration::from_secs(5);

/// The records of a process without an answer, in the order in which they were handed over.
#[derive(Debug, Clone, Default)]
pub(crate) struct UnansweredRecords(Arc<Mutex<Records>>);

#[derive(Debug, Default)]
struct Records {
    next: u64,
    /// By number: when each was handed over, and the name of its topic in metrics.
    waiting: BTreeMap<u64, (Instant, &'static str)>,
    last_answer: Option<Instant>,
}

/// A record until it is answered; then it is dropped.
#[derive(Debug)]
pub(crate) struct UnansweredRecord {
    records: UnansweredRecords,
    number: u64,
    since: Instant,
}

impl UnansweredRecord {
    /// Notes that a broker has answered. Returns how long that took.
    pub(crate) fn answer(&self, now: Instant) -> Duration {
        self.records.lock().last_answer = Some(now);
        now.saturating_duration_since(self.since)
    }
}

impl Drop for UnansweredRecord {
    fn drop(&mut self) {
        self.records.lock().waiting.remove(&self.number);
    }
}

/// The record that waits longest, if that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stall {
    pub(crate) topic: &'static str,
    pub(crate) age: Duration,
    /// True if no record of any topic was answered for as long.
    pub(crate) is_total: bool,
}

impl UnansweredRecords {
    /// Counts a record that is handed over.
    pub(crate) fn begin(&self, topic: &'static str, now: Instant) -> UnansweredRecord {
        let mut records = self.lock();
        let number = records.next;
        records.next += 1;
        records.waiting.insert(number, (now, topic));
        drop(records);
        UnansweredRecord {
            records: self.clone(),
            number,
            since: now,
        }
    }

    /// Age of the record that waits longest.
    pub(crate) fn oldest(&self, now: Instant) -> Duration {
        let records = self.lock();
        let oldest = records.waiting.first_key_value();
        oldest.map_or(Duration::ZERO, |(_, (since, _))| {
            now.saturating_duration_since(*since)
        })
    }

    /// Says if a record waits for too long.
    pub(crate) fn stall(&self, now: Instant) -> Option<Stall> {
        let records = self.lock();
        let (_, (since, topic)) = records.waiting.first_key_value()?;
        let long_ago = |at: Instant| now.saturating_duration_since(at) >= TOO_LONG;
        long_ago(*since).then(|| Stall {
            topic,
            age: now.saturating_duration_since(*since),
            is_total: records.last_answer.is_none_or(long_ago),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_record_that_waits_too_long_is_named_until_it_is_answered() {
        let start = clock::monotonic();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let records = UnansweredRecords::default();
        let first = records.begin("deliveries", start);
        let second = records.begin("retry", at(1));
        assert_eq!((records.stall(at(4)), records.oldest(at(4)).as_secs()), (None, 4));
        let stall = |age: u64, is_total| {
            Some(Stall {
                topic: "deliveries",
                age: Duration::from_secs(age),
                is_total,
            })
        };
        assert_eq!(records.stall(at(5)), stall(5, true));
        assert_eq!(second.answer(at(6)).as_secs(), 5);
        drop(second);
        assert_eq!(records.stall(at(7)), stall(7, false), "others go on");
        drop(first);
        assert_eq!((records.stall(at(9)), records.oldest(at(9)).as_secs()), (None, 0));
    }
}
