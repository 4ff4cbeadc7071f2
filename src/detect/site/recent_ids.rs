//! Event ids that were seen in the latest minutes, by which a second copy of an event is known.

use std::collections::VecDeque;

use hashbrown::HashSet;

/// Seconds for which an id is remembered.
const REMEMBERED_SECONDS: u32 = 600;
/// Most ids of a site; the earliest go first.
const MAX_IDS: usize = 100_000;

/// Hashes of event ids, in the order in which they came.
#[derive(Debug, Clone, Default)]
pub(crate) struct RecentIds {
    known: HashSet<u64>,
    order: VecDeque<(u32, u64)>,
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
    pub(crate) fn add(&mut self, id: u64, now: u32) -> IdResult {
        while let Some((second, oldest)) = self.order.front()
            && second.saturating_add(REMEMBERED_SECONDS) < now
        {
            self.known.remove(oldest);
            self.order.pop_front();
        }
        if !self.known.insert(id) {
            return IdResult::Known;
        }
        self.order.push_back((now, id));
        if self.order.len() <= MAX_IDS {
            return IdResult::New;
        }
        if let Some((_, oldest)) = self.order.pop_front() {
            self.known.remove(&oldest);
        }
        IdResult::NewForAnother
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_for_ten_minutes() {
        let mut ids = RecentIds::default();
        assert_eq!(ids.add(7, 1_000), IdResult::New);
        assert_eq!(ids.add(7, 1_600), IdResult::Known);
        assert_eq!(ids.add(8, 1_601), IdResult::New);
        assert_eq!(ids.add(7, 1_601), IdResult::New);
        assert_eq!(ids.order.len(), 2);
    }

    #[test]
    fn the_earliest_id_goes_when_there_are_too_many() {
        let mut ids = RecentIds::default();
        for id in 0..MAX_IDS as u64 {
            assert_eq!(ids.add(id, 1_000), IdResult::New);
        }
        assert_eq!(ids.add(u64::MAX, 1_000), IdResult::NewForAnother);
        assert_eq!(ids.add(1, 1_000), IdResult::Known);
        assert_eq!(ids.add(0, 1_000), IdResult::NewForAnother);
    }
}
