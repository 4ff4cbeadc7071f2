//! Current visitors of one site, exactly: C(τ, w) = visitors whose latest event lies in a whole second e with
//! 0 ≤ ⌊τ⌋ − e ≤ w.
//!
//! A visitor is one entry with the second of the latest event; every second knows how many visitors have it as their
//! latest. A visit moves one unit between two seconds, time moving on takes whole seconds out of the sums. So every
//! window length of a site is served by one table, and no event costs more for there being several.
//!
//! The window never goes back: an event older than the visitor's latest changes nothing, and one that is older than
//! the longest window is not counted at all.

/// Visitors by hash: the table behind a window.
pub(crate) mod visitors;
/// How far back a restart must read.
pub(crate) mod segments;

use std::collections::VecDeque;

use crate::prefetch::prefetch;
use segments::{Segment, Segments};
use visitors::{NO_LABEL, Slot, Visitors};

/// The last second there is: late enough that adding any window length does not overflow. The year 2106.
pub(crate) const LAST_SECOND: u32 = u32::MAX - 100_000;

/// One second with visitors in it, or with an event that moved the clock.
#[derive(Debug, Clone, Copy)]
struct Second {
    at: u32,
    /// Visitors whose latest event was in this second.
    visitors: u32,
    /// The segment of the first record that counted here, held as long as this second is.
    segment: Segment,
}

/// The sum for one window length.
#[derive(Debug, Clone, Copy)]
struct Span {
    seconds: u32,
    visitors: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Window {
    /// ⌊τ⌋, in seconds since the Unix epoch.
    now: u32,
    /// The longest span: what is older is let go.
    retain: u32,
    /// Visitors within `retain`.
    live: u32,
    /// The first span, which every site has; it stands here to spare a cache line.
    first: Span,
    visitors: Visitors,
    /// Sorted, none twice.
    seconds: VecDeque<Second>,
    /// The other spans.
    more: Box<[Span]>,
}

/// What a visit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visit {
    /// Counted, or known already.
    Counted,
    /// Older than the longest window.
    TooOld,
    /// A new visitor while the site is at its bound.
    Refused,
}

/// One event of one visitor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) hash: u64,
    /// Not after the window's now.
    pub(crate) second: u32,
    /// Labels, or [`NO_LABEL`] to keep those of before.
    pub(crate) source: u16,
    pub(crate) page: u16,
}

impl Window {
    /// A window over these lengths, in seconds; there must be one at least.
    pub(crate) fn new(lengths: &[u32], now: u32) -> Self {
        let mut window = Self {
            now,
            retain: 0,
            live: 0,
            first: Span {
                seconds: 0,
                visitors: 0,
            },
            visitors: Visitors::default(),
            seconds: VecDeque::new(),
            more: Box::default(),
        };
        window.measure(lengths);
        window
    }

    /// ⌊τ⌋ in seconds.
    pub(crate) fn now(&self) -> u32 {
        self.now
    }

    /// Visitors within the longest span: no span counts more.
    pub(crate) fn live(&self) -> u32 {
        self.live
    }

    /// Visitors within one of the spans, by its place in the lengths given.
    pub(crate) fn count(&self, span: usize) -> u32 {
        self.span(span).visitors
    }

    fn span(&self, span: usize) -> Span {
        span.checked_sub(1).map_or(self.first, |other| self.more[other])
    }

    /// Whether nothing is held that time could still change.
    pub(crate) fn is_empty(&self) -> bool {
        self.seconds.is_empty()
    }

    /// Changes the lengths. A longer one than before counts what was kept for the old ones.
    pub(crate) fn set_lengths(&mut self, lengths: &[u32], segments: &mut Segments) {
        // Those gone must not be taken for known by a longer window that never counted them.
        let oldest = self.now.saturating_sub(self.retain);
        self.visitors.sweep(usize::MAX, oldest);
        self.measure(lengths);
        self.let_go(segments);
    }

    fn measure(&mut self, lengths: &[u32]) {
        self.retain = lengths.iter().copied().max().unwrap_or_default();
        let mut spans = lengths.iter().map(|&seconds| Span {
            seconds,
            visitors: self.sum(self.now.saturating_sub(seconds), u32::MAX),
        });
        let first = spans.next().unwrap_or(self.first);
        self.more = spans.collect();
        self.first = first;
    }

