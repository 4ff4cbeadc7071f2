//! Reads delivery records: one group member on its own thread, for `deliveries` and every tier.
//!
//! In: records. Out: `Work`, when it is due. Guaranteed: an offset is committed only when it and all before it are
//! complete; nothing of a revoked partition begins after its attempts under way were claimed. A tier is never paused: what is
//! not due is held in a heap, and a partition that has enough in the heap is not polled.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, mpsc as thread_mpsc};
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::in_flight::InFlight;
use crate::clock;
use crate::dispatch::offsets::{Completion, OffsetTracker};
use crate::dispatch::read_ahead::ReadAhead;
use crate::dispatch::record::{Coordinates, Unreadable, header};
use crate::dispatch::schedule::{Tier, Tiers};
use crate::kafka::client::ClientEvents;
use crate::kafka::commits::Commit;
use crate::kafka::member::{GroupMember, MemberContext, MemberEvent};
use crate::kafka::producer::{Outgoing, Publisher};
use crate::kafka::topic_partition::TopicPartition;
use crate::telemetry::{Health, Metrics};
use work::{Assignment, Completed, Completions, OffsetToken, Work};

/// A record on its way, and the word that it is complete.
pub(crate) mod work;
/// Taking partitions and giving them back.
mod rebalance;
/// What an intake shows of itself.
mod gauges;
/// Records as they come.
mod raw;
/// The note beside a committed offset.
mod note;

use note::Note;
use raw::{Original, Raw};

/// Longest park_timeout: how soon a rebalance or a missed wake-up is seen.
const PARK_TIMEOUT: Duration = Duration::from_millis(10);
/// Records taken from one partition before the next has its turn.
const TURN: usize = 64;
const COMMIT_EVERY: Duration = Duration::from_millis(500);
/// How long a hand-over waits for its commit: the whole group waits meanwhile.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(1);
const GAUGES_EVERY: Duration = Duration::from_secs(1);
/// How long a revoked partition's open offsets are remembered.
const KEEP: Duration = Duration::from_secs(60);
/// Records that are due and wait for the deliverer. Beyond it they stay in the heap, whose bound is each partition's own.
const OUTBOX: usize = 1_024;
/// How long a broker may take to answer during a rebalance.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What an intake thread needs.
#[derive(Debug)]
pub(crate) struct IntakeSettings {
    pub(crate) name: String,
    pub(crate) topics: Vec<String>,
    /// Of each topic, by its place: the tier, or none for `deliveries`.
    pub(crate) tier_of_topic: Vec<Option<Tier>>,
    pub(crate) tiers: Tiers,
    pub(crate) dead_letter_topic: String,
}

/// What an intake thread is connected to.
#[derive(Debug)]
pub(crate) struct IntakeLinks {
    pub(crate) work: mpsc::Sender<Work>,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) publisher: Publisher,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Arc<Health>,
    pub(crate) runtime: Handle,
    pub(crate) stop: CancellationToken,
    pub(crate) client_events: ClientEvents,
}

struct Partition {
    queue: PartitionQueue<MemberContext>,
    /// Set by librdkafka when the queue may hold something.
    ready: Arc<AtomicBool>,
    tracker: OffsetTracker,
    /// Below it, offsets may have been sent by a predecessor that did not hand over.
    suspect_before_ms: i64,
    position: Position,
    /// A record of a newer version: nothing after it is read.
    held_newer: bool,
}

/// How far a partition was read.
struct Position {
    /// The offset after the last one read.
    next: i64,
    /// Kafka's time of the last record read.
    last_record_ms: i64,
    /// Nothing was read since the assignment.
    fresh: bool,
}

impl Position {
    /// Notes that a record was read.
    fn advance(&mut self, message: &BorrowedMessage<'_>, metrics: &Metrics) {
        let (topic, offset) = (message.topic(), message.offset());
        // Nobody compacts these topics or writes transactions to them, so what is not where it was left was removed.
        if std::mem::take(&mut self.fresh) && offset > self.next {
            let missed = (offset - self.next).unsigned_abs();
            metrics.records_missed.with_label_values(&[topic]).inc_by(missed);
            tracing::error!(
                topic,
                partition = message.partition(),
                offset = self.next,
                missed,
                "records were removed before they were read"
            );
        }
        self.next = offset + 1;
        self.last_record_ms = message.timestamp().to_millis().unwrap_or(self.last_record_ms);
    }
}

