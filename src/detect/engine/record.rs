//! Handling of one record.

use std::collections::HashMap;

use super::Engine;
use super::config::EngineConfig;
use super::event_ids::EventIds;
use super::event_time::{
    EventTime, event_time, historical_time, is_fresh, time_of_subscribers, whole_second,
};
use super::lookahead::Lookahead;
use crate::detect::notification::{Decision, RecordOrigin};
use crate::detect::site::labels::OTHER;
use crate::detect::site::passing::{Passing, PassingClock};
use crate::detect::site::second_copies::SecondCopy;
use crate::detect::site::single_events::Occurring;
use crate::detect::site::site_outcome::SiteOutcome;
use crate::detect::site::triggers::CountedEvent;
use crate::detect::site::{PartitionResources, SiteState};
use crate::detect::window::segments::Segment;
use crate::detect::window::visitors::NO_LABEL;
use crate::detect::window::{Visit, VisitResult};
use crate::domain::event::{Event, EventResult, RoutedFacts, SourceClock};

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
    pub(super) fn origin<'c>(&self, config: &'c EngineConfig, event_ms: i64, id_ms: i64) -> RecordOrigin<'c> {
        RecordOrigin {
            topic: &config.sources[self.source].topic,
            partition: config.partition,
            source: self.source,
            offset: self.offset,
            record_ms: self.record_ms,
            id_ms,
            event_ms,
        }
    }
}

/// An event with all that is known of it before its site is looked at.
#[derive(Debug, Clone, Copy)]
struct HandledEvent<'a> {
    event: &'a Event<'a>,
    lookahead: &'a Lookahead<'a>,
    record: &'a RecordFacts,
    segment: Segment,
    clock: SourceClock,
    /// Time at which it counts, in milliseconds since the Unix epoch.
    time_ms: i64,
    now_ms: i64,
}

impl HandledEvent<'_> {
    fn origin<'c>(&self, config: &'c EngineConfig, id_ms: i64) -> RecordOrigin<'c> {
        RecordOrigin {
            record_ms: time_of_subscribers(self.clock, self.record.record_ms, self.now_ms),
            ..self.record.origin(config, self.time_ms, id_ms)
        }
    }
}

impl Engine {
    /// Counts a record that was rejected, so that commits pass it.
    pub(crate) fn skip_record(&mut self, source: usize, offset: i64) {
        self.note_rebuilt();
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
        let segment = self.resources.segments.begin_record(record.source, record.offset);
        self.note_rebuilt();
        self.completeness.pass(record.source, record.offset);
        let source = self.clock_of(event.routed, record);
        let time = self.time_of(event, source, record, now_ms);
        let Some(index) = self.find_or_add(&lookahead, &event.site_id, source, record) else {
            self.pass_log_timers_after(source, record);
            return EventResult::Unregistered;
        };
        let handled = HandledEvent {
            event,
            lookahead: &lookahead,
            record,
            segment,
            clock: source,
            time_ms: time.ms,
            now_ms,
        };
        let outcome = self.handle_of_site(index, &handled, out);
        self.apply(index, outcome);
        self.pass_log_timers_after(source, record);
        let fresh = is_fresh(source, time.ms, now_ms, self.config.stale_after_ms);
        match (record.replaying, fresh) {
            (true, _) => EventResult::Replayed,
            (false, true) => EventResult::Counted,
            (false, false) => EventResult::Stale,
        }
    }

