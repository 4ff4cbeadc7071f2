//! How far back a restart must read to find the windows as they were.
//!
//! The stream is cut into segments, runs of records across the partition's sources. Whatever holds a second of a
//! site's window holds the segment in which that second was first seen; the oldest segment still held is where
//! reading begins again. Holding and letting go cost an increment, asking costs nothing.

use std::collections::VecDeque;

/// Records in a segment: the most that a restart reads in vain. Tests cut finer, to cross many borders.
const RECORDS_PER_SEGMENT: u32 = if cfg!(test) { 5 } else { 1_000 };

/// A segment's number. They count up, around the end of the type after years, which the few kept at a time allow.
pub(crate) type Segment = u32;

#[derive(Debug, Clone)]
pub(crate) struct Segments {
    /// Number of the oldest segment kept.
    first: Segment,
    /// How many seconds hold each segment, the current one last.
    held: VecDeque<u32>,
    /// For each segment, the next offset of each source when it began.
    starts: VecDeque<i64>,
    /// Records in the current segment.
    records: u32,
    /// Next offset of each source; `None` until a record of it was read.
    next: Box<[Option<i64>]>,
    /// First offset read of each source: what a segment that began before it starts with.
    seen_from: Box<[Option<i64>]>,
}

/// Stands in `starts` for a source of which nothing had been read.
const UNREAD: i64 = i64::MIN;

impl Segments {
    pub(crate) fn new(sources: usize) -> Self {
        Self {
            first: 0,
            held: VecDeque::from([0]),
            starts: std::iter::repeat_n(UNREAD, sources).collect(),
            records: 0,
            next: vec![None; sources].into_boxed_slice(),
            seen_from: vec![None; sources].into_boxed_slice(),
        }
    }

    /// Takes note of a record that is about to be handled; returns its segment.
    pub(crate) fn begin_record(&mut self, source: usize, offset: i64) -> Segment {
        if self.records == RECORDS_PER_SEGMENT {
            self.records = 0;
            self.held.push_back(0);
            let starts = self.next.iter().map(|next| next.unwrap_or(UNREAD));
            self.starts.extend(starts);
            self.forget_unheld();
        }
        self.records += 1;
        self.seen_from[source].get_or_insert(offset);
        self.next[source] = Some(offset + 1);
        self.current()
    }

    /// The segment of the record being handled.
    pub(crate) fn current(&self) -> Segment {
        self.first.wrapping_add((self.held.len() - 1) as u32)
    }

    pub(crate) fn hold(&mut self, segment: Segment) {
        self.held[segment.wrapping_sub(self.first) as usize] += 1;
    }

    pub(crate) fn release(&mut self, segment: Segment) {
        self.held[segment.wrapping_sub(self.first) as usize] -= 1;
        if segment == self.first {
            self.forget_unheld();
        }
    }

    /// Next offset of a source.
    pub(crate) fn next_offset(&self, source: usize) -> Option<i64> {
        self.next[source]
    }

    /// The oldest offset of a source that the windows still need, or the next one if they need none.
    pub(crate) fn replay_from(&self, source: usize) -> Option<i64> {
        if self.held.front() == Some(&0) {
            return self.next[source];
        }
        match self.starts[source] {
            UNREAD => self.seen_from[source],
            start => Some(start),
        }
    }

    fn forget_unheld(&mut self) {
        while self.held.len() > 1 && self.held.front() == Some(&0) {
            self.held.pop_front();
            self.starts.drain(..self.next.len());
            self.first = self.first.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_held_segment_is_where_reading_begins_again() {
        let mut segments = Segments::new(2);
        assert_eq!(segments.replay_from(0), None);
        let mut held = None;
        for offset in 100..122 {
            let segment = segments.begin_record(0, offset);
            if offset == 112 {
                segments.hold(segment);
                held = Some(segment);
            }
        }
        // Five records a segment: that of the held record began with offset 110.
        assert_eq!(segments.replay_from(0), Some(110));
        assert_eq!(segments.replay_from(1), None);
        // A source first read later is read again from its first record.
        segments.begin_record(1, 7);
        assert_eq!(segments.replay_from(1), Some(7));
        segments.release(held.expect("held"));
        assert_eq!(segments.replay_from(0), Some(122));
        assert_eq!(segments.replay_from(1), Some(8));
        assert_eq!(segments.held.len(), 1);
    }
}