struct Retained {
    tracker: OffsetTracker,
    until: Instant,
}

/// Runs an intake thread until it is told to stop.
pub(crate) fn run(member: GroupMember, settings: IntakeSettings, links: IntakeLinks) -> anyhow::Result<()> {
    let (sender, completed) = thread_mpsc::channel();
    let completions = Completions::new(sender);
    completions.wake_me();
    let heartbeat = links.health.heartbeat(&settings.name, clock::now_ms());
    let nonce = hex::encode(crate::chance::bytes::<8>());
    let now = clock::monotonic();
    let mut intake = Intake {
        member,
        settings,
        links,
        nonce,
        completed,
        completions,
        partitions: HashMap::new(),
        kept: HashMap::new(),
        read_ahead: ReadAhead::new(),
        outbox: VecDeque::new(),
        assignment: Arc::default(),
        epochs: 0,
        revoked_at: None,
        last_commit: now,
        last_gauges: now,
    };
    let result = intake.run_loop(&heartbeat);
    intake.links.health.heartbeat_ends(&intake.settings.name);
    intake.leave();
    result
}

struct Intake {
    member: GroupMember,
    settings: IntakeSettings,
    links: IntakeLinks,
    nonce: String,
    completed: Receiver<Completed>,
    completions: Completions,
    partitions: HashMap<TopicPartition, Partition>,
    kept: HashMap<TopicPartition, Retained>,
    read_ahead: ReadAhead<TopicPartition, Work>,
    /// Due, and not yet taken by the deliverer.
    outbox: VecDeque<Work>,
    assignment: Arc<Assignment>,
    epochs: u64,
    revoked_at: Option<Instant>,
    last_commit: Instant,
    last_gauges: Instant,
}

impl Intake {
    fn run_loop(&mut self, heartbeat: &AtomicI64) -> anyhow::Result<()> {
        let busy_seconds = self.links.metrics.thread_busy.with_label_values(&["deliver"]);
        self.show_last_poll(clock::now_ms());
        while !self.links.stop.is_cancelled() {
            let begun = clock::monotonic();
            let now_ms = clock::now_ms();
            heartbeat.store(now_ms, Ordering::Relaxed);
            anyhow::ensure!(
                !self.links.client_events.has_fatal(),
                "a Kafka client failed for good"
            );
            self.serve_group()?;
            self.take_completions();
            let read = self.read_partitions();
            self.release_due();
            self.hand_out();
            self.commit();
            self.show_gauges();
            let now = clock::monotonic();
            busy_seconds.inc_by(now.duration_since(begun).as_secs_f64());
            if !read {
                std::thread::park_timeout(self.park_timeout());
            }
        }
        Ok(())
    }

    fn park_timeout(&self) -> Duration {
        if !self.outbox.is_empty() {
            return Duration::from_millis(1);
        }
        match self.read_ahead.next_due() {
            // Due times are whole milliseconds: waking in the middle of one would go round in vain.
            Some(due) => PARK_TIMEOUT.min(
                Duration::from_millis(u64::try_from(due - clock::now_ms()).unwrap_or(0))
                    .max(Duration::from_micros(200)),
            ),
            None => PARK_TIMEOUT,
        }
    }

    fn serve_group(&mut self) -> anyhow::Result<()> {
        while let Some(event) = self.member.poll(Duration::ZERO) {
            match event {
                MemberEvent::Assigned(partitions) => {
                    if let Err(error) = self.assigned(&partitions) {
                        tracing::warn!(
                            group = "deliver",
                            error = format!("{error:#}"),
                            "partitions could not be taken; trying again"
                        );
                        let reason = format!("{error:#}");
                        self.links.health.member_waits(&self.settings.name, reason);
                        self.member.take_later(partitions);
                    }
                }
                MemberEvent::Revoked { lost } => self.revoked(lost)?,
            }
        }
        Ok(())
    }