    /// Counts an event. `segment` is that of its record; `max_visitors` bounds the table.
    pub(crate) fn visit(
        &mut self,
        seen: Seen,
        max_visitors: usize,
        segment: Segment,
        segments: &mut Segments,
    ) -> Visit {
        debug_assert!(seen.second <= self.now, "the clock is moved first");
        let oldest = self.now.saturating_sub(self.retain);
        if seen.second < oldest {
            return Visit::TooOld;
        }
        let before = match self.visitors.get_mut(seen.hash) {
            Some(slot) if slot.second >= oldest => {
                if slot.second > seen.second {
                    return Visit::Counted;
                }
                relabel(slot, seen);
                if slot.second == seen.second {
                    return Visit::Counted;
                }
                Some(std::mem::replace(&mut slot.second, seen.second))
            }
            Some(gone) => {
                (gone.source, gone.page) = (seen.source, seen.page);
                gone.second = seen.second;
                None
            }
            None => {
                if self.visitors.is_full() || self.visitors.len() >= max_visitors {
                    self.make_room(oldest);
                    if self.visitors.len() >= max_visitors {
                        return Visit::Refused;
                    }
                }
                self.visitors
                    .insert(seen.hash, seen.second, seen.source, seen.page);
                None
            }
        };
        match before {
            Some(before) => {
                if let Ok(at) = self.find(before) {
                    self.seconds[at].visitors -= 1;
                }
            }
            None => self.live += 1,
        }
        let at = self.second(seen.second, segment, segments);
        self.seconds[at].visitors += 1;
        let now = self.now;
        for span in std::iter::once(&mut self.first).chain(&mut self.more) {
            let holds = |second: u32| now - second <= span.seconds;
            if holds(seen.second) && !before.is_some_and(holds) {
                span.visitors += 1;
            }
        }
        Visit::Counted
    }

    /// Remembers that an event stood at this second although it counted nobody: if the clock is at it, a restart must
    /// read it again to know the clock.
    pub(crate) fn mark(&mut self, second: u32, segment: Segment, segments: &mut Segments) {
        if second == self.now {
            self.second(second, segment, segments);
        }
    }

    /// Moves the clock to `to`, if that is later. The cost is that of the seconds let go, not of the time between.
    pub(crate) fn advance(&mut self, to: u32, segments: &mut Segments) {
        if to <= self.now {
            return;
        }
        let from = std::mem::replace(&mut self.now, to);
        self.first.visitors -= self.leaving(self.first, from);
        for other in 0..self.more.len() {
            self.more[other].visitors -= self.leaving(self.more[other], from);
        }
        self.let_go(segments);
    }

    /// Visitors who left a span since the clock stood at `from`.
    fn leaving(&self, span: Span, from: u32) -> u32 {
        let end = self.now.saturating_sub(span.seconds);
        match self.seconds.front() {
            Some(oldest) if oldest.at < end => self.sum(from.saturating_sub(span.seconds), end),
            _ => 0,
        }
    }

    /// The instant at which a span's count goes down next if nothing else happens.
    pub(crate) fn next_fall(&self, span: usize) -> Option<u32> {
        let seconds = self.span(span).seconds;
        let from = self.lower_bound(self.now.saturating_sub(seconds));
        self.seconds
            .range(from..)
            .find(|second| second.visitors > 0)
            .map(|second| second.at + seconds + 1)
    }

    /// Everyone within the last `seconds`.
    pub(crate) fn within(&self, seconds: u32) -> impl Iterator<Item = &Slot> {
        self.visitors.since(self.now.saturating_sub(seconds))
    }

