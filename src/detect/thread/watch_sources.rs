//! The search, once a second, for sources that deliver nothing although they should.

use std::time::Duration;

use super::partition::OwnedPartition;
use super::{Detector, owned_mut};
use crate::detect::source_silence::HeldRecords;
use crate::domain::event::SourceClock;
use crate::kafka::batch_record::BatchRecord;
use crate::kafka::log_ends::OffsetSpec;
use crate::kafka::topic_partition::TopicPartition;

/// Longest wait for the brokers to say what they hold of a source.
const HELD_TIMEOUT: Duration = Duration::from_millis(500);

/// Seconds for which a site's latest event speaks for its source.
const ACTIVE_SECONDS: i64 = 3_600;

impl Detector {
    /// Finds out which sources are silent, tells the operator, and lets the engines hold back what
    /// is decided by the absence of events. Only live sources can be silent: what a log holds may
    /// end.
    pub(super) fn watch_sources(&mut self, now_ms: i64) {
        if self.owned.iter().flatten().next().is_none() {
            // As in a rebalance: a silence goes on.
            return;
        }
        let since = u32::try_from(now_ms / 1_000 - ACTIVE_SECONDS).unwrap_or(0);
        let sources = &self.settings.engine.sources;
        let mut silent = vec![false; sources.len()];
        for (index, source) in sources.iter().enumerate() {
            let is_live = source.clock == SourceClock::Live;
            let owned = self.owned.iter().flatten();
            let active_sites = || owned.map(|owned| owned.engine.active_sites(index, since)).sum();
            // What lies there unread may be the end of a silence.
            let is_read = |owned: &OwnedPartition| owned.completeness().is_read_to_end(index);
            let is_read = self.owned.iter().flatten().all(|owned| is_read(owned));
            silent[index] = is_live && is_read && self.silences[index].is_silent(active_sites, now_ms);
            let topic = &*source.topic;
            let gauge = self.links.metrics.source_silent.with_label_values(&[topic]);
            self.session.show_sum(&gauge, i64::from(silent[index]));
            let was_silent = self.silent[index];
            if silent[index] {
                let text = format!(
                    "{topic} has delivered no record of any site for a while, though it should: is its producer \
                     dead? Drops and silences of its sites are held back for up to 15 minutes"
                );
                if !was_silent {
                    tracing::warn!(topic, "{text}");
                }
                self.links.health.notice(&format!("silent {topic}"), text, now_ms);
            } else if was_silent {
                tracing::info!(topic, "the source delivers records again");
            }
        }
        let since_ms: Vec<Option<i64>> = silent
            .iter()
            .zip(&self.silences)
            .map(|(is_silent, source)| is_silent.then(|| source.last_ms()))
            .collect();
        for owned in self.owned.iter_mut().flatten() {
            owned.engine.set_silent_sources(&since_ms);
        }
        self.silent = silent;
    }

    /// Notes records of a partition number that were handled: only those at or beyond the offsets
    /// that were next `before` the batch. A record that is held back counts when it is released.
    pub(super) fn note_records(
        &mut self,
        partition: i32,
        records: &[(usize, BatchRecord<'_>)],
        before: &[Option<i64>],
        now_ms: i64,
    ) {
        let Some(owned) = owned_mut(&mut self.owned, partition) else {
            return;
        };
        for run in records.chunk_by(|one, next| one.0 == next.0) {
            let source = run[0].0;
            let completeness = owned.completeness();
            let handled = completeness.handled_since(source, before.get(source).copied().flatten());
            let handled = run
                .iter()
                .filter(|(_, record)| handled.contains(&record.offset()));
            let (count, last) = handled.fold((0, None), |(count, _), (_, record)| (count + 1, Some(record)));
            let (Some(last), Some(silence)) = (last, self.silences.get_mut(source)) else {
                continue;
            };
            if completeness.is_replayed(source, last.offset()) {
                silence.note_replayed(last.timestamp_ms().unwrap_or(0), now_ms);
            } else {
                silence.add(count, now_ms);
            }
        }
    }

    /// Watches the sources on the partitions that were assigned. A silence under way goes on; a
    /// process that is new asks the brokers what is to be expected.
    pub(super) fn watch_assigned(&mut self, list: &[TopicPartition], now_ms: i64) {
        for source in 0..self.silences.len() {
            let of_source = list.iter().filter(|at| at.topic == source).copied();
            let partitions: Vec<TopicPartition> = of_source.collect();
            let is_live = self.settings.engine.sources[source].clock == SourceClock::Live;
            if !self.silences[source].is_new(now_ms) {
                self.silences[source].go_on(partitions.len());
            } else if is_live && !partitions.is_empty() {
                let held = self.held_records(&partitions, now_ms);
                self.silences[source].begin(partitions.len(), held, now_ms);
            }
        }
    }

    /// Asks the brokers for the number of records of the last hour and minute. What is not answered
    /// counts as none.
    fn held_records(&mut self, partitions: &[TopicPartition], now_ms: i64) -> HeldRecords {
        let mut offsets = |spec| self.log_ends.find(partitions, spec, HELD_TIMEOUT);
        let ends = offsets(OffsetSpec::End);
        let mut since = |seconds: i64| -> i64 {
            let starts = offsets(OffsetSpec::At(now_ms - seconds * 1_000));
            let counts = starts.iter().filter_map(|(at, start)| {
                let (start, end) = ((*start).ok()??, (*ends.get(at)?).ok()??);
                Some((end - start).max(0))
            });
            counts.sum()
        };
        HeldRecords {
            last_hour: since(3_600),
            last_minute: since(60),
        }
    }
}
