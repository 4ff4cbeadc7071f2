//! Current visitors of one site, counted exactly: C(τ, w) is the number of visitors whose latest
//! event lies in a whole second e with 0 ≤ ⌊τ⌋ − e ≤ w.
//!
//! A visitor is one entry with the second of the latest event; every second has the number of
//! visitors whose latest event it holds. A visit moves one visitor between two seconds, and the
//! passing of time subtracts whole seconds from the sums. So one table serves every window length
//! of a site, and further lengths make no event more expensive.
//!
//! The window never goes back: an event older than the visitor's latest changes nothing, and one
//! that is older than the longest window is not counted at all.

/// Seconds of the window, with their visitors.
mod seconds;
/// Visitors by hash: the table behind a window.
pub(crate) mod visitors;
/// The latest distinct visitors, for windows of many hours.
pub(crate) mod latest;
/// Seconds in which one kind of event happened.
pub(crate) mod occurrences;
/// Segments of the stream, from which a restart rebuilds the windows.
pub(crate) mod segments;

use seconds::Seconds;
use segments::{Segment, Segments};
use visitors::{NO_LABEL, Visitor, Visitors};

/// The last second that is counted, in the year 2106: adding any window length to it does not
/// overflow.
pub(crate) const LAST_SECOND: u32 = u32::MAX - 100_000;

/// The number of visitors within one window length.
#[derive(Debug, Clone, Copy)]
struct Span {
    seconds: u32,
    visitors: u32,
}

/// The visitors of one site within its window lengths.
#[derive(Debug, Clone)]
pub(crate) struct SlidingWindow {
    /// ⌊τ⌋, in seconds since the Unix epoch.
    now: u32,
    /// The longest length in seconds: older visitors are removed.
    longest: u32,
    /// Visitors within `longest`.
    live: u32,
    /// Second from which on every visitor counted is still held, unless too old for `longest`.
    kept_from: u32,
    /// The first length, which every site has; kept inline to save a cache line.
    first: Span,
    visitors: Visitors,
    seconds: Seconds,
    /// The other lengths.
    others: Box<[Span]>,
}

/// The result of a visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VisitResult {
    /// Counted now, or counted before.
    Counted,
    /// Older than the longest window.
    TooOld,
    /// A new visitor while the site is at its bound.
    Refused,
}

/// One event of one visitor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visit {
    pub(crate) hash: u64,
    /// Not after the window's now.
    pub(crate) second: u32,
    /// Labels, or [`NO_LABEL`] to keep the visitor's earlier ones.
    pub(crate) source: u16,
    pub(crate) page: u16,
}

impl SlidingWindow {
    /// Makes an empty window over these lengths, in seconds; there must be at least one.
    pub(crate) fn new(lengths: &[u32], now: u32) -> Self {
        let mut window = Self {
            now,
            longest: 0,
            live: 0,
            kept_from: 0,
            first: Span {
                seconds: 0,
                visitors: 0,
            },
            visitors: Visitors::default(),
            seconds: Seconds::default(),
            others: Box::default(),
        };
        window.count_lengths(lengths);
        window
    }

    /// ⌊τ⌋, in seconds since the Unix epoch.
    pub(crate) fn now(&self) -> u32 {
        self.now
    }

    /// The longest length in seconds.
    pub(crate) fn longest(&self) -> u32 {
        self.longest
    }

    /// Visitors within the longest length: no length counts more.
    pub(crate) fn live(&self) -> u32 {
        self.live
    }

    /// The second from which on nobody who was counted is missing. It is after the beginning of a
    /// window that was made longer than all before.
    pub(crate) fn kept_from(&self) -> u32 {
        self.kept_from
    }

    /// Adopts the second from which on nobody is missing, as an earlier owner stored it.
    pub(crate) fn set_kept_from(&mut self, second: u32) {
        self.kept_from = second;
    }

    /// Visitors within one of the lengths, given by its index.
    pub(crate) fn count(&self, length: usize) -> u32 {
        self.span(length).visitors
    }

    fn span(&self, length: usize) -> Span {
        length
            .checked_sub(1)
            .map_or(self.first, |other| self.others[other])
    }

