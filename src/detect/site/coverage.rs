//! Records that a site's loaded state accounts for, and those from before its beginning.

use super::SiteState;
use super::beginning::Beginning;
use super::triggers::lacking::NOT_KNOWN;
use crate::detect::completeness::Completeness;
use crate::detect::window::segments::Segments;
use crate::domain::event::SourceClock;

/// Bit of a source; the last one stands for all that follow it.
fn source_bit(source: usize) -> u64 {
    1 << source.min(63)
}

/// Offset of a source before which nothing is read any more; `None` if nothing is known of it.
pub(crate) fn next_unread(completeness: &Completeness, segments: &Segments, source: usize) -> Option<i64> {
    completeness.next(source).max(segments.next_offset(source))
}

impl SiteState {
    /// Notes that the site had an event in a source.
    pub(crate) fn note_source(&mut self, source: usize) {
        self.sources |= source_bit(source);
    }

    /// True if the site may have had an event in a source.
    pub(crate) fn has_source(&self, source: usize) -> bool {
        self.sources & source_bit(source) != 0
    }

    /// True if the loaded state accounts for a record.
    pub(crate) fn covers(&self, source: usize, offset: i64) -> bool {
        let covered = self.covered.as_ref();
        covered.is_some_and(|covered| offset <= covered[source])
    }

    /// True if records that the loaded state accounts for are still to be read again.
    pub(crate) fn is_behind(&self, completeness: &Completeness, segments: &Segments) -> bool {
        self.waits_for(completeness, segments).is_some()
    }

    /// Source and offset of a record that is still to be read before all are that the loaded state
    /// accounts for. What lies before the start of reading is not read again.
    pub(crate) fn waits_for(&self, completeness: &Completeness, segments: &Segments) -> Option<(usize, i64)> {
        let next = |source: usize| next_unread(completeness, segments, source).unwrap_or_default();
        let covered = self.covered.as_ref()?.iter().copied().enumerate();
        let mut unread = covered.filter(|(source, last)| *last >= next(*source));
        unread.next()
    }

    /// Clock by which the site goes.
    pub(crate) fn clock(&self) -> SourceClock {
        match self.live {
            true => SourceClock::Live,
            false => SourceClock::Log,
        }
    }

    /// Second from which on every record of the site has been seen; the greatest number while
    /// records that its loaded state accounts for are still to be read again.
    pub(crate) fn complete_from(&self, completeness: &Completeness, segments: &Segments) -> u32 {
        match self.is_behind(completeness, segments) {
            true => u32::MAX,
            false => completeness.complete_from(self.clock()),
        }
    }

    /// True if a record came before the site was registered.
    pub(crate) fn begins_after(&self, source: usize, offset: i64) -> bool {
        let beginning = self.beginning.as_ref();
        beginning.is_some_and(|beginning| beginning.is_after(source, offset))
    }

    /// Begins at a position: counts that reach back before it lack visitors. The position is
    /// stored already, or will be.
    pub(crate) fn begin_at(&mut self, beginning: Box<Beginning>) {
        let kept_from = match self.clock() {
            SourceClock::Log => self.window.kept_from().max(beginning.log_from),
            // Known from its first webhook on, or sooner.
            SourceClock::Live => match (self.window.kept_from(), beginning.live_from) {
                (0, from) => from,
                (NOT_KNOWN, _) => NOT_KNOWN,
                (since, 0) => since,
                (since, from) => since.min(from),
            },
        };
        self.window.set_kept_from(kept_from);
        self.beginning = Some(beginning);
        self.stored_parts = self.stored_parts.max(1);
    }
}
