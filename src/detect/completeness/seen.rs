//! Records seen by one clock of a source.

/// Time from which every record of every source has been seen, in milliseconds since the Unix
/// epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CompleteFrom {
    /// No record was ever missed.
    #[default]
    Ever,
    At(i64),
    /// Records were missed, and none has been read since.
    Unknown,
}

/// Records seen by one clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct SeenRecords {
    /// Time from which every record has been seen.
    pub(super) complete_from: CompleteFrom,
    /// True from a gap until the next record.
    pub(super) has_gap: bool,
}

impl SeenRecords {
    pub(super) fn new(complete_from: CompleteFrom) -> Self {
        Self {
            complete_from: match complete_from {
                CompleteFrom::Unknown => CompleteFrom::Ever,
                known => known,
            },
            has_gap: complete_from == CompleteFrom::Unknown,
        }
    }

    pub(super) fn close_gap(&mut self, at_ms: i64) {
        if std::mem::take(&mut self.has_gap) {
            self.complete_from = self.complete_from.max(CompleteFrom::At(at_ms));
        }
    }

    pub(super) fn to_commit(self) -> CompleteFrom {
        match self.has_gap {
            true => CompleteFrom::Unknown,
            false => self.complete_from,
        }
    }

    /// The whole second from which every record has been seen, as
    /// [`super::Completeness::complete_from`] gives it.
    pub(super) fn first_second(self) -> u32 {
        match self.to_commit() {
            CompleteFrom::Ever => 0,
            CompleteFrom::At(ms) => second_from(ms),
            CompleteFrom::Unknown => u32::MAX,
        }
    }
}

/// First whole second that lies at or after a time, held between 1 and 2106.
fn second_from(ms: i64) -> u32 {
    let second = ms.div_euclid(1_000) + i64::from(ms.rem_euclid(1_000) > 0);
    u32::try_from(second.clamp(1, i64::from(u32::MAX - 1))).unwrap_or(u32::MAX - 1)
}
