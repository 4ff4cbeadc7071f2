//! A partition number that a detector thread owns: its engine, where each source stands, and what is not settled yet.

use std::sync::Arc;

use super::counts::Counts;
use super::outbox::{Outbox, OwnedRecord, Pending, Settling};
use super::position::{Lag, Note, Positions, SourceState};
use super::reject_record::reject_record;
use crate::detect::engine::Engine;
use crate::detect::engine::lookahead::Lookahead;
use crate::detect::engine::record::{Handled, RecordFacts};
use crate::detect::engine::recovery::Checkpoint;
use crate::detect::notification::Decision;
use crate::dispatch::record::Coordinates;
use crate::domain::event::Event;
use crate::domain::reject::Reject;
use crate::ingest::formats::{self, RecordFormat};
use crate::kafka::batch_reader::RawRecord;
use crate::kafka::commits::Commit;
use crate::kafka::murmur2;
use crate::kafka::topic_partition::TopicPartition;

/// Most batches that wait for acknowledgements. When one record's never comes, those of all batches after the last are waited
/// for together, and memory does not grow with time.
const MAX_OPEN_BATCHES: usize = 1_024;

/// A partition number with everything that belongs to it.
#[derive(Debug)]
pub(crate) struct OwnedPartition {
    pub(crate) partition: i32,
    pub(crate) engine: Engine,
    partitions: i32,
    sources: Vec<Option<SourceState>>,
    pending: Pending,
    settling: Settling<Checkpoint>,
    /// Something was read since the last flush.
    touched: bool,
    /// Of a batch that has ended and still gathers acknowledgements to wait for.
    ended: Option<Checkpoint>,
    caught_up: bool,
    out: Vec<Decision>,
}

impl OwnedPartition {
    /// `partitions` is how many the sources have.
    pub(crate) fn new(partition: i32, mut engine: Engine, positions: Positions, partitions: i32) -> Self {
        for position in positions.iter().flatten() {
            engine.resume(position.note.clock_ms);
        }
        let sources = positions
            .into_iter()
            .map(|position| position.map(SourceState::new))
            .collect();
        Self {
            partition,
            engine,
            partitions,
            sources,
            pending: Pending::default(),
            settling: Settling::default(),
            touched: false,
            ended: None,
            caught_up: false,
            out: Vec::new(),
        }
    }

    /// It was given back and is assigned again, with nobody between. Before the first record.
    pub(crate) fn comes_back(&mut self) {
        self.caught_up = false;
        for state in self.sources.iter_mut().flatten() {
            state.heard = false;
        }
    }

    /// Publishes again what an earlier owner decided and did not confirm. Before the first record.
    pub(crate) fn begin(&mut self, outbox: &Outbox) {
        let unconfirmed = self.engine.unconfirmed();
        if !unconfirmed.is_empty() {
            tracing::info!(
                partition = self.partition,
                episodes = unconfirmed.len(),
                "deliveries of unconfirmed episodes are published again"
            );
        }
        outbox.publish_unconfirmed(self.partition, unconfirmed, &self.pending);
    }

    /// Where reading goes on, for each source.
    pub(crate) fn starts(&self) -> Vec<(TopicPartition, i64)> {
        self.sources
            .iter()
            .enumerate()
            .filter_map(|(topic, source)| {
                Some((
                    TopicPartition {
                        topic,
                        partition: self.partition,
                    },
                    source.as_ref()?.next,
                ))
            })
            .collect()
    }

    /// Whether it can go on where it was: nobody has committed since we did.
    pub(crate) fn goes_on_at(&self, positions: &Positions, nonce: &str) -> bool {
        self.sources
            .iter()
            .zip(positions)
            .all(|(source, position)| match (source, position) {
                (Some(source), Some(position)) => {
                    position.note.nonce == nonce && source.sent == Some(position.committed)
                }
                (None, None) => true,
                _ => false,
            })
    }

