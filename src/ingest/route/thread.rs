//! A thread of the role `route`: one group member that reads every source that is not keyed by site
//! and publishes its events under the site's id.
//!
//! Guaranteed: an offset is committed only when what its record led to is acknowledged. While the
//! brokers acknowledge slowly, nothing is read.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::aliases::SiteAliases;
use super::partition::RoutedPartition;
use crate::clock;
use crate::config::KafkaConfig;
use crate::dispatch::offsets::Epoch;
use crate::domain::event::{EventResult, SourceClock};
use crate::domain::registry::Registry;
use crate::domain::reject::{NotAnEvent, Reject};
use crate::domain::time::LAST_MS;
use crate::ingest::formats::RecordReader;
use crate::ingest::reject_publisher::RejectPublisher;
use crate::ingest::visitor_hash::VisitorHasher;
use crate::kafka::batch_reader::{Batch, BatchItem, BatchReader};
use crate::kafka::batch_record::BatchRecord;
use crate::kafka::commits::Commit;
use crate::kafka::log_ends::LogEnds;
use crate::kafka::member::GroupMember;
use crate::kafka::producer::Publisher;
use crate::kafka::retrying_publisher::RetryingPublisher;
use crate::kafka::session::group_thread::GroupThread as _;
use crate::kafka::session::lag::ConsumerLag;
use crate::kafka::session::removed::{removed_between, report_removed};
use crate::kafka::session::{CommitScope, Session};
use crate::kafka::topic_partition::TopicPartition;
use crate::telemetry::throttle::Throttle;
use crate::telemetry::{Health, Metrics};

/// Records that are published for a source's records.
mod outgoing;
/// Taking partitions and giving them back.
mod rebalance;

/// Longest wait for a record, and so for noticing a rebalance.
const READ_TIMEOUT: Duration = Duration::from_millis(10);

/// A source that is not keyed by site.
#[derive(Debug, Clone)]
pub(crate) struct UnkeyedSource {
    pub(crate) topic: String,
    pub(crate) clock: SourceClock,
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
    pub(crate) runtime: Handle,
    pub(crate) stop: CancellationToken,
}

/// A record whose successor is acknowledged.
type Done = (TopicPartition, Epoch, i64);

struct Router {
    session: Session<TopicPartition, ()>,
    log_ends: LogEnds,
    settings: RouteSettings,
    links: RouteLinks,
    events_topic: Arc<str>,
    hasher: VisitorHasher,
    aliases: SiteAliases,
    partitions: HashMap<TopicPartition, RoutedPartition>,
    epoch: u64,
    done: Sender<Done>,
    acknowledged: Receiver<Done>,
    records: RetryingPublisher,
    rejects: RejectPublisher,
    /// By source and result, since the last flush.
    handled: Vec<[u64; EventResult::ALL.len()]>,
    /// By source.
    rejects_logged: Vec<Throttle>,
}

/// Runs a thread until it is to stop.
pub(crate) fn run(member: GroupMember, settings: RouteSettings, mut links: RouteLinks) -> anyhow::Result<()> {
    let (done, acknowledged) = channel();
    let mut batch_reader = member.batch_reader();
    let log_ends = member.log_ends(&[]);
    let registry = Arc::clone(&links.registry.borrow_and_update());
    let (publisher, runtime) = (links.publisher.clone(), links.runtime.clone());
    let mut router = Router {
        session: Session::begin(member, &settings.name, Arc::clone(&links.health)),
        log_ends,
        events_topic: settings.kafka.topic("events").into(),
        hasher: VisitorHasher::new(&settings.hash_key),
        aliases: SiteAliases::of(registry),
        partitions: HashMap::new(),
        epoch: 0,
        done,
        acknowledged,
        rejects: RejectPublisher::new(
            publisher.clone(),
            runtime.clone(),
            &settings.kafka.topic("rejected"),
        ),
        records: RetryingPublisher { publisher, runtime },
        handled: vec![[0; EventResult::ALL.len()]; settings.sources.len()],
        rejects_logged: settings.sources.iter().map(|_| Throttle::default()).collect(),
        settings,
        links,
    };
    let result = router.run_loop(&mut batch_reader);
    router.leave_group(batch_reader);
    result
}

impl Router {
    fn run_loop(&mut self, batch_reader: &mut BatchReader) -> anyhow::Result<()> {
        while !self.links.stop.is_cancelled() {
            self.session.begin_turn(clock::now_ms())?;
            self.handle_rebalances(batch_reader)?;
            self.receive_acknowledgements();
            if !self.links.publisher.pause_if_crowded(READ_TIMEOUT) {
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
            BatchItem::Error(code, at) => self.session.report_read_error(code, at),
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
        let topic = &self.settings.sources[at.topic].topic;
        let is_before_start = partition.is_before_start(offset, record.timestamp_ms());
        let member = self.session.member();
        let removed = removed_between(partition.next(), offset, || member.cached_beginning(at));
        report_removed(&self.links.metrics, topic, at, partition.next(), removed);
        if !partition.begin(offset, topic) {
            return;
        }
        partition.last_record_ms = record.timestamp_ms().unwrap_or(0);
        let done = (at, partition.offsets.epoch(), offset);
        if is_before_start {
            return self.complete(done);
        }
        let source = &self.settings.sources[at.topic];
        let headers = record.headers();
        let overlong = record
            .timestamp_ms()
            .filter(|ms| *ms > LAST_MS)
            .map(Reject::overlong_time);
        let read = match overlong {
            Some(reject) => Err(reject.into()),
            None => source.reader.read(record.value(), &headers),
        };
        let (result, outgoing) = match read {
            Ok(event) => self.forward(at, record, &event),
            Err(NotAnEvent::Rejected(reject) | NotAnEvent::RejectedBefore(reject, _)) => {
                (EventResult::Rejected, self.reject(at, record, &reject))
            }
            // Only keyed events have versions, and they are not read here.
            Err(NotAnEvent::Ignored | NotAnEvent::Newer { .. }) => (EventResult::Ignored, Vec::new()),
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
        if !self.session.due_tick(clock::monotonic()) {
            return;
        }
        let now_ms = clock::now_ms();
        for answer in self.log_ends.receive() {
            if let (Ok(end), Some(partition)) = (answer.end, self.partitions.get_mut(&answer.at)) {
                partition.end = Some(end);
            }
        }
        self.log_ends.ask(self.partitions.keys().copied(), now_ms);
        let mut lags = vec![ConsumerLag::default(); self.settings.sources.len()];
        let mut open = 0;
        for partition in self.partitions.values() {
            open += partition.offsets.open_count();
            lags[partition.at.topic].add(partition.lag(now_ms));
        }
        self.session.show_last_poll(now_ms);
        self.session.show_open_offsets(open);
        for (source, lag) in self.settings.sources.iter().zip(lags) {
            self.session.show_lag(&source.topic, lag);
        }
    }
}
