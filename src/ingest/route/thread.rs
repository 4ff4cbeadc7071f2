//! A thread of the role `route`: one group member that reads every source that is not keyed by site
//! and publishes its events under the site's id.
//!
//! Guaranteed: an offset is committed only when what its record led to is acknowledged. While the
//! brokers acknowledge slowly, nothing is read.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::aliases::SiteAliases;
use super::partition::{FirstStart, RoutedPartition, take};
use super::record::{Original, RoutedRecord, reject_note, routed_record};
use crate::clock;
use crate::config::KafkaConfig;
use crate::dispatch::offsets::Epoch;
use crate::dispatch::record::Coordinates;
use crate::domain::event::{Event, EventResult, RoutedClock};
use crate::domain::registry::Registry;
use crate::domain::reject::{NotAnEvent, Reject};
use crate::ingest::formats::RecordReader;
use crate::ingest::reject_record::reject_record;
use crate::ingest::visitor_hash::VisitorHasher;
use crate::kafka::backlog::Portion;
use crate::kafka::batch_reader::{Batch, BatchItem, BatchReader};
use crate::kafka::batch_record::BatchRecord;
use crate::kafka::client::ClientEvents;
use crate::kafka::commits::Commit;
use crate::kafka::member::{GroupMember, MemberEvent};
use crate::kafka::producer::{Outgoing, PublishError, Publisher};
use crate::kafka::session::lag::ConsumerLag;
use crate::kafka::session::{CommitScope, Session};
use crate::kafka::topic_partition::TopicPartition;
use crate::telemetry::throttle::Throttle;
use crate::telemetry::{Health, Metrics};

/// Longest wait for a record, and so for noticing a rebalance.
const READ_TIMEOUT: Duration = Duration::from_millis(10);
const TICK_INTERVAL: Duration = Duration::from_secs(1);
/// Longest wait for acknowledgements before partitions are given back.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause before a record is offered to a full queue again.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(1);

/// A source that is not keyed by site.
#[derive(Debug, Clone)]
pub(crate) struct UnkeyedSource {
    pub(crate) topic: String,
    pub(crate) clock: RoutedClock,
    pub(crate) reader: RecordReader,
}

/// Settings of a thread.
#[derive(Debug)]
pub(crate) struct RouteSettings {
    pub(crate) name: String,
    pub(crate) kafka: KafkaConfig,
    pub(crate) sources: Vec<UnkeyedSource>,
    /// Key of the visitors' hashes, the same as the detectors'.
    pub(crate) hash_key: [u8; 16],
    /// Time before now at which a live source without a commit begins.
    pub(crate) first_start_back: Duration,
}

/// Connections of a thread.
#[derive(Debug)]
pub(crate) struct RouteLinks {
    pub(crate) publisher: Publisher,
    pub(crate) registry: watch::Receiver<Arc<Registry>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Arc<Health>,
    pub(crate) client_events: ClientEvents,
    pub(crate) runtime: Handle,
    pub(crate) stop: CancellationToken,
}

/// A record whose successor is acknowledged.
type Done = (TopicPartition, Epoch, i64);

/// A record on its way to a topic of ours.
struct OutgoingRecord {
    topic: Arc<str>,
    key: Option<Vec<u8>>,
    value: Vec<u8>,
    headers: Vec<(&'static str, String)>,
}

impl OutgoingRecord {
    fn as_outgoing(&self) -> Outgoing<'_> {
        Outgoing {
            topic: &self.topic,
            partition: None,
            key: self.key.as_deref(),
            value: Some(&self.value),
            headers: &self.headers,
            passed_on: &[],
        }
    }
}

struct Router {
    session: Session<TopicPartition, ()>,
    settings: RouteSettings,
    links: RouteLinks,
    events_topic: Arc<str>,
    rejected_topic: Arc<str>,
    hasher: VisitorHasher,
    aliases: SiteAliases,
    partitions: HashMap<TopicPartition, RoutedPartition>,
    epoch: u64,
    done: Sender<Done>,
    acknowledged: Receiver<Done>,
    /// Records that a broker refused, offered again.
    refused: TaskTracker,
    /// By source and result, since the last flush.
    handled: Vec<[u64; EventResult::ALL.len()]>,
    rejects: Throttle,
    last_tick: Instant,
}

