//! Completeness of what was read of one partition number, over all its sources.
//!
//! Guaranteed: the wall clock moves silent sites only up to an instant before which every stored
//! record was handled; a count is called exact only if no record of its window is missing. Every
//! part that counts, judges, moves time or reports lag asks here.

use std::ops::Range;

use crate::domain::event::SourceClock;
pub(crate) use seen::CompleteFrom;
use seen::SeenRecords;

/// Records seen by one clock.
mod seen;

/// End of a source's partition, and the wall instant before which everything stored lies before it:
/// that before the broker was asked, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ProvenEnd {
    offset: i64,
    as_of_ms: Option<i64>,
}

/// Completeness of one source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SourceCompleteness {
    /// By the source's own clock.
    pub(crate) own: CompleteFrom,
    /// By the clock of the logs that were routed into it, if it is live otherwise.
    pub(crate) of_logs: CompleteFrom,
}

impl From<CompleteFrom> for SourceCompleteness {
    /// Completeness of a source that holds no routed logs. What was missed of one that does may
    /// have been of a log.
    fn from(own: CompleteFrom) -> Self {
        let of_logs = match own {
            CompleteFrom::Unknown => CompleteFrom::Unknown,
            _ => CompleteFrom::Ever,
        };
        Self { own, of_logs }
    }
}

/// Progress in one source's partition.
#[derive(Debug, Clone, Copy)]
struct SourceProgress {
    /// By the source's own clock.
    own: SeenRecords,
    /// By the clock of logs that were routed into it; not asked for other sources.
    of_logs: SeenRecords,
    /// Offset committed by the group; records below it only rebuild windows.
    committed: i64,
    /// Offset below which loaded states account for records.
    covered: i64,
    /// Offset after the last record handled, or the partition's end if that lies beyond it.
    next: i64,
    /// Oldest answered end that is not reached.
    open_end: Option<ProvenEnd>,
    last_end: Option<ProvenEnd>,
    /// Wall instant before which every record stored has been handled.
    proven_until_ms: Option<i64>,
}

impl SourceProgress {
    fn advance(&mut self, next: i64) {
        self.next = self.next.max(next);
        self.check_ends();
    }

    fn check_ends(&mut self) {
        while let Some(end) = self.open_end.filter(|end| self.next >= end.offset) {
            self.proven_until_ms = self.proven_until_ms.max(end.as_of_ms);
            self.open_end = self.last_end.filter(|last| last.as_of_ms > end.as_of_ms);
        }
    }
}

/// Completeness of one partition number.
#[derive(Debug, Clone)]
pub(crate) struct Completeness {
    clocks: Box<[SourceClock]>,
    /// The source that is live and holds routed logs too.
    mixed: Option<usize>,
    /// Absent for a source without this partition.
    sources: Box<[Option<SourceProgress>]>,
    /// For each source, true if it is missing as a whole: nobody knows what it holds.
    missing: Box<[bool]>,
}

impl Completeness {
    /// Completeness before any source is assigned.
    pub(crate) fn new(clocks: impl IntoIterator<Item = SourceClock>) -> Self {
        let clocks: Box<[SourceClock]> = clocks.into_iter().collect();
        Self {
            sources: vec![None; clocks.len()].into_boxed_slice(),
            missing: vec![false; clocks.len()].into_boxed_slice(),
            mixed: None,
            clocks,
        }
    }

    /// The same with a source into which events of live sources and of logs are routed.
    pub(crate) fn with_routed(mut self, source: Option<usize>) -> Self {
        self.mixed = source.filter(|source| self.clocks[*source] == SourceClock::Live);
        self
    }

    /// Begins to read a source at `start`, where records below `committed` only rebuild windows,
    /// as complete as the group's commit says.
    pub(crate) fn begin(
        &mut self,
        source: usize,
        committed: i64,
        start: i64,
        complete_from: impl Into<SourceCompleteness>,
    ) {
        let SourceCompleteness { own, of_logs } = complete_from.into();
        self.sources[source] = Some(SourceProgress {
            own: SeenRecords::new(own),
            of_logs: SeenRecords::new(of_logs),
            committed,
            covered: 0,
            next: start,
            open_end: None,
            last_end: None,
            proven_until_ms: None,
        });
    }

