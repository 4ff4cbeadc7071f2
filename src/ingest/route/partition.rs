//! A partition of a source while this process owns it: where reading begins and which records are
//! done.

use std::time::Duration;

use anyhow::Context as _;

use crate::clock;
use crate::dispatch::offsets::{Epoch, OffsetTracker};
use crate::kafka::commits::Commit;
use crate::kafka::member::GroupMember;
use crate::kafka::member::offsets::Committed;
use crate::kafka::session::commit_metadata::CommitMetadata;
use crate::kafka::session::lag::ConsumerLag;
use crate::kafka::session::removed::report_removed;
use crate::kafka::topic_partition::TopicPartition;
use crate::telemetry::Metrics;

/// Longest time a broker may take to answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The addition to a commit: there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct NoAddition;

impl std::fmt::Display for NoAddition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("-")
    }
}

impl std::str::FromStr for NoAddition {
    type Err = std::convert::Infallible;

    fn from_str(_: &str) -> Result<Self, Self::Err> {
        Ok(Self)
    }
}

/// A partition that is read.
#[derive(Debug)]
pub(super) struct RoutedPartition {
    pub(super) at: TopicPartition,
    pub(super) offsets: OffsetTracker,
    /// Offset where reading begins.
    pub(super) start: i64,
    /// The position of the last commit.
    pub(super) committed: i64,
    /// True until the beginning is committed, where it is not the last commit.
    pub(super) is_first: bool,
    /// Next offset to read.
    pub(super) next: i64,
    /// Time of the record read last, in milliseconds since the Unix epoch.
    pub(super) last_record_ms: i64,
    /// Last stable offset, as a broker answered last: what open transactions hold nobody can read.
    pub(super) end: Option<i64>,
    /// Set while it is not known where reading begins.
    unplaced: Option<Unplaced>,
}

/// A partition without a usable commit whose ends were not known when it was taken.
#[derive(Debug, Clone, Copy)]
struct Unplaced {
    /// Time in milliseconds since the Unix epoch before which records are passed over.
    since_ms: Option<i64>,
}

impl RoutedPartition {
    fn new(at: TopicPartition, epoch: Epoch, start: i64, is_first: bool) -> Self {
        Self {
            at,
            offsets: OffsetTracker::new(epoch, Some(start)),
            start,
            committed: start,
            is_first,
            next: start,
            last_record_ms: 0,
            end: None,
            unplaced: None,
        }
    }

    /// True if a record lies before the time from which a new source is read. The first one, at
    /// `offset`, is where the partition begins.
    pub(super) fn is_before_start(&mut self, offset: i64, record_ms: Option<i64>) -> bool {
        let Some(unplaced) = self.unplaced else {
            return false;
        };
        if self.last_record_ms == 0 {
            self.next = offset;
        }
        let is_before = unplaced
            .since_ms
            .zip(record_ms)
            .is_some_and(|(since, ms)| ms < since);
        if !is_before {
            self.unplaced = None;
        }
        is_before
    }

    /// The commit that is possible now: of what has moved, or of all.
    pub(super) fn commit(&mut self, nonce: &str, all: bool) -> Option<Commit> {
        let before = self.committed;
        if let Some(position) = self.offsets.to_commit() {
            self.offsets.committed(position);
            self.committed = position;
        }
        if self.offsets.open_count() == 0 {
            // Markers of transactions lie behind the last record.
            self.committed = self.committed.max(self.next);
        }
        let is_first = std::mem::take(&mut self.is_first);
        (self.committed != before || is_first || all).then(|| Commit {
            at: self.at,
            offset: self.committed,
            metadata: CommitMetadata::new(nonce, NoAddition).to_string(),
        })
    }

    /// Offset of the record that is expected next.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    /// Notes that a record is read; false if it was read before. An offset before the one expected
    /// is of a topic that was made anew.
    pub(super) fn begin(&mut self, offset: i64, topic: &str) -> bool {
        if offset < self.next {
            tracing::warn!(
                topic,
                partition = self.at.partition,
                expected = self.next,
                found = offset,
                "offsets went back, as when a topic is made anew; the partition is read from there"
            );
            self.offsets.restart();
            (self.start, self.committed, self.is_first) = (offset, offset, true);
        }
        self.next = offset + 1;
        self.offsets.open(offset)
    }

    /// Notes the current end of the partition, which was reached: markers of transactions have
    /// offsets, too.
    pub(super) fn reach_end(&mut self, offset: i64) {
        self.next = self.next.max(offset);
    }