/// Runs a thread until it is to stop.
pub(crate) fn run(member: GroupMember, settings: RouteSettings, mut links: RouteLinks) -> anyhow::Result<()> {
    let (done, acknowledged) = channel();
    let mut batch_reader = member.batch_reader();
    let registry = Arc::clone(&links.registry.borrow_and_update());
    let mut router = Router {
        session: Session::begin(member, &settings.name, Arc::clone(&links.health)),
        events_topic: settings.kafka.topic("events").into(),
        rejected_topic: settings.kafka.topic("rejected").into(),
        hasher: VisitorHasher::new(&settings.hash_key),
        aliases: SiteAliases::of(registry),
        partitions: HashMap::new(),
        epoch: 0,
        done,
        acknowledged,
        refused: TaskTracker::new(),
        handled: vec![[0; EventResult::ALL.len()]; settings.sources.len()],
        rejects: Throttle::default(),
        last_tick: clock::monotonic(),
        settings,
        links,
    };
    let result = router.run_loop(&mut batch_reader);
    router.session.end_heartbeat();
    router.give_up_partitions(false);
    drop(batch_reader);
    router.session.leave();
    result
}

impl Router {
    fn run_loop(&mut self, batch_reader: &mut BatchReader) -> anyhow::Result<()> {
        while !self.links.stop.is_cancelled() {
            self.session.begin_turn(clock::now_ms())?;
            self.serve_group(batch_reader)?;
            self.receive_acknowledgements();
            if self.links.publisher.backlog().is_crowded() {
                // Nothing is read for now, so that the thread hardly ever waits for room in the
                // producer's queue and can serve the group.
                std::thread::sleep(READ_TIMEOUT);
            } else {
                let batch = batch_reader.read(READ_TIMEOUT);
                if !batch.is_empty() {
                    let begun = clock::monotonic();
                    self.handle_batch(batch);
                    self.session.add_busy_time(begun);
                }
            }
            self.tick();
            if let Some(scope) = self.session.due_commit(clock::monotonic()) {
                let commits = self.commits(scope);
                self.session.commit(&commits);
            }
        }
        Ok(())
    }

    fn handle_batch(&mut self, batch: Batch<'_>) {
        // An alias that was given while the thread waited applies to what came after it.
        if self.links.registry.has_changed().unwrap_or(false) {
            let registry = Arc::clone(&self.links.registry.borrow_and_update());
            self.aliases = SiteAliases::of(registry);
        }
        let mut has_records = false;
        batch.for_each(|item| match item {
            BatchItem::Records(partition, records) => {
                has_records = true;
                for (topic, record) in records {
                    let at = TopicPartition {
                        topic: *topic,
                        partition,
                    };
                    self.handle_record(at, record);
                }
            }
            BatchItem::End(at, offset) => {
                if let Some(partition) = self.partitions.get_mut(&at) {
                    partition.reach_end(offset);
                }
            }
            BatchItem::Error(code) => {
                self.links.client_events.note(Some(code));
                if let Some(suppressed) = self.links.client_events.admit(Some(code)) {
                    tracing::warn!(group = "route", error = %code, suppressed, "reading failed; it is tried again");
                }
            }
        });
        self.flush_counts();
        if has_records {
            self.session.end_pause();
        }
    }

    fn handle_record(&mut self, at: TopicPartition, record: &BatchRecord<'_>) {
        let offset = record.offset();
        let Some(partition) = self.partitions.get_mut(&at) else {
            return;
        };
        if !partition.offsets.open(offset) {
            return;
        }
        partition.next = offset + 1;
        partition.last_record_ms = record.timestamp_ms().unwrap_or(0);
        let done = (at, partition.offsets.epoch(), offset);
        let source = &self.settings.sources[at.topic];
        let headers = record.headers();
        let (result, outgoing) = match source.reader.read(record.value(), &headers) {
            Ok(event) => self.forward(at, record, &event),
            Err(NotAnEvent::Rejected(reject) | NotAnEvent::RejectedBefore(reject)) => {
                (EventResult::Rejected, self.reject(at, record, &reject))
            }
            Err(NotAnEvent::Ignored) => (EventResult::Ignored, Vec::new()),
        };
        self.handled[at.topic][result as usize] += 1;
        if outgoing.is_empty() {
            return self.complete(done);
        }
        let left = Arc::new(AtomicUsize::new(outgoing.len()));
        for record in outgoing {
            self.publish(record, done, &left);
        }
    }

    fn read_from(&self, at: TopicPartition, record: &BatchRecord<'_>) -> Coordinates {
        Coordinates {
            topic: self.settings.sources[at.topic].topic.clone(),
            partition: at.partition,
            offset: record.offset(),
        }
    }

