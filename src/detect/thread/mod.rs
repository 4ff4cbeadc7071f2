//! A detector thread: one group member that reads every source, keeps an engine for each partition number, and publishes
//! what they decide.
//!
//! In: source records. Out: delivery records, detector states, rejects. Guaranteed: an offset is committed only when
//! everything its record led to is acknowledged; an episode's state is acknowledged before its deliveries are published.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::engine::config::EngineConfig;
use crate::clock;
use crate::config::KafkaConfig;
use crate::domain::registry::Registry;
use crate::domain::site::SiteId;
use crate::kafka::batch_reader::{BatchReader, RawRecord, Read};
use crate::kafka::client::ClientEvents;
use crate::kafka::commits::Commit;
use crate::kafka::member::GroupMember;
use crate::kafka::producer::Publisher;
use crate::kafka::topic_partition::TopicPartition;
use crate::telemetry::throttle::Throttle;
use crate::telemetry::{Health, Metrics};
use counts::Counts;
use outbox::{Confirmed, Outbox, OutboxTopics};
use partition::OwnedPartition;

/// A partition number that a thread owns.
pub(crate) mod partition;
/// Where a source's partition stands.
pub(crate) mod position;
/// Taking partitions and giving them back.
mod rebalance;
/// Where a thread begins on partitions it was assigned.
pub(crate) mod restore;
/// Publishing in the right order, and committing after it.
pub(crate) mod outbox;
/// A record that could not be read, as it goes to the rejected topic.
pub(crate) mod reject_record;
/// Counters of a thread.
pub(crate) mod counts;
/// Gauges of a thread.
mod gauges;

/// Longest wait for a record: how soon a rebalance is seen.
const WAIT: Duration = Duration::from_millis(10);
const TICK_EVERY: Duration = Duration::from_secs(1);
const COMMIT_EVERY: Duration = Duration::from_millis(500);
/// How long a read may wait, all in all, for its episodes' deliveries to be acknowledged.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);

/// What a detector thread is made with.
#[derive(Debug, Clone)]
pub struct DetectSettings {
    pub name: String,
    pub kafka: KafkaConfig,
    /// Its `partition` is filled in for each engine.
    pub engine: EngineConfig,
    /// The longest window in use, at least: how far back a source without a commit starts.
    pub first_start_back: Duration,
}

/// What a detector thread is connected to.
#[derive(Debug)]
pub struct DetectLinks {
    pub publisher: Publisher,
    pub registry: watch::Receiver<Arc<Registry>>,
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
    pub client_events: ClientEvents,
    pub runtime: Handle,
    pub stop: CancellationToken,
    /// Takes the sites that had events, now and then.
    pub heard: mpsc::Sender<Vec<SiteId>>,
}

struct Retained {
    owned: OwnedPartition,
    until: Instant,
}

struct Detector {
    member: GroupMember,
    settings: DetectSettings,
    links: DetectLinks,
    outbox: Outbox,
    confirmed: Receiver<Confirmed>,
    nonce: String,
    /// By partition number.
    owned: Vec<Option<Box<OwnedPartition>>>,
    kept: HashMap<i32, Retained>,
    counts: Counts,
    revoked_at: Option<Instant>,
    /// Of the line that says why partitions are not taken.
    refused: Throttle,
    /// Until when the records read last may wait for confirmations.
    confirm_until: Instant,
    last_tick: Instant,
    last_heard: Instant,
    last_commit: Instant,
}