    /// True if nothing is held that the passing of time could change.
    pub(crate) fn is_empty(&self) -> bool {
        self.seconds.is_empty()
    }

    /// Changes the lengths. A length longer than all before counts only what was kept for those.
    pub(crate) fn set_lengths(&mut self, lengths: &[u32], segments: &mut Segments) {
        // A longer window must not find visitors whom it never counted.
        let oldest = self.oldest();
        self.visitors.sweep(usize::MAX, oldest);
        let longest = self.longest;
        self.count_lengths(lengths);
        if self.longest > longest {
            self.kept_from = self.kept_from.max(oldest);
        }
        self.remove_old(segments);
    }

    fn count_lengths(&mut self, lengths: &[u32]) {
        self.longest = lengths.iter().copied().max().unwrap_or_default();
        let mut spans = lengths.iter().map(|&seconds| Span {
            seconds,
            visitors: self
                .seconds
                .visitors_between(self.now.saturating_sub(seconds), u32::MAX),
        });
        let first = spans.next().unwrap_or(self.first);
        self.others = spans.collect();
        self.first = first;
    }

    /// Counts an event. `segment` is that of its record; `max_visitors` bounds the table.
    pub(crate) fn visit(
        &mut self,
        visit: Visit,
        max_visitors: usize,
        segment: Segment,
        segments: &mut Segments,
    ) -> VisitResult {
        debug_assert!(visit.second <= self.now, "the clock is moved first");
        let oldest = self.oldest();
        if visit.second < oldest {
            return VisitResult::TooOld;
        }
        let before = match self.visitors.get_mut(visit.hash) {
            Some(visitor) if visitor.second >= oldest => {
                if visitor.second > visit.second {
                    return VisitResult::Counted;
                }
                relabel(visitor, visit);
                if visitor.second == visit.second {
                    return VisitResult::Counted;
                }
                Some(std::mem::replace(&mut visitor.second, visit.second))
            }
            Some(expired) => {
                (expired.source, expired.page) = (visit.source, visit.page);
                expired.second = visit.second;
                None
            }
            None => {
                if !self.add_visitor(visit, max_visitors, oldest) {
                    return VisitResult::Refused;
                }
                None
            }
        };
        match before {
            Some(before) => {
                if let Some(second) = self.seconds.get_mut(before) {
                    second.visitors -= 1;
                }
            }
            None => self.live += 1,
        }
        self.seconds.insert(visit.second, segment, segments).visitors += 1;
        let now = self.now;
        for span in std::iter::once(&mut self.first).chain(&mut self.others) {
            let holds = |second: u32| now - second <= span.seconds;
            if holds(visit.second) && !before.is_some_and(holds) {
                span.visitors += 1;
            }
        }
        VisitResult::Counted
    }

    /// Adds a visitor who is not in the table; false if the table is at its bound.
    fn add_visitor(&mut self, visit: Visit, max_visitors: usize, oldest: u32) -> bool {
        if self.visitors.is_full() || self.visitors.len() >= max_visitors {
            self.make_room(oldest);
            if self.visitors.len() >= max_visitors {
                return false;
            }
        }
        self.visitors
            .insert(visit.hash, visit.second, visit.source, visit.page);
        true
    }

    /// Remembers an event that counted nobody. If the clock is at its second, a restart must read
    /// it again to know the clock.
    pub(crate) fn mark(&mut self, second: u32, segment: Segment, segments: &mut Segments) {
        if second == self.now {
            self.seconds.insert(second, segment, segments);
        }
    }

    /// Moves the clock to `to`, if that is later. The cost is that of the seconds removed, not of
    /// the time between.
    pub(crate) fn advance(&mut self, to: u32, segments: &mut Segments) {
        if to <= self.now {
            return;
        }
        let from = std::mem::replace(&mut self.now, to);
        self.first.visitors -= self.leaving(self.first, from);
        for other in 0..self.others.len() {
            self.others[other].visitors -= self.leaving(self.others[other], from);
        }
        self.remove_old(segments);
    }

