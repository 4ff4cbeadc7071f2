//! Every metric, declared once: name, help, closed label sets, series present at zero.

use prometheus::core::Collector;
use prometheus::{
    CounterVec, Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use super::shares::Shares;
use super::words::{
    AttemptKind, BoundedMap, EventResult, Group, KafkaErrorKind, Phase, PostgresErrorKind, PostgresOp,
    ProcessRole, ReadyCheck, Rebalance, SuppressReason,
};
use crate::domain::attempt::{AttemptResult, Fault};
use crate::domain::delivery::{DeliveryStatus, FailureReason};
use crate::domain::event::EventType;
use crate::domain::reject::RejectReason;
use crate::domain::webhook::DisableReason;

/// Seconds from an event to what came of it.
const E: &[f64] = &[
    0.005, 0.015, 0.03, 0.06, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0,
];
/// Seconds on the network.
const N: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];
/// Seconds near by: Kafka, Postgres, lateness.
const L: &[f64] = &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

macro_rules! families {
    ($($(#[doc = $help:literal])+ $field:ident : $kind:ident $name:literal $([$($label:literal),*])? $({$buckets:expr})?;)*) => {
        /// All metrics of a process.
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            /// The parts that threads have in gauges they share.
            pub(crate) shares: Shares,
            $($(#[doc = $help])+ pub $field: $kind,)*
        }

        impl Metrics {
            fn declare() -> Self {
                let registry = Registry::new();
                $(let $field: $kind = families!(@new registry, $kind, $name, concat!($($help),+), [$($($label),*)?], [$($buckets)?]);)*
                Self { registry, shares: Shares::default(), $($field),* }
            }
        }
    };
    (@new $registry:ident, $kind:ident, $name:literal, $help:expr, $labels:tt, $buckets:tt) => {
        register(&$registry, families!(@metric $kind, concat!("bellwether_", $name), $help.trim(), $labels, $buckets))
    };
    (@metric IntCounter, $name:expr, $help:expr, [], []) => { IntCounter::new($name, $help) };
    (@metric IntGauge, $name:expr, $help:expr, [], []) => { IntGauge::new($name, $help) };
    (@metric Gauge, $name:expr, $help:expr, [], []) => { Gauge::new($name, $help) };
    (@metric Histogram, $name:expr, $help:expr, [], [$buckets:expr]) => {
        Histogram::with_opts(HistogramOpts::new($name, $help).buckets($buckets.to_vec()))
    };
    (@metric HistogramVec, $name:expr, $help:expr, [$($label:literal),*], [$buckets:expr]) => {
        HistogramVec::new(HistogramOpts::new($name, $help).buckets($buckets.to_vec()), &[$($label),*])
    };
    (@metric $kind:ident, $name:expr, $help:expr, [$($label:literal),*], []) => { $kind::new(Opts::new($name, $help), &[$($label),*]) };
}

families! {
    /// Source records read, by what became of them.
    events: IntCounterVec "events_total" ["source", "result"];
    /// Source records that could not be read, by reason.
    rejected_records: IntCounterVec "rejected_records_total" ["source", "reason"];
    /// Source records of a registered site that lie in another partition than their site's key says.
    miskeyed_records: IntCounterVec "miskeyed_records_total" ["source"];
    /// Source records whose timestamp was over 24 hours older than the record and was replaced.
    clock_skew: IntCounterVec "clock_skew_total" ["source"];
    /// Registered sites that hold state here.
    sites: IntGauge "sites";
    /// Visitors held here.
    visitors: IntGauge "visitors";
    /// Episodes under way here.
    episodes: IntGaugeVec "episodes" ["event"];
    /// Entries put out of a bounded map.
    evictions: IntCounterVec "evictions_total" ["map"];
    /// Notifications decided.
    notifications: IntCounterVec "notifications_total" ["event"];
    /// Notifications decided and not sent.
    suppressed: IntCounterVec "suppressed_total" ["event", "reason"];
    /// From the record's time to the decision, while caught up.
    detect_latency: Histogram "detect_latency_seconds" {E};
    /// Age of the oldest owned record that could be worked on now.
    consumer_behind: GaugeVec "consumer_behind_seconds" ["group", "topic"];
    /// Records between the committed offset and the log's end.
    consumer_lag: IntGaugeVec "consumer_lag_records" ["group", "topic"];
    /// Partitions owned here.
    consumer_partitions: IntGaugeVec "consumer_partitions" ["group"];
    /// Partitions the group as a whole should own.
    consumer_partitions_expected: IntGaugeVec "consumer_partitions_expected" ["group"];
    /// Offsets read and not complete.
    open_offsets: IntGaugeVec "open_offsets" ["group"];
    /// Offset commits that failed.
    commit_errors: IntCounterVec "commit_errors_total" ["group"];
    /// Rebalance events.
    rebalances: IntCounterVec "rebalances_total" ["group", "event"];
    /// From a revocation to the next record.
    rebalance_pause: HistogramVec "rebalance_pause_seconds" ["group"] {N};
    /// Records still to be read again before windows are complete.
    replay_remaining: IntGauge "replay_remaining_records";
    /// Records that retention removed before they were read.
    records_missed: IntCounterVec "records_missed_total" ["topic"];
    /// How long a topic keeps records; 0 is for ever.
    topic_retention: GaugeVec "topic_retention_seconds" ["topic"];
    /// When a role's threads last polled.
    last_poll: GaugeVec "last_poll_timestamp_seconds" ["role"];
    /// Consumer threads.
    threads: IntGaugeVec "threads" ["role"];
    /// Seconds that consumer threads were busy.
    thread_busy: CounterVec "thread_busy_seconds_total" ["role"];
    /// Errors of Kafka clients.
    kafka_errors: IntCounterVec "kafka_errors_total" ["kind"];
    /// From handing a record to the producer to its acknowledgement.
    produce: HistogramVec "produce_seconds" ["topic"] {L};
    /// Records that the brokers refused.
    produce_errors: IntCounterVec "produce_errors_total" ["topic"];
    /// Bytes waiting for acknowledgement.
    produce_queue_bytes: IntGauge "produce_queue_bytes";
    /// Records on Bellwether's own topics that could not be read.
    unreadable_records: IntCounterVec "unreadable_records_total" ["topic"];
    /// Records of a newer version that are held back.
    newer_records_held: IntGaugeVec "newer_records_held" ["topic"];
    /// Deliveries that ended.
    deliveries: IntCounterVec "deliveries_total" ["event", "status"];
    /// Deliveries that failed or were cancelled, by reason.
    delivery_failures: IntCounterVec "delivery_failures_total" ["reason"];
    /// Attempts made.
    attempts: IntCounterVec "attempts_total" ["result", "fault", "kind"];
    /// Duration of an attempt's phases.
    attempt_phases: HistogramVec "attempt_seconds" ["phase"] {N};
    /// From the delivery record's time to its first attempt.
    delivery_start: HistogramVec "delivery_start_seconds" ["waited"] {E};
    /// From when a retry was due to its attempt.
    retry_lateness: HistogramVec "retry_lateness_seconds" ["tier"] {L};
    /// Records published to tiers.
    retries_published: IntCounterVec "retries_published_total" ["tier"];
    /// Due times that were absurd and held at the largest sensible one.
    due_clamped: IntCounter "due_clamped_total";
    /// Attempts that may repeat one whose outcome was lost.
    possible_repeats: IntCounter "possible_repeats_total";
    /// Records published to the dead-letter topic.
    dead_letters: IntCounter "dead_letters_total";
    /// Webhooks disabled by Bellwether.
    webhooks_disabled: IntCounterVec "webhooks_disabled_total" ["reason"];
    /// Requests under way, by how their endpoint last did.
    in_flight: IntGaugeVec "in_flight" ["endpoint"];
    /// Requests that may be under way at once.
    in_flight_limit: IntGauge "in_flight_limit";
    /// Deliveries read and waiting for their request.
    queued: IntGauge "queued";
    /// How long deliveries waited for a place, by whose limit.
    queue_wait: HistogramVec "queue_wait_seconds" ["cause"] {N};
    /// Outcomes of requests not yet in Postgres.
    outcomes_unwritten: IntGauge "outcomes_unwritten";
    /// Age of the oldest of them.
    outcomes_unwritten_seconds: Gauge "outcomes_unwritten_seconds";
    /// Duration of operations on Postgres.
    postgres: HistogramVec "postgres_seconds" ["op"] {L};
    /// Operations on Postgres that failed.
    postgres_errors: IntCounterVec "postgres_errors_total" ["op", "kind"];
    /// Whether the last operation on Postgres succeeded.
    postgres_up: IntGauge "postgres_up";
    /// Connections to Postgres.
    postgres_connections: IntGaugeVec "postgres_connections" ["state"];
    /// Connections to Postgres that a process may keep.
    postgres_connections_max: IntGauge "postgres_connections_max";
    /// How long until new rows have no partition of their own.
    postgres_partition_horizon: Gauge "postgres_partition_horizon_seconds";
    /// Age of the configuration in force.
    config_age: Gauge "config_age_seconds";
    /// This machine's clock minus Postgres'.
    clock_offset: Gauge "clock_offset_seconds";
    /// Requests to the API.
    http_requests: IntCounterVec "http_requests_total" ["route", "status"];
    /// Duration of requests to the API.
    http_request_duration: HistogramVec "http_request_seconds" ["class"] {N};
    /// Requests with a missing or wrong token.
    auth_failures: IntCounter "auth_failures_total";
    /// Requests refused by a rate limit.
    rate_limited: IntCounterVec "rate_limited_total" ["kind"];
    /// Log lines at a level that asks for attention.
    log_events: IntCounterVec "log_events_total" ["level"];
    /// Whether a condition of readiness holds.
    ready: IntGaugeVec "ready" ["check"];
    /// Whether this process has a role.
    roles: IntGaugeVec "roles" ["role"];
    /// Memory this process may use; 0 is no limit.
    memory_limit: IntGauge "memory_limit_bytes";
    /// What is running.
    build_info: IntGaugeVec "build_info" ["version", "revision", "librdkafka"];
    /// Hash of the configuration that a fleet must share.
    config_info: IntGaugeVec "config_info" ["hash"];
}

fn register<T: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<T>) -> T {
    let metric = metric.expect("a metric's name and labels are literals of this file");
    registry
        .register(Box::new(metric.clone()))
        .expect("names in this file are distinct");
    metric
}

/// What the closed label sets depend on.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    /// Source topics.
    pub sources: Vec<String>,
    /// Delays of the tiers, such as `1s`.
    pub tiers: Vec<String>,
    /// Bellwether's topics that are written, tiers as `retry`.
    pub produced: Vec<String>,
    /// Pairs of group and topic that are read.
    pub consumed: Vec<(String, String)>,
}

impl Metrics {
    /// Declares every family and puts every series at zero.
    pub fn new(labels: &Labels) -> Self {
        let metrics = Self::declare();
        metrics.put_at_zero(labels);
        #[cfg(target_os = "linux")]
        {
            let process = prometheus::process_collector::ProcessCollector::for_self();
            metrics
                .registry
                .register(Box::new(process))
                .expect("its names are its own");
        }
        metrics
    }

    fn put_at_zero(&self, labels: &Labels) {
        for source in &labels.sources {
            for result in EventResult::WORDS {
                self.events.with_label_values(&[source.as_str(), result]);
            }
            for reason in RejectReason::WORDS {
                self.rejected_records
                    .with_label_values(&[source.as_str(), reason]);
            }
            self.miskeyed_records.with_label_values(&[source]);
            self.clock_skew.with_label_values(&[source]);
            self.records_missed.with_label_values(&[source]);
            self.topic_retention.with_label_values(&[source]);
        }
        for event in EventType::ALL {
            self.notifications.with_label_values(&[event.as_str()]);
            for reason in SuppressReason::WORDS {
                self.suppressed.with_label_values(&[event.as_str(), reason]);
            }
            for status in [
                DeliveryStatus::Delivered,
                DeliveryStatus::Failed,
                DeliveryStatus::Cancelled,
            ] {
                self.deliveries
                    .with_label_values(&[event.as_str(), status.as_str()]);
            }
        }
        self.episodes
            .with_label_values(&[EventType::VisitorSpike.as_str()]);
        for map in BoundedMap::WORDS {
            self.evictions.with_label_values(&[map]);
        }
        for group in Group::WORDS {
            self.consumer_partitions.with_label_values(&[group]);
            self.consumer_partitions_expected.with_label_values(&[group]);
            self.open_offsets.with_label_values(&[group]);
            self.commit_errors.with_label_values(&[group]);
            self.rebalance_pause.with_label_values(&[group]);
            for event in Rebalance::WORDS {
                self.rebalances.with_label_values(&[group, event]);
            }
        }
        for (group, topic) in &labels.consumed {
            self.consumer_behind.with_label_values(&[group, topic]);
            self.consumer_lag.with_label_values(&[group, topic]);
            self.unreadable_records.with_label_values(&[topic]);
            self.newer_records_held.with_label_values(&[topic]);
            self.topic_retention.with_label_values(&[topic]);
            self.records_missed.with_label_values(&[topic]);
        }
        for role in ProcessRole::WORDS {
            self.roles.with_label_values(&[role]);
        }
        for kind in KafkaErrorKind::WORDS {
            self.kafka_errors.with_label_values(&[kind]);
        }
        for topic in &labels.produced {
            self.produce.with_label_values(&[topic]);
            self.produce_errors.with_label_values(&[topic]);
        }
        for reason in FailureReason::ALL {
            self.delivery_failures.with_label_values(&[reason.as_str()]);
        }
        for result in AttemptResult::WORDS {
            for fault in Fault::WORDS {
                for kind in AttemptKind::WORDS {
                    self.attempts.with_label_values(&[result, fault, kind]);
                }
            }
        }
        for phase in Phase::WORDS {
            self.attempt_phases.with_label_values(&[phase]);
        }
        for waited in ["no", "endpoint"] {
            self.delivery_start.with_label_values(&[waited]);
        }
        for tier in &labels.tiers {
            self.retry_lateness.with_label_values(&[tier]);
            self.retries_published.with_label_values(&[tier]);
        }
        for reason in DisableReason::WORDS {
            self.webhooks_disabled.with_label_values(&[reason]);
        }
        for endpoint in ["healthy", "timing_out"] {
            self.in_flight.with_label_values(&[endpoint]);
        }
        self.queue_wait.with_label_values(&["process"]);
        for op in PostgresOp::WORDS {
            self.postgres.with_label_values(&[op]);
            for kind in PostgresErrorKind::WORDS {
                self.postgres_errors.with_label_values(&[op, kind]);
            }
        }
        for state in ["idle", "used"] {
            self.postgres_connections.with_label_values(&[state]);
        }
        for class in ["read", "write"] {
            self.http_request_duration.with_label_values(&[class]);
        }
        for kind in ["token", "login"] {
            self.rate_limited.with_label_values(&[kind]);
        }
        for level in ["warn", "error"] {
            self.log_events.with_label_values(&[level]);
        }
        for check in ReadyCheck::WORDS {
            self.ready.with_label_values(&[check]);
        }
    }

    /// The text exposition format, version 0.0.4.
    pub(crate) fn render(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 * 1024);
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            tracing::error!(error = %error, "the metrics could not be rendered");
        }
        out
    }
}
