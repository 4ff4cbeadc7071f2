//! Position in a partition of a source: what its group has committed, and what was read since.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use crate::kafka::commits::Commit;
use crate::kafka::session::commit_metadata::CommitMetadata;
use crate::kafka::session::lag::ConsumerLag;
use crate::kafka::topic_partition::TopicPartition;

/// Position in a partition of a source when it is assigned.
#[derive(Debug, Clone)]
pub(crate) struct Position {
    /// Offset committed by the group; records before it only rebuild windows.
    pub(crate) committed: i64,
    /// Offset where reading begins, `committed` or before it.
    pub(crate) start: i64,
    /// Metadata beside the commit.
    pub(crate) metadata: CommitMetadata<ReplayPoint>,
    /// True if the group has never committed here.
    pub(crate) is_first: bool,
}

/// Positions of the sources in one partition number; absent for a source without that partition.
pub(crate) type Positions = Vec<Option<Position>>;

/// Beginning of the replay that rebuilds the windows as of a commit. Written as `<offset> <clock>`,
/// with `-` for an absent one; what cannot be read is absent and costs a longer replay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ReplayPoint {
    pub(crate) offset: Option<i64>,
    /// The partition's clock at the commit, in milliseconds since the Unix epoch.
    pub(crate) clock_ms: Option<i64>,
}

impl FromStr for ReplayPoint {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let mut numbers = text.split(' ').map(|word| word.parse().ok());
        Ok(Self {
            offset: numbers.next().flatten(),
            clock_ms: numbers.next().flatten(),
        })
    }
}

impl fmt::Display for ReplayPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |value: Option<i64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        write!(f, "{} {}", word(self.offset), word(self.clock_ms))
    }
}

/// Knowledge of an owner about a partition of a source.
#[derive(Debug)]
pub(crate) struct SourceState {
    pub(crate) position: Position,
    /// Offset after the last record read, or the partition's end if that lies beyond it.
    pub(crate) next: i64,
    /// Time of the last record read in milliseconds since the Unix epoch, 0 before the first.
    pub(crate) last_record_ms: i64,
    /// True once a record or the end was read since the assignment: until then the client knows the
    /// partition's end only from an earlier assignment.
    pub(crate) has_read: bool,
    /// Offset of the last commit that was sent.
    sent_offset: i64,
    /// Metadata of the last commit that was sent.
    sent_metadata: String,
}

impl SourceState {
    /// State before the first record.
    pub(crate) fn new(position: Position) -> Self {
        Self {
            next: position.start,
            last_record_ms: 0,
            has_read: false,
            sent_offset: position.committed,
            sent_metadata: position.metadata.to_string(),
            position,
        }
    }

    /// True if the group's commit in `position` is the last one that was sent from here.
    pub(crate) fn committed_last(&self, position: &Position, nonce: &str) -> bool {
        position.metadata.nonce == nonce && position.committed == self.sent_offset
    }

    /// Sets the next commit.
    pub(crate) fn set_commit(&mut self, offset: i64, metadata: &CommitMetadata<ReplayPoint>) {
        self.sent_offset = offset;
        self.sent_metadata = metadata.to_string();
    }

    /// Commit that was set last, for the partition of this source.
    pub(crate) fn commit_at(&self, at: TopicPartition) -> Commit {
        Commit {
            at,
            offset: self.sent_offset,
            metadata: self.sent_metadata.clone(),
        }
    }

    /// Counts the records that were removed before they were read, when the next one read is at
    /// `offset`. `beginning` is the partition's first offset. Other gaps are no loss: transaction
    /// markers and compaction leave them.
    pub(crate) fn missed(&self, offset: i64, beginning: impl FnOnce() -> Option<i64>) -> u64 {
        // Records before the commit would only have rebuilt windows.
        let wanted = self.next.max(self.position.committed);
        if offset <= wanted {
            return 0;
        }
        let lost = beginning().map_or(0, |beginning| beginning.min(offset) - wanted);
        u64::try_from(lost).unwrap_or(0)
    }

    /// Lag behind the partition's `end`, as far as that is known.
    pub(crate) fn lag(&self, end: Option<i64>, now_ms: i64) -> ConsumerLag {
        let end = end.unwrap_or(self.next);
        let is_behind = self.next < end && self.last_record_ms > 0;
        ConsumerLag {
            records: (end - self.sent_offset).max(0),
            behind_ms: if is_behind {
                (now_ms - self.last_record_ms).max(0)
            } else {
                0
            },
        }
    }

    /// Number of offsets still to be read again before windows are complete.
    pub(crate) fn replay_remaining(&self) -> i64 {
        (self.position.committed - self.next).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_says_where_to_replay_from() {
        let texts = ["v1 5f3a 17 1700000000000", "v1 5f3a - -", "v1 5f3a 17 -"];
        let points = [
            (Some(17), Some(1_700_000_000_000)),
            (None, None),
            (Some(17), None),
        ];
        for (text, (offset, clock_ms)) in texts.into_iter().zip(points) {
            let metadata = CommitMetadata::new("5f3a", ReplayPoint { offset, clock_ms });
            assert_eq!(metadata.to_string(), text);
            assert_eq!(CommitMetadata::parse(text), metadata);
        }
        let partly_readable = CommitMetadata::<ReplayPoint>::parse("v1 5f3a x 12").addition;
        assert_eq!(
            (partly_readable.offset, partly_readable.clock_ms),
            (None, Some(12))
        );
    }
}
