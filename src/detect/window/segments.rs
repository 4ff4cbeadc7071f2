//! Segments of the stream: from the oldest one that is held, a restart rebuilds every window.
//!
//! A segment is a run of records across the partition's sources. Each second of a site's window
//! holds the segment in which it was first seen. Holding and releasing cost an increment or a
//! decrement.

use std::collections::VecDeque;

/// Records in a segment: at most so many does a restart read for nothing. In tests segments are
/// short, so that many borders are crossed.
const RECORDS_PER_SEGMENT: u32 = if cfg!(test) { 5 } else { 1_000 };

/// A segment's number. It counts up and wraps after years, which is safe because only few segments
/// exist at a time.
pub(crate) type Segment = u32;

/// The segments of one partition.
#[derive(Debug, Clone)]
pub(crate) struct Segments {
    /// Number of the oldest segment kept.
    first: Segment,
    /// Number of seconds that hold each segment, the current one last.
    held: VecDeque<u32>,
    /// For each segment, the next offset of each source when it began.
    starts: VecDeque<i64>,
    /// Records in the current segment.
    records: u32,
    /// Next offset of each source; `None` until a record of it was read.
    next: Box<[Option<i64>]>,
    /// First offset read of each source: the start of segments that began before it was read.
    first_read: Box<[Option<i64>]>,
}

/// Value in `starts` for a source of which nothing had been read.
const UNREAD: i64 = i64::MIN;

impl Segments {
    pub(crate) fn new(sources: usize) -> Self {
        Self {
            first: 0,
            held: VecDeque::from([0]),
            starts: std::iter::repeat_n(UNREAD, sources).collect(),
            records: 0,
            next: vec![None; sources].into_boxed_slice(),
            first_read: vec![None; sources].into_boxed_slice(),
        }
    }

    /// Counts a record that is about to be handled; returns its segment.
    pub(crate) fn begin_record(&mut self, source: usize, offset: i64) -> Segment {
        if self.records == RECORDS_PER_SEGMENT {
            self.records = 0;
            self.held.push_back(0);
            let starts = self.next.iter().map(|next| next.unwrap_or(UNREAD));
            self.starts.extend(starts);
            self.remove_unheld();
        }
        self.records += 1;
        self.first_read[source].get_or_insert(offset);
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
            self.remove_unheld();
        }
    }

    /// Next offset of a source.
    pub(crate) fn next_offset(&self, source: usize) -> Option<i64> {
        self.next[source]
    }

    /// The oldest offset of a source that the windows still need; the next offset if they need
    /// none.
    pub(crate) fn replay_from(&self, source: usize) -> Option<i64> {
        if self.held.front() == Some(&0) {
            return self.next[source];
        }
        match self.starts[source] {
            UNREAD => self.first_read[source],
            start => Some(start),
        }
    }

    fn remove_unheld(&mut self) {
        while self.held.len() > 1 && self.held.front() == Some(&0) {
            self.held.pop_front();
            self.starts.drain(..self.next.len());
            self.first = self.first.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests;
