//! Records that are rejected.

use super::Engine;
use super::event_time::{is_too_far_ahead, time_of_subscribers, whole_second};
use super::record::RecordFacts;
use crate::detect::site::passing::Passing;
use crate::detect::site::site_outcome::SiteOutcome;
use crate::detect::site::triggers::CountedEvent;
use crate::detect::window::segments::Segment;
use crate::domain::event::{Event, SourceClock};
use crate::domain::reject::RejectedOriginal;

impl Engine {
    /// True if an event of a log lies so far after what was read before that its record is to be
    /// rejected.
    pub(crate) fn is_too_far_ahead(&self, event: &Event<'_>, record: &RecordFacts) -> bool {
        let at_ms = event.timestamp_ms.unwrap_or(record.record_ms);
        self.log_clock_ms
            .is_some_and(|latest_ms| is_too_far_ahead(at_ms, latest_ms))
            && self.clock_of(event.routed, record) == SourceClock::Log
    }

    /// Handles a record that was rejected. `site_id` is the site's, if that could be told;
    /// `original` is the record that `route` rejected, whose note may come twice.
    pub(crate) fn handle_reject(
        &mut self,
        site_id: Option<&str>,
        record: &RecordFacts,
        original: Option<&RejectedOriginal>,
        now_ms: i64,
    ) {
        let segment = self.resources.segments.begin_record(record.source, record.offset);
        self.note_rebuilt();
        self.completeness.pass(record.source, record.offset);
        let clock = original.and_then(|original| original.clock);
        let source = clock.unwrap_or(self.config.sources[record.source].clock);
        if let Some(index) = self.counting_rejects(site_id, source, record) {
            self.count_reject(index, record, original, segment, source, now_ms);
        }
    }

    /// The index of a registered site that counts rejected records.
    fn counting_rejects(
        &mut self,
        site_id: Option<&str>,
        source: SourceClock,
        record: &RecordFacts,
    ) -> Option<usize> {
        let is_registered = |site_id: &&str| self.registry.sites.contains_key(*site_id);
        let site_id = site_id.filter(is_registered)?;
        let index = self
            .find(site_id)
            .or_else(|| self.add_registered(site_id, source, record))?;
        let state = &self.sites[index];
        let counts = state.counts_rejects() && !state.begins_after(record.source, record.offset);
        counts.then_some(index)
    }

    fn count_reject(
        &mut self,
        index: usize,
        record: &RecordFacts,
        original: Option<&RejectedOriginal>,
        segment: Segment,
        source: SourceClock,
        now_ms: i64,
    ) {
        let state = &self.sites[index];
        // A rejected record moves no log's clock, and does not tell that a site is live.
        let source = match state.clock() {
            SourceClock::Live => source,
            SourceClock::Log => SourceClock::Log,
        };
        let passing = Passing {
            clock: self.passing_clock(source, record, now_ms),
            complete_from: state.complete_from(&self.completeness, &self.resources.segments),
            record: Some((record.source, record.offset)),
            includes_overdue: false,
        };
        let at_ms = match source {
            SourceClock::Live => record.record_ms.min(now_ms),
            SourceClock::Log => record.record_ms,
        };
        let second = whole_second(at_ms);
        let state = &mut self.sites[index];
        state.note_source(record.source);
        let is_covered = state.covers(record.source, record.offset);
        let mut outcome = SiteOutcome::default();
        let rebuilds = record.replaying || is_covered;
        if source == SourceClock::Live {
            outcome = state.move_to(second, (!rebuilds).then_some(&passing), &mut self.resources);
        }
        let coordinates = original.and_then(|original| original.coordinates.as_deref());
        let is_second_copy = coordinates.is_some_and(|text| {
            let (id, state) = (self.hasher.event_id(text), &mut self.sites[index]);
            state.is_second_copy(id, segment, &mut self.resources, &mut self.counters.evicted_names)
        });
        if is_second_copy {
            return self.apply(index, outcome);
        }
        let state = &mut self.sites[index];
        let counted = CountedEvent {
            second,
            now: match source {
                SourceClock::Live => state.window.now(),
                SourceClock::Log => second,
            },
            visitor: None,
            segment,
        };
        let origin = record.origin(&self.config, at_ms, record.record_ms);
        let judged = (!rebuilds).then_some((origin, &passing));
        let record_ms = time_of_subscribers(source, record.record_ms, now_ms);
        outcome.add(state.count_reject(counted, record_ms, judged, &mut self.resources));
        if !rebuilds && state.next_due == 0 {
            state.schedule(&passing);
        }
        self.apply(index, outcome);
    }
}
