//! Counters of a detector thread: plain numbers that are added to the metrics once a batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::SecondsFormat;

use crate::clock;
use crate::detect::engine::Withheld;
use crate::detect::engine::event_time::StaleCause;
use crate::detect::engine::stats::Counters;
use crate::dispatch::record::Coordinates;
use crate::domain::event::{Event, EventResult, EventType, WrongTimeUnit};
use crate::domain::reject::Reject;
use crate::domain::time::from_ms;
use crate::telemetry::Metrics;
use crate::telemetry::throttle::{KeyedThrottles, Throttle};
use crate::telemetry::words::{BoundedMap, SuppressReason};

/// Counters and throttled log lines of one thread.
#[derive(Debug)]
pub(crate) struct Counts {
    sources: Vec<String>,
    /// By source and result, since the last flush.
    handled: Vec<[u64; EventResult::ALL.len()]>,
    latencies_ms: Vec<i64>,
    metrics: Arc<Metrics>,
    /// This thread's lines. They keep it from asking for those of all threads at every record.
    own_lines: BTreeMap<CountedLine, Throttle>,
    lines: Arc<SharedLines>,
    /// For operators, by key.
    notices: BTreeMap<String, String>,
}

/// One kind of log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum CountedLine {
    /// One about a source, by its number: it suppresses none about another.
    Source(usize, LineCause),
    /// A notification that is withheld. Sites are too many for one each.
    StaleNotification,
}

/// The cause of a line about a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum LineCause {
    Rejected,
    Miskeyed,
    Stale(StaleCause),
    Missed,
    Skewed,
    WrongUnit,
}

/// Throttles of the lines of all threads of a process, which read the same sources.
#[derive(Debug)]
pub struct SharedLines(KeyedThrottles<CountedLine>);

impl Default for SharedLines {
    fn default() -> Self {
        Self(KeyedThrottles::new())
    }
}

/// An event that lies too far in the past to lead to notifications.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StaleEvent {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) cause: StaleCause,
    /// Its own time, in milliseconds since the Unix epoch.
    pub(crate) own_ms: Option<i64>,
    /// That of its record.
    pub(crate) record_ms: Option<i64>,
}

impl Counts {
    /// Counters of these source topics, all zero.
    pub(crate) fn new(sources: Vec<String>, metrics: Arc<Metrics>, lines: Arc<SharedLines>) -> Self {
        Self {
            handled: vec![[0; EventResult::ALL.len()]; sources.len()],
            sources,
            latencies_ms: Vec::new(),
            metrics,
            own_lines: BTreeMap::new(),
            lines,
            notices: BTreeMap::new(),
        }
    }

    /// Admits a line once a second, whichever thread it comes from: the number of those that were
    /// left out before.
    fn admit(&mut self, line: CountedLine) -> Option<u64> {
        let own = self.own_lines.entry(line).or_default();
        let left_out = own.admit(clock::monotonic())?;
        self.lines.0.admit(line, left_out)
    }

    /// Name of a source topic.
    pub(crate) fn source(&self, source: usize) -> &str {
        &self.sources[source]
    }

    /// Counts a record that was handled.
    pub(crate) fn handled(&mut self, source: usize, handled: EventResult) {
        self.handled[source][handled as usize] += 1;
    }

    /// Counts a record that could not be read.
    pub(crate) fn rejected(&mut self, source: usize, reject: &Reject, read_from: &Coordinates) {
        let topic = &self.sources[source];
        self.metrics
            .events
            .with_label_values(&[topic.as_str(), EventResult::Rejected.as_str()])
            .inc();
        self.metrics
            .rejected_records
            .with_label_values(&[topic.as_str(), reject.reason.as_str()])
            .inc();
        if let Some(suppressed) = self.admit(CountedLine::Source(source, LineCause::Rejected)) {
            let topic = &self.sources[source];
            tracing::warn!(
                topic,
                partition = read_from.partition,
                offset = read_from.offset,
                outcome = reject.reason.as_str(),
                error = reject.detail,
                suppressed,
                "a source record was rejected"
            );
        }
    }

