//! What a detector thread counts: gathered in plain numbers, given to the metrics once a batch.

use std::sync::Arc;

use super::contract::{Handled, Stats};
use crate::clock;
use crate::dispatch::record::Coordinates;
use crate::domain::event::EventType;
use crate::ingest::reject::Reject;
use crate::telemetry::Metrics;
use crate::telemetry::throttle::Throttle;

const HANDLED: [(Handled, &str); 4] = [
    (Handled::Counted, "counted"),
    (Handled::Unregistered, "unregistered"),
    (Handled::Stale, "stale"),
    (Handled::Replayed, "replayed"),
];

/// Counters of one thread.
#[derive(Debug)]
pub struct Counts {
    sources: Vec<String>,
    handled: Vec<[u64; HANDLED.len()]>,
    latencies_ms: Vec<i64>,
    metrics: Arc<Metrics>,
    rejects: Throttle,
    miskeyed: Throttle,
    notices: Vec<String>,
    /// What was told to the metrics of the engines' ever-growing counts.
    shown: std::sync::Mutex<Stats>,
}

impl Counts {
    /// Counts of these source topics.
    pub fn new(sources: Vec<String>, metrics: Arc<Metrics>) -> Self {
        Self {
            handled: vec![[0; HANDLED.len()]; sources.len()],
            sources,
            latencies_ms: Vec::new(),
            metrics,
            rejects: Throttle::default(),
            miskeyed: Throttle::default(),
            notices: Vec::new(),
            shown: std::sync::Mutex::default(),
        }
    }

    /// The topic's name.
    pub fn source(&self, source: usize) -> &str {
        &self.sources[source]
    }

    /// A record was handled.
    pub fn handled(&mut self, source: usize, handled: Handled) {
        let place = match handled {
            Handled::Counted => 0,
            Handled::Unregistered => 1,
            Handled::Stale => 2,
            Handled::Replayed => 3,
        };
        self.handled[source][place] += 1;
    }

    /// A record could not be read.
    pub fn rejected(&mut self, source: usize, reject: &Reject, read_from: &Coordinates) {
        let topic = &self.sources[source];
        self.metrics
            .events
            .with_label_values(&[topic.as_str(), "rejected"])
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

    /// A record lies in another partition than its site's id says.
    pub fn miskeyed(
        &mut self,
        source: usize,
        partition: i32,
        offset: i64,
        key: Option<&[u8]>,
        site_id: &str,
    ) {
        let topic = &self.sources[source];
        self.metrics.miskeyed_records.with_label_values(&[topic]).inc();
        if let Some(suppressed) = self.miskeyed.admit(clock::monotonic()) {
            let key = key.map_or_else(
                || "no key".to_owned(),
                |key| format!("key `{}`", String::from_utf8_lossy(&key[..key.len().min(64)])),
            );
            let text = format!(
                "{topic} is not keyed by site: partition {partition}, offset {offset} has {key} for site `{site_id}`. A site's events must lie in one partition: \
                 let the producer use the site's id as key, with the murmur2 partitioner (librdkafka: partitioner=murmur2_random)"
            );
            tracing::warn!(topic, partition, offset, suppressed, "{text}");
            if self.notices.is_empty() {
                self.notices.push(text);
            }
        }
    }

    /// A notification was decided.
    pub fn decided(&mut self, event: EventType) {
        self.metrics
            .notifications
            .with_label_values(&[event.as_str()])
            .inc();
    }

    /// From a record's time to its decision.
    pub fn latency(&mut self, ms: i64) {
        self.latencies_ms.push(ms);
    }

    /// Gives the batch's counts to the metrics.
    pub fn flush(&mut self) {
        for (source, counts) in self.sources.iter().zip(&mut self.handled) {
            for ((_, result), count) in HANDLED.iter().zip(counts) {
                if *count > 0 {
                    self.metrics
                        .events
                        .with_label_values(&[source.as_str(), result])
                        .inc_by(std::mem::take(count));
                }
            }
        }
        for ms in self.latencies_ms.drain(..) {
            self.metrics.detect_latency.observe(ms.max(0) as f64 / 1_000.0);
        }
    }

    /// What an operator should read on `/readyz`.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Shows what the engines have counted since the last time. Engines that went take their counts with them.
    pub fn show(&self, now: Stats) {
        let mut shown = self
            .shown
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let metrics = &self.metrics;
        let evictions = |map: &str, now: u64, before: u64| {
            metrics
                .evictions
                .with_label_values(&[map])
                .inc_by(now.saturating_sub(before))
        };
        evictions("visitors", now.evicted_visitors, shown.evicted_visitors);
        evictions("pages", now.evicted_labels, shown.evicted_labels);
        let stale = |event: EventType, now: u64, before: u64| {
            metrics
                .suppressed
                .with_label_values(&[event.as_str(), "stale"])
                .inc_by(now.saturating_sub(before));
        };
        stale(EventType::GoalCompletion, now.stale_goals, shown.stale_goals);
        stale(
            EventType::CustomEvent,
            now.stale_custom_events,
            shown.stale_custom_events,
        );
        stale(EventType::VisitorSpike, now.stale_spikes, shown.stale_spikes);
        if let Some(source) = self.sources.first() {
            metrics
                .clock_skew
                .with_label_values(&[source])
                .inc_by(now.clock_skew.saturating_sub(shown.clock_skew));
        }
        *shown = now;
    }
}
