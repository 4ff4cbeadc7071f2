//! The seconds of a window in which somebody was seen, with the visitors whose latest event each
//! holds.

use std::collections::VecDeque;

use super::segments::{Segment, Segments};
use crate::prefetch::prefetch;

/// One second with visitors in it, or with an event that moved the clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Second {
    pub(super) at: u32,
    /// Visitors whose latest event was in this second.
    pub(super) visitors: u32,
    /// The segment of the first record counted here, held as long as this second is.
    segment: Segment,
}

/// Seconds in order, each at most once.
#[derive(Debug, Clone, Default)]
pub(super) struct Seconds {
    list: VecDeque<Second>,
}

impl Seconds {
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Second> {
        self.list.iter()
    }

    /// Returns a second, which is added if it is not there; then `segment` is held for it.
    pub(super) fn insert(&mut self, at: u32, segment: Segment, segments: &mut Segments) -> &mut Second {
        let index = self.lower_bound(at);
        if self.list.get(index).is_none_or(|second| second.at != at) {
            segments.hold(segment);
            let second = Second {
                at,
                visitors: 0,
                segment,
            };
            self.make_room();
            self.list.insert(index, second);
        }
        &mut self.list[index]
    }

    /// Makes room for one more. A small site has a second for nearly every visitor, so that a list
    /// that doubles would weigh as much as they do.
    fn make_room(&mut self) {
        if self.list.len() == self.list.capacity() {
            self.list.reserve_exact(self.list.len() / 4 + 4);
        }
    }

    /// Returns a second if it is there.
    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut Second> {
        let index = self.lower_bound(at);
        self.list.get_mut(index).filter(|second| second.at == at)
    }

    /// Sums the visitors of the seconds in `from..to`.
    pub(super) fn visitors_between(&self, from: u32, to: u32) -> u32 {
        // Nothing is searched when nothing lies before `to`, as at nearly every event.
        if self.list.front().is_none_or(|oldest| oldest.at >= to) {
            return 0;
        }
        self.list
            .range(self.lower_bound(from)..)
            .take_while(|second| second.at < to)
            .map(|second| second.visitors)
            .sum()
    }

    /// Returns the second of the n-th latest visitor.
    pub(super) fn nth_latest_visitor(&self, n: u32) -> Option<u32> {
        let mut left = n.checked_sub(1)?;
        for second in self.list.iter().rev() {
            if second.visitors > left {
                return Some(second.at);
            }
            left -= second.visitors;
        }
        None
    }

    /// Removes the seconds before `oldest` and returns how many visitors they held.
    pub(super) fn remove_before(&mut self, oldest: u32, segments: &mut Segments) -> u32 {
        let mut visitors = 0;
        while let Some(second) = self.list.front()
            && second.at < oldest
        {
            visitors += second.visitors;
            segments.release(second.segment);
            self.list.pop_front();
        }
        visitors
    }

    /// Removes every second and gives the memory back.
    pub(super) fn clear(&mut self, segments: &mut Segments) {
        for second in std::mem::take(&mut self.list) {
            segments.release(second.segment);
        }
    }

    /// Asks memory for the oldest and the newest second.
    pub(super) fn prefetch_ends(&self) {
        for second in [self.list.front(), self.list.back()].into_iter().flatten() {
            prefetch(second);
        }
    }

    /// Asks memory for the second at `at`, wherever it is expected.
    pub(super) fn prefetch(&self, at: u32) {
        if let (Some(first), Some(last)) = (self.list.front(), self.list.back())
            && (first.at..last.at).contains(&at)
        {
            prefetch(&self.list[self.interpolate(at)]);
        }
    }

    /// Returns the index of the first second that is not before `at`.
    fn lower_bound(&self, at: u32) -> usize {
        // Most events are of the newest second or of one after it.
        match self.list.back() {
            Some(last) if at > last.at => self.list.len(),
            Some(last) if at == last.at => self.list.len() - 1,
            _ => self.list.partition_point(|second| second.at < at),
        }
    }

    /// Estimates the index of `at`, between the first and the last second, assuming evenly spaced
    /// seconds.
    fn interpolate(&self, at: u32) -> usize {
        let last = self.list.len() - 1;
        let from = self.list[0].at;
        let span = u64::from(self.list[last].at - from).max(1);
        (u64::from(at - from) * last as u64 / span) as usize
    }
}
