//! A partition number that a detector thread owns: its engine, its position in each source, its
//! open batches.

use std::sync::Arc;

use super::counts::Counts;
use super::open_batches::{OpenBatches, Unacknowledged};
use super::outbox::Outbox;
use super::position::{Positions, SourceState, missed};
use super::state_log::StateLog;
use crate::clock;
use crate::detect::completeness::Completeness;
use crate::detect::engine::Engine;
use crate::detect::engine::recovery::Checkpoint;
use crate::detect::notification::Decision;
use crate::ingest::formats::RecordReader;
use crate::kafka::topic_partition::TopicPartition;

/// Handling of records.
mod handling;
/// Commits, and the lag.
mod committing;
/// Questions for ends, and the answers.
mod ends;

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
    pub(crate) state_log: StateLog,
    /// Records of the batch that is being read.
    batch: Unacknowledged,
    open_batches: OpenBatches<Checkpoint>,
    /// True if a record was read since the last flush.
    has_read: bool,
    /// Position after the batch being read, when it has ended and could not be closed yet.
    batch_end: Option<Checkpoint>,
    /// Set when a source's offsets went back: nothing more is read until it is restored anew.
    went_back: Option<WentBack>,
    /// True until the client reads it from where it was restored.
    is_elsewhere: bool,
    /// Wall instant since which nothing more is proven, unless something is: that of the first
    /// tick, or the last one that was proven before the partition was given back.
    unproven_since_ms: Option<i64>,
    /// Decisions of the record being handled.
    decisions: Vec<Decision>,
}

/// A source's partition whose offsets went back, as when its topic is deleted and created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WentBack {
    pub(crate) source: usize,
    /// Offset that was expected next.
    pub(crate) expected: i64,
    /// Offset that was found.
    pub(crate) found: i64,
}

impl OwnedPartition {
    pub(crate) fn new(
        partition: i32,
        mut engine: Engine,
        positions: Positions,
        partition_count: i32,
        readers: Arc<[RecordReader]>,
        state_log: StateLog,
    ) -> Self {
        // Of commits that were not recorded together, the earliest tells what all of them know.
        let commits = positions.iter().flatten().map(|position| &position.metadata);
        let floors = commits.map(|commit| commit.addition.live_floor);
        engine.resume_floor(floors.min().flatten(), clock::now_ms());
        for (source, position) in positions.iter().enumerate() {
            let Some(position) = position else { continue };
            engine.resume(position.metadata.addition.clock_ms);
            let (committed, start) = (position.committed, position.start);
            let completeness = engine.completeness_mut();
            completeness.begin(source, committed, start, position.complete_from);
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
            state_log,
            batch: Unacknowledged::default(),
            open_batches: OpenBatches::default(),
            has_read: false,
            batch_end: None,
            went_back: None,
            is_elsewhere: false,
            unproven_since_ms: None,
            decisions: Vec::new(),
        }
    }

    /// Publishes again what an earlier owner decided and did not confirm. Called before the first
    /// record.
    pub(crate) fn publish_unconfirmed(&mut self, outbox: &Outbox) {
        let foreign = self.engine.foreign_states();
        if foreign > 0 {
            tracing::warn!(
                partition = self.partition,
                sites = foreign,
                "a newer version wrote triggers that this one does not know: they are kept and not judged"
            );
        }
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
        let topics = 0..self.sources.len();
        topics
            .filter_map(|topic| Some((self.at(topic), self.completeness().next(topic)?)))
            .collect()
    }

    /// Completeness of what was read.
    pub(crate) fn completeness(&self) -> &Completeness {
        self.engine.completeness()
    }

    /// Returns the source whose offsets went back, if one's did.
    pub(crate) fn went_back(&self) -> Option<WentBack> {
        self.went_back
    }

    /// Notes that the client reads other records, until it is moved to [`Self::reread_from`].
    pub(crate) fn set_elsewhere(&mut self) {
        self.is_elsewhere = true;
    }

    /// Sources with a record of a newer version that is held back, and its offset.
    pub(crate) fn newer_records(&self) -> impl Iterator<Item = (usize, i64)> {
        let sources = self.sources.iter().enumerate();
        sources.filter_map(|(topic, source)| Some((topic, source.as_ref()?.newer_at?)))
    }

    /// Offsets to which the client is to be moved: where records that were held back can be handled
    /// now, and everywhere if it reads elsewhere.
    pub(crate) fn reread_from(&self) -> Vec<(TopicPartition, i64)> {
        let starts = self.starts().into_iter();
        starts
            .filter(|(at, next)| {
                let source = self.sources[at.topic].as_ref();
                let holds_back = source.is_some_and(|source| source.holds_back && source.newer_at.is_none());
                self.is_elsewhere || holds_back && self.completeness().admits(at.topic, *next)
            })
            .collect()
    }

