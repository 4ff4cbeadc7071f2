//! The end of a partition of the state topic, by which it is noticed that the topic was made anew.
//!
//! Guaranteed: what is written after a loss is never taken for what was lost. An acknowledgement
//! with an offset from before the known end tells of it at once, a question for the end within
//! seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::end_question::{AnsweredEnd, EndQuestion};

/// Stands for no offset.
const NONE: i64 = -1;

/// Knowledge of an owner about its partition of the state topic.
#[derive(Debug)]
pub(crate) struct StateLog {
    offsets: Arc<Offsets>,
    end_question: EndQuestion,
    lost: Option<LostStates>,
}

/// States that are gone, as when the topic is deleted and created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LostStates {
    /// Least end that was expected.
    pub(crate) expected: i64,
    /// Offset that was found.
    pub(crate) found: i64,
}

#[derive(Debug)]
struct Offsets {
    /// Offset after the last one that is known.
    next: AtomicI64,
    /// Offset before that which a record got, or [`NONE`].
    back: AtomicI64,
    /// The end that was known when that record was handed over.
    before_back: AtomicI64,
}

/// A state on its way to the brokers.
#[derive(Debug)]
pub(crate) struct PendingState {
    offsets: Arc<Offsets>,
    /// The end that was known when it was handed over.
    next: i64,
}

impl PendingState {
    /// Notes the offset that the state got.
    pub(crate) fn acknowledge(self, offset: i64) {
        if offset < 0 {
            // A broker had it already, and does not say where.
            return;
        }
        if offset < self.next {
            self.offsets.before_back.store(self.next, Ordering::Relaxed);
            self.offsets.back.store(offset, Ordering::Release);
        }
        self.offsets.next.fetch_max(offset + 1, Ordering::Relaxed);
    }
}

impl StateLog {
    /// The log with a known end.
    pub(crate) fn new(end: i64) -> Self {
        Self {
            offsets: Arc::new(Offsets {
                next: AtomicI64::new(end),
                back: AtomicI64::new(NONE),
                before_back: AtomicI64::new(NONE),
            }),
            end_question: EndQuestion::default(),
            lost: None,
        }
    }

    /// The end, as far as it is known.
    pub(crate) fn end(&self) -> i64 {
        self.offsets.next.load(Ordering::Relaxed)
    }

    /// Begins to write a state.
    pub(crate) fn begin(&self) -> PendingState {
        PendingState {
            offsets: Arc::clone(&self.offsets),
            next: self.end(),
        }
    }

    /// Notes that the end is asked for. A question that is still open is not asked again.
    pub(crate) fn note_question(&mut self, asked_ms: i64) {
        let end = self.end();
        self.end_question.ask(asked_ms, end);
    }

    /// Notes that the question has failed.
    pub(crate) fn forget_question(&mut self) {
        self.end_question.forget();
    }

    /// Notes the end as it was answered to a request of `asked_ms`.
    pub(crate) fn prove_end(&mut self, end: i64, asked_ms: i64) {
        match self.end_question.answer(end, asked_ms) {
            AnsweredEnd::Whole => {
                self.offsets.next.fetch_max(end, Ordering::Relaxed);
            }
            AnsweredEnd::GoneBack { expected } => {
                self.lost = Some(LostStates { expected, found: end });
            }
            AnsweredEnd::Unasked | AnsweredEnd::Short => {}
        }
    }

    /// Returns a loss once. What was handed over before it tells nothing of what comes.
    pub(crate) fn take_lost(&mut self) -> Option<LostStates> {
        let back = self.offsets.back.load(Ordering::Acquire);
        let by_record = (back != NONE).then(|| LostStates {
            expected: self.offsets.before_back.load(Ordering::Relaxed),
            found: back,
        });
        let lost = by_record.or(self.lost)?;
        *self = Self::new(lost.found);
        Some(lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST: Option<LostStates> = Some(LostStates {
        expected: 12,
        found: 3,
    });

    #[test]
    fn an_offset_before_the_known_end_is_a_loss() {
        let mut log = StateLog::new(10);
        let (first, second) = (log.begin(), log.begin());
        // Acknowledgements may be noted in another order.
        second.acknowledge(11);
        first.acknowledge(10);
        assert_eq!(log.take_lost(), None);
        let late = log.begin();
        log.begin().acknowledge(3);
        assert_eq!(log.take_lost(), LOST);
        late.acknowledge(12);
        log.begin().acknowledge(4);
        assert_eq!(log.take_lost(), None, "told once");
    }

    #[test]
    fn a_shorter_end_that_stays_is_a_loss() {
        let mut log = StateLog::new(12);
        let ask = |log: &mut StateLog, end| {
            log.note_question(1);
            log.prove_end(end, 1);
            log.take_lost()
        };
        for (end, lost) in [(3, None), (3, None), (12, None), (3, None), (3, None), (3, LOST)] {
            assert_eq!(ask(&mut log, end), lost, "{end}");
        }
        for end in [3, 4, 4] {
            assert_eq!(ask(&mut log, end), None, "{end}");
        }
    }

    #[test]
    fn an_answer_from_before_a_write_tells_no_loss() {
        let mut log = StateLog::new(12);
        for offset in 12..16 {
            log.note_question(offset);
            log.begin().acknowledge(offset);
            log.prove_end(offset, offset);
            assert_eq!(log.take_lost(), None);
        }
    }

    #[test]
    fn a_repeated_record_without_an_offset_tells_nothing() {
        let mut log = StateLog::new(12);
        log.begin().acknowledge(-1);
        assert_eq!(log.take_lost(), None);
    }
}
