//! Handling of one record.

use std::sync::Arc;

use super::Engine;
use super::config::EngineConfig;
use super::event_time::{EventTime, SourceClock, event_time, is_fresh, whole_second};
use super::lookahead::Lookahead;
use crate::detect::notification::{Decision, RecordOrigin};
use crate::detect::site::labels::OTHER;
use crate::detect::site::{SiteState, single_events};
use crate::detect::window::segments::Segment;
use crate::detect::window::visitors::NO_LABEL;
use crate::detect::window::{Visit, VisitResult};
use crate::domain::event::{Event, EventResult, EventType, RoutedClock};

/// Decisions of one site that may wait for confirmation before [`Engine::wants_flush`] asks for a
/// stop. With as many more as one record can add (one a webhook), the site's state stays under 64
/// KiB.
const MAX_UNCONFIRMED: usize = 6;

/// The position of a record in Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordFacts {
    /// Index of its topic among the sources.
    pub source: usize,
    pub offset: i64,
    /// The record's time in milliseconds since the Unix epoch. It becomes the first part of ids: a
    /// record without a usable time needs one that is the same whenever it is read.
    pub record_ms: i64,
    /// True below the committed offset: the record rebuilds windows and gives no output.
    pub replaying: bool,
}

impl RecordFacts {
    /// The origin of an event of this record, which happened at `event_ms`.
    fn origin<'c>(&self, config: &'c EngineConfig, event_ms: i64) -> RecordOrigin<'c> {
        RecordOrigin {
            topic: &config.sources[self.source].topic,
            partition: config.partition,
            source: self.source,
            offset: self.offset,
            record_ms: self.record_ms,
            event_ms,
        }
    }
}

impl Engine {
    /// Counts a record that was rejected, so that commits pass it.
    pub(crate) fn skip_record(&mut self, source: usize, offset: i64) {
        self.resources.segments.begin_record(source, offset);
        self.completeness.pass(source, offset);
    }

    /// Handles one record. `now_ms` is the wall clock, which log sources do not look at.
    /// Notifications of single events are added to `out`; those of episodes come with
    /// [`Self::take_dirty_states`].
    pub fn handle(
        &mut self,
        event: &Event<'_>,
        record: &RecordFacts,
        now_ms: i64,
        out: &mut Vec<Decision>,
    ) -> EventResult {
        let lookahead = self.look_ahead(event);
        self.handle_ahead(event, lookahead, record, now_ms, out)
    }

    /// Handles one record after a look ahead at it. A look ahead that is out of date costs time,
    /// nothing else.
    pub fn handle_ahead(
        &mut self,
        event: &Event<'_>,
        lookahead: Lookahead<'_>,
        record: &RecordFacts,
        now_ms: i64,
        out: &mut Vec<Decision>,
    ) -> EventResult {
        self.stale.clear();
        let segment = self.resources.segments.begin_record(record.source, record.offset);
        self.completeness.pass(record.source, record.offset);
        let time = self.time_of(event, record, now_ms);
        let Some(index) = self.find_or_add(&lookahead, &event.site_id) else {
            return EventResult::Unregistered;
        };
        let clock = self.clock_of(event, record);
        let stale_after_ms = self.config.stale_after_ms;
        let is_fresh = |at_ms: i64| is_fresh(clock, at_ms, now_ms, stale_after_ms);
        let floor = self.floor(clock);

        let state = &mut self.sites[index];
        state.live |= clock == SourceClock::Live;
        state.heard |= !record.replaying;
        state.note_source(record.source);
        // A record below the commit, or below what a loaded state covers, only rebuilds the window.
        // The partition's clock waits for the first record after those: until then the window is
        // incomplete, and the clock would remove visitors on whom triggers are still to be judged.
        let rebuilds = record.replaying || state.covers(record.source, record.offset);
        let second = whole_second(time.ms);
        let to = if rebuilds { second } else { second.max(floor) };
        let is_exact = self
            .completeness
            .is_exact(state.window.now(), state.window.longest())
            && !state.is_behind(&self.resources.segments);
        let mut changed = state.move_to(to, !rebuilds && is_exact, &mut self.resources);
        self.count_visit(index, event, &lookahead, second, segment);

        let fresh = is_fresh(time.ms);
        let origin = record.origin(&self.config, time.ms);
        let state = &mut self.sites[index];
        state.events += u32::from(!rebuilds && !event.historical);
        if !record.replaying && !event.historical {
            let (found, stale) = (&mut self.found, &mut self.stale);
            single_events::decide(state.subscriptions(), event, origin, fresh, found, stale, out);
        }
        // A back-dated event counts where it still matters, and is no reason for a notification.
        if !rebuilds && !event.historical {
            let counts = state.judge(origin, is_fresh(i64::from(state.window.now()) * 1_000));
            let stale = std::iter::repeat_n(EventType::VisitorSpike, counts.stale as usize);
            self.stale.extend(stale);
            changed |= counts.changed;
            self.wants_flush |= counts.decided > 0 && state.unconfirmed_count() >= MAX_UNCONFIRMED;
        }
        if changed {
            self.mark_dirty(index);
        }
        match (record.replaying, fresh) {
            (true, _) => EventResult::Replayed,
            (false, true) => EventResult::Counted,
            (false, false) => EventResult::Stale,
        }
    }