/// Runs a detector thread until it is told to stop.
pub fn run(member: GroupMember, settings: DetectSettings, links: DetectLinks) -> anyhow::Result<()> {
    let (sender, confirmed) = channel();
    let kafka = &settings.kafka;
    let outbox = Outbox {
        publisher: links.publisher.clone(),
        topics: OutboxTopics {
            deliveries: kafka.topic("deliveries").into(),
            detector_state: kafka.topic("detector-state").into(),
            rejected: kafka.topic("rejected").into(),
        },
        runtime: links.runtime.clone(),
        tasks: TaskTracker::new(),
        confirmed: sender,
    };
    let sources = settings
        .engine
        .sources
        .iter()
        .map(|source| source.topic.clone())
        .collect();
    let now = clock::monotonic();
    let mut batch_reader = member.batch_reader();
    let heartbeat = links.health.heartbeat(&settings.name, clock::now_ms());
    let mut detector = Detector {
        member,
        outbox,
        confirmed,
        nonce: hex::encode(crate::chance::bytes::<8>()),
        owned: Vec::new(),
        kept: HashMap::new(),
        counts: Counts::new(sources, Arc::clone(&links.metrics)),
        revoked_at: None,
        refused: Throttle::default(),
        confirm_until: now,
        last_tick: now,
        last_heard: now,
        last_commit: now,
        settings,
        links,
    };
    let result = detector.run_loop(&mut batch_reader, &heartbeat);
    detector.links.health.heartbeat_ends(&detector.settings.name);
    detector.give_up_partitions(false);
    detector.links.health.member_left(&detector.settings.name);
    detector.links.metrics.shares.of(&detector.settings.name).ends();
    drop(batch_reader);
    detector.member.leave();
    result
}

impl Detector {
    fn run_loop(&mut self, batch_reader: &mut BatchReader, heartbeat: &AtomicI64) -> anyhow::Result<()> {
        let busy_seconds = self.links.metrics.thread_busy.with_label_values(&["detect"]);
        // From the beginning, so that a thread that never comes to its first tick is seen.
        self.show_last_poll(clock::now_ms());
        let mut wait = Duration::ZERO;
        while !self.links.stop.is_cancelled() {
            let now_ms = clock::now_ms();
            heartbeat.store(now_ms, Ordering::Relaxed);
            anyhow::ensure!(
                !self.links.client_events.has_fatal(),
                "a Kafka client failed for good"
            );
            self.serve_group(batch_reader)?;
            self.take_registry();
            self.take_confirmations();
            let mut begun = None;
            let mut records_came = false;
            let mut now_ms = now_ms;
            // So the thread hardly ever waits for room at the producer's, and goes on serving the group.
            let read = if self.links.publisher.backlog().is_crowded() {
                std::thread::sleep(WAIT);
                0
            } else {
                batch_reader.read(wait, |read| {
                    if begun.is_none() {
                        let now = clock::monotonic();
                        begun = Some(now);
                        self.confirm_until = now + CONFIRM_TIMEOUT;
                        now_ms = clock::now_ms();
                        // What changed while nothing came holds for what comes now.
                        self.take_registry();
                    }
                    records_came |= matches!(read, Read::Records(..));
                    self.take(read, now_ms);
                })
            };
            if read > 0 {
                self.flush();
            }
            if records_came && let Some(revoked_at) = self.revoked_at.take() {
                let pause = clock::monotonic().duration_since(revoked_at);
                self.links
                    .metrics
                    .rebalance_pause
                    .with_label_values(&["detect"])
                    .observe(pause.as_secs_f64());
            }
            self.tick();
            self.commit();
            if let Some(begun) = begun {
                busy_seconds.inc_by(clock::monotonic().duration_since(begun).as_secs_f64());
            }
            wait = WAIT;
        }
        Ok(())
    }

    fn take(&mut self, read: Read<'_>, now_ms: i64) {
        match read {
            Read::Records(partition, records) => self.take_records(partition, records, now_ms),
            Read::End(at, offset) => {
                let member = &self.member;
                if let Some(owned) = owned_mut(&mut self.owned, at.partition) {
                    owned.end_reached(
                        at.topic,
                        offset,
                        |_| member.cached_beginning(at),
                        &mut self.counts,
                    );
                }
            }
            Read::Error(code) => {
                self.links.client_events.note(Some(code));
                if let Some(suppressed) = self.links.client_events.admit(Some(code)) {
                    tracing::warn!(group = "detect", error = %code, suppressed, "reading failed; it is tried again");
                }
            }
        }
    }