    fn take_completions(&mut self) {
        while let Ok(done) = self.completed.try_recv() {
            let tracker = match self.partitions.get_mut(&done.at) {
                Some(partition) => Some(&mut partition.tracker),
                None => self.kept.get_mut(&done.at).map(|kept| &mut kept.tracker),
            };
            if let Some(tracker) = tracker
                && tracker.complete(done.epoch, done.offset) == Completion::NotOpen
            {
                tracing::debug!(offset = done.offset, "completed twice");
            }
        }
    }

    /// Reads a turn of every partition that may have something. Whether there may be more at once.
    fn read_partitions(&mut self) -> bool {
        let mut more = false;
        let mut read = Vec::new();
        let outbox_full = !self.outbox.is_empty();
        for (at, partition) in &mut self.partitions {
            let topic = self.member.topic(at.topic);
            let full = partition.tracker.is_full()
                || if self.settings.tier_of_topic[at.topic].is_some() {
                    self.read_ahead.is_full(*at)
                } else {
                    outbox_full
                };
            // One that has no room keeps its mark, so that it is looked at when there is.
            if full || partition.held_newer || !partition.ready.swap(false, Ordering::Acquire) {
                continue;
            }
            let mut taken = 0;
            while taken < TURN {
                match partition.queue.poll(Duration::ZERO) {
                    None => break,
                    Some(Err(KafkaError::PartitionEOF(_))) => {}
                    Some(Err(error)) => {
                        tracing::warn!(topic = %topic, partition = at.partition, error = %error, "reading a partition failed; it is tried again");
                        // What lies behind the error in the queue wakes nobody any more.
                        partition.ready.store(true, Ordering::Release);
                        break;
                    }
                    Some(Ok(message)) => {
                        taken += 1;
                        partition.position.advance(&message, &self.links.metrics);
                        let offset = message.offset();
                        if partition.tracker.is_complete(offset) {
                            continue;
                        }
                        partition.tracker.open(offset);
                        let raw = Raw::of(&message);
                        partition.held_newer = matches!(raw.record, Err((Unreadable::Newer(_), _)));
                        read.push((*at, raw));
                        if partition.held_newer {
                            break;
                        }
                    }
                }
            }
            if taken == TURN {
                partition.ready.store(true, Ordering::Release);
                more = true;
            }
        }
        if !read.is_empty()
            && let Some(revoked_at) = self.revoked_at.take()
        {
            let pause = clock::monotonic().duration_since(revoked_at);
            self.links
                .metrics
                .rebalance_pause
                .with_label_values(&["deliver"])
                .observe(pause.as_secs_f64());
        }
        for (at, raw) in read {
            self.take(at, raw);
        }
        more
    }

    fn take(&mut self, at: TopicPartition, raw: Raw) {
        let Some(partition) = self.partitions.get(&at) else {
            return;
        };
        let token = OffsetToken::new(
            at,
            partition.tracker.epoch(),
            raw.offset,
            Arc::clone(&self.assignment),
            self.completions.clone(),
        );
        let suspect = raw.timestamp_ms < partition.suspect_before_ms;
        let read_from = Coordinates {
            topic: self.member.topic(at.topic).to_string(),
            partition: at.partition,
            offset: raw.offset,
        };
        match raw.record {
            Ok(record) => {
                let now_ms = clock::now_ms();
                let tier = self.settings.tier_of_topic[at.topic];
                let due_at_ms = match (tier, record.due_at_ms) {
                    (Some(tier), Some(due)) => {
                        let time = self.settings.tiers.due_time(tier, due, raw.timestamp_ms, now_ms);
                        if time.clamped {
                            self.links.metrics.due_clamped.inc();
                            tracing::warn!(
                                topic = read_from.topic,
                                partition = at.partition,
                                offset = raw.offset,
                                due_at_ms = due,
                                "an absurd due time was clamped"
                            );
                        }
                        time.at_ms
                    }
                    _ => raw.timestamp_ms.min(now_ms),
                };
                let bytes = record.body.len() + 300;
                // Not due before the predecessor stopped: it cannot have sent it.
                let suspect = suspect && due_at_ms < partition.suspect_before_ms;
                let work = Work {
                    record,
                    token,
                    read_from,
                    record_ms: raw.timestamp_ms,
                    due_at_ms,
                    tier,
                    suspect,
                };
                if tier.is_some() {
                    self.read_ahead.push(at, due_at_ms, bytes, work);
                } else {
                    self.outbox.push_back(work);
                }
            }
            Err((Unreadable::Newer(version), _)) => {
                let topic = self.member.topic(at.topic);
                self.links
                    .metrics
                    .newer_records_held
                    .with_label_values(&[topic])
                    .inc();
                // Its offset stays open: nothing from here on is committed, whoever reads the partition next.
                drop(token);
                tracing::error!(topic = %topic, partition = at.partition, offset = raw.offset, version, "a record of a newer version is held back, and what follows it: finish the upgrade");
            }
            Err((unreadable, original)) => self.put_aside(token, read_from, unreadable, original),
        }
    }

