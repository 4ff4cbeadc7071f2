//! A partition number that a detector thread owns: its engine, its position in each source, its
//! open batches.

use std::sync::Arc;

use super::counts::Counts;
use super::open_batches::{OpenBatches, Unacknowledged};
use super::outbox::{Outbox, OwnedRecord};
use super::position::{Positions, ReplayPoint, SourceState};
use crate::detect::engine::Engine;
use crate::detect::engine::lookahead::Lookahead;
use crate::detect::engine::record::RecordFacts;
use crate::detect::engine::recovery::Checkpoint;
use crate::detect::notification::Decision;
use crate::dispatch::record::Coordinates;
use crate::domain::event::{Event, EventResult};
use crate::domain::reject::{NotAnEvent, Reject};
use crate::ingest::formats::RecordReader;
use crate::ingest::reject_record::reject_record;
use crate::kafka::batch_record::BatchRecord;
use crate::kafka::commits::Commit;
use crate::kafka::murmur2;
use crate::kafka::session::CommitScope;
use crate::kafka::session::commit_metadata::CommitMetadata;
use crate::kafka::session::lag::ConsumerLag;
use crate::kafka::topic_partition::TopicPartition;

/// Most batches that wait for acknowledgements. Batches beyond the bound are joined into one, so
/// memory stays bounded even when one record is never acknowledged.
const MAX_OPEN_BATCHES: usize = 1_024;

/// A partition number with everything that belongs to it.
#[derive(Debug)]
pub(crate) struct OwnedPartition {
    pub(crate) partition: i32,
    pub(crate) engine: Engine,
    /// Number of partitions of the sources.
    partition_count: i32,
    /// Readers of the sources' records.
    readers: Arc<[RecordReader]>,
    sources: Vec<Option<SourceState>>,
    /// Records of the batch that is being read.
    batch: Unacknowledged,
    open_batches: OpenBatches<Checkpoint>,
    /// True if a record was read since the last flush.
    has_read: bool,
    /// Position after the batch being read, when it has ended and could not be closed yet.
    batch_end: Option<Checkpoint>,
    caught_up: bool,
    /// Decisions of the record being handled.
    decisions: Vec<Decision>,
}

impl OwnedPartition {
    pub(crate) fn new(
        partition: i32,
        mut engine: Engine,
        positions: Positions,
        partition_count: i32,
        readers: Arc<[RecordReader]>,
    ) -> Self {
        for position in positions.iter().flatten() {
            engine.resume(position.metadata.addition.clock_ms);
        }
        let sources = positions
            .into_iter()
            .map(|position| position.map(SourceState::new))
            .collect();
        Self {
            partition,
            engine,
            partition_count,
            readers,
            sources,
            batch: Unacknowledged::default(),
            open_batches: OpenBatches::default(),
            has_read: false,
            batch_end: None,
            caught_up: false,
            decisions: Vec::new(),
        }
    }

    /// Prepares a retained partition that is assigned again, before its next record.
    pub(crate) fn resume(&mut self) {
        self.caught_up = false;
        for state in self.sources.iter_mut().flatten() {
            state.has_read = false;
        }
    }

    /// Publishes again what an earlier owner decided and did not confirm. Called before the first
    /// record.
    pub(crate) fn publish_unconfirmed(&mut self, outbox: &Outbox) {
        let unconfirmed = self.engine.unconfirmed();
        if !unconfirmed.is_empty() {
            tracing::info!(
                partition = self.partition,
                episodes = unconfirmed.len(),
                "deliveries of unconfirmed episodes are published again"
            );
        }
        outbox.publish_unconfirmed(self.partition, unconfirmed, &self.batch);
    }

    /// Offsets where reading begins.
    pub(crate) fn starts(&self) -> Vec<(TopicPartition, i64)> {
        let sources = self.sources.iter().enumerate();
        sources
            .filter_map(|(topic, source)| Some((self.at(topic), source.as_ref()?.next)))
            .collect()
    }

    /// True if it can continue from its own state, because nobody has committed since it did.
    pub(crate) fn can_continue_at(&self, positions: &Positions, nonce: &str) -> bool {
        self.sources
            .iter()
            .zip(positions)
            .all(|(source, position)| match (source, position) {
                (Some(source), Some(position)) => source.committed_last(position, nonce),
                (None, None) => true,
                _ => false,
            })
    }

