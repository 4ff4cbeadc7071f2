//! The note beside each commit by which the next owner of a partition knows what an owner that died
//! may have sent.
//!
//! An owner asks Postgres about what it sends and notes it there first, but for records of a range
//! that it has announced with a commit. So after a `kill -9` only what was noted, and what lies in
//! the range, may have been sent. The range goes on a little ahead of reading, for as long as the
//! owner keeps up; a backlog is asked about, which costs nothing beside the waiting. All that is of
//! `deliveries`; of a tier, an owner that died may have sent what was due before it was followed.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// Fewest records that a range goes on ahead of reading.
const LEAST_MARGIN: i64 = 64;
/// Most of them.
const MOST_MARGIN: i64 = 2_048;

/// State of a partition as its owner writes it beside each commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum HandOver {
    /// The owner may have sent anything beyond the committed offset.
    #[default]
    Unknown,
    /// The owner may have sent what it has noted in Postgres, and what lies in the range.
    Open {
        range: UnaskedRange,
        /// Part of the range is another owner's that died before.
        is_inherited: bool,
    },
    /// An owner that died before may have sent what was ready before this time, in milliseconds
    /// since the Unix epoch.
    Inherited {
        before_ms: i64,
        /// The owner has claimed its requests under way; else it, too, may have sent anything.
        is_claimed: bool,
    },
    /// The owner has claimed its requests under way, so that the next owner knows of them.
    HandedOver,
}

impl HandOver {
    /// True if its owner, who is the reader itself for `is_own`, died without a word about what it
    /// was at.
    pub(super) const fn is_of_dead(self, is_own: bool) -> bool {
        match self {
            Self::HandedOver | Self::Inherited { is_claimed: true, .. } => false,
            // For the notes of an owner before this one.
            Self::Open {
                is_inherited: true, ..
            } => true,
            Self::Open { .. } | Self::Unknown | Self::Inherited { .. } => !is_own,
        }
    }

    /// Time before which some owner that died may have sent records, in milliseconds since the Unix
    /// epoch; none if no owner may have.
    pub(super) fn suspect_before_ms(self, is_own: bool, now_ms: i64) -> Option<i64> {
        match self {
            _ if self.is_of_dead(is_own) => Some(now_ms),
            Self::Inherited { before_ms, .. } => Some(before_ms),
            _ => None,
        }
    }
}

impl FromStr for HandOver {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let mut words = text.split(' ');
        let first = words.next();
        let second = words.next();
        let range = second.and_then(|range| range.parse().ok());
        Ok(match (first, range) {
            (Some("handed-over"), _) => Self::HandedOver,
            (Some("open"), Some(range)) => Self::Open {
                range,
                is_inherited: words.next() == Some("inherited"),
            },
            (Some("inherited"), _) => match second.and_then(|time| time.parse().ok()) {
                Some(before_ms) => Self::Inherited {
                    before_ms,
                    is_claimed: words.next() == Some("claimed"),
                },
                None => Self::Unknown,
            },
            _ => Self::Unknown,
        })
    }
}

impl fmt::Display for HandOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("open"),
            Self::Open { range, is_inherited } => {
                let end = if *is_inherited { " inherited" } else { "" };
                write!(f, "open {range}{end}")
            }
            Self::Inherited {
                before_ms,
                is_claimed,
            } => {
                let end = if *is_claimed { " claimed" } else { "" };
                write!(f, "inherited {before_ms}{end}")
            }
            Self::HandedOver => f.write_str("handed-over"),
        }
    }
}

/// Offsets whose records an owner may send without a note in Postgres; `to` is not one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnaskedRange {
    from: i64,
    to: i64,
}

impl UnaskedRange {
    fn contains(&self, offset: i64) -> bool {
        (self.from..self.to).contains(&offset)
    }
}

impl FromStr for UnaskedRange {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (from, to) = text.split_once("..").ok_or(())?;
        let number = |text: &str| text.parse().map_err(drop);
        Ok(Self {
            from: number(from)?,
            to: number(to)?,
        })
    }
}

impl fmt::Display for UnaskedRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.from, self.to)
    }
}

/// Knowledge of a record and an owner that died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suspicion {
    /// It cannot have sent the record.
    None,
    /// It has noted the record in Postgres if it has sent it.
    IfNoted,
    /// It may have sent the record.
    Sent,
}

/// The range of one partition of `deliveries`, during one assignment.
#[derive(Debug)]
pub(super) struct UnaskedSends {
    own: UnaskedRange,
    /// End of the range in the last commit that was answered.
    acknowledged: i64,
    /// Position at the last announcement.
    read_before: i64,
    /// Range of an owner that died.
    inherited: Option<UnaskedRange>,
}

