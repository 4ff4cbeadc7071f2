//! Seconds in which one kind of event happened, within one window.

use std::collections::{HashSet, VecDeque};

use super::segments::{Segment, Segments};

/// The events of one kind within the latest seconds.
#[derive(Debug, Clone)]
pub(crate) struct Occurrences {
    window_seconds: u32,
    /// Events beyond this number are not kept: the earliest go first.
    max: u32,
    /// In the order of their seconds.
    list: VecDeque<Occurrence>,
    total: u32,
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
    /// Makes an empty window that keeps up to `max` events.
    pub(crate) fn new(window_seconds: u32, max: u32) -> Self {
        Self {
            window_seconds,
            max: max.max(1),
            list: VecDeque::new(),
            total: 0,
            now: 0,
        }
    }

    /// Number of events within the window, up to the greatest number kept.
    pub(crate) fn count(&self) -> u32 {
        self.total.min(self.max)
    }

    /// True if nothing is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Distinct visitors of the events kept; events without a visitor are not among them.
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
        if second < self.oldest() {
            return;
        }
        let place = self.list.partition_point(|one| one.second <= second);
        self.total += 1;
        let before = place.checked_sub(1).and_then(|place| self.list.get_mut(place));
        match before.filter(|before| before.second == second && before.visitor == visitor) {
            Some(same) => same.count += 1,
            None => {
                segments.hold(segment);
                let one = Occurrence {
                    second,
                    count: 1,
                    visitor,
                    segment,
                };
                self.list.insert(place, one);
            }
        }
        while let Some(first) = self.list.front()
            && self.total - first.count >= self.max
        {
            self.remove_first(segments);
        }
    }

    /// Moves the window's end to `now`, if that is later.
    pub(crate) fn advance(&mut self, now: u32, segments: &mut Segments) {
        self.now = self.now.max(now);
        let oldest = self.oldest();
        while self.list.front().is_some_and(|first| first.second < oldest) {
            self.remove_first(segments);
        }
    }

    /// The instant from which on fewer than `count` events are in the window, if no further one
    /// comes; now, if there are fewer already.
    pub(crate) fn falls_below(&self, count: u32) -> Option<u32> {
        let mut left = count.checked_sub(1)?;
        for one in self.list.iter().rev() {
            if one.count > left {
                return Some(one.second + self.window_seconds + 1);
            }
            left -= one.count;
        }
        Some(self.now)
    }

    /// The instant at which the first event leaves the window.
    pub(crate) fn next_expiry(&self) -> Option<u32> {
        let first = self.list.front()?;
        Some(first.second + self.window_seconds + 1)
    }

    /// Removes everything.
    pub(crate) fn clear(&mut self, segments: &mut Segments) {
        while !self.list.is_empty() {
            self.remove_first(segments);
        }
    }

    fn oldest(&self) -> u32 {
        self.now.saturating_sub(self.window_seconds)
    }

    fn remove_first(&mut self, segments: &mut Segments) {
        if let Some(first) = self.list.pop_front() {
            self.total -= first.count;
            segments.release(first.segment);
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
                prop_assert_eq!(window.count(), max.min(within.len() as u32));
                for below in 1..=max {
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
            window.advance(now + WINDOW + 1, &mut segments);
            prop_assert!(window.is_empty());
            prop_assert_eq!(segments.replay_from(0), segments.next_offset(0));
        }
    }
}
