//! The brokers' answers to what was handed over, and their silence.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::clock;

/// Longest time without any answer, while events wait for theirs.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Time between two looks at the answers.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The brokers' answers so far.
#[derive(Debug, Default)]
pub(super) struct Answers {
    handed_over: AtomicU64,
    /// Acknowledgements and refusals.
    count: AtomicU64,
    refused: AtomicU64,
    first_refusal: OnceLock<String>,
    /// The sentence about a silence that was too long.
    stalled: OnceLock<String>,
}

impl Answers {
    /// Events that the brokers have acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        let refused = self.refused.load(Ordering::Acquire);
        self.count.load(Ordering::Acquire).saturating_sub(refused)
    }

    /// Events that were handed over and wait for an answer.
    pub(super) fn waiting(&self) -> u64 {
        let answered = self.count.load(Ordering::Acquire);
        self.handed_over.load(Ordering::Acquire).saturating_sub(answered)
    }

    /// The number of refused events and the reason for the first.
    pub(super) fn refusals(&self) -> Option<(u64, &str)> {
        let why = self.first_refusal.get()?;
        Some((self.refused.load(Ordering::Acquire), why))
    }

    pub(super) fn hand_over(&self) {
        self.handed_over.fetch_add(1, Ordering::AcqRel);
    }

    /// An event was not taken after all.
    pub(super) fn take_back(&self) {
        self.handed_over.fetch_sub(1, Ordering::AcqRel);
    }

    pub(super) fn add(&self, result: Result<(), impl std::fmt::Display>) {
        if let Err(error) = result {
            self.refused.fetch_add(1, Ordering::AcqRel);
            drop(self.first_refusal.set(error.to_string()));
        }
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    /// Fails if the brokers have been silent for too long.
    pub(super) fn check_stalled(&self) -> anyhow::Result<()> {
        match self.stalled.get() {
            Some(sentence) => bail!("{sentence}"),
            None => Ok(()),
        }
    }

    /// Returns when the brokers have been silent for too long, whatever the replay does meanwhile.
    pub(super) async fn stall(&self, brokers: &str) {
        let mut silence = Silence::new(clock::monotonic());
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let (waiting, answered) = (self.waiting(), self.count.load(Ordering::Acquire));
            if silence.is_too_long(waiting, answered, clock::monotonic()) {
                let sentence = format!(
                    "the brokers have acknowledged nothing for {} s (kafka.brokers = \"{brokers}\"); acknowledged \
                     before: {}, waiting: {waiting}",
                    STALL_TIMEOUT.as_secs(),
                    self.acknowledged()
                );
                drop(self.stalled.set(sentence));
                return;
            }
        }
    }
}

/// The time for which events have waited without any answer.
#[derive(Debug)]
struct Silence {
    answered: u64,
    since: Instant,
}

impl Silence {
    fn new(now: Instant) -> Self {
        Self {
            answered: 0,
            since: now,
        }
    }

    /// True if something has waited for too long, and there was no answer at all.
    fn is_too_long(&mut self, waiting: u64, answered: u64, now: Instant) -> bool {
        if waiting == 0 || answered > self.answered {
            *self = Self { answered, since: now };
        }
        now.duration_since(self.since) >= STALL_TIMEOUT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_counted_only_while_something_waits() {
        let begun = clock::monotonic();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut silence = Silence::new(begun);
        for (seconds, waiting, answered, is_too_long) in [
            (100, 0, 0, false),
            // Handed over after an hour in which nothing was due.
            (3_600, 0, 0, false),
            (3_601, 1, 0, false),
            (3_629, 5, 0, false),
            // One answer is a sign of life.
            (3_630, 4, 1, false),
            (3_659, 4, 1, false),
            (3_660, 4, 1, true),
        ] {
            let found = silence.is_too_long(waiting, answered, at(seconds));
            assert_eq!(found, is_too_long, "{seconds}");
        }
    }

    #[test]
    fn published_is_what_was_acknowledged() {
        let answers = Answers::default();
        for _ in 0..5 {
            answers.hand_over();
        }
        answers.take_back();
        assert_eq!((answers.acknowledged(), answers.waiting()), (0, 4));
        answers.add(Ok::<(), &str>(()));
        answers.add(Err("too large"));
        assert_eq!((answers.acknowledged(), answers.waiting()), (1, 2));
        assert_eq!(answers.refusals(), Some((1, "too large")));
    }
}