    /// Handles an event of a site that is registered.
    fn handle_of_site(
        &mut self,
        index: usize,
        handled: &HandledEvent<'_>,
        out: &mut Vec<Decision>,
    ) -> SiteOutcome {
        let HandledEvent {
            event,
            lookahead,
            record,
            segment,
            clock: source,
            time_ms,
            now_ms,
        } = *handled;
        let floor = self.moves_on_to(source, record.source);
        self.note_arrival(index, source, record);
        let passing = self.passing_by(index, source, record, now_ms);
        let state = &mut self.sites[index];
        // A record below the commit, or below what a loaded state covers, only rebuilds the window.
        // The partition's clock waits for the first record after those: until then the window is
        // incomplete, and the clock would remove visitors on whom triggers are still to be judged.
        let is_covered = state.covers(record.source, record.offset);
        let rebuilds = record.replaying || is_covered;
        let second = whole_second(time_ms);
        let to = if rebuilds { second } else { second.max(floor) };
        if !rebuilds && state.next_due == 0 {
            state.schedule(&passing);
        }
        let judging = (!rebuilds).then_some(&passing);
        let mut outcome = state.move_to(to, judging, &mut self.resources);
        self.count_visit(index, lookahead, second, segment);

        let (state, visitor) = (&mut self.sites[index], lookahead.hashes.visitor);
        let ids = EventIds::of(event, record.record_ms);
        let is_remembered = state.remembers_ids || ids.is_copy_another;
        let own_id = event.event_id.as_deref().filter(|_| is_remembered);
        let occurring = Occurring {
            event,
            origin: handled.origin(&self.config, ids.ms),
            counted: CountedEvent {
                second,
                now: state.window.now(),
                visitor,
                segment,
            },
            event_id: own_id.map(|id| self.hasher.event_id(id)),
            is_copy_another: ids.is_copy_another,
            is_replayed: record.replaying,
            is_covered,
            is_fresh: is_fresh(source, time_ms, now_ms, self.config.stale_after_ms),
        };
        let (resources, found) = (&mut self.resources, &mut self.found);
        let refused = &mut self.counters.evicted_names;
        outcome.add(decide(
            state, &occurring, &passing, rebuilds, resources, found, refused,
        ));
        out.append(&mut outcome.ready);
        outcome
    }

    /// Notes on a site the source of its record.
    fn note_arrival(&mut self, index: usize, source: SourceClock, record: &RecordFacts) {
        let state = &mut self.sites[index];
        if std::mem::take(&mut state.is_live_by_default) && source == SourceClock::Log {
            state.go_by_log(&mut self.resources);
        }
        state.live |= source == SourceClock::Live;
        state.heard |= !record.replaying;
        // There are few sources.
        state.source = record.source as u16;
        state.note_source(record.source);
    }

    /// The facts by which the passing of time is judged that a record brings.
    fn passing_by(&self, index: usize, source: SourceClock, record: &RecordFacts, now_ms: i64) -> Passing {
        Passing {
            clock: self.passing_clock(source, record, now_ms),
            complete_from: self.sites[index].complete_from(&self.completeness, &self.resources.segments),
            record: Some((record.source, record.offset)),
            includes_overdue: false,
        }
    }

    /// Finds out if the windows of every source are rebuilt, and what falls due then.
    pub(super) fn note_rebuilt(&mut self) {
        if self.was_rebuilding && !self.completeness.is_rebuilding() {
            self.was_rebuilding = false;
            self.loaded_parts = HashMap::new();
            self.schedule_all();
            self.keep_running_episodes();
        }
    }

    pub(super) fn passing_clock(
        &self,
        clock: SourceClock,
        record: &RecordFacts,
        now_ms: i64,
    ) -> PassingClock {
        match clock {
            SourceClock::Live => PassingClock::Live {
                now_ms,
                stale_after_ms: self.config.stale_after_ms,
                silent_until: self.silent_sources.until(record.source),
            },
            SourceClock::Log => PassingClock::Log {
                record_ms: record.record_ms,
            },
        }
    }

    /// Lets happen what fell due on other sites by a record of a log.
    fn pass_log_timers_after(&mut self, clock: SourceClock, record: &RecordFacts) {
        if clock == SourceClock::Log && !record.replaying && !self.was_rebuilding {
            self.pass_log_timers((record.source, record.offset), record.record_ms);
        }
    }

    /// The clock that an event goes by: that of its source, of which `route` tells.
    pub(super) fn clock_of(&self, routed: Option<RoutedFacts>, record: &RecordFacts) -> SourceClock {
        routed.map_or(self.config.sources[record.source].clock, |routed| routed.clock)
    }