    /// Notes that the client was moved to these offsets, which [`Self::reread_from`] or
    /// [`Self::starts`] gave. A source that is not among them still holds records back: its end is
    /// not reached, though the client has read it that far.
    pub(crate) fn read_again(&mut self, from: &[(TopicPartition, i64)]) {
        self.is_elsewhere = false;
        for (at, _) in from {
            if let Some(source) = self.sources.get_mut(at.topic).and_then(Option::as_mut) {
                source.holds_back = false;
                source.newer_at = None;
            }
        }
    }

    /// True if an offset of a source lies before the one expected, so that nothing that was read of
    /// it still holds.
    fn is_back(&mut self, source: usize, found: i64) -> bool {
        if self.went_back.is_none()
            && let Some(expected) = self.completeness().next(source)
            && found < expected
        {
            self.went_back = Some(WentBack {
                source,
                expected,
                found,
            });
        }
        self.went_back.is_some()
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

    fn count_missed(
        &mut self,
        source: usize,
        offset: i64,
        beginning_of: impl Fn(usize) -> Option<i64>,
        counts: &mut Counts,
    ) {
        let completeness = self.engine.completeness_mut();
        let (Some(next), Some(committed)) = (completeness.next(source), completeness.committed(source))
        else {
            return;
        };
        let missed = missed(next, committed, offset, || beginning_of(source));
        if missed.has_gap {
            completeness.open_gap(source);
        }
        if missed.records > 0 {
            counts.missed(source, self.partition, next, missed.records);
        }
    }

    /// Notes that the end of a source's partition was reached at the wall instant `now_ms`.
    pub(crate) fn end_reached(
        &mut self,
        source: usize,
        offset: i64,
        now_ms: i64,
        beginning_of: impl Fn(usize) -> Option<i64>,
        counts: &mut Counts,
    ) {
        let holds_back = |state: &SourceState| state.holds_back;
        if self.is_elsewhere
            || self.is_back(source, offset)
            || self
                .sources
                .get(source)
                .and_then(Option::as_ref)
                .is_none_or(holds_back)
        {
            return;
        }
        self.count_missed(source, offset, beginning_of, counts);
        // Transaction markers have offsets too, so the end may lie beyond the last record.
        self.engine.completeness_mut().reach_end(source, offset, now_ms);
    }

    pub(super) fn count_withheld(&mut self, counts: &mut Counts) {
        for withheld in self.engine.take_withheld() {
            counts.withheld(&withheld, self.partition);
        }
    }

    /// Sums up what lies beyond the bounds of minutes that have not ended.
    pub(crate) fn end_minutes(&mut self, now_ms: i64) {
        self.engine.end_minutes(now_ms);
    }

    /// Publishes the states that changed, with the decisions made with them, and closes the batch.
    pub(crate) fn flush(&mut self, now_ms: i64, outbox: &Outbox, counts: &mut Counts) {
        self.count_withheld(counts);
        for decision in self.engine.take_ready() {
            counts.decided(decision.event);
            outbox.publish_decision(&decision, &self.batch);
        }
        let claimed = self.engine.take_claimed();
        outbox.publish_unconfirmed(self.partition, claimed, &self.batch);
        for state in self.engine.take_dirty_states() {
            for decision in &state.decisions {
                counts.decided(decision.event);
                // What a timer decides is late by design.
                if decision.record.is_some() && self.engine.completeness().is_caught_up() {
                    counts.latency(now_ms - decision.created_at_ms);
                }
            }
            outbox.publish_state(self.partition, state, &self.batch, self.state_log.begin());
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

    /// Advances silent sites, as far as it is proven that their records have been read.
    pub(crate) fn tick(&mut self, now_ms: i64) {
        self.unproven_since_ms.get_or_insert(now_ms);
        match self.completeness().proven_until_ms() {
            Some(until_ms) => self.engine.tick(until_ms, true),
            None => self.engine.tick(now_ms, false),
        }
    }

    /// Wall instant before which every stored record is proven to have been handled; while nothing
    /// is proven, the last one before, or that at which the partition was taken; `None` before the
    /// first tick.
    pub(crate) fn proven_until_ms(&self) -> Option<i64> {
        self.completeness().proven_until_ms().or(self.unproven_since_ms)
    }

    /// Notes up to when everything had been proven to be handled before the partition was given
    /// back.
    pub(crate) fn note_proven_before(&mut self, proven_until_ms: Option<i64>) {
        self.unproven_since_ms = proven_until_ms;
    }

    /// Sets for each source if it is missing as a whole.
    pub(crate) fn set_missing(&mut self, missing: &[bool]) {
        let proven_until_ms = self.proven_until_ms();
        self.engine.completeness_mut().set_missing(missing);
        self.unproven_since_ms = proven_until_ms;
    }

    /// Partitions of the sources.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = TopicPartition> {
        let sources = self
            .sources
            .iter()
            .enumerate()
            .filter(|(_, source)| source.is_some());
        sources.map(|(topic, _)| self.at(topic))
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
