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
    /// True until the beginning of a partition without a usable commit is committed.
    pub(super) is_first: bool,
    /// Next offset to read.
    pub(super) next: i64,
    /// Time of the record read last, in milliseconds since the Unix epoch.
    pub(super) last_record_ms: i64,
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
        }
    }

    /// The commit that is possible now: of what has moved, or of all.
    pub(super) fn commit(&mut self, nonce: &str, all: bool) -> Option<Commit> {
        let moved = self.offsets.to_commit();
        if let Some(position) = moved {
            self.offsets.committed(position);
            self.committed = position;
        }
        let is_first = std::mem::take(&mut self.is_first);
        (moved.is_some() || is_first || all).then(|| Commit {
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

    /// Lag behind the partition's `end`, as far as that is known.
    pub(super) fn lag(&self, end: Option<i64>, now_ms: i64) -> ConsumerLag {
        let end = end.unwrap_or(self.next);
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
    let mut partitions = Vec::new();
    let mut timeout = ENDS_TIMEOUT;
    for (at, committed) in list.iter().zip(&committed) {
        let (low, high) = match (member.watermarks(*at, timeout), committed.offset) {
            (Ok(ends), _) => ends,
            // A partition without a leader is not waited for: the others go on, and this one is
            // read from its commit once it has one.
            (Err(error), Some(offset)) => {
                timeout = FURTHER_TIMEOUT;
                tracing::warn!(
                    topic = &**member.topic(at.topic),
                    partition = at.partition,
                    %error,
                    "the ends of a partition are not known; it is read from its commit"
                );
                (offset, offset)
            }
            (Err(error), None) => {
                return Err(error).context("reading the ends of a source's partition");
            }
        };
        partitions.push(match usable(committed, high) {
            Some(offset) => {
                let removed = u64::try_from(low - offset).unwrap_or(0);
                report_removed(metrics, member.topic(at.topic), *at, offset, removed);
                RoutedPartition::new(*at, epoch, offset.max(low), false)
            }
            None => {
                let start = match first(at.topic) {
                    FirstStart::AtBeginning => low,
                    FirstStart::Back(back) => {
                        let back_ms = i64::try_from(back.as_millis()).unwrap_or(i64::MAX);
                        let from_ms = clock::now_ms().saturating_sub(back_ms);
                        let found = member
                            .offsets_at(&[*at], from_ms, REQUEST_TIMEOUT)
                            .context("looking up where a new source begins")?;
                        found.first().copied().flatten().unwrap_or(high)
                    }
                };
                RoutedPartition::new(*at, epoch, start.clamp(low, high.max(low)), true)
            }
        });
    }
    Ok(partitions)
}

/// The committed offset, if it is ours and within the partition.
fn usable(committed: &Committed, high: i64) -> Option<i64> {
    let metadata = CommitMetadata::<NoAddition>::parse(&committed.metadata);
    committed
        .offset
        .filter(|offset| *offset <= high && !metadata.nonce.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: TopicPartition = TopicPartition {
        topic: 0,
        partition: 3,
    };

    #[test]
    fn a_commit_never_passes_a_record_that_is_not_acknowledged() {
        let epoch = Epoch(1);
        let mut partition = RoutedPartition::new(AT, epoch, 10, true);
        let first = partition.commit("n", false).expect("the chosen beginning");
        assert_eq!((first.offset, first.metadata.as_str()), (10, "v1 n -"));
        assert!(partition.commit("n", false).is_none());
        for offset in [10, 11, 12] {
            assert!(partition.offsets.open(offset));
        }
        partition.offsets.complete(epoch, 11);
        partition.offsets.complete(epoch, 12);
        assert!(partition.commit("n", false).is_none());
        assert_eq!(partition.commit("n", true).map(|commit| commit.offset), Some(10));
        partition.offsets.complete(epoch, 10);
        assert_eq!(partition.commit("n", false).map(|commit| commit.offset), Some(13));
        // An acknowledgement that comes after the partition was given back and taken again.
        assert!(partition.offsets.open(13));
        partition.offsets.complete(Epoch(0), 13);
        assert!(partition.commit("n", false).is_none());
    }

    #[test]
    fn what_a_topic_made_anew_holds_is_read_and_committed() {
        let mut partition = RoutedPartition::new(AT, Epoch(1), 500, false);
        assert!(partition.begin(500, "t"));
        for offset in [0, 1] {
            assert!(partition.begin(offset, "t"));
        }
        let epoch = partition.offsets.epoch();
        // An acknowledgement of the topic that is gone changes nothing.
        partition.offsets.complete(Epoch(1), 0);
        assert_eq!(partition.commit("n", false).map(|commit| commit.offset), Some(0));
        partition.offsets.complete(epoch, 0);
        partition.offsets.complete(epoch, 1);
        assert_eq!(partition.commit("n", false).map(|commit| commit.offset), Some(2));
    }

    #[test]
    fn only_an_own_commit_within_the_partition_is_used() {
        let committed = |offset, metadata: &str| Committed {
            offset,
            metadata: metadata.to_owned(),
        };
        assert_eq!(usable(&committed(Some(5), "v1 n -"), 5), Some(5));
        assert_eq!(usable(&committed(Some(6), "v1 n -"), 5), None, "beyond the end");
        assert_eq!(usable(&committed(Some(5), ""), 5), None, "of another program");
        assert_eq!(usable(&committed(None, ""), 5), None);
    }
}
