//! Seconds in which one kind of event happened, within one window.

use std::collections::{HashSet, VecDeque};

use super::segments::{Segment, Segments};

/// The events of one kind within the latest seconds.
#[derive(Debug, Clone)]
pub(crate) struct Occurrences {
    window_seconds: u32,
    /// Number of the latest events whose visitors are kept; of those before, only their seconds.
    max: u32,
    /// Events before those in `list`, by second: no more entries than the window has seconds.
    early: VecDeque<Occurrence>,
    /// The latest events, in the order of their seconds.
    list: VecDeque<Occurrence>,
    /// Events in `early` and in `list`.
    total: u32,
    /// Events in `list`.
    listed: u32,
    /// ⌊τ⌋ of the latest look.
    now: u32,
}

/// Events of one second, of one visitor if they have one.
#[derive(Debug, Clone, Copy)]
struct Occurrence {
    second: u32,
    count: u32,
    visitor: Option<u64>,
    /// The segment of the first of them, held as long as this entry is.
    segment: Segment,
}

impl Occurrences {
    /// Makes an empty window that keeps the visitors of up to `max` events.
    pub(crate) fn new(window_seconds: u32, max: u32) -> Self {
        Self {
            window_seconds,
            max: max.max(1),
            early: VecDeque::new(),
            list: VecDeque::new(),
            total: 0,
            listed: 0,
            now: 0,
        }
    }

    /// Makes a window of other settings with the same events, as far as they are within it.
    pub(crate) fn adapted(&self, window_seconds: u32, max: u32, segments: &mut Segments) -> Self {
        let mut adapted = Self::new(window_seconds, max);
        adapted.now = self.now;
        for one in self.early.iter().chain(&self.list) {
            adapted.insert(*one, segments);
        }
        adapted
    }

    /// Number of events within the window.
    pub(crate) fn count(&self) -> u32 {
        self.total
    }

    /// True if nothing is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Distinct visitors of the latest events; events without a visitor are not among them.
    pub(crate) fn visitors(&self) -> u32 {
        let visitors: HashSet<u64> = self.list.iter().filter_map(|one| one.visitor).collect();
        // No more than are kept.
        visitors.len() as u32
    }

    /// Adds an event, unless it is too old.
    pub(crate) fn add(
        &mut self,
        second: u32,
        visitor: Option<u64>,
        segment: Segment,
        segments: &mut Segments,
    ) {
        self.advance(second, segments);
        let one = Occurrence {
            second,
            count: 1,
            visitor,
            segment,
        };
        self.insert(one, segments);
    }

    /// Adds events of one second, unless they are too old.
    fn insert(&mut self, one: Occurrence, segments: &mut Segments) {
        if one.second < self.oldest() {
            return;
        }
        self.total = self.total.saturating_add(one.count);
        self.listed = self.listed.saturating_add(one.count);
        put(&mut self.list, one, segments);
        while let Some(first) = self.list.front().copied()
            && self.listed - first.count >= self.max
        {
            let before = Occurrence {
                visitor: None,
                ..first
            };
            put(&mut self.early, before, segments);
            segments.release(first.segment);
            self.listed -= first.count;
            self.list.pop_front();
        }
    }

    /// Moves the window's end to `now`, if that is later.
    pub(crate) fn advance(&mut self, now: u32, segments: &mut Segments) {
        self.now = self.now.max(now);
        let oldest = self.oldest();
        while let Some(first) = self.early.front().filter(|first| first.second < oldest) {
            self.total -= first.count;
            segments.release(first.segment);
            self.early.pop_front();
        }
        while let Some(first) = self.list.front().filter(|first| first.second < oldest) {
            self.total -= first.count;
            self.listed -= first.count;
            segments.release(first.segment);
            self.list.pop_front();
        }
    }

    /// The instant from which on fewer than `count` events are in the window, if no further one
    /// comes; now, if there are fewer already.
    pub(crate) fn falls_below(&self, count: u32) -> Option<u32> {
        let mut left = count.checked_sub(1)?;
        for one in self.list.iter().rev().chain(self.early.iter().rev()) {
            if one.count > left {
                return Some(one.second + self.window_seconds + 1);
            }
            left -= one.count;
        }
        Some(self.now)
    }

    /// The instant at which the first event leaves the window.
    pub(crate) fn next_expiry(&self) -> Option<u32> {
        let first = self.early.front().or(self.list.front())?;
        Some(first.second + self.window_seconds + 1)
    }

    /// Removes everything.
    pub(crate) fn clear(&mut self, segments: &mut Segments) {
        for one in self.early.drain(..).chain(self.list.drain(..)) {
            segments.release(one.segment);
        }
        (self.total, self.listed) = (0, 0);
    }

    fn oldest(&self) -> u32 {
        self.now.saturating_sub(self.window_seconds)
    }
}

/// Adds events to a list in its order, and holds their segment where they make a new entry.
fn put(list: &mut VecDeque<Occurrence>, one: Occurrence, segments: &mut Segments) {
    let place = list.partition_point(|other| other.second <= one.second);
    let before = place.checked_sub(1).and_then(|place| list.get_mut(place));
    match before.filter(|before| before.second == one.second && before.visitor == one.visitor) {
        Some(same) => same.count = same.count.saturating_add(one.count),
        None => {
            segments.hold(one.segment);
            list.insert(place, one);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_count_is_that_of_all_events_listed(
            max in 1_u32..20,
            events in proptest::collection::vec((0_u32..8, 0_u32..90, 0_u64..4), 1..120),
        ) {
            const WINDOW: u32 = 60;
            let mut segments = Segments::new(1);
            let mut window = Occurrences::new(WINDOW, max);
            let (mut all, mut now) = (Vec::new(), 1_000);
            for (offset, (gap, late, visitor)) in (0..).zip(events) {
                now += gap;
                let segment = segments.begin_record(0, offset);
                window.advance(now, &mut segments);
                window.add(now - late, Some(visitor), segment, &mut segments);
                all.push((now - late, visitor));
                let mut within: Vec<_> = all.iter().filter(|(second, _)| now - second <= WINDOW).collect();
                within.sort_by_key(|(second, _)| std::cmp::Reverse(*second));
                prop_assert_eq!(window.count(), within.len() as u32);
                for below in 1..=2 * max {
                    let expected = match within.get(below as usize - 1) {
                        Some((second, _)) => second + WINDOW + 1,
                        None => now,
                    };
                    prop_assert_eq!(window.falls_below(below), Some(expected));
                }
                if within.len() <= max as usize {
                    let visitors: HashSet<_> = within.iter().map(|(_, visitor)| visitor).collect();
                    prop_assert_eq!(window.visitors() as usize, visitors.len());
                }
            }
            let mut adapted = window.adapted(WINDOW / 2, max, &mut segments);
            let recent = all.iter().filter(|(second, _)| now - second <= WINDOW / 2);
            prop_assert_eq!(adapted.count() as usize, recent.count());
            adapted.clear(&mut segments);
            window.advance(now + WINDOW + 1, &mut segments);
            prop_assert!(window.is_empty());
            prop_assert_eq!(segments.replay_from(0), segments.next_offset(0));
        }
    }
}