    /// Handles records in order, until there are none left or the engine needs a flush. Returns the
    /// rest. `beginning_of` gives the cached first offset of a source's partition.
    pub(crate) fn handle_records<'r, 'm>(
        &mut self,
        records: &'r [(usize, BatchRecord<'m>)],
        now_ms: i64,
        beginning_of: impl Fn(usize) -> Option<i64>,
        outbox: &Outbox,
        counts: &mut Counts,
    ) -> &'r [(usize, BatchRecord<'m>)] {
        let readers = Arc::clone(&self.readers);
        let events: Vec<_> = records
            .iter()
            .map(|(source, record)| readers[*source].read(record.value(), &record.headers()))
            .collect();
        // All events are looked at before the first is handled, so that the memory they need is
        // prefetched by then.
        let events: Vec<_> = events
            .iter()
            .map(|event| event.as_ref().map(|event| (event, self.engine.look_ahead(event))))
            .collect();
        let lookaheads = events.iter().flatten().map(|(_, lookahead)| lookahead);
        self.engine.prefetch(lookaheads);
        for (handled, ((source, record), event)) in (1..).zip(records.iter().zip(events)) {
            self.count_missed(*source, record.offset(), &beginning_of, counts);
            self.handle(*source, record, event, now_ms, outbox, counts);
            if self.engine.wants_flush() {
                return &records[handled..];
            }
        }
        &[]
    }

    fn handle(
        &mut self,
        source: usize,
        record: &BatchRecord<'_>,
        event: Result<(&Event<'_>, Lookahead<'_>), &NotAnEvent>,
        now_ms: i64,
        outbox: &Outbox,
        counts: &mut Counts,
    ) {
        let Some(state) = self.sources.get_mut(source).and_then(Option::as_mut) else {
            return;
        };
        let offset = record.offset();
        let routed = event.as_ref().ok().and_then(|(event, _)| event.routed);
        // A record without a time gets the epoch: a time that is the same whenever the record is
        // read.
        let record_ms = routed.map_or(record.timestamp_ms(), |routed| routed.record_ms);
        let facts = RecordFacts {
            source,
            offset,
            record_ms: record_ms.unwrap_or(0),
            replaying: offset < state.position.committed,
        };
        state.next = offset + 1;
        state.has_read = true;
        state.last_record_ms = facts.record_ms;
        self.has_read = true;
        let (event, lookahead) = match event {
            Ok((event, lookahead)) => (event, lookahead),
            Err(NotAnEvent::Rejected(reject)) => return self.reject(&facts, record, reject, outbox, counts),
            Err(NotAnEvent::RejectedBefore(_)) => return self.pass(&facts, EventResult::Rejected, counts),
            Err(NotAnEvent::Ignored) => return self.pass(&facts, EventResult::Ignored, counts),
        };
        let handled = self
            .engine
            .handle_ahead(event, lookahead, &facts, now_ms, &mut self.decisions);
        counts.handled(source, handled);
        for stale in self.engine.stale() {
            counts.stale(*stale, &event.site_id, source, self.partition, offset);
        }
        if !facts.replaying
            && murmur2::partition_of(event.site_id.as_bytes(), self.partition_count) != self.partition
        {
            counts.miskeyed(source, self.partition, offset, record.key(), event);
        }
        for decision in self.decisions.drain(..) {
            counts.decided(decision.event);
            if self.caught_up {
                counts.latency(now_ms - facts.record_ms);
            }
            outbox.publish_decision(&decision, &self.batch);
        }
    }

    /// Passes a record that is no event, and that nobody has to keep.
    fn pass(&mut self, facts: &RecordFacts, result: EventResult, counts: &mut Counts) {
        self.engine.skip_record(facts.source, facts.offset);
        let result = if facts.replaying {
            EventResult::Replayed
        } else {
            result
        };
        counts.handled(facts.source, result);
    }

    /// Publishes a record that could not be read to the rejected topic.
    fn reject(
        &mut self,
        facts: &RecordFacts,
        record: &BatchRecord<'_>,
        reject: &Reject,
        outbox: &Outbox,
        counts: &mut Counts,
    ) {
        self.engine.skip_record(facts.source, facts.offset);
        if facts.replaying {
            counts.handled(facts.source, EventResult::Replayed);
            return;
        }
        let read_from = Coordinates {
            topic: counts.source(facts.source).to_owned(),
            partition: self.partition,
            offset: facts.offset,
        };
        counts.rejected(facts.source, reject, &read_from);
        let rejected = reject_record(reject, &read_from, record.key(), record.value());
        let rejected = OwnedRecord {
            topic: Arc::clone(&outbox.topics.rejected),
            partition: None,
            key: rejected.key,
            value: Some(rejected.value),
            headers: rejected.headers,
        };
        outbox.publish(rejected, &self.batch);
    }

    fn count_missed(
        &self,
        source: usize,
        offset: i64,
        beginning_of: impl Fn(usize) -> Option<i64>,
        counts: &mut Counts,
    ) {
        if let Some(state) = self.sources.get(source).and_then(Option::as_ref) {
            let missed = state.missed(offset, || beginning_of(source));
            if missed > 0 {
                counts.missed(source, self.partition, state.next, missed);
            }
        }
    }

    /// Notes that the end of a source's partition was reached.
    pub(crate) fn end_reached(
        &mut self,
        source: usize,
        offset: i64,
        beginning_of: impl Fn(usize) -> Option<i64>,
        counts: &mut Counts,
    ) {
        self.count_missed(source, offset, beginning_of, counts);
        if let Some(state) = self.sources.get_mut(source).and_then(Option::as_mut) {
            // Transaction markers have offsets too, so the end may lie beyond the last record.
            state.next = state.next.max(offset);
            state.has_read = true;
        }
    }

    /// Publishes the states that changed, with the decisions made with them, and closes the batch.
    pub(crate) fn flush(&mut self, now_ms: i64, outbox: &Outbox, counts: &mut Counts) {
        for state in self.engine.take_dirty_states() {
            for decision in &state.decisions {
                counts.decided(decision.event);
                if self.caught_up {
                    counts.latency(now_ms - decision.created_at_ms);
                }
            }
            outbox.publish_state(self.partition, state, &self.batch);
        }
        // A checkpoint belongs to the record before it. One taken after the clock has moved on
        // without a record would give a replay that begins too late.
        if std::mem::take(&mut self.has_read) {
            self.batch_end = Some(self.engine.checkpoint());
        }
        if self.open_batches.len() < MAX_OPEN_BATCHES
            && let Some(end) = self.batch_end.take()
        {
            self.open_batches.push(end, std::mem::take(&mut self.batch));
        }
    }

    /// Advances silent sites. `end_of` gives the cached end of a source's partition.
    pub(crate) fn tick(&mut self, now_ms: i64, end_of: impl Fn(usize) -> Option<i64>) {
        self.caught_up = self
            .sources
            .iter()
            .enumerate()
            .filter_map(|(topic, source)| Some((topic, source.as_ref()?)))
            .all(|(topic, source)| source.has_read && end_of(topic).is_some_and(|end| source.next >= end));
        self.engine.tick(now_ms, self.caught_up);
    }

    /// Commits that are possible now.
    pub(crate) fn commits(&mut self, nonce: &str, scope: CommitScope) -> Vec<Commit> {
        match self.open_batches.take_acknowledged() {
            Some(checkpoint) => self.set_commits(&checkpoint, nonce),
            None if scope == CommitScope::All => {}
            None => return Vec::new(),
        }
        let sources = self.sources.iter().enumerate();
        sources
            .filter_map(|(topic, source)| Some(source.as_ref()?.commit_at(self.at(topic))))
            .collect()
    }

    /// Commits of the beginnings that were chosen for a group that has never committed. They are
    /// written before anything is read, so that the next owner does not choose other ones.
    pub(crate) fn first_commits(&mut self, nonce: &str) -> Vec<Commit> {
        let mut commits = Vec::new();
        for topic in 0..self.sources.len() {
            let at = self.at(topic);
            if let Some(source) = &mut self.sources[topic]
                && std::mem::take(&mut source.position.is_first)
            {
                let metadata = CommitMetadata::new(nonce, ReplayPoint::default());
                source.set_commit(source.position.committed, &metadata);
                commits.push(source.commit_at(at));
            }
        }
        commits
    }

    fn set_commits(&mut self, checkpoint: &Checkpoint, nonce: &str) {
        for (topic, source) in self.sources.iter_mut().enumerate() {
            let Some(source) = source else { continue };
            let before = &source.position;
            // While windows are rebuilt the engine is behind the commit; neither offset may go
            // back.
            let (offset, replay_offset) = match checkpoint.next[topic] {
                Some(next) if next >= before.committed => (next, checkpoint.replay_from[topic]),
                _ => (before.committed, before.metadata.addition.offset),
            };
            let replay_point = ReplayPoint {
                offset: replay_offset,
                clock_ms: checkpoint.clock_ms,
            };
            source.set_commit(offset, &CommitMetadata::new(nonce, replay_point));
        }
    }

    /// True if all published records are acknowledged.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.open_batches.all_acknowledged() && self.batch_end.is_none() && self.batch.is_zero()
    }

    /// Number of batches that are not acknowledged yet.
    pub(crate) fn open_batch_count(&self) -> usize {
        self.open_batches.len()
    }

    /// Lag of a source behind its cached `end`.
    pub(crate) fn lag(&self, source: usize, end: Option<i64>, now_ms: i64) -> ConsumerLag {
        let state = self.sources.get(source).and_then(Option::as_ref);
        state.map_or_else(ConsumerLag::default, |state| state.lag(end, now_ms))
    }

    /// Number of offsets still to be read again before windows are complete.
    pub(crate) fn replay_remaining(&self) -> i64 {
        let sources = self.sources.iter().flatten();
        sources.map(SourceState::replay_remaining).sum()
    }

    fn at(&self, topic: usize) -> TopicPartition {
        TopicPartition {
            topic,
            partition: self.partition,
        }
    }
}

#[cfg(test)]
mod tests;