    fn take_records(&mut self, partition: i32, mut records: &[(usize, RawRecord<'_>)], now_ms: i64) {
        while !records.is_empty() {
            let member = &self.member;
            let beginning_of = |topic| member.cached_beginning(TopicPartition { topic, partition });
            let Some(owned) = owned_mut(&mut self.owned, partition) else {
                return;
            };
            records = owned.take(records, now_ms, beginning_of, &self.outbox, &mut self.counts);
            if owned.engine.wants_flush() {
                owned.flush(now_ms, &self.outbox, &mut self.counts);
                self.wait_for_confirmations(partition);
            }
        }
    }

    /// Publishes what the last records led to.
    fn flush(&mut self) {
        let now_ms = clock::now_ms();
        for owned in self.owned.iter_mut().flatten() {
            owned.flush(now_ms, &self.outbox, &mut self.counts);
        }
        self.counts.flush();
    }

    fn take_registry(&mut self) {
        if self.links.registry.has_changed().unwrap_or(false) {
            let registry = Arc::clone(&self.links.registry.borrow_and_update());
            for owned in self.owned.iter_mut().flatten() {
                owned.engine.set_registry(Arc::clone(&registry));
            }
            self.flush();
        }
    }

    fn take_confirmations(&mut self) {
        while let Ok(one) = self.confirmed.try_recv() {
            self.confirm(&one);
        }
    }

    fn confirm(&mut self, one: &Confirmed) {
        if let Some(owned) = owned_mut(&mut self.owned, one.partition) {
            owned.engine.confirm(one.site_id.as_str(), one.episode);
        } else if let Some(kept) = self.kept.get_mut(&one.partition) {
            kept.owned.engine.confirm(one.site_id.as_str(), one.episode);
        }
    }

    /// A site was given as many decisions as its state holds: the log is read faster than episodes can be confirmed.
    fn wait_for_confirmations(&mut self, partition: i32) {
        while owned_mut(&mut self.owned, partition)
            .is_some_and(|owned| !owned.engine.unconfirmed().is_empty())
        {
            let left = self.confirm_until.saturating_duration_since(clock::monotonic());
            match self.confirmed.recv_timeout(left) {
                Ok(one) => self.confirm(&one),
                // Kafka is slow or away. The group must be served: what is unconfirmed stays in the state, which grows.
                Err(_) => break,
            }
        }
    }

    /// Once a second: moves silent sites on, and shows how things stand.
    fn tick(&mut self) {
        let now = clock::monotonic();
        if now.duration_since(self.last_tick) < TICK_EVERY {
            return;
        }
        self.last_tick = now;
        // Of those that did not come back the memory is given back, rebalance or none.
        self.kept.retain(|_, kept| kept.until > now);
        let now_ms = clock::now_ms();
        let member = &self.member;
        for owned in self.owned.iter_mut().flatten() {
            let partition = owned.partition;
            owned.tick(now_ms, |topic| {
                member.cached_end(TopicPartition { topic, partition })
            });
        }
        self.flush();
        self.tell_counters();
        self.show_last_poll(now_ms);
        self.show_gauges(now_ms);
        self.tell_heard(now);
        for (topic, text) in self.counts.take_notices() {
            self.links.health.notice(topic, text, now_ms);
        }
    }

    fn commit(&mut self) {
        let now = clock::monotonic();
        if now.duration_since(self.last_commit) < COMMIT_EVERY {
            return;
        }
        self.last_commit = now;
        let again = self.member.take_failed_commit();
        let commits = self.commits(again);
        self.member.commit(&commits);
    }

    fn commits(&mut self, again: bool) -> Vec<Commit> {
        let nonce = &self.nonce;
        self.owned
            .iter_mut()
            .flatten()
            .flat_map(|owned| owned.commits(nonce, again))
            .collect()
    }
}

fn owned_mut(owned: &mut [Option<Box<OwnedPartition>>], partition: i32) -> Option<&mut OwnedPartition> {
    owned.get_mut(usize::try_from(partition).ok()?)?.as_deref_mut()
}
