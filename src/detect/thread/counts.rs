//! Counters of a detector thread: plain numbers that are added to the metrics once a batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::SecondsFormat;

use crate::clock;
use crate::detect::engine::Withheld;
use crate::detect::engine::stats::Counters;
use crate::dispatch::record::Coordinates;
use crate::domain::event::{Event, EventResult, EventType, WrongTimeUnit};
use crate::domain::reject::Reject;
use crate::domain::time::from_ms;
use crate::telemetry::Metrics;
use crate::telemetry::throttle::Throttle;
use crate::telemetry::words::BoundedMap;
use crate::telemetry::words::SuppressReason;

/// Counters and throttled log lines of one thread.
#[derive(Debug)]
pub(crate) struct Counts {
    sources: Vec<String>,
    /// By source and result, since the last flush.
    handled: Vec<[u64; EventResult::ALL.len()]>,
    latencies_ms: Vec<i64>,
    metrics: Arc<Metrics>,
    rejects: Throttle,
    stale: Throttle,
    stale_events: Throttle,
    missed: Throttle,
    skewed: Throttle,
    wrong_units: Throttle,
    /// By source, so that a notice about one source does not suppress one about another.
    miskeyed: Vec<Throttle>,
    notices: BTreeMap<usize, String>,
    stale_notices: BTreeMap<usize, String>,
}

