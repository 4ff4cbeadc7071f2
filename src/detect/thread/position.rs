//! Position in a partition of a source: what its group has committed, and what was read since.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use rdkafka::error::RDKafkaErrorCode;

use super::end_question::EndQuestion;
use crate::detect::completeness::{CompleteFrom, Completeness, SourceCompleteness};
use crate::kafka::commits::Commit;
use crate::kafka::session::commit_metadata::CommitMetadata;
use crate::kafka::session::lag::ConsumerLag;
use crate::kafka::session::removed::removed_between;
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
    /// True if the group has no commit here that can be used.
    pub(crate) is_first: bool,
    /// Completeness of what lies before `start`, as far as windows need it.
    pub(crate) complete_from: SourceCompleteness,
}

/// Positions of the sources in one partition number; absent for a source without that partition.
pub(crate) type Positions = Vec<Option<Position>>;

/// Beginning of the replay that rebuilds the windows as of a commit. Written as `<offset> <clock>
/// <complete from> <of routed logs> <end of the states> <floor>`, with `-` for an absent one, and
/// `?` for a completeness that no record has ended yet. What cannot be read is absent. The first
/// version wrote no third word; those after it are written as far as they say something new.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ReplayPoint {
    pub(crate) offset: Option<i64>,
    /// The partition's clock at the commit, in milliseconds since the Unix epoch.
    pub(crate) clock_ms: Option<i64>,
    pub(crate) complete_from: SourceCompleteness,
    /// The end of the partition of the state topic, as far as it was known at the commit.
    pub(crate) state_end: Option<i64>,
    /// The whole second up to which the wall clock had moved silent sites at the commit.
    pub(crate) live_floor: Option<u32>,
}

impl FromStr for ReplayPoint {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let mut words = text.split(' ');
        let first = words.next();
        let offset = first.and_then(|word| word.parse().ok());
        let clock_ms = words.next().and_then(|word| word.parse().ok());
        let read = |word: &str| match word {
            "?" => CompleteFrom::Unknown,
            word => word.parse().map_or(CompleteFrom::Ever, CompleteFrom::At),
        };
        let own = match words.next() {
            // An offset was written, and it is not known which.
            _ if offset.is_none() && first != Some("-") => CompleteFrom::Unknown,
            word => word.map_or(CompleteFrom::Ever, read),
        };
        let complete_from = match words.next() {
            Some(word) => SourceCompleteness {
                own,
                of_logs: read(word),
            },
            None => own.into(),
        };
        Ok(Self {
            offset,
            clock_ms,
            complete_from,
            state_end: words.next().and_then(|word| word.parse().ok()),
            live_floor: words.next().and_then(|word| word.parse().ok()),
        })
    }
}

impl fmt::Display for ReplayPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |value: Option<i64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        let from = |complete_from: CompleteFrom| match complete_from {
            CompleteFrom::Ever => word(None),
            CompleteFrom::At(ms) => word(Some(ms)),
            CompleteFrom::Unknown => "?".to_owned(),
        };
        let SourceCompleteness { own, of_logs } = self.complete_from;
        write!(f, "{} {} {}", word(self.offset), word(self.clock_ms), from(own))?;
        match (self.state_end, self.live_floor) {
            (end, Some(floor)) => write!(f, " {} {} {floor}", from(of_logs), word(end)),
            (Some(end), None) => write!(f, " {} {end}", from(of_logs)),
            (None, None) if of_logs == SourceCompleteness::from(own).of_logs => Ok(()),
            (None, None) => write!(f, " {}", from(of_logs)),
        }
    }
}

/// Failure of the questions for an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnknownEnd {
    /// When the first of them failed, in milliseconds since the Unix epoch.
    pub(crate) since_ms: i64,
    pub(crate) code: RDKafkaErrorCode,
}