impl UnaskedSends {
    /// Begins with an empty range. `end` is the partition's end as it was after the assignment
    /// began, if it is known: what lies before it may have been read by others. `former` is the
    /// state that an owner left which died.
    pub(super) fn new(end: Option<i64>, former: Option<HandOver>) -> Self {
        let from = end.unwrap_or(i64::MAX);
        let everything = UnaskedRange { from: 0, to: from };
        Self {
            own: UnaskedRange { from, to: from },
            acknowledged: from,
            read_before: from,
            inherited: former.map(|former| match former {
                HandOver::Open { range, .. } => range,
                HandOver::Unknown | HandOver::Inherited { .. } | HandOver::HandedOver => everything,
            }),
        }
    }

    /// True if a record may be sent without a note.
    pub(super) fn contains(&self, offset: i64) -> bool {
        offset >= self.own.from && offset < self.acknowledged
    }

    /// Tells what the owner that died may have done with a record.
    pub(super) fn suspicion(&self, offset: i64) -> Suspicion {
        match self.inherited {
            None => Suspicion::None,
            Some(range) if range.contains(offset) => Suspicion::Sent,
            Some(_) => Suspicion::IfNoted,
        }
    }

    /// True if the range ends so near that it is to be announced anew.
    pub(super) fn is_short(&self, next: i64) -> bool {
        next >= self.own.from && self.own.to - next < LEAST_MARGIN / 2
    }

    /// Moves the end of the range ahead of `next`, the offset to be read next, unless records wait.
    pub(super) fn extend(&mut self, next: i64, is_behind: bool) {
        let read = next.saturating_sub(self.read_before);
        self.read_before = next;
        if self.own.from < i64::MAX && !is_behind {
            let margin = read.saturating_mul(2).clamp(LEAST_MARGIN, MOST_MARGIN);
            let to = next.max(self.own.from).saturating_add(margin);
            self.own.to = self.own.to.max(to);
        }
    }

    /// Returns the state to be committed beside `low_water`; the same after a hand-over for which
    /// the requests under way were claimed (`is_claimed`).
    pub(super) fn state(&self, low_water: i64, is_claimed: bool) -> HandOver {
        // While its records are not all complete, a later owner must know of them, too.
        let inherited = self.inherited.filter(|_| low_water < self.own.from);
        if is_claimed && inherited.is_none() {
            return HandOver::HandedOver;
        }
        let from = inherited.map_or(self.own.from, |range| range.from.min(self.own.from));
        HandOver::Open {
            range: UnaskedRange {
                from,
                to: self.own.to.max(from),
            },
            is_inherited: inherited.is_some(),
        }
    }

    /// Notes that all commits so far were answered.
    pub(super) fn acknowledge(&mut self) {
        self.acknowledged = self.own.to;
    }
}

/// Records of a tier's partition that an owner that died may have sent, during one assignment.
#[derive(Debug)]
pub(super) struct SuspectRecords {
    before_ms: i64,
    /// Offset of the first record read that is not one of them; nor are those after it.
    beyond: Option<i64>,
}

impl SuspectRecords {
    /// Begins with the records that were ready before a time, if any were.
    pub(super) fn new(before_ms: Option<i64>) -> Self {
        Self {
            before_ms: before_ms.unwrap_or(i64::MIN),
            beyond: None,
        }
    }

    /// True for a record that was ready to be sent at `ready_ms`.
    pub(super) const fn contain(&self, ready_ms: i64) -> bool {
        ready_ms < self.before_ms
    }

    /// Notes a record that was read, with Kafka's time of it.
    pub(super) fn note_read(&mut self, offset: i64, record_ms: Option<i64>) {
        if self.beyond.is_none() && record_ms.is_some_and(|record_ms| !self.contain(record_ms)) {
            self.beyond = Some(offset);
        }
    }

    /// Returns the state to be committed beside `low_water`: while they are not all complete, a
    /// later owner must know of them, too.
    pub(super) fn state(&self, low_water: i64, is_claimed: bool) -> HandOver {
        let are_complete = self.beyond.is_some_and(|beyond| low_water >= beyond);
        match (self.before_ms > i64::MIN && !are_complete, is_claimed) {
            (true, _) => HandOver::Inherited {
                before_ms: self.before_ms,
                is_claimed,
            },
            (false, true) => HandOver::HandedOver,
            (false, false) => HandOver::Unknown,
        }
    }
}

#[cfg(test)]
mod tests;