    /// The event under its site's id.
    fn forward(
        &mut self,
        at: TopicPartition,
        record: &BatchRecord<'_>,
        event: &Event<'_>,
    ) -> (EventResult, Vec<OutgoingRecord>) {
        let read_from = self.read_from(at, record);
        let site = self.aliases.resolve(&event.site_id);
        let original = self.original(at, record, &read_from);
        let routed = match routed_record(event, site.id, original, &self.hasher) {
            Ok(routed) => routed,
            Err(error) => {
                let reject = Reject::unwritable(&event.site_id, &error);
                return (EventResult::Rejected, self.reject(at, record, &reject));
            }
        };
        let result = match site.is_registered {
            true => EventResult::Counted,
            false => EventResult::Unregistered,
        };
        (result, vec![self.keyed(routed)])
    }

    fn original<'a>(
        &self,
        at: TopicPartition,
        record: &BatchRecord<'_>,
        read_from: &'a Coordinates,
    ) -> Original<'a> {
        Original {
            read_from,
            record_ms: record.timestamp_ms(),
            clock: self.settings.sources[at.topic].clock,
        }
    }

    fn keyed(&self, routed: RoutedRecord) -> OutgoingRecord {
        OutgoingRecord {
            topic: Arc::clone(&self.events_topic),
            key: Some(routed.key),
            value: routed.value,
            headers: routed.headers,
        }
    }

    /// The record as it goes to the rejected topic, and a note of it for the detector of its site,
    /// which reads only what is keyed.
    fn reject(
        &mut self,
        at: TopicPartition,
        record: &BatchRecord<'_>,
        reject: &Reject,
    ) -> Vec<OutgoingRecord> {
        let read_from = self.read_from(at, record);
        let labels = [read_from.topic.as_str(), reject.reason.as_str()];
        self.links
            .metrics
            .rejected_records
            .with_label_values(&labels)
            .inc();
        if let Some(suppressed) = self.rejects.admit(clock::monotonic()) {
            tracing::warn!(
                topic = read_from.topic,
                partition = read_from.partition,
                offset = read_from.offset,
                outcome = reject.reason.as_str(),
                error = reject.detail,
                suppressed,
                "a source record was rejected"
            );
        }
        let rejected = reject_record(reject, &read_from, record.key(), record.value());
        let mut outgoing = vec![OutgoingRecord {
            topic: Arc::clone(&self.rejected_topic),
            key: rejected.key,
            value: rejected.value.into(),
            headers: rejected.headers,
        }];
        let site = reject.site_id.as_deref().map(|id| self.aliases.resolve(id));
        if let Some(site) = site.filter(|site| site.is_registered) {
            let original = self.original(at, record, &read_from);
            outgoing.push(self.keyed(reject_note(reject.reason, site.id, original)));
        }
        outgoing
    }

    /// Publishes a record; its original is done when all that it led to, of which so many are
    /// `left`, is acknowledged.
    fn publish(&self, record: OutgoingRecord, done: Done, left: &Arc<AtomicUsize>) {
        let portion: Portion = self
            .links
            .publisher
            .backlog()
            .add(1, record.as_outgoing().bytes());
        // Shared by the attempts to hand it over, of which one succeeds.
        let record = Arc::new((record, portion));
        loop {
            let (again, publisher) = (Arc::clone(&record), self.links.publisher.clone());
            let (refused, runtime) = (self.refused.clone(), self.links.runtime.clone());
            let (sender, left) = (self.done.clone(), Arc::clone(left));
            let acknowledge = move || {
                if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    // Fails when the thread has ended, and then nobody commits.
                    _ = sender.send(done);
                }
            };
            let answered = move |result: Result<(), PublishError>| match result {
                Ok(()) => acknowledge(),
                // Refused, not lost: it is offered again until it is accepted, and no later
                // position is committed before.
                Err(error) => {
                    error.log(publisher.client_events());
                    refused.spawn_on(
                        async move {
                            publisher.publish(again.0.as_outgoing()).await;
                            acknowledge();
                        },
                        &runtime,
                    );
                }
            };
            if self.links.publisher.try_publish(record.0.as_outgoing(), answered) {
                return;
            }
            std::thread::sleep(FULL_QUEUE_PAUSE);
        }
    }

    fn receive_acknowledgements(&mut self) {
        while let Ok(done) = self.acknowledged.try_recv() {
            self.complete(done);
        }
    }

    fn complete(&mut self, (at, epoch, offset): Done) {
        if let Some(partition) = self.partitions.get_mut(&at) {
            // One of an earlier assignment changes nothing.
            partition.offsets.complete(epoch, offset);
        }
    }

    fn serve_group(&mut self, batch_reader: &BatchReader) -> anyhow::Result<()> {
        while let Some(event) = self.session.next_event() {
            match event {
                MemberEvent::Assigned(list) => {
                    if let Err(error) = self.take_partitions(&list, batch_reader) {
                        self.partitions.clear();
                        self.session.retry_assignment(list, &error);
                    }
                }
                MemberEvent::Revoked { lost } => {
                    self.give_up_partitions(lost);
                    self.session.answer_revocation(lost)?;
                }
            }
        }
        Ok(())
    }

    fn take_partitions(&mut self, list: &[TopicPartition], batch_reader: &BatchReader) -> anyhow::Result<()> {
        let begun = clock::monotonic();
        self.epoch += 1;
        let sources = &self.settings.sources;
        let back = self.settings.first_start_back;
        let first = |topic: usize| match sources[topic].clock {
            RoutedClock::Live => FirstStart::Back(back),
            RoutedClock::Log => FirstStart::AtBeginning,
        };
        let (member, metrics) = (self.session.member(), &self.links.metrics);
        let taken = take(member, list, Epoch(self.epoch), first, metrics)?;
        let starts: Vec<(TopicPartition, i64)> = taken.iter().map(|one| (one.at, one.start)).collect();
        member
            .assign_to_batch_reader(&starts, batch_reader)
            .context("taking partitions of the route group")?;
        self.partitions = taken.into_iter().map(|one| (one.at, one)).collect();
        // The beginnings that were chosen, so that the next owner does not choose other ones.
        let commits = self.commits(CommitScope::Moved);
        self.session.commit(&commits);
        let took = clock::monotonic().duration_since(begun);
        self.session.report_assigned(list.len(), took);
        Ok(())
    }

    /// Commits what is acknowledged, and lets go of all partitions.
    fn give_up_partitions(&mut self, lost: bool) {
        let count = self.partitions.len();
        if count == 0 {
            return;
        }
        if !lost {
            self.wait_for_acknowledgements();
            let commits = self.commits(CommitScope::All);
            self.session.commit_and_wait(&commits);
        }
        self.flush_counts();
        self.partitions.clear();
        self.session.report_given_back(count, lost);
    }

    fn wait_for_acknowledgements(&mut self) {
        let deadline = clock::monotonic() + ACKNOWLEDGE_TIMEOUT;
        while self.partitions.values().any(|one| one.offsets.open_count() > 0) {
            let left = deadline.saturating_duration_since(clock::monotonic());
            match self.acknowledged.recv_timeout(left) {
                Ok(done) => self.complete(done),
                Err(_) => break,
            }
        }
    }

    fn commits(&mut self, scope: CommitScope) -> Vec<Commit> {
        let (nonce, all) = (self.session.nonce(), scope == CommitScope::All);
        let partitions = self.partitions.values_mut();
        partitions.filter_map(|one| one.commit(nonce, all)).collect()
    }

    fn flush_counts(&mut self) {
        for (source, counts) in self.settings.sources.iter().zip(&mut self.handled) {
            for (result, count) in EventResult::ALL.iter().zip(counts) {
                if *count > 0 {
                    let labels = [source.topic.as_str(), result.as_str()];
                    let events = self.links.metrics.events.with_label_values(&labels);
                    events.inc_by(std::mem::take(count));
                }
            }
        }
    }

    /// Shows gauges, once a second.
    fn tick(&mut self) {
        let now = clock::monotonic();
        if now.duration_since(self.last_tick) < TICK_INTERVAL {
            return;
        }
        self.last_tick = now;
        let now_ms = clock::now_ms();
        let member = self.session.member();
        let mut lags = vec![ConsumerLag::default(); self.settings.sources.len()];
        let mut open = 0;
        for partition in self.partitions.values() {
            open += partition.offsets.open_count();
            lags[partition.at.topic].add(partition.lag(member.cached_end(partition.at), now_ms));
        }
        self.session.show_last_poll(now_ms);
        self.session.show_open_offsets(open);
        for (source, lag) in self.settings.sources.iter().zip(lags) {
            self.session.show_lag(&source.topic, lag);
        }
    }
}
