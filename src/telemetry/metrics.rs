//! Every metric, declared once: name, help, closed label sets, series present at zero.

use prometheus::core::Collector;
use prometheus::{
    CounterVec, Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use super::thread_gauges::ThreadGauges;

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
    ($($(#[doc = $help:literal])+ $field:ident : $kind:ident $name:literal $([$($label:literal),*])? $({$buckets:expr})?
        => $look:literal;)*) => {
        /// All families, for the documents: name, kind, labels, help, and when to look.
        #[cfg(test)]
        const DECLARED: &[(&str, &str, &[&str], &str, &str)] = &[$((
            concat!("bellwether_", $name),
            stringify!($kind),
            &[$($($label),*)?],
            concat!($($help),+),
            $look,
        )),*];

        /// All metrics of a process.
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            /// Parts of the gauges that several threads set.
            pub(crate) thread_gauges: ThreadGauges,
            $($(#[doc = $help])+ pub $field: $kind,)*
        }

        impl Metrics {
            fn declare() -> Self {
                let registry = Registry::new();
                $(let $field: $kind = families!(@new registry, $kind, $name, concat!($($help),+), [$($($label),*)?], [$($buckets)?]);)*
                Self { registry, thread_gauges: ThreadGauges::default(), $($field),* }
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
    /// Source records read, by result. An event of a source that is not keyed by site is read
    /// twice: `route` counts it under its source, and the detector under the topic `events`, where
    /// alone it is `stale` or `replayed`. Sums over all sources leave that topic out.
    events: IntCounterVec "events_total" ["source", "result"]
        => "Nothing arrives: `counted` stands still. Much `unregistered` is normal where many sites have no webhook.";
    /// Source records that could not be read, by reason.
    rejected_records: IntCounterVec "rejected_records_total" ["source", "reason"]
        => "A producer changed its format: the reason says what to look for, `bellwether sources inspect` shows records.";
    /// Source records in another partition than the key of their site gives.
    miskeyed_records: IntCounterVec "miskeyed_records_total" ["source"]
        => "Above zero, a producer does not key its records by site: counts of such sites are split over partitions.";
    /// Source records whose own timestamp was replaced by the record's time because it was more
    /// than 24 hours older, or in another unit than milliseconds. Those of sources that are not
    /// keyed by site count under the topic `events`.
    clock_skew: IntCounterVec "clock_skew_total" ["source"]
        => "Above zero, a producer sends wrong or very late timestamps: the log names the source and the unit, `bellwether sources inspect` shows events.";
    /// 1 while a source delivers no record though it should; drops and silences wait then.
    source_silent: IntGaugeVec "source_silent" ["source"]
        => "At 1, the producer seems dead: no record of any site, where at least 14 were expected.";
    /// Registered sites with state in this process.
    sites: IntGauge "sites"
        => "With `visitors`, how much the detector holds.";
    /// Visitors held in the windows of this process.
    visitors: IntGauge "visitors"
        => "The detector grows: this times 24 to 40 bytes is what its windows need.";
    /// Episodes going on in this process, by event type.
    episodes: IntGaugeVec "episodes" ["event"]
        => "How many alerts are going on now.";
    /// Entries that found no room in a bounded map of the detector.
    evictions: IntCounterVec "evictions_total" ["map"]
        => "Above zero, a site is beyond a bound and its counts or top lists are incomplete; of `history` rows are lost, of `episode_rows` a crash would lose some.";
    /// Notifications decided, by event type.
    notifications: IntCounterVec "notifications_total" ["event"]
        => "How much is decided; compare with `deliveries_total`.";
    /// Notifications decided and not sent, by reason.
    suppressed: IntCounterVec "suppressed_total" ["event", "reason"]
        => "Somebody misses a notification: it was decided and withheld for this reason.";
    /// Seconds from a source record's time to the decision on it, measured while the detector has
    /// caught up.
    detect_latency: Histogram "detect_latency_seconds" {E}
        => "Notifications come late although deliveries start at once.";
    /// Age in seconds of the oldest record of an owned partition that could be worked on now.
    consumer_behind: GaugeVec "consumer_behind_seconds" ["group", "topic"]
        => "The first figure to look at when anything is late.";
    /// Records between the committed offset and the end of the partition, over owned partitions.
    consumer_lag: IntGaugeVec "consumer_lag_records" ["group", "topic"]
        => "For capacity only: records held for later count as lag. Page on `consumer_behind_seconds`.";
    /// Partitions owned by this process.
    consumer_partitions: IntGaugeVec "consumer_partitions" ["group"]
        => "Compare with `consumer_partitions_expected`: the sum over all replicas must reach it.";
    /// Partitions that the group as a whole should own.
    consumer_partitions_expected: IntGaugeVec "consumer_partitions_expected" ["group"]
        => "See `consumer_partitions`.";
    /// Offsets that were read and are not complete.
    open_offsets: IntGaugeVec "open_offsets" ["group"]
        => "Grows without end when something in front of it hangs.";
    /// Offset commits that failed.
    commit_errors: IntCounterVec "commit_errors_total" ["group"]
        => "Rises while Kafka refuses commits: after a crash more is read again.";
    /// Rebalances of the group as this process saw them, by event.
    rebalances: IntCounterVec "rebalances_total" ["group", "event"]
        => "Many `revoked` in a short time: replicas crash or are scaled too often.";
    /// Seconds from the revocation of partitions to the next record.
    rebalance_pause: HistogramVec "rebalance_pause_seconds" ["group"] {N}
        => "How long a roll-out or a crash stops a partition.";
    /// Records still to be read again before windows are complete.
    replay_remaining: IntGauge "replay_remaining_records"
        => "After a start: until it is zero, windows are rebuilt and nothing is judged.";
    /// Rejected records that the rejected topic did not take, however short they were cut.
    rejects_dropped: IntCounter "rejects_dropped_total"
        => "Above zero, rejected records are lost: raise `max.message.bytes` of the rejected topic.";
    /// Partitions that cannot be restored, and whose events wait.
    partitions_unrestored: IntGauge "partitions_unrestored"
        => "Events of these partitions are not read; `/readyz` names them with the reason.";
    /// Time since the instant up to which every stored record is proven to have been handled, of
    /// the partition where it lies furthest back.
    proven_end_age: Gauge "proven_end_age_seconds"
        => "Above a minute, brokers do not say where a partition ends, a source's topic is missing, or it is not read up to there: silent sites are not moved on, and their drops wait.";
    /// Partitions in which some window does not hold all records.
    partitions_incomplete: IntGauge "partitions_incomplete"
        => "After a gap: counts are lower bounds, on which no drop fires and no spike arms again.";
    /// Records that Kafka removed before they were read. They are lost.
    records_missed: IntCounterVec "records_missed_total" ["topic"]
        => "Above zero, records are lost: retention is shorter than the time nobody read. An hour after their due time, `recover` sends the retries among them.";
    /// Retention of the topic in seconds; 0 means unlimited.
    topic_retention: GaugeVec "topic_retention_seconds" ["topic"]
        => "Compare with `consumer_behind_seconds`: at half of it, raise the retention.";
    /// Unix time at which the role's slowest thread last polled.
    last_poll: GaugeVec "last_poll_timestamp_seconds" ["role"]
        => "More than 30 seconds ago, a thread is stuck.";
    /// Consumer threads of the role.
    threads: IntGaugeVec "threads" ["role"]
        => "Divide `thread_busy_seconds_total` by it.";
    /// Seconds for which the role's consumer threads were busy.
    thread_busy: CounterVec "thread_busy_seconds_total" ["role"]
        => "Above 0.7 seconds a second and thread, add replicas or threads.";
    /// Errors reported by Kafka clients, by kind.
    kafka_errors: IntCounterVec "kafka_errors_total" ["kind"]
        => "Kafka or the way to it has trouble; the log names host, port and cause.";
    /// Seconds from handing a record to the producer to its acknowledgement.
    produce: HistogramVec "produce_seconds" ["topic"] {L}
        => "Acknowledgements are slow: brokers, disks, in-sync replicas.";
    /// Records that could not be published.
    produce_errors: IntCounterVec "produce_errors_total" ["topic"]
        => "Rises: in-sync replicas, rights, quotas or disks of the brokers.";
    /// Bytes of records that wait for an acknowledgement.
    produce_queue_bytes: IntGauge "produce_queue_bytes"
        => "Grows while brokers acknowledge slowly; beyond a bound reading stops.";
    /// Age in seconds of the oldest record that waits for an acknowledgement.
    produce_oldest_seconds: Gauge "produce_oldest_seconds"
        => "Above five seconds, a partition has no leader or too few in-sync replicas, or brokers do not \
            answer; `/readyz` names a topic.";
    /// Records on Bellwether's own topics that could not be read.
    unreadable_records: IntCounterVec "unreadable_records_total" ["topic"]
        => "Above zero, somebody else writes to Bellwether's topics.";
    /// Records of a newer version of Bellwether that are held back.
    newer_records_held: IntGaugeVec "newer_records_held" ["topic"]
        => "Above zero, an upgrade was stopped half-way: finish it.";
    /// Deliveries that ended, by event type and status.
    deliveries: IntCounterVec "deliveries_total" ["event", "status"]
        => "The success rate as site owners see it.";
    /// Deliveries that failed for good or were cancelled, by reason.
    delivery_failures: IntCounterVec "delivery_failures_total" ["reason"]
        => "Why deliveries failed for good.";
    /// Attempts, by result, party at fault and kind.
    attempts: IntCounterVec "attempts_total" ["result", "fault", "kind"]
        => "`fault=\"own\"` is ours and should stay at zero; the endpoints' failures page nobody.";
    /// Seconds of an attempt, by phase.
    attempt_phases: HistogramVec "attempt_seconds" ["phase"] {N}
        => "Requests are slow: names, connections, encryption or the endpoint itself.";
    /// Seconds from a delivery record's time to its first attempt.
    delivery_start: HistogramVec "delivery_start_seconds" ["waited"] {E}
        => "The service level: how soon a delivery is first attempted.";
    /// Seconds by which a retry began after it was due.
    retry_lateness: HistogramVec "retry_lateness_seconds" ["tier"] {L}
        => "Retries come late: the process or Postgres is busy.";
    /// Retries published to the tier.
    retries_published: IntCounterVec "retries_published_total" ["tier"]
        => "How much goes through each tier.";
    /// Retry records with an impossible due time, which was replaced by the latest possible one.
    due_clamped: IntCounter "due_clamped_total"
        => "Above zero, records carry impossible due times.";
    /// Attempts that may repeat an attempt whose outcome was lost.
    possible_repeats: IntCounter "possible_repeats_total"
        => "Rises after a crash: so many requests may have been sent twice.";
    /// Records published to the dead-letter topic.
    dead_letters: IntCounter "dead_letters_total"
        => "Deliveries that were given up; `bellwether.dead-letter` holds them.";
    /// Webhooks that Bellwether disabled, by reason.
    webhooks_disabled: IntCounterVec "webhooks_disabled_total" ["reason"]
        => "Owners will ask why their webhook is off.";
    /// Requests to the operator's webhook, by outcome.
    operator_notices: IntCounterVec "operator_notices_total" ["outcome"]
        => "`failed` were given up after a day: `[operator] webhook_url` does not answer.";
    /// Requests in flight, by the state of their endpoint.
    in_flight: IntGaugeVec "in_flight" ["endpoint"]
        => "Near `in_flight_limit`, requests wait for others to end.";
    /// Largest number of requests in flight at a time.
    in_flight_limit: IntGauge "in_flight_limit"
        => "Less than `webhooks.max_in_flight`: the process may open too few files; `/readyz` says how many it needs.";
    /// Deliveries that were read and wait for their request.
    queued: IntGauge "queued"
        => "Grows when requests end more slowly than deliveries come.";
    /// Seconds for which a delivery waited for its request, by the limit that held it back.
    queue_wait: HistogramVec "queue_wait_seconds" ["cause"] {N}
        => "Deliveries start late: the cause says whose limit they waited for.";
    /// Deliveries that wait in Postgres, by reason.
    parked: IntGaugeVec "parked" ["reason"]
        => "What waits, and what for: mostly endpoints that are down.";
    /// Age in seconds of the oldest parked delivery.
    parked_oldest: Gauge "parked_oldest_seconds"
        => "See `parked`.";
    /// Endpoints in use, by their health.
    endpoints: IntGaugeVec "endpoints" ["state"]
        => "Many `open` at a time: suspect our own network before theirs.";
    /// Outcomes of requests that are not yet in Postgres.
    outcomes_unwritten: IntGauge "outcomes_unwritten"
        => "Above zero for long, Postgres is slow or away, or somebody holds rows of deliveries (the log names one). \
            Do not restart: what is unwritten would be sent again.";
    /// Age in seconds of the oldest outcome that is not yet in Postgres.
    outcomes_unwritten_seconds: Gauge "outcomes_unwritten_seconds"
        => "See `outcomes_unwritten`.";
    /// Seconds of an operation on Postgres.
    postgres: HistogramVec "postgres_seconds" ["op"] {L}
        => "Which operation on Postgres is slow.";
    /// Operations on Postgres that failed, by kind of error.
    postgres_errors: IntCounterVec "postgres_errors_total" ["op", "kind"]
        => "Rises while Postgres is away or refuses statements.";
    /// 1 if the last operation on Postgres succeeded, else 0.
    postgres_up: IntGauge "postgres_up"
        => "0 means that sending waits on purpose until Postgres is back.";
    /// Connections to Postgres, by state.
    postgres_connections: IntGaugeVec "postgres_connections" ["state"]
        => "All `used` means that operations wait for a connection.";
    /// Largest number of connections to Postgres of this process.
    postgres_connections_max: IntGauge "postgres_connections_max"
        => "See `postgres_connections`.";
    /// Seconds until new rows have no partition of their own.
    postgres_partition_horizon: Gauge "postgres_partition_horizon_seconds"
        => "Below 43,200 (twelve hours), run `bellwether migrate`, which makes partitions.";
    /// Seconds since the oldest day of a table should have been dropped.
    postgres_retention_lag: GaugeVec "postgres_retention_lag_seconds" ["table"]
        => "Above two days, something holds a lock on the table, or the database user does not own it.";
    /// Age in seconds of the configuration of sites and webhooks that is in force.
    config_age: Gauge "config_age_seconds"
        => "Above 30, changes by owners are not in force on this replica.";
    /// Webhooks that this process cannot decrypt or does not understand.
    webhooks_unreadable: IntGauge "webhooks_unreadable"
        => "Above zero, their notifications wait: another process writes with a key that `encryption.keys` lacks here, or is newer; the log names each.";
    /// Seconds by which this machine's clock is ahead of the clock of Postgres.
    clock_offset: Gauge "clock_offset_seconds"
        => "Beyond half a second either way, look at the time service of the machines.";
    /// Requests to the API, by route, method and status; a method that the route does not have is
    /// `OTHER`. Those to paths that neither the API nor the pages have are under `unmatched`.
    http_requests: IntCounterVec "http_requests_total" ["route", "method", "status"]
        => "The error rate of the API.";
    /// Seconds of a request to the API, by class.
    http_request_duration: HistogramVec "http_request_seconds" ["class"] {N}
        => "The API is slow.";
    /// Requests with a missing or wrong token.
    auth_failures: IntCounter "auth_failures_total"
        => "Rises: a client has a wrong token, or somebody guesses.";
    /// Requests refused by a rate limit.
    rate_limited: IntCounterVec "rate_limited_total" ["kind"]
        => "A client calls too often, or somebody guesses tokens.";
    /// Log lines of the level.
    log_events: IntCounterVec "log_events_total" ["level"]
        => "Errors are ours: read the log.";
    /// 1 if the condition of readiness holds, else 0.
    ready: IntGaugeVec "ready" ["check"]
        => "Which condition keeps a replica from being ready.";
    /// 1 if this process has the role.
    roles: IntGaugeVec "roles" ["role"]
        => "Which replica does what.";
    /// Memory in bytes that this process may use; 0 means no limit.
    memory_limit: IntGauge "memory_limit_bytes"
        => "Compare with `process_resident_memory_bytes`.";
    /// Version of the program and of librdkafka; always 1.
    build_info: IntGaugeVec "build_info" ["version", "revision", "librdkafka"]
        => "Two versions for long: a stopped roll-out.";
    /// Hash of the part of the configuration that all replicas must share; always 1.
    config_info: IntGaugeVec "config_info" ["hash"]
        => "Two hashes at a time: replicas with different configurations.";
}

fn register<T: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<T>) -> T {
    let metric = metric.expect("a metric's name and labels are literals of this file");
    registry
        .register(Box::new(metric.clone()))
        .expect("names in this file are distinct");
    metric
}

/// Label values that depend on the configuration.
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

    /// The text exposition format, version 0.0.4.
    pub(crate) fn render(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 * 1024);
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            tracing::error!(error = %error, "the metrics could not be rendered");
        }
        out
    }
}

/// Series that are present at zero.
mod at_zero;

#[cfg(test)]
mod tests;