    /// Sets for each source if it is missing as a whole. Such a one proves no end, and no window is
    /// known to hold its records.
    pub(crate) fn set_missing(&mut self, missing: &[bool]) {
        self.missing = missing.into();
    }

    /// Notes that a loaded state accounts for the records of a source up to an offset.
    pub(crate) fn cover(&mut self, source: usize, last: i64) {
        if let Some(progress) = &mut self.sources[source] {
            progress.covered = progress.covered.max(last.saturating_add(1));
        }
    }

    /// True if loaded states account for records of a source.
    pub(crate) fn is_covered(&self, source: usize) -> bool {
        self.sources[source].is_some_and(|progress| progress.covered > 0)
    }

    /// Forgets what loaded states account for: they are of an earlier topic of the same name.
    pub(crate) fn forget_covered(&mut self) {
        for progress in self.sources.iter_mut().flatten() {
            progress.covered = 0;
        }
    }

    /// Forgets what loaded states account for, if it lies beyond the end of a source.
    pub(crate) fn forget_covered_beyond(&mut self, source: usize, end: i64) {
        if let Some(progress) = &mut self.sources[source]
            && progress.covered > end
        {
            progress.covered = 0;
        }
    }

    /// Notes that a record was handled.
    pub(crate) fn pass(&mut self, source: usize, offset: i64) {
        if let Some(progress) = &mut self.sources[source] {
            progress.advance(offset.saturating_add(1));
        }
    }

    /// Notes that a source's partition was read up to its end at `offset`, at the wall instant
    /// `now_ms`.
    pub(crate) fn reach_end(&mut self, source: usize, offset: i64, now_ms: i64) {
        if let Some(progress) = &mut self.sources[source] {
            progress.advance(offset);
        }
        // A log's gap ends with the next record: only that has a time of its clock.
        if self.clocks[source] == SourceClock::Live {
            self.close_gap(source, now_ms);
        }
    }

    /// Notes that records of a source were missed.
    pub(crate) fn open_gap(&mut self, source: usize) {
        if let Some(progress) = &mut self.sources[source] {
            progress.own.has_gap = true;
            progress.of_logs.has_gap = true;
        }
    }

    /// Notes that no record before `at_ms` is still to come of a source that had a gap.
    pub(crate) fn close_gap(&mut self, source: usize, at_ms: i64) {
        if let Some(progress) = &mut self.sources[source] {
            progress.own.close_gap(at_ms);
        }
    }

    /// Notes that no record of a log before `at_ms`, by the clock of logs, is still to come of a
    /// source that had a gap and into which logs are routed.
    pub(crate) fn close_gap_of_logs(&mut self, source: usize, at_ms: i64) {
        if let Some(progress) = &mut self.sources[source] {
            progress.of_logs.close_gap(at_ms);
        }
    }

    /// Notes that a broker answered with this end, before which everything lies that was stored
    /// before the wall instant `as_of_ms`.
    pub(crate) fn prove_end(&mut self, source: usize, offset: i64, as_of_ms: impl Into<Option<i64>>) {
        if let Some(progress) = &mut self.sources[source] {
            let end = ProvenEnd {
                offset,
                as_of_ms: as_of_ms.into(),
            };
            progress.last_end = Some(end);
            // A later answer with a smaller end, as of a log made anew, proves as much, and is
            // reached.
            let open = progress.open_end.filter(|open| open.offset < end.offset);
            progress.open_end = Some(open.unwrap_or(end));
            progress.check_ends();
        }
    }

    /// True if a record only rebuilds windows, since the group has committed an offset beyond it.
    pub(crate) fn is_replayed(&self, source: usize, offset: i64) -> bool {
        self.sources[source].is_some_and(|progress| offset < progress.committed)
    }

    /// True until every source has passed its committed offset: windows are rebuilt, and nothing is
    /// judged on them.
    pub(crate) fn is_rebuilding(&self) -> bool {
        let mut sources = self.sources.iter().flatten();
        sources.any(|progress| progress.next < progress.committed)
    }

    /// True if a record may be handled now. One beyond its source's commit must wait until the
    /// others have rebuilt their windows, and one beyond what loaded states account for until the
    /// others have come so far too: it would be judged without them.
    pub(crate) fn admits(&self, source: usize, offset: i64) -> bool {
        if self.is_replayed(source, offset) {
            return true;
        }
        let is_covered = self.sources[source].is_some_and(|progress| offset < progress.covered);
        !self.is_rebuilding() && (is_covered || !self.is_behind_states())
    }

