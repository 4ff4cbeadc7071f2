//! Event ids that were seen in the latest minutes, by which a second copy of an event is known.

use std::collections::VecDeque;

use hashbrown::HashSet;

use crate::detect::window::segments::{Segment, Segments};

/// Seconds for which an id is remembered.
const REMEMBERED_SECONDS: u32 = 600;
/// Most ids of a site; the earliest go first.
const MAX_IDS: usize = 100_000;

/// Hashes of event ids. Each holds its segment, so that a restart knows them again.
#[derive(Debug, Clone, Default)]
pub(crate) struct RecentIds {
    known: HashSet<u64>,
    /// In the order in which they came.
    order: VecDeque<RecentId>,
}

#[derive(Debug, Clone, Copy)]
struct RecentId {
    second: u32,
    hash: u64,
    segment: Segment,
}

/// The result of taking up an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdResult {
    New,
    /// New, and an id was forgotten for it before its time.
    NewForAnother,
    Known,
}

impl RecentIds {
    /// Notes the id of an event at `now`, the site's second.
    pub(crate) fn add(&mut self, hash: u64, now: u32, segment: Segment, segments: &mut Segments) -> IdResult {
        self.advance(now, segments);
        if !self.known.insert(hash) {
            return IdResult::Known;
        }
        segments.hold(segment);
        self.order.push_back(RecentId {
            second: now,
            hash,
            segment,
        });
        if self.order.len() <= MAX_IDS {
            return IdResult::New;
        }
        self.remove_first(segments);
        IdResult::NewForAnother
    }

    /// Forgets the ids that are too old at `now`.
    pub(crate) fn advance(&mut self, now: u32, segments: &mut Segments) {
        let is_old = |one: &RecentId| one.second.saturating_add(REMEMBERED_SECONDS) < now;
        while self.order.front().is_some_and(is_old) {
            self.remove_first(segments);
        }
    }

    /// Number of ids that are known.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// True if none is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Forgets all ids.
    pub(crate) fn clear(&mut self, segments: &mut Segments) {
        while !self.order.is_empty() {
            self.remove_first(segments);
        }
        *self = Self::default();
    }

    fn remove_first(&mut self, segments: &mut Segments) {
        if let Some(first) = self.order.pop_front() {
            self.known.remove(&first.hash);
            segments.release(first.segment);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids beside the segments of a stream, of which each one is a record.
    struct Stream {
        ids: RecentIds,
        segments: Segments,
        offset: i64,
    }

    impl Stream {
        fn new() -> Self {
            Self {
                ids: RecentIds::default(),
                segments: Segments::new(1),
                offset: 0,
            }
        }

        fn add(&mut self, id: u64, now: u32) -> IdResult {
            let segment = self.segments.begin_record(0, self.offset);
            self.offset += 1;
            self.ids.add(id, now, segment, &mut self.segments)
        }
    }

    #[test]
    fn an_id_is_known_for_ten_minutes() {
        let mut stream = Stream::new();
        assert_eq!(stream.add(7, 1_000), IdResult::New);
        assert_eq!(stream.add(7, 1_600), IdResult::Known);
        assert_eq!(stream.add(8, 1_601), IdResult::New);
        assert_eq!(stream.add(7, 1_601), IdResult::New);
        assert_eq!(stream.ids.order.len(), 2);
    }

    #[test]
    fn the_earliest_id_goes_when_there_are_too_many() {
        let mut stream = Stream::new();
        for id in 0..MAX_IDS as u64 {
            assert_eq!(stream.add(id, 1_000), IdResult::New);
        }
        assert_eq!(stream.add(u64::MAX, 1_000), IdResult::NewForAnother);
        assert_eq!(stream.add(1, 1_000), IdResult::Known);
        assert_eq!(stream.add(0, 1_000), IdResult::NewForAnother);
    }

    #[test]
    fn a_restart_reads_from_the_oldest_id_that_is_known() {
        let mut stream = Stream::new();
        for id in 0..20 {
            stream.add(id, 1_000 + id as u32);
        }
        assert_eq!(stream.segments.replay_from(0), Some(0));
        stream.ids.advance(1_615, &mut stream.segments);
        assert_eq!(stream.segments.replay_from(0), Some(15));
        stream.ids.advance(1_620, &mut stream.segments);
        assert_eq!(stream.segments.replay_from(0), Some(20), "nothing is held");
    }
}