    /// Decides the event's time; counts a wrong clock, and moves the partition's clock of log
    /// sources.
    fn time_of(
        &mut self,
        event: &Event<'_>,
        clock: SourceClock,
        record: &RecordFacts,
        now_ms: i64,
    ) -> EventTime {
        let time = match (clock, event.historical) {
            (SourceClock::Live, true) => historical_time(event.timestamp_ms, record.record_ms, now_ms),
            _ => event_time(clock, event.timestamp_ms, record.record_ms, now_ms),
        };
        if time.skewed && !record.replaying {
            self.counters.clock_skew[record.source] += 1;
        }
        // Every site moves it, registered or not: a new registration changes nothing for the other
        // sites.
        let seen_ms = match clock {
            SourceClock::Log => {
                if self.log_clock_ms < Some(time.ms) || self.log_record_ms == 0 {
                    self.log_clock_ms = self.log_clock_ms.max(Some(time.ms));
                    self.log_record_ms = record.record_ms;
                }
                self.log_clock_ms.unwrap_or(time.ms)
            }
            SourceClock::Live => {
                let at_ms = record.record_ms.min(now_ms);
                self.live_clock_ms = self.live_clock_ms.max(Some(at_ms));
                at_ms
            }
        };
        // A live source may hold events of a log that was routed; its gap ends by its own clock.
        let seen_ms = match self.config.sources[record.source].clock {
            SourceClock::Log => seen_ms,
            SourceClock::Live => record.record_ms.min(now_ms),
        };
        self.completeness.close_gap(record.source, seen_ms);
        if let (SourceClock::Log, Some(clock_ms)) = (clock, self.log_clock_ms) {
            self.completeness.close_gap_of_logs(record.source, clock_ms);
        }
        time
    }

    /// The index of a site's state, which is added for a registered site that has none; `None` too
    /// if the record came before the site was registered.
    fn find_or_add(
        &mut self,
        lookahead: &Lookahead<'_>,
        site_id: &str,
        clock: SourceClock,
        record: &RecordFacts,
    ) -> Option<usize> {
        let likely = lookahead.index.filter(|index| self.is_at(*index, site_id));
        match likely.or_else(|| self.find(site_id)) {
            Some(index) if self.sites[index].begins_after(record.source, record.offset) => None,
            None => self.add_registered(site_id, clock, record),
            found => found,
        }
    }

    /// Counts the event's visitor in the site's window, under the labels of its source and page.
    fn count_visit(&mut self, index: usize, lookahead: &Lookahead<'_>, second: u32, segment: Segment) {
        let state = &mut self.sites[index];
        let (labels, counters) = (&mut self.resources.labels, &mut self.counters);
        let hashes = lookahead.hashes;
        let result = hashes.visitor.map(|hash| {
            let visit = Visit {
                hash,
                second,
                source: lookahead.source.as_deref().map_or(NO_LABEL, |name| {
                    let label = state.label(hashes.source, name, labels);
                    counters.evicted_sources += u64::from(label == OTHER) + labels.take_forgotten();
                    label
                }),
                page: lookahead.page.as_deref().map_or(NO_LABEL, |name| {
                    let label = state.label(hashes.page, name, labels);
                    counters.evicted_pages += u64::from(label == OTHER) + labels.take_forgotten();
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

/// Notes a counted event, and decides what it leads to. One that `rebuilds` the window leads to
/// nothing anew.
fn decide(
    state: &mut SiteState,
    occurring: &Occurring<'_>,
    passing: &Passing,
    rebuilds: bool,
    resources: &mut PartitionResources,
    found: &mut Vec<u32>,
    refused: &mut u64,
) -> SiteOutcome {
    let mut outcome = SiteOutcome::default();
    let is_historical = occurring.event.historical;
    let mut copy = SecondCopy::default();
    let is_copy = state.is_copy_in_rates(occurring, resources, refused, &mut copy);
    state.note_event(occurring.counted, is_copy, &mut resources.segments);
    state.events += u32::from(!rebuilds && !is_historical && !is_copy);
    // A back-dated event counts where it still matters, and is no reason for a notification.
    if !is_historical {
        outcome.add(state.decide_single(occurring, passing, resources, found, refused, &mut copy));
        outcome.add(state.count_error(occurring, passing, resources, refused, &mut copy));
    }
    if !rebuilds {
        if !is_historical {
            outcome.add(state.judge(occurring.origin, passing));
        }
        // What was overdue before the event may fall due later by it.
        if state.next_due == 0 || state.is_overdue {
            state.schedule(passing);
        }
    }
    outcome
}