    /// True until every source has passed what loaded states account for.
    fn is_behind_states(&self) -> bool {
        let mut sources = self.sources.iter().flatten();
        sources.any(|progress| progress.next < progress.covered)
    }

    /// First whole second from which every record of the sources with a clock has been seen; 0 if
    /// none was ever missed, the greatest number while windows are not rebuilt. The times of two
    /// clocks cannot be compared: a gap in a live source says nothing of a log of last year.
    pub(crate) fn complete_from(&self, clock: SourceClock) -> u32 {
        if self.is_rebuilding() {
            return u32::MAX;
        }
        let seconds = (0..self.clocks.len()).filter_map(|source| self.seen_from(source, clock));
        seconds.max().unwrap_or(0)
    }

    /// The same of one source; `None` if it holds no records of that clock.
    fn seen_from(&self, source: usize, clock: SourceClock) -> Option<u32> {
        let is_own = self.clocks[source] == clock;
        if !is_own && self.mixed != Some(source) {
            return None;
        }
        if self.missing[source] {
            return Some(u32::MAX);
        }
        let progress = self.sources[source].as_ref()?;
        let seen = if is_own { progress.own } else { progress.of_logs };
        Some(seen.first_second())
    }

    /// True if the count of `window_seconds` at the second `now` of a clock is exact, and not a
    /// lower bound.
    pub(crate) fn is_exact(&self, clock: SourceClock, now: u32, window_seconds: u32) -> bool {
        match self.complete_from(clock) {
            0 => true,
            from => now.saturating_sub(window_seconds) >= from,
        }
    }

    /// Completeness of a source to write beside its commit.
    pub(crate) fn to_commit(&self, source: usize) -> SourceCompleteness {
        let Some(progress) = self.sources[source] else {
            return SourceCompleteness::default();
        };
        let own = progress.own.to_commit();
        match self.mixed == Some(source) {
            true => SourceCompleteness {
                own,
                of_logs: progress.of_logs.to_commit(),
            },
            false => own.into(),
        }
    }

    /// Wall instant up to which silent sites may be moved: all records stored before it have been
    /// handled. `None` while that is not proven for every source.
    pub(crate) fn proven_until_ms(&self) -> Option<i64> {
        if self.is_rebuilding() || self.missing.contains(&true) {
            return None;
        }
        let sources = self.sources.iter().flatten();
        let instants = sources.map(|progress| progress.proven_until_ms);
        instants.reduce(Option::min).flatten()
    }

    /// True if every source was read up to the end that was last answered for it.
    pub(crate) fn is_caught_up(&self) -> bool {
        let mut sources = self.sources.iter().flatten();
        sources.all(|one| one.last_end.is_some_and(|end| one.next >= end.offset))
    }

    /// True if a source was read up to the end that was last answered for it, or has no such
    /// partition.
    pub(crate) fn is_read_to_end(&self, source: usize) -> bool {
        self.sources[source].is_none_or(|one| one.last_end.is_some_and(|end| one.next >= end.offset))
    }

    /// Offset at which the next record of a source is expected.
    pub(crate) fn next(&self, source: usize) -> Option<i64> {
        self.sources[source].map(|progress| progress.next)
    }

    /// Offsets of a source that were handled since `before` was the next one. What was held back is
    /// not among them.
    pub(crate) fn handled_since(&self, source: usize, before: Option<i64>) -> Range<i64> {
        match (before, self.next(source)) {
            (Some(before), Some(next)) => before..next,
            _ => 0..0,
        }
    }

    /// Offset that the group had committed when the source was assigned.
    pub(crate) fn committed(&self, source: usize) -> Option<i64> {
        self.sources[source].map(|progress| progress.committed)
    }

    /// End that was last answered for a source.
    pub(crate) fn end(&self, source: usize) -> Option<i64> {
        Some(self.sources[source]?.last_end?.offset)
    }

    /// Number of offsets still to be read again before windows are rebuilt.
    pub(crate) fn replay_remaining(&self) -> i64 {
        let sources = self.sources.iter().flatten();
        sources.map(|one| (one.committed - one.next).max(0)).sum()
    }
}

#[cfg(test)]
mod tests;