    /// Lag behind the partition's end, as far as that is known.
    pub(super) fn lag(&self, now_ms: i64) -> ConsumerLag {
        let end = self.end.unwrap_or(self.next);
        let all_done = self.offsets.open_count() == 0 && self.next >= end;
        let is_behind = self.next < end && self.last_record_ms > 0;
        ConsumerLag {
            records: if all_done {
                0
            } else {
                (end - self.committed).max(0)
            },
            behind_ms: if is_behind {
                (now_ms - self.last_record_ms).max(0)
            } else {
                0
            },
        }
    }
}

/// Longest time a broker may take to say where a partition begins and ends.
const ENDS_TIMEOUT: Duration = Duration::from_secs(3);
/// The same, once one has not answered: the group waits.
const FURTHER_TIMEOUT: Duration = Duration::from_millis(300);

/// Rules for where a source begins that has no usable commit.
#[derive(Debug, Clone, Copy)]
pub(super) enum FirstStart {
    /// So long before now.
    Back(Duration),
    AtBeginning,
}

/// Finds where reading begins in each partition. `first` gives the rule of a topic by its index.
pub(super) fn take(
    member: &GroupMember,
    list: &[TopicPartition],
    epoch: Epoch,
    first: impl Fn(usize) -> FirstStart,
    metrics: &Metrics,
) -> anyhow::Result<Vec<RoutedPartition>> {
    let committed = member
        .committed(list, REQUEST_TIMEOUT)
        .context("reading the committed offsets of the route group")?;
    let mut timeout = ENDS_TIMEOUT;
    let mut partitions = Vec::with_capacity(list.len());
    for (at, committed) in list.iter().zip(&committed) {
        // A partition without a leader is not waited for: the others go on, and this one is read
        // once it has one.
        let ends = member.watermarks(*at, timeout).inspect_err(|error| {
            timeout = FURTHER_TIMEOUT;
            tracing::warn!(
                topic = &**member.topic(at.topic),
                partition = at.partition,
                %error,
                "the ends of a partition are not known; it is read from its commit, or from its first record on"
            );
        });
        let ends = ends.ok();
        let taken = match usable(committed, ends.map_or(i64::MAX, |(_, high)| high)) {
            Some(offset) => {
                let low = ends.map_or(offset, |(low, _)| low);
                let removed = u64::try_from(low - offset).unwrap_or(0);
                report_removed(metrics, member.topic(at.topic), *at, offset, removed);
                // What was removed is committed, too: nothing of it is left to be routed.
                RoutedPartition::new(*at, epoch, offset.max(low), low > offset)
            }
            None => take_first(member, *at, ends, epoch, first(at.topic)),
        };
        partitions.push(taken);
    }
    Ok(partitions)
}

/// Takes a partition without a usable commit, whose ends are `None` if they are not known.
fn take_first(
    member: &GroupMember,
    at: TopicPartition,
    ends: Option<(i64, i64)>,
    epoch: Epoch,
    first: FirstStart,
) -> RoutedPartition {
    let (low, high) = ends.unwrap_or((0, 0));
    let since_ms = match first {
        FirstStart::AtBeginning => None,
        FirstStart::Back(back) => {
            let back_ms = i64::try_from(back.as_millis()).unwrap_or(i64::MAX);
            Some(clock::now_ms().saturating_sub(back_ms))
        }
    };
    let found = match (ends, since_ms) {
        (None, _) => None,
        (Some(_), None) => Some(low),
        (Some(_), Some(since_ms)) => {
            let found = member.offsets_at(&[at], since_ms, ENDS_TIMEOUT);
            found
                .ok()
                .map(|found| found.first().copied().flatten().unwrap_or(high))
        }
    };
    match found {
        Some(start) => RoutedPartition::new(at, epoch, start.clamp(low, high.max(low)), true),
        None => RoutedPartition {
            unplaced: Some(Unplaced { since_ms }),
            ..RoutedPartition::new(at, epoch, low, true)
        },
    }
}

/// The committed offset, if it is ours and within the partition.
fn usable(committed: &Committed, high: i64) -> Option<i64> {
    let metadata = CommitMetadata::<NoAddition>::parse(&committed.metadata);
    committed
        .offset
        .filter(|offset| *offset <= high && !metadata.nonce.is_empty())
}

#[cfg(test)]
mod tests;