/// Knowledge of an owner about a partition of a source, besides how far it was read.
#[derive(Debug)]
pub(crate) struct SourceState {
    pub(crate) position: Position,
    /// Offset after the last record read; the partition's end may lie beyond it.
    pub(crate) after_record: i64,
    /// Time of the last record read in milliseconds since the Unix epoch, 0 before the first.
    pub(crate) last_record_ms: i64,
    /// True if records were held back, to be read again once all sources have rebuilt windows.
    pub(crate) holds_back: bool,
    /// Offset of a record of a newer version, which is held back until this process ends.
    pub(crate) newer_at: Option<i64>,
    /// The question for the partition's end, which what was read cannot lie beyond.
    pub(crate) end_question: EndQuestion,
    /// Wall instant before which everything stored is proven to lie before the end that was asked
    /// for last; `None` if nothing is known of what has yet to be routed there.
    pub(crate) proves_ms: Option<i64>,
    /// Set while its end cannot be learned.
    pub(crate) unknown_end: Option<UnknownEnd>,
    /// Offset of the last commit that was sent.
    sent_offset: i64,
    /// Metadata of the last commit that was sent.
    sent_metadata: String,
}

impl SourceState {
    /// State before the first record.
    pub(crate) fn new(position: Position) -> Self {
        Self {
            after_record: position.start,
            last_record_ms: 0,
            holds_back: false,
            newer_at: None,
            end_question: EndQuestion::default(),
            proves_ms: None,
            unknown_end: None,
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

    /// Lag behind the partition's end that was last answered. A marker that ends a transaction is
    /// no record: one behind the last committed record is no lag.
    pub(crate) fn lag(&self, source: usize, completeness: &Completeness, now_ms: i64) -> ConsumerLag {
        let next = completeness.next(source).unwrap_or(self.after_record);
        let end = completeness.end(source).unwrap_or(next);
        let is_behind = next < end && self.last_record_ms > 0;
        let done = match self.sent_offset >= self.after_record {
            true => next.max(self.sent_offset),
            false => self.sent_offset,
        };
        ConsumerLag {
            records: (end - done).max(0),
            behind_ms: if is_behind {
                (now_ms - self.last_record_ms).max(0)
            } else {
                0
            },
        }
    }
}

/// Counts the records that were removed before they were read, when the one expected at `next` is
/// followed by one at `offset`, and those below `committed` would only have rebuilt windows.
/// `beginning` is the partition's first offset. Other gaps are no loss: transaction markers and
/// compaction leave them.
pub(crate) fn missed(
    next: i64,
    committed: i64,
    offset: i64,
    beginning: impl FnOnce() -> Option<i64>,
) -> Missed {
    if offset <= next {
        return Missed::default();
    }
    let beginning = beginning();
    let removed_from = |from| removed_between(from, offset, || beginning);
    Missed {
        has_gap: removed_from(next) > 0,
        records: removed_from(next.max(committed)),
    }
}

/// Records that were removed before they were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Missed {
    /// True if any was, also one that would only have rebuilt windows.
    pub(crate) has_gap: bool,
    /// Number of those that were never handled.
    pub(crate) records: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::SourceClock;

    #[test]
    fn a_commit_says_where_to_replay_from() {
        let texts = [
            "v1 5f3a 17 1700000000000 1690000000000",
            "v1 5f3a - - -",
            "v1 5f3a 17 - ?",
            "v1 5f3a 17 - 1690000000000 ?",
            "v1 5f3a 17 - ? 1650000000000",
            "v1 5f3a 17 - ? -",
        ];
        let known = CompleteFrom::At(1_690_000_000_000);
        let both = |own, of_logs| SourceCompleteness { own, of_logs };
        let points = [
            (Some(17), Some(1_700_000_000_000), known.into()),
            (None, None, CompleteFrom::Ever.into()),
            (Some(17), None, CompleteFrom::Unknown.into()),
            (Some(17), None, both(known, CompleteFrom::Unknown)),
            (
                Some(17),
                None,
                both(CompleteFrom::Unknown, CompleteFrom::At(1_650_000_000_000)),
            ),
            (Some(17), None, both(CompleteFrom::Unknown, CompleteFrom::Ever)),
        ];
        for (text, (offset, clock_ms, complete_from)) in texts.into_iter().zip(points) {
            let point = ReplayPoint {
                offset,
                clock_ms,
                complete_from,
                state_end: None,
                live_floor: None,
            };
            let metadata = CommitMetadata::new("5f3a", point);
            assert_eq!(metadata.to_string(), text);
            assert_eq!(CommitMetadata::parse(text), metadata);
        }
        let partly_readable = CommitMetadata::<ReplayPoint>::parse("v1 5f3a x 12").addition;
        let point = (
            partly_readable.offset,
            partly_readable.clock_ms,
            partly_readable.complete_from,
        );
        assert_eq!(point, (None, Some(12), CompleteFrom::Unknown.into()));
    }

    #[test]
    fn a_commit_says_where_states_end_and_where_silent_sites_are() {
        let (ever, unknown) = (CompleteFrom::Ever, CompleteFrom::Unknown);
        for (text, own, state_end, live_floor) in [
            ("v1 5f3a 17 - - - 40", ever, Some(40), None),
            ("v1 5f3a 17 - 9 - 40", CompleteFrom::At(9), Some(40), None),
            ("v1 5f3a 17 - ? ? 40", unknown, Some(40), None),
            (
                "v1 5f3a 17 - ? ? 40 1700000000",
                unknown,
                Some(40),
                Some(1_700_000_000),
            ),
            ("v1 5f3a 17 - - - - 1700000000", ever, None, Some(1_700_000_000)),
        ] {
            let point = ReplayPoint {
                offset: Some(17),
                clock_ms: None,
                complete_from: own.into(),
                state_end,
                live_floor,
            };
            let metadata = CommitMetadata::new("5f3a", point);
            assert_eq!(metadata.to_string(), text);
            assert_eq!(CommitMetadata::parse(text), metadata);
        }
    }

    #[test]
    fn a_commit_of_the_first_version_is_read() {
        let point = CommitMetadata::<ReplayPoint>::parse("v1 5f3a 17 1700000000000").addition;
        assert_eq!(point.offset, Some(17));
        assert_eq!(point.clock_ms, Some(1_700_000_000_000));
        assert_eq!(point.complete_from, CompleteFrom::Ever.into());
    }

    #[test]
    fn only_removed_records_are_missed() {
        let missed = |next, committed, offset, beginning| missed(next, committed, offset, || beginning);
        // The log still begins before the gap, so it is from markers of a transaction.
        assert_eq!(missed(10, 10, 12, Some(3)), Missed::default());
        let lost = |records| Missed {
            has_gap: true,
            records,
        };
        assert_eq!(missed(12, 10, 30, Some(20)), lost(8));
        // The log's beginning has moved, but not past records that were not read.
        assert_eq!(missed(30, 10, 30, Some(35)), Missed::default());
        assert_eq!(missed(30, 10, 40, Some(100)), lost(10));
        // Records below the commit were handled before, and windows lack them all the same.
        assert_eq!(missed(4, 10, 13, Some(11)), lost(1));
        assert_eq!(missed(4, 10, 13, Some(9)), lost(0));
    }

    #[test]
    fn a_trailing_marker_of_a_transaction_is_no_lag() {
        let mut completeness = Completeness::new([SourceClock::Live]);
        completeness.begin(0, 10, 10, CompleteFrom::Ever);
        let mut state = SourceState::new(Position {
            committed: 10,
            start: 10,
            metadata: CommitMetadata::default(),
            is_first: false,
            complete_from: CompleteFrom::Ever.into(),
        });
        completeness.prove_end(0, 12, 1);
        assert_eq!(state.lag(0, &completeness, 5).records, 2);
        completeness.pass(0, 10);
        state.after_record = 11;
        completeness.reach_end(0, 12, 2);
        assert_eq!(state.lag(0, &completeness, 5).records, 2, "not committed");
        state.set_commit(11, &CommitMetadata::default());
        assert_eq!(state.lag(0, &completeness, 5).records, 0);
    }
}