    /// Counts a record in another partition than the one its site's id is hashed to.
    pub(crate) fn miskeyed(
        &mut self,
        source: usize,
        partition: i32,
        offset: i64,
        key: Option<&[u8]>,
        event: &Event<'_>,
    ) {
        let topic = &self.sources[source];
        self.metrics.miskeyed_records.with_label_values(&[topic]).inc();
        if let Some(suppressed) = self.admit(CountedLine::Source(source, LineCause::Miskeyed)) {
            let topic = &self.sources[source];
            let key = describe_key(key, event);
            let site_id = &event.site_id;
            let text = format!(
                "{topic} is not keyed by site: partition {partition}, offset {offset} has {key} for site \
                 `{site_id}`. A site's events must lie in one partition: each partition counts for itself, so \
                 counts are too low and alerts come more than once. Let the producer use the site's id as key, with \
                 the murmur2 partitioner (librdkafka: partitioner=murmur2_random), or set keyed = false on the \
                 source, so that the role `route` keys its records"
            );
            tracing::warn!(topic, partition, offset, suppressed, "{text}");
            self.notices.insert(topic.clone(), text);
        }
    }

    /// Counts a notification that was decided and is not sent.
    pub(crate) fn withheld(&mut self, withheld: &Withheld, partition: i32) {
        let labels = [withheld.event.as_str(), withheld.reason.as_str()];
        self.metrics.suppressed.with_label_values(&labels).inc();
        let event = withheld.event.as_str();
        let site_id = withheld.site_id.as_str();
        if withheld.reason == SuppressReason::Stale
            && let Some(suppressed) = self.admit(CountedLine::StaleNotification)
        {
            tracing::warn!(
                site.id = site_id,
                event,
                partition,
                suppressed,
                "a notification lies too far in the past (detect.stale_after) and is not sent"
            );
        }
    }

    /// Reports an event that lies too far in the past to lead to notifications. `original` is asked
    /// for the record that it was routed from.
    pub(crate) fn stale_event(
        &mut self,
        source: usize,
        event: &StaleEvent,
        original: impl FnOnce() -> Option<String>,
    ) {
        if let Some(suppressed) = self.admit(CountedLine::Source(source, LineCause::Stale(event.cause))) {
            let topic = &self.sources[source];
            let text = format!(
                "{topic} has events too far in the past to be notified (detect.stale_after): {}",
                event.in_words(original())
            );
            let (partition, offset) = (event.partition, event.offset);
            tracing::warn!(topic, partition, offset, suppressed, "{text}");
            self.notices
                .insert(format!("{topic} stale {}", event.cause), text);
        }
    }

    /// Counts an event whose time was written in another unit than milliseconds. `original` is
    /// asked for the record that it was routed from.
    pub(crate) fn wrong_unit(
        &mut self,
        source: usize,
        partition: i32,
        offset: i64,
        unit: WrongTimeUnit,
        original: impl FnOnce() -> Option<String>,
    ) {
        let topic = &self.sources[source];
        self.metrics.clock_skew.with_label_values(&[topic]).inc();
        if let Some(suppressed) = self.admit(CountedLine::Source(source, LineCause::WrongUnit)) {
            let topic = &self.sources[source];
            tracing::warn!(
                topic,
                partition,
                offset,
                unit = unit.as_str(),
                original = original(),
                suppressed,
                "an event's timestamp is in another unit than milliseconds, so the event counts at its record's time"
            );
        }
    }

    /// Counts records that were removed before they were read.
    pub(crate) fn missed(&mut self, source: usize, partition: i32, offset: i64, missed: u64) {
        let topic = &self.sources[source];
        self.metrics
            .records_missed
            .with_label_values(&[topic])
            .inc_by(missed);
        if let Some(suppressed) = self.admit(CountedLine::Source(source, LineCause::Missed)) {
            let topic = &self.sources[source];
            tracing::error!(
                topic,
                partition,
                offset,
                missed,
                suppressed,
                "records were removed before they were read"
            );
        }
    }

