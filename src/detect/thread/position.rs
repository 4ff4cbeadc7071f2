//! Where a source's partition stands: what its group committed, what was read since.

use crate::kafka::commits::Commit;
use crate::kafka::topic_partition::TopicPartition;

/// Where a source's partition stands when it is assigned.
#[derive(Debug, Clone)]
pub(crate) struct Position {
    /// The group's committed offset; records below it only rebuild windows.
    pub(crate) committed: i64,
    /// Where reading begins: at or before `committed`.
    pub(crate) start: i64,
    /// What was written beside the commit.
    pub(crate) note: Note,
    /// The group has never committed here.
    pub(crate) is_first: bool,
}

/// Positions of the sources in one partition number; absent for a source without that partition.
pub(crate) type Positions = Vec<Option<Position>>;

/// What is written beside a committed offset: `v1 <nonce> <replay from> <clock>`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) nonce: String,
    pub(crate) replay_from: Option<i64>,
    pub(crate) clock_ms: Option<i64>,
}

impl Note {
    /// Reads a note; what cannot be read is absent, and costs a longer replay.
    pub(crate) fn parse(text: &str) -> Self {
        let mut words = text.split(' ');
        if words.next() != Some("v1") {
            return Self::default();
        }
        Self {
            nonce: words.next().unwrap_or_default().to_owned(),
            replay_from: words.next().and_then(|word| word.parse().ok()),
            clock_ms: words.next().and_then(|word| word.parse().ok()),
        }
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = |value: Option<i64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        write!(
            f,
            "v1 {} {} {}",
            self.nonce,
            word(self.replay_from),
            word(self.clock_ms)
        )
    }
}

/// How far a source is from its end.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lag {
    pub(crate) lag: i64,
    pub(crate) behind_ms: i64,
    pub(crate) replaying: i64,
}

/// What an owner knows of a source.
#[derive(Debug)]
pub(crate) struct SourceState {
    pub(crate) position: Position,
    /// The offset after the last one read, or the partition's end if that is beyond.
    pub(crate) next: i64,
    pub(crate) last_record_ms: i64,
    /// Something of this assignment came: until then the client's word for the partition's end is that of an earlier one.
    pub(crate) heard: bool,
    /// What was committed last.
    pub(crate) sent: Option<i64>,
    /// And what was written beside it.
    pub(crate) sent_note: String,
}

impl SourceState {
    /// Nothing was read yet.
    pub(crate) fn new(position: Position) -> Self {
        Self {
            next: position.start,
            last_record_ms: 0,
            heard: false,
            sent: Some(position.committed),
            sent_note: position.note.to_string(),
            position,
        }
    }

    /// How many records that were to be read went before they were, if the next one read is at `offset`. `low` is the
    /// partition's lowest offset. Other gaps are none: transaction markers and compaction leave them.
    pub(crate) fn missed(&self, offset: i64, low: impl FnOnce() -> Option<i64>) -> u64 {
        // What lies below the commit would only have rebuilt windows.
        let wanted = self.next.max(self.position.committed);
        if offset <= wanted {
            return 0;
        }
        let lost = low().map_or(0, |low| low.min(offset) - wanted);
        u64::try_from(lost).unwrap_or(0)
    }

    pub(crate) fn last_commit(&self, topic: usize, partition: i32) -> Option<Commit> {
        Some(Commit {
            at: TopicPartition { topic, partition },
            offset: self.sent?,
            metadata: self.sent_note.clone(),
        })
    }

    /// `end` is the partition's end, as far as it is known.
    pub(crate) fn standing(&self, end: Option<i64>, now_ms: i64) -> Lag {
        let end = end.unwrap_or(self.next);
        let is_behind = self.next < end && self.last_record_ms > 0;
        Lag {
            lag: (end - self.sent.unwrap_or(self.next)).max(0),
            behind_ms: if is_behind {
                (now_ms - self.last_record_ms).max(0)
            } else {
                0
            },
            replaying: (self.position.committed - self.next).max(0),
        }
    }
}