impl Counts {
    /// Counters of these source topics, all zero.
    pub(crate) fn new(sources: Vec<String>, metrics: Arc<Metrics>) -> Self {
        Self {
            handled: vec![[0; EventResult::ALL.len()]; sources.len()],
            miskeyed: sources.iter().map(|_| Throttle::default()).collect(),
            sources,
            latencies_ms: Vec::new(),
            metrics,
            rejects: Throttle::default(),
            stale: Throttle::default(),
            stale_events: Throttle::default(),
            stale_notices: BTreeMap::new(),
            missed: Throttle::default(),
            skewed: Throttle::default(),
            wrong_units: Throttle::default(),
            notices: BTreeMap::new(),
        }
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
        if let Some(suppressed) = self.rejects.admit(clock::monotonic()) {
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
        if let Some(suppressed) = self.miskeyed[source].admit(clock::monotonic()) {
            let key = describe_key(key, event);
            let site_id = &event.site_id;
            let text = format!(
                "{topic} is not keyed by site: partition {partition}, offset {offset} has {key} for site \
                 `{site_id}`. A site's events must lie in one partition: let the producer use the site's id as \
                 key, with the murmur2 partitioner (librdkafka: partitioner=murmur2_random), or set keyed = false on \
                 the source, so that the role `route` keys its records"
            );
            tracing::warn!(topic, partition, offset, suppressed, "{text}");
            self.notices.insert(source, text);
        }
    }

    /// Counts a notification that was decided and is not sent.
    pub(crate) fn withheld(&mut self, withheld: &Withheld, partition: i32) {
        let labels = [withheld.event.as_str(), withheld.reason.as_str()];
        self.metrics.suppressed.with_label_values(&labels).inc();
        let event = withheld.event.as_str();
        let site_id = withheld.site_id.as_str();
        if withheld.reason == SuppressReason::Stale
            && let Some(suppressed) = self.stale.admit(clock::monotonic())
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

    /// Reports an event that lies too far in the past to lead to notifications.
    pub(crate) fn stale_event(&mut self, source: usize, partition: i32, offset: i64, record_ms: i64) {
        if let Some(suppressed) = self.stale_events.admit(clock::monotonic()) {
            let topic = &self.sources[source];
            let at = from_ms(record_ms).to_rfc3339_opts(SecondsFormat::Secs, true);
            let text = format!(
                "{topic} has events too far in the past to be notified (detect.stale_after): the record at partition \
                 {partition}, offset {offset} has the time {at}. A backlog is read, or the producer does not set the \
                 records' time to the present in milliseconds"
            );
            tracing::warn!(topic, partition, offset, suppressed, "{text}");
            self.stale_notices.insert(source, text);
        }
    }

    /// Counts an event whose time was written in another unit than milliseconds.
    pub(crate) fn wrong_unit(&mut self, source: usize, partition: i32, offset: i64, unit: WrongTimeUnit) {
        let topic = &self.sources[source];
        self.metrics.clock_skew.with_label_values(&[topic]).inc();
        if let Some(suppressed) = self.wrong_units.admit(clock::monotonic()) {
            tracing::warn!(
                topic,
                partition,
                offset,
                unit = unit.as_str(),
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
        if let Some(suppressed) = self.missed.admit(clock::monotonic()) {
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

    /// Notices for operators on `/readyz`, each with the source topic that it is about.
    pub(crate) fn take_notices(&mut self) -> Vec<(&str, String)> {
        let notices = std::mem::take(&mut self.notices);
        notices
            .into_iter()
            .map(|(source, text)| (&*self.sources[source], text))
            .collect()
    }

    /// Notices about sources with events too far in the past.
    pub(crate) fn take_stale_notices(&mut self) -> Vec<(&str, String)> {
        let notices = std::mem::take(&mut self.stale_notices);
        notices
            .into_iter()
            .map(|(source, text)| (&*self.sources[source], text))
            .collect()
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
        for (source, count) in self.sources.iter().zip(counters.clock_skew) {
            self.metrics.clock_skew.with_label_values(&[source]).inc_by(count);
            if count > 0
                && let Some(suppressed) = self.skewed.admit(clock::monotonic())
            {
                tracing::warn!(
                    topic = source,
                    events = count,
                    suppressed,
                    "events are more than a day older than their records by their own timestamps, and count at \
                     the records' time; for events of the past set clock = \"log\" on the source"
                );
            }
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
mod tests {
    use super::*;
    use crate::detect::tests::fixtures::view;
    use crate::telemetry::metrics::Labels;

    fn counts() -> Counts {
        let metrics = Arc::new(Metrics::new(&Labels::default()));
        Counts::new(vec!["one".to_owned(), "two".to_owned()], metrics)
    }

    #[test]
    fn each_result_is_counted_at_its_own_index() {
        for (index, result) in EventResult::ALL.into_iter().enumerate() {
            assert_eq!(result as usize, index);
        }
    }

    #[test]
    fn counters_of_an_engine_are_shown_by_source_and_by_map() {
        let mut counts = counts();
        let counters = Counters {
            evicted_visitors: 1,
            evicted_sources: 2,
            evicted_pages: 3,
            evicted_names: 4,
            evicted_history: 5,
            evicted_rows: 6,
            clock_skew: vec![4, 5],
        };
        counts.add_engine_counters(counters.clone());
        counts.add_engine_counters(counters);
        let metrics = &counts.metrics;
        let evicted = |map: BoundedMap| metrics.evictions.with_label_values(&[map.as_str()]).get();
        assert_eq!(
            [BoundedMap::Visitors, BoundedMap::Sources, BoundedMap::Pages].map(evicted),
            [2, 4, 6],
            "each time the counts since the last"
        );
        let skew = |source| metrics.clock_skew.with_label_values(&[source]).get();
        assert_eq!(["one", "two"].map(skew), [8, 10]);
    }

    #[test]
    fn a_key_that_is_a_visitors_id_is_not_shown() {
        let event = view("a", "jane", 1);
        assert_eq!(
            describe_key(Some(b"jane"), &event),
            "the event's visitor_id as key"
        );
        assert_eq!(describe_key(Some(b"eu-west"), &event), "key `eu-west`");
        assert_eq!(describe_key(None, &event), "no key");
        let long = [b'x'; 1_000];
        assert!(describe_key(Some(&long), &event).len() < 80);
    }

    #[test]
    fn each_mis_keyed_source_has_a_notice() {
        let mut counts = counts();
        for source in [0, 1, 0] {
            counts.miskeyed(source, 3, 17, Some(b"jane"), &view("a", "jane", 1));
        }
        let notices = counts.take_notices();
        assert_eq!(
            notices.iter().map(|(topic, _)| *topic).collect::<Vec<_>>(),
            ["one", "two"]
        );
        assert!(
            notices
                .iter()
                .all(|(topic, text)| text.starts_with(topic) && !text.contains("jane"))
        );
        assert_eq!(counts.take_notices(), []);
    }

    #[test]
    fn times_in_another_unit_are_counted_by_source() {
        let mut counts = counts();
        for unit in WrongTimeUnit::ALL {
            counts.wrong_unit(1, 3, 17, unit);
        }
        let skew = |source| counts.metrics.clock_skew.with_label_values(&[source]).get();
        assert_eq!(["one", "two"].map(skew), [0, 3]);
    }

    #[test]
    fn events_too_far_in_the_past_make_a_notice_of_their_source() {
        let mut counts = counts();
        counts.stale_event(1, 3, 17, 1_764_300);
        let notices = counts.take_stale_notices();
        assert_eq!(notices.len(), 1);
        let (topic, text) = &notices[0];
        assert!(
            *topic == "two"
                && text.contains("partition 3, offset 17")
                && text.contains("1970-01-01T00:29:24Z")
        );
        assert_eq!(counts.take_stale_notices(), []);
    }

    #[test]
    fn withheld_notifications_are_counted_by_type_and_reason() {
        let mut counts = counts();
        for reason in [
            SuppressReason::Stale,
            SuppressReason::Stale,
            SuppressReason::MinInterval,
        ] {
            let withheld = Withheld {
                site_id: "a".parse().expect("a site id"),
                event: EventType::VisitorSpike,
                reason,
            };
            counts.withheld(&withheld, 3);
        }
        for (reason, count) in [("stale", 2), ("min_interval", 1)] {
            let labels = ["visitor_spike", reason];
            assert_eq!(counts.metrics.suppressed.with_label_values(&labels).get(), count);
        }
    }
}