    /// Counts a notification that was decided.
    pub(crate) fn decided(&mut self, event: EventType) {
        self.metrics
            .notifications
            .with_label_values(&[event.as_str()])
            .inc();
    }

    /// Adds a time in milliseconds from a record to its decision.
    pub(crate) fn latency(&mut self, ms: i64) {
        self.latencies_ms.push(ms);
    }

    /// Adds the batch's counts to the metrics.
    pub(crate) fn flush(&mut self) {
        for (source, counts) in self.sources.iter().zip(&mut self.handled) {
            for (result, count) in EventResult::ALL.iter().zip(counts) {
                if *count > 0 {
                    self.metrics
                        .events
                        .with_label_values(&[source.as_str(), result.as_str()])
                        .inc_by(std::mem::take(count));
                }
            }
        }
        for ms in self.latencies_ms.drain(..) {
            self.metrics.detect_latency.observe(ms.max(0) as f64 / 1_000.0);
        }
    }

    /// Takes the notices for operators on `/readyz`, by key.
    pub(crate) fn take_notices(&mut self) -> BTreeMap<String, String> {
        std::mem::take(&mut self.notices)
    }

    /// Adds an engine's counters to the metrics.
    pub(crate) fn add_engine_counters(&mut self, counters: Counters) {
        for (map, count) in [
            (BoundedMap::Visitors, counters.evicted_visitors),
            (BoundedMap::Sources, counters.evicted_sources),
            (BoundedMap::Pages, counters.evicted_pages),
            (BoundedMap::Names, counters.evicted_names),
            (BoundedMap::History, counters.evicted_history),
            (BoundedMap::EpisodeRows, counters.evicted_rows),
        ] {
            self.metrics
                .evictions
                .with_label_values(&[map.as_str()])
                .inc_by(count);
        }
        for (source, count) in counters.clock_skew.into_iter().enumerate() {
            let labels = [self.sources[source].as_str()];
            self.metrics.clock_skew.with_label_values(&labels).inc_by(count);
            if count > 0
                && let Some(suppressed) = self.admit(CountedLine::Source(source, LineCause::Skewed))
            {
                tracing::warn!(
                    topic = self.sources[source],
                    events = count,
                    suppressed,
                    "events are more than a day older than their records by their own timestamps, and count at \
                     the records' time; for events of the past set clock = \"log\" on the source"
                );
            }
        }
    }
}

impl StaleEvent {
    /// Says which event it is, and what in its times puts it into the past.
    fn in_words(&self, original: Option<String>) -> String {
        let from = original.map_or_else(String::new, |original| format!(", routed from {original},"));
        let place = format!("at partition {}, offset {}{from}", self.partition, self.offset);
        let shown = |ms: Option<i64>| {
            ms.map_or_else(
                || "none".to_owned(),
                |ms| from_ms(ms).to_rfc3339_opts(SecondsFormat::Secs, true),
            )
        };
        let (own, record) = (shown(self.own_ms), shown(self.record_ms));
        match self.cause {
            StaleCause::OwnTime => format!(
                "the event {place} has the timestamp {own}, and its record the time \
                 {record}. The producer sends it late, or its timestamps are not in UTC"
            ),
            StaleCause::RecordTime => format!(
                "the record {place} has the time {record}. A backlog is read, or the \
                 producer sets the records' time, and to the past"
            ),
            StaleCause::RecordUnit => format!(
                "the record {place} has the time {record}. The producer does not set \
                 the records' time in milliseconds"
            ),
        }
    }
}

/// Describes a record's key without showing a visitor's id, which many producers use as key.
fn describe_key(key: Option<&[u8]>, event: &Event<'_>) -> String {
    let is_visitor = |key| event.visitor_id.as_deref().is_some_and(|id| id.as_bytes() == key);
    match key {
        None => "no key".to_owned(),
        Some(key) if is_visitor(key) => "the event's visitor_id as key".to_owned(),
        Some(key) => format!("key `{}`", String::from_utf8_lossy(&key[..key.len().min(64)])),
    }
}

#[cfg(test)]
mod tests;