    /// Counts the visitors who left a length since the clock stood at `from`.
    fn leaving(&self, span: Span, from: u32) -> u32 {
        let start = |now: u32| now.saturating_sub(span.seconds);
        self.seconds.visitors_between(start(from), start(self.now))
    }

    /// The first length, in seconds: that of the visitors of now.
    pub(crate) const fn first_length(&self) -> u32 {
        self.first.seconds
    }

    /// The instant from which on a length counts fewer than `count`, if no further event comes:
    /// now, if it does already. `None` if it never will.
    pub(crate) fn falls_below(&self, length: usize, count: u32) -> Option<u32> {
        let span = self.span(length);
        if span.visitors < count {
            return Some(self.now);
        }
        let second = self.seconds.nth_latest_visitor(count)?;
        Some(second + span.seconds + 1)
    }

    /// Visitors within the longest length that will be left at `to` if no further event comes.
    pub(crate) fn left_at(&self, to: u32) -> u32 {
        let oldest = to.saturating_sub(self.longest);
        self.live - self.seconds.visitors_between(self.oldest(), oldest)
    }

    /// Everyone within the last `seconds`, and the longest length. Who left that may still be in the
    /// table, with labels that are others' by now.
    pub(crate) fn within(&self, seconds: u32) -> impl Iterator<Item = &Visitor> {
        self.visitors
            .since(self.now.saturating_sub(seconds.min(self.longest)))
    }

    /// Everyone within the longest length.
    pub(crate) fn everyone(&self) -> impl Iterator<Item = &Visitor> {
        self.visitors.since(self.oldest())
    }

    /// Everyone within the longest length, to change their labels.
    pub(crate) fn live_mut(&mut self) -> impl Iterator<Item = &mut Visitor> {
        let oldest = self.oldest();
        self.visitors.since_mut(oldest)
    }

    /// Removes everything but the time.
    pub(crate) fn clear(&mut self, segments: &mut Segments) {
        self.seconds.clear(segments);
        self.visitors.clear();
        self.live = 0;
        for span in std::iter::once(&mut self.first).chain(&mut self.others) {
            span.visitors = 0;
        }
    }

    /// The first second of the longest length.
    fn oldest(&self) -> u32 {
        self.now.saturating_sub(self.longest)
    }

    /// Removes the seconds before the longest length, and step by step the visitors in them.
    fn remove_old(&mut self, segments: &mut Segments) {
        let oldest = self.oldest();
        let expired = self.seconds.remove_before(oldest, segments);
        self.live -= expired;
        if self.seconds.is_empty() {
            self.clear(segments);
        } else if expired > 0 && self.expired() * 4 > self.live as usize + 64 {
            // Eight slots for each newly expired visitor keep at most a fifth of the table expired.
            self.visitors.sweep(expired as usize * 8 + 256, oldest);
        }
    }

    /// Visitors that are in the table and in no length any more.
    fn expired(&self) -> usize {
        self.visitors.len() - self.live as usize
    }

    /// Removes expired visitors, if there are enough of them, before the table grows or refuses
    /// one.
    fn make_room(&mut self, oldest: u32) {
        let expired = self.expired();
        if expired > 0 && expired * 8 >= self.visitors.len() {
            self.visitors.sweep(usize::MAX, oldest);
        }
    }

    /// Asks memory for what an event of this visitor needs.
    pub(crate) fn prefetch(&self, hash: u64) {
        self.visitors.prefetch(hash);
        self.seconds.prefetch_ends();
    }

    /// Asks memory for the second that counts this visitor, once the visitor's slot is there: the
    /// event takes the visitor out of it.
    pub(crate) fn prefetch_second(&self, hash: u64) {
        if let Some(visitor) = self.visitors.get(hash) {
            self.seconds.prefetch(visitor.second);
        }
    }
}

/// Gives a visitor the labels of a visit that has some.
fn relabel(visitor: &mut Visitor, visit: Visit) {
    if visit.source != NO_LABEL {
        visitor.source = visit.source;
    }
    if visit.page != NO_LABEL {
        visitor.page = visit.page;
    }
}

#[cfg(test)]
mod tests;
