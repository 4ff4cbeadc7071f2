//! Notes of events, for the rules that look back further than the windows.

use super::SiteState;
use super::triggers::CountedEvent;
use crate::detect::window::segments::{Segment, Segments};

impl SiteState {
    /// Notes an event's time and visitor for the rules that look back further than the windows. A
    /// second copy ends no silence.
    pub(crate) fn note_event(&mut self, counted: CountedEvent, is_copy: bool, segments: &mut Segments) {
        let CountedEvent {
            second,
            visitor,
            segment,
            ..
        } = counted;
        self.last_event = self.last_event.max(second);
        let needs = self.triggers.needs;
        if !needs.timers {
            self.first_event = Some(self.first_event.map_or(second, |first| first.min(second)));
            return;
        }
        if self.first_event.is_none_or(|first| second < first) {
            self.first_event = Some(second);
            self.next_due = 0;
            self.note_unsaved(segment, segments);
        }
        if needs.latest > 0 {
            self.note_unsaved(segment, segments);
            if let Some(visitor) = visitor {
                self.note_latest(visitor, second);
            }
        }
        if self.triggers.watches_silence() && !is_copy {
            self.note_unsaved(segment, segments);
            if self.triggers.note_event(None, second) {
                self.next_due = 0;
            }
        }
    }

    /// Begins to watch for silence where no event came yet, from `floor` on, up to which the wall
    /// clock moves sites. Returns true if the state is to be written. On a log nothing but events
    /// tells the time.
    pub(crate) fn watch_silence(&mut self, floor: u32) -> bool {
        let from = floor.max(self.window.now());
        let is_wanted = self.live && from > 0 && self.triggers.watches_silence();
        let begins = is_wanted && self.triggers.watch_from(from);
        if begins {
            self.next_due = 0;
        }
        begins
    }

    /// Notes a visitor among the latest ones. While the table of visitors holds twice as many as
    /// are kept, the latest are all in it, and no list is kept.
    fn note_latest(&mut self, visitor: u64, second: u32) {
        let kept = self.latest.kept();
        if self.window.live() as usize >= 2 * kept {
            if !std::mem::replace(&mut self.latest_is_behind, true) {
                // A list that was not full may be judged sooner, once it is filled from the table.
                // What falls due by a full one is only put off by an event.
                if !self.latest.has(self.triggers.needs.latest) {
                    self.next_due = 0;
                }
                self.latest.clear();
            }
            return;
        }
        self.sync_latest();
        let was_full = self.latest.has(self.triggers.needs.latest);
        if self.latest.visit(visitor, second) && !was_full {
            // A full list may be judged sooner.
            self.next_due = 0;
        }
    }

    /// Notes the visitors of the table among the latest ones.
    pub(super) fn sync_latest(&mut self) {
        if std::mem::take(&mut self.latest_is_behind) {
            for visitor in self.window.everyone() {
                self.latest.visit(visitor.hash, visitor.second);
            }
        }
    }

    /// True if the latest visitors are those of the table of visitors by now.
    #[cfg(test)]
    pub(crate) fn has_latest(&self) -> bool {
        !self.latest_is_behind
    }

    /// Holds the segment of a change that is written later.
    pub(super) fn note_unsaved(&mut self, segment: Segment, segments: &mut Segments) {
        if self.unsaved.is_none() {
            segments.hold(segment);
            self.unsaved = Some(segment);
        }
    }

    /// True if there are changes to be written some time.
    pub(crate) fn is_unsaved(&self) -> bool {
        self.unsaved.is_some()
    }
}