    /// Handles records in order, until there are none or the engine wants a flush; returns what is left. `beginning_of` is
    /// the cached lowest offset of a source's partition.
    pub(crate) fn take<'r, 'm>(
        &mut self,
        records: &'r [(usize, RawRecord<'m>)],
        now_ms: i64,
        beginning_of: impl Fn(usize) -> Option<i64>,
        outbox: &Outbox,
        counts: &mut Counts,
    ) -> &'r [(usize, RawRecord<'m>)] {
        let read: Vec<_> = records
            .iter()
            .map(|(_, record)| formats::read(RecordFormat::Native, record.value()))
            .collect();
        // All are looked at before the first is handled: what that needs of memory is on its way by then.
        let looked_at: Vec<_> = read
            .iter()
            .map(|event| event.as_ref().map(|event| (event, self.engine.look_ahead(event))))
            .collect();
        let lookaheads = looked_at.iter().flatten().map(|(_, lookahead)| lookahead);
        self.engine.prefetch(lookaheads);
        for (handled, ((source, record), event)) in (1..).zip(records.iter().zip(looked_at)) {
            self.note_missed(*source, record.offset(), &beginning_of, counts);
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
        record: &RawRecord<'_>,
        event: Result<(&Event<'_>, Lookahead<'_>), &Reject>,
        now_ms: i64,
        outbox: &Outbox,
        counts: &mut Counts,
    ) {
        let Some(state) = self.sources.get_mut(source).and_then(Option::as_mut) else {
            return;
        };
        let offset = record.offset();
        let replaying = offset < state.position.committed;
        // A record without a time gets that of the epoch: one that is the same whenever it is read.
        let record_ms = record.timestamp_ms().unwrap_or(0);
        state.next = offset + 1;
        state.heard = true;
        state.last_record_ms = record_ms;
        self.touched = true;
        let (event, lookahead) = match event {
            Ok(event) => event,
            Err(reject) => {
                self.engine.skip_record(source, offset);
                if replaying {
                    counts.handled(source, Handled::Replayed);
                    return;
                }
                let read_from = Coordinates {
                    topic: counts.source(source).to_owned(),
                    partition: self.partition,
                    offset,
                };
                counts.rejected(source, reject, &read_from);
                let out = reject_record(reject, &read_from, record.key(), record.value());
                let out = OwnedRecord {
                    topic: Arc::clone(&outbox.topics.rejected),
                    partition: None,
                    key: out.key,
                    value: Some(out.value),
                    headers: out.headers,
                };
                outbox.publish(out, &self.pending);
                return;
            }
        };
        let facts = RecordFacts {
            source,
            offset,
            record_ms,
            replaying,
        };
        let handled = self
            .engine
            .handle_ahead(event, lookahead, &facts, now_ms, &mut self.out);
        counts.handled(source, handled);
        for stale in self.engine.stale() {
            counts.stale(*stale, &event.site_id, source, self.partition, offset);
        }
        if !replaying
            && handled != Handled::Unregistered
            && murmur2::partition_of(event.site_id.as_bytes(), self.partitions) != self.partition
        {
            counts.miskeyed(source, self.partition, offset, record.key(), event);
        }
        if !self.out.is_empty() {
            for decision in self.out.drain(..) {
                counts.decided(decision.event);
                if self.caught_up {
                    counts.latency(now_ms - record_ms);
                }
                outbox.publish_decision(&decision, &self.pending);
            }
        }
    }

    fn note_missed(
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

    /// The end of a source's partition was reached.
    pub(crate) fn end_reached(
        &mut self,
        source: usize,
        offset: i64,
        beginning_of: impl Fn(usize) -> Option<i64>,
        counts: &mut Counts,
    ) {
        self.note_missed(source, offset, beginning_of, counts);
        if let Some(state) = self.sources.get_mut(source).and_then(Option::as_mut) {
            // Transaction markers take offsets too: the end may lie beyond the last record.
            state.next = state.next.max(offset);
            state.heard = true;
        }
    }

    /// Publishes the states that changed, with what was decided along, and closes the batch.
    pub(crate) fn flush(&mut self, now_ms: i64, outbox: &Outbox, counts: &mut Counts) {
        for state in self.engine.take_dirty_states() {
            for decision in &state.decisions {
                counts.decided(decision.event);
                if self.caught_up {
                    counts.latency(now_ms - decision.created_at_ms);
                }
            }
            outbox.publish_state(self.partition, state, &self.pending);
        }
        // A checkpoint belongs to the record before it: one taken after the clock moved on without a record would begin too late.
        if std::mem::take(&mut self.touched) {
            self.ended = Some(self.engine.checkpoint());
        }
        if self.settling.open() < MAX_OPEN_BATCHES
            && let Some(ended) = self.ended.take()
        {
            self.settling.push(ended, std::mem::take(&mut self.pending));
        }
    }

    /// Moves silent sites on. `end_of` is the cached end of a source's partition.
    pub(crate) fn tick(&mut self, now_ms: i64, end_of: impl Fn(usize) -> Option<i64>) {
        self.caught_up = self
            .sources
            .iter()
            .enumerate()
            .filter_map(|(topic, source)| Some((topic, source.as_ref()?)))
            .all(|(topic, source)| source.heard && end_of(topic).is_some_and(|end| source.next >= end));
        self.engine.tick(now_ms, self.caught_up);
    }

    /// What may be committed now and was not before. `again`: what was committed before, too, since that failed.
    pub(crate) fn commits(&mut self, nonce: &str, again: bool) -> Vec<Commit> {
        match self.settling.take() {
            Some(checkpoint) => self.note_settled(&checkpoint, nonce),
            None if again => {}
            None => return Vec::new(),
        }
        let sources = self.sources.iter().enumerate();
        sources
            .filter_map(|(topic, state)| state.as_ref()?.last_commit(topic, self.partition))
            .collect()
    }

    /// Where the group begins on partitions it has never committed: written down before anything is read, so that whoever comes
    /// next does not look for another beginning.
    pub(crate) fn first_commits(&mut self, nonce: &str) -> Vec<Commit> {
        let mut firsts = Vec::new();
        for (topic, state) in self.sources.iter_mut().enumerate() {
            let Some(state) = state else { continue };
            if std::mem::take(&mut state.position.is_first) {
                let note = Note {
                    nonce: nonce.to_owned(),
                    ..Note::default()
                };
                state.sent_note = note.to_string();
                firsts.extend(state.last_commit(topic, self.partition));
            }
        }
        firsts
    }

    fn note_settled(&mut self, checkpoint: &Checkpoint, nonce: &str) {
        for (topic, state) in self.sources.iter_mut().enumerate() {
            let Some(state) = state else { continue };
            let before = &state.position;
            // While windows are rebuilt the engine is behind the commit: neither goes back.
            let (offset, replay_from) = match checkpoint.next[topic] {
                Some(next) if next >= before.committed => (next, checkpoint.replay_from[topic]),
                _ => (before.committed, before.note.replay_from),
            };
            let note = Note {
                nonce: nonce.to_owned(),
                replay_from,
                clock_ms: checkpoint.clock_ms,
            };
            state.sent = Some(offset);
            state.sent_note = note.to_string();
        }
    }

    /// Whether everything handed over is acknowledged.
    pub(crate) fn is_settled(&self) -> bool {
        self.settling.all_settled() && self.ended.is_none() && self.pending.is_settled()
    }

    /// Batches not settled yet.
    pub(crate) fn open_batches(&self) -> usize {
        self.settling.open()
    }

    /// How far a source is from its end.
    pub(crate) fn standing(&self, source: usize, end: Option<i64>, now_ms: i64) -> Lag {
        let state = self.sources.get(source).and_then(Option::as_ref);
        state.map_or_else(Lag::default, |state| state.standing(end, now_ms))
    }
}

#[cfg(test)]
mod tests;
