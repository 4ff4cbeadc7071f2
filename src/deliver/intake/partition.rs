//! A partition that an intake thread owns: its queue, its position, its open offsets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::Message as _;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::{KafkaError, KafkaResult};

use super::hand_over::{HandOver, SuspectRecords, Suspicion, UnaskedSends};
use super::raw::IntakeRecord;
use crate::dispatch::offsets::OffsetTracker;
use crate::kafka::member::{GroupMember, MemberContext};
use crate::kafka::session::lag::ConsumerLag;
use crate::kafka::session::removed::{RemovalWatch, removed_between, report_removed};
use crate::kafka::topic_partition::TopicPartition;
use crate::telemetry::Metrics;

/// Most records read from one partition before the next partition has its turn.
const TURN_SIZE: usize = 64;

/// Position up to which a partition was read.
#[derive(Debug)]
pub(super) struct ReadPosition {
    /// Offset after the last record read.
    pub(super) next: i64,
    /// Kafka's time of the last record read, in milliseconds since the Unix epoch.
    last_record_ms: i64,
}

impl ReadPosition {
    pub(super) fn new(start: i64, now_ms: i64) -> Self {
        Self {
            next: start,
            last_record_ms: now_ms,
        }
    }

    /// Moves past a record that was read.
    fn advance(&mut self, offset: i64, timestamp_ms: Option<i64>) {
        self.next = offset + 1;
        self.last_record_ms = timestamp_ms.unwrap_or(self.last_record_ms);
    }

    /// Lag behind the partition's `end`, from the offset that may be committed and in time. Records
    /// in a tier are not behind before they are due, and the unread ones are due later than those
    /// that were read.
    pub(super) fn lag(
        &self,
        low_water: Option<i64>,
        end: Option<i64>,
        is_tier: bool,
        now_ms: i64,
    ) -> ConsumerLag {
        let Some(end) = end else {
            return ConsumerLag::default();
        };
        ConsumerLag {
            records: (end - low_water.unwrap_or(self.next)).max(0),
            behind_ms: if self.next < end && !is_tier {
                (now_ms - self.last_record_ms).max(0)
            } else {
                0
            },
        }
    }
}

/// A partition that an intake thread owns.
pub(super) struct IntakePartition {
    queue: PartitionQueue<MemberContext>,
    /// Set by librdkafka when the queue may hold something.
    ready: Arc<AtomicBool>,
    pub(super) tracker: OffsetTracker,
    /// Records that a predecessor that did not hand over may have sent.
    suspects: SuspectRecords,
    /// Range that may be sent without asking; none for a tier.
    pub(super) unasked: Option<UnaskedSends>,
    pub(super) position: ReadPosition,
    removals: RemovalWatch,
    /// True if a record of a newer version was read: nothing after it is read.
    pub(super) is_held: bool,
}

impl IntakePartition {
    /// Owns the partition that `queue` belongs to. The calling thread is unparked when the queue
    /// has something.
    pub(super) fn new(
        mut queue: PartitionQueue<MemberContext>,
        tracker: OffsetTracker,
        position: ReadPosition,
        suspects: SuspectRecords,
        unasked: Option<UnaskedSends>,
    ) -> Self {
        let ready = Arc::new(AtomicBool::new(true));
        let (flag, thread) = (Arc::clone(&ready), std::thread::current());
        queue.set_nonempty_callback(move || {
            flag.store(true, Ordering::Release);
            thread.unpark();
        });
        Self {
            queue,
            ready,
            tracker,
            suspects,
            unasked,
            position,
            removals: RemovalWatch::default(),
            is_held: false,
        }
    }

    /// Position up to which all is complete.
    pub(super) fn low_water(&self) -> i64 {
        self.tracker.low_water().unwrap_or(self.position.next)
    }

    /// State to commit beside [`Self::low_water`].
    pub(super) fn state(&self, is_claimed: bool) -> HandOver {
        match &self.unasked {
            Some(unasked) => unasked.state(self.low_water(), is_claimed),
            None => self.suspects.state(self.low_water(), is_claimed),
        }
    }

    /// Tells what an owner that died may have done with a record, which was ready to be sent at
    /// `ready_ms` (milliseconds since the Unix epoch).
    pub(super) fn suspicion(&self, offset: i64, ready_ms: i64) -> Suspicion {
        if !self.suspects.contain(ready_ms) {
            return Suspicion::None;
        }
        let unasked = self.unasked.as_ref();
        unasked.map_or(Suspicion::Sent, |unasked| unasked.suspicion(offset))
    }

    /// Lets the next turn look into the queue.
    pub(super) fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// True once after the queue may have got something.
    pub(super) fn take_ready(&self) -> bool {
        self.ready.swap(false, Ordering::Acquire)
    }

    /// Passes over records that were removed, and behind which none has come yet. Counts and logs
    /// them.
    pub(super) fn pass_over_removed(&mut self, at: TopicPartition, member: &GroupMember, metrics: &Metrics) {
        let next = self.position.next;
        let removed = self.removals.look(next, member.cached_beginning(at));
        if removed > 0 {
            report_removed(metrics, member.topic(at.topic), at, next, removed);
            self.position.next = next.saturating_add_unsigned(removed);
            self.tracker.pass_over(self.position.next);
        }
    }

    /// Reads the records of a turn from the partition `at`. Returns `true` if there may be more at
    /// once.
    pub(super) fn read_turn(
        &mut self,
        at: TopicPartition,
        member: &GroupMember,
        metrics: &Metrics,
        mut each: impl FnMut(IntakeRecord),
    ) -> KafkaResult<bool> {
        let topic = &**member.topic(at.topic);
        for _ in 0..TURN_SIZE {
            let polled = self.queue.poll(Duration::ZERO);
            self.removals.note_read(polled.is_some());
            let message = match polled {
                None => return Ok(false),
                Some(Err(KafkaError::PartitionEOF(_))) => continue,
                Some(Err(error)) => {
                    // Records that are in the queue already do not set the mark again.
                    self.set_ready();
                    return Err(error);
                }
                Some(Ok(message)) => message,
            };
            let offset = message.offset();
            let expected = self.position.next;
            let removed = removed_between(expected, offset, || member.cached_beginning(at));
            report_removed(metrics, topic, at, expected, removed);
            let record_ms = message.timestamp().to_millis();
            self.position.advance(offset, record_ms);
            self.suspects.note_read(offset, record_ms);
            if offset < expected {
                tracing::warn!(
                    topic,
                    partition = at.partition,
                    expected,
                    found = offset,
                    "offsets went back, as when a topic is made anew; the partition is read from there"
                );
                self.tracker.restart();
            }
            if self.tracker.is_complete(offset) {
                continue;
            }
            self.tracker.open(offset);
            let record = IntakeRecord::from(&message);
            self.is_held = record.is_newer();
            each(record);
            if self.is_held {
                return Ok(false);
            }
        }
        self.set_ready();
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_without_a_time_keeps_the_last_one() {
        let mut position = ReadPosition::new(10, 0);
        position.advance(13, Some(1));
        position.advance(17, None);
        assert_eq!((position.next, position.last_record_ms), (18, 1));
    }

    #[test]
    fn unread_records_of_a_tier_are_not_behind() {
        let position = ReadPosition::new(10, 1_000);
        let lag = |is_tier| position.lag(Some(4), Some(12), is_tier, 3_000);
        assert_eq!((lag(false).records, lag(false).behind_ms), (8, 2_000));
        assert_eq!((lag(true).records, lag(true).behind_ms), (8, 0));
        assert_eq!(position.lag(None, None, false, 3_000), ConsumerLag::default());
    }
}
