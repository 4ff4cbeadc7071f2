//! Handling of an owned partition's records.

use std::sync::Arc;

use super::OwnedPartition;
use crate::detect::engine::event_time;
use crate::detect::engine::lookahead::Lookahead;
use crate::detect::engine::record::RecordFacts;
use crate::detect::thread::counts::{Counts, StaleEvent};
use crate::detect::thread::outbox::Outbox;
use crate::dispatch::record::Coordinates;
use crate::domain::event::{Event, EventResult, SourceClock};
use crate::domain::reject::{NotAnEvent, Reject, RejectReason, RejectedOriginal};
use crate::domain::time::LAST_MS;
use crate::ingest::formats::routed::original_of;
use crate::ingest::reject_record::reject_record;
use crate::kafka::batch_record::BatchRecord;
use crate::kafka::murmur2;

impl OwnedPartition {
    /// Handles records in order, until there are none left or the engine needs a flush. Returns the
    /// rest. `beginning_of` gives the cached first offset of a source's partition.
    pub(crate) fn handle_records<'r, 'm>(
        &mut self,
        records: &'r [(usize, BatchRecord<'m>)],
        now_ms: i64,
        beginning_of: impl Fn(usize) -> Option<i64>,
        outbox: &Outbox,
        counts: &mut Counts,
    ) -> &'r [(usize, BatchRecord<'m>)] {
        let readers = Arc::clone(&self.readers);
        let events: Vec<_> = records
            .iter()
            .map(|(source, record)| readers[*source].read(record.value(), &record.headers()))
            .collect();
        // All events are looked at before the first is handled, so that the memory they need is
        // prefetched by then.
        let events: Vec<_> = events
            .iter()
            .map(|event| event.as_ref().map(|event| (event, self.engine.look_ahead(event))))
            .collect();
        let lookaheads = events.iter().flatten().map(|(_, lookahead)| lookahead);
        self.engine.prefetch(lookaheads);
        for (handled, ((source, record), event)) in (1..).zip(records.iter().zip(events)) {
            if !self.is_due(*source, record.offset()) {
                continue;
            }
            if let Err(newer @ NotAnEvent::Newer { .. }) = event {
                self.hold_newer(*source, record.offset(), newer, counts);
                continue;
            }
            self.count_missed(*source, record.offset(), &beginning_of, counts);
            self.handle(*source, record, event, now_ms, outbox, counts);
            if self.engine.wants_flush() {
                return &records[handled..];
            }
        }
        &[]
    }

    /// Holds a record of a newer version back, and what follows it in its source's partition.
    fn hold_newer(&mut self, source: usize, offset: i64, newer: &NotAnEvent, counts: &Counts) {
        if let Some(state) = self.sources.get_mut(source).and_then(Option::as_mut) {
            state.holds_back = true;
            state.newer_at = Some(offset);
        }
        tracing::error!(
            topic = counts.source(source),
            partition = self.partition,
            offset,
            error = %newer,
            "a record of a newer version is held back, and what follows it: finish the upgrade"
        );
    }

    /// True if a record is to be handled now.
    pub(super) fn is_due(&mut self, source: usize, offset: i64) -> bool {
        if self.is_elsewhere || self.is_back(source, offset) {
            return false;
        }
        let admitted = self.completeness().admits(source, offset);
        match self.sources.get_mut(source).and_then(Option::as_mut) {
            // What follows a record that was held back is held back too.
            Some(state) if state.holds_back || !admitted => {
                state.holds_back = true;
                false
            }
            Some(_) => true,
            None => false,
        }
    }

    fn handle(
        &mut self,
        source: usize,
        record: &BatchRecord<'_>,
        event: Result<(&Event<'_>, Lookahead<'_>), &NotAnEvent>,
        now_ms: i64,
        outbox: &Outbox,
        counts: &mut Counts,
    ) {
        let offset = record.offset();
        let known = event.as_ref().ok().map(|(event, _)| *event);
        let record_time = rejected_at(&event).or_else(|| time_of(record, known));
        let overlong = record_time.filter(|ms| *ms > LAST_MS).map(Reject::overlong_time);
        let facts = self.facts(source, offset, record_time, known, now_ms);
        if let Some(state) = self.sources.get_mut(source).and_then(Option::as_mut) {
            state.after_record = offset + 1;
            state.last_record_ms = facts.record_ms;
        }
        self.has_read = true;
        if let Some(reject) = overlong {
            return self.reject(&facts, record, &reject, now_ms, outbox, counts);
        }
        let (event, lookahead) = match event {
            Ok((event, lookahead)) => (event, lookahead),
            Err(NotAnEvent::Rejected(reject)) => {
                return self.reject(&facts, record, reject, now_ms, outbox, counts);
            }
            Err(NotAnEvent::RejectedBefore(reject, original)) => {
                self.count_reject(&facts, record, reject, Some(original), now_ms, counts);
                return Self::count_passed(&facts, EventResult::Rejected, counts);
            }
            // Those of newer versions were held back before.
            Err(NotAnEvent::Ignored | NotAnEvent::Newer { .. }) => {
                self.engine.skip_record(source, offset);
                return Self::count_passed(&facts, EventResult::Ignored, counts);
            }
        };
        if self.engine.is_too_far_ahead(event, &facts) {
            let reject = too_far_ahead(&event.site_id);
            return self.reject(&facts, record, &reject, now_ms, outbox, counts);
        }
        let handled = self
            .engine
            .handle_ahead(event, lookahead, &facts, now_ms, &mut self.decisions);
        counts.handled(source, handled);
        if let (Some(unit), false) = (event.wrong_unit, facts.replaying) {
            counts.wrong_unit(source, self.partition, offset, unit, || original(event, record));
        }
        // A back-dated event says itself that it is of the past.
        if handled == EventResult::Stale && !event.historical {
            let stale = self.stale_event(event, &facts, record_time, now_ms);
            counts.stale_event(source, &stale, || original(event, record));
        }
        self.count_withheld(counts);
        if !facts.replaying
            && murmur2::partition_of(event.site_id.as_bytes(), self.partition_count) != self.partition
        {
            counts.miskeyed(source, self.partition, offset, record.key(), event);
        }
        self.publish_decisions(now_ms - facts.record_ms, outbox, counts);
    }

    /// An event that is not fresh, and the reason why.
    fn stale_event(
        &self,
        event: &Event<'_>,
        facts: &RecordFacts,
        record_ms: Option<i64>,
        now_ms: i64,
    ) -> StaleEvent {
        let own_ms = event.timestamp_ms;
        let event_ms = event_time::event_time(SourceClock::Live, own_ms, facts.record_ms, now_ms).ms;
        StaleEvent {
            partition: self.partition,
            offset: facts.offset,
            cause: event_time::stale_cause(event_ms, record_ms, now_ms, self.engine.stale_after_ms()),
            own_ms,
            record_ms,
        }
    }

    /// The position and the time of a record.
    fn facts(
        &self,
        source: usize,
        offset: i64,
        record_time: Option<i64>,
        event: Option<&Event<'_>>,
        now_ms: i64,
    ) -> RecordFacts {
        let own_ms = event.and_then(|event| event.timestamp_ms);
        RecordFacts {
            source,
            offset,
            record_ms: event_time::record_time(record_time, own_ms, now_ms),
            replaying: self.completeness().is_replayed(source, offset),
        }
    }

    /// Publishes what a record led to, `latency_ms` after it was written.
    fn publish_decisions(&mut self, latency_ms: i64, outbox: &Outbox, counts: &mut Counts) {
        for decision in self.decisions.drain(..) {
            counts.decided(decision.event);
            if self.engine.completeness().is_caught_up() {
                counts.latency(latency_ms);
            }
            outbox.publish_decision(&decision, &self.batch);
        }
    }

    /// Counts a record that is no event, and that nobody has to keep.
    fn count_passed(facts: &RecordFacts, result: EventResult, counts: &mut Counts) {
        let result = if facts.replaying {
            EventResult::Replayed
        } else {
            result
        };
        counts.handled(facts.source, result);
    }

    /// Publishes a record that could not be read to the rejected topic.
    fn reject(
        &mut self,
        facts: &RecordFacts,
        record: &BatchRecord<'_>,
        reject: &Reject,
        now_ms: i64,
        outbox: &Outbox,
        counts: &mut Counts,
    ) {
        self.count_reject(facts, record, reject, None, now_ms, counts);
        if facts.replaying {
            counts.handled(facts.source, EventResult::Replayed);
            return;
        }
        let read_from = Coordinates {
            topic: counts.source(facts.source).to_owned(),
            partition: self.partition,
            offset: facts.offset,
        };
        counts.rejected(facts.source, reject, &read_from);
        let rejected = reject_record(reject, &read_from, record.key(), record.value());
        outbox.publish_reject(rejected, &self.batch);
    }

    /// Counts a rejected record as one of its site: the one that is its key, or the one that could
    /// be read in it.
    fn count_reject(
        &mut self,
        facts: &RecordFacts,
        record: &BatchRecord<'_>,
        reject: &Reject,
        original: Option<&RejectedOriginal>,
        now_ms: i64,
        counts: &mut Counts,
    ) {
        let key = record.key().and_then(|key| std::str::from_utf8(key).ok());
        let by_key = key.filter(|key| self.engine.is_registered(key));
        // The key tells whose record it is, but for what `route` could give none. A site that
        // another partition holds has no state here.
        let readable = original.and(reject.site_id.as_deref());
        let site_id = by_key.or(readable);
        self.engine.handle_reject(site_id, facts, original, now_ms);
        self.count_withheld(counts);
    }
}

/// Time of the record that `route` rejected, if it had one.
fn rejected_at<T>(event: &Result<T, &NotAnEvent>) -> Option<i64> {
    match event {
        Err(NotAnEvent::RejectedBefore(_, original)) => original.record_ms,
        _ => None,
    }
}

/// Topic, partition and offset of the record that an event was routed from, if it was.
fn original(event: &Event<'_>, record: &BatchRecord<'_>) -> Option<String> {
    event.routed.and_then(|_| original_of(&record.headers()))
}

/// Time of a record, or of the one it was routed from, if it has one.
fn time_of(record: &BatchRecord<'_>, event: Option<&Event<'_>>) -> Option<i64> {
    let routed = event.and_then(|event| event.routed);
    routed.map_or(record.timestamp_ms(), |routed| routed.record_ms)
}

/// Reason to reject an event of a log that lies too far after what was read before.
fn too_far_ahead(site_id: &str) -> Reject {
    Reject {
        reason: RejectReason::BadField,
        field: Some("timestamp"),
        detail: "`timestamp` is more than 400 days after the latest of its partition, and would end the windows of \
                 every site"
            .to_owned(),
        site_id: Some(site_id.to_owned()),
    }
}