    /// Types of the notifications withheld from the last record because they lie too far in the
    /// past.
    pub(crate) fn stale(&self) -> &[EventType] {
        &self.stale
    }

    /// The clock that an event goes by: that of its source, of which `route` tells.
    fn clock_of(&self, event: &Event<'_>, record: &RecordFacts) -> SourceClock {
        match event.routed.map(|routed| routed.clock) {
            Some(RoutedClock::Live) => SourceClock::Live,
            Some(RoutedClock::Log) => SourceClock::Log,
            None => self.config.sources[record.source].clock,
        }
    }

    /// Decides the event's time; counts a wrong clock, and moves the partition's clock of log
    /// sources.
    fn time_of(&mut self, event: &Event<'_>, record: &RecordFacts, now_ms: i64) -> EventTime {
        let clock = self.clock_of(event, record);
        let time = event_time(clock, event.timestamp_ms, record.record_ms, now_ms);
        if time.skewed && !record.replaying {
            self.counters.clock_skew[record.source] += 1;
        }
        // Every site moves it, registered or not: a new registration changes nothing for the other
        // sites.
        let seen_ms = match clock {
            SourceClock::Log => *self
                .log_clock_ms
                .insert(self.log_clock_ms.unwrap_or(time.ms).max(time.ms)),
            SourceClock::Live => record.record_ms.min(now_ms),
        };
        self.completeness.close_gap(record.source, seen_ms);
        time
    }

    /// The index of a site's state, which is added for a registered site that has none.
    fn find_or_add(&mut self, lookahead: &Lookahead<'_>, site_id: &str) -> Option<usize> {
        let likely = lookahead.index.filter(|index| self.is_at(*index, site_id));
        likely.or_else(|| self.find(site_id)).or_else(|| {
            let site = Arc::clone(self.registry.sites.get(site_id)?);
            self.add(SiteState::new(site, self.starts_live(), 0));
            Some(self.sites.len() - 1)
        })
    }

    /// Counts the event's visitor in the site's window, under the labels of its source and page.
    fn count_visit(
        &mut self,
        index: usize,
        event: &Event<'_>,
        lookahead: &Lookahead<'_>,
        second: u32,
        segment: Segment,
    ) {
        let state = &mut self.sites[index];
        let (labels, counters) = (&mut self.resources.labels, &mut self.counters);
        let hashes = lookahead.hashes;
        let result = hashes.visitor.map(|hash| {
            let visit = Visit {
                hash,
                second,
                source: event.source.as_deref().map_or(NO_LABEL, |name| {
                    let label = state.label(hashes.source, name, labels);
                    counters.evicted_sources += u64::from(label == OTHER);
                    label
                }),
                page: lookahead.page.as_deref().map_or(NO_LABEL, |name| {
                    let label = state.label(hashes.page, name, labels);
                    counters.evicted_pages += u64::from(label == OTHER);
                    label
                }),
            };
            let max = self.config.limits.visitors_per_site;
            state
                .window
                .visit(visit, max, segment, &mut self.resources.segments)
        });
        if result == Some(VisitResult::Refused) {
            self.counters.evicted_visitors += 1;
        }
        if result != Some(VisitResult::Counted) {
            state.window.mark(second, segment, &mut self.resources.segments);
        }
    }
}