    /// What cannot be read goes to the dead-letter topic as it is, and the stream goes on.
    fn put_aside(&self, token: OffsetToken, read_from: Coordinates, why: Unreadable, original: Original) {
        self.links
            .metrics
            .unreadable_records
            .with_label_values(&[&read_from.topic])
            .inc();
        tracing::error!(topic = read_from.topic, partition = read_from.partition, offset = read_from.offset, error = %why, "an unreadable record goes to the dead-letter topic");
        let publisher = self.links.publisher.clone();
        let dead_letter = self.settings.dead_letter_topic.clone();
        let metrics = Arc::clone(&self.links.metrics);
        // Not supervised: it ends with its acknowledgement, and when it is dropped its offset stays open.
        self.links.runtime.spawn(async move {
            let mut headers = read_from.headers().to_vec();
            headers.push((header::REASON, why.as_str().to_owned()));
            let record = Outgoing {
                topic: &dead_letter,
                partition: None,
                key: original.key.as_deref(),
                value: original.body.as_deref(),
                headers: &headers,
                passed_on: &original.headers,
            };
            publisher.publish(record).await;
            metrics.dead_letters.inc();
            token.complete();
        });
    }

    fn release_due(&mut self) {
        let now_ms = clock::now_ms();
        while self.outbox.len() < OUTBOX
            && let Some(due) = self.read_ahead.pop_due(now_ms)
        {
            self.outbox.push_back(due.payload);
        }
    }

    fn hand_out(&mut self) {
        while let Some(work) = self.outbox.pop_front() {
            if let Err(error) = self.links.work.try_send(work) {
                match error {
                    mpsc::error::TrySendError::Full(work) | mpsc::error::TrySendError::Closed(work) => {
                        self.outbox.push_front(work)
                    }
                }
                break;
            }
        }
    }

    fn commit(&mut self) {
        let now = clock::monotonic();
        if now.duration_since(self.last_commit) < COMMIT_EVERY {
            return;
        }
        self.last_commit = now;
        // One that failed was noted as committed: so that it is made good, all positions go again.
        let all = self.member.take_failed_commit();
        let commits = self.commits(all, false);
        self.member.commit(&commits);
    }

    fn commits(&mut self, all: bool, handed_over: bool) -> Vec<Commit> {
        let metadata = Note {
            nonce: self.nonce.clone(),
            handed_over,
        }
        .to_string();
        let mut commits = Vec::new();
        for (at, partition) in &mut self.partitions {
            let position = match partition.tracker.to_commit() {
                Some(position) => position,
                None if all => partition.tracker.low_water().unwrap_or(partition.position.next),
                None => continue,
            };
            partition.tracker.committed(position);
            commits.push(Commit {
                at: *at,
                offset: position,
                metadata: metadata.clone(),
            });
        }
        commits
    }

    fn show_last_poll(&self, now_ms: i64) {
        let metrics = &self.links.metrics;
        let last_poll = metrics.last_poll.with_label_values(&["deliver"]);
        let share = metrics.shares.of(&self.settings.name);
        share.smallest(&last_poll, now_ms as f64 / 1_000.0);
    }

    fn leave(mut self) {
        self.give_up_partitions(false);
        self.links.health.member_left(&self.settings.name);
        self.links.metrics.shares.of(&self.settings.name).ends();
        self.member.leave();
    }
}
