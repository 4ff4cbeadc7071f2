//! A partition number that is assigned and cannot be restored for now.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::kafka::topic_partition::TopicPartition;

/// Longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_secs(15);

/// A partition number that waits to be restored.
#[derive(Debug)]
pub(crate) struct Unrestored {
    /// Partitions of the sources.
    pub(crate) list: Vec<TopicPartition>,
    /// Partitions of the list that are read from their beginning.
    pub(crate) anew: BTreeSet<TopicPartition>,
    /// Reason of the last failure, empty before the first.
    pub(crate) reason: String,
    pub(crate) retry_at: Instant,
    failures: u32,
}

impl Unrestored {
    /// One that is to be restored at `now`.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            list: Vec::new(),
            anew: BTreeSet::new(),
            reason: String::new(),
            retry_at: now,
            failures: 0,
        }
    }

    /// Notes that it could not be restored at `now`: the next attempt is a second later, and each
    /// further one twice as long after that.
    pub(crate) fn note_failure(&mut self, reason: String, now: Instant) {
        let pause = Duration::from_secs(1 << self.failures.min(4));
        self.retry_at = now + pause.min(MAX_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.reason = reason;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn attempts_become_rarer_up_to_a_bound() {
        let now = clock::monotonic();
        let mut unrestored = Unrestored::new(now);
        let pauses = (0..6).map(|_| {
            unrestored.note_failure("no leader".to_owned(), now);
            (unrestored.retry_at - now).as_secs()
        });
        assert_eq!(pauses.collect::<Vec<_>>(), [1, 2, 4, 8, 15, 15]);
    }
}