    /// Everyone within the longest span, to change their labels.
    pub(crate) fn live_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.visitors.since_mut(self.now.saturating_sub(self.retain))
    }

    /// Forgets everything but the time.
    pub(crate) fn clear(&mut self, segments: &mut Segments) {
        for second in self.seconds.drain(..) {
            segments.release(second.segment);
        }
        self.seconds = VecDeque::new();
        self.visitors.clear();
        self.live = 0;
        for span in std::iter::once(&mut self.first).chain(&mut self.more) {
            span.visitors = 0;
        }
    }

    /// Lets go of the seconds before the longest span, and step by step of the visitors in them.
    fn let_go(&mut self, segments: &mut Segments) {
        let oldest = self.now.saturating_sub(self.retain);
        let mut gone = 0;
        while let Some(second) = self.seconds.front()
            && second.at < oldest
        {
            gone += second.visitors;
            segments.release(second.segment);
            self.seconds.pop_front();
        }
        self.live -= gone;
        if self.seconds.is_empty() {
            self.clear(segments);
        } else if gone > 0 {
            // A fifth of the table may be of visitors gone; eight slots a newly gone one keep it there.
            let dead = self.visitors.len() - self.live as usize;
            if dead * 4 > self.live as usize + 64 {
                self.visitors.sweep(gone as usize * 8 + 256, oldest);
            }
        }
    }

    /// Before the table grows, or refuses someone, those gone leave it.
    fn make_room(&mut self, oldest: u32) {
        let dead = self.visitors.len() - self.live as usize;
        if dead > 0 && dead * 8 >= self.visitors.len() {
            self.visitors.sweep(usize::MAX, oldest);
        }
    }

    /// Visitors whose latest event lies in `from..to`.
    fn sum(&self, from: u32, to: u32) -> u32 {
        let start = self.lower_bound(from);
        self.seconds
            .range(start..)
            .take_while(|second| second.at < to)
            .map(|second| second.visitors)
            .sum()
    }

    /// The place of a second, which is made if need be.
    fn second(&mut self, at: u32, segment: Segment, segments: &mut Segments) -> usize {
        match self.find(at) {
            Ok(place) => place,
            Err(place) => {
                segments.hold(segment);
                let second = Second {
                    at,
                    visitors: 0,
                    segment,
                };
                self.seconds.insert(place, second);
                place
            }
        }
    }

    /// The place of a second, or where it belongs.
    fn find(&self, at: u32) -> Result<usize, usize> {
        let place = self.lower_bound(at);
        match self.seconds.get(place) {
            Some(second) if second.at == at => Ok(place),
            _ => Err(place),
        }
    }

    /// The first place whose second is not before `at`.
    fn lower_bound(&self, at: u32) -> usize {
        let len = self.seconds.len();
        match (self.seconds.front(), self.seconds.back()) {
            (Some(_), Some(last)) if at > last.at => return len,
            (Some(first), Some(_)) if at > first.at => {}
            _ => return 0,
        }
        // They lie about evenly, on a busy site every second has a place: the search begins where that would be and widens,
        // which reads a cache line or two. Bisecting from the middle reads one at each step.
        let (mut low, mut high) = (0, len - 1);
        let guess = self.guess(at);
        let mut step = 1;
        if self.seconds[guess].at < at {
            low = guess + 1;
            while low + step < high && self.seconds[low + step].at < at {
                low += step + 1;
                step *= 2;
            }
            high = high.min(low + step);
        } else {
            high = guess;
            while high > low + step && self.seconds[high - step].at >= at {
                high -= step;
                step *= 2;
            }
            low = low.max(high.saturating_sub(step));
        }
        while low < high {
            let middle = low.midpoint(high);
            if self.seconds[middle].at < at {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Where a second, none before the first and after the last, is if they lie evenly.
    fn guess(&self, at: u32) -> usize {
        let last = self.seconds.len() - 1;
        let from = self.seconds[0].at;
        let all = u64::from(self.seconds[last].at - from).max(1);
        (u64::from(at - from) * last as u64 / all) as usize
    }

    /// Asks memory for what an event of this visitor needs.
    pub(crate) fn prefetch(&self, hash: u64) {
        self.visitors.prefetch(hash);
        for second in [self.seconds.front(), self.seconds.back()].into_iter().flatten() {
            prefetch(second);
        }
    }

    /// Goes on from that a while later: asks for the second that counts this visitor, which the event takes them out of.
    pub(crate) fn prefetch_second(&self, hash: u64) {
        if let Some(slot) = self.visitors.get(hash)
            && let (Some(first), Some(last)) = (self.seconds.front(), self.seconds.back())
            && (first.at..last.at).contains(&slot.second)
        {
            prefetch(&self.seconds[self.guess(slot.second)]);
        }
    }
}

fn relabel(slot: &mut Slot, seen: Seen) {
    if seen.source != NO_LABEL {
        slot.source = seen.source;
    }
    if seen.page != NO_LABEL {
        slot.page = seen.page;
    }
}

#[cfg(test)]
mod tests;
